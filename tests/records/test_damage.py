"""Stores that were damaged or altered never give another verdict in silence."""

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from archtrial import judge_study
from archtrial.errors import RecordsError, StudyError, UserError
from archtrial.protocol import canonical, digest
from archtrial.records import checksums
from archtrial.records import store as room
from archtrial.records.store import FILE_NAME, Store, key
from archtrial.records.table import CurvePoint, Run
from evidence import damage

GOLDEN = Path(__file__).parents[1] / "golden"
PROTOCOL = {"effort": 4, "steps": 100}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    damage.study(folder / "study")
    damage.study(folder / "other", seed=1)
    return folder


def test_no_damaged_store_misleads(whole):
    random = np.random.default_rng(0)
    truth = damage.Truth.of(whole / "study")
    said = {}
    for name, way in damage.ways(whole / "study", whole / "other").items():
        said[name] = []
        for _ in range(12):
            outcome, place = damage.damaged(whole / "study", truth, way, random)
            assert outcome in ("harmless", "refused"), (name, place)
            said[name].append(outcome)
            shutil.rmtree(place.parent)
    for name in (
        "cut off", "a row deleted", "the winner deleted", "a cell altered",
        "two scores exchanged",
    ):  # fmt: skip
        assert set(said[name]) == {"refused"}, name
    assert "refused" in said["a bit"]
    assert set(said["a bit of the log"]) == {"harmless"}


def test_the_measure_itself_sees_another_verdict(whole, monkeypatch):
    """Without the checksums, the altered stores would mislead."""
    monkeypatch.setattr(checksums, "verify", lambda *_: [])
    truth = damage.Truth.of(whole / "study")
    outcome, place = damage.damaged(
        whole / "study", truth, damage.winner, np.random.default_rng(0)
    )
    shutil.rmtree(place.parent)
    assert outcome == "ANOTHER VERDICT"
    monkeypatch.setattr(damage, "judge_study", lambda folder: 1 / 0)
    outcome, place = damage.damaged(
        whole / "study", truth, damage.winner, np.random.default_rng(0)
    )
    shutil.rmtree(place.parent)
    assert outcome == "TRACEBACK"


def a_run(pair, **changes):
    return Run(
        **{
            "arm": "mlp", "pair": pair, "seed": 0, "stage": "search",
            "configuration": {"width": 8}, "validation": 0.5,
            "curve": (CurvePoint(1, 2.0, 0.5),), **changes,
        }
    )  # fmt: skip


def fill(folder, runs=5):
    with Store(folder) as store:
        store.declare(digest(PROTOCOL), canonical(PROTOCOL), "null")
        store.add([(a_run(pair), np.arange(3)) for pair in range(runs)])
        store.open_test({key("mlp", pair, 0): (0.25, None) for pair in range(runs)}, {})


def alter(folder, *statements):
    connection = sqlite3.connect(folder / FILE_NAME)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE runs SET validation = .75 WHERE pair = 2",
         r"the run 'mlp/2/0' \(row 3 of the table runs\) was altered"),
        ("UPDATE runs SET validation = NULL WHERE pair = 2", "'mlp/2/0'"),
        ("UPDATE runs SET details = replace(details, '8', '9') WHERE pair = 0",
         "'mlp/0/0'"),
        ("UPDATE runs SET sealed = zeroblob(9) WHERE pair = 4", "'mlp/4/0'"),
        ("UPDATE scores SET test = .5 WHERE key = 'mlp/1/0'",
         "the test score of 'mlp/1/0'"),
        ("UPDATE events SET time = 0", "the event 'began'"),
        ("UPDATE study SET declared = '{}'", "the protocol"),
        ("DELETE FROM runs WHERE pair = 1", "row 2 of the table runs is missing"),
        ("DELETE FROM runs WHERE pair IN (1, 2)", "rows 2 to 3 of the table runs"),
        ("DELETE FROM runs WHERE pair = 4", "has 4 rows, and 5 were recorded"),
        ("DELETE FROM scores", "has 0 rows, and 5 were recorded"),
        ("UPDATE checksums SET count = 4 WHERE name = 'runs'", "5 rows, and 4"),
        ("UPDATE checksums SET running = zeroblob(32) WHERE name = 'runs'",
         "not those that were recorded"),
        ("DELETE FROM checksums WHERE name = 'runs'", "checksum of the table runs is"),
        ("UPDATE runs SET stage = 'confirm'", "and 2 faults more"),
        ("CREATE TABLE trees (height)", "tables are not those of version 4"),
        ("CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM scores; END",
         "tables are not those"),
        ("PRAGMA user_version = 2", "tables are not those of version 2"),
        ("PRAGMA user_version = -4", "tables are not those of version -4"),
    ],
)  # fmt: skip
def test_what_was_altered_is_named(tmp_path, statement, says):
    fill(tmp_path)
    alter(tmp_path, statement)
    for read_only in (True, False):
        with pytest.raises(RecordsError, match=says) as caught:
            Store(tmp_path, read_only=read_only)
        assert caught.value.rule == "a store is whole"
        assert "rename the folder" in caught.value.way_out


