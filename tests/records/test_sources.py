"""Sources as they lie, read from one end to the other, with the values that are right."""

import json
import shlex
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from archtrial.errors import RecordsError
from archtrial.records import formats, importers, packed, tensorboard_events, trackers
from archtrial.records.columns import Wanted
from archtrial.records.json_layouts import rows_of
from archtrial.records.rows import flat, loads
from archtrial.records.sources import open_source
from tests.records import test_fuzz_readers as made

CASES = Path(__file__).parents[1] / "cases" / "sources"


def read(place, **options):
    options.setdefault("baseline", "mlp")
    return importers.read([place] if not isinstance(place, list) else place, **options)


def scores(found, arm="mlp"):
    return [run.validation for run in found.runs if run.arm == arm]


def refusal(place, **options):
    with pytest.raises(RecordsError) as caught:
        read(place, **options)
    return str(caught.value)


def counts(found):
    return {arm["name"]: arm["configurations"] for arm in found.understood.arms}


def test_the_last_row_with_a_score_is_a_runs():
    found = read(CASES / "08_train_and_validation_rows.csv")
    assert counts(found) == {"mlp": 12, "cnn": 12}
    # Not the last row, which has a training loss alone, nor an earlier epoch's.
    assert scores(found)[0] == 0.9095750219913883


def test_a_line_of_names_that_is_none_and_a_charts_are_said():
    assert "looks like a run" in refusal(CASES / "12_no_header.csv")
    said = refusal(CASES / "17_wandb_chart.csv")
    assert "Runs table" in said
    assert "chart" in said


@pytest.mark.parametrize("name", ["13_dict_of_runs.json", "13_wrapped.json"])
def test_runs_by_their_names_and_in_a_wrapper(name):
    found = read(CASES / name)
    assert counts(found) == {"mlp": 24, "cnn": 24}
    assert scores(found)[0] == 0.909575022


def test_decimal_commas():
    found = read(CASES / "31_decimal_comma.csv")
    assert counts(found) == {"mlp": 24, "cnn": 24}
    assert scores(found)[0] == 0.9095750219913883
    assert any("1,5 is read as 1.5" in note for note in found.understood.notes)


def test_what_scikit_learn_and_optuna_export():
    found = read(CASES / "06_sklearn_cv_results.csv")
    assert counts(found) == {"mlp": 24, "cnn": 24}
    assert all(run.test is None for run in found.runs)
    pair = [f"{arm}={CASES}/02_optuna_dataframe_{arm}.csv" for arm in ("mlp", "rvfl")]
    assert "--lower-is-better or --higher-is-better" in refusal(pair)
    said = refusal(pair, lower_is_better=True)
    assert "--tuner random" in said
    assert read(pair, lower_is_better=True, tuner="random").measure.lower_is_better


def test_mlflows_folder_its_parent_and_one_experiment(tmp_path):
    found = read(CASES / "14_mlruns")
    assert counts(found) == {"mlp": 4, "cnn": 4}
    np.testing.assert_allclose(sorted(scores(found)), [0.81, 0.83, 0.85, 0.87])
    made.shutil.copytree(CASES / "14_mlruns", tmp_path / "mlruns")
    experiment = tmp_path / "mlruns" / "0"
    runs = sorted(experiment.iterdir())
    (runs[1] / "metrics/val_acc").write_text("7 0.5 9\n5 0.99 10\n6 0.7 2\n")
    about = runs[3] / "meta.yaml"
    about.write_text(about.read_text().replace("active", "deleted"))
    for place in (tmp_path, tmp_path / "mlruns", experiment):
        table = open_source(str(place))
        (batch,) = table.batches(["run_id", "metrics.val_acc", "status"])
        assert len(batch) == 7  # one is deleted
        # Of the last step, not of the last line nor of the last time.
        assert batch.set_index("run_id")["metrics.val_acc"][runs[1].name] == 0.99
        assert set(batch["status"]) == {"FINISHED"}
        assert any("Deleted in MLflow" in note for note in table.notes)
    (runs[2] / "meta.yaml").unlink()
    (runs[5] / "tags").mkdir()
    (runs[5] / "tags" / "mlflow.parentRunId").write_text(runs[4].name)
    notes = open_source(str(tmp_path)).notes
    assert any("without meta.yaml" in n for n in notes)
    assert any("only hold other runs" in n for n in notes)
    (experiment / "meta.yaml").write_text("lifecycle_stage: deleted\nname: old\n")
    assert "has none" in refusal(tmp_path / "mlruns")
    (experiment / "meta.yaml").unlink()
    (runs[1] / "metrics/val_acc").write_text("\n1 zero\n")
    assert "line 2" in refusal(tmp_path)
    (runs[1] / "metrics/val_acc").write_bytes(b"\xff\xff")
    assert "UTF-8" in refusal(tmp_path)


