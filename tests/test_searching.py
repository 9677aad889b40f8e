"""One rule plans the search and its fresh seeds, of arms and of whatever is told apart."""

import dataclasses
import json

import numpy as np
import pytest

from archtrial import searches, statistics
from archtrial.errors import StudyError
from archtrial.records.table import Run
from archtrial.searches import Searcher
from archtrial.space import Design, Integer, Real
from archtrial.workflow import searching

SPACE = {"learning_rate": Real(1e-4, 1e-1, log=True)}
TAUGHT = Searcher("conv, taught", "conv", {"teacher": True})
ALONE = Searcher("conv, alone", "conv", {"teacher": False})
WIDE = Searcher("mlp", "mlp")
ALL = (TAUGHT, ALONE, WIDE)
R, K, N = 3, 4, 16


def design(searchers=ALL, **more):
    spaces = {s.name: SPACE for s in searchers}
    return Design({**spaces, **more}, 0, "sobol")


def score(item):
    """Made up, the same for the same coordinates, better where a teacher helps."""
    taught = 0.05 * item.further.get("teacher", False)
    middle = 1e-2 if item.arm == "conv" else 3e-3
    far = abs(np.log10(item.configuration["learning_rate"] / middle))
    return float(0.8 + taught - 0.1 * far - 0.001 * item.seed)


def trained(items, **changes):
    """Runs of items, as the records have them: in any order."""
    runs = [
        Run(
            **{**item.row, "coordinates": json.loads(json.dumps(dict(item.further)))},
            validation=score(item), test=score(item) - 0.01, flops=1.0,
        )
        for item in items
    ]  # fmt: skip
    return [dataclasses.replace(run, **changes) for run in reversed(runs)]


def planned(searchers=ALL, runs=None, drawn=None, **more):
    drawn = drawn or design(searchers)
    if runs is None:
        runs = trained(searching.searched(drawn, searchers, 0, N))
    view = searches.of(runs, *searchers)
    return searching.confirmed(
        drawn, searchers, view, **{"effort": K, "seeds": R, "sign": 1, **more}
    )


def test_each_search_tries_the_same_configurations_once():
    found = searching.searched(design(), ALL, 4, N, keep_weights=True)
    assert len(found) == len({item.seed for item in found}) * 3 * (N - 4)
    for searcher in ALL:
        own = [
            item
            for item in found
            if (item.arm, item.further) == (searcher.arm, searcher.further)
        ]
        assert [(i.pair, i.seed, i.stage) for i in own] == [
            (index, 0, "search") for index in range(4, N)
        ]
        assert [i.configuration for i in own] == [
            design().configuration(searcher.name, index) for index in range(4, N)
        ]
    # Of the forms of one arm nothing differs but what tells them apart.
    first, second = found[: N - 4], found[N - 4 : 2 * (N - 4)]
    assert [dataclasses.replace(i, further={}) for i in first] == [
        dataclasses.replace(i, further={}) for i in second
    ]
    assert len({json.dumps(i.coordinates, sort_keys=True) for i in found}) == len(found)
    assert all(item.keep_weights for item in found)
    assert not any(i.keep_weights for i in searching.searched(design(), ALL, 0, 2))


def test_each_searches_in_the_space_of_its_name():
    wider = {**SPACE, "width": Integer(1, 9)}
    drawn = Design({TAUGHT.name: SPACE, ALONE.name: wider}, 0, "sobol")
    first, second = searching.searched(drawn, (TAUGHT, ALONE), 0, 1)
    assert first.configuration.keys() == {"learning_rate"}
    assert second.configuration.keys() == {"learning_rate", "width"}


def test_what_weighs_in_one_search_gets_fresh_seeds_in_all():
    runs = trained(searching.searched(design(), ALL, 0, N))
    view = searches.of(runs, *ALL)
    scores = [searches.search_scores(view, s.name, 1) for s in ALL]
    fully, once = statistics.confirm_indices(scores, K, stratified=True)
    assert len(fully) * len(once) > 0  # or the test shows nothing
    alone, _ = statistics.confirm_indices(scores[:1], K, stratified=True)
    assert len(fully) > len(alone)  # the union, not a search's own
    found = planned(runs=runs)
    for searcher, own in zip(ALL, scores, strict=True):
        of_it = [
            i
            for i in found
            if (i.arm, i.further) == (searcher.arm, searcher.further)
            and i.stage == "confirm"
        ]
        seeds = {
            pair: [i.seed for i in of_it if i.pair == pair]
            for pair in sorted({i.pair for i in of_it})
        }
        assert seeds == {
            **{int(pair): [1] for pair in once},
            **{int(pair): [*range(1, R + 1)] for pair in fully},
        }
        tuned = int(np.argmax(own))
        assert {i.pair for i in of_it if i.keep_weights} == {tuned}
        winner = [i for i in found if i.stage == "winner" and i.arm == searcher.arm]
        assert [i.seed for i in winner if i.further == searcher.further] == [
            *range(R + 1, R + 11)
        ]
        assert not any(i.keep_weights for i in winner)


