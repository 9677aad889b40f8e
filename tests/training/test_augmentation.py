"""What training batches become, and that nothing else becomes it."""

import itertools
import math
import typing

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from archtrial import metrics
from archtrial.errors import ProtocolError
from archtrial.protocol import Recipe
from archtrial.training import augmentation, fleet, run
from archtrial.training.augmentation import Augmentation

ALL = ("shift", "flip", "scale", "noise", "cutout", "affine", "contrast")
SERIES = ("shift", "scale", "noise", "cutout", "stretch")
IMAGES = torch.arange(2 * 5 * 3 * 8 * 16.0).view(2, 5, 3, 8, 16)  # runs, batch, C, H, W


def drawn(name, seed, batch, shape):
    """Returns what one run draws at first."""
    draw, _ = augmentation._TRANSFORMATIONS[name]
    return draw(np.random.default_rng([seed, 1]), batch, shape)


def changed(name, example, drawn):
    """Returns an example (...) as it becomes by what was drawn for it."""
    _, change = augmentation._TRANSFORMATIONS[name]
    return change(example[None, None], torch.tensor(drawn)[None, None])[0, 0]


def test_the_recipe_names_what_there_is():
    declared = typing.get_args(Recipe.model_fields["augmentation"].annotation)[0]
    names = set(typing.get_args(declared))
    assert names == {*augmentation._TRANSFORMATIONS} == {*augmentation._SUITS}
    assert names == {*ALL, *SERIES}


@pytest.mark.parametrize(
    ("shape", "reach"), [((16,), (2,)), ((3, 16), (2,)), ((3, 8, 32), (1, 4))]
)
def test_a_shift_moves_along_the_sides_and_repeats_the_edge(shape, reach):
    x = torch.randn(1, 300, *shape)
    (shifted,) = Augmentation(("shift",), [7])(x)
    seen = set()
    for before, after in zip(x[0], shifted, strict=True):
        found = []
        for shift in np.ndindex(*(2 * r + 1 for r in reach)):
            offsets = [s - r for s, r in zip(shift, reach, strict=True)]
            moved = before.numpy()
            for axis, offset in zip(range(-len(reach), 0), offsets, strict=True):
                # The slow twin: pad by the edge, and cut out again.
                width = [(0, 0)] * before.dim()
                width[axis] = (max(offset, 0), max(-offset, 0))
                padded = np.pad(moved, width, mode="edge")
                start = max(-offset, 0)
                moved = padded.take(range(start, start + moved.shape[axis]), axis)
            if np.array_equal(moved, after.numpy()):
                found.append(tuple(offsets))
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == np.prod([2 * r + 1 for r in reach])  # none is left out


def test_a_flip_mirrors_half_of_all_images_left_to_right():
    x = torch.randn(1, 1000, 1, 2, 3)
    (flipped,) = Augmentation(("flip",), [1])(x)
    mirrored = [
        torch.equal(after, before.flip(-1))
        for before, after in zip(x[0], flipped, strict=True)
    ]
    kept = [
        torch.equal(after, before) for before, after in zip(x[0], flipped, strict=True)
    ]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert np.mean(mirrored) == pytest.approx(0.5, abs=0.06)


def test_a_scale_is_one_factor_an_example():
    x = torch.ones(1, 4000, 2, 3)
    (scaled,) = Augmentation(("scale",), [1])(x)
    factors = scaled[:, 0, 0]
    assert torch.equal(scaled, factors.view(-1, 1, 1).expand(-1, 2, 3))
    assert factors.mean() == pytest.approx(1, abs=0.01)
    assert factors.std() == pytest.approx(0.1, abs=0.01)


def test_noise_is_drawn_for_each_value():
    x = torch.zeros(1, 2000, 5)
    (noisy,) = Augmentation(("noise",), [1])(x)
    assert len(noisy.unique()) > 9000
    assert noisy.mean() == pytest.approx(0, abs=0.01)
    assert noisy.std() == pytest.approx(0.05, abs=0.005)
    assert noisy.dtype == torch.float32


