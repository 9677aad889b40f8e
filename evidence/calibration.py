"""The whole proof in one command: runs what is missing, then writes the page of it.

Writes docs/calibration.md, docs/power.svg and the summary that the package carries
(src/archtrial/calibration/calibration.json). Every script that it starts can be killed
and goes on where it stopped.

    python evidence/calibration.py               everything, about two hours on one core
    python evidence/calibration.py --only-docs   from the results as they are
"""

import argparse
import importlib.metadata
import json
import math
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import records
import simulations
from journal import RESULTS, SEED, Found, code

import archtrial.calibration
from archtrial.calibration import Tally
from archtrial.files import write
from archtrial.report import drawing
from archtrial.statistics import Estimate

ROOT = Path(__file__).parents[1]
SCRIPTS = ("crosschecks", "records", "simulations", "looks", "ceilings")
# What is promised: of false claims to either side, and of intervals.
MOST_FALSE, LEAST_COVERED = 0.025, 0.93

_DRAWS = {"sobol": "stratified draws", "random": "independent draws"}

Known = list[tuple[simulations.Cell, Found]]


def known(cells: Iterable[simulations.Cell]) -> Known:
    """Returns the cells of which something is known."""
    found = ((cell, cell.found()) for cell in cells)
    return [(cell, results) for cell, results in found if results is not None]


# --- numbers as text -----------------------------------------------------------


def percent(rate: Estimate) -> str:
    """Returns a share with its 95 % interval."""
    low, high = 100 * rate.low, 100 * rate.high
    return f"{100 * rate.estimate:.1f} ({low:.1f} to {high:.1f})"


def short(rate: Estimate) -> str:
    """Returns a share in per cent."""
    return f"{100 * rate.estimate:.1f}"


def _points(value: float) -> str:
    """Returns a gain in points; adding 0 turns -0.0 into 0.0."""
    return f"{round(100 * value, 1) + 0.0:.1f}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def _false(tally: Tally, reading: str = "verdict") -> tuple[Estimate, Estimate]:
    """Returns the shares of claims for the challenger and for the baseline.

    Without published numbers `tuning` says that the gain is real but can be caught up
    with; where there is none it is as false as `architecture`.
    """
    return (
        tally.rate(f"{reading} architecture", f"{reading} tuning"),
        tally.rate(f"{reading} baseline"),
    )


def _missed(rate: Estimate) -> bool:
    return rate.estimate > MOST_FALSE


def _marked(rate: Estimate) -> str:
    return f"**{percent(rate)}**" if _missed(rate) else percent(rate)


def _covered(rate: Estimate) -> str:
    return f"**{short(rate)}**" if rate.estimate < LEAST_COVERED else short(rate)


# --- the sections --------------------------------------------------------------


def _designs(cells: Known) -> list[tuple[str, dict[str, Found]]]:
    """Returns each cell's name with what is known by either way of drawing."""
    found: dict[str, dict[str, Found]] = {}
    for cell, results in cells:
        found.setdefault(cell.name, {})[cell.setting.sampling] = results
    return list(found.items())


def _drawn(cells: Known, sampling: str) -> Tally:
    """Adds all studies that were drawn in one way."""
    return Tally.of(f.tally for cell, f in cells if cell.setting.sampling == sampling)


def null_section(null: Known) -> str:
    """False claims where there is no true gain."""

    def columns(found: Found | None) -> tuple[str, ...]:
        if found is None:
            return ("", "", "", "")
        better, worse = _false(found.tally)
        return (
            f"{found.tally.studies:,}",
            _marked(better),
            _marked(worse),
            short(found.tally.rate("verdict equivalent")),
        )

    rows = [
        (name, *columns(found.get("sobol")), *columns(found.get("random")))
        for name, found in _designs(null)
    ]
    parts = ("studies", "`architecture`", "`baseline`", "`equivalent`")
    said = []
    for sampling, words in _DRAWS.items():
        total = _drawn(null, sampling)
        if total.studies:
            better, worse = _false(total)
            said.append(
                f"Of all {total.studies:,} studies with {words} {short(better)} % claimed"
                f" the challenger and {short(worse)} % the baseline."
            )
    return f"""## No true gain: how often is one claimed?

Both arms come to the same score at effort k, exactly; they differ in how they get
there. Each line is a setting and a size of study, with stratified draws (one scrambled
Sobol sequence, the default) on the left and independent ones on the right. The margin
is half a point (.005), small enough to protect from little. All numbers are per cent of
the studies, with an exact 95 % interval in brackets; what misses the target of 2.5 % a
side is **bold**; the rest is `inconclusive`. {" ".join(said)}

{table(("setting", *parts, *(f"independent: {part}" for part in parts)), rows)}
Of stratified draws the reading by configuration decides alone. Of independent ones it
would claim more than is promised in some settings, so the other reading must agree:
with one reading alone the worst is {_alone(null)}. "by run" declares the reading by run,
which always needs the other. A `tuning` without published numbers counts as a claim for
the challenger.
"""


