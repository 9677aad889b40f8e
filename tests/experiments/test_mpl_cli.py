"""`archtrial mpl`: what is printed, what is refused and what can be typed then."""

import json
import re
import shlex

import numpy as np
import pytest

TINY = [
    "--architecture", "mlp(depth=1, width=6)", "--steps", 10, "--batch-size", 10,
    "--configurations", 4, "--effort", 1, "--confirm-seeds", 1,
]  # fmt: skip
TWO = ["--procedure", "supervised", "--procedure", "uda"]


@pytest.fixture
def archtrial(archtrial, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where a study lies that nobody named a folder for
    return archtrial


@pytest.fixture
def table(tmp_path):
    numbers = np.random.default_rng(0)
    rows = [
        f"{a:.3f},{b:.3f},{'xyz'[i % 3]}"
        for i, (a, b) in enumerate(numbers.normal(size=(120, 2)))
    ]
    (tmp_path / "t.csv").write_text("a,b,kind\n" + "\n".join(rows) + "\n")
    return tmp_path / "t.csv"


def test_a_dry_run_says_its_cost_and_leaves_nothing(archtrial, tmp_path):
    status, out, err = archtrial("mpl", "mnist1d", *TINY, "--dry-run", "--study", "s")
    assert status == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert [line[0] for line in lines] == [
        "supervised", "augmented", "pseudo_labels", "uda", "mpl", "mpl_h0", "mpl_negated",
    ]  # fmt: skip
    assert "Each training sees 400 of 3,200 labels" in err
    assert not (tmp_path / "s").exists()
    status, out, _ = archtrial("mpl", *TINY, *TWO, "--dry-run", "--json")
    found = json.loads(out)
    assert found["protocol"]["labels"] == 400
    assert set(found["forecast"]) == {"supervised", "uda"}


def test_a_study_ends_and_goes_on_by_its_folder_alone(archtrial, tmp_path):
    command = ["mpl", "mnist1d", *TINY, *TWO, "--labels", 30, "--workers", 1]
    status, out, err = archtrial(*command, "--study", "s")
    assert status == 0, err
    assert "Against labels alone" in " ".join(out.split())
    status, again, err = archtrial("mpl", "--study", "s", "--workers", 1, "--json")
    assert status == 0, err
    assert json.loads(again) == json.loads(
        (tmp_path / "s" / "verdict.json").read_text()
    )
    status, out, _ = archtrial("status", "s")
    assert status == 0
    for figure in ("gains", "curves"):
        status, _, err = archtrial(
            "report", "s", "--figure", figure, "--output", f"{figure}.svg"
        )
        assert status == 0, err
        assert (tmp_path / f"{figure}.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("more", "said", "typed"),
    [
        (["--labels", 5], "none is of class", r"--labels \d+"),
        (["--labels", 9999], "3,200 training rows", r"--labels \d+"),
        (["--effort", 2], "quarter of the configurations", r"--configurations \d+"),
    ],
)
def test_a_number_that_is_typed_as_it_is_said_works(archtrial, more, said, typed):
    command = ["mpl", "mnist1d", *TINY, *TWO, "--dry-run"]
    status, _, err = archtrial(*command, *more)
    assert status == 2
    assert said in err
    way_out = shlex.split(re.search(typed, err)[0])
    kept = more if way_out[0] != more[0] else []
    status, _, err = archtrial(*command, *kept, *way_out)
    assert status == 0, err


def test_data_without_known_changes_have_two_ways_out(archtrial, table):
    command = ["mpl", table, *TINY, "--labels", 20, "--dry-run"]
    status, _, err = archtrial(*command)
    assert status == 2
    assert "of which nobody knows such a change" in err
    for way_out in (
        r"--strong noise",
        r"--procedure supervised --procedure pseudo_labels",
    ):
        assert way_out in err
        status, _, err_of = archtrial(*command, *way_out.split())
        assert status == 0, err_of


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digits"], "--labels 1000"),
        (["diabetes", "--labels", 40], "pseudo labels are of classes"),
        (["mnist1d", "--strong", "blur"], "strong"),
        (["mnist1d", "--weak", "flip"], "Take 'flip' out of --weak"),
        (["mnist1d", "--procedure", "nope"], "mpl_negated"),
        (["mnist1d", "--procedure", "uda"], "two procedures or more"),
        (["mnist1d", "--unlabelled", "none.npz"], "none.npz"),
        (["mnist1d", "--architecture", "sklearn:LogisticRegression"], "sklearn"),
    ],
)
def test_mistakes_are_one_message(archtrial, arguments, said):
    own = TINY[2:] if "--architecture" in arguments else TINY
    status, _, err = archtrial("mpl", *arguments, *own, "--dry-run")
    assert status == 2
    assert said in err
    assert "Traceback" not in err


def test_examples_that_choose_or_test_are_no_unlabelled_ones(archtrial, tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 12)).astype(np.float32)
    y = np.arange(60) % 3
    np.savez(tmp_path / "d.npz", x=x[:40], y=y[:40], x_test=x[40:], y_test=y[40:])
    np.savez(tmp_path / "more.npz", x=x[50:])
    command = ["mpl", "d.npz", *TINY, "--strong", "noise", *TWO, "--dry-run"]
    status, _, err = archtrial(*command, "--unlabelled", "more.npz")
    assert status == 2
    assert "test examples" in err
    np.savez(tmp_path / "others.npz", x=x[50:] + 1)
    status, _, err = archtrial(*command, "--unlabelled", "others.npz")
    assert status == 0, err
    assert "examples without labels" in err


def test_texts_are_read_by_procedures_that_change_nothing(archtrial, tmp_path):
    """What each message says to type is typed, up to what works."""
    rows = [
        f"{'good fine' if i % 2 else 'bad poor'} word{i},{i % 2}" for i in range(90)
    ]
    (tmp_path / "texts.csv").write_text("text,label\n" + "\n".join(rows))
    command = ["mpl", tmp_path / "texts.csv", "--labels", "20", "--dry-run"]
    status, _, err = archtrial(*command)
    assert status == 2
    assert "--text text" in err
    command += ["--text", "text"]
    status, _, err = archtrial(*command)
    assert status == 2
    assert "cnn multiplies inputs" in err
    assert "lstm" in err
    command += ["--architecture", "lstm(width=4)"]
    status, _, err = archtrial(*command)
    assert status == 2
    assert "Leave such procedures out: " in err
    command += err.partition("out: ")[2].strip().rstrip(".").split()
    status, out, err = archtrial(*command)
    assert status == 0, err
    assert [line.split()[0] for line in out.splitlines()] == [
        "supervised",
        "pseudo_labels",
    ]


def test_a_recipe_that_a_procedure_cannot_follow_is_refused_before_anything(
    archtrial, tmp_path
):
    (tmp_path / "p.toml").write_text(
        'data = "mnist1d"\nprocedures = ["supervised", "uda"]\n[recipe]\naccumulate = 2\n'
    )
    status, _, err = archtrial("mpl", tmp_path / "p.toml", "--study", tmp_path / "s")
    assert status == 2
    assert "the procedure 'uda' takes a batch as a whole: accumulate = 2" in err
    assert not (tmp_path / "s").exists()
