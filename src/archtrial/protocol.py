"""What is compared, declared before the first run.

A protocol is frozen, and everything that a result depends on follows from it.
What is hashed is the *resolved* protocol: with each arm's whole space, the
source of the user's modules and a digest of the data, and without any path.
"""

import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic

from archtrial import space as spaces
from archtrial import specs
from archtrial.errors import ProtocolError
from archtrial.files import name_of

__all__ = [
    "DEFAULT_SPACE",
    "HYPERPARAMETERS",
    "Arm",
    "OnData",
    "Protocol",
    "Recipe",
    "Splits",
    "builtin",
    "canonical",
    "describe_space",
    "differences",
    "digest",
    "load",
    "read",
    "template",
]

HYPERPARAMETERS = (
    "learning_rate",
    "weight_decay",
    "momentum",
    "label_smoothing",
    "initial_scale",
    "dropout",
)
"""What training itself understands; all other names are the architecture's."""

DEFAULT_SPACE: Mapping[str, spaces.Dimension] = {
    "learning_rate": spaces.Real(3e-4, 1e-1, log=True),
    "weight_decay": spaces.Real(1e-5, 1e-1, log=True),
}
"""What every arm searches unless the protocol declares another shared space."""


class _Declaration(pydantic.BaseModel):
    """A frozen value whose fields are all known and of the declared type."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True
    )


Share = Annotated[float, pydantic.Field(gt=0, lt=1)]
Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, pydantic.Field(ge=1)]


class Recipe(_Declaration):
    """How every arm is trained; its real hyperparameters can also be searched."""

    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    schedule: Literal["cosine", "constant", "step"] = "cosine"
    warmup: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.05
    """The share of the steps over which the learning rate rises from 0."""
    order: Literal["shuffled", "fixed"] = "shuffled"
    """Batches: a fresh permutation each epoch, or the same one in each."""
    gradient_clip: Positive | None = 1.0
    """Largest norm of a run's gradient; None (in TOML: left to Python) for no limit."""
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.0
    momentum: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.9
    """SGD's Nesterov momentum, or the first beta of Adam and AdamW."""
    label_smoothing: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.0
    initial_scale: Positive = 1.0
    """Factor on each weight of two or more dimensions at initialisation."""
    augmentation: tuple[Literal["shift", "flip", "scale", "noise"], ...] = ()
    """How each training example is changed whenever it is met: "shift" moves it by up
    to an eighth of its sides, "flip" mirrors half of all images left to right (which
    harms digits and letters), "scale" multiplies it by 1 with a deviation of .1,
    "noise" adds normal numbers with a deviation of .05."""
    weight_averaging: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.0
    """What is evaluated is an exponential moving average of the weights whose memory is
    this share of the steps, a decay of 1 - 1 / (share x steps); 0 for the last step's
    weights."""
    length: Positive = 1.0
    """Factor on the steps of every training; it costs as much more."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of products and convolutions; all else stays in float32 (torch's autocast). A
    tuned model is loaded in float32, and refused where rounding makes the difference."""
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    """How images lie in memory; convolutions can be faster "channels_last", where a
    module says `flatten` or `reshape` and not `view`. With it, and in bfloat16, every
    run is trained by itself."""
    accumulate: Annotated[int, pydantic.Field(ge=1)] = 1
    """Parts that a batch is divided into, so that less of it is in memory at once; the
    step is that of the whole batch, but for batch normalisation, which sees a part."""
    weight_decay_on: Literal["all", "weights"] = "all"
    """"weights": only parameters of two or more dimensions decay, and neither biases
    nor the factors of normalisations."""
    class_weights: Literal["none", "balanced"] = "none"
    """"balanced": each class has the same share of the loss, whatever its size."""

    @pydantic.field_validator("augmentation", mode="before")
    @classmethod
    def _may_be_a_list(cls, names: Any) -> Any:
        return tuple(names) if isinstance(names, list) else names

    def describe(self) -> dict[str, Any]:
        """Returns the recipe as JSON, without what later releases added and none uses.

        So a protocol keeps its hash from one release to the next.
        """
        later = (
            *("augmentation", "weight_averaging", "length", "precision"),
            *("memory_format", "accumulate", "weight_decay_on", "class_weights"),
        )
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if name not in later or getattr(self, name) != getattr(Recipe(), name)
        }


