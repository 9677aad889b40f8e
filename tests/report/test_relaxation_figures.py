import copy
import math
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import matplotlib.text
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from archtrial.errors import ProtocolError, RecordsError
from archtrial.experiments.relax import figures
from archtrial.experiments.relax.titles import relaxed_after, rises_of, share
from archtrial.report import drawing
from archtrial.report.drawing import LIGHT, NARROW, WIDE
from archtrial.report.estimates import measured, spread
from archtrial.report.log_axes import AmountAxis, TimeAxis

from .relaxations import est, gain, make_document
from .test_figures import HOSTILE

MANY = (0, 1, 2, 3, 5, 9, 15, 27, 47, 81, 141, 245, 425, 736, 1_277, 2_214, 3_838)
MANY += (6_654, 11_536, 20_000)
VARIANTS = {
    "twenty": {"times": MANY},
    "one relax time": {"times": (93,), "metric": "r2", "bounded": False},
    "from the start alone, one seed": {"times": (0,), "seeds": 1},
    "no relax time 0, lower is better": {
        "times": (5, 12, 93),
        "metric": "rmse",
        "higher_is_better": False,
        "bounded": False,
    },
    "huge": {
        "times": (0, 93),
        "metric": "mae",
        "higher_is_better": False,
        "bounded": False,
        "scale": 1e9,
    },
    "published": {"times": (0, 12, 93), "published": True},
    "nothing measured": {"times": (0, 93), "measured": False},
}


def label(name, document, width=WIDE):
    return figures.draw(name, document, width).get_label()


def changed(which, value, times=(0, 12, 93), **changes):
    """Returns a document in which every entry's measure is set, or made of its time."""
    document = make_document(times=times, **changes)
    for entry in document["times"]:
        made = value(entry["relax_time"]) if callable(value) else value
        entry[which] = copy.deepcopy(made)
    return document


