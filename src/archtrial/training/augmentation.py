"""What a run sees in place of its training examples: a little different each time.

Only training batches pass through here; validation and test inputs never do.
As in `recipe.py` everything has a leading axis of runs, and a run's changes are
drawn from a stream of its own: a fleet sees what the loop sees.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional

from archtrial.errors import ProtocolError

__all__ = ["Augmentation", "check"]

# A shift of at most an eighth of a side: 4 pixels of 32 (He et al. 2016, arXiv
# 1512.03385, section 4.2).
_REACH = 1 / 8
# The deviations of Um et al. 2017 (arXiv 1706.00527) for signals of deviation 1.
_SCALE = 0.1
_NOISE = 0.05
# 16 pixels of 32, as on CIFAR-10 (DeVries and Taylor 2017, arXiv 1708.04552). Such a square
# is a quarter of an image, and so is the segment of a series.
_SQUARE = 1 / 2
_SEGMENT = 1 / 4
# The ranges of RandAugment (Cubuk et al. 2019, arXiv 1909.13719), which are those of
# AutoAugment (arXiv 1805.09501). It has no zoom: ours is as wide as the stretch.
_DEGREES = 30
_SHEAR = 0.3
_ZOOM = 1.25
# RandAugment's contrast is a factor of .1 to 1.9; here it is as likely halved as doubled.
_CONTRAST = 2
_BRIGHTNESS = 0.5
# Sounds are classified better with factors of .81 to 1.23 (Salamon and Bello 2017, arXiv
# 1608.04363, section II-B).
_STRETCH = 1.25

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


def check(
    names: Sequence[str], kind: str, where: str = "the recipe's augmentation"
) -> None:
    """Raises a ProtocolError where inputs of a kind cannot be changed like that.

    Args:
        names: Of the recipe.
        kind: "table", "sequence", "image" or "array".
        where: They are declared.
    """
    for name in names:
        if kind not in _SUITS[name]:
            raise ProtocolError(
                f"the augmentation {name!r} suits inputs of the kind"
                f" {' or '.join(_SUITS[name])}",
                f"{kind} inputs",
                f"Take {name!r} out of {where}.",
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
    steps, ends = x.shape[-1], _ends(x)
    place = torch.arange(steps, device=x.device)
    share = torch.div(shifts * ends, steps, rounding_mode="trunc")
    moved = torch.minimum((place - share).clamp(min=0), ends - 1)
    return _taken(x, torch.where(place < ends, moved, place))


def _ends(x: torch.Tensor) -> torch.Tensor:
    """Returns (runs, batch, 1), how many steps series (runs, batch, [C,] L) have."""
    own = ~x.isnan()
    if x.dim() == 4:
        own = own.any(2)
    return (own * torch.arange(1, x.shape[-1] + 1, device=x.device)).amax(2, True)


def _taken(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Returns what series (runs, batch, [C,] L) have at places (runs, batch, L)."""
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


def _draw_cutout(
    generator: np.random.Generator, batch: int, shape: tuple[int, ...]
) -> np.ndarray:
    return generator.random((batch, len(_sides(shape))))


