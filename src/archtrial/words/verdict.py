"""A trial's verdict in sentences: the headline, the numbers behind it, the warnings.

The sentence is the same in the terminal, on the page and in `verdict.json`. Its first
part is the headline, which names no arm; `headline` gives it alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archtrial.statistics.verdict import Caution, Copies
from archtrial.words import numbers
from archtrial.words.numbers import Metric, Rounded
from archtrial.words.phrases import joined

__all__ = [
    "assumed_margin",
    "beside",
    "copied",
    "digits",
    "headline",
    "overview",
    "sentence",
    "split",
    "still_learning",
    "warning",
]

_HEADLINES = {
    "architecture": "Yes, the architecture matters.",
    "tuning": "No, it is the tuning.",
    "equivalent": "No difference worth having.",
    "baseline": "No, the baseline is better.",
    "inconclusive": "Undecided.",
    "not_assessable": "No verdict.",
}
# From this ratio of sizes on, an open question may be one of size.
_OTHER_SIZE = 2


def headline(comparison: Mapping[str, Any], cause: str = "the architecture") -> str:
    """Returns the verdict in a few words.

    Args:
        comparison: One of the document's.
        cause: What the challenger has other than the baseline.
    """
    if comparison["verdict"] == "architecture":
        return f"Yes, {cause} matters."
    if comparison["verdict"] == "tuning" and _by_training(comparison):
        return "No, it is the length of training."
    return _HEADLINES[comparison["verdict"]]


def split(sentence: str) -> tuple[str, str]:
    """Returns a sentence's headline, and what follows it."""
    # A headline has one full stop, its last letter, and no name that may have another.
    first, stop, rest = sentence.partition(". ")
    return first + stop.strip(), rest


def sentence(
    comparison: Mapping[str, Any],
    *,
    metric: Metric,
    cause: str = "the architecture",
    max_multiple: float = 4.0,
    best: float | None = None,
    parameters: Mapping[str, int] | None = None,
    learning: Sequence[str] = (),
    steps: int | None = None,
) -> str:
    """Says what a comparison found.

    Args:
        comparison: One of the document's.
        metric: The metric of its scores, with the `digits` of the document.
        cause: What the challenger has other than the baseline.
        max_multiple: How much more tuning counts.
        best: What the best of all the baseline's configurations scores on fresh seeds,
            in the metric's own units.
        parameters: How many each arm's tuned configuration has, where that is known.
        learning: The arms that were still learning when their training ended.
        steps: How long it was; None where nobody knows.
    """
    said = _found(comparison, metric, cause, max_multiple, best, parameters or {})
    if not learning:
        return said
    after = f" after {steps:,} steps" if steps else ""
    return (
        f"{said} That is how they stand{after}: {joined(learning)}"
        f" {'was' if len(learning) == 1 else 'were'} still learning."
    )


