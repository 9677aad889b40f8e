"""What a run sees in place of its training examples: a little different each time.

Only training batches pass through here; validation and test inputs never do.
As in `recipe.py` everything has a leading axis of runs, and a run's changes are
drawn from a stream of its own: a fleet sees what the loop sees.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from archtrial.errors import ProtocolError

__all__ = ["Augmentation", "check"]

# A shift of at most an eighth of a side: 4 pixels of 32 (He et al. 2016, arXiv
# 1512.03385, section 4.2).
_REACH = 1 / 8
# The deviations of Um et al. 2017 (arXiv 1706.00527) for signals of deviation 1.
_SCALE = 0.1
_NOISE = 0.05

Draw = Callable[[np.random.Generator, int, tuple[int, ...]], np.ndarray]
Change = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Augmentation:
    """Changes the batches of many runs, each by draws of its own.

    The draws follow from the seed that decides the order of batches: arms that
    are paired meet the same examples, changed in the same way.

    Args:
        names: Of the recipe; carried out in this order. With none, inputs pass as
            they are.
        order_seeds: Of each run.
    """

    def __init__(self, names: Sequence[str], order_seeds: Sequence[int]) -> None:
        self._steps = [_TRANSFORMATIONS[name] for name in names]
        # The order itself comes from the seed alone: another stream.
        self._generators = [np.random.default_rng([seed, 1]) for seed in order_seeds]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Returns inputs (runs, batch, ...), each example changed or not."""
        batch, shape = x.shape[1], tuple(x.shape[2:])
        for draw, change in self._steps:
            drawn = [draw(generator, batch, shape) for generator in self._generators]
            x = change(x, torch.from_numpy(np.stack(drawn)).to(x.device))
        return x


def check(names: Sequence[str], kind: str) -> None:
    """Raises a ProtocolError where inputs of a kind cannot be changed like that.

    Args:
        names: Of the recipe.
        kind: "table", "sequence", "image" or "array".
    """
    for name in names:
        if kind not in _SUITS[name]:
            raise ProtocolError(
                f"the augmentation {name!r} suits inputs of the kind"
                f" {' or '.join(_SUITS[name])}",
                f"a {kind}",
                f"Take {name!r} out of the recipe's augmentation.",
            )


def _sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the sides of an example (L,), (C, L) or (C, H, W), without channels."""
    return shape if len(shape) == 1 else shape[1:]


def _draw_shift(
    generator: np.random.Generator, batch: int, shape: tuple[int, ...]
) -> np.ndarray:
    reach = [max(1, round(side * _REACH)) for side in _sides(shape)]
    return generator.integers(
        np.negative(reach), reach, (batch, len(reach)), np.int64, True
    )


def _shift(x: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Moves each example along its sides; what moves in repeats the edge.

    So no value is needed for what lies outside, whatever the inputs' scale. A series
    that ends before others, in NaN, moves between its own ends, by its share of the way.
    """
    if shifts.shape[2] == 1:
        return _shift_series(x, shifts)
    first = x.dim() - shifts.shape[2]
    for side in range(shifts.shape[2]):
        axis, length = first + side, x.shape[first + side]
        places = torch.arange(length, device=x.device) - shifts[..., side, None]
        places = places.clamp_(0, length - 1)  # (runs, batch, length)
        around = [1] * x.dim()
        around[0], around[1], around[axis] = places.shape
        x = x.gather(axis, places.view(around).expand(x.shape))
    return x


def _shift_series(x: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Moves series (runs, batch, [C,] L), each up to its end."""
    steps = x.shape[-1]
    own = ~x.isnan()
    if x.dim() == 4:
        own = own.any(2)
    place = torch.arange(steps, device=x.device)
    ends = (own * (place + 1)).amax(2, keepdim=True)  # (runs, batch, 1)
    share = torch.div(shifts * ends, steps, rounding_mode="trunc")
    moved = torch.minimum((place - share).clamp(min=0), ends - 1)
    places = torch.where(place < ends, moved, place)  # (runs, batch, L)
    places = places if x.dim() == 3 else places.unsqueeze(2)
    return x.gather(-1, places.expand(x.shape))


def _draw_flip(
    generator: np.random.Generator, batch: int, shape: tuple[int, ...]
) -> np.ndarray:
    return generator.random(batch) < 0.5


def _flip(x: torch.Tensor, flipped: torch.Tensor) -> torch.Tensor:
    return torch.where(_beside(flipped, x), x.flip(-1), x)


def _draw_scale(
    generator: np.random.Generator, batch: int, shape: tuple[int, ...]
) -> np.ndarray:
    return (1 + _SCALE * generator.standard_normal(batch)).astype(np.float32)


def _scale(x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    return x * _beside(factors, x)


def _draw_noise(
    generator: np.random.Generator, batch: int, shape: tuple[int, ...]
) -> np.ndarray:
    return _NOISE * generator.standard_normal((batch, *shape), np.float32)


def _beside(drawn: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Returns one value an example, (runs, batch), in as many dimensions as x has."""
    return drawn.view(*drawn.shape, *(1 for _ in x.shape[2:]))


_TRANSFORMATIONS: Mapping[str, tuple[Draw, Change]] = {
    "shift": (_draw_shift, _shift),
    "flip": (_draw_flip, _flip),
    "scale": (_draw_scale, _scale),
    "noise": (_draw_noise, torch.add),
}

# The columns of a table have neither neighbours nor a common scale. An array may
# be a signal: who declares so knows it.
_SUITS: Mapping[str, tuple[str, ...]] = {
    "shift": ("image", "sequence", "array"),
    "flip": ("image",),
    "scale": ("image", "sequence", "array"),
    "noise": ("image", "sequence", "array", "table"),
}
