"""What the columns of somebody else's table mean: found by name, or as the user says.

A name is read by its words: `val_acc`, `metrics.validation/accuracy` and `Valid
Accuracy` are the same column to whoever reads the table, and so they are here. What
is not certain is refused with the candidates, never guessed silently.

    >>> words("metrics.val_acc")
    ['metrics', 'val', 'acc']
    >>> measure("learning_curve[-1].top_1").name
    'top_1'
    >>> find(["model", "lr", "val_acc", "test_acc"], Wanted()).roles["test"]
    'test_acc'
"""

import dataclasses
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

from archtrial.errors import RecordsError
from archtrial.records.endings import flag
from archtrial.records.measures import (
    TEST,
    TRAIN,
    VALIDATION,
    Measure,
    canonical,
    measure,
    measures,
    spread,
    words,
)

__all__ = [
    "NONE",
    "ROW",
    "SOURCE",
    "Columns",
    "Measure",
    "Wanted",
    "chosen",
    "counting",
    "cross_validated",
    "find",
    "known",
    "measure",
    "names_a_score",
    "never_seen",
    "of_training",
    "searched",
    "short",
    "tuned",
    "words",
]

NONE = "none"
"""What a user writes for a column that shall not be used, though one is found."""
ROW, SOURCE = "row", "source"
"""Columns that every table has: the row's number, and which source it came from."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which column is what, as far as the user says; None: found by its usual name.

    Every one is the name of a column, or a path into a nested value such as
    `learning_curve[-1].top_1`.
    """

    arm: str | None = None
    validation: str | None = None
    test: str | None = None
    test_examples: str | None = None
    """A list in each row: the score of each example of the test set."""
    seed: str | None = None
    configuration: str | None = None
    pair: str | None = None
    """Equal values in two arms: the same draw of the hyperparameters they share."""
    run: str | None = None
    """Tells runs apart where a run has several rows."""
    step: str | None = None
    cost: str | None = None
    """What a run cost, in any unit that all arms share."""
    repeat: str | None = None
    """Which whole repeat of an adaptive tuner a run belongs to."""
    status: str | None = None
    """How a run ended."""
    hyperparameters: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Columns:
    """What was found of a table."""

    roles: Mapping[str, str]
    """From a role to its column: a field of `Wanted`, or "status", "tuner",
    "parameters", "data" (what was learned) or "metric" (of a table in long form)."""
    named: frozenset[str]
    """The roles that the user named."""
    hyperparameters: tuple[str, ...]
    """Columns that may be hyperparameters, by their names alone."""
    unused: tuple[str, ...]
    flags: tuple[str, ...]
    """Columns that say in yes and no, or by an exit code, whether a run failed."""
    others: tuple[str, ...]
    """Other validation scores that were there to choose from."""


