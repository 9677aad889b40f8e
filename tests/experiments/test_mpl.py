"""Whether a teacher that learns from its student teaches better: declared, done, judged."""

import inspect
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from archtrial.data.stored import Followed
from archtrial.errors import DataError, ProtocolError, UserError
from archtrial.experiments import mpl
from archtrial.experiments.mpl import page, verdict, words
from archtrial.experiments.mpl.protocol import Protocol
from archtrial.judge import experiment
from archtrial.metrics import get
from archtrial.protocol import Protocol as Trial
from archtrial.records.store import Store
from archtrial.trainers import Item
from archtrial.tuned import load_tuned

SMALL = {
    "steps": 12, "batch_size": 20, "effort": 1, "configurations": 4, "confirm_seeds": 2,
    "architecture": "mlp(depth=1, width=8)", "space": {"learning_rate": [0.01, 0.1]},
}  # fmt: skip
PROCEDURES = ("supervised", "uda", "mpl", "mpl_h0", "mpl_negated")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = mpl.Study(
        Protocol(data="mnist1d", labels=40, procedures=PROCEDURES, **SMALL),
        tmp_path_factory.mktemp("mpl") / "study",
    )
    made.run()
    return made


def test_few_labels_are_declared():
    with pytest.raises(ProtocolError, match="--labels 1000"):
        Protocol(data="digits")
    assert Protocol(data="digits", labels=100).labels == 100
    assert Protocol(data="mnist1d").labels == 400
    assert Protocol(data="mnist1d", unlabelled="more.npz").labels is None


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"procedures": ["uda"]}, "two procedures or more"),
        ({"procedures": ["uda", "uda"]}, "each once"),
        ({"procedures": ["uda", "nope"]}, "pseudo_labels"),
        ({"effort": 8}, "--configurations 32"),
        ({"strong": ["blur"]}, "strong"),
        ({"architecture": "cnn(recipe=modern)"}, r"under \[recipe\]"),
        ({"architecture": "cnn(procedure=mpl)"}, r"under \[recipe\]"),
        ({"recipe": {"procedure": "uda"}}, "as procedures"),
        ({"recipe": {"augmentation": ["shift"]}}, r"weak = \['shift'\]"),
        ({"recipe": {"procedure": {"strong": ["noise"]}}}, r"strong = \['noise'\]"),
        ({"procedure_space": {"dropout": [0.1, 0.2]}}, r"under \[space\]"),
    ],
)
def test_what_cannot_be_compared_is_refused(declared, said):
    with pytest.raises(ProtocolError, match=said):
        Protocol(data="mnist1d", **declared)


def test_procedures_differ_in_nothing_else():
    declared = Protocol(
        data="mnist1d", weak=["shift"], strong=["shift", "noise"],
        recipe={"label_smoothing": 0.1, "procedure": {"ratio": 7}},
    )  # fmt: skip
    every = {name: declared.recipe_of(name, "sequence") for name in declared.procedures}
    for name, recipe in every.items():
        augmented = name == "augmented"
        assert recipe.augmentation == (("shift", "noise") if augmented else ("shift",))
        assert recipe.procedure.kind == ("supervised" if augmented else name)
        assert recipe.procedure.strong == ("shift", "noise")
        assert (recipe.procedure.ratio, recipe.label_smoothing) == (7, 0.1)
    plain = {"procedure": every["uda"].procedure, "augmentation": ()}
    others = [recipe.model_copy(update=plain) for recipe in every.values()]
    assert all(other == others[0] for other in others)


def test_changes_that_nobody_knows_are_asked_for():
    declared = Protocol(data="t.csv", labels=20)
    for name in ("augmented", "uda", "mpl"):
        with pytest.raises(
            ProtocolError, match=r"--strong noise.*--procedure supervised"
        ):
            declared.recipe_of(name, "table")
    for name in ("supervised", "pseudo_labels"):
        assert declared.recipe_of(name, "table").augmentation == ()
    said = Protocol(data="t.csv", labels=20, strong=["noise"])
    assert said.recipe_of("uda", "table").procedure.strong == ("noise",)