def _found(
    comparison: Mapping[str, Any],
    metric: Metric,
    cause: str,
    max_multiple: float,
    best: float | None,
    parameters: Mapping[str, int],
) -> str:
    baseline, challenger = comparison["baseline"], comparison["challenger"]
    verdict, effect = comparison["verdict"], comparison["effect"]
    if effect["estimate"] is None or verdict == "not_assessable":
        reason = comparison["reason"]
        return (
            f"{_HEADLINES['not_assessable']} {challenger} and {baseline} cannot be"
            f" compared: {reason}."
        )
    within = (effect["low"], effect["high"])
    begins = headline(comparison, cause)
    after = f"After {numbers.count(comparison['effort'], 'try', 'tries')} each,"
    if verdict in ("architecture", "baseline"):
        parts = [begins, f"{after} {_leading(comparison, metric)}."]
        if verdict == "baseline":
            parts.append(f"The change of {cause.removeprefix('the ')} does harm.")
        else:
            parts += [
                _more_tuning(comparison, metric, max_multiple, best),
                _longer(comparison),
                _equal_compute(comparison, metric),
            ]
        return " ".join(part for part in parts if part)
    # A gain that more tuning makes up for is no matter of what was published.
    none_left = (
        -comparison["margin"] < effect["low"] <= effect["high"] < comparison["margin"]
    )
    near = _margin(comparison["margin"], metric)
    stands = _stands(comparison, metric)
    if verdict == "tuning" and not none_left:
        made_up = (
            f"trained {numbers.multiple(_longest_needed(comparison))} as long"
            if _by_training(comparison)
            else f"after at most {_tries(comparison, 'high')}"
        )
        return (
            f"{begins} {after} {_leading(comparison, metric)}; but {made_up}, {baseline}"
            f" comes within {near} of {challenger}."
        )
    if verdict == "tuning":
        gap = numbers.amount(
            comparison["published"]["gap"], metric, unit="percentage point"
        )
        return (
            f"{begins} The published gap of {gap} comes from tuning: {after.lower()}"
            f" {stands}, and less than {near} counts as none."
        )
    if verdict == "equivalent":
        ends = numbers.range_of(*within, metric)
        ahead = ""
        if effect["low"] > 0 or effect["high"] < 0:
            leader = challenger if effect["low"] > 0 else baseline
            ahead = f" {leader} is ahead, but by less than is worth having."
        return (
            f"{begins} {after} {challenger} and {baseline} end within {near} of each"
            f" other ({ends}).{ahead}"
        )
    looks = (
        f"{challenger} looks {_better(effect['estimate'], metric, within)};"
        f" {_anything(*within, metric)} fits these runs."
    )
    if comparison["reason"] is not None:
        return f"{begins} The answer {comparison['reason']}. {looks}"
    parts = [begins, looks, _sizes(comparison, parameters)]
    parts += [_seen(comparison, metric), _settling(comparison)]
    return " ".join(part for part in parts if part)


def digits(comparisons: Sequence[Mapping[str, Any]], metric: Metric) -> Metric:
    """Returns a metric with as many digits as the narrowest interval of a gain supports.

    All that is said of one study has them.
    """
    gains = [compared["effect"] for compared in comparisons]
    known = [
        (gain["low"], gain["high"])
        for gain in gains
        if gain["low"] is not None and gain["high"] is not None
    ]
    if not known:
        return metric
    return Rounded.by(metric, min(known, key=lambda ends: float(ends[1] - ends[0])))


def overview(comparisons: Sequence[Mapping[str, Any]], alike: bool = True) -> str:
    """Says of several challengers in one line which is what.

    Args:
        comparisons: As the document has them.
        alike: Whether all arms are trained by one recipe, so that what tuning does not
            explain is the architecture's.
    """
    baseline = comparisons[0]["baseline"]
    by = "by architecture" if alike else "beyond what tuning explains"
    saying = {
        "architecture": ("gains", "gain", f"over {baseline} {by}"),
        "tuning": ("is", "are", f"ahead of {baseline} by tuning alone"),
        "equivalent": ("is", "are", f"as good as {baseline}"),
        "baseline": ("is", "are", f"worse than {baseline}"),
        "inconclusive": ("is", "are", "undecided"),
        "not_assessable": ("cannot", "cannot", "be judged"),
    }
    parts = []
    for verdict, (one, many, words) in saying.items():
        names = [c["challenger"] for c in comparisons if c["verdict"] == verdict]
        if names:
            parts.append(f"{joined(names)} {one if len(names) == 1 else many} {words}")
    return "; ".join(parts) + "."


def beside(comparison: Mapping[str, Any], challengers: int) -> str:
    """Returns the terms behind a sentence: the interval's level and p; "" without."""
    if comparison["effect"]["estimate"] is None:
        return ""
    level = numbers.level(comparison["alpha"] / challengers)
    return (
        f"{level} interval; by chance alone such a gap arises"
        f" {numbers.p_value(comparison['p_value_adjusted'])}"
    )


# ------------------------------------------------------------- parts of the sentence


