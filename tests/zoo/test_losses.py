"""A user's own loss: declared, found, tried, trained with, and kept as arms are."""

import json
import pickle

import pytest
import torch

from archtrial import trial
from archtrial.console.beginning import ask_for_trust
from archtrial.errors import ArmError, ProtocolError, StudyError
from archtrial.protocol import Protocol, Recipe, canonical, digest, load
from archtrial.records.store import Store
from archtrial.study import Study
from archtrial.training.objective import UsersLoss
from archtrial.zoo import losses

FOCAL = """
import torch
from torch.nn import functional

def focal(outputs, targets):
    cross_entropy = functional.cross_entropy(outputs, targets, reduction="none")
    return (1 - torch.exp(-cross_entropy)) ** 2 * cross_entropy
"""
TRIAL = {
    "data": "digits", "baseline": "linear", "challengers": ["mlp(width=8)"], "steps": 6,
    "configurations": 4, "effort": 1, "confirm_seeds": 1,
}  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def written(here):
    """Writes a loss and returns its spec."""

    def write(text, name="loss", file="my.py"):
        (here / file).write_text(f"import torch\nfrom torch import nn\n{text}\n")
        return f"{file}:{name}"

    return write


def declared(loss, **changes):
    return Protocol(**{**TRIAL, "recipe": {"loss": loss}, **changes})


# ------------------------------------------------------------------ it is minimised


def test_what_is_minimised_changes_and_what_is_reported_does_not(written):
    spec = written(FOCAL, "focal")
    found = trial.prepare(declared(spec))
    minimised = found.trainer.problem_of("linear").minimised()
    assert isinstance(minimised, UsersLoss)
    assert found.metric.name == "accuracy"
    losses_after = {}
    for name, protocol in {"own": declared(spec), "none": Protocol(**TRIAL)}.items():
        Study(protocol, name).run()
        with Store(name, read_only=True) as store:
            runs = [run for run in store.runs() if run.stage == "search"]
        losses_after[name] = [run.curve[0].loss for run in runs]
        assert {0 <= run.validation <= 1 for run in runs} == {True}
    # Of the same weights, and (1 - p)^2 times as large.
    for own, plain in zip(*losses_after.values(), strict=True):
        assert 0 < own < plain


def test_the_protocol_keeps_its_source_and_no_folder(written, here):
    (here / "deep").mkdir()
    spec = written(FOCAL, "focal", "deep/my.py")
    resolved = trial.prepare(declared(spec)).resolved
    assert resolved["recipe"]["loss"] == "my.py:focal"
    assert "def focal" in resolved["loss_source"]
    assert str(here) not in json.dumps(resolved)
    assert "loss_source" not in trial.prepare(Protocol(**TRIAL)).resolved
    assert "loss" not in Recipe().describe()


def test_an_arm_may_have_its_own(written):
    spec = written(FOCAL, "focal")
    own = {"name": "own", "architecture": "linear", "recipe": {"loss": spec}}
    found = trial.prepare(Protocol(**{**TRIAL, "challengers": [own]}))
    kinds = [
        isinstance(found.trainer.problem_of(arm).minimised(), UsersLoss)
        for arm in ("linear", "own")
    ]
    assert kinds == [False, True]
    (challenger,) = found.resolved["challengers"]
    assert challenger["recipe"]["loss"] == "my.py:focal"
    assert "def focal" in challenger["loss_source"]
    assert "loss_source" not in found.resolved


def test_an_estimator_is_fitted_by_its_own(written):
    spec = written(FOCAL, "focal")
    trees = "trees=sklearn.tree:DecisionTreeClassifier"
    notes = trial.prepare(declared(spec, challengers=[trees])).resolved["notes"]
    (note,) = [note for note in notes if "my.py:focal" in note]
    assert note.startswith("trees is fitted by its own loss")


def test_paths_of_a_file_start_at_its_folder(here, written):
    (here / "deep").mkdir()
    written(FOCAL, "focal", "deep/my.py")
    (here / "deep" / "trial.toml").write_text(
        'data = "digits"\nbaseline = "linear"\n[recipe]\nloss = "my.py:focal"\n'
        '[[challengers]]\nname = "own"\narchitecture = "mlp"\n'
        'recipe = { loss = "my.py:focal" }\n'
    )
    found = load("deep/trial.toml")
    assert found.recipe.loss == "deep/my.py:focal"
    assert found.challengers[0].recipe["loss"] == "deep/my.py:focal"


def test_it_is_found_again_where_it_is_unpickled_unless_it_changed(written):
    loss = losses.find(written(FOCAL, "focal"))
    outputs, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    again = pickle.loads(pickle.dumps(loss))
    assert torch.equal(again(outputs, targets), loss(outputs, targets))
    written(FOCAL.replace("** 2", "** 3"), "focal")
    from archtrial.zoo import arms

    arms._loaded.clear()
    with pytest.raises(StudyError, match="stays as it was"):
        pickle.loads(pickle.dumps(loss))(outputs, targets)


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_of_their_own_train_with_it(written, workers):
    study = Study(declared(written(FOCAL, "focal")), "study")
    study.run(workers=workers)
    assert study.judgement.verdict.to_dict()


