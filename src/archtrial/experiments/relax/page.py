"""What relaxing a convolutional prior found: its page, and its lines in a terminal.

Both are made of the verdict's document alone; `figures` draws it. The
page and the terminal tell the same in the same order: the sentence, the gain by relax
time, then what became of the network.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from archtrial.experiments.relax.figures import NAMES, chosen_times, draw, drawable
from archtrial.experiments.relax.titles import (
    LEFT,
    compared,
    left_by,
    relaxed_after,
    share,
)
from archtrial.records.table import Run
from archtrial.report import article as shown
from archtrial.report import frame
from archtrial.report.article import (
    Article,
    Brief,
    Column,
    Exhibit,
    Fact,
    Plate,
    Section,
    Table,
)
from archtrial.report.estimates import measured
from archtrial.words import numbers
from archtrial.words.numbers import LOSS, Metric, metric_of
from archtrial.words.phrases import shortened

__all__ = ["NAMES", "article", "draw", "show"]

_VERDICTS = {
    "relaxed_better": "It pays to relax the prior",
    "no_gain": "Relaxing the prior gains nothing worth having",
    "inconclusive": "Not settled",
    "not_assessable": "This cannot be judged",
}
_READINGS = {
    "best": "with the weights that scored best on the validation set on the way",
    "last": "with the weights of its last step",
}


# ------------------------------------------------------------------------ the page


def article(
    document: Mapping[str, Any],
    runs: Sequence[Run] = (),
    protocol: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Article:
    """Returns the page of a verdict on relaxing, from evidence to details.

    Args:
        document: The verdict.
        runs: The table of runs, for what the trainings took; may be empty.
        protocol: The resolved protocol, as JSON.
        environment: Versions, hardware, threads, seconds: a name and a text each.
    """
    metric, names = metric_of(document), document["names"]
    environment = environment or {}
    return Article(
        title=f"Relaxing {document['architecture']} on {document['data']}",
        verdict=_VERDICTS[document["verdict"]],
        about=[
            f"{document['architecture']} on {document['data']}",
            f"test {numbers.label(metric)}",
            numbers.count(document["seeds"], "seed"),
        ],
        sentence=document["sentence"],
        numbers=_three_numbers(document, metric),
        sections=[
            Section("", figures=_plates(document, "relax_times")),
            Section(
                f"When does the {names['relaxed']} gain over the {names['cnn']}?",
                figures=_plates(document, "gains"),
                facts=_gain_facts(document, metric),
            ),
            Section(
                f"What is it worth against the {names['fresh']}?",
                paragraphs=[
                    f"The {names['fresh']} has the shape of the {names['relaxed']} and"
                    " all of its freedom, but starts at random: nothing in it knows of"
                    " convolution."
                ],
                figures=_plates(document, "gains_over_fresh"),
                facts=_fresh_facts(document, metric),
            ),
            Section(
                "Does it leave the convolutional subspace?",
                figures=_plates(document, "deviation", "parts"),
                tables=_layers(document),
            ),
            Section(
                "Are they the same solution?",
                figures=_plates(document, "path"),
                facts=_path_facts(document, metric),
            ),
            Section(
                "How sharp is the place where it ends?",
                figures=_plates(document, "curvature"),
            ),
            Section(
                "Were all tuned alike?",
                figures=_plates(document, "learning_rates"),
                tables=_rates(document, metric),
            ),
            Section("Relax time by relax time", tables=_by_time(document, metric)),
            Section(
                "How it was done",
                paragraphs=_method(document),
                facts=_sizes(document, runs),
            ),
        ],
        brief=_brief(document),
        glossary=_glossary(document, metric),
        citation=frame.cited("Relaxing experiment", document, environment),
        document=document,
        warnings=document["warnings"],
        notes=document["notes"],
        protocol=protocol or {},
        environment=environment,
    )


def _plates(document: Mapping[str, Any], *names: str) -> list[Plate]:
    """Returns those of the figures that can be drawn, with their captions."""
    found = drawable(document)
    captions = _captions(document)
    return [Plate(found[name], captions[name]) for name in names if name in found]


def _captions(document: Mapping[str, Any]) -> dict[str, str]:
    names, steps = document["names"], f"{document['steps']:,}"
    relaxed, cnn, fresh = names["relaxed"], names["cnn"], names["fresh"]
    margin = numbers.size(document["margin"], metric_of(document))
    intervals = f"{_level(document)} intervals"
    if compared(document) > 1:
        intervals += f" that hold for all {compared(document)} relax times at once"
    gained = (
        "Bars: " + intervals + ". Filled: clear of 0; hollow: not. Inside the shaded"
        f" margin of {margin} a gap is not worth having."
    )
    with_path = [e for e in document["times"] if e["path"] is not None]
    drawn = chosen_times(document)
    some = (
        f" Of {len(with_path)} relax times {len(drawn)} are drawn; the darker, the later."
        if len(drawn) < len(with_path)
        else " The darker a line, the later it was relaxed."
        if len(drawn) > 1
        else ""
    )
    beside = (
        ""
        if document["published"] is None
        else f" Hollow, on axes of their own: {document['published']['source']}."
        " Another length of training, and perhaps another network and other"
        " data: compare the shapes, not the heights."
    )
    level = _level(document)
    over = f"mean over seeds with its {level} interval"
    return {
        "relax_times": f"Each point is one seed, lines are means, bands their {level}"
        f" intervals. At a relax time t the {relaxed} has trained t steps as a {cnn} and"
        f" up to {steps} more by itself; {cnn} and {fresh} are read after as many steps"
        f" in all. Each is read {_READINGS[document['reading']]}.{beside}",
        "gains": gained,
        "gains_over_fresh": gained,
        "deviation": f"Share of the norm of the {relaxed}'s weights, {over}. Off-local:"
        " in weights that no convolution has. Untied: in differences between weights"
        " that a convolution would share. Learning rates differ between relax times,"
        " and with them how far weights move.",
        "parts": f"Validation scores after the last step, {over}. Alone: the other"
        f" weights are set to 0. {cnn}: trained on for as long. Average: the"
        f" mean of the outputs of {relaxed} and {cnn}.",
        "path": f"Mean over seeds of loss and score of networks whose weights lie between"
        f" those of the {cnn} trained on for as long and those of the {relaxed}. It rises"
        f" where it is above the straight line between its own ends (barrier).{some}",
        "curvature": f"At the start and at the end of relaxing, {over}, on the training"
        " loss. The largest eigenvalue of the Hessian is how sharply the loss bends in"
        " the direction where it bends most.",
        "learning_rates": "Validation score at each learning rate that was tried, the"
        f" mean over tuning seeds. Large: the one that was chosen. Of the {relaxed} one"
        " line for each relax time; the darker, the later. What was tried for the"
        f" {cnn} that goes on stands in the table.",
    }


def _level(document: Mapping[str, Any]) -> str:
    return numbers.level(document["alpha"])


def _best(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Returns the entry of the relax time with the largest gain."""
    for entry in document["times"]:
        if entry["relax_time"] == document["best_time"] and measured(entry["gain"]):
            found: Mapping[str, Any] = entry
            return found
    return None


