"""What is declared, what a time pays for, and what a user can afford."""

import math

import pytest
import torch
from torch import nn

from archtrial import metrics
from archtrial.errors import DataError, ProtocolError, UserError
from archtrial.experiments import choose
from archtrial.experiments.choose import continuing, ladder, limits, plan, study, words
from archtrial.experiments.choose.pace import Pace, takes
from archtrial.experiments.choose.protocol import seconds_of
from archtrial.space import Choice, Real
from archtrial.training import cost
from archtrial.zoo import arms

from . import chosen

# --- the declaration -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), (".5d", 43200)]
)
def test_a_budget_is_a_time(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "-5m", "0s", "infm", "nanm", "5 w"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ProtocolError) as refused:
        choose.Protocol(data="mnist1d", budget=text)
    assert repr(text) in str(refused.value)
    assert seconds_of(refused.value.way_out.split()[-1].rstrip(".")) == 1800


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"arms": ["mlp"]}, "among two arms"),
        ({"arms": ["mlp", "mlp"]}, "name of its own"),
        ({"arms": ["mlp", "Plain Scikit-Learn=linear"]}, "name of its own"),
        ({"arms": ["mlp(recipe=modern)", "linear"]}, "one recipe"),
        ({"effort": 3}, "effort"),
        ({"confirm_seeds": 2}, "confirm_seeds"),
        ({"recipe": {"length": 2.0}}, "the time decides"),
        ({"space": {"dropout": [0.0, 0.5]}}, "dropout is of those arms"),
        ({"max_parameters": 0}, "max_parameters"),
    ],
)
def test_what_contradicts_is_refused(changes, rule):
    with pytest.raises(ProtocolError, match=rule):
        choose.Protocol(data="mnist1d", **changes)


def test_no_look_has_fewer_than_16_configurations_or_four_efforts():
    assert choose.Protocol(data="mnist1d").first_look == 16
    assert choose.Protocol(data="mnist1d", effort=5).first_look == 20


def test_a_trials_file_is_sent_to_run(tmp_path):
    (tmp_path / "t.toml").write_text('data = "digits"\nbaseline = "mlp"\n')
    with pytest.raises(ProtocolError, match="archtrial run"):
        choose.load(tmp_path / "t.toml")


def test_a_files_own_arms_are_found_from_its_folder(tmp_path):
    (tmp_path / "c.toml").write_text(
        'data = "digits"\nbudget = "5m"\narms = ["linear", "net.py:Net"]\n'
    )
    found = choose.load(tmp_path / "c.toml", margin=0.01)
    assert found.arms[1].architecture == f"{tmp_path}/net.py:Net"
    assert (found.seconds, found.margin) == (300, 0.01)


# --- the ladder -------------------------------------------------------------------


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("kind", ["table", "array", "sequence", "image"])
@pytest.mark.parametrize("how", ["plain", "texts", "unequal"])
def test_every_ladder_begins_simply_and_can_be_found(kind, task, how):
    found = ladder.ladder_of(kind, task, texts=how == "texts", unequal=how == "unequal")
    assert len(found) >= 4
    assert len({arm.name for arm in found}) == len(found)
    for arm in found:
        if not str(arm.architecture).startswith("sklearn:"):
            own = arms.find(arm.architecture, arm.options, None)
            # One structure, so that runs train side by side.
            assert {*own.space} - {*arm.options} <= {"dropout"}
    plain = ladder.plain_of(kind, task, unequal=how == "unequal")
    assert ("Boosting" in plain) == (kind in ("table", "array") or how == "unequal")


# --- the pace and the plan ---------------------------------------------------------


def test_a_fleet_takes_what_its_parts_take():
    pace = Pace(16, once=1.0, once_each=0.5, step=0.01, step_each=0.002, cold=0.0)
    assert pace.fleet(4, 100, 500) == pytest.approx(1 + 2 + 1 + 0.8)
    assert [round(x, 6) for x in pace.tasks(20, 100, 500)] == [
        round(pace.fleet(10, 100, 500), 6)
    ] * 2
    assert pace.tasks(0, 100, 500) == []
    fit = Pace(1, 0.0, 2.0, 0.0, 0.0, 0.0, rows=1000)
    assert fit.fleet(1, 99, 500) == pytest.approx(1.0)
    assert Pace(**pace.to_dict()) == pace


def test_workers_share_tasks_in_their_order():
    assert takes([1.0] * 4, 2) == 2.0
    assert takes([1.0, 1.0, 5.0], 2) == 6.0
    assert takes([], 3) == 0.0


