import contextlib
import errno
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from archtrial.errors import RecordsError, StudyError
from archtrial.protocol import digest
from archtrial.records import layout
from archtrial.records import store as room
from archtrial.records.store import Store, frozen, key
from archtrial.records.table import CurvePoint, Run


def a_run(arm="mlp", pair=0, seed=0, **changes):
    return Run(
        **{
            "arm": arm,
            "pair": pair,
            "seed": seed,
            "stage": "search",
            "configuration": {"width": 50, "act": "relu", "skip": True, "rate": 1e-3},
            "validation": 0.8125,
            "flops": 1.5e9,
            "parameters": 5210,
            "seconds": 0.25,
            "curve": (CurvePoint(10, 2.5, 0.5), CurvePoint(20, 1.25, 0.8125)),
            **changes,
        }
    )


HASH = digest({"effort": 4})


def fill(folder, **changes):
    with Store(folder) as store:
        store.declare(HASH, '{"effort": 4}', '{"data": "digits"}')
        store.add([(a_run(**changes), np.array([1, 0, 2], dtype=np.uint16))])


def test_what_is_added_is_read_back_by_another_store(tmp_path):
    fill(tmp_path)
    with Store(tmp_path, read_only=True) as store:
        assert store.protocol() == (HASH, {"effort": 4}, {"data": "digits"})
        assert store.runs() == [a_run()]
        (sealed,) = store.sealed().values()
        np.testing.assert_array_equal(sealed, np.array([1, 0, 2], dtype=np.uint16))
        assert sealed.dtype == np.uint16
        assert [event[1:] for event in store.events()] == [("began", "{}")]
        assert not store.test_is_open


def test_runs_come_in_one_order_however_they_were_added(tmp_path):
    runs = [a_run("b", 1, 0), a_run("a", 2, 1), a_run("a", 2, 0), a_run("a", -1, 1)]
    with Store(tmp_path) as store:
        for run in runs:
            store.add([(run, np.zeros(1))])
        assert store.runs() == sorted(runs, key=lambda r: (r.arm, r.pair, r.seed))


def test_test_scores_are_added_once_with_the_event_that_says_so(tmp_path):
    fill(tmp_path)
    examples = np.array([1, 0, 1], dtype=np.float32)
    with Store(tmp_path) as store:
        assert store.runs()[0].test is None
        store.open_test({key("mlp", 0, 0): (2 / 3, examples)}, {"constant": 0.1})
        (run,) = store.runs()
        assert run.test == 2 / 3
        np.testing.assert_array_equal(run.per_example, examples)
        assert store.runs(per_example=False)[0].per_example is None
        assert store.test_is_open
        assert json.loads(store.events()[-1][2]) == {"constant": 0.1}
        with pytest.raises(StudyError):
            store.open_test({key("mlp", 0, 0): (0.9, examples)}, {})
        assert store.runs()[0].test == 2 / 3
        assert len(store.events()) == 2


def test_coordinates_of_an_experiment_come_back_as_data(tmp_path):
    where = {"relax_time": 93, "half": "upper"}
    run = a_run(reading="best", coordinates=where)
    assert run.key == key("mlp", 0, 0, reading="best", **where)
    assert run.key == "mlp/0/0/half=upper/relax_time=93/best"
    with Store(tmp_path) as store:
        store.add([(run, np.zeros(1)), (a_run(), np.zeros(1))])
        assert store.runs()[1].coordinates == where
        assert store.runs()[0].coordinates == {}
        assert set(store.sealed()) == {run.key, "mlp/0/0"}


def test_rungs_and_tuners_are_runs_of_their_own(tmp_path):
    runs = [
        a_run(),
        a_run(stage="ladder", rung=2),
        a_run(stage="ladder", rung=4, look=3),
        a_run(stage="probe", tuner="GP"),
        a_run(stage="probe", tuner="TPE"),
    ]
    with Store(tmp_path) as store:
        store.add([(run, np.zeros(1)) for run in reversed(runs)])
        assert store.runs() == runs
        assert sorted(store.sealed()) == [
            "mlp/0/0", "mlp/0/0/2x", "mlp/0/0/4x", "mlp/0/0/GP", "mlp/0/0/TPE",
        ]  # fmt: skip
        with pytest.raises(StudyError, match="UNIQUE"):
            store.add([(a_run(stage="search", rung=2), np.zeros(1))])


