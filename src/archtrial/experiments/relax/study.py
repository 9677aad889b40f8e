"""The experiment's stages: tune, train, relax, open the test set, verdict.

from archtrial.experiments import relax
study = relax.Study(relax.Protocol(data="mnist1d", architecture="cnn"))
study.run()
study.verdict
study.report("report.html")
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from archtrial import equivalents, protocol, randomness, trial, workflow
from archtrial.errors import ArmError, ProtocolError, StudyError
from archtrial.experiments.relax.protocol import Protocol
from archtrial.experiments.relax.training import (
    Done,
    Item,
    Trainer,
    most_runs,
    untrained,
)
from archtrial.experiments.relax.verdict import (
    Finding,
    Kind,
    arm_of,
    chosen,
    judge,
    rows_of,
    tried,
)
from archtrial.freezing import folder_of
from archtrial.records.store import Store
from archtrial.records.table import Run
from archtrial.statistics.simultaneous import seeds_needed
from archtrial.training import augmentation, cost, rehearsal, stacking
from archtrial.training.run import Job
from archtrial.zoo import Kind as Inputs
from archtrial.zoo import arms, outside
from archtrial.zoo.userfile import prints_to_errors

__all__ = ["Study"]

KINDS: tuple[Kind, ...] = ("cnn", "fresh", "kept", "relaxed")

GOING_ON: tuple[Kind, ...] = ("kept", "relaxed")
"""What goes on from the CNN at each relax time; the second is measured beside the first."""

STAGES = (
    "learning rates of the CNN and the fresh network (1 of 5)",
    "both on fresh seeds (2 of 5)",
    "learning rates at each relax time (3 of 5)",
    "the CNN trained on from each relax time, on fresh seeds (4 of 5)",
    "relaxed at each relax time, on fresh seeds (5 of 5)",
)

# Weights, gradient, what the optimiser keeps, and a copy of the gradient while it is
# put together: how often a network in training lies in memory, with SGD.
_COPIES = 5
# While the Hessian's eigenvalue is sought: ARPACK's vectors and its room, the gradient's
# graph, and four networks.
_COPIES_FOR_CURVATURE = 25


class Study(workflow.Study[Protocol, Finding]):
    """One declared experiment, carried out in one folder.

    Args:
        declared: What is asked.
        folder: Where the store, the verdict and the page are kept; by default
            `studies/` and the declaration's short hash.
        force: Build an equivalent that does not fit into memory all the same.

    Raises:
        UserError: Something declared cannot be used; its subclasses say what.
    """

    trainer: Trainer
    searching = "confirm"

    def __init__(
        self,
        declared: Protocol,
        folder: str | Path | None = None,
        *,
        force: bool = False,
    ) -> None:
        self.protocol = declared
        self.force = force
        trial.check_device(declared.device)
        name, self.split, self.metric = trial.load(declared)
        if self.split.lengths is not None:
            shortest, longest = self.split.lengths
            raise ProtocolError(
                "a network is relaxed for inputs of one size: its equivalent has a"
                " weight for each step",
                f"series have {shortest} to {longest} steps",
                "Give all series one length: --lengths zeros reads zeros behind the end"
                ' as data (in a protocol, lengths = "zeros").',
            )
        self.sign = 1 if self.metric.higher_is_better else -1
        arm = declared.architecture
        self.architecture = arms.find(arm.architecture, arm.options, {})
        rows = len(self.split.y_train)
        self.times = declared.times(rows)
        self.problem = dataclasses.replace(
            trial.pose(declared, self.split, self.metric),
            evaluations=declared.evaluations,
        )
        inputs = cast(Inputs, self.split.kind)
        augmentation.check(declared.recipe.augmentation, inputs)
        arms.check_kind(self.architecture, inputs)
        rehearsed = self._rehearse()
        self.sizes = self._look_ahead()
        built: tuple[Kind, ...] = ("cnn", "relaxed", "fresh")
        obstacles = {kind: rehearsed.obstacle or self._obstacle(kind) for kind in built}
        obstacles["kept"] = obstacles["cnn"]
        self.resolved = self._resolve(name, obstacles)
        self.resolved["notes"].extend(rehearsed.notes)
        found = self.architecture
        self.resolved["notes"] += outside.on_weights(arm.name, found.spec, found.source)
        self.hash = protocol.digest(self.resolved)
        self.folder = folder_of(self.resolved) if folder is None else Path(folder)
        self.trainer = Trainer(
            problem=self.problem,
            architecture=self.architecture,
            input_shape=self.split.input_shape,
            study_seed=declared.seed,
            folder=self.folder,
            form=declared.form,
            batch_norm=declared.batch_norm,
            times=self.times,
            learning_rates=declared.learning_rates,
            parameters=self._parameters(),
            stacks={kind: why is None for kind, why in obstacles.items()},
            curvature_examples=declared.curvature_examples,
        )

    # What is known before anything is trained.

    @prints_to_errors()
    def _rehearse(self) -> rehearsal.Rehearsed:
        """Says now what is wrong with the CNN as its users' code has it."""
        build = functools.partial(
            self.architecture.build,
            self.split.input_shape,
            self.problem.num_outputs,
            {},
        )
        seed = randomness.seed(self.protocol.seed, "rehearsal")
        return rehearsal.rehearse(
            self.architecture.spec,
            self.problem,
            {"": Job(build, {}, seed, seed, seed)},
            self.architecture.place,
        )

    @prints_to_errors()
    def _look_ahead(self) -> equivalents.Sizes:
        """Builds the equivalent once: what has none is said here and now."""
        shape, form = self.split.input_shape, self.protocol.form
        module = self._untrained()
        sizes = equivalents.sizes(module, shape, batch_norm=self.protocol.batch_norm)
        if sizes.module == (sizes.fcn if form == "fcn" else sizes.lcn):
            raise ArmError(
                "what is relaxed shares weights over positions, or leaves some out",
                f"{self.architecture.spec} does not: its equivalent is itself",
                "Name a convolutional network, such as cnn.",
            )
        self._equivalent(module)
        return sizes

    def _untrained(self) -> torch.nn.Module:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(0)
            module = self.architecture.build(
                self.split.input_shape, self.split.num_outputs, {}
            )
            module.eval()(torch.tensor(self.split.x_train[:2]))  # makes lazy layers
        return module

    def _equivalent(self, module: torch.nn.Module) -> equivalents.Network:
        return equivalents.mapped(
            module,
            self.split.input_shape,
            self.protocol.form,
            self.protocol.batch_norm,
            self.force,
        )

    def _parameters(self) -> dict[Kind, int]:
        """Returns how many weights each network trains."""
        full = self.protocol.form == "fcn"
        large = self.sizes.fcn_without_padding if full else self.sizes.lcn
        own = self.sizes.module
        return {"cnn": own, "kept": own, "relaxed": large, "fresh": large}

    def _obstacle(self, kind: Kind) -> str | None:
        if most_runs(self._parameters()[kind]) == 1:
            return "it is large enough to train alone"
        build = functools.partial(
            untrained,
            kind,
            self.architecture,
            self.split.input_shape,
            self.problem.num_outputs,
            self.protocol.form,
            self.protocol.batch_norm,
        )
        return stacking.obstacle(self.problem, build)

    def _resolve(
        self, name: str, obstacles: Mapping[Kind, str | None]
    ) -> dict[str, Any]:
        declared = self.protocol
        described = declared.architecture.describe()
        resolved = {
            **trial.resolve(declared, name, self.split, self.metric),
            "experiment": "relax",
            "architecture": {
                "name": declared.architecture.name,
                "architecture": described["architecture"],
                "options": described["options"],
                "source": self.architecture.source,
            },
            "relax_times": list(self.times),
            "learning_rates": list(declared.learning_rates),
            "parameters": {
                "cnn": self.sizes.module,
                "fcn": self.sizes.fcn,
                "fcn_without_padding": self.sizes.fcn_without_padding,
                "lcn": self.sizes.lcn,
            },
            "fleets": {
                kind: obstacles[kind] is None for kind in ("cnn", "relaxed", "fresh")
            },
            **{
                field: getattr(declared, field)
                for field in (
                    "form", "batch_norm", "seeds", "tuning_seeds", "reading",
                    "evaluations", "curvature_examples",
                )
            },
        }  # fmt: skip
        resolved["notes"].extend(self._own_notes())
        return resolved

    def _own_notes(self) -> Iterator[str]:
        sizes = self.sizes
        if self.protocol.form == "fcn":
            yield (
                f"The CNN has {sizes.module:,} weights, its fully connected equivalent"
                f" {sizes.fcn:,}, of which {sizes.fcn - sizes.fcn_without_padding:,}"
                " would read padding, never change and are left out."
            )
        else:
            yield (
                f"The CNN has {sizes.module:,} weights, its locally connected"
                f" equivalent {sizes.lcn:,}."
            )
        if self.protocol.recipe.momentum or self.protocol.recipe.optimizer != "sgd":
            yield (
                "At a relax time the CNN and what it is relaxed into both begin without"
                " what the optimiser remembered. Plain SGD remembers nothing."
            )
        total = self.times[-1] + self.problem.steps
        if self.times[-1] > self.problem.steps:
            yield (
                f"The last relax time is step {self.times[-1]:,}: the CNN and the fresh"
                f" network train {total:,} steps."
            )
        needed = seeds_needed(self.protocol.alpha)
        if self.protocol.seeds < needed:
            yield (
                f"There will be no verdict: it takes {needed} seeds at least, and there"
                f" {'is' if self.protocol.seeds == 1 else 'are'} {self.protocol.seeds}."
            )
        yield (
            "Learning rates are chosen by validation on"
            f" {self.protocol.tuning_seeds} tuning seed"
            f"{'' if self.protocol.tuning_seeds == 1 else 's'}; no interval contains"
            " what that choice leaves to chance."
        )

    @property
    def notes(self) -> Sequence[str]:
        """What was noticed before anything is trained, the equivalent's size with it."""
        return (*self.resolved["notes"], *self.split.here)

    @prints_to_errors()
    def forecast(self) -> dict[str, dict[Kind, float]]:
        """Returns what it will cost: "trainings" and "flops" by kind of network."""
        items = [
            *self._first(),
            *self._fresh("cnn", 0),
            *self._fresh("fresh", 0),
            *self._tuning(0),
            *(
                Item(kind, 0, 1, time, 0)
                for kind in GOING_ON
                for time in self.times
                for _ in range(self.protocol.seeds)
            ),
        ]
        batch = torch.from_numpy(self.split.x_train[: self.protocol.batch_size])
        cnn = self._untrained()
        own = cost.training(cnn, batch, 1)
        once = cost.training(self._equivalent(cnn), batch, 1)
        step: dict[Kind, float] = {
            "cnn": own,
            "kept": own,
            "relaxed": once,
            "fresh": once,
        }
        found: dict[str, dict[Kind, float]] = {"trainings": {}, "flops": {}}
        for kind in KINDS:
            planned = [item for item in items if item.kind == kind]
            steps = sum(self.trainer.problem_of(item).steps for item in planned)
            found["trainings"][kind] = len(planned)
            found["flops"][kind] = steps * step[kind]
        return found

    # The stages.

    def stages(self, work: workflow.Work) -> None:
        """Tunes and trains what starts afresh, then what goes on; opens the test set."""
        store = work.store
        work.carry_out(STAGES[0], self._first())
        cnn, fresh = self._chosen("cnn", store), self._chosen("fresh", store)
        both = [*self._fresh("cnn", cnn), *self._fresh("fresh", fresh)]
        work.carry_out(STAGES[1], both)
        work.carry_out(STAGES[2], self._tuning(cnn))
        for stage, kind in zip(STAGES[3:], GOING_ON, strict=True):
            work.carry_out(stage, self._going_on(kind, cnn, store))
        work.open_test(lambda store: trial.score(store, self.split, self.metric))

    def finish(self, store: Store) -> None:
        """Removes the weights from which learning rates were tried."""
        for weights in (store.folder / "cnn").glob("search_*"):
            weights.unlink()

    def judge(self) -> Finding:
        """Reads the verdict, with all its evidence, off the folder's records."""
        return judge(self.folder)

    def coordinates(self, item: Item) -> dict[str, Any]:
        """Returns the place of the row that is last of a training's."""
        return {
            "arm": arm_of(self.protocol.form, item.kind),
            "pair": item.rate,
            "seed": item.seed,
            "relax_time": self.trainer.read_times(item)[-1],
        }

    def alike(self, item: Item) -> tuple[Kind, int]:
        """Returns what an item shares with those that take as long."""
        return item.kind, self.trainer.problem_of(item).steps

    def runs(self, store: Store) -> list[Run]:
        """Returns what has finished, without scores by example."""
        return rows_of(store, per_example=False)

    def weights_file(self, done: Done) -> Path:
        """Returns where the weights of a CNN lie, until it is relaxed."""
        return self.trainer.weights_file(done.item)

    def _first(self) -> list[Item]:
        """Plans each learning rate on the tuning seeds, for both that start afresh."""
        afresh: tuple[Kind, ...] = ("cnn", "fresh")
        return [
            Item(kind, rate, seed)
            for kind in afresh
            for rate in range(len(self.protocol.learning_rates))
            for seed in self._tuned_on
        ]

    def _fresh(self, kind: Kind, rate: int) -> list[Item]:
        """Plans the fresh seeds of what starts afresh."""
        return [Item(kind, rate, seed) for seed in range(1, self.protocol.seeds + 1)]

    def _tuning(self, cnn: int) -> list[Item]:
        """Plans each learning rate on the tuning seeds, at each relax time."""
        return [
            Item(kind, rate, seed, time, cnn)
            for kind in GOING_ON
            for time in self.times
            for rate in range(len(self.protocol.learning_rates))
            for seed in self._tuned_on
        ]

    def _going_on(self, kind: Kind, cnn: int, store: Store) -> Iterator[Item]:
        """Plans the fresh seeds of each relax time, at learning rates of its own."""
        for time in self.times:
            rate = self._chosen(kind, store, time)
            for seed in range(1, self.protocol.seeds + 1):
                yield Item(kind, rate, seed, time, cnn)

    @property
    def _tuned_on(self) -> Sequence[int]:
        return range(0, -self.protocol.tuning_seeds, -1)

    def _chosen(self, kind: Kind, store: Store, time: int | None = None) -> int:
        """Returns the learning rate with the best mean validation score."""
        arm = arm_of(self.protocol.form, kind)
        at = self.times[-1] if time is None else time
        known = tried(self.runs(store), arm, at, self.protocol.reading, self.sign)
        if all(one.failed for one in known):
            raise StudyError(
                f"at least one training of {arm}@{at} comes to its end",
                f"all {len(known) * self.protocol.tuning_seeds} failed",
                f"Correct it and remove {self.folder}.",
            )
        return chosen(known)

    def check(self, workers: int) -> None:
        """Raises StudyError where what is trained at once does not fit into memory."""
        largest = max(self.trainer.parameters.values())
        training = _COPIES * max(
            self.trainer.parameters[kind] * self.trainer.most_runs(kind)
            for kind in KINDS
        )
        sought = self.protocol.curvature_examples > 0
        measuring = (_COPIES_FOR_CURVATURE if sought else _COPIES) * largest
        # ARPACK's vectors lie with the processor, wherever the network is.
        for device in dict.fromkeys((self.protocol.device, "cpu")):
            copies = max(training, measuring)
            if device != self.protocol.device:
                copies = measuring
            needed = 4 * copies * workers
            free = equivalents.available_memory(device)
            if needed > free and not self.force:
                raise StudyError(
                    f"what is trained and measured at once fits into memory ({device})",
                    f"about {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are"
                    " free",
                    "Take fewer workers, a smaller network or smaller inputs,"
                    " curvature_examples = 0, the locally connected form (--form lcn),"
                    " or say --allow-large.",
                )