def _leading(comparison: Mapping[str, Any], metric: Metric) -> str:
    """Writes both scores and their gap, the better arm first."""
    effect = comparison["effect"]
    if None in (
        comparison[f"{arm}_score"]["estimate"] for arm in ("baseline", "challenger")
    ):
        return _stands(comparison, metric)
    ahead, behind = "challenger", "baseline"
    ends = (effect["low"], effect["high"])
    if effect["estimate"] < 0:
        ahead, behind = behind, ahead
        ends = (-effect["high"], -effect["low"])
    first, second = (
        numbers.score(comparison[f"{role}_score"]["estimate"], metric, ends)
        for role in (ahead, behind)
    )
    what = numbers.label(metric)
    if comparison["scored_on"] == "validation":
        what = f"validation {what}"
    if what != "accuracy":
        article = "an" if what[0].lower() in "aeiou" or what == "R²" else "a"
        first = f"{article} {what} of {first}"
    gap = numbers.amount(effect["estimate"], metric, ends, unit="percentage point")
    return (
        f"{comparison[ahead]} reaches {first}, {comparison[behind]} {second}: {gap}"
        f" {'more' if metric.higher_is_better else 'less'}"
        f" ({numbers.range_of(*ends, metric)})"
    )


def _stands(comparison: Mapping[str, Any], metric: Metric) -> str:
    effect = comparison["effect"]
    within = (effect["low"], effect["high"])
    return (
        f"{comparison['challenger']} is {_better(effect['estimate'], metric, within)}"
        f" than {comparison['baseline']} ({numbers.range_of(*within, metric)})"
    )


def _better(
    gain: float, metric: Metric, within: tuple[float | None, float | None]
) -> str:
    word = "better" if gain >= 0 else "worse"
    return f"{numbers.amount(gain, metric, within)} {word}"


def _anything(low: float, high: float, metric: Metric) -> str:
    """Writes an interval as what it holds: "anything from .9 worse to 3.5 better"."""
    ends = [numbers.bare(abs(end), metric, (low, high)) for end in (low, high)]
    if low < 0 < high:
        return f"anything from {ends[0]} worse to {ends[1]} better"
    least, most = ends if low >= 0 else ends[::-1]
    return f"anything from {least} to {most} {'better' if low >= 0 else 'worse'}"


def _margin(margin: float, metric: Metric) -> str:
    written = numbers.size(margin, metric)
    return "half a point" if written == ".5 points" else written


def _by_training(comparison: Mapping[str, Any]) -> bool:
    """Says whether the baseline gets there by longer training, and not by more tries."""
    found = comparison["ladder"]
    matched = comparison["tuning_to_match"]
    return (
        found is not None
        and found["reaches"] == "yes"
        and (matched is None or matched["multiple"]["high"] is None)
    )


def _longest_needed(comparison: Mapping[str, Any]) -> float:
    found = comparison["ladder"]
    return float(found["rung"]["high"] or found["longest"])


def _tries(comparison: Mapping[str, Any], end: str) -> str:
    """Writes a limit of what the baseline needs, in tries first and compute second."""
    found = comparison["tuning_to_match"]
    tries = math.ceil(found["trials"][end])
    if "unit" in found:
        return f"{numbers.trials(tries)} {'try' if tries == 1 else 'tries'}"
    return (
        f"{numbers.trials(tries)} {'try' if tries == 1 else 'tries'}"
        f" ({numbers.multiple(found['multiple'][end])} {comparison['challenger']}'s"
        " compute)"
    )


def _tries_at(comparison: Mapping[str, Any], multiple: float) -> int | None:
    """Returns the baseline's tries at a multiple of the challenger's compute."""
    found = comparison["tuning_to_match"]
    if found is None or not found["multiple"]["low"]:
        return None
    each: float = found["trials"]["low"] / found["multiple"]["low"]
    return math.ceil(multiple * each - 1e-9)


