import math
import pickle
import re
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from archtrial import zoo
from archtrial.data.inputs import Column, Inputs
from archtrial.errors import ArmError
from archtrial.space import Real, sample
from archtrial.testing import KnownTruth, Surface, check_architecture
from archtrial.zoo.depth import StochasticDepth

TABLE = Inputs(
    (5,), "table", (Column("a", 0, 4), Column("b", 3, None), Column("c", 4, None))
)
ARM = SimpleNamespace(name="a")
BEST = {"learning_rate": 0.01}


def test_the_same_arguments_give_the_same_scores():
    truth = KnownTruth({"a": Surface(), "b": Surface()})
    once = truth(ARM, BEST, 5, 100)
    assert pickle.loads(pickle.dumps(truth))(ARM, BEST, 5, 100) == once
    assert truth(ARM, BEST, 6, 100) != once
    assert truth(ARM, BEST, 5, 200) != once
    # Two names of one architecture are two initialisations.
    assert truth(SimpleNamespace(name="b"), BEST, 5, 100) != once


def test_scores_spread_around_the_surface():
    truth = KnownTruth({"a": Surface(lag=20.0)})
    scores = [truth(ARM, BEST, seed, 1000) for seed in range(400)]
    test = np.array([s["test"] for s in scores])
    noise = np.array([s["validation"] for s in scores]) - test
    assert test.mean() == pytest.approx(0.78, abs=0.002)
    assert test.std() == pytest.approx(0.01, rel=0.1)
    assert noise.std() == pytest.approx(0.01, rel=0.1)
    worse = truth(ARM, {"learning_rate": 1e-4}, 0, 1000)
    assert worse["test"] == pytest.approx(0.1 - 0.02, abs=0.05)


def test_a_configuration_may_leave_hyperparameters_out():
    truth = KnownTruth({"a": Surface(seed_spread=0.0)}, validation_noise=0.0)
    # The middle of 1e-4 to 1e-1 lies half a decade from the optimum.
    expected = 0.1 + 0.7 * (1 - (0.5 / 2) ** 2)
    assert truth(ARM, {}, 0, 1)["test"] == pytest.approx(expected)


def test_runs_diverge_and_seeds_fail_as_often_as_said():
    truth = KnownTruth({"a": Surface(diverging=0.25, failing_seeds=0.3)})
    scores = [truth(ARM, sample(truth.space, 0, i), i, 100)["test"] for i in range(600)]
    diverged = np.isnan(scores)
    assert diverged.mean() == pytest.approx(0.25, abs=0.06)
    failed = np.array(scores)[~diverged] == 0.1
    assert failed.mean() == pytest.approx(0.3, abs=0.06)
    assert all(
        math.isnan(truth(ARM, {"learning_rate": 0.09}, s, 9)["validation"])
        for s in (1, 2)
    )


@pytest.mark.parametrize(
    "surface",
    [
        Surface(),
        Surface(width=1.0, failing_seeds=0.3, diverging=0.2),
        Surface(lag=50.0),
    ],
)
def test_the_truth_is_what_searches_end_with(surface):
    truth = KnownTruth({"a": surface})
    effort, searches = 3, 1500
    ends = []
    for study in range(searches):
        drawn = [sample(truth.space, study, i) for i in range(effort)]
        runs = [truth(ARM, c, 10 * study, 500)["validation"] for c in drawn]
        picked = drawn[int(np.argmax(np.nan_to_num(runs, nan=surface.floor)))]
        fresh = truth(ARM, picked, 10 * study + 1, 500)["test"]
        ends.append(surface.floor if math.isnan(fresh) else fresh)
    error = np.std(ends) / math.sqrt(searches)
    assert truth.expected(effort, "a", steps=500) == pytest.approx(
        np.mean(ends), abs=4 * error
    )