def test_mlruns_beside_a_table_is_a_question(tmp_path):
    shutil.copytree(CASES / "14_mlruns", tmp_path / "mlruns")
    (tmp_path / "notes.txt").write_text("no table")
    assert "MLflow" in open_source(str(tmp_path)).kind
    (tmp_path / "runs.csv").write_text("arm,val_acc\nA,.5\n")
    with pytest.raises(RecordsError, match=r"has mlruns, runs\.csv") as refused:
        open_source(str(tmp_path))
    named = shlex.split(refused.value.way_out.rstrip(".").removeprefix("Give one: "))
    assert [open_source(place).kind for place in named if place != "or"] == [
        "MLflow's folder",
        "CSV",
    ]


def test_trackers_databases(tmp_path):
    expected = [row["val_acc"] for row in made.rows() if row["model"] == "mlp"]
    for name, write in (("mlflow.db", made.mlflow), ("trackio.db", made.trackio)):
        write(tmp_path / name)
        found = read(tmp_path / name)
        assert counts(found) == {"mlp": 4, "cnn": 4}
        assert scores(found) == expected, name
    with made.sqlite3.connect(tmp_path / "mlflow.db") as base:
        base.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE rowid = 1")
    base.close()
    (batch,) = open_source(str(tmp_path / "mlflow.db")).batches(["run_id"])
    assert len(batch) == 7
    assert "Give one" in refusal(tmp_path)
    with made.sqlite3.connect(tmp_path / "other.db") as base:
        base.execute("CREATE TABLE things (a)")
    base.close()
    assert "tables things" in refusal(tmp_path / "other.db")
    with made.sqlite3.connect(tmp_path / "trackio.db") as base:
        base.execute("UPDATE metrics SET metrics = '3' WHERE id = 1")
    base.close()
    assert "no JSON object" in refusal(tmp_path / "trackio.db")
    (tmp_path / "trackio.db").unlink()
    (tmp_path / "other.db").unlink()
    assert open_source(str(tmp_path)).kind == "MLflow's database"


def test_an_optuna_database_by_its_path(tmp_path):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = tmp_path / "two.db"
    for name in ("mlp", "cnn"):
        study = optuna.create_study(
            storage=f"sqlite:///{path}", study_name=name, direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=0),
        )  # fmt: skip
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=4)
    said = refusal(path)
    typed = shlex.split(said.splitlines()[-1].split(": ", 1)[1].removesuffix("."))
    assert typed == [f"{name}=sqlite:///{path}#{name}" for name in ("mlp", "cnn")]
    # What the message says to type works when it is typed.
    assert counts(read(typed, tuner="random")) == {"mlp": 4, "cnn": 4}
    assert counts(read([f"mlp={path}#mlp", f"cnn={path}#cnn"], tuner="random"))


def wide(folder, write):
    for i, row in enumerate(made.rows()):
        place = folder / f"{i}"
        place.mkdir(parents=True)
        write(place, row)
    return folder


def lightning(place, row):
    (place / "hparams.yaml").write_text(f"model: {row['model']}\nlr: {row['lr']}\n")
    lines = ["epoch,step,train_loss,val_acc", f"0,9,,{row['val_acc'] / 2}"]
    lines += [f"1,19,,{row['val_acc']}", "1,20,0.3,"]
    (place / "metrics.csv").write_text("\n".join(lines) + "\n")


