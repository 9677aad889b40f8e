"""What an experiment with teachers and students declares before its first run."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic

from archtrial import space as spaces
from archtrial.errors import ProtocolError
from archtrial.files import name_of
from archtrial.protocol import Arm, Count, OnData, Positive, Searched, loader
from archtrial.statistics.simultaneous import FLIPS, seeds_needed

__all__ = ["ENDINGS", "ENSEMBLE", "LABELS", "LAYOUT", "OF_TEACHER", "Protocol", "load"]

LABELS = "labels"
"""A teacher that is no network: it says each training example's label, and no more."""

ENSEMBLE = "teacher"
"""What the records call the average of the best teachers."""

LAYOUT = re.compile("(mlp)([1-5])|(conv)([1-4])")
"""Fully connected with so many hidden layers, or so many convolutions and one of them."""

ENDINGS = {False: " without a teacher", True: " with its teacher"}
"""How the names of a student's two searches end, by whether it is taught."""

# What changes labels, and nothing that a teacher says.
_OF_LABELS = ("label_smoothing",)

OF_TEACHER = ("temperature", "label_weight")
"""What can be searched of how a student learns from its teacher."""

_SPACE = {"learning_rate": spaces.Real(3e-4, 1e-1, log=True)}
_LABELS_SPACE = {
    "weight_decay": spaces.Real(1e-5, 1e-1, log=True),
    "dropout": spaces.Real(0.0, 0.5),
}


