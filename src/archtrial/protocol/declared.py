"""The protocol of a trial, and the file that declares it."""

import inspect
import itertools
import math
import tomllib
from collections.abc import Mapping, Sequence, Set
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic

from archtrial import space as spaces
from archtrial.errors import ProtocolError
from archtrial.files import name_of
from archtrial.protocol.arm import (
    Arm,
    Count,
    Declaration,
    Positive,
    Recipe,
    Searched,
    Splits,
    describe_space,
    explain,
    laid_over,
)
from archtrial.protocol.factors import crossed, levels_of
from archtrial.protocol.reading import read

__all__ = [
    "DEFAULT_SPACE",
    "OnData",
    "Protocol",
    "builtin",
    "load",
    "template",
]

DEFAULT_SPACE: Mapping[str, spaces.Dimension] = {
    "learning_rate": spaces.Real(3e-4, 1e-1, log=True),
    "weight_decay": spaces.Real(1e-5, 1e-1, log=True),
}
"""What every arm searches unless the protocol declares another shared space."""


class OnData(Declaration):
    """What every protocol declares, whatever it asks: the data and how they train."""

    data: str
    """A built-in data set's name or a path."""
    target: str | None = None
    """The column to predict; by default a table's last."""
    task: Literal["classification", "regression"] | None = None
    """What is predicted; by default what the metric, or else the target's values, say."""
    scale: bool | None = None
    """Whether inputs are scaled by the training rows. By default they are, but for whole
    numbers that are no images, which reach the user's own modules as they are."""
    channels: Literal["first", "last"] | None = None
    """Where arrays have their channels; by default what their shape says."""
    decimal: Literal["point", "comma"] | None = None
    """The decimal sign of a table; by default what its cells say."""
    dates: Literal["day-first", "month-first"] | None = None
    """How a table's dates are written; by default what its cells say."""
    categorical: tuple[str, ...] = ()
    """A table's column whose cells are categories, whatever they look like."""
    text: str | None = None
    """A table's column of texts, which are read token by token in place of its other
    columns."""
    tokens: Literal["word", "byte"] | None = None
    """What texts are divided into; by default words, in lower case."""
    max_vocabulary: Count | None = None
    """Words that are told apart, the commonest of the training rows; by default 20,000."""
    max_tokens: Count | None = None
    """Tokens that are read of each text, from its beginning; by default 256 words, or 1024
    bytes."""
    lengths: Literal["mask", "zeros"] | Count | None = None
    """What becomes of series of unequal length: modules are told where they end (mask),
    zeros behind the end are read as data, or so many steps are used of each. By default
    mask, where the data say that they differ in length."""
    recipe: Recipe = Recipe()
    steps: Count | None = None
    """Training steps of every run. Without `epochs` as many as `default_steps`."""
    epochs: Positive | None = None
    """Passes over the training rows, in place of `steps`."""
    batch_size: Count = 100
    metric: str | None = None
    """What a score is; by default accuracy for classes and R2 for numbers."""
    margin: Positive | None = None
    """The smallest gap worth having, in the metric's units; by default the larger
    of half a point and one standard deviation over seeds."""
    alpha: Annotated[float, pydantic.Field(gt=0, lt=0.5)] = 0.05
    """Intervals hold at 1 - alpha."""
    splits: Splits = Splits()
    seed: Annotated[int, pydantic.Field(ge=0, lt=2**63)] = 0
    """The study's seed."""
    threads: Count = 1
    """Threads of each training."""
    device: str = "cpu"
    """Where it is trained: cpu, cuda, or one of several GPUs, cuda:1."""
    memory: Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)] = 1.0
    """GiB that inputs may take in memory. Larger ones stay in files and are read as batches
    need them: where they lie changes no result, so it is no part of the hash."""
    default_steps: ClassVar[int] = 1500

    def __init__(self, /, **declared: Any) -> None:
        try:
            super().__init__(**declared)
        except pydantic.ValidationError as error:
            raise explain(error, type(self)) from None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _in_other_types(cls, declared: Any) -> Any:
        declared = dict(declared)
        if isinstance(declared.get("data"), Path):
            declared["data"] = str(declared["data"])
        # As a command line has a number of steps.
        match declared.get("lengths"):
            case None | "mask" | "zeros":
                pass
            case str(text) if text.isdecimal() and int(text) > 0:
                declared["lengths"] = int(text)
            case int(steps) if steps > 0 and type(steps) is int:
                pass
            case other:
                raise ProtocolError(
                    "lengths is mask, zeros, or how many steps are used of each series",
                    repr(other),
                    "Use --lengths mask, --lengths zeros or --lengths 20 (in a protocol,"
                    ' lengths = "mask", "zeros" or 20).',
                )
        if isinstance(declared.get("categorical"), str):
            declared["categorical"] = (declared["categorical"],)
        return declared

    @pydantic.model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ProtocolError(
                "the length of training is given in steps or in epochs, not in both",
                f"steps = {self.steps}, epochs = {self.epochs}",
                "Remove one of the two.",
            )
        return self

    def length(self, training_rows: int) -> int:
        """Returns the steps of one training on so many rows, by a recipe of length 1."""
        if self.epochs is not None:
            batches = max(1, training_rows // min(self.batch_size, training_rows))
            return max(1, round(self.epochs * batches))
        return self.steps if self.steps is not None else self.default_steps

    def replace(self, **changes: Any) -> Self:
        """Returns a protocol with some fields changed, validated anew."""
        declared = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**declared, **changes})

    def own(self) -> dict[str, Any]:
        """Returns, as JSON, the fields that its own kind has, or has anew."""
        told: dict[str, Any] = {}
        kinds = itertools.takewhile(lambda kind: kind is not OnData, type(self).mro())
        new = {name for kind in kinds for name in inspect.get_annotations(kind)}
        for name in type(self).model_fields:
            if name not in new:
                continue
            match getattr(self, name):
                case Arm() as arm:
                    told[name] = arm.describe()
                case (Arm(), *_) as several:
                    told[name] = [arm.describe() for arm in several]
                case _:
                    told |= self._dumped({name})
        return told

    def arms_by_field(self) -> dict[str, list[Arm]]:
        """Returns the arms of those fields that were declared."""
        arms: dict[str, list[Arm]] = {}
        for name in self.model_fields_set:
            match getattr(self, name):
                case Arm() as arm:
                    arms[name] = [arm]
                case (Arm(), *_) as several:
                    arms[name] = list(several)
        return arms

    def describe(self) -> dict[str, Any] | None:
        """Returns what was declared as JSON, to be declared again from it.

        None where an arm was given as a class or function: JSON cannot hold one.
        """
        arms = self.arms_by_field()
        every = [arm for own in arms.values() for arm in own]
        if not all(isinstance(arm.architecture, str) for arm in every):
            return None
        described = self._dumped(self.model_fields_set - arms.keys())
        for name, own in arms.items():
            told = [arm.declared() for arm in own]
            single = isinstance(getattr(self, name), Arm)
            described[name] = told[0] if single else told
        return described

    def _dumped(self, names: Set[str]) -> dict[str, Any]:
        """Returns fields without arms as JSON, a space as it is declared."""
        dumped = self.model_dump(include=set(names), mode="json")
        for name in dumped:
            value = getattr(self, name)
            if isinstance(value, Mapping) and any(
                isinstance(each, spaces.Dimension) for each in value.values()
            ):
                dumped[name] = describe_space(value)
        return dumped


