"""A training of two models: the seam that distillation and meta pseudo labels stand on."""

import dataclasses
import functools
import time

import numpy as np
import pytest
import torch
from torch import nn

from archtrial import metrics
from archtrial.protocol import Recipe
from archtrial.training import fleet, module, objective, run
from archtrial.training.loop import Loop
from archtrial.training.outcome import Account
from archtrial.training.pair import Procedure, paired

CLASSES, RUNS = 3, 3
ENGINES = {"loop": (Loop, 1), "fleet": (fleet.Stack, RUNS)}


def problem(**changes):
    x = np.random.default_rng(0).normal(size=(90, 6)).astype(np.float32)
    y = np.digitize(x[:, 0] + x[:, 1], [-0.6, 0.6]).astype(np.int64)
    values = {
        **{"x_train": x[:60], "x_validation": x[60:75], "x_test": x[75:]},
        **{"y_train": y[:60], "y_validation": y[60:75]},
        **{"task": "classification", "num_outputs": CLASSES, "batch_size": 20},
        **{"metric": metrics.get("accuracy"), "steps": 12, "evaluations": 3},
        "recipe": Recipe(optimizer="sgd", learning_rate=3e-2, warmup=0.0),
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


def jobs(count, build=Net, first=0):
    return [
        run.Job(build, {}, first + index, 5 + index, 9 + first + index, True)
        for index in range(count)
    ]


def driven(procedure, kind, given=None, teachers=None, build=Net):
    """Trains pairs as the driver does, and returns outcomes and engine."""
    engine_of, count = ENGINES[kind]
    given = given or problem()
    students = jobs(count, build)
    teachers = teachers or jobs(count, first=50)
    made = []

    def keeping(*arguments):
        make = paired(procedure, engine_of, teachers, module.build)
        made.append(make(*arguments))
        return made[0]

    accounts = [Account(given, time.perf_counter()) for _ in students]
    modules = [module.build(given, job) for job in students]
    return run.drive(given, students, modules, keeping, accounts), made[0]


class Alone(Procedure):
    """The student learns from labels; the teacher looks on."""

    def step(self, teacher, student, x, y, rate):
        return student.step(x, y, rate)


class Distilled(Procedure):
    """The student learns what a teacher says that learns nothing more."""

    def step(self, teacher, student, x, y, rate):
        with torch.no_grad():
            told = teacher.outputs(x)
        wanted = objective.SoftTargets(np.zeros((1, CLASSES)), "squared_error")
        student.forget()
        losses = wanted.losses(student.outputs(x), told, student.smoothing).mean(1)
        student.backward(losses)
        student.update(rate)
        return losses.detach()


class MetaPseudoLabels(Procedure):
    """The teacher's pseudo labels, and the student's answer to them on the labels.

    Half of a batch is taken as unlabelled. What the teacher gets is h: how much the
    student's step lowered its loss on the labels (Pham et al. 2021, appendix A).
    """

    def __init__(self, sign=1.0):
        self.sign = sign
        self.feedback = []

    def step(self, teacher, student, x, y, rate):
        half = x.shape[1] // 2
        labelled, labels, unlabelled = x[:, :half], y[:, :half], x[:, half:]
        teacher.forget()
        told = teacher.outputs(unlabelled)
        pseudo = told.detach().argmax(2)
        before = self.losses(student, labelled, labels)
        student.forget()
        losses = self.of(student, student.outputs(unlabelled), pseudo)
        student.backward(losses)
        student.update(rate)
        h = before - self.losses(student, labelled, labels)
        self.feedback.append(h)
        teacher.backward(self.sign * h * self.of(teacher, told, pseudo))
        teacher.backward(self.of(teacher, teacher.outputs(labelled), labels))
        teacher.update(rate)
        return losses.detach()

    def of(self, engine, outputs, targets):
        return engine.objective.losses(outputs, targets, engine.smoothing).mean(1)

    @torch.no_grad()
    def losses(self, engine, x, y):
        return self.of(engine, engine.outputs(x), y)


def weights(outcome):
    assert outcome.error is None
    return torch.cat([w.flatten() for w in outcome.weights.values()])


@pytest.mark.parametrize("kind", ENGINES)
def test_a_student_without_its_teacher_is_an_ordinary_run(kind):
    outcomes, pair = driven(Alone(), kind)
    count = ENGINES[kind][1]
    students = jobs(count)
    plain = (
        [run.train(problem(), students[0])]
        if kind == "loop"
        else fleet.train(problem(), students)
    )
    for one, other in zip(outcomes, plain, strict=True):
        assert torch.equal(weights(one), weights(other))
        assert one.curve == other.curve
    began = [module.build(problem(), job) for job in jobs(count, first=50)]
    rows = torch.cat([module.flatten(each)[0] for each in began])
    assert torch.equal(pair.teacher.values, rows)


@pytest.mark.parametrize("kind", ENGINES)
def test_a_fixed_teacher_is_the_objective_of_its_logits(kind):
    """Without dropout, so that it says the same whenever it is asked."""
    dry = functools.partial(Net, dropout=0.0)
    given = problem()
    count = ENGINES[kind][1]
    teachers = jobs(count, dry, first=50)
    outcomes, _ = driven(Distilled(), kind, given, teachers, dry)
    for index, outcome in enumerate(outcomes):
        with torch.no_grad():
            taught = module.build(given, teachers[index])(torch.tensor(given.x_train))
        told = objective.SoftTargets(taught.numpy(), "squared_error")
        alone = run.train(
            dataclasses.replace(given, objective=told), jobs(count, dry)[index]
        )
        torch.testing.assert_close(
            weights(outcome), weights(alone), rtol=1e-4, atol=1e-6
        )
        for mine, theirs in zip(outcome.curve, alone.curve, strict=True):
            assert mine.loss == pytest.approx(theirs.loss, rel=1e-4)


def test_both_models_move_in_a_fleet_as_in_the_loop():
    ends = {}
    for kind in ENGINES:
        outcomes, pair = driven(MetaPseudoLabels(), kind)
        ends[kind] = weights(outcomes[0]), pair.teacher.values[0].clone()
    for mine, theirs in zip(ends["fleet"], ends["loop"], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_feedback_is_to_first_order_the_product_of_two_gradients():
    """h = rate x (gradient on labels) . (gradient on pseudo labels)."""
    dry = functools.partial(Net, dropout=0.0)
    rate = 1e-3
    recipe = Recipe(
        optimizer="sgd", learning_rate=rate, momentum=0.0, gradient_clip=None,
        schedule="constant", warmup=0.0,
    )  # fmt: skip
    procedure = MetaPseudoLabels()
    given = problem(recipe=recipe, steps=1, evaluations=1)
    (teacher,), (student,) = jobs(1, dry, first=50), jobs(1, dry)
    began, taught = module.build(given, student), module.build(given, teacher)
    rows = next(run.recipe.batches(recipe, len(given.x_train), given.batch_size, 5))
    x, y = torch.tensor(given.x_train[rows]), torch.tensor(given.y_train[rows])
    driven(procedure, "loop", given, [teacher], dry)

    def gradient(inputs, labels):
        loss = nn.functional.cross_entropy(began(inputs), labels)
        return torch.cat(
            [g.flatten() for g in torch.autograd.grad(loss, list(began.parameters()))]
        )

    wanted = (
        rate * gradient(x[:10], y[:10]) @ gradient(x[10:], taught(x[10:]).argmax(1))
    )
    (h,) = procedure.feedback
    assert float(h) == pytest.approx(float(wanted), rel=0.02)


@pytest.mark.parametrize("kind", ENGINES)
def test_the_sign_of_the_feedback_reaches_the_teacher(kind):
    ends = [
        driven(MetaPseudoLabels(sign), kind)[1].teacher.values.clone()
        for sign in (1.0, 0.0, -1.0)
    ]
    assert not torch.equal(ends[0], ends[1])
    # To first order, with and against it lie on either side of none.
    along, against = ends[0] - ends[1], ends[2] - ends[1]
    cosine = nn.functional.cosine_similarity(along.flatten(), against.flatten(), 0)
    assert float(cosine) < -0.8


@pytest.mark.parametrize("kind", ENGINES)
def test_the_student_is_evaluated_with_averaged_weights(kind):
    recipe = Recipe(optimizer="sgd", learning_rate=3e-2, weight_averaging=0.5)
    outcomes, pair = driven(Alone(), kind, problem(recipe=recipe))
    assert pair.average is not None
    assert pair.teacher.average is None
    _, count = ENGINES[kind]
    plain = run.train(problem(recipe=recipe), jobs(count)[0])
    torch.testing.assert_close(
        weights(outcomes[0]), weights(plain), rtol=1e-4, atol=1e-6
    )