def _three_numbers(document: Mapping[str, Any], metric: Metric) -> list[Fact]:
    entry = _best(document)
    # What cannot be compared has numbers all the same, and they say nothing.
    if entry is None or document["verdict"] == "not_assessable":
        return []
    names, count = document["names"], compared(document)
    several = count > 1
    return frame.gain_facts(
        f"{'Largest gain' if several else 'Gain'} of the {names['relaxed']} over the"
        f" {names['cnn']}",
        entry["gain"],
        metric,
        alpha=document["alpha"],
        margin=document["margin"],
        of=relaxed_after(entry["relax_time"]),
        jointly=f", for all {count} relax times at once" if several else "",
        adjusted=f"adjusted for having looked at {count} relax times"
        if several
        else "",
    )


def _gain_facts(document: Mapping[str, Any], metric: Metric) -> list[Fact]:
    """Returns the largest gain, read in the other way that was declared."""
    entry = _best(document)
    if entry is None:
        return []
    return [
        Fact(
            f"Gain {relaxed_after(entry['relax_time'])}, in the other reading",
            numbers.gained(entry["gain_other"], metric),
            f"each network {_READINGS[document['other_reading']]}",
        )
    ]


def _fresh_facts(document: Mapping[str, Any], metric: Metric) -> list[Fact]:
    names, entry = document["names"], _best(document)
    facts = [
        Fact(
            f"The {names['cnn']} over the {names['fresh']}",
            numbers.gained(document["fresh_gap"], metric),
            "a prior that held throughout, at the longest budget",
        )
    ]
    if entry is None:
        return facts
    held_for_a_while = Fact(
        f"The {names['relaxed']} over the {names['fresh']},"
        f" {relaxed_after(entry['relax_time'])}",
        numbers.gained(entry["gain_over_fresh"], metric),
        "a prior that held for a while",
    )
    return [held_for_a_while, *facts]


