"""Folders, databases and tables as trackers leave them, in their rarer forms."""

import json
import os
import sqlite3
import zipfile
from contextlib import closing

import numpy as np
import pandas as pd
import pytest

from archtrial.errors import RecordsError
from archtrial.records import (
    importers,
    json_layouts,
    packed,
    rows,
    sources,
    tensorboard_events,
    trackers,
)  # fmt: skip
from archtrial.records.columns import names_a_score
from archtrial.records.formats import open_file
from archtrial.records.measures import measure
from archtrial.records.sources import open_source
from tests.records import test_fuzz_readers as made


def read(place, **options):
    options.setdefault("baseline", "mlp")
    return importers.read(place if isinstance(place, list) else [place], **options)


def refusal(place, **options):
    with pytest.raises(RecordsError) as caught:
        read(place, **options)
    return str(caught.value)


def counts(found):
    return {arm["name"]: arm["configurations"] for arm in found.understood.arms}


def scores(found, arm="mlp"):
    return [run.validation for run in found.runs if run.arm == arm]


def expected(arm="mlp"):
    return [row["val_acc"] for row in made.rows() if row["model"] == arm]


def rows_of(place, *columns):
    table = open_source(str(place))
    return pd.concat(table.batches(list(columns)))


# MLflow.


def mlflow_run(experiment, name, row=None, status="3", stage="active", **tags):
    run = experiment / name
    for part in ("params", "metrics", "tags"):
        (run / part).mkdir(parents=True)
    (run / "meta.yaml").write_text(f"lifecycle_stage: {stage}\nstatus: {status}\n")
    for key, value in tags.items():
        (run / "tags" / key.replace("__", ".")).write_text(value)
    if row is not None:
        (run / "params" / "model").write_text(row["model"])
        (run / "params" / "lr").write_text(str(row["lr"]))
        (run / "metrics" / "val").mkdir()
        # Three steps, out of order, and a value without a step before them.
        (run / "metrics" / "val" / "acc").write_text(
            f"1 0.01\n3 {row['val_acc']} 2\n\n2 0.02 1\n"
        )
        (run / "metrics" / "empty").write_text("")
    return run