def written(figure):
    """Yields the texts of a figure's axes, and where a reader's fonts put them."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    for axes in figure.axes:
        texts = [*axes.texts, axes.xaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [
                tick.label1
                for tick in axis.get_major_ticks()
                if low - 1e-9 <= tick.get_loc() <= high + 1e-9
                and tick.label1.get_visible()
            ]
        for text in texts:
            if text.get_text():
                # Without the leader that an annotation may have.
                box = matplotlib.text.Text.get_window_extent(text, renderer)
                # Matplotlib measures with a font that is wider than what readers have.
                spare = 0.12 * box.width
                left, right = {
                    "left": (0, spare),
                    "right": (spare, 0),
                    "center": (spare / 2, spare / 2),
                }[text.get_ha()]
                yield text.get_text(), box.x0 + left, box.x1 - right, box.y0, box.y1


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_figure_can_be_drawn_and_no_words_touch(variant):
    document = make_document(**VARIANTS[variant])
    drawable = figures.drawable(document)
    expected = figures.NAMES
    if variant == "nothing measured":
        expected = ("relax_times", "gains", "gains_over_fresh", "learning_rates")
    assert tuple(drawable) == expected
    for name, draw in drawable.items():
        for width in (WIDE, NARROW):
            with matplotlib.rc_context(drawing.STYLE):
                figure = draw(width)
                found = list(written(figure))
            assert found
            for i, (words, left, right, bottom, top) in enumerate(found):
                assert left > -1, (name, width, words)
                assert right < width + 1, (name, width, words)
                for other, begins, ends, low, high in found[:i]:
                    apart = (
                        min(right, ends) - max(left, begins) < 1
                        # Lines of text may share a pixel or two above and below.
                        or min(top, high) - max(bottom, low) < 4
                    )
                    assert apart, (name, width, words, other)


@pytest.fixture(scope="module")
def whole():
    return make_document(times=(0, 93), published=True)


def test_svg_is_well_formed_alone_and_the_same_again(whole):
    ids = []
    for name in figures.NAMES:
        for width in (WIDE, NARROW):
            svg = drawing.to_svg(figures.draw(name, whole, width))
            if width == NARROW:
                assert svg == drawing.to_svg(figures.draw(name, whole, width))
            root = ElementTree.fromstring(svg)
            links = re.findall(r'(?:href|src)="([^"]*)"', svg)
            assert all(link.startswith("#") for link in links)
            ids += [e.get("id") for e in root.iter() if e.get("id")]
            variables = r"var\(--([a-z0-9-]+), (#[0-9a-f]{6})\)"
            for role, color in re.findall(variables, svg):
                assert LIGHT[role] == color
            # Nothing keeps a colour of its own, which dark mode would hide.
            rest = re.sub(variables, "", svg)
            assert not re.search(r"#[0-9a-fA-F]{6}[;\"]|black|white", rest), name
    assert len(ids) == len(set(ids))


def test_hostile_names_are_only_text():
    names = {"cnn": HOSTILE, "relaxed": f"{HOSTILE}2", "fresh": f"{HOSTILE}3"}
    document = make_document(times=(0, 93), names=names, data=HOSTILE, published=True)
    document["published"]["source"] = HOSTILE
    for name in figures.NAMES:
        root = ElementTree.fromstring(
            drawing.to_svg(figures.draw(name, document, NARROW), titled=True)
        )
        assert not [e for e in root.iter() if e.tag.endswith("script")]
        assert "var(" not in "".join(root.itertext())
    figure = figures.draw("relax_times", document)
    words = "".join(ElementTree.fromstring(drawing.to_svg(figure)).itertext())
    assert "elsewhere: <script>alert(1)</script>" in words
    assert "$\\frac{1}$" in words


def test_names_that_are_not_there_are_explained(whole):
    with pytest.raises(ProtocolError, match="relax_times, gains"):
        figures.draw("peak", whole)
    bare = make_document(times=(93,), measured=False)
    with pytest.raises(RecordsError, match="relax_times, gains, gains_over_fresh and"):
        figures.draw("curvature", bare)


# ------------------------------------------------------------------ the messages


def gains_of(*intervals):
    """Returns a document whose gains have these intervals, at 1, 10, 100, ... steps."""
    document = make_document(times=[10**i for i in range(len(intervals))])
    for entry, ends in zip(document["times"], intervals, strict=True):
        low, high = ends
        found = {"estimate": (low + high) / 2, "low": low, "high": high}
        entry["gain"] = entry["gain_over_fresh"] = found | dict.fromkeys(
            ("p_value", "p_value_adjusted"), 0.01
        )
    best = max(document["times"], key=lambda entry: entry["gain"]["estimate"])
    return document | {"best_time": best["relax_time"]}


@pytest.mark.parametrize(
    ("intervals", "peak", "lead"),
    [
        (
            [(-0.1, -0.05), (0.01, 0.03), (-0.01, 0.02)],
            "The eFCN gains most when relaxed after 10 steps: 2.0 points over the CNN",
            "Relaxed after 10 steps, the eFCN beats the CNN by more than the margin",
        ),
        (
            [(0.01, 0.03), (0.02, 0.04), (-0.01, 0.02)],
            "The eFCN gains most when relaxed after 10 steps: 3.0 points over the CNN",
            "At 2 of 3 relax times the eFCN beats the CNN by more than the margin",
        ),
        (
            [(0.001, 0.03), (0.002, 0.04)],
            "The eFCN gains most when relaxed after 10 steps: 2.1 points over the CNN",
            "At all 2 relax times the eFCN beats the CNN, but not surely by the margin",
        ),
        (
            [(-0.1, -0.05), (-0.01, 0.02)],
            "The eFCN gains most when relaxed after 10 steps: .5 points over the CNN,"
            " which chance may have made",
            "Relaxed after 1 step, the eFCN falls short of the CNN",
        ),
        (
            [(-0.02, 0.01), (-0.03, 0.02)],
            "At every relax time the eFCN ends no better than the CNN",
            "At no relax time is the eFCN clearly ahead of the CNN",
        ),
        (
            [(0.01, 0.03)],
            "The eFCN relaxed after 1 step ends 2.0 points above the CNN",
            "Relaxed after 1 step, the eFCN beats the CNN by more than the margin",
        ),
    ],
)
def test_titles_say_what_the_gains_are(intervals, peak, lead):
    document = gains_of(*intervals)
    assert label("relax_times", document) == peak
    assert label("gains", document) == lead
    assert label("gains_over_fresh", document) == lead.replace("CNN", "FCN")


def test_one_seed_tells_no_gain_from_chance():
    document = make_document(times=(12, 93), seeds=1)
    assert label("gains", document) == (
        "One seed leaves open whether the eFCN beats the CNN"
    )
    assert label("relax_times", document).endswith(", which chance may have made")


def test_a_gain_that_was_not_estimated_is_in_no_title():
    document = make_document(times=(12, 93), best_time=None)
    assert label("relax_times", document) == (
        "Test scores of CNN, eFCN and FCN by relax time"
    )
    assert label("relax_times", make_document(verdict="not_assessable")) == (
        "Test scores of CNN, eFCN and FCN by relax time"
    )
    document["times"][0]["gain"] = document["times"][0]["scores"] = None
    document["times"][0]["points"] = None
    assert "relax_times" in figures.drawable(document)
    assert label("gains", document).startswith("Relaxed after 93 steps, the eFCN beats")


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (
            {0: 0.16, 12: 0.05, 93: 0.0016},
            "The later it is relaxed, the less it leaves the convolutional subspace: 16\u00a0%"
            " of the norm is off-local when relaxed before the first step, .16\u00a0% after 93"
            " steps",
        ),
        (
            {0: 0.01, 12: 0.02, 93: 0.3},
            "The later it is relaxed, the more it leaves the convolutional subspace: 1\u00a0%"
            " of the norm is off-local when relaxed before the first step, 30\u00a0% after 93"
            " steps",
        ),
        # Neither up nor down.
        (
            {0: 0.01, 12: 0.5, 93: 0.02},
            "1\u00a0% of the norm is off-local when relaxed before the first step, 2\u00a0% after"
            " 93 steps",
        ),
        # Not clear of chance.
        (
            {0: 0.05, 12: 0.051, 93: 0.052},
            "5\u00a0% of the norm is off-local when relaxed before the first step, 5.2\u00a0% after"
            " 93 steps",
        ),
    ],
)
def test_the_title_says_how_far_it_leaves(shares, message):
    document = changed(
        "deviation",
        lambda time: {
            "estimate": shares[time],
            "low": shares[time] - 0.002,
            "high": shares[time] + 0.002,
        },
    )
    assert label("deviation", document) == message


def test_a_locally_connected_network_only_unties():
    document = changed("deviation", est([0.0, 0.0]))
    message = label("deviation", document)
    assert "16\u00a0%" not in message
    assert "6.4\u00a0% of the norm is no longer tied when relaxed" in message
    for entry in document["times"]:
        entry["untied"] = est([0.0, 0.0])
    assert (
        label("deviation", document) == "The eFCN stays in the convolutional subspace"
    )


def test_an_amount_of_zero_keeps_a_place_on_a_logarithmic_axis():
    found = {0: 0.2, 12: 0.001, 93: 0.0}
    document = changed("deviation", lambda time: est([found[time]] * 2), untied=None)
    for entry in document["times"]:
        entry["untied"] = None
    axes = figures.draw("deviation", document).axes[0]
    points = next(line for line in axes.lines if line.get_marker() == "o")
    y = points.get_ydata()
    assert np.isfinite(y).all()
    bottom, _ = axes.get_ylim()
    assert bottom <= y[2] < y[1] < y[0]
    ticks = dict(
        zip(
            [t.get_text() for t in axes.get_yticklabels()],
            axes.get_yticks(),
            strict=True,
        )
    )
    assert ticks["0"] == y[2]
    assert ticks["10\u00a0%"] == pytest.approx(math.log10(0.1))


def test_the_title_says_what_the_off_local_weights_are_worth():
    document = make_document(times=(12, 93))
    found = document["times"][1]["validation"]
    found["relaxed"], found["local_alone"] = est([0.8, 0.8]), est([0.78, 0.78])
    assert label("parts", document) == (
        "Without its off-local weights the eFCN loses 2.0 points (relaxed after 93"
        " steps)"
    )
    document["metric"] |= {"higher_is_better": False}
    assert label("parts", document) == (
        "Without its off-local weights the eFCN loses nothing (relaxed after 93 steps)"
    )
    found["local_alone"] = None
    assert "(relaxed after 12 steps)" in label("parts", document)


def test_the_off_local_part_does_not_press_the_others_together():
    upper, lower = figures.draw("parts", make_document()).axes
    assert upper.get_ylim()[0] > 0.6 > 0.2 > lower.get_ylim()[1]
    assert [text.get_text() for text in lower.texts] == ["off-local alone"]


def test_the_title_says_how_high_the_loss_rises_between():
    def line(*loss):
        known = [est([value] * 2) for value in loss]
        position = list(np.linspace(0, 1, len(loss)))
        rise = max(np.array(loss) - np.linspace(loss[0], loss[-1], len(loss)))
        barrier = est([rise] * 2)
        return {"position": position, "loss": known, "score": known, "barrier": barrier}

    flat = changed("path", line(0.5, 0.45, 0.4))
    assert label("path", flat) == (
        "On the straight line from the CNN to the eFCN the loss rises by no more than 2\u00a0%"
    )
    high = changed("path", lambda time: line(0.5, 0.6 + time / 100, 0.4))
    assert label("path", high) == (
        "On the straight line from the CNN to the eFCN the loss rises by 1.1 when relaxed"
        " after 93 steps, and less at the others"
    )
    assert [rise for rise, _, _ in rises_of(high)] == pytest.approx([0.15, 0.27, 1.08])
    alone = changed("path", line(0.5, 0.7, 0.4), times=(93,))
    assert label("path", alone).endswith("the loss rises by 0.25")
    alone["times"][0]["path"]["barrier"] = None
    assert label("path", alone) == (
        "What lies on the straight line from the CNN to the eFCN"
    )


def test_of_many_paths_the_telling_ones_are_drawn():
    document = make_document(times=MANY, best_time=425)
    highest = document["times"][6]
    assert highest["relax_time"] == 15
    highest["path"]["barrier"] = est([9.0, 9.0])
    chosen = figures.chosen_times(document)
    assert len(chosen) == figures.PATHS
    assert {0, 15, 425, 20_000} < set(chosen)
    assert "relaxed after 15 steps" in label("path", document)
    upper, _ = figures.draw("path", document).axes
    labels = [text.get_text() for text in upper.texts]
    assert {f"{time:,}" for time in chosen} < set(labels)


def test_the_title_counts_where_the_loss_ends_flatter():
    falling = {0: (9, 3), 12: (5, 4), 93: (2, 6)}
    document = changed(
        "curvature",
        lambda time: {
            when: est([value] * 2)
            for when, value in zip(("start", "end"), falling[time], strict=True)
        },
    )
    message = "The loss is flatter where the eFCN ends than where it started, at 2 of 3"
    assert label("curvature", document) == f"{message} relax times"
    falling |= {0: (3, 9), 12: (4, 5)}
    for entry in document["times"]:
        entry["curvature"] = {"start": est([1, 1]), "end": est([2, 2])}
    assert "is sharper where" in label("curvature", document)
    assert label("curvature", document).endswith("at all 3 relax times")


@pytest.mark.parametrize(
    ("ends", "title"),
    [
        # Lower on average, and the intervals overlap: that counts nowhere.
        (
            ([1.5, 2.5], [1.5, 2.5], [1.5, 2.5]),
            "The loss is neither clearly flatter nor sharper where the eFCN ends",
        ),
        (
            ([1.5, 2.5], [1.0, 1.01], [1.5, 2.5]),
            "The loss is flatter where the eFCN ends than where it started, at 1 of 3"
            " relax times",
        ),
        (
            ([9.0, 9.1], [1.0, 1.01], [9.0, 9.1]),
            "The loss is sharper where the eFCN ends than where it started, at 2 of 3"
            " relax times",
        ),
    ],
)
def test_the_title_counts_only_curvatures_that_lie_apart(ends, title):
    document = changed("curvature", None)
    for entry, end in zip(document["times"], ends, strict=True):
        entry["curvature"] = {"start": est([3.0, 3.01]), "end": est(end)}
    assert label("curvature", document) == title


def test_a_single_curvature_that_is_not_clear_is_no_trend():
    document = changed("curvature", None, times=(12,))
    (entry,) = document["times"]
    # One seed has no interval.
    entry["curvature"] = {"start": est([3.0]), "end": est([1.0])}
    title = "The loss is neither clearly flatter nor sharper where the eFCN ends"
    assert label("curvature", document) == title
    entry["curvature"] = {"start": est([3.0, 3.01]), "end": est([1.0, 1.01])}
    title = "The loss is flatter where the eFCN ends than where it started"
    assert label("curvature", document) == title


def test_a_negative_eigenvalue_has_a_place():
    document = changed("curvature", {"start": est([-5.0] * 2), "end": est([90.0] * 2)})
    axes = figures.draw("curvature", document).axes[0]
    assert axes.get_ylim()[0] < -5 < 90 < axes.get_ylim()[1]


def test_the_title_names_rates_at_an_edge():
    document = make_document(times=(12, 93))
    arms = document["learning_rates"]
    inside = "Each chosen learning rate lies inside the range that was tried"
    assert label("learning_rates", document) == inside
    arms[5]["at_edge"] = True
    assert label("learning_rates", document) == (
        "The chosen learning rate of eFCN, 93 lies at an edge of the range that was tried"
    )
    arms[1]["at_edge"] = True
    assert "rates of FCN; eFCN, 93 lie at" in label("learning_rates", document)
    arms[2]["at_edge"] = True
    assert "of FCN; CNN, 12; eFCN, 93 lie at" in label("learning_rates", document)
    for arm in arms:
        arm["at_edge"] = True
    assert label("learning_rates", document).startswith("6 of 6 chosen learning rates")
    for arm in arms:
        arm["tried"] = [arm["tried"][0]]
    assert label("learning_rates", document).startswith(
        "Every network was given one learning rate"
    )


def test_what_was_tried_for_the_cnn_that_goes_on_is_not_drawn():
    document = make_document(times=(12, 93))
    arms = document["learning_rates"]
    roles = ["cnn", "fresh", "kept", "kept", "relaxed", "relaxed"]
    assert [arm["role"] for arm in arms] == roles
    for i, arm in enumerate(arms):
        for one in arm["tried"]:
            one["validation"] = 0.6 + i / 100
    axes = figures.draw("learning_rates", document).axes[0]
    drawn = {round(float(line.get_ydata()[0]), 6) for line in axes.lines}
    assert drawn == {0.6, 0.61, 0.64, 0.65}
    labels = {text.get_text() for text in axes.texts}
    assert {"CNN", "FCN", "eFCN, 12", "eFCN, 93"} <= labels
    assert not labels & {"CNN, 12", "CNN, 93"}


def test_a_rate_at_which_all_broke_down_has_no_point():
    document = make_document(times=(12, 93))
    arms = document["learning_rates"]
    arms[0]["tried"][0]["validation"] = None
    line = figures.draw("learning_rates", document).axes[0]
    assert min(len(drawn.get_xdata()) for drawn in line.lines) < 4


# ------------------------------------------------------------------ what is drawn


def test_every_seed_is_a_point_and_means_lie_where_they_belong():
    document = make_document(times=(0, 12, 93), seeds=7)
    axes = figures.draw("relax_times", document).axes[0]
    points = sum(len(dots.get_offsets()) for dots in axes.collections if dots_of(dots))
    assert points == 3 * 3 * 7
    wanted = [
        entry["scores"]["best"]["relaxed"]["estimate"] for entry in document["times"]
    ]
    drawn = [list(line.get_ydata()) for line in axes.lines if line.get_marker() == "o"]
    assert any(np.allclose(y, wanted) for y in drawn)


def dots_of(collection):
    return type(collection).__name__ == "PathCollection"


def test_the_declared_reading_is_what_is_drawn():
    best = make_document(times=(12, 93))
    last = make_document(times=(12, 93), reading="last", other_reading="best")

    def heights(document):
        axes = figures.draw("relax_times", document).axes[0]
        return [y for line in axes.lines for y in line.get_ydata()]

    wanted = last["times"][0]["scores"]["last"]["cnn"]["estimate"]
    assert wanted in heights(last)
    assert wanted not in heights(best)


def test_a_run_out_of_all_proportion_is_marked_at_the_edge():
    document = make_document(metric="mae", higher_is_better=False, bounded=False)
    document["times"][2]["points"]["best"]["relaxed"][0] = 1e9
    axes = figures.draw("relax_times", document).axes[0]
    assert axes.get_ylim()[1] < 1
    dots = [c for c in axes.collections if dots_of(c)]
    assert sum(len(c.get_offsets()) for c in dots) == 8 * 3 * 10
    assert max(c.get_offsets()[:, 1].max() for c in dots) < axes.get_ylim()[1]


def test_published_points_have_axes_of_their_own():
    document = make_document(times=(12, 93), published=True)
    ours, theirs = figures.draw("relax_times", document).axes
    assert theirs.get_xlabel() == "relax time, epochs"
    assert "steps" in ours.get_xlabel()
    line = theirs.lines[0]
    assert line.get_markerfacecolor() == LIGHT["paper"]
    assert max(line.get_ydata()) == 0.7475
    # They are no part of what is drawn of ours.
    assert ours.get_ylim() == (
        figures.draw("relax_times", document | {"published": None}).axes[0].get_ylim()
    )
    texts = [text.get_text() for text in theirs.texts]
    assert {"eFCN", "CNN", "FCN", "test accuracy"} < set(texts)
    assert "elsewhere: d'Ascoli et al. 2019" in texts


def test_gains_clear_of_zero_are_filled_on_either_side():
    document = gains_of((0.01, 0.03), (-0.01, 0.02), (-0.05, -0.02))
    axes = figures.draw("gains", document).axes[0]
    faces = [
        line.get_markerfacecolor() for line in axes.lines if line.get_marker() == "o"
    ]
    blue, paper = figures.COLORS["relaxed"], LIGHT["paper"]
    assert faces == [blue, paper, blue]
    (band,) = axes.patches
    assert band.get_y() == -document["margin"]
    assert band.get_height() == 2 * document["margin"]


# ------------------------------------------------------------------------ the axes


def an_axis(times, marked=None, width=600):
    figure, top = drawing.blank("", width, 200)
    axes = drawing.axes_at(figure, 40, top, width - 80, 150)
    return axes, TimeAxis(axes, times, marked)


def shown(axes):
    return [tick.get_text() for tick in axes.get_xticklabels() if tick.get_text()]


def test_relax_times_are_spaced_by_their_logarithm_and_zero_stands_apart():
    axes, over = an_axis((0, 10, 100, 1_000))
    assert over.place(100) - over.place(10) == pytest.approx(1)
    assert over.place(10) - over.place(0) == pytest.approx(1)
    low, high = axes.get_xlim()
    assert low < over.place(0) < over.place(1_000) < high
    # The way to 0 is dotted: no logarithm leads there.
    over.line([est([0.5, 0.6])] * 4, "#000000", "a")
    solid, _, dotted, interval = axes.lines
    assert list(solid.get_xdata()) == [1, 2, 3]
    assert dotted.get_linestyle() == ":"
    assert list(dotted.get_xdata()) == [0, 1]
    # So its interval is a line of its own, beside the others' band.
    assert list(interval.get_xdata()) == [0, 0]
    assert len(axes.collections) == 1


def test_as_many_times_are_labelled_as_fit_and_the_marked_one_always():
    axes, over = an_axis(MANY, width=300)
    over.finish("time")
    assert "47" not in shown(axes)
    axes, over = an_axis(MANY, 47, width=300)
    over.finish("time")
    labels = shown(axes)
    assert {"0", "47", "20,000"} < set(labels)
    assert 4 < len(labels) < len(MANY)
    assert len(axes.get_xticks()) == len(MANY)
    axes, over = an_axis((5, 50), width=600)
    over.finish("time", labelled=False)
    assert shown(axes) == []
    assert axes.get_xlabel() == ""


def test_a_gap_in_a_line_stays_a_gap():
    axes, over = an_axis((1, 10, 100))
    assert over.line([None, None, None], "#000000", "a") == []
    (end,) = over.line(
        [est([1.0, 2.0]), None, {"estimate": 3.0, "low": None, "high": None}],
        "#000000",
        "a",
    )
    assert end == (2.0, 3.0, "a", "#000000")
    dots = next(line for line in axes.lines if line.get_marker() == "o")
    assert np.isnan(dots.get_ydata()[1])
    # A lone interval is a line, since a band needs two.
    assert list(axes.lines[-1].get_ydata()) != [1.5, 1.5]
    assert list(axes.lines[-1].get_xdata()) == [0, 0]


@pytest.mark.parametrize(
    ("amounts", "logarithmic", "zero"),
    [
        ([1.0, 2.0], False, False),
        ([1.0, 200.0], True, False),
        ([0.0, 1.0, 200.0], True, True),
        ([-50.0, 1.0, 200.0], False, True),
        ([0.0, 0.0], False, True),
        ([], False, False),
    ],
)
def test_an_axis_is_logarithmic_where_it_spans_much(amounts, logarithmic, zero):
    axis = AmountAxis.of(amounts)
    assert (axis.logarithmic, axis.zero) == (logarithmic, zero)
    placed = axis.placed({"estimate": 0.0, "low": None, "high": None})
    assert placed == {
        "estimate": axis.floor if logarithmic else 0.0,
        "low": None,
        "high": None,
    }


def test_words_and_measures():
    assert relaxed_after(0) == "relaxed before the first step"
    assert relaxed_after(1) == "relaxed after 1 step"
    assert relaxed_after(2_000) == "relaxed after 2,000 steps"
    assert [share(x) for x in (0, 0.00079, 0.05, 0.0994, 0.0996, 0.16, 1)] == [
        "0\u00a0%", ".079\u00a0%", "5\u00a0%", "9.9\u00a0%", "10\u00a0%", "16\u00a0%", "100\u00a0%",
    ]  # fmt: skip
    assert not measured(None)
    assert not measured({"estimate": math.nan})
    assert measured({"a": None, "b": est([1.0])})
    assert not measured({"a": None, "b": est([1.0])}, "a")
    assert not measured(gain([1.0]) | {"estimate": None})


def test_an_end_whose_loss_is_unknown_does_not_hide_the_other():
    def entry(*ends):
        return {"relax_time": 3, "path": {"barrier": est([0.1]), "loss": [*ends]}}

    known, unknown = est([2.0]), {"estimate": math.nan}
    both = [entry(known, unknown), entry(unknown, known), entry(None, known)]
    assert [end for _, end, _ in rises_of({"times": both})] == [2.0, 2.0, 2.0]


def test_a_spread_holds_what_was_asked_for_and_both_ends():
    assert spread(4, [2], 5) == [0, 1, 2, 3]
    assert spread(20, [9], 5) == [0, 4, 9, 14, 19]
    assert spread(20, [9], 1) == [9]
    assert spread(20, [9, 9], 2) == [0, 9]


def test_figures_are_saved(tmp_path):
    figure = figures.draw("gains", make_document(times=(12, 93)))
    drawing.save(figure, tmp_path / "a.svg")
    assert figure.get_label().split(",")[0] in (tmp_path / "a.svg").read_text("utf-8")
    drawing.save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
