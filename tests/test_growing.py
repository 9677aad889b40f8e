"""Finished studies that get more configurations than were declared."""

import json
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

import archtrial
from archtrial import cli, freezing, judge, statistics, trial
from archtrial.errors import ProtocolError, StudyError
from archtrial.protocol import Protocol
from archtrial.records import store as records
from archtrial.records.store import Store, frozen
from archtrial.study import Study
from archtrial.testing import KnownTruth, Surface

TRUTH = KnownTruth(
    {
        "plain": Surface(peak=0.80, seed_spread=0.004),
        "tweak": Surface(peak=0.82, seed_spread=0.004),
        "odd": Surface(peak=0.80, seed_spread=0.004, failing_seeds=0.2),
    },
    validation_noise=0.004,
)
PROTOCOL = Protocol(
    data="known truth",
    baseline="plain",
    challengers=["tweak", "odd"],
    space=dict(TRUTH.space),
    configurations=8,
    effort=2,
    sampling="sobol",
)


class StoppedError(Exception):
    pass


def study(folder, n, **changes):
    return Study(PROTOCOL.replace(configurations=n, **changes), folder, trainer=TRUTH)


def runs_of(folder, stage="search"):
    with Store(folder, read_only=True) as store:
        return [run for run in store.runs() if run.stage == stage]