def mlflow_folder(folder):
    for i, row in enumerate(made.rows()):
        experiment = folder / "mlruns" / str(i // 4 + 1)
        mlflow_run(experiment, f"r{i}", row, mlflow__parentRunId="lead")
    return folder / "mlruns"


def test_mlflows_parents_killed_runs_and_several_experiments(tmp_path):
    place = mlflow_folder(tmp_path)
    mlflow_run(place / "1", "lead")
    mlflow_run(place / "1", "killed", made.rows()[0], status="5")
    mlflow_run(place / "2", "going", made.rows()[1], status="1")
    (place / "1" / "models").mkdir()
    (place / "1" / "tags").mkdir()
    (place / "2" / "meta.yaml").write_text("name: second\n")
    (place / "2" / "stray.txt").write_text("x")
    gone = mlflow_run(place / ".trash", "r9", made.rows()[0])
    found = read(tmp_path)
    assert counts(found) == {"mlp": 5, "cnn": 4}
    assert [run.validation for run in found.runs if not run.diverged] == [
        row["val_acc"] for row in made.rows()
    ]
    assert sum(run.diverged for run in found.runs) == 1
    said = " ".join(found.understood.notes)
    assert "1 runs that only hold other runs" in said
    assert "2 experiments, read together: 1, second" in said
    assert "Not ended, and left out: 1 of 10" in said
    assert "Failed (KILLED)" in said
    assert gone.name not in set(rows_of(place, "run_id")["run_id"])
    # What the note says to type works.
    one = rows_of(place / "2", "experiment_name")
    assert set(one["experiment_name"]) == {"second"}
    assert "mlp has 2" in refusal(tmp_path, where=["experiment_name=second"])


def test_an_experiment_of_mlflows_that_was_deleted_is_left_out(tmp_path):
    place = mlflow_folder(tmp_path)
    (place / "1" / "meta.yaml").write_text("name: old\nlifecycle_stage: deleted\n")
    table = open_source(str(place))
    assert len(rows_of(place, "run_id")) == 4
    assert "Deleted in MLflow, and left out: 4 runs." in table.notes
    # Without a folder of parameters there is nothing to read of it.
    for file in sorted((place / "2" / "r5" / "params").iterdir()):
        file.unlink()
    (place / "2" / "r5" / "params").rmdir()
    assert rows_of(place, "params.lr")["params.lr"].isna().sum() == 1


def test_experiments_and_runs_that_were_deleted_from_mlflows_database(tmp_path):
    made.mlflow(tmp_path / "mlflow.db")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as base, base:
        base.execute("INSERT INTO experiments VALUES (1, 'old', 'deleted')")
        base.execute("UPDATE runs SET experiment_id = 1 WHERE rowid = 1")
        base.execute("UPDATE runs SET status = 'KILLED' WHERE rowid = 3")
        base.execute("UPDATE latest_metrics SET is_nan = 1 WHERE rowid = 2")
    table = rows_of(tmp_path / "mlflow.db", "run_id", "metrics.val_acc", "status")
    assert len(table) == 7
    assert table["metrics.val_acc"].isna().sum() == 1
    assert sorted(table["status"]) == ["FINISHED"] * 6 + ["KILLED"]
    assert "left out: 1 runs" in " ".join(open_source(str(tmp_path)).notes)


# trackio.


def test_trackios_later_layout_of_keys(tmp_path):
    path = tmp_path / "trackio.db"
    with closing(sqlite3.connect(path)) as base, base:
        base.execute(
            "CREATE TABLE metrics (id INTEGER PRIMARY KEY, run_id TEXT, run_name TEXT,"
            " project_name TEXT, step INTEGER, metrics TEXT)"
        )
        base.execute("CREATE TABLE configs (run_id TEXT, run_name TEXT, config BLOB)")
        for i, row in enumerate(made.rows()):
            config = {"model": row["model"], "lr": row["lr"], "_Created": "x"}
            # The names of all runs are the same: what tells them apart is the id.
            base.execute(
                "INSERT INTO configs VALUES (?, 'same', ?)",
                (f"id{i}", json.dumps(config).encode()),
            )
            for step, score in enumerate((0.1, row["val_acc"])):
                base.execute(
                    "INSERT INTO metrics (run_id, run_name, project_name, step, metrics)"
                    " VALUES (?, 'same', 'p', ?, ?)",
                    (f"id{i}", step, json.dumps({"val_acc": score}).encode()),
                )
    found = read(path)
    assert counts(found) == {"mlp": 4, "cnn": 4}
    assert scores(found) == expected()
    assert set(found.spaces["mlp"]) == {"lr"}
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("UPDATE metrics SET run_id = NULL")
        base.execute("DROP TABLE configs")
    table = rows_of(path, "run_id", "project_name")
    assert set(table["run_id"]) == {"same"}
    assert set(table["project_name"]) == {"p"}


# Folders.


def test_hydras_folders(tmp_path):
    for i, row in enumerate(made.rows()):
        place = tmp_path / "multirun" / "2026-01-01" / str(i)
        (place / ".hydra").mkdir(parents=True)
        (place / ".hydra" / "config.yaml").write_text(
            f"model: {row['model']}\noptimizer:\n  lr: {row['lr']}\n"
        )
        (place / ".hydra" / "hydra.yaml").write_text("hydra: {}\n")
        (place / ".hydra" / "overrides.yaml").write_text("[]\n")
        (place / "results.json").write_text(json.dumps({"val_acc": row["val_acc"]}))
        (place / "empty.csv").write_text("")
        (place / "train.log").write_text("words")
        (place / ".hidden.json").write_text('{"val_acc": 7}')
    found = read(tmp_path)
    assert counts(found) == {"mlp": 4, "cnn": 4}
    assert scores(found) == expected()
    assert set(found.spaces["mlp"]) == {"optimizer.lr"}


def event_folders(folder, write):
    for i, row in enumerate(made.rows()):
        place = folder / str(i)
        place.mkdir(parents=True)
        (place / "events.out.tfevents.1.host").write_bytes(
            made.event(1, "val_acc", 0.1) + write(row)
        )
        (place / "config.json").write_text(
            json.dumps({"model": row["model"], "lr": row["lr"]})
        )
    return folder


def test_event_files_that_are_cut_off_are_read_up_to_there_and_said(tmp_path):
    def write(row):
        return made.event(2, "val_acc", row["val_acc"])

    whole = read(event_folders(tmp_path / "runs", write))
    np.testing.assert_allclose(scores(whole), expected(), rtol=1e-7)
    assert "Cut off" not in " ".join(whole.understood.notes)
    path = tmp_path / "runs" / "0" / "events.out.tfevents.1.host"
    first = len(made.event(1, "val_acc", 0.1))
    for size in (first + 3, first + 14, path.stat().st_size - 2):
        path.write_bytes((made.event(1, "val_acc", 0.1) + write(made.rows()[0]))[:size])
        found = read(tmp_path / "runs")
        # Of the run that was cut off, what was written before.
        assert scores(found)[0] == pytest.approx(0.1)
        np.testing.assert_allclose(scores(found)[1:], expected()[1:], rtol=1e-7)
        said = " ".join(found.understood.notes)
        assert f"Cut off, and read up to there: 1 event files, such as {path}" in said


def field(number, data):
    return bytes([number << 3 | 2, len(data)]) + data


def events(path, *fields):
    path.write_bytes(b"".join(made.record(each) for each in fields))
    return tensorboard_events.read(path)


def scalar(tag, rest):
    return b"\x10\x05" + field(5, field(1, field(1, tag.encode()) + rest))


def test_tensors_and_unknown_fields_of_event_files(tmp_path):
    path = tmp_path / "events.out.tfevents.1"
    double = np.array([0.25], "<f8").tobytes()
    single = np.array([0.5], "<f4").tobytes()
    content = b"\x08\x02" + field(4, double)
    assert events(path, scalar("a", field(8, content))) == (
        [{"step": 5, "a": 0.25}], {}, False,
    )  # fmt: skip
    assert events(path, scalar("a", field(8, b"\x08\x01" + field(4, single))))[0] == [
        {"step": 5, "a": 0.5}
    ]
    assert events(path, scalar("a", field(8, b"\x08\x01" + field(5, single))))[0] == [
        {"step": 5, "a": 0.5}
    ]
    assert events(path, scalar("a", field(8, b"\x08\x02" + field(6, double))))[0] == [
        {"step": 5, "a": 0.25}
    ]
    # Fields of a value that are none of these are passed over.
    assert events(path, scalar("a", field(7, b"node") + b"\x15" + single))[0] == [
        {"step": 5, "a": 0.5}
    ]
    # Texts, several numbers and bytes of no number are no scalars.
    for tensor in (b"\x08\x07" + field(8, b"words"), b"\x08\x01" + field(5, single * 2),
                   b"\x08\x01" + field(9, b"x")):  # fmt: skip
        assert events(path, scalar("a", field(8, tensor)))[0] == []
    # Other fields of an event, of a value and of the hyperparameters are passed over.
    other = field(3, b"brain.Event:2")
    assert events(path, other, b"\x18\x01", scalar("a", b"\x15" + single)) == (
        [{"step": 5, "a": 0.5}], {}, False,
    )  # fmt: skip
    negative = b"\x10" + b"\xff" * 9 + b"\x01"
    assert events(
        path, negative + field(5, field(1, field(1, b"a") + b"\x15" + single))
    )[0] == [{"step": -1, "a": 0.5}]


def test_hyperparameters_beside_what_is_none(tmp_path):
    path = tmp_path / "events.out.tfevents.1"
    lr = field(1, b"lr") + field(2, b"\x11" + np.array([0.1], "<f8").tobytes())
    unset = field(1, b"unset") + field(2, b"")
    content = field(3, field(2, b"group") + field(1, lr) + field(1, unset))
    metadata = field(1, field(1, b"hparams") + field(2, content)) + b"\x10\x01"
    start = field(1, field(1, b"_hparams_/session_start_info") + field(9, metadata))
    other = field(1, field(1, b"_hparams_/experiment") + b"\x15\0\0\0\0")
    assert events(path, field(5, start + other)) == ([], {"lr": 0.1}, False)
    # A folder of them has a run, if without a score.
    assert set(open_source(str(tmp_path)).columns) == {
        "run", "folder_path", "config.lr",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x0b", "of the kind 3"),
        (b"\x12\x7f", "longer than its record"),
        (b"\x10" + b"\xff" * 10, "more than 64 bits"),
        (b"\x10\xff", "index out of range"),
    ],
)
def test_records_of_event_files_that_are_none(tmp_path, data, says):
    with pytest.raises(RecordsError, match=says):
        events(tmp_path / "events.out.tfevents.1", data)


