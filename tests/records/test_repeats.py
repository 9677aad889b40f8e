"""Whether a column numbers repeats, was measured or was tuned, where n hangs on it.

What a message says is typed, each of its ways.
"""

import itertools
import shlex

import numpy as np
import pandas as pd
import pytest

from archtrial.errors import RecordsError
from archtrial.records.columns import Wanted, chosen, never_seen
from archtrial.records.draws import check_repeated
from archtrial.records.importers import read

LEVELS = {"lr": [1e-4, 1e-3, 1e-2, 0.1], "weight_decay": [0, 1e-4, 1e-3]}
LISTS = {"--hyperparameters": "hyperparameters"}
COLUMNS = {"--seed-column": "seed", **LISTS}


def grid(levels=LEVELS, repeats=(), name="", arms=("mlp", "cnn")):
    """Returns runs of a complete grid, or repeats of it that a column numbers."""
    rng = np.random.default_rng(0)
    rows = []
    for arm, *values in itertools.product(arms, *levels.values()):
        height = 0.8 + rng.normal(scale=0.03)
        rows += [
            {"model": arm, **dict(zip(levels, values, strict=True)), name: repeat,
             "val_acc": height + rng.normal(scale=0.01)}
            for repeat in repeats or (0,)
        ]  # fmt: skip
    table = pd.DataFrame(rows)
    return table if name else table.drop(columns="")


def draws(n, repeats, seeds=False):
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "lr": 10 ** rng.uniform(-4, -1, n),
            "weight_decay": 10 ** rng.uniform(-6, -2, n),
        }
    )
    return pd.concat(
        table.assign(model=arm, val_acc=rng.normal(0.8, 0.02, n)).assign(
            **({"seed": repeat} if seeds else {})
        )
        for arm in ("mlp", "cnn")
        for repeat in range(repeats)
    )


@pytest.fixture
def asked(tmp_path):
    """Returns a function that reads a table of any order, and how its question reads."""

    def ask(table, **options):
        path = tmp_path / "t.csv"
        table.sample(frac=1, random_state=0).to_csv(path, index=False)
        try:
            return read([path], **options), ""
        except RecordsError as error:
            return None, str(error)

    return ask


def answers(message):
    """Yields the first option of each way that a message names, and all as arguments."""
    for way in message.splitlines()[-1].rstrip(".").split("; "):
        typed = shlex.split(way[way.index(": --") + 2 :])
        options = dict(zip(typed[::2], typed[1::2], strict=True))
        if "--where" in options:
            yield "--where", {"where": [options["--where"]]}
            continue
        wanted = {
            COLUMNS[name]: tuple(value.split(",")) if name in LISTS else value
            for name, value in options.items()
        }
        yield next(iter(options)), {"wanted": Wanted(**wanted)}


def trials(found):
    return [arm["configurations"] for arm in found.understood.arms]


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        *((name, (0, 1, 2)) for name in (
            "rerun", "wiederholung", "replica_no", "trial_ix", "k", "ix", "zufall",
            "Durchlauf", "params.lauf", "config.lauf",
        )),
        *(("lauf", numbers) for numbers in (
            (1, 2), (42, 43, 1337), ("a", "b", "c"), ("run-1", "run-2"), (1, 2, 3, 4, 5),
        )),
    ],
)  # fmt: skip
def test_levels_that_may_number_repeats_are_asked_about(asked, name, numbers):
    table = grid(repeats=numbers, name=name)
    prefix, dot, bare = name.rpartition(".")
    if dot:
        table = table.rename(columns={n: f"{prefix}.{n}" for n in LEVELS})
    _, message = asked(table)
    assert f"{bare} takes {len(numbers)} values at each draw of" in message
    found = {option: asked(table, **way)[0] for option, way in answers(message)}
    assert list(found) == ["--seed-column", "--where", "--hyperparameters"]
    assert [trials(each) for each in found.values()] == [
        [12, 12], [12, 12], [12 * len(numbers)] * 2,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "layers", "n_layers", "width", "depth", "heads", "nhead", "num_blocks", "stages",
        "kernel_size", "hops", "experts", "degree", "expansion", "max_depth", "batch_size",
        "min_samples_split", "use_bias", "nesterov", "optimizer_id", "patch_size",
        "param_k", "params_k",
    ],
)  # fmt: skip
def test_a_grid_of_names_that_people_tune_is_not_asked_about(asked, name):
    table = grid({**LEVELS, name: [1, 2, 3]})
    if name.startswith("param"):  # a search's own export lists what it varied
        prefix = name.removesuffix("k")
        table = table.rename(columns={n: prefix + n for n in LEVELS})
    found, message = asked(table)
    assert not message
    assert trials(found) == [36, 36]


