import random
import subprocess
import sys

import numpy as np
import pytest

from archtrial import randomness


def test_the_same_names_give_the_same_stream():
    one = randomness.generator(7, "search", "width", 3).random(5)
    other = randomness.generator(7, "search", "width", 3).random(5)
    np.testing.assert_array_equal(one, other)


def test_any_other_name_gives_another_stream():
    first = randomness.generator(7, "search", "width", 3).random()
    for names in [
        (8, "search", "width", 3),
        (7, "order", "width", 3),
        (7, "search", "depth", 3),
        (7, "search", "width", 4),
        (7, "search", "width", "3"),
        (7, "search", "width3"),
        (7, "search", "width"),
    ]:
        assert randomness.generator(*names).random() != first


def test_streams_are_the_same_in_another_process():
    # Python's own hash of a text differs between processes.
    code = "from archtrial import randomness as r; print(r.seed(0, 'order', 'mlp', 1))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert int(done.stdout) == randomness.seed(0, "order", "mlp", 1)


def test_seeds_fit_63_bits():
    seeds = [randomness.seed(0, "order", index) for index in range(1000)]
    assert len(set(seeds)) == 1000
    assert min(seeds) >= 0
    assert 2**60 < max(seeds) < 2**63


def test_global_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - what is looked at
    randomness.generator(0, "search").random(10)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def drawn():
    """What users' code draws from the global generators."""
    return random.random(), np.random.normal(), np.random.randint(1000)  # noqa: NPY002


def test_global_generators_are_seeded_and_put_back():
    before = random.getstate(), repr(np.random.get_state(legacy=False))  # noqa: NPY002
    with randomness.global_generators(5):
        first, second = drawn(), drawn()
    with pytest.raises(ZeroDivisionError), randomness.global_generators(6):
        1 / (drawn() == first)
    with randomness.global_generators(5):
        again = drawn()
    assert again == first != second
    after = random.getstate(), repr(np.random.get_state(legacy=False))  # noqa: NPY002
    assert after == before