class Protocol(OnData):
    """Do networks need to be deep and convolutional?

    Only `data` has no default. Urban et al. 2017, arXiv 1603.05691, section 2.

    Raises:
        ProtocolError: A key is unknown, a value impossible, or two contradict.
    """

    teacher: tuple[Arm, ...] = (Arm.model_validate("vgg"),)
    """A deep network whose configurations are searched for teachers: a zoo name or
    net.py:Net, with (options). "labels": no network, but the training labels
    themselves, which must bring no gain."""
    teacher_configurations: Annotated[int, pydantic.Field(ge=0)] = 16
    """Configurations searched of each teacher; 0: it answers as it is built, without
    training, as a network of your own does that loads its weights."""
    ensemble: Count = 4
    """The best teachers by validation, whose logits are averaged; by default no more
    than there are candidates, and all of those that answer as they are built."""
    layouts: Annotated[
        tuple[str, ...], pydantic.Field(examples=["mlp1, mlp2, conv1 to conv4"])
    ] = ("mlp1", "mlp2", "conv1", "conv3")
    """A student's layers: fully connected hidden ones, or convolutions and a hidden one."""
    budgets: Annotated[tuple[Count, ...], pydantic.Field(examples=["10000,100000"])] = (
        3_000,
        30_000,
    )
    """Parameters that each layout has, to within one unit of its last hidden layer."""
    students: tuple[Arm, ...] = ()
    """Another student: a zoo name or net.py:Net, with (options), as large as it is."""
    imitate: Literal["logits", "probabilities"] = "logits"
    """What students learn of their teacher: its logits, by squared error, or its softened
    probabilities, by cross-entropy; where the labels are the teacher, by default the
    latter, as students without a teacher do."""
    temperature: Positive = 1.0
    """By which logits are divided before they become softened probabilities."""
    label_weight: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.0
    """The labels' share in the loss of a student that has a teacher."""
    passes: Count | None = None
    """How often the transfer set has each training example, each time augmented anew; by
    default as often as a training meets it, and once without augmentation."""
    unlabelled: str | None = None
    """An .npz (x) or .npy file of more inputs for teachers to answer, as they stand in
    the data."""
    space: Searched = dict(_SPACE)  # noqa: RUF012 - pydantic copies it
    """What is searched of the training of every network."""
    labels_space: Searched = dict(_LABELS_SPACE)  # noqa: RUF012 - as above
    """What is searched beside where labels are learned: by teachers, and by students
    without one, whom nothing else keeps from learning examples by heart."""
    teacher_space: Searched = {}  # noqa: RUF012 - as above
    """What is searched beside where a teacher is learned from: temperature and
    label_weight, too. By default nothing, but where the labels are the teacher, what
    is searched where labels are learned."""
    tuner: Literal["sobol", "gp"] = "sobol"
    """How each student is searched: by the points of a Sobol sequence, or by Bayesian
    optimisation, in whole searches that are repeated. "gp" is Optuna's Gaussian process;
    the first half of a search's trials, ten at most, are drawn at random. Teachers are
    searched by a Sobol sequence in any case: they only have to be good."""
    effort: Count = 4
    """Trials that an experimenter spends before picking the best (k)."""
    searches: Count = 6
    """Whole searches of each student with, and without, its teacher, where the tuner is
    gp."""
    configurations: Count = 16
    """Configurations searched of each student with, and without, its teacher (n), at
    least 4 k; by gp as many trials of each search."""
    confirm_seeds: Count = 3
    """Fresh seeds of the best configurations (r)."""
    default_steps: ClassVar[int] = 1500

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read(cls, declared: Any) -> Any:
        declared = dict(declared)
        for name in ("teacher", "students", "layouts", "budgets"):
            value = declared.get(name)
            if isinstance(value, (str, int, Mapping, Arm)) or callable(value):
                declared[name] = (value,)
        return declared

    @pydantic.model_validator(mode="after")
    def _can_be_carried_out(self) -> Self:
        self._resolve()
        for layout in self.layouts:
            if LAYOUT.fullmatch(layout) is None:
                raise ProtocolError(
                    "a layout is mlp1 to mlp5 (hidden layers) or conv1 to conv4"
                    " (convolutions)",
                    repr(layout),
                    "Write --layout mlp2 --layout conv3 (in a protocol, layouts ="
                    ' ["mlp2", "conv3"]); another network is a --student.',
                )
        if not (self.layouts and self.budgets) and not self.students:
            raise ProtocolError(
                "there is at least one student",
                f"layouts = {list(self.layouts)}, budgets = {list(self.budgets)}",
                "Write --layout mlp1 --layout conv1, or --student lenet (in a protocol,"
                ' layouts = ["mlp1", "conv1"], students = ["lenet"]).',
            )
        for name, other in (("budgets", "layouts"), ("layouts", "budgets")):
            given = name in self.model_fields_set and getattr(self, name)
            if given and not getattr(self, other):
                raise ProtocolError(
                    "each layout has each budget",
                    f"{name} = {list(given)} beside {other} = []",
                    f"Leave {name} out, or leave {other} = [] out.",
                )
        for name in ("layouts", "budgets"):
            given = getattr(self, name)
            if len(set(given)) < len(given):
                raise ProtocolError(
                    f"{name} are all different",
                    f"{name} = {list(given)}",
                    f"Leave one out: {name} = {list(dict.fromkeys(given))}.",
                )
        self._check_names()
        self._check_teaching()
        self._check_searched()
        self._check_tuner()
        if self.tuner == "sobol" and self.effort * 4 > self.configurations:
            raise ProtocolError(
                "effort is at most a quarter of the configurations (k <= n / 4);"
                " beyond that no interval holds",
                f"effort = {self.effort}, configurations = {self.configurations}",
                f"Write --configurations {4 * self.effort} (in a protocol,"
                f" configurations = {4 * self.effort}).",
            )
        return self

    def _resolve(self) -> None:
        """Sets what follows from other fields where it was not declared itself."""
        # Not by assignment, after which it would count as declared.
        resolved: dict[str, Any] = {}
        if not self.of_labels:
            candidates = len(self.teacher) * self.teacher_configurations
            least = min(self.ensemble, candidates)
            resolved["ensemble"] = least or max(1, len(self.teacher))
        else:
            # They bring no gain where nothing but the name differs.
            resolved["imitate"] = "probabilities"
            resolved["teacher_space"] = {
                name: dimension
                for name, dimension in self.labels_space.items()
                if name not in _OF_LABELS
            }
        for name, value in resolved.items():
            if name not in self.model_fields_set:
                self.__dict__[name] = value

    def _check_tuner(self) -> None:
        """Checks what is declared of whole searches, or of one Sobol sequence."""
        if (not self.of_labels or self.tuner == "gp") and self.alpha < 1 / (1 + FLIPS):
            raise ProtocolError(
                f"alpha is at least {1 / (1 + FLIPS):g}: flipped signs tell no less",
                f"alpha = {self.alpha:g}",
                f"Declare alpha = {1 / (1 + FLIPS):g}, or more.",
            )
        if self.tuner == "sobol":
            if "searches" in self.model_fields_set:
                raise ProtocolError(
                    "whole searches are repeated where their trials depend on each other",
                    f'searches = {self.searches} beside tuner = "sobol"',
                    'Write --tuner gp (in a protocol, tuner = "gp"), or leave searches out.',
                )
            return
        if "effort" in self.model_fields_set:
            raise ProtocolError(
                "effort is of searches by Sobol points; one by Bayesian optimisation has"
                " all its trials",
                f'effort = {self.effort} beside tuner = "gp"',
                "Leave effort out: --configurations says how many trials each search has.",
            )
        needed = seeds_needed(self.alpha)
        if self.searches < needed:
            raise ProtocolError(
                f"a claim at alpha = {self.alpha:g} takes {needed} whole searches at least",
                f"searches = {self.searches}",
                f"Write --searches {needed} (in a protocol, searches = {needed}).",
            )
        if self.configurations < 2:
            raise ProtocolError(
                "Bayesian optimisation learns from trials: it has 2 at least",
                f"configurations = {self.configurations}",
                "Write --configurations 16 (in a protocol, configurations = 16).",
            )

    def _check_names(self) -> None:
        """Makes sure that names, and the files called after them, are all different."""
        own = [("--teacher", arm) for arm in self.teacher]
        own += [("--student", arm) for arm in self.students]
        layouts = [f"{layout}-{b}" for layout in self.layouts for b in self.budgets]
        # What the records, and tables, call the teachers' average.
        files = {name_of(name).lower(): name for name in (ENSEMBLE, *layouts)}
        for option, arm in own:
            spec = str(arm.describe()["architecture"])
            other = f"another_{spec}" if spec.isidentifier() else "another"
            file = name_of(arm.name).lower()
            if file in files:
                raise ProtocolError(
                    "every teacher and student has a name of its own, whatever the case"
                    ' of its letters, and none is called "teacher"',
                    f"{arm.name!r} beside {files[file]!r}",
                    f"Name it apart: {option} {other}={spec}.",
                )
            files[file] = arm.name
            for ending in ENDINGS.values():
                if arm.name.lower().endswith(ending):
                    raise ProtocolError(
                        "a name says who is taught; the records add whether it is:"
                        f' "{ending.strip()}"',
                        repr(arm.name),
                        f"Name it otherwise: {option} {other}={spec}.",
                    )
        for _, arm in own:
            if arm.recipe != "plain":
                raise ProtocolError(
                    "teachers and students have one recipe, so that they differ in"
                    " nothing else",
                    f"recipe of {arm.name}",
                    "Declare it beside them, under [recipe] of the protocol.",
                )

    def _check_teaching(self) -> None:
        """Checks what is declared of teachers and of how they are learned from."""
        candidates = len(self.teacher) * max(1, self.teacher_configurations)
        idle = {"teacher_configurations", "ensemble"} & self.model_fields_set
        if not self.teacher or (self.of_labels and len(self.teacher) > 1):
            raise ProtocolError(
                "teachers are networks, or the labels alone",
                ", ".join(arm.name for arm in self.teacher) or "none",
                "Name one or more networks, --teacher cnn, or --teacher labels alone.",
            )
        if self.of_labels and (self.teacher[0].options or self.teacher[0].space):
            raise ProtocolError(
                "labels as a teacher have no options and nothing to search",
                self.teacher[0].name,
                "Write --teacher labels.",
            )
        if self.of_labels and idle:
            options = " and ".join(f"--{n.replace('_', '-')}" for n in sorted(idle))
            raise ProtocolError(
                "labels as a teacher are not trained, and there is one of them",
                ", ".join(f"{name} = {getattr(self, name)}" for name in sorted(idle)),
                f"Leave {options} out, or take a network: --teacher cnn.",
            )
        if self.of_labels and self.unlabelled is not None:
            raise ProtocolError(
                "labels as a teacher say nothing of inputs that have none",
                f"unlabelled = {self.unlabelled!r}",
                "Leave --unlabelled out, or take a network: --teacher cnn.",
            )
        if not self.of_labels and self.ensemble > candidates:
            raise ProtocolError(
                "an ensemble has at most as many members as there are candidates",
                f"ensemble = {self.ensemble}, and {candidates}"
                f" {'candidate' if candidates == 1 else 'candidates'}",
                f"Write --ensemble {candidates} (in a protocol, ensemble = {candidates}).",
            )
        as_built = not self.of_labels and not self.teacher_configurations
        if as_built and self.ensemble != candidates:
            raise ProtocolError(
                "teachers that answer as they are built are all of the ensemble: none"
                " is better by validation, which nobody has looked at",
                f"ensemble = {self.ensemble}, and {candidates} teachers",
                f"Leave ensemble out, or write --ensemble {candidates} (in a protocol,"
                f" ensemble = {candidates}).",
            )
        if self.recipe.loss is not None or self.recipe.class_weights != "none":
            name = "loss" if self.recipe.loss is not None else "class_weights"
            raise ProtocolError(
                "students learn by cross-entropy of labels, or from their teacher",
                f"recipe.{name} = {getattr(self.recipe, name)!r}",
                f"Leave {name} out of the recipe.",
            )

    def _check_searched(self) -> None:
        """Checks temperatures and weights of the labels, fixed or searched."""
        own = {f"space of {a.name}": a.space for a in (*self.teacher, *self.students)}
        for where, space in {
            "[space]": self.space, "[labels_space]": self.labels_space, **own,
        }.items():  # fmt: skip
            for name in OF_TEACHER:
                if name in space:
                    raise ProtocolError(
                        f"{name} is of every student that has a teacher",
                        f"{name} in the {where}",
                        "Write it under [teacher_space].",
                    )
        students = {f"space of {a.name}": a.space for a in self.students}
        for where, space in {
            "[space]": self.space, "[teacher_space]": self.teacher_space, **students,
        }.items():  # fmt: skip
            for name in _OF_LABELS:
                if name in space:
                    raise ProtocolError(
                        f"{name} is of labels: it changes nothing that a teacher says",
                        f"{name} in the {where}",
                        "Write it under [labels_space].",
                    )
        for name in OF_TEACHER:
            if name in self.teacher_space and name in self.model_fields_set:
                raise ProtocolError(
                    "what is searched is not fixed",
                    f"{name} = {getattr(self, name)}, and in [teacher_space]",
                    f"Leave {name} out, or leave it out of [teacher_space].",
                )
        told = self.temperature != 1 or "temperature" in self.teacher_space
        if told and self.imitate == "logits":
            raise ProtocolError(
                "a temperature softens probabilities",
                'a temperature beside imitate = "logits"',
                'Write --imitate probabilities (in a protocol, imitate = "probabilities").',
            )
        for name, says, example in (
            ("temperature", "above 0", "[1.0, 4.0]"),
            ("label_weight", "from 0 to below 1", "[0.0, 0.5]"),
        ):
            for value in _ends(self.teacher_space.get(name)):
                number = isinstance(value, (int, float)) and type(value) is not bool
                if not number or not (
                    value > 0 if name == "temperature" else 0 <= value < 1
                ):
                    raise ProtocolError(
                        f"every {name} is a number {says}",
                        f"{name} = {value!r} in [teacher_space]",
                        f"Write for example {name} = {example}.",
                    )

    @property
    def of_labels(self) -> bool:
        """Whether the labels are the teacher."""
        return any(arm.architecture == LABELS for arm in self.teacher)

    def times(self, rows: int) -> int:
        """Returns how often the transfer set has each of so many training examples."""
        if self.passes is not None or not self.recipe.augmentation:
            return self.passes or 1
        met = self.length(rows) * min(self.batch_size, rows)
        return max(1, math.ceil(met / rows))


def _ends(dimension: spaces.Dimension | None) -> tuple[Any, ...]:
    """Returns the values of a dimension that say whether all are possible."""
    match dimension:
        case None:
            return ()
        case spaces.Choice(options):
            return tuple(options)
        case _:
            return dimension.low, dimension.high


load = loader(Protocol, "a teacher and its students")
