"""`archtrial choose`: what is printed, what is refused, and what a folder goes on with."""

import json

import pytest

from . import chosen


@pytest.fixture
def archtrial(archtrial, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where a study lies that nobody named a folder for
    return archtrial


@pytest.fixture
def data(tmp_path):
    return chosen.saved(tmp_path)


SMALL = ["--arm", "linear", "--arm", "mlp(depth=2,width=24)", "--steps", 40,
         "--margin", ".05", "--workers", 1]  # fmt: skip


def test_a_dry_run_says_what_the_time_pays_for_and_leaves_nothing(
    archtrial, data, tmp_path
):
    with chosen.quick():
        status, _, err = archtrial(
            "choose", data, *SMALL, "--budget", "10m", "--dry-run", "--study", "s"
        )
        assert status == 0
        assert "The time of 10 min pays for 2 arms: linear and mlp" in " ".join(
            err.split()
        )
        assert not (tmp_path / "s").exists()
        status, out, _ = archtrial(
            "choose", data, *SMALL, "--budget", "10m", "--dry-run", "--json"
        )
    assert status == 0
    assert json.loads(out)["protocol"]["plan"]["looks"] == [16, 32]


def test_it_recommends_and_goes_on_from_its_folder(archtrial, data, tmp_path):
    with chosen.quick():
        status, out, _ = archtrial("choose", data, *SMALL, "--study", "s")
    assert status == 0
    assert "Start with mlp" in out
    assert "not tuned" in out
    assert "page: s/report.html" in out
    # All of it is there: nothing is measured, and nothing is trained.
    status, again, _ = archtrial("choose", "--study", "s")
    assert status == 0
    assert again == out
    assert archtrial("report", "s")[0] == 0
    status, found, _ = archtrial("choose", "--study", "s", "--json")
    assert json.loads(found)["arm"] == "mlp(depth=2, width=24)"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope.csv"], "nope.csv"),
        (["digits", "--budget", "soon"], "--budget 30m"),
        (["digits", "--effort", "3"], "effort"),
        (["digits", "--arm", "linear"], "two arms"),
        (["digits", "--max-parameters", "1"], "--max-parameters"),
        (["digits", "--margin", "5"], "margin"),
    ],
)
def test_a_mistake_is_one_message(archtrial, arguments, says):
    status, _, err = archtrial("choose", *arguments)
    assert status == 2
    assert says in err
    assert "Traceback" not in err


def test_a_budget_that_is_too_small_says_which_is_not(archtrial, data):
    with chosen.quick(seconds=0.05):
        status, _, err = archtrial("choose", data, *SMALL, "--budget", "20s")
        assert status == 2
        written = " ".join(err.split()).partition("Write ")[2].split()[:2]
        assert archtrial("choose", data, *SMALL, *written, "--dry-run")[0] == 0
