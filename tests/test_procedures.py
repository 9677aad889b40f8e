"""Procedures as they are declared: of a recipe, of an arm, as a factor, with few labels."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from archtrial import trial
from archtrial.errors import ProtocolError, UserError
from archtrial.experiments import mpl
from archtrial.protocol import (
    PROCEDURE_HYPERPARAMETERS,
    PROCEDURES,
    Arm,
    EqualEffort,
    FewLabels,
    Procedure,
    Protocol,
    Recipe,
    laid_over,
    procedure_space,
)
from archtrial.trainers import Item

EXAMPLES = Path(__file__).parents[1] / "examples" / "mpl"


def test_a_kind_stands_for_a_procedure():
    assert Recipe(procedure="uda").procedure == Procedure(kind="uda")
    table = {"kind": "mpl", "strong": ["noise"], "ratio": 7}
    assert Recipe(procedure=table).procedure.strong == ("noise",)
    for wrong in (3, None, "nope", {"kind": "uda", "speed": 1}):
        with pytest.raises(ProtocolError):
            FewLabels(data="mnist1d", recipe={"procedure": wrong})


def test_a_recipe_without_one_is_described_as_ever():
    assert "procedure" not in Recipe().describe()
    assert Recipe(procedure="uda").describe()["procedure"]["kind"] == "uda"


@pytest.mark.parametrize("kind", PROCEDURES)
def test_what_is_searched_changes_something(kind):
    procedure = Procedure(kind=kind)
    assert set(procedure_space(procedure)) <= set(procedure.searchable)
    assert set(procedure.searchable) <= set(PROCEDURE_HYPERPARAMETERS)
    assert ("feedback_weight" in procedure.searchable) == (
        kind in ("mpl", "mpl_negated")
    )
    assert procedure.unlabelled == bool(procedure.searchable)
    assert procedure.taught == kind.startswith("mpl")


def test_strong_changes_are_those_of_the_inputs():
    for kind in ("image", "sequence"):
        assert Procedure(kind="uda").on(kind).strong
    assert Procedure(kind="uda", strong=("noise",)).on("table").strong == ("noise",)
    assert Procedure(kind="pseudo_labels").on("table").strong == ()
    with pytest.raises(ProtocolError, match=r'strong = \["noise"\]'):
        Procedure(kind="mpl").on("table")


@pytest.mark.parametrize(
    ("spec", "recipe", "name"),
    [
        ("cnn(procedure=uda)", {"procedure": "uda"}, "cnn(procedure=uda)"),
        ('cnn(procedure="uda")', {"procedure": "uda"}, "cnn(procedure=uda)"),
        ("a=cnn(width=9, procedure=mpl)", {"procedure": "mpl"}, "a"),
        (
            "cnn(recipe=modern, procedure=mpl)",
            {"base": "modern", "procedure": "mpl"},
            "cnn(procedure=mpl, recipe=modern)",
        ),
    ],
)
def test_a_procedure_is_an_arms_option(spec, recipe, name):
    arm = Arm.model_validate(spec)
    assert (arm.recipe, arm.name) == (recipe, name)
    assert "procedure" not in arm.options
    assert Arm.model_validate(json.loads(json.dumps(arm.declared()))) == arm


def test_an_arms_own_recipe_keeps_what_it_does_not_say():
    declared = Recipe(procedure={"kind": "supervised", "ratio": 7, "strong": ["noise"]})
    own = laid_over(declared, {"procedure": "mpl"}, "sequence")
    assert (own.procedure.kind, own.procedure.ratio) == ("mpl", 7)
    assert own.procedure.strong == ("noise",)
    table = {"procedure": {"kind": "uda", "temperature": 0.5}, "warmup": 0.2}
    other = laid_over(declared, table, "sequence")
    assert (other.procedure.temperature, other.warmup) == (0.5, 0.2)
    assert other.procedure.ratio == 7
    modern = laid_over(Recipe(), {"base": "modern", "procedure": "uda"}, "sequence")
    assert modern.augmentation == ("shift", "scale")
    assert modern.procedure.kind == "uda"
    assert laid_over(declared, "plain", "table") == declared


def test_an_option_of_an_arm_is_laid_over_its_declared_recipe():
    given = {"optimizer": "adam", "procedure": "uda"}
    told = {"architecture": "cnn", "options": {"procedure": "mpl"}, "recipe": given}
    assert Arm.model_validate(told).recipe == {**given, "procedure": "mpl"}


def test_students_are_finetuned_over_the_last_steps():
    procedure = Procedure(kind="mpl", finetuning=0.25)
    assert procedure.finetuned_from(100) == 75
    assert procedure.finetuned_from(1) is None
    assert Procedure(kind="mpl", finetuning=0.0).finetuned_from(100) is None
    assert Procedure(kind="uda", finetuning=0.25).finetuned_from(100) is None


def test_procedures_are_crossed_with_architectures_and_recipes():
    declared = Protocol(
        data="mnist1d",
        labels=40,
        factors={
            "architecture": ["mlp", "cnn"],
            "procedure": ["supervised", "uda"],
            "recipe": ["plain", "modern"],
        },
    )
    kinds = {
        arm.name: declared.recipe_of(arm, "sequence").procedure.kind
        for arm in declared.arms
    }
    assert kinds["mlp"] == kinds["cnn + modern"] == "supervised"
    assert kinds["cnn + uda + modern"] == kinds["mlp + uda"] == "uda"
    assert len(kinds) == 8
    assert Protocol(**declared.describe()) == declared
    for levels in (["supervised", "nope"], ["supervised", 3]):
        with pytest.raises(ProtocolError):
            Protocol(data="mnist1d", baseline="cnn", factors={"procedure": levels})
    with pytest.raises(ProtocolError, match="first level"):
        Protocol(
            data="mnist1d",
            baseline="cnn(procedure=uda)",
            factors={"procedure": ["supervised", "mpl"]},
        )
    inside = Protocol(
        data="mnist1d",
        baseline="cnn(procedure=uda)",
        factors={"recipe": ["plain", "modern"]},
    )
    assert [a.recipe for a in inside.arms] == [
        {"procedure": "uda"},
        {"base": "modern", "procedure": "uda"},
    ]


def test_epochs_are_passes_over_what_has_labels():
    declared = {"data": "mnist1d", "epochs": 4, "batch_size": 50}
    assert FewLabels(**declared).length(3200) == 256
    assert FewLabels(**declared, labels=400).length(3200) == 32
    assert FewLabels(**declared, labels=9999).length(3200) == 256


def test_equal_effort_needs_as_many_configurations_as_an_interval():
    with pytest.raises(ProtocolError, match="--configurations 20"):
        EqualEffort(data="mnist1d", effort=5)
    space = {"learning_rate": [0.1, 0.2]}
    assert EqualEffort(data="mnist1d", space=space).space["learning_rate"].options


def test_experiments_of_equal_effort_minimise_the_tasks_loss():
    with pytest.raises(ProtocolError, match=r"recipe\.loss = 'my\.py:focal'"):
        EqualEffort(data="mnist1d", recipe={"loss": "my.py:focal"})


def of(**declared):
    given = {
        "data": "mnist1d", "labels": 40, "baseline": "mlp(depth=1, width=8)",
        "challengers": ["mlp(depth=1, width=8, procedure=uda)"], "batch_size": 20,
        "steps": 20,
    }  # fmt: skip
    return trial.prepare(Protocol(**{**given, **declared}))


def test_a_trial_searches_what_a_procedure_has():
    made = of()
    first, second = (made.spaces[arm.name] for arm in made.arms)
    assert set(second) - set(first) == {"unlabelled_weight", "confidence_threshold"}
    assert made.resolved["labels"] == 40
    told = " ".join(made.resolved["notes"])
    assert "Each training sees 40 of 3,200 labels" in told
    assert "more than the 40 that a training sees" in told
    assert "mlp(depth=1, width=8, procedure=uda) also reads 3,200 examples" in told
    space = {"learning_rate": [0.1, 0.2], "feedback_weight": {"low": 1.0, "high": 9.0}}
    with pytest.raises(UserError, match="feedback_weight"):
        of(space=space)
    own = of(challengers=["mlp(depth=1, width=8, procedure=mpl)"], space=space)
    first, second = (own.spaces[arm.name] for arm in own.arms)
    assert "feedback_weight" not in first
    assert "feedback_weight" in second


def test_without_few_labels_a_trial_is_what_it_was():
    made = of(labels=None, challengers=["mlp(depth=1, width=9)"])
    assert not {"labels", "unlabelled"} & made.resolved.keys()
    assert made.trainer.job(Item(made.arms[0].name, 0, 0, "search", {})).rows is None
    assert "label" not in " ".join(made.resolved["notes"])


def test_labels_without_a_procedure_are_told():
    told = of(challengers=["mlp(depth=1, width=9)"]).resolved["notes"]
    assert any("No arm reads examples without labels" in note for note in told)


def test_a_procedure_without_examples_says_how_to_name_some():
    with pytest.raises(ProtocolError, match=r"--labels 400, --unlabelled more\.npz"):
        of(labels=None)


def test_estimators_see_the_labels_that_networks_see():
    made = of(challengers=["sklearn:LogisticRegression"])
    first, second = (arm.name for arm in made.arms)
    seen = []
    fits = made.trainer.fits
    fit = type(fits)._presented

    def noted(self, arm, values, seed, rows, *rest, **more):
        seen.append(rows)
        return fit(self, arm, values, seed, rows, *rest, **more)

    type(fits)._presented = noted
    try:
        for stage, pair, number in (("search", 2, 0), ("winner", 3, 5)):
            made.trainer([Item(second, pair, number, stage, {"C": 1.0})])
            job = made.trainer.loops.job(Item(first, pair, number, stage, {}))
            assert np.array_equal(seen[-1], job.rows)
            assert len(job.rows) == 40
    finally:
        type(fits)._presented = fit
    assert not np.array_equal(seen[0], seen[1])


@pytest.mark.parametrize("name", ["cifar10_paper", "svhn_paper"])
def test_the_papers_settings_can_be_declared(name):
    declared = mpl.load(EXAMPLES / f"{name}.toml")
    table = tomllib.loads((EXAMPLES / f"{name}.toml").read_text())
    assert declared.labels == table["labels"]
    recipe = declared.recipe_of("mpl", "image")
    assert recipe.procedure.ratio == 7
    assert recipe.procedure.ramp * declared.steps == pytest.approx(5000, rel=0.01)
    assert recipe.procedure.finetuning * declared.steps == pytest.approx(1000, rel=0.02)
    # A decay of .995 remembers 200 steps.
    assert recipe.weight_averaging * declared.steps == pytest.approx(200, rel=0.01)
    assert set(declared.procedure_space) == {"unlabelled_weight"}
    assert ("flip" in recipe.augmentation) == (name == "cifar10_paper")


def test_names_are_never_changed_for_a_procedure(tmp_path):
    texts = [{"text": word * 3, "y": label} for word, label in [("ab ", 0), ("cd ", 1)]]
    file = tmp_path / "texts.jsonl"
    file.write_text("\n".join(map(json.dumps, texts * 40)))
    with pytest.raises(ProtocolError, match='compares changed examples\nTake "pseudo'):
        trial.prepare(
            Protocol(
                data=str(file), text="text", target="y", labels=10, steps=4,
                baseline="transformer", challengers=["transformer(procedure=uda)"],
            )
        )  # fmt: skip


def test_a_procedure_of_all_arms_is_refused_where_one_is_an_estimator():
    with pytest.raises(ProtocolError, match=r"such as mlp\(procedure=uda\)"):
        trial.prepare(
            Protocol(
                data="digits", labels=60, steps=4, recipe={"procedure": "uda"},
                baseline="mlp", challengers=["sklearn.naive_bayes:GaussianNB"],
            )
        )  # fmt: skip


OWN = """
from torch import nn
def net(input_shape, num_outputs, confidence_threshold: float = 0.5):
    layer = nn.Linear(40, num_outputs)
    layer.seen = confidence_threshold
    return layer
def other(input_shape, num_outputs):
    return nn.Linear(40, num_outputs)
"""


def test_an_option_of_a_module_that_a_procedure_has_too(tmp_path, monkeypatch):
    """It is the module's, as ever; beside a procedure nobody could tell whose it is."""
    (tmp_path / "net.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    arm = {"architecture": "net.py:net", "space": {"confidence_threshold": [0.2, 0.3]}}
    made = of(challengers=[arm])
    item = Item("net", 0, 0, "search", {"confidence_threshold": 0.3})
    job = made.trainer.job(item)
    assert job.build().seen == 0.3
    assert not job.hyperparameters
    with pytest.raises(UserError, match="has an option of that name"):
        of(challengers=[{**arm, "architecture": "net.py:net(procedure=uda)"}])
    own = {"confidence_threshold": [0.2, 0.3], "learning_rate": [0.1, 0.2]}
    for spec, fine in (("net.py:other", False), ("net.py:other(procedure=uda)", True)):
        declared = [{"name": "o", "architecture": spec, "space": own}]
        if fine:
            assert "confidence_threshold" in of(challengers=declared).spaces["o"]
        else:
            with pytest.raises(UserError, match="Leave confidence_threshold out"):
                of(challengers=declared)
