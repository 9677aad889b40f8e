"""Whether depth, width and resolution grow best together: forms, stages, verdict, words."""

import json

import numpy as np
import pytest

from archtrial import data
from archtrial.errors import ProtocolError
from archtrial.experiments import scale
from archtrial.experiments.scale import forms, verdict, words
from archtrial.experiments.scale.protocol import Protocol
from archtrial.metrics import get
from archtrial.zoo import arms

SERIES = data.Inputs.of_shape((1, 24))
IMAGES = data.Inputs.of_shape((1, 12, 12))
ROWS = data.Inputs.of_shape((6,))


def found(spec):
    arm = Protocol(data="mnist1d", architecture=spec).architecture
    return arms.find(arm.architecture, arm.options)


def grown(spec, inputs, **declared):
    protocol = Protocol(data="mnist1d", architecture=spec, **declared)
    architecture = found(spec)
    axes = forms.axes_of(protocol, architecture, inputs)
    return axes, *forms.forms_of(protocol, architecture, axes, inputs, 3)


def test_axes_are_the_options_of_an_architecture():
    declared = Protocol(data="mnist1d")
    assert forms.axes_of(declared, found("cnn"), SERIES) == {
        "depth": "depth",
        "width": "width",
    }
    assert forms.axes_of(declared, found("resnet"), IMAGES) == {
        "depth": "depth",
        "width": "width",
        "resolution": "resolution",
    }


def test_images_whose_sides_differ_have_no_one_resolution():
    oblong = data.Inputs.of_shape((1, 12, 16))
    declared = Protocol(data="mnist1d")
    assert "resolution" not in forms.axes_of(declared, found("resnet"), oblong)
    square = "resnet(resolution=12)"
    assert "resolution" in forms.axes_of(declared, found(square), oblong)


def test_each_axis_alone_changes_no_other_and_has_the_flops():
    axes, made, _ = grown("cnn(depth=4, width=16)", SERIES)
    base, *alone = [form for form in made if form.kind != "compound"]
    for form in alone:
        others = {axes[axis] for axis in axes if axis != form.kind}
        assert all(form.options[name] == base.options[name] for name in others)
        assert form.options[axes[form.kind]] > base.options[axes[form.kind]]
        # No step along the axis is nearer: the next ones are on both sides of 2.
        assert 0.8 < form.flops / base.flops / 2 < 1.25
    assert {form.kind for form in alone} == {"depth", "width"}


def test_compound_forms_grow_along_two_axes_at_least_and_meet_the_flops():
    axes, made, _ = grown("resnet(depth=2, width=8)", IMAGES, grid=3)
    base = made[0]
    compound = [form for form in made if form.kind == "compound"]
    assert compound
    for form in compound:
        factors = form.factors(axes, base)
        assert sum(factor > 1 for factor in factors.values()) > 1
        assert all(factor >= 1 for factor in factors.values())
        assert 0.8 < form.flops / base.flops / 2 < 1.25
        assert sum(form.shares) == 3
    # Two that come to the same network are one.
    assert len({str(form.options) for form in compound}) == len(compound)


def test_at_every_step_there_are_the_same_shares():
    _, made, _ = grown("cnn(depth=4, width=16)", SERIES, phi=2)
    steps = [
        {form.shares for form in made if form.kind == "compound" and form.phi == phi}
        for phi in (1, 2)
    ]
    assert steps[0] == steps[1] != set()
    (width,) = (f for f in made if f.kind == "width" and f.phi == 2)
    assert 3.2 < width.flops / made[0].flops < 4.8


def test_stages_of_several_depths_grow_together():
    _, made, _ = grown("resnet(depth=[1, 2], width=4)", IMAGES, grid=2)
    (deeper,) = (form for form in made if form.kind == "depth")
    assert len(deeper.options["depth"]) == 2
    assert all(
        more >= less for more, less in zip(deeper.options["depth"], [1, 2], strict=True)
    )


def test_flops_that_an_axis_cannot_meet_are_said():
    _, made, notes = grown("mlp(depth=2)", ROWS)
    (deeper,) = (form for form in made if form.kind == "depth")
    off = deeper.flops / made[0].flops / 2
    assert (not 1 / 1.1 < off < 1.1) == any("depth alone" in note for note in notes)