def rare_section(rare: Known) -> str:
    """What no study of this size can see."""
    if not rare:
        return ""

    def columns(found: Found | None) -> tuple[str, ...]:
        if found is None:
            return ("", "", "")
        better, worse = _false(found.tally)
        return (f"{found.tally.studies:,}", _marked(better), _marked(worse))

    rows = [
        (name, *columns(found.get("sobol")), *columns(found.get("random")))
        for name, found in _designs(rare)
    ]
    parts = ("studies", "`architecture`", "`baseline`")
    return f"""### Seeds that seldom fail

A seed of the challenger fails so seldom that most studies see none that did, and the
mean over all seeds is as high as the baseline's. What was never seen enters no interval,
so the challenger is called better for what it does on the seeds that work. These cells
are no part of the numbers above.

{table(("setting", *parts, *(f"independent: {part}" for part in parts)), rows)}"""


def _alone(null: Known) -> str:
    """Says where one reading alone claims most of independent draws."""
    rates = [
        (rate, cell)
        for cell, found in null
        if cell.setting.sampling == "random"
        and cell.setting.estimand == "configuration"
        for rate in _false(found.tally, "alone")
    ]
    rate, cell = max(rates, key=lambda one: one[0].estimate)
    return f"{percent(rate)} % (*{cell.name}*)"


def _plain(rate: Estimate) -> str:
    return f"**{short(rate)}**" if _missed(rate) else short(rate)


def _named(cell: simulations.Cell) -> str:
    """Returns a cell's name with the way of drawing, where that is not the default."""
    return cell.name + (", independent" if cell.setting.sampling == "random" else "")


def power_section(power: Known) -> str:
    """Planted gains."""
    if not power:
        return ""
    rows = []
    for cell, found in power:
        tally = found.tally
        rows.append(
            (
                _named(cell),
                f"{tally.studies:,}",
                *(
                    short(tally.rate(f"verdict {verdict}"))
                    for verdict in (
                        *("architecture", "tuning", "equivalent", "baseline"),
                        "inconclusive",
                    )
                ),
                _covered(tally.rate("covered")),
            )
        )
    at_margin = [
        (cell, found)
        for cell, found in power
        if math.isclose(cell.setting.effect, cell.setting.margin)
    ]
    said = ""
    if at_margin:
        cell, found = max(
            at_margin, key=lambda one: one[1].tally.rate("verdict equivalent").estimate
        )
        said = (
            "At a true gain of exactly the margin `equivalent` is wrong; it came out in"
            f" {percent(found.tally.rate('verdict equivalent'))} % of the studies at"
            f" most ({_named(cell)}; the promise is 5 %).\n"
        )
    return f"""## A true gain: how often is it seen?

The margin is one point (.01); the arms' optima lie a tenth of the range apart unless
the line says that they are the same. Scores spread over the space with a standard
deviation of about ten points, over seeds with one, and validation adds one. How broad
the space is decides the power, so look up your own design: `archtrial calibrate`.

![The share of studies that claim the planted gain, by its size](power.svg)

{
        table(
            (
                "design and true gain",
                "studies",
                "`architecture`",
                "`tuning`",
                "`equivalent`",
                "`baseline`",
                "`inconclusive`",
                "interval holds",
            ),
            rows,
        )
    }
{said}"""


