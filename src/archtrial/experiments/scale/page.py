"""The page of a study of scale, and what a terminal shows of it."""

import functools
from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from archtrial.experiments.scale.words import factors, times
from archtrial.judge.experiment import GLOSSARY, Finding, Records
from archtrial.report.article import Brief, Exhibit, Plate, Section, Table
from archtrial.report.drawing import LIGHT, STYLE, WIDE, canvas, label_ends, room_for
from archtrial.report.gains import gain_plate, three_numbers
from archtrial.report.scales import score_axis
from archtrial.words import numbers
from archtrial.words.numbers import Metric

__all__ = ["finding"]

_GLOSSARY = {
    **GLOSSARY,
    "compound": "A network whose depth, width and resolution grow together: at each step"
    " of phi by alpha, beta and gamma, which a grid at phi = 1 has chosen by validation.",
    "phi": "The FLOPs are those of the base times the growth to this power.",
    "FLOPs": "Of a training's step for one example: two for each multiplication and"
    " addition, forward and backward.",
}


def finding(document: Mapping[str, Any], records: Records) -> Finding:
    """Returns what was found with its page.

    Args:
        document: The verdict.
        records: What it was read off.
    """
    metric, alpha = records.metric, document["alpha"]
    last = document["sizes"][-1]
    gains = {
        f"over {gain['axis']} alone": gain
        for gain in last["over"]
        if gain["estimate"] is not None
    }
    if last["over_base"]["estimate"] is not None:
        gains["over the base"] = last["over_base"]
    plates = {
        "scales": Plate(
            functools.partial(_scales, document, metric),
            f"The best of {document['effort']} trials, {numbers.level(alpha)} intervals that"
            " hold together at each size.",
        )
    }
    if gains:
        plates["gains"] = gain_plate(
            "What growing all axes together gains", gains, document, metric,
            f"that hold together, at phi = {last['phi']}",
        )  # fmt: skip
    table = _forms(document, metric)
    first = _decisive(gains)
    decisive = None if first is None else f"compound {first}"
    return records.finding(
        document,
        title="Scaling",
        sections=[
            Section("", figures=list(plates.values()), tables=[table]),
            Section("How is the growth divided?", tables=[_grid(document, metric)]),
            Section(
                "What was published?",
                tables=[_published(document)],
                note="Tan and Le 2019, arXiv 1905.11946, tables 3 and 7: on ImageNet, one"
                " training of each, all with the base's hyperparameters. Nothing here is"
                " held to them.",
            ),
        ],
        figures={name: plate.draw for name, plate in plates.items()},
        brief=Brief.of(
            table, "forms", verdict=document["verdict"],
            # What a narrow terminal leaves out first: sizes, then each axis.
            ranks=[0, 0, 2, *([1] * len(document["axes"])), 0, 0],
        ),
        numbers=three_numbers(
            decisive, {f"compound {name}": gain for name, gain in gains.items()},
            document, metric,
            of="at equal tuning effort" if first == "over the base"
            else "at equal FLOPs and equal tuning effort",
            adjusted="adjusted for all that it is compared with",
        ),
        glossary=_GLOSSARY,
    )  # fmt: skip


def _decisive(gains: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Returns the gain that stands for all: the one over the strongest axis alone."""
    over = [name for name in gains if name != "over the base"]
    return min(over or gains, key=lambda name: float(gains[name]["low"]), default=None)


def _forms(document: Mapping[str, Any], metric: Metric) -> Exhibit:
    forms = document["forms"]
    gains = {
        gain["form"]: numbers.gained(gain, metric)
        for size in document["sizes"]
        for gain in size["over"]
    }
    columns = {
        "form": [form["name"] for form in forms],
        "FLOPs": [times(form["flops_of_base"]) for form in forms],
        "parameters": [f"{form['parameters']:,}" for form in forms],
        **{
            axis: [_written(form["options"][option]) for form in forms]
            for axis, option in document["axes"].items()
        },
        f"test {numbers.label(metric)}": [
            numbers.estimated(form["score"], metric) for form in forms
        ],
        "compound gains": [gains.get(form["name"], "") for form in forms],
    }
    return Exhibit(
        f"Test {numbers.label(metric)} of the best of {document['effort']} trials",
        Table.of(columns),
        f"{numbers.level(document['alpha'])} intervals; gains of the compound form over"
        " each axis alone, all at one size and over the base at once.",
    )


def _grid(document: Mapping[str, Any], metric: Metric) -> Exhibit:
    points = document["grid"]
    columns = {
        "form": [point["name"] for point in points],
        "times the base's": [factors(point["factors"]) for point in points],
        f"validation {numbers.label(metric)}": [
            "diverged"
            if point["validation"] is None
            else numbers.score(point["validation"], metric)
            for point in points
        ],
    }
    return Exhibit(
        "Candidates at phi = 1, trained as the base's best trial",
        Table.of(columns),
        "The best by validation is the compound form at every phi.",
    )


def _published(document: Mapping[str, Any]) -> Exhibit:
    points = document["published"]
    columns = {
        "base": [point["base"] for point in points],
        "scaling": [point["scaling"] for point in points],
        "GFLOPs": [point["gflops"] for point in points],
        "ImageNet, top 1": [f"{point['imagenet_top1_percent']} %" for point in points],
    }
    return Exhibit("Beside: EfficientNet's paper", Table.of(columns))


def _written(option: Any) -> str:
    return ", ".join(map(str, option)) if isinstance(option, list) else str(option)


def _scales(document: Mapping[str, Any], metric: Metric, width: int) -> Figure:
    """Draws scores by FLOPs, a line for each axis alone and one for all together."""
    base, *forms = document["forms"]
    kinds = list(dict.fromkeys(form["kind"] for form in forms))
    roles = [role for role in LIGHT if role.startswith("challenger")]
    # Always the same colour for an axis, whichever others an architecture has.
    order = ("compound", "depth", "width", "resolution")
    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(
            "Test scores by FLOPs, along one axis and along all", width,
            body=330 if width >= WIDE else 300, left=52, right=room_for(kinds), bottom=46,
        )  # fmt: skip
        axes.set_xscale("log")
        ends = []
        for kind in kinds:
            points = [f for f in (base, *forms) if f["kind"] in (kind, "base")]
            points = [f for f in points if f["score"]["estimate"] is not None]
            if not any(f["kind"] == kind for f in points):
                continue
            x = [f["flops_of_base"] for f in points]
            y = [f["score"]["estimate"] for f in points]
            off = [
                [abs(f["score"][end] - f["score"]["estimate"]) for f in points]
                for end in ("low", "high")
            ]
            color = LIGHT[roles[order.index(kind)]]
            axes.errorbar(
                x, y, off, color=color, marker="o", ms=5, elinewidth=1.2,
                lw=2 if kind == "compound" else 1.4,
                zorder=4 if kind == "compound" else 3,
            )  # fmt: skip
            ends.append((x[-1], y[-1], kind, color))
        ratios = sorted({document["growth"] ** s["phi"] for s in document["sizes"]})
        ticks = [1.0, *ratios]
        axes.set_xlim(0.9, ratios[-1] * 1.25)
        axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks], minor=False)
        axes.minorticks_off()
        axes.set_xlabel(f"FLOPs, times those of {document['architecture']}")
        score_axis(axes, metric, "test")
        label_ends(axes, ends)
    return figure
