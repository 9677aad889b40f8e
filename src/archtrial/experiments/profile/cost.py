"""What architectures cost, read off the records."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from archtrial.experiments.profile.groups import Group
from archtrial.records.table import Run
from archtrial.report.article import Column, Exhibit, Plate, Section, Table
from archtrial.report.drawing import LIGHT, STYLE, WIDE
from archtrial.report.rows import Row, draw_forest
from archtrial.statistics.intervals import Estimate, median
from archtrial.words import numbers
from archtrial.words.phrases import joined

__all__ = ["Cost", "at_target", "default_target"]

_NEVER = "not reached"


class Cost(Group):
    """Parameters, FLOPs and memory; times on the machine; and the price of a score."""

    title = "What do they cost?"
    glossary = {  # noqa: RUF012 - nobody changes it
        "FLOPs": "Floating-point operations of products and convolutions, a"
        " multiplication and an addition as two; element-wise work is left out.",
        "activations": "What a forward pass keeps in memory for the backward pass.",
        "target": "A validation score whose price is asked: the least compute after which"
        " a training first has it.",
    }

    def numbers(self) -> dict[str, Any]:
        """Returns what was counted of each architecture, and what the target took it."""
        profiled = self.profiled
        fresh = {name: profiled.fresh(name) for name in profiled.names}
        declared: float | None = profiled.resolved["target_score"]
        target, lowest = declared, None
        if target is None:
            target, lowest = default_target(fresh, profiled.sign)
        return {
            "target": {"score": target, "ends_lowest": lowest},
            "architectures": [
                {
                    "name": name,
                    **profiled.measured("cost", name),
                    "learning_rate": runs[0].configuration["learning_rate"],
                    "score": _entry(self._final(runs)),
                    **self._price(name, runs, target),
                }
                for name, runs in fresh.items()
            ],
        }

    def _final(self, runs: Sequence[Run]) -> Estimate:
        return median(np.array([run.validation for run in runs]), self.profiled.alpha)

    def _price(self, name: str, runs: Sequence[Run], target: float) -> dict[str, Any]:
        steps = at_target(runs, target, self.profiled.sign)
        found = median(steps, self.profiled.alpha)
        once = self.profiled.measured("cost", name)["step_flops"]
        flops = Estimate(found.estimate * once, found.low * once, found.high * once)
        return {
            "seeds": len(runs),
            "reached": int(np.isfinite(steps).sum()),
            "steps_to_target": _entry(found),
            "flops_to_target": _entry(flops),
        }

    @property
    def _timed(self) -> Mapping[str, Any]:
        """By architecture, what was timed; empty where the file is gone."""
        timed: Mapping[str, Any] = self.profiled.machine.get("cost", {})
        return timed

    # What is said.

    def sentence(self, found: Mapping[str, Any]) -> str:
        """Returns who reaches the target with the least compute, and who ends highest."""
        metric, each = self.profiled.metric, found["architectures"]
        score = numbers.score(found["target"]["score"], metric)
        best = max(each, key=lambda e: self.profiled.sign * e["score"]["estimate"])
        end = (
            f"{numbers.estimated(best['score'], metric)} validation"
            f" {numbers.label(metric)} after {self.profiled.resolved['steps']:,} steps"
        )
        reach = [e for e in each if e["flops_to_target"]["estimate"] is not None]
        if len(each) == 1:
            spent = numbers.flops(best["step_flops"] * self.profiled.resolved["steps"])
            return f"{best['name']} has {end}, which take {spent}."
        if not reach:
            return f"None reaches {score}; {best['name']} has the most, {end}."
        least = min(reach, key=lambda e: float(e["flops_to_target"]["estimate"]))
        flops = numbers.flops(least["flops_to_target"]["estimate"])
        most = "most" if metric.higher_is_better else "least"
        return (
            f"{least['name']} reaches {score} with the least compute, {flops};"
            f" {best['name']} ends with the {most}, {end}."
        )

    def warnings(self, found: Mapping[str, Any]) -> Sequence[str]:
        """Returns whose fresh seeds diverged."""
        warned = []
        profiled = self.profiled
        for name in profiled.names:
            runs = profiled.fresh(name)
            if diverged := sum(run.diverged for run in runs):
                warned.append(
                    f"{name} diverged on {diverged} of {len(runs)} fresh seeds."
                )
        return warned

    # What is shown.

    def columns(self, found: Mapping[str, Any]) -> Sequence[Column]:
        """Returns what a terminal shows: size, compute, memory and time."""
        each, metric = found["architectures"], self.profiled.metric
        counted = self._counted(found)
        target = numbers.score(found["target"]["score"], metric)
        columns = [
            Column("parameters", counted["parameters"], 1),
            Column("an answer", counted["FLOPs of an answer"], 2),
            Column("activations", counted["activations"], 4),
            Column("score", [numbers.estimate(e["score"], metric) for e in each]),
            Column(
                f"to {target}",
                [_alone(e["flops_to_target"], numbers.flops) for e in each],
            ),
        ]
        if timed := self._timed:
            taken = [
                numbers.seconds(timed[name]["one"]["median"])
                for name in self.profiled.names
            ]
            columns.insert(3, Column("takes", taken, 3))
        return columns

    def sections(self, found: Mapping[str, Any]) -> Sequence[Section]:
        """Returns the figure of prices, and three tables."""
        machine = self._machine(found)
        tables = [
            Exhibit(
                self._heading(found),
                Table.of(self._priced(found)),
                self._caption(found),
            ),
            Exhibit(
                "Counted",
                Table.of(self._counted(found)),
                f"A step is of {found['architectures'][0]['batch']} examples, forward and"
                " backward, without loss and optimiser. Activations are what its forward"
                " pass keeps; at most, with gradients and what is let go on the way, as"
                " much is in memory at once beside the parameters. Where a kernel"
                " fuses a recurrent layer or attention, that differs.",
            ),
        ]
        if len(machine) > 1:
            tables.append(
                Exhibit(
                    "On the machine that the study ended on",
                    Table.of(machine),
                    self._timed_caption(),
                )
            )
        seeds = found["architectures"][0]["seeds"]
        level = numbers.level(self.profiled.alpha)
        drawn = (
            f"Medians of {seeds} fresh seeds with exact {level} intervals, forward and"
        )
        drawn += " backward passes counted. Hollow: where training ended without it."
        plates = [Plate(draw, drawn) for draw in self.figures(found).values()]
        return [Section(self.title, figures=plates, tables=tables)]

    def figures(
        self, found: Mapping[str, Any]
    ) -> Mapping[str, Callable[[int], Figure]]:
        """Returns what draws the compute to the target, where more than one has any."""
        if len(found["architectures"]) == 1:
            return {}
        return {"cost": functools.partial(self._draw, found)}

    def _heading(self, found: Mapping[str, Any]) -> str:
        metric = self.profiled.metric
        score = numbers.score(found["target"]["score"], metric)
        return f"The price of {score} validation {numbers.label(metric)}"

    def _caption(self, found: Mapping[str, Any]) -> str:
        lowest, resolved = found["target"]["ends_lowest"], self.profiled.resolved
        seeds = found["architectures"][0]["seeds"]
        why = "The target was declared."
        if lowest is not None:
            example = ".8" if self.profiled.metric.bounded else "N"
            why = (
                f"The target is what {lowest} ends with on most seeds, the lowest of all;"
                f" --target-score {example} asks for another."
            )
        every = max(1, round(resolved["steps"] / resolved["evaluations"]))
        return (
            f"{why} Medians of {seeds} fresh seeds, each architecture with the best by"
            f" validation of {len(resolved['learning_rates'])} learning rates, with exact"
            f" {numbers.level(self.profiled.alpha)} intervals; and how many reached it."
            f" The validation set is scored every {every:,} steps: the first score at the"
            " target or beyond counts."
            + (" Time is that of the machine, below." if self._timed else "")
        )

    def _priced(self, found: Mapping[str, Any]) -> dict[str, list[str]]:
        """Returns the columns of the target's price."""
        metric, each = self.profiled.metric, found["architectures"]
        columns = {
            "architecture": self.profiled.names,
            "rate": [numbers.value(e["learning_rate"]) for e in each],
            "at the end": [numbers.estimated_bare(e["score"], metric) for e in each],
            "reached": [f"{e['reached']} of {e['seeds']}" for e in each],
            "steps": [
                _between(e["steps_to_target"], lambda steps: f"{steps:,.0f}")
                for e in each
            ],
            "FLOPs": [_between(e["flops_to_target"], numbers.flops) for e in each],
        }
        if timed := self._timed:
            columns["time"] = [
                _between(
                    _times(e["steps_to_target"], timed[e["name"]]["step"]["median"]),
                    numbers.seconds,
                )
                for e in each
            ]
        return columns

    def _counted(self, found: Mapping[str, Any]) -> dict[str, list[str]]:
        each = found["architectures"]
        return {
            "architecture": self.profiled.names,
            "parameters": [f"{e['parameters']:,}" for e in each],
            "FLOPs of an answer": [numbers.flops(e["answer_flops"]) for e in each],
            "FLOPs of a step": [numbers.flops(e["step_flops"]) for e in each],
            "activations": [numbers.memory(e["kept"]) for e in each],
            "at most": [numbers.memory(e["peak"]) for e in each],
        }

    def _machine(self, found: Mapping[str, Any]) -> dict[str, list[str]]:
        """Returns the columns of what was timed; none but names where that is gone."""
        columns = {"architecture": self.profiled.names}
        if not (timed := self._timed):
            return columns
        each = [timed[name] for name in self.profiled.names]
        many = each[0]["batch"]["batch"]
        return {
            **columns,
            "one answer": [_taken(e["one"]) for e in each],
            f"a second, by {many}": [f"{e['batch']['throughput']:,.0f}" for e in each],
            "a step": [_taken(e["step"]) for e in each],
            "memory": [numbers.memory(e["peak"]) for e in each],
        }

    def _timed_caption(self) -> str:
        first = self._timed[self.profiled.names[0]]["one"]
        place = first["device"]
        if place == "cpu":
            place = f"a CPU, {numbers.count(first['threads'], 'thread')}"
        return (
            f"On {place}: medians of warm repetitions with {numbers.level(0.05)} intervals,"
            " as if repetitions were independent; how many examples are answered in a"
            " second, a batch at once; a step of training by itself, with its loss and its"
            " update; and the most memory that torch hands out on its passes, beside the"
            " parameters. These numbers are the machine's, and no part of verdict.json."
        )

    def _draw(self, found: Mapping[str, Any], width: int) -> Figure:
        """Draws the compute to the target, the least first."""
        spent = {
            e["name"]: e["step_flops"] * self.profiled.resolved["steps"]
            for e in found["architectures"]
        }
        ordered = sorted(
            found["architectures"],
            key=lambda e: (
                e["flops_to_target"]["estimate"] is None,
                e["flops_to_target"]["estimate"] or spent[e["name"]],
            ),
        )
        rows = [_row(e, spent[e["name"]]) for e in ordered]
        with matplotlib.rc_context(STYLE):
            figure, axes = draw_forest(self._message(found), rows, width)
            low, high = axes.get_xlim()
            powers = range(math.ceil(low), math.floor(high) + 1)
            every = max(1, len(powers) // (6 if width >= WIDE else 3))
            shown = list(powers)[::every]
            axes.set_xticks(shown, [_power(power) for power in shown])
            axes.set_xlabel("FLOPs to the target")
        return figure

    def _message(self, found: Mapping[str, Any]) -> str:
        metric, each = self.profiled.metric, found["architectures"]
        score = numbers.score(found["target"]["score"], metric)
        of = f"{score} {numbers.label(metric)}"
        known = {
            e["name"]: float(e["flops_to_target"]["estimate"])
            for e in each
            if e["flops_to_target"]["estimate"] is not None
        }
        if not known:
            return f"None reaches {of}"
        least, most = (
            min(known, key=known.__getitem__),
            max(known, key=known.__getitem__),
        )
        never = [e["name"] for e in each if e["name"] not in known]
        if never:
            return f"{least} reaches {of} with the least compute, and {joined(never)} never"
        if least == most:
            return f"All reach {of} with as much compute"
        ratio = numbers.multiple(known[most] / known[least])
        return f"To {of}, {most} takes {ratio} the compute of {least}"


def default_target(fresh: Mapping[str, Sequence[Run]], sign: int) -> tuple[float, str]:
    """Returns what the architecture that ends lowest ends with, or better, on most seeds.

    That is the lower one of two middle scores, so that more than half of its trainings
    have it, and whoever ends lowest has a price as well.

    Args:
        fresh: By architecture, its runs on fresh seeds.
        sign: 1 where a higher score is better, else -1.

    Returns:
        The score, in the metric's own units, and who it is.
    """
    ends = {
        name: sorted(sign * run.validation for run in runs)[(len(runs) - 1) // 2]
        for name, runs in fresh.items()
    }
    lowest = min(ends, key=ends.__getitem__)
    return sign * ends[lowest], lowest


def at_target(runs: Sequence[Run], target: float, sign: int) -> np.ndarray:
    """Returns after how many steps each run first has a score.

    Args:
        runs: With learning curves, N of them.
        target: The validation score, in the metric's own units.
        sign: 1 where a higher score is better, else -1.

    Returns:
        (N,) float64; infinite for runs that never have it, or diverged.
    """

    def first(run: Run) -> float:
        if run.diverged:
            return math.inf
        there = (p.step for p in run.curve if sign * p.validation >= sign * target)
        return next(there, math.inf)

    return np.array([first(run) for run in runs], dtype=np.float64)


def _entry(found: Estimate) -> dict[str, float | None]:
    """Returns an estimate as JSON; what is infinite, never reached, is None."""
    ends = {"estimate": found.estimate, "low": found.low, "high": found.high}
    return {end: v if math.isfinite(v) else None for end, v in ends.items()}


def _between(found: Mapping[str, Any], written: Callable[[float], str]) -> str:
    """Writes "120 (90 to 150)", "120 (90 or more)" or "not reached"."""
    estimate, low, high = (found[end] for end in ("estimate", "low", "high"))
    if estimate is None:
        return _NEVER
    if high is None:
        return f"{written(estimate)} ({written(low)} or more)"
    middle, first, last = written(estimate), written(low), written(high)
    if first == last:
        return first
    unit = last.rpartition(" ")[2]
    if " " in last and first.endswith(f" {unit}"):  # said once
        first = first.removesuffix(f" {unit}")
        if middle.endswith(f" {unit}"):
            last = last.removesuffix(f" {unit}")
    return f"{middle} ({first} to {last})"


def _times(found: Mapping[str, Any], factor: float) -> dict[str, float | None]:
    return {
        end: None if found[end] is None else found[end] * factor
        for end in ("estimate", "low", "high")
    }


def _alone(found: Mapping[str, Any], written: Callable[[float], str]) -> str:
    """Writes an estimate without its interval."""
    return _NEVER if found["estimate"] is None else written(found["estimate"])


def _taken(told: Mapping[str, Any]) -> str:
    """Writes a median time with its interval."""
    if told["low"] is None:
        return numbers.seconds(told["median"])
    return _between(
        {"estimate": told["median"], "low": told["low"], "high": told["high"]},
        numbers.seconds,
    )


def _row(entry: Mapping[str, Any], spent: float) -> Row:
    """Returns the row of an architecture, on an axis of powers of ten."""
    found, color = entry["flops_to_target"], LIGHT["challenger-1"]
    text = _between(found, numbers.flops)
    if found["estimate"] is None:
        # Hollow, where its training ended without.
        return Row(
            entry["name"], f"{text} by {numbers.flops(spent)}", color, np.array([]),
            math.log10(spent), None, False,
        )  # fmt: skip
    ends = (found["low"], spent if found["high"] is None else found["high"])
    return Row(
        entry["name"], text, color, np.array([]), math.log10(found["estimate"]),
        (math.log10(ends[0]), math.log10(ends[1])),
    )  # fmt: skip


def _power(power: int) -> str:
    """Writes a power of ten: "10 GFLOP"."""
    prefixes = {0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}
    base = min(max(power // 3 * 3, 0), 18)
    return f"{10 ** (power - base):,} {prefixes[base]}FLOP"