def power_figure(power: Known) -> str:
    """Returns the power curves as SVG."""
    curves: dict[str, list[tuple[float, Estimate]]] = {}
    for cell, found in power:
        if cell.setting.configurations == 64 or not cell.setting.paired:
            continue  # in the table
        if cell.setting.baseline == cell.setting.challenger or "same" in cell.name:
            continue
        design = cell.name.partition(", gain")[0]
        design += f", {_DRAWS[cell.setting.sampling].split()[0]}"
        claimed = found.tally.rate("verdict architecture", "verdict tuning")
        curves.setdefault(design, []).append((100 * cell.setting.effect, claimed))
    with matplotlib.rc_context(drawing.STYLE):
        figure, axes = drawing.canvas(
            "How often a gain that is there is claimed, by its size",
            drawing.WIDE,
            body=380,
            left=52,
            right=drawing.room_for(curves),
            bottom=48,
        )
        roles = [role for role in drawing.LIGHT if role.startswith("challenger")]
        colors = [*(drawing.LIGHT[role] for role in roles), drawing.LIGHT["baseline"]]
        ends = []
        for (design, points), color in zip(curves.items(), colors, strict=False):
            x = [gain for gain, _ in points]
            y = [100 * rate.estimate for _, rate in points]
            errors = [
                [100 * (rate.estimate - rate.low) for _, rate in points],
                [100 * (rate.high - rate.estimate) for _, rate in points],
            ]
            axes.errorbar(x, y, errors, color=color, marker="o", capsize=3, lw=2)
            ends.append((x[-1], y[-1], design, color))
        axes.axhline(80, color=drawing.LIGHT["line"], zorder=0)
        axes.set(
            ylim=(-2, 102),
            xlabel="True gain in points (the margin is 1)",
            ylabel="Studies that claim it (%)",
        )
        axes.set_yticks([0, 20, 40, 60, 80, 100])
        drawing.label_ends(axes, ends)
        return drawing.to_svg(figure, titled=True)


def confound_section(confound: Known) -> str:
    """Published numbers that mislead, and that do not."""
    if not confound:
        return ""
    rows = []
    for cell, found in confound:
        tally = found.tally
        right = "architecture" if cell.setting.effect else "tuning"
        rows.append(
            (
                _named(cell),
                f"{tally.studies:,}",
                f"`{right}`",
                percent(tally.rate(f"verdict {right}")),
                short(tally.rate("verdict inconclusive")),
                percent(_wrong(tally, right)),
            )
        )
    return f"""## Published numbers three points apart

The user's own case. Somebody published a baseline 4 points below its peak ("untuned")
and a challenger that was the best of 20 runs, and there is no true gain: the right
verdict is `tuning`. Then the same with a baseline that was the best of 20 as well and a
true gain of 3 points: the right verdict is `architecture`. The margin is one point. The
arms' optima are the same, but for the lines that say otherwise.

{
        table(
            (
                "published baseline, truth and study",
                "studies",
                "right",
                "found",
                "`inconclusive`",
                "wrong",
            ),
            rows,
        )
    }"""


def _wrong(tally: Tally, right: str) -> Estimate:
    verdicts = ("architecture", "tuning", "equivalent", "baseline")
    # To say `tuning` of a true gain is not wrong where more tuning catches up with it.
    allowed = {right, "tuning"} if right == "architecture" else {right}
    return tally.rate(*(f"verdict {v}" for v in verdicts if v not in allowed))


def coverage_section(cells: Known) -> str:
    """How often intervals hold."""
    kinds = {
        "the gain": "covered",
        "the gain in the other reading": "other covered",
        "both tuning curves": "curves covered",
        "trials to match (N)": "match covered",
    }
    worst = []
    for what, key in kinds.items():
        cell, found = min(cells, key=lambda one: one[1].tally.rate(key).estimate)
        rate = found.tally.rate(key)
        below = sum(f.tally.rate(key).estimate < LEAST_COVERED for _, f in cells)
        worst.append(
            (what, _named(cell), percent(rate), f"{found.tally.studies:,}", below)
        )
    rows = [
        (
            _named(cell),
            _points(found.about["gain"]),
            f"{found.tally.studies:,}",
            *(_covered(found.tally.rate(key)) for key in kinds.values()),
            f"{100 * found.tally.mean('width'):.1f}",
            f"{100 * (found.tally.mean('estimate') - found.about['gain']):+.2f}",
            f"{100 * _spread(found.tally):.2f}",
        )
        for cell, found in cells
    ]
    error = max(abs(found.about["gain_error"]) for _, found in cells)
    return f"""## Do the intervals hold?

Nominal 95 %; the promise is at least 93 %. The worst setting for each:

{
        table(
            (
                "interval for",
                "worst setting",
                "holds (%)",
                "studies",
                "settings below 93 %",
            ),
            worst,
        )
    }
All of them, per cent of the studies; width of the gain's interval, bias of its
estimate and its standard deviation over studies ("spread") in points. The truth has an error of {
        100 * error:.4f} points at most.

{
        table(
            ("setting", "true gain", "studies", *kinds, "mean width", "bias", "spread"),
            rows,
        )
    }"""