def _more_tuning(
    comparison: Mapping[str, Any],
    metric: Metric,
    max_multiple: float,
    best: float | None,
) -> str:
    baseline, challenger = comparison["baseline"], comparison["challenger"]
    effort, n = comparison["effort"], comparison["configurations"]
    tries = _tries_at(comparison, max_multiple)
    effect = comparison["effect"]
    within = (effect["low"], effect["high"])
    same = tries == max_multiple * effort
    if comparison["catch_up"] == "no":
        even = (
            f"{max_multiple:g} times the tuning does"
            if same or tries is None
            else f"{numbers.trials(tries)} tries ({numbers.multiple(max_multiple)}"
            f" {challenger}'s compute) do"
        )
        near = _margin(comparison["margin"], metric)
        return f"Even {even} not bring {baseline} within {near} of {challenger}."
    said = f"Whether {baseline} gets there with more tuning is not settled"
    if best is not None and n > effort:
        sign = 1 if metric.higher_is_better else -1
        left = sign * (comparison["challenger_score"]["estimate"] - best)
        score = numbers.score(best, metric, within)
        said = (
            f"The best of all {n:,} {baseline} settings reaches {score}, so tuning this"
            " far did not help"
            if left > comparison["margin"]
            else f"The best of all {n:,} {baseline} settings reaches {score}: whether more"
            " tuning makes up for the gap is not settled"
        )
    needs = (comparison["tuning_to_match"] or {}).get("would_settle")
    if needs is None:
        return f"{said}."
    tested = (
        f"{max_multiple:g} times {challenger}'s effort"
        if same or tries is None
        else f"{numbers.trials(tries)} tries of {baseline}"
        f" ({numbers.multiple(max_multiple)} {challenger}'s compute)"
    )
    return f"{said}; {numbers.trials(needs)} settings would test {tested}."


def _longer(comparison: Mapping[str, Any]) -> str:
    """Goes on from what more tuning does, of which failure was shown, or nothing."""
    found = comparison["ladder"]
    if found is None or found["longest"] == 1:
        return ""
    shown = comparison["catch_up"] == "no"
    baseline, times = comparison["baseline"], f"up to {found['longest']} times as long"
    if found["reaches"] == "no":
        if shown:
            return f"Nor does training {baseline} {times}."
        return f"Training {baseline} {times} does not bring it there."
    either = "" if shown else " either"
    return f"Whether training {baseline} {times} does is not settled{either}."


def _equal_compute(comparison: Mapping[str, Any], metric: Metric) -> str:
    equal = comparison["effect_at_equal_compute"]
    if equal is None or equal["baseline_effort"] == equal["challenger_effort"]:
        return ""
    gain, within = equal["estimate"], (equal["low"], equal["high"])
    up, down = ("more", "less") if metric.higher_is_better else ("less", "more")
    amount = numbers.amount(gain, metric, within)
    low, high = (numbers.bare(abs(end), metric, within) for end in within)
    if within[0] < 0 < within[1]:
        ends = f"{low} {down} to {high} {up}"
    else:
        ends = f"{low} to {high}" if gain >= 0 else f"{high} to {low}"
    return f"For the same compute: {amount} {up if gain >= 0 else down} ({ends})."


def _sizes(comparison: Mapping[str, Any], parameters: Mapping[str, int]) -> str:
    """Says how large both arms are, where one is much larger."""
    arms = [comparison["challenger"], comparison["baseline"]]
    sizes = [parameters.get(arm, 0) for arm in arms]
    if min(sizes) == 0 or max(sizes) < _OTHER_SIZE * min(sizes):
        return ""
    return f"{arms[0]} has {sizes[0]:,} parameters, {arms[1]} {sizes[1]:,}."


def _seen(comparison: Mapping[str, Any], metric: Metric) -> str:
    settings = f"With {numbers.count(comparison['configurations'], 'setting')}"
    detectable = comparison["minimum_detectable_effect"]
    if detectable is None:
        return f"{settings} no gap is ever claimed."
    gap = numbers.amount(detectable, metric)
    return f"{settings} a gap below {gap} is easily missed."


def _settling(comparison: Mapping[str, Any]) -> str:
    found = comparison["would_settle"]
    if found is None:
        return ""
    if found["configurations"] is not None:
        n = numbers.trials(found["configurations"])
        about = "" if n.startswith("more") else "about "
        told = f"{about}{n} settings would settle it, at"
        return f"{told[0].upper()}{told[1:]} {numbers.multiple(found['times_cost'])} the cost."
    if found["test_examples"] is None:
        return "The estimate is too near the margin for any number of settings to settle it."
    return (
        f"It takes at least {numbers.multiple(found['test_examples'])} as many test"
        " examples to settle it."
    )


# ----------------------------------------------------------------------- warnings


