"""What is trained, alone and in fleets, and what it leaves behind."""

import collections
import dataclasses
import itertools
import pickle
import shutil

import pytest
import safetensors.torch
import torch

from archtrial import equivalents, randomness
from archtrial.errors import ArmError, StudyError
from archtrial.experiments.relax import measures, training
from archtrial.experiments.relax.study import Study
from archtrial.experiments.relax.training import Item
from archtrial.records.store import Store
from archtrial.training import recipe, run
from archtrial.training.module import build
from archtrial.training.source import Batches, Source

from .relaxed import RATES, SEEDS, TIMES, Recorded, runs_of


@pytest.mark.parametrize("how", ["missing", "cut"])
def test_a_cnn_whose_weights_are_gone_is_no_failed_training(trained, tmp_path, how):
    trainer = dataclasses.replace(trained.trainer, folder=tmp_path)

    def left(item):
        path = trainer.weights_file(item)
        path.unlink(missing_ok=True)
        if how == "cut":
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"cut")

    left(Item("cnn", 0, 1))
    for kind in ("relaxed", "kept"):
        one, other = Item(kind, 0, 1, 3, 0), Item(kind, 0, 2, 3, 0)
        for task in ((one,), (one, other)):
            with pytest.raises(StudyError, match="the same runs come out"):
                trainer(task)
    # Nor is one that went on, beside which a relaxed network is measured.
    with_weights(trained, tmp_path, dict)
    left(Item("kept", 0, 1, 3, 0))
    with pytest.raises(StudyError, match=r"(?s)kept.*the same runs come out"):
        trainer((Item("relaxed", 0, 1, 3, 0),))
    assert not trainer((Item("kept", 0, 1, 3, 0),))[0].rows[0][0].diverged


def network_by_hand(study, seed, step, rate):
    """Returns the equivalent of a CNN as its file keeps it after a step."""
    module = study.architecture.build((1, 8, 8), 10, {})
    path = study.folder / "cnn" / f"fresh_{seed}_rate_{rate}.safetensors"
    kept = safetensors.torch.load_file(path)
    module.load_state_dict(
        {name: kept[f"{step}/{name}"] for name in module.state_dict()}
    )
    return module, equivalents.equivalent_fcn(module, (1, 8, 8))


def right(network, x, y):
    with torch.no_grad():
        return float((network(torch.from_numpy(x)).argmax(1).numpy() == y).mean())


def fresh_rates(rows):
    """Returns by arm the learning rate of the fresh seeds, as an index."""
    return {arm: rate for (arm, rate, seed, _) in rows if seed > 0}


@pytest.mark.parametrize("time", TIMES)
def test_what_is_relaxed_starts_where_the_cnn_was(trained, rows, time):
    rates, split = fresh_rates(rows), trained.split
    trainer = pickle.loads(pickle.dumps(trained.trainer))  # as a worker has it
    for seed in SEEDS:
        cnn, network = network_by_hand(trained, seed, time, rates["cnn@6"])
        own = trainer.relaxed(
            Item("relaxed", rates[f"efcn@{time}"], seed, time, rates["cnn@6"])
        )
        for mine, theirs in zip(
            own.parameters(), network.parameters(), strict=True
        ):  # fmt: skip
            assert torch.equal(mine, theirs)
        there = right(cnn, split.x_validation, split.y_validation)
        measured = rows[f"efcn@{time}", rates[f"efcn@{time}"], seed, "last"].measures
        assert measured["validation"]["start"] == there
        if time:
            curve = rows["cnn@6", rates["cnn@6"], seed, "last"].curve
            assert {p.step: p.validation for p in curve}.get(time, there) == there
            assert time != 6 or any(p.step == 6 for p in curve)