def test_a_study_says_what_it_compared(study):
    document = study.verdict.to_dict()
    assert [p["name"] for p in document["procedures"]] == list(PROCEDURES)
    assert [(g["from"], g["to"]) for g in document["feedback"]] == [
        ("mpl_h0", "mpl"), ("mpl_negated", "mpl"),
    ]  # fmt: skip
    assert ("uda", "mpl") in [(g["from"], g["to"]) for g in document["gains"]]
    for procedure in document["procedures"]:
        assert len(procedure["curve"]) == 10
        taught = procedure["name"].startswith("mpl")
        assert ("teacher" in procedure) == ("h" in procedure) == taught
    page = study.judgement.page()
    for words_of in ("UDA", "MPL with h = 0", "h over time", "95.60", "Finetuning"):
        assert words_of.lower() in page.lower()
    json.loads(study.verdict.to_json())


def test_trainings_that_are_paired_see_the_same_labels(study):
    loops = study.trainer.trainers
    seen = {}
    for searcher in study.searchers:
        for pair, seed, stage in (
            (0, 0, "search"),
            (1, 2, "confirm"),
            (3, 7, "winner"),
        ):
            item = Item(searcher.arm, pair, seed, stage, {}, further=searcher.further)
            job = loops[searcher.name].job(item)
            seen.setdefault((pair, seed, stage), []).append(job)
    for own in seen.values():
        first = own[0]
        assert len(first.rows) == 40
        for job in own[1:]:
            assert np.array_equal(job.rows, first.rows)
            assert (job.order_seed, job.initial_seed) == (
                first.order_seed, first.initial_seed,
            )  # fmt: skip
    several = [tuple(own[0].rows.tolist()) for own in seen.values()]
    assert len(set(several)) == len(several)


def test_runs_leave_h_and_their_teachers_scores(study):
    with Store(study.folder, read_only=True) as store:
        runs = store.runs(per_example=False)
    for run in runs:
        taught = run.coordinates["procedure"].startswith("mpl")
        assert bool(run.measures) == taught
    ends = {
        name: [r.validation for r in runs if r.coordinates["procedure"] == name]
        for name in PROCEDURES
    }
    assert ends["mpl"] != ends["mpl_h0"] != ends["mpl_negated"]


def test_a_finished_study_trains_nothing_again(study, monkeypatch):
    monkeypatch.setattr(type(study.trainer), "__call__", lambda *_: 1 / 0)
    again = mpl.Study(study.protocol, study.folder)
    assert again.run().to_json() == study.verdict.to_json()


def test_an_interrupted_study_ends_as_one_that_was_not(study, tmp_path, monkeypatch):
    class StoppedError(Exception):
        pass

    calls = []
    train = type(study.trainer).__call__

    def stops(self, task):
        calls.append(task)
        if len(calls) in (3, 9):
            raise StoppedError
        return train(self, task)

    monkeypatch.setattr(type(study.trainer), "__call__", stops)
    for _ in range(2):
        with pytest.raises(StoppedError):
            mpl.Study(study.protocol, tmp_path / "again").run()
    made = mpl.Study(study.protocol, tmp_path / "again")
    assert made.run().to_json() == study.verdict.to_json()


def test_each_procedure_leaves_a_network_that_can_be_used(study):
    for name in PROCEDURES:
        model = load_tuned(study.folder, name)
        assert model.predict(np.zeros((3, 40))).shape == (3,)
    assert len(list((study.folder / "tuned").glob("*.safetensors"))) == len(PROCEDURES)


def test_what_trainings_cost_is_known_before(study):
    forecast = study.forecast()
    flops = {name: cost["flops"] for name, cost in forecast.items()}
    assert flops["supervised"] < flops["uda"] < flops["mpl"] == flops["mpl_h0"]
    with Store(study.folder, read_only=True) as store:
        runs = store.runs(per_example=False)
    for name, cost in forecast.items():
        own = [r for r in runs if r.coordinates["procedure"] == name]
        assert {r.flops for r in own} == {cost["flops"] / cost["trainings"]}
        assert len(own) <= cost["trainings"]


def test_more_inputs_are_read_and_hashed(tmp_path):
    more = np.random.default_rng(0).normal(size=(30, 40))
    for name, x in (("a", more), ("b", more + 1)):
        np.savez(tmp_path / f"{name}.npz", x=x)
    made = [
        mpl.Study(
            Protocol(
                data="mnist1d", labels=40, unlabelled=str(tmp_path / f"{name}.npz"),
                procedures=("supervised", "uda"), **SMALL,
            ),
            tmp_path / name,
        )
        for name in "ab"
    ]  # fmt: skip
    for each in made:
        assert each.resolved["unlabelled"]["rows"] == 30
        (loops, *_) = each.trainer.trainers.values()
        assert len(loops.problem.unlabelled) == 3230
    first, second = (each.resolved["unlabelled"]["sha256"] for each in made)
    assert first != second


