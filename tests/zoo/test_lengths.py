"""Networks that are told where sequences end, and those that are not."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from archtrial import zoo
from archtrial.data import Inputs
from archtrial.errors import ArmError
from archtrial.testing import check_architecture
from archtrial.zoo import arms, lengths, registry

UNEQUAL = Inputs((2, 9), "sequence", lengths=(1, 9))
IDS = Inputs((9,), "sequence", lengths=(1, 9), vocabulary=7)


class Told(nn.Module):
    """The mean over the steps within, of a layer on each step; dropout between."""

    def __init__(self, input_shape, num_outputs, width=8, dropout=0.0):
        super().__init__()
        self.flat = len(input_shape) == 1
        self.first = nn.Conv1d(1 if self.flat else input_shape[0], width, 1)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(width, num_outputs)

    def forward(self, x, lengths=None):
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[-1])
        return self.read(x, torch.arange(x.shape[-1]) < lengths.unsqueeze(1))

    def read(self, x, within):
        states = self.first(x.unsqueeze(1) if self.flat else x).relu()
        states = states * within.unsqueeze(1)
        mean = states.sum(2) / within.sum(1, keepdim=True)
        return self.last(self.dropout(self.norm(mean)))


class Masked(Told):
    def forward(self, x, *, mask):
        return self.read(x, mask)


class Needs(Told):
    def forward(self, x, lengths):
        return super().forward(x, lengths)


class Both(Told):
    def forward(self, x, lengths, mask):
        assert torch.equal(mask.sum(1), lengths)
        return super().forward(x, lengths)


class Untold(Told):
    def forward(self, x):
        return super().forward(x)


class Anything(Told):
    def forward(self, x, **further):
        return super().forward(x)


class Packed(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.cell = nn.GRU(input_shape[0], 4, batch_first=True)
        self.last = nn.Linear(4, num_outputs)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(
            x.mT, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return self.last(self.cell(packed)[1][-1])


class Words(nn.Module):
    def __init__(self, inputs: Inputs, num_outputs):
        super().__init__()
        self.values = nn.Embedding(inputs.vocabulary, 4)
        self.last = nn.Linear(4, num_outputs)

    def forward(self, ids):
        return self.last(self.values(ids).mean(1))


def build(architecture, inputs=UNEQUAL, **options):
    torch.manual_seed(0)
    return arms.find(architecture, options).build(inputs, 3, {})


def is_told(name):
    try:
        return isinstance(build(name), lengths.Padded)
    except ArmError:
        return False


def batch(ends=(9, 1, 4), channels=2):
    x = torch.randn(len(ends), channels, 9, generator=torch.Generator().manual_seed(1))
    for row, end in zip(x, ends, strict=True):
        row[:, end:] = torch.nan
    return x


@pytest.mark.parametrize("architecture", [Told, Masked, Needs, Both, Packed])
def test_a_network_is_told_where_each_series_ends(architecture):
    """The slow twin: each series alone, as long as it is."""
    module = build(architecture)
    assert isinstance(module, lengths.Padded)
    x = batch()
    alone = []
    for row, end in zip(x, (9, 1, 4), strict=True):
        one = row[None, :, :end]
        told = {"lengths": torch.tensor([end]), "mask": torch.ones(1, end).bool()}
        alone.append(module.network(one, **{n: told[n] for n in module.names}))
    torch.testing.assert_close(module(x), torch.cat(alone))


def test_what_is_behind_an_end_is_zero_and_nothing_else_is():
    seen = {}

    class Sees(Told):
        def forward(self, x, lengths=None):
            seen.update(x=x, lengths=lengths)
            return super().forward(x, lengths)

    x = batch()
    build(Sees)(x)
    assert seen["lengths"].tolist() == [9, 1, 4]
    assert torch.equal(seen["x"], x.nan_to_num(0))
    x[0, :, 3] = torch.nan  # a missing value is no padding, and has to be seen
    assert build(Told)(x)[0].isnan().all()
    # One channel may be missing something.
    x = batch()
    x[2, 0, 3] = torch.nan
    build(Sees)(x)
    assert seen["lengths"].tolist() == [9, 1, 4]
    assert seen["x"][2, 0, 3].isnan()


def test_series_of_one_channel_have_no_axis_for_it():
    inputs = Inputs((9,), "sequence", lengths=(2, 9))
    module = build(Told, inputs)
    x = batch()[:, 0]
    torch.testing.assert_close(
        module(x), module.network(x.nan_to_num(0), torch.tensor([9, 1, 4]))
    )


@pytest.mark.parametrize("architecture", [Told, Untold, "mlp", "gru"])
def test_networks_on_series_of_one_length_are_what_they_were(architecture):
    for inputs in ((2, 9), Inputs((2, 9), "sequence", lengths=(9, 9))):
        assert not isinstance(build(architecture, inputs), lengths.Padded)


def test_a_network_that_needs_lengths_gets_them_anywhere():
    x = batch((9, 9))
    for inputs in ((2, 9), Inputs((2, 9), "sequence", lengths=(9, 9))):
        module = build(Needs, inputs)
        torch.testing.assert_close(module(x), build(Told)(x))
    ids = torch.tensor([[1, 2, 0], [0, 0, 0]])  # 0 is a word here

    class Counts(nn.Linear):
        def __init__(self, num_outputs):
            super().__init__(1, num_outputs)

        def forward(self, x, lengths):
            assert lengths.tolist() == [3, 3]
            return super().forward(lengths.unsqueeze(1).float())

    build(Counts, Inputs((3,), "sequence", lengths=(3, 3), vocabulary=3))(ids)


@pytest.mark.parametrize("architecture", [Untold, Anything, "mlp", "linear", "cnn"])
def test_a_network_that_is_not_told_is_refused(architecture):
    with pytest.raises(ArmError) as caught:
        build(architecture)
    said = str(caught.value)
    assert "series have 1 to 9 steps" in said
    # One step is too short for a convolution of three.
    assert ("--lengths 1 uses" in said) == (architecture != "cnn")
    assert "--lengths zeros" in said
    listed = re.search(r"Take (.*), which are\.", said)[1].split(", ")
    assert {"gru", "tcn", "inception_time", "transformer"} <= set(listed)
    # The list is those that do build, and no other.
    for name, family in zoo.families().items():
        if "sequence" in family.kinds:
            assert (name in listed) == is_told(name), name


def test_ids_are_read_with_their_padding_by_whoever_is_not_told():
    assert isinstance(build(Words, IDS), Words)
    ids = torch.tensor([[3, 1, 0, 0, 0, 0, 0, 0, 0], [0] * 9])
    seen = []
    module = build("gru", IDS)
    assert isinstance(module, lengths.Padded)
    module.network.register_forward_pre_hook(
        lambda _, args, given: seen.append((args[0], given["lengths"].tolist())),
        with_kwargs=True,
    )
    module(ids)
    assert torch.equal(seen[0][0], ids)
    assert seen[0][1] == [2, 1]  # a text without words is one step of padding


def test_behind_the_end_of_ids_a_network_reads_zeros():
    """A patch that a text's end lies in would have the values of padding in it."""
    seen = []
    module = build("vit", IDS)
    module.network.network.register_forward_pre_hook(
        lambda _, args, given: seen.append((args[0], given["lengths"].tolist())),
        with_kwargs=True,
    )
    module(torch.tensor([[3, 1, 0, 0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 1, 0, 2]]))
    assert seen[0][1] == [2, 9]
    assert seen[0][0][0, :, 2:].eq(0).all()
    # Within a text 0 is an id as others are.
    assert seen[0][0].ne(0).all(1).sum(1).tolist() == [2, 9]