def test_the_test_set_is_opened_again_only_for_runs_without_a_score(tmp_path):
    fill(tmp_path)
    with Store(tmp_path) as store:
        store.open_test({key("mlp", 0, 0): (0.5, None)}, {"constant": 0.1})
        assert store.sealed() == {}
        store.add([(a_run(pair=1, look=2), np.ones(1))])
        assert [run.test for run in store.runs()] == [0.5, None]
        assert list(store.sealed()) == [key("mlp", 1, 0)]
        assert store.openings == 1
        store.open_test({key("mlp", 1, 0): (0.25, None)}, {"constant": 0.1, "look": 2})
        assert [run.test for run in store.runs()] == [0.5, 0.25]
        assert store.openings == 2


def test_a_study_may_end_with_its_test_set_sealed_and_then_never_opens_it(tmp_path):
    fill(tmp_path)
    with Store(tmp_path) as store:
        assert not store.has_ended
        store.end_unopened()
        store.end_unopened()
        assert [name for _, name, _ in store.events()] == ["began", room.ENDED]
        with pytest.raises(StudyError, match="leaves it sealed") as refused:
            store.open_test({key("mlp", 0, 0): (0.5, None)}, {})
        assert str(tmp_path) in str(refused.value)
        assert not store.test_is_open
        assert store.runs()[0].test is None
    with Store(tmp_path, read_only=True) as store:
        assert store.has_ended


def test_a_test_set_that_was_opened_is_not_called_sealed(tmp_path):
    fill(tmp_path)
    with Store(tmp_path) as store:
        store.open_test({key("mlp", 0, 0): (0.5, None)}, {"constant": 0.1})
        with pytest.raises(StudyError, match="never opened it"):
            store.end_unopened()
        assert not store.has_ended


def test_what_is_measured_beside_trainings_is_recorded_once(tmp_path):
    found = {"flops": 2**53, "norms": [0.1, math.inf, 1e-300], "none": None}
    fill(tmp_path)
    with Store(tmp_path) as store:
        assert store.measured() == {}
        store.measure("cost/mlp", found)
        store.measure("cost/cnn", 1)
        with pytest.raises(ValueError, match="'cost/mlp' was measured before"):
            store.measure("cost/mlp", found)
    with Store(tmp_path, read_only=True) as store:
        assert store.measured() == {"cost/mlp": found, "cost/cnn": 1}


def a_protocol(n, **more):
    resolved = {"configurations": n, **more}
    return digest(resolved), json.dumps(resolved), json.dumps({"configurations": n})


def test_a_study_that_grew_has_each_protocol_and_the_event(tmp_path):
    with Store(tmp_path) as store:
        assert store.protocols() == []
        store.declare(*a_protocol(16))
        store.grow(*a_protocol(32, grown=[16]), {"from": 16, "to": 32})
        store.grow(*a_protocol(64, grown=[16, 32]), {"from": 32, "to": 64})
    with Store(tmp_path, read_only=True) as store:
        assert [found[1]["configurations"] for found in store.protocols()] == [
            16, 32, 64,
        ]  # fmt: skip
        assert store.protocol() == store.protocols()[-1]
        assert store.protocol()[2] == {"configurations": 64}
        assert [(name, json.loads(d)) for _, name, d in store.events()][1:] == [
            (room.GREW, {"from": 16, "to": 32}),
            (room.GREW, {"from": 32, "to": 64}),
        ]


def test_a_growth_that_is_not_recorded_whole_is_not_recorded(tmp_path, monkeypatch):
    with Store(tmp_path) as store:
        store.declare(*a_protocol(16))

        def full(*_):
            raise sqlite3.OperationalError("no more room")

        monkeypatch.setattr(store, "_event", full)
        with pytest.raises(StudyError):
            store.grow(*a_protocol(32, grown=[16]), {})
        assert len(store.protocols()) == 1


