"""What holds for every test."""

import logging
import sys

import pytest
import torch
from hypothesis import settings

from archtrial import cli


def pytest_configure(config):
    """Processes that share the tests do not share a core's work, too."""
    if hasattr(config, "workerinput"):
        torch.set_num_threads(1)


# A test says whether something holds, never how fast: machines are shared.
# The examples are the same in each run, so that what fails fails for everybody;
# `pytest --hypothesis-profile searching` draws new ones.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("searching", deadline=None)
settings.load_profile("same")


@pytest.fixture(autouse=True)
def leaves_logging_as_it_was():
    """A level that one test sets would silence what another listens to."""
    before = logging.getLogger().level
    yield
    assert logging.getLogger().level == before


@pytest.fixture
def archtrial(monkeypatch, capsys):
    """Types a command; returns its exit status and what it printed, by stream."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["archtrial", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return call
