"""How a run of somebody else's ended: finished, failed, or not at all.

What trackers, schedulers and people write into a status is a list here; a word that
is not in it is a question, and so is a score that may stand for a failure.
"""

import re
import shlex
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from archtrial.errors import RecordsError

__all__ = [
    "ENDINGS",
    "EVENTS",
    "check_stand_ins",
    "counted_status",
    "declared",
    "ended",
    "events",
    "flag",
    "flagged",
    "says_failed",
    "unread",
    "went_on",
]

EVENTS = "events "
"""Columns that say where something went wrong carry this before their name."""
ENDINGS = ("finished", "failed", "unfinished")
"""What a status may mean."""

_FINISHED = {
    "finished", "finish", "complete", "completed", "done", "success", "succeeded",
    "successful", "ok", "okay", "passed", "pass", "ended", "keep", "kept", "discard",
    "discarded", "converged", "pruned",
}  # fmt: skip
_FAILED = {
    "failed", "fail", "failure", "crash", "crashed", "killed", "kill", "diverged",
    "divergence", "error", "errored", "preempted", "oom", "out of memory", "timeout",
    "time out", "timed out", "aborted", "abort", "cancelled", "canceled", "cancel",
    "nan", "nans", "exception", "interrupted", "segfault", "evicted", "node fail",
    "lost", "dead", "broken", "exploded", "invalid", "unstable",
}  # fmt: skip
# Of these the configuration itself is the reason, whoever wrote it.
_DIVERGED = {
    "diverged", "divergence", "nan", "nans", "exploded", "unstable", "oom",
    "out of memory",
}  # fmt: skip
_UNFINISHED = {
    "running", "waiting", "scheduled", "pending", "queued", "unfinished", "in progress",
    "created", "submitted", "active", "starting", "incomplete",
}  # fmt: skip
# Columns of yes and no, of exit codes, and of what went wrong.
_FLAGS_OF_FAILURE = {
    "failed", "crashed", "diverged", "oom", "nan", "nans", "timed out", "timeout",
    "killed", "errored", "aborted", "cancelled", "canceled", "preempted", "exploded",
    "interrupted", "failure", "crash",
}  # fmt: skip
_FLAGS_OF_SUCCESS = {
    "success", "succeeded", "successful", "finished", "completed", "complete", "done",
}  # fmt: skip
_CODES = {"exit code", "exitcode", "returncode", "return code", "exit status"}
# Beside the one column that is the status.
_STATUSES = {"status", "state", "outcome", "run state", "run status", "termination"}
_MESSAGES = {"exception", "traceback", "error message", "error msg", "failure reason"}
# Counts of what went wrong in a run, which may have gone on: "num_nan_steps".
_EVENTS = {
    "nan", "nans", "inf", "infs", "nonfinite", "oom", "ooms", "crash", "crashes",
    "crashed", "failure", "failures", "failed", "fails", "overflow", "overflows",
    "diverged", "divergence", "divergences", "exploded", "explosions", "killed", "kills",
    "timeout", "timeouts", "preemption", "preemptions", "exception", "exceptions",
    "interruptions", "aborted", "retries", "skipped", "spikes",
}  # fmt: skip
_OF_EVENTS = {
    "n", "num", "nr", "number", "of", "count", "counts", "total", "step", "steps", "batch",
    "batches", "grad", "grads", "gradient", "gradients", "loss", "losses", "iter",
    "iters", "iterations", "epoch", "epochs", "update", "updates", "event", "events",
    "value", "values", "with", "times", "run", "runs", "first", "last", "at", "frac",
    "fraction", "share", "pct", "percent", "has", "any", "and", "or", "is", "train",
    "training", "metrics", "metric", "summary",
}  # fmt: skip
_COUNTED = {"n", "num", "nr", "number", "count", "counts", "total"}
_NOTHING = ("", "none", "nan", "null", "-", "no", "n/a")
_YES, _NO = ("true", "yes", "y", "1", "t"), ("false", "no", "n", "0", "f")
_NEGATIONS = {"no", "not", "non", "without", "never", "0", "un"}
# Numbers that programs write where they have no score.
_STAND_INS = (0.0, -1.0)
_NEAR = 0.25
_FEW = 5
"""Beside fewer scores nothing is far."""
_UNLIKE = 0.2
"""By so much of its runs one arm may fail more often than another, unasked."""


def declared(statuses: Sequence[str]) -> dict[str, str]:
    """Reads what the user says of a status, `WORD=finished` and the like.

    Raises:
        RecordsError: It is written otherwise.
    """
    found = {}
    for text in statuses:
        word, equals, meaning = text.rpartition("=")
        if not equals or meaning.strip().lower() not in ENDINGS:
            raise RecordsError(
                f"--status is WORD={' or WORD='.join(ENDINGS)}", repr(text)
            )
        found[_plain(word)] = meaning.strip().lower()
    return found


