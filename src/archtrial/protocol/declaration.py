"""What every declared value is: frozen, of known fields, each of its declared type."""

import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import pydantic

from archtrial import space as spaces

__all__ = [
    "Count",
    "Declaration",
    "NotNegative",
    "Positive",
    "Searched",
    "Share",
    "members",
]


class Declaration(pydantic.BaseModel):
    """A frozen value whose fields are all known and of the declared type."""

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, declared: Any) -> Any:
        """Takes lists, which TOML and JSON have, where a field holds a tuple."""
        if not isinstance(declared, Mapping):
            return declared
        found = dict(declared)
        for name, field in cls.model_fields.items():
            if isinstance(found.get(name), list) and any(
                typing.get_origin(t) is tuple for t in members(field.annotation)
            ):
                found[name] = tuple(found[name])
        return found


def members(annotation: Any) -> tuple[Any, ...]:
    """Returns the types that a field may have, each without its bounds."""
    origin, held = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return members(held[0])
    if origin in (typing.Union, types.UnionType):
        return tuple(member for one in held for member in members(one))
    return (annotation,)


Share = Annotated[float, pydantic.Field(gt=0, lt=1)]
Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, pydantic.Field(ge=1)]


def _parsed(declared: Any) -> Any:
    if not isinstance(declared, Mapping):
        return declared
    return {name: spaces.parse(name, found) for name, found in declared.items()}


Searched: TypeAlias = Annotated[dict[str, Any], pydantic.BeforeValidator(_parsed)]
"""A search space: by name, a dimension or what `archtrial.space.parse` reads as one."""
