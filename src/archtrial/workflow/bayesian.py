"""Whole searches by Bayesian optimisation: what is tried, and what gets fresh seeds.

A search is one unit, however many trials it has: each follows from those before it. Trial
t of search i of n trials has the pair i n + t. The seeds of a trial, and those of its
tuner, do not say which form of an arm it is of (`searches.Searcher.further`): searches of
one arm in two forms are paired.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from archtrial import probes, randomness, searches
from archtrial.records.table import Run, best_of, key
from archtrial.searches import Searcher
from archtrial.space import Design
from archtrial.trainers import Item
from archtrial.workflow.work import Work

__all__ = ["Repeated", "confirmed", "search"]

_TUNER = "GP"


class Repeated(Protocol):
    """What a declaration says of whole searches."""

    configurations: int
    """Trials of each."""
    searches: int
    """Whole searches of each arm in each form."""
    confirm_seeds: int
    """Fresh seeds of the best trial of each."""
    seed: int
    threads: int


def search(work: Work, searchers: Sequence[Searcher], design: Design) -> None:
    """Carries out or goes on with all searches, side by side, a trial of each at a time.

    Args:
        work: Of the study.
        searchers: Each is carried out as often as its protocol says.
        design: Has the space of each by its name.
    """
    declared: Repeated = work.study.protocol
    n = declared.configurations
    named = [
        (searcher, Item(searcher.arm, i * n + t, 0, "search", {}, tuner=_TUNER,
                        further=searcher.further))
        for t in range(n)
        for searcher in searchers
        for i in range(declared.searches)
    ]  # fmt: skip
    recorded = work.study.runs(work.store)
    clock = work.begin("students: search", [item for _, item in named], recorded)
    for t in range(n):
        recorded = work.study.runs(work.store)
        there = {run.key for run in recorded}
        runs = searches.of(recorded, *searchers)
        asked = [
            _proposed(item, searcher, design, runs, declared, work.study.sign)
            for searcher, item in named
            if item.pair % n == t and key(**item.coordinates) not in there
        ]
        work.train(work.study.trainer.divide(asked), clock)


def _proposed(
    item: Item,
    searcher: Searcher,
    design: Design,
    runs: Sequence[Run],
    declared: Repeated,
    sign: int,
) -> Item:
    """Asks an item's tuner, who knows the trials of the same search before it."""
    n = declared.configurations
    repeat, trial = divmod(item.pair, n)
    tried = searches.trials(runs, searcher.name)
    # No others: which of those have finished is a matter of time.
    known = [tried[pair] for pair in range(item.pair - trial, item.pair)]
    scores = searches.turned(known, known, sign)
    seed = randomness.seed(declared.seed, "tuner", repeat, trial)
    configuration = probes.propose(
        _TUNER,
        design.spaces[searcher.name],
        [(run.configuration, float(s)) for run, s in zip(known, scores, strict=True)],
        # Of 63 bits, Optuna takes 32.
        seed >> 31,
        threads=declared.threads,
        random=min(probes.RANDOM, n // 2),
    )
    return dataclasses.replace(item, configuration=configuration)


def confirmed(
    searchers: Iterable[Searcher],
    runs: Sequence[Run],
    declared: Repeated,
    sign: int,
    keep: Callable[[Searcher], bool],
) -> Iterator[Item]:
    """Plans the fresh seeds of the best trial of each search by validation.

    Args:
        searchers: Whose searches have finished.
        runs: Told apart by `searches.of`.
        declared: How many searches, trials and fresh seeds there are.
        sign: 1 where a higher score is better, else -1.
        keep: Whose best search leaves its weights.
    """
    n = declared.configurations
    for searcher in searchers:
        tried = list(searches.trials(runs, searcher.name).values())
        kept = searches.tuned_pair(runs, searcher.name, sign)
        for first in range(0, len(tried), n):
            best = best_of(tried[first : first + n], sign)
            for seed in range(1, declared.confirm_seeds + 1):
                yield Item(
                    searcher.arm, best.pair, seed, "confirm", best.configuration,
                    keep(searcher) and best.pair == kept,
                    tuner=_TUNER, further=searcher.further,
                )  # fmt: skip
