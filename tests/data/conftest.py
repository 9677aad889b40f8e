import os
import pathlib

import pytest

_REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def real():
    """Returns the path of a file of real data, or skips where there are none."""
    default = _REPOSITORY.parent / "shared" / "data"
    root = pathlib.Path(os.environ.get("ARCHTRIAL_DATA", default))

    def find(name):
        if not (root / name).exists():
            pytest.skip(f"needs {name}: set ARCHTRIAL_DATA to the folder of real data")
        return root / name

    return find


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache of the tests' own, so that MNIST-1D is made once a session."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder
