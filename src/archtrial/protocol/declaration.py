"""What every declared value is: frozen, of known fields, each of its declared type."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import pydantic

from archtrial import space as spaces

__all__ = ["Count", "Declaration", "NotNegative", "Positive", "Searched", "Share"]


class Declaration(pydantic.BaseModel):
    """A frozen value whose fields are all known and of the declared type."""

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
    )


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