# Columns that a tracker keeps for itself, or that tell when, where and by whom.
_BOOKKEEPING = {
    "time", "times", "date", "datetime", "timestamp", "created", "start", "started",
    "end", "ended", "duration", "runtime", "seconds", "stamp", "user", "notes", "note",
    "tags", "host", "hostname", "git", "commit", "sha", "path", "dir", "url", "uri",
    "uid", "uuid", "group", "sweep", "project", "entity", "description", "comment",
    "experiment", "id", "name", "version", "memory", "index", "artifact", "unnamed",
    "nan", "datetime_start", "datetime_complete", "seed", "iteration", "number",
    "updated", "agent", "job", "wandb", "timestamps", "finished", "completed",
}  # fmt: skip
# Words of a clock: what took how long. Nobody tunes it, but for a warm-up.
_CLOCK = {
    "time", "times", "seconds", "secs", "sec", "duration", "runtime", "elapsed", "wall",
    "walltime", "clock", "msec", "ms", "hours", "minutes", "timestamp", "datetime",
    "date", "eta", "uptime",
}  # fmt: skip
_NO_CLOCK = {"warmup", "embed", "embedding", "dim", "horizon", "step", "steps", "mask"}
# Words, or two words, of what a run is observed to do; nobody tunes them.
_OBSERVED = {
    "throughput", "gpu", "gpus", "cuda", "vram", "ram", "mfu", "util", "utilization",
    "utilisation", "stderr", "sem", "params", "flops", "macs", "gflops", "converged",
    "stopped", "mem", "memory", "watts", "joules", "power", "fps", "speed", "cpu",
    "emissions", "carbon", "energy", "crashed", "diverged",
}  # fmt: skip
# As the first word, of what was reached: "best_epoch", "peak_memory".
_REACHED = {
    "best",
    "peak",
    "final",
    "last",
    "actual",
    "achieved",
    "observed",
    "measured",
}
_OBSERVED_PAIRS = (
    {"grad", "norm"}, {"gradient", "norm"}, {"per", "sec"}, {"per", "second"},
    {"per", "s"}, {"epochs", "run"}, {"epochs", "trained"}, {"epochs", "done"},
    {"epochs", "completed"}, {"steps", "run"}, {"steps", "done"}, {"steps", "completed"},
    {"steps", "trained"}, {"tokens", "seen"}, {"samples", "seen"}, {"examples", "seen"},
    {"n", "parameters"}, {"num", "parameters"}, {"fit", "time"}, {"param", "count"},
    {"model", "size"}, {"it", "s"}, {"n", "iter"}, {"stop", "epoch"}, {"best", "epoch"},
    {"best", "step"}, {"best", "iteration"}, {"exit", "code"}, {"return", "code"},
)  # fmt: skip
_CLIPPING = {"clip", "max", "clipping"}
# Words after which a loss is no score of a run but a part of what was tuned.
_ABOUT_A_LOSS = {
    "weight", "weights", "coef", "coefficient", "lambda", "scale", "smoothing", "type",
    "fn", "function", "temperature", "margin", "threshold", "penalty", "kind", "delta",
}  # fmt: skip
# Words of what is tuned: such a column is no measurement, however it falls.
_TUNED = {
    "lr", "learning", "rate", "weight", "decay", "wd", "dropout", "momentum", "batch",
    "bs", "width", "depth", "hidden", "layers", "heads", "beta", "beta1", "beta2",
    "alpha", "gamma", "lambda", "epsilon", "eps", "warmup", "temperature", "smoothing",
    "l1", "l2", "kernel", "filters", "channels", "units", "dim", "embed", "optimizer",
    "scheduler", "schedule", "activation", "augmentation", "mixup", "cutmix", "patience",
    "tau", "sigma", "scale", "regularization", "penalty", "estimators", "leaves",
}  # fmt: skip
# Of these, words that a run may also be seen to have: a temperature, a fitted scale.
_TUNED_OR_SEEN = {
    "alpha", "beta", "gamma", "epsilon", "eps", "lambda", "penalty", "scale", "sigma",
    "tau", "temperature", "weight",
}  # fmt: skip
# Further words of what people choose beforehand. They tell a level of a grid from the
# number of a repeat, and nothing else: "layers" 1 to 3, but not "rerun" 1 to 3.
_CHOSEN = {
    "layer", "nlayers", "nlayer", "block", "blocks", "stage", "stages", "stack", "stacks",
    "cell", "cells", "head", "nheads", "nhead", "expert", "experts", "hop", "hops",
    "neighbor", "neighbors", "neighbour", "neighbours", "degree", "group", "groups",
    "stride", "strides", "pool", "pooling", "pad", "padding", "expansion", "reduction",
    "bottleneck", "growth", "cardinality", "conv", "convs", "dilation", "dilations",
    "filter", "channel", "unit", "neurons", "nodes", "dims", "nhid", "dmodel",
    "embedding", "embeddings", "ffn", "ff", "mlp", "mult", "multiplier", "ratio",
    "factor", "lora", "size", "sizes", "resolution", "patch", "window", "context",
    "length", "seq", "crop", "accumulation", "accum", "epochs", "steps", "budget", "clip",
    "clipping", "ema", "bias", "norm", "normalization", "residual", "skip", "bn",
    "batchnorm", "layernorm", "nesterov", "amsgrad", "pretrained", "freeze", "frozen",
    "bidirectional", "causal", "tied", "augment", "randaugment", "magnitude", "ops",
    "opt", "optim", "adam", "sgd", "cosine", "cycles", "trees", "bins", "leaf", "child",
    "subsample", "colsample", "samples", "horizon", "envs", "lags", "lag", "knots",
    "modes", "spline", "components", "clusters", "features", "projection", "attention",
    "attn", "decoder", "encoder", "iters", "rounds", "workers",
}  # fmt: skip
# Beside a hyperparameter's own words, words that leave it one.
_BESIDE = {
    "n", "num", "number", "of", "max", "min", "init", "initial", "log", "log10", "per",
    "use", "p", "base", "peak", "model", "train", "training", "config", "args", "size",
}  # fmt: skip
# After a tracker's prefix, words of what it notes besides the hyperparameters.
_KEPT = {
    "count", "total", "millions", "path", "dir", "file", "hash", "id", "uuid", "url",
    "version", "m",
}  # fmt: skip
_COUNTERS = {
    "index", "idx", "row", "rows", "no", "nr", "num", "number", "id", "trial", "run",
    "unnamed", "level", "exp", "experiment", "count", "counter", "i", "n", "line",
}  # fmt: skip
# Words of how scores are taken: "val_split" and "eval_every" are settings.
_CONFIGURED = {
    "size", "split", "fraction", "frac", "ratio", "batch", "interval", "every", "freq",
    "frequency", "steps", "samples", "check", "percent", "folds", "bs", "workers",
    "batches", "dataset", "data", "file", "path", "patience", "seed",
}  # fmt: skip
_SKLEARN = re.compile(
    r"^(mean|std|rank|split\d+)_(test|train)_|^(mean|std)_(fit|score)_time$"
)
_PREFIX = re.compile(
    r"^(params?|configs?|hp|hparams?|hyperparameters?|hyperparams?)[./_:]", re.I
)

