"""What is measured of a relaxed network, against what can be computed by hand."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

import archtrial
from archtrial import data, equivalents, metrics
from archtrial.experiments.relax import measures
from archtrial.experiments.relax.measures import measure
from archtrial.protocol import Recipe, Splits
from archtrial.training import run
from archtrial.training.curvature import curvature


@pytest.fixture(scope="module")
def problem():
    split = data.load("digits").split(Splits(), 0)
    return run.Problem(
        x_train=split.x_train[:300],
        y_train=split.y_train[:300],
        x_validation=split.x_validation,
        y_validation=split.y_validation,
        x_test=split.x_test,
        task="classification",
        num_outputs=10,
        metric=metrics.get("accuracy"),
        recipe=Recipe(optimizer="sgd", schedule="constant"),
        steps=5,
        batch_size=50,
    )


@pytest.fixture(scope="module")
def ends(problem):
    """An equivalent as it was, as it became, and what else it might have been."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cnn = nn.Sequential(
            nn.Conv2d(1, 2, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 10),
        )  # fmt: skip
        start = archtrial.equivalent_fcn(cnn, (1, 8, 8))
        relaxed, other = copy.deepcopy(start), copy.deepcopy(start)
        for network, rate in ((relaxed, 0.2), (other, 0.1)):
            for parameter in network.parameters():
                parameter.data.add_(rate * torch.randn_like(parameter))
        for name, buffer in relaxed.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.1)
    return start, relaxed, other


@pytest.fixture(scope="module")
def found(problem, ends):
    start, relaxed, cnn = (copy.deepcopy(network) for network in ends)
    return measure(problem, start, relaxed, cnn, curvature_examples=30, seed=0)


def score(problem, *networks):
    with torch.no_grad():
        x = torch.from_numpy(problem.x_validation)
        outputs = sum(network.eval()(x) for network in networks)
    return float((outputs.argmax(1).numpy() == problem.y_validation).mean())


def loss(problem, network):
    x, y = torch.from_numpy(problem.x_train), torch.from_numpy(problem.y_train)
    with torch.no_grad():
        return float(nn.functional.cross_entropy(network.eval()(x), y))


def test_validation_scores_are_each_networks_own(problem, ends, found):
    start, relaxed, cnn = ends
    assert found["validation"] == {
        "start": score(problem, start),
        "relaxed": score(problem, relaxed),
        "cnn": score(problem, cnn),
        "local_alone": score(problem, equivalents.with_part(relaxed, "local")),
        "off_local_alone": score(problem, equivalents.with_part(relaxed, "off_local")),
        "average_of_outputs": score(problem, cnn, relaxed),
    }
    assert len(set(found["validation"].values())) > 3


def test_the_average_is_of_outputs_and_not_of_weights(problem, ends):
    start, relaxed, _ = ends
    flipped = copy.deepcopy(relaxed)
    with torch.no_grad():
        flipped.layers[-1].weight.neg_()
        flipped.layers[-1].bias.neg_()
    measured = measure(problem, start, relaxed, flipped, curvature_examples=0, seed=0)
    # What two opposite outputs have in common is 0: the first class.
    first = float((problem.y_validation == 0).mean())
    assert measured["validation"]["average_of_outputs"] == pytest.approx(first)


def test_deviation_is_a_share_of_the_norm(ends, found):
    _, relaxed, _ = ends
    parts = equivalents.parts(relaxed)
    assert found["deviation"] == parts.deviation > 0.1
    assert found["untied"] == pytest.approx(math.sqrt(parts.untied / parts.total))
    assert list(found["deviation_by_layer"]) == list(parts.by_layer)
    (convolution, *others) = found["deviation_by_layer"].values()
    assert convolution > found["deviation"]
    assert others == [0.0] * len(others)


def test_the_paths_ends_are_the_two_networks(problem, ends, found):
    _, relaxed, cnn = ends
    path = found["path"]
    assert path["position"] == pytest.approx(np.linspace(0, 1, 11))
    for place, network in ((0, cnn), (-1, relaxed)):
        assert path["loss"][place] == pytest.approx(loss(problem, network), rel=1e-5)
        assert path["score"][place] == score(problem, network)


def test_the_paths_middle_has_the_mean_of_weights_and_of_running_statistics(
    problem, ends, found
):
    _, relaxed, cnn = ends
    middle = copy.deepcopy(cnn)
    ours, theirs = cnn.state_dict(), relaxed.state_dict()
    middle.load_state_dict(
        {
            name: (tensor + theirs[name]) / 2 if tensor.is_floating_point() else tensor
            for name, tensor in ours.items()
        }
    )
    assert found["path"]["loss"][5] == pytest.approx(loss(problem, middle), rel=1e-5)
    assert found["path"]["score"][5] == score(problem, middle)