def _spread(tally: Tally) -> float:
    """Returns the standard deviation of the estimate over studies."""
    return math.sqrt(tally.mean("square") - tally.mean("estimate") ** 2)


def records_section() -> str:
    """Real records."""
    rows = []
    # What an independent implementation of the same steps found.
    elsewhere = {16: "9 %", 32: "63 %", 64: "92 %"}
    for n, effort in records.SIZES:
        for pair in records.PAIRS:
            found = records.found(pair, n, effort)
            if found is None:
                continue
            tally = found.tally
            better, worse = _false(tally)
            halves = pair[0] == pair[1]
            rows.append(
                (
                    f"{records.cell(pair, n)}, k = {effort}",
                    f"{100 * found.about['gain']:.1f}",
                    f"{tally.studies:,}",
                    percent(better),
                    percent(worse),
                    _covered(tally.rate("covered")),
                    "0 to 3.7 % of either side" if halves else elsewhere[n],
                )
            )
    if not rows:
        return ""
    text = f"""## Real records

Studies drawn 1,000 times without replacement from 512 random-search runs each of
AlexNet and ConvNeXt on ImageNet (last epoch's top-1, unpaired, by run; a run without
any epoch counts at 0). "True gain" is that of all 512 runs. The last column is what an
independent implementation of the same steps found.

{
        table(
            (
                "comparison",
                "true gain",
                "studies",
                "second claimed better (%)",
                "first claimed better (%)",
                "interval holds (%)",
                "elsewhere",
            ),
            rows,
        )
    }
ConvNeXt is better by 13 points, and a study of 16 configurations sees that one time in
ten: the space holds so many bad configurations of both that chance drowns the gap.
"""
    path = RESULTS / "deepobs.json"
    if not path.exists():
        return text
    deepobs = json.loads(path.read_text())
    tuned, three = deepobs["tuned_seed"], deepobs["three_seeds"]
    one = deepobs["one_seed"]
    lines = [
        (
            f"{row['problem']}, {row['optimizer']}",
            f"{100 * row['tuned_seed']:.2f}",
            f"{100 * row['mean_of_reseeds']:.2f}",
            f"{100 * row['optimism']:+.2f}",
            f"{100 * row['three_seeds']['error']:.2f}",
        )
        for row in deepobs["cells"]
    ]
    return f"""{text}
### What the seed that won is worth

DeepOBS searched 36 learning rates with one seed and then trained the winner with nine
more. The seed that won scores {100 * tuned["mean"]:.2f} points (standard error
{100 * tuned["standard_error"]:.2f}) above the mean of its own reseeds, in
{tuned["above"]} of {tuned["of"]} cases; a seed that was not chosen lies above the mean
of the others in {one["above"]:.1f} of {
        one["of"]
    }. Our estimate, the mean of three fresh
seeds, lies above the other six in {three["above"]:.1f} of {
        three["of"]
    } over all choices
of the three, without bias, and misses by {100 * three["typical_error"]:.2f} points. (At
effort 9 `compare` refuses the reading by configuration on these records, since the
winner alone was trained again.)

{
        table(
            (
                "problem, optimiser",
                "seed that won",
                "mean of nine reseeds",
                "apart",
                "error of three fresh seeds",
            ),
            lines,
        )
    }"""