def test_rows_of_another_store_do_not_fit(tmp_path):
    """Each has a checksum of its own that is right; together they are others."""
    fill(tmp_path / "one")
    with Store(tmp_path / "two") as store:
        store.declare(digest(PROTOCOL), canonical(PROTOCOL), "null")
        store.add([(a_run(pair, validation=0.6), np.arange(3)) for pair in range(5)])
    alter(
        tmp_path / "one",
        f"ATTACH '{tmp_path / 'two' / FILE_NAME}' AS other",
        "DELETE FROM runs WHERE number = 2",
        "INSERT INTO runs SELECT * FROM other.runs WHERE number = 2",
    )
    with pytest.raises(RecordsError, match="not those that were recorded"):
        Store(tmp_path / "one", read_only=True)


def test_a_protocol_is_held_against_its_hash(tmp_path):
    """Also where the row's checksum was computed anew, or there is none."""
    other = canonical({**PROTOCOL, "steps": 10_000})
    fill(tmp_path)
    values = (digest(PROTOCOL), other, "null")
    checksum = checksums.of_row("study", 1, values)
    running = checksums.following(checksums.BEGINNING, checksum)
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    with connection:
        connection.execute("UPDATE study SET resolved=?, checksum=?", (other, checksum))
        connection.execute(
            "UPDATE checksums SET running=? WHERE name='study'", (running,)
        )
    connection.close()
    with (
        Store(tmp_path, read_only=True) as store,
        pytest.raises(RecordsError, match="not the one that was declared"),
    ):
        store.protocol()


@pytest.mark.parametrize("release", ["0.1.0", "0.2.0"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE study SET resolved = replace(resolved, '1000', '2000')",
         "not the one that was declared"),
        ("UPDATE study SET resolved = '{'", "protocol cannot be read"),
        ("UPDATE study SET resolved = '[]'", "protocol cannot be read"),
        ("INSERT INTO study SELECT * FROM study", "protocol cannot be read"),
        ("UPDATE runs SET details = '{' WHERE rowid = 9", "cannot be read"),
        ("UPDATE runs SET details = '{\"curve\": 5}'", "cannot be read"),
        ("UPDATE runs SET details = replace(details, 'flops', 'flips')", "flips"),
        ("UPDATE runs SET details = replace(details, '\"seconds\": ',"
         " '\"seconds\": \"x\" , \"look\": ')", "seconds is 'x'"),
        ("UPDATE runs SET validation = 'high' WHERE rowid = 3", "validation"),
        ("UPDATE runs SET arm = x'00ff' WHERE rowid = 3", "arm is"),
        ("UPDATE events SET detail = 'x'", "the event 'began' cannot be read"),
        ("UPDATE events SET detail = '7'", "the event 'began' cannot be read"),
        ("UPDATE events SET time = 'noon'", "its time"),
        ("UPDATE scores SET per_example = x'00' WHERE rowid = 3", "cannot be read"),
        ("DELETE FROM runs WHERE rowid = 5", "rows of the table runs are missing"),
        ("DELETE FROM runs WHERE rowid = (SELECT max(rowid) FROM runs)",
         "the run '.*' is missing"),
        ("DELETE FROM scores WHERE rowid = 5", "rows of the table scores"),
        ("CREATE VIEW trees AS SELECT 1", "tables are not those of version"),
    ],
)  # fmt: skip
def test_what_can_be_found_in_a_store_without_checksums(
    tmp_path, release, change, says
):
    shutil.copy(GOLDEN / release / FILE_NAME, tmp_path)
    alter(tmp_path, change)
    with pytest.raises(RecordsError, match=says) as caught:
        judge_study(tmp_path)
    assert caught.value.rule == "a store is whole"


def test_what_is_sealed_is_checked_in_a_store_without_checksums(tmp_path):
    shutil.copy(GOLDEN / "0.2.0" / FILE_NAME, tmp_path)
    alter(tmp_path, "DELETE FROM scores", "UPDATE runs SET sealed = x'78'")
    with (
        Store(tmp_path, read_only=True) as store,
        pytest.raises(RecordsError, match="what is sealed of 'plain/0/0'"),
    ):
        store.sealed()


def test_texts_that_are_no_unicode_any_more(tmp_path):
    fill(tmp_path)
    alter(tmp_path, "UPDATE runs SET error = CAST(x'ff' AS TEXT) WHERE pair = 1")
    with pytest.raises(RecordsError, match="'mlp/1/0'"):
        Store(tmp_path, read_only=True)