MODERN: Mapping[str, Any] = {
    "label_smoothing": 0.1,
    "weight_averaging": 0.1,
    "length": 2.0,
}
"""What an arm's recipe "modern" changes, besides the augmentation.

In small what took a ResNet on ImageNet from 79.0 to 82.2 %, where two changes of the
architecture then brought 1.2 more ("Revisiting ResNets", arXiv 2103.07579; likewise
"ResNet strikes back", arXiv 2110.00476): augmentation, label smoothing, an average of
the weights and a longer cosine. Optimiser, schedule and whatever is searched stay
those of all arms.
"""

MODERN_AUGMENTATION: Mapping[str, tuple[str, ...]] = {
    "image": ("shift",),
    "sequence": ("shift", "scale"),
}
"""By the kind of input. No flips: who knows that left and right are alike in his
images declares them. The columns of tables and plain arrays have no order to shift
along, and values no common scale."""


class Splits(_Declaration):
    """How rows become training, validation and test sets."""

    kind: Literal["auto", "stratified", "random", "grouped", "time", "given"] = "auto"
    """"auto": stratified for classes, else random; a given test set is kept."""
    validation: Share = 0.2
    """Share of all rows (where a test set is given: of the others)."""
    test: Share = 0.2
    """Share of all rows that are sealed; unused where a test set is given."""
    groups: str | None = None
    """The column of a table whose values stay on one side of every split."""

    @pydantic.model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> Self:
        if self.validation + self.test >= 1:
            raise ProtocolError(
                "splits: validation and test together leave rows to train on",
                f"validation = {self.validation}, test = {self.test}",
                "Lower one of the two.",
            )
        return self


class Arm(_Declaration):
    """An architecture under trial with its fixed options and its own search space.

    Also read from one text, `[NAME=]SPEC`, such as "cnn", "deep=mlp(depth=4)" or
    "net.py:Net(skip=true)".
    """

    name: str
    architecture: str | Callable[..., Any]
    """A zoo name, "path/to/file.py:Name", "package.module:Name" or, in Python, the
    class or function itself."""
    options: dict[str, Any] = {}
    """Values, None, or lists of them; a text such as "{num_outputs}" is filled in from
    the data."""
    space: dict[str, Any] = {}
    recipe: Any = "plain"
    """"plain": the protocol's; "modern": that with `MODERN` over it; or a table of the
    fields in which it differs from the protocol's, or with `base = "modern"` from
    that. Among the options in brackets `recipe` is reserved for it."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read(cls, declared: Any) -> Any:
        if isinstance(declared, str):
            name, architecture, options = specs.parse_spec(declared)
            declared = {"architecture": architecture, "options": options}
            if name is not None:
                declared["name"] = name
        elif callable(declared) and not isinstance(declared, Arm):
            declared = {"architecture": declared}
        if isinstance(declared, Mapping):
            declared = dict(declared)
            architecture = declared.get("architecture")
            if isinstance(architecture, str):
                name, architecture, options = specs.parse_spec(architecture)
                declared["architecture"] = architecture
                beside = declared.get("options", {})
                if isinstance(beside, Mapping):  # else its own field says so
                    declared["options"] = {**options, **beside}
                if name is not None:
                    declared.setdefault("name", name)
            options = declared.get("options")
            if isinstance(options, Mapping) and "recipe" in options:
                declared["options"] = {k: options[k] for k in options if k != "recipe"}
                declared.setdefault("recipe", options["recipe"])
            if "name" not in declared and architecture is not None:
                declared["name"] = _default_name(declared)
            if isinstance(declared.get("space"), Mapping):
                declared["space"] = {
                    name: spaces.parse(name, dimension)
                    for name, dimension in declared["space"].items()
                }
        return declared

    @pydantic.field_validator("name")
    @classmethod
    def _can_name_a_file(cls, name: str) -> str:
        _check_name(name)
        return name

    @pydantic.field_validator("recipe")
    @classmethod
    def _can_be_followed(cls, declared: Any) -> Any:
        _check_recipe(declared)
        return declared

    @pydantic.field_validator("options")
    @classmethod
    def _can_be_written(cls, options: dict[str, Any]) -> Any:
        return {name: _option(name, value) for name, value in options.items()}

    def describe(self) -> dict[str, Any]:
        """Returns the arm as JSON, a file of the user's by its name alone."""
        spec = self.architecture
        if not isinstance(spec, str):
            spec = f"{getattr(spec, '__name__', type(spec).__name__)} (given in Python)"
        place, colon, member = spec.rpartition(":")
        if place.endswith(".py"):
            spec = f"{Path(place).name}{colon}{member}"
        return {
            "name": self.name,
            "architecture": spec,
            "options": dict(self.options),
            "space": describe_space(self.space),
        }


