"""The arms of a choice on its data: found, rehearsed, and held to what a user can afford."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from archtrial import data, metrics, trainers, trial
from archtrial import space as spaces
from archtrial.errors import ProtocolError, UserError
from archtrial.experiments.choose import limits
from archtrial.experiments.choose.protocol import LIMITS, Protocol
from archtrial.experiments.choose.training import Once
from archtrial.protocol import Arm
from archtrial.space import Space
from archtrial.trial import arming, rehearsing
from archtrial.zoo import arms as anybody
from archtrial.zoo.estimators import Estimator
from archtrial.zoo.outside import on_weights

__all__ = ["Prepared"]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Arms that can read the data, with their trainers."""

    arms: Sequence[Arm]
    found: Mapping[str, anybody.Architecture | Estimator]
    """By arm, also of the estimator that is not tuned."""
    spaces: Mapping[str, Space]
    loops: trainers.Loops
    fits: Once
    notes: Sequence[str]
    left_out: Sequence[Mapping[str, str]]
    """Arms of the default ladder that cannot read these data, "name" and "why"."""

    @classmethod
    def of(
        cls,
        declared: Protocol,
        arms: Sequence[Arm],
        plain: Arm,
        split: data.Split,
        metric: metrics.Metric,
    ) -> "Prepared":
        """Tries every arm as it will be trained.

        Args:
            declared: The protocol.
            arms: The ladder. What cannot be trained is left out where it is a default,
                and refused where the user named it.
            plain: The estimator that is not tuned.
            split: The data.
            metric: The score.

        Raises:
            UserError: An arm that was named cannot be trained.
        """
        metrics.check_margin(declared.margin, metric.bounded)
        found = {arm.name: arming.found(arm) for arm in (*arms, plain)}
        joined, _ = trial.put_together(
            arms, declared.space, found, split,
            declared="space" in declared.model_fields_set,
        )  # fmt: skip
        networks, estimators = arming.by_kind(found)
        recipes = dict.fromkeys(networks, declared.recipe)
        own_losses = arming.losses_of(
            declared, recipes, {name: joined[name] for name in networks}
        )
        problem = dataclasses.replace(
            trial.pose(declared, split, metric), losses=own_losses
        )
        inputs = data.inputs_of(split)
        loops = trainers.Loops(
            problem=problem,
            architectures=networks,
            inputs=inputs,
            study_seed=declared.seed,
            stacks=dict.fromkeys(networks, False),
            recipes=recipes,
        )
        fits = Once(problem, estimators, inputs, declared.seed, declared.threads)
        stacks: dict[str, bool] = {}
        seedless: set[str] = set()
        notes: list[str] = []
        left_out: list[dict[str, str]] = []
        for arm in arms:
            try:
                if arm.name in networks:
                    obstacle, said = trial.try_network(
                        arm, loops, joined[arm.name], split
                    )
                    stacks[arm.name] = obstacle is None
                else:
                    random, said = rehearsing.try_estimator(
                        arm, fits, joined[arm.name], declared.seed
                    )
                    if not random:
                        seedless.add(arm.name)
            except UserError as error:
                if declared.arms:
                    raise
                left_out.append({"name": arm.name, "why": _reason(error)})
                continue
            notes += [note for note in said if note not in notes]
            if arm.name in networks:
                own = networks[arm.name]
                notes += on_weights(arm.name, own.spec, own.source)
        gone = {each["name"] for each in left_out}
        kept = [arm for arm in arms if arm.name not in gone]
        if len(kept) < 2:
            raise ProtocolError(
                "two arms at least can read the data",
                "; ".join(f"{each['name']}: {each['why']}" for each in left_out),
                "Name arms that can: --arm A --arm B.",
            )
        return cls(
            kept,
            found,
            {arm.name: joined[arm.name] for arm in kept},
            dataclasses.replace(loops, stacks={**loops.stacks, **stacks}),
            dataclasses.replace(fits, seedless=frozenset(seedless)),
            notes,
            left_out,
        )

    def affordable(self, declared: Protocol) -> tuple[dict[str, Space], dict[str, str]]:
        """Holds every arm to the declared limits.

        Returns:
            What is searched of those arms that a user can afford; and of the others why
            not, a clause each.

        Raises:
            ProtocolError: Fewer than two are left.
        """
        kept: dict[str, Space] = {}
        beyond: dict[str, str] = {}
        limited = [name for name in LIMITS if getattr(declared, name) is not None]
        for arm in self.arms:
            space, why = self.spaces[arm.name], None
            if isinstance(self.found[arm.name], Estimator):
                if limited:
                    why = "what an answer of an estimator takes is not counted"
            else:
                space, why = limits.kept_within(
                    declared,
                    space,
                    lambda values, arm=arm: self.answer(arm.name, values),
                )
            if why is None:
                kept[arm.name] = space
            else:
                beyond[arm.name] = why
        if len(kept) < 2:
            options = " ".join(f"--{name.replace('_', '-')}" for name in limited)
            raise ProtocolError(
                "two arms at least are within the limits",
                "; ".join(f"{name} has {why}" for name, why in beyond.items()),
                f"Raise {options}, or name smaller arms with --arm.",
            )
        return kept, beyond

    def answer(self, arm: str, values: Mapping[str, Any]) -> dict[str, float]:
        """Returns what one answer of a network takes (`limits.answer`).

        Args:
            arm: Its name.
            values: A configuration, or what of it makes its structure.
        """
        module = self.module(arm, values)
        example = torch.from_numpy(self.loops.problem.x_validation[:1])
        return limits.answer(module, example, self.fits.threads)

    def module(self, arm: str, values: Mapping[str, Any]) -> torch.nn.Module:
        """Builds an arm's network as it is before training."""
        from archtrial import tuned

        drawn = spaces.sample(self.spaces[arm], self.loops.study_seed, 0)
        return tuned.restored(
            self.loops.architectures[arm],
            self.loops.inputs,
            self.loops.problem.num_outputs,
            {**drawn, **values},
            self.loops.study_seed,
            None,
            torch.from_numpy(self.loops.problem.x_train[:2]),
        )


def _reason(error: UserError) -> str:
    return f"{error.rule}; {error.received}" if error.received else error.rule