def test_the_tuned_configuration_gets_all_its_seeds_also_among_equals():
    """Of runs without a score and the lowest of all, the one with a score is tuned."""
    runs = [
        dataclasses.replace(run, validation=0.5 if run.pair else np.nan)
        for run in trained(searching.searched(design(), ALL, 0, N))
    ]
    found = planned(runs=runs, top=1, effort=8)
    by_pair = {0: 0, 1: 0}
    for item in found:
        if item.arm == "mlp" and item.stage == "confirm" and item.pair < 2:
            by_pair[item.pair] += 1
    assert by_pair == {0: R, 1: R}
    assert {i.pair for i in found if i.stage == "winner"} == {1}


def test_forms_of_one_arm_are_planned_and_judged_as_arms_are():
    arms = tuple(Searcher(s.name, s.name) for s in ALL)
    items = searching.searched(design(), ALL, 0, N)
    runs = trained(items)
    names = {(s.arm, json.dumps(s.further)): s.name for s in ALL}

    def as_arm(thing, further):
        return names[thing.arm, json.dumps(dict(further))]

    plain = [
        dataclasses.replace(run, arm=as_arm(run, run.coordinates), coordinates={})
        for run in runs
    ]
    found = planned(runs=runs)
    expected = planned(arms, runs=plain)
    assert [
        dataclasses.replace(i, arm=as_arm(i, i.further), further={}) for i in found
    ] == expected
    again = trained(found)
    view = searches.of([*runs, *again], *ALL)
    assert len(view) == len(runs) + len(again)
    judged = searches.search(view, TAUGHT.name, 1, 0.1, SPACE, stratified=True)
    other = searches.search(view, ALONE.name, 1, 0.1, SPACE, stratified=True)
    assert np.nanmin(judged.test - other.test) > 0.04  # a teacher brings 0.05
    assert [len(own) for own in judged.fresh] == [len(own) for own in other.fresh]
    assert len(judged.winner_seeds) == statistics.planning.WINNER_SEEDS


def test_fewer_winners_no_weights_and_smaller_efforts():
    found = planned(winners=2, keep_weights=False)
    assert sum(i.stage == "winner" for i in found) == 2 * len(ALL)
    assert not any(i.keep_weights for i in found)
    assert not any(i.stage == "winner" for i in planned(winners=0))
    more = {i.pair for i in planned(effort=8, efforts=[1])}
    assert more == set(range(N))  # where one trial is drawn, all weigh
    assert len({i.pair for i in planned(effort=8)}) < N
    # The best of each search get all seeds, as many as are asked for.
    runs = trained(searching.searched(design(), ALL, 0, N))
    view = searches.of(runs, *ALL)
    for top in (1, 3):
        best = {
            int(index)
            for s in ALL
            for index in np.argsort(-searches.search_scores(view, s.name, 1))[:top]
        }
        found = planned(runs=runs, top=top)
        assert {i.pair for i in found if i.stage == "confirm" and i.seed == R} == best
    # What gets all seeds gets them still.
    fully = {(i.arm, i.pair, i.seed) for i in planned(effort=8)}
    assert fully <= {(i.arm, i.pair, i.seed) for i in planned(effort=8, efforts=[1])}


def test_a_longer_rung_has_stages_of_its_own_and_no_winner():
    drawn = design()
    first = searching.searched(drawn, ALL, 0, 8, rung=2)
    assert {(i.stage, i.rung) for i in first} == {("ladder", 2)}
    runs = [
        *trained(searching.searched(drawn, ALL, 0, N)),
        *trained(first),
    ]
    found = planned(runs=runs, rung=2)
    assert {(i.stage, i.rung) for i in found} == {("ladder confirm", 2)}
    assert {i.pair for i in found} < set(range(8))
    assert not any(i.keep_weights for i in found)