@pytest.mark.parametrize(("seed", "time"), [(1, 0), (2, 3), (6, 6)])
def test_what_is_relaxed_trains_on_the_batches_that_the_cnn_goes_on_with(
    trained, rows, seed, time
):
    """SGD written out, on the CNN's own order of batches, from its own weights."""
    rates, split = fresh_rates(rows), trained.split
    _, network = network_by_hand(trained, seed, time, rates["cnn@6"])
    order = recipe.batches(
        trained.protocol.recipe,
        len(split.x_train),
        100,
        randomness.seed(0, "order", seed),
    )
    found = rows[f"efcn@{time}", rates[f"efcn@{time}"], seed, "last"]
    for batch in itertools.islice(order, time, time + 6):
        loss = torch.nn.functional.cross_entropy(
            network(torch.from_numpy(split.x_train[batch])),
            torch.from_numpy(split.y_train[batch]),
        )
        network.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= found.configuration["learning_rate"] * parameter.grad
    there = right(network, split.x_validation, split.y_validation)
    assert found.validation == pytest.approx(there, abs=1.5 / len(split.y_validation))
    assert found.measures["validation"]["relaxed"] == found.validation
    assert found.measures["deviation"] == pytest.approx(
        equivalents.parts(network).deviation, rel=1e-3
    )
    with torch.no_grad():
        outputs = network(torch.from_numpy(split.x_test)).softmax(1).numpy()
    (shares,) = split.open_test(trained.metric, [trained.metric.reduce(outputs)])
    assert found.test == pytest.approx(shares.mean(), abs=1.5 / split.test_size)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("kind", ["relaxed", "kept"])
def test_the_batches_are_those_of_the_cnn(trained, kind, time):
    trainer = trained.trainer
    problem = trainer.problem
    data = Source(problem)
    cnn, going_on = (
        Batches(problem, data, [trainer._job(item)])
        for item in (Item("cnn", 0, 2), Item(kind, 1, 2, time, 0))
    )
    for _ in range(time):
        next(cnn)
    for _ in range(20):
        for mine, theirs in zip(next(going_on), next(cnn), strict=True):
            assert torch.equal(mine, theirs)


def test_it_is_measured_beside_what_was_kept_at_whatever_rate(trained, tmp_path):
    trainer = with_weights(trained, tmp_path, dict)
    ended = []
    for rate in (0, 1):
        (kept,) = trainer((Item("kept", rate, 1, 3, 0),))
        trainer.weights_file(kept.item).write_bytes(kept.weights)
        (done,) = trainer((Item("relaxed", 0, 1, 3, 0),))
        (last,) = (row for row, _ in kept.rows if row.reading == "last")
        (found,) = (row.measures for row, _ in done.rows if row.reading == "last")
        assert found["validation"]["cnn"] == last.validation
        ended.append(last.validation)
    assert ended[0] != ended[1]


def test_curvature_is_sought_on_as_many_examples_as_were_declared(trained, rows):
    rates = fresh_rates(rows)
    item = Item("relaxed", rates["efcn@3"], 1, 3, rates["cnn@6"])
    data = Source(trained.trainer.problem)
    found = measures.curvature(
        trained.trainer.relaxed(item),
        data.x_train[:20],
        data.y_train[:20],
        randomness.seed(0, "curvature", 3, 1),
        trained.trainer.problem.minimised(),
    )
    recorded = rows["efcn@3", item.rate, 1, "last"].measures
    for name, value in zip(("curvature", "gradient_norm"), found, strict=True):
        assert recorded[name]["start"] == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("time", TIMES)
def test_what_is_relaxed_is_measured_beside_what_it_is_compared_with(rows, time):
    """The CNN that went on at a rate of its own, not the one that kept its rate."""
    rates = fresh_rates(rows)
    for seed in SEEDS:
        kept = rows[f"kept@{time}", rates[f"kept@{time}"], seed, "last"]
        found = rows[f"efcn@{time}", rates[f"efcn@{time}"], seed, "last"].measures
        assert found["validation"]["cnn"] == kept.validation
        assert found["path"]["score"][0] == kept.validation