_USUAL: Mapping[str, tuple[str, ...]] = {
    "arm": (
        "arm", "architecture", "arch", "model", "model_name", "network", "net",
        "backbone",
    ),
    "seed": ("seed", "random_seed", "random_state", "rng_seed"),
    "configuration": ("configuration", "configuration_id", "config_id", "hparam_id"),
    "pair": ("pair", "pair_id", "draw", "draw_id"),
    "run": ("run_id", "run", "id", "trial_id", "trial", "number", "run_name", "name"),
    "step": ("step", "global_step", "epoch"),
    "cost": ("flops", "total_flops"),
    "parameters": ("parameters", "n_parameters", "num_parameters", "num_params"),
    "status": (
        "status", "state", "run_status", "run_state", "job_status", "job_state",
        "outcome", "run_outcome", "termination", "final_status", "result_status",
    ),
    "data": (
        "dataset", "data", "dataset_name", "task", "task_name", "problem",
        "testproblem", "test_problem", "workload", "benchmark",
    ),
    "metric": ("metric", "metric_name"),
    "tuner": ("tuner", "sampler", "search_algorithm", "search_alg"),
}  # fmt: skip


def short(name: str) -> str:
    """Returns a hyperparameter's name without a tracker's prefix."""
    return _PREFIX.sub("", name)


def known(name: str, names: Sequence[str], option: str, place: str) -> str:
    """Returns a column that the user named, if the table has it.

    A path has to begin with a column, and to lead to where some row has a value.

    Raises:
        RecordsError: It has not.
    """
    plain = re.sub(r"\[[^\]]*\]", "[-1]", name)
    inside = (plain + "[", plain + ".")
    if name in names or name in (ROW, SOURCE) or plain in names:
        return name
    if any(column.startswith(inside) for column in names):
        return name
    # As it is shown: without a tracker's prefix.
    given = [
        column for column in names if _PREFIX.match(column) and short(column) == name
    ]
    if len(given) == 1:
        return given[0]
    root = re.split(r"[.\[]", name)[0]
    # A cell of text may hold JSON; whether it does is seen when it is read.
    if root != name and root in names:
        return name
    near = get_close_matches(plain, names, 1, 0.5)
    raise RecordsError(
        f"{option} is a column of {place}",
        f"it has no {name!r}, but {_listed(names)}",
        f"Did you mean {near[0]!r}?" if near else "",
    )