LOSSES_OF_NUMBERS = [
    "def loss(outputs, targets): return (outputs.squeeze(1) - targets).abs()",
    "loss = lambda outputs, targets: nn.functional.huber_loss(\n"
    "    outputs[:, 0], targets, reduction='none')",
    "class Own(nn.Module):\n"
    "    def forward(self, outputs, targets): return (outputs[:, 0] - targets) ** 4\n"
    "loss = Own()",
]


@pytest.mark.parametrize("text", LOSSES_OF_NUMBERS)
def test_of_numbers(written, text):
    found = trial.prepare(declared(written(text), data="diabetes"))
    assert found.metric.name == "r2"
    assert found.resolved["baseline"]["fleet"]


# ------------------------------------------------------------------ what is refused

MEAN = "def loss(o, t): return nn.functional.cross_entropy(o, t)"
REFUSED = {
    "mean": (MEAN, "reduction='none'"),
    "columns": (
        "def loss(o, t): return nn.functional.binary_cross_entropy_with_logits("
        "o, nn.functional.one_hot(t, 10).float(), reduction='none')",
        "(7, 10) for outputs (7, 10) and 7 targets",
    ),
    "number": (
        "def loss(o, t): return float(nn.functional.cross_entropy(o.detach(), t))",
        "an object of type float",
    ),
    "none": ("def loss(o, t): nn.functional.cross_entropy(o, t)", "type NoneType"),
    "array": ("def loss(o, t): return o.detach().numpy()[:, 0]", "type ndarray"),
    "tuple": ("def loss(o, t): return o[:, 0], t", "type tuple"),
    "whole": ("def loss(o, t): return t", "returns real numbers"),
    "raises": ("def loss(o, t):\n    return o[:, 99]", "IndexError"),
    "line": ("def loss(o, t):\n    raise ValueError('no')", "my.py, line 4"),
    "one argument": ("def loss(o): return o", "called as f(outputs, targets)"),
    "three": ("def loss(o, t, w): return o", "called as f(outputs, targets)"),
    "not finite": ("def loss(o, t): return o[:, 0].log()", "is finite"),
    "detached": ("def loss(o, t): return o.detach()[:, 0]", "none reaches them"),
    "no grad": (
        "def loss(o, t):\n    with torch.no_grad(): return o[:, 0].exp()",
        "none reaches them",
    ),
    "mistakes": ("def loss(o, t): return (o.argmax(1) != t).float()", "none reaches"),
    "zero": ("def loss(o, t): return o[:, 0] * 0", "it is zero"),
    "infinite slope": (
        "def loss(o, t): return (o[:, 0] - o[:, 0].detach()).clamp(min=0).sqrt()",
        "not finite",
    ),
    "class": (
        "class loss(nn.Module):\n    def forward(self, o, t): return o[:, 0]",
        "is a class",
    ),
    "value": ("loss = 3", "of type int"),
    "trained": (
        "class Own(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__(); self.w = nn.Parameter(torch.ones(()))\n"
        "    def forward(self, o, t): return o[:, 0] * self.w\n"
        "loss = Own()",
        "nothing to train",
    ),
    "other name": ("def losss(o, t): return o", "Did you mean 'losss'?"),
    "does not run": ("import nothing_of_the_kind", "cannot be run"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_message_says_what_is_wrong(written, name):
    text, says = REFUSED[name]
    with pytest.raises((ProtocolError, ArmError)) as caught:
        trial.prepare(declared(written(text)))
    assert says in str(caught.value)
    assert "my.py:loss" in str(caught.value) or "my.py" in str(caught.value)


def test_outputs_of_numbers_have_a_column(written):
    text = "def loss(o, t): return (o - t) ** 2"
    with pytest.raises(ProtocolError, match=r"begin with outputs\.squeeze\(1\)"):
        trial.prepare(declared(written(text), data="diabetes"))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("nope.py:loss", "there is no file nope.py"),
        ("my.py", "Write my.py:NAME"),
        ("focal", 'loss = "path/to/file.py:NAME"'),
        ("mse", "squared error for numbers"),
        ("cnn", "a function in a file or a module"),
        ("no_such_module:loss", "there is no module"),
        ("torch.nn.functional:cross_entropy", "reduction='none'"),
        ("torch.nn:CrossEntropyLoss", "CrossEntropyLoss(reduction='none')"),
        (":loss", "path/to/file.py:Name"),
    ],
)
def test_what_is_not_there_is_one_message(here, spec, says):
    with pytest.raises((ProtocolError, ArmError)) as caught:
        trial.prepare(declared(spec))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"recipe": {"label_smoothing": 0.1}}, "label_smoothing = 0.1 beside"),
        ({"recipe": {"class_weights": "balanced"}}, "class_weights = 'balanced'"),
        ({"space": {"label_smoothing": {"low": 0.0, "high": 0.2}}}, "search space"),
        (
            {"challengers": ["modern=mlp(recipe='modern')"]},
            '{ base = "modern", label_smoothing = 0 }',
        ),
    ],
)
def test_what_belongs_to_cross_entropy_is_refused_beside_it(written, changes, says):
    spec = written(FOCAL, "focal")
    recipe = {"loss": spec, **changes.get("recipe", {})}
    with pytest.raises(ProtocolError) as caught:
        trial.prepare(Protocol(**{**TRIAL, **changes, "recipe": recipe}))
    assert says in str(caught.value)


