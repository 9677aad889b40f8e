"""Anybody's architecture: found by its name, built, and tried before a study starts.

A SPEC is a name of the zoo, "path/to/file.py:Name", "package.module:Name", "timm:NAME"
or "torchvision:NAME" (`outside/`), or in Python the class or function itself. It needs no
registration: it is called with those of `input_shape`, `num_outputs`, `inputs: Inputs`,
its options and its search-space names that its signature has, and returns a
`torch.nn.Module`. How a signature is read, and what the data say under the names of
public code (`num_classes`, `in_chans`, `img_size`), is in `parameters.py`.

    class Net(torch.nn.Module):
        space = {"width": [32, 64, 128]}      # optional; a protocol may say it, too

        def __init__(self, input_shape, num_outputs, width=64, skip=True): ...

"""

import contextlib
import dataclasses
import functools
import importlib
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archtrial import space as spaces
from archtrial.data.inputs import Inputs
from archtrial.errors import ArmError, StudyError, UserError
from archtrial.protocol import HYPERPARAMETERS, PROCEDURE_HYPERPARAMETERS
from archtrial.space import Choice, Dimension, Space, Value
from archtrial.zoo import lengths, outside, registry
from archtrial.zoo import parameters as signatures
from archtrial.zoo.estimators import is_estimator
from archtrial.zoo.parameters import VARIADIC, is_inputs, names_in, signature_of
from archtrial.zoo.registry import Kind, Shape, nearest
from archtrial.zoo.userfile import (
    UserFile,
    find_module,
    is_library,
    line_of,
    prints_to_errors,
)

__all__ = [
    "Architecture",
    "again",
    "check_kind",
    "find",
    "known",
    "named",
    "source_of",
]

Builder = Callable[..., Any]