_LONGEST_NAME = 60


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        shown = repr(name) if len(name) <= 2 * _LONGEST_NAME else f"{name[:99]!r}..."
        raise ProtocolError(
            f"an arm's name has 1 to {_LONGEST_NAME} printable characters",
            shown,
            "Give it another one: name=SPEC." if name.strip() else "",
        )
    # File systems count bytes, and want room for an ending.
    if len(name.encode()) > 4 * _LONGEST_NAME - 40:
        raise ProtocolError(
            f"an arm's name has {4 * _LONGEST_NAME - 40} bytes at most in UTF-8",
            f"{len(name.encode())} in {name!r}",
            "Give it a shorter one: name=SPEC.",
        )


def _option(name: str, value: Any, depth: int = 0) -> Any:
    """Returns an option's value as JSON keeps it, a tuple as a list.

    Raises:
        ProtocolError: It is none that JSON has, or not finite.
    """
    if isinstance(value, (list, tuple)):
        if depth == _DEEPEST_OPTION:
            raise ProtocolError(
                f"an option's lists are nested {_DEEPEST_OPTION} deep at most", name
            )
        return [_option(name, part, depth + 1) for part in value]
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise ProtocolError(
            "an option is a number, a text, true or false, None, or a list of such",
            f"{name} = {str(value)[:80]} ({type(value).__name__})",
        )
    if isinstance(value, int) and abs(value) >= 2**1023:
        raise ProtocolError("a number has 300 digits at most", f"{name} has more")
    if isinstance(value, str) and not _encodes(value):
        raise ProtocolError("a text is Unicode throughout", f"{name} = {value!a}")
    if not _finite(value):
        raise ProtocolError("an option is a finite value", f"{name} = {value}")
    return value


_DEEPEST_OPTION = 20


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_recipe(declared: Any) -> None:
    """Raises a ProtocolError unless it is what `Arm.recipe` says."""
    rule = "an arm's recipe is plain, modern or a table of a recipe's fields"
    table = {"base": declared} if isinstance(declared, str) else declared
    if not isinstance(table, Mapping):
        raise ProtocolError(rule, repr(declared))
    base = table.get("base", "plain")
    if base not in ("plain", "modern"):
        near = get_close_matches(str(base), ("plain", "modern"), 1)
        way_out = f"Did you mean {near[0]!r}?" if near else ""
        raise ProtocolError(rule, repr(base), way_out)
    try:
        Recipe.model_validate({k: table[k] for k in table if k != "base"})
    except pydantic.ValidationError as error:
        raise _explain(error, Recipe) from None


def describe_space(space: spaces.Space) -> dict[str, Any]:
    """Returns a space as the JSON that a protocol declares it with."""
    return {name: spaces.describe(space[name]) for name in sorted(space)}


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _default_name(declared: Mapping[str, Any]) -> str:
    architecture = declared["architecture"]
    if not isinstance(architecture, str):
        name = getattr(architecture, "__name__", type(architecture).__name__)
    else:
        name = architecture.rpartition(":")[2]
    given = declared.get("options")
    options = dict(given) if isinstance(given, Mapping) else {}
    if isinstance(declared.get("recipe"), str):
        options["recipe"] = declared["recipe"]
    if not options:
        return _cut(str(name))
    inside = ", ".join(f"{key}={_as_text(value)}" for key, value in options.items())
    return _cut(f"{name}({inside})")


