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

__all__ = [
    "NONE",
    "ROW",
    "SOURCE",
    "Columns",
    "Measure",
    "Wanted",
    "counting",
    "cross_validated",
    "find",
    "known",
    "measure",
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
    others: tuple[str, ...]
    """Other validation scores that were there to choose from."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """What the name of a score says of it."""

    name: str
    """In the words of `metrics` where it has them; "score" where nothing is said."""
    lower_is_better: bool | None
    """None where the name does not say."""
    fraction: bool
    """Whether it is one by definition, such as an accuracy."""
    rate: bool
    """Whether it is one where all values lie between 0 and 1, such as an error."""


# Words of a column's name. Lists, because what is missing is found by reading them.
_VALIDATION = {"val", "valid", "validation", "dev", "eval"}
_TEST = {"test", "holdout"}
_TRAIN = {"train", "training"}
_SYNONYMS = {
    "acc": "accuracy", "accuracies": "accuracy", "losses": "loss", "errors": "error",
    "err": "error", "errs": "error", "ppl": "perplexity", "logloss": "log_loss",
    "auc": "auroc", "roc": "auroc", "mean_squared": "mse", "bits_per_byte": "bpb",
    "cross_entropy": "loss", "crossentropy": "loss", "ce": "loss", "xentropy": "loss",
}  # fmt: skip
# What is known of scores, and nothing else is: a name in neither list is a question.
_FRACTIONS = {
    "accuracy", "f1", "fbeta", "auroc", "auprc", "aupr", "precision", "recall",
    "sensitivity", "specificity", "iou", "miou", "jaccard", "dice", "map", "top", "mrr",
    "ndcg", "hit", "hits", "tpr", "tnr", "pck", "winrate", "exact",
}  # fmt: skip
_RATES = {"error", "err", "wer", "cer", "eer", "fpr", "fnr", "misclassification"}
_LOWER = _RATES | {
    "loss", "log_loss", "rmse", "mae", "mse", "msle", "rmsle", "mape", "smape", "wmape",
    "mase", "rmsse", "nrmse", "mdae", "medae", "mad", "perplexity", "perp", "nll",
    "nlpd", "mer", "ter", "der", "bpc", "bpb", "bpd", "bits", "fid", "kid", "regret",
    "crps", "brier", "ece", "mce", "epe", "latency", "lpips", "mpjpe", "ade", "fde",
    "hausdorff", "hd95", "assd", "chamfer", "emd", "wasserstein", "pinball", "quantile",
    "deviance", "crossentropy", "xent", "bce", "kl", "kld", "divergence", "distance",
    "dist", "fpr95", "aer", "absrel", "sqrel", "silog", "hamming", "residual",
    "discrepancy", "mmd", "violation", "aic", "bic",
}  # fmt: skip
_HIGHER = _FRACTIONS | {
    "r2", "rsquared", "bleu", "sacrebleu", "chrf", "rouge", "rougel", "meteor", "cider",
    "spice", "psnr", "ssim", "msssim", "reward", "return", "returns", "kappa", "qwk",
    "mcc", "matthews", "pearson", "spearman", "kendall", "corr", "correlation", "ccc",
    "nse", "kge", "cindex", "concordance", "elo", "likelihood", "loglikelihood",
    "loglik", "elbo", "success", "mos", "pesq", "stoi", "sdr", "sisdr", "snr",
    "silhouette", "nmi", "ari", "ami", "purity", "agreement",
}  # fmt: skip
# Words after which a score may mean its opposite or something else: of "neg_mse" a
# higher one is better, of "loss_reduction" and "accuracy_gap" nobody can say.
_NEGATED = {"neg", "negative", "minus", "negated"}
_CHANGED = {
    "gap", "drop", "reduction", "improvement", "gain", "delta", "diff", "difference",
    "ratio", "relative", "inverse", "inv", "reciprocal", "complement", "decrease",
    "increase", "degradation", "change", "saved", "saving",
}  # fmt: skip
# Words that say where or when a score was taken, not what it measures.
_ABOUT = {
    "metrics", "metric", "summary", "final", "last", "best", "max", "min", "mean",
    "average", "avg", "learning", "curve", "curves", "history", "user", "attrs",
    "epoch", "value", "values", "set", "score", "at",
}  # fmt: skip
# Columns that a tracker keeps for itself, or that tell when, where and by whom.
_BOOKKEEPING = {
    "time", "times", "date", "datetime", "timestamp", "created", "start", "started",
    "end", "ended", "duration", "runtime", "seconds", "stamp", "user", "notes", "note",
    "tags", "host", "hostname", "git", "commit", "sha", "path", "dir", "url", "uri",
    "uid", "uuid", "group", "sweep", "project", "entity", "description", "comment",
    "experiment", "id", "name", "version", "memory", "index", "artifact", "unnamed",
    "nan", "datetime_start", "datetime_complete", "seed", "iteration", "number",
    "updated", "agent", "job", "wandb", "timestamps", "finished", "completed", "elapsed",
    "wall", "walltime", "clock", "msec", "ms", "hours", "minutes",
}  # fmt: skip
# Words, or two words, of what a run is observed to do; nobody tunes them.
_OBSERVED = {
    "best", "peak", "throughput", "gpu", "cuda", "vram", "ram", "mfu", "util",
    "utilization", "utilisation", "std", "stderr", "sem", "rank", "params", "flops",
    "macs", "gflops", "converged", "stopped",
}  # fmt: skip
_OBSERVED_PAIRS = (
    {"grad", "norm"}, {"gradient", "norm"}, {"per", "sec"}, {"per", "second"},
    {"epochs", "run"}, {"epochs", "trained"}, {"steps", "run"}, {"tokens", "seen"},
    {"samples", "seen"}, {"n", "parameters"}, {"num", "parameters"}, {"fit", "time"},
)  # fmt: skip
_CLIPPING = {"clip", "max", "clipping"}
# Words of what is tuned: such a column is no measurement, however it falls.
_TUNED = {
    "lr", "learning", "rate", "weight", "decay", "wd", "dropout", "momentum", "batch",
    "bs", "width", "depth", "hidden", "layers", "heads", "beta", "beta1", "beta2",
    "alpha", "gamma", "lambda", "epsilon", "eps", "warmup", "temperature", "smoothing",
    "l1", "l2", "kernel", "filters", "channels", "units", "dim", "embed", "optimizer",
    "scheduler", "schedule", "activation", "augmentation", "mixup", "cutmix", "patience",
    "tau", "sigma", "scale", "regularization", "penalty", "estimators", "leaves",
}  # fmt: skip
_COUNTERS = {
    "index", "idx", "row", "rows", "no", "nr", "num", "number", "id", "trial", "run",
    "unnamed", "level", "exp", "experiment", "count", "counter", "i", "n", "line",
}  # fmt: skip
_SKLEARN = re.compile(r"^(mean|std|rank|split\d+)_(test|train)_|^(mean|std)_(fit|score)_time$")
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
    "status": ("status", "state", "run_status"),
    "data": (
        "dataset", "data", "dataset_name", "task", "task_name", "problem",
        "testproblem", "test_problem", "workload", "benchmark",
    ),
    "metric": ("metric", "metric_name"),
    "tuner": ("tuner", "sampler", "search_algorithm", "search_alg"),
}  # fmt: skip


def words(name: str) -> list[str]:
    """Returns the words of a column's name, in small letters."""
    name = re.sub(r"\[[^\]]*\]", " ", name)
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"r2|f1|[a-z]+|[0-9]+", name.lower())


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