@pytest.mark.parametrize(
    "levels", [[16, 32, 64], [1, 10, 100], [0.1, 0.2, 0.3], ["relu", "gelu"], ["a18", "a34"]]
)  # fmt: skip
def test_levels_that_number_nothing_are_not_asked_about(asked, levels):
    found, message = asked(grid({**LEVELS, "zeta": levels}))
    assert not message
    assert trials(found) == [12 * len(levels)] * 2


def test_an_unknown_name_of_a_grid_whose_seeds_are_known_is_not_asked_about(asked):
    table = grid({**LEVELS, "zeta": [1, 2, 3]}, repeats=(0, 1), name="seed")
    found, message = asked(table)
    assert not message
    assert trials(found) == [36, 36]


def test_levels_that_come_together_unequally_are_not_asked_about(asked):
    table = grid()
    first = table["lr"].rank(method="dense").astype(int)
    other = table.assign(zeta=first + 1, val_acc=table["val_acc"] - 0.01)
    found, message = asked(pd.concat([table.assign(zeta=first), other]))
    assert not message
    assert trials(found) == [24, 24]


UNSEEDED = grid(repeats=(0, 1, 2), name="seed").drop(columns="seed")


@pytest.mark.parametrize(
    ("name", "table"),
    [
        *((name, UNSEEDED) for name in (
            "tau", "gamma_final", "alpha_eff", "lr_end", "beta_hat", "sigma",
            "final_temperature", "weight_norm",
        )),
        *((name, table) for name in ("tau", "zeta") for table in (
            grid(repeats=(0, 1, 2), name="seed"),
            UNSEEDED.drop(index=[3, 40]),
            UNSEEDED.assign(seed=1),
            draws(16, 3),
            draws(16, 3, seeds=True),
        )),
    ],
)  # fmt: skip
def test_what_differs_in_every_run_is_asked_about_where_n_hangs_on_it(
    asked, table, name
):
    rng = np.random.default_rng(2)
    table = table.assign(**{name: rng.normal(size=len(table))})
    found, message = asked(table)
    if "seed" in table and table["seed"].nunique() > 1 and name == "zeta":
        # Seeds tell that no more than seeds differ: it was measured, and that is said.
        assert f"'{name}' differs between runs" in " ".join(found.understood.notes)
        return
    assert f"but for {name}, 3 runs each are alike in lr, weight_decay" in message
    found = [asked(table, **way)[0] for _, way in answers(message)]
    few = 16 if len(table) == 96 else 12
    many = table["model"].value_counts().to_list()
    assert [trials(each) for each in found] == [[few, few], many]


def test_several_that_differ_in_every_run_are_one_question(asked):
    table = draws(16, 3)
    rng = np.random.default_rng(2)
    table["tau"], table["gamma_final"] = rng.normal(size=(2, len(table))).round(3)
    _, message = asked(table)
    assert "but for tau, gamma_final, 3 runs each" in message
    assert "If they were measured: --hyperparameters lr,weight_decay;" in message


