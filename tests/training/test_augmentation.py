"""What training batches become, and that nothing else becomes it."""

import numpy as np
import pytest
import torch
from torch import nn

from archtrial import metrics
from archtrial.errors import ProtocolError
from archtrial.protocol import Recipe
from archtrial.training import augmentation, fleet, run
from archtrial.training.augmentation import Augmentation

ALL = ("shift", "flip", "scale", "noise")
IMAGES = torch.arange(2 * 5 * 3 * 8 * 16.0).view(2, 5, 3, 8, 16)  # runs, batch, C, H, W


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


def test_each_run_of_a_fleet_sees_what_it_sees_alone():
    together = Augmentation(ALL, [3, 4])
    alone = [Augmentation(ALL, [seed]) for seed in (3, 4)]
    for _ in range(3):
        for index, seen in enumerate(together(IMAGES)):
            (own,) = alone[index](IMAGES[index : index + 1])
            assert torch.equal(seen, own)
    assert not torch.equal(*together(IMAGES[:1].expand(2, -1, -1, -1, -1)))


def test_nothing_declared_is_nothing_done():
    assert Augmentation((), [3])(IMAGES) is IMAGES


def test_inputs_are_left_as_they_were():
    before = IMAGES.clone()
    Augmentation(ALL, [3, 4])(IMAGES)
    assert torch.equal(IMAGES, before)


@pytest.mark.parametrize(
    ("name", "kind", "suits"),
    [
        ("flip", "sequence", False),
        ("flip", "image", True),
        ("shift", "table", False),
        ("shift", "array", True),
        ("scale", "table", False),
        ("noise", "table", True),
    ],
)
def test_a_change_that_the_inputs_have_no_sense_for_is_refused(name, kind, suits):
    if suits:
        augmentation.check([name], kind)
    else:
        with pytest.raises(ProtocolError, match=f"{name!r} suits .*: a {kind}"):
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


@pytest.mark.parametrize("name", ["scale", "noise"])
def test_padding_stays_padding(name):
    x = torch.randn(2, 4, 3, 10)
    x[:, 1, :, 6:] = torch.nan
    changed = Augmentation((name,), [1, 2])(x)
    assert torch.equal(changed.isnan(), x.isnan())
    assert not torch.equal(changed.nan_to_num(), x.nan_to_num())