@pytest.mark.parametrize("patch", [2, 4])
@pytest.mark.parametrize("inputs", [UNEQUAL, IDS])
def test_patches_do_not_depend_on_how_far_a_batch_is_padded(inputs, patch):
    module = build("vit", inputs, patch=patch).eval().network
    if inputs.vocabulary is None:
        x = batch().nan_to_num(0)
    else:
        x = torch.tensor([[2] * 9, [3] + [0] * 8, [5] * 4 + [0] * 5])
    whole = module(x, lengths=torch.tensor([9, 1, 4]))[1:]
    for steps in (4, 5, 7):
        cut = module(x[1:, ..., :steps], lengths=torch.tensor([1, 4]))
        torch.testing.assert_close(cut, whole)
    for row, end in ((1, 1), (2, 4)):
        alone = module(x[row : row + 1, ..., :end], lengths=torch.tensor([end]))
        torch.testing.assert_close(alone, whole[row - 1 : row])


def test_an_embedding_is_told_only_what_its_network_takes():
    for name, family in registry.families().items():
        if family.names != "embedded":
            continue
        plain = build(name, Inputs((4, 9), "sequence", lengths=(9, 9)))
        told = isinstance(build(name, IDS), lengths.Padded)
        assert told == ("lengths" in lengths.takes(plain)), name


@pytest.mark.parametrize("architecture", [Told, Masked, Needs])
def test_runs_on_series_of_unequal_length_share_a_fleet(architecture):
    for inputs in (UNEQUAL, Inputs((9,), "sequence", lengths=(4, 9))):
        checked = check_architecture(architecture, [inputs], num_outputs=(3,))
        assert checked.obstacles == {}
        assert checked.notes == ()


def test_what_packs_its_sequences_trains_alone():
    checked = check_architecture(Packed, [UNEQUAL], num_outputs=(3,))
    assert "pack_padded_sequence" in checked.obstacles[(2, 9), 3]


@pytest.mark.parametrize("name", ["gru", "tcn", "transformer"])
def test_families_of_sequences_are_put_on_trial(name):
    for inputs in (UNEQUAL, IDS):
        checked = check_architecture(name, [inputs], num_outputs=(3,))
        assert checked.obstacles == {}


def test_what_reads_padding_is_found():
    class Reads(Told):
        def forward(self, x, lengths):
            return self.last(self.first(x).mean(2) * lengths.float().mean())

    checked = check_architecture(Reads, [UNEQUAL], num_outputs=(3,))
    assert "depend on the others of the same batch" in checked.obstacles[(2, 9), 3]


@pytest.mark.parametrize("ends", [(0, 9), (3, 8), (9, 3)])
def test_lengths_that_contradict_the_shape_are_none(ends):
    with pytest.raises(ValueError, match="lengths are from 1"):
        check_architecture(Told, [Inputs((2, 9), "sequence", lengths=ends)])


def test_random_series_of_a_check_have_every_length():
    seen = set()

    class Sees(Told):
        def forward(self, x, lengths):
            seen.update(np.asarray(lengths).tolist())
            return super().forward(x, lengths)

    inputs = Inputs((2, 6), "sequence", lengths=(2, 6))
    check_architecture(Sees, [inputs], num_outputs=(3,))
    assert seen == {2, 3, 4, 5, 6}