def test_a_cutout_is_a_square_of_the_mean_of_its_channel():
    image = torch.tensor(
        [[1.0, 2, 3, 4, 5], [0, 1, 0, 1, 0], [9, 9, 0, 0, 2], [0, 2, 4, 6, 31]]
    )
    image = torch.stack([image, 10 * image + 7])
    mean = 80 / 20
    # Half of 4 rows are 2: about row 2 those are 1 and 2, about column 0 only 0 is inside.
    cut = image.clone()
    cut[0, 1:3, 0], cut[1, 1:3, 0] = mean, 10 * mean + 7
    assert torch.equal(changed("cutout", image, [0.5, 0.0]), cut)
    cut = image.clone()
    cut[0, 2:4, 3:5], cut[1, 2:4, 3:5] = mean, 10 * mean + 7
    assert torch.equal(changed("cutout", image, [0.999, 0.999]), cut)


@pytest.mark.parametrize("shape", [(16,), (3, 16), (2, 12, 8), (1, 5, 7)])
def test_cutouts_lie_anywhere_also_partly_outside(shape):
    sides = shape if len(shape) == 1 else shape[1:]
    width = sides[0] // 4 if len(sides) == 1 else {8: 4, 5: 2}[min(sides)]
    masks = {}
    for centre in np.ndindex(*sides):
        mask = np.zeros(sides, bool)
        mask[
            tuple(slice(max(c - width // 2, 0), c - width // 2 + width) for c in centre)
        ] = True
        masks[mask.tobytes()] = centre
    assert len(masks) == math.prod(sides)  # each says where it came from
    x = torch.randn(1, 200 * len(masks), *shape)
    (cut,) = Augmentation(("cutout",), [5])(x)
    axes = tuple(range(-len(sides), 0))
    mean = x[0].mean(axes, keepdim=True).expand_as(cut)
    differs = cut != x[0]
    assert torch.allclose(cut[differs], mean[differs], atol=1e-6)
    if len(shape) > 1:
        assert torch.equal(differs, differs[:, :1].expand_as(differs))
        differs = differs[:, 0]
    centres = [masks[one.tobytes()] for one in differs.numpy()]
    counts = np.array([centres.count(centre) for centre in masks.values()])
    assert abs(counts - 200).max() < 5 * math.sqrt(200)  # uniform


def ramp(*sides):
    """Returns (1, H, W), which row and column a pixel is in, as 10 * row + column."""
    return (10 * torch.arange(sides[0])[:, None] + torch.arange(sides[1]))[None].float()


def test_an_affine_map_is_read_about_the_centre_in_pixels():
    square = torch.randn(2, 5, 5)
    turned = changed("affine", square, [[0.0, -1.0], [1.0, 0.0]])
    assert torch.allclose(turned, square.rot90(1, (1, 2)), atol=1e-5)
    upside_down = changed("affine", square[:, :3], [[-1.0, 0.0], [0.0, -1.0]])
    assert torch.allclose(upside_down, square[:, :3].flip(1, 2), atol=1e-5)
    # Twice as large: columns -1.5, -.5, .5 and 1.5 from the centre read half as far.
    larger = changed("affine", ramp(2, 4), [[0.5, 0.0], [0.0, 0.5]])
    columns = torch.tensor([0.75, 1.25, 1.75, 2.25])
    assert torch.allclose(
        larger, torch.stack([2.5 + columns, 7.5 + columns])[None], atol=1e-5
    )
    # Half as large: what lies outside repeats the edge.
    smaller = changed("affine", ramp(2, 4), [[2.0, 0.0], [0.0, 2.0]])
    columns = torch.tensor([0, 0.5, 2.5, 3])
    assert torch.allclose(
        smaller, torch.stack([columns, 10 + columns])[None], atol=1e-5
    )
    # Sheared by half a column a row: three rows lie -1, 0 and 1 from the centre.
    sheared = changed("affine", ramp(3, 3), [[1.0, 0.5], [0.0, 1.0]])
    expected = [[0, 0.5, 1.5], [10, 11, 12], [20.5, 21.5, 22]]
    assert torch.allclose(sheared, torch.tensor([expected]), atol=1e-5)
    # Two pixels are as far in a row as in a column, whatever the sides.
    long = ramp(3, 9)
    quarter = changed("affine", long, [[0.0, 1.0], [-1.0, 0.0]])
    assert torch.allclose(
        quarter[0, :, 3:6], long[0, :, 3:6].rot90(-1, (0, 1)), atol=1e-4
    )


@pytest.mark.parametrize(
    "shape", [(2, 8, 8), (1, 5, 12), (3, 9, 4), (1, 1, 6), (1, 6, 1)]
)
def test_images_are_mapped_as_scipy_maps_them(shape):
    x = torch.randn(1, 20, *shape)
    (mapped,) = Augmentation(("affine",), [4])(x)
    centre = (np.array(shape[1:]) - 1) / 2
    for before, after, own in zip(
        x[0], mapped, drawn("affine", 4, 20, shape), strict=True
    ):
        matrix = own[::-1, ::-1]  # of rows and columns, not of x and y
        for channel, seen in zip(before.numpy(), after.numpy(), strict=True):
            expected = ndimage.affine_transform(
                channel, matrix, centre - matrix @ centre, order=1, mode="nearest"
            )
            assert seen == pytest.approx(expected, abs=1e-5)


def test_affine_maps_turn_shear_and_zoom_within_their_ranges():
    there = np.linalg.inv(drawn("affine", 1, 4000, (1, 8, 8)))
    zoom = np.hypot(there[:, 0, 0], there[:, 1, 0])
    angle = np.arctan2(there[:, 1, 0], there[:, 0, 0])
    cos, sin = np.cos(angle), np.sin(angle)
    back = np.moveaxis(np.array([[cos, sin], [-sin, cos]]), 2, 0)
    rest = back @ there / zoom[:, None, None]
    assert rest[:, [0, 1, 1], [0, 0, 1]] == pytest.approx(np.tile([1, 0, 1], (4000, 1)))
    for found, reach in [
        (np.degrees(angle), 30),
        (rest[:, 0, 1], 0.3),
        (np.log(zoom), math.log(1.25)),
    ]:
        check_uniform(found / reach)
    assert np.abs(np.corrcoef([angle, rest[:, 0, 1], zoom]) - np.eye(3)).max() < 0.06


def check_uniform(found):
    """Checks that 4,000 numbers are uniform from -1 to 1."""
    assert len(found) == 4000
    assert abs(found).max() <= 1 + 1e-6
    assert np.quantile(found, [0.0, 0.25, 0.5, 0.75, 1.0]) == pytest.approx(
        [-1, -0.5, 0, 0.5, 1], abs=0.06
    )


def test_contrast_multiplies_deviations_and_moves_the_mean():
    image = torch.tensor(
        [[[0.0, 2.0], [4.0, 6.0]], [[100, 110], [130, 120]], [[0.3, 0.3], [0.3, 0.3]]]
    )
    _, change = augmentation._TRANSFORMATIONS["contrast"]
    factor, moved = 2.0, -0.4
    seen = change(image[None, None], torch.tensor([[[factor], [moved]]]))[0, 0]
    # Means 3 and 115, standard deviations the roots of 5 and of 125.
    first = 3 + 2 * torch.tensor([[-3.0, -1.0], [1.0, 3.0]]) - 0.4 * math.sqrt(5)
    second = 115 + 2 * torch.tensor([[-15.0, -5.0], [15.0, 5.0]]) - 0.4 * math.sqrt(125)
    assert torch.allclose(seen[0], first)
    assert torch.allclose(seen[1], second)
    assert torch.equal(seen[2], image[2])  # without any contrast nothing changes


def test_contrast_is_one_factor_and_one_brightness_an_example():
    x = torch.randn(1, 4000, 2, 4, 5, dtype=torch.float64).float()
    (seen,) = Augmentation(("contrast",), [2])(x)
    factors = seen.std((2, 3)) / x[0].std((2, 3))
    spread = x[0].std((2, 3), correction=0)
    moved = (seen.mean((2, 3)) - x[0].mean((2, 3))) / spread
    for found in (factors, moved):
        assert torch.allclose(found[:, 0], found[:, 1], atol=1e-4)
    check_uniform(np.log2(factors[:, 0].numpy()))
    check_uniform(moved[:, 0].numpy() / 0.5)


def test_a_stretch_is_read_about_the_middle():
    series = torch.tensor([0.0, 1, 4, 9, 16])
    both = torch.stack([series, 3 - series])
    slower = torch.tensor([1, 2.5, 4, 6.5, 9])  # at 1, 1.5, 2, 2.5 and 3
    assert torch.equal(changed("stretch", series, 2.0), slower)
    assert torch.equal(changed("stretch", both, 2.0), torch.stack([slower, 3 - slower]))
    faster = torch.tensor([0.0, 0, 4, 16, 16])  # at -2, 0, 2, 4 and 6
    assert torch.equal(changed("stretch", series, 0.5), faster)
    # Of an even length the middle lies between two steps.
    assert changed("stretch", series[:2], 1.25).tolist() == pytest.approx([0.1, 0.9])
    assert torch.equal(changed("stretch", both, 1.0), both)


def test_stretches_are_as_often_slower_as_faster():
    check_uniform(np.log(drawn("stretch", 1, 4000, (40,))) / math.log(1.25))


@pytest.mark.parametrize(
    "name", ["shift", "flip", "cutout", "affine", "contrast", "stretch"]
)
def test_what_is_changed_does_not_depend_on_the_scale_of_the_inputs(name):
    shape = (3, 16) if name == "stretch" else (3, 9, 12)
    x = torch.randn(2, 50, *shape)
    # Each channel may have a unit of its own.
    units = torch.tensor([3.0, 0.01, 200]).view(3, *(1 for _ in shape[1:]))
    offsets = torch.tensor([-20.0, 0.3, 1000]).view(3, *(1 for _ in shape[1:]))
    seen = Augmentation((name,), [1, 2])(x)
    assert not torch.equal(seen, x)
    elsewhere = Augmentation((name,), [1, 2])(units * x + offsets)
    assert torch.allclose((elsewhere - offsets) / units, seen, atol=1e-3)


@pytest.mark.parametrize(
    ("names", "shape"),
    [
        (ALL, (3, 8, 16)),
        (ALL, (1, 7, 5)),
        (ALL, (1, 28, 28)),
        (SERIES, (40,)),
        (SERIES, (3, 37)),
        (SERIES, (1,)),
    ],
)
def test_each_run_of_a_fleet_sees_what_it_sees_alone(names, shape):
    """To the bit, in the first batch and in the third, one by one and all in a row."""
    for own_names in (names, *((name,) for name in names)):
        seeds = [3, 4, 5]
        together = Augmentation(own_names, seeds)
        alone = [Augmentation(own_names, [seed]) for seed in seeds]
        for _ in range(3):
            x = torch.randn(3, 7, *shape)
            if names == SERIES and shape[-1] > 9:
                x[:, 2, ..., 9:] = torch.nan
            for index, seen in enumerate(together(x)):
                (own,) = alone[index](x[index : index + 1])
                assert seen.numpy().tobytes() == own.numpy().tobytes()
    assert not torch.equal(
        *together(x[:1].expand(3, -1, *(-1 for _ in shape)))[:2]
    ) or (
        shape == (1,)  # of one step there is nothing to cut out, to move or to stretch
    )


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *itertools.product(ALL, [(3, 8, 16)]),
        *itertools.product(SERIES, [(12,), (3, 12)]),
    ],
)
def test_what_is_drawn_depends_on_the_shape_alone(name, shape):
    """So batches that are passed over need not be there."""
    x = torch.randn(2, 6, *shape)
    passing, seeing = (Augmentation((name,), [1, 2]) for _ in range(2))
    nowhere = passing(torch.empty_like(x, device="meta"))
    assert (nowhere.shape, nowhere.dtype) == (x.shape, x.dtype)
    seen = seeing(torch.zeros_like(x) + torch.nan)
    assert seen.shape == x.shape
    assert torch.equal(passing(x), seeing(x))


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 1, 7), (2, 7, 1), (1,), (2, 1), (2,), (1, 3)]
)
def test_the_smallest_sides_are_sides(shape):
    x = torch.randn(1, 50, *shape)
    names = SERIES if len(shape) < 3 else ALL
    assert Augmentation(names, [3])(x).isfinite().all()


