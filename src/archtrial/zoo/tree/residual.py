"""Residual networks and what grew out of them."""

from archtrial.zoo.registry import Lineage, Size, Variant, describe

__all__: list[str] = []

_IMAGENET = (3, 224, 224)
_CIFAR = (3, 32, 32)


def _of_cifar(layers: int, parameters: int) -> Variant:
    return Variant(
        f"resnet{layers}",
        f"{layers} layers in 3 stages, for images of 32 x 32.",
        {"depth": (layers - 2) // 6},
        Size(_CIFAR, 10, parameters),
    )


def _of_imagenet(
    layers: int, depth: tuple[int, ...], block: str, parameters: int
) -> Variant:
    return Variant(
        f"resnet{layers}",
        f"{layers} layers in 4 stages, {block} blocks, for images of 224 x 224.",
        {
            "depth": depth,
            "width": 64,
            "block": block,
            "stem": "imagenet",
            "shortcut": "projection",
        },
        Size(_IMAGENET, 1000, parameters),
    )


describe(
    "resnet",
    Lineage(
        2015,
        "He et al. 2015, arXiv 1512.03385; preactivation: He et al. 2016, arXiv"
        " 1603.05027",
        "Layers learn what to add to their input, so that deep networks train.",
        {
            "vgg": "stages of 3 x 3 convolutions",
            "Ioffe and Szegedy 2015 (arXiv 1502.03167)": "batch normalisation",
            "nin": "global average pooling",
            "Srivastava et al. 2015 (arXiv 1505.00387)": "connections around layers,"
            " there with gates",
        },
    ),
    _of_cifar(20, 269_722),
    _of_cifar(56, 853_018),
    _of_imagenet(18, (2, 2, 2, 2), "basic", 11_689_512),
    _of_imagenet(34, (3, 4, 6, 3), "basic", 21_797_672),
    _of_imagenet(50, (3, 4, 6, 3), "bottleneck", 25_557_032),
    _of_imagenet(101, (3, 4, 23, 3), "bottleneck", 44_549_160),
    size=Size((1, 28, 28), 10, 75_002),
    recipe={"optimizer": "sgd", "weight_decay": 1e-4},
)

_SE_IMAGENET = {
    "width": 64,
    "reduction": 16,
    "stem": "imagenet",
    "shortcut": "projection",
}
describe(
    "se_resnet",
    Lineage(
        2017,
        "Hu et al. 2017, arXiv 1709.01507",
        "Each channel is scaled by what all channels are on average.",
        {
            "resnet": "all else",
            "Srivastava et al. 2015 (arXiv 1505.00387)": "gates that depend on the input",
        },
    ),
    Variant(
        "se_resnet20",
        "20 layers in 3 stages, for images of 32 x 32.",
        {"depth": 3},
        Size(_CIFAR, 10, 278_206),
    ),
    Variant(
        "se_resnet18",
        "18 layers in 4 stages, basic blocks, for images of 224 x 224.",
        {"depth": (2, 2, 2, 2), **_SE_IMAGENET},
        Size(_IMAGENET, 1000, 11_778_592),
    ),
    Variant(
        "se_resnet50",
        "50 layers in 4 stages, bottleneck blocks, for images of 224 x 224.",
        {"depth": (3, 4, 6, 3), "block": "bottleneck", **_SE_IMAGENET},
        Size(_IMAGENET, 1000, 28_088_024),
    ),
    size=Size((1, 28, 28), 10, 77_830),
)


def _wide(layers: int, widen: int, parameters: int) -> Variant:
    return Variant(
        f"wide_resnet{layers}_{widen}",
        f"{layers} layers of {widen} times the channels, for images of 32 x 32.",
        {"depth": (layers - 4) // 6, "width": 16, "widen": widen},
        Size(_CIFAR, 10, parameters),
    )


describe(
    "wide_resnet",
    Lineage(
        2016,
        "Zagoruyko and Komodakis 2016, arXiv 1605.07146",
        "Fewer layers of more channels, and dropout inside a block.",
        {
            "resnet": "blocks of preactivation, in three stages",
            "Srivastava et al. 2014 (JMLR 15)": "dropout",
        },
    ),
    _wide(16, 4, 2_748_890),
    _wide(40, 4, 8_949_210),
    _wide(28, 10, 36_479_194),
    size=Size((1, 28, 28), 10, 76_450),
    recipe={"optimizer": "sgd", "weight_decay": 5e-4},
)


def _dense(layers: int, depth: tuple[int, ...], parameters: int) -> Variant:
    return Variant(
        f"densenet{layers}",
        f"{layers} layers in 4 blocks, for images of 224 x 224.",
        {"depth": depth, "width": 32, "stem": "imagenet"},
        Size(_IMAGENET, 1000, parameters),
    )


describe(
    "densenet",
    Lineage(
        2016,
        "Huang et al. 2016, arXiv 1608.06993",
        "Each layer reads what all before it have made, side by side.",
        {
            "resnet": "connections around layers; norm and activation first; 1 x 1 before"
            " 3 x 3",
        },
    ),
    Variant(
        "densenet_bc100",
        "100 layers in 3 blocks of 12 channels a layer, for images of 32 x 32.",
        {"depth": 16, "width": 12},
        Size(_CIFAR, 10, 769_162),
    ),
    _dense(121, (6, 12, 24, 16), 7_978_856),
    _dense(169, (6, 12, 32, 32), 14_149_480),
    size=Size((1, 28, 28), 10, 19_978),
    recipe={"optimizer": "sgd", "weight_decay": 1e-4},
)

describe(
    "mobilenet_v2",
    Lineage(
        2018,
        "Sandler et al. 2018, arXiv 1801.04381",
        "Blocks that are narrow at both ends and wide inside, where each channel is"
        " filtered by itself.",
        {
            "Howard et al. 2017 (arXiv 1704.04861)": "depthwise separable convolutions",
            "resnet": "skip connections and bottlenecks, inverted",
        },
    ),
    Variant(
        "mobilenet_v2_imagenet",
        "The published one, for images of 224 x 224.",
        {
            "depth": (1, 2, 3, 4, 3, 3, 1),
            "width": 16,
            "stem": "imagenet",
            "dropout": 0.2,
        },
        Size(_IMAGENET, 1000, 3_504_872),
    ),
    size=Size((1, 28, 28), 10, 14_098),
)


def _efficient(
    name: str, width: float, depth: float, side: int, dropout: float, parameters: int
) -> Variant:
    return Variant(
        f"efficientnet_{name}",
        f"The published {name.upper()}, for images of {side} x {side}.",
        {
            "depth": (1, 2, 2, 3, 3, 4, 1),
            "width": 16,
            "depth_multiplier": depth,
            "width_multiplier": width,
            "resolution": side,
            "stem": "imagenet",
            "dropout": dropout,
            "stochastic_depth": 0.2,
        },
        Size((3, side, side), 1000, parameters),
    )


describe(
    "efficientnet",
    Lineage(
        2019,
        "Tan and Le 2019, arXiv 1905.11946",
        "Depth, width and resolution grow together, from a network that was searched.",
        {
            "mobilenet_v2": "inverted residual blocks with depthwise convolutions",
            "se_resnet": "squeeze-and-excitation",
            "Tan et al. 2018 (arXiv 1807.11626)": "the search for the smallest one",
            "Huang et al. 2016 (arXiv 1603.09382)": "stochastic depth",
        },
    ),
    _efficient("b0", 1.0, 1.0, 224, 0.2, 5_288_548),
    _efficient("b1", 1.0, 1.1, 240, 0.2, 7_794_184),
    _efficient("b2", 1.1, 1.2, 260, 0.3, 9_109_994),
    size=Size((1, 28, 28), 10, 23_053),
)
