"""What a step takes in memory: against sums by hand, and the allocator of this machine."""

import gc
import os

import pytest
import torch
from torch import nn

from archtrial.training.memory import Memory, counted_memory, measured_peak

BATCH, FLOAT = 6, 4


def kept(module, *shape):
    return counted_memory(module, torch.zeros(BATCH, *shape)).kept


def test_a_linear_layer_keeps_its_batch_and_nothing_else():
    found = counted_memory(nn.Linear(5, 7), torch.zeros(BATCH, 5))
    outputs, total, ones = BATCH * 7 * FLOAT, FLOAT, FLOAT
    # The batch was there before; the gradients of weights and biases come with it.
    gradients = (5 * 7 + 7) * FLOAT
    assert found == Memory(BATCH * 5 * FLOAT, outputs + total + ones + gradients)


def test_what_several_layers_read_is_kept_once():
    hidden = BATCH * 7 * FLOAT
    batch = BATCH * 5 * FLOAT
    for activation in (nn.ReLU(), nn.Tanh(), nn.Sigmoid()):
        # Its result is what it needs itself, and what the next layer reads.
        module = nn.Sequential(nn.Linear(5, 7), activation, nn.Linear(7, 3))
        assert kept(module, 5) == batch + hidden
    # GELU needs what it read.
    module = nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 3))
    assert kept(module, 5) == batch + 2 * hidden


def test_a_convolution_with_its_normalisation():
    module = nn.Sequential(nn.Conv1d(4, 8, 3), nn.BatchNorm1d(8), nn.ReLU())
    batch, maps = BATCH * 4 * 10 * FLOAT, BATCH * 8 * 8 * FLOAT
    statistics = 2 * 8 * FLOAT
    assert kept(module, 4, 10) == batch + 2 * maps + statistics


def test_dropout_keeps_its_mask():
    module = nn.Sequential(nn.Linear(5, 7), nn.Dropout(0.5))
    assert kept(module, 5) == BATCH * 5 * FLOAT + BATCH * 7 * FLOAT
    assert kept(module.eval(), 5) == BATCH * 5 * FLOAT + BATCH * 7 * FLOAT


def test_attention_keeps_its_scores():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    several, once = kept(Attending(), 18, 8), kept(Attending(), 9, 8)
    # All else grows with the tokens, and the scores, (heads, tokens, tokens), with
    # their square; after the softmax they are what is needed, and before not.
    scores = BATCH * 2 * 9 * 9 * FLOAT
    assert several - 2 * once == 2 * scores


def test_memory_grows_with_the_batch():
    module = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    one, two = (counted_memory(module, torch.zeros(n, 5)) for n in (BATCH, 2 * BATCH))
    assert two.kept == 2 * one.kept
    assert one.peak < two.peak < 2 * one.peak  # but not the parameters' gradients


def test_what_is_let_go_on_the_way_counts_at_its_largest_alone():
    class Passing(nn.Module):
        """Makes as much as is asked for, a piece at a time, and keeps none of it."""

        def __init__(self, pieces):
            super().__init__()
            self.pieces, self.layer = pieces, nn.Linear(5, 2)

        def forward(self, x):
            for _ in range(self.pieces):
                x = x + torch.zeros(1000, device=x.device).sum()
            return self.layer(x)

    few, many = (counted_memory(Passing(n), torch.zeros(BATCH, 5)) for n in (2, 9))
    assert few == many
    assert 1000 * FLOAT < few.peak < 2000 * FLOAT


def test_counting_leaves_the_module_alone_and_no_memory_behind():
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).eval()
    before = torch.get_rng_state()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    x = torch.zeros(3, 4)
    assert counted_memory(module, x) == counted_memory(module, x)
    assert torch.equal(torch.get_rng_state(), before)
    assert not module.training
    assert all(p.grad is None for p in module.parameters())
    for name, value in module.state_dict().items():
        assert torch.equal(value, state[name])


class LooksAtValues(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 7)

    def forward(self, x):
        assert float(x.sum()) == 0
        return self.linear(x)


def test_a_module_that_looks_at_values_is_counted_where_it_is():
    x = torch.zeros(BATCH, 5)
    plain, looking = (
        counted_memory(nn.Linear(5, 7), x),
        counted_memory(LooksAtValues(), x),
    )
    assert looking.kept == plain.kept
    assert plain.peak <= looking.peak <= plain.peak + 100


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(5, 700), nn.ReLU(), nn.Linear(700, 3)),
        nn.Sequential(nn.Linear(5, 64), nn.Tanh(), nn.LayerNorm(64), nn.Linear(64, 2)),
    ],
    ids=["an MLP", "normalised"],
)
def test_what_is_measured_is_what_was_counted(module, capfd):
    x = torch.zeros(BATCH, 5)
    expected = counted_memory(module, x).peak
    module.eval()
    measured = measured_peak(module, x)
    # Kernels take next to no more than the tensors that they return, here.
    assert measured == pytest.approx(expected, rel=0.1)
    assert not module.training
    assert all(p.grad is None for p in module.parameters())
    assert "KINETO_LOG_LEVEL" not in os.environ
    assert capfd.readouterr() == ("", "")


def test_what_was_there_before_is_not_measured():
    module, x = nn.Linear(5, 7), torch.zeros(BATCH, 5)
    alone = measured_peak(module, x)
    beside = [torch.zeros(100_000) for _ in range(3)]
    assert measured_peak(module, x) == alone
    del beside
    gc.collect()
    assert measured_peak(module, x) == alone


def test_a_fault_leaves_the_module_as_it_was():
    class Faulty(LooksAtValues):
        def forward(self, x):
            raise RuntimeError("it cannot")

    module = Faulty().eval()
    with pytest.raises(RuntimeError, match="it cannot"):
        measured_peak(module, torch.zeros(BATCH, 5))
    assert not module.training