def _cut(name: str) -> str:
    """Returns a name that nobody chose at a length that names may have.

    Two that begin alike stay apart.
    """
    printable = "".join(c if c.isprintable() else " " for c in name)
    if printable == name and len(name) <= _LONGEST_NAME and len(name.encode()) <= 120:
        return name
    told = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()[:6]
    kept = printable.encode(errors="replace")[: _LONGEST_NAME - 10]
    return f"{kept.decode(errors='ignore').rstrip()}... {told}"


def _as_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_as_text, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


class OnData(_Declaration):
    """What every protocol declares, whatever it asks: the data and how they train."""

    data: str
    """A built-in data set's name or a path."""
    target: str | None = None
    """The column to predict; by default a table's last."""
    task: Literal["classification", "regression"] | None = None
    """By default what the metric, or else the target's values, say."""
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
    """A table's columns whose cells are categories, whatever they look like."""
    recipe: Recipe = Recipe()
    steps: Count | None = None
    """Of a training; without `epochs` as many as `default_steps`."""
    epochs: Positive | None = None
    batch_size: Count = 100
    metric: str | None = None
    """By default accuracy for classes and R2 for numbers."""
    margin: Positive | None = None
    """The smallest gap worth having, in the metric's units; by default the larger
    of half a point and one standard deviation over seeds."""
    alpha: Annotated[float, pydantic.Field(gt=0, lt=0.5)] = 0.05
    """Intervals hold at 1 - alpha."""
    splits: Splits = Splits()
    seed: Annotated[int, pydantic.Field(ge=0, lt=2**63)] = 0
    threads: Count = 1
    """Threads of each training."""
    device: str = "cpu"
    memory: Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)] = 1.0
    """GiB that inputs may take in memory. Larger ones stay in files and are read as batches
    need them: where they lie changes no result, so it is no part of the hash."""
    default_steps: ClassVar[int] = 1500

    def __init__(self, /, **declared: Any) -> None:
        try:
            super().__init__(**declared)
        except pydantic.ValidationError as error:
            raise _explain(error, type(self)) from None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _in_other_types(cls, declared: Any) -> Any:
        declared = dict(declared)
        if isinstance(declared.get("data"), Path):
            declared["data"] = str(declared["data"])
        match declared.get("categorical"):
            case str(name):
                declared["categorical"] = (name,)
            case list(names):
                declared["categorical"] = tuple(names)
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


