"""Whatever is typed behind `archtrial`: done, or one message and exit status 2."""

import contextlib
import io
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from archtrial import cli, trial
from archtrial.console import process
from archtrial.errors import UserError

SEEDS = (
    "run --data digits --baseline mlp(width=32) --challenger skip=mlp(residual=true)"
    " --margin .01 --effort 4 --configurations 16 --steps 60 --seed 3 --device cpu",
    "run --data d.csv --target y --task classification --no-scale --channels last"
    " --decimal comma --dates day-first --metric accuracy --baseline mlp(depth=1)"
    " --challenger b=net.py:Other --looks 16,32 --ladder 1,2,4 --probes 4",
    "run p.toml --budget 10m --price 2.5 --workers 1 --json",
    "run --data digits --baseline mlp --factor residual=false,true --factor"
    " norm=none,layer --matched-baseline --deterministic mlp",
    "run --study studies/none --trust",
    "plan --data digits --baseline mlp --challenger cnn --configurations 16 --steps 9",
    "relax digits --seeds 3 --relax-times 2 --steps 20 --learning-rates .01,.1 --dry-run",
    "judge runs.csv --validation val_acc --test test_acc --arm model --baseline a"
    " --challenger b --margin 1 --percent --effort 4 --seed-column seed",
    "judge a=runs.csv b=runs.csv --validation val_acc"
    " --lower-is-better --where data=cifar --status done=finished --status-column state",
    "judge runs.csv --failed-score -1 --hyperparameters lr,width --tuner random --pair run"
    " --cost hours --alpha .05 --published-baseline .8 --published-challenger .83",
    "judge runs.csv --validation val_acc --test test_acc --arm model --baseline a"
    " --challenger b --margin .01 --effort 4 --seed-column seed --dry-run",
    "judge studies/none --margin .02 --report page.html --json",
    "report studies/none --output page.html",
    "zoo cnn",
    "zoo mlp",
    "init new.toml",
    "judge --help",
)
PIECES = (
    "", " ", "-", "--", "=", "--no", "nan", "inf", "-inf", "1e400", "-1", "0", "1e-400",
    "9" * 5000, "\x1b[2J", "\ud800", "\u6df1" * 90, "[" * 300, "(" * 300, "'", '"',
    "\\", "{", "}", "{learning_rate}", "%s", "../", ".", "a" * 5000, ",", ",,", "1,1",
    "0,1", "2,1", "x=", "=x", "None", "true", "\u0661", "\u00bd", "*", "**{}", "[]", "..",
)  # fmt: skip


def mutated(draw: random.Random) -> list[str]:
    """Returns what a hurried or hostile user typed."""
    words = draw.choice(SEEDS).split(" ")
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(words) + 1)
        kind = draw.randrange(6)
        if kind == 0:
            words.insert(at, draw.choice(PIECES))
        elif kind == 1:
            words.insert(at, draw.choice(draw.choice(SEEDS).split(" ")))
        elif kind == 2:
            del words[at : at + draw.randint(1, 2)]
        elif words and kind == 3:
            words[min(at, len(words) - 1)] = draw.choice(PIECES)
        elif words:
            chosen = min(at, len(words) - 1)
            word = words[chosen]
            cut = draw.randint(0, len(word))
            words[chosen] = word[:cut] + draw.choice(PIECES) + word[cut:]
    return words


class _UnreadError(UserError):
    """What a command comes to that would read data next, and train."""


def _unread(*_: object) -> None:
    raise _UnreadError("the data are read", "a trial of the command line alone")


def _called(words: list[str]) -> None:
    if words and words[0] == "run" and not {"--data", "--study", "p.toml"} & {*words}:
        return  # the built-in trial, which trains
    said = io.StringIO()
    with (
        mock.patch.object(trial, "load", _unread),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        status = process.called(cli.program(), words)
    assert status in (0, 2), (status, said.getvalue())
    assert status == 0 or said.getvalue().strip(), "refused without a word"


def write_all(folder: Path) -> None:
    """Writes what commands name: a small table of runs."""
    draw = random.Random(1)
    rows = ["model,run,lr,width,seed,hours,state,data,val_acc,test_acc"]
    for arm, level in (("a", 0.6), ("b", 0.7)):
        for run in range(16):
            score = level + draw.uniform(0, 0.2)
            rows.append(
                f"{arm},{run},{10 ** draw.uniform(-4, -1):.3g},{draw.randint(9, 99)},"
                f"{run},.1,done,cifar,{score:.4f},{score - 0.01:.4f}"
            )
    (folder / "runs.csv").write_text("\n".join(rows) + "\n")


READERS = {"command line": _called}


@pytest.fixture
def with_runs(tmp_path: Path) -> Iterator[None]:
    before = Path.cwd()
    write_all(tmp_path)
    os.chdir(tmp_path)
    yield
    os.chdir(before)


@pytest.mark.usefixtures("with_runs")
def test_whatever_is_typed_is_done_or_is_one_message():
    draw = random.Random(0)
    until = time.monotonic() + 8
    for _ in range(600):
        words = mutated(draw)
        try:
            _called(words)
        except Exception as error:
            raise AssertionError([word[:200] for word in words]) from error
        if time.monotonic() > until:
            break