class EqualEffort(OnData):
    """What an experiment declares whose arms are all tuned with equal effort.

    All of them minimise the task's own loss: `recipe.loss` is refused.
    """

    space: Searched = dict(DEFAULT_SPACE)  # noqa: RUF012 - pydantic copies it
    """What is searched of the training of every arm."""
    effort: Count = 4
    """Trials that an experimenter spends before picking the best (k)."""
    configurations: Count = 16
    """Configurations searched of each arm (n), at least 4 k."""
    confirm_seeds: Count = 3
    """Fresh seeds of the best configurations (r)."""

    @pydantic.model_validator(mode="after")
    def _has_an_interval(self) -> Self:
        if self.effort * 4 > self.configurations:
            raise ProtocolError(
                "effort is at most a quarter of the configurations (k <= n / 4);"
                " beyond that no interval holds",
                f"effort = {self.effort}, configurations = {self.configurations}",
                f"Write --configurations {4 * self.effort} (in a protocol,"
                f" configurations = {4 * self.effort}).",
            )
        return self

    @pydantic.model_validator(mode="after")
    def _minimises_the_tasks_loss(self) -> Self:
        if self.recipe.loss is not None:
            raise ProtocolError(
                "this kind of study minimises the task's own loss",
                f"recipe.loss = {self.recipe.loss!r}",
                "Leave loss out of the recipe; archtrial run minimises any.",
            )
        return self


