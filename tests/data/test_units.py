"""Cells that write a unit beside a number, and questions asked in one message."""

import re
import shlex
import time

import numpy as np
import pytest

from archtrial import Protocol, trial
from archtrial.data import load, units
from archtrial.errors import DataError


def table(folder, cells, *, separator=",", name="w", more=lambda row: row % 7):
    cell = (lambda text: f'"{text}"') if '"' not in "".join(cells) else str
    lines = [f"{name}{separator}b{separator}y"]
    for row in range(60):
        inside = [
            cell(cells[row % len(cells)]),
            str(more(row)),
            f"{row * 37 % 60 + 100}",
        ]
        lines.append(separator.join(inside))
    (folder / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "t.csv"


def first(data):
    return data.inputs[0]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["12 kg", "13.5 kg", "-4 kg"], [12, 13.5, -4]),
        (["3.4cm", "2cm", "n/a"], [3.4, 2, np.nan]),
        (["1 year", "10 years", "2 Years"], [1, 10, 2]),
        (["12 KG", "3 kgs.", "5 Kg"], [12, 3, 5]),
        (["100 m2", "80 m²", "7 m^2"], [100, 80, 7]),
        (["45 %", "3 %", "7%"], [45, 3, 7]),
        (["€ 12", "14.50 €", "EUR 3"], [12, 14.5, 3]),
        (["1,200 USD", "3,400 USD", "120 USD"], [1200, 3400, 120]),
        (["€110.5M", "€0", "€3M"], [110.5, 0, 3]),
        (["1 234 kg", "12 345 kg", "7 kg"], [1234, 12345, 7]),
        (["36.5 °C", "-0.5 °C", "0 °C"], [36.5, -0.5, 0]),
        (["3 rooms", "1 room", "4 rooms"], [3, 1, 4]),
        (["74 bhp", "null bhp", "100 bhp"], [74, np.nan, 100]),
        (["20 km/h", "30 km/h", "0"], [20, 30, 0]),
    ],
)
def test_one_unit_is_read_as_numbers_and_said(tmp_path, cells, values):
    data = load(table(tmp_path, cells))
    assert np.array_equal(first(data).values[:3], values, equal_nan=True)
    assert sum("is read as" in note for note in data.notes) >= 1


def test_a_unit_behind_a_decimal_comma(tmp_path):
    data = load(table(tmp_path, ["3,5 kg", "4,25 kg"], separator=";"))
    assert first(data).values[:2].tolist() == [3.5, 4.25]
    assert "Column w: '3,5 kg' is read as 3.5." in data.notes


@pytest.mark.parametrize(
    "cells",
    [
        ["12 kg", "300 g"],
        ["12kg", "13"],
        ["€ 12", "$ 14"],
        ["USD 12", "13 GBP"],
        ["1.2M", "300k"],
        ["€110.5M", "€600K", "€0"],
        ["3 h 20 min", "2h 5min"],
        ["5'11\"", "6'1\""],
        ["36.5 °C", "98.2 °F"],
        ["0 °C", "20 °F"],
        ["1.5 GB", "300 MB"],
        ["2 weeks", "3 days", "n/a"],
        ["45%", "0.5"],
        ["12 kg"] * 59 + ["300 g"],
    ],
)
def test_several_units_are_a_question_and_the_answer_works(tmp_path, cells):
    path = table(tmp_path, cells, separator="\t")
    with pytest.raises(DataError, match="in one unit") as caught:
        load(path)
    (typed,) = re.findall(r"--categorical (\S+)", caught.value.way_out)
    data = load(path, categorical=[typed])
    assert first(data).values[0] == cells[0]
    assert data.split(Protocol(data="x", baseline="a", challengers=["b"]).splits, 0)


@pytest.mark.parametrize(
    "cells",
    [
        ["12A", "13B", "14F", "2D"],
        ["1012 AB", "1013 XY", "2000 KL"],
        ["1st", "2nd", "3rd"],
        ["10-20", "20-30"],
        ["Room 1", "Room 2"],
        ["7 am", "8 pm"],
        ["12 Main St", "13 Elm Rd"],
        ["1920x1080", "800x600"],
        ["3 of 5", "2 of 5"],
    ],
)
def test_numbers_in_names_are_no_amounts(tmp_path, cells):
    assert first(load(table(tmp_path, cells))).values[:2].tolist() == cells[:2]


def test_one_odd_cell_with_a_unit_stays_an_odd_cell(tmp_path):
    data = load(table(tmp_path, ["0.5 kg", *map(str, range(1, 60))]))
    assert np.isnan(first(data).values[0])
    assert any("'0.5 kg' (1)" in note for note in data.notes)


def test_a_target_with_a_unit(tmp_path):
    (tmp_path / "t.csv").write_text(
        "a,y\n" + "\n".join(f"{i % 9},{i * 37 % 60}.5 kg" for i in range(60))
    )
    data = load(tmp_path / "t.csv")
    assert data.task == "regression"
    assert data.targets[1] == 37.5
    labels = "\n".join(f"{i % 9},{i % 3 + 1} stars" for i in range(60))
    (tmp_path / "t.csv").write_text("a,y\n" + labels)
    data = load(tmp_path / "t.csv", task="classification")
    assert data.classes == ("1 stars", "2 stars", "3 stars")


