"""Who carries out a task decides nothing about it."""

import functools

import pytest
import scipy.linalg  # noqa: F401 - what brings a BLAS of its own
import threadpoolctl
import torch

from archtrial import execution


def look(task):
    """Returns how many threads a task finds, of torch and of every BLAS."""
    pools = threadpoolctl.threadpool_info()
    blas = {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"}
    return torch.get_num_threads(), blas


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("count", [1, 2])
def test_a_task_has_the_threads_that_were_declared(workers, count):
    setup = functools.partial(execution.as_sent, look)
    with threadpoolctl.threadpool_limits(3 - count, "blas"):
        outside = look(None)
        with execution.Crew(setup, workers=workers, threads=count) as crew:
            found = [result for _, result in crew.carry_out([0, 1, 2])]
        assert found == [(count, {count})] * 3
        # Whoever called finds what was there before.
        assert look(None) == outside == (torch.get_num_threads(), {3 - count})
