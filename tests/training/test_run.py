import copy
import functools
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from archtrial import metrics
from archtrial.errors import ArmError, FormError, ProtocolError
from archtrial.protocol import Recipe
from archtrial.training import noise, run
from archtrial.training.loop import Loop
from archtrial.training.module import build
from archtrial.training.noise import Noise, own_noise
from archtrial.training.outcome import Account
from archtrial.training.source import Batches, Source


def problem(task="classification", metric=None, recipe=None, **changes):
    """120 training examples of 6 numbers; two classes that a line separates."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 6)).astype(np.float32)
    if task == "classification":
        y = (x[:, 0] + x[:, 1] > 0).astype(np.int64)
    else:
        y = 1000 + 50 * x[:, 0] + generator.normal(size=200)
    values = {
        "x_train": x[:120],
        "y_train": y[:120],
        "x_validation": x[120:160],
        "y_validation": y[120:160],
        "x_test": x[160:],
        "task": task,
        "num_outputs": 2 if task == "classification" else 1,
        "metric": metrics.get(metric) if metric else metrics.default(task),
        "recipe": recipe or Recipe(learning_rate=3e-2),
        "steps": 100,
        "batch_size": 20,
    }
    return run.Problem(**(values | changes))


def linear(outputs=2):
    return nn.Linear(6, outputs)


def hidden(dropout=0.5):
    return nn.Sequential(
        nn.Linear(6, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(8, 2),
    )


def job(build=linear, **changes):
    values = {
        "hyperparameters": {},
        "initial_seed": 1,
        "order_seed": 2,
        "noise_seed": 3,
    }
    return run.Job(build, **(values | changes))


def same(first, second):
    return (
        first.validation == second.validation
        and first.curve == second.curve
        and np.array_equal(first.predictions, second.predictions)
    )


def test_a_line_is_learnt():
    outcome = run.train(problem(), job())
    assert outcome.validation > 0.85
    assert outcome.predictions.shape == (40,)
    assert not outcome.diverged
    assert outcome.error is None
    assert outcome.parameters == 14
    assert outcome.flops == 100 * 2 * 2 * 20 * 6 * 2
    assert outcome.seconds > 0
    assert outcome.weights is None


def test_the_curve_is_evenly_spaced_and_ends_with_the_score():
    outcome = run.train(problem(steps=95, evaluations=4), job())
    assert [point.step for point in outcome.curve] == [24, 48, 71, 95]
    assert outcome.curve[-1].validation == outcome.validation
    assert outcome.curve[-1].loss < outcome.curve[0].loss
    few = run.train(problem(steps=3), job())
    assert [point.step for point in few.curve] == [1, 2, 3]


def test_a_regression_is_in_the_targets_own_units():
    outcome = run.train(problem("regression"), job(functools.partial(linear, 1)))
    assert outcome.validation > 0.9  # R2
    assert outcome.predictions.dtype == np.float64
    assert 900 < outcome.predictions.mean() < 1100
    assert outcome.curve[0].loss < 3  # of the standardised target


def test_a_run_follows_from_its_seeds_alone_and_touches_no_global_generator():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global state is what is tested
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = run.train(problem(), job(hidden))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    torch.manual_seed(1)
    assert same(run.train(problem(), job(hidden)), first)


@pytest.mark.parametrize("seed", ["initial_seed", "order_seed", "noise_seed"])
def test_each_seed_matters(seed):
    plain = run.train(problem(), job(hidden))
    assert not same(run.train(problem(), job(hidden, **{seed: 99})), plain)


def test_the_number_of_threads_is_the_callers():
    before = torch.get_num_threads()
    run.train(problem(steps=2), job())
    assert torch.get_num_threads() == before


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 2)

    def forward(self, x):
        if self.training:
            x = x + torch.randn_like(x)
        return self.linear(x)


def test_other_noise_than_dropout_is_the_runs_own_as_well():
    before = torch.get_rng_state()
    first = run.train(problem(), job(Noisy))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert same(run.train(problem(), job(Noisy)), first)
    assert not same(run.train(problem(), job(Noisy, noise_seed=99)), first)


def test_the_initial_scale_multiplies_weights_and_not_biases():
    plain = build(problem(), job())
    scaled = build(problem(), job(hyperparameters={"initial_scale": 0.5}))
    assert torch.equal(scaled.weight, 0.5 * plain.weight)
    assert torch.equal(scaled.bias, plain.bias)


def test_dropout_replaces_every_layers_probability():
    module = build(problem(), job(hidden, hyperparameters={"dropout": 0.2}))
    assert module[3].p == 0.2


def test_dropout_needs_something_that_drops_out():
    outcome = run.train(problem(), job(hyperparameters={"dropout": 0.2}))
    assert outcome.error.endswith("drops something out: Linear has no nn.Dropout")


@pytest.mark.parametrize(
    ("layer", "shape", "mask"),
    [
        (nn.Dropout, (400, 8, 5), (400, 8, 5)),
        (nn.Dropout1d, (400, 8, 5), (400, 8, 1)),
        (nn.Dropout2d, (400, 8, 5, 3), (400, 8, 1, 1)),
        (nn.Dropout3d, (400, 8, 5, 3, 2), (400, 8, 1, 1, 1)),
    ],
)
def test_masks_are_drawn_from_the_runs_generator(layer, shape, mask):
    generator = torch.Generator().manual_seed(4)
    before = torch.get_rng_state()
    with Noise(generator):
        dropped = layer(0.3)(torch.ones(shape))
    assert torch.equal(torch.get_rng_state(), before)
    numbers = torch.empty(-(-math.prod(mask) // 4), dtype=torch.int64).random_(
        -(2**63), None, generator=torch.Generator().manual_seed(4)
    )
    parts = numbers.numpy().view(np.int16).astype(int)[: math.prod(mask)] + 2**15
    expected = torch.from_numpy(parts >= round(0.3 * 2**16)).view(mask)
    assert torch.allclose(dropped, (expected / 0.7).expand(shape))
    assert dropped.mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("p", [1e-9, 0.1, 0.5, 0.9, 1 - 1e-9])
def test_a_mask_keeps_the_mean_and_is_the_same_beside_others(p):
    def generators():
        return [torch.Generator().manual_seed(seed) for seed in range(4)]

    others = (p, 0.25, 0.0, 1.0)
    cpu = torch.device("cpu")
    for shape in ((1001, 300), (7,), (), (3, 0)):
        masks = noise.draw(others, generators(), shape, cpu)
        for index, (own, generator) in enumerate(
            zip(others, generators(), strict=True)
        ):
            (alone,) = noise.draw([own], [generator], shape, cpu)
            assert torch.equal(masks[index], alone)
            # What neither drops nor keeps at random draws nothing.
            fresh = torch.Generator().manual_seed(index)
            drew = not torch.equal(generator.get_state(), fresh.get_state())
            assert drew == (0 < own < 1 and math.prod(shape) > 0)
        assert (masks[2] == 1).all()
        assert (masks[3] == 0).all()
    masks = noise.draw([p], generators()[:1], (1001, 300), cpu)
    kept = (masks > 0).double().mean()
    assert kept == pytest.approx(1 - p, abs=5e-3)
    largest = masks.max()
    assert largest == pytest.approx(1 / (1 - p), rel=1e-4) or p > 0.99


def test_a_probability_of_dropout_is_a_probability():
    with pytest.raises(ValueError, match="between 0 and 1"):
        noise.draw([1.5], [torch.Generator()], (2,), torch.device("cpu"))


def test_dropout_of_all_and_in_place():
    x = torch.ones(4, 3)
    with Noise(torch.Generator().manual_seed(0)):
        assert (nn.Dropout(1.0)(x) == 0).all()
        assert nn.Dropout(0.5).eval()(x) is x
        nn.Dropout(0.5, inplace=True)(x)
    assert sorted(x.unique().tolist()) == [0.0, 2.0]


@pytest.mark.parametrize("rate", [1e30, 1e38])
def test_a_run_that_diverges_counts_as_the_constant_predictor(rate):
    recipe = Recipe(optimizer="sgd", learning_rate=rate, gradient_clip=None)
    outcome = run.train(problem(recipe=recipe), job(hidden))
    given = problem()
    assert outcome.diverged
    assert outcome.error is None
    majority = np.bincount(given.y_train).argmax()
    assert outcome.validation == (given.y_validation == majority).mean()
    assert (outcome.predictions == majority).all()
    assert all(math.isfinite(point.loss) for point in outcome.curve)


def test_a_run_that_diverged_once_stays_diverged():
    given = problem()
    account = Account(given, 0.0)
    fine = np.full((40, 2), 0.5)
    seen = []
    for step, loss in enumerate((0.5, math.inf, 0.5), 1):
        account.evaluated(step, loss, fine)
        seen.append(account.diverged)
    assert seen == [False, True, True]
    assert [point.step for point in account.curve] == [1]
    assert account.finished(fine, None).diverged


def constant_badly():
    module = nn.Linear(6, 1)
    nn.init.constant_(module.bias, 100.0)
    return module


@pytest.mark.parametrize("metric", ["r2", "mae", "rmse"])
def test_on_a_metric_without_bound_worse_than_constant_is_diverged(metric):
    given = problem("regression", metric, recipe=Recipe(learning_rate=1e-9), steps=5)
    outcome = run.train(given, job(constant_badly))
    guess = given.metric.constant(given.y_train, 40, 1)
    assert outcome.diverged
    assert outcome.validation == given.metric.score(guess, given.y_validation)
    assert np.array_equal(outcome.predictions, guess)
    assert len(outcome.curve) == 5


def test_on_a_bounded_metric_worse_than_constant_is_a_bad_run_and_no_more():
    given = problem(recipe=Recipe(learning_rate=1e-9))
    scores = [run.train(given, job(initial_seed=seed)) for seed in range(6)]
    assert not any(outcome.diverged for outcome in scores)
    assert min(outcome.validation for outcome in scores) < 0.5


class Raises(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.linear = nn.Linear(6, 2)
        self.error = error

    def forward(self, x):
        self.try_luck()
        return self.linear(x)

    def try_luck(self):
        if self.training:
            raise self.error("ran out of luck")


def test_what_a_run_raises_is_recorded_with_the_users_line():
    outcome = run.train(problem(), job(functools.partial(Raises, ValueError)))
    assert outcome.diverged
    assert outcome.error.startswith("ValueError: ran out of luck (")
    file, line = outcome.error.split("(")[1].rstrip(")").rsplit(":", 1)
    assert file == __file__
    with open(__file__) as source:
        text = source.read().splitlines()[int(line) - 1]
    assert text.strip() == 'raise self.error("ran out of luck")'


def test_what_is_not_the_runs_own_fault_passes():
    with pytest.raises(KeyboardInterrupt):
        run.train(problem(), job(functools.partial(Raises, KeyboardInterrupt)))


def beyond_memory():
    # More than any process can address: torch raises a RuntimeError.
    return nn.Linear(2**30, 2**30)


def blamed_for_memory():
    try:
        return beyond_memory()
    except RuntimeError as error:
        raise ArmError("it can be built", str(error)) from error


@pytest.mark.parametrize(
    "build",
    [
        functools.partial(Raises, MemoryError),
        functools.partial(Raises, torch.OutOfMemoryError),
        beyond_memory,
        blamed_for_memory,
    ],
)
def test_a_result_never_depends_on_free_memory(build):
    with pytest.raises(MemoryError, match="not enough memory to train: ") as raised:
        run.train(problem(), job(build))
    assert "\n" not in str(raised.value)


def test_a_builder_that_raises_is_recorded():
    outcome = run.train(problem(), job(lambda: nn.Linear(-1, 2)))
    assert outcome.error.startswith("RuntimeError: ")
    assert __file__ in outcome.error


def cannot_be_built():
    raise ArmError("width is a multiple of heads", "width = 5", "Take 4 or 8.")


class CannotBeCalled(Raises):
    def try_luck(self):
        raise ArmError("it can be called", "not on this", "Take another.")


def test_a_fault_of_form_stops_at_the_first_run():
    with pytest.raises(FormError) as raised:
        run.train(problem(), job(functools.partial(linear, 3)))
    assert str(raised.value).splitlines() == [
        "an architecture returns (batch, 2) outputs: (20, 3) for a batch of 20",
        "Let its last layer have 2 outputs; it is told so as num_outputs.",
    ]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (cannot_be_built, "width is a multiple of heads: width = 5"),
        (functools.partial(CannotBeCalled, None), "it can be called: not on this"),
        (nn.Flatten, "an architecture has parameters to train: Flatten has none"),
    ],
)
def test_an_architecture_that_fails_as_configured_is_recorded(build, message):
    """One configuration that cannot be built must not end the study."""
    given = problem()
    outcome = run.train(given, job(build))
    assert outcome.error == message
    assert outcome.diverged
    majority = np.bincount(given.y_train).argmax()
    assert outcome.validation == (given.y_validation == majority).mean()
    assert (outcome.predictions == majority).all()


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"widht": 3}, "'widht', which neither knows"),
        ({"momentum": 1.5}, "momentum is at least 0 and below 1: 1.5"),
    ],
)
def test_an_impossible_hyperparameter_is_the_users_mistake(hyperparameters, message):
    with pytest.raises(ProtocolError, match=message):
        run.train(problem(), job(hyperparameters=hyperparameters))


def test_kept_weights_give_the_predictions_again():
    given = problem()
    outcome = run.train(given, job(hidden, keep_weights=True))
    module = hidden().eval()
    module.load_state_dict(outcome.weights)
    with torch.no_grad():
        labels = module(torch.from_numpy(given.x_test)).argmax(1).numpy()
    assert np.array_equal(labels, outcome.predictions)
    assert outcome.weights["0.weight"].is_contiguous()
    assert outcome.weights["0.weight"].untyped_storage().nbytes() == 6 * 8 * 4


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6, bias=False)
        self.second = nn.Linear(6, 6, bias=False)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(6, 6)
        self.frozen.requires_grad_(False)
        self.last = nn.Linear(6, 2)

    def forward(self, x):
        return self.last(self.frozen(self.second(self.first(x).relu())))


def test_tied_parameters_stay_tied_and_frozen_ones_frozen():
    start = build(problem(), job(Tied)).state_dict()
    end = run.train(problem(), job(Tied, keep_weights=True)).weights
    assert torch.equal(end["first.weight"], end["second.weight"])
    assert not torch.equal(end["first.weight"], start["first.weight"])
    assert torch.equal(end["frozen.weight"], start["frozen.weight"])


def test_a_lazy_module_is_determined_by_its_seed():
    def build():
        return nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(2))

    first, again = (run.train(problem(), job(build)) for _ in range(2))
    assert same(first, again)
    assert first.error is None


def test_a_batch_larger_than_the_data_is_all_of_the_data():
    whole = run.train(problem(batch_size=120), job())
    assert same(run.train(problem(batch_size=10_000), job()), whole)


def test_the_loop_is_the_plain_training_of_torch():
    """Against the same training written with torch.optim and torch's own loss."""
    recipe = Recipe(learning_rate=1e-2, weight_decay=0.1, label_smoothing=0.1)
    given = problem(recipe=recipe, steps=30)
    outcome = run.train(given, job(keep_weights=True))
    module = build(given, job())
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=0.1)
    rates = run.recipe.rates(recipe, 30)
    order = run.recipe.batches(recipe, 120, 20, order_seed=2)
    for rate in rates:
        rows = next(order)
        loss = nn.functional.cross_entropy(
            module(torch.from_numpy(given.x_train[rows])),
            torch.from_numpy(given.y_train[rows]),
            label_smoothing=0.1,
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = 1e-2 * rate
        optimizer.step()
    torch.testing.assert_close(outcome.weights["weight"], module.weight.data)
    torch.testing.assert_close(outcome.weights["bias"], module.bias.data)


def normed():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def test_averaging_changes_what_is_evaluated_and_not_the_training():
    plain = run.train(problem(), job(normed))
    averaged = run.train(
        problem(recipe=Recipe(learning_rate=3e-2, weight_averaging=0.3)), job(normed)
    )
    assert [p.loss for p in averaged.curve] == [p.loss for p in plain.curve]
    assert [p.validation for p in averaged.curve] != [p.validation for p in plain.curve]
    # After one step the average is that step's weights.
    short, once = (
        run.train(
            problem(steps=1, recipe=Recipe(learning_rate=3e-2, weight_averaging=share)),
            job(normed, keep_weights=True),
        )
        for share in (0.0, 0.5)
    )
    for name, weight in short.weights.items():
        assert torch.equal(weight, once.weights[name])


def test_the_weights_that_are_kept_are_those_that_were_scored():
    given = problem(recipe=Recipe(learning_rate=3e-2, weight_averaging=0.5))
    outcome = run.train(given, job(normed, keep_weights=True))
    module = normed()
    module.load_state_dict(outcome.weights)
    with torch.no_grad():
        outputs = module.eval()(torch.from_numpy(given.x_validation))
    right = outputs.argmax(1).numpy() == given.y_validation
    assert outcome.validation == right.mean()
    loop, data = Loop(given, [job(normed)], [build(given, job(normed))]), Source(given)
    order = run.recipe.batches(given.recipe, 120, 20, 2)
    visited = []
    with own_noise(3, "cpu"):
        for rate in run.recipe.rates(given.recipe, given.steps):
            rows = torch.from_numpy(next(order))
            loop.step(data.x_train[rows][None], data.y_train[rows][None], rate)
            visited.append(loop.module[1].running_mean.clone())
    decay = 1 - 1 / 50  # half of 100 steps
    shares = torch.tensor([decay**age for age in reversed(range(100))])
    mean = (shares[:, None] * torch.stack(visited)).sum(0) / shares.sum()
    torch.testing.assert_close(outcome.weights["1.running_mean"], mean)


# ------------------------------------------------- read and kept on the way, and skips


def restored(build, weights, x):
    module = build()
    module.load_state_dict(weights)
    with torch.no_grad():
        return module.eval()(torch.from_numpy(x))


@pytest.mark.parametrize("averaging", [0.0, 0.3])
@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_a_run_is_read_as_it_is_and_as_it_was_at_its_best(metric, averaging):
    recipe = Recipe(learning_rate=0.3, schedule="constant", weight_averaging=averaging)
    given = problem(metric=metric, recipe=recipe, read_at=(35, 64, 100))
    steps = sorted(given.evaluation_steps())
    assert steps == [10, 20, 30, 35, 40, 50, 60, 64, 70, 80, 90, 100]
    outcome = run.train(given, job(hidden, keep_at=tuple(steps)))
    values = {point.step: point.validation for point in outcome.curve}
    assert list(outcome.readings) == [35, 64, 100]
    for step, read in outcome.readings.items():
        so_far = [s for s in steps if s <= step]
        choose = max if metric == "accuracy" else min
        best = choose(so_far, key=values.get)  # the first of equals
        assert (read["last"].step, read["best"].step) == (step, best)
        for reading in read.values():
            assert reading.validation == values[reading.step]
            outputs = restored(hidden, outcome.kept[reading.step], given.x_test)
            expected = given.metric.reduce(outputs.softmax(-1).numpy())
            np.testing.assert_allclose(reading.predictions, expected, atol=1e-6)
    assert any(r["best"].step < r["last"].step for r in outcome.readings.values())
    assert outcome.readings[100]["last"].validation == outcome.validation
    last = outcome.readings[100]["last"].predictions
    assert np.array_equal(last, outcome.predictions)


def test_to_read_and_to_keep_changes_nothing_of_a_run():
    recipe = Recipe(learning_rate=3e-2, weight_averaging=0.3)
    plain = run.train(problem(recipe=recipe), job(hidden, keep_weights=True))
    assert plain.readings == {}
    assert plain.kept == {}
    read = run.train(
        problem(recipe=recipe, read_at=(20, 100)),
        job(hidden, keep_weights=True, keep_at=(0, 7, 100)),
    )
    assert same(read, plain)
    assert sorted(read.kept) == [0, 7, 100]
    start = build(problem(), job(hidden)).state_dict()
    for name, weight in plain.weights.items():
        assert torch.equal(read.weights[name], weight)
        assert torch.equal(read.kept[100][name], weight)
        assert torch.equal(read.kept[0][name], start[name])
    assert not torch.equal(read.kept[7]["0.weight"], read.kept[100]["0.weight"])
    assert read.kept[7]["0.weight"].untyped_storage().nbytes() == 6 * 8 * 4


class BreaksLater(nn.Module):
    """Gives no number from its 45th step on."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 2)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.seen += 1
        return self.linear(x) + torch.where(self.seen < 45, 0.0, math.nan)


class RaisesLater(BreaksLater):
    def forward(self, x):
        if self.seen == 45:
            raise RuntimeError("no more")
        return super().forward(x)


@pytest.mark.parametrize("build", [BreaksLater, RaisesLater])
def test_a_run_that_broke_off_has_all_its_readings(build):
    given = problem(read_at=(40, 70, 100), recipe=Recipe(learning_rate=0.3))
    outcome = run.train(given, job(build, keep_at=(0, 40, 47, 50, 100)))
    assert outcome.diverged
    assert (outcome.error is None) == (build is BreaksLater)
    majority = np.bincount(given.y_train).argmax()
    before = outcome.readings[40]
    assert before["last"].step == 40
    for step in (70, 100):
        last, best = outcome.readings[step]["last"], outcome.readings[step]["best"]
        assert last.step == 0
        assert last.validation == outcome.validation
        assert (last.predictions == majority).all()
        assert best == before["best"]
    # That the 47th step's are no numbers' was seen after the 50th.
    assert sorted(outcome.kept) == ([0, 40, 47] if build is BreaksLater else [0, 40])
    never = run.train(given, job(cannot_be_built))
    assert sorted(never.readings) == [40, 70, 100]
    for read in never.readings.values():
        assert read["last"].step == read["best"].step == 0
        assert (read["best"].predictions == majority).all()


def test_without_bound_a_reading_worse_than_constant_is_the_constants():
    given = problem("regression", "rmse", steps=5, read_at=(1, 2, 3, 4, 5))
    guess = given.metric.constant(given.y_train, 40, 1)
    account = Account(given, 0.0)
    for step, error in enumerate([1e6, 30, 10, math.nan, 1e6], 1):
        account.evaluated(step, 0.5, given.y_validation + np.nan_to_num(error))
        assert not account.diverged
        account.read(step, np.full(40, 1000 + error))
    outcome = account.finished(np.full(40, 1000.0), None)
    assert outcome.diverged
    read = [outcome.readings[step] for step in given.read_at]
    assert [r["last"].step for r in read] == [0, 2, 3, 0, 0]
    # Validation was perfect after the fourth, but not a number on the test inputs.
    assert [r["best"].step for r in read] == [0, 2, 3, 3, 3]
    assert read[4]["best"].validation == pytest.approx(10)
    assert (read[4]["best"].predictions == 1010).all()
    assert np.array_equal(read[0]["best"].predictions, guess)
    assert np.array_equal(read[4]["last"].predictions, guess)
    assert read[4]["last"].validation == outcome.validation


@pytest.mark.parametrize("order", ["shuffled", "fixed"])
def test_a_run_that_skips_sees_what_the_others_see_later(order):
    generator = np.random.default_rng(0)
    recipe = Recipe(
        order=order,
        augmentation=(
            "shift",
            "flip",
            "scale",
            "noise",
            "cutout",
            "affine",
            "contrast",
        ),
    )
    given = problem(
        recipe=recipe, x_train=generator.normal(size=(120, 1, 8, 8)).astype(np.float32)
    )
    data = Source(given)

    def seen(*jobs):
        return list(itertools.islice(Batches(given, data, jobs), 12))

    whole, other = seen(job()), seen(job(order_seed=5))
    for skips in [(4, 4), (4, 0), (0, 9)]:
        both = seen(job(skip=skips[0]), job(order_seed=5, skip=skips[1]))
        assert len(both) == 12
        for at, (x, y) in enumerate(both):
            for row, (skip, own) in enumerate(zip(skips, (whole, other), strict=True)):
                if skip + at < 12:
                    assert torch.equal(x[row], own[skip + at][0][0])
                    assert torch.equal(y[row], own[skip + at][1][0])


def test_a_training_goes_on_from_weights_that_were_kept():
    plain = Recipe(
        optimizer="sgd", learning_rate=0.1, momentum=0.0, schedule="constant", warmup=0
    )
    whole = run.train(
        problem(recipe=plain, steps=30), job(normed, keep_weights=True, keep_at=(12,))
    )

    def half_trained():
        module = normed()
        module.load_state_dict(copy.deepcopy(whole.kept[12]))
        return module

    rest = run.train(
        problem(recipe=plain, steps=18), job(half_trained, keep_weights=True, skip=12)
    )
    for name, weight in whole.weights.items():
        assert torch.equal(rest.weights[name], weight)


def test_steps_that_there_are_not_are_no_steps():
    with pytest.raises(ValueError, match=r"1\.\.100"):
        problem(read_at=(50, 101))
    with pytest.raises(ValueError, match=r"1\.\.100"):
        problem(read_at=(0,))
    with pytest.raises(ValueError, match="at least 0"):
        job(skip=-1)
    with pytest.raises(ValueError, match="at least 0"):
        job(keep_at=(3, -1))
