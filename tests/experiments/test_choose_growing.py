"""What was taken, made larger as far as a time pays for it."""

from types import SimpleNamespace

import numpy as np
import pytest

from archtrial import trial
from archtrial.errors import ProtocolError
from archtrial.experiments import choose
from archtrial.experiments.choose.growing import FOLDER, grown
from archtrial.protocol import Arm


@pytest.fixture
def choice(tmp_path):
    """A choice of an MLP, each of whose trainings takes two seconds."""
    numbers = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = numbers.normal(size=(120, 6)) + y[:, None]
    np.savez(tmp_path / "blobs.npz", x=x.astype(np.float32), y=y)
    declared = choose.Protocol(
        data=str(tmp_path / "blobs.npz"), scale=True, batch_size=20, seed=3, effort=5
    )
    _, split, _ = trial.load(declared)
    document = {
        "arm": "net",
        "verdict": "recommended",
        "margin": 0.01,
        "arms": [
            {"name": "linear", "configuration": {"learning_rate": 0.1}},
            {"name": "net", "configuration": {"learning_rate": 0.1, "width": 12}},
        ],
    }
    mlp = Arm.model_validate({"name": "net", "architecture": "mlp(depth=3)"})
    return SimpleNamespace(
        folder=tmp_path / "study",
        protocol=declared,
        split=split,
        arms=(Arm.model_validate("linear"), mlp),
        verdict=SimpleNamespace(to_dict=lambda: document),
        plan=SimpleNamespace(
            final_steps=40, finals=lambda runs: 2.0 * sum(runs.values())
        ),
    )


def test_it_grows_from_what_it_was_tuned_to_on_rows_that_were_divided_anew(choice):
    study = grown(choice, "20m")
    assert study.folder == choice.folder / FOLDER
    assert dict(study.forms[0].options) == {"depth": 3, "width": 12}
    declared = study.protocol
    assert (declared.seed, declared.steps, declared.margin) == (4, 40, 0.01)
    assert (declared.effort, declared.configurations) == (5, 20)
    assert declared.space == choice.protocol.space
    # How it trains is searched anew, and its size is not.
    assert set(study.spaces["base"]) == {"learning_rate", "weight_decay", "dropout"}


def test_the_time_decides_how_far_and_one_that_is_too_short_names_what_is_enough(
    choice,
):
    with pytest.raises(ProtocolError, match="--scale-up") as refused:
        grown(choice, "1m")
    enough = str(refused.value).partition("--scale-up ")[2].rstrip(".")
    assert grown(choice, enough).protocol.phi == 1
    assert grown(choice, "2h").protocol.phi > 1


def test_whoever_goes_on_goes_on_with_what_began(choice):
    study = grown(choice, "20m")
    from archtrial.records.store import Store

    with Store(study.folder) as store:
        study.freeze(store)
    # Another time is of another study, which did not begin here.
    assert grown(choice, "3h").protocol == study.protocol


def test_an_estimator_has_no_axes(choice):
    choice.verdict.to_dict()["arm"] = "linear"
    boosting = "sklearn:HistGradientBoostingClassifier"
    choice.arms = (Arm.model_validate({"name": "linear", "architecture": boosting}),)
    with pytest.raises(ProtocolError, match="Leave --scale-up out"):
        grown(choice, "20m")


def test_what_diverged_does_not_grow(choice):
    choice.verdict.to_dict()["verdict"] = "not_assessable"
    with pytest.raises(ProtocolError, match="net diverged on all fresh seeds"):
        grown(choice, "20m")


def test_a_time_that_is_none_is_refused_before_the_choice_begins(tmp_path, archtrial):
    status, _, err = archtrial("choose", "mnist1d", "--scale-up", "soon")
    assert status == 2
    assert "--budget 30m" not in err
    status, _, err = archtrial("choose", "mnist1d", "--scale-up", "5m", "--json")
    assert status == 2
    assert "Leave --json out" in err