def test_lengths_of_event_files_are_limited_and_checked(tmp_path, monkeypatch):
    path = tmp_path / "events.out.tfevents.1"
    whole = made.event(1, "a", 0.5)
    path.write_bytes(b"\x09" + whole[1:])
    with pytest.raises(RecordsError, match="length does not agree"):
        tensorboard_events.read(path)
    path.write_bytes(whole)
    monkeypatch.setattr(tensorboard_events, "_MOST_CHECKED", 3)
    damaged = whole[:-1] + bytes([whole[-1] ^ 1])
    path.write_bytes(damaged)
    # Of large records, images, the checksum would take too long.
    assert tensorboard_events.read(path)[0] == [{"step": 1, "a": 0.5}]
    monkeypatch.setattr(tensorboard_events, "_MOST_RECORD", 3)
    with pytest.raises(RecordsError, match="a record of more than"):
        tensorboard_events.read(path)


def test_folders_of_too_many_files_and_places_that_cannot_be(tmp_path, monkeypatch):
    for i in range(4):
        (tmp_path / f"{i}.json").write_text("{}")
    monkeypatch.setattr(sources, "MOST_FILES", 3)
    assert "has more" in refusal(tmp_path)
    assert "runs lie where they can be read" in refusal("x" * 5000)
    assert "there is no such file" in refusal("a\0b")


