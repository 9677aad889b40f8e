"""Real studies, repeated: do they agree as well as their intervals say?

Forty studies whose configurations are the points of a Sobol sequence and forty whose
configurations are independent draws, of `mlp` against `mlp(norm='layer')` and against
`cnn` on MNIST-1D (n = 16, k = 4, r = 3, five hyperparameters). What differs between two
studies of a kind is their seed: the draws, the split into training and validation rows,
every initialisation and every order of batches. The test set is the same for all.

    python evidence/real_studies.py [--folder studies/real]     train what is missing
    python evidence/real_studies.py --only-table                judge what is recorded

Trainings are short (300 steps of batches of 25) and one study takes about 45 seconds of
one core. A study that was interrupted goes on where it stopped; one that is finished is
a line of evidence/results/real_studies.jsonl, with all scores that a verdict rests on
but for those of single test examples. So the table is judged anew whenever it is
printed, by the statistics as they then stand, and of this very test set, which is the
same in all studies. What users are shown allows for other test examples as well: it is
recorded beside the scores, and made again from the studies' folders by `--again`.
"""

import argparse
import dataclasses
import fcntl
import json
import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import journal
import numpy as np
from scipy import special

from archtrial import Protocol, Study, judge
from archtrial.files import write
from archtrial.records.store import OPENED, Store
from archtrial.records.table import Run

RECORDS = journal.RESULTS / "real_studies.jsonl"
TABLE = journal.RESULTS / "real_studies.json"
DESIGNS = ("sobol", "random")
BASELINE = "mlp"
CHALLENGERS = ("mlp(norm='layer')", "cnn")
STUDIES = 40
ALPHA = 0.05
STUDY = {
    "baseline": BASELINE,
    "challengers": CHALLENGERS,
    "configurations": 16,
    "effort": 4,
    "confirm_seeds": 3,
    "margin": 0.01,
    "alpha": ALPHA,
    "steps": 300,
}
"""What every study declares."""


def declared(design: str, seed: int) -> Protocol:
    """Returns what a study declares."""
    return Protocol(data="mnist1d", batch_size=25, sampling=design, seed=seed, **STUDY)


# --- records --------------------------------------------------------------------------


@dataclasses.dataclass
class Records:
    """What is kept of all studies: a line for each, behind one with their protocol."""

    protocol: dict[str, Any]
    """Resolved, without seed, design and the arms' source code; empty at first."""
    studies: dict[tuple[str, int], dict[str, Any]]
    """By design and seed."""

    @classmethod
    def read(cls) -> "Records":
        """Returns what is recorded."""
        if not RECORDS.exists():
            return cls({}, {})
        first, *lines = (json.loads(line) for line in RECORDS.read_text().splitlines())
        return cls(first, {(line["sampling"], line["seed"]): line for line in lines})

    def add(self, folder: Path) -> dict[str, Any]:
        """Adds a finished study, and returns what is kept of it."""
        protocol, kept = record(folder)
        if self.protocol and protocol != self.protocol:
            sys.exit(f"{folder} declares something else than the studies in {RECORDS}")
        self.protocol = protocol
        self.studies[kept["sampling"], kept["seed"]] = kept
        return kept

    def write(self) -> None:
        """Writes all, whole or not at all."""
        ordered = sorted(
            self.studies.values(), key=lambda kept: (kept["seed"], kept["sampling"])
        )
        lines = (
            json.dumps(line, separators=(",", ":"), sort_keys=True) + "\n"
            for line in (self.protocol, *ordered)
        )
        write(RECORDS, "".join(lines))


