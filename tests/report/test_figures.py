import dataclasses
import math
import re
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import numpy as np
import pytest

from archtrial.errors import ProtocolError, RecordsError
from archtrial.records.table import CurvePoint, Run
from archtrial.report import drawing, figures
from archtrial.report.evidence import fresh_runs, mean_interval, tuned_pair
from archtrial.space import Choice, Integer, Real
from archtrial.statistics.learning import Rise

from .conftest import Score, make_comparison, make_evidence

ARMS = figures.colors("mlp", ["cnn"])
HOSTILE = "<script>alert(1)</script> \"q\" 'a' & $\\frac{1}$ #ffffff \x00 🎉 卷积 ]]>"


def curve(test, half=0.01):
    test = np.asarray(test, dtype=float)
    effort = np.arange(1, len(test) + 1)
    return SimpleNamespace(
        effort=effort, validation=test, low=test - half, high=test + half, test=test
    )


def run(arm, test, seed=1, stage="winner", pair=0, **changes):
    return Run(arm, pair, seed, stage, {}, validation=test, test=test, **changes)


def learned(arm, scores, stage="search", seed=0):
    points = tuple(CurvePoint(100 * i, 1.0, s) for i, s in enumerate(scores, 1))
    return run(arm, scores[-1], seed=seed, stage=stage, curve=points)


@pytest.mark.parametrize(
    ("mlp", "cnn", "half", "message"),
    [
        (
            [0.5, 0.6],
            [0.7, 0.8],
            0.01,
            "cnn is ahead of mlp at every effort up to 2 trials",
        ),
        (
            [0.5, 0.6],
            [0.7, 0.8],
            0.2,
            "cnn is ahead of mlp at every effort up to 2 trials",
        ),
        (
            [0.5, 0.6, 0.6],
            [0.51, 0.8, 0.8],
            0.05,
            "cnn is ahead of mlp at every effort up to 3 trials",
        ),
        ([0.5, 0.6], [0.4, 0.8], 0.01, "mlp is ahead up to 1 trial, cnn with more"),
        (
            [0.5, 0.5, 0.5],
            [0.4, 0.6, 0.4],
            0.01,
            "The lead between mlp and cnn changes with the effort",
        ),
        (
            [0.5, 0.6],
            [0.5, 0.6],
            0.1,
            "mlp and cnn score the same at every effort up to 2 trials",
        ),
        (
            [0.8],
            [0.7],
            0.2,
            "mlp is ahead of cnn at an effort of 1 trial",
        ),
    ],
)
def test_tuning_curves_say_who_leads(mlp, cnn, half, message):
    curves = {"mlp": curve(mlp, half), "cnn": curve(cnn, half)}
    figure = figures.tuning_curves(ARMS, curves, Score(), 1)
    assert figure.get_label() == message


def test_one_arm_or_many_have_their_own_messages():
    arms = figures.colors("a", ["b", "c"])
    curves = {"a": curve([0.5] * 3), "b": curve([0.7] * 3), "c": curve([0.6] * 3)}

    def message(*names):
        chosen = {name: arms[name] for name in names}
        return figures.tuning_curves(chosen, curves, Score(), 1).get_label()

    assert message("a") == "What more tuning gains for a"
    assert message("a", "b", "c") == (
        "b is ahead of all others at every effort up to 3 trials"
    )
    assert message("a", "b") == "b is ahead of a at every effort up to 3 trials"
    runs = [run("a", 0.5, seed) for seed in range(3)]
    alone = figures.fresh_seeds({"a": arms["a"]}, runs, Score())
    assert alone.get_label() == "Seeds alone move the tuned a this far"


def test_long_curves_have_a_logarithmic_axis():
    curves = {"mlp": curve([0.5] * 64), "cnn": curve([0.7] * 64)}
    axes = figures.tuning_curves(ARMS, curves, Score(), 8).axes[0]
    assert axes.get_xscale() == "log"
    assert ">32</text>" in figures.to_svg(axes.figure)


def test_a_thousand_seeds_stay_in_their_rows():
    scores = np.random.default_rng(0).normal(0.7, 0.01, 1000)
    runs = [run(a, s, i) for a in ARMS for i, s in enumerate(scores)]
    axes = figures.fresh_seeds(ARMS, runs, Score()).axes[0]
    rows = [points.get_offsets()[:, 1] for points in axes.collections]
    assert [len(row) for row in rows] == [1000, 1000]
    assert rows[0].max() < axes.get_ylim()[0] / 2 < rows[1].min()
    # One above the other where there is room, not all on one line.
    assert len(np.unique(rows[0])) > 8


