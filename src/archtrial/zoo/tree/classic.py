"""Convolutional networks before residual connections, from LeNet-5 to SqueezeNet."""

from archtrial.zoo.registry import Lineage, Size, Variant, describe

__all__: list[str] = []

_IMAGENET = (3, 224, 224)

describe(
    "lenet",
    Lineage(
        1998,
        "LeCun, Bottou, Bengio and Haffner 1998, Proceedings of the IEEE 86",
        "Convolutions and poolings learnt by gradients, end to end.",
        {
            "LeCun et al. 1989 (Neural Computation 1)": "shared weights that are learnt",
            "Fukushima 1980 (Biological Cybernetics 36)": "local fields and pooling",
        },
    ),
    Variant(
        "lenet_relu",
        "As it is written today: ReLU and max-pooling.",
        {"activation": "relu", "pooling": "max"},
        Size((1, 32, 32), 10, 61_706),
    ),
    size=Size((1, 32, 32), 10, 61_706),
)

describe(
    "alexnet",
    Lineage(
        2012,
        "Krizhevsky, Sutskever and Hinton 2012, NeurIPS;"
        " one column: Krizhevsky 2014, arXiv 1404.5997",
        "Depth, ReLU and dropout on GPUs: ImageNet won with a network.",
        {
            "lenet": "convolution and pooling in turn",
            "Nair and Hinton 2010 (ICML)": "ReLU",
            "Hinton et al. 2012 (arXiv 1207.0580)": "dropout",
        },
    ),
    Variant(
        "alexnet_large",
        "32 channels and 256 hidden units, for images of 32 x 32.",
        {"width": 32, "hidden": (256, 256)},
        Size((3, 32, 32), 10, 977_834),
    ),
    Variant(
        "alexnet_imagenet",
        "The published one, of one column, for ImageNet.",
        {"width": 64, "hidden": (4096, 4096), "stem": "imagenet"},
        Size(_IMAGENET, 1000, 61_100_840),
    ),
    size=Size((1, 28, 28), 10, 51_618),
)

describe(
    "nin",
    Lineage(
        2013,
        "Lin, Chen and Yan 2013, arXiv 1312.4400",
        "Convolutions of 1 x 1, and global average pooling as the classifier.",
        {
            "alexnet": "ReLU, dropout and overlapping pooling",
            "Goodfellow et al. 2013 (arXiv 1302.4389)": "filters that are not linear",
        },
    ),
    Variant(
        "nin_cifar",
        "The authors' own for CIFAR-10.",
        {"width": 192},
        Size((3, 32, 32), 10, 966_986),
    ),
    Variant(
        "nin_imagenet",
        "The authors' own for ImageNet, of four blocks.",
        {"depth": 4, "width": 96, "stem": "imagenet"},
        Size(_IMAGENET, 1000, 7_595_176),
    ),
    size=Size((1, 28, 28), 10, 15_858),
)

describe(
    "vgg",
    Lineage(
        2014,
        "Simonyan and Zisserman 2014, arXiv 1409.1556",
        "Depth from small kernels: 16 and 19 layers by one rule.",
        {
            "alexnet": "the plan, ReLU and dropout",
            "Ciresan et al. 2011 (IJCAI)": "small kernels",
        },
    ),
    Variant(
        "vgg_large",
        "Three stages of 32 to 128 channels, with batch normalisation, for 32 x 32.",
        {"width": 32, "hidden": (256, 256), "norm": "batch"},
        Size((3, 32, 32), 10, 880_362),
    ),
    *(
        Variant(
            name,
            f"The published one of {name[3:]} layers, for ImageNet.",
            {"depth": depth, "width": 64, "hidden": (4096, 4096)},
            Size(_IMAGENET, 1000, parameters),
        )
        for name, depth, parameters in (
            ("vgg11", (1, 1, 2, 2, 2), 132_863_336),
            ("vgg13", (2, 2, 2, 2, 2), 133_047_848),
            ("vgg16", (2, 2, 3, 3, 3), 138_357_544),
            ("vgg19", (2, 2, 4, 4, 4), 143_667_240),
        )
    ),
    size=Size((1, 28, 28), 10, 41_346),
)

describe(
    "googlenet",
    Lineage(
        2014,
        "Szegedy et al. 2014, arXiv 1409.4842",
        "Kernels of several sizes side by side, affordable by 1 x 1 before them.",
        {
            "nin": "convolutions of 1 x 1 and global average pooling",
            "Serre et al. 2007 (IEEE TPAMI 29)": "filters at several scales",
        },
    ),
    Variant(
        "googlenet_large",
        "Two blocks in each stage at a quarter of the published width.",
        {"depth": 2, "width": 16},
        Size((3, 32, 32), 10, 234_832),
    ),
    Variant(
        "googlenet_imagenet",
        "The published one, without auxiliary heads, for ImageNet.",
        {"depth": (2, 5, 2), "width": 64, "stem": "imagenet"},
        Size(_IMAGENET, 1000, 6_998_552),
    ),
    size=Size((1, 28, 28), 10, 22_082),
)

describe(
    "squeezenet",
    Lineage(
        2016,
        "Iandola et al. 2016, arXiv 1602.07360",
        "Few parameters: channels are squeezed before they are expanded.",
        {
            "googlenet": "1 x 1 before 3 x 3, in modules",
            "nin": "maps of the classes and their average",
            "alexnet": "the accuracy to reach",
        },
    ),
    Variant(
        "squeezenet1_0",
        "The published one, for ImageNet.",
        {"depth": 8, "width": 64, "stem": "imagenet"},
        Size(_IMAGENET, 1000, 1_248_424),
    ),
    Variant(
        "squeezenet1_1",
        "The authors' later one, with 2.4 times fewer multiplications.",
        {"depth": 8, "width": 64, "stem": "imagenet1_1", "late": False},
        Size(_IMAGENET, 1000, 1_235_496),
    ),
    size=Size((1, 28, 28), 10, 18_094),
)
