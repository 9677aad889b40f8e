"""What the parts of a verdict's document say, in a sentence each.

The page and the terminal tell of the same findings in the same words.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from archtrial.report import numbers
from archtrial.report.drawing import joined, shortened
from archtrial.report.evidence import Evidence
from archtrial.report.numbers import Metric
from archtrial.statistics.looks import grown_looks

__all__ = [
    "Answer",
    "beside_margin",
    "catching_up",
    "ceiling",
    "claimed_effects",
    "error_rate",
    "hidden_shares",
    "longer_training",
    "other_sides",
    "probing",
    "settling",
    "tweaks",
    "winner",
]


@dataclasses.dataclass(frozen=True)
class Answer:
    """A finding: its answer in one sentence, and what it rests on."""

    answer: str
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
    multiple = found["multiple"]
    estimate, low, high = (multiple[end] for end in ("estimate", "low", "high"))
    reach = _times(found["reportable_up_to"])
    detail = f"These runs reach as far as {reach} the compute that {challenger} was tuned with"
    if estimate is not None and multiple.get("at_most"):
        limit = f" and at most {_times(high)}" if high is not None else ""
        detail += (
            f"; {_times(estimate)} of it is enough for {baseline} by best guess, which may"
            " need less, since the scores do not tell of the efforts below; it needs at"
            f" least {_times(low)}{limit}"
        )
    elif estimate is not None:
        limit = f"at most {_times(high)}" if high is not None else "with no upper limit"
        detail += (
            f"; the best guess is that {baseline} needs {_times(estimate)} of it, at"
            f" least {_times(low)} and {limit}"
        )
    else:
        detail += f"; {baseline} needs at least {_times(low)} of it"
    if found["would_settle"] is not None:
        detail += f". {found['would_settle']:,} configurations of each arm would tell"
    return Answer(answer, f"{detail}.")


def longer_training(comparison: Mapping[str, Any], metric: Metric) -> Answer | None:
    """Says whether the baseline reaches the challenger by training longer."""
    found = comparison.get("ladder")
    if not found:
        return None
    baseline, challenger = comparison["baseline"], comparison["challenger"]
    rung, longest = found["rung"], _times(found["longest"])
    if found["reaches"] == "yes":
        length = _times(rung["high"] or found["longest"])
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
        f"At {_times(last['rung'])} it is {_ahead(ahead['estimate'], metric, within)}"
        f" the target (interval {numbers.differences(*within, metric)})."
    )
    if found["reaches"] == "unknown" and rung["estimate"] is not None:
        limit = f"at most {_times(rung['high'])}" if rung["high"] else "no upper limit"
        detail += (
            f" The best guess is {_times(rung['estimate'])} the training, at least"
            f" {_times(rung['low'] or 1)} and {limit}."
        )
    guess = found["extrapolated"]
    if guess is not None:
        score = guess["baseline_score"]
        within = (score["low"], score["high"])
        detail += (
            f" A straight line through its rungs would take {baseline} to"
            f" {numbers.score(score['estimate'], metric, within)} at"
            f" {_times(guess['rung'])}: a model, not evidence."
        )
    return Answer(answer, detail)


def other_sides(comparison: Mapping[str, Any]) -> Answer | None:
    """Says whether the gain holds in other parts of the space and other readings."""
    found = comparison.get("robustness")
    if not found:
        return None
    count = sum(row["standing"] != "too few" for row in found["rows"])
    if found["opposite"]:
        answer = (
            f"No: in {_quoted(found['opposite'])} the sign of the gain turns, so the"
            " verdict depends on the search space."
        )
    elif comparison["verdict"] == "not_assessable":
        answer = (
            "That cannot be judged either: what is wrong with the comparison is wrong"
            " in every part of the space."
        )
    elif found["lost"]:
        answer = (
            f"Not everywhere: of {numbers.count(count, 'other side')}, {_quoted(found['lost'])}"
            f" {'loses' if len(found['lost']) == 1 else 'lose'} the gain; nowhere does"
            " its sign turn."
        )
    else:
        sides = "1 other side" if count == 1 else f"{count} other sides"
        answer = f"Yes: seen from {sides}, the answer is the same."
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
        f"Nothing is said of {_quoted(skipped)}: too few configurations lie there."
        if skipped
        else ""
    )
    if others:
        which = "run" if comparison["estimand"] == "configuration" else "configuration"
        detail += (
            f" {_quoted(others)} {'is' if len(others) == 1 else 'are'} read by {which},"
            " since too few of the best there have the scores of the other reading."
        )
    return Answer(answer, detail.strip())


def winner(study: Mapping[str, Any], metric: Metric) -> str:
    """Says what the best of many challengers scores on new seeds; "" without one."""
    found = study.get("winner")
    if not found:
        return ""

    among = f" of {found['among']}" if found.get("among") else ""
    rerun = numbers.estimated(found["rerun"], metric)
    again = (
        f"{found['arm']} was the best{among}. Its tuned configuration, trained again from"
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
    return f"{claimed_effects(found['effects'], metric)}." if found else ""


def claimed_effects(effects: Sequence[Mapping[str, Any]], metric: Metric) -> str:
    """Says which effects are clear of chance, as a figure's title."""
    claimed = [found for found in effects if found["claimed"]]
    if not claimed:
        return "No tweak's effect is clear of chance"
    if len(claimed) > 3:
        return f"{len(claimed)} of {len(effects)} effects are clear of chance"
    names = joined([shortened(found["name"], 44) for found in claimed])
    gains = [
        numbers.difference(found["effect"]["estimate"], metric) for found in claimed
    ]
    worth = joined([*(gain.removesuffix(" points") for gain in gains[:-1]), gains[-1]])
    if len(claimed) == 1:
        return f"Only the effect of {names} is clear of chance: {worth}"
    return f"The effects of {names} are clear of chance: {worth}"


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
        "the model foretold the best trials from the others"
        if found["backtest"]["passed"]
        else "do not rely on it: the model did not foretell the trials it had not seen",
    )


