"""An MLP-Mixer: functions that make layers, a patch embedding by unfolding."""

from functools import partial

import torch.nn.functional as F
from torch import nn


class Patches(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return F.unfold(x, self.size, stride=self.size).transpose(1, 2)


class PreNormResidual(nn.Module):
    def __init__(self, dim, fn):
        super().__init__()
        self.fn, self.norm = fn, nn.LayerNorm(dim)

    def forward(self, x):
        return self.fn(self.norm(x)) + x


def FeedForward(dim, expansion_factor=2, dropout=0.0, dense=nn.Linear):
    inner_dim = int(dim * expansion_factor)
    return nn.Sequential(
        dense(dim, inner_dim), nn.GELU(), nn.Dropout(dropout),
        dense(inner_dim, dim), nn.Dropout(dropout),
    )  # fmt: skip


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(1)


def MLPMixer(input_shape, num_outputs, *, patch_size=2, dim=12, depth=2, dropout=0.1):
    channels, height, width = input_shape
    num_patches = (height // patch_size) * (width // patch_size)
    chan_first, chan_last = partial(nn.Conv1d, kernel_size=1), nn.Linear
    return nn.Sequential(
        Patches(patch_size),
        nn.Linear(patch_size**2 * channels, dim),
        *[
            nn.Sequential(
                PreNormResidual(dim, FeedForward(num_patches, 2, dropout, chan_first)),
                PreNormResidual(dim, FeedForward(dim, 0.5, dropout, chan_last)),
            )
            for _ in range(depth)
        ],
        nn.LayerNorm(dim),
        Mean(),
        nn.Linear(dim, num_outputs),
    )