def ended(
    frame: pd.DataFrame, said: Mapping[str, str], place: str
) -> tuple[pd.DataFrame, list[str]]:
    """Leaves out runs that have not ended, and marks those that failed.

    Args:
        frame: Runs, with their "status" where the table has it.
        said: What the user declared of a status, by its word.
        place: The table, for messages.

    Returns:
        The runs, with a column "failed", and notes.

    Raises:
        RecordsError: A status means nothing known, or no run has ended.
    """
    flags = frame["flagged"] if "flagged" in frame else pd.Series("", frame.index)
    by_flag, open_by_flag = flags == "failed", flags == "unfinished"
    if "status" not in frame:
        if said:
            raise RecordsError(
                "--status speaks of a column of statuses",
                f"{place} has none",
                "Name it: --status-column COLUMN.",
            )
        return _left(frame, by_flag, open_by_flag, "a column of its own", place)
    words = {status: _plain(status) for status in dict.fromkeys(frame["status"])}
    unheard = [word for word in said if word not in words.values()]
    if unheard:
        raise RecordsError(
            f"{place} has a status {unheard[0]!r}",
            f"it has {', '.join(repr(s) for s in list(words)[:12])}",
        )
    meaning = {status: _meaning(word, said) for status, word in words.items()}
    unknown = [status for status, means in meaning.items() if means is None]
    if unknown:
        shown = unknown[0]
        raise RecordsError(
            "a status says whether a run finished, failed or goes on",
            f"{place}: {shown!r} of {int((frame['status'] == shown).sum())} runs",
            "Say which: "
            + " or ".join(
                shlex.quote(f"--status={shown}={ending}") for ending in ENDINGS
            )
            + ". If the column is no status of runs: --status-column none.",
        )
    means = frame["status"].map(meaning)
    going, failed = (means == "unfinished"), (means == "failed")
    _check_alike(frame, failed, said, place)
    going, failed = going | open_by_flag, failed | by_flag
    named = [s for s, ending in meaning.items() if ending == "failed"]
    frame, notes = _left(frame, failed, going, ", ".join(named) or "flagged", place)
    pruned = [status for status, word in words.items() if word == "pruned"]
    if pruned and meaning[pruned[0]] == "finished":
        notes.append(
            "Pruned, and counted with the last score that they reported:"
            f" {int((frame['status'] == pruned[0]).sum())} of {len(frame)} runs."
        )
    return frame, notes


def _left(
    frame: pd.DataFrame, failed: pd.Series, going: pd.Series, told_by: str, place: str
) -> tuple[pd.DataFrame, list[str]]:
    """Leaves out runs that have not ended, and marks those that failed."""
    notes = []
    if going.any():
        notes.append(
            f"Not ended, and left out: {int(going.sum())} of {len(frame)} runs. Judge"
            " again when they have."
        )
    if failed.any():
        notes.append(
            f"Failed ({told_by}), and counted as diverged, at the worst score:"
            f" {int(failed.sum())} of {len(frame)} runs."
        )
    frame = frame.assign(failed=failed)[~going.to_numpy()].reset_index(drop=True)
    if frame.empty:
        raise RecordsError("a verdict needs runs that have ended", f"{place} has none")
    return frame, notes


def flag(name: str) -> str | None:
    """Returns what a yes in a column of a name means; None where it is no such column.

    >>> flag("crashed"), flag("is_finished"), flag("exit_code"), flag("lr")
    ('failed', 'finished', 'code', None)
    >>> flag("num_nan_steps"), flag("n_oom"), flag("nan_policy")
    ('events', 'events', None)
    """
    word = re.sub(r"^(is|was|has|run|did) ", "", _plain(name.replace("_", " ")))
    if word in _CODES:
        return "code"
    if word in _MESSAGES:
        return "message"
    if word in _STATUSES:
        return "word"
    if word in _FLAGS_OF_FAILURE:
        return "failed"
    if word in _FLAGS_OF_SUCCESS:
        return "finished"
    said = set(word.split())
    bad = said & _EVENTS or (said & _COUNTED and said & {"error", "errors"})
    return (
        "events" if bad and said - _EVENTS - {"error", "errors"} <= _OF_EVENTS else None
    )


