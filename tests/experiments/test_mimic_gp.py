"""Students searched by Bayesian optimisation, in whole searches that are repeated."""

import collections
import dataclasses
import importlib.util
import json
import re

import numpy as np
import pytest
import safetensors.torch
import torch

from archtrial import load_tuned, probes, searches
from archtrial.errors import ProtocolError
from archtrial.experiments import mimic
from archtrial.experiments.mimic import words
from archtrial.experiments.mimic.study import Study
from archtrial.judge import experiment, repeated
from archtrial.records.store import Store
from archtrial.records.table import Run
from archtrial.space import Real
from archtrial.statistics.simultaneous import simultaneous
from archtrial.trainers import Item

SEARCHES, TRIALS, SEEDS = 6, 4, 2
SMALL = mimic.Protocol(
    data="digits",
    teacher="cnn(width=4)",
    teacher_configurations=1,
    ensemble=1,
    layouts="mlp1",
    budgets=[1_000],
    tuner="gp",
    configurations=TRIALS,
    confirm_seeds=SEEDS,
    steps=240,  # so that it learns something
    margin=0.02,
)
NAME = "mlp1-1000"


def runs_of(folder):
    with Store(folder, read_only=True) as store:
        runs = [
            dataclasses.replace(run, seconds=0.0, per_example=None)
            for run in store.runs()
        ]
    return sorted(runs, key=lambda run: run.key)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a tuner was asked."""

    space: tuple
    seen: int
    seed: int
    random: int


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study carried out without an interruption, and what its tuners were asked."""
    study, asked = Study(SMALL, tmp_path_factory.mktemp("mimic") / "study"), []
    proposing = probes.propose

    def propose(tuner, space, seen, seed, *, threads, random):
        asked.append(Asked(tuple(space), len(seen), seed, random))
        return proposing(tuner, space, seen, seed, threads=threads, random=random)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "propose", propose)
        study.run()
    return study, asked


@pytest.fixture(scope="module")
def document(whole):
    return json.loads((whole[0].folder / "verdict.json").read_text())


# What is declared.