def test_where_inputs_lie_changes_nothing(tmp_path):
    """Training rows that stay in their file, with more inputs below them."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = rng.normal(0, 1, (300, 1, 8)) + y[:, None, None]
    np.savez(tmp_path / "data.npz", x=x.astype(np.float32), y=y)
    np.savez(tmp_path / "more.npz", x=rng.normal(0, 1, (40, 1, 8)).astype(np.float32))
    found = []
    for memory in (1, 0):
        declared = Protocol(
            data=str(tmp_path / "data.npz"), unlabelled=str(tmp_path / "more.npz"),
            labels=30, procedures=("supervised", "uda"), steps=4, effort=1,
            configurations=4, confirm_seeds=2, memory=memory,
        )  # fmt: skip
        made = mpl.Study(declared, tmp_path / str(memory))
        unlabelled = made.trainer.trainers["uda"].problem.unlabelled
        assert isinstance(unlabelled, Followed) == (memory == 0)
        mixed = np.array([len(unlabelled) - 1, 0, len(unlabelled) - 40, 3])
        made.run()
        found.append((unlabelled[mixed], made.verdict.to_json()))
    (held, there), (read, stored) = found
    assert (held == read).all()
    assert stored == there


def test_regressions_and_estimators_are_refused(tmp_path):
    for declared in (
        {"data": "diabetes", "labels": 40},
        {"data": "mnist1d", "architecture": "sklearn:LogisticRegression"},
        {"data": "mnist1d", "weak": ["flip"]},
        {"data": "mnist1d", "labels": 5},
        {"data": "mnist1d", "labels": 4000},
    ):
        with pytest.raises(UserError):
            mpl.Study(
                Protocol(**{**SMALL, "architecture": "mlp", **declared}), tmp_path
            )


@pytest.mark.parametrize(
    ("none", "negated", "answer"),
    [
        ("architecture", "architecture", "helps"),
        ("architecture", "inconclusive", "helps"),
        ("baseline", "equivalent", "harms"),
        ("equivalent", "equivalent", "does not matter"),
        ("equivalent", "architecture", "brings nothing"),
        ("inconclusive", "architecture", "undecided"),
        ("tuning", "equivalent", "undecided"),
        ("not_assessable", "equivalent", "undecided"),
        ("equivalent", None, "brings nothing"),
        (None, "architecture", None),
    ],
)
def test_whether_h_matters(none, negated, answer):
    found = [
        {"from": name, "to": "mpl", "verdict": of}
        for name, of in (("mpl_h0", none), ("mpl_negated", negated))
        if of is not None
    ]
    assert verdict._answer(found) == answer


def gain(of, to, found, estimate=0.03):
    return {
        "from": of, "to": to, "verdict": found, "estimate": estimate,
        "low": None if estimate is None else estimate - 0.01,
        "high": None if estimate is None else estimate + 0.01,
        "reason": None if estimate is not None else "it failed", "learning": [],
    }  # fmt: skip


def told(feedback, gains=(), **more):
    document = {
        "data": "d", "labels": 40, "training_rows": 100, "more_rows": 0,
        "procedures": [{"name": "supervised"}], "feedback": feedback, "gains": gains,
        "answer": verdict._answer(feedback), **more,
    }  # fmt: skip
    return words.told(document, get("accuracy"))


def test_the_sentence_says_what_is_held_against_what():
    said = told(
        [
            gain("mpl_h0", "mpl", "architecture"),
            gain("mpl_negated", "mpl", "equivalent"),
        ],
        [gain("supervised", "uda", "architecture"), gain("uda", "mpl", "baseline")],
    )
    assert said["verdict"] == "h helps"
    assert "makes its teacher better: with 40 labels of d" in said["sentence"]
    assert "from h = 0" in said["sentence"]
    assert "from its negative" in said["sentence"]
    assert "Against labels alone: better, UDA by" in said["sentence"]
    assert "worse" not in said["sentence"]


def test_where_nobody_asked_for_h_gains_are_the_verdict():
    said = told([], [gain("supervised", "uda", "architecture")])
    assert said["verdict"] == "UDA better"
    assert told([], [gain("supervised", "uda", "baseline")])["verdict"] == (
        "no procedure is better"
    )


def test_what_cannot_be_told_is_warned_of():
    said = told(
        [gain("mpl_h0", "mpl", "not_assessable", None)], labels=None, more_rows=7
    )
    assert "no difference can be told" in said["sentence"]
    assert said["warnings"] == ["Not told: MPL over MPL with h = 0, since it failed."]


def test_a_trial_compares_procedures_too():
    declared = Trial(
        data="mnist1d", labels=40, baseline="cnn", challengers=['cnn(procedure="mpl")']
    )
    (_, arm) = declared.arms
    assert arm.name == "cnn(procedure=mpl)"
    assert declared.recipe_of(arm, "sequence").procedure.kind == "mpl"


@pytest.mark.parametrize(("sign", "gain"), [(1, -0.5), (-1, 0.5)])
def test_what_finetuning_brings_is_turned_as_gains_are(sign, gain):
    curve = tuple(
        SimpleNamespace(step=step, validation=v) for step, v in [(9, 2), (10, 1.5)]
    )
    measured = {"step": [10], "h": [None], "h_deviation": [None], "teacher": [1.0]}
    run = SimpleNamespace(curve=curve, measures=measured, diverged=False)
    found = verdict._of_teachers(
        [run, run],
        {"procedure": {"kind": "mpl", "finetuning": 0.1}},
        {"alpha": 0.05, "steps": 10},
        sign,
    )
    assert found["finetuning"]["estimate"] == gain


def test_the_page_begins_with_what_the_sentence_does(study):
    """The three numbers are of h where they can be told, and not of another gain."""
    folder = study.folder
    records = experiment.finished(folder, "mpl", "")
    document = json.loads((folder / "verdict.json").read_text())
    for each in (*document["gains"], *document["feedback"]):
        each |= {"estimate": 0.1, "low": 0.0, "high": 0.2, "p_value_adjusted": 0.05}
    first, *_ = page.finding(document, records).article.numbers
    assert first.term == "MPL over MPL with h = 0"
    for each in document["feedback"]:
        each["estimate"] = None
    first, *_ = page.finding(document, records).article.numbers
    assert first.term == "UDA over labels alone"


def embedding(input_shape, num_embeddings, num_outputs):
    return torch.nn.Sequential(
        torch.nn.Embedding(num_embeddings, 4), torch.nn.Flatten(),
        torch.nn.Linear(4 * input_shape[-1], num_outputs),
    )  # fmt: skip


@pytest.fixture
def ids(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    np.savez(tmp_path / "ids.npz", x=rng.integers(0, 5, (90, 6)) + 5 * y[:, None], y=y)
    more = np.arange(12).reshape(2, 6)
    np.savez(tmp_path / "more.npz", x=more)
    np.savez(tmp_path / "beyond.npz", x=more + 5)
    np.savez(tmp_path / "halves.npz", x=more / 2)
    return {
        "data": str(tmp_path / "ids.npz"), "scale": False, "labels": 30,
        "architecture": {"name": "net", "architecture": embedding}, "steps": 4,
        "procedures": ("supervised", "pseudo_labels"), "effort": 1, "configurations": 4,
        "confirm_seeds": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("beyond", "row 1 of .* has 11 to 16"),
        ("halves", "ids are whole numbers"),
    ],
)
def test_ids_without_labels_are_those_of_the_data(ids, tmp_path, file, says):
    mpl.Study(Protocol(**ids, unlabelled=str(tmp_path / "more.npz")), tmp_path / "a")
    with pytest.raises(DataError, match=says):
        mpl.Study(Protocol(**ids, unlabelled=str(tmp_path / f"{file}.npz")))


@pytest.mark.parametrize(
    "changes",
    [
        {"strong": ("noise",)},
        {"weak": ("noise",)},
        {"recipe": {"procedure": {"strong": ["noise"]}}},
    ],
)
def test_ids_are_changed_by_no_procedure(ids, changes):
    procedures = ("supervised", "augmented", "uda")
    with pytest.raises(ProtocolError):
        mpl.Study(Protocol(**{**ids, **changes, "procedures": procedures}))


def test_a_network_that_reads_ids_can_be_used(ids, tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text("import torch\n\n" + inspect.getsource(embedding))
    own = {**ids, "architecture": f"{tmp_path / 'net.py'}:embedding"}
    made = mpl.Study(Protocol(**own), tmp_path / "study")
    made.run()
    model = load_tuned(made.folder, "pseudo_labels", trust=True)
    assert model.predict(np.load(ids["data"])["x"][:7]).shape[0] == 7
