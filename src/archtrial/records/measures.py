"""What the name of a score says: what it measures, in which direction, in which unit.

Two lists, of measures of which a lower value is better and of those of which a higher
one is. A name in neither list says nothing, and one that holds words of both, or a word
that turns a measure into something else, says nothing either: then whoever reads the
table is asked, and nobody guesses.

    >>> measure("val_top1_err").lower_is_better
    True
    >>> measure("neg_mean_squared_error").lower_is_better
    False
    >>> measure("val_zeta").lower_is_better is None
    True
"""

import dataclasses
import re
from collections.abc import Sequence

__all__ = [
    "TEST",
    "TRAIN",
    "VALIDATION",
    "Measure",
    "canonical",
    "measure",
    "measures",
    "words",
]

VALIDATION = {"val", "valid", "validation", "dev", "eval"}
TEST = {"test", "holdout"}
TRAIN = {"train", "training"}


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
    """Whether it is one where all values lie between 0 and 1: a word error rate, which
    may also be more than 1."""
    percent: bool = False
    """Whether the name says that it is given in percent."""
    reason: str = ""
    """Why the name does not say the direction, where it does not."""


# Lists, because what is missing is found by reading them. A phrase is one measure; its
# words are read together before each is read by itself.
_PHRASES = {
    "log likelihood": "likelihood", "log loss": "log_loss", "logloss": "log_loss",
    "cross entropy": "cross_entropy", "crossentropy": "cross_entropy",
    "xentropy": "cross_entropy", "xent": "cross_entropy", "bce": "cross_entropy",
    "ce": "cross_entropy", "average precision": "average_precision",
    "r 2": "r2", "r squared": "r2", "rsquared": "r2", "r2 score": "r2",
    "explained variance": "explained_variance", "exact match": "exact_match",
    "win rate": "winrate", "hit rate": "hits", "hit ratio": "hits",
    "success rate": "success", "failure rate": "failures", "failure": "failures",
    "miss rate": "fnr", "false positive": "fpr", "false negative": "fnr",
    "false alarm": "fpr", "false discovery": "fpr", "false acceptance": "fpr",
    "false rejection": "fnr", "true positive": "tpr", "true negative": "tnr",
    "inception score": "inception", "panoptic quality": "panoptic",
    "structural similarity": "ssim", "abs rel": "absrel", "sq rel": "sqrel",
    "rel l2": "relative_error", "relative l2": "relative_error",
    "relative error": "relative_error", "relative absolute error": "relative_error",
    "relative squared error": "relative_error", "rel error": "relative_error",
    "rel err": "relative_error", "relative err": "relative_error",
    "bits per byte": "bpb", "bits per character": "bpc", "bits per char": "bpc",
    "bits per dim": "bpd", "bits per dimension": "bpd", "bits per token": "bpb",
    "kl div": "kl", "kl divergence": "kl", "earth mover": "emd",
    "energy distance": "distance", "energy score": "energy_score",
    "interval score": "interval_score", "skill score": "skill",
    "mutual information": "nmi", "rand index": "ari", "c index": "cindex",
    "concordance index": "cindex", "v measure": "vmeasure", "f measure": "f1",
    "f score": "f1", "fscore": "f1", "fbeta": "f1", "f beta": "f1", "f 1": "f1",
    "f 2": "f1", "episode return": "return", "r at": "recall", "p at": "precision",
    "pass at": "success", "execution time": "latency", "response time": "latency",
    "inference time": "latency", "time to solution": "latency",
}  # fmt: skip
_SYNONYMS = {
    "acc": "accuracy", "accuracies": "accuracy", "accs": "accuracy", "bacc": "accuracy",
    "losses": "loss", "errors": "error", "err": "error", "errs": "error",
    "ppl": "perplexity", "perp": "perplexity", "auc": "auroc", "roc": "auroc",
    "rocauc": "auroc", "prec": "precision", "rec": "recall", "ap": "average_precision",
    "loglikelihood": "likelihood", "loglik": "likelihood", "rewards": "reward",
    "returns": "return", "corr": "correlation", "distances": "distance",
    "dist": "distance", "prauc": "auprc", "aupr": "auprc", "sens": "sensitivity",
    "spec": "specificity", "precisions": "precision", "recalls": "recall",
    "hit": "hits", "misclassified": "misclassification", "matthews": "mcc",
    "bleurt": "bleu", "logprob": "likelihood", "logloss": "log_loss",
    "wers": "wer", "cers": "cer",
}  # fmt: skip
# Shares by definition, of which a higher one is better.
_FRACTIONS = {
    "accuracy", "f1", "auroc", "auprc", "average_precision", "precision", "recall",
    "sensitivity", "specificity", "iou", "miou", "jaccard", "dice", "dsc", "map", "mrr",
    "ndcg", "hits", "tpr", "tnr", "npv", "ppv", "pck", "winrate", "exact_match",
    "success", "gmean", "purity", "agreement", "panoptic",
}  # fmt: skip
_HIGHER = _FRACTIONS | {
    "r2", "explained_variance", "bleu", "sacrebleu", "chrf", "rouge", "rougel",
    "rougelsum", "meteor", "cider", "spice", "bertscore", "comet", "psnr", "ssim",
    "msssim", "inception", "reward", "return", "kappa", "qwk", "mcc", "pearson",
    "spearman", "kendall", "correlation", "ccc", "pcc", "srcc", "plcc", "nse", "kge",
    "cindex", "concordance", "elo", "likelihood", "elbo", "mos", "pesq", "stoi", "sdr",
    "sisdr", "sisnr", "snr", "silhouette", "nmi", "ari", "ami", "vmeasure",
    "homogeneity", "completeness", "throughput", "hota", "mota", "idf1",
    "skill", "profit", "sharpe",
}  # fmt: skip
# Shares by definition, of which a lower one is better.
_LOWER_FRACTIONS = {
    "fpr",
    "fnr",
    "fpr95",
    "eer",
    "hter",
    "misclassification",
    "failures",
}
# Errors per word may be more than one.
_RATES = {"wer", "cer", "ter", "der", "mer", "ser"}
_LOWER = (
    _LOWER_FRACTIONS
    | _RATES
    | {
        "loss", "log_loss", "cross_entropy", "error", "rmse", "mae", "mse", "msle",
        "rmsle", "mape", "smape", "wmape", "wape", "mase", "rmsse", "nrmse", "nmse",
        "mdae", "medae", "mdape", "mad", "mre", "rse", "rae", "rrse", "owa", "msis",
        "perplexity", "nll", "nlpd", "nelbo", "bpc", "bpb", "bpd", "bpp", "bits", "nats",
        "fid", "kid", "fvd", "fad", "regret", "crps", "brier", "ece", "mce", "epe",
        "latency", "lpips", "mpjpe", "ade", "fde", "hausdorff", "hd95", "assd",
        "chamfer", "emd", "wasserstein", "pinball", "deviance", "kl", "kld",
        "divergence", "distance", "aer", "absrel", "sqrel", "silog", "hamming",
        "residual", "residuals", "discrepancy", "mmd", "violation", "violations", "aic",
        "bic", "hinge", "huber", "distortion", "mcd", "sad", "relative_error",
        "energy_score", "interval_score", "winkler", "toxicity", "hallucination", "l1",
        "aurc", "misses", "mistakes",
    }
)  # fmt: skip
# Losses that are one minus a gain, and named so by everybody.
_LOSSES_OF_GAINS = {
    "dice", "iou", "jaccard", "ssim", "msssim", "f1", "likelihood", "correlation", "ccc",
    "map", "concordance",
}  # fmt: skip
# A score by one of k labels; "top1_error" is an error.
_OF_LABELS = {"top"}
# Words after which a higher measure is a lower one, and the other way round.
_NEGATED = {"neg", "negative", "minus", "negated", "negation"}
# Words after which nobody can say: of "loss_reduction" a higher one may be better, of
# "inverse_rmse" depth estimation and an optimiser mean opposite things.
_CHANGED = {
    "gap", "drop", "reduction", "improvement", "improvements", "gain", "gains", "delta",
    "diff", "difference", "differences", "ratio", "inverse", "inv", "inverted",
    "reciprocal", "complement", "decrease", "increase", "decline", "degradation",
    "deterioration", "change", "changes", "saved", "saving", "savings", "lift",
    "uplift", "speedup", "excess", "forgetting", "deficit", "attack", "adversary",
    "rank", "ranking", "position", "percentile", "margin", "slope", "flipped",
    "reversed", "lost", "penalty", "weight", "coefficient", "coef", "threshold", "vs",
    "versus", "over",
}  # fmt: skip
# Words of a spread, a bound or a count: no score of a run at all.
_SPREAD = {
    "std", "stdev", "stddev", "sd", "var", "variance", "stderr", "se", "sem", "ci",
    "lower", "upper", "low", "high", "count", "cov", "iqr", "range", "bar",
    "confidence", "uncertainty",
}  # fmt: skip
_PERCENT = {"percent", "percents", "pct", "perc", "percentage"}
# Words that say where, when or how a score was taken, not what it measures.
_ABOUT = {
    "metrics", "metric", "summary", "final", "last", "best", "max", "min", "mean",
    "average", "avg", "median", "learning", "curve", "curves", "history", "user",
    "attrs", "epoch", "epochs", "value", "values", "set", "score", "scores", "at",
    "result", "results", "objective", "ema", "smoothed", "step", "end", "overall",
    "total", "split", "fold", "cv", "objectives", "target", "monitor", "monitored",
}  # fmt: skip
_JOINED = re.compile(
    r"^(val|valid|validation|dev|eval|test|train)"
    r"(acc|accuracy|loss|err|error|f1|auc|auroc|ppl|perplexity|rmse|mae|mse|nll|score)$"
)
_ONE_MINUS = re.compile(
    r"(?:^|(?<![a-z0-9@])(?<!top[ _-])(?<!hits[ _-])(?<!rouge[ _-])(?<!bleu[ _-]))"
    r"1\s*[-\u2212]\s*(?=[a-z(])",
    re.I,
)


