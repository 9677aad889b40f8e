"""Tables of JSON: one object a line, or a list of them, typed as other tables are."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from archtrial.data import load
from archtrial.errors import DataError
from archtrial.protocol import Splits


def rows(count=40):
    return [
        {
            "a": i * i % 31 / 4, "b": i * 7 % 11, "c": "xyz"[i % 3], "d": i % 4 == 0,
            "when": f"2020-01-{1 + i % 28:02}", "y": "pn"[i % 2],
        }
        for i in range(count)
    ]  # fmt: skip


def lines(objects):
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects)


def written(folder, text, name="t.jsonl"):
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def column(found, name):
    return next(c for c in found.inputs if c.name == name)


@pytest.mark.parametrize(
    "name",
    ["t.jsonl", "t.ndjson", "t.json", "t.jsonl.gz", "t.json.gz", "list.json",
     "list.jsonl", "pretty.json"],
)  # fmt: skip
def test_rows_are_typed_as_those_of_a_csv_are(tmp_path, name):
    text = lines(rows())
    if name.startswith("list"):
        text = json.dumps(rows())
    if name.startswith("pretty"):
        text = json.dumps(rows(), indent=2)
    found = load(written(tmp_path, text, name))
    pd.DataFrame(rows()).to_csv(tmp_path / "same.csv", index=False)
    same = load(tmp_path / "same.csv")
    for one, other in zip(found.inputs, same.inputs, strict=True):
        assert (one.name, one.is_number, one.date) == (
            other.name, other.is_number, other.date,
        )  # fmt: skip
        assert one.values.tolist() == other.values.tolist()
    assert (found.classes, found.task, found.kind) == (("n", "p"), same.task, "table")
    left, right = found.split(Splits(), 0), same.split(Splits(), 0)
    assert np.array_equal(left.x_train, right.x_train)


def test_what_a_row_has_not_is_missing(tmp_path):
    objects = rows()
    del objects[3]["a"], objects[4]["c"]
    objects[5]["b"], objects[6]["y"], objects[7]["late"] = None, None, 1.5
    objects[0] = {"y": "p"}
    found = load(written(tmp_path, lines(objects)), target="y")
    assert np.flatnonzero(column(found, "a").missing).tolist() == [0, 3]
    assert np.flatnonzero(column(found, "b").missing).tolist() == [0, 5]
    assert np.flatnonzero(column(found, "c").missing).tolist() == [0, 4]
    assert (~column(found, "late").missing).sum() == 1
    assert "Dropped, since the target is missing: 1 row." in found.notes


def test_numbers_are_numbers_whatever_texts_beside_them_say(tmp_path):
    """A decimal comma in a column of texts is none of JSON's own numbers."""
    objects = [{**row, "t": f"{i % 7},5"} for i, row in enumerate(rows())]
    found = load(written(tmp_path, lines(objects)), target="y")
    assert column(found, "a").values[:3].tolist() == [0, 0.25, 1.0]
    assert column(found, "t").values[:2].tolist() == [0.5, 1.5]
    assert "Numbers are read with a decimal comma." in found.notes


def test_declared_columns(tmp_path):
    path = written(tmp_path, lines(rows()))
    assert not column(load(path, categorical=["b"]), "b").is_number
    assert load(path, target="b", task="classification").classes[:2] == ("0", "1")
    assert [c.name for c in load(path, target="c").inputs] == [
        "a",
        "b",
        "d",
        "when",
        "y",
    ]


def test_columns_that_number_the_rows_are_left_out(tmp_path):
    objects = [{"id": 7 * i, **row} for i, row in enumerate(rows())]
    found = load(written(tmp_path, lines(objects)))
    assert "id" not in [c.name for c in found.inputs]
    assert "Left out, since they number or name the rows: id." in found.notes


def test_whole_numbers_that_no_float_holds_stay_names(tmp_path):
    objects = [{"a": i % 5, "y": 2**60 + i % 2} for i in range(40)]
    found = load(written(tmp_path, lines(objects)))
    assert found.classes == (str(2**60), str(2**60 + 1))


