"""The user's own training: a function, or a command."""

import ast
import contextlib
import dataclasses
import inspect
import json
import math
import os
import re
import shlex
import string
import subprocess
import textwrap
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from archtrial import randomness
from archtrial import space as spaces
from archtrial.errors import ArmError, ProtocolError, StudyError, UserError
from archtrial.execution import ends_with_us
from archtrial.protocol import Arm
from archtrial.records.table import Run
from archtrial.trainers.runs import Finished, Item

__all__ = ["Command", "Function", "never_read"]


@dataclasses.dataclass(frozen=True)
class Function:
    """The user's own training loop.

    Args:
        function: `f(arm, configuration, seed, steps)`, where `arm` is the
            protocol's `Arm`. It returns a mapping with the scores "validation" and
            "test" (NaN or infinite: the run diverged), and optionally its "cost"
            in a unit of the user's own: whatever `float` takes.
        arms: By name.
        steps: What the protocol declares.
        study_seed: The protocol's seed.
        shares: Whether the metric is one of shares, from 0 to 1.
    """

    function: Callable[[Arm, Mapping[str, spaces.Value], int, int], Mapping[str, Any]]
    arms: Mapping[str, Arm]
    steps: int
    study_seed: int
    shares: bool

    def divide(self, items: Sequence[Item]) -> list[tuple[Item, ...]]:
        """Each run is a task."""
        return [(item,) for item in items]

    def __call__(self, task: Sequence[Item]) -> list[Finished]:
        """Calls the user's function; what it raises is recorded with the run."""
        return [self._train(item) for item in task]

    def _train(self, item: Item) -> Finished:
        # Most frameworks take seeds of 31 bits.
        seed = randomness.seed(self.study_seed, "training", item.arm, *item.names) >> 32
        start = time.perf_counter()
        error: str | None = None
        fault: UserError | None = None
        scores: Mapping[str, Any] = {}
        try:
            scores = self.function(
                self.arms[item.arm],
                dict(item.configuration),
                seed,
                self.steps * item.rung,
            )
        except MemoryError:
            raise  # what becomes of a run does not depend on what else is running
        except Exception as raised:
            place = traceback.extract_tb(raised.__traceback__)[-1]
            error = (
                f"{type(raised).__name__}: {raised}"
                f" ({place.filename.rpartition('/')[2]}, line {place.lineno})"
            )
            if isinstance(raised, UserError):
                fault = _stopping(item, raised)
            elif isinstance(raised, _MISTAKES):
                fault = _stopping(item, error)
        else:
            error = _fault(scores, self.shares)
            if error is not None:
                fault = _stopping(item, error)
        if error is not None:
            scores = {"validation": math.nan, "test": math.nan}
        validation, test = float(scores["validation"]), float(scores["test"])
        diverged = not (math.isfinite(validation) and math.isfinite(test))
        return Finished(
            run=Run(
                **item.row,
                validation=math.nan if diverged else validation,
                diverged=diverged,
                error=error,
                flops=float(scores.get("cost", 0.0)),
                seconds=time.perf_counter() - start,
            ),
            sealed=np.array(math.nan if diverged else test),
            fault=fault,
        )


# What a program raises that is written wrongly, whatever its configuration. All else
# may follow from this configuration alone, as a loss that overflows does.
_MISTAKES = (
    AttributeError, ImportError, LookupError, NameError, NotImplementedError, OSError,
    SyntaxError, TypeError,
)  # fmt: skip


def _stopping(item: Item, error: UserError | str) -> StudyError:
    """Returns what stops a study whose first run of an arm ends with this fault."""
    way_out = (
        "Correct it and give the same command again. If only this configuration fails,"
        " and is to count as a run that failed, let it answer with NaN for both"
        " scores."
    )
    rule = f"the first run of {item.arm} ends with a validation and a test score"
    if isinstance(error, str):
        return StudyError(rule, error, way_out)
    said = f"{error.rule}: {error.received}" if error.received else error.rule
    own = f"{error.way_out}\n" if error.way_out else ""
    return StudyError(rule, said, own + way_out)