def words(name: str) -> list[str]:
    """Returns the words of a column's name, in small letters."""
    name = re.sub(r"\[[^\]]*\]", " ", name)
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    found: list[str] = []
    for word in re.findall(r"r2|f1|[a-z]+|[0-9]+", name.lower()):
        joined = _JOINED.match(word)
        found += joined.groups() if joined else [word]
    return found


def canonical(said: Sequence[str]) -> list[str]:
    """Returns words with phrases and synonyms as the one word that the lists have."""
    found: list[str] = []
    at = 0
    while at < len(said):
        for length in (3, 2, 1):
            phrase = " ".join(said[at : at + length])
            if phrase in _PHRASES and at + length <= len(said):
                found.append(_PHRASES[phrase])
                at += length
                break
        else:
            found.append(_SYNONYMS.get(said[at], said[at]))
            at += 1
    return found


def measures(name: str) -> bool:
    """Says whether a name tells what is measured, in whatever direction."""
    said = set(canonical(words(name)))
    return bool(said & (_HIGHER | _LOWER | _OF_LABELS))


def spread(name: str) -> bool:
    """Says whether a name is that of a spread, a bound, a rank or a count of scores."""
    return bool((_SPREAD | {"rank"}) & set(words(name)))


def measure(name: str) -> Measure:
    """Returns what a score's name says: what it measures and in which direction."""
    # Of a path, what comes last says what it is.
    last = re.split(r"[.\]]", name)[-1] if "[" in name else name
    last = last if words(last) else name
    spelled = [w for w in words(last) if w not in VALIDATION | TEST | TRAIN]
    percent = bool(_PERCENT & set(spelled) or "%" in last) and not (
        {"error", "err"} & set(spelled) and {"absolute", "abs", "mean"} & set(spelled)
    )
    spelled = [w for w in spelled if w not in _PERCENT or w == "percentage"]
    telling = [
        word
        for place, word in enumerate(spelled)
        if word not in _ABOUT or spelled[place : place + 2] == ["average", "precision"]
    ]
    said = canonical(telling)
    named = [_SYNONYMS.get(word, word) for word in telling]
    bare = "_".join(dict.fromkeys(named))
    lower, reason = _direction(said, spelled, last)
    highest = {word for word in said if word in _FRACTIONS | _OF_LABELS}
    complement = _complement(last)
    negated = bool(_NEGATED & set(said)) and not complement
    share = bool(highest) and (lower is False or complement)
    counted = lower is True and _share_of_errors(said)
    fraction = not negated and lower is not None and (share or counted)
    return Measure(
        name=bare or "score",
        lower_is_better=lower,
        fraction=fraction,
        rate=lower is True and not negated and bool(_RATES & set(said)),
        percent=percent,
        reason=reason,
    )