def _layers(document: Mapping[str, Any]) -> list[Exhibit]:
    """Returns how far each layer has left, by relax time."""
    if left_by(document) != "deviation":
        return []
    known = [e for e in document["times"] if e["deviation_by_layer"]]
    layers = {layer: None for entry in known for layer in entry["deviation_by_layer"]}
    if not layers:
        return []
    rows = [
        (
            f"{entry['relax_time']:,}",
            *(_shares(entry["deviation_by_layer"].get(layer)) for layer in layers),
        )
        for entry in known
    ]
    return [
        Exhibit(
            "Off-local share of the norm, layer by layer",
            Table(("relax time", *layers), rows),
        )
    ]


def _shares(found: Mapping[str, Any] | None) -> str:
    return share(found["estimate"]) if found and measured(found) else ""


def _path_facts(document: Mapping[str, Any], metric: Metric) -> list[Fact]:
    entry = _best(document)
    if entry is None:
        return []
    names, when = document["names"], relaxed_after(entry["relax_time"])
    found = entry["validation"] or {}
    barrier = Fact(
        f"Barrier of the loss, {when}",
        numbers.estimated((entry["path"] or {}).get("barrier"), LOSS),
        "how far it rises on the way, the mean of every seed's own",
    )
    # Without the average there is nothing to set side by side.
    if not measured(found.get("average_of_outputs")):
        return [barrier]
    last = f"validation {numbers.label(metric)}, last weights"
    both = "an average that beats both says that they err on different examples"
    return [
        barrier,
        *(
            Fact(f"{term}, {when}", numbers.estimated(found.get(part), metric), note)
            for part, term, note in (
                ("relaxed", f"The {names['relaxed']} alone", last),
                ("cnn", f"The {names['cnn']} trained on alone", last),
                ("average_of_outputs", "The average of both outputs", both),
            )
        ),
    ]


def _rates(document: Mapping[str, Any], metric: Metric) -> list[Exhibit]:
    arms = document["learning_rates"]
    rates = sorted({one["learning_rate"] for arm in arms for one in arm["tried"]})
    if not rates:
        return []
    rows = []
    for arm in arms:
        scores = {one["learning_rate"]: one["validation"] for one in arm["tried"]}
        rows.append(
            (
                _arm(document, arm),
                numbers.value(float(arm["chosen"]))
                + (" (at the edge)" if arm["at_edge"] else ""),
                *(
                    numbers.score(scores[rate], metric) if rate in scores else ""
                    for rate in rates
                ),
            )
        )
    headings = ("", "chosen", *(numbers.value(float(rate)) for rate in rates))
    return [
        Exhibit(
            f"Validation {numbers.label(metric)} by learning rate",
            Table(headings, rows),
        )
    ]


def _arm(document: Mapping[str, Any], arm: Mapping[str, Any]) -> str:
    names = document["names"]
    if arm["role"] == "kept":
        return f"{names['cnn']} from {arm['relax_time']:,} on"
    if arm["role"] == "relaxed":
        return f"{names['relaxed']}, {relaxed_after(arm['relax_time'])}"
    return str(names[arm["role"]])


