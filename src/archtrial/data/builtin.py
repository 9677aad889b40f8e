"""Data sets that come with the package; none is downloaded."""

import hashlib
import importlib.metadata
import logging
import os
import pathlib
import random
import tempfile
import zipfile
import zlib

import numpy as np

from archtrial import randomness
from archtrial.data import cache
from archtrial.data.dataset import Dataset, assemble
from archtrial.data.split import TEST, TRAIN, Array
from archtrial.data.tables import Column
from archtrial.errors import DataError

__all__ = [
    "diabetes",
    "digits",
    "house_prices",
    "mnist1d",
    "mnist1d_shuffled",
]

_log = logging.getLogger(__name__)


def mnist1d(task: str | None) -> Dataset:
    """MNIST-1D: 4,000 and 1,000 sequences of 40 points, ten classes.

    Greydanus and Kobak, "Scaling Down Deep Learning with MNIST-1D", ICML 2024. The
    values are those that the `mnist1d` package makes, and so is the test set.
    """
    x, y = _mnist1d()
    return _mnist1d_dataset("mnist1d", x, y, task)


def mnist1d_shuffled(task: str | None) -> Dataset:
    """MNIST-1D with the 40 positions in one fixed random order, the same for all.

    What depends on neighbourhood is lost and everything else kept.
    """
    x, y = _mnist1d()
    order = randomness.generator(0, "mnist1d-shuffled").permutation(x.shape[1])
    return _mnist1d_dataset("mnist1d-shuffled", x[:, order], y, task)


def digits(task: str | None) -> Dataset:
    """Handwritten digits: 1,797 images of 8 x 8 pixels, ten classes (scikit-learn's)."""
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    return assemble(
        "digits",
        bunch.images[:, None],
        bunch.target,
        kind="image",
        task=task,
        known_task="classification",
    )


def diabetes(task: str | None) -> Dataset:
    """Progression of diabetes in 442 patients from 10 measurements (scikit-learn's)."""
    import sklearn.datasets

    bunch = sklearn.datasets.load_diabetes(scaled=False)
    columns = tuple(
        Column(name, values.astype(np.float64))
        for name, values in zip(bunch.feature_names, bunch.data.T, strict=True)
    )
    return assemble(
        "diabetes",
        columns,
        bunch.target,
        kind="table",
        task=task,
        known_task="regression",
    )


def house_prices(task: str | None, houses: int = 100) -> Dataset:
    """The classic toy: price = 100 + 150 x area + noise of standard deviation 50.

    The area is uniform on 0.5 to 3.5 thousand square feet, the price in thousands,
    so the true relation is a straight line. The first houses are the same whatever
    their number.
    """
    if isinstance(houses, bool) or not isinstance(houses, int) or houses < 10:
        raise DataError(
            "house-prices has at least ten houses",
            f"houses = {houses!r}",
            "Write house-prices(houses=100).",
        )
    area = randomness.generator(0, "house-prices", "area").uniform(0.5, 3.5, houses)
    noise = randomness.generator(0, "house-prices", "noise").normal(0, 50, houses)
    return assemble(
        "house-prices",
        (Column("area", area),),
        100 + 150 * area + noise,
        kind="table",
        task=task,
        known_task="regression",
    )


# --- MNIST-1D, made once and kept -------------------------------------------------


def _mnist1d_dataset(name: str, x: Array, y: Array, task: str | None) -> Dataset:
    return assemble(
        name,
        x,
        y,
        kind="sequence",
        task=task,
        known_task="classification",
        given=np.repeat([TRAIN, TEST], [4000, 1000]),
        standardise=False,
    )


def _mnist1d() -> tuple[Array, Array]:
    """Returns x (5000, 40) float64 and y (5000,) int64, the 1,000 test rows last.

    Trouble with the cache is logged and is no note of the data set: it is the
    machine's, and a study's hash and verdict are not.
    """
    version = importlib.metadata.version("mnist1d")
    try:
        path = cache.folder() / f"mnist1d-{version}.npz"
    except RuntimeError:  # nobody's home folder is known
        _log.warning("MNIST-1D is made anew each time: there is no home folder.")
        return _generate_mnist1d()
    kept = _read_cache(path)
    if kept is not None:
        return kept
    x, y = _generate_mnist1d()
    try:
        _write_cache(path, x, y)
    except OSError as error:
        _log.warning("MNIST-1D is made anew each time: %s: %s.", path, error.strerror)
    return x, y


def _generate_mnist1d() -> tuple[Array, Array]:
    import mnist1d.data

    # The package seeds the global generators of NumPy and Python and draws from
    # them; both are put back, so that loading data changes nobody's random numbers.
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        made = mnist1d.data.make_dataset()
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
    return (
        np.concatenate([made["x"], made["x_test"]]),
        np.concatenate([made["y"], made["y_test"]]).astype(np.int64),
    )


def _checksum(x: Array, y: Array) -> str:
    return hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()


def _read_cache(path: pathlib.Path) -> tuple[Array, Array] | None:
    """Returns what was kept, or None where it is absent or damaged."""
    if not path.is_file():
        return None
    try:
        # A file of its own, since NumPy leaves one open where the content is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            x, y, checksum = kept["x"], kept["y"], str(kept["checksum"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return (x, y) if _checksum(x, y) == checksum else None


def _write_cache(path: pathlib.Path, x: Array, y: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: another process sees the whole file or none.
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".npz")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, x=x, y=y, checksum=_checksum(x, y))
        pathlib.Path(name).replace(path)
    except BaseException:
        pathlib.Path(name).unlink(missing_ok=True)
        raise
