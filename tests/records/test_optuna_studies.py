"""Studies that Optuna tuned: which are random search, and what is read of them."""

import contextlib
import sqlite3
import sys
import warnings

import pytest

from archtrial.errors import RecordsError
from archtrial.records import optuna_studies
from archtrial.records.columns import Wanted
from archtrial.records.importers import read
from archtrial.records.optuna_studies import is_study, open_study

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.ERROR)


def tune(storage, name, sampler, *, peak=0.8, trials=8, said=None, **options):
    """Tunes a made-up objective, as a user would have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # samplers that are experimental say so
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            sampler=sampler,
            direction=options.get("direction", "maximize"),
        )
        if said is not None:
            study.set_user_attr("sampler", said)
        if "enqueued" in options:
            study.enqueue_trial(options["enqueued"])

        def objective(trial):
            x = trial.suggest_float("x", -1, 1)
            trial.suggest_categorical("act", ["relu", "tanh"])
            trial.set_user_attr("test_acc", peak - x**2 / 10)
            trial.report(0.5, 1)
            if options.get("prune", -1) == trial.number:
                raise optuna.TrialPruned
            if options.get("fail", -1) == trial.number:
                raise ValueError("it broke")
            return peak - x**2 / 10

        study.optimize(objective, n_trials=trials, catch=(ValueError,))
    return study


def random(seed=0):
    return optuna.samplers.RandomSampler(seed=seed)


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite:///{tmp_path / 'studies.db'}"


def test_random_search_that_says_so_is_read(sqlite):
    tune(sqlite, "A", random(), said="RandomSampler")
    tune(sqlite, "B", random(1), said="random", peak=0.85, prune=2, fail=3)
    found = read([f"{sqlite}#A", f"{sqlite}#B"])
    assert found.arms == ("A", "B")
    assert len(found.runs) == 16
    assert found.spaces["A"]["act"] == ["relu", "tanh"]
    assert found.runs[0].test == pytest.approx(found.runs[0].validation)
    assert [run.diverged for run in found.runs].index(True) == 8 + 3
    assert found.measure.name == "accuracy"
    notes = " ".join(found.understood.notes)
    assert "1 pruned trials of B" in notes
    assert "1 of 16 runs" in notes
    pruned = found.runs[8 + 2]
    assert not pruned.diverged
    assert pruned.validation == 0.5


def test_a_journal_is_read_and_not_written(tmp_path):
    path = tmp_path / "studies.log"
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    storage = optuna.storages.JournalStorage(backend)
    tune(storage, "A", random(), said="random", enqueued={"x": 0.0})
    path.chmod(0o444)
    before = path.read_bytes()
    table = open_study(str(path))  # the only study needs no name
    (batch,) = table.batches(["value", "params.x"])
    assert len(batch) == 7
    assert "enqueued" in table.notes[0]
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["studies.log"]
    path.chmod(0o644)
    path.write_bytes(before[:-9])  # cut in the last line: that entry is not there yet
    assert len(next(open_study(str(path)).batches(["value"]))) == 7
    path.write_bytes(b"not a journal\n" + before)
    with pytest.raises(RecordsError, match="line 1"):
        open_study(str(path))
    with pytest.raises(RecordsError, match="only read"):
        optuna_studies._Log(path).append_logs([{}])


@pytest.mark.parametrize(
    ("sampler", "said", "why"),
    [
        (lambda: optuna.samplers.TPESampler(seed=0, n_startup_trials=2, multivariate=True), None, "proposed by TPE"),
        (lambda: optuna.samplers.TPESampler(seed=0, multivariate=False), None, "does not say"),
        (lambda: optuna.samplers.TPESampler(seed=0, multivariate=False), "TPESampler", "says its sampler is TPESampler"),
        (lambda: optuna.samplers.GridSampler({"x": [-1, 0, 0.5, 1], "act": ["relu", "tanh"]}, seed=0), None, "proposed by a grid"),
        (lambda: optuna.samplers.NSGAIISampler(seed=0, population_size=4), None, "genetic"),
        (random, None, "does not say"),
    ],
)  # fmt: skip
def test_what_is_not_seen_to_be_random_is_refused(sqlite, sampler, said, why):
    for arm in "AB":
        tune(sqlite, arm, sampler(), said=said)
    sources = [f"{sqlite}#{arm}" for arm in "AB"]
    with pytest.raises(RecordsError) as caught:
        read(sources)
    assert why in str(caught.value)
    assert "--tuner random" in caught.value.way_out
    assert len(read(sources, tuner="random").runs) == 16


def test_several_studies_are_the_repeats_of_an_adaptive_tuner(sqlite):
    sources = []
    for arm in "AB":
        for i in range(4):
            tune(sqlite, f"{arm}{i}", optuna.samplers.TPESampler(seed=i), trials=3)
            sources.append(f"{arm}={sqlite}#{arm}{i}")
    found = read(sources, Wanted(repeat="source"))
    assert [arm["configurations"] for arm in found.understood.arms] == [4, 4]
    assert "(3 trials)" in " ".join(found.understood.notes)


def test_a_study_says_its_direction(sqlite):
    for arm in "AB":
        tune(sqlite, arm, random(), said="random", direction="minimize")
    found = read([f"{sqlite}#A", f"{sqlite}#B"], Wanted(test="none"))
    assert found.measure.lower_is_better
    tune(sqlite, "C", random(), said="random")
    with pytest.raises(RecordsError, match="minimises"):
        read([f"{sqlite}#A", f"{sqlite}#C"], Wanted(test="none"))


def test_studies_that_cannot_be_read(sqlite, tmp_path, monkeypatch):
    tune(sqlite, "A", random())
    tune(sqlite, "empty", random(), trials=0)
    optuna.create_study(
        study_name="two", storage=sqlite, directions=["maximize", "minimize"]
    )
    for source, says in (
        (f"{sqlite}#B", "has A, empty, two"),
        (sqlite, f"'A={sqlite}#A' 'empty={sqlite}#empty'"),
        (f"{sqlite}#empty", "has trials"),
        (f"{sqlite}#two", "one objective"),
        (f"sqlite:///{tmp_path / 'nope.db'}#A", "no such file"),
        (str(tmp_path / "nope.journal"), "no such file"),
        ("nodatabase://somewhere#A", "can be read"),
    ):
        with pytest.raises(RecordsError) as caught:
            open_study(source)
        assert says in str(caught.value)
    assert not (tmp_path / "nope.db").exists()
    bad = tmp_path / "bad.db"
    bad.write_bytes(b"no database" * 99)
    with pytest.raises(RecordsError, match="can be read"):
        open_study(f"sqlite:///{bad}")
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(RecordsError, match="not installed"):
        open_study(f"{sqlite}#A")


def test_storages_that_are_damaged_or_empty(sqlite, tmp_path):
    tune(sqlite, "A", random())
    path = tmp_path / "studies.db"
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        base.execute("UPDATE trials SET state = 'ZONK'")
    with pytest.raises(RecordsError, match="Optuna's is whole") as caught:
        open_study(f"{sqlite}#A")
    assert "may be damaged" in caught.value.way_out
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        base.execute("DELETE FROM studies")
    with pytest.raises(RecordsError, match="has no study") as caught:
        open_study(sqlite)
    assert not caught.value.way_out
    (tmp_path / "a.log").write_text("[1]\n")
    with pytest.raises(RecordsError, match="line 1: it is no object"):
        open_study(str(tmp_path / "a.log"))


def test_what_is_a_study():
    assert is_study("sqlite:///a.db#s")
    assert is_study("a.journal#s")
    assert is_study("postgresql://host/db#s")
    assert not is_study("runs.csv")