def _fault(scores: Any, shares: bool) -> str | None:
    """Says what is wrong with a trainer's answer, or None."""
    if not isinstance(scores, Mapping):
        return f"a trainer returns a mapping of scores, not {type(scores).__name__}"
    for name in ("validation", "test"):
        if name not in scores:
            return f"a trainer returns a {name!r} score; it returned {sorted(scores)}"
    for name in sorted(scores.keys() & {"validation", "test", "cost"}):
        try:
            if isinstance(scores[name], bool):
                raise TypeError
            value = float(scores[name])
        # What float() is asked of may be anything, and raise anything.
        except (TypeError, ValueError, OverflowError, RuntimeError):
            return f"a trainer's {name!r} is a number, not {scores[name]!r:.200}"
        if name == "cost" and not 0 <= value < math.inf:
            return f"a trainer's cost is finite and not negative, not {value}"
        if name != "cost" and shares and math.isfinite(value) and not 0 <= value <= 1:
            return (
                f"a share lies between 0 and 1, but {name!r} is {value}: not per cent"
            )
    return None


def never_read(function: Callable[..., Any], names: Iterable[str]) -> list[str]:
    """Returns which hyperparameters the source of a trainer plainly never looks up.

    None where that cannot be told: it has no source, or passes them on as a whole.

    Args:
        function: A trainer, as `Function` calls it.
        names: Of the hyperparameters.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        parameter = list(inspect.signature(function).parameters.values())[1]
    except (OSError, TypeError, ValueError, SyntaxError, IndexError):
        return []
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return []
    looked_up: list[Any] = []
    uses = 0
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name):
                uses += name == parameter.name
                if name in ("eval", "exec", "locals", "vars"):
                    return []
            case (
                ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=key))
                | ast.Call(
                    func=ast.Attribute(value=ast.Name(id=name), attr="get"),
                    args=[ast.Constant(value=key), *_],
                )
                | ast.Compare(
                    left=ast.Constant(value=key),
                    ops=[ast.In() | ast.NotIn()],
                    comparators=[ast.Name(id=name)],
                )
            ) if name == parameter.name:
                looked_up.append(key)
    # Any other use may hand on the whole of it.
    return [] if uses > len(looked_up) else sorted(set(names) - set(looked_up))


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line that trains one run, as a function for `Function`.

    Args:
        template: The command with names in braces: hyperparameters and options,
            `arm`, `seed` and `steps`. It is run without a shell. The last line of
            its output is a JSON object with the scores "validation" and "test".
        threads: Told to the usual libraries by their environment variables.
        validation_regex: Of a command that prints its scores in words: what finds the
            validation score, in its group if it has one. The last match counts, in
            standard output or, with none there, in standard error.
        test_regex: The same of the test score.
        shares: Whether a number before a per cent sign is a hundredth of what it says.

    Raises:
        ProtocolError: The template cannot be split or filled in, or a regular
            expression cannot be used.
    """

    template: str
    threads: int = 1
    validation_regex: str | None = None
    test_regex: str | None = None
    shares: bool = False

    def __post_init__(self) -> None:
        with self._explained():
            if not shlex.split(self.template):
                raise ProtocolError("a command has at least one word", "none")
            self.names()
        for option, pattern in self._patterns().items():
            if pattern is None:
                raise ProtocolError(
                    "both scores are read from what a command prints, or neither",
                    f"no --{option}-regex",
                    f"Add --{option}-regex, for example '{option} score: ([0-9.]+)'.",
                )
            try:
                groups = re.compile(pattern).groups
            except (re.error, RecursionError, OverflowError) as error:
                raise ProtocolError(
                    f"--{option}-regex is a regular expression of Python",
                    f"{pattern!r}: {error}",
                    "Write for example 'accuracy: ([0-9.]+)'.",
                ) from None
            if groups > 1:
                raise ProtocolError(
                    f"--{option}-regex has one group, which is the score",
                    f"{groups} groups in {pattern!r}",
                    "Write (?:...) for a group that is not the score.",
                )

    def _patterns(self) -> dict[str, str | None]:
        """Returns the two expressions by score; none where neither was given."""
        if self.validation_regex is None and self.test_regex is None:
            return {}
        return {"validation": self.validation_regex, "test": self.test_regex}

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise ProtocolError(
                "a command is split into words as a shell would, with names in braces",
                f"{self.template!r}: {error}",
                "Close every quote; write a brace itself as {{ or }}.",
            ) from None

    def names(self) -> set[str]:
        """Returns the names that the template asks for."""
        parsed = string.Formatter().parse(self.template)
        return {name for _, name, _, _ in parsed if name is not None}

    def check(self, known: set[str]) -> None:
        """Raises a ProtocolError where the template asks for a name not in `known`."""
        for name in sorted(self.names() - known):
            raise ProtocolError(
                "a command asks for names that every arm has",
                f"{{{name}}}",
                f"The names are {', '.join(sorted(known))}; declare others in the"
                " search space or as options of the arms.",
            )

    def __call__(
        self,
        arm: Arm,
        configuration: Mapping[str, spaces.Value],
        seed: int,
        steps: int,
    ) -> Mapping[str, Any]:
        """Runs the command once and reads its scores."""
        values = {
            **arm.options,
            **configuration,
            "arm": arm.name,
            "seed": seed,
            "steps": steps,
        }
        words = [word.format_map(values) for word in shlex.split(self.template)]
        limits = dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
            str(self.threads),
        )
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own command
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env={**os.environ, **limits},
                # A group of its own, which ends as a whole.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # no such program; a NUL in a word
            raise ArmError(
                "the command can be started",
                f"{words[0]}: {type(error).__name__}: {error}",
            ) from None
        with ends_with_us(process), _outlived_by_nobody(process):
            output, complaints = process.communicate()
        if process.returncode != 0:
            raise ArmError(
                f"the command ended with status {process.returncode}",
                _tail(complaints) or _tail(output) or "no message",
            )
        if self._patterns():
            return {
                name: self._found(name, pattern or "", output, complaints)
                for name, pattern in self._patterns().items()
            }
        lines = output.strip().splitlines() or [""]
        try:
            scores = json.loads(lines[-1])
        except (ValueError, RecursionError):
            scores = None
        if not isinstance(scores, dict):
            raise ArmError(
                "the last line of the command's output is a JSON object",
                f"the output ends with\n{_tail(output) or 'nothing'}",
                'Print {"validation": ..., "test": ...} last, or say with'
                " --validation-regex and --test-regex where the scores stand.",
            )
        return scores

    def _found(
        self, name: str, pattern: str, output: str, complaints: str
    ) -> float | str:
        """Returns the score that the last match of an expression holds."""
        for text in (output, complaints):
            matches = list(re.finditer(pattern, text))
            if not matches:
                continue
            last = matches[-1]
            group = 1 if last.re.groups else 0
            number = (last[group] or "").strip()
            end = text[last.end(group) :].lstrip(" ")
            try:
                value = float(number.rstrip("% "))
            except ValueError:
                return number
            per_cent = number.endswith("%") or end.startswith("%")
            return value / 100 if per_cent and self.shares else value
        raise ArmError(
            f"--{name}-regex finds the {name} score in what the command prints",
            f"no match of {pattern!r}; the output ends with\n"
            f"{_tail(output) or 'nothing'}",
        )


def _tail(text: str, lines: int = 10) -> str:
    """Returns the last lines of an output."""
    return "\n".join(line[:200] for line in text.strip().splitlines()[-lines:])


@contextlib.contextmanager
def _outlived_by_nobody(process: subprocess.Popen[str]) -> Iterator[None]:
    """Ends a process and all that it started, also if this one is killed outright.

    Nobody whom SIGKILL ends can see to it, so another process waits for our end.
    """
    if not hasattr(os, "killpg"):  # Windows
        yield
        return
    watching = subprocess.Popen(  # noqa: S603 - ours, with a number in it
        ["/bin/sh", "-c", f"cat; kill -s KILL -- -{process.pid}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Not told to end by whoever tells us.
        start_new_session=True,
    )
    assert watching.stdin is not None
    try:
        yield
    finally:
        # What it left running in the background ends as well.
        watching.stdin.close()
        watching.wait()
