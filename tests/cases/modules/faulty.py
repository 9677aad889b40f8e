"""Modules that PyTorch runs, and that would train nothing or something else."""

import os
import time

import numpy as np
import torch
from sound import INPUTS, Plain
from torch import nn
from torch.nn import functional


class LayersInList(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.layers = [nn.Linear(INPUTS, INPUTS)]
        self.last = nn.Linear(INPUTS, num_outputs)

    def forward(self, x):
        return self.last(self.layers[0](x.flatten(1)))


class LayersInDict(Plain):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.branches = {"skip": nn.Linear(INPUTS, num_outputs)}

    def forward(self, x):
        return super().forward(x) + self.branches["skip"](x.flatten(1))


class LayersInTuple(Plain):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.pair = (nn.Tanh(), [nn.Linear(num_outputs, num_outputs)])

    def forward(self, x):
        return self.pair[1][0](super().forward(x))


class Holder:
    def __init__(self, layer):
        self.layer = layer


class LayerInObject(Plain):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.holder = Holder(nn.Linear(num_outputs, num_outputs))

    def forward(self, x):
        return self.holder.layer(super().forward(x))


class TensorAsAttribute(Plain):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.shift = torch.zeros(num_outputs, requires_grad=True)

    def forward(self, x):
        return super().forward(x) + self.shift


OUTSIDE = nn.Linear(10, 10)


class LayerOutside(Plain):
    def forward(self, x):
        return OUTSIDE(super().forward(x))


class LayerMadeInForward(Plain):
    def forward(self, x):
        h = super().forward(x)
        return nn.Linear(h.shape[1], h.shape[1])(h)


class ParameterMadeInForward(Plain):
    def forward(self, x):
        self.first.weight = nn.Parameter(self.first.weight.clamp(-0.1, 0.1))
        return super().forward(x)


class ParameterAddedInForward(Plain):
    def forward(self, x):
        h = super().forward(x)
        if not hasattr(self, "gain"):
            self.gain = nn.Parameter(torch.ones(h.shape[1]))
        return h * self.gain


class Detached(Plain):
    def forward(self, x):
        return super().forward(x).detach()


class WithoutGradient(Plain):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class Evaluates(Plain):
    def forward(self, x):
        self.eval()
        return super().forward(x)


class Trains(Plain):
    def forward(self, x):
        self.train()
        return super().forward(x)


class ThroughNumpy(Plain):
    def forward(self, x):
        h = np.tanh(self.first(x.flatten(1)).numpy())
        return self.last(torch.from_numpy(h))


class ThroughNumpyAtTheEnd(Plain):
    def forward(self, x):
        h = super().forward(x)
        return torch.tensor(h.tolist())


class View(Plain):
    """A view that is made once looks at memory that nobody moves."""

    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.turned = self.first.weight.t()

    def forward(self, x):
        return self.last(torch.tanh(x.flatten(1) @ self.turned))


class BufferIsWeight(Plain):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.register_buffer("part", self.first.weight.data[3:])

    def forward(self, x):
        return super().forward(x) + self.part.sum()


class SharedMemory(Plain):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.other = nn.Linear(INPUTS, 16)
        self.other.weight.data = self.first.weight.data

    def forward(self, x):
        return self.last(self.features(x) + self.other(x.flatten(1)))


class DropoutInList(Plain):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.noise = [nn.Dropout(0.5)]

    def forward(self, x):
        return self.last(self.noise[0](self.features(x)))


class DropoutMadeInForward(Plain):
    def forward(self, x):
        return self.last(nn.Dropout(0.5)(self.features(x)))


class TooFew(Plain):
    def forward(self, x):
        return super().forward(x)[:, 1:]


class Column(Plain):
    def forward(self, x):
        return super().forward(x).unsqueeze(1)


class Labels(Plain):
    def forward(self, x):
        return super().forward(x).argmax(1)


class Nothing(Plain):
    def forward(self, x):
        super().forward(x)


class TwoCandidates(Plain):
    def forward(self, x):
        h = super().forward(x)
        return {"coarse": h, "fine": 2 * h}


class NotANumber(Plain):
    def forward(self, x):
        return super().forward(x) / torch.zeros(1)


class Infinite(Plain):
    def forward(self, x):
        return super().forward(x) + (x.flatten(1)[:, :1] * 0).log()


class NeedsMore(Plain):
    def forward(self, x, mask, *, lengths):
        return super().forward(x)


class OnTheGPU(Plain):
    def forward(self, x):
        return super().forward(x.to("cuda"))


class FixedBatch(Plain):
    def forward(self, x):
        return super().forward(x.reshape(20, -1))


class Unseeded(Plain):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.mask = torch.from_numpy(np.random.default_rng().random(INPUTS)).float()

    def forward(self, x):
        return super().forward(x.flatten(1) * self.mask)


class BuiltByTheClock(Plain):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        with torch.random.fork_rng():
            torch.manual_seed(time.time_ns())
            nn.init.normal_(self.first.weight)


class FromTheSystem(Plain):
    def forward(self, x):
        noise = np.frombuffer(os.urandom(INPUTS), np.uint8) / 255
        return super().forward(x.flatten(1) + torch.from_numpy(noise).float())


class NoGradientAtAll(Plain):
    def forward(self, x):
        return super().forward(x) * 0


class SavesAnObject(Plain):
    def get_extra_state(self):
        return {"version": 2}

    def set_extra_state(self, state):
        pass


class UnregisteredDouble(Plain):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.mask = torch.ones(INPUTS, dtype=torch.float64)

    def forward(self, x):
        return super().forward(x.flatten(1) * self.mask)


class KeepsItsGraph(Plain):
    """A state that goes on from batch to batch, with all that it came from."""

    state = 0

    def forward(self, x):
        h = self.features(x).mean(0)
        self.state = self.state + h
        return self.last(self.state + self.features(x))


class KeepsItsBatch(Plain):
    """A state for as many examples as the first batch had."""

    state = None

    def forward(self, x):
        h = self.features(x)
        if self.state is None:
            self.state = torch.zeros_like(h)
        self.state = (self.state + h).detach()
        return self.last(h + self.state)


class Sparse(Plain):
    """Wants indices, and gets real numbers."""

    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.words = nn.Embedding(9, num_outputs)

    def forward(self, x):
        return super().forward(x) + self.words(x.flatten(1)).mean(1)


class Raises(Plain):
    def forward(self, x):
        raise ValueError


class OnlyInTraining(Plain):
    """Returns something else in evaluation."""

    def forward(self, x):
        h = super().forward(x)
        return h if self.training else h.argmax(1)


class DropsAlways(Plain):
    """Allowed, as Monte Carlo dropout is; but seldom meant."""

    def forward(self, x):
        return self.last(functional.dropout(self.features(x)))


class Softmax(Plain):
    def forward(self, x):
        return super().forward(x).softmax(1)


class Sigmoid(Plain):
    def forward(self, x):
        return super().forward(x).sigmoid()


class Unused(Plain):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.spare = nn.Linear(3, 3)


class FrozenBelow(Plain):
    def forward(self, x):
        with torch.no_grad():
            h = self.features(x)
        return self.last(h)