def record(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns a finished study's protocol, and what another judge needs of its runs."""
    with Store(folder, read_only=True) as store:
        declared = store.protocol()
        assert declared is not None  # the study is finished
        resolved, runs = declared[1], store.runs()
        opened = next(json.loads(d) for _, name, d in store.events() if name == OPENED)
    arms = names_of(resolved)
    kept = [run for run in runs if run.stage in ("search", "confirm")]
    by_pair: dict[tuple[str, int], list[Run]] = {}
    for run in sorted(kept, key=lambda run: (run.arm, run.pair, run.seed)):
        by_pair.setdefault((run.arm, run.pair), []).append(run)
    protocol = {
        **resolved,
        "baseline": _without_source(resolved["baseline"]),
        "challengers": [_without_source(arm) for arm in resolved["challengers"]],
    }
    # Protocols without the word are of independent draws.
    sampling, seed = protocol.pop("sampling", "random"), protocol.pop("seed")
    # Of the data as the seed has split them.
    protocol["data"] = {k: v for k, v in resolved["data"].items() if k != "digest"}
    return protocol, {
        "sampling": sampling,
        "seed": seed,
        "code": journal.code(),
        "constant": opened["constant"],
        # By arm and configuration: its values, by name; its cost; and validation and
        # test score of the search run and of each fresh seed.
        "trials": [
            [
                [
                    [_short(v) for _, v in sorted(own[0].configuration.items())],
                    own[0].flops,
                    [[_score(run.validation), _score(run.test)] for run in own],
                ]
                for (name, _), own in by_pair.items()
                if name == arm
            ]
            for arm in arms
        ],
        "diverged": [
            [arms.index(run.arm), run.pair, run.seed] for run in kept if run.diverged
        ],
        "shown": [
            found(runs, resolved, opened["constant"], challenger)
            for challenger in arms[1:]
        ],
    }


def names_of(protocol: Mapping[str, Any]) -> list[str]:
    """Returns the names of a resolved protocol's arms, the baseline's first."""
    return [arm["name"] for arm in (protocol["baseline"], *protocol["challengers"])]


def _without_source(arm: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arm.items() if name != "source"}


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _score(score: float | None) -> float | None:
    return None if score is None or not math.isfinite(score) else round(score, 6)


def runs_of(kept: Mapping[str, Any], protocol: Mapping[str, Any]) -> list[Run]:
    """Returns the runs of a record, without the scores of single test examples."""
    diverged = {tuple(place) for place in kept["diverged"]}
    runs = []
    arms = (protocol["baseline"], *protocol["challengers"])
    for i, (arm, trials) in enumerate(zip(arms, kept["trials"], strict=True)):
        for pair, (values, flops, scores) in enumerate(trials):
            for seed, (validation, test) in enumerate(scores):
                runs.append(
                    Run(
                        arm=arm["name"],
                        pair=pair,
                        seed=seed,
                        stage="confirm" if seed else "search",
                        configuration=dict(
                            zip(sorted(arm["space"]), values, strict=True)
                        ),
                        validation=math.nan if validation is None else validation,
                        test=math.nan if test is None else test,
                        diverged=(i, pair, seed) in diverged,
                        flops=flops,
                    )
                )
    return runs


def found(
    runs: Sequence[Run],
    protocol: Mapping[str, Any],
    constant: float | None,
    challenger: str,
) -> dict[str, Any]:
    """Judges one challenger as if it were the only one, so that intervals hold at 95 %.

    Args:
        runs: Of all arms.
        protocol: The study's, resolved.
        constant: The constant predictor's test score.
        challenger: The arm's name.
    """
    ours = (protocol["baseline"]["name"], challenger)
    judged = judge.assess(
        [run for run in runs if run.arm in ours],
        protocol={
            **protocol,
            "challengers": [
                arm for arm in protocol["challengers"] if arm["name"] == challenger
            ],
        },
        constant=constant,
    )
    (compared,) = judged.verdict.comparisons
    kept = (
        "challenger", "verdict", "effect", "standard_error", "p_value",
        "baseline_score", "challenger_score", "test_set_floor",
    )  # fmt: skip
    return {name: _digits(compared[name]) for name in kept}


def _digits(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _digits(part) for name, part in value.items()}
    return round(value, 6) if isinstance(value, float) else value


def train(folder: Path, studies: int) -> None:
    """Carries out those studies that have no record, both designs in turns."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"{folder}: another process is training its studies")
        records = Records.read()
        for seed in range(studies):
            for design in DESIGNS:
                if (design, seed) in records.studies:
                    continue
                start = time.perf_counter()
                place = folder / f"{design}-{seed}"
                # Ten more seeds of each winner tell how often seeds win. They enter no
                # interval, and cost a fifth of the study.
                study = Study(declared(design, seed), place)
                study.winner_seeds = 0
                study.run()
                kept = records.add(place)
                records.write()
                seconds = time.perf_counter() - start
                shown = (
                    f"{each['challenger']} {each['verdict']}"
                    f" {100 * each['effect']['estimate']:+.1f}"
                    for each in kept["shown"]
                )
                print(
                    f"{design} {seed}: {'; '.join(shown)} ({seconds:.0f} s)", flush=True
                )


def judge_again(folder: Path, studies: int) -> None:
    """Makes the records of all finished studies that have a folder again."""
    records = Records.read()
    records.protocol = {}
    for seed in range(studies):
        for design in DESIGNS:
            place = folder / f"{design}-{seed}"
            if (place / "verdict.json").exists():
                records.add(place)
            elif (design, seed) in records.studies:
                print(f"{place} is not there: its record stays as it is")
    records.write()


# --- the table ------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Spread:
    """How far repeated studies agree on one number, beside what each of them says."""

    mean: float
    deviation: float
    """Standard deviation over the studies."""
    deviation_error: float
    """Its own standard error, were the studies normal."""
    reported: float
    """The root of the mean square of the studies' standard errors."""
    width: float
    """The mean width of the intervals."""
    held: int
    """The intervals that hold the mean of the studies of their kind."""
    held_all: int
    """The intervals that hold the mean of all studies."""
    studies: int


def spread(
    numbers: Sequence[Mapping[str, float]], errors: Sequence[float], everyone: float
) -> Spread:
    """Sums up one number of repeated studies.

    Args:
        numbers: "estimate", "low" and "high" of each study.
        errors: The standard error that each reports.
        everyone: The mean estimate of the studies of both designs.
    """
    estimates = np.array([each["estimate"] for each in numbers])
    mean, deviation = float(np.mean(estimates)), float(np.std(estimates, ddof=1))

    def holding(value: float) -> int:
        return sum(each["low"] <= value <= each["high"] for each in numbers)

    return Spread(
        mean=mean,
        deviation=deviation,
        deviation_error=deviation / math.sqrt(2 * (len(estimates) - 1)),
        reported=math.sqrt(np.mean(np.square(errors))),
        width=float(np.mean([each["high"] - each["low"] for each in numbers])),
        held=holding(mean),
        held_all=holding(everyone),
        studies=len(estimates),
    )


def reported_error(
    number: Mapping[str, float], configurations: int, effort: int
) -> float:
    """Returns the standard error that a level's interval was made of."""
    reach = (number["high"] - number["low"]) / 2
    freedom = 2 * configurations / effort - 1
    return reach / float(special.stdtrit(freedom, 1 - ALPHA / 2))


def table(records: Records) -> dict[str, Any]:
    """Judges all records, of this very test set, and sums them up."""
    by_design: dict[str, list[list[dict[str, Any]]]] = {}
    shown: dict[tuple[str, str], Counter[str]] = {}
    with_examples: dict[tuple[str, str], list[float]] = {}
    n, k = records.protocol["configurations"], records.protocol["effort"]
    for (design, seed), kept in records.studies.items():
        protocol = {**records.protocol, "sampling": design, "seed": seed}
        runs = runs_of(kept, protocol)
        by_design.setdefault(design, []).append(
            [
                found(runs, protocol, kept["constant"], name)
                for name in names_of(protocol)[1:]
            ]
        )
        for each in kept["shown"]:
            place = design, each["challenger"]
            shown.setdefault(place, Counter())[each["verdict"]] += 1
            width = each["effect"]["high"] - each["effect"]["low"]
            with_examples.setdefault(place, []).append(width)
    numbers: dict[str, dict[str, list[tuple[Mapping[str, float], float]]]] = {}
    verdicts: dict[tuple[str, str], Counter[str]] = {}
    for design, studies in by_design.items():
        for study in studies:
            for i, each in enumerate(study):
                levels = {each["challenger"]: each["challenger_score"]}
                if i == 0:
                    levels[BASELINE] = each["baseline_score"]
                gained = f"{each['challenger']} - {BASELINE}"
                numbers.setdefault(gained, {}).setdefault(design, []).append(
                    (each["effect"], each["standard_error"])
                )
                for name, level in levels.items():
                    numbers.setdefault(name, {}).setdefault(design, []).append(
                        (level, reported_error(level, n, k))
                    )
                place = design, each["challenger"]
                verdicts.setdefault(place, Counter())[each["verdict"]] += 1
    rows = []
    for name, designs in numbers.items():
        everyone = float(
            np.mean([x["estimate"] for each in designs.values() for x, _ in each])
        )
        for design, values in designs.items():
            row = spread([x for x, _ in values], [e for _, e in values], everyone)
            rows.append({"number": name, "sampling": design, **dataclasses.asdict(row)})
    return {
        "code": journal.code(),
        "rows": rows,
        "verdicts": [
            {
                "challenger": name,
                "sampling": design,
                "of_this_test_set": dict(sorted(verdicts[design, name].items())),
                "as_shown": dict(sorted(shown[design, name].items())),
                "width_as_shown": float(np.mean(with_examples[design, name])),
            }
            for design, name in verdicts
        ],
    }


def markdown(summed: Mapping[str, Any]) -> str:
    """Returns the table for evidence/README.md, in points of accuracy."""
    lines = [
        "| | design | mean | spread over studies | standard error reported | width of"
        " the interval | hold the mean of their kind | of all |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(summed["rows"], key=lambda r: (" - " not in r["number"],)):
        lines.append(
            f"| {row['number']} | {row['sampling']} | {100 * row['mean']:.1f} |"
            f" {100 * row['deviation']:.2f} ± {100 * row['deviation_error']:.2f} |"
            f" {100 * row['reported']:.2f} | {100 * row['width']:.1f} |"
            f" {row['held']} of {row['studies']} |"
            f" {row['held_all']} of {row['studies']} |"
        )
    lines += [
        "",
        "| | design | verdicts, of this test set | verdicts as shown | width of the"
        " interval as shown |",
        "|---|---|---|---|---|",
    ]

    def counted(verdicts: Mapping[str, int]) -> str:
        return ", ".join(f"{count} {name}" for name, count in verdicts.items())

    for row in summed["verdicts"]:
        lines.append(
            f"| {row['challenger']} | {row['sampling']} |"
            f" {counted(row['of_this_test_set'])} | {counted(row['as_shown'])} |"
            f" {100 * row['width_as_shown']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Trains what is missing, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("studies", "real"))
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--only-table", action="store_true")
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    if options.again:
        judge_again(options.folder, options.studies)
    elif not options.only_table:
        train(options.folder, options.studies)
    records = Records.read()
    if not records.studies:
        sys.exit(f"{RECORDS} has no studies yet: train some, without --only-table")
    summed = table(records)
    write(TABLE, json.dumps(summed, indent=1) + "\n")
    print(markdown(summed))


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.ERROR)
    main()
