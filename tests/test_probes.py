"""Adaptive tuners: what they propose, and the studies that they probe."""

import dataclasses
import importlib.util
import json
import logging

import numpy as np
import pytest

from archtrial import Protocol, Study, probes
from archtrial.errors import ProtocolError
from archtrial.records.store import Store
from archtrial.space import Choice, Integer, Real
from archtrial.testing import KnownTruth, Surface

SPACE = {
    "learning_rate": Real(3e-4, 1e-1, log=True),
    "momentum": Real(0.0, 0.9),
    "width": Integer(8, 64, log=True),
    "norm": Choice(("none", "batch", True, 3)),
}


def seen(count, best=0.01):
    rng = np.random.default_rng(0)
    tried = []
    for _ in range(count):
        configuration = {name: d.value(rng.random()) for name, d in SPACE.items()}
        distance = np.log10(configuration["learning_rate"] / best) ** 2
        tried.append((configuration, float(0.9 - distance)))
    return tried


@pytest.mark.parametrize("tuner", probes.TUNERS)
def test_what_is_proposed_lies_in_the_space(tuner):
    for seed in range(4):
        found = probes.propose(tuner, SPACE, seen(12), seed)
        assert list(found) == sorted(SPACE)
        for name in ("learning_rate", "momentum", "width"):
            assert SPACE[name].low <= found[name] <= SPACE[name].high
        assert isinstance(found["width"], int)
        assert found["norm"] in SPACE["norm"].options
        assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("tuner", probes.TUNERS)
def test_a_proposal_follows_from_what_was_seen_and_the_seed_alone(tuner):
    tried = seen(12)
    once = probes.propose(tuner, SPACE, tried, 7)
    probes.propose(tuner, SPACE, seen(3), 8)
    assert probes.propose(tuner, SPACE, tried, 7) == once
    assert probes.propose(tuner, SPACE, tried, 8) != once
    turned = [(configuration, -score) for configuration, score in tried]
    assert probes.propose(tuner, SPACE, turned, 7) != once


@pytest.mark.parametrize("tuner", probes.TUNERS)
def test_a_tuner_goes_where_it_was_good(tuner):
    space = {"learning_rate": SPACE["learning_rate"]}
    tried = [({"learning_rate": c["learning_rate"]}, s) for c, s in seen(24, best=0.03)]
    rates = [
        probes.propose(tuner, space, tried, seed)["learning_rate"] for seed in range(7)
    ]
    # Random draws lie .9 decades away.
    assert np.mean(np.abs(np.log10(rates) - np.log10(0.03))) < 0.5


def test_the_ends_of_a_range_are_inside():
    low = SPACE["learning_rate"].low
    assert probes._inside(SPACE["learning_rate"], np.nextafter(low, 0)) == low
    assert probes._inside(SPACE["norm"], True) is True
    assert probes.propose("TPE", {}, [({}, 0.5)], 0) == {}


def test_optuna_keeps_quiet_and_as_it_was(capfd):
    import optuna

    held = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.INFO)
    try:
        for tuner in probes.TUNERS:
            probes.propose(tuner, SPACE, seen(12), 0)
        assert capfd.readouterr() == ("", "")
        assert optuna.logging.get_verbosity() == logging.INFO
    finally:
        optuna.logging.set_verbosity(held)


# Studies.

TRUTH = KnownTruth(
    # The random search misses the narrow peak.
    {"plain": Surface(peak=0.9, width=0.5), "tweak": Surface(peak=0.8)},
    space={"learning_rate": Real(3e-4, 1e-1, log=True)},
)
PROTOCOL = Protocol(
    data="known truth",
    baseline="plain",
    challengers=["tweak"],
    space=dict(TRUTH.space),
    configurations=8,
    effort=2,
    margin=0.01,
    probes=4,
)