def copied(copies: Copies, challenger: str, metric: Metric) -> str:
    """Says what test examples that were trained on may have done."""
    moves = copies.moves[challenger]
    most = (
        f"which can move the gain by up to {numbers.size(moves, metric)}"
        if math.isfinite(moves)
        else "and how much of the gain they make cannot be told"
    )
    return (
        f"{copies.count:,} of {copies.of:,} test examples are copies of others that"
        f" were trained on, {most}: remove the copies from the data and run again"
    )


def assumed_margin(margin: float, metric: Metric) -> str:
    """Says which margin was assumed where none was declared."""
    half = "half a point"
    if not (metric.bounded or metric.name == "r2"):
        half = "half a per cent of a usual score"
    return (
        f"No margin was declared: {margin:g} is assumed, the larger of {half} and one"
        " standard deviation over seeds."
    )


def still_learning(arm: str, last: float, metric: Metric, longer: str) -> str:
    """Says that an arm's training may have been too short.

    Args:
        arm: Its name.
        last: What the last doubling brought while its learning rate was high.
        metric: The metric of the scores.
        longer: What to do about it.
    """
    return (
        f"{arm} was still learning: while the learning rate was high, the last doubling"
        f" of its training brought {numbers.size(last, metric)} of validation score. A"
        f" flat end of its curve comes from the schedule. {longer}."
    )


def warning(caution: Caution, metric: Metric) -> str:
    """Returns what a reader of the verdict must know beside it, as a sentence."""
    return _CAUTIONS[caution.kind](caution.values, metric)


def _there(values: Mapping[str, Any]) -> str:
    of_a, of_b = values["efforts"]
    return (
        f"At equal compute ({values['baseline']} best of {numbers.trials(of_a)},"
        f" {values['challenger']} best of {numbers.trials(of_b)})"
    )


def _otherwise(values: Mapping[str, Any], metric: Metric) -> str:
    gain, low, high = values["effect"]
    found = {"estimate": gain, "low": low, "high": high}
    return (
        f"{_there(values)} the verdict is another one: a gain of"
        f" {numbers.gained(found, metric)}."
    )


_CAUTIONS: Mapping[str, Callable[[Mapping[str, Any], Metric], str]] = {
    "other reading": lambda values, _: (
        "By run, the seeds that were picked included, the verdict would be"
        f" {values['verdict']}, which tells of"
        f" {'seed failure' if values['failing'] else 'the luck of single seeds'};"
        " fresh seeds decide."
    ),
    "copies": lambda values, _: (
        f"{values['count']:,} of {values['of']:,} test examples are copies of others that"
        " were trained on; they are too few to turn this verdict."
    ),
    "validation only": lambda values, _: (
        "There are no test scores: all numbers are validation scores, on which the"
        " trials were chosen as well, so they are higher than new data would show."
    ),
    "test set bounded": lambda values, _: (
        "The scores of single test examples are unknown, so the interval allows for"
        f" the largest error that a test set of {values['size']:,} examples can have."
    ),
    "this test set": lambda values, _: (
        "The scores of single test examples are unknown, so the interval holds for"
        " this very test set; on another one the difference may be another."
    ),
    "picked seeds": lambda values, _: (
        "No configuration was trained again on fresh seeds, so the scores include"
        " the luck of the seeds that were picked."
    ),
    "unpaired": lambda values, _: (
        "The searches are not paired, which takes several times the configurations"
        " to see the same difference."
    ),
    "no partner": lambda values, _: (
        f"The last {values['dropped']} trials of {values['challenger']} have no partner"
        f" in {values['baseline']} and are left out."
    ),
    "diverged": lambda values, _: (
        f"{values['count']} of {values['of']} trials of {values['arm']} diverged; they"
        " stay in, at the worst score."
    ),
    "no equal compute": lambda values, _: (
        "The arms differ so much in cost that this many configurations allow no"
        " comparison at equal compute."
    ),
    "other unit of compute": lambda values, _: (
        f"What {values['baseline']} and {values['challenger']} cost has no unit in common:"
        " how they compare at equal compute is not assessable, and their tuning is"
        " compared in tries."
    ),
    "unconfirmed at equal compute": lambda values, _: (
        f"{_there(values)} nothing is claimed: {numbers.percent(values['share'], 1)} of"
        " an arm's expected score would rest on configurations that were not trained"
        " again on fresh seeds."
    ),
    "other verdict at equal compute": _otherwise,
}
