"""Files as streams of tables."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from archtrial.errors import RecordsError
from archtrial.records import formats
from archtrial.records.formats import follow, open_file


def opened(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_file(path)


def whole(table, *columns):
    return pd.concat(list(table.batches(columns or table.columns)))


def refusal(tmp_path, name, content):
    with pytest.raises(RecordsError) as caught:
        whole(opened(tmp_path, name, content))
    return str(caught.value)


def test_a_mark_at_the_start_semicolons_and_lines_in_cells(tmp_path):
    table = opened(
        tmp_path, "a.csv", b'\xef\xbb\xbfarm;note;x\nA;"two\nlines";1\nB;;2\n'
    )
    assert table.columns == ("arm", "note", "x")
    frame = whole(table, "arm", "x")
    assert frame["arm"].tolist() == ["A", "B"]
    assert frame.index.tolist() == [1, 2]
    assert opened(tmp_path, "a.tsv", "a\tb\n1\t2\n").columns == ("a", "b")


def test_cells_that_are_json_are_followed(tmp_path):
    table = opened(tmp_path, "a.csv", 'a,config\n1,"{""lr"": 0.1}"\n2,\n3,nothing\n')
    assert whole(table, "a", "config.lr")["config.lr"].tolist()[0] == 0.1
    assert whole(table, "config.lr")["config.lr"].isna().tolist() == [False, True, True]


def test_only_the_columns_that_are_asked_for_are_read(tmp_path, monkeypatch):
    rows = "".join(f"{i},{'x' * 500},{i / 10}\n" for i in range(5000))
    table = opened(tmp_path, "big.csv", "a,wide,b\n" + rows)
    monkeypatch.setattr(formats, "_BLOCK", 1 << 16)
    batches = list(table.batches(["b"]))
    # 2.5 MB in pieces of 64 KB: never the whole file, and never the wide column.
    assert len(batches) > 20
    assert all(list(batch) == ["b"] for batch in batches)
    rows = pd.concat(batches)
    assert rows.index.tolist() == list(range(1, 5001))
    assert float(rows["b"].iloc[-1]) == 499.9


@pytest.mark.parametrize("name", ["a.parquet", "a.pq"])
def test_parquet_with_nested_values(tmp_path, name, monkeypatch):
    monkeypatch.setattr(formats, "_BATCH", 2)
    frame = pd.DataFrame(
        {"a": [1, 2, 3], "curve": [[{"acc": 0.1}, {"acc": 0.2}], [], [{"acc": 0.3}]]}
    )
    frame.to_parquet(tmp_path / name)
    table = open_file(tmp_path / name)
    assert table.columns == ("a", "curve")
    found = whole(table, "a", "curve[-1].acc")
    np.testing.assert_array_equal(
        found["curve[-1].acc"].astype(float), [0.2, np.nan, 0.3]
    )
    assert found.index.tolist() == [1, 2, 3]


def test_json_lines_and_arrays(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "_BATCH", 2)
    rows = [
        {"a": 1, "curve": [{"acc": 0.1}, {"acc": 0.4}], "config": {"lr": 1}},
        {"a": 2, "curve": []},
        {"b": 3, "list": [1, 2]},
    ]
    lines = "\n\n".join(json.dumps(row) for row in rows)
    for name, content in (
        ("a.jsonl", lines),
        ("a.json", json.dumps(rows)),
        ("b.json", lines),
        ("a.jsonl.gz", gzip.compress(lines.encode())),
    ):
        table = opened(tmp_path, name, content)
        assert table.columns == ("a", "curve[-1].acc", "config.lr", "b", "list[-1]")
        found = whole(table)
        assert found["curve[-1].acc"].tolist() == [0.4, None, None]
        assert found["list[-1]"].tolist() == [None, None, 2]
        assert whole(table, "curve[best].acc").iloc[:, 0].tolist() == [
            [0.1, 0.4], [], None,
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b", 1), ("a.c", None), ("a.b.c", None), ("list[0]", 5), ("list[-2]", 5),
        ("list[7]", None), ("list[best]", [5, 6]), ("a[0]", None), ("x.y", 9),
    ],
)  # fmt: skip
def test_following_a_path(path, value):
    assert follow(path, {"a": {"b": 1}, "list": [5, 6], "x.y": 9}) == value


def test_a_path_that_cannot_be_read():
    with pytest.raises(RecordsError, match="a path is names"):
        follow("a[x]", {"a": []})


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", b"a,b\n\xff\xfe,1\n", "CSV UTF-8"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "CSV UTF-8"),
        ("a.csv", b"a,b\n" + b"1,2\n" * 5000 + b"\xff,2\n", "CSV UTF-8"),
        ("a.csv", "a,b\n1,2\n3\n", "may have been cut off"),
        ("a.csv", 'a,b\n1,"2\n', "a quote is left open"),
        ("a.csv", "a,a\n1,2\n", "'a' twice"),
        ("a.csv.gz", gzip.compress(b"a,b\n" * 999, mtime=0)[:-20], "is whole"),
        ("a.csv.gz", b"no gzip at all", "is whole"),
        ("a.jsonl", '{"a": 1}\n{"a": ', "line 2"),
        ("a.json", '[{"a": 1}, {"a"', "may have been cut off"),
        ("a.jsonl", "3\n", "JSON object"),
        ("a.jsonl", "\n\n", "has none"),
        ("a.jsonl", b'{"a": "\xff"}', "JSON is UTF-8"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 999, mtime=0)[:-20], "is whole"),
        ("a.parquet", "no parquet", "is whole"),
        ("a.xlsx", "x", "the ending of what it is"),
        ("a", "x", "the ending of what it is"),
    ],
)
def test_what_cannot_be_read_is_one_message(tmp_path, name, content, says):
    assert says in refusal(tmp_path, name, content)


def test_a_parquet_file_cut_in_the_middle(tmp_path):
    frame = pd.DataFrame({"a": np.random.default_rng(0).normal(size=5000)})
    frame.to_parquet(tmp_path / "a.parquet")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[4:60] = b"\xff" * 56
    assert "is whole" in refusal(tmp_path, "b.parquet", bytes(content))


def test_a_file_that_went_away(tmp_path):
    table = opened(tmp_path, "a.csv", "a,b\n1,2\n")
    (tmp_path / "a.csv").unlink()
    with pytest.raises(RecordsError, match="is whole"):
        whole(table)
    with pytest.raises(RecordsError, match="no such file"):
        open_file(tmp_path / "a.csv")
    with pytest.raises(RecordsError, match="is a folder"):
        open_file(tmp_path)
