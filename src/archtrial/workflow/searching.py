"""Search and fresh seeds, planned by one rule for every study.

Whoever searches draws n configurations of one design and trains each once; the best of
them, which carry the weight of what is estimated, are trained again on fresh seeds, and
each tuned configuration on ten more. A trial searches with its arms, an experiment with
whatever it tells apart (`searches.Searcher`): an arm with its teacher and without. What
is planned follows from the declaration and the records alone, so that a stage that goes
on is planned as it was the first time.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from archtrial import searches, statistics
from archtrial.errors import StudyError
from archtrial.protocol import EqualEffort
from archtrial.records.table import Run, key
from archtrial.searches import Searcher
from archtrial.space import Design
from archtrial.statistics.gain import equal_compute
from archtrial.statistics.planning import WINNER_SEEDS
from archtrial.trainers import Item
from archtrial.workflow.work import Work

__all__ = [
    "check_not_all_failed",
    "confirmed",
    "efforts_of_equal_cost",
    "searched",
    "tuned",
]


def tuned(
    work: Work,
    design: Design,
    searchers: Sequence[Searcher],
    declared: EqualEffort,
    stage: str = "",
) -> None:
    """Carries out searches and their fresh seeds, a stage each.

    Args:
        work: Of the study.
        design: Has the space of each search by its name.
        searchers: Those that are compared with one another.
        declared: With what effort.
        stage: What stands before the names of both stages, such as "forms: ".

    Raises:
        StudyError: Every run of a search failed.
    """
    study = work.study
    work.carry_out(
        f"{stage}search", searched(design, searchers, 0, declared.configurations)
    )
    runs = searches.of(study.runs(work.store), *searchers)
    check_not_all_failed(searchers, runs, study.folder)
    work.carry_out(
        f"{stage}fresh seeds",
        confirmed(
            design, searchers, runs, effort=declared.effort,
            seeds=declared.confirm_seeds, sign=study.sign,
        ),
    )  # fmt: skip


def searched(
    design: Design,
    searchers: Sequence[Searcher],
    first: int,
    last: int,
    *,
    rung: int = 1,
    look: int = 1,
    keep_weights: bool = False,
) -> list[Item]:
    """Plans configurations `first` to `last` - 1 of each search, trained once on seed 0.

    Those of one index are paired: by their place in the design, and by their seeds where
    their arm is the same.

    Args:
        design: Has the space of each search by its name.
        searchers: The searches, one after the other.
        first: Where an earlier look has ended, else 0.
        last: n.
        rung: How many times as long they train; the stage of a longer rung is "ladder".
        look: At which look they are planned.
        keep_weights: Whether each leaves its weights, as the members of an ensemble do.

    Returns:
        The items of a stage, in an order that the arguments determine.
    """
    stage, _ = searches.stages(rung)
    return [
        Item(
            searcher.arm, index, 0, stage, design.configuration(searcher.name, index),
            keep_weights, rung, look, further=searcher.further,
        )
        for searcher in searchers
        for index in range(first, last)
    ]  # fmt: skip


def confirmed(
    design: Design,
    searchers: Sequence[Searcher],
    runs: Sequence[Run],
    *,
    effort: int,
    seeds: int,
    sign: int,
    top: int | None = None,
    efforts: Iterable[int] = (),
    winners: int = WINNER_SEEDS,
    rung: int = 1,
    look: int = 1,
    keep_weights: bool = True,
) -> list[Item]:
    """Plans fresh seeds: r for the top configurations, 1 for the others that weigh.

    They are the same for all searches, which are compared pair by pair: the union of
    what is at the top of one of them (`statistics.confirm_indices`). Each search's
    tuned configuration gets r seeds in any case, and `winners` more, of the stage
    "winner", unless the rung is a longer one. What an earlier look has planned is left
    out; its winner still has its weights there, and any other winner is a new one.

    Args:
        design: Has the space of each search by its name.
        searchers: Those that are compared with one another.
        runs: All that finished, told apart by `searches.of`; also of searches that get
            no fresh seeds here but are judged together with these.
        effort: k.
        seeds: r.
        sign: 1 where a higher score is better, else -1.
        top: How many of each search get all r seeds; those with 70 % of the weight
            where it is None.
        efforts: Smaller efforts at which they are compared, too: what carries weight
            there gets one seed.
        winners: How many seeds each tuned configuration gets beyond r.
        rung: That of the search.
        look: At which look they are planned.
        keep_weights: Whether tuned configurations leave their weights, one file for
            each of the r seeds.

    Returns:
        The items of a stage, in an order that the arguments determine.

    Raises:
        ValueError: The searches have not tried the same configurations, from 0 on: runs
            are missing, or they have not been told apart.
    """
    first, again = searches.stages(rung)
    _check_paired([[*searches.trials(runs, s.name, first, rung)] for s in searchers])
    scores = [
        searches.search_scores(runs, s.name, sign, first, rung) for s in searchers
    ]
    stratified = design.stratified
    fully, once = statistics.confirm_indices(scores, effort, top, stratified=stratified)
    weighing = set(once.tolist())
    for smaller in efforts:
        some = statistics.confirm_indices(scores, smaller, stratified=stratified)
        weighing.update(*(chosen.tolist() for chosen in some))
    before = {run.key for run in runs if run.look < look}
    planned = []
    for searcher in searchers:
        own = {**dict.fromkeys(weighing, 1), **dict.fromkeys(fully.tolist(), seeds)}
        tuned, more = None, 0
        if rung == 1:
            tuned, more = searches.tuned_pair(runs, searcher.name, sign), winners
            own[tuned] = seeds
        places = [(again, i, s) for i in sorted(own) for s in range(1, own[i] + 1)]
        places += [("winner", tuned, seeds + 1 + s) for s in range(more)]
        planned += [
            Item(
                searcher.arm, index, seed, stage,
                design.configuration(searcher.name, index),
                keep_weights and (stage, index) == ("confirm", tuned),
                rung, look, further=searcher.further,
            )
            for stage, index, seed in places
            if key(searcher.name, index, seed, rung) not in before
        ]  # fmt: skip
    return planned


def _check_paired(tried: Sequence[Sequence[int]]) -> None:
    """Raises a ValueError where searches have not tried the same configurations."""
    alike = [*range(len(tried[0]))]
    if not alike or any([*own] != alike for own in tried):
        raise ValueError(
            "searches that are compared have all tried configurations 0, 1, ..., n - 1,"
            f" and these have tried {[len(own) for own in tried]}: are they finished,"
            " and the runs told apart by searches.of?"
        )


def efforts_of_equal_cost(
    searchers: Sequence[Searcher], runs: Sequence[Run], effort: int
) -> set[int]:
    """Returns the smaller efforts at which searches of unequal cost are compared.

    There configurations of lower ranks carry weight, and need a fresh seed.

    Args:
        searchers: First the one with which each other is compared.
        runs: All that finished, told apart by `searches.of`.
        effort: k.
    """
    costs = [searches.trial_costs(runs, searcher.name) for searcher in searchers]
    baseline, *challengers = (cost.mean() for cost in costs)
    pairs = [
        equal_compute(effort, len(costs[0]), baseline, challenger)
        for challenger in challengers
    ]
    return {min(affordable[0]) for affordable in pairs if affordable}


def check_not_all_failed(
    searchers: Sequence[Searcher], runs: Sequence[Run], folder: Path
) -> None:
    """Makes sure that each search has something to choose from.

    Args:
        searchers: The searches.
        runs: All that finished, told apart by `searches.of`.
        folder: The study's.

    Raises:
        StudyError: Every run of a search failed.
    """
    for searcher in searchers:
        found = list(searches.trials(runs, searcher.name).values())
        if all(run.error is not None for run in found):
            raise StudyError(
                f"at least one run of {searcher.name} comes to its end",
                f"all {len(found)} failed, the first with {found[0].error}",
                f"Correct it and remove {folder}: runs that failed are recorded"
                " and not tried again.",
            )
