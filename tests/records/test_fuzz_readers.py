"""Whatever bytes lie in a file of runs: a table, or one message. Never a traceback."""

import gzip
import json
import random
import shutil
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from archtrial.errors import UserError
from archtrial.records import importers, tensorboard_events
from archtrial.records.columns import Wanted
from tests.fuzzing import mutate

CASES = Path(__file__).parents[1] / "cases" / "sources"
TRIES = 40
"""Of each reader in CI; a script in evidence/ has millions."""


def judged(path: Path) -> None:
    """Reads runs as `archtrial judge` does, with the options that are least likely."""
    importers.read([path], Wanted(test="none"), baseline="mlp")
    importers.read([path], baseline="mlp", tuner="random", failed_score="none")


def repeated(path: Path) -> None:
    importers.read([path], Wanted(repeat="none", seed="none"), baseline="mlp")


def a_study(path: Path) -> None:
    importers.read([f"mlp={path}", f"cnn={path}"], tuner="random")


READERS: dict[str, Callable[[Path], None]] = {
    "runs.csv": judged,
    "comma.csv": repeated,
    "runs.json": judged,
    "named.json": repeated,
    "runs.jsonl": judged,
    "runs.csv.gz": judged,
    "runs.csv.zip": judged,
    "runs.parquet": judged,
    "trackio.db": judged,
    "mlflow.db": judged,
    "optuna.db": a_study,
    "optuna.log": a_study,
    "mlruns/0/1/metrics/val_acc": lambda path: judged(path.parents[3]),
    "mlruns/0/1/meta.yaml": lambda path: judged(path.parents[2]),
    "logs/0/hparams.yaml": lambda path: judged(path.parents[1]),
    "events/0/events.out.tfevents.1": lambda path: judged(path.parents[1]),
}
"""From a file that `write_all` makes to what must raise nothing but `UserError`."""


def rows(seed: int = 0) -> list[dict]:
    generator = np.random.default_rng(seed)
    return [
        {
            "model": model, "lr": float(10 ** generator.uniform(-4, -1)),
            "val_acc": float(generator.uniform(0.5, 0.9)),
            "curve": [{"acc": 0.5}], "note": "é",
        }
        for model in ("mlp", "cnn") * 4
    ]  # fmt: skip


def event(step: int, tag: str, value: float) -> bytes:
    """Writes one scalar as TensorBoard does."""

    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    summary = field(1, field(1, tag.encode()) + b"\x15" + struct.pack("<f", value))
    return record(
        b"\x09" + struct.pack("<d", 1.0) + bytes([16, step]) + field(5, summary)
    )


def record(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    mask = tensorboard_events._masked
    return head + struct.pack("<I", mask(head)) + data + struct.pack("<I", mask(data))


def write_all(folder: Path) -> None:
    """Writes one small whole file for each reader."""
    table = pd.DataFrame(rows()).drop(columns="curve")
    table.to_csv(folder / "runs.csv", index=False)
    table.to_csv(folder / "comma.csv", sep=";", decimal=",")
    (folder / "runs.json").write_text(json.dumps(rows()))
    (folder / "named.json").write_text(
        json.dumps({f"run{i}": row for i, row in enumerate(rows())}, indent=1)
    )
    (folder / "runs.jsonl").write_text("\n".join(map(json.dumps, rows())))
    (folder / "runs.csv.gz").write_bytes(
        gzip.compress((folder / "runs.csv").read_bytes(), mtime=0)
    )
    with zipfile.ZipFile(folder / "runs.csv.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(folder / "runs.csv", "runs.csv")
    pd.DataFrame(rows()).to_parquet(folder / "runs.parquet")
    trackio(folder / "trackio.db")
    mlflow(folder / "mlflow.db")
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / "optuna.log"))
    )
    for store in (storage, f"sqlite:///{folder / 'optuna.db'}"):
        study = optuna.create_study(
            storage=store, study_name="s", sampler=optuna.samplers.RandomSampler(seed=0)
        )
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=4)
    shutil.copytree(CASES / "14_mlruns", folder / "mlruns")
    one = folder / "mlruns/0/00000000000000000000000000000001"
    one.rename(folder / "mlruns/0/1")
    for i, row in enumerate(rows()):
        place = folder / "logs" / str(i)
        place.mkdir(parents=True)
        (place / "hparams.yaml").write_text(f"model: {row['model']}\nlr: {row['lr']}\n")
        (place / "metrics.csv").write_text(f"step,val_acc\n1,{row['val_acc']}\n")
        place = folder / "events" / str(i)
        place.mkdir(parents=True)
        (place / "events.out.tfevents.1").write_bytes(
            event(1, "val_acc", 0.5) + event(2, "val_acc", row["val_acc"])
        )
        (place / "hparams.yaml").write_text(f"model: {row['model']}\nlr: {row['lr']}\n")