def measure(name: str) -> Measure:
    """Returns what a score's name says: what it measures and in which direction.

        >>> measure("val_top1_err").lower_is_better
        True
        >>> measure("neg_mean_squared_error").lower_is_better
        False
        >>> measure("val_zeta").lower_is_better is None
        True
    """
    # Of a path, what comes last says what it is.
    last = re.split(r"[.\]]", name)[-1] if "[" in name else name
    spelled = [
        word
        for word in words(last) or words(name)
        if word not in _VALIDATION | _TEST | _TRAIN
    ]
    said = [
        _SYNONYMS.get(word, word) for word in spelled if word not in _ABOUT | {"log"}
    ]
    bare = "_".join(
        _SYNONYMS.get(word, word) for word in spelled if word not in _ABOUT
    )
    bare = _SYNONYMS.get(bare, bare)
    if bare in _LOWER | _HIGHER:
        said = [bare]
    lower = _direction(said, spelled)
    fractions = any(word in _FRACTIONS for word in said) and lower is False
    if fractions and set(said) & _NEGATED:
        fractions = False
    return Measure(
        name=bare or "score",
        lower_is_better=lower,
        fraction=fractions,
        rate=lower is True and bool(said) and said[-1] in _RATES,
    )


def _direction(said: Sequence[str], spelled: Sequence[str]) -> bool | None:
    """Returns whether lower is better; None where the words do not settle it."""
    lowers = [i for i, word in enumerate(said) if word in _LOWER]
    highers = [i for i, word in enumerate(said) if word in _HIGHER]
    if _CHANGED & set(said) or "1" in said[:1]:
        return None
    if not lowers and not highers:
        # By the convention of all libraries, a score that is nothing else is a gain.
        return False if "score" in spelled and not said else None
    if lowers and highers and max(lowers) < max(highers):
        return None  # "loss_accuracy"; of "dice_loss" the last word says it
    lower = bool(lowers)
    if _NEGATED & set(said):
        # "negative log likelihood" is a loss; so is any other negated gain.
        return not lower
    return lower


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
    if wanted.hyperparameters is None:
        hyperparameters = _hyperparameters([n for n in names if n not in taken])
    else:
        # Arms may have hyperparameters of their own: in any source is enough.
        hyperparameters = tuple(
            n if n not in elsewhere else ""
            for n in wanted.hyperparameters
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
        others=others,
    )