def test_the_way_out_of_the_modern_recipe_works(written):
    table = {"base": "modern", "label_smoothing": 0}
    modern = {"name": "m", "architecture": "mlp", "recipe": table}
    spec = written(FOCAL, "focal")
    found = trial.prepare(declared(spec, challengers=[modern]))
    assert found.resolved["challengers"][0]["recipe"]["length"] == 2.0


# ------------------------------------------------------------------ the command line


SMALL = [
    "--data", "digits", "--baseline", "linear", "--challenger", "mlp", "--workers", 1,
    "--configurations", 4, "--effort", 1, "--steps", 6, "--json",
]  # fmt: skip


def test_an_option_declares_it_and_the_folder_goes_on_with_it(archtrial, written, here):
    spec = written(FOCAL, "focal")
    where = ["--study", "study"]
    status, out, err = archtrial("run", *SMALL, "--loss", spec, *where)
    assert status == 0, err
    kept = json.loads((here / "study" / "protocol.json").read_text())
    assert kept["recipe"]["loss"] == spec
    status, again, err = archtrial("run", *where, "--workers", 1, "--json")
    assert (status, again) == (0, out), err
    status, _, err = archtrial("run", *SMALL, *where)
    assert status == 2
    assert "recipe.loss" in err
    # Code that the folder names and that is not what it kept asks to be trusted.
    written(FOCAL + "# other\n", "focal")
    status, _, err = archtrial("run", *where, "--workers", 1)
    assert status == 2
    assert f"loss = {spec}: the file is not what the study kept of it" in err
    status, _, err = archtrial("run", *where, "--workers", 1, "--trust")
    assert status == 2
    assert f"trusted: loss = {spec}" in err
    assert "loss_source" in err


def test_a_loss_of_scikit_learn_waits_for_trust(tmp_path):
    for spec in ("sklearn.metrics:log_loss", "sklearn:f", "sklearn.study/evil.py:f"):
        with pytest.raises(StudyError) as caught:
            ask_for_trust("run", tmp_path, {}, [], None, False, "", [(spec, None)])
        assert f"loss = {spec}: " in str(caught.value)


def test_a_loss_that_is_not_there_has_status_2(archtrial, here):
    for command in ("run", "plan"):
        arguments = [a for a in SMALL if command == "run" or a not in ("--json",)]
        status, out, err = archtrial(command, *arguments, "--loss", "nope.py:loss")
        assert (status, out) == (2, "")
        assert "there is no file nope.py" in err
        assert "Traceback" not in err


def test_relaxing_has_none(archtrial, here):
    (here / "relax.toml").write_text('data = "digits"\nrecipe = { loss = "a.py:f" }\n')
    status, _, err = archtrial("relax", "relax.toml")
    assert status == 2
    assert "Leave loss out of the recipe." in err


@pytest.mark.parametrize("hidden", ["challengers", "baseline"])
def test_a_folder_that_hides_an_arm_runs_no_code_of_it(
    archtrial, written, here, hidden
):
    """What is declared is what would run, whatever the resolved protocol leaves out."""
    marker = here / "ran"
    evil = written(f"open({str(marker)!r}, 'w')\n" + FOCAL, "focal")
    whole = Study(Protocol(**TRIAL))
    described = whole.protocol.describe()
    arms = {
        "baseline": described["baseline"],
        "challengers": described["challengers"][0],
    }
    arms[hidden] = {**arms[hidden], "recipe": {"loss": evil}}
    described |= {"baseline": arms["baseline"], "challengers": [arms["challengers"]]}
    resolved = dict(whole.resolved)
    resolved[hidden] = [] if hidden == "challengers" else None
    with Store(here / "victim") as store:
        store.declare(
            digest(resolved), canonical(resolved), json.dumps(described), "{}"
        )
    status, _, err = archtrial("run", "--study", "victim")
    assert status == 2
    assert f"loss = {evil}" in err
    assert not marker.exists()


def test_an_empty_name_is_no_loss(archtrial, here):
    status, _, err = archtrial("run", *SMALL, "--loss", "")
    assert status == 2
    assert "loss" in err
    assert "Traceback" not in err


def test_a_loss_that_was_changed_makes_no_unseen_study(written, here):
    """What was found by the loss before is known, and is said."""
    spec = written(FOCAL, "focal")
    study = Study(Protocol(**TRIAL, recipe={"loss": spec}))
    study.run()
    written(FOCAL + "# other\n", "focal")
    again = Study(Protocol(**TRIAL, recipe={"loss": spec}))
    assert again.folder != study.folder
    assert any(str(study.folder) in note for note in again.notes)