def looks_section() -> str:
    """Stopping early."""
    path = RESULTS / "looks.json"
    if not path.exists():
        return ""
    rows = json.loads(path.read_text())
    return f"""## Looks

Studies that are judged at n = 16, 32 and 64 and stop at the first claim (alpha spending
.0001, .0055, .0444). The promise: at most 5 % false claims over all looks.

{
        table(
            (
                "setting and draws",
                "true gain",
                "studies",
                "false claims (%)",
                "claimed at each look (%)",
                "stopped early (%)",
                "mean n",
            ),
            [
                (
                    f"{row['setting']}, {_DRAWS[row['sampling']].split()[0]}",
                    f"{100 * row['gain']:g}",
                    f"{row['studies']:,}",
                    percent(Estimate(*row["false"])) if row["gain"] == 0 else "-",
                    " / ".join(f"{100 * share:.1f}" for share in row["claimed"]),
                    f"{100 * row['stopped']:.1f}",
                    f"{row['mean_n']:.1f}",
                )
                for row in rows
            ],
        )
    }"""


def ceiling_section() -> str:
    """The model's ceiling."""
    path = RESULTS / "ceilings.json"
    if not path.exists():
        return ""
    rows = json.loads(path.read_text())
    lines = [
        (
            row["setting"],
            f"{row['studies']:,}",
            percent(Estimate(*row["covered"]))
            if row["covered"][0] >= LEAST_COVERED
            else f"**{percent(Estimate(*row['covered']))}**",
            f"{100 * row['passed']:.0f}",
            f"{100 * row['bias']:+.1f}",
            f"{100 * row['spread']:.1f}",
        )
        for row in rows
    ]
    return f"""## The ceiling, by a model

opda's noisy quadratic, fitted to one arm's search; a model, and never the ground of a
verdict. The truth is the expected score at the optimum; bias and spread in points.

{
        table(
            (
                "surface and trials",
                "searches",
                "interval holds (%)",
                "back-test passed (%)",
                "bias",
                "spread",
            ),
            lines,
        )
    }"""


def crosscheck_section() -> str:
    """Other people's code."""
    path = RESULTS / "crosschecks.json"
    if not path.exists():
        return ""
    rows = json.loads(path.read_text())
    return f"""## Against other people's code, and full enumeration

{
        table(
            ("check", "largest difference"),
            [(row["check"], f"{row['largest_difference']:.1e}") for row in rows],
        )
    }
opda finds the band's critical value by simulation, ours is exact: the difference is
opda's Monte-Carlo error.
"""


def permutations_section() -> str:
    """Fewer permutations change nothing."""
    rows = [
        (
            cell.name,
            f"{found.tally.studies:,}",
            percent(found.tally.rate("rejected")),
            percent(_false(found.tally)[0]),
            percent(_false(found.tally)[1]),
            _covered(found.tally.rate("covered")),
        )
        for cell, found in known(simulations.permutation_cells())
    ]
    if not rows:
        return ""
    return f"""## Fewer permutations and resamples

A verdict has 9,999 permutations and 2,000 resamples; the simulated studies have 999 and
1,000. On the same studies:

{
        table(
            (
                "setting, permutations and resamples",
                "studies",
                "p at most 5 %",
                "`architecture`",
                "`baseline`",
                "interval holds",
            ),
            rows,
        )
    }"""


def trust_section(null: Known, cells: Known) -> str:
    """The settings in which the method is not to be trusted."""
    found = []
    for cell, results in null:
        tally = results.tally
        pairs = (("architecture", 0), ("baseline", 1))
        for verdict, side in pairs:
            rate = _false(tally)[side]
            if _missed(rate):
                sure = "" if rate.low > MOST_FALSE else ", which may be chance"
                found.append(
                    f"- **{_named(cell)}**: a false `{verdict}` in {percent(rate)} % of"
                    f" {tally.studies:,} studies{sure}."
                )
            alone = _false(tally, "alone")[side]
            if alone.low > MOST_FALSE and not _missed(rate):
                found.append(
                    f"- **{_named(cell)}**, judged by the declared reading alone: a false"
                    f" `{verdict}` in {percent(alone)} %. The verdict is protected by"
                    " the other reading; records with one reading only are not."
                )
    for what, key in (
        ("gain", "covered"),
        ("gain in the other reading", "other covered"),
        ("trials to match", "match covered"),
    ):
        for cell, results in cells:
            rate = results.tally.rate(key)
            if rate.estimate < LEAST_COVERED:
                found.append(
                    f"- **{_named(cell)}**: the interval of the {what} holds in"
                    f" {percent(rate)} % of {results.tally.studies:,} studies."
                )
    listed = "\n".join(found) or "No setting missed its target."
    return f"""## Not to be trusted when

The targets: false claims at most 2.5 % a side, intervals that hold at least 93 %. These
settings missed them, by name:

{listed}

And by what was not simulated, or is known not to hold:

- Effort above n / 4: nothing is claimed there, and `compare` refuses it.
- Runs of an adaptive tuner in place of random search: none of these numbers applies.
- Seeds of one arm that fail so seldom that the study saw none that did: its mean over all
  seeds is then lower than claimed ("Seeds that seldom fail", below).
- Test scores without single examples: the claim holds for that very test set only.
  Without them, arms of equal accuracy are told apart by the luck of the test set.
- Tables of runs that others drew: their trials count as independent draws, whatever
  drew them.
- Search spaces unlike these (noisy quadratics of 1 to 6 hyperparameters, plateaus,
  ridges, two optima, choices, divergence at an edge): repeat it on yours with
  `archtrial calibrate STUDY`.
"""