def _by_time(document: Mapping[str, Any], metric: Metric) -> list[Exhibit]:
    if not document["times"]:
        return []
    names, epoch = document["names"], document["batches_per_epoch"]
    diverged = any(entry["diverged"] for entry in document["times"])
    left = left_by(document)
    headings = (
        "relax time, steps",
        "epochs",
        f"gain over {names['cnn']}",
        "by chance (p)",
        names["relaxed"],
        names["cnn"],
        names["fresh"],
        f"gain over {names['fresh']}",
        "gain, other reading",
        LEFT[left],
        *(("diverged",) if diverged else ()),
    )
    rows = []
    for entry in document["times"]:
        scores = (entry["scores"] or {}).get(document["reading"]) or {}
        gain = entry["gain"] or {}
        rows.append(
            (
                f"{entry['relax_time']:,}",
                _epochs(entry["relax_time"] / epoch),
                numbers.gained(entry["gain"], metric),
                numbers.p_bare(gain.get("p_value_adjusted")),
                *(
                    numbers.estimated(scores.get(arm), metric)
                    for arm in ("relaxed", "cnn", "fresh")
                ),
                numbers.gained(entry["gain_over_fresh"], metric),
                numbers.gained(entry["gain_other"], metric),
                _shares(entry[left]),
                *((f"{entry['diverged']:,}",) if diverged else ()),
            )
        )
    count = compared(document)
    adjusted = (
        f" Gains and p are adjusted for having looked at {count} relax times."
        if count > 1
        else ""
    )
    return [
        Exhibit(
            "",
            Table(headings, rows),
            f"Test {numbers.label(metric)}, mean over"
            f" {numbers.count(document['seeds'], 'seed')} with its {_level(document)}"
            " interval." + adjusted,
        )
    ]


def _epochs(number: float) -> str:
    return f"{number:,.1f}" if number >= 1 else f"{number:.2g}"


def _method(document: Mapping[str, Any]) -> list[str]:
    names, times = document["names"], document["times"]
    relaxed, cnn, fresh = names["relaxed"], names["cnn"], names["fresh"]
    tried = {len(arm["tried"]) for arm in document["learning_rates"]}
    each = (
        numbers.count(tried.pop(), "learning rate")
        if len(tried) == 1
        else "its learning rates"
    )
    when = "at each relax time" if len(times) > 1 else "at its relax time"
    return [
        f"Tuned alike: {when}, the {cnn} that goes on and the {relaxed} were each given"
        f" {each}, and the validation set chose; so it did for the {fresh}, and for the"
        f" {cnn} up to there, by their longest training.",
        f"A matched budget: on each seed the {cnn} trains {document['steps']:,} steps"
        f" more twice, as it is and as the {relaxed} that computes the same, on the very"
        f" same batches. The {fresh} is read after as many steps in all; it starts from"
        " weights of another scale, so its gap is not the prior's alone.",
        "The test set was opened once, when every training was done: no choice, not"
        " even of the weights that are read, has seen it.",
    ]


def _sizes(document: Mapping[str, Any], runs: Sequence[Run]) -> list[Fact]:
    names, sizes, cost = (document[key] for key in ("names", "parameters", "cost"))
    without = sizes.get("without_padding")
    diverged = sum(run.diverged for run in runs)
    seconds = sum(run.seconds for run in runs)
    return [
        Fact(f"Parameters of the {names['cnn']}", _whole(sizes.get("cnn"))),
        Fact(
            f"Parameters of the {names['relaxed']} and the {names['fresh']}",
            _whole(sizes.get("relaxed")),
            f"{without:,} without the weights that read padding" if without else "",
        ),
        Fact("Test examples", _whole(document["test_examples"])),
        Fact(
            "Trainings",
            _whole(cost["trainings"]),
            f"{numbers.flops(cost['flops'])} in all" if cost["flops"] else "",
        ),
        Fact("Of the runs, diverged", _whole(diverged or None)),
        Fact("Time in training", numbers.duration(seconds) if seconds else ""),
    ]


