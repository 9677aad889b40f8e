"""The stages of a choice: searches on a part, looks, finalists, the test set, a verdict.

from archtrial.experiments import choose
study = choose.Study(choose.Protocol(data="mnist1d", budget="10m"))
study.run()
study.verdict
study.report("report.html")
"""

import contextlib
import dataclasses
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from archtrial import (
    data,
    metrics,
    progress,
    searches,
    trainers,
    trial,
    tuned,
    workflow,
)
from archtrial import space as spaces
from archtrial.experiments.choose import continuing, ladder, pace, plan, training
from archtrial.experiments.choose.arms import Prepared
from archtrial.experiments.choose.plan import Plan
from archtrial.experiments.choose.protocol import FINAL, HALF, PLAIN, SEARCH, Protocol
from archtrial.experiments.choose.verdict import (
    ANSWERS,
    CLOCK,
    FINAL_SEEDS,
    NEXT,
    STOPPED,
    Looks,
    judge,
    searchers_of,
    tuned_of,
)
from archtrial.files import write
from archtrial.freezing import expect, folder_of
from archtrial.judge.experiment import Finding
from archtrial.protocol import Arm, describe_space
from archtrial.records.store import Store, frozen
from archtrial.records.table import Run
from archtrial.trainers import Item
from archtrial.training.problem import Problem
from archtrial.trial import arming
from archtrial.workflow import searching
from archtrial.zoo.estimators import Estimator

__all__ = ["Study"]

# Validation rows that every training is scored on, at most: so many leave an accuracy
# of 90 % a standard error of half a point.
_MOST_VALIDATION = 4000
# How much longer than planned a plan may be carried on with, where the clock allows it:
# a pace is measured to that at best, and the clock is what counts.
_ROOM = 1.25
# A look is not begun unless the time left is what it takes, and so much more.
_CAREFUL = 1.1
# However fast trainings are, what comes next is not taken for faster.
_LEAST = 0.5
# Seeds of a finalist that has no other to be compared with.
_ALONE = 6
# Training rows that the pace is measured on, at most.
_PACED = 2000