def test_the_path_is_of_the_first_training_examples(problem, ends, monkeypatch):
    monkeypatch.setattr(measures, "_PATH_EXAMPLES", 100)
    measured = measure(problem, *ends, curvature_examples=0, seed=0)
    first = dataclasses.replace(
        problem, x_train=problem.x_train[:100], y_train=problem.y_train[:100]
    )
    for place, network in ((0, ends[2]), (-1, ends[1])):
        own = loss(first, network)
        assert measured["path"]["loss"][place] == pytest.approx(own, rel=1e-5)
        assert own != pytest.approx(loss(problem, network), rel=1e-3)


def test_outputs_are_those_of_all_rows_in_whatever_chunks():
    x = torch.randn(2500, 4, generator=torch.Generator().manual_seed(0))
    network = nn.Linear(4, 3)
    torch.testing.assert_close(measures._outputs(network, x), network(x).detach())


def test_the_barrier_is_what_rises_above_the_straight_line(found):
    path = found["path"]
    first, last = path["loss"][0], path["loss"][-1]
    above = [
        value - (first + (last - first) * position)
        for position, value in zip(path["position"], path["loss"], strict=True)
    ]
    assert path["barrier"] == pytest.approx(max(above))
    assert path["barrier"] >= 0


def test_there_is_no_barrier_between_a_network_and_itself(problem, ends):
    start, relaxed, _ = ends
    same = copy.deepcopy(relaxed)
    measured = measure(problem, start, relaxed, same, curvature_examples=0, seed=0)
    path = measured["path"]
    assert path["barrier"] == 0
    assert len(set(path["loss"])) == len(set(path["score"])) == 1
    own = measured["validation"]["relaxed"]
    assert measured["validation"]["average_of_outputs"] == own


def test_a_network_that_never_moved_has_not_deviated(problem, ends):
    start, _, cnn = ends
    moved = copy.deepcopy(start)
    measured = measure(problem, start, moved, cnn, curvature_examples=10, seed=0)
    assert measured["deviation"] == 0
    assert measured["curvature"]["start"] == measured["curvature"]["end"]
    validation = measured["validation"]
    assert validation["start"] == validation["relaxed"] == validation["local_alone"]


def test_curvature_is_of_both_ends_on_the_first_examples(problem, ends, found):
    start, relaxed, _ = ends
    x = torch.from_numpy(problem.x_train[:30])
    y = torch.from_numpy(problem.y_train[:30])
    for name, network in (("start", start), ("end", relaxed)):
        measured = found["curvature"][name], found["gradient_norm"][name]
        assert measured == pytest.approx(
            curvature(network, x, y, 0, problem.minimised()), rel=1e-5
        )


def test_without_examples_there_is_no_curvature(problem, ends):
    measured = measure(problem, *ends, curvature_examples=0, seed=0)
    assert not {"curvature", "gradient_norm"} & set(measured)


def test_networks_are_left_as_they_were(problem, ends):
    copies = [copy.deepcopy(network) for network in ends]
    measure(problem, *copies, curvature_examples=10, seed=0)
    for before, after in zip(ends, copies, strict=True):
        for name, tensor in after.state_dict().items():
            assert torch.equal(tensor, before.state_dict()[name])


def test_where_a_network_is_not_finite_its_numbers_are_none(problem, ends):
    start, relaxed, cnn = (copy.deepcopy(network) for network in ends)
    with torch.no_grad():
        cnn.layers[-1].bias[0] = math.inf
    measured = measure(problem, start, relaxed, cnn, curvature_examples=10, seed=0)
    validation = measured["validation"]
    assert validation["cnn"] is validation["average_of_outputs"] is None
    assert validation["relaxed"] == score(problem, relaxed)
    assert measured["path"] is None
    assert measured["curvature"]["end"] is not None


def test_a_regression_is_measured_in_the_targets_units(problem):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 1, 8)).astype(np.float32)
    y = 50 + 9 * x[:, 0, 0].astype(np.float64)
    amounts = dataclasses.replace(
        problem,
        x_train=x, y_train=y, x_validation=x, y_validation=y, x_test=x,
        task="regression", num_outputs=1, metric=metrics.get("rmse"),
    )  # fmt: skip
    cnn = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(12, 1))
    network = archtrial.equivalent_fcn(cnn, (1, 8))
    measured = measure(
        amounts, network, network, copy.deepcopy(network), curvature_examples=20, seed=0
    )
    with torch.no_grad():
        outputs = cnn(torch.from_numpy(x))[:, 0].double().numpy()
    in_units = outputs * y.std() + y.mean()
    rmse = math.sqrt(np.mean((in_units - y) ** 2))
    assert measured["validation"]["cnn"] == pytest.approx(rmse, rel=1e-5)
    standardised = (y - y.mean()) / y.std()
    mean_loss = np.mean((outputs - standardised) ** 2)
    assert measured["path"]["loss"][0] == pytest.approx(mean_loss, rel=1e-4)
