"""What the parts of a verdict's document say, in a sentence each.

The page and the terminal tell of the same findings in the same words.
"""

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from archtrial.protocol import RESERVED
from archtrial.space import Dimension, Integer, Space
from archtrial.statistics.looks import grown_looks
from archtrial.words import numbers
from archtrial.words.numbers import Metric
from archtrial.words.phrases import joined, quoted, shortened

__all__ = [
    "Advice",
    "Answer",
    "at_edges",
    "beside_margin",
    "catching_up",
    "ceiling",
    "claimed_effects",
    "error_rate",
    "hidden_shares",
    "longer_training",
    "matters_more",
    "next_step",
    "probing",
    "refusing",
    "sensitivity",
    "tweaks",
    "winner",
]


@dataclasses.dataclass(frozen=True)
class Answer:
    """A finding: its answer in one sentence, and what it rests on."""

    answer: str
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Advice:
    """What to do next: why, a command that can be pasted, and what it costs in level."""

    text: str
    command: str = ""
    detail: str = ""


def beside_margin(found: Mapping[str, Any], margin: float, metric: Metric) -> str:
    """Says where a gain's interval lies beside the smallest gap worth having."""
    low, high = found["low"], found["high"]
    size = numbers.size(margin, metric)
    if low is not None and low > margin:
        return f"all of it above the margin of {size}"
    if high is not None and high < -margin:
        return f"all of it below the margin of \u2212{size}"
    if None not in (low, high) and -margin < low <= high < margin:
        return f"all of it within the margin of ±{size}: too small to matter"
    return f"the margin, the smallest gap worth having, is {size}"


def at_edges(rates: Sequence[str]) -> list[str]:
    """Warns of learning rates that were the lowest or highest of what was tried.

    Args:
        rates: Whose it is and what it is: "batches of 100 (.1)".
    """
    if not rates:
        return []
    return [
        f"The best learning rate is at the edge of what was tried for"
        f" {', '.join(rates)}: a wider range may help these, and change what is"
        " compared."
    ]


def error_rate(study: Mapping[str, Any]) -> str:
    """Says how often simulated studies of about this size are wrong; "" if unknown."""
    known = study.get("calibration")
    if not known:
        return ""
    paired = "paired" if known["paired"] else "unpaired"
    same = all(known[size] == study.get(size) for size in ("configurations", "effort"))
    nearest = "" if same else ", the nearest size that was simulated"
    return (
        f"In simulations of such studies ({known['configurations']} {paired}"
        f" configurations, effort {known['effort']}{nearest}), a null effect is called"
        f" \u201carchitecture\u201d in {numbers.rate(known['architecture'])}"
        f" ({known['studies']:,} studies); in the worst of"
        f" {known['settings']} settings one arm is wrongly named the better in"
        f" {numbers.rate(known['worst'])}"
        f" ({known['worst_setting']})."
    )