def test_an_architecture_with_one_axis_is_refused_with_what_to_type():
    with pytest.raises(ProtocolError, match="--architecture mlp") as refused:
        grown("linear", ROWS)
    assert "linear has none" in str(refused.value)
    grown("mlp", ROWS)


def test_an_option_that_is_no_number_is_refused():
    with pytest.raises(ProtocolError, match="norm of cnn: 'none'"):
        grown("cnn", SERIES, width="norm")
    with pytest.raises(ProtocolError, match="blocks of cnn: None"):
        grown("cnn", SERIES, depth="blocks")


def test_an_option_that_does_not_scale_is_refused(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def net(input_shape, num_outputs, depth: int = 1, width: int = 4):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(6, width), nn.ReLU(),\n"
        "                         nn.Linear(width, num_outputs))\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProtocolError, match="FLOPs grow with the option") as refused:
        grown("net.py:net", ROWS)
    assert "--depth OPTION" in str(refused.value)


def test_a_network_without_room_for_a_step_says_which_one_has():
    short = data.Inputs.of_shape((1, 3))
    with pytest.raises(ProtocolError, match="no room for a step") as refused:
        grown("gru(width=4)", short, grid=2)
    typed = str(refused.value).partition("--architecture '")[2].partition("'")[0]
    _, made, _ = grown(typed, short, grid=2)
    assert any(form.kind == "compound" for form in made)


def test_effort_and_configurations_have_to_fit():
    with pytest.raises(ProtocolError, match="--configurations 20"):
        Protocol(data="mnist1d", effort=5)
    Protocol(data="mnist1d", effort=5, configurations=20)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study from end to end on separable data."""
    folder = tmp_path_factory.mktemp("scale")
    numbers = np.random.default_rng(0)
    y = np.arange(240) % 3
    x = numbers.normal(size=(240, 6)) + y[:, None] * np.linspace(0.2, 1.2, 6)
    np.savez(folder / "blobs.npz", x=x.astype(np.float32), y=y)
    declared = Protocol(
        data=str(folder / "blobs.npz"),
        architecture="mlp(depth=2, width=8)",
        scale=True,
        steps=20,
        batch_size=20,
        grid=2,
        confirm_seeds=1,
        effort=2,
        configurations=8,
    )
    carried = scale.Study(declared, folder / "study")
    carried.run()
    return carried


def test_a_study_says_what_it_compared(study):
    document = study.verdict.to_dict()
    (size,) = document["sizes"]
    assert {gain["axis"] for gain in size["over"]} == {"depth", "width"}
    assert document["verdict"] in words._VERDICTS.values()
    assert document["shares"] == {"depth": 1, "width": 1}
    names = [form["name"] for form in document["forms"]]
    assert names[0] == "base"
    assert size["compound"] in names
    assert document["forms"][0]["flops_of_base"] == 1.0
    text = json.loads((study.folder / "verdict.json").read_text())
    assert text == json.loads(study.verdict.to_json())
    assert "EfficientNet-B0" in study.judgement.page()


def test_grid_points_are_trained_as_the_base_was_and_no_part_of_a_search(study):
    from archtrial.records.store import Store

    with Store(study.folder, read_only=True) as store:
        runs = store.runs(per_example=False)
    grid = [run for run in runs if run.coordinates == verdict.GRID]
    (best,) = {run.pair for run in grid}
    searched = {run.pair: run for run in runs if run.arm == "base" and run.seed == 0}
    assert max(searched.values(), key=lambda r: r.validation).pair == best
    assert all(run.configuration == searched[best].configuration for run in grid)
    assert {run.seed for run in grid} == {0, -1}
    compound = [
        r for r in runs if r.arm == grid[0].arm and r.coordinates != verdict.GRID
    ]
    assert len([run for run in compound if run.stage == "search"]) == 8


def test_a_finished_study_trains_nothing_again(study, monkeypatch):
    monkeypatch.setattr(
        type(study.trainer), "__call__", lambda *_: pytest.fail("trained again")
    )
    again = scale.Study(study.protocol, study.folder)
    assert str(again.run()) == str(study.verdict)


def test_shares_are_chosen_by_validation_alone(study):
    from archtrial.records.store import Store

    with Store(study.folder, read_only=True) as store:
        runs = store.runs(per_example=False)
    grid = next(run for run in runs if run.coordinates == verdict.GRID)
    import dataclasses

    other = {"name": "compound-0.2-1", "kind": "compound", "phi": 1, "shares": [0, 2],
             "factors": {}, "options": {}, "flops": 1}  # fmt: skip
    resolved = {**study.resolved, "forms": [*study.resolved["forms"], other]}
    better = dataclasses.replace(grid, arm=other["name"], validation=1.0, test=0.0)
    worse = dataclasses.replace(better, validation=-1.0, test=1.0)
    assert verdict.chosen_shares([*runs, better], resolved, 1) == (0, 2)
    assert verdict.chosen_shares([*runs, worse], resolved, 1) == (1, 1)
    # An error rate turns it round.
    assert verdict.chosen_shares([*runs, worse], resolved, -1) == (0, 2)
    assert [form["name"] for form in verdict.compared(resolved, (0, 2))][-1] == (
        "compound-0.2-1"
    )


@pytest.mark.parametrize(
    ("verdicts", "answer"),
    [
        (("architecture", "architecture"), "compound"),
        (("architecture", "inconclusive"), "undecided"),
        (("architecture", "tuning"), "undecided"),
        (("architecture", "equivalent"), "no need"),
        (("equivalent", "baseline"), "one axis"),
        (("inconclusive", "not_assessable"), "undecided"),
    ],
)
def test_the_answer_needs_every_axis_for_compound_and_one_against_it(verdicts, answer):
    assert verdict._answer([{"verdict": v} for v in verdicts]) == answer


def gain(axis, said, low, high):
    middle = None if low is None else (low + high) / 2
    return {
        "axis": axis, "form": f"{axis}-1", "estimate": middle, "low": low, "high": high,
        "p_value_adjusted": 0.01, "verdict": said, "reason": None, "learning": (),
    }  # fmt: skip


def document(answer, over, base, grid=(0.5, 0.6)):
    compound = {"name": "compound-1.1-1", "phi": 1, "flops_of_base": 2.0,
                "factors": {"depth": 1.5, "width": 1.2}}  # fmt: skip
    return {
        "answer": answer, "axes": {"depth": "depth", "width": "width"}, "data": "d",
        "architecture": "cnn", "growth": 2.0, "forms": [compound],
        "grid": [{"validation": score} for score in grid],
        "sizes": [{"phi": 1, "compound": "compound-1.1-1", "over": over, "over_base": base}],
    }  # fmt: skip


def test_the_sentence_rests_on_what_decides():
    accuracy = get("accuracy", "classification")
    over = [
        gain("depth", "inconclusive", -0.01, 0.02),
        gain("width", "equivalent", 0, 0.002),
    ]
    told = words.told(
        document("no need", over, gain("base", "equivalent", -0.001, 0.003)), accuracy
    )
    assert told["verdict"] == "one axis alone is enough"
    assert "from width alone" in told["sentence"]
    assert "from depth alone" not in told["sentence"]
    assert "nothing worth having" in told["sentence"]
    assert "alpha = 1.50 and beta = 1.20" in told["sentence"]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ((0.5, 0.6), "compound is favoured by that choice"),
        ((None, None), "No division of the growth was better"),
        ((0.5,), "One division of the growth could be had"),
    ],
)
def test_how_the_division_was_chosen_is_said(grid, said):
    accuracy = get("accuracy", "classification")
    over = [gain("depth", "architecture", 0.01, 0.02)]
    base = gain("base", "architecture", 0.01, 0.03)
    told = words.told(document("compound", over, base, grid), accuracy)
    assert said in told["sentence"]


def test_forms_whose_flops_differ_and_what_cannot_be_told_are_warned_of():
    accuracy = get("accuracy", "classification")
    over = [{**gain("depth", "not_assessable", None, None), "reason": "runs diverged"}]
    told = document("undecided", over, gain("base", "inconclusive", -0.1, 0.1))
    told["forms"][0]["flops_of_base"] = 1.7
    warnings = words.told(told, accuracy)["warnings"]
    assert "compound-1.1-1 (1.7 times)" in warnings[0]
    assert "since runs diverged" in warnings[1]
    assert "no difference can be told" in words.told(told, accuracy)["sentence"]
