"""The few calls of torchvision.models that archtrial makes, and small networks."""

import enum
import sys
import types

import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self, block, num_classes=1000, zero_init_residual=False):
        super().__init__()
        self.conv1 = nn.Conv2d(3, block, 3, padding=1)
        self.fc = nn.Linear(block, num_classes)
        if zero_init_residual:
            nn.init.zeros_(self.fc.weight)

    def forward(self, x):
        return self.fc(torch.relu(self.conv1(x)).mean((2, 3)))


class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, num_classes=1000, dropout=0.0):
        super().__init__()
        torch._assert(image_size % patch_size == 0, "Input shape indivisible by patch")
        self.image_size = image_size
        self.dropout = nn.Dropout(dropout)
        self.conv_proj = nn.Conv2d(3, 8, patch_size, patch_size)
        self.positions = nn.Parameter(
            torch.zeros(1, 8, (image_size // patch_size) ** 2)
        )
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        torch._assert(x.shape[2] == self.image_size, "Wrong image height!")
        x = self.conv_proj(x).flatten(2) + self.positions
        return self.head(self.dropout(x.mean(2)))


def resnet18(*, weights=None, progress=True, **kwargs):
    return Plain(6, **kwargs)


def vit_b_16(*, weights=None, progress=True, **kwargs):
    return VisionTransformer(
        image_size=kwargs.pop("image_size", 224), patch_size=16, **kwargs
    )


class ResNet18_Weights(enum.Enum):  # noqa: N801 - torchvision's own way of naming
    IMAGENET1K_V1 = types.SimpleNamespace(url="https://example.invalid/resnet18-v1.pth")
    DEFAULT = IMAGENET1K_V1

    @property
    def url(self):
        return self.value.url


_MODELS = {"resnet18": resnet18, "vit_b_16": vit_b_16}
_OTHERS = ["fasterrcnn_resnet50_fpn", "r3d_18"]


def list_models(module=None):
    own = sorted(_MODELS)
    return own if module is sys.modules[__name__] else sorted([*own, *_OTHERS])


def get_model(name, **config):
    if name.lower() not in _MODELS:
        raise ValueError(f"Unknown model {name}")
    return _MODELS[name.lower()](**config)


def get_model_weights(name):
    if name != "resnet18":
        raise ValueError("The WeightsEnum class for the specific method is not there")
    return ResNet18_Weights