def test_a_study_without_checksums_does_not_grow(tmp_path):
    golden = Path(__file__).parents[1] / "golden" / "0.2.0"
    shutil.copytree(golden, tmp_path / "study")
    with Store(tmp_path / "study") as store:
        with pytest.raises(StudyError, match=r"0\.2 or before") as caught:
            store.grow(*a_protocol(32, grown=[16]), {})
        assert "--study" in str(caught.value)
        assert store.protocol()[1]["configurations"] == 16


def version(folder):
    connection = sqlite3.connect(folder / room.FILE_NAME)
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return found


def test_two_readings_of_a_run_are_kept_apart_and_scored_apart(tmp_path):
    best = a_run(reading="best", validation=0.875)
    runs = [a_run(), best, a_run(rung=2, reading="best"), a_run(pair=1, seed=3)]
    with Store(tmp_path) as store:
        store.add([(run, np.full(1, run.validation)) for run in runs])
        assert store.runs() == runs[0:1] + runs[2:0:-1] + runs[3:]
        sealed = store.sealed()
        assert list(sealed) == [
            "mlp/0/0", "mlp/0/0/best", "mlp/0/0/2x/best", "mlp/1/3",
        ]  # fmt: skip
        assert sealed["mlp/0/0/best"] == 0.875
        scores = {"mlp/0/0": (0.5, None), "mlp/0/0/best": (0.75, None)}
        store.open_test(scores, {})
        tests = {(r.pair, r.rung, r.reading): r.test for r in store.runs()}
        assert tests[0, 1, "last"] == 0.5
        assert tests[0, 1, "best"] == 0.75
        assert tests[0, 2, "best"] is None
    assert key("a", 2, 1, tuner="TPE", reading="best") == "a/2/1/TPE/best"


def test_what_was_measured_is_read_back(tmp_path):
    measures = {
        "deviation": 0.03125,
        "by_layer": {"0.convolution": 0.5},
        "path": [0.25, None, True, "loss"],
        "curvature": math.inf,
        "gradient_norm": -math.inf,
    }
    lost = {"curvature": {"end": math.nan}}
    with Store(tmp_path) as store:
        store.add([(a_run(measures=measures), np.zeros(1))])
        store.add([(a_run(pair=1, measures=lost), np.zeros(1))])
        first, second = store.runs()
        assert first.measures == measures
        assert math.isnan(second.measures["curvature"]["end"])


def as_before(folder, version):
    """Lets a folder hold an empty store of an older release."""
    folder.mkdir(exist_ok=True)
    with sqlite3.connect(folder / room.FILE_NAME) as connection:
        for statement in layout.TABLES_BEFORE:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={version}")
    connection.close()


def test_a_new_store_needs_this_release(tmp_path):
    fill(tmp_path)
    assert version(tmp_path) == room.SCHEMA == 4


def test_only_an_experiments_runs_need_more_than_the_release_that_began(tmp_path):
    """A reader of version 2 says so, and reads every store without them."""
    as_before(tmp_path, 2)
    fill(tmp_path)
    assert version(tmp_path) == 2
    new = (a_run(pair=1, measures={"deviation": 0.5}), np.zeros(1))
    with Store(tmp_path) as store:
        (details,) = store._connection.execute("SELECT details FROM runs").fetchone()
        assert set(json.loads(details)) == {
            "configuration", "flops", "parameters", "seconds", "curve",
        }  # fmt: skip
        with pytest.raises(StudyError, match="UNIQUE"):
            store.add([new, (a_run(), np.zeros(1))])
        assert version(tmp_path) == 2
        store.add([new])
        assert version(tmp_path) == 3
        store.add([(a_run(pair=2), np.zeros(1))])
    assert version(tmp_path) == 3
    with Store(tmp_path) as store:
        assert [run.pair for run in store.runs()] == [0, 1, 2]
    as_before(tmp_path / "other", 2)
    fill(tmp_path / "other", reading="best")
    assert version(tmp_path / "other") == 3