def test_less_is_better_where_it_is():
    curves = {"mlp": curve([3.0, 2.0]), "cnn": curve([2.0, 1.0])}
    metric = Score("rmse", False, False)
    figure = figures.tuning_curves(ARMS, curves, metric, 2)
    assert figure.get_label().startswith("cnn is ahead of mlp")
    svg = figures.to_svg(figure)
    assert "gap there: +1.00" in svg
    assert "root mean squared error (lower is better)" in svg


def test_curves_without_test_scores_show_validation():
    mlp, cnn = curve([0.5, 0.6]), curve([0.7, 0.8])
    cnn.test = np.array([0.1, np.nan])
    figure = figures.tuning_curves(ARMS, {"mlp": mlp, "cnn": cnn}, Score(), 2)
    assert figure.get_label().startswith("cnn is ahead")


def test_a_band_without_an_end_runs_out_of_the_figure():
    mlp, cnn = curve([0.5, 0.6]), curve([0.7, 0.8])
    cnn.high, mlp.low = np.array([np.inf, np.inf]), np.array([-1e9, -1e9])
    figure = figures.tuning_curves(ARMS, {"mlp": mlp, "cnn": cnn}, Score(), 2)
    low, high = figure.axes[0].get_ylim()
    assert -1 < low < high < 2


def test_an_effort_beyond_the_curves_is_not_marked():
    curves = {"mlp": curve([0.5, 0.6]), "cnn": curve([0.7, 0.8])}
    assert "declared effort" in figures.to_svg(
        figures.tuning_curves(ARMS, curves, Score(), 2)
    )
    assert "declared effort" not in figures.to_svg(
        figures.tuning_curves(ARMS, curves, Score(), 3)
    )


@pytest.mark.parametrize(
    ("mlp", "cnn", "message"),
    [
        (
            [0.5, 0.6],
            [0.7, 0.8],
            "The tuned cnn beats the tuned mlp on both fresh seeds",
        ),
        (
            [0.5, 0.6, 0.9],
            [0.7, 0.8, 0.7],
            "The tuned cnn beats the tuned mlp on 2 of 3 fresh seeds",
        ),
        (
            [0.9, 0.9],
            [0.7, 0.9],
            "The tuned mlp beats the tuned cnn on 1 of 2 fresh seeds",
        ),
        (
            [0.5, 0.9],
            [0.7, 0.8],
            "The tuned mlp and cnn each win on 1 of 2 fresh seeds",
        ),
    ],
)
def test_fresh_seeds_count_wins(mlp, cnn, message):
    runs = [run("mlp", t, seed) for seed, t in enumerate(mlp)]
    runs += [run("cnn", t, seed) for seed, t in enumerate(cnn)]
    assert figures.fresh_seeds(ARMS, runs, Score()).get_label() == message


def test_seeds_that_are_not_paired_are_not_counted():
    runs = [run("mlp", 0.5, 1), run("cnn", 0.7, 2)]
    message = figures.fresh_seeds(ARMS, runs, Score()).get_label()
    assert message == "The tuned mlp and cnn on fresh seeds"


def test_effects_say_which_are_clear_of_zero():
    def message(*lows):
        comparisons = [
            make_comparison(
                challenger=f"c{i}",
                effect={"estimate": low + 0.1, "low": low, "high": low + 0.2},
            )
            for i, low in enumerate(lows)
        ]
        arms = figures.colors("mlp", [c["challenger"] for c in comparisons])
        return figures.effects(arms, comparisons, Score()).get_label()

    assert message(0.1) == "c0 gains 20 points over mlp"
    assert message(-0.2) == "c0 falls 10 points short of mlp"
    assert message(0.1, -0.1, 0.2) == "Of 3 challengers, c0 and c2 gain over mlp"
    assert message(-0.1, -0.1) == "No challenger's gain over mlp is clear of 0"
    assert message(0.1, 0.1) == "Every challenger's gain over mlp is clear of 0"
    assert message(*[0.1] * 4, -0.1) == "4 of 5 challengers gain over mlp clear of 0"


