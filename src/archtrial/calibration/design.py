"""A user's own declared study, simulated: how often would its verdict be wrong?

What a protocol does not say, how scores vary, is given by options, estimated from a
finished study's records, or assumed; which of the three is always said.
"""

import dataclasses
import itertools
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from archtrial import metrics, searches, statistics
from archtrial import protocol as protocols
from archtrial.calibration.simulation import Setting, Tally, landscape, simulate_all
from archtrial.errors import ProtocolError, RecordsError
from archtrial.freezing import expect
from archtrial.records.store import Store
from archtrial.records.table import Run
from archtrial.statistics import Verdict
from archtrial.words import numbers

__all__ = ["Calibration", "Row", "calibrate", "design"]

_POWER = 0.8
# Effects are doubled this many times at most in search of a power of 80 %.
_DOUBLINGS = 3
_CLAIMS = ("verdict architecture", "verdict tuning")
_VERDICTS: tuple[Verdict, ...] = (
    "architecture",
    "tuning",
    "equivalent",
    "baseline",
    "inconclusive",
)

_DRAWS = {"sobol": "of one Sobol sequence", "random": "drawn independently"}

Both: TypeAlias = Sequence[float]
"""One value for both arms, or the baseline's and the challenger's."""


def design(
    source: Path | None = None,
    *,
    configurations: int | None = None,
    effort: int | None = None,
    margin: float | None = None,
    spread: Both | None = None,
    seed_spread: Both | None = None,
    noise: float | None = None,
    diverging: Both | None = None,
    failing_seeds: Both | None = None,
    correlation: float | None = None,
    test_size: int | None = None,
    unpaired: bool = False,
    sampling: str | None = None,
) -> tuple[Setting, list[str]]:
    """Returns the setting that stands for a declared design, and what was assumed.

    Args:
        source: A protocol in TOML, which says how the study is done; or the folder of
            a study of ours, whose records also say how scores vary. What is given
            beside it goes before.
        configurations: n; by default 32.
        effort: k; by default 4.
        margin: The smallest gap worth having; by default .005.
        spread: Standard deviation of scores over configurations, without those that
            diverge; by default .1.
        seed_spread: The same over seeds; by default .01.
        noise: The same of what a validation score adds; by default .01.
        diverging: Share of draws that diverge; by default none.
        failing_seeds: Share of seeds that end at the constant predictor's score; by
            default none.
        correlation: Of the arms' scores on shared draws, before noise; by default .9.
        test_size: Test examples, known one by one; by default the test score is taken
            as exact.
        unpaired: Whether the arms do not share their draws.
        sampling: "sobol" or "random"; by default what the source says, else "sobol",
            and "random" for unpaired arms, which no study of ours has.

    Raises:
        ProtocolError: A value is out of its range.
        RecordsError: The folder holds no study, or one without finished searches.
    """
    declared = _declared(source)
    notes: list[str] = list(declared.pop("notes", []))
    if unpaired:
        declared.pop("sampling", None)  # which is of arms that share their draws
    given: dict[str, Any] = {
        "configurations": configurations,
        "effort": effort,
        "margin": margin,
        "spread": spread,
        "seed_spread": seed_spread,
        "noise": noise,
        "diverging": diverging,
        "failing_seeds": failing_seeds,
        "correlation": correlation,
        "test_size": test_size,
        "sampling": sampling,
    }
    given = {name: value for name, value in given.items() if value is not None}
    usual: dict[str, Any] = {
        "configurations": 32,
        "effort": 4,
        "margin": 0.005,
        "spread": (0.1,),
        "seed_spread": (0.01,),
        "noise": 0.01,
        "diverging": (0.0,),
        "failing_seeds": (0.0,),
        "correlation": 0.9,
        "test_size": None,
        "sampling": "random" if unpaired else "sobol",
    }
    if unpaired and correlation is not None:
        raise ProtocolError(
            "unpaired arms share no draws that could correlate",
            f"--unpaired and --correlation {correlation:g}",
            "Leave one of the two out.",
        )
    assumed = [
        f"{name.replace('_', ' ')} {_shown(value)}"
        for name, value in usual.items()
        if name not in given
        and name not in declared
        and value is not None
        and not (unpaired and name == "correlation")
    ]
    if assumed:
        notes.append("Assumed: " + ", ".join(assumed) + ".")
    values = {**usual, **declared, **given}
    _check(values)
    pairs = {
        name: _both(name, values[name])
        for name in ("spread", "seed_spread", "diverging", "failing_seeds")
    }
    away = _shift(values["correlation"]) / 2
    floor = values.get("floor", 0.8 - 7 * max(pairs["spread"]))
    arms = [
        landscape(
            pairs["spread"][arm],
            optimum=(0.5 + side * away,) * 2,
            peak=values.get("peak", 0.8),
            floor=floor,
            seed_spread=pairs["seed_spread"][arm],
            diverging=pairs["diverging"][arm],
            failing=pairs["failing_seeds"][arm],
        )
        for arm, side in ((0, -1), (1, 1))
    ]
    said = {
        name: values[name]
        for name in ("alpha", "estimand", "confirm_seeds", "top", "max_multiple")
        if name in values
    }
    setting = Setting(
        name="declared design",
        baseline=arms[0],
        challenger=arms[1],
        configurations=values["configurations"],
        effort=values["effort"],
        margin=values["margin"],
        validation_noise=values["noise"],
        test_size=values["test_size"],
        paired=not unpaired,
        sampling=values["sampling"],
        **said,
    )
    return setting, notes


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value[0] if isinstance(value, tuple) else value:g}"