def trackio(path: Path) -> None:
    with sqlite3.connect(path) as base:
        base.execute(
            "CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT,"
            " run_name TEXT, step INTEGER, metrics TEXT)"
        )
        base.execute(
            "CREATE TABLE configs (id INTEGER PRIMARY KEY AUTOINCREMENT, run_name TEXT,"
            " config TEXT, created_at TEXT)"
        )
        for i, row in enumerate(rows()):
            config = {"model": row["model"], "lr": row["lr"], "_Username": "x"}
            base.execute(
                "INSERT INTO configs (run_name, config) VALUES (?, ?)",
                (f"run{i}", json.dumps(config)),
            )
            for step, metrics in enumerate(
                ({"train_loss": 1.0}, {"val_acc": 0.1}, {"val_acc": row["val_acc"]})
            ):
                base.execute(
                    "INSERT INTO metrics (run_name, step, metrics) VALUES (?, ?, ?)",
                    (f"run{i}", step, json.dumps(metrics)),
                )
    base.close()


def mlflow(path: Path) -> None:
    with sqlite3.connect(path) as base:
        base.executescript(
            "CREATE TABLE experiments (experiment_id INTEGER, name TEXT,"
            " lifecycle_stage TEXT);"
            "CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, name TEXT, status TEXT,"
            " lifecycle_stage TEXT, experiment_id INTEGER);"
            "CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);"
            "CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);"
            "CREATE TABLE latest_metrics (key TEXT, value REAL, timestamp BIGINT,"
            " step BIGINT, is_nan BOOLEAN, run_uuid TEXT);"
            "INSERT INTO experiments VALUES (0, 'Default', 'active');"
        )
        for i, row in enumerate(rows()):
            run = f"{i:032x}"
            base.execute(
                "INSERT INTO runs VALUES (?, 'x', 'FINISHED', 'active', 0)", (run,)
            )
            for key in ("model", "lr"):
                base.execute(
                    "INSERT INTO params VALUES (?, ?, ?)", (key, str(row[key]), run)
                )
            base.execute(
                "INSERT INTO latest_metrics VALUES ('val_acc', ?, 1, 3, 0, ?)",
                (row["val_acc"], run),
            )
    base.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    write_all(folder)
    optuna.logging.set_verbosity(level)
    return folder


def answer(reader: Callable[[Path], None], path: Path) -> str | None:
    """Returns what a reader refuses; None where it reads."""
    try:
        reader(path)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", READERS)
def test_changed_bytes_are_a_table_or_one_message(whole, tmp_path, name):
    data = (whole / name).read_bytes()
    target = tmp_path / name
    if "/" in name:
        top = name.split("/")[0]
        shutil.copytree(whole / top, tmp_path / top)
    rng = random.Random(name)
    refused = 0
    for _ in range(TRIES if "optuna" not in name else TRIES // 6):
        changed = mutate(data, rng)
        target.write_bytes(changed)
        said = answer(READERS[name], target)
        assert said is None or said.strip().encode()
        refused += said is not None
    assert refused, "no mutation was noticed: what is changed here is not read"