def test_a_store_of_the_first_version_is_read_and_gone_on_with(tmp_path):
    as_before(tmp_path, 1)
    fill(tmp_path)
    with Store(tmp_path) as store:
        assert store.runs() == [a_run()]
        store.add([(a_run(pair=1), np.zeros(1))])
        details = store._connection.execute("SELECT details FROM runs").fetchall()
    # What it gets is what its own version would have written.
    assert all("rung" not in json.loads(text) for (text,) in details)
    assert version(tmp_path) == 1


def test_a_run_without_a_score_is_told_from_one_that_is_sealed(tmp_path):
    fill(tmp_path, validation=math.nan, diverged=True, error="ValueError: no")
    with Store(tmp_path) as store:
        (run,) = store.runs()
        assert math.isnan(run.validation)
        assert run.test is None
        assert run.error == "ValueError: no"
        store.open_test({key("mlp", 0, 0): (math.nan, None)}, {})
        (run,) = store.runs()
        assert math.isnan(run.test)
        assert run.per_example is None


def test_a_task_is_recorded_whole_or_not_at_all(tmp_path):
    fill(tmp_path)
    with Store(tmp_path) as store:
        again = [(a_run(pair=1), np.zeros(1)), (a_run(), np.zeros(1))]
        with pytest.raises(StudyError, match="UNIQUE"):
            store.add(again)
        assert len(store.runs()) == 1
        # and the store is as good as before
        store.add([(a_run(pair=1), np.zeros(1))])
        assert len(store.runs()) == 2


def test_a_study_has_one_writer_and_any_number_of_readers(tmp_path):
    with Store(tmp_path) as store:
        with pytest.raises(StudyError, match="one writer"):
            Store(tmp_path)
        with Store(tmp_path, read_only=True) as reader:
            assert reader.runs() == []
        store.note("still", "mine")
    with Store(tmp_path) as store:
        assert store.events()[0][1:] == ("still", "mine")


def test_reading_leaves_no_files_behind(tmp_path):
    fill(tmp_path)
    before = sorted(tmp_path.iterdir())
    with Store(tmp_path, read_only=True) as store:
        assert len(store.runs()) == 1
        assert sorted(tmp_path.iterdir()) == before
    assert sorted(tmp_path.iterdir()) == before