def test_a_folder_of_tables_whose_runs_have_the_same_numbers(tmp_path):
    table = pd.DataFrame(made.rows()).drop(columns=["curve", "note"])
    for arm, own in table.groupby("model"):
        (tmp_path / str(arm)).mkdir()
        own.assign(run=range(len(own))).to_csv(tmp_path / str(arm) / "runs.csv")
    found = read(tmp_path)
    assert counts(found) == {"mlp": 4, "cnn": 4}
    table.assign(run=range(len(table))).to_parquet(tmp_path / "all.parquet")
    for arm in ("mlp", "cnn"):
        (tmp_path / arm / "runs.csv").unlink()
    one = read(tmp_path)
    assert counts(one) == {"mlp": 4, "cnn": 4}
    assert "folder of Parquet" in one.understood.sources[0][1]


def test_settings_of_more_values_than_a_run_has(tmp_path, monkeypatch):
    (tmp_path / "params.json").write_text('{"a": 1, "b": {"value": 2}, "c": 3}')
    assert trackers.settings(tmp_path / "params.json") == {"a": 1, "b": 2, "c": 3}
    monkeypatch.setattr(trackers, "MOST_VALUES", 2)
    with pytest.raises(RecordsError, match="up to 2 values"):
        trackers.settings(tmp_path / "params.json")


# Packed files.


def test_zips_that_cannot_be_read(tmp_path, monkeypatch):
    path = tmp_path / "a.csv.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("folder/", "")
    assert "holds none" in refusal(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.csv", "a,b\n1,2\n")
    whole = path.read_bytes()
    at = whole.index(b"PK\1\2") + 8
    path.write_bytes(whole[:at] + b"\1" + whole[at + 1 :])
    assert "encrypted" in refusal(path)
    path.write_bytes(whole[:-9])
    assert "a .zip is whole" in refusal(path)
    path.write_bytes(whole.replace(b"1,2", b"9,9"))
    assert "a file of runs is whole" in refusal(path)
    path.write_bytes(whole)
    monkeypatch.setattr(packed, "MOST_UNPACKED", 3)
    assert "holds more" in refusal(path)


def test_parquet_is_packed_in_itself(tmp_path):
    pd.DataFrame(made.rows()).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.parquet.gz").write_bytes(
        made.gzip.compress((tmp_path / "a.parquet").read_bytes())
    )
    said = refusal(tmp_path / "a.parquet.gz")
    assert "(also in .gz or .zip) or .parquet" in said
    assert len(read(tmp_path / "a.parquet").runs) == 8