def _unfinished() -> str:
    """Says which cells have fewer studies than they shall have."""
    cells = simulations.cells()
    short = [
        cell
        for cell in cells
        if (found := cell.found()) is None or found.tally.studies < cell.studies
    ]
    if not short:
        return f"All {len(cells)} cells have the studies that were planned.\n"
    return (
        f"{len(short)} of {len(cells)} cells have fewer studies than planned so far; the"
        " numbers above say how many each has.\n"
    )


def method_section(every: Known) -> str:
    """Seeds, versions, times."""
    seconds: dict[str, float] = {}
    studies: dict[str, int] = {}
    for cell, found in every:
        seconds[cell.journal] = seconds.get(cell.journal, 0) + found.seconds
        studies[cell.journal] = studies.get(cell.journal, 0) + found.tally.studies
    of_records = [
        found
        for n, effort in records.SIZES
        for pair in records.PAIRS
        if (found := records.found(pair, n, effort)) is not None
    ]
    seconds["records"] = sum(found.seconds for found in of_records)
    studies["records"] = sum(found.tally.studies for found in of_records)
    codes = sorted(
        {c for _, found in every for c in found.codes}
        | {c for found in of_records for c in found.codes}
    )
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("archtrial", "numpy", "scipy", "opda")
    )
    now = code()
    note = "They are the ones that stand now."
    if codes != [now]:
        note = (
            f"Those that stand now are {now}; `simulations.py --check` says whether they"
            " still count the same."
        )
        path = RESULTS / "check.json"
        if path.exists() and (checked := json.loads(path.read_text())):
            other = checked["other"]
            note = (
                "Since then the statistics became faster and learnt more; the first 100"
                f" studies of {checked['cells']} cells, carried out again by"
                f" {checked['statistics']}, gave the same counts"
                + (f" but for {', '.join(other)}." if other else " in every one.")
            )
    return f"""## How this page came about

`python evidence/calibration.py` runs what is missing and writes this page; every script
can be killed and goes on where it stopped. Seed {SEED}; each chunk of 100 studies has
the stream of (seed, setting, chunk), so neither interruptions nor the order change a
count. {versions}; Python {platform.python_version()}. Digests of the statistics that
judged: {", ".join(codes)}. {note}

{
        table(
            ("script", "studies", "seconds on one core, shared with other work"),
            [(name, f"{studies[name]:,}", f"{seconds[name]:.0f}") for name in seconds],
        )
    }
{_unfinished()}
A whole study is simulated: n configurations of each arm, one search run each, 3 fresh
seeds for the union of the top configurations and one for the rest of those that weigh,
both readings, test examples where the setting has them. The true gain is computed from
131,072 points that fill the space evenly (four shifted Sobol sequences). Scores: a peak
less a quadratic in 2 hyperparameters (unless the setting says otherwise), a seed's luck
of 1 point, 1 point more on validation. Monte-Carlo error of a rate near 2.5 %: .16
points in 10,000 studies, .5 in 1,000; of one near 95 %: .2 and .7.

Whole studies through the store, the kills and the resumptions: `evidence/README.md`.
"""


