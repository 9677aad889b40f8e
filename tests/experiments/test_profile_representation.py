"""What architectures represent: networks of known answers, and a small study."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from archtrial.errors import ArmError
from archtrial.experiments import profile
from archtrial.experiments.profile import representation
from archtrial.experiments.profile.groups import Profiled
from archtrial.judge import experiment
from archtrial.records.store import Store
from archtrial.statistics.intervals import mean
from archtrial.trainers import Item


class Ring(nn.Module):
    """A convolution around a ring, then the mean: what moves changes nothing."""

    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.convolution = nn.Conv1d(
            input_shape[0], 6, 3, padding=1, padding_mode="circular"
        )
        self.last = nn.Linear(6, num_outputs)

    def forward(self, x):
        return self.last(self.convolution(x).relu().mean(2))


class Bare(nn.Module):
    """Its weight is in no layer that is called."""

    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_outputs))

    def forward(self, x):
        return x.flatten(1)[:, : len(self.weight)] * self.weight


def saved(folder):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    x = rng.normal(scale=0.3, size=(300, 1, 12)).astype(np.float32)
    for i, at in enumerate(rng.integers(0, 8, 300)):
        x[i, 0, [at, at + 1, at + 2]] += [2, 2, 2] if y[i] else [4, -2, 4]
    np.savez(folder / "data.npz", x=x, y=y)
    return str(folder / "data.npz")


def declared(data, **changes):
    given = {
        "data": data, "architectures": ("mlp=mlp(width=8)", Ring), "steps": 12,
        "only": ("representation",), "learning_rates": (0.03,), "evaluations": 2,
    }  # fmt: skip
    return profile.Protocol(**{**given, **changes})


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("representation")
    begun = profile.Study(declared(saved(folder)), folder / "study")
    begun.run()
    return begun


@pytest.fixture(scope="module")
def found(study):
    document = json.loads(study.verdict.to_json())["groups"]["representation"]
    return {e["name"]: e for e in document["architectures"]}, document["pairs"]


def trained(study, arm):
    with Store(study.folder, read_only=True) as store:
        runs = [r for r in store.runs() if (r.arm, r.stage) == (arm, "confirm")]
    items = [Item(arm, r.pair, r.seed, "confirm", r.configuration) for r in runs]
    return [
        (r, study.network(i, trained=True)) for r, i in zip(runs, items, strict=True)
    ]


def test_layers_are_those_of_the_network_in_their_order(found):
    entries, _ = found
    assert [la["name"] for la in entries["Ring"]["layers"]] == [
        "convolution (Conv1d)", "last (Linear)", "outputs",
    ]  # fmt: skip
    assert len(entries["mlp"]["layers"]) == 4


def test_what_moves_around_a_ring_changes_nothing_there(found):
    entries, _ = found
    assert [shift["by"] for shift in entries["Ring"]["shifts"]] == [0, 1, 2]
    for shift in entries["Ring"]["shifts"]:
        assert shift["kept"]["estimate"] == pytest.approx(1, abs=0.01)
        plain = entries["Ring"]["shifts"][0]["score"]["estimate"]
        assert shift["score"]["estimate"] == pytest.approx(plain, abs=0.01)
    assert entries["mlp"]["shifts"][1]["kept"]["estimate"] < 0.99


def test_unmoved_inputs_score_what_the_records_say(study, found):
    entries, _ = found
    scores = np.array([r.validation for r, _ in trained(study, "Ring")[:4]])
    told = entries["Ring"]["shifts"][0]["score"]
    expected = mean(scores, 0.05)
    assert told["estimate"] == pytest.approx(expected.estimate)
    assert told["high"] == pytest.approx(expected.high)


def test_probes_of_the_inputs_are_the_same_before_and_after_training(found):
    entries, _ = found
    first = entries["Ring"]["layers"][0]
    assert first["start"] == first["end"]
    # And whoever reads them: the first layer is given the inputs themselves.
    assert first["end"] == entries["mlp"]["layers"][0]["end"]
    # One bump or one torn apart, anywhere: no linear map of the inputs tells.
    ring = entries["Ring"]["layers"]
    assert ring[1]["end"]["estimate"] > first["end"]["estimate"] + 0.1


def test_a_layer_is_like_itself_and_a_network_like_its_inputs_of_another_seed(found):
    entries, pairs = found
    for entry in entries.values():
        diagonal = [row[i]["estimate"] for i, row in enumerate(entry["within"])]
        assert diagonal == pytest.approx([1] * len(diagonal), abs=1e-4)
        assert entry["across"][0][0]["estimate"] == pytest.approx(1, abs=1e-4)
        last = entry["across"][-1][-1]
        assert last["low"] <= last["estimate"] <= last["high"]
        # The order of seeds is nobody's: the table is symmetric.
        assert entry["across"][0][1] == entry["across"][1][0]
    (pair,) = pairs
    assert (pair["first"], pair["second"]) == ("mlp", "Ring")
    assert pair["alignment"][0][0]["estimate"] == pytest.approx(1, abs=1e-4)
    assert len(pair["alignment"]) == 4
    assert len(pair["alignment"][0]) == 3


def test_blocks_lie_where_their_layers_do(found):
    entries, pairs = found
    each = list(entries.values())
    table = representation._blocks(each, pairs, "across")
    assert table.shape == (7, 7)
    assert np.array_equal(table, table.T)
    assert table[5, 2] == pairs[0]["alignment"][2][1]["estimate"]
    assert table[4, 5] == entries["Ring"]["across"][0][1]["estimate"]
    assert np.isnan(representation._blocks(each, [], "within")[0, 5])


def test_networks_that_diverged_are_not_looked_into(study):
    records = experiment.finished(study.folder, "profile", "", opens=False)
    group = representation.Representation(Profiled(records, {}))
    told = {
        "seeds": [], "probes": {"start": [], "end": []}, "within": [], "across": [],
        "shifts": [],
    }  # fmt: skip
    entry = group._of("Ring", told)
    assert entry["across"] == []
    assert entry["layers"][0]["end"] is None
    assert entry["shifts"][1]["score"] is None
    assert "Ring" in group.warnings({"architectures": [entry]})[0]
    # A page without them is one all the same.
    both = [group._of("mlp", told), entry]
    assert group.sections({"architectures": both, "pairs": []})
    assert not group.figures({"architectures": both, "pairs": []})


def test_a_network_without_layers_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(ArmError, match="Bare has none") as refused:
        profile.Study(declared(saved(tmp_path), architectures=(Bare,)), tmp_path / "s")
    assert "--only cost" in str(refused.value)


def test_of_a_regression_probes_read_values_and_no_answer_is_kept(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=x.sum((1, 2)) + 0.1 * rng.normal(size=200))
    given = declared(str(tmp_path / "data.npz"), architectures=("linear",), steps=3)
    begun = profile.Study(given, tmp_path / "study")
    begun.run()
    (entry,) = begun.verdict.to_dict()["groups"]["representation"]["architectures"]
    # The sum of the inputs is linear in them.
    assert entry["layers"][0]["end"]["estimate"] > 0.95
    assert entry["shifts"][1]["kept"] is None
    assert math.isfinite(entry["shifts"][1]["score"]["estimate"])
    assert "linear probe" in begun.judgement.page()


def test_the_page_shows_probes_similarities_and_shifts(study):
    page = study.judgement.page()
    for said in (
        "What a linear probe reads of each layer",
        "How alike layers are across seeds and architectures",
        "What moving the inputs does to scores",
    ):
        assert said in page