def _both(name: str, values: Both) -> tuple[float, float]:
    if len(values) not in (1, 2):
        raise ProtocolError(
            f"{name.replace('_', ' ')} is one value for both arms, or the baseline's and"
            " the challenger's",
            f"{len(values)} values",
        )
    return values[0], values[-1]


def _check(values: Mapping[str, Any]) -> None:
    if values["sampling"] not in ("sobol", "random"):
        raise ProtocolError("sampling is sobol or random", repr(values["sampling"]))
    for name, allowed, least, below in (
        ("configurations", "at least 4", 4, math.inf),
        ("effort", "at least 1", 1, math.inf),
        ("margin", "more than 0", 5e-324, math.inf),
        ("spread", "more than 0", 5e-324, math.inf),
        ("seed_spread", "0 or more", 0, math.inf),
        ("noise", "0 or more", 0, math.inf),
        ("diverging", "from 0 to below 1", 0, 1),
        ("failing_seeds", "from 0 to below 1", 0, 1),
        ("correlation", "from -.5 to 1", -0.5, 1 + 1e-9),
        ("test_size", "at least 2", 2, math.inf),
    ):
        value = values[name]
        for each in value if isinstance(value, Sequence) else [value]:
            if each is not None and not least <= each < below:
                raise ProtocolError(
                    f"{name.replace('_', ' ')} is {allowed}", f"{each:g}"
                )


def _shift(correlation: float) -> float:
    """Returns how far apart two optima lie whose arms correlate so on shared draws."""

    def correlated(shift: float) -> float:
        low, high = 0.5 - shift / 2, 0.5 + shift / 2

        def covariance(one: float, two: float) -> float:
            # Of (u - one)^2 and (u - two)^2, u uniform.
            return 4 / 45 - (one + two) / 6 + one * two / 3

        return covariance(low, high) / covariance(low, low)

    shifts = np.linspace(0, 1, 1001)
    reached = np.array([correlated(float(shift)) for shift in shifts])
    return float(shifts[np.argmin(np.abs(reached - correlation))])


def _declared(source: Path | None) -> dict[str, Any]:
    """Returns what a protocol or a study's records say of a design."""
    if source is None:
        return {}
    if source.is_dir():
        return _recorded(source)
    return _terms(dict(protocols.load(source)))


def _terms(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Returns how a study is done; the words are those of `Setting`."""
    said: dict[str, Any] = {
        name: protocol[name]
        for name in (
            *("configurations", "effort", "alpha", "estimand", "confirm_seeds"),
            *("top", "max_multiple", "margin"),
        )
        if protocol.get(name) is not None
    }
    said["sampling"] = protocol.get("sampling", "random")
    said["notes"] = []
    challengers = len(protocol["challengers"])
    if challengers > 1:
        # What Holm's adjustment asks of the first claim.
        said["alpha"] /= challengers
        said["notes"].append(
            f"One of {challengers} challengers is simulated, at its share of alpha:"
            f" {said['alpha']:.3g}."
        )
    if protocol.get("looks") or len(protocol.get("ladder", ())) > 1:
        said["notes"].append(
            "Looks and longer training are left out: one search, judged at its end."
        )
    return said


def _recorded(folder: Path) -> dict[str, Any]:
    """Estimates from a study's records how its scores vary."""
    with Store(folder, read_only=True) as store:
        declared, runs = store.protocol(), store.runs(per_example=False)
        opened = [
            json.loads(detail)
            for _, name, detail in store.events()
            if name == "test set opened"
        ]
    if declared is not None:
        expect(declared[1], None, folder)
    if declared is None or not opened:
        raise RecordsError(
            "a study says how its scores vary when all its runs are done",
            f"the test set of {folder} is still sealed",
            "Give archtrial run with the same protocol again: it goes on where it"
            " stopped. Or calibrate the protocol's file.",
        )
    # One that grows is what it was until its test set is opened again.
    runs = [run for run in runs if run.look <= len(opened)]
    resolved = declared[1]
    metric = metrics.get(resolved["metric"], resolved.get("task"))
    sign = 1 if metric.higher_is_better else -1
    constant = opened[0]["constant"]
    worst = searches.lowest(runs, sign) if constant is None else sign * constant
    names = [resolved["baseline"]["name"], resolved["challengers"][0]["name"]]
    found = [_Varied.of(runs, name, sign, worst) for name in names]
    both = np.sum(~(found[0].stopped | found[1].stopped))
    if both < 4:
        raise RecordsError(
            "at least 4 configurations were trained to the end in both arms",
            f"{both} of {len(found[0].stopped)}",
            "Calibrate the protocol's file instead, with --spread and --diverging.",
        )
    noise = float(np.mean([arm.noise for arm in found]))
    said = _terms(resolved)
    if "margin" not in said:
        said["margin"] = searches.default_margin(runs, metric, constant)
    # Noise weakens a correlation; what is sought is that of the scores without it.
    true = [max(arm.spread**2 - arm.seed_spread**2 - noise**2, 1e-12) for arm in found]
    working = ~(found[0].stopped | found[1].stopped)
    covariance = np.cov(found[0].scores[working], found[1].scores[working])[0, 1]
    together = covariance / math.sqrt(true[0] * true[1])
    said |= {
        "spread": tuple(math.sqrt(variance) for variance in true),
        "seed_spread": tuple(arm.seed_spread for arm in found),
        "noise": noise,
        "diverging": tuple(arm.diverging for arm in found),
        "failing_seeds": tuple(arm.failing for arm in found),
        "correlation": float(np.clip(together, -0.5, 1)),
        "floor": worst,
        "peak": max(float(arm.scores.max()) for arm in found),
    }
    listed = ", ".join(
        f"{what} {' and '.join(f'{value:.3g}' for value in said[name])}"
        for what, name in (
            ("spread", "spread"),
            ("seed spread", "seed_spread"),
            ("diverging", "diverging"),
            ("failing seeds", "failing_seeds"),
        )
    )
    said["notes"].append(
        f"Estimated from the records of {names[0]} and {names[1]}: {listed};"
        f" noise {noise:.3g}, correlation {said['correlation']:.2f}."
    )
    return said


@dataclasses.dataclass(frozen=True)
class _Varied:
    """How one arm's scores vary in its records; higher is better."""

    scores: np.ndarray
    """(n,) of the search runs, by pair."""
    stopped: np.ndarray
    """(n,) bool, who diverged."""
    spread: float
    seed_spread: float
    noise: float
    diverging: float
    failing: float

    @classmethod
    def of(cls, runs: Sequence[Run], name: str, sign: int, worst: float) -> "_Varied":
        """Reads the runs of one arm."""
        searched = searches.trials(runs, name)
        scores = searches.search_scores(runs, name, sign)
        stopped = np.array([run.diverged for run in searched.values()])
        fresh: dict[int, list[Run]] = {}
        for run in runs:
            again = run.arm == name and run.stage in ("confirm", "winner")
            if again and run.pair in searched and not run.diverged:
                fresh.setdefault(run.pair, []).append(run)
        failed, seeds, working, apart = 0, 0, [], []
        for seeded in fresh.values():
            validation = sign * np.array([run.validation for run in seeded])
            # A failed seed lies nearer to the constant predictor than to the best.
            fails = validation < (worst + validation.max()) / 2
            failed, seeds = failed + int(fails.sum()), seeds + len(fails)
            working.append(validation[~fails])
            if all(run.test is not None for run in seeded):
                tested = sign * np.array([run.test for run in seeded], dtype=float)
                apart.append((validation - tested)[~fails])
        return cls(
            scores=scores,
            stopped=stopped,
            spread=float(np.std(scores[~stopped], ddof=1)),
            seed_spread=statistics.seed_spread(working),
            # Both scores of a run have noise of their own.
            noise=statistics.seed_spread(apart) / math.sqrt(2),
            diverging=float(stopped.mean()),
            failing=failed / seeds if seeds else 0.0,
        )


@dataclasses.dataclass(frozen=True)
class Row:
    """All studies of one true gain."""

    effect: float
    tally: Tally

    @property
    def power(self) -> float:
        """The share of studies that claim a gain."""
        return self.tally.rate(*_CLAIMS).estimate


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How often studies of one design come to which verdict."""

    setting: Setting
    seed: int
    rows: tuple[Row, ...]
    """By true gain, ascending."""
    smallest_effect: float | None
    """The true gain that is claimed with a power of 80 %; None if it is larger than
    all that were tried."""
    notes: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Returns all but the seconds as JSON: the same for the same arguments."""
        return {
            "design": dataclasses.asdict(self.setting),
            "seed": self.seed,
            "notes": list(self.notes),
            "rows": [
                {
                    "effect": row.effect,
                    "studies": row.tally.studies,
                    "verdicts": {
                        verdict: dataclasses.asdict(
                            row.tally.rate(f"verdict {verdict}")
                        )
                        for verdict in _VERDICTS
                    },
                    "coverage": dataclasses.asdict(row.tally.rate("covered")),
                    "mean_width": row.tally.mean("width"),
                }
                for row in self.rows
            ],
            "smallest_effect": self.smallest_effect,
        }

    def __str__(self) -> str:
        setting = self.setting
        lines = [
            f"{setting.configurations} configurations of each arm, effort"
            f" {setting.effort}, margin {setting.margin:g},"
            f" {'paired' if setting.paired else 'unpaired'}, {_DRAWS[setting.sampling]};"
            f" {self.rows[0].tally.studies} simulated studies a line.",
            *self.notes,
            "",
            f"{'true gain':>10}"
            + "".join(f"{v:>14}" for v in _VERDICTS)
            + f"{'interval holds':>16}",
        ]
        for row in self.rows:
            shares = (row.tally.rate(f"verdict {v}").estimate for v in _VERDICTS)
            lines.append(
                f"{row.effect:>10.4g}"
                + "".join(f"{_rate(share):>14}" for share in shares)
                + f"{_rate(row.tally.rate('covered').estimate):>16}"
            )
        lines.append("")
        null = next((row for row in self.rows if row.effect == 0), None)
        if null is not None:
            false = null.tally.rate("verdict architecture")
            lines.append(
                "With this design a null effect is called `architecture`"
                f" {_rate(false.estimate)} of the time (95 % interval {_rate(false.low)} to"
                f" {_rate(false.high)})."
            )
        least = self.smallest_effect
        lines.append(
            f"The smallest effect with a power of 80 % is {least:.2g}."
            if least is not None
            else f"No effect up to {self.rows[-1].effect:.2g} has a power of 80 %."
        )
        return "\n".join(lines)


def calibrate(
    setting: Setting,
    *,
    effects: Sequence[float] | None = None,
    studies: int = 400,
    seed: int = 0,
    workers: int = 1,
    notes: Sequence[str] = (),
) -> Calibration:
    """Simulates studies of a design at several true gains.

    The same arguments give the same result, whatever the number of workers.

    Args:
        setting: The design; its own `effect` does not matter.
        effects: True gains; by default 0, 1/2, 1, 2 and 3 times the margin, and
            larger ones until one is claimed in 80 % of the studies.
        studies: At each.
        seed: Of all draws.
        workers: Processes.
        notes: What was assumed of the design, to be said beside the result.

    Raises:
        ProtocolError: No study, or an effect that the arms cannot have.
    """
    if studies < 1 or workers < 1:
        raise ProtocolError(
            "a calibration has at least one study and one worker",
            f"studies = {studies}, workers = {workers}",
        )
    start = time.perf_counter()

    def rows(gains: Iterable[float]) -> list[Row]:
        wanted = sorted(set(gains))
        at = [dataclasses.replace(setting, effect=gain) for gain in wanted]
        tallies = simulate_all(at, studies, seed, workers)
        return [Row(*row) for row in zip(wanted, tallies, strict=True)]

    found = rows(
        [share * setting.margin for share in (0, 0.5, 1, 2, 3)]
        if effects is None
        else effects
    )
    for _ in range(_DOUBLINGS if effects is None else 0):
        if found[-1].power >= _POWER:
            break
        detectable = found[0].tally.mean("detectable")
        found += rows([max(2 * found[-1].effect, float(f"{detectable:.2g}"))])
    return Calibration(
        setting=setting,
        seed=seed,
        rows=tuple(found),
        smallest_effect=_crossing(found),
        notes=tuple(notes),
        seconds=time.perf_counter() - start,
    )


def _rate(share: float) -> str:
    """Writes a share in per cent; one that is small is not written as none."""
    return numbers.rate(share) if share < 0.001 else numbers.percent(share, 1)


def _crossing(rows: Sequence[Row]) -> float | None:
    """Returns where the line through the powers first reaches 80 %."""
    for before, after in itertools.pairwise(rows):
        if before.power < _POWER <= after.power:
            share = (_POWER - before.power) / (after.power - before.power)
            return before.effect + share * (after.effect - before.effect)
    return None
