import math

import pytest

from archtrial.errors import RecordsError
from archtrial.records.importers import read_csv

HEAD = "arm,pair,seed,validation,test\n"


def write(tmp_path, text):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    return path


def test_the_first_row_is_the_search_and_later_ones_are_fresh_seeds(tmp_path):
    path = write(
        tmp_path,
        HEAD + "a,p7,42,.8,.7\na,p7,43,.81,.72\nb,p7,42,.6,.5\na,p9,42,.5,.4\n",
    )
    runs = read_csv(path)
    assert [(r.arm, r.pair, r.seed, r.stage) for r in runs] == [
        ("a", 0, 0, "search"),
        ("a", 0, 1, "confirm"),
        ("b", 0, 0, "search"),
        ("a", 1, 0, "search"),
    ]
    assert (runs[1].validation, runs[1].test) == (0.81, 0.72)


@pytest.mark.parametrize("score", ["", " ", "nan", "inf", "-inf"])
def test_a_score_that_is_none_means_diverged(tmp_path, score):
    for row in (f"a,0,0,{score},.5", f"a,0,0,.5,{score}"):
        (run,) = read_csv(write(tmp_path, HEAD + row + "\n"))
        assert run.diverged
        assert math.isnan(run.validation)
        assert math.isnan(run.test)


def test_a_table_without_test_scores(tmp_path):
    (run,) = read_csv(write(tmp_path, "arm,pair,seed,validation\na,0,0,.5\n"))
    assert run.test is None
    assert not run.diverged


def test_a_mark_at_the_beginning_and_more_columns_do_no_harm(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_bytes(b"\xef\xbb\xbf" + b"note,arm,pair,seed,validation\nhm,a,0,0,.5\n")
    assert len(read_csv(path)) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (HEAD, "header alone"),
        ("arm,pair,seeds,validation\na,0,0,1\n", "Rename 'seeds' to 'seed'"),
        ("x,y\n1,2\n", "a column 'arm'"),
        (HEAD + "a,0,0,good,.5\n", "line 2, validation: 'good'"),
        (HEAD + "a,0,0,.5\n", "line 2: not 5 values"),
        (HEAD + "a,0,0,.5,.5,.5\n", "line 2: not 5 values"),
        (HEAD + "a,0,0,.5,.5\na,0,0,.6,.6\n", "line 3: arm a, pair 0, seed 0 again"),
        (HEAD + 'a,0,0,"5,.5\n', "CSV in UTF-8"),
    ],
)
def test_mistakes_are_one_message_with_the_line(tmp_path, text, says):
    with pytest.raises(RecordsError) as caught:
        read_csv(write(tmp_path, text))
    assert says in str(caught.value)


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(RecordsError, match="no such file"):
        read_csv(tmp_path / "nope.csv")
    with pytest.raises(RecordsError, match="is a folder"):
        read_csv(tmp_path)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(RecordsError, match="UTF-8"):
        read_csv(tmp_path / "binary.csv")