def test_categories_that_look_like_numbers(tmp_path):
    path = table(tmp_path, ["10115", "20095", "80331"], name="post code")
    data = load(path, categorical=["post code"])
    assert first(data).values[:2].tolist() == ["10115", "20095"]
    with pytest.raises(DataError, match="categorical names a column") as caught:
        load(path, categorical=["postcode"])
    assert "post code" in caught.value.way_out
    with pytest.raises(DataError, match="categorical says how a file is read"):
        load("digits", categorical=["x"])
    np.savez(tmp_path / "d.npz", x=np.eye(4), y=np.arange(4))
    with pytest.raises(DataError, match="categorical is for tables"):
        load(tmp_path / "d.npz", categorical=["x"])


def test_categories_of_a_frame(tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {"code": np.arange(60) % 3 + 10, "w": ["12 kg", "300 g"] * 30,
         "y": np.arange(60) % 2}
    )  # fmt: skip
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="--categorical w"):
        load(tmp_path / "t.parquet")
    data = load(tmp_path / "t.parquet", categorical=["w", "code"])
    assert not any(column.is_number for column in data.inputs)


def test_a_protocol_declares_categories(tmp_path):
    path = table(tmp_path, ["12 kg", "300 g"], name="the weight")
    declared = Protocol(
        data=path, baseline="linear", challengers=["mlp"], steps=2,
        categorical="the weight",
    )  # fmt: skip
    assert declared.categorical == ("the weight",)
    assert trial.prepare(declared).resolved["data"]["input_shape"] == [3]


def test_raw_rows_of_categories_are_taken_as_they_were(tmp_path):
    pd = pytest.importorskip("pandas")
    path = table(tmp_path, ["12 kg", "300 g", "none"], name="w")
    split = load(path, categorical=["w", "b"]).split(
        Protocol(data="x", baseline="a", challengers=["b"]).splits, 0
    )
    frame = pd.read_csv(path, keep_default_na=False).drop(columns="y")
    prepared = split.preparation(frame).numpy()
    # Each row has one of three texts, and one of seven numbers that are names.
    assert (prepared.sum(1) == 2).all()
    one = split.preparation(frame[frame["w"] == "none"])
    assert (one.numpy().sum(1) == 2).all()


@pytest.mark.parametrize("cell", ["1,1a", ",1e1", "1.1a", "1 a ", "11a", "1 000a"])
def test_no_cell_takes_for_ever(cell):
    began = time.perf_counter()
    for length in range(40, 61):
        units._measure((cell * 60)[: length - 1] + "!")
    assert time.perf_counter() - began < 1


# --- several questions -------------------------------------------------------------


def test_all_that_can_be_asked_is_asked_at_once(tmp_path):
    rows = [
        f"{i % 9 + 1},{i * 7 % 900 + 100};{i % 12 + 1}/{i % 9 + 1}/2020;"
        f"{[12, 300][i % 2]} {['kg', 'g'][i % 2]};{i % 2};{i % 5}"
        for i in range(60)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["a;when;w;class;z", *rows]))
    with pytest.raises(DataError) as caught:
        load(tmp_path / "t.csv")
    said = str(caught.value)
    for option in (
        "--decimal comma", "--dates day-first", "--categorical w", "--target class",
    ):  # fmt: skip
        assert option in said
    data = load(
        tmp_path / "t.csv", decimal="comma", dates="day-first", categorical=["w"],
        target="class",
    )  # fmt: skip
    assert data.task == "classification"


def test_what_the_target_means_is_asked_beside_the_dates(tmp_path):
    rows = [
        f"{i % 12 + 1}/{i % 9 + 1}/2020,{i * 37 % 60 if i % 9 else 'low'}"
        for i in range(60)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["when,y", *rows]))
    with pytest.raises(DataError) as caught:
        load(tmp_path / "t.csv")
    assert "--dates day-first" in caught.value.way_out
    assert "--task regression" in caught.value.way_out
    assert load(tmp_path / "t.csv", dates="day-first", task="regression")


def test_the_options_on_the_command_line(tmp_path, capsys):
    from archtrial import cli

    path = table(tmp_path, ["12 kg", "300 g"], name="the weight")
    start = ["plan", "--json", "--steps", "2", "--data", str(path)]
    with pytest.raises(DataError) as caught:
        cli.program()(start, standalone_mode=False)
    option = re.search(r"(--categorical .*?) \(in", caught.value.way_out)[1]
    cli.program()([*start, *shlex.split(option)], standalone_mode=False)
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).normal(size=(40, 9, 10)),
             y=np.arange(40) % 2)  # fmt: skip
    start = ["relax", str(tmp_path / "d.npz"), "--json", "--dry-run", "--steps", "20"]
    with pytest.raises(DataError) as caught:
        cli.program()(start, standalone_mode=False)
    option = re.search(r"--channels first", caught.value.way_out)[0]
    cli.program()([*start, *shlex.split(option)], standalone_mode=False)
    assert capsys.readouterr().out