def test_arms_that_are_the_same_differ_by_nothing():
    truth = KnownTruth({"a": Surface(), "b": Surface()})
    assert truth.delta(4, "a", "b") == 0
    assert truth.expected(16, "a") > truth.expected(1, "a") + 0.1


def test_several_hyperparameters_can_matter():
    space = {
        "learning_rate": Real(1e-4, 1e-1, log=True),
        "weight_decay": Real(1e-6, 1e-2, log=True),
    }
    optimum = {"learning_rate": 0.01, "weight_decay": 1e-4}
    one, two = Surface(), Surface(optimum=optimum)
    truth = KnownTruth({"one": one, "two": two}, space)
    assert truth.delta(4, "one", "two") < -0.05


def test_an_arm_without_a_surface_is_the_users_mistake():
    truth = KnownTruth({"a": Surface(), "b": Surface()})
    with pytest.raises(ArmError, match="'c'") as caught:
        truth(SimpleNamespace(name="c"), BEST, 0, 1)
    assert "a or b" in str(caught.value)


# ------------------------------------------------------- anybody's architecture, checked


class Sound(nn.Module):
    space: ClassVar = {"width": [4, 8], "dropout": (0.0, 0.5)}

    def __init__(self, input_shape, num_outputs, width=4, dropout=0.0):
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(input_shape), width), nn.ReLU()
        )
        self.drop, self.head = nn.Dropout(dropout), nn.Linear(width, num_outputs)

    def forward(self, x):
        return self.head(self.drop(self.body(x)))


class Idle(Sound):
    """Has a layer that nobody calls."""

    def __init__(self, input_shape, num_outputs, width=4, dropout=0.0):
        super().__init__(input_shape, num_outputs, width, dropout)
        self.unused = nn.Linear(3, 3)


class OnlyWide(Sound):
    def forward(self, x):
        if self.head.in_features == 4:
            raise RuntimeError("too narrow")
        return super().forward(x)


class OnlySquare(Sound):
    def forward(self, x):
        return super().forward(x.view(len(x), 1, 8, 8))


class Infinite(Sound):
    def forward(self, x):
        return super().forward(x) / 0


class Fickle(Sound):
    def forward(self, x):
        return super().forward(x) + float(np.random.default_rng().normal())


class Looks(Sound):
    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


class Embeds(nn.Module):
    def __init__(self, input_shape, num_outputs, words=20):
        super().__init__()
        self.embed, self.head = nn.Embedding(words, 4), nn.Linear(4, num_outputs)

    def forward(self, x):
        return self.head(self.embed(x).mean(1))


SHAPES = [(1, 8, 8), (5,)]


def test_what_is_sound_passes_at_every_shape():
    found = check_architecture(Sound, SHAPES)
    assert found.notes == ()
    assert found.obstacles == {}


# By the kinds of input that a family reads; small, and of every form.
OF_KINDS = {
    "table": [TABLE],
    "sequence": [(9,), (2, 9)],
    "image": [(1, 8, 8), (3, 30, 28)],
    "array": [(5,)],
}


def published(name):
    entry = zoo.get(name)
    return entry.family.size if entry.variant is None else entry.variant.size


# Of ImageNet's size are counted (test_families.py) and no more; they take minutes.
SMALL = [name for name in zoo.entries() if published(name).parameters < 1_000_000]


@pytest.mark.parametrize("name", SMALL)
def test_every_family_and_variant_of_the_zoo_passes(name):
    kinds = zoo.get(name).kinds
    if kinds == ("image",):
        shapes = [(1, 28, 28), (3, 30, 28)]
    else:
        every = [shape for kind in kinds for shape in OF_KINDS[kind]]
        shapes = [shape for shape in every if reads(name, shape)] or [(1, 30, 28)]
    # Large ones in less time, each shape once: all are tried at every end of their space.
    if entry_is_large(name):
        shapes = shapes[:2]
    classified = shapes[-1:] if entry_is_large(name) else shapes
    found = check_architecture(name, classified, num_outputs=(3,))
    assert found.obstacles == {}
    assert found.notes == ()
    values = check_architecture(name, shapes[:1], task="regression", num_outputs=(1,))
    assert values.obstacles == {}