def test_learning_curves_say_what_still_improves():
    flat, rising = [0.1, 0.5, 0.6, 0.6, 0.6, 0.6], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    level = figures.learning_curves(
        ARMS,
        [learned("mlp", flat), learned("cnn", flat)],
        Score(),
        0.005,
        rises={"mlp": Rise(0.001, 0.1, 0.0), "cnn": Rise(0.001, 0.1, 0.0)},
    )
    assert level.get_label().startswith("Both have levelled off")
    # A schedule that decays flattens what had not been learnt.
    decayed = figures.learning_curves(
        ARMS,
        [learned("mlp", flat), learned("cnn", flat)],
        Score(),
        0.005,
        rises={"mlp": Rise(0.08, 0.1, 0.0), "cnn": Rise(0.001, 0.1, 0.0)},
    )
    assert decayed.get_label() == (
        "Still improving until the learning rate fell: mlp (+8.0 points)"
    )
    unknown = figures.learning_curves(
        ARMS, [learned("mlp", flat), learned("cnn", flat)], Score(), 0.005
    )
    assert "levelled off" not in unknown.get_label()
    still = figures.learning_curves(
        ARMS, [learned("mlp", rising), learned("cnn", flat)], Score(), 0.005
    )
    assert still.get_label() == (
        "Still improving in the last fifth of training: mlp (+12.0 points)"
    )


def test_many_learning_curves_become_a_band():
    def lines(count):
        runs = [learned("mlp", [0.1, 0.2, 0.3 + i / 1000]) for i in range(count)]
        figure = figures.learning_curves({"mlp": "#000000"}, runs, Score(), 0.005)
        return len(figure.axes[0].lines), len(figure.axes[0].collections)

    assert lines(figures.MANY) == (figures.MANY + 1, 0)
    assert lines(figures.MANY + 1) == (1, 1)


def test_search_positions_fill_the_best_and_shade_an_edge(evidence):
    figure = figures.search_positions(
        ARMS,
        evidence.runs,
        evidence.spaces,
        Score(),
        4,
        {"mlp": {"learning_rate": "high"}},
    )
    assert figure.get_label() == (
        "The best mlp configurations pile up at the high end of learning_rate: a wider"
        " space may change the verdict"
    )
    # Three dimensions are shared, two belong to one arm each, and both arms have
    # a width of their own kind.
    assert len(figure.axes) == 7
    learning_rate = figure.axes[1]
    filled = [c for c in learning_rate.collections if len(c.get_facecolor())]
    assert [len(c.get_offsets()) for c in filled] == [4, 4]
    assert len(learning_rate.patches) == 1
    assert not figure.axes[0].patches
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"width (mlp)", "width (cnn)", "mlp at the high end"} <= set(texts)


def test_a_run_without_a_score_leaves_the_others_in_their_places(evidence):
    first, *others = evidence.runs
    assert first.stage == "search"

    def limits(runs):
        figure = figures.search_positions(
            ARMS, runs, evidence.spaces, Score(), 4, evidence.edges
        )
        return figure.axes[0].get_ylim()

    diverged = dataclasses.replace(first, validation=math.nan, diverged=True)
    assert limits([diverged, *others]) == limits(others)
    assert np.isfinite(limits([diverged])).all()


def test_points_lie_where_their_dimension_says(evidence):
    figure = figures.search_positions(
        ARMS, evidence.runs, evidence.spaces, Score(), 4, {}
    )
    space = evidence.spaces["mlp"]["learning_rate"]
    expected = {
        (round(space.position(r.configuration["learning_rate"]), 9), r.validation)
        for r in evidence.runs
        if r.stage == "search"
    }
    drawn = {
        (round(float(x), 9), float(y))
        for points in figure.axes[1].collections
        for x, y in points.get_offsets()
    }
    assert drawn == expected


@pytest.mark.parametrize(
    "dimension",
    [
        Real(0.0, 1.0),
        Real(1e-6, 1.0, log=True),
        Integer(1, 2),
        Integer(1, 1000, log=True),
        Choice((True, False)),
        Choice(tuple(f"a very long option {i}" for i in range(12))),
        Choice((HOSTILE, "$x$")),
    ],
)
def test_every_dimension_can_be_drawn(dimension):
    runs = [
        dataclasses.replace(
            run("mlp", q, stage="search", pair=i),
            configuration={"x": dimension.value(q)},
        )
        for i, q in enumerate(np.linspace(0, 0.999, 8))
    ]
    for width in (figures.WIDE, figures.NARROW):
        figure = figures.search_positions(
            {"mlp": "#000000"}, runs, {"mlp": {"x": dimension}}, Score(), 2, {}, width
        )
        figures.to_svg(figure)
        assert sum(len(c.get_offsets()) for c in figure.axes[0].collections) == 8


