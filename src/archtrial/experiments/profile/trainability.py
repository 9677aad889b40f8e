"""How architectures train, read off the records."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from archtrial.experiments.profile.groups import Group
from archtrial.experiments.profile.lines import Line, Scale, draw_lines
from archtrial.metrics import Metric
from archtrial.records.table import Run
from archtrial.report.article import Column, Exhibit, Plate, Section, Table
from archtrial.statistics.intervals import Estimate, clopper_pearson, deviation, mean
from archtrial.words import numbers
from archtrial.words.phrases import joined

__all__ = ["FACTOR", "TRAINS", "WORKS", "Trainability", "working"]

TRAINS = 0.1
"""A configuration trains where it does not diverge, and its validation error is by this
share less than the constant predictor's."""

WORKS = 0.9
"""A learning rate works where it comes this share of the way from the constant predictor's
score to that of the best rate of the same seed."""

FACTOR = 100.0
"""Gradients vanish where those that reach the inputs are so many times smaller than those
of the outputs, and explode where they are so many times larger."""


@dataclasses.dataclass(frozen=True)
class Working:
    """Which learning rates work around the best one."""

    low: float
    high: float
    open_low: bool
    open_high: bool
    """Whether the lowest and the highest rate that were tried still work."""

    @property
    def decades(self) -> float:
        """How wide the range is."""
        return math.log10(self.high / self.low)


def working(
    rates: Sequence[float], scores: Sequence[float], constant: float
) -> Working | None:
    """Returns the range of learning rates that work, around the best one.

    Its ends lie between two rates, the inner of which works: where a straight line over
    the logarithm of the rate crosses what is asked. A rate beyond one that does not work
    counts as little as that one.

    Args:
        rates: (R,) ascending.
        scores: (R,) validation scores, turned so that higher is better.
        constant: That of the constant predictor, turned as well.

    Returns:
        None where no rate is better than the constant predictor.

    Examples:
        >>> found = working([0.01, 0.1, 1.0], [0.8, 1.0, 0.0], 0.0)
        >>> round(found.low, 4), round(found.high, 4)
        (0.0316, 0.1259)
    """
    logs, told = np.log10(rates), np.asarray(scores, dtype=np.float64)
    best = int(np.argmax(told))
    if not told[best] > constant:
        return None
    asked = constant + WORKS * (told[best] - constant)

    def end(step: int) -> tuple[float, bool]:
        at = best
        while 0 <= at + step < len(told):
            if told[at + step] < asked:
                share = (told[at] - asked) / (told[at] - told[at + step])
                return float(logs[at] + share * (logs[at + step] - logs[at])), False
            at += step
        return float(logs[at]), True

    (low, open_low), (high, open_high) = end(-1), end(1)
    return Working(10**low, 10**high, open_low, open_high)