def _whole(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _glossary(document: Mapping[str, Any], metric: Metric) -> dict[str, str]:
    names = document["names"]
    relaxed, cnn, fresh = names["relaxed"], names["cnn"], names["fresh"]
    count = len(document["times"])
    margin = numbers.size(document["margin"], metric)
    assumed = ", assumed since none was declared" if document["margin_assumed"] else ""
    return {
        "Relax time": f"After how many steps of training the {cnn} is turned into the"
        f" {relaxed}. From then on nothing holds its weights tied or zero.",
        relaxed: f"The {cnn} written as a network without the convolutional prior: at the"
        " moment of relaxing it computes the very same, and then every weight is free.",
        fresh: f"A network of the {relaxed}'s shape from a standard random start.",
        "Off-local": "Weights between places that no kernel of the convolution spans;"
        f" in the {cnn} they are zero.",
        "Deviation": "The norm of the off-local weights over the norm of all weights:"
        " how far the network has left the convolutional subspace. Weights that read"
        " padding never learn and are left out.",
        "Untied": "The norm of what tells weights apart that a convolution would share,"
        " over the norm of all weights.",
        "Gain": f"The test score of the {relaxed} less that of the other network, on the"
        " same seeds; above 0 it is better.",
        "Simultaneous interval": "The gains that the data are compatible with. Whoever"
        f" looks at {count} relax times sees luck more often than who looks at one:"
        " these intervals hold for all of them at once.",
        "How often chance makes it (p)": "How often a gain at least this large would"
        " arise if relaxing made no difference. It is not the chance that the verdict is"
        " wrong.",
        "Margin": f"The smallest gain worth having: {margin}{assumed}.",
        "Reading": "Which weights of a training count: those with the best validation"
        " score on the way (early stopping), or those of its last step. Here the"
        f" declared reading is \u201c{document['reading']}\u201d.",
    }


# -------------------------------------------------------------------- the terminal


def show(document: Mapping[str, Any], console: Console) -> None:
    """Prints the verdict, its table by relax time and the learning rates.

    Args:
        document: The verdict.
        console: Where to; its width decides where lines break.
    """
    shown.show(article(document), console)


def _brief(document: Mapping[str, Any]) -> Brief:
    metric, entries = metric_of(document), document["times"]
    names = {role: shortened(name, 10) for role, name in document["names"].items()}
    times = [entry["relax_time"] for entry in entries]
    best, left = document["best_time"], left_by(document)
    scores = [(e["scores"] or {}).get(document["reading"]) or {} for e in entries]
    # The gain and its interval are what the table is for.
    columns = [
        Column("relax time", [f"{time:,}" for time in times]),
        *(
            Column(
                names[role],
                [numbers.estimate(own.get(role), metric) for own in scores],
                rank,
            )
            for role, rank in (("relaxed", 1), ("cnn", 2), ("fresh", 3))
        ),
        Column(
            f"gain over {names['cnn']}{numbers.axis_unit(metric)}",
            [numbers.signed_estimate(entry["gain"], metric) for entry in entries],
        ),
    ]
    if any(measured(entry[left]) for entry in entries):
        columns.append(Column(LEFT[left], [_shares(e[left]) for e in entries], 4))
    return Brief(
        verdict=document["verdict"].replace("_", " ")
        + (" (strong)" if document["strong"] else ""),
        title=f"test {numbers.label(metric)}, mean of"
        f" {numbers.count(document['seeds'], 'seed')}",
        rows="relax times",
        columns=columns,
        best=times.index(best) if best in times else None,
        closing=_rates_line(document),
    )


def _rates_line(document: Mapping[str, Any]) -> str:
    """Returns one line on the learning rates that were chosen."""
    arms, said = document["learning_rates"], []
    for role in ("cnn", "fresh", "relaxed"):
        # From the start and from each relax time on, it is one CNN.
        roles = ("cnn", "kept") if role == "cnn" else (role,)
        rates = sorted(
            float(arm["chosen"])
            for arm in arms
            if arm["role"] in roles and arm["chosen"] is not None
        )
        if rates:
            ends = dict.fromkeys(numbers.value(rates[end]) for end in (0, -1))
            said.append(f"{shortened(document['names'][role], 10)} {' to '.join(ends)}")
    edge = sum(bool(arm["at_edge"]) for arm in arms)
    at_edge = f"; {edge} of {len(arms)} at an edge" if edge else ""
    return f"learning rates: {', '.join(said)}{at_edge}" if arms else ""