class FewLabels(OnData):
    """What a protocol declares whose trainings may see few labels."""

    labels: Count | None = None
    """Training rows whose labels are seen, each class by its share; every training draws
    its own, the same for all arms. The others are examples without labels; of their labels
    nothing but the shares of the classes is used. By default all."""
    unlabelled: str | None = None
    """More examples without labels, beside the inputs of all training rows: an .npz file
    with an array x, or an .npy file."""

    def length(self, training_rows: int) -> int:
        """Returns the steps of one training; an epoch is a pass over labelled rows."""
        return super().length(min(self.labels or training_rows, training_rows))


class Protocol(FewLabels):
    """A controlled trial of one baseline against one or more challengers.

    Only `data`, `baseline` and `challengers` have no default.

    Raises:
        ProtocolError: A key is unknown, a value impossible, or two contradict.
    """

    recipe: Recipe = pydantic.Field(Recipe(), validate_default=True)
    """What does not say `weight_decay_on` has "weights", and no part in what is said."""
    baseline: Arm
    """The arm that others are held against: a zoo name or net.py:Net, with (options)."""
    challengers: tuple[Arm, ...]
    """An arm that is compared with the baseline. Left out where there are factors:
    challengers are then the baseline's variations."""
    factors: dict[str, tuple[spaces.Value, ...]] = {}  # noqa: RUF012 - pydantic copies it
    """OPTION=LEVEL,LEVEL of the baseline's architecture, or of "recipe": what is crossed,
    in place of challengers. Each combination is an arm; that of all first levels is the
    baseline. The levels of "architecture" are arms' specs, and other factors are then
    options that all of them take."""
    matched_baseline: bool = False
    """Whether the baseline is also searched at about the number of parameters that
    the largest challenger has."""
    space: Searched = dict(DEFAULT_SPACE)  # noqa: RUF012 - as above
    """The search space that all arms share."""
    effort: Count = 4
    """Trials that an experimenter spends before picking the best (k)."""
    configurations: Count = 32
    """Configurations searched in each arm (n), at least 4 k. A finished study with fewer
    grows."""
    sampling: spaces.Sampling = "sobol"
    """How configurations are drawn: the points of one scrambled Sobol sequence, balanced
    where n is a power of two, or independently."""
    confirm_seeds: Count = 3
    """Fresh seeds of the best configurations (r)."""
    top: Count | None = None
    """m: how many top configurations of each arm get all r seeds; by default those
    that carry 70 % of the weight at effort k."""
    max_multiple: Annotated[float, pydantic.Field(ge=1, allow_inf_nan=False)] = 4.0
    """How much more tuning counts as "the baseline would get there too"."""
    estimand: Literal["configuration", "run"] = "configuration"
    """What a search ends with: the configuration on fresh seeds, or the very run."""
    ladder: Annotated[tuple[Count, ...], pydantic.Field(examples=["1,2,4"])] = (1,)
    """Multiples of the steps at which every arm is retuned. They are 1 and longer rungs,
    each a full schedule: does the baseline get there by training longer?"""
    ladder_configurations: Count | None = None
    """m: the configurations retuned at each longer rung, the first m of the search;
    by default the larger of 8 and 4 k."""
    probes: Annotated[int, pydantic.Field(ge=0)] = 0
    """Trials of each adaptive tuner that searches the baseline further, outside all
    tests; 0 for none."""
    looks: Annotated[tuple[Count, ...], pydantic.Field(examples=["16,32,64"])] = ()
    """Numbers of configurations at which the study is judged and may stop early; the
    last is `configurations`. Empty: one look, at the end."""
    deterministic: tuple[str, ...] = ()
    """The name of an arm whose training uses no randomness. Of the others, scores that
    are equal over all seeds tell that a seed is ignored, and nothing of the arm."""
    fleet: Literal["auto", "always", "never"] = "auto"
    """Whether runs train side by side as one program: where that is faster than one
    after another, wherever it is possible, or not at all. It says how a study is carried
    out and not what it asks, so it is recorded and no part of the hash."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read(cls, declared: Any) -> Any:
        declared = dict(declared)
        challengers = declared.get("challengers")
        if isinstance(challengers, (str, Mapping, Arm)) or callable(challengers):
            challengers = [challengers]
        if isinstance(challengers, Sequence):
            declared["challengers"] = tuple(challengers)
        if declared.get("factors"):
            declared["factors"] = levels_of(declared["factors"])
            declared.update(crossed(declared))
        if isinstance(declared.get("deterministic"), str):
            declared["deterministic"] = (declared["deterministic"],)
        match declared.get("looks"):
            case (*_, int(last)):
                declared.setdefault("configurations", last)
        return declared

    @pydantic.field_validator("recipe")
    @classmethod
    def _decays_weights_alone(cls, recipe: Recipe) -> Recipe:
        if "weight_decay_on" in recipe.model_fields_set:
            return recipe
        # Not counted as said: a study that began otherwise goes on as it began.
        values = {**dict(recipe), "weight_decay_on": "weights"}
        return Recipe.model_construct(recipe.model_fields_set, **values)

    @pydantic.model_validator(mode="after")
    def _can_be_carried_out(self) -> Self:
        if not self.challengers:
            raise ProtocolError(
                "a trial has at least one challenger",
                "none",
                'Name one: challengers = ["mlp"].',
            )
        names = [arm.name for arm in self.arms]
        if self.matched_baseline:
            names.append(self.matched_name)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            spec = next(arm for arm in self.arms if arm.name == twice[0]).describe()
            same = spec["architecture"]
            raise ProtocolError(
                "every arm has a name of its own",
                f"{twice[0]!r} twice",
                f"Name them apart, as in first={same} and second={same}.",
            )
        files: dict[str, str] = {}
        for name in names:
            other = files.setdefault(name_of(name).lower(), name)
            if other != name:
                spec = self.arms[names.index(other)].describe()["architecture"]
                raise ProtocolError(
                    "names of arms differ in more than upper and lower case, since"
                    " their files may not",
                    f"{other!r} and {name!r}",
                    f"Name them apart, as in first={spec}.",
                )
        for name in self.deterministic:
            if name not in names:
                raise ProtocolError(
                    "an arm that is declared deterministic is one of the trial's",
                    f"deterministic = {list(self.deterministic)}, and the arms are"
                    f" {', '.join(names)}",
                )
        self._check_looks()  # the last of them may be what configurations are
        if self.effort * 4 > self.configurations:
            raise ProtocolError(
                "effort is at most a quarter of the configurations (k <= n / 4);"
                " beyond that no interval holds",
                f"effort = {self.effort}, configurations = {self.configurations}",
                f"Set configurations = {4 * self.effort}"
                + (
                    f" or effort = {self.configurations // 4}."
                    if self.configurations >= 4
                    else "."
                ),
            )
        if self.top is not None and self.top > self.configurations:
            raise ProtocolError(
                "top is at most the number of configurations",
                f"top = {self.top}, configurations = {self.configurations}",
            )
        self._check_ladder()
        return self

    def _check_looks(self) -> None:
        if not self.looks:
            return
        if list(self.looks) != sorted(set(self.looks)) or len(self.looks) < 2:
            raise ProtocolError(
                "looks are two or more numbers of configurations, each larger than the"
                " one before",
                f"looks = {list(self.looks)}",
                "Leave looks out to judge once, at the end.",
            )
        if self.looks[0] < 4 * self.effort:
            raise ProtocolError(
                "the first look has at least 4 times the effort (n >= 4 k); before"
                " that no interval holds",
                f"looks = {list(self.looks)}, effort = {self.effort}",
                f"Begin with {4 * self.effort}, or lower the effort.",
            )
        if self.looks[-1] != self.configurations:
            raise ProtocolError(
                "the last look is at all configurations",
                f"looks = {list(self.looks)}, configurations = {self.configurations}",
                f"Set configurations = {self.looks[-1]}.",
            )

    def _check_ladder(self) -> None:
        if self.ladder[:1] != (1,) or list(self.ladder) != sorted(set(self.ladder)):
            raise ProtocolError(
                "a ladder begins with 1, and each rung is longer than the one before",
                f"ladder = {list(self.ladder)}",
                "Write ladder = [1, 2, 4].",
            )
        if len(self.ladder) == 1:
            if self.ladder_configurations is not None:
                raise ProtocolError(
                    "ladder_configurations are retuned at the longer rungs of a ladder",
                    f"ladder_configurations = {self.ladder_configurations}, no ladder",
                    "Add ladder = [1, 2, 4], or remove ladder_configurations.",
                )
            return
        least, most = max(8, 4 * self.effort), self.sizes[0]
        if not least <= self.retuned <= most:
            raise ProtocolError(
                f"a ladder retunes {least} configurations at least (8, and 4 times the"
                " effort), and none that the search (at its first look) does not have",
                f"{most} in the search"
                if least > most
                else f"ladder_configurations = {self.retuned} outside {least} to {most}",
                f"Set ladder_configurations = {least}."
                if least <= most
                else f"Set configurations = {least} at least, or leave the ladder out.",
            )

    @property
    def retuned(self) -> int:
        """m: how many configurations each longer rung of the ladder has."""
        return self.ladder_configurations or max(8, 4 * self.effort)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The configurations of each arm at each look; without looks there is one."""
        return self.looks or (self.configurations,)

    @property
    def unbalanced(self) -> tuple[int, ...]:
        """The sizes at which the draws of a Sobol sequence are not balanced."""
        if self.sampling == "random":
            return ()
        return tuple(n for n in self.sizes if not spaces.balanced(n))

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The baseline, then the challengers."""
        return (self.baseline, *self.challengers)

    @property
    def levels(self) -> dict[str, dict[str, spaces.Value]]:
        """By arm, its level of each factor; empty where there are no factors."""
        if not self.factors:
            return {}
        # In the order in which `crossed` made the arms.
        every = itertools.product(*self.named_factors.values())
        return {
            arm.name: dict(zip(self.factors, levels, strict=True))
            for arm, levels in zip(self.arms, every, strict=True)
        }

    @property
    def named_factors(self) -> dict[str, tuple[spaces.Value, ...]]:
        """The levels of each factor, an architecture called as its arm is."""
        named = dict(self.factors)
        if (levels := named.get("architecture")) is not None:
            behind = list(named)[list(named).index("architecture") + 1 :]
            apart = math.prod(len(named[factor]) for factor in behind)
            alone = self.arms[::apart][: len(levels)]
            named["architecture"] = tuple(arm.name for arm in alone)
        return named

    @property
    def matched_name(self) -> str:
        """The name of the arm that `matched_baseline` adds."""
        return f"{self.baseline.name} (matched)"

    def recipe_of(self, arm: Arm, kind: str) -> Recipe:
        """Returns what an arm is trained by.

        Args:
            arm: Its recipe is laid over the protocol's.
            kind: Of the inputs: "table", "sequence", "image" or "array".
        """
        return laid_over(self.recipe, arm.recipe, kind)

    def replace(self, **changes: Any) -> Self:
        """Returns a protocol with some fields changed, validated anew."""
        declared = {name: getattr(self, name) for name in self.model_fields_set}
        if "challengers" in changes:
            declared.pop("factors", None)
        elif {**declared, **changes}.get("factors"):
            del declared["challengers"]  # they follow
        return type(self)(**{**declared, **changes})

    def describe(self) -> dict[str, Any] | None:
        """Returns what was declared as JSON, to be declared again from it.

        None where an arm was given as a class or function: JSON cannot hold one.
        """
        described = super().describe()
        if described is None:
            return None
        if self.factors:
            del described["challengers"]  # they follow
        return described


def load(path: str | Path, **changes: Any) -> Protocol:
    """Reads a protocol from a TOML file; paths inside it start at its folder.

    Args:
        path: The file.
        **changes: Fields that take the place of the file's; their paths start at the
            working folder.

    Raises:
        ProtocolError: The file is not there, is no TOML, or declares a protocol
            that cannot be carried out.
    """
    path = Path(path)
    return Protocol(**{**read(path), **changes})


def builtin() -> Protocol:
    """Returns the trial that `archtrial run` carries out when nothing is declared."""
    text = resources.files("archtrial").joinpath("mnist1d.toml").read_text("utf-8")
    return Protocol(**tomllib.loads(text))


def template() -> str:
    """Returns a commented protocol to start from."""
    return resources.files("archtrial").joinpath("template.toml").read_text("utf-8")