def ray(place, row):
    (place / "params.json").write_text(
        json.dumps({"model": row["model"], "lr": row["lr"]})
    )
    lines = [
        {"val_acc": score, "training_iteration": i, "step": i}
        for i, score in enumerate((0.1, row["val_acc"]))
    ]
    (place / "result.json").write_text("\n".join(map(json.dumps, lines)) + "\n")
    (place / "progress.csv").write_text("val_acc,step\n0.0,9\n")


def wandb(place, row):
    config = {"_wandb": {"value": {"m": []}}, "lr": {"desc": None, "value": row["lr"]}}
    config["model"] = {"desc": None, "value": row["model"]}
    (place / "config.yaml").write_text(json.dumps(config))
    (place / "wandb-summary.json").write_text(
        json.dumps({"val_acc": row["val_acc"], "_step": 9, "_runtime": 3})
    )
    (place / "wandb-metadata.json").write_text('{"val_acc": 0}')


def tensorboard(place, row):
    ray(place, row)
    (place / "result.json").unlink()
    (place / "progress.csv").unlink()
    (place / "events.out.tfevents.1.host").write_bytes(
        made.event(1, "val_acc", 0.1) + made.event(2, "val_acc", row["val_acc"])
    )


def single(place, row):
    (place.with_suffix(".json")).write_text(
        json.dumps({k: row[k] for k in ("model", "lr", "val_acc")})
    )


@pytest.mark.parametrize("write", [lightning, ray, wandb, tensorboard, single])
def test_a_folder_of_runs(tmp_path, write):
    found = read(wide(tmp_path / "runs", write))
    assert counts(found) == {"mlp": 4, "cnn": 4}
    expected = [row["val_acc"] for row in made.rows() if row["model"] == "mlp"]
    np.testing.assert_allclose(scores(found), expected, rtol=1e-7)
    tried = sorted(next(iter(run.configuration.values())) for run in found.runs)
    np.testing.assert_allclose(tried, sorted(row["lr"] for row in made.rows()))


def test_any_other_folder_is_said(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"x")
    (tmp_path / "b.pt").write_bytes(b"x")
    assert "2 .pt" in refusal(tmp_path)
    (tmp_path / "empty").mkdir()
    assert "nothing" in refusal(tmp_path / "empty")


def frame():
    return pd.DataFrame(made.rows()).drop(columns=["curve", "note"])


@pytest.mark.parametrize("orient", ["columns", "index", "records", "split", "table"])
def test_all_that_pandas_writes(tmp_path, orient):
    frame().to_json(tmp_path / "a.json", orient=orient)
    found = read(tmp_path / "a.json")
    expected = frame().query("model == 'mlp'")["val_acc"]
    np.testing.assert_allclose(scores(found), expected, atol=1e-9)


def test_layouts_of_json():
    run = {"model": "mlp", "lr": 0.1, "curve": [{"acc": 1}, {"acc": 2}]}
    assert rows_of(run, "x") == [run]
    assert rows_of({"a": [run, run], "b": [run]}, "x")[2]["arm"] == "b"
    assert rows_of({"lr": [1, 2], "model": ["a", "b"]}, "x")[1] == {
        "lr": 2,
        "model": "b",
    }
    nested = {"mlp": {"r0": run, "r1": run}, "cnn": {"r0": run, "r1": run}}
    assert [row["arm"] for row in rows_of(nested, "x")] == ["mlp", "mlp", "cnn", "cnn"]
    parts = {"config": {"lr": 1}, "metrics": {"lr": 2}}
    assert rows_of(parts, "x") == [parts]
    assert len(rows_of({"version": "1", "r0": run, "r1": run}, "x")) == 2
    assert len(rows_of({"runs": {"r0": run, "r1": run}}, "x")) == 2
    listed = {"data": {"metrics": [{"key": "val_acc", "value": 1}]}}
    assert rows_of([listed], "x")[0]["data"]["metrics"] == {"val_acc": 1}
    for value in (3, [3]):
        with pytest.raises(RecordsError, match="object"):
            rows_of(value, "x")


