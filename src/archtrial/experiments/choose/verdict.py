"""From the records of a choice to what was found, without training anything."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from archtrial import metrics, randomness, searches
from archtrial import space as spaces
from archtrial.experiments.choose import page, words
from archtrial.experiments.choose.protocol import FINAL, HALF, PLAIN, SEARCH
from archtrial.files import name_of
from archtrial.judge import experiment
from archtrial.judge.experiment import Finding, Records
from archtrial.records.store import Store
from archtrial.records.table import Run, best_on_average
from archtrial.searches import Searcher
from archtrial.statistics import Estimate, Search, choosing
from archtrial.statistics.intervals import mean

__all__ = [
    "ANSWERS",
    "CLOCK",
    "FINAL_SEEDS",
    "NEXT",
    "STOPPED",
    "Looks",
    "judge",
    "searchers_of",
    "tuned_of",
]

ANSWERS = "answers.json"
"""The file of a study that says what one answer of each network takes where it ran."""

NEXT = "next.toml"
"""The file of a study that has a protocol to go on with."""

STOPPED = "stopped by the clock"
CLOCK = "clock"
"""The event that says what of the time had passed after a stage."""
"""The event of a study whose time did not allow for what the plan had next."""

FINAL_SEEDS = 100
"""Finalists have seeds from the next one on: those before it had a part in choices."""


def searchers_of(resolved: Mapping[str, Any]) -> list[Searcher]:
    """Returns the searches of a resolved protocol, one of each arm that is tried."""
    return [Searcher(arm, arm, {"part": SEARCH}) for arm in resolved["plan"]["arms"]]


def tuned_of(runs: Sequence[Run], arm: str, sign: int) -> int:
    """Returns which configuration an arm is tuned to: the best on all its fresh seeds.

    Args:
        runs: Of the study; by their validation scores alone.
        arm: Its name.
        sign: 1 where a higher score is better, else -1.
    """
    own = [
        run
        for run in runs
        if run.arm == arm
        and run.stage == "confirm"
        and run.coordinates.get("part", SEARCH) == SEARCH
    ]
    seeds = [run.pair for run in own]
    most = max(seeds.count(pair) for pair in seeds)
    return best_on_average([r for r in own if seeds.count(r.pair) == most], sign)


class Looks:
    """What the searches say at each look, on the validation rows.

    Args:
        resolved: The protocol, with its plan.
        runs: Of the study; those of the searches have as "test" what the examples of the
            validation rows say of them.
    """

    def __init__(self, resolved: Mapping[str, Any], runs: Sequence[Run]) -> None:
        self._resolved, self._plan = resolved, resolved["plan"]
        metric = metrics.get(resolved["metric"], resolved["task"])
        self._sign = 1 if metric.higher_is_better else -1
        self.runs = searches.of(runs, *searchers_of(resolved))
        declared: float | None = resolved["margin"]
        first = [run for run in self.runs if run.look == 1]
        self.margin = (
            searches.default_margin(first, metric, resolved["constant"])
            if declared is None
            else declared
        )
        self._levels = choosing.levels_of_searches(
            self._plan["looks"], resolved["alpha"], len(self._plan["arms"])
        )
        self._found: dict[int, dict[str, dict[str, Any]]] = {}

    @property
    def last(self) -> int:
        """The last look that was made."""
        return max(run.look for run in self.runs)

    def searches(self, arms: Sequence[str], look: int) -> list[Search]:
        """Returns the searches of some arms as they stood at a look."""
        known = searches.Runs(run for run in self.runs if run.look <= look)
        worst = self._sign * self._resolved["constant"]
        return [
            searches.search(
                known, arm, self._sign, worst, self._space(arm), stratified=True
            )
            for arm in arms
        ]

    def _space(self, arm: str) -> dict[str, spaces.Dimension]:
        told = self._plan["spaces"][arm]
        return {name: spaces.parse(name, found) for name, found in told.items()}

    def gone(self, look: int) -> dict[str, dict[str, Any]]:
        """Returns the arms that left at a look or before, with why.

        Returns:
            By arm "look", "to" (the arm that it is worse than), and "gap" with its
            interval, at that look.
        """
        if look == 0:
            return {}
        if look not in self._found:
            before = self.gone(look - 1)
            still = [arm for arm in self._plan["arms"] if arm not in before]
            gaps = self.gaps(still, look)
            left = choosing.cannot_win(gaps, self.margin)
            self._found[look] = before | {
                still[arm]: {
                    "look": look,
                    "to": still[other],
                    "gap": dataclasses.asdict(gaps.at(arm, other)),
                }
                for arm, other in left.items()
            }
        return self._found[look]

    def gaps(self, arms: Sequence[str], look: int) -> choosing.Gaps:
        """Compares arms at a look, at its level."""
        found = self.searches(arms, look)
        level = self._levels[look - 1]
        return choosing.both(
            choosing.of_searches(found, self._resolved["effort"], level),
            choosing.of_tuned(found, level),
        )

    def reached(self, arm: str, look: int) -> Estimate:
        """Returns what k trials of an arm end with, as far as a look tells."""
        (found,) = self.searches([arm], look)
        return choosing.reached(
            found, self._resolved["effort"], self._resolved["alpha"]
        )


def judge(folder: str | Path) -> Finding:
    """Judges a choice from its folder.

    Raises:
        RecordsError: The folder holds no such study, or one whose test set has not been
            opened yet.
    """
    records = experiment.finished(folder, "choose", "archtrial choose --study")
    document = _Judged(records, _stops(folder)).document()
    try:
        told = json.loads(Path(folder, ANSWERS).read_text("utf-8"))
    except (OSError, ValueError):
        told = {}  # it is of the machine, and no part of what was found
    return page.finding(
        document, records, told, _took(folder), _use(folder, document["arm"])
    )


def _use(folder: str | Path, arm: str) -> dict[str, Any]:
    """Returns how what was trained is used, and which protocol to go on with."""
    use: dict[str, Any] = {}
    kept = Path(folder, "tuned", f"{name_of(arm)}.json")
    if kept.exists():
        known = json.loads(kept.read_text("utf-8"))
        if "fit_again" in known:
            use["lines"] = [
                f"import {known['fit_again'].rpartition('(')[0].rpartition('.')[0]}",
                f"model = {known['fit_again']}",
                "model.fit(x, y)",
            ]
        elif kept.with_suffix(".safetensors").exists():
            use["lines"] = [
                "import archtrial",
                f"model = archtrial.load_tuned({str(folder)!r}, {arm!r})",
                "model.predict(x)",
            ]
    if Path(folder, NEXT).exists():
        use["next"] = str(Path(folder, NEXT))
    return use


def _stops(folder: str | Path) -> list[str]:
    """Returns before what the clock stopped a study."""
    with Store(folder, read_only=True) as store:
        events = store.events()
    return [
        json.loads(detail)["before"] for _, name, detail in events if name == STOPPED
    ]


def _took(folder: str | Path) -> float:
    """Returns the seconds from the first event to the last: for the page alone."""
    with Store(folder, read_only=True) as store:
        times = [at for at, _, _ in store.events()]
    return max(times) - min(times)


class _Judged:
    """What the searches and the finalists say, put together."""

    def __init__(self, records: Records, stops: Sequence[str]) -> None:
        self._records, self._stops = records, stops
        self._resolved = records.resolved
        self._plan = self._resolved["plan"]
        self._metric = records.metric
        self._sign = 1 if self._metric.higher_is_better else -1
        self._alpha = self._resolved["alpha"]
        parts: dict[str, list[Run]] = {SEARCH: [], HALF: [], FINAL: []}
        for run in records.runs:
            parts[run.coordinates["part"]].append(run)
        self._parts = parts
        self._looks = Looks(self._resolved, parts[SEARCH])
        self._gone = self._looks.gone(self._looks.last)
        self._finalists = [a for a in self._plan["arms"] if a not in self._gone]
        self._finals = {
            arm: sorted(
                (r for r in parts[FINAL] if r.arm == arm and r.stage == "confirm"),
                key=lambda run: run.seed,
            )
            for arm in self._finalists
        }

    def document(self) -> dict[str, Any]:
        """Returns all that was found, as JSON."""
        margin, sign = self._looks.margin, self._sign
        groups = list(self._finals.values())
        scores = [sign * np.array([r.test for r in own], dtype=float) for own in groups]
        level = choosing.level_of_finalists(self._alpha, len(groups))
        gaps = choosing.of_finalists(scores, self._shares(groups), level)
        means = [float(np.mean(own)) for own in scores]
        choice = choosing.recommend(gaps, means, margin)
        taken, best = (self._finalists[i] for i in (choice.arm, choice.best))
        dead = all(run.diverged for own in groups for run in own)
        verdict = "recommended" if choice.shown else "undecided"
        document = {
            **self._records.document(),
            "verdict": "not_assessable" if dead else verdict,
            "margin": margin,
            "margin_assumed": self._resolved["margin"] is None,
            "effort": self._resolved["effort"],
            "arm": taken,
            "best": best,
            "behind": choice.behind,
            "arms": [self._entry(arm) for arm in self._plan["arms"]],
            "level": level,
            "gaps": [
                {
                    "from": self._finalists[choice.arm],
                    "to": self._finalists[other],
                    **dataclasses.asdict(gaps.at(other, choice.arm)),
                }
                for other in range(len(groups))
                if other != choice.arm
            ],
            "plain": self._plain(),
            "left_out": [
                *({**each, "reason": "data"} for each in self._resolved["left_out"]),
                *(
                    {"name": name, "why": why, "reason": "limit"}
                    for name, why in self._plan["too_large"].items()
                ),
                *(
                    {
                        "name": name,
                        "why": "the time does not pay for it",
                        "reason": "time",
                    }
                    for name in self._plan["too_long"]
                ),
            ],
            "looks": list(self._plan["looks"][: self._looks.last]),
            "seeds": len(groups[0]),
            "rows": {
                "search": self._plan["rows"],
                "final": self._plan["final_rows"],
                **self._resolved["data"]["rows"],
                "seen": self._resolved["validation_rows"],
            },
            "steps": {
                "search": self._plan["steps"],
                "final": self._plan["final_steps"],
            },
            "budget": self._plan["seconds"],
            "stops": list(self._stops),
            "order": self._order(),
            "validation_error": self._validation_error(),
            "edges": searches.edges_reached(
                self._looks.runs,
                {arm: self._looks._space(arm) for arm in self._finalists},
                sign,
                self._resolved["effort"],
            ),
            "test_reach": self._test_reach(groups, level),
        }
        return {**document, **words.told(document, self._metric)}

    def _shares(self, groups: Sequence[Sequence[Run]]) -> np.ndarray | None:
        """Returns each finalist's mean score of each test example, (F, T)."""
        known = [[run.per_example for run in own] for own in groups]
        if any(each is None for own in known for each in own):
            return None
        return self._sign * np.array(
            [np.mean(np.array(own, dtype=np.float64), axis=0) for own in known]
        )

    def _test_reach(
        self, groups: Sequence[Sequence[Run]], level: float
    ) -> float | None:
        """Returns how far the test examples alone leave a gap open, the widest one."""
        shares = self._shares(groups)
        if shares is None or len(shares) < 2:
            return None
        from archtrial.statistics.intervals import normal

        apart = [
            float(np.var(shares[i] - shares[j], ddof=1) / shares.shape[1])
            for i in range(len(shares))
            for j in range(i)
        ]
        return float(normal(level)) * math.sqrt(max(apart))

    def _entry(self, arm: str) -> dict[str, Any]:
        """Returns what was found of an arm."""
        left = self._gone.get(arm)
        look = left["look"] if left else self._looks.last
        own = [r for r in self._looks.runs if r.arm == arm and r.look <= look]
        pair = tuned_of(own, arm, self._sign)
        chosen = [r for r in own if r.pair == pair and r.stage == "confirm"]
        final = self._finals.get(arm)
        return {
            "name": arm,
            "configuration": dict(chosen[0].configuration),
            "pair": pair,
            "parameters": chosen[0].parameters,
            "look": look,
            "configurations": self._plan["looks"][look - 1],
            "left": left,
            "search": dataclasses.asdict(
                self._looks.reached(arm, look).turned(self._sign > 0)
            ),
            "validation": float(np.mean([r.validation for r in chosen])),
            "final": None if final is None else self._standing(final),
            "diverged": sum(r.diverged for r in own if r.stage == "search"),
            "trainings": len(own) + len(final or ()),
            "flops": sum(r.flops for r in (*own, *(final or ()))),
            "flops_of_training": (final or chosen)[0].flops,
        }

    def _standing(self, runs: Sequence[Run]) -> dict[str, Any]:
        """Returns the mean test score of a finalist, over seeds and examples."""
        shares = self._shares([runs])
        found = choosing.standing(
            self._sign * np.array([run.test for run in runs], dtype=np.float64),
            None if shares is None else shares[0],
            self._alpha,
        )
        return dataclasses.asdict(found.turned(self._sign > 0))

    def _plain(self) -> dict[str, Any]:
        """Returns what scikit-learn's estimator scores as it comes."""
        (run,) = (r for r in self._parts[FINAL] if r.arm == PLAIN)
        score = None
        if run.per_example is not None and run.error is None:
            score = dataclasses.asdict(
                mean(run.per_example.astype(np.float64), self._alpha)
            )
        return {
            "name": self._resolved["plain"]["architecture"].removeprefix("sklearn:"),
            "score": score,
            # Its kind alone: the rest may name a place on the machine.
            "error": None if run.error is None else run.error.partition(":")[0],
        }

    def _order(self) -> dict[str, Any] | None:
        """Returns whether arms rank alike on half of the part that is searched on."""
        halves: dict[str, list[Run]] = {}
        for run in self._parts[HALF]:
            halves.setdefault(run.arm, []).append(run)
        before: list[np.ndarray] = []
        after: list[np.ndarray] = []
        for arm, own in halves.items():
            whole = [
                run
                for run in self._looks.runs
                if (run.arm, run.pair, run.stage, run.look)
                == (arm, own[0].pair, "confirm", 1)
            ]
            for group, runs in ((before, own), (after, whole)):
                group.append(self._sign * np.array([r.validation for r in runs]))
        if self._plan["rows"] < 4:
            return None
        seed = self._resolved["seed"]
        found = choosing.agreement(
            before, after, randomness.generator(seed, "choose", "order")
        )
        return {
            "arms": list(halves),
            "half": [float(self._sign * np.mean(x)) for x in before],
            "whole": [float(self._sign * np.mean(x)) for x in after],
            "tau": dataclasses.asdict(found.tau),
            "first_stays": found.first_stays,
            "rows": self._plan["rows"],
        }

    def _validation_error(self) -> float | None:
        """Returns the standard error of a tuned arm's score that validation rows leave."""
        found = []
        for arm in self._finalists:
            pair = tuned_of(self._looks.runs, arm, self._sign)
            shares = [
                r.per_example
                for r in self._looks.runs
                if (r.arm, r.pair, r.stage) == (arm, pair, "confirm")
                and r.per_example is not None
            ]
            if shares:
                averaged = np.mean(np.array(shares, dtype=np.float64), axis=0)
                found.append(float(np.std(averaged, ddof=1) / math.sqrt(len(averaged))))
        return max(found, default=None)