def test_parquet_that_announces_too_much_or_a_name_twice(tmp_path, monkeypatch):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    twice = pyarrow.table([[1], [2]], names=["a", "a"])
    pyarrow.parquet.write_table(twice, path)
    assert "'a' twice" in refusal(path)
    pd.DataFrame(made.rows()).to_parquet(path)
    monkeypatch.setattr(packed, "MOST_UNPACKED", 3)
    assert "says that it holds" in refusal(path)


# Names of files.


def test_a_name_that_is_not_utf_8_is_one_message(tmp_path):
    raw = os.fsencode(tmp_path) + b"/r\xffns.csv"
    with open(raw, "wb") as file:
        file.write(b"model,lr,val_acc\nmlp,1,.5\n")
    name = os.fsdecode(raw)
    for source in (name, f"a={name}", tmp_path):
        said = refusal(source)
        assert "a file's name is UTF-8" in said
        assert r"r\udcffns.csv" in said
        assert said.endswith("Rename it.")
        said.encode()
    os.rename(raw, tmp_path / "runs.csv")
    assert open_file(tmp_path / "runs.csv").columns == ("model", "lr", "val_acc")


# Samplers that are not recorded.


def wandb(pairs=12, seed=0, cnn_seed=None, **columns):
    """W&B's table of runs; the arms have the same draws unless told otherwise."""
    rows = []
    for arm, drawn in (("mlp", seed), ("cnn", seed if cnn_seed is None else cnn_seed)):
        generator = np.random.default_rng(drawn)
        for i in range(pairs):
            lr = 10 ** generator.uniform(-4, -1)
            rows.append(
                {
                    "Name": f"{arm}-{i}", "State": "finished", "Created": "2026-01-01",
                    "Runtime": 100 + i, "Sweep": "abc", "model": arm, "lr": lr,
                    "val/acc": 0.9 - 0.01 * i + 0.1 * (arm == "cnn"), "_step": 9,
                }
            )  # fmt: skip
    return pd.DataFrame(rows).assign(**columns)


def written(tmp_path, frame):
    frame.to_csv(tmp_path / "runs.csv", index=False)
    return tmp_path / "runs.csv"


def test_one_sweep_that_gave_all_arms_the_same_draws_is_said(tmp_path):
    path = written(tmp_path, wandb())
    found = read(path)
    assert found.paired
    assert "The method of the sweep abc is not in the table" in " ".join(
        found.understood.notes
    )
    declared = read(path, tuner="random")
    assert "method of the sweep" not in " ".join(declared.understood.notes)
    # Runs that were started by hand are of no sweep.
    by_hand = read(written(tmp_path, wandb(Sweep="")))
    assert "sweep" not in " ".join(by_hand.understood.notes)


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        (wandb(Sweep=["abc"] * 12 + ["def"] * 12), "abc, def"),
        (wandb(Sweep=["abc"] * 12 + [""] * 12), "abc, (none)"),
        (wandb(cnn_seed=1), "abc"),
    ],
)
def test_sweeps_that_may_have_been_adaptive_are_a_question(tmp_path, frame, shown):
    path = written(tmp_path, frame)
    said = refusal(path)
    assert f"W&B's sweeps ({shown})" in said
    assert "--tuner random" in said
    assert "--repeat-column" in said
    assert counts(read(path, tuner="random")) == {"mlp": 12, "cnn": 12}
    assert "adaptive" in refusal(path, tuner="adaptive")


def test_ray_tunes_table_does_not_say_which_searcher_chose(tmp_path):
    frame = wandb()[["model", "lr", "val/acc"]]
    frame.columns = ["config/model", "config/lr", "val_acc"]
    path = written(tmp_path, frame.assign(trial_id=[f"a{i:05}" for i in range(24)]))
    said = refusal(path)
    assert "Ray Tune's" in said
    assert "--tuner random" in said
    found = read(path, tuner="random")
    assert counts(found) == {"mlp": 12, "cnn": 12}
    assert set(found.spaces["mlp"]) == {"lr"}
    # W&B and others write "config/" as well, of runs and not of trials.
    assert read(written(tmp_path, frame)).paired