class Protocol(OnData):
    """A controlled trial of one baseline against one or more challengers.

    Only `data`, `baseline` and `challengers` have no default.

    Raises:
        ProtocolError: A key is unknown, a value impossible, or two contradict.
    """

    baseline: Arm
    challengers: tuple[Arm, ...]
    """Left out where there are factors: they are then the baseline's variations."""
    factors: dict[str, tuple[spaces.Value, ...]] = {}
    """By option of the baseline's architecture, or "recipe", the levels that are
    crossed. Each combination is an arm; that of all first levels is the baseline."""
    matched_baseline: bool = False
    """Whether the baseline is also searched at about the number of parameters that
    the largest challenger has."""
    space: dict[str, Any] = dict(DEFAULT_SPACE)
    """The search space that all arms share."""
    effort: Count = 4
    """k: the trials that an experimenter spends before picking the best."""
    configurations: Count = 32
    """n: the configurations searched in each arm; at least 4 k."""
    sampling: spaces.Sampling = "sobol"
    """How configurations are drawn: "sobol", the points of one scrambled Sobol sequence,
    balanced where n is a power of two; or "random", independent draws."""
    confirm_seeds: Count = 3
    """r: fresh seeds for each of the top configurations."""
    top: Count | None = None
    """m: how many top configurations of each arm get all r seeds; by default those
    that carry 70 % of the weight at effort k."""
    max_multiple: Annotated[float, pydantic.Field(ge=1, allow_inf_nan=False)] = 4.0
    """How much more tuning counts as "the baseline would get there too"."""
    estimand: Literal["configuration", "run"] = "configuration"
    """What a search ends with: the configuration on fresh seeds, or the very run."""
    ladder: tuple[Count, ...] = (1,)
    """Multiples of the steps at which every arm is retuned: 1 and longer rungs, each
    a full schedule. It tells whether the baseline gets there by training longer."""
    ladder_configurations: Count | None = None
    """m: the configurations retuned at each longer rung, the first m of the search;
    by default the larger of 8 and 4 k."""
    probes: Annotated[int, pydantic.Field(ge=0)] = 0
    """Trials of each adaptive tuner that searches the baseline further, outside all
    tests; 0 for none."""
    looks: tuple[Count, ...] = ()
    """Numbers of configurations at which the study is judged and may stop early; the
    last is `configurations`. Empty: one look, at the end."""
    deterministic: tuple[str, ...] = ()
    """The names of arms whose training uses no randomness. Of the others, scores that
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
            declared["factors"] = _levels(declared["factors"])
            declared.update(_crossed(declared))
        if isinstance(declared.get("deterministic"), str):
            declared["deterministic"] = (declared["deterministic"],)
        for name in ("ladder", "looks", "deterministic"):
            if isinstance(declared.get(name), list):
                declared[name] = tuple(declared[name])
        match declared.get("looks"):
            case (*_, int(last)):
                declared.setdefault("configurations", last)
        if isinstance(declared.get("space"), Mapping):
            declared["space"] = {
                name: spaces.parse(name, dimension)
                for name, dimension in declared["space"].items()
            }
        return declared

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
        self._check_looks()
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
        # In the order in which `_crossed` made the arms.
        every = itertools.product(*self.factors.values())
        return {
            arm.name: dict(zip(self.factors, levels, strict=True))
            for arm, levels in zip(self.arms, every, strict=True)
        }

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
        table = (
            {"base": arm.recipe} if isinstance(arm.recipe, str) else dict(arm.recipe)
        )
        if table.pop("base", "plain") == "modern":
            augmentation = MODERN_AUGMENTATION.get(kind, ())
            table = {**MODERN, "augmentation": augmentation, **table}
        return Recipe.model_validate({**self.recipe.model_dump(), **table})

    def replace(self, **changes: Any) -> "Protocol":
        """Returns a protocol with some fields changed, validated anew."""
        declared = {name: getattr(self, name) for name in self.model_fields_set}
        if "challengers" in changes:
            declared.pop("factors", None)
        elif {**declared, **changes}.get("factors"):
            del declared["challengers"]  # they follow
        return Protocol(**{**declared, **changes})

    def describe(self) -> dict[str, Any] | None:
        """Returns what was declared as JSON, to be declared again from it.

        None where an arm was given as a class or function: JSON cannot hold one.
        """
        if not all(isinstance(arm.architecture, str) for arm in self.arms):
            return None
        described = self.model_dump(include=self.model_fields_set, mode="json")
        arms = [
            {
                name: describe_space(arm.space) if name == "space" else value
                # A space that was declared empty is not one that was left out.
                for name, value in arm.model_dump(
                    mode="json", include=arm.model_fields_set
                ).items()
            }
            for arm in self.arms
        ]
        described["baseline"], described["challengers"] = arms[0], arms[1:]
        if self.factors:
            del described["challengers"]  # they follow
        if "space" in described:
            described["space"] = describe_space(self.space)
        return described


def _levels(declared: Any) -> dict[str, tuple[spaces.Value, ...]]:
    """Reads the levels of each factor."""
    if not isinstance(declared, Mapping):
        raise ProtocolError(
            "factors are a table of options and their levels",
            repr(declared),
            "Write factors = { residual = [false, true] }.",
        )
    for name, levels in declared.items():
        several = isinstance(levels, (list, tuple)) and len(levels) > 1
        if not several or len({json.dumps(v, default=str) for v in levels}) < len(
            levels
        ):
            raise ProtocolError(
                "a factor has two or more levels, each once, the baseline's first",
                f"{name} = {json.dumps(levels, default=str)}",
                f"Write for example {name} = [false, true].",
            )
        for level in levels:
            if not isinstance(level, (bool, int, float, str)) or not _finite(level):
                raise ProtocolError(
                    "a level is a finite number, a text or true or false",
                    f"{name} = {level!r}",
                )
            if name == "recipe":
                _check_recipe(level)
    return {name: tuple(levels) for name, levels in declared.items()}


def _crossed(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the baseline with the first level of each factor, and all other arms.

    Raises:
        ProtocolError: Challengers are declared as well, or the baseline has another
            level than the first.
    """
    factors: Mapping[str, Sequence[spaces.Value]] = declared["factors"]
    if "challengers" in declared:
        raise ProtocolError(
            "challengers are declared, or follow from factors",
            f"challengers and factors ({', '.join(factors)})",
            "Remove one of the two: a factorial's arms are the baseline's variations.",
        )
    try:
        baseline = Arm.model_validate(declared.get("baseline"))
    except pydantic.ValidationError:
        return {"challengers": ()}  # what is wrong with it, its own field says
    fixed = {**baseline.options}
    if baseline.recipe != "plain":
        fixed["recipe"] = baseline.recipe
    for name, levels in factors.items():
        if json.dumps(fixed.get(name, levels[0])) != json.dumps(levels[0]):
            raise ProtocolError(
                "the baseline has the first level of each factor",
                f"{name} = {fixed[name]!r} in the baseline, {levels[0]!r} among the levels",
                f"Take {name} out of the baseline, or write its level first.",
            )
    arms = [
        _varied(baseline, factors, dict(zip(factors, levels, strict=True)))
        for levels in itertools.product(*factors.values())
    ]
    return {"baseline": arms[0], "challengers": tuple(arms[1:])}