def test_nothing_declared_is_nothing_done():
    assert Augmentation((), [3])(IMAGES) is IMAGES


@pytest.mark.parametrize(
    ("name", "x"),
    [
        *((name, IMAGES) for name in ALL),
        *((name, torch.arange(60.0).view(2, 2, 15)) for name in SERIES),
    ],
)
def test_inputs_are_left_as_they_were(name, x):
    before = x.clone()
    assert not torch.equal(Augmentation((name,), [3, 4])(x), before)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("name", "kind", "suits"),
    [
        ("flip", "sequence", False),
        ("flip", "image", True),
        ("shift", "table", False),
        ("shift", "array", True),
        ("scale", "table", False),
        ("noise", "table", True),
        ("cutout", "table", False),
        ("cutout", "image", True),
        ("cutout", "sequence", True),
        ("cutout", "array", True),
        ("affine", "sequence", False),
        ("affine", "image", True),
        ("contrast", "array", False),
        ("contrast", "image", True),
        ("stretch", "image", False),
        ("stretch", "table", False),
        ("stretch", "sequence", True),
        ("stretch", "array", True),
    ],
)
def test_a_change_that_the_inputs_have_no_sense_for_is_refused(name, kind, suits):
    if suits:
        augmentation.check([name], kind)
    else:
        with pytest.raises(ProtocolError, match=f"{name!r} suits .*: {kind} inputs"):
            augmentation.check([name], kind)