def flagged(name: str, cells: pd.Series) -> pd.Series:
    """Returns how each run ended by a column of yes and no: an ending, or "".

    Args:
        name: The column's, of which `flag` knows something.
        cells: Its texts; "" where they are missing.

    """
    kind = flag(name)
    if kind == "events":
        return pd.Series("", index=cells.index)  # the run may have gone on
    if kind == "message":
        return cells.map(lambda text: "" if text.lower() in _NOTHING else "failed")
    if kind == "word":
        meaning = {text: _meaning(_plain(text), {}) for text in dict.fromkeys(cells)}
        ends = cells.map(meaning)
        return ends.where(ends.isin(["failed", "unfinished"]), "")
    if kind == "code":
        zero = cells.map(lambda text: text in ("0", "0.0", "0:0") or not text)
        return zero.map({True: "", False: "failed"})
    lower = cells.str.lower()
    if kind == "failed" and _texts(lower):
        # What a run failed of, in place of yes.
        return lower.map(lambda t: "failed" if t in _YES or says_failed(t) else "")
    if not lower.isin([*_YES, *_NO, ""]).all():
        return pd.Series("", index=cells.index)  # a time, a number of failures
    if kind == "failed":
        return lower.isin(_YES).map({True: "failed", False: ""})
    ending = "failed" if "succe" in name.lower() else "unfinished"
    return lower.isin(_NO).map({True: ending, False: ""})


def _texts(lower: pd.Series) -> bool:
    """Says whether cells hold words other than yes and no."""
    other = lower[~lower.isin([*_YES, *_NOTHING, *_NO])]
    return bool(len(other)) and bool(pd.to_numeric(other, errors="coerce").isna().all())


def unread(name: str, cells: pd.Series) -> pd.Series:
    """Returns the cells of a column of endings in which nothing known stands.

    Args:
        name: The column's, of which `flag` knows something.
        cells: Its texts.
    """
    lower = cells.str.lower()
    kind = flag(name)
    if kind not in ("word", "failed") or (kind == "failed" and not _texts(lower)):
        return cells[:0]
    plain = {*_NOTHING, *(() if kind == "word" else (*_YES, *_NO))}
    known = {
        text: text.lower() in plain or _meaning(_plain(text), {}) is not None
        for text in dict.fromkeys(cells)
    }
    return cells[~cells.map(known)]


def events(name: str, cells: pd.Series) -> pd.Series | None:
    """Returns in which runs something went wrong, by a column that counts it.

    Args:
        name: The column's.
        cells: Its texts.

    Returns:
        None where the column counts nothing: other than numbers stand there, or no
        more than yes and no under a name that says so.
    """
    kind = flag(name)
    if kind not in ("events", "failed"):
        return None
    told = ~cells.str.lower().isin(_NOTHING)
    numbers = pd.to_numeric(cells.where(told), errors="coerce")
    if (numbers.isna() & told).any():
        return None
    if kind == "failed" and numbers.dropna().isin([0, 1]).all():
        return None
    return numbers > 0


def counted_status(name: str, cells: pd.Series) -> pd.Series:
    """Returns a status where its column counts what went wrong; else as it is."""
    bad = events(name, cells)
    return cells if bad is None else bad.map({True: "failed", False: "finished"})


def went_on(frame: pd.DataFrame) -> list[str]:
    """Returns a sentence on runs that have a score although something went wrong.

    Args:
        frame: Runs, with a column for each that counts what went wrong, "failed", and
            numbers for scores.
    """
    notes = []
    scored = (~frame["failed"] & np.isfinite(frame["validation"])).to_numpy(bool)
    for column in [name for name in frame if name.startswith(EVENTS)]:
        bad = frame[column].eq(True).to_numpy(bool)
        # What stands there in all runs is a limit, or tells them not apart.
        if (bad & scored).any() and not bad.all():
            name = column.removeprefix(EVENTS)
            notes.append(
                f"{name} is above 0 in {int((bad & scored).sum())} of {len(frame)} runs"
                " that have a score, and they count with it. If such runs failed:"
                f" {shlex.join(['--status-column', name])}."
            )
    return notes


def says_failed(word: str) -> bool:
    """Says whether a word in place of a score tells of a failure."""
    return _meaning(_plain(word), {}) == "failed"


def _check_alike(
    frame: pd.DataFrame, failed: pd.Series, said: Mapping[str, str], place: str
) -> None:
    """Asks where one arm failed far more often, for a reason that may be none of its own.

    Whether a run that was killed counts as the worst or not at all then decides.
    """
    words = frame["status"].map(_plain)
    foreign = failed & ~words.isin([*said, *_DIVERGED])
    share = foreign.groupby(frame["arm"]).mean()
    if len(share) < 2 or share.max() - share.min() <= _UNLIKE or foreign.sum() < 2:
        return
    arm = share.idxmax()
    word = frame.loc[(foreign & (frame["arm"] == arm)).to_numpy(), "status"].mode()[0]
    raise RecordsError(
        "arms whose runs failed unequally often are compared by what was declared",
        f"{place}: {word!r} of {int((foreign & (frame['arm'] == arm)).sum())} runs of"
        f" {arm}, and of {100 * share.min():.2g}% of another arm's",
        "If they failed by what was tried, they count as the worst: "
        + shlex.quote(f"--status={word}=failed")
        + "; if for a reason outside, they are left out: "
        + shlex.quote(f"--status={word}=unfinished")
        + ".",
    )