def test_limits_are_said(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as file:
        file.writestr("a.csv", "a,b\n1,2\n")
        file.writestr("__MACOSX/a.csv", "x")
        file.writestr("b.csv", "a,b\n1,2\n")
    assert "holds 2: a.csv, b.csv" in refusal(tmp_path / "two.zip")
    made.gzip.open(tmp_path / "a.csv.gz", "wb").write(b"a,b\n" * 9999)
    monkeypatch.setattr(packed, "MOST_UNPACKED", 1000)
    assert "a packed file holds up to" in refusal(tmp_path / "a.csv.gz")
    monkeypatch.setattr(packed, "MOST_WHOLE", 10)
    (tmp_path / "a.json").write_text('[{"a": 1, "b": 2}]')
    assert "read whole" in refusal(tmp_path / "a.json")
    deep = value = {}
    for _ in range(100):
        value["a"] = value = {}
    with pytest.raises(RecordsError, match="deep"):
        list(flat(deep))
    with pytest.raises(ValueError, match="too deep"):
        loads("[" * 100_000)
    with pytest.raises(ValueError, match="'a' twice"):
        loads('{"a": 1, "a": 2}')
    assert loads('["\\ud800", 1e400, ' + "9" * 400 + "]")[1:] == [float("inf")] * 2
    loads('["\\ud800"]')[0].encode()


def test_settings_that_are_none(tmp_path):
    path = tmp_path / "config.yaml"
    for text, says in (("- 1", "names and values"), ("a: [", "whole YAML")):
        path.write_text(text)
        with pytest.raises(RecordsError, match=says):
            trackers.settings(path)
    path.write_text("")
    assert trackers.settings(path) == {}
    path.write_text("a: !!python/object/apply:os.system [echo]\nb: 1\n")
    assert trackers.settings(path)["b"] == 1


def test_events_that_are_cut_off_or_damaged(tmp_path):
    path = tmp_path / "events.out.tfevents.1"
    whole = made.event(1, "val_acc", 0.5) + made.event(2, "val_acc", 0.25)
    path.write_bytes(whole)
    assert tensorboard_events.read(path) == (
        [{"step": 1, "val_acc": 0.5}, {"step": 2, "val_acc": 0.25}], {}, False,
    )  # fmt: skip
    path.write_bytes(whole[:-5])
    assert tensorboard_events.read(path)[2]
    path.write_bytes(whole[:20] + b"\xff" + whole[21:])
    with pytest.raises(RecordsError, match="checksum"):
        tensorboard_events.read(path)


def test_hyperparameters_of_tensorboard(tmp_path):
    def field(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    lr = field(1, b"lr") + field(2, b"\x11" + struct.pack("<d", 0.1))
    model = field(1, b"model") + field(2, field(3, b"mlp"))
    flag = field(1, b"flag") + field(2, b"\x20\x01")
    content = field(3, field(1, lr) + field(1, model) + field(1, flag))
    metadata = field(1, field(1, b"hparams") + field(2, content))
    value = field(1, b"_hparams_/session_start_info") + field(9, metadata)
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(made.record(field(5, field(1, value))))
    said = {"lr": 0.1, "model": "mlp", "flag": True}
    assert tensorboard_events.read(path) == ([], said, False)


def test_repeat_none_and_heads_of_csv(tmp_path):
    assert (
        read(CASES / "13_wrapped.json", wanted=Wanted(repeat="none")).repeats is False
    )
    path = tmp_path / "a.csv"
    path.write_text("# made by hand, in a hurry, as ever\nmodel|lr|val_acc\nmlp|1|.5\n")
    assert formats.open_file(path).columns == ("model", "lr", "val_acc")
    path.write_text("model;n;val_acc\nmlp;1,234;0.5\n")
    assert not formats.open_file(path).notes  # a thousand, or one and a bit: unknown
    path.write_bytes(b"a,b\n1,\0\n")
    assert "zero bytes" in refusal(path)


def test_runs_of_one_name_in_wandbs_table_are_two(tmp_path):
    lines = ["Name,State,Created,Runtime,model,lr,val/acc,_step"]
    for i, row in enumerate(made.rows()):
        lines.append(
            f"same,finished,x,{i},{row['model']},{row['lr']},{row['val_acc']},9"
        )
    (tmp_path / "wandb.csv").write_text("\n".join(lines) + "\n")
    assert counts(read(tmp_path / "wandb.csv")) == {"mlp": 4, "cnn": 4}
