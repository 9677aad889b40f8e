"""The one loop: plan, search, confirm, open the test set, judge.

import archtrial
study = archtrial.Study(archtrial.Protocol(
    data="mnist1d", baseline="mlp", challengers=["cnn"]))
study.run()
study.verdict
study.report("report.html")
"""

import dataclasses
import functools
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from archtrial import (
    findings,
    freezing,
    judge,
    probes,
    protocol,
    randomness,
    searches,
    statistics,
    trainers,
    trial,
    tuned,
    workflow,
)
from archtrial import space as spaces
from archtrial.progress import Standing
from archtrial.protocol import Arm, Protocol
from archtrial.records.store import OPENED, Store, frozen
from archtrial.records.table import Run, best_of, key
from archtrial.statistics.planning import WINNER_SEEDS
from archtrial.workflow import searching

__all__ = ["Standing", "Study"]


class Study(workflow.Study[Protocol, judge.Judgement]):
    """One protocol, carried out in one folder.

    Args:
        declared: What is compared.
        folder: Where the store, the verdict and the page are kept; by default
            `studies/` and the protocol's short hash, or the finished study there that
            is the same but for fewer configurations: it grows.
        trainer: The user's own training loop: `f(arm, configuration, seed, steps)`
            returns a mapping with the scores "validation" and "test" in the units of
            the protocol's metric. The protocol's `data` is then but a name.
        command: The same as a command line with names in braces, whose last line of
            output is a JSON object with the two scores.
        validation_regex: Of a command that prints its scores in words: what finds the
            validation score. The last match counts.
        test_regex: The same of the test score.

    Raises:
        UserError: Something declared cannot be used; its subclasses say what.
    """

    winner_seeds = WINNER_SEEDS
    """How many seeds tuned configurations get that tell how often seeds win."""

    def __init__(
        self,
        declared: Protocol,
        folder: str | Path | None = None,
        *,
        trainer: Callable[..., Mapping[str, Any]] | None = None,
        command: str | None = None,
        validation_regex: str | None = None,
        test_regex: str | None = None,
    ) -> None:
        held = None if folder is None else frozen(folder)
        if held is not None:
            declared = freezing.as_begun(declared, held[1])
        self.protocol = declared
        self.command = command
        given = {"validation_regex": validation_regex, "test_regex": test_regex}
        self.patterns = {name: p for name, p in given.items() if p is not None}
        if declared.probes:
            probes.check()
        self._prepared = functools.partial(
            trial.prepare, declared, trainer, command, self.patterns
        )
        self.trial = self._prepared()
        self.folder, begun = self._found(folder)
        self._go_on_from(begun)

    def _found(self, folder: str | Path | None) -> tuple[Path, freezing.Begun | None]:
        """Returns the study's folder, and what it holds."""
        resolved = self.trial.resolved
        self._seen: list[freezing.Begun] = []
        self._left: Path | None = None
        named = folder is not None
        own = freezing.folder_of(resolved) if folder is None else Path(folder)
        begun = freezing.begun(own)
        if begun is not None or (own.exists() and not named):
            return own, begun
        for studies in dict.fromkeys((freezing.STUDIES, own.parent)):
            self._seen += freezing.alike(resolved, studies)
        if named:
            return own, None
        begun = freezing.to_go_on_from(
            resolved,
            [x for x in self._seen if freezing.same_sources(x.resolved, resolved)],
        )
        if begun is not None:
            self._seen = []
            return begun.folder, begun
        self._left = freezing.begun_with_other_defaults(self.protocol, resolved)
        return own, None

    def _go_on_from(self, begun: freezing.Begun | None) -> None:
        """Lets the trial grow from what its folder holds, if it is to."""
        self.resolved = freezing.extended(self.trial.resolved, begun)
        grown = self.resolved.get("grown")
        if grown and self.protocol.matched_baseline:
            # Its size is that of the arm which is there already.
            self.trial = self._prepared(matched_over=grown[0])
            self.resolved = freezing.extended(self.trial.resolved, begun)
        self.sizes = freezing.looks_of(self.resolved)
        self.hash = protocol.digest(self.resolved)
        if grown:
            statistics.grown_looks(  # says now if there is no level left
                self.sizes,
                alpha=self.protocol.alpha,
                challengers=len(self.protocol.challengers),
            )
        self.trainer, self.sign = self.trial.trainer, self.trial.sign
        self.rehearsed = self.trial.rehearsed
        self.design = spaces.Design(
            self.trial.spaces, self.protocol.seed, self.protocol.sampling
        )

    @property
    def notes(self) -> Sequence[str]:
        """What was noticed about the data and the arms before anything is trained."""
        notes = [*self.resolved["notes"], *self.trial.here]
        if "grown" in self.resolved:
            notes.append(findings.going_on(self.resolved, self.folder))
        if self._left is not None:
            notes.append(
                f"{self._left} is a study of the same protocol, begun by a release with"
                " other defaults: independent draws in place of a Sobol sequence, weight"
                " decay also of biases and normalisations. To go on with that one:"
                f" --study {shlex.quote(str(self._left))}."
            )
        notes += [
            findings.seen_before(
                there.resolved,
                there.folder,
                same=freezing.same_sources(there.resolved, self.trial.resolved),
            )
            for there in self._seen
        ]
        return tuple(notes)

    # The stages.

    def stages(self, work: workflow.Work) -> None:
        """Search and fresh seeds, the test set, and so on at each look."""
        arms: Sequence[Arm] = self.trial.arms
        for look in range(1, len(self.sizes) + 1):
            self._search(arms, look, work)
            if look == 1:
                # What longer training and other tuners bring is known before the
                # first test label is used.
                self._climb(work)
                self._probe(work)
            told = {"look": look} if self.sizes[1:] else {}
            work.open_test(self.trial.open_test, look, told)
            arms = self._going_on(arms, look, work.store)
            if not arms:
                break

    def freeze(self, store: Store) -> None:
        """Begins in the folder, goes on there, or lets a finished trial grow."""
        # What was there before may have come to its end since then.
        self._go_on_from(freezing.standing(store))
        freezing.freeze(
            store,
            self.resolved,
            self._declared(),
            device=self.protocol.device,
            threads=self.protocol.threads,
            fleet=self.protocol.fleet,
            found=self._found_before,
        )

    def finish(self, store: Store) -> None:
        """Keeps the best weights of each arm."""
        self._keep_tuned(store.runs(per_example=False))

    def judge(self) -> judge.Judgement:
        """Reads the verdict, with all its evidence, off the folder's records."""
        return judge.judge_study(self.folder)

    def alike(self, item: trainers.Item) -> tuple[str, int]:
        """Returns what an item shares with those that take as long."""
        return item.arm, item.rung

    def weights_file(self, done: trainers.Finished) -> Path:
        """Returns where the weights of a run are kept until the best is known."""
        return tuned.weights_file(self.folder, done.run)

    def _found_before(self) -> dict[str, Any]:
        """Returns the verdicts of a study that is about to grow, by challenger."""
        verdict = self.judge().verdict
        return {
            "verdicts": {c["challenger"]: c["verdict"] for c in verdict.comparisons}
        }

    def _declared(self) -> dict[str, Any] | None:
        """Returns all that is needed to go on from the folder alone, as JSON."""
        described = self.protocol.describe()
        if described is None or self.command is None:
            return described
        return {**described, "command": self.command, **self.patterns}

    def _search(self, arms: Sequence[Arm], look: int, work: workflow.Work) -> None:
        """Carries out the search up to a look, and its fresh seeds."""
        work.carry_out("search", self._plan_search(arms, look))
        runs = _until(look, work.store)
        searching.check_not_all_failed(_searchers(self.trial.arms), runs, self.folder)
        declared = [arm for arm in self.protocol.arms if arm in arms]
        efforts = searching.efforts_of_equal_cost(
            _searchers(declared), runs, self.protocol.effort
        )
        planned = self._plan_confirm(arms, runs, efforts=efforts, look=look)
        work.carry_out("confirm", planned)

    def _climb(self, work: workflow.Work) -> None:
        """Carries out the longer rungs of the ladder."""
        work.carry_out("ladder", self._plan_ladder())
        runs = work.store.runs(per_example=False)
        planned = [
            item
            for rung in self.protocol.ladder[1:]
            for item in self._plan_confirm(self.trial.arms, runs, rung=rung)
        ]
        work.carry_out("ladder confirm", planned)

    def _going_on(self, arms: Sequence[Arm], look: int, store: Store) -> list[Arm]:
        """Returns the arms that get more runs after a look; the baseline with any."""
        if look == len(self.sizes):
            return []
        if not self.protocol.looks:
            return list(arms)  # it grew, whatever was found
        known = [run for run in store.runs() if run.look <= look]
        first = next(d for _, name, d in store.events() if name == OPENED)
        constant: float | None = json.loads(first)["constant"]
        decided = judge.decisions(known, self.resolved, look, constant)
        stopped = {name for name, decision in decided.items() if decision != "go on"}
        if len(stopped) == len(decided):
            return []
        matched = self.resolved.get("matched")
        if matched is not None and matched["matches"] in stopped:
            stopped.add(matched["name"])
        return [arm for arm in arms if arm.name not in stopped]

    def _plan_search(self, arms: Sequence[Arm], look: int) -> list[trainers.Item]:
        """Plans what arms search up to a look, and their defaults on r seeds."""
        first = self.sizes[look - 2] if look > 1 else 0
        planned = []
        for arm in arms:
            planned += searching.searched(
                self.design, _searchers([arm]), first, self.sizes[look - 1], look=look
            )
            if self.trial.has_defaults and look == 1:
                for seed in range(1, self.protocol.confirm_seeds + 1):
                    planned.append(trainers.Item(arm.name, -1, seed, "default", {}))
        return planned

    def _plan_confirm(
        self,
        arms: Sequence[Arm],
        runs: Sequence[Run],
        *,
        efforts: Iterable[int] = (),
        rung: int = 1,
        look: int = 1,
    ) -> list[trainers.Item]:
        """Plans the fresh seeds of arms up to a look, or at a longer rung."""
        return searching.confirmed(
            self.design,
            _searchers(arms),
            runs,
            effort=self.protocol.effort,
            seeds=self.protocol.confirm_seeds,
            sign=self.sign,
            top=self.protocol.top,
            efforts=efforts,
            winners=self.winner_seeds,
            rung=rung,
            look=look,
        )

    def _plan_ladder(self) -> list[trainers.Item]:
        """Plans the first m configurations of every arm again, at each longer rung.

        Each is a full schedule, with seeds of its own.
        """
        arms = _searchers(self.trial.arms)
        return [
            item
            for rung in self.protocol.ladder[1:]
            for item in searching.searched(
                self.design, arms, 0, self.protocol.retuned, rung=rung
            )
        ]

    def _probe(self, work: workflow.Work) -> None:
        """Lets adaptive tuners search the baseline further, each on its own.

        Their best are confirmed as those of the search are.
        """
        if not self.protocol.probes:
            return
        arm = self.protocol.baseline
        planned = [
            trainers.Item(arm.name, pair, 0, "probe", {}, tuner=tuner)
            for pair in range(self.protocol.probes)
            for tuner in probes.TUNERS
        ]
        clock = work.begin("probe", planned, self.runs(work.store))
        for pair in range(self.protocol.probes):
            runs = _until(1, work.store)
            recorded = {run.key for run in runs}
            asked = [
                self._proposed(item, runs)
                for item in planned
                if item.pair == pair and key(**item.coordinates) not in recorded
            ]
            work.train(self.trial.trainer.divide(asked), clock)
        runs = _until(1, work.store)
        again = []
        for tuner in probes.TUNERS:
            found = [r for r in runs if (r.stage, r.tuner) == ("probe", tuner)]
            best = best_of(found, self.trial.sign)
            for seed in range(1, self.protocol.confirm_seeds + 1):
                again.append(
                    trainers.Item(
                        arm.name, best.pair, seed, "probe confirm",
                        best.configuration, tuner=tuner,
                    )
                )  # fmt: skip
        work.carry_out("probe confirm", again)

    def _proposed(self, item: trainers.Item, runs: Sequence[Run]) -> trainers.Item:
        """Asks an item's tuner, who knows the search and the trials of its own."""
        assert item.tuner is not None
        known = [
            run
            for run in runs
            if run.arm == item.arm
            and (
                run.stage == "search"
                or (run.stage == "probe" and run.tuner == item.tuner)
            )
        ]
        known.sort(key=lambda run: (run.stage == "probe", run.pair))
        scores = searches.turned(known, runs, self.trial.sign)
        seed = randomness.seed(self.protocol.seed, "probe", item.tuner, item.pair)
        configuration = probes.propose(
            item.tuner,
            self.trial.spaces[item.arm],
            [
                (run.configuration, float(score))
                for run, score in zip(known, scores, strict=True)
            ],
            # Of 63 bits, Optuna takes 32.
            seed >> 31,
            threads=self.protocol.threads,
        )
        return dataclasses.replace(item, configuration=configuration)

    def _keep_tuned(self, runs: Sequence[Run]) -> None:
        for arm in self.trial.arms:
            winner = searches.tuned_pair(runs, arm.name, self.trial.sign)
            confirmed = [
                run
                for run in runs
                if (run.arm, run.pair, run.stage) == (arm.name, winner, "confirm")
            ]
            drawn = self.design.configuration(arm.name, winner)
            chosen = tuned.best(confirmed, self.trial.sign)
            described = self.trial.tuned(arm, drawn, chosen)
            tuned.keep(self.folder, chosen, described)
        tuned.tidy(self.folder)


def _searchers(arms: Iterable[Arm]) -> list[searches.Searcher]:
    """Returns each arm as the one search of it."""
    return [searches.Searcher(arm.name, arm.name) for arm in arms]


def _until(look: int, store: Store) -> list[Run]:
    """Returns the runs that were planned at a look or before."""
    return [run for run in store.runs(per_example=False) if run.look <= look]