def paces(**steps):
    return {name: Pace(1, 0.0, 0.0, 0.0, each, 0.0) for name, each in steps.items()}


def planned(some, **changes):
    told = {
        "too_large": {}, "alone": [], "seconds": 600.0, "began": 20.0, "workers": 1,
        "rows": 5000, "batch_size": 100, "effort": 4, "seeds": 3, "first": 16,
        "most_steps": 1500,
    } | changes  # fmt: skip
    return plan.make(some, {name: {} for name in some}, **told)


def test_a_long_time_pays_for_everything():
    found = planned(paces(a=1e-6, b=1e-6, c=1e-6))
    assert found.arms == ("a", "b", "c")
    assert (found.steps, found.rows) == (1500, 5000)
    assert (found.final_steps, found.final_rows) == (1500, 5000)
    assert found.looks == (16, 32, 48, 64)


def test_a_shorter_time_has_shorter_trainings_on_fewer_rows():
    found = planned(paces(**dict.fromkeys("abcde", 0.003)), rows=20_000)
    assert len(found.arms) == 5
    assert 50 <= found.steps < 500
    assert found.rows == found.steps * 100 // 8
    assert found.final_steps >= found.steps


def test_who_takes_longest_is_left_out_before_trainings_are_too_short():
    some = paces(**dict.fromkeys("abcde", 1e-4), f=0.05)
    assert planned(some).arms == tuple("abcde")
    assert planned(some).too_long == ("f",)
    assert planned(some).steps >= 350


def test_with_five_left_trainings_become_shorter_before_arms_go():
    some = paces(**dict.fromkeys("abcd", 1e-5), e=0.03)
    assert planned(some).arms == tuple("abcde")
    assert planned(some).steps < 350
    assert planned({**some, **paces(e=0.2)}).arms == tuple("abcd")


@pytest.mark.parametrize("share", [0.2, 1.0, 3.0])
def test_what_is_planned_fits(share):
    """The first look with its checks, and three seeds of all arms, fit the time."""
    some = paces(a=0.001 * share, b=0.002 * share, c=0.004 * share)
    found = planned(some)
    left = 600 - found.began - found.closing
    runs = 16 + found.fresh + 3
    assert found.searching(dict.fromkeys(found.arms, runs)) <= 0.45 * left
    assert found.finals(dict.fromkeys(found.arms, 3)) <= 0.25 * left


def test_a_time_that_is_too_short_says_which_one_is_not():
    some = paces(a=0.1, b=0.1, c=0.1)
    with pytest.raises(ProtocolError, match="16 configurations") as refused:
        planned(some, seconds=60.0)
    written = refused.value.way_out.split()[2]
    assert len(planned(some, seconds=seconds_of(written)).arms) >= 2


def test_a_plan_comes_back_from_json():
    found = planned(paces(a=0.001, b=0.002))
    assert plan.Plan.of(found.to_dict()) == found


def test_no_training_is_longer_than_declared():
    found = planned(paces(a=1e-6, b=1e-6), most_steps=40)
    assert (found.steps, found.final_steps) == (40, 40)


# --- what a user can afford --------------------------------------------------------


class _Alike(nn.Module):
    """Hands one input to both sides."""

    def __init__(self, pair):
        super().__init__()
        self.pair = pair

    def forward(self, x):
        return self.pair(x, x)


def test_operations_of_one_answer_are_those_of_closed_forms():
    net = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))
    assert limits.answer(net, torch.zeros(1, 7), 1)["max_flops"] == 2 * (7 * 5 + 5 * 3)
    # As everywhere: of a bilinear layer, too, for which torch has no formula.
    pair = nn.Bilinear(4, 4, 8)
    alike = _Alike(pair)
    assert (
        limits.answer(alike, torch.zeros(1, 4), 1)["max_flops"]
        == cost.forward(alike, torch.zeros(1, 4))
        > 2 * 4 * 8
    )
    conv = nn.Conv1d(4, 6, 3, groups=2, padding=1)
    assert (
        limits.answer(conv, torch.zeros(1, 4, 9), 1)["max_flops"] == 2 * 9 * 6 * 3 * 2
    )


def test_what_an_answer_takes_grows_with_the_net():
    small, large = (
        limits.answer(nn.Linear(10, width), torch.zeros(1, 10), 1) for width in (5, 50)
    )
    assert small["max_parameters"] == 55
    assert small["max_flops"] == 100
    assert small["max_memory"] == pytest.approx(4 * (55 + 5) / 2**20)
    assert all(large[name] >= small[name] for name in ("max_flops", "max_memory"))
    assert small["max_latency"] > 0


