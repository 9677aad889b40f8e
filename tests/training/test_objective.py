"""What a training minimises, against PyTorch's own losses."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from archtrial import metrics
from archtrial.errors import FormError
from archtrial.protocol import Recipe
from archtrial.training import fleet, objective, rehearsal, run

NONE = torch.zeros(2, 1)
CLASSES = 3


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels(count=60, seed=0):
    return np.random.default_rng(seed).integers(0, CLASSES, count)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_labels_is_cross_entropy(smoothing):
    outputs, targets = drawn(2, 5, 3), torch.from_numpy(labels(10)).view(2, 5)
    smoothings = torch.tensor([[smoothing], [0.3]])
    losses = objective.Labels(labels()).losses(outputs, targets, smoothings)
    for index, own in enumerate((smoothing, 0.3)):
        oracle = functional.cross_entropy(
            outputs[index], targets[index], label_smoothing=own, reduction="none"
        )
        torch.testing.assert_close(losses[index], oracle)


def test_the_loss_of_real_targets_is_the_squared_error():
    outputs, targets = drawn(2, 5, 1), drawn(2, 5, seed=2)
    losses = objective.Values(np.arange(9.0)).losses(outputs, targets, NONE)
    torch.testing.assert_close(
        losses, functional.mse_loss(outputs[..., 0], targets, reduction="none")
    )


def test_balanced_classes_share_the_loss_evenly():
    y = np.array([0] * 30 + [1] * 10 + [3] * 2)
    balanced = objective.Labels.balanced(y, 4)
    # N / (classes that occur x examples of the class), as scikit-learn has it.
    assert balanced.weights == pytest.approx((42 / 90, 42 / 30, 0, 42 / 6))
    outputs, targets = drawn(1, 42, 4), torch.from_numpy(y)[None]
    losses = balanced.losses(outputs, targets, NONE[:1])
    plain = functional.cross_entropy(
        outputs[0], targets[0], torch.tensor(balanced.weights), reduction="none"
    )
    torch.testing.assert_close(losses[0], plain)
    even = balanced.losses(torch.zeros(1, 42, 4), targets, NONE[:1])[0]
    shares = [float(even[y == label].sum() / even.sum()) for label in (0, 1, 3)]
    assert shares == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_softened_cross_entropy_has_the_gradient_of_the_divergence(temperature):
    logits, teacher = drawn(2, 5, 3).requires_grad_(), drawn(2, 5, 3, seed=2)
    soft = objective.SoftTargets(teacher.flatten(0, 1).numpy(), temperature=temperature)
    losses = soft.losses(logits, teacher, NONE)
    oracle = functional.kl_div(
        (logits / temperature).log_softmax(2),
        (teacher / temperature).softmax(2),
        reduction="sum",
    )
    (mine,) = torch.autograd.grad(losses.sum(), logits)
    (theirs,) = torch.autograd.grad(oracle * temperature**2, logits)
    torch.testing.assert_close(mine, theirs)


def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn():
    teacher = drawn(1, 5, 3)
    for kind in ("cross_entropy", "squared_error"):
        student = teacher.clone().requires_grad_()
        soft = objective.SoftTargets(teacher[0].numpy(), kind, 1.0)
        soft.losses(student, teacher, NONE[:1]).sum().backward()
        assert student.grad.abs().max() < 1e-6


def test_the_squared_error_of_logits_is_half_their_distance():
    outputs, teacher = drawn(2, 5, 3), drawn(2, 5, 3, seed=2)
    soft = objective.SoftTargets(teacher[0].numpy(), "squared_error")
    torch.testing.assert_close(
        soft.losses(outputs, teacher, NONE), 0.5 * (outputs - teacher).pow(2).sum(2)
    )


@pytest.mark.parametrize("kind", ["cross_entropy", "squared_error"])
def test_labels_have_their_weight_beside_a_teacher_where_there_are_any(kind):
    outputs, teacher = drawn(2, 5, 3), drawn(1, 5, 3, seed=2)[0]
    labels = np.array([0, 2, -1, 1, -1])
    alone = objective.SoftTargets(teacher.numpy(), kind)
    mixed = objective.SoftTargets(
        teacher.numpy(), kind, labels=labels, label_weight=0.25
    )
    targets = mixed.targets().expand(2, 5, 4)
    apart = alone.losses(outputs, teacher.expand(2, 5, 3), NONE)
    known = labels >= 0
    there = torch.from_numpy(labels[known])
    cross = functional.cross_entropy(
        outputs[:, known].permute(0, 2, 1), there.expand(2, 3), reduction="none"
    )
    found = mixed.losses(outputs, targets, NONE)
    torch.testing.assert_close(found[:, ~known], apart[:, ~known])
    torch.testing.assert_close(found[:, known], 0.75 * apart[:, known] + 0.25 * cross)
    some = mixed.at(np.array([1, 3]))
    torch.testing.assert_close(
        some.losses(outputs[:, [1, 3]], some.targets().expand(2, 2, 4), NONE),
        found[:, [1, 3]],
    )


@pytest.mark.parametrize(
    ("labels", "weight"), [(None, 0.5), (np.zeros(8, int), 0.5), (np.zeros(9), 1.0)]
)
def test_labels_without_a_weight_or_of_another_number_are_refused(labels, weight):
    with pytest.raises(ValueError, match="labels have a weight"):
        objective.SoftTargets(np.zeros((9, 3)), labels=labels, label_weight=weight)


@pytest.mark.parametrize(("shape", "temperature"), [((9,), 1.0), ((9, 3), 0.0)])
def test_soft_targets_of_another_form_are_refused(shape, temperature):
    with pytest.raises(ValueError, match="soft targets are"):
        objective.SoftTargets(np.zeros(shape), temperature=temperature)


# ------------------------------------------------------------------------ in training


def problem(wanted=None, **changes):
    x = np.random.default_rng(0).normal(size=(90, 6)).astype(np.float32)
    y = np.digitize(x[:, 0] + x[:, 1], [-0.6, 0.6]).astype(np.int64)
    values = {
        **{"x_train": x[:60], "x_validation": x[60:75], "x_test": x[75:]},
        **{"y_train": y[:60], "y_validation": y[60:75]},
        **{"task": "classification", "num_outputs": CLASSES, "batch_size": 20},
        **{"metric": metrics.get("accuracy"), "steps": 30},
        "recipe": Recipe(learning_rate=3e-2, warmup=0.0),
        "objective": wanted,
    }
    return run.Problem(**(values | changes))


def jobs(count=1):
    build = functools.partial(nn.Linear, 6, CLASSES)
    return [run.Job(build, {}, index, 5 + index, 9) for index in range(count)]


def focal(outputs, targets):
    """A loss as users write it: by example, without a mean."""
    cross_entropy = functional.cross_entropy(outputs, targets, reduction="none")
    return (1 - torch.exp(-cross_entropy)) ** 2 * cross_entropy


def own(function):
    return objective.UsersLoss(objective.Labels(problem().y_train), function)


TEACHER = np.random.default_rng(3).normal(size=(60, CLASSES)).astype(np.float32)
OBJECTIVES = {
    "labels": objective.Labels(problem().y_train),
    "balanced": objective.Labels.balanced(problem().y_train, CLASSES),
    "soft": objective.SoftTargets(TEACHER, temperature=2.0),
    "logits": objective.SoftTargets(TEACHER, "squared_error"),
    "mixed": objective.SoftTargets(
        TEACHER, labels=np.arange(len(TEACHER)) % CLASSES - 1, label_weight=0.3
    ),
    "a user's": own(focal),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_fleet_minimises_what_the_loop_does(name):
    given = problem(OBJECTIVES[name])
    plain = [run.train(problem(), job) for job in jobs(3)]
    alone = [run.train(given, job) for job in jobs(3)]
    for mine, theirs, labelled in zip(
        fleet.train(given, jobs(3)), alone, plain, strict=True
    ):
        losses = [[p.loss for p in outcome.curve] for outcome in (mine, theirs)]
        np.testing.assert_allclose(*losses, rtol=1e-4)
        assert mine.validation == theirs.validation
        # Another objective than labels is another training.
        assert (losses[1] == [p.loss for p in labelled.curve]) == (name == "labels")


def test_a_student_learns_its_teachers_logits():
    rng = np.random.default_rng(5)
    weight, bias = rng.normal(size=(6, CLASSES)), rng.normal(size=CLASSES)
    given = problem(steps=600)
    logits = (given.x_train @ weight + bias).astype(np.float32)
    given = dataclasses.replace(
        given, objective=objective.SoftTargets(logits, "squared_error")
    )
    (job,) = jobs()
    outcome = run.train(given, dataclasses.replace(job, keep_weights=True))
    np.testing.assert_allclose(outcome.weights["weight"].T, weight, atol=0.02)
    assert outcome.curve[-1].loss < 1e-3


def looking(outputs, targets):
    """Cannot be carried out for many runs at once."""
    losses = focal(outputs, targets)
    return losses if losses.max().item() > 0 else losses * 2


def drawing(outputs, targets):
    return focal(outputs, targets) * torch.ones(len(targets)).bernoulli(1.0)


@pytest.mark.parametrize(
    ("loss", "calls"),
    # Once for all; or once in vain, and then for each of the three.
    [(focal, [1, 1]), (looking, [4, 3]), (drawing, [4, 3])],
)
def test_a_users_loss_is_one_call_for_all_runs_where_it_can_be(loss, calls):
    called = []

    def counted(outputs, targets):
        called.append(1)
        return loss(outputs, targets)

    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 20, CLASSES, generator=generator)
    targets = torch.randint(CLASSES, (3, 20), generator=generator)
    wanted = torch.stack([focal(o, t) for o, t in zip(outputs, targets, strict=True)])
    minimised = own(counted)
    for count in calls:
        called.clear()
        torch.testing.assert_close(minimised.losses(outputs, targets, None), wanted)
        assert len(called) == count
    called.clear()
    minimised.losses(outputs[:1], targets[:1], None)
    assert len(called) == 1


@pytest.mark.parametrize(
    ("loss", "received"),
    [
        (functional.cross_entropy, r"\(\) for outputs \(20, 3\) and 20 targets"),
        (lambda outputs, targets: (outputs, targets), "type tuple for outputs"),
    ],
)
def test_a_loss_that_is_a_mean_already_is_refused(loss, received):
    with pytest.raises(FormError, match=received):
        run.train(problem(own(loss)), jobs()[0])


def test_a_rehearsal_takes_the_targets_of_the_examples_that_it_takes():
    """A rehearsal shortens the training set: to 40 of 60 examples here."""
    for wanted in OBJECTIVES.values():
        found = rehearsal.rehearse("linear", problem(wanted), {"": jobs()[0]})
        assert found.obstacle is None
    rows = np.array([3, 1])
    soft = OBJECTIVES["soft"].at(rows)
    assert np.array_equal(soft.logits, TEACHER[rows])
    assert soft.temperature == 2.0
    assert np.array_equal(own(focal).at(rows).of.y, problem().y_train[rows])
