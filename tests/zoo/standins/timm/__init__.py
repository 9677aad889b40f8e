"""Stands in for timm where it is not installed: the same few calls, small networks."""

import torch
from torch import nn

__version__ = "1.0.99"


class ResNet(nn.Module):
    def __init__(self, num_classes=1000, in_chans=3, drop_rate=0.0, width=8):
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.conv2(x) + x[..., ::2, ::2])
        return self.fc(self.drop(x.mean((2, 3))))


class VisionTransformer(nn.Module):
    def __init__(
        self,
        img_size=224,
        patch_size=16,
        in_chans=3,
        num_classes=1000,
        embed_dim=12,
        drop_path_rate=0.0,
    ):
        super().__init__()
        sides = (img_size, img_size) if isinstance(img_size, int) else img_size
        if any(side % patch_size for side in sides):
            raise ValueError(f"{sides} is no multiple of the patch size {patch_size}")
        count = (sides[0] // patch_size) * (sides[1] // patch_size)
        self.sides = tuple(sides)
        self.drop_path_rate = drop_path_rate
        self.embed = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size)
        self.pos_embed = nn.Parameter(torch.randn(1, count, embed_dim) * 0.02)
        self.norm = nn.LayerNorm(embed_dim)
        self.head = nn.Linear(embed_dim, num_classes)

    def forward(self, x):
        if tuple(x.shape[2:]) != self.sides:
            raise AssertionError(f"input {tuple(x.shape[2:])} is not {self.sides}")
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.pos_embed
        return self.head(self.norm(tokens).mean(1))


class Valid(nn.Module):
    """Without padding: it needs 21 positions along each side."""

    def __init__(self, num_classes=1000, in_chans=3):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_chans, 4, 11), nn.ReLU(), nn.Conv2d(4, 4, 11)
        )
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


class Careless(ResNet):
    """Takes any option, and does nothing with most of them."""

    def __init__(self, num_classes=1000, in_chans=3, **kwargs):
        super().__init__(num_classes, in_chans)


def _hidden(num_classes=1000, in_chans=3, slope=0.1):
    """Its class shows nothing of the options that the function takes."""
    return nn.Sequential(
        nn.Conv2d(in_chans, 4, 3),
        nn.LeakyReLU(slope),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, num_classes),
    )


_MODELS = {
    "resnet18": ResNet,
    "resnet34": ResNet,
    "vit_tiny_patch16_224": VisionTransformer,
    "valid": Valid,
    "careless": Careless,
    "hidden": _hidden,
}
_TAGS = {"resnet18": ["a1_in1k", "a2_in1k"]}


def is_model(name):
    return name.partition(".")[0] in _MODELS


def list_models(filter="", include_tags=False):  # noqa: A002 - timm's own name
    names = sorted(_MODELS)
    if include_tags:
        names = [f"{n}.{tag}" for n in names for tag in _TAGS.get(n, [])]
    return [n for n in names if n.startswith(filter.rstrip("*"))]


def create_model(name, pretrained=False, pretrained_cfg_overlay=None, **kwargs):
    given = {key: value for key, value in kwargs.items() if value is not None}
    bare, _, tag = name.partition(".")
    if bare not in _MODELS:
        raise RuntimeError(f"Unknown model ({bare})")
    model = _MODELS[bare](**given)
    tag = tag or _TAGS.get(bare, ["in1k"])[0]
    model.pretrained_cfg = {
        "hf_hub_id": f"timm/{bare}.{tag}",
        "hf_hub_filename": None,
        "url": f"https://example.invalid/{bare}-{tag}.pth",
        "num_classes": 1000,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    }
    model.default_cfg = model.pretrained_cfg
    if pretrained:
        tensors = (pretrained_cfg_overlay or {}).get("state_dict")
        if tensors is None:
            raise AssertionError("archtrial would have downloaded weights")
        # As timm renames what other people's files call otherwise.
        model.load_state_dict({k.replace("old_", ""): v for k, v in tensors.items()})
    return model