def without_time(run):
    examples = None if run.per_example is None else run.per_example.tolist()
    return {**vars(run), "seconds": 0.0, "look": 0, "per_example": examples}


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A finished study of 8."""
    folder = tmp_path_factory.mktemp("once") / "study"
    study(folder, 8).run()
    return folder


@pytest.fixture(scope="module")
def twice(once, tmp_path_factory):
    """The same, grown to 16."""
    folder = shutil.copytree(once, tmp_path_factory.mktemp("twice") / "study")
    study(folder, 16).run()
    return folder


@pytest.fixture(scope="module")
def grown(twice, tmp_path_factory):
    """That, grown to 32."""
    folder = shutil.copytree(twice, tmp_path_factory.mktemp("grown") / "study")
    study(folder, 32).run()
    return folder


@pytest.fixture
def small(once, tmp_path):
    return shutil.copytree(once, tmp_path / "study")


# What is trained.


@pytest.mark.parametrize("sampling", ["sobol", "random"])
def test_a_grown_study_has_the_search_of_one_that_began_as_large(tmp_path, sampling):
    study(tmp_path / "grown", 8, sampling=sampling).run()
    study(tmp_path / "grown", 16, sampling=sampling).run()
    study(tmp_path / "begun", 16, sampling=sampling).run()
    one, other = (
        [without_time(run) for run in runs_of(tmp_path / name)]
        for name in ("grown", "begun")
    )
    assert len(one) == 3 * 16
    assert one == other
    # It has the fresh seeds of both looks, of which the other has the last's.
    seeds = [
        {(r.arm, r.pair, r.seed): r.test for r in runs_of(tmp_path / name, "confirm")}
        for name in ("grown", "begun")
    ]
    assert seeds[1].items() <= seeds[0].items()


def test_nothing_that_is_there_is_trained_again(once, small):
    growing = study(small, 16)
    trained = []

    def counted(arm, configuration, seed, steps):
        trained.append((arm.name, configuration["learning_rate"], seed))
        return TRUTH(arm, configuration, seed, steps)

    object.__setattr__(growing.trial.trainer, "function", counted)
    growing.run()
    with Store(once, read_only=True) as store:
        before = store.runs()
    with Store(small, read_only=True) as store:
        after = store.runs()
    assert len(trained) == len(after) - len(before)
    assert [run for run in after if run.look == 1] == before
    new = [run for run in after if run.look == 2 and run.stage == "search"]
    assert {run.pair for run in new} == set(range(8, 16))


def test_the_tuned_configuration_is_that_of_all(grown):
    for arm in ("plain", "tweak", "odd"):
        own = [run for run in runs_of(grown) if run.arm == arm]
        best = max(own, key=lambda run: run.validation)
        kept = json.loads((grown / "tuned" / f"{arm}.json").read_text())
        assert kept["configuration"] == best.configuration
        again = [r.seed for r in runs_of(grown, "winner") if (r.arm, r.pair) == (
            arm, best.pair)]  # fmt: skip
        assert again == list(range(4, 14))


def test_fleets_give_the_same_bits_whatever_was_planned_at_once(tmp_path):
    # Widths are structure: fleets of 8 and of 16 configurations have other members.
    protocol = Protocol(
        data="digits",
        baseline="linear",
        challengers=["mlp"],
        configurations=4,
        effort=1,
        steps=20,
        confirm_seeds=1,
        sampling="sobol",
    )
    Study(protocol, tmp_path / "grown").run()
    Study(protocol.replace(configurations=8), tmp_path / "grown").run()
    whole = Study(protocol.replace(configurations=8), tmp_path / "begun")
    whole.run()
    one, other = (
        [without_time(run) for run in runs_of(tmp_path / name)]
        for name in ("grown", "begun")
    )
    assert one == other
    parts = [
        len(task)
        for first, last in ((0, 4), (4, 8), (0, 8))
        for task in whole.trial.trainer.divide(
            [i for i in whole._plan_search(whole.trial.arms, 1)
             if i.arm == "mlp" and first <= i.pair < last]
        )
    ]  # fmt: skip
    assert 1 in parts[:-1]  # some were alone, with company in the other study
    for arm in ("linear", "mlp"):
        assert archtrial.load_tuned(tmp_path / "grown", arm) is not None


def test_a_matched_baseline_keeps_its_size(tmp_path):
    protocol = Protocol(
        data="digits", baseline="linear", challengers=["mlp"], configurations=4,
        effort=1, steps=5, confirm_seeds=1, sampling="sobol", matched_baseline=True,
    ).replace(baseline="mlp(depth=1)", challengers=["mlp(depth=3)"])  # fmt: skip
    Study(protocol, tmp_path).run()
    before = frozen(tmp_path)[1]["matched"]
    larger = protocol.replace(configurations=8)
    assert trial.prepare(larger).resolved["matched"] != before
    Study(larger, tmp_path).run()
    assert frozen(tmp_path)[1]["matched"] == before
    assert len([r for r in runs_of(tmp_path) if r.arm == before["name"]]) == 8


def test_ladder_and_probes_stay_as_they_were(tmp_path):
    more = {"ladder": [1, 2], "probes": 2, "ladder_configurations": 8}
    study(tmp_path, 8, **more).run()
    stages = ("ladder", "ladder confirm", "probe", "probe confirm")
    before = [runs_of(tmp_path, stage) for stage in stages]
    study(tmp_path, 16, **more).run()
    assert [runs_of(tmp_path, stage) for stage in stages] == before
    assert all(before)


def test_workers_change_nothing(twice, small):
    study(small, 16).run(workers=2)
    for name in ("verdict.json", "protocol.json"):
        assert (small / name).read_bytes() == (twice / name).read_bytes()


# What is recorded and said.


def test_the_store_remembers_how_it_grew(once, grown):
    with Store(grown, read_only=True) as store:
        protocols, events = store.protocols(), store.events()
    assert [found[1]["configurations"] for found in protocols] == [8, 16, 32]
    assert [found[1].get("grown") for found in protocols] == [None, [8], [8, 16]]
    assert protocols[0] == frozen(once)
    names = [name for _, name, _ in events]
    looks = [records.OPENED, records.GREW]
    assert [name for name in names if name in looks] == [*looks, *looks, looks[0]]
    growths = [json.loads(d) for _, name, d in events if name == records.GREW]
    assert [(each["from"], each["to"]) for each in growths] == [(8, 16), (16, 32)]
    then = json.loads((once / "verdict.json").read_text())["comparisons"]
    assert growths[0]["verdicts"] == {c["challenger"]: c["verdict"] for c in then}
    opened = [json.loads(d) for _, name, d in events if name == records.OPENED]
    assert [each.get("look") for each in opened] == [None, 2, 3]
    assert json.loads((grown / "protocol.json").read_text())["grown"] == [8, 16]


def test_each_look_is_judged_at_its_own_level(once, grown):
    document = judge.judge_study(grown).verdict.to_dict()
    looks = document["study"]["looks"]
    assert [look["configurations"] for look in looks] == [8, 16, 32]
    assert [look["alpha"] for look in looks] == [0.05, 0.025, 0.0125]
    then = json.loads((once / "verdict.json").read_text())["comparisons"]
    assert looks[0]["verdicts"] == {c["challenger"]: c["verdict"] for c in then}
    for found in document["comparisons"]:
        assert found["alpha"] == 0.0125
        assert found["configurations"] == 32
        assert found["verdict"] == looks[-1]["verdicts"][found["challenger"]]
    assert document["study"]["configurations"] == 32
    assert document["study"]["calibration"] is None
    # Every look has the margin of the first.
    before = json.loads((once / "verdict.json").read_text())["study"]
    assert document["study"]["margin"] == before["margin"]


def test_what_it_does_to_the_level_is_said_by_note_warning_and_page(grown):
    found = judge.judge_study(grown)
    document = found.verdict.to_dict()
    said = [n for n in document["study"]["notes"] if "grew to 32" in n]
    assert len(said) == 1
    for comparison in document["comparisons"]:
        (warning,) = (w for w in comparison["warnings"] if "grew to 32" in w)
        looks = [look["verdicts"][comparison["challenger"]]
                 for look in document["study"]["looks"]]  # fmt: skip
        assert f"({looks[0]} at 8, {looks[1]} at 16)" in warning
        assert "5\u00a0% at 8 and 2.5\u00a0% at 16 and 1.2\u00a0% at 32" in warning
        assert "up to 8.8\u00a0% of such studies, not 5\u00a0%" in warning
        assert "--looks 8,16,32" in warning
    page = found.page()
    assert "grew to 32 configurations" in page
    assert "Those after it were not declared" in page
    assert "The looks were declared before" not in page


def test_before_anything_is_trained_it_is_said_too(small):
    assert study(small, 8).notes == tuple(study(small, 8).trial.resolved["notes"])
    note = study(small, 16).notes[-1]
    assert f"the finished study of 8 configurations in {small}, and adds 8" in note
    assert "2.5\u00a0% at 16" in note
    assert "up to 7.5\u00a0%" in note
    assert "--looks 8,16" in note


def test_the_store_alone_gives_the_same_bytes_and_a_finished_one_trains_nothing(grown):
    expected = (grown / "verdict.json").read_bytes()
    assert judge.judge_study(grown).verdict.to_json().encode() == expected
    again = study(grown, 32)

    def never(*_):
        raise AssertionError

    object.__setattr__(again.trial.trainer, "function", never)
    again.run()
    assert (grown / "verdict.json").read_bytes() == expected


def test_a_grown_study_can_be_judged_with_other_settings(grown, tmp_path):
    folder = shutil.copytree(grown, tmp_path / "study")
    document = judge.judge_study(
        folder, alpha=0.1, challengers=["odd"]
    ).verdict.to_dict()
    assert [look["alpha"] for look in document["study"]["looks"]] == [0.1, 0.05, 0.025]
    assert list(document["study"]["looks"][0]["verdicts"]) == ["odd"]
    (found,) = judge.judge_study(folder, effort=8).verdict.to_dict()["comparisons"][:1]
    assert found["effort"] == 8


# Interruptions.


@pytest.mark.parametrize("stopped_at", ["judging", "grew", "search", "confirm", "test"])
def test_whatever_stops_it_it_goes_on_from_there(twice, small, monkeypatch, stopped_at):
    calls = []

    def stop(*_):
        raise StoppedError

    def watch(standing):
        calls.append(standing)
        if standing.stage == stopped_at and (standing.done % 7 == 3 or (
                stopped_at == "test" and len(calls) > 1)):  # fmt: skip
            raise StoppedError

    with monkeypatch.context() as patched:
        if stopped_at == "judging":
            patched.setattr(judge, "judge_study", stop)
        if stopped_at == "grew":
            patched.setattr(freezing, "write", stop)
        with pytest.raises(StoppedError):
            study(small, 16).run(watch=watch)
    # Before its test set is opened it is what it was.
    found = judge.judge_study(small)
    assert found.verdict.to_json() == (small / "verdict.json").read_text()
    assert found.verdict.to_dict()["study"]["configurations"] == 8
    if stopped_at == "judging":
        assert found.beforehand == ()
    else:
        (said,) = found.beforehand
        assert "grows from 8 to 16" in said
        assert f"--study {small}" in said
        assert "grows from 8 to 16" in found.page()
        with pytest.raises(StudyError, match="does not shrink") as caught:
            study(small, 8).run()
        assert "goes on to 16" in str(caught.value)
        assert "Go on with it: --configurations 16" in str(caught.value)
        with pytest.raises(StudyError, match="come to its end") as caught:
            study(small, 32).run()
        assert "--configurations 16" in str(caught.value)
    study(small, 16).run()
    for name in ("verdict.json", "protocol.json"):
        assert (small / name).read_bytes() == (twice / name).read_bytes()


def test_one_that_has_not_come_to_its_end_does_not_grow(tmp_path):
    def watch(standing):
        if standing.done == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        study(tmp_path, 8).run(watch=watch)
    waiting = study(tmp_path, 16)
    with pytest.raises(StudyError, match="come to its end") as caught:
        waiting.run()
    assert "--configurations 8" in str(caught.value)
    study(tmp_path, 8).run()
    waiting.run()
    assert frozen(tmp_path)[1]["grown"] == [8]


# What is refused.


def test_a_study_does_not_shrink(grown):
    for n in (8, 16, 24):
        with pytest.raises(StudyError, match="does not shrink") as caught:
            study(grown, n).run()
        assert "--configurations 32" in str(caught.value)
        assert f"archtrial report {grown}" in str(caught.value)


def test_nothing_else_changes_on_the_way(small):
    for changes, name in (
        ({"margin": 0.02}, "margin"),
        ({"seed": 1}, "seed"),
        ({"effort": 1}, "effort"),
        ({"sampling": "random"}, "sampling"),
        ({"confirm_seeds": 2}, "confirm_seeds"),
        ({"challengers": ["tweak"]}, "challengers"),
    ):
        with pytest.raises(StudyError, match="keeps the protocol") as caught:
            study(small, 16, **changes).run()
        assert name in str(caught.value)
        # That it grows is no offence.
        assert "but for more configurations" in str(caught.value)
        assert "8 -> 16" not in str(caught.value)
        if name == "sampling":
            assert 'sampling: "sobol" -> "random"' in str(caught.value)
    assert frozen(small)[1]["configurations"] == 8


def test_looks_are_declared_before_and_not_changed_after(once, tmp_path):
    with pytest.raises(StudyError, match="before a study begins") as caught:
        study(once, 16, looks=[8, 16]).run()
    assert "--configurations 16" in str(caught.value)
    study(tmp_path, 16, looks=[8, 16]).run()
    for changes in ({}, {"looks": [8, 16, 32]}, {"looks": [16, 32]}):
        with pytest.raises(StudyError, match="does not grow") as caught:
            study(tmp_path, 32, **changes).run()
        assert "--looks 8,16,32" in str(caught.value)
        assert f"archtrial report {tmp_path}" in str(caught.value)


def test_there_is_an_end_to_growing(small):
    with pytest.raises(ProtocolError, match="permutations"):
        study(small, 8 * 2**11)


def test_a_study_of_an_older_store_does_not_grow(tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(Path(__file__).with_name("golden") / "0.2.0", folder)
    resolved = frozen(folder)[1]
    larger = {**resolved, "configurations": 32, "grown": [16]}
    with (
        Store(folder) as store,
        pytest.raises(StudyError, match=r"0\.2 or before"),
    ):
        freezing.freeze(store, larger, None, device="cpu", threads=1)
    before = (folder / "verdict.json").read_bytes()
    assert frozen(folder)[1] == resolved
    assert (folder / "verdict.json").read_bytes() == before


def test_a_growth_that_was_tampered_with_is_damage(grown, tmp_path):
    folder = shutil.copytree(grown, tmp_path / "study")
    connection = sqlite3.connect(folder / records.FILE_NAME)
    connection.execute("DELETE FROM study WHERE number = 3")
    connection.commit()
    connection.close()
    with pytest.raises(archtrial.UserError, match="a store is whole"):
        judge.judge_study(folder)


# Where it is found.


def test_without_a_folder_it_is_found_among_the_studies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = study(None, 8)
    first.run()
    assert first.folder.parent == Path("studies")
    growing = study(None, 16)
    assert growing.folder == first.folder
    growing.run()
    assert study(None, 16).folder == study(None, 32).folder == first.folder
    # Another seed is another study. So are fewer configurations than there were, and
    # looks; but what they draw is known.
    apart = study(None, 16, seed=1)
    assert apart.folder != first.folder
    assert apart.notes == first.notes
    for other in (study(None, 10), study(None, 32, looks=[16, 32])):
        assert other.folder != first.folder
        assert f"{first.folder} is the same trial with 16" in other.notes[-1]
    assert "same trial" not in str(study(None, 32).notes)
    # The one that it began as is this one, and has grown.
    with pytest.raises(StudyError, match="does not shrink"):
        study(None, 8).run()
    # A trial that began as large has a folder of its own.
    Path("studies", "broken").mkdir()
    Path("studies", "broken", "protocol.json").write_text("{")
    apart = study("apart", 32)
    shutil.copytree(first.folder, Path("studies", apart.hash[:8]))
    assert study(None, 32).folder == Path("studies", apart.hash[:8])
    shutil.rmtree(Path("studies", apart.hash[:8]))
    shutil.copytree(first.folder, Path("studies", "copy"))
    with pytest.raises(StudyError, match="from one study") as caught:
        study(None, 32)
    assert f"--study {first.folder}" in str(caught.value)


def test_one_that_is_not_finished_is_not_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def watch(standing):
        if standing.done == 5:
            raise StoppedError

    first = study(None, 8)
    with pytest.raises(StoppedError):
        first.run(watch=watch)
    assert study(None, 16).folder != first.folder


# The command line.

TOML = """
data = "digits"
baseline = "linear"
challengers = ["mlp(depth=2)"]
steps = 5
effort = 1
configurations = 4
confirm_seeds = 1
sampling = "sobol"
"""


@pytest.fixture
def typed(monkeypatch, capsys, tmp_path):
    """Types a command in a folder with a protocol; returns what it prints in one line."""
    monkeypatch.chdir(tmp_path)
    Path("t.toml").write_text(TOML)

    def call(*arguments, status=0):
        if arguments[0] == "run":
            arguments = (*arguments, "--workers", "1")
        monkeypatch.setattr(sys, "argv", ["archtrial", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert ended.value.code == status, printed.err
        return printed.out, " ".join((printed.out + printed.err).split())

    return call


def test_what_is_typed(typed):
    _, said = typed("run", "t.toml")
    assert "archtrial run --study studies/" in said
    assert "declared with --looks 4," in said
    (folder,) = Path("studies").iterdir()
    _, said = typed("run", "t.toml", "--configurations", "8")
    assert "note: Goes on from the finished study of 4" in said
    assert "This study grew to 8" in said
    assert list(Path("studies").iterdir()) == [folder]
    _, said = typed("run", "t.toml", status=2)
    assert "--configurations 8" in said
    # What the folder holds is enough to go on, and to grow.
    typed("run", "--study", folder)
    typed("run", "--study", folder, "--configurations", "16")
    _, said = typed("run", "--study", folder, "--configurations", "8", status=2)
    assert "does not shrink" in said
    document, said = typed("judge", folder, "--json")
    assert document == (folder / "verdict.json").read_text()
    assert [look["alpha"] for look in json.loads(document)["study"]["looks"]] == [
        look.level for look in statistics.grown_looks([4, 8, 16])
    ]
    _, said = typed("report", folder)
    assert "note" not in said


def test_what_is_typed_of_a_study_with_looks(typed):
    typed("run", "t.toml", "--looks", "4,8", "--study", "s")
    _, said = typed("run", "--study", "s", "--configurations", "16", status=2)
    assert "--looks 4,8,16" in said
    typed("run", "--study", "s", "--configurations", "8")