def settling(comparison: Mapping[str, Any], evidence: Evidence) -> str:
    """Says what would settle an open question, in time and money; "" if nothing is open.

    Time is that of training, on machines like those that the runs were made on.
    """
    settled = comparison.get("would_settle")
    if comparison["verdict"] != "inconclusive" or not settled:
        return ""
    baseline, challenger = comparison["baseline"], comparison["challenger"]
    if settled["configurations"] is None:
        if settled["test_examples"] is None:
            return ""
        return (
            f"About {settled['test_examples']:.1f} times the test examples would settle"
            f" {challenger} against {baseline}; more configurations would not."
        )
    spent = sum(run.seconds for run in evidence.runs)
    cost = f"about {settled['times_cost']:.1f} times this study's cost"
    if spent > 0:
        seconds = settled["times_cost"] * spent
        cost += f" ({_training(seconds, evidence.price_per_hour)})"
    # Our own trainings can be asked for; somebody else's table cannot.
    way = (
        _going_further(evidence.protocol, settled["configurations"])
        if "trainer" in evidence.protocol
        else "On the same test set that is a second look."
    )
    return (
        f"{settled['configurations']:,} configurations an arm, {cost}, would probably"
        f" settle {challenger} against {baseline}. {way}"
    )


def _going_further(protocol: Mapping[str, Any], n: int) -> str:
    """Says what to type for more configurations: in a new study, or in this one."""
    declared = protocol.get("looks")
    made = [*protocol.get("grown", ()), protocol["configurations"]]
    looks = ",".join(map(str, sorted({*(declared or made), n})))
    anew = (
        f"A new study has the declared level for itself: archtrial run with --looks"
        f" {looks} in place of a number of configurations, --seed"
        f" {protocol['seed'] + 1} and another --study. On the same test set it is a"
        f" second look: in up to {numbers.rate(2 * protocol['alpha'])} of such pairs of"
        " studies one of both claims a gap that is not there."
    )
    if declared:
        return anew
    levels = [
        look.level or 0.0
        for look in grown_looks(
            [*made, n],
            alpha=protocol["alpha"],
            challengers=len(protocol["challengers"]),
            permutations=sys.maxsize,
        )
    ]
    return (
        f"{anew} Or go on from this study, as a look that was not declared: the same"
        f" command with --configurations {n}; without any gap one is claimed in up to"
        f" {numbers.rate(sum(levels))} of such studies."
    )


def _training(seconds: float, price_per_hour: float | None) -> str:
    written = f"about {numbers.roughly(seconds)} of training"
    if price_per_hour is None:
        return written
    spent = numbers.money(seconds / 3600 * price_per_hour)
    return f"{written}: {spent} at {numbers.money(price_per_hour)} an hour"


def _ahead(
    estimate: float, metric: Metric, within: tuple[float | None, float | None]
) -> str:
    amount = numbers.difference(abs(estimate), metric, within).removeprefix("+")
    return f"{amount} {'above' if estimate >= 0 else 'short of'}"


def _quoted(parts: Sequence[str]) -> str:
    return joined([f"\u201c{part}\u201d" for part in parts])


def _times(multiple: float) -> str:
    return f"{multiple:.2g}\u00d7"