def _cutout(x: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Covers a square of each image, of half its shorter side, or a quarter of a series.

    The centre may be any pixel or step, so a part may lie outside. What is covered has the
    example's own mean, channel by channel: no value has to stand for nothing.

    Args:
        x: (runs, batch, [C,] L), perhaps with NaN behind ends, or (runs, batch, C, H, W).
        centres: (runs, batch, sides), as shares of the sides, from 0 to below 1.
    """
    series, axes = centres.shape[2] == 1, tuple(range(-centres.shape[2], 0))
    sides = _ends(x) if series else torch.tensor(x.shape[-2:], device=x.device)
    shortest = sides.amin(-1, keepdim=True)
    width = (shortest * (_SEGMENT if series else _SQUARE)).round().clamp(min=1)
    starts = (centres * sides).floor() - width // 2  # (runs, batch, sides)
    covered = ~x.isnan() if series else torch.tensor(True, device=x.device)
    for axis in axes:
        place = torch.arange(x.shape[axis], device=x.device)
        past = place - starts[..., axis, None]  # (runs, batch, side)
        around = [*past.shape[:2], *(1 for _ in x.shape[2:])]
        around[axis] = x.shape[axis]
        covered = covered & ((past >= 0) & (past < width)).view(around)
    return torch.where(covered, _means(x, axes), x)


def _means(x: torch.Tensor, sides: tuple[int, ...]) -> torch.Tensor:
    """Returns means over sides, of series without the NaN behind their ends.

    They are summed in float64: whatever the order of adding, which may depend on how many
    runs there are, what is rounded to the inputs' type is the same.
    """
    mean = torch.nanmean if len(sides) == 1 else torch.mean
    return mean(x, sides, True, dtype=torch.float64).to(x.dtype)


def _draw_affine(
    generator: np.random.Generator, batch: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Returns (batch, 2, 2), from (x, y) of a changed image to (x, y) of the image.

    Both are counted in pixels from the centre. A shear along y is one along x and a turn.
    """
    turn, shear, zoom = generator.uniform(-1, 1, (3, batch))
    angle, shear, zoom = np.deg2rad(_DEGREES) * turn, _SHEAR * shear, _ZOOM**zoom
    cos, sin = np.cos(angle), np.sin(angle)
    # The inverse of zoom x rotation x shear.
    rows = [[cos + shear * sin, sin - shear * cos], [-sin, cos]]
    return np.moveaxis(np.array(rows) / zoom, 2, 0)


def _affine(x: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Turns, shears and zooms images about their centres; borders repeat the edge."""
    offsets = [
        torch.arange(side, device=x.device, dtype=maps.dtype) - (side - 1) / 2
        for side in x.shape[-2:]
    ]
    down, right = offsets[0][:, None], offsets[1]
    # Without `align_corners` -1 and 1 are the outer edges of the outer pixels: one pixel is
    # 2 / side, also of a side that has only one. Products are written out, since those of
    # matrices may add in another order where there are more runs.
    grid = [
        (maps[..., row, 0, None, None] * right + maps[..., row, 1, None, None] * down)
        * (2 / x.shape[-1 - row])
        for row in range(2)
    ]
    changed = functional.grid_sample(
        x.flatten(0, 1),
        torch.stack(grid, -1).to(x.dtype).flatten(0, 1),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return changed.view(x.shape)


def _draw_contrast(
    generator: np.random.Generator, batch: int, shape: tuple[int, ...]
) -> np.ndarray:
    factor, moved = generator.uniform(-1, 1, (2, batch))
    return np.stack([_CONTRAST**factor, _BRIGHTNESS * moved]).astype(np.float32)


def _contrast(x: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Multiplies the deviations from the mean, and moves the mean.

    Args:
        x: (runs, batch, C, H, W).
        drawn: (runs, 2, batch), the factor, and by how many of its own standard deviations
            the mean of each channel moves.
    """
    factor, moved = (_beside(drawn[:, i], x) for i in range(2))
    mean = _means(x, (-2, -1))
    apart = x - mean
    spread = _means(apart.square(), (-2, -1)).sqrt()
    return apart * factor + (mean + spread * moved)


def _draw_stretch(
    generator: np.random.Generator, batch: int, shape: tuple[int, ...]
) -> np.ndarray:
    factors: np.ndarray = _STRETCH ** generator.uniform(-1, 1, batch)
    return factors


def _stretch(x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Stretches the time of series (runs, batch, [C,] L) about the middle of each.

    Between steps values are interpolated; what lies outside repeats the edge. A series that
    ends before others is stretched between its own ends.
    """
    place = torch.arange(x.shape[-1], device=x.device)
    ends = _ends(x)
    middle = (ends - 1) / 2
    seen = middle + (place - middle) / factors.unsqueeze(2)  # (runs, batch, L)
    seen = torch.minimum(seen.clamp(min=0), ends - 1)
    seen = torch.where(place < ends, seen, place)
    low = seen.floor()
    before, after = _taken(x, low.long()), _taken(x, seen.ceil().long())
    share = (seen - low).to(x.dtype)
    # No `lerp`: it may round otherwise where vectors end, which more runs would move.
    return before + (after - before) * (share if x.dim() == 3 else share.unsqueeze(2))


def _beside(drawn: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Returns one value an example, (runs, batch), in as many dimensions as x has."""
    return drawn.view(*drawn.shape, *(1 for _ in x.shape[2:]))


_TRANSFORMATIONS: Mapping[str, tuple[Draw, Change]] = {
    "shift": (_draw_shift, _shift),
    "flip": (_draw_flip, _flip),
    "scale": (_draw_scale, _scale),
    "noise": (_draw_noise, torch.add),
    "cutout": (_draw_cutout, _cutout),
    "affine": (_draw_affine, _affine),
    "contrast": (_draw_contrast, _contrast),
    "stretch": (_draw_stretch, _stretch),
}

# The columns of a table have neither neighbours nor a common scale. An array may
# be a signal: who declares so knows it.
_SUITS: Mapping[str, tuple[str, ...]] = {
    "shift": ("image", "sequence", "array"),
    "flip": ("image",),
    "scale": ("image", "sequence", "array"),
    "noise": ("image", "sequence", "array", "table"),
    "cutout": ("image", "sequence", "array"),
    "affine": ("image",),
    "contrast": ("image",),
    "stretch": ("sequence", "array"),
}
