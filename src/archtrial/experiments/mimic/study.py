"""The experiment's stages: teachers, their answers, students, the test set, a verdict.

from archtrial.experiments import mimic
study = mimic.Study(mimic.Protocol(data="mnist1d"))
study.run()
study.verdict
study.report("report.html")
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from archtrial import (
    data,
    probes,
    protocol,
    searches,
    trainers,
    trial,
    tuned,
    workflow,
)
from archtrial import space as spaces
from archtrial.errors import ProtocolError, StudyError
from archtrial.experiments.mimic import transfer
from archtrial.experiments.mimic.protocol import ENSEMBLE, LABELS, OF_TEACHER, Protocol
from archtrial.experiments.mimic.students import check_layouts, students_of
from archtrial.experiments.mimic.training import (
    Ensemble,
    Trainer,
    bare,
    labels_as_logits,
    place_of,
)
from archtrial.experiments.mimic.verdict import LATENCY, judge, named, searchers_of
from archtrial.files import write
from archtrial.freezing import folder_of
from archtrial.judge.experiment import Finding
from archtrial.protocol import Arm, describe_space
from archtrial.records.store import Store
from archtrial.records.table import Run, rank
from archtrial.space import Space
from archtrial.statistics.planning import WINNER_SEEDS
from archtrial.training import cost
from archtrial.training.latency import latency
from archtrial.workflow import bayesian, searching
from archtrial.zoo import arms, outside

__all__ = ["Study"]


class Study(workflow.Study[Protocol, Finding]):
    """One declared experiment, carried out in one folder.

    Args:
        declared: What is asked.
        folder: Where the store, the verdict and the page are kept; by default
            `studies/` and the declaration's short hash.

    Raises:
        UserError: Something declared cannot be used; its subclasses say what.
    """

    trainer: Trainer

    def __init__(self, declared: Protocol, folder: str | Path | None = None) -> None:
        self.protocol = declared
        self.bayesian = declared.tuner == "gp"
        if self.bayesian:
            probes.check("Bayesian optimisation is Optuna's", "leave tuner out")
        trial.check_device(declared.device)
        name, self.split, self.metric = trial.load(declared)
        if self.split.task != "classification":
            raise ProtocolError(
                "a teacher's logits are of classes",
                f"{name} is {self.split.task}",
                "Compare architectures on it: archtrial run. Or, if its numbers are"
                " classes: --task classification --metric accuracy.",
            )
        check_layouts(declared, data.inputs_of(self.split), self.split.num_outputs)
        self.sign = 1 if self.metric.higher_is_better else -1
        self.teachers = () if declared.of_labels else declared.teacher
        students = students_of(declared)
        own = [student.arm for student in students]
        found = {
            arm.name: arms.find(
                arm.architecture,
                arm.options,
                arm.space if "space" in arm.model_fields_set else None,
            )
            for arm in (*self.teachers, *own)
        }
        on_labels = (*(self.teachers if declared.teacher_configurations else ()), *own)
        of_labels, notes = self._joined(on_labels, found, "labels_space")
        of_labels |= {arm.name: {} for arm in self.teachers if arm not in on_labels}
        of_teacher, _ = self._joined(own, found, "teacher_space")
        loops, said = self._rehearsed(found, of_labels, own)
        more = None
        if declared.unlabelled is not None:
            more = data.unlabelled(declared.unlabelled, self.split)
        told = [student.to_dict() for student in students]
        for each in told:
            each["source"] = found[each["name"]].source
            each["spaces"] = {
                "labels": describe_space(of_labels[each["name"]]),
                "teacher": describe_space(of_teacher[each["name"]]),
            }
        self.resolved = {
            **trial.resolve(declared, name, self.split, self.metric),
            **declared.own(),
            # Of the other tuner.
            **dict.fromkeys(["effort" if self.bayesian else "searches"]),
            "experiment": "mimic",
            "teacher": [
                {
                    **arm.describe(),
                    "space": describe_space(of_labels[arm.name]),
                    "source": found[arm.name].source,
                }
                for arm in self.teachers
            ],
            "students": told,
            "passes": declared.times(len(self.split.y_train)),
            "unlabelled": None
            if more is None
            else {
                "rows": len(more),
                "sha256": hashlib.sha256(more.tobytes()).hexdigest(),
            },
            "notes": [*self.split.notes, *notes, *said],
        }
        self.hash = protocol.digest(self.resolved)
        self.folder = folder_of(self.resolved) if folder is None else Path(folder)
        self.trainer = Trainer(
            loops=loops,
            students=frozenset(arm.name for arm in own),
            transfer=transfer.TransferSet(
                self.folder / "transfer",
                dataclasses.replace(loops.problem, recipe=declared.recipe),
                more,
                self.resolved["passes"],
                declared.seed,
                declared.memory,
                self.hash,
            ),
            declared=declared,
            folder=self.folder,
        )
        self.resolved["notes"] += self._noticed()
        if not declared.teacher_configurations:
            for arm in self.teachers:
                self.trainer.check_as_built(arm.name)
        self.searchers = searchers_of(self.resolved)
        of = {True: of_teacher, False: of_labels}
        self.design = spaces.Design(
            {s.name: of[s.further["teacher"]][s.arm] for s in self.searchers},
            declared.seed,
            "sobol",
        )
        self.teachers_design = spaces.Design(
            {arm.name: of_labels[arm.name] for arm in self.teachers},
            declared.seed,
            "sobol",
        )

    def _noticed(self) -> list[str]:
        """Returns how large the transfer set is, and what makes labels another teacher."""
        declared, notes = self.protocol, []
        size = self.trainer.transfer.size / 2**30
        if size > 1:
            notes.append(
                f"the transfer set takes {size:,.1f} GiB of the disk:"
                f" {len(self.trainer.transfer):,} examples, {self.resolved['passes']:,}"
                " of each"
            )
        if not declared.of_labels:
            return notes
        differs = []
        if declared.imitate == "logits":
            differs.append("the loss (squared error, not cross-entropy)")
        if declared.imitate == "probabilities" and (
            declared.temperature != 1 or OF_TEACHER[0] in declared.teacher_space
        ):
            differs.append("a temperature")
        apart = set(declared.labels_space.items()) ^ set(declared.teacher_space.items())
        names = sorted({name for name, _ in apart} - set(OF_TEACHER))
        if names:
            differs.append(f"what is searched ({', '.join(names)})")
        if declared.recipe.label_smoothing:
            differs.append("label smoothing, without a teacher alone")
        if differs:
            notes.append(
                "with the labels as their teacher, students differ from those without"
                f" one in more than that: {'; '.join(differs)}"
            )
        return notes

    def _joined(
        self, some: Sequence[Arm], found: Mapping[str, arms.Architecture], beside: str
    ) -> tuple[dict[str, Space], Sequence[str]]:
        """Returns what arms search, that of their teacher last."""
        further = dict(getattr(self.protocol, beside))
        of_teacher = {name: further.pop(name) for name in OF_TEACHER if name in further}
        # Apart: a default that nobody takes is no mistake of who declared the other.
        (joined, notes), (more, said) = (
            trial.put_together(
                some, space, found, self.split,
                declared=name in self.protocol.model_fields_set,
            )
            for name, space in (("space", self.protocol.space), (beside, further))
        )  # fmt: skip
        return {
            name: {**own, **{k: more[name][k] for k in further if k in more[name]}}
            | of_teacher
            for name, own in joined.items()
        }, [*notes, *said]

    def _rehearsed(
        self,
        found: Mapping[str, arms.Architecture],
        searched: Mapping[str, Space],
        students: Sequence[Arm],
    ) -> tuple[trainers.Loops, Sequence[str]]:
        """Tries every network as it will be trained on labels."""
        declared = self.protocol
        # What students see is augmented once, and kept.
        seen = declared.recipe.model_copy(update={"augmentation": ()})
        own = {arm.name for arm in students}
        loops = trainers.Loops(
            problem=trial.pose(declared, self.split, self.metric),
            architectures=found,
            inputs=data.inputs_of(self.split),
            study_seed=declared.seed,
            stacks=dict.fromkeys(found, False),
            recipes={name: seen if name in own else declared.recipe for name in found},
        )
        trained = self.teachers if declared.teacher_configurations else ()
        loops, notes = trial.try_networks(
            [*trained, *students], loops, searched, self.split
        )
        for arm in (*self.teachers, *students):
            notes += outside.on_weights(
                arm.name, found[arm.name].spec, found[arm.name].source
            )
        return loops, notes

    # The stages.

    def stages(self, work: workflow.Work) -> None:
        """Teachers, what they say, students with and without them, the test set."""
        declared = self.protocol
        if not self.runs(work.store):
            # Another study's, which was here before and is measured once.
            (self.folder / LATENCY).unlink(missing_ok=True)
        # Before anybody trains for what would be refused.
        self.trainer.transfer.check()
        if declared.of_labels:
            answer = labels_as_logits(self.split.num_outputs)
            self.trainer.transfer.make(answer, LABELS)
        else:
            work.carry_out("teachers: search", self._candidates())
            members: Any = self._members(self.runs(work.store))
            work.carry_out(
                "teachers: answers",
                [trainers.Item(ENSEMBLE, 0, 0, "confirm", {"members": members})],
            )
            # What was removed since, as a damaged block, is answered again.
            ensemble = self.trainer.ensemble(members)
            teacher = self._same_teacher(ensemble, self.runs(work.store))
            self.trainer.transfer.make(
                lambda inputs, _: ensemble.answers(inputs), teacher
            )
        if self.bayesian:
            bayesian.search(work, self.searchers, self.design)
        else:
            work.carry_out(
                "students: search",
                searching.searched(
                    self.design, self.searchers, 0, declared.configurations
                ),
            )
        runs = searches.of(self.runs(work.store), *self.searchers)
        searching.check_not_all_failed(self.searchers, runs, self.folder)
        work.carry_out(
            "students: fresh seeds",
            bayesian.confirmed(
                self.searchers,
                runs,
                declared,
                self.sign,
                lambda searcher: bool(searcher.further["teacher"]),
            )
            if self.bayesian
            else searching.confirmed(
                self.design,
                self.searchers,
                runs,
                effort=declared.effort,
                seeds=declared.confirm_seeds,
                sign=self.sign,
            ),
        )
        work.open_test(lambda store: trial.score(store, self.split, self.metric))

    def _candidates(self) -> list[trainers.Item]:
        return [
            trainers.Item(
                arm.name,
                index,
                0,
                "search",
                self.teachers_design.configuration(arm.name, index),
                keep_weights=True,
            )
            for arm in self.teachers
            for index in range(self.protocol.teacher_configurations)
        ]

    def _members(self, runs: Sequence[Run]) -> list[dict[str, Any]]:
        """Returns the best candidates by validation, as `Trainer.ensemble` takes them."""
        if not self.protocol.teacher_configurations:
            return [
                {"arm": arm.name, "pair": -1, "configuration": {}}
                for arm in self.teachers
            ]
        names = [arm.name for arm in self.teachers]
        known = [run for run in runs if run.arm in names and not run.diverged]
        if len(known) < self.protocol.ensemble:
            tried = [run for run in runs if run.arm in names]
            failed = next((run.error for run in tried if run.error), "they diverged")
            raise StudyError(
                "an ensemble is of teachers that come to their end",
                f"ensemble = {self.protocol.ensemble}, and {len(known)} of {len(tried)}"
                f" did; of the others, {failed}",
                "Lower the learning rates of [space], or take another teacher, and"
                f" remove {self.folder}.",
            )
        known.sort(
            key=lambda run: (-rank(run, self.sign), names.index(run.arm), run.pair)
        )
        return [
            {"arm": run.arm, "pair": run.pair, "configuration": dict(run.configuration)}
            for run in known[: self.protocol.ensemble]
        ]

    def _same_teacher(self, ensemble: Ensemble, runs: Sequence[Run]) -> str:
        """Returns what tells a teacher from others, where it is the one that answered."""
        (answered,) = [run for run in runs if run.arm == ENSEMBLE]
        digest = ensemble.digest()
        if answered.configuration.get("weights") != digest:
            raise StudyError(
                "a study has one teacher, whose weights stay as they were",
                "the teacher has other weights than when it answered, from"
                f" {', '.join(arm.name for arm in self.teachers)}",
                "Put its weights back, or begin in another folder (--study).",
            )
        return digest

    def judge(self) -> Finding:
        """Reads the verdict, with all its evidence, off the folder's records."""
        return judge(self.folder)

    def alike(self, item: trainers.Item) -> str:
        """Returns what an item shares with those that take as long."""
        return item.arm

    def weights_file(self, done: trainers.Finished) -> Path:
        """Returns where the weights of a teacher, or of a taught student, are kept."""
        if done.run.arm in self.trainer.students:
            # Beside those of the same seed without a teacher, which nobody keeps.
            taught = done.run.coordinates["teacher"]
            name = done.run.arm if taught else named(done.run.arm, False)
            named_so = dataclasses.replace(done.run, arm=name)
            return tuned.weights_file(self.folder, named_so)
        return place_of(self.folder, done.run)

    def check(self, workers: int) -> None:
        """Makes sure that there is room for the transfer set, however many train."""
        self.trainer.transfer.check_room()

    def finish(self, store: Store) -> None:
        """Keeps taught students and their teachers, and measures how fast they are."""
        runs = searches.of(self.runs(store), *self.searchers)
        networks: dict[str, Callable[[], torch.nn.Module]] = {}
        if not self.protocol.of_labels:
            members = self._members(self.runs(store))
            networks[ENSEMBLE] = functools.partial(self.trainer.ensemble, members)
            self._keep_alone(members)
        for searcher in (s for s in self.searchers if s.further["teacher"]):
            winner = searches.tuned_pair(runs, searcher.name, self.sign)
            confirmed = [
                dataclasses.replace(run, arm=searcher.arm)
                for run in runs
                if (run.arm, run.pair, run.stage) == (searcher.name, winner, "confirm")
            ]
            chosen = tuned.best(confirmed, self.sign)
            loops = self.trainer.loops
            item = bare(
                trainers.Item(
                    chosen.arm,
                    chosen.pair,
                    chosen.seed,
                    "confirm",
                    chosen.configuration,
                    tuner=chosen.tuner,
                )
            )
            described = trial.network(
                loops.architectures[searcher.arm],
                self.split,
                item.configuration,
                loops.initial_seed(item.arm, *item.names),
            )
            kept = tuned.keep(self.folder, chosen, described)
            if chosen.diverged:
                kept.unlink(missing_ok=True)  # another study's, which was here before
            if kept.exists():  # one that diverged leaves none
                networks[searcher.arm] = functools.partial(
                    self.trainer.restored, item, kept
                )
        tuned.tidy(self.folder)
        self._measure(networks)

    def _keep_alone(self, members: Sequence[Mapping[str, Any]]) -> None:
        """Removes the weights of teachers that have no part in the ensemble."""
        known = {
            place_of(self.folder, trainers.Item(**m, seed=0, stage="search"))
            for m in members
        }
        for place in (self.folder / "teachers").glob("*.safetensors"):
            if place not in known:
                place.unlink()

    def _measure(self, networks: Mapping[str, Callable[[], torch.nn.Module]]) -> None:
        """Writes how long networks take to answer here, once."""
        place = self.folder / LATENCY
        if place.exists():
            return
        x = torch.from_numpy(self.split.x_validation[:100])
        measured = {
            name: {
                str(batch): latency(
                    build().to(self.protocol.device),
                    x[:batch].to(self.protocol.device),
                    threads=self.protocol.threads,
                ).to_dict()
                for batch in (1, len(x))
            }
            for name, build in networks.items()
        }
        write(place, json.dumps(measured, indent=2), within=self.folder)

    def forecast(self) -> dict[str, dict[str, float]]:
        """Returns by network its parameters, its trainings at most, and their FLOPs."""
        declared, loops = self.protocol, self.trainer.loops
        if self.bayesian:
            one = declared.configurations + declared.confirm_seeds
            each = declared.searches * one
        else:
            each = declared.configurations * (1 + declared.confirm_seeds) + WINNER_SEEDS
        batch = torch.from_numpy(self.split.x_train[: declared.batch_size])
        found = {}
        for name in loops.architectures:
            student = name in self.trainer.students
            design = self.design if student else self.teachers_design
            drawn = design.configuration(named(name, False) if student else name, 0)
            module = self.trainer.restored(
                trainers.Item(name, -1, 0, "search", drawn)
            ).train()
            trainings = 2 * each if student else declared.teacher_configurations
            found[name] = {
                "parameters": cost.parameters(module),
                "trainings": trainings,
                "flops": trainings
                and trainings
                * cost.training(module, batch, loops.problem_of(name).steps),
            }
        return found
