"""Evidence of a trial that looks real: mlp against cnn on MNIST-1D."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from archtrial.records.table import CurvePoint, Run
from archtrial.report import Evidence
from archtrial.space import Choice, Integer, Real
from archtrial.words import verdict as words


@dataclasses.dataclass(frozen=True)
class Score:
    name: str = "accuracy"
    higher_is_better: bool = True
    bounded: bool = True


SHARED = {
    "learning_rate": Real(1e-4, 1e-1, log=True),
    "weight_decay": Real(1e-6, 1e-1, log=True),
    "label_smoothing": Real(0.0, 0.2),
}
SPACES = {
    "mlp": SHARED | {"width": Choice((64, 100, 160)), "depth": Integer(1, 3)},
    "cnn": SHARED | {"width": Choice((15, 25, 40)), "norm": Choice(("none", "batch"))},
}
PEAKS = (0.655, 0.905, 0.86, 0.72, 0.66, 0.64)


def make_runs(arms=("mlp", "cnn"), n=16, seed=0, spaces=None, curves=True):
    """Returns runs whose score falls off quadratically from a best learning rate."""
    spaces = SPACES if spaces is None else spaces
    rng = np.random.default_rng(seed)
    shared = [{k: d.value(rng.random()) for k, d in SHARED.items()} for _ in range(n)]
    runs = []
    for arm, peak in zip(arms, PEAKS, strict=False):
        space = spaces.get(arm, SPACES["cnn"])
        truth = []
        for pair in range(n):
            own = {k: d.value(rng.random()) for k, d in space.items()}
            configuration = own | {k: v for k, v in shared[pair].items() if k in own}
            place = SHARED["learning_rate"].position(configuration["learning_rate"])
            truth.append((configuration, max(0.1, peak - 1.1 * (place - 0.55) ** 2)))

        def run(pair, seed, stage, arm=arm, truth=truth):
            configuration, mean = truth[pair]
            diverged = stage == "search" and mean < 0.35
            validation = 0.1 if diverged else float(mean + rng.normal(0, 0.012))
            steps = np.linspace(150, 1500, 10).astype(int)
            points = tuple(
                CurvePoint(
                    int(step),
                    float(2.3 * np.exp(-step / 400)),
                    float(validation * (1 - np.exp(-step / 260)))
                    if not diverged
                    else 0.1,
                )
                for step in steps
            )
            return Run(
                arm=arm,
                pair=pair,
                seed=seed,
                stage=stage,
                configuration=configuration,
                validation=validation,
                test=0.1 if diverged else float(mean + rng.normal(-0.004, 0.012)),
                diverged=diverged,
                flops=2.4e10 if arm == "mlp" else 9.1e10,
                parameters=15_210 if arm == "mlp" else 5_210,
                seconds=2.5,
                curve=points if curves else (),
            )

        searched = [run(pair, 0, "search") for pair in range(n)]
        order = sorted(range(n), key=lambda pair: -searched[pair].validation)
        runs += searched
        runs += [run(pair, s, "confirm") for pair in order[:4] for s in (1, 2, 3)]
        runs += [run(order[0], s, "winner") for s in range(4, 14)]
        runs += [
            dataclasses.replace(run(order[1], s, "default"), pair=-1) for s in (0, 1, 2)
        ]
    return runs


def make_curve(runs, arm, efforts):
    """Returns a tuning curve: the exact expectation of the best of k by validation."""
    searched = [run for run in runs if run.arm == arm and run.stage == "search"]
    searched.sort(key=lambda run: run.validation)
    n = len(searched)
    rank = np.arange(1, n + 1)
    effort = np.arange(1, efforts + 1)
    weights = np.stack([(rank / n) ** k - ((rank - 1) / n) ** k for k in effort])
    validation = weights @ np.array([run.validation for run in searched])
    test = weights @ np.array([run.test for run in searched])
    half = 0.09 / np.sqrt(effort)
    return SimpleNamespace(
        effort=effort,
        validation=validation,
        low=validation - 1.6 * half,
        high=np.minimum(validation + half, 1.0),
        test=test,
    )


def make_comparison(baseline="mlp", challenger="cnn", **changes):
    comparison = {
        "verdict": "architecture",
        "strong": True,
        "reason": None,
        "sentence": "",
        "baseline": baseline,
        "challenger": challenger,
        "metric": "accuracy",
        "higher_is_better": True,
        "scored_on": "test",
        "margin": 0.005,
        "alpha": 0.05,
        "estimand": "configuration",
        "paired": True,
        "configurations": 16,
        "effort": 4,
        "effect": {"estimate": 0.2412, "low": 0.203, "high": 0.279},
        "standard_error": 0.017,
        "p_value": 0.0002,
        "p_value_adjusted": 0.0002,
        "effect_at_equal_compute": {
            "estimate": 0.2201,
            "low": 0.171,
            "high": 0.266,
            "p_value": 0.0004,
            "baseline_effort": 4,
            "challenger_effort": 1,
        },
        "baseline_score": {"estimate": 0.6331, "low": 0.601, "high": 0.66},
        "challenger_score": {"estimate": 0.8743, "low": 0.843, "high": 0.9},
        "probability_better": {
            "searches": {"estimate": 0.987, "low": 0.93, "high": 1.0},
            "seeds": {"estimate": 1.0, "low": 0.69, "high": 1.0, "pairs": 10},
        },
        "tuning_to_match": {
            "multiple": {"estimate": None, "low": 1.0, "high": None, "at_most": False},
            "trials": {"estimate": None, "low": 4, "high": None, "at_most": False},
            "reportable_up_to": 1.0,
            "would_settle": 64,
        },
        "catch_up": "unknown",
        "test_set_floor": 0.0118,
        "minimum_detectable_effect": 0.043,
        "would_settle": None,
        "other_reading": {
            "estimand": "run",
            "verdict": "architecture",
            "effect": {"estimate": 0.2388, "low": 0.199, "high": 0.28},
            "p_value": 0.0002,
        },
        "ladder": None,
        "robustness": None,
        "published": None,
        "warnings": [],
    } | changes
    if "sentence" not in changes:
        metric = words.digits([comparison], Score())
        comparison["sentence"] = words.sentence(comparison, metric=metric, best=0.64)
    return comparison


def make_evidence(**changes):
    runs = make_runs()
    evidence = Evidence(
        document={
            "schema": 2,
            "study": {
                "protocol_hash": "b41c0f7e9a52d3f18e66",
                "data": "mnist1d",
                "seed": 0,
                "configurations": 16,
                "effort": 4,
            },
            "comparisons": [
                make_comparison(
                    warnings=[
                        "2 of 16 configurations of mlp diverged; they count at the"
                        " score of the constant predictor."
                    ]
                )
            ],
        },
        runs=runs,
        metric=Score(),
        spaces=SPACES,
        curves={arm: make_curve(runs, arm, 4) for arm in ("mlp", "cnn")},
        protocol={
            "data": "mnist1d",
            "baseline": {
                "name": "mlp",
                "spec": "mlp",
                "source": "def mlp():\n    ...\n",
            },
            "effort": 4,
            "configurations": 16,
            "margin": 0.005,
            "alpha": 0.05,
            "steps": 1500,
            "batch_size": 100,
            "recipe": {"optimizer": "adamw", "schedule": "cosine", "warmup": 0.05},
            "seeds": [1, 2, 3],
        },
        environment={
            "archtrial": "0.1.0",
            "torch": "2.13.0",
            "processor": "2 cores",
            "time": "1 min 52 s",
        },
        notes=["3 rows of the test set also stand in the training set."],
        loading={
            "cnn": 'import archtrial\nmodel = archtrial.load("studies/b41c", "cnn")'
        },
    )
    return dataclasses.replace(evidence, **changes)


@pytest.fixture
def evidence():
    return make_evidence()


def estimate(estimate, low, high, **more):
    return {"estimate": estimate, "low": low, "high": high, **more}


LADDER = {
    # The challenger at 1x less the margin: what the baseline is to reach.
    "target": estimate(0.8693, 0.838, 0.895),
    "rungs": [
        {
            "rung": 1,
            "configurations": 16,
            "multiple": 0.25,
            "baseline_score": estimate(0.6331, 0.601, 0.66),
            "challenger_score": estimate(0.8743, 0.843, 0.9),
            "ahead_of_target": estimate(-0.2362, -0.274, -0.198),
            "effect": None,
            "reason": None,
        },
        {
            "rung": 2,
            "configurations": 16,
            "multiple": 0.5,
            "baseline_score": estimate(0.668, 0.63, 0.7),
            "challenger_score": estimate(0.889, 0.862, 0.913),
            "ahead_of_target": estimate(-0.2013, -0.245, -0.157),
            "effect": None,
            "reason": None,
        },
        {
            "rung": 4,
            "configurations": 16,
            "multiple": 1.0,
            "baseline_score": estimate(0.69, 0.655, 0.72),
            "challenger_score": None,
            "ahead_of_target": estimate(-0.1793, -0.223, -0.138),
            "effect": None,
            "reason": None,
        },
    ],
    "reaches": "no",
    "longest": 4,
    "rung": {"estimate": None, "low": None, "high": None},
    "extrapolated": {
        "rung": 8,
        "baseline_score": estimate(0.714, 0.66, 0.76),
        "ahead_of_target": estimate(-0.155, -0.21, -0.1),
    },
}


def make_row(part, effect, standing="holds", kind="half", **changes):
    whole = kind in ("median", "matched")
    return {
        "part": part,
        "kind": kind,
        "configurations": 16 if whole else 8,
        "effort": 4 if whole else 2,
        "estimand": "configuration",
        "effect": effect,
        "p_value": 0.004,
        "p_value_adjusted": 0.03,
        "standing": standing,
    } | changes


ROBUSTNESS = {
    "rows": [
        make_row("learning_rate, lower half", estimate(0.31, 0.24, 0.39)),
        make_row("learning_rate, upper half", estimate(0.19, 0.12, 0.25)),
        make_row("weight_decay, lower half", estimate(0.24, 0.17, 0.31)),
        make_row("weight_decay, upper half", estimate(0.23, 0.15, 0.3)),
        make_row("label_smoothing, lower half", estimate(0.25, 0.19, 0.32)),
        make_row(
            "label_smoothing, upper half",
            estimate(0.1, -0.04, 0.23),
            "lost",
            p_value=0.1,
        ),
        make_row("median instead of mean", estimate(0.25, 0.2, 0.29), kind="median"),
        make_row(
            "mlp with as many parameters", estimate(0.21, 0.17, 0.25), kind="matched"
        ),
    ],
    "opposite": [],
    "lost": ["label_smoothing, upper half"],
    # Parts of which too few configurations are known.
    "skipped": ["norm = batch"],
}
PUBLISHED = {
    "gap": 0.03,
    "tuning": estimate(0.024, 0.019, 0.029),
    "architecture": estimate(0.002, -0.004, 0.008),
    "selection_luck": estimate(0.004, -0.001, 0.009),
}
ATTRIBUTION = {
    "deviation": 0.12,
    "runs": 40,
    "shares": {
        "architecture": estimate(0.31, 0.22, 0.4),
        "hyperparameters": estimate(0.55, 0.44, 0.63),
        "interaction": estimate(0.12, 0.06, 0.2),
        "seed": estimate(0.02, 0.01, 0.04),
    },
    "importance": {
        "mlp": {
            "learning_rate": estimate(0.71, 0.5, 0.82),
            "width": estimate(0.09, 0.0, 0.22),
            "depth": estimate(0.04, 0.0, 0.15),
        },
        "cnn": {
            "learning_rate": estimate(0.82, 0.66, 0.9),
            "norm": estimate(0.07, 0.0, 0.19),
        },
    },
}
FACTORIAL = {
    "effects": [
        {
            "name": name.replace(" x ", ", with "),
            "factors": name.split(" x "),
            "effect": effect,
            "p_value": p_value,
            "p_value_adjusted": min(1.0, 3 * p_value),
            "claimed": claimed,
        }
        for name, effect, p_value, claimed in (
            ("residual", estimate(0.031, 0.018, 0.044), 0.0002, True),
            ("norm", estimate(0.012, -0.002, 0.026), 0.09, False),
            ("residual x norm", estimate(-0.006, -0.02, 0.008), 0.4, False),
        )
    ]
}


def make_whole_evidence(**changes):
    """Returns evidence of everything that a document may hold."""
    evidence = make_evidence()
    (comparison,) = evidence.document["comparisons"]
    comparison |= {
        "ladder": LADDER,
        "robustness": ROBUSTNESS,
        "published": PUBLISHED,
        "would_settle": {
            "configurations": 64,
            "times_cost": 4.0,
            "test_examples": None,
        },
    }
    study = evidence.document["study"] | {
        "attribution": ATTRIBUTION,
        "factorial": FACTORIAL,
        "winner": {
            "arm": "cnn",
            "score": estimate(0.8743, 0.843, 0.9),
            "rerun": estimate(0.8661, 0.851, 0.881, seeds=10),
            "lead": estimate(0.2412, 0.203, 0.279),
            "gain": estimate(0.2301, 0.2, 0.26),
            "luck": estimate(0.0082, -0.004, 0.02),
        },
        "looks": [
            {
                "configurations": 16,
                "alpha": 0.0,
                "decisions": {"cnn": "go on"},
            },
            {
                "configurations": 32,
                "alpha": 0.0055,
                "decisions": {"cnn": "claim"},
            },
        ],
        "probes": [
            {
                "tuner": "TPE",
                "trials": 32,
                "best_validation": 0.68,
                "score": estimate(0.671, 0.655, 0.687, seeds=3),
                "reaches": False,
            },
            {
                "tuner": "GP",
                "trials": 32,
                "best_validation": 0.69,
                "score": estimate(0.684, 0.66, 0.708, seeds=3),
                "reaches": False,
            },
        ],
        "ceilings": {
            "mlp": estimate(
                0.70,
                0.67,
                0.75,
                hyperparameters=2,
                noise=0.01,
                backtest={"passed": True, "error": 0.01, "effort": 8},
            ),
            "cnn": {"reason": "16 configurations are fewer than 64"},
        },
        # What calibration.published_error returns.
        "calibration": {
            "configurations": 16,
            "effort": 4,
            "paired": True,
            "studies": 10_000,
            "architecture": 0.0041,
            "baseline": 0.0038,
            "worst": 0.012,
            "settings": 18,
            "worst_setting": "20 and 50 % of runs diverge",
        },
    }
    return dataclasses.replace(
        evidence,
        document=evidence.document | {"study": study},
        price_per_hour=2.5,
        **changes,
    )


@pytest.fixture
def whole():
    return make_whole_evidence()
