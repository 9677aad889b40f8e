"""What a protocol is put together from: an arm, a recipe, the division of the rows."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import pydantic

from archtrial import space as spaces
from archtrial import specs
from archtrial.errors import ProtocolError
from archtrial.protocol.declaration import (
    Count,
    Declaration,
    NotNegative,
    Positive,
    Searched,
    Share,
    members,
)
from archtrial.protocol.procedure import (
    PROCEDURE_HYPERPARAMETERS,
    Augmentation,
    Procedure,
)

__all__ = [
    "HYPERPARAMETERS",
    "LONGEST_NAME",
    "MODERN",
    "MODERN_AUGMENTATION",
    "Arm",
    "Count",
    "Declaration",
    "NotNegative",
    "Positive",
    "Recipe",
    "Searched",
    "Share",
    "Splits",
    "as_text",
    "check_name",
    "check_recipe",
    "cut",
    "describe_space",
    "explain",
    "finite",
]

HYPERPARAMETERS = (
    "learning_rate",
    "weight_decay",
    "momentum",
    "label_smoothing",
    "initial_scale",
    "dropout",
    *PROCEDURE_HYPERPARAMETERS,
)
"""What training itself understands; all other names are the architecture's."""


class Recipe(Declaration):
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
    augmentation: tuple[Augmentation, ...] = ()
    """How each training example is changed whenever it is met: "shift" moves it by up
    to an eighth of its sides, "flip" mirrors half of all images left to right (which
    harms digits and letters), "scale" multiplies it by 1 with a deviation of .1,
    "noise" adds normal numbers with a deviation of .05. Stronger: "cutout" covers a square
    of half an image's shorter side, or a quarter of a series, with its mean; "affine" turns
    images by up to 30 degrees, shears them by up to .3 and zooms by .8 to 1.25; "contrast"
    multiplies an image's deviations from its mean by .5 to 2 and moves the mean by up to
    half a standard deviation; "stretch" slows series down or speeds them up, by .8 to
    1.25."""
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
    nor the factors of normalisations. A trial that does not say it has that
    (`Protocol.recipe`), and a study of an earlier release "all"."""
    class_weights: Literal["none", "balanced"] = "none"
    """"balanced": each class has the same share of the loss, whatever its size."""
    loss: Annotated[str, pydantic.Field(min_length=1)] | None = None
    """FILE:NAME of a function of one's own that is minimised: f(outputs, targets) returns
    the loss of each example. It is "path/to/file.py:name" or "package.module:name" and
    gets outputs (N, outputs), of classes before the softmax,
    and targets (N,), int64 labels or float32 values that are standardised as the
    training set is, and returns each example's loss, (N,). What is reported stays the
    metric. None: cross-entropy, or squared error."""
    procedure: Procedure = Procedure()
    """Where targets come from: labels alone, or also the model's own answers for examples
    without labels. An arm's option `procedure` says it for that arm."""

    def describe(self) -> dict[str, Any]:
        """Returns the recipe as JSON, without what later releases added and none uses.

        So a protocol keeps its hash from one release to the next. A file of the user's
        is described by its name alone.
        """
        later = (
            *("augmentation", "weight_averaging", "length", "precision"),
            *(
                "memory_format",
                "accumulate",
                "weight_decay_on",
                "class_weights",
                "loss",
                "procedure",
            ),
        )
        described = {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if name not in later or getattr(self, name) != getattr(Recipe(), name)
        }
        if self.loss is not None:
            described["loss"] = _without_folder(self.loss)
        return described


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


class Splits(Declaration):
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


class Arm(Declaration):
    """An architecture under trial with its fixed options and its own search space.

    Also read from one text, `[NAME=]SPEC`, such as "cnn", "deep=mlp(depth=4)" or
    "net.py:Net(skip=true)".
    """

    name: str
    architecture: str | Callable[..., Any]
    """A zoo name, "path/to/file.py:Name", "package.module:Name" or, in Python, the
    class or function itself."""
    options: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it
    """Values, None, or lists of them; a text such as "{num_outputs}" is filled in from
    the data."""
    space: Searched = {}  # noqa: RUF012 - as above
    recipe: Any = "plain"
    """"plain": the protocol's; "modern": that with `MODERN` over it; or a table of the
    fields in which it differs from the protocol's, or with `base = "modern"` from
    that. Among the options in brackets `recipe` is reserved for it,
    and `procedure` for its `procedure`."""

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
            options = declared.get("options")
            if isinstance(options, Mapping) and "procedure" in options:
                declared["options"] = {
                    k: options[k] for k in options if k != "procedure"
                }
                declared["recipe"] = with_procedure(
                    declared.get("recipe", "plain"), options["procedure"]
                )
        return declared

    @pydantic.field_validator("name")
    @classmethod
    def _can_name_a_file(cls, name: str) -> str:
        check_name(name)
        return name

    @pydantic.field_validator("recipe")
    @classmethod
    def _can_be_followed(cls, declared: Any) -> Any:
        check_recipe(declared)
        return declared

    @pydantic.field_validator("options")
    @classmethod
    def _can_be_written(cls, options: dict[str, Any]) -> Any:
        return {name: _option(name, value) for name, value in options.items()}

    def declared(self) -> dict[str, Any]:
        """Returns what was declared of the arm as JSON, to be declared again from it."""
        described = self.model_dump(mode="json", include=self.model_fields_set)
        # A space that was declared empty is not one that was left out.
        if "space" in described:
            described["space"] = describe_space(self.space)
        return described

    def describe(self) -> dict[str, Any]:
        """Returns the arm as JSON, a file of the user's by its name alone."""
        spec = self.architecture
        if not isinstance(spec, str):
            spec = f"{getattr(spec, '__name__', type(spec).__name__)} (given in Python)"
        return {
            "name": self.name,
            "architecture": _without_folder(spec),
            "options": dict(self.options),
            "space": describe_space(self.space),
        }


