"""What an architecture's signature asks for, and what the data say to it.

`input_shape` and `num_outputs` are passed to whoever asks for them. Public networks
ask for `num_classes`, `in_chans` or `img_size` instead; which names mean what is
written down here and nowhere else. A name that means one thing in one network and
another thing in the next is a question, which the options settle with placeholders:

    net.py:Net(num_classes={num_outputs}, input_size={channels})
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archtrial.data.inputs import Inputs
from archtrial.errors import ArmError

__all__ = [
    "VARIADIC",
    "call",
    "filled",
    "is_inputs",
    "names_in",
    "signature_of",
    "told",
    "typed",
]

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
"""The kinds of `*args` and `**kwargs`."""

# The number of outputs, whatever the default is.
_OUTPUTS = (
    "num_classes", "n_classes", "nb_classes", "num_class", "n_class", "nclass",
    "nclasses", "class_num", "num_labels", "n_labels", "num_targets", "n_targets",
)  # fmt: skip
# The number of outputs, unless another parameter has one of the names above.
_PERHAPS_OUTPUTS = (
    "n_outputs", "num_output", "n_output", "out_features", "output_size", "output_dim",
    "out_dim", "dim_out", "d_out", "n_out", "c_out", "output_features", "out_size",
)  # fmt: skip
_CHANNELS = (
    "in_channels", "in_channel", "in_chans", "in_chan", "in_ch", "input_channels",
    "input_channel", "image_channels", "img_channels", "channels_in", "channel_in",
    "c_in",
)  # fmt: skip
# Of the input in one network, of hidden layers in another.
_PERHAPS_CHANNELS = ("channels", "num_channels", "n_channels", "in_planes", "chans")
_SIDES = ("image_size", "img_size", "imsize", "input_resolution", "image_shape")
_FEATURES = (
    "in_features", "input_features", "input_size", "input_dim", "in_dim", "in_size",
    "dim_in", "d_in", "n_inputs", "num_inputs", "n_in",
)  # fmt: skip
_PERHAPS_FEATURES = ("n_features", "num_features", "n_feature", "num_feature")
_LENGTHS = (
    "seq_len", "seq_length", "sequence_length", "input_length", "input_len",
)  # fmt: skip
# The longest that a network takes: the author's, where there is a default.
_PERHAPS_LENGTHS = (
    "max_len", "max_length", "max_seq_len", "block_size", "context_length", "ctx_len",
)  # fmt: skip

# Of a network that looks names up, such as token ids; with a default it may be that of
# somebody's tokenizer.
_PERHAPS_VOCABULARY = (
    "vocab_size", "vocabulary_size", "size_vocab", "n_vocab", "num_vocab", "vocab_len",
    "ntoken", "ntokens", "n_token", "n_tokens", "num_token", "num_tokens",
    "num_embeddings", "n_embeddings", "num_words", "n_words",
)  # fmt: skip

_PLACEHOLDER = re.compile(r"\{\s*([A-Za-z_]\w*)\s*\}")


def _known(inputs: Inputs, num_outputs: int) -> dict[str, Any]:
    """Returns what a placeholder may name, and its value for these data."""
    shape = inputs.shape
    features = 1
    for size in shape:
        features *= size
    known: dict[str, Any] = {
        "num_outputs": num_outputs,
        "input_shape": list(shape),
        "channels": shape[0] if len(shape) > 1 else 1,
        "features": features,
    }
    if len(shape) in (1, 2):
        known["length"] = shape[-1]
    if len(shape) == 3:
        known["height"], known["width"] = shape[1:]
        if shape[1] == shape[2]:
            known["size"] = shape[1]
    if inputs.vocabulary is not None:
        known["vocabulary"] = inputs.vocabulary
    return known


def filled(value: Any, inputs: Inputs, num_outputs: int) -> Any:
    """Returns an option's value with the placeholders in it replaced.

    Raises:
        ArmError: A placeholder names nothing that the data have.
    """
    if isinstance(value, (list, tuple)):
        return [filled(part, inputs, num_outputs) for part in value]
    match = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    known = _known(inputs, num_outputs)
    if match[1] not in known:
        raise ArmError(
            f"inputs of shape {inputs.shape} have no {{{match[1]}}}",
            way_out="They have "
            + ", ".join(f"{{{name}}} ({known[name]})" for name in known)
            + ".",
        )
    return known[match[1]]


def typed(parameter: inspect.Parameter, value: Any) -> Any:
    """Returns a list as the tuple that a parameter's default or annotation is."""
    if not isinstance(value, list):
        return value
    inner = [tuple(v) if isinstance(v, list) else v for v in value]
    if isinstance(parameter.default, tuple):
        return tuple(inner)
    annotation = parameter.annotation
    named = annotation if isinstance(annotation, str) else str(annotation)
    takes_tuples = (
        annotation is tuple
        or named == "tuple"
        or "tuple[" in named.lower()
        or "Literal[(" in named
    )
    return tuple(inner) if takes_tuples and "list" not in named.lower() else value