@pytest.mark.parametrize("shared", [False, True])
def test_numbers_that_differ_in_every_run_may_be_seeds(asked, shared):
    table = UNSEEDED.copy()
    rng = np.random.default_rng(2)
    zufall = rng.integers(10**6, size=36).tolist()
    table["zufall"] = 2 * zufall if shared else rng.integers(10**6, size=72)
    _, message = asked(table)
    found = {option: trials(asked(table, **way)[0]) for option, way in answers(message)}
    assert found["--seed-column"] == [12, 12]
    assert found["--hyperparameters"] == [36, 36]


def drawn(rng, n, **few):
    return pd.concat(
        pd.DataFrame(
            {
                "model": arm,
                **{name: rng.choice(options, n) for name, options in few.items()},
                "alpha": 10 ** rng.uniform(-4, -1, n),
                "val_acc": rng.normal(0.8, 0.02, n),
            }
        )
        for arm in ("mlp", "cnn")
    )


def test_independent_draws_are_not_asked_about(asked):
    rng = np.random.default_rng(3)
    messages = [
        asked(drawn(rng, n, activation=["relu", "gelu"], layers=[1, 2, 3], **more))[1]
        for n in (12, 24, 48)
        for more in ({}, {"zeta": [1, 2, 3]})
        for _ in range(5)
    ]
    messages += [
        asked(drawn(rng, 24, lr=[0.1, 0.2], zeta=[0, 1, 2]).drop(columns="alpha"))[1]
        for _ in range(3)
    ]
    assert messages == [""] * len(messages)


@pytest.mark.parametrize("columns", [{"learning_rate": 0}, {"params_alpha": 0}])
def test_what_was_surely_tuned_is_not_asked_about(asked, columns):
    rng = np.random.default_rng(3)
    table = UNSEEDED
    (name,) = columns
    table = table.rename(
        columns={
            n: f"params_{n}" if "_a" in name else n for n in ("lr", "weight_decay")
        }
    ).rename(columns={"lr": "activation"})
    found, message = asked(table.assign(**{name: rng.uniform(size=72)}))
    assert not message
    assert trials(found) == [36, 36]


def test_draws_that_two_arms_share_were_drawn(asked):
    rng = np.random.default_rng(3)
    table = UNSEEDED
    assert not asked(table.assign(alpha=2 * rng.uniform(size=36).tolist()))[1]


@pytest.mark.parametrize(
    ("name", "is_chosen", "never"),
    [
        ("learning_rate_init", True, True), ("log_lr", True, True), ("lr_end", True, False),
        ("batch_size", True, True), ("weight_decay", True, True), ("weight", True, False),
        ("tau", True, False), ("n_layers", True, True), ("rerun", False, False),
        ("patch_size", True, False), ("zeta", False, False), ("size", True, False),
    ],
)  # fmt: skip
def test_names_say_what_was_chosen_and_what_may_have_been_seen(name, is_chosen, never):
    assert chosen(name) is is_chosen
    assert never_seen(name) is never


def test_a_measurement_in_round_numbers_is_asked_about(asked):
    table = draws(24, 3)
    table["zeta"] = np.random.default_rng(2).normal(size=len(table)).round(1)
    _, message = asked(table)
    assert "zeta takes 3 values at each draw of lr, weight_decay" in message
    found = [trials(asked(table, **way)[0]) for _, way in answers(message)]
    assert found == [[24, 24], [72, 72]]


def test_what_seeds_do_not_tell_apart_either_is_tuned(asked):
    table = grid(repeats=(0, 1), name="seed")
    again = table.assign(val_acc=table["val_acc"] - 0.1)
    table = pd.concat([table, again], ignore_index=True)
    table["alpha"] = np.random.default_rng(2).uniform(size=len(table))
    found, message = asked(table)
    assert not message
    assert trials(found) == [48, 48]


def test_a_column_that_stands_alone_numbers_no_repeats():
    alone = pd.Series([1, 2, 3, 4, 1, 2, 3, 4])
    frame = pd.DataFrame({"arm": ["a"] * 4 + ["b"] * 4})
    assert check_repeated({"q": alone}, frame, "t.csv") is None
