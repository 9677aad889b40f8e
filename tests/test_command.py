"""A user's own trainer and command: what their answers may look like, and their end."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from archtrial import Protocol, Study, trainers, trial
from archtrial.errors import ProtocolError, StudyError
from archtrial.records.store import Store, frozen
from tests.processes import heed_signals

SMALL = Protocol(
    data="own", baseline="a", challengers=["b"], configurations=4, effort=1, margin=0.1,
    metric="accuracy",
)  # fmt: skip
BOTH = {"validation_regex": r"val acc: (\S+)", "test_regex": r"test acc: (\S+)"}


def prints(*statements, tail=" {arm}"):
    inside = "; ".join(("import sys, os, time", *statements))
    return f"{sys.executable} -c '{inside}'{tail}"


def runs(folder):
    with Store(folder, read_only=True) as store:
        return store.runs()


@pytest.mark.parametrize(
    "taken", [torch.tensor, np.float32, np.array, lambda x: torch.tensor([x]), str]
)
def test_a_score_is_whatever_float_takes(tmp_path, taken):
    def trains(arm, configuration, seed, steps):
        return {"validation": taken(0.5), "test": taken(0.25)}

    Study(SMALL, tmp_path, trainer=trains).run()
    assert {(run.validation, run.test) for run in runs(tmp_path)} == {(0.5, 0.25)}


@pytest.mark.parametrize(
    "answer", [torch.zeros(2), None, [0.5], 10**400, 1j, "half", object()]
)
def test_a_score_that_is_no_number_stops_the_first_run(tmp_path, answer):
    asked = []

    def trains(*_):
        asked.append(1)
        return {"validation": answer, "test": 0.5}

    with pytest.raises(StudyError, match="'validation' is a number"):
        Study(SMALL, tmp_path, trainer=trains).run()
    assert len(asked) == 1


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("template", "says"),
    [
        (prints('print("epoch 3"); print("val acc: .5")'), "epoch 3\nval acc: .5"),
        (prints('print("{{}}")'), "'validation' score"),
        (prints('print("{{\\"validation\\": .5}}")'), "JSON object"),
        (prints('print("deep"); sys.exit("no such file")'), "no such file"),
        (prints("1 / 0"), "ZeroDivisionError"),
        ("no-such-program {arm}", "FileNotFoundError"),
    ],
)
def test_a_fault_of_form_stops_the_first_run_and_shows_the_output(
    tmp_path, template, says, workers
):
    with pytest.raises(StudyError) as caught:
        Study(SMALL, tmp_path, command=template).run(workers=workers)
    assert says in str(caught.value)
    assert "the first run of a" in str(caught.value)
    assert len(runs(tmp_path)) <= 1  # none of a's


def test_the_second_arms_fault_stops_its_first_run(tmp_path):
    template = prints(
        'sys.argv[1] == "b" and sys.exit("b is not ready")',
        'print("val acc: .5 test acc: .5")',
        tail=" {arm}",
    )
    with pytest.raises(StudyError, match="first run of b"):
        Study(SMALL, tmp_path, command=template, **BOTH).run()
    assert [run.arm for run in runs(tmp_path)] == ["a"]


def test_a_run_that_fails_later_is_one_that_failed(tmp_path):
    rates = {}

    def trains(arm, configuration, seed, steps):
        rates.setdefault(arm.name, configuration["learning_rate"])
        if configuration["learning_rate"] != rates[arm.name]:
            raise ValueError("diverged")
        return {"validation": 0.5, "test": 0.5}

    Study(SMALL, tmp_path, trainer=trains).run()
    assert any(run.error for run in runs(tmp_path))


def test_scores_are_found_in_what_a_script_prints(tmp_path):
    template = prints(
        'print("val acc: 0.1"); print("val acc: 30% (best)"); print("epoch")',
        'print("test acc: 0.25", file=sys.stderr)',
    )
    study = Study(SMALL, tmp_path, command=template, **BOTH)
    study.run()
    # The last match; per cent of a share; standard error where nothing else matches.
    assert {(run.validation, run.test) for run in runs(tmp_path)} == {(0.3, 0.25)}
    assert BOTH.items() <= frozen(tmp_path)[1].items()
    assert BOTH.items() <= frozen(tmp_path)[2].items()


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        ({"validation_regex": "a"}, "no --test-regex"),
        ({**BOTH, "test_regex": "("}, "regular expression of Python"),
        ({**BOTH, "test_regex": "(a)(b)"}, "2 groups"),
    ],
)
def test_an_expression_is_checked_at_once(tmp_path, patterns, says):
    with pytest.raises(ProtocolError) as caught:
        Study(SMALL, tmp_path, command="true", **patterns)
    assert says in str(caught.value)
    with pytest.raises(ProtocolError, match="without a command"):
        Study(SMALL, tmp_path, trainer=prints, **BOTH)


def test_an_expression_without_a_match_shows_the_output(tmp_path):
    template = prints('print("accuracy .5")')
    with pytest.raises(StudyError, match=r"no match of .*\naccuracy \.5"):
        Study(SMALL, tmp_path, command=template, **BOTH).run()


def test_what_a_command_does_not_name_is_not_searched(tmp_path):
    template = prints(
        'print("val acc: .5 test acc: .5")', tail=" {learning_rate} {arm}"
    )
    study = Study(SMALL, tmp_path, command=template, **BOTH)
    assert set(study.trial.spaces["a"]) == {"learning_rate"}
    notes = " ".join(study.notes)
    assert "does not name {weight_decay}: it is not searched." in notes
    assert "does not name {seed}" in notes
    assert set(study.trial.resolved["baseline"]["space"]) == {"learning_rate"}


def alive(number):
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc").exists(), reason="asks /proc who lives")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])  # fmt: skip
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_command_and_its_children_end_with_the_study(tmp_path, number, workers):
    marks = tmp_path / "marks"
    marks.mkdir()
    child = f"touch {marks}/$$; sleep 600 & touch {marks}/$!; wait"
    code = "from archtrial.cli import main; main()"
    program = subprocess.Popen(
        [sys.executable, "-c", code, "run", "--study", tmp_path / "s", "--command",
         f"/bin/sh -c '{child}' {{arm}}", "--metric", "accuracy", "--baseline", "a", "--challenger", "b",
         "--configurations", "4", "--effort", "1", "--workers", workers],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=heed_signals,
    )  # fmt: skip
    while len(list(marks.iterdir())) < 2 * int(workers):
        assert program.poll() is None
        time.sleep(0.05)
    os.kill(program.pid, number)
    program.wait(30)
    for mark in marks.iterdir():
        for _ in range(200):
            if not alive(mark.name):
                break
            time.sleep(0.05)
        assert not alive(mark.name)


# --- a function that does not look up what is searched -------------------------------


def looks_up(arm, configuration, seed, steps):
    rate = configuration["learning_rate"]
    if "width" in configuration:
        rate *= configuration.get("width", 1)
    return {"validation": rate, "test": rate}


def passes_on(arm, configuration, seed, steps):
    return looks_up(arm, configuration, seed, steps)


class Trainer:
    def train(self, arm, values, seed, steps):
        return {"validation": values["learning_rate"], "test": values["width"]}

    def __call__(self, *given):
        return self.train(*given)


@pytest.mark.parametrize(
    ("function", "unread"),
    [
        (looks_up, ["depth", "weight_decay"]),
        (Trainer().train, ["depth", "weight_decay"]),
        (passes_on, []),
        (Trainer(), []),
        (lambda arm, values, *_: {"validation": values["depth"], "test": 0},
         ["learning_rate", "weight_decay", "width"]),
        (lambda *given: {"validation": given[1]["depth"], "test": 0}, []),
        (functools.partial(looks_up, steps=1), []),
        (max, []),
    ],
)  # fmt: skip
def test_what_a_function_never_looks_up(function, unread):
    names = ["width", "learning_rate", "weight_decay", "depth"]
    assert trainers.never_read(function, names) == unread


def test_a_hyperparameter_that_a_function_ignores_is_said():
    declared = Protocol(
        data="d", baseline="a=x", challengers=["b=y"],
        space={"learning_rate": {"low": 0.1, "high": 1}, "depth": [1, 2]},
    )  # fmt: skip
    notes = trial.prepare(declared, looks_up).resolved["notes"]
    assert [note for note in notes if "does not look up 'depth'" in note]
    assert not [note for note in notes if "learning_rate" in note]
