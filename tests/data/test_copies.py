import numpy as np
import pytest

from archtrial.data import copies
from archtrial.data.copies import search
from archtrial.data.dataset import assemble
from archtrial.data.split import TEST, TRAIN
from archtrial.protocol import Splits


def found(train, test, y=None):
    train, test = np.float32(train), np.float32(test)
    y = np.arange(len(train)) % 2 if y is None else y
    return search([train, np.float32(train[:2] + 50), test], y)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def numbered(x, start):
    return np.c_[np.linspace(start, start + 3, len(x)), x]


@pytest.mark.parametrize(("rows", "width"), [(120, 4), (600, 2), (300, 30), (300, 784)])
def test_copies_are_found_and_nothing_else(rows, width):
    x = noise(rows, width)
    half = x[: rows // 2]
    clean = found(x, noise(rows // 2, width, seed=1))
    assert (clean.exact, clean.near, clean.of, clean.notes) == (0, 0, rows // 2, ())
    assert found(x, half).exact == rows // 2
    for near in (half + 1e-4, half + 1e-4 * noise(*half.shape, seed=2)):
        assert found(x, near).near == rows // 2
    if width > 2:
        assert found(numbered(x, 0), numbered(half, 0.3)).near == rows // 2
        assert found(numbered(x, 0), numbered(half + 1e-4, 0.3)).near == rows // 2
        assert found(x, half.round(2)).near > 0.4 * len(half)


def test_some_copies_among_others():
    x, fresh = noise(400, 6), noise(100, 6, seed=1)
    some = found(x, np.r_[fresh[:60], x[:20], x[20:40] + 1e-4])
    assert (some.exact, some.near, some.of) == (20, 20, 100)
    assert "20 of 100 test examples have an exact copy" in some.notes[0]
    assert "20 of 100 test examples have a near copy" in some.notes[1]


def test_what_is_alike_by_chance_is_no_copy():
    rng = np.random.default_rng(3)
    # Coarse: the doubles of training differ in the target.
    coarse = rng.integers(0, 3, size=(700, 5))
    both = found(coarse[:500], coarse[500:], rng.integers(0, 2, size=500))
    assert (both.exact, both.near) == (0, 0)
    assert "that is chance" in both.notes[-1]
    # The same inputs with a target that they determine may be copies.
    assert found(coarse[:500], coarse[500:], coarse[:500].sum(axis=1)).exact > 0
    # A factorial grid: all rows are alike but for one column.
    grid = np.array(np.meshgrid(*[np.arange(6)] * 4)).reshape(4, -1).T
    grid = grid[rng.permutation(len(grid))]
    assert found(grid[:900], grid[900:]).near == 0
    # A curve in many dimensions.
    t = rng.uniform(size=1500)
    curve = np.c_[np.sin(6 * t), np.cos(6 * t), t, t**2, np.exp(t)]
    assert found(curve[:1000], curve[1000:]).near == 0


def test_of_many_test_examples_some_are_looked_at(monkeypatch):
    monkeypatch.setattr(copies, "_LOOKED_AT", 50)
    x = noise(300, 5)
    assert found(x, x[:200] + 1e-4).near == 200


def test_whole_numbers_have_exact_copies_alone():
    rng = np.random.default_rng(4)
    x = rng.integers(0, 50, size=(100, 12))
    counted = search([x[:60], x[60:70], np.r_[x[:5], x[80:]]], np.arange(60) % 2)
    assert (counted.exact, counted.near) == (5, 0)


def test_a_split_carries_what_was_found():
    x, y = noise(100, 4), np.arange(140) % 2
    given = np.repeat([TRAIN, TEST], [100, 40])
    leaked = assemble("d", np.r_[x, x[:40] + 1e-5], y, kind="array", given=given).split(
        Splits(), 0
    )
    # A fifth of the rows that were copied are in the validation set.
    assert 20 < leaked.copies.near <= leaked.copies.of == 40
    assert any("near copy in the training set" in note for note in leaked.notes)
    clean = assemble("d", noise(140, 4), y, kind="array", given=given)
    assert clean.split(Splits(), 0).copies.near == 0
