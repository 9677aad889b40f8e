"""Modules of many habits that train in archtrial's loop as they do in plain PyTorch."""

import random
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

INPUTS = 64


class Plain(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.first = nn.Linear(INPUTS, 16)
        self.last = nn.Linear(16, num_outputs)

    def features(self, x):
        return torch.tanh(self.first(x.flatten(1)))

    def forward(self, x):
        return self.last(self.features(x))


class ScalesInput(Plain):
    def forward(self, x):
        return super().forward(x.mul_(0.5))


class NormalisesInput(Plain):
    def forward(self, x):
        return super().forward(x.sub_(x.mean()).div_(x.std()))


class ClampsInput(Plain):
    def forward(self, x):
        x.clamp_(-1, 1)
        return super().forward(x)


class WritesIntoInput(Plain):
    def forward(self, x):
        x[:, :, 0] = 0
        return super().forward(x)


class BeginsWithReLU(nn.Sequential):
    def __init__(self, input_shape, num_outputs):
        super().__init__(
            nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(INPUTS, num_outputs)
        )


class WritesThroughView(Plain):
    def forward(self, x):
        functional.relu_(x.flatten(1)[:, :30])
        return super().forward(x)


class Counts(Plain):
    """A buffer that forward replaces, and one that it changes."""

    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.register_buffer("mean", torch.zeros(INPUTS))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        x = x.flatten(1)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0).detach()
            self.calls += 1
        return super().forward(x - self.mean)


class Renormalised(Plain):
    """In the same memory, under no_grad."""

    def forward(self, x):
        with torch.no_grad():
            self.first.weight.div_(self.first.weight.norm(dim=1, keepdim=True))
        return super().forward(x)


class MaxNorm(nn.Linear):
    """As EEGNet and many others write it."""

    def forward(self, x):
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=0.5)
        return super().forward(x)


class Constrained(Plain):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.first = MaxNorm(INPUTS, 16)
        self.last = MaxNorm(16, num_outputs)


class SetsMemory(Plain):
    def forward(self, x):
        with torch.no_grad():
            self.first.weight.set_(self.first.weight.clamp(-0.1, 0.1))
        return super().forward(x)


class ForgetsGradients(Plain):
    def forward(self, x):
        self.zero_grad()
        return super().forward(x)


class Spectral(nn.Module):
    """Complex weights, as in GFNet, AFNO and FNO."""

    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(33))
        self.w = nn.Parameter(torch.randn(33, dtype=torch.cfloat) / 6)
        self.out = nn.Linear(64, num_outputs)

    def forward(self, x):
        seen = torch.fft.rfft(x.flatten(1)) * self.w + self.bias
        return self.out(torch.fft.irfft(seen, n=64))


class Rotary(nn.Module):
    """Rotary positions in a complex buffer."""

    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, num_outputs)
        angle = torch.outer(torch.arange(8.0), 10000 ** (-torch.arange(0, 8, 2) / 8))
        self.register_buffer("turns", torch.polar(torch.ones_like(angle), angle))

    def turn(self, h):
        pairs = torch.view_as_complex(h.unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * self.turns).flatten(-2)

    def forward(self, x):
        q, k, v = self.qkv(x.reshape(-1, 8, 8)).chunk(3, -1)
        seen = (self.turn(q) @ self.turn(k).mT / 3).softmax(-1)
        return self.out((seen @ v).mean(1))


class Scalars(Plain):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        return self.scale * super().forward(x)