def test_the_tuned_configuration_is_the_best_of_the_search_or_the_winners():
    runs = [
        run("a", score, stage="search", pair=i, seed=0)
        for i, score in enumerate([0.2, 0.9, 0.5])
    ]
    less = Score("rmse", False, False)
    assert tuned_pair(runs, "a", Score()) == 1
    assert tuned_pair(runs, "a", less) == 0
    assert tuned_pair(runs, "b", Score()) is None
    fresh = [run("a", 0.4, seed=s, stage="confirm", pair=1) for s in (1, 2)]
    other = run("a", 0.4, seed=1, stage="confirm", pair=0)
    unscored = dataclasses.replace(fresh[0], test=None, seed=3)
    assert fresh_runs([*runs, *fresh, other, unscored], "a", Score()) == fresh
    assert tuned_pair([*runs, run("a", 0.1, pair=2)], "a", Score()) == 2


@pytest.mark.parametrize("metric", [Score(), Score("rmse", False, False)])
@pytest.mark.parametrize("failed", range(5))
def test_a_run_without_a_score_is_neither_tuned_nor_drawn_as_best(metric, failed):
    """No comparison with NaN holds, so its place decided who was called the best."""
    dimension = Real(0.0, 1.0)
    scores = [0.2, 0.9, 0.5, 0.4, 0.7]
    scores[failed] = math.nan
    best = (np.nanargmax if metric.higher_is_better else np.nanargmin)(scores)
    runs = [
        dataclasses.replace(
            run("mlp", score, stage="search", pair=i, seed=0),
            configuration={"x": dimension.value(i / 5)},
        )
        for i, score in enumerate(scores)
    ]
    for order in (runs, runs[::-1]):
        assert tuned_pair(order, "mlp", metric) == best
        figure = figures.search_positions(
            {"mlp": "#000000"}, order, {"mlp": {"x": dimension}}, metric, 5, {}
        )
        filled = [c for c in figure.axes[0].collections if len(c.get_facecolor())]
        ((at, score),) = filled[0].get_offsets()
        assert (at, score) == pytest.approx((best / 5, scores[best]))


def test_of_equal_scores_the_first_configuration_is_tuned_in_any_order():
    runs = [run("a", 0.5, stage="search", pair=i, seed=0) for i in range(3)]
    assert tuned_pair(runs[::-1], "a", Score()) == 0


def test_the_interval_of_a_mean_is_students():
    assert mean_interval(np.array([0.5])) is None
    low, high = mean_interval(np.array([1.0, 2.0, 3.0]))
    # t(.975, 2) = 4.30265, the standard error is 1 / sqrt(3).
    assert (low, high) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-5)


def everything(evidence):
    for name in figures.NAMES:
        for width in (figures.WIDE, figures.NARROW):
            yield figures.draw(name, evidence, width)


def test_svg_is_well_formed_deterministic_and_alone(whole):
    ids = []
    for first, second in zip(everything(whole), everything(whole), strict=True):
        svg = figures.to_svg(first)
        assert svg == figures.to_svg(second)
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert root.get("aria-label") == first.get_label()
        links = re.findall(r'(?:href|src)="([^"]*)"', svg) + re.findall(
            r"url\(([^)]*)\)", svg
        )
        assert links
        assert all(link.startswith("#") for link in links)
        ids += [element.get("id") for element in root.iter() if element.get("id")]
        assert not re.search(r"metadata|<image", svg)
    assert len(ids) == len(set(ids))


def test_svg_takes_its_colours_and_font_from_the_page(whole):
    for figure in everything(whole):
        svg = figures.to_svg(figure)
        variables = r"var\(--([a-z0-9-]+), (#[0-9a-f]{6})\)"
        for role, color in re.findall(variables, svg):
            assert drawing.LIGHT[role] == color
        # Effects and shares belong to no arm.
        assert re.search(r"(fill|stroke): var\(--(baseline|challenger-1)", svg) or (
            "effect on" in svg or "share of" in svg
        )
        # Nothing keeps a colour of its own, which dark mode would hide.
        rest = re.sub(variables, "", svg)
        assert not re.search(r"#[0-9a-fA-F]{6}[;\"]|black|white", rest)
        assert "DejaVu" not in svg


