"""How architectures train: rules with known answers, and a small study against its parts."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from archtrial.experiments import profile
from archtrial.experiments.profile import measuring_trainability as measuring
from archtrial.experiments.profile import trainability
from archtrial.experiments.profile.trainability import working
from archtrial.records.store import Store
from archtrial.records.table import CurvePoint, Run
from archtrial.space import Real
from archtrial.trainers import Item
from archtrial.training import run
from archtrial.training.curvature import curvature
from archtrial.training.layers import gradient_norms
from archtrial.training.module import build

RATES = (0.01, 0.1, 1.0, 10.0)


# --- which rates work ----------------------------------------------------------------


def test_a_ranges_ends_lie_where_a_line_crosses_what_is_asked():
    # Asked is .9; from 1.0 at .1 down to .8 at .01, and down to 0 at 1.
    found = working(RATES, [0.8, 1.0, 0.0, 0.0], 0.0)
    assert found.low == pytest.approx(10**-1.5)
    assert found.high == pytest.approx(10**-0.9)
    assert found.decades == pytest.approx(0.6)
    assert (found.open_low, found.open_high) == (False, False)


def test_a_range_that_reaches_what_was_tried_is_open_there():
    found = working(RATES, [0.95, 1.0, 0.95, 0.92], 0.0)
    assert (found.low, found.high) == pytest.approx((0.01, 10.0))
    assert found.open_low
    assert found.open_high
    assert found.decades == pytest.approx(3)


def test_what_is_asked_counts_from_the_constant_predictor():
    # .9 of the way from .5 to 1 is .95.
    found = working(RATES, [0.5, 0.9, 1.0, 0.9], 0.5)
    assert found.decades == pytest.approx(1.0)


def test_rates_beyond_one_that_fails_do_not_count():
    assert working(RATES, [1.0, 0.0, 0.99, 0.98], 0.0).high < 0.1


def test_where_nothing_beats_the_constant_predictor_no_rate_works():
    assert working(RATES, [0.1, 0.1, 0.1, 0.1], 0.1) is None


def test_losses_are_turned_by_who_asks():
    found = working(RATES, [-2.0, -1.0, -3.0, -3.0], -3.0)
    assert found.low == pytest.approx(10 ** (-1 - 0.2))


# --- steps ---------------------------------------------------------------------------


def ran(*points, **given):
    curve = tuple(CurvePoint(step, 0.0, score) for step, score in points)
    return Run("net", 0, 1, "confirm", {}, points[-1][1], curve=curve, **given)


@pytest.mark.parametrize(
    ("target", "steps"),
    [(0.3, 5.0), (0.5, 10.0), (0.6, 15.0), (0.7, 20.0), (0.71, None)],
)
def test_a_target_is_reached_on_the_line_between_evaluations(target, steps):
    found = trainability._reached(ran((10, 0.5), (20, 0.7), (30, 0.6)), 1, 0.1, target)
    assert found == (None if steps is None else pytest.approx(steps))


def test_of_an_error_less_is_reached():
    assert trainability._reached(ran((10, 2.0), (20, 1.0)), -1, 4.0, 3.0) == 5.0


# --- a small study -------------------------------------------------------------------


class Chain(nn.Module):
    """Ten layers that shorten gradients a hundredfold and more."""

    def __init__(self, input_shape, num_outputs):
        super().__init__()
        layers = [nn.Linear(*input_shape, 12)]
        for _ in range(10):
            layers += [nn.Linear(12, 12, bias=False), nn.Tanh()]
            nn.init.orthogonal_(layers[-2].weight, gain=0.3)
        self.layers = nn.Sequential(*layers, nn.Linear(12, num_outputs))

    def forward(self, x):
        return self.layers(x)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trainability")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = rng.normal(size=(300, 5)) + 1.5 * y[:, None]
    np.savez(folder / "data.npz", x=x.astype(np.float32), y=y)
    declared = profile.Protocol(
        data=str(folder / "data.npz"), architectures=("linear", Chain), steps=12,
        only=("trainability",), learning_rates=(0.03,), configurations=6, evaluations=6,
        space={"learning_rate": Real(1e-4, 0.3, log=True)},
    )  # fmt: skip
    begun = profile.Study(declared, folder / "study")
    begun.run()
    return begun


@pytest.fixture(scope="module")
def found(study):
    document = json.loads(study.verdict.to_json())
    return {e["name"]: e for e in document["groups"]["trainability"]["architectures"]}


def recorded(study, **coordinates):
    with Store(study.folder, read_only=True) as store:
        return [
            r
            for r in store.runs()
            if coordinates.items() <= r.coordinates.items()
            and ("group" in r.coordinates) == bool(coordinates)
        ]


def test_the_share_that_trains_is_counted_exactly(study, found):
    constant = max(np.bincount(study.split.y_validation)) / len(
        study.split.y_validation
    )
    document = study.verdict.to_dict()["groups"]["trainability"]
    # The class that is most frequent in training is here the most frequent at all.
    assert document["constant"] <= constant
    enough = 0.9 * (1 - document["constant"])
    for name, entry in found.items():
        runs = [r for r in recorded(study, part="space") if r.arm == name]
        assert len({r.configuration["learning_rate"] for r in runs}) == 6
        trained = sum(1 - r.validation <= enough for r in runs)
        exact = stats.binomtest(trained, 6).proportion_ci(0.95, "exact")
        assert entry["trains"]["trained"] == trained
        assert entry["trains"]["estimate"] == trained / 6
        assert (entry["trains"]["low"], entry["trains"]["high"]) == pytest.approx(exact)


def test_every_rate_is_tried_on_every_seed_from_the_same_weights(study, found):
    runs = [r for r in recorded(study, part="rates") if r.arm == "linear"]
    rates = measuring.RATES
    assert rates[0] == 1e-4
    assert rates[-1] == 1.0
    assert sorted((r.seed, r.configuration["learning_rate"]) for r in runs) == [
        (seed, rate) for seed in (1, 2, 3, 4) for rate in rates
    ]
    assert len({r.pair for r in runs}) == 1
    scores = [
        [r.validation for r in sorted(runs, key=lambda r: r.coordinates["rate"])
         if r.seed == seed]
        for seed in (1, 2, 3, 4)
    ]  # fmt: skip
    constant = study.verdict.to_dict()["groups"]["trainability"]["constant"]
    widths = [working(rates, own, constant).decades for own in scores]
    entry = found["linear"]["rates"]["decades"]
    assert entry["estimate"] == pytest.approx(np.mean(widths))
    half = stats.t.ppf(0.975, 3) * np.std(widths, ddof=1) / 2
    assert entry["high"] - entry["estimate"] == pytest.approx(half)


def test_gradients_are_those_of_each_training_before_its_first_step(study, found):
    problem = study.loops.problem
    objective = problem.minimised()
    x, y = torch.from_numpy(problem.x_train[:500]), objective.targets()[:500]
    ratios = []
    for r in recorded(study):
        if (r.arm, r.stage) != ("Chain", "confirm"):
            continue
        item = Item("Chain", r.pair, r.seed, "confirm", r.configuration)
        module = build(problem, study.loops.job(item))
        norms = list(gradient_norms(module, x, y, objective, 0).values())
        ratios.append(math.log10(norms[0] / norms[-1]))
    told = found["Chain"]["gradients"]
    assert len(told["layers"]) == len(told["norms"]) == 13
    assert told["layers"][-1] == "outputs"
    assert told["ratio"]["estimate"] == pytest.approx(10 ** np.mean(ratios), rel=1e-4)
    assert told["ratio"]["per_layer"] == pytest.approx(
        10 ** (np.mean(ratios) / 12), rel=1e-4
    )
    assert told["verdict"] == "vanish"
    assert found["linear"]["gradients"]["verdict"] == "neither"
    assert any("vanish in Chain" in w for w in study.verdict.to_dict()["warnings"])


def test_curvature_is_measured_on_the_way(study, found):
    assert found["linear"]["curvature"]["steps"] == [0, 1, 4, 12]
    runs = [r for r in recorded(study, part="curvature") if r.arm == "linear"]
    assert [r.seed for r in runs] == [1, 2, 3]
    problem = study.loops.problem
    objective = problem.minimised()
    x, y = torch.from_numpy(problem.x_train[:500]), objective.targets()[:500]
    for r in runs:
        item = Item("linear", r.pair, r.seed, "confirm", r.configuration)
        module = build(problem, study.loops.job(item))
        largest, _ = curvature(module, x, y, 0, objective)
        step, told = r.measures["curvature"][0]
        assert step == 0
        assert told == pytest.approx(largest, rel=0.03)
    # The same training as that of the shared seeds, whose end the curve has.
    shared = {r.seed: r for r in recorded(study) if r.arm == "linear"}
    assert all(r.validation == shared[r.seed].validation for r in runs)


def test_steps_and_spread_are_those_of_the_shared_curves(study, found):
    fresh = [r for r in recorded(study) if r.arm == "linear" and r.stage == "confirm"]
    assert len(fresh) == 6
    spread = found["linear"]["spread"]
    scores = [r.validation for r in fresh]
    assert spread["estimate"] == pytest.approx(np.std(scores, ddof=1))
    quantile = stats.chi2.ppf(0.975, 5)
    assert spread["low"] == pytest.approx(spread["estimate"] * math.sqrt(5 / quantile))
    steps = found["linear"]["steps"]
    constant = study.verdict.to_dict()["groups"]["trainability"]["constant"]
    target = constant + 0.9 * (np.mean(scores) - constant)
    assert steps["target"] == pytest.approx(target)
    each = [trainability._reached(r, 1, constant, target) for r in fresh]
    known = [s for s in each if s is not None]
    assert steps["never"] == 6 - len(known)
    assert steps["steps"]["estimate"] == pytest.approx(np.mean(known))


def test_the_page_and_its_figures_show_it(study):
    page = study.judgement.page()
    assert "How do they train?" in page
    assert "Which learning rates work" in page
    for name in ("rates", "gradients", "curvature"):
        assert study.judgement.figure(name) is not None


def test_what_has_no_second_derivatives_says_so(study, monkeypatch):
    problem = study.loops.problem
    item = Item("linear", 0, 1, "confirm", {"learning_rate": 0.1})
    job = dataclasses.replace(study.loops.job(item), keep_at=(0, 3))
    outcome = run.train(problem, job)
    told = measuring._curvatures(problem, job, outcome, 0, 0)
    assert [step for step, _ in told["curvature"]] == [0, 3]
    failed = dataclasses.replace(outcome, error="it raised")
    assert measuring._curvatures(problem, job, failed, 0, 0) == {"curvature": []}

    def raises(said):
        def instead(*_):
            raise RuntimeError(said)

        monkeypatch.setattr(measuring, "curvature", instead)
        return measuring._curvatures(problem, job, outcome, 0, 0)

    said = "derivative for aten::own_backward is not implemented"
    assert raises(said) == {"curvature": [], "obstacle": said}
    with pytest.raises(RuntimeError, match="another kind"):
        raises("of another kind")


def test_seeds_that_never_get_there_are_told_beside_the_mean_of_the_others():
    found = {"estimate": 12.0, "low": 8.0, "high": 16.0}
    assert trainability._steps_of({"steps": found, "never": 0}) == "12 (8 to 16)"
    told = trainability._steps_of({"steps": found, "never": 2})
    assert told == "12 (8 to 16), 2 seeds never"