def find(
    names: Sequence[str],
    wanted: Wanted,
    *,
    place: str = "the table",
    arm: bool = True,
    elsewhere: Collection[str] = (),
) -> Columns:
    """Returns which column is what.

    Args:
        names: All columns of a table.
        wanted: What the user named.
        place: The table, for messages.
        arm: Whether a column tells the arms apart; if not, the source is an arm.
        elsewhere: Hyperparameters that the user named and that this table lacks while
            another source has them.

    Raises:
        RecordsError: A column that was named is not there, or a score is nowhere to
            be found, or two could be meant.
    """
    roles: dict[str, str] = {}
    named = set()
    for field in dataclasses.fields(Wanted):
        value = getattr(wanted, field.name)
        if field.name == "hyperparameters" or value is None:
            continue
        named.add(field.name)
        if value != NONE:
            roles[field.name] = known(value, names, _option(field.name), place)
    taken = set(roles.values())
    for role, usual in _USUAL.items():
        if role in named or (role == "arm" and not arm):
            continue
        plain = {"_".join(words(short(n))): n for n in reversed(names)}
        found = next((plain[u] for u in usual if u in plain), None)
        if found is not None and found not in taken:
            roles[role] = found
            taken.add(found)
    others: tuple[str, ...] = ()
    # In scikit-learn's `cv_results_` the "test" folds are those that tuning saw.
    searched = cross_validated(names)
    if "validation" not in roles:
        roles["validation"], others = _validation(searched or names, place)
    if "test" not in named and not searched:
        test = _partner(roles["validation"], names)
        if test is not None:
            roles["test"] = test
    if roles.get("test") == roles["validation"]:
        raise RecordsError(
            "validation and test scores are two columns",
            f"{roles['test']} is named for both",
            "A score that picked the best is no test of it: --test none.",
        )
    taken = {re.split(r"\[", column)[0] for column in roles.values()}
    flags = (
        () if wanted.status == NONE else _flags([n for n in names if n not in taken])
    )
    if wanted.hyperparameters is None:
        hyperparameters = _hyperparameters(
            [n for n in names if n not in taken and n not in flags]
        )
    else:
        # Arms may have hyperparameters of their own: in any source is enough.
        hyperparameters = tuple(
            n if n not in elsewhere else "" for n in wanted.hyperparameters
        )
        hyperparameters = tuple(
            known(n, names, "--hyperparameters", place) for n in hyperparameters if n
        )
    return Columns(
        roles=roles,
        named=frozenset(named & roles.keys()),
        hyperparameters=hyperparameters,
        unused=tuple(
            n
            for n in names
            if n.split("[")[0] not in taken and n not in hyperparameters
        ),
        flags=flags,
        others=others,
    )


def _flags(names: Sequence[str]) -> tuple[str, ...]:
    """Returns columns whose names say that they tell failed runs."""
    return tuple(n for n in names if flag(short(n)))