def test_the_message_is_drawn_where_no_page_writes_it(evidence):
    figure = figures.draw("fresh_seeds", evidence)
    message = figure.get_label()
    assert f">{message}</text>" in figures.to_svg(figure, titled=True)
    assert f">{message}</text>" not in figures.to_svg(figure)


def test_hostile_names_are_only_text():
    runs = [run(arm, 0.5, s) for arm in (HOSTILE, "cnn") for s in range(3)]
    arms = figures.colors(HOSTILE, ["cnn"])
    curves = {arm: curve([0.5, 0.6]) for arm in arms}
    for figure in (
        figures.fresh_seeds(arms, runs, Score()),
        figures.tuning_curves(arms, curves, Score(), 2),
        figures.effects(
            figures.colors("mlp", [HOSTILE]), [make_comparison("mlp", HOSTILE)], Score()
        ),
    ):
        svg = figures.to_svg(figure, titled=True)
        root = ElementTree.fromstring(svg)
        assert not [e for e in root.iter() if e.tag.endswith("script")]
        words = "".join(root.itertext())
        assert "<script>" in words
        assert "var(" not in words
        assert "$" in words or "…" in words


def test_a_dollar_is_a_dollar():
    arms = figures.colors("$x^2$", ["$\\alpha$ and $"])
    runs = [
        dataclasses.replace(run(arm, 0.5, s, stage), configuration={"$w$": "$z_1$"})
        for arm in arms
        for s in range(3)
        for stage in ("search", "confirm")
    ]
    spaces = {arm: {"$w$": Choice(("$z_1$", "$z_2$"))} for arm in arms}
    drawn = figures.to_svg(figures.fresh_seeds(arms, runs, Score())) + figures.to_svg(
        figures.search_positions(arms, runs, spaces, Score(), 1, {})
    )
    for words in ("$x^2$", "$\\alpha$ and $", "$w$", "$z_1$", "$z_2$"):
        assert f"{words}</text>" in drawn


def test_a_name_like_a_colour_stays_a_name():
    arms = figures.colors("#ffffff", ["sans-serif"])
    runs = [run(arm, 0.5, s) for arm in arms for s in range(3)]
    root = ElementTree.fromstring(
        figures.to_svg(figures.fresh_seeds(arms, runs, Score()))
    )
    words = "".join(root.itertext())
    assert "tuned #ffffff" in words
    assert "tuned sans-serif" in words
    assert root.get("aria-label") == ("The tuned #ffffff and sans-serif score the same")


def test_figures_are_saved_as_svg_and_png(evidence, tmp_path):
    figure = figures.draw("tuning_curves", evidence)
    figures.save(figure, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    assert figure.get_label().split(",")[0] in text
    assert "var(" not in text
    assert drawing.LIGHT["baseline"] in text
    figures.save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ProtocolError, match="svg or png"):
        figures.save(figure, tmp_path / "a.pdf")


def test_a_hundred_thousand_runs_are_thinned_evenly(evidence):
    n = 10_000
    runs = [
        dataclasses.replace(
            run(arm, 0.5 + i / n / 3, seed=0, stage="search", pair=i),
            configuration={"x": (i % 997) / 997},
        )
        for arm in ARMS
        for i in range(n)
    ]
    spaces = {arm: {"x": Real(0.0, 1.0)} for arm in ARMS}
    figure = figures.search_positions(ARMS, runs, spaces, Score(), 4, {})
    others, best, *_ = figure.axes[0].collections
    drawn = [len(points.get_offsets()) for points in (others, best)]
    every = figures.drawn_every("search_positions", n)
    assert every == 35  # odd, since Sobol sequences alternate between halves
    assert sum(drawn) == np.ceil(n / every) <= figures.POINTS["search_positions"]
    # One in four is among the best, and so is one in four of those drawn.
    assert drawn[1] / sum(drawn) == pytest.approx(1 / 4, abs=0.01)
    assert figures.drawn_every("search_positions", 300) == 1