def sized(values):
    size = values["width"] * values.get("depth", 1)
    return {
        "max_parameters": size, "max_flops": 2 * size, "max_latency": 1.0,
        "max_memory": 1.0,
    }  # fmt: skip


SPACE = {
    "learning_rate": Real(0.001, 0.1, log=True),
    "width": Choice((8, 16, 32)),
    "depth": Choice((1, 2)),
}


def test_options_that_go_beyond_a_limit_are_left_out():
    told = choose.Protocol(data="mnist1d", max_parameters=32)
    kept, why = limits.kept_within(told, SPACE, sized)
    assert why is None
    assert max(kept["width"].options) * max(kept["depth"].options) <= 32
    assert kept["learning_rate"] == SPACE["learning_rate"]


def test_an_arm_whose_smallest_is_too_large_is_left_out_with_the_reason():
    told = choose.Protocol(data="mnist1d", max_flops=10)
    kept, why = limits.kept_within(told, SPACE, sized)
    assert kept == SPACE
    assert why == "16 FLOPs of one answer, and 10 are allowed"


def test_without_limits_nothing_is_measured():
    def never(values):
        raise AssertionError

    told = choose.Protocol(data="mnist1d")
    assert limits.kept_within(told, SPACE, never) == (SPACE, None)


def test_limits_that_nobody_meets_are_one_message(tmp_path):
    protocol = chosen.declared(chosen.saved(tmp_path), max_parameters=2)
    with chosen.quick(), pytest.raises(ProtocolError) as refused:
        study.Study(protocol, tmp_path / "study")
    assert "linear has 10 parameters, and 2 are allowed" in str(refused.value)
    assert "--max-parameters" in refused.value.way_out


def test_an_arm_beyond_a_limit_is_named(tmp_path):
    protocol = chosen.declared(chosen.saved(tmp_path), max_parameters=1000)
    with chosen.quick():
        found = study.Study(protocol, tmp_path / "study")
    assert found.plan.arms == ("linear", "mlp(depth=2, width=24)")
    assert list(found.plan.too_large) == ["wide"]
    assert any("wide is left out: it has" in note for note in found.notes)


# --- bad input ---------------------------------------------------------------------


def test_data_that_are_not_there_are_one_message():
    with pytest.raises(DataError):
        study.Study(choose.Protocol(data="nope.csv"))


@pytest.mark.parametrize("column", ["constant", "text"])
def test_targets_that_say_nothing_are_refused(tmp_path, column):
    lines = ["a,b,y"] + [f"{i},{i % 7},{3.5}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    changes = {"text": "b"} if column == "text" else {"task": "regression"}
    with pytest.raises(UserError):
        study.Study(choose.Protocol(data=str(tmp_path / "t.csv"), **changes))


def test_an_arm_that_was_named_and_cannot_be_trained_is_refused(tmp_path):
    protocol = chosen.declared(chosen.saved(tmp_path), arms=("linear", "vanilla_cnn"))
    with chosen.quick(), pytest.raises(UserError):
        study.Study(protocol, tmp_path / "study")


# --- how to go on --------------------------------------------------------------------


def test_values_are_written_as_toml():
    import tomllib

    table = {"a b": [1, 2.5, True], "c": {"d": 'x"y'}, "e": 1e-05}
    assert tomllib.loads(f"v = {continuing._value(table)}")["v"] == table
    assert math.isclose(tomllib.loads(f"v = {continuing._value(0.1)}")["v"], 0.1)


@pytest.mark.parametrize(
    ("to", "said"),
    [("gru", "every other arm has lost to it"), ("mlp", "all others have left")],
)
def test_an_arm_that_lost_to_another_has_not_lost_to_what_is_taken(to, said):
    score = {"estimate": 0.9, "low": 0.88, "high": 0.92}
    arms = [
        {"name": "linear", "left": {"to": to}, "final": None},
        {"name": "mlp", "left": {"to": "gru"}, "final": None},
        {"name": "gru", "left": None, "final": score},
    ]
    document = {
        "arms": arms, "arm": "gru", "best": "gru", "gaps": [], "margin": 0.01,
        "verdict": "recommended",
    }  # fmt: skip
    metric = metrics.get("accuracy", "classification")
    sentence = " ".join(words._sentences(document, metric))
    assert sentence.startswith(f"Start with gru: {said}.")