def _varied(
    baseline: Arm,
    factors: Mapping[str, Sequence[spaces.Value]],
    levels: Mapping[str, spaces.Value],
) -> Arm:
    """Returns the arm of one combination, such as "mlp + residual + norm=layer"."""
    parts = [baseline.name]
    for factor, level in levels.items():
        if level == factors[factor][0]:
            continue
        if level is True:
            parts.append(factor)
        elif factor == "recipe":
            parts.append(str(level))
        else:
            parts.append(f"{factor}={_as_text(level)}")
    name = " + ".join(parts)
    # A name that leaves no room for the levels is for its author to shorten.
    if len(baseline.name) <= _LONGEST_NAME * 2 // 3:
        name = _cut(name)
    _check_name(name)
    changes: dict[str, Any] = {
        "name": name,
        "options": {**baseline.options, **levels},
    }
    changes["recipe"] = changes["options"].pop("recipe", baseline.recipe)
    return baseline.model_copy(update=changes)


def _explain(
    error: pydantic.ValidationError,
    root: type[pydantic.BaseModel],
) -> ProtocolError:
    """Turns pydantic's first finding into one message of ours."""
    finding = error.errors(include_url=False)[0]
    place = [str(part) for part in finding["loc"] if not str(part).startswith("func")]
    key = ".".join(place)
    received = json.dumps(finding.get("input"), default=str, ensure_ascii=False)
    if len(received) > 80:
        received = received[:77] + "..."
    if finding["type"] == "extra_forbidden":
        model = _model_at(place[:-1], root)
        near = get_close_matches(place[-1], model.model_fields, 1)
        return ProtocolError(
            f"a {root.__name__.lower()} has no such key",
            repr(key),
            f"Did you mean {near[0]!r}?"
            if near
            else f"The keys there are {', '.join(model.model_fields)}.",
        )
    if finding["type"] == "missing":
        example = {"data": '"mnist1d"', "baseline": '"mlp"', "challengers": '["cnn"]'}
        return ProtocolError(
            f"a protocol declares {key!r}",
            "it is not there",
            f"Add it, for example {key} = {example.get(key, '...')}.",
        )
    return ProtocolError(f"{key}: {finding['msg']}", received)