def runs_of(folder):
    with Store(folder, read_only=True) as store:
        return [
            dataclasses.replace(run, seconds=0.0, per_example=None)
            for run in store.runs()
        ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    Study(PROTOCOL, folder, trainer=TRUTH).run()
    return folder


def test_tuners_probe_the_baseline_alone(whole):
    runs = runs_of(whole)
    for tuner in probes.TUNERS:
        tried = [r for r in runs if (r.stage, r.tuner) == ("probe", tuner)]
        assert [run.pair for run in tried] == [0, 1, 2, 3]
        again = [r for r in runs if (r.stage, r.tuner) == ("probe confirm", tuner)]
        best = max(tried, key=lambda run: run.validation)
        assert [(run.pair, run.seed) for run in again] == [
            (best.pair, seed) for seed in (1, 2, 3)
        ]
        assert all(run.configuration == best.configuration for run in again)
        assert all(run.test is not None for run in tried + again)
    probing = [run for run in runs if run.tuner is not None]
    assert {run.arm for run in probing} == {"plain"}
    assert len({run.validation for run in probing}) == len(probing) == 14


def test_no_run_of_a_probe_shares_its_seed_with_another(tmp_path):
    told = []

    def noting(arm, configuration, seed, steps):
        told.append(seed)
        return TRUTH(arm, configuration, seed, steps)

    Study(PROTOCOL.replace(probes=2), tmp_path, trainer=noting).run()
    assert len(set(told)) == len(told) == len(runs_of(tmp_path))


def test_probes_stand_beside_the_verdict(whole, tmp_path):
    without = Study(PROTOCOL.replace(probes=0), tmp_path, trainer=TRUTH).run()
    found = json.loads((whole / "verdict.json").read_text())
    assert found["comparisons"] == without.to_dict()["comparisons"]
    probing = found["study"]["probes"]
    assert [each["tuner"] for each in probing] == sorted(probes.TUNERS)
    assert {each["trials"] for each in probing} == {4}
    # Its peak is a tenth higher, once a tuner has found it.
    assert all(each["score"]["estimate"] > 0.8 for each in probing)
    assert all(each["reaches"] is True for each in probing)
    assert without.to_dict()["study"]["probes"] is None
    assert "TPE" in Study(PROTOCOL, whole, trainer=TRUTH).judgement.page()


class StoppedError(Exception):
    pass


@pytest.mark.parametrize(
    "stopped_at", [("probe", 3), ("probe", 6), ("probe confirm", 2)]
)
def test_an_interrupted_probe_ends_with_the_same_bytes(whole, tmp_path, stopped_at):
    def watch(standing):
        if (standing.stage, standing.done) == stopped_at:
            raise StoppedError

    with pytest.raises(StoppedError):
        Study(PROTOCOL, tmp_path, trainer=TRUTH).run(watch=watch)
    assert len(runs_of(tmp_path)) < len(runs_of(whole))
    workers = 2 if stopped_at[1] == 3 else 1
    Study(PROTOCOL, tmp_path, trainer=TRUTH).run(workers=workers)
    assert runs_of(tmp_path) == runs_of(whole)
    text = "verdict.json"
    assert (tmp_path / text).read_bytes() == (whole / text).read_bytes()


def test_what_was_recorded_is_not_proposed_again(whole, monkeypatch):
    monkeypatch.setattr(probes, "propose", lambda *_, **__: 1 / 0)
    before = (whole / "verdict.json").read_bytes()
    Study(PROTOCOL, whole, trainer=TRUTH).run()
    assert (whole / "verdict.json").read_bytes() == before


def test_probes_train_for_real(tmp_path):
    protocol = Protocol(
        data="digits", baseline="mlp", challengers=["linear"], configurations=4,
        effort=1, steps=5, probes=1, confirm_seeds=1,
    )  # fmt: skip
    Study(protocol, tmp_path).run()
    probing = [run for run in runs_of(tmp_path) if run.tuner is not None]
    assert sorted((run.tuner, run.stage) for run in probing) == [
        ("GP", "probe"), ("GP", "probe confirm"), ("TPE", "probe"),
        ("TPE", "probe confirm"),
    ]  # fmt: skip
    assert all(run.flops > 0 and run.curve for run in probing)


def test_without_optuna_there_is_one_message_before_anything_is_trained(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProtocolError, match="Optuna is not installed") as caught:
        Study(PROTOCOL, tmp_path, trainer=TRUTH)
    assert "archtrial[optuna]" in str(caught.value)
    Study(PROTOCOL.replace(probes=0), tmp_path, trainer=TRUTH)