def catching_up(comparison: Mapping[str, Any]) -> Answer | None:
    """Says whether more tuning of the baseline makes up for the gap."""
    found = comparison["tuning_to_match"]
    if found is None or comparison["verdict"] == "baseline":
        return None
    if _behind(comparison):
        return None  # there is no gap to make up for
    baseline, challenger = comparison["baseline"], comparison["challenger"]
    # Longer training may have settled what more trials could not.
    longer = (comparison.get("ladder") or {}).get("reaches") == "yes"
    catch_up = comparison["catch_up"]
    if longer and catch_up == "yes" and found["multiple"]["high"] is None:
        catch_up = "unknown"
    answer = {
        "yes": f"Yes: with more tuning, {baseline} comes within the margin of {challenger}.",
        "no": f"No: more tuning of {baseline} does not make up for the gap.",
        "unknown": f"Not settled: it is open whether {baseline} gets there"
        " with more tuning.",
    }[catch_up]
    trials, multiple = found["trials"], found["multiple"]

    def told(end: str) -> str:
        tries = math.ceil(trials[end] - 1e-9)
        told = f"{numbers.trials(tries)} {'try' if tries == 1 else 'tries'}"
        if "unit" in found:  # in trials: their compute has no unit in common
            return told
        return f"{told} ({numbers.multiple(multiple[end])} that compute)"

    def least() -> str:
        return ("" if trials["low"] > MOST else "at least ") + told("low")

    reach = found["reportable_up_to"]
    detail = f"These runs tell of up to {numbers.multiple(reach)}"
    if multiple["low"]:
        most = math.floor(reach * trials["low"] / multiple["low"] + 1e-9)
        tries = numbers.trials(most)
        detail = (
            f"These runs tell of up to {tries} {'try' if most == 1 else 'tries'} of"
            f" {baseline}, {numbers.multiple(reach)}"
        )
    tuned_with = "the tries" if "unit" in found else "the compute"
    detail += f" {tuned_with} that {challenger} was tuned with"
    if multiple["estimate"] is not None and multiple.get("at_most"):
        limit = f" and at most {told('high')}" if multiple["high"] is not None else ""
        detail += (
            f"; by best guess {told('estimate')} are enough for {baseline}, which may need"
            " fewer, since the scores do not tell of smaller efforts; it needs"
            f" {least()}{limit}"
        )
    elif multiple["estimate"] is not None:
        limit = "with no upper limit"
        if multiple["high"] is not None:
            limit = f"at most {told('high')}"
        detail += (
            f"; the best guess is that {baseline} needs {told('estimate')},"
            f" {least()} and {limit}"
        )
    else:
        detail += f"; {baseline} needs {least()}"
    if found["would_settle"] is not None:
        needs = numbers.trials(found["would_settle"])
        detail += f". {_capital(needs)} configurations of each arm would tell"
    return Answer(answer, f"{detail}.")


def _behind(comparison: Mapping[str, Any]) -> bool:
    """Says whether the challenger's score is worse than the baseline's, if both are known."""
    scores = [
        comparison[f"{arm}_score"]["estimate"] for arm in ("challenger", "baseline")
    ]
    if None in scores:
        return False
    challenger, baseline = scores if comparison["higher_is_better"] else scores[::-1]
    return bool(challenger < baseline)


def longer_training(comparison: Mapping[str, Any], metric: Metric) -> Answer | None:
    """Says whether the baseline reaches the challenger by training longer."""
    found = comparison.get("ladder")
    if not found:
        return None
    baseline, challenger = comparison["baseline"], comparison["challenger"]
    rung, longest = found["rung"], numbers.times(found["longest"])
    if found["reaches"] == "yes":
        length = numbers.times(rung["high"] or found["longest"])
        answer = (
            f"Yes: trained {length} as long and tuned anew, {baseline} comes within the"
            f" margin of {challenger} at 1\u00d7."
        )
    elif found["reaches"] == "no":
        answer = (
            f"No: even trained {longest} as long and tuned anew, {baseline} stays behind"
            f" {challenger} at 1\u00d7."
        )
    else:
        answer = (
            f"Not settled: up to {longest} the training, it is open whether {baseline}"
            f" comes within the margin of {challenger} at 1\u00d7."
        )
    known = [step for step in found["rungs"] if step["ahead_of_target"] is not None]
    if not known:
        return Answer(answer)
    last = known[-1]
    ahead = last["ahead_of_target"]
    within = (ahead["low"], ahead["high"])
    detail = (
        f"At {numbers.times(last['rung'])} it is {_ahead(ahead['estimate'], metric, within)}"
        f" the target (interval {numbers.differences(*within, metric)})."
    )
    if found["reaches"] == "unknown" and rung["estimate"] is not None:
        limit = (
            f"at most {numbers.times(rung['high'])}"
            if rung["high"]
            else "no upper limit"
        )
        detail += (
            f" The best guess is {numbers.times(rung['estimate'])} the training, at least"
            f" {numbers.times(rung['low'] or 1)} and {limit}."
        )
    guess = found["extrapolated"]
    if guess is not None:
        score = guess["baseline_score"]
        within = (score["low"], score["high"])
        detail += (
            f" A straight line through its rungs would take {baseline} to"
            f" {numbers.score(score['estimate'], metric, within)} at"
            f" {numbers.times(guess['rung'])}: a model, not evidence."
        )
    return Answer(answer, detail)