@pytest.mark.parametrize(("seed", "time"), [(1, 0), (2, 3), (6, 6)])
def test_kept_at_the_rate_that_it_had_it_is_the_cnn_trained_on(
    trained, rows, seed, time
):
    rate = fresh_rates(rows)["cnn@6"]
    trainer = trained.trainer
    item, whole = Item("kept", rate, seed, time, rate), Item("cnn", rate, seed)
    job = dataclasses.replace(trainer._job(whole), keep_at=(time + 6,))
    there = run.train(trainer.problem_of(whole), job).kept[time + 6]
    before, _ = network_by_hand(trained, seed, time, rate)
    (done,) = trainer((item,))
    ended = safetensors.torch.load(done.weights)
    assert set(ended) == {f"6/{name}" for name in there}
    for name, tensor in there.items():
        torch.testing.assert_close(ended[f"6/{name}"], tensor, rtol=1e-4, atol=1e-6)
    assert any(
        not torch.equal(ended[f"6/{name}"], was)
        for name, was in before.state_dict().items()
    )
    # As the experiment has it, whichever rate it chose: the reading of the last step.
    (last,) = (found for found, _ in done.rows if found.reading == "last")
    cnn = rows[f"cnn@{time}", rate, seed, "last"]
    assert last.validation == pytest.approx(cnn.validation, abs=0.01)
    assert (last.arm, last.coordinates) == ("kept", {"relax_time": time})
    assert last.parameters == cnn.parameters
    assert last.flops * (time + 6) == pytest.approx(cnn.flops * 6)


def test_both_that_go_on_are_tried_and_trained_alike(trained, rows):
    """As many trials, at the same rates, from the same weights, for as many steps."""

    def planned(items, kind):
        return [
            dataclasses.replace(item, kind="cnn") for item in items if item.kind == kind
        ]

    tuning = trained._tuning(1)
    assert planned(tuning, "kept") == planned(tuning, "relaxed")
    assert len(planned(tuning, "kept")) == len(TIMES) * len(RATES) * 2
    for kind in ("kept", "relaxed"):
        with Store(trained.folder, read_only=True) as store:
            fresh = list(trained._going_on(kind, 1, store))
        assert {item.kind for item in fresh} == {kind}
        own = {(item.seed, item.relax_time, item.cnn_rate) for item in fresh}
        assert own == set(itertools.product(SEEDS, TIMES, (1,)))
    trainer = trained.trainer
    # Twelve steps as densely as six.
    assert trainer.problem_of(Item("cnn", 0, 2)).evaluations == 6
    for time in TIMES:
        kept, relaxed = (
            Item(kind, 0, 2, time, fresh_rates(rows)["cnn@6"])
            for kind in ("kept", "relaxed")
        )
        a, b = (trainer.problem_of(item) for item in (kept, relaxed))
        assert (a.steps, a.evaluations, a.read_at) == (
            b.steps,
            b.evaluations,
            b.read_at,
        )
        assert a.evaluations == 3
        module = trainer.kept(kept)
        own = equivalents.equivalent_fcn(module, (1, 8, 8))
        for mine, theirs in zip(
            own.parameters(), trainer.relaxed(relaxed).parameters(), strict=True
        ):
            assert torch.equal(mine, theirs)


def test_the_rate_of_what_is_kept_is_not_that_of_its_equivalent(trained, monkeypatch):
    """Each of both, at each relax time, has the best on its own tuning seeds."""
    best = {
        "kept@0": 0,
        "kept@3": 1,
        "kept@6": 0,
        "efcn@0": 1,
        "efcn@3": 0,
        "efcn@6": 0,
    }
    turned = [
        dataclasses.replace(found, validation=float(found.pair == best[found.arm]))
        if found.arm in best and found.stage == "search"
        else found
        for found in runs_of(trained.folder)
    ]

    planned = collections.defaultdict(set)
    for kind, arm in (("kept", "kept"), ("relaxed", "efcn")):
        for item in trained._going_on(kind, 0, Recorded(turned)):
            planned[f"{arm}@{item.relax_time}"].add(item.rate)
    assert planned == {arm: {rate} for arm, rate in best.items()}


