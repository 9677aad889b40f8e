"""Training with examples without labels, each held to what it is derived from."""

import dataclasses
import functools
import itertools
import math
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from archtrial import metrics
from archtrial.errors import ProtocolError
from archtrial.protocol import PROCEDURES, Procedure, Recipe
from archtrial.training import choice, fleet, module, procedure, run
from archtrial.training.loop import Loop
from archtrial.training.outcome import Account
from archtrial.training.source import Source, Views, unlabelled_batch

CLASSES, RUNS, LABELLED, OTHERS = 3, 3, 60, 200
ENGINES = {"loop": (Loop, 1), "fleet": (fleet.Stack, RUNS)}
MPL = ("mpl", "mpl_h0", "mpl_negated")


def recipe(kind="supervised", *, plain=None, **numbers):
    numbers = {"strong": ("noise",), **numbers}
    return Recipe(
        **{
            "optimizer": "sgd", "learning_rate": 3e-2, "warmup": 0.0,
            "augmentation": ("noise",), **(plain or {}),
        },
        procedure=Procedure(kind=kind, **numbers),
    )  # fmt: skip


def problem(own, **changes):
    x = np.random.default_rng(0).normal(size=(90 + OTHERS, 6)).astype(np.float32)
    y = np.digitize(x[:, 0] + x[:, 1], [-0.6, 0.6]).astype(np.int64)
    values = {
        **{"x_train": x[:60], "x_validation": x[60:75], "x_test": x[75:90]},
        **{"y_train": y[:60], "y_validation": y[60:75], "unlabelled": x[90:]},
        **{"task": "classification", "num_outputs": CLASSES, "batch_size": 20},
        **{"metric": metrics.get("accuracy"), "steps": 12, "evaluations": 3},
        "recipe": own,
    }
    return run.Problem(**(values | changes))


class Net(nn.Module):
    def __init__(self, width=8, dropout=0.2):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(6, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 3)
        )

    def forward(self, x):
        return self.body(x)


DRY = functools.partial(Net, dropout=0.0)


def jobs(count, build=Net, **hyperparameters):
    return [
        run.Job(build, hyperparameters, index, 5 + index, 9 + index, True)
        for index in range(count)
    ]


def trained(given, kind, build=Net, **hyperparameters):
    engine_of, count = ENGINES[kind]
    those = jobs(count, build, **hyperparameters)
    modules = [module.build(given, job) for job in those]
    accounts = [Account(given, time.perf_counter()) for _ in those]
    return run.drive(given, those, modules, engine_of, accounts)


def engine(given, kind="loop", build=DRY, **hyperparameters):
    engine_of, count = ENGINES[kind]
    those = jobs(count, build, **hyperparameters)
    modules = [module.build(given, job) for job in those]
    return procedure.guided(given, those, modules, engine_of), those


def weights(outcome):
    assert outcome.error is None
    return torch.cat([w.flatten() for w in outcome.weights.values()])


