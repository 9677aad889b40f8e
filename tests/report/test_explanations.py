import dataclasses
import itertools

import numpy as np
import pytest

from archtrial.report import drawing, explanations, figures

from .conftest import (
    ATTRIBUTION,
    FACTORIAL,
    LADDER,
    PUBLISHED,
    ROBUSTNESS,
    Score,
    estimate,
    make_comparison,
    make_row,
)

ARMS = figures.colors("mlp", ["cnn"])
RMSE = Score("rmse", False, False)


def published(gap, tuning, architecture, luck):
    parts = {"tuning": tuning, "architecture": architecture, "selection_luck": luck}
    return make_comparison(
        published={"gap": gap}
        | {part: estimate(v, v - 0.005, v + 0.005) for part, v in parts.items()}
    )


@pytest.mark.parametrize(
    ("parts", "metric", "message"),
    [
        (
            (0.03, 0.024, 0.002, 0.004),
            Score(),
            "Of 3 published points, 2.4 were tuning",
        ),
        (
            (0.03, 0.004, 0.025, 0.001),
            Score(),
            "Of 3 published points, 2.5 were the architecture",
        ),
        (
            (0.02, 0.005, 0.005, 0.01),
            Score(),
            "Of 2 published points, 1 was luck in selecting",
        ),
        (
            (0.01, 0.03, -0.03, 0.01),
            Score(),
            "Tuning makes more than the published 1 point",
        ),
        (
            (-0.01, 0.02, -0.03, 0.0),
            Score(),
            "What the published gap is made of",
        ),
        ((0.3, 0.24, 0.0, 0.06), RMSE, "Of a published gap of .3, .24 is tuning"),
    ],
)
def test_the_waterfall_names_the_largest_part(parts, metric, message):
    figure = explanations.waterfall(ARMS, published(*parts), metric)
    assert figure.get_label() == message


@pytest.mark.parametrize("metric", [Score(), RMSE])
def test_the_waterfall_leads_from_one_published_score_to_the_other(metric):
    comparison = make_comparison(published=PUBLISHED)
    axes = explanations.waterfall(ARMS, comparison, metric).axes[0]
    points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    sign = 1 if metric.higher_is_better else -1
    # The baseline was tuned to 63.31 %, which is 2.4 points better than published.
    assert points == pytest.approx([0.6331 - sign * 0.024, 0.6331 + sign * 0.006])
    # Each bar begins where the one before ended; together they are the whole gap.
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    ends = [x + width for x, width in bars]
    starts = [points[0], *ends[:-1]]
    assert [x for x, _ in bars] == pytest.approx(starts)
    assert ends[-1] == pytest.approx(points[1])


def climbing(**changes):
    return make_comparison(ladder=LADDER | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "Even trained 4\u00d7 as long, mlp stays behind cnn"),
        (
            {"reaches": "yes", "rung": {"estimate": 2, "low": 1, "high": 2}},
            "Trained 2\u00d7 as long, mlp comes within the margin of cnn",
        ),
        (
            {"reaches": "unknown", "rung": {"estimate": 2, "low": 1, "high": None}},
            "Trained 2\u00d7 as long, mlp may reach cnn, but the intervals leave it"
            " open",
        ),
        (
            {"reaches": "unknown"},
            "Whether mlp reaches cnn by longer training is open",
        ),
    ],
)
def test_the_ladder_says_whether_the_baseline_reaches_the_target(changes, message):
    figure = explanations.ladder(ARMS, [climbing(**changes)], Score())
    assert figure.get_label() == message


def test_a_ladder_stands_on_a_logarithmic_axis_with_its_target():
    axes = explanations.ladder(ARMS, [climbing()], Score()).axes[0]
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    assert ticks == ["1\u00d7", "2\u00d7", "4\u00d7", "8\u00d7"]
    assert np.diff(axes.get_xticks()) == pytest.approx([1, 1, 1])
    levels = [line.get_ydata() for line in axes.lines if line.get_linestyle() == "--"]
    assert any(level == [0.8693, 0.8693] for level in map(list, levels))
    baseline = next(line for line in axes.lines if len(line.get_xdata()) == 3)
    assert baseline.get_ydata() == pytest.approx([0.6331, 0.668, 0.69])
    assert baseline.get_color() == drawing.LIGHT["baseline"]


