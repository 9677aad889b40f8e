"""What is compared, declared before the first run."""

from typing import Literal

import pydantic


class _Declared(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)


class Recipe(_Declared):
    """How every arm is trained; the five real hyperparameters can be searched."""

    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    schedule: Literal["cosine", "constant", "step"] = "cosine"
    warmup: float = 0.05
    """The share of the steps over which the learning rate rises from 0."""
    order: Literal["shuffled", "fixed"] = "shuffled"
    """Batches: a fresh permutation each epoch, or the same one in each."""
    gradient_clip: float | None = 1.0
    """Largest norm of a run's gradient; None for no limit."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    """SGD's Nesterov momentum, or the first beta of Adam and AdamW."""
    label_smoothing: float = 0.0
    initial_scale: float = 1.0
    """Factor on each weight of two or more dimensions at initialisation."""


class Splits(_Declared):
    """How rows become training, validation and test sets."""

    kind: Literal["auto", "stratified", "random", "grouped", "time", "given"] = "auto"
    validation: float = 0.2
    """Share of the rows that are not test rows... of all rows, for choosing."""
    test: float = 0.2
    """Share of all rows that are sealed; unused where a test set is given."""