@pytest.mark.parametrize(
    ("left", "says"),
    [
        ("searcher-state-2026-01-01.pkl", "of a searcher of Ray Tune's"),
        ("search_gen_state-2026-01-01.json", "of a searcher of Ray Tune's"),
        ("wandb/sweep-x1y2/config-abc.yaml", "a sweep of W&B's"),
    ],
)
def test_what_a_tuner_left_in_a_folder_is_a_question(tmp_path, left, says):
    for i, row in enumerate(made.rows()):
        (tmp_path / str(i)).mkdir()
        config = {name: row[name] for name in ("model", "lr")}
        (tmp_path / str(i) / "params.json").write_text(json.dumps(config))
        (tmp_path / str(i) / "result.json").write_text(
            json.dumps({"val_acc": row["val_acc"]})
        )
    # Ray's own generator of variants draws at random or from a grid.
    (tmp_path / "basic-variant-state-2026-01-01.json").write_text("{}")
    assert counts(read(tmp_path)) == {"mlp": 4, "cnn": 4}
    (tmp_path / left).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / left).write_text('{"a": 1}')
    said = refusal(tmp_path)
    assert says in said
    assert "--tuner random" in said
    assert scores(read(tmp_path, tuner="random")) == expected()


# Bytes, lines and layouts of files.


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (",,\n1,2,3\n", "is empty"),
        ("mlp,2026-01-01 10:00\ncnn,2026-01-02 10:00\n", "looks like a run"),
        ("mlp,0.1,.9\n", "looks like a run"),
        ("mlp,1,9\n", "looks like a run"),
        ("model,lr,val_acc,lr\n", "'lr' twice"),
        ('model,lr,val_acc\nmlp,1,".5\n', "a quote is left open"),
    ],
)
def test_first_lines_that_hold_no_names(tmp_path, text, says):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(RecordsError, match=says):
        open_file(tmp_path / "a.csv")


def test_blank_lines_above_the_names_and_what_is_no_file(tmp_path):
    (tmp_path / "a.csv").write_text("# by hand, in a hurry\n\n\nmodel,lr\nmlp,1\n")
    assert open_file(tmp_path / "a.csv").columns == ("model", "lr")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(RecordsError, match="is a device"):
        open_file(tmp_path / "pipe.csv")
    with pytest.raises(RecordsError, match="is a folder"):
        open_file(tmp_path)


@pytest.mark.parametrize(
    "data", [b'\xff{"a": 1}\n', b'{"a": 1}\n{"a": "\xff"}\n', b'[{"a": "\xff"}]']
)
def test_json_that_is_not_utf_8(tmp_path, data):
    (tmp_path / "a.json").write_bytes(data)
    assert "JSON is UTF-8" in refusal(tmp_path / "a.json")


def test_json_lines_whose_second_half_is_not_utf_8(tmp_path):
    # Beyond what is looked at to tell the layout.
    lines = b'{"a": 1}\n' * 100_000
    (tmp_path / "a.jsonl").write_bytes(lines + b'{"a": "\xff"}\n')
    assert "JSON is UTF-8" in refusal(tmp_path / "a.jsonl")


def test_a_json_document_whose_second_half_is_not_utf_8(tmp_path):
    runs = b'{"a": 1},\n' * 100_000
    (tmp_path / "a.json").write_bytes(b"[\n" + runs + b'{"a": "\xff"}]\n')
    assert "JSON is UTF-8" in refusal(tmp_path / "a.json")


def test_objects_that_are_parts_of_one_run_or_runs():
    run = {"model": "mlp", "lr": 0.1}
    # Objects with other names in them are no columns of a table.
    ragged = {"x": {"p": 1, "q": 2}, "y": {"p": 3, "r": 4}}
    assert rows_from(ragged) == [ragged]
    # Nor are names beside which there is anything else.
    beside = {"x": {"p": 1}, "y": {"p": 3}, "seed": 4}
    assert rows_from(beside) == [beside]
    assert len(rows_from({"x": run, "y": run, "seed": 4})) == 2


