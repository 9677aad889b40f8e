"""Runs of many test examples are judged as few, and the verdict is the same."""

import dataclasses

import numpy as np
import pytest

from archtrial import judge, searches
from archtrial.errors import RecordsError
from archtrial.protocol import Protocol
from archtrial.records.store import Store
from archtrial.study import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    protocol = Protocol(
        data="digits", baseline="linear", challengers=["mlp"], configurations=8,
        effort=2, confirm_seeds=1, steps=20, batch_size=20,
    )  # fmt: skip
    stages = []
    Study(protocol, folder).run(watch=lambda now: stages.append(now.stage))
    assert stages[-2:] == ["test", "judge"]
    return folder


def flat(value, place=""):
    if isinstance(value, dict):
        return {
            k: v for key in value for k, v in flat(value[key], f"{place}.{key}").items()
        }
    if isinstance(value, list):
        return {
            k: v
            for i, x in enumerate(value)
            for k, v in flat(x, f"{place}.{i}").items()
        }
    return {place: value}


def test_a_verdict_on_few_examples_is_that_on_many(study, monkeypatch):
    whole = flat(judge.judge_study(study).verdict.to_dict())
    monkeypatch.setattr(searches, "MANY_EXAMPLES", 100)
    with Store(study, read_only=True) as store:
        runs = store.runs()
    few = searches.condensed(runs)
    compared = sum(run.stage in ("search", "confirm") for run in runs)
    assert {len(run.per_example) for run in few} == {compared + 1}
    condensed = flat(judge.judge_study(study).verdict.to_dict())
    assert whole.keys() == condensed.keys()
    for place, value in whole.items():
        if isinstance(value, float):
            assert condensed[place] == pytest.approx(value, rel=1e-4, abs=1e-7), place
        else:
            assert condensed[place] == value, place


def test_runs_of_few_examples_or_none_stay_as_they_are(study):
    with Store(study, read_only=True) as store:
        runs, bare = store.runs(), store.runs(per_example=False)
    assert searches.condensed(runs) is runs
    assert searches.condensed(bare) is bare
    assert np.size(runs[0].per_example) <= searches.MANY_EXAMPLES


def test_what_was_found_of_runs_is_remembered_and_the_same(study):
    with Store(study) as store:
        runs = store.runs()
    kept = searches.Runs(runs)
    assert kept == runs
    for ask in (
        lambda some: searches.trials(some, "mlp"),
        lambda some: searches.trials(some, "linear", "confirm"),
        lambda some: searches.lowest(some, 1),
        lambda some: searches.lowest(some, -1),
        searches.tested,
    ):
        assert ask(kept) == ask(runs) == ask(kept)
    assert len(kept.known) == 5
    assert searches.trials(kept, "mlp") is searches.trials(kept, "mlp")


def test_the_mean_of_each_group_is_that_of_the_group_alone():
    rng = np.random.default_rng(0)
    groups = [rng.normal(size=size) for size in (1, 3, 0, 3, 20, 9, 0, 1, 20)]
    means = searches._means(groups)
    for group, mean in zip(groups, means, strict=True):
        assert np.isnan(mean) if not len(group) else mean == np.mean(group)


def test_a_score_that_is_too_large_is_named(study):
    with Store(study) as store:
        runs = store.runs()
    searches.check_sizes(runs)
    odd = dataclasses.replace(runs[5], test=-1e200, validation=0.5)
    with pytest.raises(
        RecordsError, match=f"configuration {odd.pair}, seed {odd.seed}: 1e\\+200"
    ):
        searches.check_sizes([*runs[:5], odd, *runs[6:]])
    flat = [dataclasses.replace(run, validation=0.0, test=None) for run in runs]
    searches.check_sizes(flat)
    searches.check_sizes([])
