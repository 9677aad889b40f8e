"""The same batches, and the same bits, wherever inputs lie."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from archtrial import Protocol, Study, data, metrics, trial
from archtrial.data.stored import Prepared, Stored
from archtrial.errors import StudyError
from archtrial.protocol import Recipe, Splits
from archtrial.records.store import Store
from archtrial.training import fleet, run
from archtrial.training.problem import Job
from archtrial.training.source import Batches, InFiles, Source


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 400)
    x = rng.integers(0, 200, (400, 6, 6, 3)) + 20 * y[:, None, None, None]
    np.savez_compressed(tmp_path / "data.npz", x=x.astype(np.uint8), y=y)
    return tmp_path / "data.npz"


def problems(path, *, names=False, **changes):
    """Returns one problem with its inputs in memory, and one with them in files."""
    posed = []
    for memory in (1, 0):
        dataset = data.load(path, memory=memory)
        assert isinstance(dataset.inputs, np.ndarray if memory else Stored)
        split = dataset.split(Splits(), 0, names=names)
        declared = Protocol(
            data=str(path), baseline="mlp", challengers=["cnn"], batch_size=32, steps=8,
            recipe=changes.get("recipe", Recipe()),
        )  # fmt: skip
        problem = trial.pose(declared, split, metrics.default(split.task))
        posed.append(dataclasses.replace(problem, **changes))
    return posed


def convolutional():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


def job(index=0, **changes):
    values = {"learning_rate": 0.02 + 0.01 * index}
    return Job(convolutional, values, index, 7 + index, index, **changes)


def check_alike(held, stored):
    for name in ("validation", "diverged", "error", "flops", "parameters", "curve"):
        assert getattr(stored, name) == getattr(held, name), name
    assert held.error is None
    assert stored.predictions.tobytes() == held.predictions.tobytes()
    assert (held.weights is None) == (stored.weights is None)
    for name, weight in (held.weights or {}).items():
        assert torch.equal(stored.weights[name], weight), name
    assert held.kept.keys() == stored.kept.keys()
    for step, weights in held.kept.items():
        for name, weight in weights.items():
            assert torch.equal(stored.kept[step][name], weight), name
    assert held.readings.keys() == stored.readings.keys()


RECIPES = {
    "plain": Recipe(),
    "augmented": Recipe(
        augmentation=("shift", "flip", "scale", "noise", "cutout", "affine", "contrast")
    ),
    "accumulated": Recipe(accumulate=3, weight_averaging=0.5),
    "weighed": Recipe(class_weights="balanced"),
}


@pytest.mark.parametrize("skip", [0, 5, 20])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_loop_is_the_same(path, recipe, skip):
    held, stored = problems(path, recipe=RECIPES[recipe], read_at=(2, 5))
    own = job(skip=skip, keep_weights=True, keep_at=(0, 3))
    check_alike(run.train(held, own), run.train(stored, own))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_fleet_is_the_same(path, recipe):
    held, stored = problems(path, recipe=RECIPES[recipe])
    jobs = [job(i, skip=skip, keep_weights=True) for i, skip in enumerate((0, 3, 0))]
    for there, here in zip(
        fleet.train(held, jobs), fleet.train(stored, jobs), strict=True
    ):
        check_alike(there, here)


def test_resumed_is_where_it_was_left(path):
    _, stored = problems(path, recipe=RECIPES["augmented"])
    source = Source(stored)
    through = Batches(stored, source, [job()])
    seen = [next(through) for _ in range(9)]
    later = Batches(stored, source, [job(skip=6)])
    for x, y in seen[6:]:
        again_x, again_y = next(later)
        assert torch.equal(again_x, x)
        assert torch.equal(again_y, y)


def test_all_of_a_small_training_set_is_one_batch(path):
    held, stored = problems(path, batch_size=100_000)
    check_alike(run.train(held, job()), run.train(stored, job()))


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(30, 8)
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        return self.out(self.table(x).mean(1))


def test_names_reach_modules_as_whole_numbers(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "words"
    folder.mkdir()
    np.save(folder / "x.npy", rng.integers(0, 30, (200, 12), dtype=np.uint16))
    np.save(folder / "y.npy", np.arange(200) % 2)
    held, stored = problems(folder, names=True)
    own = Job(Words, {"learning_rate": 0.05}, 1, 2, 3)
    check_alike(run.train(held, own), run.train(stored, own))


def test_inputs_in_files_stand_for_a_tensor(path):
    held, stored = problems(path)
    tensor, files = Source(held).x_validation, Source(stored).x_validation
    assert isinstance(stored.x_validation, Prepared)
    assert isinstance(files, InFiles)
    assert (files.shape, len(files)) == (tensor.shape, len(tensor))
    assert files.is_cuda == tensor.is_cuda
    for rows in (torch.tensor([[3, 1], [0, 0], [7, 3]]), torch.arange(5), slice(2, 9)):
        assert torch.equal(files[rows], tensor[rows])
    for there, here in zip(tensor.split(33), files.split(33), strict=True):
        assert torch.equal(here, there)
    files[:4].zero_()  # what is handed out is a copy
    assert torch.equal(files[:4], tensor[:4])


# --- a study as a whole ----------------------------------------------------------------


def study(path, folder, **changes):
    protocol = Protocol(
        **{
            "data": str(path), "baseline": "mlp", "challengers": ["cnn(width=4)"],
            "configurations": 4, "effort": 1, "confirm_seeds": 2, "steps": 12,
            "batch_size": 32, **changes,
        }
    )  # fmt: skip
    return Study(protocol, folder)


def scores(folder):
    with Store(folder, read_only=True) as store:
        found = [
            (r.arm, r.pair, r.seed, r.stage, r.validation, r.test, r.curve)
            for r in store.runs()
        ]
    assert len(found) >= 12
    return sorted(found)


@pytest.mark.parametrize("fleets", ["never", "always"])
def test_a_study_reaches_the_same_verdict(path, tmp_path, fleets):
    held = study(path, tmp_path / "held", fleet=fleets)
    stored = study(path, tmp_path / "stored", fleet=fleets, memory=0)
    assert stored.hash == held.hash
    assert [note for note in stored.notes if "stay in files" in note]
    assert not [note for note in held.notes if "stay in files" in note]
    verdicts = [held.run(), stored.run(workers=2)]
    assert json.dumps(verdicts[0].to_dict()) == json.dumps(verdicts[1].to_dict())
    assert scores(tmp_path / "stored") == scores(tmp_path / "held")


def test_a_study_goes_on_from_files_and_refuses_others(path, tmp_path):
    study(path, tmp_path / "s").run()
    # Where inputs lie may change between two sessions of a study; what they are, not.
    again = study(path, tmp_path / "s", memory=0)
    again.run()
    with np.load(path) as kept:
        x, y = kept["x"].copy(), kept["y"]
    x[5, 3, 2, 1] ^= 1
    np.savez_compressed(path, x=x, y=y)
    with pytest.raises(StudyError, match=r"data\.digest"):
        study(path, tmp_path / "s", memory=0).run()


def test_relaxing_reaches_the_same_verdict(path, tmp_path):
    from archtrial.experiments import relax
    from archtrial.experiments.relax.study import Study as Relaxing

    verdicts = []
    for memory in (1, 0):
        declared = relax.Protocol(
            data=str(path), architecture="cnn(width=2, depth=2)", steps=4,
            relax_times=(0,), seeds=2, learning_rates=(0.1,), tuning_seeds=1,
            curvature_examples=5, memory=memory,
        )  # fmt: skip
        made = Relaxing(declared, tmp_path / f"{memory}")
        assert any("stay in files" in note for note in made.notes) == (memory == 0)
        verdicts.append(json.dumps(made.run().to_dict()))
    assert verdicts[0] == verdicts[1]


def test_the_command_line_says_where_inputs_lie(path, tmp_path):
    command = [
        sys.executable, "-m", "archtrial.cli", "run", "--data", str(path), "--baseline",
        "mlp", "--challenger", "cnn(width=4)", "--configurations", "4", "--effort", "1",
        "--steps", "2", "--memory", "0", "--study", str(tmp_path / "s"), "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "Inputs stay in files" in said
    assert "stay in files" not in done.stdout
    assert "stay in files" not in (tmp_path / "s" / "report.html").read_text()


# --- a part of the training set ------------------------------------------------------


@pytest.mark.parametrize("rows", [200, 20])
def test_a_run_that_sees_a_part_trains_as_if_there_were_no_more(path, rows):
    """Also where a part is smaller than a batch."""
    (problem, stored), own = problems(path), np.arange(3, 3 + rows)[::-1].copy()
    part = dataclasses.replace(
        problem, x_train=problem.x_train[own], y_train=problem.y_train[own]
    )
    alone = run.train(part, job(keep_weights=True))
    for whole in (problem, stored):
        seen = run.train(whole, job(keep_weights=True, rows=own))
        check_alike(alone, seen)
    assert run.train(problem, job()).curve != alone.curve


def test_runs_of_a_fleet_see_parts_of_their_own(path):
    problem, _ = problems(path)
    parts = [np.arange(50), np.arange(100, 150)]
    jobs = [job(i, keep_weights=True, rows=part) for i, part in enumerate(parts)]
    for own, trained in zip(jobs, fleet.train(problem, jobs), strict=True):
        alone = run.train(problem, own)
        assert trained.flops == alone.flops
        for name, weight in alone.weights.items():
            assert torch.allclose(trained.weights[name], weight, atol=1e-5), name