# What training alone may set. A signature may well have a `momentum` of its own
# (batch normalisation has): it can be fixed as an option, but a searched momentum
# is the optimiser's in every arm, or the arms would not be searched alike.
_TRAINING = frozenset(HYPERPARAMETERS) - {"dropout", *PROCEDURE_HYPERPARAMETERS}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """An architecture with its fixed options and its search space.

    It pickles by its spec and is found again wherever it is unpickled, except
    for a class or function that was given itself: that must pickle, too.
    """

    spec: str
    """What it was found by: "cnn", "path/net.py:Net", "package.module:Net"."""
    options: Mapping[str, Any]
    """Fixed options: values, or lists of them."""
    space: Space
    """Its own search space, without what the options fix."""
    source: str
    """The text of the file that defines it, and of what it imports from beside it."""
    accepts: frozenset[str]
    """The names that its signature takes from a configuration."""
    given: Builder | None = dataclasses.field(default=None, repr=False)
    """The class or function, where it was given itself."""

    @prints_to_errors()
    def build(
        self, inputs: Inputs | Shape, num_outputs: int, values: Mapping[str, Value]
    ) -> nn.Module:
        """Builds the module; torch's global generator decides its initial weights.

        Args:
            inputs: What is known of the inputs, or one example's shape alone.
            num_outputs: Classes, or 1 for regression.
            values: A configuration. Hyperparameters of training that the signature
                does not have are left to training.

        Raises:
            ArmError: It cannot be built: a value is unknown or missing, its file
                has changed since it was found, its own code raises, what it returns is
                no module, or one that is not told where series of unequal length end.
        """
        found = self._found()
        passed = self.passed(values)
        data = known(inputs)
        given = {
            "input_shape": data.shape,
            "num_outputs": num_outputs,
            **self.told(data, num_outputs, passed),
            **passed,
            **{
                name: signatures.filled(value, data, num_outputs)
                for name, value in self.options.items()
            },
        }
        # Its function may import from beside its file only now.
        with found.importing(), found.blamed(f"{self.spec} can be built"):
            module = signatures.call(self.spec, found.builder, given)
        if not isinstance(module, nn.Module):
            raise ArmError(
                f"{self.spec} returns a torch.nn.Module",
                f"it returned {_described(module)}",
            )
        return self._told_of_lengths(module, data, num_outputs, values)

    def _told_of_lengths(
        self,
        module: nn.Module,
        inputs: Inputs,
        num_outputs: int,
        values: Mapping[str, Value],
    ) -> nn.Module:
        """Returns a module that learns where sequences end, where they differ in length."""
        names = lengths.takes(module)
        if inputs.unequal and names:
            return lengths.Padded(module, names)
        # What padding there is among ids is a word of their vocabulary.
        if inputs.unequal and inputs.vocabulary is None:
            assert inputs.lengths is not None
            shortest, longest = inputs.lengths
            zeros = "--lengths zeros reads zeros behind the end as data"
            ways, declared = [zeros], 'lengths = "zeros"'
            if self._reads(inputs.cut(shortest), num_outputs, values):
                first = f"--lengths {shortest} uses the first {shortest} steps of each"
                ways, declared = [first, zeros], f"lengths = {shortest} or {declared}"
            told = _families_with_lengths(inputs, num_outputs)
            raise ArmError(
                "series of unequal length go to networks that are told where each ends:"
                " by a parameter of forward, lengths, (N,) int64, or mask, (N, L) bool,"
                " True within",
                f"{self.spec} has neither, and series have {shortest} to {longest} steps",
                (f"Take {', '.join(told)}, which are. Or give" if told else "Give")
                + f" all series one length: {', '.join(ways)} (in a protocol,"
                f" {declared}).",
            )
        if (
            inputs.kind in ("sequence", "array")
            and len(inputs.shape) <= 2
            and lengths.needs_lengths(module)
        ):
            return lengths.Padded(module, ("lengths",), padded=False)
        return module

    def _reads(
        self, inputs: Inputs, num_outputs: int, values: Mapping[str, Value]
    ) -> bool:
        """Says whether it can be built for numbers of a shape, and carried out."""
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                module = self.build(inputs, num_outputs, values)
                module.eval()(torch.zeros(2, *inputs.shape))
        except Exception:  # what a user's module raises is anything
            return False
        return True

    def passed(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Returns what the builder is given of a configuration.

        Args:
            values: A configuration.

        Raises:
            ArmError: A value is neither the builder's nor training's.
        """
        _, takes_any = names_in(self.spec, self._found().builder)
        passed = {}
        for name, value in values.items():
            if name in self.accepts or (takes_any and name not in HYPERPARAMETERS):
                passed[name] = value
            elif name not in HYPERPARAMETERS:
                raise _not_searchable(self.spec, name, self.accepts)
        return passed

    def told(
        self, inputs: Inputs | Shape, num_outputs: int, values: Mapping[str, Value]
    ) -> dict[str, Any]:
        """Returns what the data say to parameters that ask by names of their own.

        Args:
            inputs: What is known of the inputs, or one example's shape alone.
            num_outputs: Classes, or 1 for regression.
            values: What a configuration passes.

        Raises:
            ArmError: A parameter without a default may mean more than one thing.
        """
        builder, data = self._found().builder, known(inputs)
        asked = {"inputs": data} if self.asks_for_inputs else {}
        if registry.entry_of(builder) is not None or outside.is_outside(self.spec):
            return asked
        given = {"input_shape", "num_outputs", *asked, *values, *self.options}
        own = [
            parameter
            for parameter in signature_of(self.spec, builder).parameters.values()
            if parameter.kind not in VARIADIC
        ]
        return asked | signatures.told(
            self.spec, own, dict.fromkeys(given), data, num_outputs
        )

    def takes(self, option: str) -> bool:
        """Says whether it has such an option, whatever values that may have."""
        named, takes_any = names_in(self.spec, self._found().builder)
        return takes_any or option in named - {"input_shape", "num_outputs"}

    @property
    def asks_for_inputs(self) -> bool:
        """Whether its signature has a parameter `inputs` of the type `Inputs`."""
        parameters = signature_of(self.spec, self._found().builder).parameters
        return "inputs" in parameters and is_inputs(parameters["inputs"].annotation)

    @property
    def lasting_spec(self) -> str:
        """The spec by which it is found from any folder."""
        file = None if self.given is not None else self._found().file
        if file is None:
            return self.spec
        return f"{file.path}:{self.spec.rpartition(':')[2]}"

    def setting(self, option: str) -> Any:
        """Returns an option's fixed value, else its default; None without either."""
        if option in self.options:
            return self.options[option]
        parameters = signature_of(self.spec, self._found().builder).parameters
        if option not in parameters:
            return None
        default = parameters[option].default
        return None if default is inspect.Parameter.empty else default

    def allows(self, option: str, value: Value) -> bool:
        """Says whether an option may have a value; a user's own may have any."""
        entry = registry.entry_of(self._found().builder)
        if entry is not None:
            try:
                entry.check_options({option: value})
            except ArmError:
                return False
        return True

    @property
    def place(self) -> str | None:
        """Where a user defines it ("net.py, line 3"); None for what is installed."""
        inner = inspect.unwrap(self._found().builder)
        with contextlib.suppress(OSError, TypeError):
            file = inspect.getsourcefile(inner)
            if not is_library(file):
                return f"{file}, line {inspect.getsourcelines(inner)[1]}"
        return None

    def _found(self) -> "_Found":
        if self.given is not None:
            return _Found(self.given, self.source)
        return _found_again(self.spec, self.source)


@dataclasses.dataclass(frozen=True)
class _Found:
    """A class or function that builds modules, and where it comes from."""

    builder: Builder
    source: str
    file: UserFile | None = None

    def importing(self) -> contextlib.AbstractContextManager[None]:
        """Lets the user's code import what lies beside its file."""
        return self.file.importing() if self.file else contextlib.nullcontext()

    @contextlib.contextmanager
    def blamed(self, rule: str) -> Iterator[None]:
        """Turns what the user's code raises into an ArmError."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise ArmError(rule, _explained(error, self.builder)) from error


# Loaded once in a process. The source is part of the key, so that `find` can load
# a changed file in a notebook while older architectures keep what they were.
_loaded: dict[tuple[str, str], _Found] = {}


def _found_again(spec: str, source: str) -> _Found:
    if (spec, source) in _loaded:
        return _loaded[spec, source]
    if outside.is_outside(spec):
        _loaded[spec, source] = _Found(outside.again(spec, source), source)
        return _loaded[spec, source]
    try:
        found = _look_up(spec)
    except ArmError as error:
        # It was there before: not a run that failed, but a study that cannot go on.
        raise StudyError(error.rule, error.received, error.way_out) from error
    if found.source != source:
        raise StudyError(
            f"the source of {spec} stays as it was when the study began",
            "it has changed since",
            "Undo the change, or start another study with the new version.",
        )
    _loaded[spec, source] = found
    return found


def named(spec: str) -> tuple[Builder, str]:
    """Returns what a spec names, whatever it is, and the text that defines it.

    Raises:
        ArmError: There is no such thing, or its file cannot be run.
    """
    found = _look_up(spec)
    _loaded[spec, found.source] = found
    return found.builder, found.source


def again(spec: str, source: str) -> Builder:
    """Returns what a spec named when `named` returned that text, also elsewhere.

    Raises:
        StudyError: It is not there any more, or another one.
    """
    return _found_again(spec, source).builder


def find(
    spec: str | Builder,
    options: Mapping[str, Any] | None = None,
    space: Mapping[str, Any] | None = None,
) -> Architecture:
    """Finds an architecture.

    Args:
        spec: A name of the zoo, "path/to/file.py:Name", "package.module:Name", or
            a class or function that returns a `torch.nn.Module`.
        options: Fixed options.
        space: Its search space, as `archtrial.space.parse` reads it, in place of
            the zoo's or of the attribute `space` of the class or function.

    Raises:
        ArmError: There is no such thing; its file cannot be run; an option or a
            name of the search space is not in its signature.
        ProtocolError: A dimension of the search space is impossible.
    """
    if is_estimator(spec):
        raise ArmError(
            "what is built here is a torch.nn.Module",
            f"{spec if isinstance(spec, str) else spec.__name__} is an estimator of"
            " scikit-learn, which can be an arm of archtrial run alone",
            f"Take a network, such as {' or '.join(list(registry.families())[:2])}.",
        )
    if isinstance(spec, str):
        name, found = spec, _look_up(spec)
        _loaded[name, found.source] = found
    elif (entry := registry.entry_of(spec)) is not None:
        return find(entry.name, options, space)
    else:
        name, found = _name_of(spec), _Found(spec, source_of(spec))
    builder = found.builder
    if isinstance(builder, nn.Module) or not callable(builder):
        raise ArmError(
            f"{name} is a class or function that returns a torch.nn.Module, so that"
            " every run starts from fresh weights",
            f"it is {_described(builder)}",
            "Give the class itself, or a function that makes the module.",
        )
    options = dict(options or {})
    declared = _own_space(name, builder) if space is None else dict(space)
    for fixed in options.keys() & declared.keys():
        if space is not None:
            raise ArmError(
                f"{name}: an option is either fixed or searched",
                f"{fixed!r} is both",
                f"Remove {fixed!r} from the options or from the search space.",
            )
        del declared[fixed]
    parsed = {name: spaces.parse(name, value) for name, value in declared.items()}
    if outside.is_outside(spec):
        found = _from_outside(name, options, parsed)
        builder = found.builder
    named, takes_any = names_in(name, builder)
    own = named - {"input_shape", "num_outputs"}
    if "inputs" in named and is_inputs(
        signature_of(name, builder).parameters["inputs"].annotation
    ):
        own -= {"inputs"}
    for option in options:
        if option not in own and not takes_any:
            raise ArmError(
                f"{name} has no option {option!r}",
                way_out=f"{option} belongs to training: set it in the recipe."
                if option in _TRAINING
                else nearest(option, sorted(own)),
            )
    for searched in parsed:
        if not (searched in own or searched in HYPERPARAMETERS or takes_any):
            raise _not_searchable(name, searched, own)
    if entry := registry.entry_of(builder):
        entry.check_options(options)
        for searched in parsed.keys() & own:
            for value in _sampled(parsed[searched]):
                entry.check_options({searched: value})
    return Architecture(
        name,
        options,
        parsed,
        found.source,
        (own - _TRAINING).difference(options),
        given=None if isinstance(spec, str) else spec,
    )


def _from_outside(spec: str, options: Mapping[str, Any], space: Space) -> _Found:
    """Returns what builds a network of a package, with the weights of now."""
    searched = {
        name: _sampled(dimension)
        for name, dimension in space.items()
        if name not in HYPERPARAMETERS
    }
    outside.check_options(spec, options, searched)
    source = outside.source(spec, options, searched)
    found = _Found(outside.builder(spec, source), source)
    _loaded[spec, source] = found
    return found


def check_kind(architecture: Architecture, kind: Kind) -> None:
    """Raises an ArmError where an architecture of the zoo is not for such inputs."""
    if outside.is_outside(architecture.spec):
        outside.check_kind(architecture.spec, kind)
    entry = registry.entries().get(architecture.spec)
    if entry is not None and kind not in entry.kinds:
        flexible = [
            name for name, other in registry.families().items() if kind in other.kinds
        ]
        needed = "inputs with an order, such as a sequence or an image"
        if entry.kinds == ("image",):
            needed = "images"
        elif "table" in entry.kinds:
            needed = "a table, or an array of a number for each column"
        raise ArmError(
            f"{architecture.spec} needs {needed}",
            f"{'an' if kind[0] in 'ai' else 'a'} {kind}",
            f"Take {' or '.join(flexible)}.",
        )


@prints_to_errors()
def _look_up(spec: str) -> _Found:
    """Finds what a spec names, running the user's file afresh."""
    if outside.is_outside(spec):
        source = outside.source(spec, {}, {})
        return _Found(outside.builder(spec, source), source)
    place, colon, name = spec.rpartition(":")
    if not colon:
        if spec.endswith(".py"):
            raise ArmError(
                "a file is given with the name of a class or function in it",
                repr(spec),
                f"Write {spec}:Name.",
            )
        entry = registry.get(spec)
        source = source_of(entry.function)
        if entry.variant is not None:
            options = json.dumps(dict(entry.variant.options), sort_keys=True)
            source += f"# {entry.name}: {options}\n"
        return _Found(entry.function, source)
    if not place or not name:
        raise ArmError(
            "a spec is path/to/file.py:Name or package.module:Name", repr(spec)
        )
    if place.endswith(".py"):
        file = _load(Path(place).expanduser())
        return _Found(_member(place, file.module, name), file.source, file)
    if (mine := find_module(place)) is not None:
        file = _load(*mine)
        return _Found(_member(place, file.module, name), file.source, file)
    if place in registry.families():
        registry.get(spec)  # which says what variants are called
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise _not_importable(place, error) from error
        written = Path(f"{place}.py")
        raise ArmError(
            f"there is no module {place!r}, neither installed nor below the current"
            f" folder ({Path.cwd()})",
            _explained(error),
            f"Write {written}:{name}." if written.is_file() else "",
        ) from error
    except (Exception, SystemExit) as error:
        raise _not_importable(place, error) from error
    builder = _member(place, module, name)
    return _Found(builder, source_of(builder))


def _not_importable(place: str, error: BaseException) -> ArmError:
    return ArmError(f"the module {place!r} cannot be imported", _explained(error))


def _load(path: Path, root: Path | None = None) -> UserFile:
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.py"))
        raise ArmError(
            f"there is no file {path}",
            way_out=nearest(path.name, near)
            if near
            else f"{path.parent} holds no .py file.",
        )
    try:
        return UserFile.load(path, root)
    # A script without a main guard may end in sys.exit().
    except (Exception, SystemExit) as error:
        raise ArmError(f"{path} cannot be run", _explained(error)) from error


def _member(place: str, module: Any, name: str) -> Builder:
    if not hasattr(module, name):
        defined = sorted(
            other
            for other, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__
        )
        close = nearest(name, defined).partition(" There are")[0] if defined else ""
        raise ArmError(
            f"{place} has no {name!r}; it has {', '.join(defined) or 'none'}",
            way_out=close if close.startswith("Did") else "",
        )
    member: Builder = getattr(module, name)
    return member


def known(inputs: Inputs | Shape) -> Inputs:
    """Returns what is known of inputs, of which there may be a shape alone."""
    return inputs if isinstance(inputs, Inputs) else Inputs.of_shape(inputs)


def _own_space(name: str, builder: Builder) -> dict[str, Any]:
    """Returns the zoo's space, or what the attribute `space` declares."""
    entry = registry.entry_of(builder)
    if entry is not None:
        return dict(entry.space)
    declared = getattr(builder, "space", {})
    if not isinstance(declared, Mapping):
        raise ArmError(
            f"the attribute space of {name} is a mapping",
            repr(declared),
            'Write for example space = {"width": [32, 64, 128]}.',
        )
    return dict(declared)


def _families_with_lengths(inputs: Inputs, num_outputs: int) -> list[str]:
    """Returns the families of the zoo that are told where sequences end."""
    given = {"inputs": inputs, "input_shape": inputs.shape, "num_outputs": num_outputs}
    found = []
    with torch.random.fork_rng(devices=[]):
        for name, family in registry.families().items():
            if inputs.kind not in family.kinds:
                continue
            with contextlib.suppress(ArmError):  # it is not for inputs of this shape
                if lengths.takes(signatures.call(name, family.function, given)):
                    found.append(name)
    return found


def _not_searchable(spec: str, name: str, own: Iterable[str]) -> ArmError:
    return ArmError(
        f"neither {spec} nor training has a parameter {name!r}",
        way_out=nearest(name, [*sorted(own), *HYPERPARAMETERS]),
    )


def _sampled(dimension: Dimension) -> tuple[Value, ...]:
    """Returns values of a dimension: its ends, and what lies between in a Literal."""
    if isinstance(dimension, Choice):
        return dimension.options
    between = sorted({dimension.value(place / 64) for place in range(1, 64)})
    return dimension.low, *between, dimension.high


def _name_of(builder: Builder) -> str:
    if isinstance(builder, functools.partial):
        return _name_of(builder.func)
    module = getattr(builder, "__module__", type(builder).__module__)
    return f"{module}:{getattr(builder, '__qualname__', type(builder).__qualname__)}"


def source_of(builder: Builder) -> str:
    """Returns the text of the module that defines a builder.

    In a notebook, a console or a script it is the builder's own: the rest of a
    script is the study, and to change that is not to change the architecture.
    """
    if isinstance(builder, functools.partial):
        fixed = f"# with {builder.args!r} {builder.keywords!r}\n"
        return fixed + source_of(builder.func)
    inner = inspect.unwrap(builder)
    module = getattr(inner, "__module__", "__main__")
    place = inner if module == "__main__" else sys.modules.get(module, inner)
    with contextlib.suppress(OSError, TypeError):
        return inspect.getsource(place)
    return f"# {_name_of(builder)}: no source at hand\n"


def _explained(error: BaseException, builder: Builder | None = None) -> str:
    """Returns an exception's type and message, and the user's line that it is about."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    line = line_of(traceback.extract_tb(error.__traceback__))
    if line is None and builder is not None:
        # Made of torch's modules alone, so none of its lines was running.
        with contextlib.suppress(OSError, TypeError):
            inner = inspect.unwrap(builder)
            start = inspect.getsourcelines(inner)[1]
            line = f"{inspect.getsourcefile(inner) or ''}, line {start}"
    if isinstance(error, SyntaxError) or line is None:  # the first says its own line
        return said
    return f"{said} ({line})"


def _described(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"an object of type {type(value).__name__}"
