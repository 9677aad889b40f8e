"""What every declared value is: frozen, of known fields, each of its declared type."""

from typing import Annotated

import pydantic

__all__ = ["Count", "Declaration", "NotNegative", "Positive", "Share"]


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