def test_the_writer_that_was_killed_does_not_lock_the_next_one_out(tmp_path):
    code = (
        "import os, signal, sys; from archtrial.records.store import Store;"
        " store = Store(sys.argv[1]); store.note('here', '');"
        " os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    assert done.returncode == -9
    with Store(tmp_path) as store:
        assert store.events()[0][1] == "here"


def test_no_store_there(tmp_path):
    with pytest.raises(RecordsError, match=r"no study\.sqlite"):
        Store(tmp_path, read_only=True)


def test_a_store_of_a_newer_version(tmp_path):
    fill(tmp_path)
    with sqlite3.connect(tmp_path / room.FILE_NAME) as connection:
        connection.execute(f"PRAGMA user_version={room.SCHEMA + 1}")
    connection.close()
    for read_only in (True, False):
        with pytest.raises(RecordsError, match=f"version {room.SCHEMA + 1}") as caught:
            Store(tmp_path, read_only=read_only)
        assert "newer" in str(caught.value)


def test_a_store_cut_off_in_the_middle(tmp_path):
    fill(tmp_path)
    with Store(tmp_path) as store:
        for pair in range(1, 200):
            store.add([(a_run(pair=pair), np.random.default_rng(pair).random(500))])
    path = tmp_path / room.FILE_NAME
    whole = path.read_bytes()
    for kept in (len(whole) // 2, 5000, 700, 50):
        path.write_bytes(whole[:kept])
        with pytest.raises(RecordsError, match="whole") as caught:
            Store(tmp_path)
        assert "Restore the folder" in str(caught.value)


def test_a_store_with_a_hole(tmp_path):
    fill(tmp_path)
    with Store(tmp_path) as store:
        for pair in range(1, 50):
            store.add([(a_run(pair=pair), np.random.default_rng(pair).random(500))])
    path = tmp_path / room.FILE_NAME
    whole = path.read_bytes()
    # The pages of one table's tree, not those that opening reads.
    found = set()
    for page in range(3, len(whole) // 4096):
        path.write_bytes(
            whole[: page * 4096] + b"\xff" * 4096 + whole[(page + 1) * 4096 :]
        )
        try:
            Store(tmp_path).close()
        except RecordsError as error:
            found.add(str(error).partition("\n")[0].partition(": ")[0])
    assert found == {"a store is whole"}


def test_a_store_that_is_another_file(tmp_path):
    (tmp_path / room.FILE_NAME).write_text("no database at all " * 100)
    with pytest.raises(RecordsError, match="whole"):
        Store(tmp_path)
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE trees (height)")
    other.close()
    (tmp_path / room.FILE_NAME).write_bytes((tmp_path / "other").read_bytes())
    with pytest.raises(RecordsError, match="another database"):
        Store(tmp_path)
    # An empty file is what a kill at the very start leaves: it can be begun again,
    (tmp_path / room.FILE_NAME).write_bytes(b"")
    with pytest.raises(RecordsError, match="none has begun"):
        Store(tmp_path, read_only=True)
    assert frozen(tmp_path) is None
    with Store(tmp_path) as store:
        assert store.runs() == []


def test_a_full_disk(tmp_path):
    with Store(tmp_path) as store:
        store.declare("abc", "{}", "{}")
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(StudyError, match="is full") as caught:
            store.add([(a_run(), np.random.default_rng(0).random(100_000))])
        assert "goes on where it stopped" in str(caught.value)
    with Store(tmp_path) as store:
        assert store.runs() == []
        store.add([(a_run(), np.zeros(3))])


def test_what_is_frozen_in_a_folder(tmp_path):
    assert frozen(tmp_path / "nope") is None
    fill(tmp_path)
    assert frozen(tmp_path) == (HASH, {"effort": 4}, {"data": "digits"})
    (tmp_path / room.FILE_NAME).write_text("no database at all " * 100)
    with pytest.raises(RecordsError, match="whole"):
        frozen(tmp_path)


def test_a_damaged_lock(tmp_path):
    (tmp_path / "lock").write_text("no database at all " * 100)
    with pytest.raises(StudyError, match="written to"):
        Store(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="written to"):
        Store(tmp_path / "file" / "study")


def test_a_lock_that_cannot_be_had(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(StudyError, match="written to"):
        Store(tmp_path)


@pytest.mark.parametrize(
    ("mounts", "journal"),
    [
        ("/dev/sda / ext4 rw 0 0", "wal"),
        ("server:/home {} nfs4 rw 0 0", "delete"),
        ("//server/home {} cifs rw 0 0", "delete"),
        ("server:/x /elsewhere nfs4 rw 0 0", "wal"),
        # The mount that is nearest counts.
        ("server:/x / nfs4 rw 0 0\n/dev/sda {} ext4 rw 0 0", "wal"),
    ],
)
def test_a_network_disk_gets_another_journal(tmp_path, monkeypatch, mounts, journal):
    table = tmp_path / "mounts"
    table.write_text(mounts.format(str(tmp_path).replace(" ", "\\040")))
    monkeypatch.setattr(room, "_MOUNTS", table)
    with Store(tmp_path) as store:
        assert store.journal == journal
        mode = store._connection.execute("PRAGMA journal_mode").fetchone()[0]
        assert mode == journal


def test_a_system_without_a_table_of_mounts(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_MOUNTS", tmp_path / "nope")
    with Store(tmp_path) as store:
        assert store.journal == "wal"


def test_a_store_without_a_protocol(tmp_path):
    with Store(tmp_path) as store:
        assert store.protocol() is None


@pytest.mark.parametrize("name", ["study.sqlite", "study.sqlite-wal", "lock"])
def test_a_store_is_not_written_through_a_link(tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    folder = tmp_path / "study"
    fill(folder)
    shutil.move(folder / "study.sqlite", elsewhere)
    content = elsewhere.read_bytes()
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(StudyError, match=f"{name} is a link"):
        Store(folder)
    assert elsewhere.read_bytes() == content


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EACCES, errno.EOPNOTSUPP])
def test_a_file_system_that_locks_nothing_is_told_from_another_writer(
    tmp_path, monkeypatch, code
):
    """SQLite says busy of both."""

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    with Store(tmp_path):
        with pytest.raises(StudyError, match="another archtrial is at work"):
            Store(tmp_path)
        monkeypatch.setattr("fcntl.lockf", refuse)
        with pytest.raises(StudyError, match="locks files") as caught:
            Store(tmp_path)
        assert os.strerror(code) in caught.value.received
        assert "--study" in caught.value.way_out
    assert {path.name for path in tmp_path.iterdir()} == {"study.sqlite", "lock"}


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
static int refused(int command) {
  return command == F_SETLK || command == F_SETLKW;
}
#define SHIM(name) \
int name(int handle, int command, ...) { \
  va_list list; va_start(list, command); \
  void *argument = va_arg(list, void *); va_end(list); \
  int (*real)(int, int, ...) = dlsym(RTLD_NEXT, #name); \
  if (refused(command)) { errno = ENOLCK; return -1; } \
  return real(handle, command, argument); \
}
SHIM(fcntl)
SHIM(fcntl64)
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a compiler")
def test_a_file_system_that_refuses_locks_itself(tmp_path):
    (tmp_path / "shim.c").write_text(SHIM)
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", "shim.so", "shim.c", "-ldl"],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    code = "import sys; from archtrial.records.store import Store; Store(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "study"],
        env={**os.environ, "LD_PRELOAD": str(tmp_path / "shim.so")},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert "does not: No locks available" in done.stderr
    assert "another archtrial" not in done.stderr


def test_a_system_without_such_locks(tmp_path, monkeypatch):
    with Store(tmp_path):
        monkeypatch.setitem(sys.modules, "fcntl", None)
        with pytest.raises(StudyError, match="another archtrial is at work"):
            Store(tmp_path)


@contextlib.contextmanager
def nobody():
    """Somebody who may read, and write nothing."""
    if not hasattr(os, "seteuid") or os.geteuid() != 0:
        pytest.skip("needs the right to be somebody else")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_reading_where_nothing_can_be_written(tmp_path):
    fill(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "log")
    with Store(tmp_path / "log") as store:
        store.note("one", "more")
        wal = (tmp_path / "log" / "study.sqlite-wal").read_bytes()
    shutil.copytree(tmp_path / "whole", tmp_path / "empty")
    (tmp_path / "empty" / "study.sqlite-wal").touch()
    (tmp_path / "log" / "study.sqlite-wal").write_bytes(wal)
    for place in (tmp_path, *tmp_path.parents[:-2]):
        place.chmod(0o755)
    with nobody():
        for name in ("whole", "empty"):
            with Store(tmp_path / name, read_only=True) as store:
                assert len(store.runs()) == 1
        with pytest.raises(StudyError, match="Copy the whole folder"):
            Store(tmp_path / "log", read_only=True)
        with pytest.raises(StudyError, match="permissions"):
            Store(tmp_path / "whole")
    # What the message says works.
    shutil.copytree(tmp_path / "log", tmp_path / "copy")
    with Store(tmp_path / "copy", read_only=True) as store:
        assert len(store.runs()) == 1


def test_a_lock_of_nobody_where_nothing_can_be_made(tmp_path, monkeypatch):
    (tmp_path / "lock").mkdir()
    monkeypatch.setattr(room.uuid, "uuid4", lambda: type("U", (), {"hex": "a/b"}))
    with pytest.raises(StudyError, match="can be written to"):
        Store(tmp_path)