def _share_of_errors(said: Sequence[str]) -> bool:
    """Says whether errors are counted: a plain "error" may be of any size."""
    counted = {"rate", "top", "classification", "class"} & set(said)
    return bool(_LOWER_FRACTIONS & set(said)) or ("error" in said and bool(counted))


def _complement(name: str) -> bool:
    """Says whether a name is written as one minus a share."""
    return bool(_ONE_MINUS.search(name)) or bool(
        re.search(r"(?:^|[^a-z])(?:one|1)[ _-]*minus[ _-]", name.lower())
    )


def _direction(
    said: Sequence[str], spelled: Sequence[str], name: str
) -> tuple[bool | None, str]:
    """Returns whether lower is better, None where the words do not settle it, and why."""
    found = set(said)
    lowers = found & _LOWER
    highers = found & (_HIGHER | _OF_LABELS)
    if spread(name) and not {"explained_variance"} & found:
        return None, "it speaks of a spread, a rank or a bound"
    changed = _CHANGED & found
    if changed:
        return None, f"{sorted(changed)[0]!r} may turn it round"
    if not lowers and not highers:
        # By the convention of all libraries, a score that is nothing else is a gain.
        if {"score", "scores"} & set(spelled) and not found - _NEGATED - {"macro"}:
            return bool(_NEGATED & found), ""
        return None, ""
    if lowers:
        highers -= _OF_LABELS
    if (
        lowers
        and highers
        and not (
            said[-1] == "loss" and lowers == {"loss"} and highers <= _LOSSES_OF_GAINS
        )
    ):
        one, other = sorted(highers)[0], sorted(lowers)[0]
        return None, f"{one!r} and {other!r} contradict each other"
    lower = bool(lowers)
    times = sum(word in _NEGATED for word in said)
    if name.lstrip().startswith(("-", "\u2212")):
        times += 1
    if _complement(name):
        times += "minus" not in said
    elif re.match(r"^[^a-z0-9]*1[^a-z0-9]*[a-z]", " ".join(spelled)) and not lowers:
        return None, "'1' may stand for one minus it"
    return (not lower if times % 2 else lower), ""
