"""The stages of a study of scale: the base, the grid, every form, the test set.

from archtrial.experiments import scale
study = scale.Study(scale.Protocol(data="mnist1d", architecture="cnn"))
study.run()
study.verdict
study.report("report.html")
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from archtrial import data, searches, trainers, trial, workflow
from archtrial import space as spaces
from archtrial.experiments.scale.forms import Form, arm_of, axes_of, forms_of
from archtrial.experiments.scale.protocol import BASE, COMPOUND, Protocol
from archtrial.experiments.scale.verdict import GRID, chosen_shares, compared, judge
from archtrial.freezing import folder_of
from archtrial.judge.experiment import Finding
from archtrial.protocol import Arm, describe_space
from archtrial.statistics.planning import WINNER_SEEDS
from archtrial.workflow import searching
from archtrial.zoo import arms

__all__ = ["Study"]


class Study(workflow.Study[Protocol, Finding]):
    """One declared study of scale, carried out in one folder.

    Args:
        declared: What is asked.
        folder: Where the store, the verdict and the page are kept; by default
            `studies/` and the declaration's short hash.

    Raises:
        UserError: Something declared cannot be used; its subclasses say what.
    """

    trainer: trainers.Loops

    def __init__(self, declared: Protocol, folder: str | Path | None = None) -> None:
        self.protocol = declared
        trial.check_device(declared.device)
        name, self.split, self.metric = trial.load(declared)
        self.sign = 1 if self.metric.higher_is_better else -1
        inputs = data.inputs_of(self.split)
        own = declared.architecture
        base = arms.find(own.architecture, own.options)
        axes = axes_of(declared, base, inputs)
        self.forms, notes = forms_of(
            declared, base, axes, inputs, self.split.num_outputs
        )
        told = [arm_of(declared, form) for form in self.forms]
        found = {
            arm.name: arms.find(
                arm.architecture,
                arm.options,
                arm.space if "space" in arm.model_fields_set else None,
            )
            for arm in told
        }
        self.spaces, said = trial.put_together(
            told, declared.space, found, self.split,
            declared="space" in declared.model_fields_set,
        )  # fmt: skip
        notes += said
        self.trainer, tried = self._rehearsed(told, found, inputs)
        notes += [note for note in tried if note not in notes]
        described = []
        for form, arm in zip(self.forms, told, strict=True):
            described.append(
                {
                    **dataclasses.asdict(form),
                    "factors": form.factors(axes, self.forms[0]),
                    "space": describe_space(self.spaces[arm.name]),
                    "source": found[arm.name].source,
                }
            )
        self.resolved = {
            **trial.resolve(declared, name, self.split, self.metric),
            **declared.own(),
            "experiment": "scale",
            "axes": dict(axes),
            "forms": described,
            "notes": [*self.split.notes, *notes],
        }
        self.folder = folder_of(self.resolved) if folder is None else Path(folder)
        self.design = spaces.Design(self.spaces, declared.seed, "sobol")

    def _rehearsed(
        self,
        told: list[Arm],
        found: Mapping[str, arms.Architecture],
        inputs: data.Inputs,
    ) -> tuple[trainers.Loops, list[str]]:
        """Tries every form as it will be trained."""
        declared = self.protocol
        loops = trainers.Loops(
            problem=trial.pose(declared, self.split, self.metric),
            architectures=found,
            inputs=inputs,
            study_seed=declared.seed,
            stacks=dict.fromkeys(found, False),
            recipes=dict.fromkeys(found, declared.recipe),
        )
        return trial.try_networks(told, loops, self.spaces, self.split)

    def stages(self, work: workflow.Work) -> None:
        """The base is tuned, the grid chooses the shares, all forms are tuned."""
        declared = self.protocol
        base = searches.Searcher(BASE, BASE)
        work.carry_out(
            "base: search",
            searching.searched(self.design, [base], 0, declared.configurations),
        )
        runs = self.runs(work.store)
        searching.check_not_all_failed([base], runs, self.folder)
        work.carry_out("grid", self._grid(searches.tuned_pair(runs, BASE, self.sign)))
        shares = chosen_shares(self.runs(work.store), self.resolved, self.sign)
        searchers = [
            searches.Searcher(form["name"], form["name"])
            for form in compared(self.resolved, shares)
        ]
        searching.tuned(work, self.design, searchers, declared, "forms: ")
        work.open_test(lambda store: trial.score(store, self.split, self.metric))

    def _grid(self, pair: int) -> list[trainers.Item]:
        """Plans each candidate at phi = 1, trained as the base's best was."""
        return [
            trainers.Item(
                form.name, pair, -seed, "search",
                {
                    name: value
                    for name, value in self.design.configuration(BASE, pair).items()
                    if name in self.spaces[form.name]
                },
                further=GRID,
            )
            for form in self.forms
            if form.kind == COMPOUND and form.phi == 1
            for seed in range(self.protocol.grid_seeds)
        ]  # fmt: skip

    def judge(self) -> Finding:
        """Reads the verdict, with all its evidence, off the folder's records."""
        return judge(self.folder)

    def forecast(self) -> dict[str, dict[str, float]]:
        """Returns by form its parameters, its trainings at most, and their FLOPs.

        Of all compound forms one is chosen, and the others are of the grid alone.
        """
        declared = self.protocol
        each = declared.configurations * (1 + declared.confirm_seeds) + WINNER_SEEDS
        length = self.trainer.problem.steps * min(
            declared.batch_size, len(self.split.y_train)
        )
        found = {}
        for form in self.forms:
            grid = form.kind == COMPOUND and form.phi == 1
            trainings = declared.grid_seeds * grid
            if form.kind != COMPOUND:
                trainings = each
            found[form.name] = {
                "parameters": form.parameters,
                "trainings": trainings,
                "flops": float(form.flops * length * trainings),
            }
        largest = [f for f in self.forms if f.kind == COMPOUND]
        for phi in range(1, declared.phi + 1):
            one = max((f for f in largest if f.phi == phi), key=_flops)
            found[f"{COMPOUND}-{phi}, as chosen"] = {
                "parameters": one.parameters,
                "trainings": each,
                "flops": float(one.flops * length * each),
            }
        return found


def _flops(form: Form) -> int:
    return form.flops