def told(
    spec: str,
    parameters: Sequence[inspect.Parameter],
    given: Mapping[str, Any],
    inputs: Inputs,
    num_outputs: int,
) -> dict[str, Any]:
    """Returns what the data say to parameters of other names than ours.

    Args:
        spec: For messages.
        parameters: Of the class or function.
        given: What is passed anyway, by name.
        inputs: What is known of them.
        num_outputs: Classes, or 1 for regression.

    Raises:
        ArmError: A parameter without a default may mean more than one thing.
    """
    known = _known(inputs, num_outputs)
    names = {parameter.name for parameter in parameters}
    counted = bool(names & {"num_outputs", *_OUTPUTS})
    found: dict[str, Any] = {}
    for parameter in parameters:
        name, required = parameter.name, parameter.default is parameter.empty
        if name in given:
            continue
        if name in _OUTPUTS:
            found[name] = num_outputs
        elif name in _PERHAPS_OUTPUTS:
            if not counted:
                found[name], counted = num_outputs, True
            elif required:
                raise _question(spec, name, known, ("num_outputs",))
        elif name in _CHANNELS:
            found[name] = known["channels"]
        elif name in _SIDES:
            if (side := _side(parameter, known)) is not None:
                found[name] = side
            elif required:
                raise _question(spec, name, known, ("height", "width", "length"))
        elif name in _FEATURES or (name in _PERHAPS_FEATURES and required):
            if len(inputs.shape) == 1:
                found[name] = known["features"]
            elif required:
                raise _question(spec, name, known, ("channels", "length", "features"))
        elif name in _LENGTHS or (name in _PERHAPS_LENGTHS and required):
            if "length" in known:
                found[name] = known["length"]
        elif name in _PERHAPS_VOCABULARY and required:
            if inputs.vocabulary is not None:
                found[name] = inputs.vocabulary
        elif name in _PERHAPS_CHANNELS and required:
            raise _question(spec, name, known, ("channels",))
    return found


def _side(parameter: inspect.Parameter, known: Mapping[str, Any]) -> Any:
    """Returns an image's side, or both where that is what the parameter takes."""
    if "height" not in known:
        return None
    both = [known["height"], known["width"]]
    if isinstance(parameter.default, list):
        return both
    pair = typed(parameter, both)
    if isinstance(pair, tuple):
        return pair
    return known.get("size")


def _question(
    spec: str, name: str, known: Mapping[str, Any], meanings: Sequence[str]
) -> ArmError:
    ways = [
        f"{spec}({name}={{{meaning}}}) for {known[meaning]}"
        for meaning in meanings
        if meaning in known
    ]
    return ArmError(
        f"the parameter {name!r} of {spec} may mean more than one thing",
        "networks differ in it, and it has no default",
        f"Write {', '.join(ways)}{', ' if ways else ''}or {spec}({name}=...) with a"
        " value of your own.",
    )


# --- signatures ---------------------------------------------------------------------


def is_inputs(annotation: Any) -> bool:
    """Says whether a parameter wants an `Inputs`; what it is called alone does not."""
    # Also as `from __future__ import annotations` has it.
    if isinstance(annotation, str):
        return annotation.strip("'\"").rpartition(".")[2] == Inputs.__name__
    return annotation is Inputs


def signature_of(name: str, builder: Callable[..., Any]) -> inspect.Signature:
    """Returns the signature of a class or function.

    Raises:
        ArmError: Python cannot read it.
    """
    try:
        return inspect.signature(builder)
    except (TypeError, ValueError):
        raise ArmError(
            f"{name} has a signature that Python can read",
            way_out="Wrap it: def net(input_shape, num_outputs): return ...",
        ) from None


def names_in(name: str, builder: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    """Returns the names in a signature, and whether it takes any other as well."""
    parameters = signature_of(name, builder).parameters.values()
    return (
        frozenset(p.name for p in parameters if p.kind not in VARIADIC),
        any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters),
    )


def call(name: str, builder: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """Calls a builder with what its signature has of the values given.

    Args:
        name: What messages call it.
        builder: A class or function.
        given: Values by name; those that it does not have are left out.

    Raises:
        ArmError: A parameter without a default has no value.
    """
    arguments: dict[str, Any] = {}
    left = dict(given)
    lacking = []
    for parameter in signature_of(name, builder).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            # Not asked for by name: without these two a **kwargs that passes
            # everything on would pass on what nobody expects.
            left.pop("input_shape", None)
            left.pop("num_outputs", None)
            arguments[parameter.name] = left
        elif parameter.name in left:
            value = left.pop(parameter.name)
            arguments[parameter.name] = typed(parameter, value)
        elif (
            parameter.default is inspect.Parameter.empty
            and parameter.kind is not inspect.Parameter.VAR_POSITIONAL
        ):
            lacking.append(parameter.name)
    if lacking:
        quoted = [repr(parameter) for parameter in lacking]
        said = " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))
        options = ", ".join(f"{parameter}=..." for parameter in lacking)
        annotate = "Write inputs: archtrial.Inputs in its signature. "
        raise ArmError(
            f"every parameter of {name} without a default has a value",
            f"{said} {'have' if lacking[1:] else 'has'} none",
            f"{annotate if 'inputs' in lacking else ''}"
            f"Type {name}({options}), or put them into the search space. The data give"
            " input_shape, num_outputs and, to a parameter written inputs:"
            " archtrial.Inputs, all that is known of them; also {num_outputs},"
            " {channels} or {features} in place of a value.",
        )
    bound = inspect.BoundArguments(signature_of(name, builder), arguments)
    return builder(*bound.args, **bound.kwargs)
