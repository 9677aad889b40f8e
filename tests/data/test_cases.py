"""Inputs that once gave a wrong answer in silence: the right value, or a question."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from archtrial.data import load
from archtrial.data.cells import Notation
from archtrial.data.delimited import parse, without_indices
from archtrial.data.tables import columns_of_texts
from archtrial.errors import DataError
from archtrial.protocol import Splits

CASES = Path(__file__).parents[1] / "cases" / "data"


def column(data, name):
    return next(c for c in data.inputs if c.name == name)


def said(data):
    return " ".join(data.split(Splits(), 0).notes)


def test_one_question_mark():
    data = load(CASES / "30_one_question_mark.csv")
    hp = column(data, "hp")
    assert hp.is_number
    assert np.flatnonzero(hp.missing).tolist() == [17]
    assert hp.values[[0, 1, 16, 18]].tolist() == [116, 133, *hp.values[[16, 18]]]
    assert "Column hp holds numbers or dates; missing there: '?' (1)." in said(data)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("N/A", None), ("-", None), ("unknown", None), ("n.d. (broken)", None),
        ('"1,234"', 1234), ("1 234", 1234), ("$5", 5), ("5 €", 5), ("151.2%", 151.2),
        ("(12)", -12), ("1e2", 100), ("\u22125", -5),
    ],
)  # fmt: skip
def test_siblings_of_the_question_mark(tmp_path, cell, value):
    text = (CASES / "30_one_question_mark.csv").read_text().replace("?", cell)
    (tmp_path / "t.csv").write_text(text)
    hp = column(load(tmp_path / "t.csv"), "hp")
    assert hp.is_number
    assert hp.missing.sum() == (value is None)
    assert value is None or hp.values[17] == pytest.approx(value)


def test_decimal_comma():
    data = load(CASES / "31_decimal_comma.csv")
    assert data.task == "regression"
    assert data.targets[:2].tolist() == [-0.161, -0.166]
    assert column(data, "c").values[:2].tolist() == [0.6404, 1.304]
    assert "Numbers are read with a decimal comma." in said(data)


def test_a_class_called_none():
    data = load(CASES / "32_class_none.csv")
    assert data.classes == ("None", "mild", "severe")
    assert len(data.targets) == 200


def test_sixteen_bits():
    data = load(CASES / "33_sixteen_bit")
    raw = np.asarray(Image.open(CASES / "33_sixteen_bit" / "cat" / "003.tif"))
    assert (data.inputs[3, 0] == raw).all()
    assert raw.max() > 255
    assert "Inputs are scaled: each channel has mean 0" in said(data)


def test_a_stray_folder():
    data = load(CASES / "34_stray_folder")
    assert data.classes == ("cat", "dog")
    split = data.split(Splits(kind="given"), 0)
    assert (len(split.x_train) + len(split.x_validation), split.test_size) == (24, 12)


def test_exif():
    data = load(CASES / "35_exif")
    path = CASES / "35_exif" / "dog" / "000.jpg"
    assert "Turned as their EXIF data say: 8 of 16 images." in data.notes
    with Image.open(path) as image:
        assert image.getexif()[0x0112] == 6
        upright = np.rot90(np.asarray(image.convert("RGB")), -1)
    assert (data.inputs[8] == upright.transpose(2, 0, 1)).all()


def test_a_pandas_index():
    data = load(CASES / "36_pandas_index.csv")
    assert [c.name for c in data.inputs] == ["a", "b", "c", "d"]
    assert "Left out, since they number or name the rows: (no name)." in data.notes


def test_amounts():
    assert load(CASES / "37_amounts.csv", task="regression").targets[0] == 3.0
    assert "--task regression" in load(CASES / "37_amounts.csv").notes[0]


def test_ucr():
    for name in ("Toy_TRAIN.tsv", "Toy_TEST.tsv"):
        data = load(CASES / name)
        assert (data.name, data.kind, data.classes) == ("Toy", "sequence", ("1", "2"))
        assert data.inputs.shape == (60, 24)
        assert data.inputs[0, 0] == -0.651791
        assert data.split(Splits(kind="given"), 0).test_size == 20


def test_validation_arrays():
    data = load(CASES / "42_validation_arrays.npz")
    with np.load(CASES / "42_validation_arrays.npz") as file:
        split = data.split(Splits(kind="given"), 0)
        assert len(split.x_train), len(split.x_validation) == (36, 12)
        assert (data.inputs[-12:, 0] == file["val_images"]).all()


def test_time_first():
    with pytest.raises(DataError, match=r"--channels first .*--channels last"):
        load(CASES / "43_time_first.npz")
    data = load(CASES / "43_time_first.npz", channels="last")
    with np.load(CASES / "43_time_first.npz") as file:
        assert (data.inputs[7, 2] == file["x"][7, :, 2]).all()
    first = load(CASES / "43_time_first.npz", channels="first")
    assert first.inputs.shape == (60, 50, 3)


def test_comments_bars_dates_and_long_numbers():
    assert [c.name for c in load(CASES / "comment_lines.csv").inputs] == ["a", "b"]
    assert load(CASES / "pipe.csv").classes == ("n", "p")
    when = column(load(CASES / "date_dmy_trend.csv"), "when")
    assert when.date
    assert np.ptp(when.values) > 300
    assert len(set(load(CASES / "huge_int_target.csv").classes)) == 2


# --- siblings: what is read is what was written, or a question ------------------------


def styled(value, rng, comma):
    """Writes a number in one of the ways that people have."""
    sign = "," if comma else "."
    apart = rng.choice(["", " ", "\u00a0", "."] if comma else ["", ",", " ", "'"])
    whole, fraction = f"{abs(value):.3f}".split(".")
    groups = []
    while len(whole) > 3:
        groups.insert(0, whole[-3:])
        whole = whole[:-3]
    body = apart.join([whole, *groups]) + sign + fraction
    text = ("-" if value < 0 else "") + body
    return rng.choice([text, text, f"{text} "])


@pytest.mark.parametrize("seed", range(60))
def test_tables_in_many_notations(tmp_path, seed):
    rng = np.random.default_rng(seed)
    comma = bool(rng.integers(2))
    separator = rng.choice([";", "\t", "|"] if comma else [",", ";", "\t", "|"])
    rows = int(rng.integers(30, 60))
    truth = {
        name: np.round(rng.normal(size=rows) * 10.0 ** rng.integers(0, 5), 3)
        for name in ("alpha", "beta", "gamma")
    }
    marks = ["?", "NA", "n/a", "-", "unknown", "none", "", "null", "broken"]
    columns = {}
    for name, values in truth.items():
        cells = [styled(v, rng, comma) for v in values]
        if name != "gamma":
            for row in rng.choice(rows, size=rows // 5, replace=False):
                cells[row], values[row] = rng.choice(marks), np.nan
        columns[name] = cells
    index = rng.choice(["none", "", "Unnamed: 0", "index", "id"])
    if index != "none":
        numbers = np.arange(rows) + rng.integers(0, 2)
        columns = {index: [str(i) for i in rng.permutation(numbers)], **columns}
    lines = [separator.join(columns)]
    for cells in zip(*columns.values(), strict=True):
        lines.append(separator.join(f'"{c}"' if separator in c else c for c in cells))
    if rng.integers(2):
        lines.insert(0, "# exported by somebody, in 2024")
    (tmp_path / "t.csv").write_text("\r\n".join(lines), encoding=str(
        rng.choice(["utf-8", "utf-8-sig", "utf-16"])))  # fmt: skip
    data = load(tmp_path / "t.csv")
    assert [c.name for c in data.inputs] == ["alpha", "beta"]
    for name in ("alpha", "beta"):
        assert np.array_equal(column(data, name).values, truth[name], equal_nan=True)
    assert np.array_equal(data.targets, truth["gamma"])


@pytest.mark.parametrize(
    ("cells", "options"),
    [
        (["1.234", "1,5", "2,5"], {"decimal": ["point", "comma"]}),
        (["1,234", "2,345", "3,456"], {"decimal": ["point", "comma"]}),
        (["1/2/2020", "3/4/2020", "5/6/2020"], {"dates": ["day-first", "month-first"]}),
        (
            ["13/2/2020", "3/14/2020", "5/6/2020"],
            {"dates": ["day-first", "month-first"]},
        ),
    ],
)
def test_what_cannot_be_told_is_asked_and_the_answer_works(tmp_path, cells, options):
    lines = ["x;y"] + [f"{cells[i % 3]};{i % 7 + 7}" for i in range(30)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    ((option, answers),) = options.items()
    with pytest.raises(DataError) as caught:
        load(tmp_path / "t.csv")
    read = []
    for answer in answers:
        assert f"--{option} {answer}" in caught.value.way_out
        found = load(tmp_path / "t.csv", **{option: answer})
        read.append(column(found, "x").values[:3].tolist())
    assert str(read[0]) != str(read[1])


@pytest.mark.parametrize(
    ("cells", "days"),
    [
        (["31.12.2020", "01.01.2021"], [18627, 18628]),
        (["01.02.2021", "02.03.2021"], [18659, 18688]),
        (["12/31/2020", "1/1/2021"], [18627, 18628]),
        (["31/12/2020", "1/1/2021"], [18627, 18628]),
        (["2020-12-31", "2021-01-01"], [18627, 18628]),
        (["2020/12/31", "2021/1/1"], [18627, 18628]),
        (["31 Dec 2020", "Jan 1, 2021"], [18627, 18628]),
        (["31.12.20", "01.01.21"], [18627, 18628]),
        (["2020-12-31T12:00:00Z", "2021-01-01 06:00"], [18627.5, 18628.25]),
        (["31/12/2020 12:00", "1/1/2021 6:00 pm"], [18627.5, 18628.75]),
    ],
)
def test_dates(tmp_path, cells, days):
    lines = ["when,y"] + [f'"{cells[i % 2]}",{i * i % 17 / 4}' for i in range(40)]
    lines[7] = f"?,{1.5}"
    (tmp_path / "t.csv").write_text("\n".join(lines))
    when = column(load(tmp_path / "t.csv"), "when")
    assert when.date
    assert when.values[:2].tolist() == pytest.approx(days)
    assert np.flatnonzero(when.missing).tolist() == [6]


@pytest.mark.parametrize(
    ("text", "names", "first"),
    [
        ("5.1,3.5,Iris\n4.9,3.0,Iris\n4.7,3.1,Rose\n", ["column_1", "column_2"], 5.1),
        ("p,x\ne,x\np,y\ne,y\n", ["column_1"], "p"),
        ("0,1,2,y\n5,3,9,a\n4,3,8,b\n", ["0", "1", "2"], 5),
        ("# a,b,y\n1.5,2,3.5\n2.5,4,4.5\n", ["a", "b"], 1.5),
        ('"a","b","y"\n"r1",1.5,2,3\n"r2",2.5,4,4\n', ["a", "b"], 1.5),
        ("sep=;\na;b;y\n1,5;2;3\n2,5;4;4\n", ["a", "b"], 1.5),
        ("a,b,y,\n1.5,2,3,\n2.5,4,4,\n", ["a", "b"], 1.5),
        ("a,b,y\n1.5,2,3\na,b,y\n2.5,4,4\n", ["a", "b"], 1.5),
        ("a  b   y\n1.5 2 3\n2.5   4 4\n", ["a", "b"], 1.5),
    ],
)
def test_lines_of_names(text, names, first):
    table, separator, _ = parse(text, "t.csv")
    table, _ = without_indices(table, [], "t.csv")
    columns = columns_of_texts(table, Notation(separator=separator))
    assert [c.name for c in columns][:-1] == names
    assert columns[0].values[0] == first


def test_a_target_that_is_called_so_but_stands_elsewhere_is_asked_for(tmp_path):
    lines = ["class,a,b"] + [
        f"{'pn'[i % 2]},{i * i % 31 / 4},{i % 5}" for i in range(40)
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match="--target class or --target b"):
        load(tmp_path / "t.csv")
    assert load(tmp_path / "t.csv", target="class").classes == ("n", "p")


def test_words_among_the_numbers_of_a_target_are_asked_for(tmp_path):
    cells = [*"1234" * 10, "none", "none", "?"]
    lines = ["a,y"] + [f"{i * i % 31 / 4},{cell}" for i, cell in enumerate(cells)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"--task regression .*--task classification"):
        load(tmp_path / "t.csv")
    assert len(load(tmp_path / "t.csv", task="regression").targets) == 40
    classes = load(tmp_path / "t.csv", task="classification").classes
    assert classes == ("1", "2", "3", "4", "?", "none")


def test_a_first_row_of_values_that_is_shorter_is_one_message(tmp_path):
    path = tmp_path / "short.csv"
    path.write_text("\n".join(["1.5,2", *(f"{i}.5,{i},p" for i in range(30))]) + "\n")
    with pytest.raises(DataError, match="row 2 has 3 and not 2"):
        load(str(path))