class Study(workflow.Study[Protocol, Finding]):
    """One declared choice, carried out in one folder.

    Args:
        declared: What is asked.
        folder: Where the store, the verdict and the page are kept; by default
            `studies/` and the declaration's short hash.
        workers: Processes that it will have: with them a time pays for more.

    Raises:
        UserError: Something declared cannot be used; its subclasses say what.
    """

    trainer: trainers.ByCoordinate

    def __init__(
        self,
        declared: Protocol,
        folder: str | Path | None = None,
        *,
        workers: int = 1,
    ) -> None:
        self._clock = _Clock()
        self.protocol = declared
        trial.check_device(declared.device)
        name, self.split, self.metric = self._loaded()
        self.sign = 1 if self.metric.higher_is_better else -1
        order = training.nested(
            self.split.y_validation, self.split.task, declared.seed, "validation"
        )
        self._seen = np.sort(order[:_MOST_VALIDATION])
        self._order = training.nested(
            self.split.y_train, self.split.task, declared.seed, "training"
        )
        arms, plain = self._arms()
        self._prepared = Prepared.of(declared, arms, plain, self.split, self.metric)
        described = self._described(name, plain)
        self.folder = folder_of(described) if folder is None else Path(folder)
        self.resolved = {**described, "plan": self._planned(described, workers)}
        self.plan = Plan.of(self.resolved["plan"])
        self.searchers = searchers_of(self.resolved)
        self.design = spaces.Design(
            {
                arm: {n: spaces.parse(n, d) for n, d in own.items()}
                for arm, own in self.plan.spaces.items()
            },
            declared.seed,
            "sobol",
        )
        self.trainer = self._trainer()

    # Before anything is planned.

    def _loaded(self) -> tuple[str, data.Split, metrics.Metric]:
        """Loads the data, whatever kind they are of."""
        declared = self.protocol
        named = {arm.name: arming.found(arm) for arm in declared.arms}
        if declared.text is not None and not named:
            texts = ladder.ladder_of("sequence", "classification", texts=True)
            named = {arm.name: arming.found(arm) for arm in texts}
        return trial.load(declared, named or None)

    def _arms(self) -> tuple[Sequence[Arm], Arm]:
        """Returns the ladder, and the estimator that is not tuned."""
        texts = self.split.names is not None
        kind, task = self.split.kind, self.split.task
        unequal = data.inputs_of(self.split).unequal
        arms = self.protocol.arms or ladder.ladder_of(
            kind, task, texts=texts, unequal=unequal
        )
        spec = ladder.plain_of(kind, task, texts=texts, unequal=unequal)
        return arms, Arm.model_validate(
            {"name": PLAIN, "architecture": spec, "space": {}}
        )

    def _described(self, name: str, plain: Arm) -> dict[str, Any]:
        """Returns the resolved protocol but for its plan."""
        declared, prepared = self.protocol, self._prepared
        return {
            **trial.resolve(declared, name, self.split, self.metric),
            **declared.own(),
            "experiment": "choose",
            "arms": [
                {
                    **arm.describe(),
                    "space": describe_space(prepared.spaces[arm.name]),
                    "source": prepared.found[arm.name].source,
                }
                for arm in prepared.arms
            ],
            "left_out": list(prepared.left_out),
            "plain": {k: plain.describe()[k] for k in ("architecture", "options")},
            "validation_rows": len(self._seen),
            "constant": self._constant(),
            "notes": [*self.split.notes, *prepared.notes],
        }

    def _constant(self) -> float:
        """Returns the constant predictor's score on the validation rows."""
        y = self.split.y_validation[self._seen]
        said = self.metric.constant(self.split.y_train, len(y), self.split.num_outputs)
        return float(np.mean(self.metric.per_example(said, y), dtype=np.float64))

    def _planned(self, described: Mapping[str, Any], workers: int) -> dict[str, Any]:
        """Returns what the time pays for: as it was frozen, or by the pace here."""
        declared, prepared = self.protocol, self._prepared
        held = frozen(self.folder)
        if held is not None:
            expect(held[1], "choose", self.folder)
            kept: dict[str, Any] = held[1]["plan"]
            # What is another study's is told when it is frozen.
            return kept
        kept_spaces, beyond = prepared.affordable(declared)
        rows = len(self.split.y_train)
        some = training.on_part(
            prepared.loops.problem,
            rows=self._order[:_PACED],
            validation=self._seen,
            steps=1,
            tested=False,
        )
        beside = self._beside(some) * max(rows / _PACED, 1.0)
        paces, alone, start = pace.measure(
            prepared.loops,
            prepared.fits,
            some,
            spaces.Design(kept_spaces, declared.seed, "sobol"),
            list(kept_spaces),
            seconds=min(max(declared.seconds / 1500, 0.1), 1.0),
            patience=declared.seconds / 60,
            threads=declared.threads,
            runs=declared.first_look,
            workers=workers,
        )
        return plan.make(
            paces,
            {name: describe_space(own) for name, own in kept_spaces.items()},
            too_large=beyond,
            alone=alone,
            seconds=declared.seconds,
            # Before the first training processes start once more.
            began=self._clock.seconds + start + beside,
            workers=workers,
            rows=rows,
            batch_size=declared.batch_size,
            effort=declared.effort,
            seeds=declared.confirm_seeds,
            first=declared.first_look,
            most_steps=declared.length(rows),
        ).to_dict()

    def _beside(self, problem: Problem) -> float:
        """Returns how long the estimator that is not tuned takes on some rows."""
        fits = dataclasses.replace(self._prepared.fits, problem=problem)
        start = time.perf_counter()
        fits([Item(PLAIN, -1, 1, "default", {}, further={"part": FINAL})])
        return time.perf_counter() - start

    def _trainer(self) -> trainers.ByCoordinate:
        """Returns who trains: on the part that is searched on, its half, and all rows."""
        prepared, planned = self._prepared, self.plan
        parts = {
            SEARCH: (planned.rows, planned.steps, False),
            HALF: (max(planned.rows // 2, 2), planned.steps, False),
            FINAL: (planned.final_rows, planned.final_steps, True),
        }
        stacks = {
            name: fleet and name not in planned.alone
            for name, fleet in prepared.loops.stacks.items()
        }
        loops = dataclasses.replace(prepared.loops, stacks=stacks)
        return trainers.ByCoordinate(
            "part",
            {
                part: trainers.ByArm(
                    training.on_part(
                        prepared.loops.problem,
                        rows=self._order[:rows],
                        validation=self._seen,
                        steps=steps,
                        tested=tested,
                    ),
                    loops,
                    prepared.fits,
                )
                for part, (rows, steps, tested) in parts.items()
            },
        )

    @property
    def notes(self) -> Sequence[str]:
        """What was noticed about the data and the arms, and what the time pays for."""
        from archtrial.experiments.choose import words

        return (*self.resolved["notes"], *words.planned(self.resolved))

    @property
    def arms(self) -> Sequence[Arm]:
        """What the ladder has, the simplest first."""
        return self._prepared.arms

    # The stages.

    def stages(self, work: workflow.Work) -> None:
        """Searches with looks, the finalists, the test set."""
        passed = [json.loads(d) for _, name, d in work.store.events() if name == CLOCK]
        if passed:
            self._clock.go_on_from(**passed[-1])
        spent, still = self._searches(work)
        self._finals(work, spent, still)
        work.open_test(self._scored)

    def _searches(self, work: workflow.Work) -> tuple[float, list[str]]:
        """Carries out the searches; returns planned seconds, and the arms that stay."""
        planned = self.plan
        still, spent, first = list(planned.arms), 0.0, 0
        for look, n in enumerate(planned.looks, 1):
            some = [s for s in self.searchers if s.arm in still]
            items = searching.searched(self.design, some, first, n, look=look)
            spent += planned.searching(_by_arm(items))
            self._carry_out(work, f"searches, look {look}", items)
            runs = self._until(look, work.store)
            searching.check_not_all_failed(some, runs, self.folder)
            items = [
                item
                for searcher in some
                for item in searching.confirmed(
                    self.design,
                    [searcher],
                    runs,
                    effort=self.protocol.effort,
                    seeds=self.protocol.confirm_seeds,
                    sign=self.sign,
                    winners=0,
                    look=look,
                    keep_weights=False,
                )
            ]
            spent += planned.searching(_by_arm(items))
            self._carry_out(work, f"fresh seeds, look {look}", items)
            if look == 1:
                spent += self._halves(work)
            gone = Looks(self.resolved, self._told(work.store)).gone(look)
            still = [arm for arm in still if arm not in gone]
            if len(still) == 1 or look == len(planned.looks):
                break
            more = dict.fromkeys(still, planned.looks[look] - n + planned.fresh)
            further = planned.searching(more)
            final = planned.finals(dict.fromkeys(still, planned.seeds[0]))
            if not self._goes_on(work, f"look {look + 1}", spent, further, final):
                break
            first = n
        return spent, still

    def _halves(self, work: workflow.Work) -> float:
        """Trains what each arm is tuned to on half of the rows: do the ranks stay?"""
        runs = self._until(1, work.store)
        items = []
        for searcher in self.searchers:
            pair = searches.tuned_pair(runs, searcher.name, self.sign)
            items += [
                Item(
                    searcher.arm, pair, seed, "confirm",
                    self.design.configuration(searcher.arm, pair),
                    further={"part": HALF},
                )
                for seed in range(1, self.protocol.confirm_seeds + 1)
            ]  # fmt: skip
        self._carry_out(work, "half of the rows", items)
        return self.plan.searching(_by_arm(items))

    def _finals(self, work: workflow.Work, spent: float, still: Sequence[str]) -> None:
        """Trains the finalists on fresh seeds, as many as the time pays for."""
        runs = self._told(work.store)
        tuned_to = {arm: tuned_of(runs, arm, self.sign) for arm in still}
        plain = Item(PLAIN, -1, 1, "default", {}, further={"part": FINAL})
        done = 0
        for part, seeds in enumerate(self.plan.seeds, 1):
            items = [
                Item(
                    arm, pair, FINAL_SEEDS + seed, "confirm",
                    self.design.configuration(arm, pair),
                    keep_weights=part == 1,
                    further={"part": FINAL},
                )
                for arm, pair in tuned_to.items()
                for seed in range(done + 1, seeds + 1)
            ]  # fmt: skip
            further = self.plan.finals(_by_arm(items))
            if len(still) == 1 and done >= _ALONE:
                break
            if part > 1 and not self._goes_on(
                work, f"{seeds} seeds", spent, further, 0.0
            ):
                break
            more = [plain] if part == 1 else []
            self._carry_out(work, f"finalists, {seeds} seeds", [*items, *more])
            spent, done = spent + further, seeds

    def _goes_on(
        self, work: workflow.Work, what: str, spent: float, further: float, after: float
    ) -> bool:
        """Says whether the time pays for what comes next, and what must come after it.

        By the plan, and by the clock, which may only stop what was planned: that is
        recorded, and whoever goes on with the study stops there, too.

        Args:
            work: The study.
            what: Comes next, as the record calls it.
            spent: Planned seconds of all before.
            further: Planned seconds of what comes next.
            after: Planned seconds of what comes after it in any case.
        """
        planned = self.plan
        left = planned.seconds - planned.began - planned.closing
        if spent + further + after > _ROOM * left:
            return False
        told = [json.loads(d) for _, name, d in work.store.events() if name == STOPPED]
        if any(event["before"] == what for event in told):
            return False
        if any(stage.name.endswith(what) for stage in progress.stages(work.store)):
            return True  # it was begun before
        slower = max(self._clock.training / spent, _LEAST) if spent else 1.0
        needed = _CAREFUL * slower * (further + after)
        if self._clock.seconds + planned.closing + needed <= planned.seconds:
            return True
        detail = {"before": what, "seconds": round(self._clock.seconds, 1)}
        work.store.note(STOPPED, json.dumps(detail))
        return False

    def _carry_out(
        self, work: workflow.Work, stage: str, items: Sequence[Item]
    ) -> None:
        """Carries a stage out, on the clock, which whoever goes on reads."""
        before = len(self.runs(work.store))
        with self._clock.trained():
            work.carry_out(stage, items)
        if len(self.runs(work.store)) > before:
            work.store.note(CLOCK, json.dumps(self._clock.to_dict()))

    def _until(self, look: int, store: Store) -> list[Run]:
        """Returns what a look is planned by: of a study that goes on, no later one."""
        return [run for run in self._told(store) if run.look <= look]

    def _told(self, store: Store) -> list[Run]:
        """Returns all runs; those of searches with what the validation rows say of them.

        Their scores by example stand where a finalist's test scores stand.
        """
        sealed: dict[str, np.ndarray] | None = None
        y = self.split.y_validation[self._seen]
        told = []
        for run in store.runs():
            if run.test is None and run.coordinates["part"] != FINAL:
                sealed = store.sealed() if sealed is None else sealed
                shares = self.metric.per_example(sealed[run.key], y).astype(np.float32)
                seen = float(np.mean(shares, dtype=np.float64))
                run = dataclasses.replace(run, test=seen, per_example=shares)
            told.append(run)
        return told

    def _scored(self, store: Store) -> workflow.Opened:
        """Uses the test labels, for finalists alone."""
        scores: dict[str, tuple[float, np.ndarray | None]] = {}
        finals = []
        for run in self._told(store):
            if run.test is None:
                finals.append(run.key)
            else:
                scores[run.key] = run.test, run.per_example
        sealed = store.sealed()
        constant = self.metric.constant(
            self.split.y_train, self.split.test_size, self.split.num_outputs
        )
        *examples, floor = self.split.open_test(
            self.metric, [*(sealed[key] for key in finals), constant]
        )
        for key, shares in zip(finals, examples, strict=True):
            scores[key] = float(np.mean(shares, dtype=np.float64)), shares
        return scores, {"constant": float(np.mean(floor, dtype=np.float64))}

    def judge(self) -> Finding:
        """Reads the verdict, with all its evidence, off the folder's records."""
        return judge(self.folder)

    def alike(self, item: Item) -> tuple[str, str]:
        """Returns what an item shares with those that take as long."""
        return item.arm, str(item.further["part"])

    def finish(self, store: Store) -> None:
        """Keeps the finalists, what their answers take, and a protocol to go on with."""
        answers = {}
        runs = store.runs(per_example=False)
        for arm in self.plan.arms:
            found = self._prepared.found[arm]
            own = [run for run in runs if run.arm == arm]
            confirmed = [
                run
                for run in own
                if run.coordinates["part"] == FINAL
                and run.seed <= FINAL_SEEDS + self.plan.seeds[0]
            ]
            if isinstance(found, Estimator):
                if confirmed:
                    self._keep_estimator(found, tuned.best(confirmed, self.sign))
                continue
            pair = tuned_of(own, arm, self.sign)
            drawn = self.design.configuration(arm, pair)
            answers[arm] = self._prepared.answer(arm, drawn)
            if not confirmed:
                continue
            chosen = tuned.best(confirmed, self.sign)
            seed = self._prepared.loops.initial_seed(arm, chosen.pair, chosen.seed)
            described = trial.network(found, self.split, chosen.configuration, seed)
            tuned.keep(self.folder, chosen, described)
        tuned.tidy(self.folder)
        place = self.folder / ANSWERS
        if not place.exists():
            write(place, json.dumps(answers, indent=2), within=self.folder)
        # Nothing that was given in Python can be named in a file.
        if self.protocol.describe() is not None:
            document = judge(self.folder).verdict.to_dict()
            text = continuing.trial_of(self.protocol, self.resolved, document)
            write(self.folder / NEXT, text, within=self.folder)

    def _keep_estimator(self, found: Estimator, chosen: Run) -> None:
        """Keeps what an estimator was tuned to: it is fitted again in a moment."""
        described = {
            "architecture": found.spec,
            "configuration": dict(chosen.configuration),
            "fit_again": found.written(chosen.configuration),
        }
        tuned.keep(self.folder, chosen, described)

    def weights_file(self, done: trainers.Finished) -> Path:
        """Returns where the weights of a finalist are kept until the best is known."""
        return tuned.weights_file(self.folder, done.run)


def _by_arm(items: Sequence[Item]) -> dict[str, int]:
    return dict(Counter(item.arm for item in items))


class _Clock:
    """What of the time has passed, and what of that in trainings.

    After an interruption it goes on from the last stage that had finished.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._before = 0.0
        self.training = 0.0

    @property
    def seconds(self) -> float:
        """Since the study was put together, and what had passed before that."""
        return self._before + time.monotonic() - self._began

    def go_on_from(self, *, seconds: float, training: float) -> None:
        """Adds what had passed when an earlier process recorded it."""
        self._before += seconds
        self.training += training

    def to_dict(self) -> dict[str, float]:
        """Returns what `go_on_from` takes."""
        return {"seconds": self.seconds, "training": self.training}

    @contextlib.contextmanager
    def trained(self) -> Iterator[None]:
        """Counts what happens inside as training."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.training += time.monotonic() - start
