"""Products and systems, against BLAS and LAPACK."""

import numpy as np
import pytest

from archtrial.statistics.sums import product, solve, weighted


@pytest.mark.parametrize(
    ("left", "right"),
    [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4))],
)
def test_a_product_is_that_of_blas(left, right):
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=left), generator.normal(size=right)
    np.testing.assert_allclose(product(a, b), a @ b, rtol=1e-12)
    signs = generator.integers(0, 2, left, dtype=bool)
    np.testing.assert_allclose(product(signs, b), signs.astype(float) @ b, rtol=1e-12)


def test_parts_are_weighted():
    parts = [np.array([1.0, 2.0]), np.array([10.0, 20.0])]
    np.testing.assert_array_equal(weighted(np.array([2.0, -1.0]), parts), [-8.0, -16.0])


def test_systems_are_solved_as_lapack_does():
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(5, 30, 4))
    matrices = np.einsum("bnp,bnq->bpq", rows, rows)
    right = generator.normal(size=(5, 4))
    expected = np.linalg.solve(matrices, right[..., None])[..., 0]
    np.testing.assert_allclose(solve(matrices, right), expected, rtol=1e-9)