@pytest.mark.parametrize(
    ("declared", "rule", "way_out"),
    [
        ({"searches": 8}, "depend on each other", {"tuner": "gp"}),
        ({"tuner": "gp", "effort": 2}, "effort is of searches", {"effort": None}),
        ({"tuner": "gp", "searches": 5}, "takes 6 whole searches", {"searches": 6}),
        (
            {"tuner": "gp", "alpha": 0.01, "searches": 6},
            "takes 8 whole searches",
            {"searches": 8},
        ),
        ({"tuner": "gp", "alpha": 1e-5}, "alpha is at least", {"alpha": 0.0001,
            "searches": 15}),
        (
            {"tuner": "gp", "configurations": 1},
            "it has 2 at least",
            {"configurations": 16},
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused_with_a_way_out(declared, rule, way_out):
    with pytest.raises(ProtocolError, match=rule) as caught:
        mimic.Protocol(data="digits", **declared)
    said = str(caught.value)
    for name, value in way_out.items():
        if (name, value) != ("searches", 15):
            assert str(value) in said if value else f"{name} out" in said
    corrected = {**declared, **way_out}
    mimic.Protocol(
        data="digits", **{k: v for k, v in corrected.items() if v is not None}
    )


def test_sobol_points_are_bound_to_an_effort_and_whole_searches_are_not():
    with pytest.raises(ProtocolError, match="a quarter"):
        mimic.Protocol(data="digits", configurations=8)
    mimic.Protocol(data="digits", configurations=8, tuner="gp")


def test_without_optuna_there_is_one_message_before_anything_is_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProtocolError, match="Optuna is not installed") as caught:
        Study(SMALL.replace(data="nowhere.npz"), tmp_path)
    assert "pip install 'archtrial[optuna]', or leave tuner out." in str(caught.value)
    assert "probes" not in str(caught.value)


def test_the_command_takes_them_and_says_what_they_cost(archtrial, tmp_path, document):
    options = [
        "mimic", "digits", "--teacher", "cnn(width=4)", "--teacher-configurations", 1,
        "--ensemble", 1, "--layout", "mlp1", "--budgets", "1000,", "--steps", 8,
        "--configurations", TRIALS, "--confirm-seeds", SEEDS, "--margin", ".02",
        "--dry-run", "--json", "--study", tmp_path / "study", "--tuner", "gp",
    ]  # fmt: skip
    status, printed, _ = archtrial(*options)
    assert status == 0
    told = json.loads(printed)
    assert told["protocol"]["searches"] == SEARCHES
    assert told["protocol"]["effort"] is None
    # Beside those of the networks: the ensemble's answers.
    trainings = [cost["trainings"] for cost in told["forecast"].values()]
    assert sum(trainings) + 1 == document["cost"]["trainings"]
    status, _, said = archtrial(*options, "--searches", 5)
    assert status == 2
    (typed,) = re.findall(r"--searches \d+", said)
    assert archtrial(*options, *typed.split())[0] == 0


# How it is carried out.


def test_each_search_is_whole_and_its_best_trial_gets_fresh_seeds(whole):
    runs = [run for run in runs_of(whole[0].folder) if run.arm == NAME]
    searched = collections.defaultdict(list)
    fresh = collections.defaultdict(list)
    for run in runs:
        place = run.coordinates["teacher"], run.pair // TRIALS
        (searched if run.stage == "search" else fresh)[place].append(run)
    assert len(searched) == len(fresh) == 2 * SEARCHES
    for place, own in searched.items():
        assert len(own) == TRIALS
        best = max(own, key=lambda run: (run.validation, -run.pair))
        assert [(r.pair, r.seed, r.stage) for r in fresh[place]] == [
            (best.pair, seed, "confirm") for seed in range(1, SEEDS + 1)
        ]
        assert all(r.configuration == best.configuration for r in fresh[place])
    assert {run.tuner for run in runs} == {"GP"}
    assert all(run.test is not None for run in runs)
    # Repeats are searches of their own.
    assert len({str(run.configuration) for run in runs if run.stage == "search"}) == (
        2 * SEARCHES * TRIALS
    )


def test_a_tuner_knows_its_own_search_alone_and_nothing_of_the_teacher(whole):
    _, asked = whole
    by_seed = collections.defaultdict(list)
    for each in asked:
        by_seed[each.seed].append(each)
    # One seed for each trial of each repeat, with a teacher and without.
    assert len(by_seed) == SEARCHES * TRIALS
    assert all(len({each.space for each in own}) == 2 for own in by_seed.values())
    assert collections.Counter(each.seen for each in asked) == dict.fromkeys(
        range(TRIALS), 2 * SEARCHES
    )
    assert {each.random for each in asked} == {TRIALS // 2}


def test_a_tuners_first_draws_are_random_and_then_it_learns():
    space = {"learning_rate": Real(1e-4, 1e-1, log=True)}
    rates = np.geomspace(1e-4, 1e-1, 5)

    def proposed(scores, random):
        seen = [
            ({"learning_rate": float(r)}, s) for r, s in zip(rates, scores, strict=True)
        ]
        return probes.propose("GP", space, seen, 3, random=random)

    rising, falling = [0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.4, 0.3, 0.2, 0.1]
    assert proposed(rising, 6) == proposed(falling, 6)
    assert proposed(rising, 5) != proposed(falling, 5)


def test_with_and_without_a_teacher_are_paired_and_repeats_are_not(whole):
    study, _ = whole
    seeds = {}
    for run in runs_of(study.folder):
        if run.stage == "search" and run.arm == NAME:
            item = Item(
                run.arm, run.pair, run.seed, run.stage, run.configuration,
                tuner=run.tuner, further=run.coordinates,
            )  # fmt: skip
            job = study.trainer.loops.job(item)
            place = run.pair, run.coordinates["teacher"]
            seeds[place] = job.initial_seed, job.order_seed, job.noise_seed
    for pair in range(SEARCHES * TRIALS):
        assert seeds[pair, True] == seeds[pair, False]
    assert len({initial for initial, *_ in seeds.values()}) == SEARCHES * TRIALS
    assert len({order for _, order, _ in seeds.values()}) == SEARCHES * TRIALS


class StoppedError(Exception):
    pass


@pytest.mark.parametrize(
    ("stage", "done", "workers"),
    [("students: search", 17, 1), ("students: fresh seeds", 5, 2)],
)
def test_what_goes_on_ends_with_the_same_bytes(
    whole, tmp_path, monkeypatch, stage, done, workers
):
    def watch(standing):
        if (standing.stage, standing.done) == (stage, done):
            raise StoppedError

    with pytest.raises(StoppedError):
        Study(SMALL, tmp_path).run(watch=watch)
    before = sum(run.stage == "search" and run.arm == NAME for run in runs_of(tmp_path))
    asked = []
    proposing = probes.propose
    monkeypatch.setattr(
        probes, "propose", lambda *a, **k: asked.append(a) or proposing(*a, **k)
    )
    Study(SMALL, tmp_path).run(workers=workers)
    # What was tried is not asked for again.
    assert len(asked) == 2 * SEARCHES * TRIALS - before
    study, _ = whole
    assert runs_of(tmp_path) == runs_of(study.folder)
    for name in ("verdict.json", f"tuned/{NAME}.json"):
        assert (tmp_path / name).read_bytes() == (study.folder / name).read_bytes()
    kept, wanted = (
        safetensors.torch.load_file(folder / "tuned" / f"{NAME}.safetensors")
        for folder in (tmp_path, study.folder)
    )
    assert kept.keys() == wanted.keys()
    assert all(torch.equal(kept[name], wanted[name]) for name in kept)


# How it is judged.


def test_the_gain_is_of_paired_repeats(whole, document):
    with Store(whole[0].folder, read_only=True) as store:
        runs = [r for r in store.runs() if (r.arm, r.stage) == (NAME, "confirm")]
        (teacher,) = (run for run in store.runs() if run.arm == "teacher")
    scores = np.zeros((2, SEARCHES))
    examples = np.zeros((2, len(runs[0].per_example)))
    for run in runs:
        place = int(run.coordinates["teacher"])
        scores[place, run.pair // TRIALS] += run.test / SEEDS
        examples[place] += run.per_example / (SEEDS * SEARCHES)

    def expected(differences, apart):
        found = simultaneous(
            differences[:, None],
            alpha=0.05,
            seed=0,
            test_variance=[np.var(apart, ddof=1) / len(apart)],
        )
        return [found.estimate[0], found.low[0], found.high[0]]

    (student,) = document["students"]
    gain, behind = student["gain"], student["to_teacher"]
    assert [gain[k] for k in ("estimate", "low", "high")] == pytest.approx(
        expected(scores[1] - scores[0], examples[1] - examples[0])
    )
    assert [behind[k] for k in ("estimate", "low", "high")] == pytest.approx(
        expected(scores[1] - teacher.test, examples[1] - teacher.per_example)
    )
    half = 2.5706 * np.std(scores[1], ddof=1) / np.sqrt(SEARCHES)
    assert student["with"]["estimate"] == pytest.approx(scores[1].mean())
    assert student["with"]["high"] == pytest.approx(scores[1].mean() + half, rel=1e-4)
    assert student["without"]["estimate"] == pytest.approx(scores[0].mean())


def repeats(name, scores, *, diverged=False):
    """A search by its repeats' scores; which examples are right changes nothing."""
    return [
        Run(
            name, 4 * i, 1, "confirm", {}, validation=score, test=score,
            per_example=np.full(50, score, np.float32), diverged=diverged,
        )
        for i, score in enumerate(scores)
    ]  # fmt: skip


def records_of(metric, constant=None, **changes):
    resolved = {
        "metric": metric, "task": "classification", "alpha": 0.05, "seed": 0, "data": {}
    }  # fmt: skip
    return experiment.Records("", {**resolved, **changes}, [], {}, constant)


STEP = 0.001 * np.array([1, -1, 2, -2, 0, 1])


@pytest.mark.parametrize(
    ("metric", "gain", "verdict"),
    [
        ("accuracy", 0.1, "architecture"),
        ("accuracy", -0.1, "baseline"),
        ("log_loss", 0.1, "baseline"),
        ("log_loss", -0.1, "architecture"),
        ("accuracy", 0.001, "equivalent"),
        # Clear of 0, but less than is worth having, and not within the margin.
        ("accuracy", 0.019, "inconclusive"),
        ("accuracy", 0.3, "architecture"),
    ],
)
def test_the_verdict_of_a_pair(metric, gain, verdict):
    known = {
        "without": repeats("without", 0.5 + 0 * STEP),
        "with": repeats("with", 0.5 + gain + STEP),
    }
    (found,) = repeated.compared([("without", "with")], known, records_of(metric), 0.02)
    assert found["verdict"] == verdict
    # More is better, whichever way the metric goes.
    sign = -1 if metric == "log_loss" else 1
    assert found["estimate"] == pytest.approx(sign * (gain + STEP.mean()))
    assert found["first"]["estimate"] == pytest.approx(0.5)
    assert found["low"] < found["estimate"] < found["high"]
    assert found["reason"] is None


def test_what_learned_nothing_is_not_judged():
    known = {
        "a": repeats("a", 0.1 + STEP),
        "b": repeats("b", 0.1 - STEP),
        "c": repeats("c", 0.9 + STEP),
    }
    pairs = [("a", "b"), ("c", "c")]
    records = records_of("accuracy", constant=0.1)
    lost, told = repeated.compared(pairs, known, records, 0.02)
    assert lost["verdict"] == "not_assessable"
    assert lost["reason"].startswith("a had learned nothing")
    assert told["verdict"] == "equivalent"


def test_test_examples_that_were_trained_on_may_decide():
    known = {"a": repeats("a", 0.5 + STEP), "b": repeats("b", 0.56 - STEP)}
    copies = {"copies": {"exact": 30, "near": 0, "of": 50}}
    (found,) = repeated.compared(
        [("a", "b")], known, records_of("accuracy", data=copies), 0.049
    )
    assert found["verdict"] == "architecture"  # they are alike on all examples
    for place, run in enumerate(known["b"]):
        right = np.arange(50) < 25 + 5
        known["b"][place] = dataclasses.replace(run, per_example=right.astype(float))
    (found,) = repeated.compared(
        [("a", "b")], known, records_of("accuracy", data=copies), 0.049
    )
    assert found["reason"] == "30 of 50 test examples were trained on"


def test_one_repeat_too_many_the_other_way_is_no_claim():
    differences = np.array([0.1, 0.1, 0.1, 0.1, 0.1, -0.1])
    known = {"a": repeats("a", 0.5 + 0 * STEP), "b": repeats("b", 0.5 + differences)}
    (found,) = repeated.compared([("a", "b")], known, records_of("accuracy"), 0.02)
    assert found["verdict"] == "inconclusive"
    assert found["p_value_adjusted"] > 0.05


def test_all_of_a_family_are_looked_at_together():
    rng = np.random.default_rng(0)
    base = repeats("base", 0.5 + 0 * STEP)
    known = {"base": base} | {
        f"s{j}": repeats(f"s{j}", 0.53 + 0.02 * rng.standard_normal(6))
        for j in range(8)
    }
    pairs = [("base", f"s{j}") for j in range(8)]
    records = records_of("accuracy")
    together = repeated.compared(pairs, known, records, 0.001)
    alone = [repeated.compared([pair], known, records, 0.001)[0] for pair in pairs]
    assert sum(found["verdict"] == "architecture" for found in alone) > sum(
        found["verdict"] == "architecture" for found in together
    )
    for one, other in zip(alone, together, strict=True):
        assert other["low"] < one["low"]
        assert other["high"] > one["high"]
        assert other["p_value_adjusted"] >= one["p_value_adjusted"]


def test_where_every_run_of_a_side_diverged_nothing_is_said():
    known = {
        "a": repeats("a", 0.5 + STEP),
        "b": repeats("b", 0.1 + 0 * STEP, diverged=True),
        "c": repeats("c", 0.6 + STEP),
    }
    lost, told = repeated.compared(
        [("a", "b"), ("a", "c")], known, records_of("accuracy"), 0.02
    )
    assert lost["verdict"] == "not_assessable"
    assert lost["reason"] == "every run of b on fresh seeds diverged"
    assert lost["estimate"] is None
    assert lost["low"] is None
    assert told["verdict"] == "architecture"


def test_a_repeat_is_the_mean_of_its_fresh_seeds():
    runs = [
        Run(
            "a", pair, seed, stage, {}, validation=0.1 * seed, test=0.2 * seed,
            per_example=np.array([0.0, 0.4 * seed]), diverged=diverged,
        )
        for pair, seed, stage, diverged in [
            (5, 2, "confirm", False), (1, 1, "confirm", True), (5, 1, "confirm", True),
            (1, 2, "confirm", True), (0, 0, "search", False), (5, 0, "search", False),
        ]
    ]  # fmt: skip
    first, second = repeated.averaged(runs, 4)
    assert (first.pair, second.pair) == (1, 5)
    assert first.test == second.test == pytest.approx(0.3)
    assert first.validation == pytest.approx(0.15)
    assert first.per_example == pytest.approx([0.0, 0.6])
    assert (first.diverged, second.diverged) == (True, False)


def test_many_test_examples_are_judged_as_few_are(mimic_study, monkeypatch):
    # Here of a Sobol sequence, whose runs are condensed.
    few = mimic_study.judge().verdict.document
    monkeypatch.setattr(searches, "MANY_EXAMPLES", 10)
    many = mimic_study.judge().verdict.document
    for one, other in zip(few["students"], many["students"], strict=True):
        assert other["to_teacher"] == one["to_teacher"]
        assert other["gain"]["high"] == pytest.approx(one["gain"]["high"])


def test_where_nothing_can_be_told_there_is_a_sentence():
    gain = {
        "verdict": "not_assessable", "estimate": None, "reason": "all diverged",
        "learning": [],
    }  # fmt: skip
    nothing = {"answer": None, "budgets": [], "gaps": []}
    told = words.told(
        {
            "students": [{"name": "a", "gain": gain}],
            "convolution": nothing, "depth": nothing, "teacher": None,
        },
        records_of("accuracy").metric,
    )  # fmt: skip
    assert told["sentence"] == "Nothing can be told of any student."
    assert told["warnings"] == ["Not told: the gain of a, since all diverged."]


# What is told and kept.


def test_the_page_says_what_was_searched(whole, document):
    page = whole[0].judgement.page()
    assert "best of 4 trials of Bayesian optimisation, 6 searches" in page
    assert (document["tuner"], document["searches"]) == ("gp", SEARCHES)
    assert (document["effort"], document["configurations"]) == (None, TRIALS)
    for figure in ("budgets", "gains"):
        whole[0].judgement.figure(figure)


def test_the_best_student_of_all_its_searches_is_kept(whole):
    study, _ = whole
    own = [
        run
        for run in runs_of(study.folder)
        if run.arm == NAME and run.coordinates["teacher"]
    ]
    searched = [run for run in own if run.stage == "search"]
    best = max(searched, key=lambda run: (run.validation, -run.pair))
    kept = json.loads((study.folder / "tuned" / f"{NAME}.json").read_text())
    assert kept["configuration"] == best.configuration
    seen = {r.seed: r for r in own if (r.stage, r.pair) == ("confirm", best.pair)}
    assert seen[kept["seed"]].validation == max(r.validation for r in seen.values())
    model = load_tuned(study.folder, NAME)
    x = torch.from_numpy(study.split.x_validation)
    validated = model.module(x).argmax(1).numpy()
    right = float((validated == study.split.y_validation).mean())
    assert right == pytest.approx(seen[kept["seed"]].validation)


def test_weights_with_and_without_a_teacher_lie_apart(whole):
    study, _ = whole
    places = set()
    for taught in (True, False):
        run = Run(
            NAME, 0, 1, "confirm", {}, validation=0.5, coordinates={"teacher": taught}
        )
        done = collections.namedtuple("Done", "run")(run)
        places.add(study.weights_file(done))
    assert len(places) == 2