def cross_validated(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the scores of scikit-learn's `cv_results_`; none if it is not one."""
    found = tuple(n for n in names if n.startswith("mean_test_"))
    ranked = any(n.startswith(("rank_test_", "split0_test_")) for n in names)
    return found if ranked else ()


def tuned(name: str) -> bool:
    """Says whether a name is of what people tune."""
    return bool(_PREFIX.match(name) or _TUNED & set(words(name)))


def counting(name: str) -> bool:
    """Says whether a name is one of a counter of rows, or of nothing."""
    said = set(words(name))
    return not said - _COUNTERS or name.strip() in ("", "#")


def _observed(name: str) -> bool:
    said = set(words(name))
    return bool(_OBSERVED & said) or any(
        pair <= said and not _CLIPPING & said for pair in _OBSERVED_PAIRS
    )


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
        if _VALIDATION & set(words(name))
        and not (_TRAIN | _TEST) & set(words(name))
        and (not _BOOKKEEPING & set(words(name)) or _measures(name))
    ]
    if not candidates:  # what Optuna and scikit-learn call theirs
        candidates = [
            name for name in names if name == "value" or name.startswith("mean_test_")
        ]
    if not candidates:
        scores = [
            name
            for name in names
            if _names_a_score(name)
            and not (_TRAIN | _BOOKKEEPING | {"std", "rank"}) & set(words(name))
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
    # The score at the end is what a user of the model gets.
    return kind, 1 if "best" in said else 2 if said & {"max", "min", "mean"} else 0


def _partner(validation: str, names: Sequence[str]) -> str | None:
    """Returns the test score of the same metric, taken in the same way."""

    def essence(name: str, part: set[str]) -> list[str]:
        return sorted(
            _SYNONYMS.get(word, word) for word in words(name) if word not in part
        )

    tests = [
        name
        for name in names
        if _TEST & set(words(name))
        and not (_TRAIN | _VALIDATION) & set(words(name))
        and name != validation
    ]
    same = essence(validation, _VALIDATION)
    for name in tests:
        if essence(name, _TEST) == same:
            return name
    if _TEST & set(words(validation)):
        return None  # the best was picked by it
    if measure(validation).name == "score":
        # The name says nothing of the metric: what the only test score measures.
        plain = [name for name in tests if measure(name).name == "score"] or [
            name for name in tests if _measures(name)
        ]
        return plain[0] if len(plain) == 1 else None
    return None


def _measures(name: str) -> bool:
    """Says whether a name tells what is measured."""
    said = {_SYNONYMS.get(word, word) for word in words(name)}
    return bool(said & (_FRACTIONS | _LOWER | _HIGHER))


def _names_a_score(name: str) -> bool:
    """Says whether a column holds a score; "validation_split" would be none."""
    said = set(words(name))
    parts = _VALIDATION | _TEST | _TRAIN
    if _SKLEARN.match(name):
        return True
    return (
        _measures(name)
        or (bool(said & parts) and len(said) == 1)
        or ("score" in said and not tuned(name))
    )


def _hyperparameters(names: Sequence[str]) -> tuple[str, ...]:
    marked = tuple(name for name in names if _PREFIX.match(name))
    if marked:
        return marked
    return tuple(
        name
        for name in names
        if "[" not in name
        and not name.startswith("_")
        and not _names_a_score(name)
        and not _BOOKKEEPING & set(words(name))
        and not _observed(name)
    )


def _listed(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