_NO_GAIN = {"estimate": None, "low": None, "high": None}
# What of a comparison reads as a result: the gain, how sure it is, what would settle it.
_RESULTS: Mapping[str, Any] = {
    "effect": _NO_GAIN,
    "standard_error": None,
    "p_value": None,
    "p_value_adjusted": None,
    "effect_at_equal_compute": None,
    "probability_better": None,
    "tuning_to_match": None,
    "ladder": None,
    "test_set_floor": None,
    "minimum_detectable_effect": None,
    "would_settle": None,
    "other_reading": None,
    "robustness": None,
    "published": None,
}


def refusing(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a verdict's document in which a refusal stands alone.

    A gain, an interval or a p beneath "cannot be compared" would be read as the answer
    after all, so of a comparison that cannot be judged they are left out, and of the
    study what is said of its verdicts. The scores of the arms stay.
    """
    refused = [c["verdict"] == "not_assessable" for c in document["comparisons"]]
    if not any(refused):
        return document
    comparisons = [
        {**compared, **_RESULTS} if without else compared
        for compared, without in zip(document["comparisons"], refused, strict=True)
    ]
    study = dict(document["study"])
    if all(refused):
        study |= dict.fromkeys(("attribution", "calibration", "factorial", "winner"))
    if refused[0]:
        # They are to reach the first challenger.
        study["probes"] = None
    best = study.get("winner")
    if best and any(
        without and compared["challenger"] == best["arm"]
        for compared, without in zip(comparisons, refused, strict=True)
    ):
        study["winner"] = None
    return {**document, "study": study, "comparisons": comparisons}


def with_ranges(
    comparison: Mapping[str, Any], spaces: Mapping[str, Space]
) -> Mapping[str, Any]:
    """Returns a comparison whose halves of the space name their ranges.

    "dropout, lower half" becomes "dropout at most .25" where the space is known and is
    the same for whoever has the hyperparameter.

    Args:
        comparison: One of the document's.
        spaces: Each arm's search space.
    """
    found = comparison.get("robustness")
    if not found:
        return comparison
    arms = [comparison["baseline"], comparison["challenger"]]

    def named(part: str) -> str:
        title, _, half = part.rpartition(", ")
        if half not in ("lower half", "upper half"):
            return part
        owners, name = arms, title
        for arm in arms:
            if title.endswith(f" of {arm}"):
                owners, name = [arm], title.removesuffix(f" of {arm}")
        own = [spaces[arm][name] for arm in owners if name in spaces.get(arm, {})]
        if not own or any(dimension != own[0] for dimension in own):
            return part
        return f"{title} {_half_of(own[0], lower=half == 'lower half')}".rstrip()

    return {
        **comparison,
        "robustness": {
            **found,
            "rows": [{**row, "part": named(row["part"])} for row in found["rows"]],
            **{
                name: [named(part) for part in found[name]]
                for name in ("opposite", "lost", "skipped")
                if name in found
            },
        },
    }


def _half_of(dimension: Dimension, *, lower: bool) -> str:
    """Writes a half of a range: "at most .25", "above .25"."""
    if isinstance(dimension, Integer):
        whole = range(dimension.low, dimension.high + 1)
        below = [value for value in whole if dimension.position(value) < 0.5]
        bound = below[-1] if below else dimension.low
        return f"{'at most' if lower else 'above'} {numbers.value(bound)}"
    bound_at = numbers.value(dimension.value(0.5))
    return f"{'at most' if lower else 'above'} {bound_at}"


def sensitivity(comparison: Mapping[str, Any]) -> Answer | None:
    """Says whether the gain holds in other parts of the space and other readings."""
    found = comparison.get("robustness")
    if not found:
        return None
    count = sum(row["standing"] != "too few" for row in found["rows"])
    if found["opposite"]:
        answer = (
            f"No: in {quoted(found['opposite'])} the sign of the gain turns, so the"
            " verdict depends on the search space."
        )
    elif found["lost"]:
        answer = (
            f"Not in every analysis: of {numbers.count(count, 'sensitivity analysis', 'sensitivity analyses')},"
            f" {quoted(found['lost'])}"
            f" {'loses' if len(found['lost']) == 1 else 'lose'} the gain; in none does"
            " its sign turn."
        )
    elif not count:
        answer = "Nothing can be said: no part of the space has enough configurations."
    else:
        analyses = numbers.count(count, "sensitivity analysis", "sensitivity analyses")
        answer = f"Yes: {analyses} {'gives' if count == 1 else 'give'} the same answer."
    others = [
        row["part"]
        for row in found["rows"]
        if row.get("estimand", comparison["estimand"]) != comparison["estimand"]
    ]
    skipped = [
        *(found.get("skipped") or ()),
        *(row["part"] for row in found["rows"] if row["standing"] == "too few"),
    ]
    detail = (
        f"Nothing is said of {quoted(skipped)}: too few configurations lie there."
        if skipped
        else ""
    )
    if others:
        which = "run" if comparison["estimand"] == "configuration" else "configuration"
        detail += (
            f" {quoted(others)} {'is' if len(others) == 1 else 'are'} read by {which},"
            " since too few of the best there have the scores of the other reading."
        )
    return Answer(answer, detail.strip())


def winner(study: Mapping[str, Any], metric: Metric) -> str:
    """Says what the best of many challengers scores on new seeds; "" without one."""
    found = study.get("winner")
    if not found:
        return ""
    rerun = numbers.estimated(found["rerun"], metric)
    again = (
        f"{found['arm']} was the best. Its tuned configuration, trained again from"
        f" seeds that had no part in choosing it, scores {rerun}"
    )
    if found["gain"] is None:
        return f"{again}; no challenger was ahead of it."
    words = f"{again}, {numbers.gained(found['gain'], metric)} over the baseline's"
    if found["luck"] is not None:
        luck = numbers.gained(found["luck"], metric)
        words += f"; of its first lead {luck} was luck in being chosen"
    return f"{words}."


def tweaks(study: Mapping[str, Any], metric: Metric) -> str:
    """Says which effects of a factorial are clear of chance; "" without one."""
    found = study.get("factorial")
    if not found:
        return ""
    claimed = f"{claimed_effects(found['effects'], metric)}."
    return f"{matters_more(study, metric)} {claimed}".strip()


def matters_more(study: Mapping[str, Any], metric: Metric) -> str:
    """Says whether the architecture matters more than each other factor.

    The intervals of all effects hold together, so two that do not meet tell which is
    larger. Of a factor with several levels the largest effect counts. It is "" where
    architectures are not crossed with anything.
    """
    effects = (study.get("factorial") or {}).get("effects", ())
    alone: dict[str, list[Mapping[str, Any]]] = {}
    for found in effects:
        if found["effect"]["estimate"] is None:
            return ""
        if len(found["factors"]) == 1:
            alone.setdefault(found["factors"][0], []).append(found)
    said = []
    for other in alone if "architecture" in alone else ():
        if other != "architecture":
            said.append(_larger(alone, other, effects, metric))
    return " ".join(said)


def _larger(
    alone: Mapping[str, Sequence[Mapping[str, Any]]],
    other: str,
    effects: Sequence[Mapping[str, Any]],
    metric: Metric,
) -> str:
    """Compares the effects of the architecture with those of one other factor."""
    reaches, told = {}, {}
    for factor in ("architecture", other):
        ends = [
            (
                -math.inf if found["effect"]["low"] is None else found["effect"]["low"],
                math.inf
                if found["effect"]["high"] is None
                else found["effect"]["high"],
            )
            for found in alone[factor]
        ]
        reaches[factor] = (
            max(max(low, -high, 0.0) for low, high in ends),
            max(max(high, -low) for low, high in ends),
        )
        largest = max(alone[factor], key=lambda found: abs(found["effect"]["estimate"]))
        told[factor] = f"{_effect(largest)} {numbers.gained(largest['effect'], metric)}"
    first = "the architecture"
    second = f"the {other}" if other in RESERVED else other
    if reaches["architecture"][0] > reaches[other][1]:
        answer = f"{first} matters more than {second}"
    elif reaches[other][0] > reaches["architecture"][1]:
        answer = f"{second} matters more than {first}"
    else:
        answer = f"it is open whether {first} or {second} matters more"
    words = f"{answer[0].upper()}{answer[1:]}: {' and '.join(told.values())}."
    both = {"architecture", other}
    if any(set(found["factors"]) == both and found["claimed"] for found in effects):
        words += " What the one is worth depends on the other, so both are averages."
    return words


def claimed_effects(effects: Sequence[Mapping[str, Any]], metric: Metric) -> str:
    """Says which effects are clear of chance, as a figure's title."""
    claimed = [found for found in effects if found["claimed"]]
    if not claimed:
        return "No factor's effect is clear of chance"
    if len(claimed) > 3:
        return f"{len(claimed)} of {len(effects)} effects are clear of chance"
    names = joined([shortened(_effect(found), 44) for found in claimed])
    gains = [numbers.signed(found["effect"]["estimate"], metric) for found in claimed]
    worth = joined(gains) + (" points" if metric.bounded else "")
    if len(claimed) == 1:
        return f"Only the effect of {names} is clear of chance: {worth}"
    return f"The effects of {names} are clear of chance: {worth}"


def _effect(found: Mapping[str, Any]) -> str:
    """Returns what an effect is called where levels that are names need no more."""
    if len(found["factors"]) == 1 and found["factors"][0] in RESERVED:
        return str(found["name"]).removeprefix(f"{found['factors'][0]}: ")
    return str(found["name"])


def hidden_shares(study: Mapping[str, Any]) -> str:
    """Says which shares of the spread cannot be told, in words that follow a caption."""
    shares = (study.get("attribution") or {}).get("shares", {})
    words = ""
    if shares and shares.get("interaction") is None:
        words += (
            " Whether it matters which hyperparameters suit which arm cannot be told of"
            " arms that do not share their draws."
        )
    if shares and shares.get("seed") is None:
        words += (
            " The seed's share is hidden in the others: no configuration was trained"
            " from two fresh seeds."
        )
    return words


def probing(
    comparison: Mapping[str, Any], probes: Sequence[Mapping[str, Any]]
) -> Answer:
    """Says whether any adaptive tuner brings the baseline up to the challenger."""
    baseline, challenger = comparison["baseline"], comparison["challenger"]
    reaching = [probe["tuner"] for probe in probes if probe["reaches"]]
    if reaching:
        answer = f"Yes: {joined(reaching)} got {baseline} to the level of {challenger}."
    elif all(probe["reaches"] is False for probe in probes):
        tuners = joined([probe["tuner"] for probe in probes])
        answer = f"Not that we know: {tuners} did not."
    else:
        answer = "Open: the intervals allow either."
    return Answer(
        answer,
        "An adaptive tuner's trials depend on each other, so this is one try and no"
        " test; it counts for nothing in the verdict.",
    )


def ceiling(arm: str, found: Mapping[str, Any], metric: Metric) -> Answer:
    """Says how far a model thinks that tuning can take an arm."""
    if "reason" in found:
        return Answer(f"{arm}: not estimated", found["reason"])
    score = numbers.estimated(found, metric)
    if None in (found["low"], found["high"]):
        score += " (these trials set it no limit on one side)"
    return Answer(
        f"{arm}: {score}",
        "the model predicted the best trials from the others"
        if found["backtest"]["passed"]
        else "do not rely on it: the model did not predict the trials it had not seen",
    )


def next_step(
    comparison: Mapping[str, Any],
    protocol: Mapping[str, Any],
    *,
    seconds: float,
    price_per_hour: float | None = None,
    going_on: str = "",
) -> Advice | None:
    """Says what would settle an open question, in time and money; None if nothing would.

    Time is that of training, on machines like those that the runs were made on.

    Args:
        comparison: One of the document's.
        protocol: The resolved protocol.
        seconds: What the runs so far took; 0 where nobody timed them.
        price_per_hour: What an hour costs, in any currency.
        going_on: The command that goes on with this study from its folder alone; ""
            where there is none.
    """
    baseline, challenger = comparison["baseline"], comparison["challenger"]
    if comparison["verdict"] == "inconclusive":
        settled = comparison.get("would_settle")
        if not settled:
            return None
        n, times = settled["configurations"], settled["times_cost"]
        if n is None:
            if settled["test_examples"] is None:
                return None
            return Advice(
                f"{_capital(numbers.multiple(settled['test_examples']))} the test"
                f" examples would settle {challenger} against {baseline}; more"
                " configurations would not."
            )
        aim = f"settle {challenger} against {baseline}"
    elif (
        comparison["verdict"] == "architecture"
        and comparison["catch_up"] == "unknown"
        and "trainer" in protocol
    ):
        n = (comparison["tuning_to_match"] or {}).get("would_settle")
        if n is None:
            return None
        times = n / comparison["configurations"]
        aim = f"tell whether more tuning of {baseline} makes up for the gap"
    else:
        return None
    cost = f"about {numbers.multiple(times)} this study's cost"
    if seconds > 0:
        cost = _training(times * seconds, price_per_hour)
    text = f"{numbers.trials(n)} configurations an arm, {cost}, would probably {aim}"
    if n > MOST or "trainer" not in protocol:
        # Our own trainings can be asked for; somebody else's table cannot.
        second = " On the same test set that is a second look."
        return Advice(_capital(f"{text}.{'' if n > MOST else second}"))
    return _going_further(text, protocol, n, going_on)


MOST = 10_000
"""The configurations that nobody is told to train more of."""


def _going_further(
    text: str, protocol: Mapping[str, Any], n: int, going_on: str
) -> Advice:
    """Says how to get more configurations: in this study, or in a new one."""
    declared = protocol.get("looks")
    made = [*protocol.get("grown", ()), protocol["configurations"]]
    looks = ",".join(map(str, sorted({*(declared or made), n})))
    alpha = protocol["alpha"]
    anew = (
        f"a new study, declared with --looks {looks}, --seed {protocol['seed'] + 1} and"
        f" another --study, has the level of {numbers.rate(alpha)} for itself; on the"
        f" same test set one of both studies claims a gap that is not there in up to"
        f" {numbers.rate(2 * alpha)} of such pairs."
    )
    if declared:
        return Advice(f"{text}.", "", _capital(anew))
    if not going_on:
        return Advice(
            f"{text}.",
            "",
            "Its parts were given in Python, and so is the rest: the same trial with"
            f" configurations={n} in the same folder grows; {anew}",
        )
    levels = [
        look.level or 0.0
        for look in grown_looks(
            [*made, n],
            alpha=alpha,
            challengers=len(protocol["challengers"]),
            permutations=sys.maxsize,
        )
    ]
    return Advice(
        f"{text}:",
        f"{going_on} --configurations {n}",
        "That is a look which was not declared: without any gap, one is claimed in up to"
        f" {numbers.rate(sum(levels))} of such studies. Instead, {anew}",
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _training(seconds: float, price_per_hour: float | None) -> str:
    written = f"about {numbers.roughly(seconds)} of training"
    if price_per_hour is None:
        return written
    spent = numbers.money(seconds / 3600 * price_per_hour)
    return f"{written}: {spent} at {numbers.money(price_per_hour)} an hour"


def _ahead(
    estimate: float, metric: Metric, within: tuple[float | None, float | None]
) -> str:
    amount = numbers.amount(estimate, metric, within)
    return f"{amount} {'above' if estimate >= 0 else 'short of'}"