def test_long_tuning_curves_are_drawn_at_some_efforts_and_reach_both_ends():
    curves = {arm: curve(0.5 + 0.1 * np.arange(12_500) / 12_500) for arm in ARMS}
    curves["cnn"].low[::2], curves["cnn"].high[::2] = 0.9, 0.95
    figure = figures.tuning_curves(ARMS, curves, Score(), 8)
    drawn = figure.axes[0].lines[1].get_xdata()
    assert (drawn[0], drawn[-1]) == (1, 12_500)
    assert len(drawn) < 200
    # Nobody reads 6,250 numbers in a title.
    curves = {"mlp": curve([0.5] * 20), "cnn": curve([0.6] * 20, half=0.2)}
    curves["cnn"].low[::2] = 0.58
    message = figures.tuning_curves(ARMS, curves, Score(), 8).get_label()
    assert message == "cnn is ahead of mlp at every effort up to 20 trials"


def test_mistaken_names_of_figures_are_explained(evidence):
    with pytest.raises(ProtocolError, match="effects, tuning_curves, ladder"):
        figures.draw("tuning", evidence)
    bare = dataclasses.replace(evidence, runs=[], curves={})
    with pytest.raises(RecordsError, match="can be drawn: effects"):
        figures.draw("learning_curves", bare)


def test_all_arms_of_several_challengers_share_one_figure():
    evidence = make_evidence()
    comparisons = [make_comparison(), make_comparison(challenger="gru")]
    runs = [
        *evidence.runs,
        *(dataclasses.replace(r, arm="gru") for r in evidence.runs if r.arm == "cnn"),
    ]
    evidence = dataclasses.replace(
        evidence, runs=runs, document=evidence.document | {"comparisons": comparisons}
    )
    figure = figures.draw("fresh_seeds", evidence)
    assert "has the best mean over fresh seeds" in figure.get_label()
    assert "tuned gru" in figures.to_svg(figure)


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("palette", [drawing.LIGHT, drawing.DARK])
def test_words_in_every_colour_can_be_read(palette):
    paper = luminance(palette["paper"])
    for role, color in palette.items():
        if role in ("paper", "line"):
            continue
        high, low = sorted((luminance(color), paper), reverse=True)
        # Web Content Accessibility Guidelines 2.2, 1.4.3: at least 4.5 for text.
        assert (high + 0.05) / (low + 0.05) >= 4.5, role


# Machado, Oliveira and Fernandes (2009), "A physiologically-based model for
# simulation of color vision deficiency", severity 1, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(color, blindness):
    rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(BLINDNESS[blindness]) @ linear, 0, 1)
    to_xyz = np.array(
        [
            [0.4124, 0.3576, 0.1805],
            [0.2126, 0.7152, 0.0722],
            [0.0193, 0.1192, 0.9505],
        ]
    )
    x, y, z = np.cbrt(to_xyz @ seen / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize("palette", [drawing.LIGHT, drawing.DARK])
def test_the_baseline_differs_from_every_challenger(palette, blindness):
    baseline = lab(palette["baseline"], blindness)
    for role, color in palette.items():
        if role.startswith("challenger"):
            apart = np.linalg.norm(lab(color, blindness) - baseline)
            # About ten times the least difference that is seen at all (2.3).
            assert apart > 23, (role, apart)


def positions_message(widths, options, arm="cnn"):
    """The title where the better half of a search has the widths that are given."""
    searched = [
        dataclasses.replace(
            run(arm, 0.5 + 0.1 * (i < 4), i), pair=i, stage="search",
            configuration={"width": width},
        )
        for i, width in enumerate(widths)
    ]  # fmt: skip
    spaces = {arm: {"width": Choice(options)}}
    colors = {arm: ARMS["cnn"]}
    figure = figures.search_positions(colors, searched, spaces, Score(), 2, {})
    return figure.get_label()


@pytest.mark.parametrize(
    ("widths", "options", "message"),
    [
        (
            [200, 200, 200, 50, 50, 50, 50, 50],
            (50, 100, 200),
            "Most of the best cnn configurations have the largest width that was tried,"
            " 200",
        ),
        (
            [200, 200, 100, 50, 50, 50, 50, 50],
            (50, 100, 200),
            "The best configurations lie inside their ranges",
        ),
        # Nothing is larger than a name or than true.
        (
            ["batch"] * 8,
            ("none", "batch"),
            "The best configurations lie inside their ranges",
        ),
        ([True] * 8, (False, True), "The best configurations lie inside their ranges"),
    ],
)
def test_the_largest_of_a_choice_is_not_inside_its_range(widths, options, message):
    assert positions_message(widths, options) == message