def rows_from(value):
    return list(json_layouts.rows_of(value, "x"))


def test_more_columns_and_more_rows_than_at_once(tmp_path, monkeypatch):
    pd.DataFrame(made.rows()).drop(columns="curve").to_json(
        tmp_path / "a.json", orient="records"
    )
    monkeypatch.setattr(rows, "BATCH", 3)
    table = open_source(str(tmp_path / "a.json"))
    batches = list(table.batches(["val_acc"]))
    assert [len(batch) for batch in batches] == [3, 3, 2]
    # Rows are numbered on from batch to batch, for messages.
    assert list(batches[2].index) == [7, 8]
    assert scores(read(tmp_path / "a.json")) == pytest.approx(expected())
    monkeypatch.setattr(rows, "MOST_COLUMNS", 2)
    assert "up to 2 columns" in refusal(tmp_path / "a.json")


def test_halves_of_characters_are_replaced_wherever_they_stand():
    read_back = rows.loads('{"a\\ud800": [{"b": "\\udfff", "c": 1}]}')
    assert json.dumps(read_back, ensure_ascii=False).encode()
    assert list(read_back.values()) == [[{"b": "\ufffd", "c": 1}]]


# Scores, failures and measurements.


def plain(**columns):
    return wandb()[["model", "lr"]].assign(
        val_acc=wandb()["val/acc"], test_acc=wandb()["val/acc"] - 0.01, **columns
    )


def test_a_round_number_near_the_others_is_a_score(tmp_path):
    frame = wandb()[["model", "lr"]].assign(val_loss=np.linspace(0, 0.9, 24))
    found = read(written(tmp_path, frame))
    assert not any(run.diverged for run in found.runs)
    assert "failed" not in " ".join(found.understood.notes)


def test_what_tells_configurations_is_kept_beside_what_was_measured(tmp_path):
    frame = pd.concat([plain(seed=seed) for seed in range(3)], ignore_index=True)
    # "segments" is one number for each draw; "kurtosis" differs between its seeds.
    frame["segments"] = frame.groupby("lr").ngroup() * 3 % 7
    generator = np.random.default_rng(0)
    frame["val_acc"] += generator.normal(scale=0.001, size=len(frame))
    frame["kurtosis"] = generator.normal(size=len(frame))
    found = read(written(tmp_path, frame))
    assert set(found.spaces["mlp"]) == {"lr", "segments"}
    assert [arm["fresh_seeds"] for arm in found.understood.arms] == [24, 24]
    assert "'kurtosis' differs between runs" in " ".join(found.understood.notes)


def test_seeds_of_two_runs_that_are_alike_do_not_tell_what_was_measured(tmp_path):
    # Each draw has two seeds, and each seed two values of a column of no known name.
    frames = [plain(seed=seed, segments=part) for seed in (1, 2) for part in (3.5, 4.5)]
    frame = pd.concat(frames, ignore_index=True)
    frame["val_acc"] += np.random.default_rng(0).normal(scale=0.001, size=len(frame))
    found = read(written(tmp_path, frame))
    assert set(found.spaces["mlp"]) == {"lr", "segments"}
    assert [arm["configurations"] for arm in found.understood.arms] == [24, 24]


@pytest.mark.parametrize(
    ("name", "lower"),
    [("val_acc_std", None), ("-val_loss", False), ("one_minus_acc", True),
     ("1-acc", True), ("rank_test_score", None)],
)  # fmt: skip
def test_signs_complements_and_ranks(name, lower):
    assert measure(name).lower_is_better is lower
    assert names_a_score("rank_test_score")


def test_percent_in_the_name_and_declared_is_percent(tmp_path):
    frame = plain().rename(columns={"val_acc": "val_acc_pct"}).drop(columns="test_acc")
    path = written(tmp_path, frame)
    assert "--percent" in refusal(path)
    assert read(path, percent=True).scale == 100
    # Where nothing else says so, fractions are none.
    assert "Leave --percent out" in refusal(written(tmp_path, plain()), percent=True)
