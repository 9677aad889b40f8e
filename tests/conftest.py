"""What holds for every test."""

import logging

import pytest
from hypothesis import settings

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