def test_what_is_only_extrapolated_is_hollow_and_can_be_missing():
    guessed = explanations.ladder(ARMS, [climbing()], Score()).axes[0]
    without = explanations.ladder(ARMS, [climbing(extrapolated=None)], Score()).axes[0]

    def hollow(axes):
        paper = drawing.LIGHT["paper"]
        return [li.get_xdata()[0] for li in axes.lines if li.get_color() == paper]

    assert hollow(guessed) == [3.0]
    assert hollow(without) == []
    assert len(without.get_xticks()) == 3


def test_a_ladder_of_unknown_rungs_is_not_drawn(whole):
    (comparison,) = whole.document["comparisons"]
    comparison["ladder"] = LADDER | {
        "rungs": [
            rung | {"baseline_score": None, "challenger_score": None}
            for rung in LADDER["rungs"]
        ],
    }
    assert "ladder" not in figures.drawable(whole, [comparison])
    comparison["ladder"] = LADDER | {
        "rungs": [rung | {"challenger_score": None} for rung in LADDER["rungs"]]
    }
    assert figures.draw("ladder", whole).get_label().startswith("Even trained")


def test_several_challengers_climb_in_one_figure():
    arms = figures.colors("mlp", ["cnn", "gru"])
    comparisons = [climbing(), climbing() | {"challenger": "gru"}]
    figure = explanations.ladder(arms, comparisons, Score())
    assert figure.get_label() == "What longer training, tuned anew, brings"
    words = [text.get_text() for text in figure.axes[0].texts]
    assert {"mlp", "cnn", "gru"} <= set(words)


def sides(**standings):
    rows = [
        make_row(part, estimate(0.1, 0.05, 0.15), standing)
        for part, standing in standings.items()
    ]
    return make_comparison(robustness=ROBUSTNESS | {"rows": rows})


@pytest.mark.parametrize(
    ("standings", "message"),
    [
        (
            {"a": "holds", "b": "holds"},
            "All 2 sensitivity analyses give the same answer",
        ),
        (
            {"a": "lost", "b": "holds"},
            "In \u201ca\u201d the gain is lost; nowhere does its sign turn",
        ),
        (
            {"a": "lost", "b": "opposite"},
            "The sign turns in \u201cb\u201d: the verdict depends on the search space",
        ),
        (
            {"a": "lost", "b": "lost", "c": "lost"},
            "In 3 parts the gain is lost; nowhere does its sign turn",
        ),
    ],
)
def test_robustness_says_where_the_gain_is_lost(standings, message):
    figure = explanations.robustness(ARMS, [sides(**standings)], Score())
    assert figure.get_label() == message


@pytest.mark.parametrize("width", [figures.WIDE, figures.NARROW])
def test_a_lost_gain_is_hollow_and_an_opposite_one_the_baselines(width):
    comparison = sides(a="holds", b="lost", c="opposite")
    axes = explanations.robustness(ARMS, [comparison], Score(), width).axes[0]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    filled = [line.get_color() for line in points]
    edges = [line.get_markeredgecolor() for line in points]
    cnn, mlp, paper = ARMS["cnn"], ARMS["mlp"], drawing.LIGHT["paper"]
    # The whole study first, then its parts.
    assert filled == [cnn, cnn, paper, mlp]
    assert edges[2] == cnn
    assert points[0].get_xdata()[0] == 0.2412


@pytest.mark.parametrize(
    ("claimed", "message"),
    [
        ((), "No factor's effect is clear of chance"),
        (("residual",), "Only the effect of residual is clear of chance: +3.1 points"),
        (
            ("residual", "norm"),
            "The effects of residual and norm are clear of chance: +3.1 and +1.2"
            " points",
        ),
    ],
)
def test_a_factorial_names_the_effects_that_are_clear_of_chance(claimed, message):
    effects = [
        effect | {"claimed": effect["name"] in claimed}
        for effect in FACTORIAL["effects"]
    ]
    figure = explanations.factorial(effects, 0.005, Score())
    assert figure.get_label() == message


def test_interactions_stand_below_main_effects():
    effects = FACTORIAL["effects"][::-1]
    axes = explanations.factorial(effects, 0.005, Score()).axes[0]
    names = [t.get_text() for t in axes.texts if "(" not in t.get_text()]
    assert names == ["norm", "residual", "residual, with norm"]


def test_shares_are_ordered_and_named_in_the_title():
    figure = explanations.shares(ATTRIBUTION["shares"])
    names = [t.get_text() for t in figure.axes[0].texts if "%" not in t.get_text()]
    assert names == ["hyperparameters", "architecture", "interaction of both", "seed"]
    assert figure.get_label() == (
        "55\u00a0% of the spread of scores comes from the hyperparameters, 31\u00a0% from the"
        " architecture"
    )
    first = ATTRIBUTION["shares"] | {"architecture": estimate(0.8, 0.7, 0.9)}
    assert explanations.shares(first).get_label() == (
        "80\u00a0% of the spread of scores comes from the architecture"
    )
    nearly = ATTRIBUTION["shares"] | {"architecture": estimate(0.997, 0.9, 1.0)}
    assert explanations.shares(nearly).get_label() == (
        "Over 99\u00a0% of the spread of scores comes from the architecture"
    )


def test_shares_that_cannot_be_told_are_left_out():
    known = ATTRIBUTION["shares"] | {"interaction": None, "seed": None}
    figure = explanations.shares(known)
    names = [t.get_text() for t in figure.axes[0].texts if "%" not in t.get_text()]
    assert names == ["hyperparameters", "architecture"]


@pytest.mark.parametrize(
    ("reaches", "message"),
    [
        ((False, False), "No other tuner brings mlp up to cnn"),
        ((True, False), "TPE brings mlp up to cnn"),
        ((True, True), "TPE and GP bring mlp up to cnn"),
        ((None, False), "Whether another tuner brings mlp up to cnn is open"),
    ],
)
def test_probes_stand_beside_both_random_searches(whole, reaches, message):
    probes = [
        probe | {"reaches": reached}
        for probe, reached in zip(
            whole.document["study"]["probes"], reaches, strict=True
        )
    ]
    figure = explanations.probes(ARMS, make_comparison(), probes, Score())
    assert figure.get_label() == message
    names = [t.get_text() for t in figure.axes[0].texts if "%" not in t.get_text()]
    assert names == [
        "cnn, the study's search, 4 trials",
        "mlp, the study's search, 4 trials",
        "mlp, TPE, 32 trials",
        "mlp, GP, 32 trials",
    ]


@pytest.mark.parametrize("name", ["robustness", "waterfall", "effects", "factorial"])
def test_a_phone_has_every_interval(whole, name):
    words = {}
    for width in (figures.WIDE, figures.NARROW):
        figure = figures.draw(name, whole, width)
        texts = figure.axes[0].texts
        words[width] = [t.get_text() for t in texts if "(" in t.get_text()]
        figure.draw_without_rendering()
        boxes = [t.get_window_extent() for t in texts if t.get_text()]
        assert all(not a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert words[figures.NARROW]
    assert words[figures.NARROW] == words[figures.WIDE]


def test_long_names_stay_beside_their_rows():
    comparison = sides(**{"x" * 300: "holds"})
    figure = explanations.robustness(ARMS, [comparison], Score())
    longest = max(len(text.get_text()) for text in figure.axes[0].texts)
    assert longest < 40


def test_absent_keys_draw_nothing(evidence):
    found = figures.drawable(evidence, evidence.document["comparisons"])
    assert not {"ladder", "waterfall", "robustness", "factorial", "shares"} & set(found)
    bare = dataclasses.replace(evidence, curves={})
    assert "tuning_curves" not in figures.drawable(bare, bare.document["comparisons"])