def close(mine, theirs, rtol=1e-3, atol=1e-5):
    torch.testing.assert_close(mine, theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize("kind", ENGINES)
def test_a_student_that_is_only_finetuned_is_an_ordinary_run(kind):
    alone = trained(problem(recipe()), kind)
    taught = trained(problem(recipe("mpl", finetuning=0.999)), kind)
    for one, other in zip(taught, alone, strict=True):
        assert torch.equal(weights(one), weights(other))
        assert one.curve == other.curve


@pytest.mark.parametrize("name", ["pseudo_labels", "uda"])
@pytest.mark.parametrize("kind", ENGINES)
def test_without_weight_the_other_examples_change_nothing(kind, name):
    """Without dropout, whose masks they would draw as well."""
    alone = trained(problem(recipe()), kind, DRY)
    own = recipe(name, unlabelled_weight=0.0)
    beside = trained(problem(own), kind, DRY)
    weighing = trained(problem(recipe(name, confidence_threshold=0.0)), kind, DRY)
    for one, other, third in zip(beside, alone, weighing, strict=True):
        close(weights(one), weights(other), 1e-5, 1e-7)
        assert not torch.allclose(weights(third), weights(other), rtol=1e-3)


@pytest.mark.parametrize("name", [name for name in PROCEDURES if name != "supervised"])
def test_a_fleet_takes_the_steps_of_the_loop(name):
    given = problem(recipe(name, confidence_threshold=0.4, ratio=2))
    (alone,) = trained(given, "loop")
    together = trained(given, "fleet")
    close(weights(together[0]), weights(alone))
    assert [p.validation for p in together[0].curve] == [
        p.validation for p in alone.curve
    ]
    assert together[0].measures.keys() == alone.measures.keys()
    for key, own in alone.measures.items():
        for mine, theirs in zip(together[0].measures[key], own, strict=True):
            if theirs is None:  # while the student is finetuned
                assert mine is None
            else:
                assert mine == pytest.approx(theirs, rel=1e-2, abs=1e-5)
    assert not torch.allclose(weights(together[0]), weights(together[1]))


def one_step(kind, build=DRY, given=None, labels=None, mean=None, **numbers):
    """Takes one step of meta pseudo labels and returns all that it is made of."""
    plain = {
        "learning_rate": 1e-3, "momentum": 0.0, "gradient_clip": None,
        "schedule": "constant", "augmentation": (),
    }  # fmt: skip
    own = recipe(kind, plain=plain, finetuning=0.0, **{"ramp": 0.0, **numbers})
    given = given or {}
    asked = problem(own, steps=1, evaluations=1, **given)
    found, (job,) = engine(asked, build=build)
    views = Views(asked, [job])
    weak, strong = next(views)
    rows = next(run.recipe.batches(own, len(asked.x_train), asked.batch_size, 5))
    x = torch.from_numpy(asked.x_train[rows])[None]
    y = torch.from_numpy(asked.y_train[rows])[None]
    before = [copied(found.student.module), copied(found.teacher.module)]
    said = []
    labelled = found._labels

    def noted(answers):
        said.append(labelled(answers) if labels is None else labels)
        return said[0]

    found._labels = noted
    if mean is not None:
        found._mean.before = mean
    gradients = []
    moved = found.teacher.update

    def kept(rate):
        gradients.append(found.teacher.gradient.clone())
        moved(rate)

    found.teacher.update = kept
    with found.running():
        found.step(x, y, 1.0)
    return {
        "student": before[0], "teacher": before[1], "after": found.student.module,
        "x": x[0], "y": y[0], "strong": strong[0], "weak": weak[0], "pseudo": said[0][0],
        "h": float(found._seen[0]), "gradient": gradients[0][0],
    }  # fmt: skip


def copied(of):
    other = Net(dropout=0.0)
    other.load_state_dict(of.state_dict())
    return other


def gradient(net, loss):
    found = torch.autograd.grad(loss, list(net.parameters()))
    return torch.cat([g.flatten() for g in found])


cross_entropy = nn.functional.cross_entropy


@pytest.mark.parametrize("labels", ["sampled", "hard"])
def test_h_is_how_much_the_step_lowered_the_loss_on_labels(labels):
    """To first order rate x (gradient on labels) . (gradient on pseudo labels)."""
    found = one_step("mpl", pseudo_labels=labels)
    student, x, y = found["student"], found["x"], found["y"]
    loss = cross_entropy(student(x), y)
    with torch.no_grad():
        lowered = loss - cross_entropy(found["after"](x), y)
    assert found["h"] == pytest.approx(float(lowered), rel=1e-3)
    on_labels = gradient(student, loss)
    on_pseudo = gradient(
        student, cross_entropy(student(found["strong"]), found["pseudo"])
    )
    first_order = 1e-3 * float(on_labels @ on_pseudo)
    assert abs(first_order) > 1e-5
    assert found["h"] == pytest.approx(first_order, rel=0.02)


@pytest.mark.parametrize(
    ("kind", "sign"), [("mpl", 1), ("mpl_h0", 0), ("mpl_negated", -1)]
)
def test_the_teacher_descends_h_times_the_pseudo_labels_loss(kind, sign):
    """Beside its own: labels, and consistency as in UDA."""
    numbers = {"confidence_threshold": 0.42, "unlabelled_weight": 2.0}
    found = one_step(kind, feedback_weight=500.0, temperature=0.5, **numbers)
    teacher, pseudo = found["teacher"], found["pseudo"]
    answers = teacher(found["strong"])
    weak = teacher(found["weak"]).detach()
    sure = (weak.softmax(1).amax(1) > 0.42).float()
    assert 0 < sure.mean() < 1
    wanted = (weak / 0.5).softmax(1)
    consistency = (-(wanted * answers.log_softmax(1)).sum(1) * sure).mean()
    own = cross_entropy(teacher(found["x"]), found["y"]) + 2.0 * consistency
    pull = sign * 500.0 * found["h"] * cross_entropy(answers, pseudo)
    close(found["gradient"], gradient(teacher, own + pull), 1e-4, 1e-6)


def test_by_sampled_labels_h_is_the_gradient_of_the_students_loss():
    """REINFORCE: over all labels it is, on average, that of the loss after the step.

    One example without a label; its label has one of three values, and the expectation
    over them is exact.
    """
    one = {"unlabelled": problem(recipe()).unlabelled[:1]}
    terms, losses = [], []
    for label in range(CLASSES):
        labels = torch.tensor([[label]])
        along, none = (
            one_step(kind, given=one, labels=labels, unlabelled_weight=0.0)
            for kind in ("mpl", "mpl_h0")
        )
        terms.append(along["gradient"] - none["gradient"])
        with torch.no_grad():
            losses.append(cross_entropy(along["after"](along["x"]), along["y"]))
    teacher = along["teacher"]
    shares = teacher(along["strong"]).softmax(1)[0]
    expected = gradient(teacher, shares @ torch.stack(losses))
    mean = torch.stack(
        [p * term for p, term in zip(shares.detach(), terms, strict=True)]
    )
    assert expected.norm() > 1e-5
    close(mean.sum(0), expected, rtol=0.02, atol=float(expected.norm()) / 100)


def test_a_teachers_own_softmax_gives_h_no_gradient_and_labels_do():
    """The released code's soft targets: their cross-entropy has its minimum there."""
    ends = {
        (labels, kind): one_step(kind, pseudo_labels=labels, feedback_weight=1e4)
        for labels in ("soft", "sampled", "hard")
        for kind in MPL
    }
    for labels in ("soft", "sampled", "hard"):
        along, none, against = (ends[labels, kind] for kind in MPL)
        assert abs(along["h"]) > 1e-6
        apart = (along["gradient"] - none["gradient"]).norm()
        if labels == "soft":
            assert apart < 1e-6 * none["gradient"].norm() * 1e4 * abs(along["h"])
            continue
        assert apart > 0.01 * none["gradient"].norm()
        opposite = along["gradient"] + against["gradient"] - 2 * none["gradient"]
        assert opposite.norm() < 1e-3 * apart


def test_losses_before_and_after_a_step_have_one_mask_of_dropout():
    given = problem(recipe("mpl", finetuning=0.0))
    for kind in ENGINES:
        still = trained(
            given, kind, functools.partial(Net, dropout=0.5), learning_rate=0.0
        )
        for outcome in still:
            assert outcome.measures["h"] == [0.0, 0.0, 0.0]
            assert outcome.measures["h_deviation"] == [0.0, 0.0, 0.0]


def test_sampled_labels_are_drawn_from_the_softmax():
    found, _ = engine(problem(recipe("mpl")), "fleet")
    logits = torch.tensor([0.0, 1.0, -1.0]).expand(RUNS, 4000, CLASSES)
    drawn = found._labels(logits)
    shares = logits[0, 0].softmax(0)
    for own in drawn:
        counted = torch.bincount(own, minlength=CLASSES) / 4000
        assert (counted - shares).abs().max() < 4 * math.sqrt(0.25 / 4000)
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(found._labels(logits), drawn)


def test_hard_labels_are_the_most_probable_classes():
    found, _ = engine(problem(recipe("mpl", pseudo_labels="hard")))
    logits = torch.tensor([[[0.0, 1.0, -1.0], [2.0, 1.0, -1.0]]])
    assert found._labels(logits).tolist() == [[1, 0]]


def test_h_is_held_against_its_mean_so_far():
    mean = procedure._Mean(2, torch.device("cpu"))
    values = torch.tensor([[1.0, -2.0], [3.0, 0.0], [5.0, 2.0]])
    before = [mean.before(h) for h in values]
    close(before[0], torch.zeros(2))
    close(before[1], values[0])
    kept = 1 - 1 / procedure._MEMORY
    close(before[2], (kept * values[0] + values[1]) / (kept + 1))


def test_the_teacher_is_pulled_by_how_far_h_is_from_that_mean():
    at_it = one_step("mpl", feedback_weight=1e4, mean=lambda h: h)
    none = one_step("mpl_h0", feedback_weight=1e4)
    away = one_step("mpl", feedback_weight=1e4)
    close(at_it["gradient"], none["gradient"], 1e-6, 1e-8)
    assert not torch.allclose(away["gradient"], none["gradient"], rtol=1e-2)


def test_noise_goes_on_where_the_step_has_left_it():
    """Or the next step would have the masks of this one."""
    found, _ = engine(problem(recipe("mpl")), build=Net)
    other, _ = engine(problem(recipe("mpl")), build=Net)
    x, y = torch.zeros(1, 20, 6), torch.zeros(1, 20, dtype=torch.int64)
    with found.running():
        found.step(x, y, 1.0)
    for batch in (x, next(other.views)[1]):
        other.student.outputs(batch)
    (mine,), (theirs,) = found.student.generators, other.student.generators
    assert torch.equal(mine.get_state(), theirs.get_state())


def test_what_is_noted_is_of_teachers_and_of_the_steps_since():
    given = problem(recipe("mpl", finetuning=0.3))
    (outcome,) = trained(given, "loop")
    noted = outcome.measures
    assert noted["step"] == [4, 8, 12]
    assert all(0 <= score <= 1 for score in noted["teacher"])
    # Which begins elsewhere, and is not its student.
    assert noted["teacher"] != [point.validation for point in outcome.curve]
    assert None not in noted["h"][:2]
    # From step 9 on the student is finetuned.
    assert noted["h"][2] is None
    assert noted["h_deviation"][2] is None
    assert outcome.run(
        arm="a", pair=0, seed=0, stage="search", configuration={}
    ).measures


@pytest.mark.parametrize("name", ["pseudo_labels", "uda"])
def test_only_confident_answers_count(name):
    own = recipe(name, confidence_threshold=0.99)
    alone = trained(problem(recipe()), "loop", DRY)[0]
    close(weights(trained(problem(own), "loop", DRY)[0]), weights(alone), 1e-5, 1e-7)


def test_the_weight_rises_from_nothing():
    found, _ = engine(problem(recipe("uda", ramp=0.5, unlabelled_weight=8.0)))
    weighed = []
    found._step = lambda x, y, rate, weight: weighed.append(weight)
    for _ in range(12):
        found.step(None, None, 1.0)
    assert [float(w) for w in weighed[:6]] == pytest.approx(
        [8 * k / 6 for k in range(1, 7)]
    )
    assert {float(w) for w in weighed[5:]} == {8.0}


def test_a_run_has_its_own_weights_and_thresholds():
    own = recipe("mpl")
    given = problem(own)
    found, _ = engine(
        given, "fleet", DRY, unlabelled_weight=3.0, confidence_threshold=0.1,
        feedback_weight=0.5,
    )  # fmt: skip
    assert found._weight.tolist() == [3.0] * RUNS
    assert found._threshold.tolist() == pytest.approx([0.1] * RUNS)
    assert found._feedback.tolist() == [0.5] * RUNS
    with pytest.raises(
        ProtocolError, match=r"confidence_threshold is at least 0 and below 1"
    ):
        engine(given, "loop", DRY, confidence_threshold=1.0)


@pytest.mark.parametrize("name", PROCEDURES)
def test_operations_are_those_of_the_passes(name):
    given = problem(recipe(name, finetuning=0.25, ratio=3), steps=4, evaluations=1)
    found, (job,) = engine(given, build=Net)
    source = Source(given)
    said = procedure.flops(given, Net(), source, job)
    x, y = torch.zeros(1, 20, 6), torch.zeros(1, 20, dtype=torch.int64)
    counter = FlopCounterMode(display=False)
    with found.running(), counter:
        for _ in range(4):
            found.step(x, y, 1.0)
    assert said == counter.get_total_flops()


def test_views_follow_the_order_of_labelled_batches():
    given = problem(recipe("uda", ratio=4))
    those = jobs(2)
    views, again = Views(given, those), Views(problem(recipe("mpl", ratio=4)), those)
    assert unlabelled_batch(given, those[0]) == 80
    for _ in range(3):
        weak, strong = next(views)
        assert weak.shape == strong.shape == (2, 80, 6)
        assert not torch.equal(weak, strong)
        assert not torch.equal(weak[0], weak[1])
        for mine, theirs in zip((weak, strong), next(again), strict=True):
            assert torch.equal(mine, theirs)
    plain = recipe("pseudo_labels", plain={"augmentation": ()})
    weak, same = next(Views(problem(plain), those[:1]))
    assert weak is same
    rows = {row.tobytes() for row in given.unlabelled}
    assert all(row.tobytes() in rows for row in weak[0].numpy())


def test_batches_without_labels_are_no_larger_than_what_there_is():
    given = problem(recipe("uda", ratio=50))
    assert unlabelled_batch(given, jobs(1)[0]) == OTHERS
    few = dataclasses.replace(jobs(1)[0], rows=np.arange(6))
    assert unlabelled_batch(problem(recipe("uda", ratio=4)), few) == 24


@pytest.mark.parametrize("kind", ENGINES)
def test_the_student_is_evaluated_with_averaged_weights(kind):
    own = recipe("mpl", plain={"weight_averaging": 0.5}, finetuning=0.0)
    found, _ = engine(problem(own), kind)
    assert found.average is not None
    assert found.teacher.average is None
    averaged = trained(problem(own), kind)
    plain = trained(problem(recipe("mpl", finetuning=0.0)), kind)
    for one, other in zip(averaged, plain, strict=True):
        assert not torch.equal(weights(one), weights(other))


def test_teachers_begin_elsewhere_and_see_what_their_students_see():
    found, _ = engine(problem(recipe("mpl")), "fleet")
    assert not torch.equal(found.teacher.values, found.student.values)
    other, _ = engine(problem(recipe("mpl_h0")), "fleet")
    assert torch.equal(found.teacher.values, other.teacher.values)
    assert torch.equal(found.student.values, other.student.values)


@pytest.mark.parametrize("name", MPL)
def test_a_teacher_that_diverges_ends_in_a_run_that_counts(name):
    given = problem(recipe(name, finetuning=0.0, plain={"gradient_clip": None}))
    (outcome,) = trained(given, "loop", learning_rate=1e9)
    assert outcome.diverged
    assert outcome.error is None


def test_a_procedure_asks_for_what_it_needs():
    for changes, said in (
        ({"unlabelled": None}, r"reads examples without labels(.|\n)*--labels 400"),
        (
            {"task": "regression", "metric": metrics.get("r2"), "num_outputs": 1},
            "classes",
        ),
        ({"recipe": recipe("uda", plain={"accumulate": 2})}, "as a whole"),
        (
            {
                "recipe": recipe("mpl", plain={"loss": "net.py:loss"}),
                "losses": {"net.py:loss": lambda outputs, targets: outputs},
            },
            "minimises cross-entropy",
        ),
    ):
        with pytest.raises(ProtocolError, match=said):
            problem(**{"own": recipe("uda"), **changes})


def test_batches_of_two_runs_differ_in_everything_that_is_theirs():
    """So that what a fleet shares by mistake would show."""
    given = problem(recipe("mpl"))
    first, second = itertools.islice(Views(given, jobs(2)), 2)
    assert not torch.equal(first[0], second[0])


def test_what_finetuning_brings_is_measured_from_where_it_begins():
    given = problem(recipe("mpl", finetuning=0.25), steps=100, evaluations=10)
    assert 75 in given.evaluation_steps()
    assert (
        75 not in problem(recipe("uda"), steps=100, evaluations=10).evaluation_steps()
    )
    assert Procedure(kind="mpl", finetuning=0.25).finetuned_from(100) == 75
    assert Procedure(kind="uda", finetuning=0.25).finetuned_from(100) is None
    assert Procedure(kind="mpl", finetuning=0.0).finetuned_from(100) is None


def test_a_fleet_has_fewer_runs_where_a_step_keeps_more():
    wide = run.Job(functools.partial(Net, width=3000), {}, 0, 0, 0)
    sizes = [
        choice.fleet_size(problem(recipe(kind, ratio=ratio)), wide, "always")
        for kind, ratio in (("supervised", 1), ("uda", 1), ("mpl", 1), ("mpl", 60))
    ]
    assert sizes[:3] == [16, 16, 16]
    assert sizes[3] < 16