class Trainability(Group):
    """What of the space trains, which rates work, gradients, curvature, steps needed."""

    title = "How do they train?"
    glossary: ClassVar[Mapping[str, str]] = {
        "trains": "A configuration ends without diverging, with a validation error at least"
        f" {numbers.percent(TRAINS)} less than that of the constant predictor.",
        "works": f"A learning rate comes {numbers.percent(WORKS)} of the way from the"
        " constant predictor's score to that of the best rate of the same seed.",
        "gradients vanish": "Those that reach the inputs are at the start more than"
        f" {FACTOR:g} times smaller than those of the outputs; they explode where they are as"
        " much larger.",
        "curvature": "The largest eigenvalue of the Hessian of the training loss.",
    }

    @property
    def _asked(self) -> Mapping[str, Any]:
        told: Mapping[str, Any] = self.profiled.resolved["trainability"]
        return told

    def numbers(self) -> dict[str, Any]:
        """Returns what trained, which rates worked, and what happened on the way."""
        entries = []
        for name in self.profiled.names:
            told = self.profiled.measured("trainability", name)
            fresh = self.profiled.fresh(name)
            entries.append(
                {
                    "name": name,
                    "trains": self._share(name),
                    "rates": self._rates(name),
                    "gradients": self._through_depth(told),
                    "curvature": self._curvature(name),
                    "steps": self._steps(fresh),
                    "spread": _finite(
                        deviation(
                            np.array([run.validation for run in fresh]),
                            self.profiled.alpha,
                        )
                    ),
                    "diverged": sum(run.diverged for run in fresh),
                }
            )
        return {"constant": self._asked["constant"], "architectures": entries}

    def _own(self, name: str, stage: str, part: str) -> list[Run]:
        found = self.profiled.of_group("trainability", stage, part=part)
        return [run for run in found if run.arm == name]

    def _share(self, name: str) -> dict[str, Any]:
        """Returns how many drawn configurations train, with the exact interval."""
        best, constant = self.profiled.metric.best, self._asked["constant"]
        runs = self._own(name, "search", "space")
        enough = (1 - TRAINS) * abs(best - constant)
        trained = sum(
            not run.diverged and abs(best - run.validation) <= enough for run in runs
        )
        low, high = clopper_pearson(trained, len(runs), self.profiled.alpha)
        return {
            "estimate": trained / len(runs), "low": low, "high": high,
            "trained": trained, "of": len(runs),
            "diverged": sum(run.diverged for run in runs),
        }  # fmt: skip

    def _rates(self, name: str) -> dict[str, Any]:
        """Returns how wide the range of rates that work is, over seeds."""
        sign, rates = self.profiled.sign, self._asked["rates"]
        runs = self._own(name, "confirm", "rates")
        scores = np.full((self._asked["rate_seeds"], len(rates)), np.nan)
        for run in runs:
            scores[run.seed - 1, run.coordinates["rate"]] = run.validation
        found = [
            working(rates, sign * own, sign * self._asked["constant"]) for own in scores
        ]
        known = [one for one in found if one is not None]
        # No rate works: the range is empty, and counts as that.
        widths = np.array([0.0 if one is None else one.decades for one in found])
        return {
            "decades": _finite(mean(widths, self.profiled.alpha)),
            "low": float(np.median([one.low for one in known])) if known else None,
            "high": float(np.median([one.high for one in known])) if known else None,
            "open_low": sum(one.open_low for one in known),
            "open_high": sum(one.open_high for one in known),
            "seeds": len(found),
            "none": len(found) - len(known),
            "scores": [_finite(mean(own, self.profiled.alpha)) for own in scores.T],
        }

    def _through_depth(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Returns gradient norms by layer, and whether they vanish or explode."""
        norms = np.array(told["norms"], dtype=np.float64)  # None becomes NaN
        usable = np.isfinite(norms).all() and (norms > 0).all()
        by_layer: list[dict[str, Any]] = []
        ratio, verdict = None, "not_assessable"
        if usable:
            logs = np.log10(norms)
            by_layer = [_powers(mean(column, self.profiled.alpha)) for column in logs.T]
            through = mean(logs[:, 0] - logs[:, -1], self.profiled.alpha)
            ratio = _powers(through)
            ratio["per_layer"] = 10 ** (through.estimate / max(1, logs.shape[1] - 1))
            end = math.log10(FACTOR)
            if through.high < -end:
                verdict = "vanish"
            elif through.low > end:
                verdict = "explode"
            else:
                inside = -end < through.low and through.high < end
                verdict = "neither" if inside else "undecided"
        return {
            "layers": told["layers"],
            "norms": by_layer,
            "ratio": ratio,
            "verdict": verdict,
        }

    def _curvature(self, name: str) -> dict[str, Any]:
        """Returns the largest eigenvalue at each moment, on a scale of its logarithm."""
        runs = self._own(name, "confirm", "curvature")
        obstacle = next(
            (r.measures["obstacle"] for r in runs if "obstacle" in r.measures), None
        )
        by_step: dict[int, list[float]] = {}
        for run in runs:
            for step, value in run.measures["curvature"]:
                if value is not None and math.isfinite(value) and value > 0:
                    by_step.setdefault(int(step), []).append(math.log10(value))
        return {
            "obstacle": obstacle,
            "steps": sorted(by_step),
            "largest": [
                _powers(mean(np.array(by_step[step]), self.profiled.alpha))
                for step in sorted(by_step)
            ],
            "seeds": [len(by_step[step]) for step in sorted(by_step)],
        }

    def _steps(self, fresh: Sequence[Run]) -> dict[str, Any]:
        """Returns how many steps it takes to most of what is reached in the end."""
        sign, constant = self.profiled.sign, self._asked["constant"]
        end = float(np.mean([run.validation for run in fresh]))
        target = constant + WORKS * (end - constant)
        needed = [_reached(run, sign, constant, target) for run in fresh]
        known = np.array([steps for steps in needed if steps is not None])
        if sign * end <= sign * constant or len(known) < 2:
            return {
                "target": None,
                "steps": None,
                "deviation": None,
                "never": len(needed),
            }
        return {
            "target": target,
            "steps": _finite(mean(known, self.profiled.alpha)),
            "deviation": _finite(deviation(known, self.profiled.alpha)),
            "never": len(needed) - len(known),
        }

    # In words.

    def sentence(self, found: Mapping[str, Any]) -> str:
        """Returns which architectures train most readily."""
        told = joined(
            [
                f"{entry['name']} trains in {entry['trains']['trained']} of"
                f" {entry['trains']['of']} configurations, at learning rates over"
                f" {_decades(entry['rates'])} decades"
                for entry in found["architectures"]
            ]
        )
        return f"{told}."

    def columns(self, found: Mapping[str, Any]) -> Sequence[Column]:
        """Returns what trains, and how wide the range of learning rates is."""
        each = found["architectures"]
        return [
            Column("trains", [numbers.shares(e["trains"]) for e in each], 3),
            Column("rates that work, decades", [_width(e["rates"]) for e in each], 4),
        ]

    def warnings(self, found: Mapping[str, Any]) -> Sequence[str]:
        """Returns whose gradients vanish or explode, and whose rates have no end."""
        said = []
        for verdict in ("vanish", "explode"):
            names = [
                e["name"]
                for e in found["architectures"]
                if e["gradients"]["verdict"] == verdict
            ]
            if names:
                said.append(
                    f"At the start gradients {verdict} in {joined(names)}: on their way"
                    f" from the outputs to the inputs they change by more than"
                    f" {FACTOR:g} times."
                )
        return said

    def sections(self, found: Mapping[str, Any]) -> Sequence[Section]:
        """Returns what trains, then what happens on the way."""
        alpha, asked = self.profiled.alpha, self._asked
        level = numbers.level(alpha)
        figures = self.figures(found)
        captions = {
            "rates": f"Means over {asked['rate_seeds']} seeds with {level} intervals, all"
            " else at the defaults.",
            "gradients": "The root mean square over examples of the norm of the gradient at"
            f" what each layer is given, before the first step; {level} intervals over"
            f" {self.profiled.resolved['seeds']} initialisations, of the logarithm.",
            "curvature": f"Of the loss on {asked['examples']} training examples; {level}"
            f" intervals over {asked['curvature_seeds']} seeds, of the logarithm.",
        }
        plates = {n: Plate(draw, captions[n]) for n, draw in figures.items()}
        obstacles = [
            f"No curvature of {e['name']}: {e['curvature']['obstacle']}."
            for e in found["architectures"]
            if e["curvature"]["obstacle"]
        ]
        open_ends = [
            e["name"]
            for e in found["architectures"]
            if e["rates"]["open_low"] or e["rates"]["open_high"]
        ]
        notes = list(asked["notes"])
        if open_ends:
            rates = asked["rates"]
            notes.append(
                f"Of {joined(open_ends)} a rate at the end of those that were tried"
                f" ({numbers.value(rates[0])} to {numbers.value(rates[-1])}) still works"
                " on some seed: the range is at least as wide as it says."
            )
        return [
            Section(
                self.title,
                figures=[plates["rates"]],
                tables=[self._table(found)],
                note=" ".join(notes),
            ),
            Section(
                "What happens to gradients and curvature?",
                figures=[plates[n] for n in ("gradients", "curvature") if n in plates],
                tables=[self._on_the_way(found)],
                note=" ".join(obstacles),
            ),
        ]

    def _table(self, found: Mapping[str, Any]) -> Exhibit:
        metric, each = self.profiled.metric, found["architectures"]
        columns = {
            "architecture": self.profiled.names,
            "configurations that train": [
                f"{e['trains']['trained']} of {e['trains']['of']},"
                f" {numbers.shares(e['trains'])}"
                for e in each
            ],
            "decades of rates": [_width(e["rates"]) for e in each],
            "from, to": [
                ""
                if e["rates"]["low"] is None
                else f"{numbers.value(e['rates']['low'])} to"
                f" {numbers.value(e['rates']['high'])}"
                for e in each
            ],
            "spread over seeds": [_deviation(e["spread"], metric) for e in each],
        }
        spaces = self._asked["spaces"]
        searched = joined(sorted({name for own in spaces.values() for name in own}))
        return Exhibit(
            "What trains",
            Table.of(columns),
            f"Configurations are independent draws of {searched}, with exact binomial"
            " intervals; decades of learning rates are those that work; the spread is the"
            f" standard deviation of validation {numbers.label(metric)}. All intervals at {numbers.level(self.profiled.alpha)}.",
        )

    def _on_the_way(self, found: Mapping[str, Any]) -> Exhibit:
        each = found["architectures"]
        columns = {
            "architecture": self.profiled.names,
            "gradient, inputs to outputs": [
                _amount(e["gradients"]["ratio"]) for e in each
            ],
            "a layer": [
                ""
                if e["gradients"]["ratio"] is None
                else f"{numbers.value(e['gradients']['ratio']['per_layer'])} times"
                for e in each
            ],
            "gradients": [_VERDICTS[e["gradients"]["verdict"]] for e in each],
            "steps needed": [_steps_of(e["steps"]) for e in each],
            "their spread": [_spread_of(e["steps"]) for e in each],
        }
        return Exhibit(
            "On the way",
            Table.of(columns),
            "The gradient's norm at the inputs as a share of that at the outputs, and what a"
            f" layer does to it; steps to {numbers.percent(WORKS)} of the way from the"
            " constant predictor's score to the architecture's own end, their mean over seeds"
            " and their standard deviation.",
        )

    # Drawn.

    def figures(
        self, found: Mapping[str, Any]
    ) -> Mapping[str, Callable[[int], Figure]]:
        """Returns what draws scores by learning rate, gradients and curvature."""
        each, metric = found["architectures"], self.profiled.metric
        drawn: dict[str, Callable[[int], Figure]] = {
            "rates": functools.partial(_rates, each, self._asked["rates"], metric)
        }
        if any(e["gradients"]["norms"] for e in each):
            drawn["gradients"] = functools.partial(_gradients, each)
        if any(e["curvature"]["largest"] for e in each):
            drawn["curvature"] = functools.partial(_curvatures, each)
        return drawn


_VERDICTS = {
    "vanish": "vanish",
    "explode": "explode",
    "neither": "reach the inputs",
    "undecided": "undecided",
    "not_assessable": "not finite, or 0",
}


def _reached(run: Run, sign: int, constant: float, target: float) -> float | None:
    """Returns after how many steps a run's validation score first reaches a target.

    Between two evaluations it is read off the straight line; before the first one the
    score is the constant predictor's.
    """
    step, score = 0.0, constant
    for point in run.curve:
        if sign * point.validation >= sign * target:
            share = (target - score) / (point.validation - score)
            return step + share * (point.step - step)
        step, score = float(point.step), point.validation
    return None


def _finite(found: Estimate) -> dict[str, float | None]:
    """Returns an estimate as JSON, which has no infinity."""
    return {
        end: value if math.isfinite(value) else None
        for end, value in dataclasses.asdict(found).items()
    }


def _powers(found: Estimate) -> dict[str, Any]:
    """Returns an estimate of a logarithm as one of the number itself."""
    told = _finite(found)
    return {end: None if v is None else 10**v for end, v in told.items()}


def _decades(rates: Mapping[str, Any]) -> str:
    return f"{rates['decades']['estimate']:.1f}"


def _width(rates: Mapping[str, Any]) -> str:
    found = rates["decades"]
    if found["low"] is None:
        return _decades(rates)
    return (
        f"{found['estimate']:.1f} ({max(0.0, found['low']):.1f} to {found['high']:.1f})"
    )


def _amount(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    written = [
        numbers.value(float(f"{found[end]:.2g}"))
        for end in ("estimate", "low", "high")
        if found[end] is not None
    ]
    return (
        written[0]
        if len(written) < 3
        else f"{written[0]} ({written[1]} to {written[2]})"
    )


def _deviation(found: Mapping[str, Any], metric: Metric) -> str:
    ends = [found[end] for end in ("estimate", "low", "high")]
    if None in ends:
        return numbers.size(ends[0], metric)
    spread, low, high = ends
    return (
        f"{numbers.sized(spread, metric)} ({numbers.sized(low, metric)} to"
        f" {numbers.size(high, metric)})"
    )


def _steps_of(steps: Mapping[str, Any]) -> str:
    found = steps["steps"]
    if found is None:
        return "never"
    low, high = (found[end] for end in ("low", "high"))
    told = f"{found['estimate']:,.0f} ({max(0.0, low):,.0f} to {high:,.0f})"
    never = steps["never"]
    return f"{told}, {numbers.count(never, 'seed')} never" if never else told


def _spread_of(steps: Mapping[str, Any]) -> str:
    found = steps["deviation"]
    if found is None:
        return ""
    return f"{found['estimate']:,.0f} ({found['low']:,.0f} to {found['high']:,.0f})"


def _rates(
    each: Sequence[Mapping[str, Any]],
    rates: Sequence[float],
    metric: Metric,
    width: int,
) -> Figure:
    """Draws scores by learning rate."""
    ticks = [(r, numbers.value(r)) for r in rates if math.log10(r).is_integer()]
    return draw_lines(
        "Which learning rates work",
        [(e["name"], Line(rates, e["rates"]["scores"])) for e in each],
        Scale("learning rate", log=True, ticks=ticks),
        Scale(
            f"validation {numbers.label(metric)}",
            written=lambda value: numbers.tick(value, metric),
        ),
        width,
    )


def _gradients(each: Sequence[Mapping[str, Any]], width: int) -> Figure:
    """Draws gradient norms by layer, from the inputs to the outputs."""
    lines = [
        (e["name"], Line(_places(e["gradients"]["norms"]), e["gradients"]["norms"]))
        for e in each
        if e["gradients"]["norms"]
    ]
    return draw_lines(
        "How gradients change on their way from the outputs to the inputs",
        lines,
        Scale("depth", ticks=[(0.0, "inputs"), (1.0, "outputs")]),
        Scale("norm of the gradient", log=True, written=_power_of_ten),
        width,
    )


def _places(values: Sequence[Any]) -> list[float]:
    """Returns where layers lie between the inputs, at 0, and the outputs, at 1."""
    return [float(at) for at in np.linspace(0, 1, len(values))]


def _curvatures(each: Sequence[Mapping[str, Any]], width: int) -> Figure:
    """Draws the largest eigenvalue along training."""
    # 0 has no place on a logarithmic axis: it lies one step before the first.
    lines = [
        (
            e["name"],
            Line(
                [max(s, 1) for s in e["curvature"]["steps"]], e["curvature"]["largest"]
            ),
        )
        for e in each
        if e["curvature"]["largest"]
    ]
    steps = sorted({s for e in each for s in e["curvature"]["steps"]})
    return draw_lines(
        "How curvature changes along training",
        lines,
        Scale("steps", log=True, ticks=[(max(s, 1), f"{s:,}") for s in steps]),
        Scale("largest eigenvalue of the Hessian", log=True, written=_power_of_ten),
        width,
    )  # fmt: skip


def _power_of_ten(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:.6f}".rstrip("0")
