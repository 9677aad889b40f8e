import dataclasses

import numpy as np
import pytest


@pytest.fixture
def even(make_search):
    """A search whose runs end where their fresh seeds do."""
    search = make_search("a", 1)
    return dataclasses.replace(search, test_run=search.test.copy())


def changed(search, place, by):
    moved = search.test_run.copy()
    moved[place] += by
    return dataclasses.replace(search, test_run=moved)


def test_a_seed_that_ends_far_from_the_others_has_failed(even):
    best = int(np.argmax(even.validation))
    height = even.test.max() - even.worst
    assert not even.seeds_fail(4)
    assert even.seeds_fail(4) is changed(even, best, -0.1 * height).seeds_fail(4)
    assert changed(even, best, -0.6 * height).seeds_fail(4)


def test_what_no_search_would_pick_does_not_count(even):
    last = int(np.argmin(even.validation))
    fallen = changed(even, last, -0.6 * (even.test.max() - even.worst))
    assert not fallen.seeds_fail(4)
    assert fallen.seeds_fail(1)


def test_without_another_run_no_seed_is_known_to_have_failed(even):
    assert not dataclasses.replace(even, test_run=None).seeds_fail(4)
    unconfirmed = dataclasses.replace(even, test=np.full(even.n, np.nan), examples=None)
    assert not unconfirmed.seeds_fail(4)
