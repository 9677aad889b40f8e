"""The arms of a trial: found, of which kind, and what each of them searches."""

import shlex
from collections.abc import Mapping, Sequence

import torch

from archtrial import data, specs
from archtrial.errors import ArmError, ProtocolError
from archtrial.protocol import (
    HYPERPARAMETERS,
    PROCEDURE_HYPERPARAMETERS,
    RESERVED,
    Arm,
    OnData,
    Procedure,
    Recipe,
    procedure_space,
)
from archtrial.protocol import Protocol as Declared
from archtrial.space import Space, sample
from archtrial.training.module import dropouts
from archtrial.zoo import arms as anybody
from archtrial.zoo import losses, sizes
from archtrial.zoo.estimators import Estimator, check_space, is_estimator
from archtrial.zoo.estimators import find as find_estimator

__all__ = [
    "by_kind",
    "check_estimators",
    "check_factors",
    "found",
    "losses_of",
    "match",
    "put_together",
    "widened",
]


def found(arm: Arm) -> anybody.Architecture | Estimator:
    """Finds what an arm names.

    Raises:
        ArmError: There is no such thing.
        ProtocolError: Its search space is impossible.
    """
    own_space = arm.space if "space" in arm.model_fields_set else None
    if is_estimator(arm.architecture):
        return find_estimator(arm.architecture, arm.options, own_space)
    return anybody.find(arm.architecture, arm.options, own_space)


def check_factors(declared: Declared) -> None:
    """Raises a ProtocolError where some architectures lack an option that is crossed."""
    levels = declared.factors.get("architecture", ())
    options = [name for name in declared.factors if name not in RESERVED]
    if not levels or not options:
        return
    bare: dict[str, Arm] = {}
    for arm in declared.arms:
        kept = {k: v for k, v in arm.options.items() if k not in options}
        name = str(declared.levels[arm.name]["architecture"])
        bare.setdefault(name, arm.model_copy(update={"options": kept}))
    architectures = {name: found(arm) for name, arm in bare.items()}
    for option in options:
        with_it = [n for n, each in architectures.items() if each.takes(option)]
        without = [n for n in architectures if n not in with_it]
        if not with_it or not without:
            continue  # where none has it, what has nearly its name is said elsewhere
        told = []
        for level, (name, arm) in zip(levels, bare.items(), strict=True):
            if name in without:
                told.append(str(level))
                continue
            fixed = dict(arm.options)
            if arm.recipe != "plain" and "recipe" not in declared.factors:
                fixed["recipe"] = arm.recipe
            for value in declared.factors[option]:
                inside = {**fixed, option: value}.items()
                written = ", ".join(f"{k}={specs.write_value(v)}" for k, v in inside)
                told.append(f"{arm.architecture}({written})")
        crossed = shlex.quote(f"architecture={','.join(told)}")
        raise ProtocolError(
            "beside the factor architecture, a factor is recipe, or an option that all"
            " of its architectures take",
            f"{option}, which {' and '.join(with_it)} take{'s' * (len(with_it) == 1)}"
            f" and {' and '.join(without)} do{'es' * (len(without) == 1)} not",
            f"Leave {option} out, or cross whole architectures, of which the first is"
            f" the baseline: --factor {crossed}",
        )


def losses_of(
    declared: OnData, recipes: Mapping[str, Recipe], spaces: Mapping[str, Space]
) -> dict[str, losses.Loss]:
    """Returns the users' own losses, by what recipes call them.

    Raises:
        ProtocolError: Label smoothing is searched beside one.
    """
    named = {declared.recipe.loss, *(own.loss for own in recipes.values())} - {None}
    for name, own in recipes.items():
        if own.loss is not None and "label_smoothing" in spaces[name]:
            raise ProtocolError(
                "label smoothing belongs to cross-entropy",
                f"it is searched for {name}, whose loss is {own.loss}",
                "Take label_smoothing out of the search space.",
            )
    return {spec: losses.find(spec) for spec in sorted(filter(None, named))}


def by_kind(
    architectures: Mapping[str, anybody.Architecture | Estimator],
) -> tuple[dict[str, anybody.Architecture], dict[str, Estimator]]:
    """Returns the networks, and the estimators, by arm."""
    networks, estimators = {}, {}
    for name, architecture in architectures.items():
        if isinstance(architecture, Estimator):
            estimators[name] = architecture
        else:
            networks[name] = architecture
    return networks, estimators


def check_estimators(
    declared: Declared, architectures: Mapping[str, anybody.Architecture | Estimator]
) -> None:
    """Raises a ProtocolError where something is declared that estimators do not know."""
    for arm in declared.arms:
        estimator = architectures[arm.name]
        if not isinstance(estimator, Estimator):
            continue
        refused = [
            (
                len(declared.ladder) > 1,
                "longer training is of networks, which train by steps",
                f"ladder = {list(declared.ladder)}",
                "Leave the ladder out.",
            ),
            (
                declared.matched_baseline,
                "a matched baseline has as many parameters as a challenger",
                "matched_baseline = true",
                "Leave matched_baseline out.",
            ),
            (
                arm.recipe != "plain",
                "a recipe says how networks are trained",
                "a recipe of its own",
                "Give the arm options in its place.",
            ),
            (
                declared.recipe.procedure.unlabelled,
                "a procedure says how networks read examples without labels",
                f'procedure = "{declared.recipe.procedure.kind}" in [recipe]',
                "Make it an option of the networks, such as"
                f" mlp(procedure={declared.recipe.procedure.kind}).",
            ),
        ]
        for is_so, rule, received, way_out in refused:
            if is_so:
                said = f"{received}, and {arm.name} is {estimator.spec}"
                raise ProtocolError(rule, said, way_out)
        shared = [name for name in declared.space if name in estimator.accepts]
        if not set(shared) - set(HYPERPARAMETERS):
            check_space(estimator, arm.name)