# --- what the package carries --------------------------------------------------


def summary(null: Known) -> dict[str, Any]:
    """Returns what `archtrial.calibration.published_error` reads."""
    sizes: dict[tuple[int, int, bool, str], Known] = {}
    for cell, found in null:
        setting = cell.setting
        key = (
            *(setting.configurations, setting.effort, setting.paired),
            setting.sampling,
        )
        sizes.setdefault(key, []).append((cell, found))
    rows = []
    for (n, effort, paired, sampling), cells in sorted(sizes.items()):
        total = Tally.of(found.tally for _, found in cells)
        better, worse = _false(total)

        def worst(one: tuple[simulations.Cell, Found]) -> float:
            return max(rate.estimate for rate in _false(one[1].tally))

        largest = max(cells, key=worst)
        rows.append(
            {
                "configurations": n,
                "effort": effort,
                "paired": paired,
                "sampling": sampling,
                "settings": len(cells),
                "studies": total.studies,
                "architecture": round(better.estimate, 5),
                "baseline": round(worse.estimate, 5),
                "worst": round(worst(largest), 5),
                "worst_setting": largest[0].name.partition(", n =")[0],
            }
        )
    return {"seed": SEED, "statistics": code(), "null": rows}


def _headline(null: Known, with_intervals: Known, sampling: str) -> str:
    """Sums up one way of drawing."""
    null, with_intervals = (
        [(cell, found) for cell, found in cells if cell.setting.sampling == sampling]
        for cells in (null, with_intervals)
    )
    if not null:
        return ""
    total = Tally.of(found.tally for _, found in null)
    settings = {cell.name.partition(", n =")[0] for cell, _ in null}
    largest, where = max(
        ((rate, cell) for cell, f in null for rate in _false(f.tally)),
        key=lambda one: one[0].estimate,
    )
    least, there = min(
        ((f.tally.rate("covered"), cell) for cell, f in with_intervals),
        key=lambda one: one[0].estimate,
    )
    claimed = ("verdict architecture", "verdict tuning", "verdict baseline")
    return f"""In {total.studies:,} simulated studies with **{_DRAWS[sampling]}** of two arms without any
true difference, in {len(settings)} settings, a verdict named one of them better in
{short(total.rate(*claimed))} %. The worst setting for that is *{where.name}*:
{percent(largest)} % to one side, where 2.5 % are promised. The interval of the gain,
nominally 95 %, holds in {short(least)} % of the studies where it does worst (*{there.name}*).
"""


def document() -> str:
    """Returns docs/calibration.md."""
    null = known(simulations.null_cells())
    rare = known(simulations.rare_cells())
    power = known(simulations.power_cells())
    confound = known(simulations.confound_cells())
    coverage = known(simulations.coverage_cells())
    with_intervals = [*null, *coverage]
    said = "\n".join(_headline(null, with_intervals, sampling) for sampling in _DRAWS)
    return f"""<!-- Written by `python evidence/calibration.py`; not to be edited. -->

# How often is a verdict wrong?

{said}
Simulated studies go through the very code that judges real ones. For a design of your
own: `archtrial calibrate my.toml`, or `archtrial calibrate STUDY`.

{trust_section(null, with_intervals)}
{null_section(null)}
{rare_section(rare)}
{power_section(power)}
{confound_section(confound)}
{coverage_section(with_intervals)}
{looks_section()}
{ceiling_section()}
{records_section()}
{crosscheck_section()}
{permutations_section()}
{method_section([*null, *rare, *power, *confound, *coverage])}"""


def main() -> None:
    """Runs the scripts, then writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only-docs", action="store_true", help="from the results as they are"
    )
    options = parser.parse_args()
    if not options.only_docs:
        for script in SCRIPTS:
            path = Path(__file__).with_name(f"{script}.py")
            subprocess.run([sys.executable, str(path)], check=True)
    write(ROOT / "docs" / "calibration.md", document())
    if power := known(simulations.power_cells()):
        write(ROOT / "docs" / "power.svg", power_figure(power) + "\n")
    carried = Path(archtrial.calibration.__file__).with_name("calibration.json")
    null = known(simulations.null_cells())
    write(carried, json.dumps(summary(null), indent=1) + "\n")


if __name__ == "__main__":
    main()