class Watching(nn.Module):
    """Remembers what it was shown in training and in evaluation."""

    shown: dict[bool, list[torch.Tensor]]

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 2)

    def forward(self, x):
        Watching.shown[self.training].append(x.detach().clone())
        return self.linear(x)


def test_validation_and_test_inputs_are_never_changed():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 8)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    given = run.Problem(
        x_train=x[:40],
        y_train=y[:40],
        x_validation=x[40:50],
        y_validation=y[40:50],
        x_test=x[50:],
        task="classification",
        num_outputs=2,
        metric=metrics.default("classification"),
        recipe=Recipe(augmentation=("shift", "scale", "noise")),
        steps=6,
        batch_size=20,
        evaluations=3,
    )
    Watching.shown = {True: [], False: []}
    run.train(given, run.Job(Watching, {}, 0, 0, 0))
    known = {row.tobytes() for row in x}
    evaluated = torch.cat(Watching.shown[False]).numpy()
    assert len(evaluated) == 3 * 10 + 10
    assert all(row.tobytes() in known for row in evaluated)
    trained = [seen for seen in Watching.shown[True] if seen.device.type == "cpu"]
    assert len(trained) == 6
    assert not any(row.tobytes() in known for row in torch.cat(trained).numpy())


def test_augmentation_of_a_fleet_is_that_of_the_loop():
    """Losses on the way tell what was seen."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 2, 8, 8)).astype(np.float32)
    y = (x[:, 0, 0, 0] > 0).astype(np.int64)
    given = run.Problem(
        x_train=x[:40],
        y_train=y[:40],
        x_validation=x[40:50],
        y_validation=y[40:50],
        x_test=x[50:],
        task="classification",
        num_outputs=2,
        metric=metrics.get("log_loss"),
        recipe=Recipe(augmentation=ALL, learning_rate=1e-3),
        steps=6,
        batch_size=20,
        evaluations=6,
    )
    made = [run.Job(Flat, {}, seed, seed, seed) for seed in range(3)]
    for mine, job in zip(fleet.train(given, made), made, strict=True):
        own = run.train(given, job)
        assert mine.error is own.error is None
        for here, there in zip(mine.curve, own.curve, strict=True):
            assert here.loss == pytest.approx(there.loss, abs=1e-4)
            assert here.validation == pytest.approx(there.validation, abs=1e-4)


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(128, 2)

    def forward(self, x):
        return self.linear(x.flatten(1))


@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_series_that_ends_early_moves_between_its_own_ends(channels):
    steps, ends = 32, [32, 20, 9, 8, 1]
    x = torch.randn(1, 100, len(ends), *channels, steps)
    for i, end in enumerate(ends):
        x[:, :, i, ..., end:] = torch.nan
    flat = x.flatten(1, 2)
    shifted = Augmentation(("shift",), [7])(flat).view_as(x)
    for i, end in enumerate(ends):
        before, after = x[0, :, i], shifted[0, :, i]
        assert after[..., end:].isnan().all()
        # The slow twin moves the series as if there were nothing behind it.
        reach = 4 * end // steps
        seen = set()
        for one, moved in zip(before, after, strict=True):
            own, found = one[..., :end].numpy(), moved[..., :end].numpy()
            fits = [
                shift
                for shift in range(-reach, reach + 1)
                if np.array_equal(
                    own[..., np.clip(np.arange(end) - shift, 0, end - 1)], found
                )
            ]
            assert len(fits) == 1
            seen.add(fits[0])
        assert seen == set(range(-reach, reach + 1))


@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_series_that_ends_early_is_stretched_between_its_own_ends(channels):
    ends = [32, 20, 9, 2, 1]
    x = torch.randn(1, 100, len(ends), *channels, 32)
    for i, end in enumerate(ends):
        x[:, :, i, ..., end:] = torch.nan
    flat = x.flatten(1, 2)
    stretched = Augmentation(("stretch",), [7])(flat).view_as(x)
    factors = drawn("stretch", 7, flat.shape[1], flat.shape[2:]).reshape(100, len(ends))
    for i, end in enumerate(ends):
        # The slow twin stretches the series as if there were nothing behind it.
        middle = (end - 1) / 2
        for one, seen, factor in zip(
            x[0, :, i], stretched[0, :, i], factors[:, i], strict=True
        ):
            assert seen[..., end:].isnan().all()
            at = middle + (np.arange(end) - middle) / factor
            for before, after in zip(one.view(-1, 32), seen.view(-1, 32), strict=True):
                expected = np.interp(at, np.arange(end), before[:end])
                assert after[:end].numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_quarter_is_cut_out_of_what_a_series_has_itself(channels):
    ends = {32: 8, 20: 5, 9: 2, 5: 1, 1: 1}
    x = torch.randn(1, 400, len(ends), *channels, 32)
    for i, end in enumerate(ends):
        x[:, :, i, ..., end:] = torch.nan
    flat = x.flatten(1, 2)
    cut = Augmentation(("cutout",), [7])(flat).view_as(x)
    for i, (end, width) in enumerate(ends.items()):
        before = x[0, :, i].reshape(400, -1, 32)[..., :end]
        after = cut[0, :, i].reshape(400, -1, 32)
        assert after[..., end:].isnan().all()
        after, seen = after[..., :end], set()
        for one, own in zip(before, after, strict=True):
            fits = []
            for centre in range(end):
                expected, first = one.clone(), centre - width // 2
                expected[:, max(first, 0) : first + width] = one.mean(-1, keepdim=True)
                if torch.allclose(own, expected, atol=1e-6):
                    fits.append(centre)
            assert len(fits) == 1
            seen.update(fits)
        assert seen == set(range(end))


@pytest.mark.parametrize("name", SERIES)
def test_padding_stays_padding(name):
    x = torch.randn(2, 4, 3, 10)
    x[:, 1, :, 6:] = torch.nan
    changed = Augmentation((name,), [1, 2])(x)
    assert torch.equal(changed.isnan(), x.isnan())
    assert not torch.equal(changed.nan_to_num(), x.nan_to_num())