def test_the_running_checksum_goes_with_the_rows_or_not_at_all(tmp_path):
    fill(tmp_path)
    with Store(tmp_path) as store:
        with pytest.raises(StudyError, match="UNIQUE"):
            store.add([(a_run(7), np.zeros(1)), (a_run(0), np.zeros(1))])
        store.add([(a_run(8), np.zeros(1))])
        store.add([])
    with Store(tmp_path, read_only=True) as store:
        assert [run.pair for run in store.runs()] == [0, 1, 2, 3, 4, 8]


def test_what_sqlite_gives_back_is_what_is_summed(tmp_path):
    """It has neither NaN nor a negative zero, and no truth values."""
    odd = [
        a_run(0, validation=-0.0, diverged=True, error="no"),
        a_run(1, validation=float("nan"), error="\x00é\u4e2d"),
        a_run(2, validation=float("inf")),
        a_run(3, validation=np.float64(0.1) + 0.2),
    ]
    with Store(tmp_path) as store:
        store.add([(run, np.zeros(1)) for run in odd])
        store.open_test({"mlp/0/0": (-0.0, np.ones(2)), "mlp/1/0": (1.0, None)}, {})
    with Store(tmp_path, read_only=True) as store:
        assert [run.error for run in store.runs()] == ["no", "\x00é\u4e2d", None, None]


def test_a_row_of_one_value_is_not_a_row_of_two():
    rows = [("ab", "c"), ("a", "bc"), ("abc",), ("ab", b"c"), (1, 2), (1.0, 2), (None,)]
    assert len({checksums.of_row("t", 1, row) for row in rows}) == len(rows)
    assert checksums.of_row("t", 1, ("a",)) != checksums.of_row("t", 2, ("a",))
    assert checksums.of_row("t", 1, ("a",)) != checksums.of_row("u", 1, ("a",))


def test_the_way_out_works(tmp_path):
    """Renamed and carried out again, a damaged study gives the same bytes."""
    damage.study(tmp_path / "study")
    truth = judge_study(tmp_path / "study").verdict.to_json()
    alter(tmp_path / "study", "DELETE FROM runs WHERE number = 40")
    with pytest.raises(RecordsError, match="rename the folder"):
        judge_study(tmp_path / "study")
    (tmp_path / "study").rename(tmp_path / "damaged")
    damage.study(tmp_path / "study")
    assert judge_study(tmp_path / "study").verdict.to_json() == truth


def test_an_empty_store_of_a_study_that_began(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"")
    (tmp_path / "protocol.json").write_text(json.dumps(PROTOCOL))
    for read_only in (True, False):
        with pytest.raises(RecordsError, match="is empty, and a study began here"):
            Store(tmp_path, read_only=read_only)
    # Without its store, a study begins again.
    (tmp_path / FILE_NAME).unlink()
    fill(tmp_path)


def test_a_copy_without_its_log_says_so_or_is_an_earlier_study(tmp_path):
    """Whatever was checkpointed is whole by itself."""
    with Store(tmp_path / "whole") as store:
        store.declare(digest(PROTOCOL), canonical(PROTOCOL), "null")
        for pair in range(40):
            store.add([(a_run(pair), np.zeros(1))])
        (tmp_path / "copy").mkdir()
        (tmp_path / "both").mkdir()
        for name in (FILE_NAME, f"{FILE_NAME}-wal"):
            shutil.copy(tmp_path / "whole" / name, tmp_path / "both")
        shutil.copy(tmp_path / "whole" / FILE_NAME, tmp_path / "copy")
    with pytest.raises(UserError):
        Store(tmp_path / "copy", read_only=True)
    with Store(tmp_path / "both", read_only=True) as store:
        assert len(store.runs()) == 40


def test_an_interrupted_write_is_undone_before_anything_is_read(tmp_path, monkeypatch):
    """A rollback journal that a killed writer left is no damage."""
    monkeypatch.setattr(room, "_on_network", lambda folder: True)
    fill(tmp_path / "whole")
    with Store(tmp_path / "whole") as store:
        assert store.journal == "delete"
        store._connection.execute("PRAGMA cache_size=1")
        store._connection.execute("BEGIN IMMEDIATE")
        store._insert("events", [(1.0, "note", "x" * 9000) for _ in range(50)])
        (tmp_path / "killed").mkdir()
        for name in (FILE_NAME, f"{FILE_NAME}-journal"):
            shutil.copy(tmp_path / "whole" / name, tmp_path / "killed")
        store._connection.execute("ROLLBACK")
    assert (tmp_path / "killed" / f"{FILE_NAME}-journal").stat().st_size > 0
    with Store(tmp_path / "killed") as store:
        assert len(store.runs()) == 5