class Tied(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.a, self.b = nn.Linear(INPUTS, INPUTS), nn.Linear(INPUTS, INPUTS)
        self.b.weight = self.a.weight
        self.out = nn.Linear(INPUTS, num_outputs)

    def forward(self, x):
        return self.out(torch.tanh(self.b(torch.tanh(self.a(x.flatten(1))))))


class Lazy(nn.Sequential):
    def __init__(self, input_shape, num_outputs):
        super().__init__(
            nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(16), nn.Tanh(),
            nn.Linear(16, num_outputs),
        )  # fmt: skip


class Recurrent(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.lstm = nn.LSTM(8, 12, batch_first=True)
        self.out = nn.Linear(12, num_outputs)

    def forward(self, x):
        return self.out(self.lstm(x.reshape(-1, 8, 8))[0][:, -1])


class SpectralNorm(Plain):
    """The older form keeps the weight as a plain attribute."""

    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.first = nn.utils.spectral_norm(self.first)


class Parametrized(Plain):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.first = nn.utils.parametrizations.weight_norm(self.first)


class AddsNumpysNoise(Plain):
    """Draws in forward from generators that torch does not seed."""

    def forward(self, x):
        if self.training:
            noise = np.random.normal(size=tuple(x.shape)) * random.random()
            x = x + torch.from_numpy(noise).to(x.dtype)
        return super().forward(x)


class DrawsWhenBuilt(nn.Module):
    """Constants that are neither parameters nor buffers."""

    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.index = np.random.permutation(64)[:32].tolist()
        self.signs = [random.choice([-1, 1]) for _ in self.index]
        self.basis = torch.randn(32, 32) * 0.2
        self.out = nn.Linear(32, num_outputs)

    def forward(self, x):
        x = x.flatten(1)[:, self.index] * torch.tensor(self.signs)
        return self.out((x @ self.basis).sin())


class Pair(Plain):
    def forward(self, x):
        return super().forward(x), self.features(x)


class WithLoss(Plain):
    """As nanoGPT: the loss of targets that were not given."""

    def forward(self, x, targets=None):
        return super().forward(x), None


class Inverse(Plain):
    """The outputs come second; the first has another shape."""

    def forward(self, x):
        return [self.features(x), super().forward(x)]


class Logits(Plain):
    def forward(self, x):
        h = self.features(x)
        return {"hidden": h, "logits": self.last(h), "other": 2 * self.last(h)}


class Attribute(Plain):
    def forward(self, x):
        return SimpleNamespace(loss=None, logits=super().forward(x))


class Segmentation(Plain):
    def forward(self, x):
        return {"out": super().forward(x)}


class Half(Plain):
    """Mixed precision, where a user can put it."""

    def forward(self, x):
        with torch.autocast(x.device.type, torch.bfloat16):
            return super().forward(x)


class HalfAtTheEnd(Plain):
    def forward(self, x):
        return super().forward(x).half()


class DoubleAtTheEnd(Plain):
    def forward(self, x):
        return super().forward(x).double()


class LogProbabilities(Plain):
    def forward(self, x):
        return super().forward(x).log_softmax(1)


class Numpy(Plain):
    """A feature that needs no gradient is computed with NumPy."""

    def forward(self, x):
        return super().forward(torch.from_numpy(np.sign(x.numpy())))


class LearnsFromItsInput(Plain):
    """The gradient of an energy by the input, as physics has it."""

    def forward(self, x):
        with torch.enable_grad():
            x.requires_grad_(True)
            energy = self.features(x).square().sum()
            (force,) = torch.autograd.grad(energy, x, create_graph=True)
        return super().forward(x + force)


class FreshState(Plain):
    """A state of zeros that wants a gradient, made in each call."""

    def forward(self, x):
        state = torch.zeros(len(x), 16, requires_grad=True)
        return self.last(self.features(x) + state)


class Teacher(Plain):
    """A frozen network in a list, so that it is nobody's parameter."""

    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.hidden = [nn.Linear(INPUTS, num_outputs).requires_grad_(False)]

    def forward(self, x):
        return super().forward(x) + self.hidden[0](x.flatten(1))


class Neighbours(Plain):
    """Two parameters side by side in one memory."""

    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.a, self.b = (nn.Parameter(p) for p in torch.zeros(2, num_outputs))

    def forward(self, x):
        return super().forward(x) * (1 + self.a) + self.b


class Checkpointed(Plain):
    def forward(self, x):
        return torch.utils.checkpoint.checkpoint(
            super().forward, x, use_reentrant=False
        )


class Prints(Plain):
    """As nanoGPT does, and as people debug."""

    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        print(f"number of parameters: {sum(p.numel() for p in self.parameters())}")

    def forward(self, x):
        print("forward", x.shape)
        return super().forward(x)


print("sound.py is imported")