def entry_is_large(name):
    return published(name).parameters > 100_000


def reads(name, shape):
    """Says whether one example is as large as the architecture needs it."""
    try:
        if not isinstance(shape, Inputs):
            zoo.get(name).function(shape, 3)
    except ArmError as error:
        if "needs at least" not in str(error):
            raise
        return False
    return True


class OfColumns(nn.Module):
    """Looks categories up, those that training never saw among them."""

    def __init__(self, inputs: Inputs, num_outputs, drop=0.3):
        super().__init__()
        self.inputs = inputs
        most = max(c.categories or 0 for c in inputs.columns)
        self.embed = nn.Embedding(most, 4)
        numbers = sum(c.categories is None for c in inputs.columns)
        self.branch = nn.Sequential(nn.Linear(4, 4), StochasticDepth(drop))
        self.head = nn.Linear(4 + numbers, num_outputs)

    def forward(self, x):
        numbers, ids = self.inputs.parted(x)
        h = self.embed(ids).mean(1)
        return self.head(torch.cat([h + self.branch(h), numbers], 1))


def test_a_table_of_numbers_and_categories():
    found = check_architecture(OfColumns, [TABLE])
    assert found.notes == ()
    assert found.obstacles == {}


class UnlikeInFleets(Sound):
    """Of width 4 alone, which is not drawn first, it looks at a value."""

    def forward(self, x):
        if self.head.in_features == 4 and bool(x.sum() > 0):
            x = -x
        return super().forward(x)


def test_fleets_are_tried_at_every_end_of_the_space():
    found = check_architecture(UnlikeInFleets, [(5,)], num_outputs=(2,))
    (why,) = found.obstacles.values()
    assert why.startswith("with width = 4: ")
    assert "__bool__" in why


def test_what_might_not_be_meant_is_said():
    notes = check_architecture(Idle, [(5,)]).notes
    assert len(notes) == 2  # with 2 outputs and with 10
    for note in notes:
        assert "no gradient reaches 2 of its parameters: unused" in note
    (why,) = set(check_architecture(Looks, SHAPES).obstacles.values())
    assert "__bool__" in why


@pytest.mark.parametrize(
    ("architecture", "says"),
    [
        (OnlyWide, [r"\(1, 8, 8\) with 2 outputs", "too narrow", "width = 4"]),
        (OnlySquare, [r"inputs \(5,\) with 2 outputs", "view|shape"]),
        (Infinite, ["finite before the first step"]),
        (Fickle, ["same results from the same seeds"]),
    ],
)
def test_what_is_wrong_is_named_with_its_shape(architecture, says):
    with pytest.raises(ArmError) as caught:
        check_architecture(architecture, SHAPES)
    for part in says:
        assert re.search(part, str(caught.value)), str(caught.value)


def test_tokens_and_values():
    found = check_architecture(Embeds, [(6,)], vocabulary=20)
    assert found.obstacles == {}
    with pytest.raises(ArmError, match="index out of range"):
        check_architecture(Embeds, [(6,)], vocabulary=21)
    found = check_architecture(Sound, [(5,)], task="regression", num_outputs=(1,))
    assert found.notes == ()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"input_shapes": []}, "input shapes"),
        ({"input_shapes": [5]}, "each a tuple"),
        ({"task": "foo"}, "classification, regression: 'foo'"),
        ({"task": "regression"}, r"num_outputs=\(1,\)"),
        ({"num_outputs": ()}, "2 at least"),
        ({"num_outputs": (1,)}, "2 at least"),
        ({"examples": 3}, "4 examples: 3"),
    ],
)
def test_what_cannot_be_checked_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        check_architecture(Sound, **{"input_shapes": [(5,)], **wrong})
