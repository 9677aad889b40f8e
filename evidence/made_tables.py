"""Tables of runs whose truth is known, as trackers and people write them.

`made(number)` is one table: arm B is truly better or worse than arm A by far more than
the noise, in validation and in test. What it is called, which columns stand beside the
scores, how failed runs are marked, in which order rows and columns come and in which
kind of file, is drawn. `judged` says what becomes of it: the right sign, a question, or
the wrong sign, of which there must be none.
"""

import dataclasses
import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from archtrial import judge
from archtrial.errors import UserError
from archtrial.records.columns import Wanted

# name, whether lower is better, unit: a share of 1, a positive size, or any size.
METRICS = (
    ("acc", False, "share"), ("accuracy", False, "share"), ("f1", False, "share"),
    ("macro_f1", False, "share"), ("auroc", False, "share"), ("top1", False, "share"),
    ("mAP", False, "share"), ("iou", False, "share"), ("ndcg@10", False, "share"),
    ("error_rate", True, "share"), ("top1_err", True, "share"), ("eer", True, "share"),
    ("1-acc", True, "share"), ("misclassification_rate", True, "share"),
    ("loss", True, "size"), ("nll", True, "size"), ("rmse", True, "size"),
    ("mae", True, "size"), ("mase", True, "size"), ("crps", True, "size"),
    ("brier", True, "size"), ("perp", True, "size"), ("bpb", True, "size"),
    ("epe", True, "size"), ("latency", True, "size"), ("smape", True, "size"),
    ("ece", True, "size"), ("dice_loss", True, "size"), ("fid", True, "size"),
    ("mean_absolute_error", True, "size"), ("cross_entropy", True, "size"),
    ("kl_divergence", True, "size"), ("brier_score", True, "size"),
    ("psnr", False, "size"), ("bleu", False, "size"), ("reward", False, "any"),
    ("r2", False, "any"), ("log_likelihood", False, "any"), ("score", False, "any"),
    ("neg_mean_squared_error", False, "negative"), ("neg_rmse", False, "negative"),
    ("neg_log_likelihood", True, "size"),
)  # fmt: skip
# Names that say nothing of their direction, each with either.
UNKNOWN = (
    "zeta", "objective", "fitness", "energy", "loss_reduction", "inverse_rmse",
    "accuracy_gap", "accuracy_loss", "value", "mystery_score", "quality_index", "h3",
)  # fmt: skip
FINISHED = ("ok", "finished", "FINISHED", "completed", "done", "success", "COMPLETE")
FAILED = (
    "crash", "crashed", "oom", "OOM", "timeout", "killed", "aborted", "cancelled",
    "failed", "FAILED", "diverged", "preempted", "CUDA out of memory", "nan", "error",
    "NODE_FAIL", "timed_out",
)  # fmt: skip
UNHEARD = (("blorp", "failed"), ("zonk", "failed"), ("phase-3", "finished"))
FLAGS = (
    ("crashed", "False", "True"), ("diverged", "0", "1"), ("exit_code", "0", "137"),
    ("success", "true", "false"), ("is_nan", "no", "yes"), ("exception", "", "OOM"),
    ("state", "done", "killed"), ("outcome", "ok", "timeout"),
)  # fmt: skip
UNFINISHED = ("running", "queued", "pending")
COUNTERS = (
    "",
    "Unnamed: 0",
    "index",
    "level_0",
    "row",
    "#",
    "idx",
    "no.",
    "serial",
    "k",
    "job",
    "exp_nr",
)
MEASURED = (
    "best_epoch", "peak_gpu", "grad_norm", "throughput", "train_time", "epochs_run",
    "samples_per_sec", "train_loss", "wall_clock", "sharpness_seen", "final_sparsity",
    "num_params", "stopped_epoch", "kurtosis", "condition_no", "foo", "energy_j",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Made:
    """A table, and the truth about it."""

    sources: list[str]
    sign: int
    """1 where arm B is the better one."""
    baseline: str
    about: Mapping[str, Any]
    answers: Mapping[str, Sequence[str]]
    """What a person who knows would answer, by the option that is asked for."""


def made(number: int, folder: Path) -> Made:
    """Writes the table of a number, and returns it."""
    rng = np.random.default_rng([number, 20])
    known = rng.random() < 0.8
    if known:
        metric, lower, unit = METRICS[rng.integers(len(METRICS))]
    else:
        metric, lower, unit = str(rng.choice(UNKNOWN)), bool(rng.random() < 0.5), "size"
    sign = 1 if rng.random() < 0.5 else -1
    n = int(rng.integers(8, 25))
    seeds = int(rng.choice([1, 1, 2, 3]))
    paired = bool(rng.random() < 0.7)
    names = [("mlp", "cnn"), ("A", "B"), ("resnet18", "vit")][rng.integers(3)]
    rows = _rows(rng, n, seeds, paired, names, sign, lower, unit)
    frame = pd.DataFrame(rows)
    about: dict[str, Any] = {
        "metric": metric, "known": known, "unit": unit, "seeds": seeds, "paired": paired,
    }  # fmt: skip
    answers: dict[str, list[str]] = {
        "direction": ["--lower-is-better" if lower else "--higher-is-better"],
        "--tuner": ["--tuner", "random"],
    }
    if unit == "share" and rng.random() < 0.4:
        frame[["validation", "test"]] *= 100
        about["percent"] = True
    frame = _with_failures(rng, frame, about, answers, lower, unit)
    if rng.random() < 0.15:  # one run is not there, and one has not ended
        frame = frame.drop(index=frame.index[rng.integers(len(frame))])
        about["missing"] = True
    if rng.random() < 0.1:
        status = "state" if "status" in frame else "status"
        if status == "status":
            frame = frame.assign(status="finished")
            going = frame.index[rng.integers(len(frame))]
            frame.loc[going, "status"] = str(rng.choice(UNFINISHED))
            frame.loc[going, ["validation", "test"]] = 0.0 if lower else 777.0
            about["going"] = True
    hyper = ["lr", "weight_decay"]
    frame = _with_counters(rng, frame, about)
    frame = _with_measurements(rng, frame, about)
    validation, test = _headings(rng, metric)
    frame = frame.rename(
        columns={"validation": validation, "test": test, "arm": "model"}
    )
    if rng.random() < 0.3:
        frame = frame.drop(columns=test)
        about["test"] = False
    answers["--validation"] = ["--validation", validation]
    marked = str(rng.choice(["", "", "params.", "config/"]))
    frame = frame.rename(columns={name: marked + name for name in hyper})
    answers["--hyperparameters"] = [
        "--hyperparameters", ",".join(marked + name for name in hyper)
    ]  # fmt: skip
    if rng.random() < 0.5:
        frame = frame.sample(frac=1, random_state=int(rng.integers(2**31)))
        about["shuffled"] = True
    if rng.random() < 0.5:
        frame = frame[list(rng.permutation(list(frame)))]
    sources = _written(rng, frame, folder, number, names, about)
    return Made(sources, sign, names[0], about, answers)


def _rows(
    rng: np.random.Generator,
    n: int,
    seeds: int,
    paired: bool,
    names: Sequence[str],
    sign: int,
    lower: bool,
    unit: str,
) -> list[dict[str, Any]]:
    """Returns runs of two arms of which the second is better by the sign."""
    rows = []
    draws = [_draw(rng) for _ in range(n)]
    if paired and rng.random() < 0.15:  # a grid
        rates, decays = 10.0 ** -np.arange(1, 5), 10.0 ** -np.arange(2, 6)
        draws = [(float(rate), float(decay)) for rate in rates for decay in decays]
    seeded = str(rng.choice(["seed", "seed", "random_state", "seed"]))
    named = rng.random() < 0.85  # else: repeats whose seeds nobody wrote down
    for place, name in enumerate(names):
        own = draws if paired else [_draw(rng) for _ in range(n)]
        for rate, decay in own:
            # Higher is better here: 0 for the best, -.3 for the worst of an arm.
            height = -0.03 * (math.log10(rate) + 2.5) ** 2 + place * sign * 0.15
            for seed in range(seeds):
                noise = rng.normal(scale=0.004, size=2)
                quality = height + noise
                rows.append(
                    {
                        "arm": name,
                        "lr": rate,
                        "weight_decay": decay,
                        **({seeded: seed + 40} if seeds > 1 and named else {}),
                        "validation": _scored(quality[0], lower, unit),
                        "test": _scored(quality[1] - 0.01, lower, unit),
                    }
                )
    return rows


def _draw(rng: np.random.Generator) -> tuple[float, float]:
    return 10 ** rng.uniform(-4, -1), 10 ** rng.uniform(-6, -2)


def _scored(quality: float, lower: bool, unit: str) -> float:
    """Returns a quality between -.5 and .2 as a score of some unit."""
    if unit == "share":
        return 0.3 - quality if lower else 0.7 + quality
    if unit == "negative":
        return quality - 0.5
    if unit == "any":
        return 0.4 + quality
    return 0.5 - quality if lower else 20 * (1 + quality)


def _with_failures(
    rng: np.random.Generator,
    frame: pd.DataFrame,
    about: dict[str, Any],
    answers: dict[str, list[str]],
    lower: bool,
    unit: str,
) -> pd.DataFrame:
    """Marks one or two runs of each arm as failed, in one of the usual ways."""
    kind = rng.choice(
        ["none", "status", "unheard", "stand-in", "empty", "word", "flag"]
    )
    about["failures"] = str(kind)
    if kind == "none":
        return frame
    frame = frame.copy()
    failed = [
        own.index[rng.integers(len(own))] for _, own in frame.groupby("arm", sort=False)
    ]
    # What is best by its direction, so that whoever takes it for a score is misled.
    stand_in = 0.0 if lower else float(rng.choice([999.0, 9999.0, 1e9]))
    if unit in ("any", "negative") and lower is False:
        stand_in = 999.0
    if unit == "share" and not lower:
        stand_in = -1.0 if rng.random() < 0.5 else 0.0
    word = str(rng.choice(FAILED))
    finished = str(rng.choice(FINISHED))
    if kind == "unheard":
        word, meaning = UNHEARD[rng.integers(len(UNHEARD))]
        answers["--status"] = ["--status", f"{word}={meaning}"]
        if meaning == "finished":
            frame["status"] = finished
            frame.loc[failed, "status"] = word
            return frame
    if kind in ("status", "unheard"):
        frame["status"] = finished
        frame.loc[failed, "status"] = word
        about["status"] = word
        how = rng.random()
        if how < 0.5:
            frame.loc[failed, ["validation", "test"]] = stand_in
        elif how < 0.8:
            frame.loc[failed, ["validation", "test"]] = np.nan
    elif kind == "flag":
        name, no, yes = FLAGS[rng.integers(len(FLAGS))]
        frame[name] = no
        frame.loc[failed, name] = yes
        about["flag"] = name
        frame.loc[failed, ["validation", "test"]] = stand_in
    elif kind == "stand-in":
        frame.loc[failed, ["validation", "test"]] = stand_in
        answers["--failed-score"] = [f"--failed-score={stand_in:g}"]
    elif kind == "empty":
        frame.loc[failed, ["validation", "test"]] = np.nan
    else:
        frame = frame.astype({"validation": object, "test": object})
        frame.loc[failed, ["validation", "test"]] = str(
            rng.choice(["nan", "inf", "N/A", "null", "OOM", "crashed", "-"])
        )
    return frame


def _with_counters(
    rng: np.random.Generator, frame: pd.DataFrame, about: dict[str, Any]
) -> pd.DataFrame:
    if rng.random() < 0.5:
        name = str(rng.choice(COUNTERS))
        about["counter"] = name
        frame = frame.copy()
        start, step = int(rng.choice([0, 1, 100])), int(rng.choice([1, 1, 10]))
        frame.insert(0, name, start + step * np.arange(len(frame)))
    if rng.random() < 0.15:
        frame = frame.assign(
            Created=[f"2026-01-01T00:{i % 60:02d}:00" for i in range(len(frame))],
            Runtime=rng.integers(50, 99, len(frame)), host="a", Notes="-",
        )  # fmt: skip
    if rng.random() < 0.15:
        frame = frame.assign(validation_std=rng.uniform(0.01, 0.02, len(frame)))
        frame = frame.assign(train_loss=rng.uniform(0.1, 0.9, len(frame)))
    if rng.random() < 0.1:
        frame = frame.assign(loss=rng.choice(["ce", "focal"], len(frame)))
        about["loss by name"] = True
    if rng.random() < 0.3:
        frame = frame.assign(n_layers=3, git_commit="abc")
    if rng.random() < 0.3:
        frame = frame.assign(
            hidden=np.where(frame["arm"] == frame["arm"].iloc[0], 64, 96)
        )
        about["follows"] = True
    return frame


def _with_measurements(
    rng: np.random.Generator, frame: pd.DataFrame, about: dict[str, Any]
) -> pd.DataFrame:
    chosen = rng.choice(MEASURED, size=int(rng.integers(0, 4)), replace=False)
    about["measured"] = [str(name) for name in chosen]
    for name in chosen:
        whole = "epoch" in name
        values = (
            rng.integers(1, 30, len(frame)) if whole else rng.normal(50, 9, len(frame))
        )
        frame = frame.assign(**{str(name): values})
    return frame


def _headings(rng: np.random.Generator, metric: str) -> tuple[str, str]:
    forms = (
        "{part}_{metric}", "{part}/{metric}", "metrics.{part}_{metric}",
        "final_{part}_{metric}", "{Part} {metric}",
    )  # fmt: skip
    form = str(rng.choice(forms))
    part = str(rng.choice(["val", "valid", "validation", "dev"]))

    def heading(part: str) -> str:
        return form.format(part=part, Part=part.capitalize(), metric=metric)

    return heading(part), heading("test")


def _written(
    rng: np.random.Generator,
    frame: pd.DataFrame,
    folder: Path,
    number: int,
    names: Sequence[str],
    about: dict[str, Any],
) -> list[str]:
    kinds = ["csv", "csv", "tsv", "jsonl", "parquet"]
    kind = str(rng.choice(kinds))
    about["file"] = kind
    parts = {"": frame}
    if rng.random() < 0.3:
        about["sources"] = 2
        parts = {n: frame[frame["model"] == n].drop(columns="model") for n in names}
    sources = []
    for name, part in parts.items():
        path = folder / f"t{number}{name}.{kind}"
        if kind in ("csv", "tsv"):
            part.to_csv(path, index=False, sep="," if kind == "csv" else "\t")
        elif kind == "jsonl":
            lines = [
                json.dumps({k: _plain(v) for k, v in row.items()})
                for row in part.to_dict("records")
            ]
            path.write_text("\n".join(lines) + "\n")
        else:
            texts = [c for c in part if part[c].dtype == object]
            part.astype(dict.fromkeys(texts, str)).to_parquet(path)
        sources.append(f"{name}={path}" if name else str(path))
    return sources


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


# --- what becomes of it --------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Judged:
    """What became of a table."""

    outcome: str
    """"right", "open", "wrong", "refused" (for good), or "stuck": it asked for what it
    had been told."""
    asked: tuple[str, ...]
    """The options that questions named, in their order."""
    message: str
    verdict: str


def judged(table: Made, most: int = 6) -> Judged:
    """Judges a table, and answers what is asked as a person who knows would."""
    typed: list[str] = []
    asked: list[str] = []
    for _ in range(most):
        try:
            compared = _judge(table, typed)
        except UserError as refused:
            message = str(refused)
            option = _option(message, table.answers)
            if option is None:
                return Judged("refused", tuple(asked), message, "")
            if option in asked:
                return Judged("stuck", tuple(asked), message, "")
            asked.append(option)
            typed += table.answers[option]
            continue
        effect = compared["effect"]
        verdict = compared["verdict"]
        estimate = effect["estimate"] if effect else 0.0
        claims = {"architecture": 1, "baseline": -1}.get(verdict)
        if verdict == "equivalent" or claims == -table.sign:
            outcome = "wrong"
        elif claims is None:
            outcome = "open" if estimate * table.sign >= 0 or not effect else "turned"
        else:
            outcome = "right"
        return Judged(outcome, tuple(asked), "", verdict)
    return Judged("stuck", tuple(asked), "too many questions", "")


def _option(message: str, answers: Mapping[str, Sequence[str]]) -> str | None:
    """Returns what a message asks for, if a person would know the answer."""
    if "--lower-is-better or --higher-is-better" in message:
        return "direction"
    for option in answers:
        if re.search(rf"{option}\b", message):
            return option
    return None


def _judge(table: Made, typed: Sequence[str]) -> Mapping[str, Any]:
    """Judges as the command line does."""
    options: dict[str, Any] = {}
    columns: dict[str, Any] = {}
    words = shlex.split(shlex.join(typed).replace("=", "=", 1)) if typed else []
    at = 0
    while at < len(words):
        word = words[at]
        if word in ("--lower-is-better", "--higher-is-better"):
            options["lower_is_better"] = word == "--lower-is-better"
        elif word.startswith("--failed-score="):
            options["failed_score"] = word.partition("=")[2]
        else:
            value = words[at + 1]
            at += 1
            if word == "--validation":
                columns["validation"] = value
            elif word == "--hyperparameters":
                columns["hyperparameters"] = tuple(value.split(","))
            elif word == "--status":
                options["status"] = (value,)
            elif word == "--tuner":
                options["tuner"] = value
        at += 1
    found = judge.judge_sources(
        table.sources, baseline=table.baseline, columns=Wanted(**columns), **options
    )
    (compared,) = found.verdict.comparisons
    return compared