def _model_at(
    place: Sequence[str], root: type[pydantic.BaseModel]
) -> type[pydantic.BaseModel]:
    rooms: Mapping[str, type[pydantic.BaseModel]] = {
        "recipe": Recipe,
        "splits": Splits,
        "baseline": Arm,
        "challengers": Arm,
        "architecture": Arm,
    }
    return rooms[place[0]] if place else root


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


def read(path: Path) -> dict[str, Any]:
    """Returns what a TOML file declares; its paths start at its folder.

    Raises:
        ProtocolError: The file is not there, or is no TOML.
    """
    return _anchor(_read_toml(path), path.parent)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProtocolError(
            "there is no such protocol file",
            str(path),
            "archtrial init writes one to start from.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProtocolError(f"{path} cannot be read as text", str(error)) from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, tomllib.TOMLDecodeError):
            raise _not_toml(path, error) from None
        raise ProtocolError(
            f"{path} cannot be read as TOML",
            str(error)[:200],
            "Numbers have 300 digits at most, and nothing is nested 100 deep.",
        ) from None


def _not_toml(path: Path, error: tomllib.TOMLDecodeError) -> ProtocolError:
    return ProtocolError(
        f"{path} is not complete TOML",
        str(error)[:200],
        "Correct that line; archtrial init writes a whole protocol to compare with.",
    )


def _anchor(declared: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Makes the paths inside a protocol file independent of the working folder."""

    def anchored(architecture: Any) -> Any:
        if not isinstance(architecture, str):
            return architecture
        name, spec, options = specs.parse_spec(architecture)
        file, colon, member = spec.rpartition(":")
        if not (colon and file.endswith(".py")):
            return architecture
        return specs.write_spec(name, f"{folder / file}:{member}", options)

    def arm(value: Any) -> Any:
        if isinstance(value, Mapping) and "architecture" in value:
            return {**value, "architecture": anchored(value["architecture"])}
        return anchored(value)

    data = declared.get("data")
    if isinstance(data, str) and (folder / data).exists():
        declared["data"] = str(folder / data)
    for key in ("baseline", "architecture"):
        if key in declared:
            declared[key] = arm(declared[key])
    if isinstance(declared.get("challengers"), list):
        declared["challengers"] = [arm(value) for value in declared["challengers"]]
    elif "challengers" in declared:
        declared["challengers"] = arm(declared["challengers"])
    return declared


def builtin() -> Protocol:
    """Returns the trial that `archtrial run` carries out when nothing is declared."""
    text = resources.files("archtrial").joinpath("mnist1d.toml").read_text("utf-8")
    return Protocol(**tomllib.loads(text))


def template() -> str:
    """Returns a commented protocol to start from."""
    return resources.files("archtrial").joinpath("template.toml").read_text("utf-8")


def canonical(resolved: Mapping[str, Any]) -> str:
    """Returns the one JSON text of a resolved protocol."""
    return json.dumps(resolved, sort_keys=True, ensure_ascii=False, allow_nan=False)


def digest(resolved: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a resolved protocol, in hexadecimal.

    What was noticed on the way ("notes") is no part of it.
    """
    declared = {name: value for name, value in resolved.items() if name != "notes"}
    return hashlib.sha256(canonical(declared).encode()).hexdigest()


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    """Yields (key, old value, new value) wherever two resolved protocols differ."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    for key in sorted(before.keys() | after.keys()):
        one, other = before.get(key, "(absent)"), after.get(key, "(absent)")
        if one != other:
            yield key, _short(one), _short(other)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for inner in value:
            label = inner.get("name", value.index(inner))
            yield from _leaves(inner, f"{path}[{label}]")
    else:
        yield path, value


def _short(value: Any) -> str:
    text = value if value == "(absent)" else json.dumps(value, ensure_ascii=False)
    if len(text) <= 60:
        return text
    closing = '"' if text.startswith('"') else ""
    return f"{text[:40]}...{closing} ({len(text)} characters)"