def put_together(
    arms: Sequence[Arm],
    everybodys: Space,
    architectures: Mapping[str, anybody.Architecture | Estimator],
    split: data.Split,
    *,
    declared: bool,
    recipes: Mapping[str, Recipe] | None = None,
    of_procedures: Space | None = None,
) -> tuple[dict[str, Space], list[str]]:
    """Joins the shared space with each arm's own.

    Args:
        arms: All of them.
        everybodys: The shared space.
        architectures: By arm.
        split: Modules are built for its inputs.
        declared: Whether the shared space was declared, and is no default.
        recipes: By arm; what is searched of its procedure is joined, too. None: all
            arms learn from labels alone.
        of_procedures: What is searched of those procedures that have it, before what is
            declared for all; None: the default of each.

    Returns:
        What each arm searches; and a sentence for each shared dimension that an
        arm has no use for.

    Raises:
        ArmError: No arm has any use for a shared dimension that was declared.
    """
    joined: dict[str, Space] = {}
    unused: dict[str, list[str]] = {}
    for arm in arms:
        architecture = architectures[arm.name]
        procedure = recipes[arm.name].procedure if recipes else Procedure()
        _check_names(arm, architecture, procedure)
        known = procedure_space(procedure) if of_procedures is None else of_procedures
        least = {k: v for k, v in known.items() if k in procedure.searchable}
        shared = {}
        for name, dimension in everybodys.items():
            if _takes(architecture, name, split, procedure):
                shared[name] = dimension
            # Nobody expects of an estimator what all networks search by default.
            elif not isinstance(architecture, Estimator) or declared:
                unused.setdefault(name, []).append(arm.name)
        # What was declared for this arm, for all arms, or for nobody: the nearest.
        nearest = (
            {**least, **shared, **architecture.space}
            if "space" in arm.model_fields_set
            else {**least, **architecture.space, **shared}
        )
        joined[arm.name] = {
            name: dimension
            for name, dimension in nearest.items()
            if name not in arm.options
        }
    for name, without in unused.items():
        if declared and len(without) == len(arms):
            raise ArmError(
                "a dimension of the shared search space is one that some arm takes",
                f"{name!r} is neither a hyperparameter of training"
                f" ({', '.join(HYPERPARAMETERS)}) nor an option of any arm",
                "Correct its spelling or remove it from space.",
            )
    return joined, [
        f"{' and '.join(without)} does not take {name}: it is not searched there."
        for name, without in unused.items()
    ]


def _check_names(
    arm: Arm, architecture: anybody.Architecture | Estimator, procedure: Procedure
) -> None:
    """Makes sure that what a procedure has is told from what an architecture has.

    Raises:
        ArmError: Both have an option of one name, or what is searched is of a procedure
            that the arm does not have.
    """
    for name in PROCEDURE_HYPERPARAMETERS:
        if name in architecture.accepts:
            if name in procedure.searchable:
                raise ArmError(
                    f"{name} is what the procedure {procedure.kind!r} searches",
                    f"{architecture.spec} has an option of that name",
                    "Give the option another name.",
                )
        elif name in architecture.space and name not in procedure.searchable:
            raise ArmError(
                f"{name} is searched of a procedure that has it",
                f"the space of {arm.name}, whose procedure is {procedure.kind!r}",
                f"Leave {name} out of its space.",
            )


def match(
    declared: Declared,
    architectures: Mapping[str, anybody.Architecture | Estimator],
    spaces: Mapping[str, Space],
    split: data.Split,
    draws: int,
) -> sizes.Matched | None:
    """Widens the baseline to the size of the largest challenger, if it is smaller."""
    networks, _ = by_kind(architectures)
    baseline, *challengers = (
        sizes.Sized(arm.name, networks[arm.name], spaces[arm.name])
        for arm in declared.arms
    )
    with torch.random.fork_rng(devices=[]):
        return sizes.match(
            baseline,
            challengers,
            data.inputs_of(split),
            split.num_outputs,
            declared.seed,
            draws,
        )


def widened(declared: Declared, matched: sizes.Matched) -> Arm:
    """Returns the baseline at a challenger's size, as an arm."""
    return declared.baseline.model_copy(
        update={
            "name": declared.matched_name,
            "options": dict(matched.options),
            "space": dict(matched.space),
        }
    )


def _takes(
    architecture: anybody.Architecture | Estimator,
    name: str,
    split: data.Split,
    procedure: Procedure,
) -> bool:
    if isinstance(architecture, Estimator):
        # What training a network calls so is something else here: the learning rate
        # of boosted trees is no gradient's.
        return name in architecture.accepts and name not in HYPERPARAMETERS
    if name in architecture.accepts:
        return True
    if name in PROCEDURE_HYPERPARAMETERS:
        return name in procedure.searchable
    if name in set(HYPERPARAMETERS) - {"dropout"}:
        return True
    if name != "dropout":
        return False
    drawn = sample(architecture.space, 0, 0)
    with torch.random.fork_rng(devices=[]):
        module = architecture.build(data.inputs_of(split), split.num_outputs, drawn)
    return bool(dropouts(module))
