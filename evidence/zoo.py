"""What the zoo holds, and which of it trains in fleets: docs/zoo.md and docs/zoo.svg.

    python evidence/zoo.py            # the page, with the fleets as last found
    python evidence/zoo.py --fleets   # look at them again: some minutes on one core

Why runs of a family cannot share a fleet is what `testing.check_architecture` says of
its default; whether they would on a CPU is what `training.choice` counts for a batch of
100. Both stand in evidence/results/zoo_fleets.json.
"""

import argparse
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from archtrial import metrics, testing, zoo
from archtrial.data import Inputs
from archtrial.protocol import Recipe
from archtrial.report.drawing import save
from archtrial.specs import write_value
from archtrial.training import choice
from archtrial.training.problem import Job, Problem
from archtrial.zoo import arms, picture
from archtrial.zoo.registry import Family, Shape, Size

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
FLEETS = HERE / "results" / "zoo_fleets.json"
SHAPES: dict[str, Shape] = {"image": (1, 28, 28), "sequence": (1, 40), "table": (12,)}
"""What each kind of inputs is looked at with; ten classes, batches of 100."""


def main() -> None:
    """Writes both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleets", action="store_true", help="look at them again")
    if parser.parse_args().fleets:
        found = {name: fleets(family) for name, family in zoo.families().items()}
        FLEETS.write_text(json.dumps(found, indent=2) + "\n")
    (DOCS / "zoo.md").write_text("\n".join(page(json.loads(FLEETS.read_text()))) + "\n")
    save(picture.draw(), DOCS / "zoo.svg")


def fleets(family: Family) -> dict[str, dict[str, Any]]:
    """Returns why runs share no fleet, or None, and how many would on a CPU, by kind."""
    found: dict[str, dict[str, Any]] = {}
    architecture = arms.find(family.name)
    for kind, shape in SHAPES.items():
        if kind not in family.kinds:
            continue
        inputs = Inputs.of_shape(shape)
        checked = testing.check_architecture(family.name, [inputs], num_outputs=(10,))
        build = functools.partial(architecture.build, inputs, 10, {})
        size = choice.fleet_size(_problem(shape), Job(build, {}, 0, 0, 0))
        why = next(iter(checked.obstacles.values()), None)
        found[kind] = {"obstacle": why, "cpu": size}
    return found


def _problem(shape: Shape) -> Problem:
    x = np.zeros((100, *shape), np.float32)
    y = np.arange(100) % 10
    return Problem(
        x_train=x, y_train=y, x_validation=x, y_validation=y, x_test=x,
        task="classification", num_outputs=10, metric=metrics.default("classification"),
        recipe=Recipe(), steps=1, batch_size=100,
    )  # fmt: skip


def page(found: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of docs/zoo.md."""
    yield "# The zoo"
    yield ""
    yield (
        "Every family from linear models to ConvNeXt, each in one file that reads like its"
        " paper's figure, at published size and at sizes that train on two cores. Each"
        " paper's idea is a switch: `archtrial run --data D --baseline resnet --challenger"
        " 'resnet(skip=false)'` asks whether it matters on your data. Written by `python"
        " evidence/zoo.py`; `archtrial zoo NAME` shows one page."
    )
    yield ""
    yield "![The family tree: a line leads from each family to those that took from it](zoo.svg)"
    yield ""
    for name, _ in picture.ordered():
        yield from _family(zoo.families()[name])
    yield from _together(found)


def _family(family: Family) -> Iterator[str]:
    lineage = family.lineage
    assert lineage is not None
    yield f"## {family.name}"
    yield ""
    yield f"{lineage.new} ({lineage.paper}) {family.summary}"
    yield ""
    took = [f"{whom} ({what})" for whom, what in lineage.took.items()]
    if took:
        yield f"- from: {'; '.join(took)}"
    reads = ", ".join(kind for kind in family.kinds if kind != "array")
    tokens = {"embedded": ", token ids", "always": ", token ids", "never": ""}
    yield f"- reads: {reads}{tokens[family.names]}"
    entry = zoo.get(family.name)
    switches = [f"`{o}={write_value(d)}`" for o, d in entry.options.items()]
    yield f"- switches: {', '.join(switches) or 'none'}"
    yield f"- default: {_size(family.size)}"
    for variant in family.variants.values():
        yield f"- `{variant.name}`: {variant.summary.rstrip('.')}; {_size(variant.size)}"
    yield ""


def _size(size: Size | None) -> str:
    assert size is not None
    sides = " x ".join(map(str, size.shape))
    return f"{size.parameters:,} parameters on {sides}, {size.num_outputs} outputs"


def _together(found: dict[str, Any]) -> Iterator[str]:
    yield "## Which of them train in fleets"
    yield ""
    yield (
        "Runs of one structure can train as one batched program, held to the loop. Which"
        " do is decided by a count, never by a clock: on a CPU a fleet pays where a step"
        " is small. A number is how many runs of the default share one on a CPU (batches of"
        " 100, ten classes); 1 means that the loop is faster there. On a GPU all whose"
        " runs can share a fleet do."
    )
    yield ""
    yield "| family | images 1 x 28 x 28 | series 1 x 40 | tables of 12 |"
    yield "|---|---|---|---|"
    why: dict[str, list[str]] = {}
    for name, by_kind in found.items():
        cells = []
        for kind in SHAPES:
            told = by_kind.get(kind)
            if told is None:
                cells.append("")
            elif told["obstacle"] is None:
                cells.append(str(told["cpu"]))
            else:
                cells.append("cannot")
                why.setdefault(told["obstacle"], []).append(f"{name} ({kind})")
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    for reason, names in why.items():
        yield f"- {', '.join(names)} cannot: {reason}."
    if not why:
        yield "There is no family whose default cannot."


if __name__ == "__main__":
    main()