def test_ends_of_lines_within_texts_are_kept(tmp_path):
    objects = [{"t": f"a\u2028b\u0085c\n{i}", "y": i % 2} for i in range(20)]
    found = load(written(tmp_path, lines(objects).replace("\n", "\r\n")), text="t")
    assert found.inputs[0].values[3] == "a\u2028b\u0085c\n3"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": {"b": 1}, "y": 2}\n{"a": 1, "y": 2}', "'a' in row 1 is an object"),
        ('{"a": 1, "y": 2}\n\n{"a": [1, 2], "y": 2}', "'a' in row 2 is a list"),
        ('[{"a": 1, "y": 2}, {"a": [1], "y": 2}]', "'a' in row 2 is a list"),
        ('{"a": 1, "a": 2, "y": 1}\n{"a": 1, "y": 2}', "'a' twice in line 1"),
        ('{"a": 1, "a ": 2, "y": 1}\n{"a": 1, "y": 2}', "'a' twice in line 1"),
        ('{"a": 1, "y": 2}\n[1, 2]', "line 2 is a list"),
        ('[1, 2]\n[3, 4]', "line 1 is a list"),
        ("[1, 2, 3]", "row 1 is a number"),
        ('{"a": 1, "y": 2}\n{"a": 1, "y"', "line 2"),
        ('[{"a": 1, "y": 2}, {"a": 1,', "the list"),
        ('{"a": [1, 2], "y": [3, 4]}', "orient='records'"),
        ('{\n "a": [1, 2],\n "y": [3, 4]\n}', "orient='records'"),
        ('{"a": "\\ud800", "y": 2}\n{"a": 1, "y": 2}', "half of a surrogate pair"),
        ('{"a": 1e999, "y": 2}\n{"a": 1, "y": 2}', "finite numbers"),
        ('{"a": Infinity, "y": 2}\n{"a": 1, "y": 2}', "finite numbers"),
        ('{"": 1, "y": 2}\n{"": 1, "y": 2}', "have names"),
        ("[]", "has none"),
        ("{}\n{}", "has none"),
        (" \n", "is empty"),
        ("{" * 100_000, "line 1"),
        ("[" * 100_000, "the list"),
        (f'{{"a": {"9" * 5000}, "y": 1}}', "line 1"),
        ("not json", "line 1"),
        ('{"y": 1}\n{"y": 2}', "at least one column besides the target"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_one_message(tmp_path, text, says):
    with pytest.raises(DataError) as caught:
        load(written(tmp_path, text))
    assert says in str(caught.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "t.jsonl").write_bytes(b'{"a": "caf\xe9", "y": 1}\n')
    with pytest.raises(DataError, match="UTF-8"):
        load(tmp_path / "t.jsonl")
    (tmp_path / "u.jsonl").write_text(lines(rows()), encoding="utf-16")
    assert len(load(tmp_path / "u.jsonl").targets) == 40
    (tmp_path / "z.jsonl").write_bytes(b'{"a": 1, "y": 1}\0')
    with pytest.raises(DataError, match="zero bytes"):
        load(tmp_path / "z.jsonl")
    (tmp_path / "g.jsonl.gz").write_bytes(gzip.compress(lines(rows()).encode())[:-20])
    with pytest.raises(DataError, match="damaged"):
        load(tmp_path / "g.jsonl.gz")


def test_the_way_out_for_columns_of_json_works(tmp_path):
    frame = pd.DataFrame(rows())
    frame.to_json(tmp_path / "columns.json")
    with pytest.raises(DataError, match="orient='records', lines=True") as caught:
        load(tmp_path / "columns.json")
    assert "df.to_json(path, orient='records', lines=True)" in caught.value.way_out
    frame.to_json(tmp_path / "rows.json", orient="records", lines=True)
    assert len(load(tmp_path / "rows.json").targets) == 40
