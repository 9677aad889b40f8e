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
            "Simonyan and Zisserman 2014 (arXiv 1409.1556)": "stages of 3 x 3"
            " convolutions",
            "Ioffe and Szegedy 2015 (arXiv 1502.03167)": "batch normalisation",
            "Lin et al. 2013 (arXiv 1312.4400)": "global average pooling",
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