def cross_validated(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the scores of scikit-learn's `cv_results_`; none if it is not one."""
    found = tuple(n for n in names if n.startswith("mean_test_"))
    ranked = any(n.startswith(("rank_test_", "split0_test_")) for n in names)
    return found if ranked else ()


def of_training(name: str) -> bool:
    """Says whether a name is of a score on what was trained on."""
    return bool(TRAIN & set(words(name))) and not VALIDATION & set(words(name))


def tuned(name: str) -> bool:
    """Says whether a name is of what people tune."""
    return bool(_PREFIX.match(name) or _TUNED & set(words(name)))


def chosen(name: str) -> bool:
    """Says whether a name is of what people choose before a run, tuned or not."""
    return tuned(name) or bool(_CHOSEN & set(words(name)))


def never_seen(name: str) -> bool:
    """Says whether a name is of what is tuned, and cannot be of what was measured.

    >>> never_seen("learning_rate_init"), never_seen("lr_end"), never_seen("tau")
    (True, False, False)
    """
    said = set(words(name)) - _BESIDE
    return said <= _TUNED and bool(said - _TUNED_OR_SEEN)


def marked(name: str) -> bool:
    """Says whether a tracker's prefix says that a column was given to a run."""
    return bool(_PREFIX.match(name))


def searched(name: str) -> bool:
    """Says whether a search lists a column as one that it varied.

    scikit-learn's `param_C` and Optuna's `params_lr`; MLflow's `params.fold` is what
    anybody noted.
    """
    return bool(re.match(r"^params?_", name))


def counting(name: str) -> bool:
    """Says whether a name is one of a counter of rows, or of nothing."""
    said = set(words(name))
    return not said - _COUNTERS or name.strip() in ("", "#")


def names_a_score(name: str) -> bool:
    """Says whether a column holds a score; "validation_split" would be none."""
    said = set(words(name))
    parts = VALIDATION | TEST | TRAIN
    if _SKLEARN.match(name):
        return True
    if _ABOUT_A_LOSS & said and not parts & said:
        return False
    return (
        measures(name)
        or (bool(said & parts) and len(said) == 1)
        or ("score" in said and not tuned(name))
    )


def _observed(name: str) -> bool:
    """Says whether a name is of what a run was seen to do."""
    listed, said = words(name), set(words(name))
    if any(pair <= said and not _CLIPPING & said for pair in _OBSERVED_PAIRS):
        return True
    if _CLOCK & said and not _NO_CLOCK & said:
        return True
    if tuned(name) or (VALIDATION | TEST) & said:
        return False
    return bool(_OBSERVED & said) or listed[:1] in [[word] for word in _REACHED]


def _kept_by_others(name: str) -> bool:
    """Says whether a name is of what a tracker keeps for itself."""
    said = set(words(name))
    return bool(_BOOKKEEPING & said) and not tuned(name)


def _option(role: str) -> str:
    return {
        "seed": "--seed-column",
        "repeat": "--repeat-column",
        "test_examples": "--test-examples",
        "status": "--status-column",
    }.get(role, f"--{role}")


def _validation(names: Sequence[str], place: str) -> tuple[str, tuple[str, ...]]:
    """Returns the column of validation scores, and others that might have been."""
    candidates = [
        name
        for name in names
        if VALIDATION & set(words(name))
        and not (TRAIN | TEST) & set(words(name))
        and not _observed(name)
        and not spread(name)
        and not (_CONFIGURED & set(words(name)) and not measures(name))
        and (not _BOOKKEEPING & set(words(name)) or measures(name))
    ]
    if not candidates:  # what Optuna and scikit-learn call theirs
        candidates = [
            name for name in names if name == "value" or name.startswith("mean_test_")
        ]
    if not candidates:
        scores = [
            name
            for name in names
            if names_a_score(name)
            and not (TRAIN | _BOOKKEEPING) & set(words(name))
            and not _observed(name)
            and not spread(name)
        ]
        raise RecordsError(
            f"{place} has a column of validation scores",
            f"none is named so among {_listed(names)}",
            (
                "Name it: "
                + " or ".join(f"--validation {shlex.quote(n)}" for n in scores[:6])
                if scores
                else "Name it: --validation COLUMN"
            )
            + ". If the best was picked by test scores, those are the validation"
            " scores here.",
        )
    rank = {name: _preference(name) for name in candidates}
    best = min(rank.values())
    first = [name for name in candidates if rank[name] == best]
    if len(first) > 1:
        raise RecordsError(
            "one column holds the validation scores",
            f"{place} has {_listed(first)}",
            "Name one: "
            + " or ".join(f"--validation {shlex.quote(n)}" for n in first[:6])
            + ".",
        )
    return first[0], tuple(name for name in candidates if name != first[0])


def _preference(name: str) -> tuple[int, int]:
    """Returns how early a score is taken: plain ones, then accuracy, losses last."""
    said, found = set(words(name)), measure(name)
    if found.name == "score":
        kind = 0 if found.lower_is_better is False else 5
    elif found.name == "accuracy":
        kind = 1
    elif found.fraction:
        kind = 2
    else:
        kind = {False: 3, True: 4, None: 5}[found.lower_is_better]
    if len(words(name)) == 1:
        return kind, -1  # "validation" before "validation_at_50"
    # The score at the end is what a user of the model gets.
    return kind, 1 if "best" in said else 2 if said & {"max", "min", "mean"} else 0


def _partner(validation: str, names: Sequence[str]) -> str | None:
    """Returns the test score of the same metric, taken in the same way."""

    def essence(name: str, part: set[str]) -> list[str]:
        return sorted(canonical([word for word in words(name) if word not in part]))

    tests = [
        name
        for name in names
        if TEST & set(words(name))
        and not (TRAIN | VALIDATION) & set(words(name))
        and name != validation
    ]
    same = essence(validation, VALIDATION)
    for name in tests:
        if essence(name, TEST) == same:
            return name
    if TEST & set(words(validation)):
        return None  # the best was picked by it
    if measure(validation).name == "score":
        # The name says nothing of the metric: what the only test score measures.
        plain = [name for name in tests if measure(name).name == "score"] or [
            name for name in tests if measures(name)
        ]
        return plain[0] if len(plain) == 1 else None
    return None


def _hyperparameters(names: Sequence[str]) -> tuple[str, ...]:
    marked = tuple(
        name
        for name in names
        if _PREFIX.match(name) and not _KEPT & set(words(short(name)))
    )
    if marked:
        return marked
    parts = VALIDATION | TEST | TRAIN
    return tuple(
        name
        for name in names
        if "[" not in name
        and not name.startswith("_")
        # A column "loss" may hold the name of what was minimised: its cells will say.
        and (
            not parts & set(words(name))
            or tuned(name)
            or (_CONFIGURED & set(words(name)) and not measures(name))
        )
        and not _kept_by_others(name)
        and not _observed(name)
    )


def _listed(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