def test_seeds_differ_where_they_should_and_only_there(trained, small, tmp_path):
    def job(*item):
        return trained.trainer._job(Item(*item))

    # Another study shares none.
    whole = Item("cnn", 0, 1)
    other = Study(small.replace(seed=1), tmp_path).trainer._job(whole)
    for name in ("initial_seed", "order_seed", "noise_seed"):
        assert getattr(other, name) != getattr(trained.trainer._job(whole), name)

    # One start for all learning rates, another for each seed and kind.
    assert job("cnn", 0, 1).initial_seed == job("cnn", 1, 1).initial_seed
    starts = [job("cnn", 0, 1), job("cnn", 0, 2), job("fresh", 0, 1), job("cnn", 0, 0)]
    assert len({one.initial_seed for one in starts}) == 4
    # One order for all that shares a seed.
    orders = {
        job(*item).order_seed
        for item in (
            ("cnn", 0, 1),
            ("fresh", 1, 1),
            ("relaxed", 0, 1, 6, 0),
            ("kept", 0, 1, 3, 0),
        )
    }
    assert len(orders) == 1
    assert job("cnn", 0, 2).order_seed not in orders
    # What is dropped out differs between trainings that are compared, as it should.
    noises = {
        job(*item).noise_seed
        for item in (
            ("cnn", 0, 1), ("cnn", 0, 2), ("fresh", 0, 1), ("kept", 0, 1, 3, 0),
            ("relaxed", 0, 1, 3, 0), ("relaxed", 0, 1, 6, 0), ("relaxed", 0, 2, 3, 0),
        )
    }  # fmt: skip
    assert len(noises) == 7
    assert job("cnn", 1, 1).noise_seed == job("cnn", 0, 1).noise_seed


def test_fresh_networks_start_from_a_standard_start(trained):
    (cnn, fresh) = (trained.trainer.network(kind) for kind in ("cnn", "fresh"))
    assert trained.trainer.network("relaxed").text == fresh.text
    assert equivalents.parts(fresh).deviation > 0.5
    assert len(list(cnn.parameters())) == len(list(fresh.parameters()))


def test_weights_of_the_cnn_are_kept_where_they_are_needed_again(trained, rows):
    names = set(trained.architecture.build((1, 8, 8), 10, {}).state_dict())
    rate = fresh_rates(rows)["cnn@6"]
    files = {path.name: path for path in (trained.folder / "cnn").iterdir()}
    # Those of the tuning seeds have gone when all is done.
    assert set(files) == {f"fresh_{seed}_rate_{rate}.safetensors" for seed in SEEDS}
    for path in files.values():
        kept = safetensors.torch.load_file(path)
        assert set(kept) == {f"{step}/{name}" for step in TIMES for name in names}
    # Of what goes on, where it ended: relaxed networks are measured beside it.
    files = {path.name: path for path in (trained.folder / "kept").iterdir()}
    assert set(files) == {
        f"fresh_{seed}_from_{time}.safetensors" for seed in SEEDS for time in TIMES
    }
    for path in files.values():
        kept = safetensors.torch.load_file(path)
        assert set(kept) == {f"6/{name}" for name in names}
    (done,) = trained.trainer((Item("cnn", 0, -1),))
    kept = safetensors.torch.load(done.weights)
    assert set(kept) == {f"{step}/{name}" for step in TIMES for name in names}
    (done,) = trained.trainer((Item("fresh", 0, 1),))
    assert done.weights is None


def test_only_what_starts_afresh_is_scaled_at_its_start(small, trained, tmp_path):
    study = Study(small.replace(recipe={"initial_scale": 3.0}), tmp_path)
    trainer = study.trainer
    cnn, fresh, relaxed = (
        Item("cnn", 0, 1), Item("fresh", 0, 1), Item("relaxed", 0, 1, 0, 0),
    )  # fmt: skip
    for item in (cnn, fresh):
        problem = trainer.problem_of(item)
        job = trainer._job(item)
        scaled = build(problem, job)
        plain = build(trained.trainer.problem_of(item), job)
        for mine, theirs in zip(scaled.parameters(), plain.parameters(), strict=True):
            factor = 3 if mine.dim() >= 2 else 1
            assert torch.equal(mine, factor * theirs)
    (done,) = trainer((cnn,))
    path = trainer.weights_file(cnn)
    path.parent.mkdir(parents=True)
    path.write_bytes(done.weights)
    kept = dataclasses.replace(relaxed, kind="kept")
    for item, own in (
        (relaxed, trainer.relaxed(relaxed)), (kept, trainer.kept(kept)),
    ):  # fmt: skip
        built = build(trainer.problem_of(item), trainer._job(item))
        for mine, theirs in zip(built.parameters(), own.parameters(), strict=True):
            assert torch.equal(mine, theirs)


