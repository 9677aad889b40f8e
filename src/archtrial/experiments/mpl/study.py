"""The stages of a study of procedures: search, fresh seeds, the test set, the verdict.

from archtrial.experiments import mpl
study = mpl.Study(mpl.Protocol(data="mnist1d", labels=400))
study.run()
study.verdict
study.report("report.html")
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from archtrial import data, metrics, searches, trainers, trial, tuned, workflow
from archtrial import space as spaces
from archtrial.errors import ProtocolError
from archtrial.experiments.mpl.protocol import Protocol
from archtrial.experiments.mpl.verdict import judge, searchers_of
from archtrial.freezing import folder_of
from archtrial.judge.experiment import Finding
from archtrial.protocol import Recipe, describe_space
from archtrial.records.store import Store
from archtrial.space import Space
from archtrial.statistics.planning import WINNER_SEEDS
from archtrial.training import augmentation, cost, procedure
from archtrial.training.source import Source
from archtrial.trial.describing import unlabelled_of
from archtrial.trial.notes import on_labels
from archtrial.workflow import searching
from archtrial.zoo import arms

__all__ = ["Study"]


class Study(workflow.Study[Protocol, Finding]):
    """One declared study of procedures, carried out in one folder.

    Args:
        declared: What is asked.
        folder: Where the store, the verdict and the page are kept; by default
            `studies/` and the declaration's short hash.

    Raises:
        UserError: Something declared cannot be used; its subclasses say what.
    """

    trainer: trainers.ByCoordinate

    def __init__(self, declared: Protocol, folder: str | Path | None = None) -> None:
        self.protocol = declared
        trial.check_device(declared.device)
        own = declared.architecture
        self.architecture = arms.find(
            # One network as it is, unless its own declaration says what of it is searched.
            own.architecture,
            own.options,
            own.space,
        )
        name, self.split, self.metric = trial.load(
            declared, {own.name: self.architecture}
        )
        metrics.check_margin(declared.margin, self.metric.bounded)
        if self.split.task != "classification":
            raise ProtocolError(
                "pseudo labels are of classes",
                f"{name} is {self.split.task}",
                "Compare architectures on it: archtrial run. Or, if its numbers are"
                " classes: --task classification --metric accuracy.",
            )
        kind = "names" if self.split.x_train.dtype.kind == "i" else self.split.kind
        for option in ("weak", "strong"):
            changes = getattr(declared, option) or ()
            augmentation.check(changes, self.split.kind, f"--{option}")
            if changes and kind == "names":
                raise ProtocolError(
                    "names, such as token ids, are not augmented",
                    f"{option} = {list(changes)}",
                    f"Leave --{option} out, and procedures that change examples:"
                    " --procedure supervised --procedure pseudo_labels.",
                )
        self.sign = 1 if self.metric.higher_is_better else -1
        recipes: dict[str, Recipe] = {
            procedure: declared.recipe_of(procedure, kind)
            for procedure in declared.procedures
        }
        told = [own.model_copy(update={"name": kind}) for kind in recipes]
        self.spaces, notes = trial.put_together(
            told,
            declared.space,
            dict.fromkeys(recipes, self.architecture),
            self.split,
            declared="space" in declared.model_fields_set,
            recipes=recipes,
            of_procedures=declared.procedure_space,
        )
        self.loops, said = self._rehearsed(recipes)
        self.trainer = trainers.ByCoordinate("procedure", self.loops)
        problem = next(iter(self.loops.values())).problem
        said += on_labels(declared, recipes, problem)
        self.resolved: Mapping[str, Any] = {
            **trial.resolve(declared, name, self.split, self.metric),
            **declared.own(),
            "experiment": "mpl",
            "architecture": {**own.describe(), "source": self.architecture.source},
            "procedures": [
                {
                    "name": kind,
                    "recipe": recipe.describe(),
                    "space": describe_space(self.spaces[kind]),
                }
                for kind, recipe in recipes.items()
            ],
            "unlabelled": None
            if declared.unlabelled is None
            else unlabelled_of(problem),
            # Of several procedures alike: each note once.
            "notes": list(dict.fromkeys([*self.split.notes, *notes, *said])),
        }
        self.folder = folder_of(self.resolved) if folder is None else Path(folder)
        self.design = spaces.Design(self.spaces, declared.seed, "sobol")
        self.searchers = searchers_of(self.resolved)

    def _rehearsed(
        self, recipes: Mapping[str, Recipe]
    ) -> tuple[dict[str, trainers.Loops], list[str]]:
        """Tries the network, which is one; returns who trains it by each procedure."""
        declared = self.protocol
        arm = declared.architecture
        loops = trainers.Loops(
            problem=trial.pose(declared, self.split, self.metric),
            architectures={arm.name: self.architecture},
            inputs=data.inputs_of(self.split),
            study_seed=declared.seed,
            stacks={arm.name: False},
            recipes={arm.name: next(iter(recipes.values()))},
            labels=declared.labels,
        )
        whole: Space = {
            k: v for space in self.spaces.values() for k, v in space.items()
        }
        loops, notes = trial.try_networks([arm], loops, {arm.name: whole}, self.split)
        every = {
            kind: dataclasses.replace(loops, recipes={arm.name: recipe})
            for kind, recipe in recipes.items()
        }
        for each in every.values():
            # Nothing that a procedure cannot do is found out later.
            trial.check_names(arm.name, each.problem_of(arm.name).recipe, self.split)
        return every, notes

    def stages(self, work: workflow.Work) -> None:
        """Every procedure is tuned, then trained on fresh seeds."""
        searching.tuned(work, self.design, self.searchers, self.protocol)
        work.open_test(lambda store: trial.score(store, self.split, self.metric))

    def judge(self) -> Finding:
        """Reads the verdict, with all its evidence, off the folder's records."""
        return judge(self.folder)

    def weights_file(self, done: trainers.Finished) -> Path:
        """Returns where the weights of a procedure's tuned configuration are kept."""
        own = dataclasses.replace(done.run, arm=done.run.coordinates["procedure"])
        return tuned.weights_file(self.folder, own)

    def finish(self, store: Store) -> None:
        """Keeps of each procedure the best network on fresh seeds by validation."""
        runs = searches.of(self.runs(store), *self.searchers)
        for searcher in self.searchers:
            own = searches.tuned_runs(runs, searcher.name, self.sign)
            fresh = [run for run in own if run.stage == "confirm"]
            chosen = tuned.best(fresh, self.sign)
            loops = self.loops[searcher.name]
            seed = loops.initial_seed(searcher.arm, chosen.pair, chosen.seed)
            described = trial.network(
                self.architecture, self.split, chosen.configuration, seed
            )
            kept = tuned.keep(self.folder, chosen, described)
            if chosen.diverged:
                kept.unlink(missing_ok=True)
        tuned.tidy(self.folder)

    def forecast(self) -> dict[str, dict[str, float]]:
        """Returns by procedure its parameters, its trainings at most, and their FLOPs."""
        declared = self.protocol
        each = declared.configurations * (1 + declared.confirm_seeds) + WINNER_SEEDS
        found = {}
        for searcher in self.searchers:
            loops = self.loops[searcher.name]
            problem = loops.problem_of(searcher.arm)
            first = self.design.configuration(searcher.name, 0)
            item = trainers.Item(searcher.arm, 0, 0, "search", first)
            job = loops.job(item)
            with torch.random.fork_rng(devices=[]):
                module = job.build()
            found[searcher.name] = {
                "parameters": cost.parameters(module),
                "trainings": each,
                "flops": each * procedure.flops(problem, module, Source(problem), job),
            }
        return found