def _plain(status: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", status.lower()))


def _meaning(word: str, said: Mapping[str, str]) -> str | None:
    """Returns what a status means; None where no list has it, or two have."""
    if word in said:
        return said[word]
    lists = (("finished", _FINISHED), ("failed", _FAILED), ("unfinished", _UNFINISHED))
    for ending, known in lists:
        if word in known:
            return ending
    # A sentence, such as "CUDA out of memory": what it speaks of, if that is one thing.
    if set(word.split()) & _NEGATIONS:
        return None
    spoken = [
        ending
        for ending, known in lists
        if any(re.search(rf"\b{re.escape(each)}\b", word) for each in known)
    ]
    return spoken[0] if len(spoken) == 1 else None


def check_stand_ins(
    frame: pd.DataFrame, lower_is_better: bool, failed: str | None
) -> tuple[pd.DataFrame, list[str]]:
    """Asks about scores that may stand for a failure: a loss of exactly 0, a -1, a 9999.

    Such a number is one only where all other scores lie far from it.

    Args:
        frame: Runs with numbers for scores, and "failed".
        lower_is_better: The direction of the scores.
        failed: The scores that failed runs have, as the user says, with commas between
            them; "none": no other score stands for a failure; None: nobody said.

    Raises:
        RecordsError: There is such a score, and nobody said what it is.
    """
    notes = []
    told, known_all = _failed_scores(failed)
    for value in told:
        stands = (frame["validation"] == value) & ~frame["failed"]
        if not stands.any():
            raise RecordsError(
                "--failed-score is a score of some run", f"{value:g}: none"
            )
        frame = frame.assign(failed=frame["failed"] | stands)
        notes.append(
            f"Counted as failed, at the worst score: {int(stands.sum())} of"
            f" {len(frame)} runs with the score {value:g}."
        )
    for role in ("validation", "test"):
        if role in frame:
            frame[role] = frame[role].where(~frame["failed"])
    own = frame[~frame["failed"].to_numpy()]
    for role in [r for r in ("validation", "test") if r in frame and not known_all]:
        known = own[role].dropna()
        odd = known.map(_round_number)
        for value in sorted(set(known[odd])):
            others = known[~odd]
            if len(others) < _FEW or (known == value).mean() > 0.5:
                continue
            if _far(value, others.to_numpy(np.float64), lower_is_better):
                row = own[(own[role] == value).to_numpy()].iloc[0]
                given = "".join(f"{each:g}," for each in told)
                raise RecordsError(
                    "a score is a score, and no sign of a run that failed",
                    f"{row['source']}, row {row['row']}, {role}: {value:g}, far from"
                    " all others",
                    f"If such runs failed: --failed-score={given}{value:g}; if it is"
                    f" their score: --failed-score={given}none.",
                )
    return frame, notes


def _failed_scores(failed: str | None) -> tuple[list[float], bool]:
    """Returns the numbers of an option, and whether it says that there are no others."""
    if failed is None:
        return [], False
    texts = [text.strip() for text in failed.split(",")]
    try:
        return [float(text) for text in texts if text != "none"], "none" in texts
    except ValueError:
        raise RecordsError(
            "--failed-score has numbers with commas between them, or none", repr(failed)
        ) from None


def _round_number(value: float) -> bool:
    """Says whether a program may write a number in place of a score."""
    size = abs(value)
    return (
        value in _STAND_INS
        or (size >= 9 and bool(re.fullmatch(r"9+(\.9+)?", f"{size:.12g}")))
        or (size >= 1000 and np.log10(size) == round(np.log10(size)))
        or size > 1e30
    )


def _far(value: float, others: np.ndarray, lower_is_better: bool) -> bool:
    """Says whether a number lies off the others, by a fourth of their whole range.

    A 0 that is the worst score there is, an accuracy's, counts as far only where the
    others keep further away: a run that learned nothing has it by right.
    """
    distance = float(np.abs(others - value).min())
    spread = float(np.ptp(others))
    best = value < others.min() if lower_is_better else value > others.max()
    return distance > (_NEAR if best else 2) * spread and distance > 0