def items(kind, count, seed=1):
    return [Item(kind, 0, seed + index, 3, 0) for index in range(count)]


def test_at_most_four_share_a_fleet_and_kinds_and_stages_do_not_mix(trained):
    divide = trained.trainer.divide
    assert [len(task) for task in divide(items("cnn", 4))] == [4]
    assert [len(task) for task in divide(items("cnn", 5))] == [2, 3]
    assert [len(task) for task in divide(items("relaxed", 10))] == [3, 3, 4]
    mixed = items("cnn", 3) + items("fresh", 3) + items("cnn", 2, seed=-1)
    tasks = divide(mixed)
    assert sorted(len(task) for task in tasks) == [2, 3, 3]
    for task in tasks:
        assert len({(item.kind, item.stage) for item in task}) == 1
    assert sorted(map(str, itertools.chain(*tasks))) == sorted(map(str, mixed))
    assert divide([]) == []


def test_what_is_large_or_cannot_be_stacked_trains_alone(trained):
    def changed(**fields):
        return dataclasses.replace(trained.trainer, **fields)

    sizes = {"cnn": 10, "relaxed": 5_000_000, "fresh": 30_000_000}
    large = changed(parameters=sizes)
    assert [large.most_runs(kind) for kind in sizes] == [4, 3, 1]
    assert [len(task) for task in large.divide(items("relaxed", 7))] == [2, 2, 3]
    assert [len(task) for task in large.divide(items("fresh", 3))] == [1, 1, 1]
    alone = changed(stacks={"cnn": False, "relaxed": True, "fresh": True})
    assert [len(task) for task in alone.divide(items("cnn", 3))] == [1, 1, 1]
    assert [len(task) for task in alone.divide(items("relaxed", 3))] == [3]


def test_alone_or_in_a_fleet_a_training_ends_alike(trained, rows):
    rates = fresh_rates(rows)
    item = Item("relaxed", rates["efcn@3"], 4, 3, rates["cnn@6"])
    (alone,) = trained.trainer((item,))
    for found, _ in alone.rows:
        recorded = rows["efcn@3", found.pair, found.seed, found.reading]
        assert found.validation == pytest.approx(recorded.validation, abs=0.01)
        assert found.flops == recorded.flops
        assert found.stage == "confirm"


def test_a_cnn_that_diverges_on_its_way_is_said_so(trained, tmp_path):
    """Its equivalent may live on, with nothing to be measured beside."""
    trainer = dataclasses.replace(
        trained.trainer, folder=tmp_path, learning_rates=(0.1, 1e30)
    )

    def leave(item, weights):
        path = trainer.weights_file(item)
        path.parent.mkdir()
        path.write_bytes(weights)

    (whole,) = trainer((Item("cnn", 0, 1),))
    leave(Item("cnn", 0, 1), whole.weights)
    (kept,) = trainer((Item("kept", 1, 1, 3, 0),))
    assert all(found.diverged for found, _ in kept.rows if found.reading == "last")
    leave(kept.item, kept.weights)
    (done,) = trainer((Item("relaxed", 0, 1, 3, 0),))
    (found,) = (found.measures for found, _ in done.rows if found.reading == "last")
    # What needs no CNN is measured all the same.
    assert found["deviation"] > 0
    assert found["validation"]["relaxed"] == done.rows[0][0].validation
    assert found["validation"]["cnn"] is found["path"] is None
    assert found["validation"]["average_of_outputs"] is None
    assert not any(found.diverged for found, _ in done.rows)
    for kind in ("relaxed", "kept"):
        (failed,) = trainer((Item(kind, 0, 1, 5, 0),))
        for found, _ in failed.rows:
            assert found.diverged
            assert "it diverged before step 5" in found.error
            assert found.validation == pytest.approx(0.1, abs=0.01)