def _without_folder(spec: str) -> str:
    place, colon, member = spec.rpartition(":")
    return f"{Path(place).name}{colon}{member}" if place.endswith(".py") else spec


LONGEST_NAME = 60


def check_name(name: str) -> None:
    """Raises a ProtocolError unless an arm may have that name."""
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        shown = repr(name) if len(name) <= 2 * LONGEST_NAME else f"{name[:99]!r}..."
        raise ProtocolError(
            f"an arm's name has 1 to {LONGEST_NAME} printable characters",
            shown,
            "Give it another one: name=SPEC." if name.strip() else "",
        )
    # File systems count bytes, and want room for an ending.
    if len(name.encode()) > 4 * LONGEST_NAME - 40:
        raise ProtocolError(
            f"an arm's name has {4 * LONGEST_NAME - 40} bytes at most in UTF-8",
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
    if not finite(value):
        raise ProtocolError("an option is a finite value", f"{name} = {value}")
    return value


_DEEPEST_OPTION = 20


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def with_procedure(recipe: Any, procedure: Any) -> Any:
    """Returns an arm's recipe, as it is declared, with another procedure."""
    if isinstance(recipe, str):
        recipe = {} if recipe == "plain" else {"base": recipe}
    return {**recipe, "procedure": procedure} if isinstance(recipe, Mapping) else recipe


def parted(recipe: Any) -> tuple[Any, Any]:
    """Returns an arm's recipe without its procedure, and that; None where it says none."""
    if not isinstance(recipe, Mapping) or "procedure" not in recipe:
        return recipe, None
    rest = {name: value for name, value in recipe.items() if name != "procedure"}
    base = rest.get("base", "plain")
    return (base if rest.keys() <= {"base"} else rest), recipe["procedure"]


def laid_over(recipe: Recipe, declared: Any, kind: str) -> Recipe:
    """Returns a recipe with an arm's own laid over it.

    Args:
        recipe: The protocol's.
        declared: What `Arm.recipe` says.
        kind: Of the inputs: "table", "sequence", "image", "array" or "names".

    Raises:
        ProtocolError: A procedure needs changes of examples, and nobody knows any.
    """
    table = {"base": declared} if isinstance(declared, str) else dict(declared)
    if table.pop("base", "plain") == "modern":
        augmentation = MODERN_AUGMENTATION.get(kind, ())
        table = {**MODERN, "augmentation": augmentation, **table}
    own = table.pop("procedure", {})
    own = {"kind": own} if isinstance(own, str) else own
    procedure = {**recipe.procedure.model_dump(), **own}
    laid = Recipe.model_validate(
        {**recipe.model_dump(), **table, "procedure": procedure}
    )
    return laid.model_copy(update={"procedure": laid.procedure.on(kind)})


def check_recipe(declared: Any) -> None:
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
        raise explain(error, Recipe) from None


def describe_space(space: spaces.Space) -> dict[str, Any]:
    """Returns a space as the JSON that a protocol declares it with."""
    return {name: spaces.describe(space[name]) for name in sorted(space)}


def finite(value: Any) -> bool:
    """Says whether a value is no infinite number and none that is undefined."""
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
        return cut(str(name))
    inside = ", ".join(f"{key}={as_text(value)}" for key, value in options.items())
    return cut(f"{name}({inside})")


def cut(name: str) -> str:
    """Returns a name that nobody chose at a length that names may have.

    Two that begin alike stay apart.
    """
    printable = "".join(c if c.isprintable() else " " for c in name)
    if printable == name and len(name) <= LONGEST_NAME and len(name.encode()) <= 120:
        return name
    told = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()[:6]
    kept = printable.encode(errors="replace")[: LONGEST_NAME - 10]
    return f"{kept.decode(errors='ignore').rstrip()}... {told}"


def as_text(value: Any) -> str:
    """Returns an option's value as a spec writes it."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(as_text, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def explain(
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
    if finding["type"] == "tuple_type":
        single = isinstance(finding.get("input"), (str, int, float))
        return ProtocolError(
            f"{key} is a list",
            received,
            f"Write {place[-1]} = [{received}]." if single else "",
        )
    return ProtocolError(f"{key}: {finding['msg']}", received)


def _model_at(
    place: Sequence[str], root: type[pydantic.BaseModel]
) -> type[pydantic.BaseModel]:
    """Returns what is declared at a place, such as ("recipe", "procedure")."""
    model = root
    for part in place:
        if part in model.model_fields:  # else the index of one of several
            held = members(model.model_fields[part].annotation)
            ones = [(get_args(each) or (each,))[0] for each in held]
            inner = [
                one
                for one in ones
                if isinstance(one, type) and issubclass(one, pydantic.BaseModel)
            ]
            model = inner[0] if inner else model
    return model
