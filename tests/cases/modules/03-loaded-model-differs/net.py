"""Constants drawn in __init__ that are no buffers: random Fourier features, FEDformer's random modes, random masks."""

import numpy as np
import torch
from torch import nn


class Fourier(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.B = torch.randn(64, 64) * 0.1  # not registered
        self.out = nn.Linear(128, num_outputs)

    def forward(self, x):
        z = x.flatten(1) @ self.B
        return self.out(torch.cat([z.sin(), z.cos()], 1))


class Modes(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.index = np.random.permutation(64)[:16].tolist()
        self.out = nn.Linear(16, num_outputs)

    def forward(self, x):
        return self.out(x.flatten(1)[:, self.index])