def test_each_reading_diverged_where_it_is_the_constant_predictors(trained):
    """What diverged in the end may have had its best weights before."""
    item = Item("cnn", 0, 0)
    trainer = trained.trainer
    lived = run.train(trainer.problem_of(item), trainer._job(item))
    read = lived.readings[12]
    constant = dataclasses.replace(read["last"], step=0)
    for reading in ("last", "best"):
        ended = dataclasses.replace(
            lived, diverged=True, readings={12: {**read, reading: constant}}
        )
        found = {row.reading: row.diverged for row, _ in trainer._rows(item, ended)}
        assert found == {"last": False, "best": False} | {reading: True}


def with_weights(trained, folder, change):
    """Returns a trainer whose CNN of seed 1 has other weights than it was left with."""
    trainer = dataclasses.replace(trained.trainer, folder=folder)
    (there,) = (trained.folder / "cnn").glob("fresh_1_*")
    kept = change(safetensors.torch.load_file(there))
    path = trainer.weights_file(Item("cnn", 0, 1))
    path.parent.mkdir(exist_ok=True)
    safetensors.torch.save_file(kept, path)
    shutil.copytree(trained.folder / "kept", folder / "kept", dirs_exist_ok=True)
    return trainer


def test_weights_that_are_not_finite_are_a_cnn_that_diverged(trained, tmp_path):
    def spoiled(kept):
        name = next(name for name in kept if name.startswith("3/"))
        return kept | {name: torch.full_like(kept[name], float("inf"))}

    trainer = with_weights(trained, tmp_path, spoiled)
    for kind in ("relaxed", "kept"):
        item = Item(kind, 0, 1, 3, 0)
        with pytest.raises(training.DivergedError, match="diverged before step 3"):
            getattr(trainer, kind)(item)
        (done,) = trainer((item,))
        assert all("diverged before step 3" in found.error for found, _ in done.rows)
        assert all(found.diverged for found, _ in done.rows)
        # Before and after, it is what it was.
        assert not any(
            found.diverged for found, _ in trainer((Item(kind, 0, 1, 0, 0),))[0].rows
        )


def test_weights_so_large_that_outputs_overflow_are_a_cnn_that_diverged(
    trained, tmp_path
):
    def huge(kept):
        return {
            name: 1e25 * tensor.sign() if name.startswith("3/") else tensor
            for name, tensor in kept.items()
        }

    trainer = with_weights(trained, tmp_path, huge)
    for kind in ("relaxed", "kept"):
        (done,) = trainer((Item(kind, 0, 1, 3, 0),))
        assert all(found.diverged for found, _ in done.rows)


def test_an_equivalent_that_computes_something_else_stops_the_study(
    trained, tmp_path, monkeypatch
):
    """It is the program's fault, and no training that failed."""
    trainer = with_weights(trained, tmp_path, dict)

    def wrong(*_, **__):
        raise ArmError("both compute the same", "outputs differ by up to 1")

    monkeypatch.setattr(equivalents, "mapped", wrong)
    with pytest.raises(StudyError, match="outputs differ by up to 1"):
        trainer((Item("relaxed", 0, 1, 3, 0),))
    # What is kept needs none.
    assert not trainer((Item("kept", 0, 1, 3, 0),))[0].rows[0][0].diverged


class Blurred(torch.nn.Sequential):
    """Has numbers that its state does not hold."""

    def __init__(self, blur=0.5):
        super().__init__(
            torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 10)
        )
        self.register_buffer("seen", torch.randn(8, 8), persistent=False)

    def forward(self, x):
        return super().forward(x * self.seen)


def test_what_its_state_does_not_hold_stays_as_it_began(small, tmp_path):
    trainer = Study(small.replace(architecture=Blurred), tmp_path).trainer
    whole = Item("cnn", 0, 1)
    began = build(trainer.problem_of(whole), trainer._job(whole))
    (done,) = trainer((whole,))
    trainer.weights_file(whole).parent.mkdir()
    trainer.weights_file(whole).write_bytes(done.weights)
    for time in TIMES:
        kept = trainer.kept(Item("kept", 1, 1, time, 0))
        assert torch.equal(kept.seen, began.seen)
    again = build(trainer.problem_of(whole), trainer._job(Item("cnn", 0, 2)))
    assert not torch.equal(again.seen, began.seen)
