"""Networks for images after the transformer: ViT, MLP-Mixer, ConvNeXt."""

from archtrial.zoo.registry import Lineage, Size, Variant, describe

__all__: list[str] = []

_IMAGENET = (3, 224, 224)
_TRANSFORMER = "transformer"


def _vit(
    name: str, depth: int, width: int, patch: int, parameters: int, where: str = "paper"
) -> Variant:
    return Variant(
        name,
        f"The {where}'s for ImageNet: {depth} blocks of {width} values, patches of"
        f" {patch} x {patch}.",
        {"depth": depth, "width": width, "heads": width // 64, "patch": patch},
        Size(_IMAGENET, 1000, parameters),
    )


describe(
    "vit",
    Lineage(
        2020,
        "Dosovitskiy et al. 2020, arXiv 2010.11929",
        "Patches of an image are the tokens of a transformer.",
        {
            "transformer": "attention, positions, blocks",
            "Devlin et al. 2018 (arXiv 1810.04805)": "the class token",
        },
    ),
    Variant(
        "vit_cifar",
        "For 32 x 32: 6 blocks of 192 values.",
        {"depth": 6, "width": 192},
        Size((3, 32, 32), 10, 2_693_578),
    ),
    _vit("vit_ti16", 12, 192, 16, 5_717_416, "DeiT paper"),
    _vit("vit_s16", 12, 384, 16, 22_050_664, "DeiT paper"),
    _vit("vit_b32", 12, 768, 32, 88_224_232),
    _vit("vit_b16", 12, 768, 16, 86_567_656),
    _vit("vit_l16", 24, 1024, 16, 304_326_632),
    size=Size((3, 32, 32), 10, 90_922),
    recipe={"optimizer": "adamw", "weight_decay": 0.3, "gradient_clip": 1.0},
)


def _mixer(name: str, depth: int, width: int, patch: int, parameters: int) -> Variant:
    return Variant(
        name,
        f"The paper's for ImageNet: {depth} blocks of {width} values, patches of"
        f" {patch} x {patch}.",
        {"depth": depth, "width": width, "patch": patch},
        Size(_IMAGENET, 1000, parameters),
    )


describe(
    "mixer",
    Lineage(
        2021,
        "Tolstikhin et al. 2021, arXiv 2105.01601",
        "A network over positions stands in place of attention.",
        {"vit": "patches, skip connections, layer norm"},
    ),
    Variant(
        "mixer_cifar",
        "For 32 x 32: 8 blocks of 128 values.",
        {"depth": 8, "width": 128},
        Size((3, 32, 32), 10, 1_132_170),
    ),
    _mixer("mixer_s32", 8, 512, 32, 19_104_624),
    _mixer("mixer_s16", 8, 512, 16, 18_528_264),
    _mixer("mixer_b32", 12, 768, 32, 60_293_428),
    _mixer("mixer_b16", 12, 768, 16, 59_880_472),
    _mixer("mixer_l16", 24, 1024, 16, 208_196_168),
    size=Size((3, 32, 32), 10, 69_010),
    recipe={"optimizer": "adamw", "weight_decay": 0.1, "gradient_clip": 1.0},
)


def _convnext(
    size: str, depth: tuple[int, ...], width: int, rate: float, parameters: int
) -> Variant:
    return Variant(
        f"convnext_{size}",
        f"The paper's for ImageNet: {', '.join(map(str, depth))} blocks, from {width}"
        " channels on.",
        {
            "depth": depth,
            "width": width,
            "stem": 4,
            "layer_scale": 1e-6,
            "stochastic_depth": rate,
        },
        Size(_IMAGENET, 1000, parameters),
    )


describe(
    "convnext",
    Lineage(
        2022,
        "Liu et al. 2022, arXiv 2201.03545",
        "A ResNet with the habits of a transformer, step by step.",
        {
            "resnet": "stages and skip connections",
            "mobilenet_v2": "depthwise convolutions between wide layers",
            "vit": "patches, layer norm, GELU",
            "Touvron et al. 2021 (arXiv 2103.17239)": "layer scale",
        },
    ),
    Variant(
        "convnext_cifar",
        "For 32 x 32: 2, 2, 4 blocks, from 48 channels on.",
        {"depth": (2, 2, 4), "width": 48},
        Size((3, 32, 32), 10, 1_520_986),
    ),
    _convnext("t", (3, 3, 9, 3), 96, 0.1, 28_589_128),
    _convnext("s", (3, 3, 27, 3), 96, 0.4, 50_223_688),
    _convnext("b", (3, 3, 27, 3), 128, 0.5, 88_591_464),
    _convnext("l", (3, 3, 27, 3), 192, 0.5, 197_767_336),
    size=Size((3, 32, 32), 10, 60_954),
    recipe={
        "optimizer": "adamw",
        "weight_decay": 0.05,
        "label_smoothing": 0.1,
        "warmup": 0.067,
    },
)