def test_a_later_look_plans_what_no_earlier_one_has():
    drawn = design()
    first = trained(searching.searched(drawn, ALL, 0, 8))
    confirmed = planned(runs=first, drawn=drawn)
    before = [*first, *trained(confirmed)]
    second = trained(searching.searched(drawn, ALL, 8, N, look=2))
    found = planned(runs=[*before, *second], drawn=drawn, look=2)
    whole = planned(runs=[*first, *second], drawn=drawn)
    assert {i.look for i in found} == {2}

    def places(items):
        return {json.dumps(i.coordinates, sort_keys=True) for i in items}

    assert places(found) == places(whole) - places(confirmed)
    assert places(whole) & places(confirmed)  # or the test shows nothing
    # A stage that goes on is planned as it was.
    there = [*before, *second, *trained(found)]
    assert planned(runs=there, drawn=drawn, look=2) == found


@pytest.mark.parametrize(
    "runs",
    [
        lambda items: trained(items)[1:],
        lambda items: [r for r in trained(items) if r.arm != "mlp"],
        lambda items: [r for r in trained(items) if r.pair],
        lambda items: [],
    ],
)
def test_searches_that_have_not_finished_are_not_confirmed(runs):
    items = searching.searched(design(), ALL, 0, N)
    with pytest.raises(ValueError, match=r"0, 1, \.\.\., n - 1"):
        planned(runs=runs(items))


def test_runs_that_are_not_told_apart_are_not_confirmed():
    runs = trained(searching.searched(design(), ALL, 0, N))
    with pytest.raises(ValueError, match=r"searches\.of"):
        searching.confirmed(design(), ALL, runs, effort=K, seeds=R, sign=1)


def test_a_view_has_the_runs_of_its_searches_alone():
    items = searching.searched(design(), ALL, 0, 2)
    runs = trained(items)
    number = dataclasses.replace(runs[0], arm="conv", coordinates={"teacher": 1})
    more = dataclasses.replace(
        runs[0], arm="conv", coordinates={"teacher": True, "budget": 100}
    )
    view = searches.of([*runs, number, more], TAUGHT, WIDE)
    assert [(r.arm, r.pair, r.coordinates) for r in view] == [
        ("mlp", 1, {}), ("mlp", 0, {}),
        ("conv, taught", 1, {}), ("conv, taught", 0, {}),
    ]  # fmt: skip
    assert isinstance(view, searches.Runs)
    listed = Searcher("listed", "conv", {"sizes": (1, 2)})
    (found,) = searches.of(
        [dataclasses.replace(runs[0], arm="conv", coordinates={"sizes": [1, 2]})],
        listed,
    )
    assert found.arm == "listed"
    assert searches.of(runs) == []


@pytest.mark.parametrize(
    "twice",
    [
        dataclasses.replace(ALONE, name=TAUGHT.name),
        dataclasses.replace(TAUGHT, name="again"),
        TAUGHT,
    ],
)
def test_searches_that_cannot_be_told_apart_have_no_view(twice):
    with pytest.raises(ValueError, match="differ in name"):
        searches.of([], TAUGHT, twice)


def test_efforts_of_equal_cost_follow_from_what_runs_cost():
    items = searching.searched(design(), ALL, 0, 32)
    runs = [
        dataclasses.replace(run, flops=2.0 if run.coordinates.get("teacher") else 1.0)
        for run in trained(items)
    ]
    view = searches.of(runs, *ALL)
    # 4 of the costly are 8 of the cheap, which n / 4 allows.
    assert searching.efforts_of_equal_cost((ALONE, TAUGHT), view, 4) == {4}
    # 6 are 12, which are too many: 4 are 8.
    assert searching.efforts_of_equal_cost((ALONE, TAUGHT), view, 6) == {4}
    assert searching.efforts_of_equal_cost((ALONE, WIDE), view, 4) == {4}
    assert searching.efforts_of_equal_cost((ALONE,), view, 4) == set()


def test_a_search_that_failed_as_a_whole_ends_the_study(tmp_path):
    runs = trained(searching.searched(design(), ALL, 0, 4))
    view = searches.of(runs, *ALL)
    view[0] = dataclasses.replace(view[0], error="one of several")
    searching.check_not_all_failed(ALL, view, tmp_path)
    failed = [
        dataclasses.replace(run, error=f"no memory at {run.pair}")
        if run.arm == "conv" and not run.coordinates["teacher"]
        else run
        for run in runs
    ]
    view = searches.of(failed, *ALL)
    with pytest.raises(StudyError) as told:
        searching.check_not_all_failed(ALL, view, tmp_path)
    assert str(told.value).splitlines() == [
        "at least one run of conv, alone comes to its end: all 4 failed, the first with"
        " no memory at 0",
        f"Correct it and remove {tmp_path}: runs that failed are recorded and not tried"
        " again.",
    ]
