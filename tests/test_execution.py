"""Who carries out a task decides nothing about it."""

import functools
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import scipy.linalg  # noqa: F401 - what brings a BLAS of its own
import threadpoolctl
import torch

from archtrial import execution
from archtrial.errors import StudyError
from tests.processes import heed_signals


def look(task):
    """Returns how many threads a task finds, of torch and of every BLAS."""
    pools = threadpoolctl.threadpool_info()
    blas = {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"}
    return torch.get_num_threads(), blas


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("count", [1, 2])
def test_a_task_has_the_threads_that_were_declared(workers, count):
    setup = functools.partial(execution.as_sent, look)
    with threadpoolctl.threadpool_limits(3 - count, "blas"):
        outside = look(None)
        with execution.executor(setup, workers=workers, threads=count) as executor:
            found = [result for _, result in executor.carry_out([0, 1, 2])]
        assert found == [(count, {count})] * 3
        # Whoever called finds what was there before.
        assert look(None) == outside == (torch.get_num_threads(), {3 - count})


# What becomes of workers that die, and of a study that is interrupted.

MODULE = '''
import os, sys, time
class Work:
    """Larger than a pipe holds, and slow to load, as a data set is."""
    def __init__(self):
        self.data = b"x" * 4_000_000
    def __call__(self, task):
        if task == "slow":
            open(sys.argv[0] + f".{os.getpid()}", "w").close()
            time.sleep(600)
        if task == "large":
            return b"y" * 64_000_000
        return os.getpid()
class OddError(Exception):
    def __init__(self, one, two):
        super().__init__(one)
def odd(task):
    raise OddError(1, 2) if task else ValueError("of a task")
def unsendable(task):
    return lambda: task
class Missing:
    def __reduce__(self):
        return (exec, ("raise ModuleNotFoundError('no module named net')",))
'''

SCRIPT = """
import contextlib, functools, multiprocessing, os, pathlib, signal, sys, threading, time
from archtrial import execution
from archtrial.errors import StudyError
from worked import Work

def kill_each_that_starts():
    # As soon as there is a process, which multiprocessing knows only a while later.
    while True:
        for path in pathlib.Path("/proc/self/task").glob("*/children"):
            for child in path.read_text().split():
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    if b"spawn_main" in pathlib.Path("/proc", child, "cmdline").read_bytes():
                        os.kill(int(child), signal.SIGKILL)
        time.sleep(.001)

def kill_again():
    while True:
        time.sleep(float(sys.argv[2]))
        kill_all()

def kill_all():
    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGKILL)

if __name__ == "__main__":
    setup = functools.partial(execution.as_sent, Work())
    if sys.argv[1] == "start":
        threading.Thread(target=kill_each_that_starts, daemon=True).start()
    began = time.monotonic()
    try:
        with execution.executor(setup, workers=2) as executor:
            tasks = {"start": ["a", "b", "c"], "once": ["a", "large", "b"],
                     "slow": ["slow", "slow"]}[sys.argv[1]]
            if sys.argv[1] == "slow":
                threading.Thread(target=kill_again, daemon=True).start()
            for task, result in executor.carry_out(tasks):
                print("done:", task)
                if sys.argv[1] == "once" and task == "a":
                    time.sleep(2)  # the other one fills its connection and waits
                    kill_all()
    except StudyError as error:
        print(error)
    print("children left:", len(multiprocessing.active_children()))
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "worked.py").write_text(MODULE)
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def carried_out(script, *how):
    done = subprocess.run(
        [sys.executable, script, *how], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "children left: 0" in done.stdout
    assert set(done.stderr.splitlines()) <= {
        "a worker was ended from outside (SIGKILL), most often for want of memory; its"
        " task is tried again"
    }
    return done


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
@pytest.mark.parametrize(
    "when", [["start"], ["slow", "1"], ["slow", "6"]], ids=" ".join
)
def test_workers_that_are_killed_again_and_again_are_one_message(script, when):
    """While they start, while they load, and at work."""
    done = carried_out(script, *when)
    assert "a worker's process lives until its work is done" in done.stdout
    assert "SIGKILL" in done.stdout
    assert "the same task was tried 3 times" in done.stdout
    assert "fewer --workers" in done.stdout


def test_the_task_of_a_worker_that_is_lost_is_tried_again(script):
    """One is killed at rest, and one while it hands its result over."""
    done = carried_out(script, "once")
    lines = done.stdout.splitlines()
    assert sorted(lines)[1:] == ["done: a", "done: b", "done: large"]
    assert "tried again" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("seconds", [0.0, 0.1, 1.0, 5.0])
def test_an_interruption_is_heard_at_every_moment(script, seconds):
    """And it makes no noise, twice in a row, in whichever process."""
    with subprocess.Popen(
        [sys.executable, "-c", f"""
import sys; sys.path.insert(0, {str(script.parent)!r})
import functools, os, signal, threading, time
from archtrial import execution
from worked import Work
if __name__ == "__main__":
    setup = functools.partial(execution.as_sent, Work())
    try:
        with execution.executor(setup, workers=2) as executor:
            print("ready", flush=True)
            list(executor.carry_out(["slow", "slow"]))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the command line does
        print("heard")
        """],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        preexec_fn=heed_signals,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "ready\n"
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to all
        time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert (out, errors, process.returncode) == ("heard\n", "", 0)


def test_what_a_task_raises_is_raised_whatever_it_is(script, monkeypatch):
    monkeypatch.syspath_prepend(script.parent)
    worked = importlib.import_module("worked")
    for work, task, kind, says in (
        (worked.odd, 0, ValueError, "of a task"),
        (worked.odd, 1, RuntimeError, "OddError: 1"),
        (worked.unsendable, 0, RuntimeError, "Can't pickle|Can't get local"),
        (worked.Missing(), 0, StudyError, "ModuleNotFoundError: no module named net"),
    ):
        setup = functools.partial(execution.as_sent, work)
        with (
            pytest.raises(kind, match=says) as caught,
            execution.executor(setup, workers=2) as executor,
        ):
            list(executor.carry_out([task, task]))
        if kind is ValueError:
            assert "In a worker:" in caught.value.__notes__[0]


def test_without_tasks_no_process_starts():
    setup = functools.partial(execution.as_sent, look)
    with execution.executor(setup, workers=2) as executor:
        assert list(executor.carry_out([])) == []
        assert executor._members == []
        assert len(list(executor.carry_out([1]))) == 1
        assert len(executor._members) == 1
        assert len(list(executor.carry_out([1, 2, 3]))) == 3
        assert len(executor._members) == 2
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_a_group_that_a_command_leads_ends_with_it(tmp_path):
    mark = tmp_path / "pid"
    command = f"sleep 600 & echo $! > {mark}; wait"
    with subprocess.Popen(["sh", "-c", command], start_new_session=True) as process:
        with execution.ends_with_us(process):
            while not mark.exists() or not mark.read_text():
                time.sleep(0.01)
        assert process.returncode == -signal.SIGKILL
    for _ in range(100):
        status = Path("/proc", mark.read_text().strip(), "stat")
        if not status.exists() or status.read_text().split()[2] == "Z":
            break
        time.sleep(0.05)
    else:
        pytest.fail("it lives on")
