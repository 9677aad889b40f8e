"""Several problems in one table, each judged by itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from archtrial import judge
from archtrial.errors import ProtocolError, RecordsError
from archtrial.judge.each import judge_each
from archtrial.statistics import holm

VARIANTS = Path(
    os.environ.get("ARCHTRIAL_DATA")
    or Path(__file__).resolve().parents[2] / "shared" / "data"
).joinpath("tuning_records", "algoperf_variants", "trials.csv.gz")


def rows(problem, metric, gain, *, scale=1.0, sign=1, arms=None, n=32, seed=0):
    """Returns the rows of a baseline and a tweak of it that gains so much."""
    generator = np.random.default_rng(seed)
    plain, tweak = arms or (problem, f"{problem}_tweak")
    for pair in range(n):
        height = generator.normal(scale=0.02)
        for arm, top in ((plain, 0.8), (tweak, 0.8 + gain)):
            for fresh in range(2):
                noise = generator.normal(scale=0.002, size=2)
                found = scale * (top + height + noise)
                if sign < 0:
                    found = 1.0 - found
                yield f"{problem},{arm},{metric},{pair},{fresh},{found[0]:.6f},{found[1]:.6f}"


def table(folder, *parts, header="base,arm,metric,pair,seed,validation,test"):
    path = folder / "runs.csv"
    path.write_text("\n".join([header, *(row for part in parts for row in part)]))
    return path


@pytest.fixture
def three(tmp_path):
    """Accuracy that gains, an error that gains, and BLEU, of a hundred, that loses."""
    return table(
        tmp_path,
        rows("digits", "accuracy", 0.04),
        rows("speech", "wer", 0.03, sign=-1, seed=1),
        rows("wmt", "bleu", -0.05, scale=100, seed=2),
    )


def test_each_problem_has_the_verdict_that_it_has_alone(three):
    found, problems = judge_each(
        [three], "base", baseline="{base}", margin=0.01, margins={"wmt": 0.5}
    )
    document = found.verdict.to_dict()
    assert [p["value"] for p in document["problems"]] == ["digits", "speech", "wmt"]
    for entry, margin in zip(document["problems"], (0.01, 0.01, 0.5), strict=True):
        alone = judge.judge_sources(
            [three],
            baseline=entry["value"],
            where=[f"base={entry['value']}"],
            margin=margin,
        )
        assert entry["comparisons"] == alone.verdict.to_dict()["comparisons"]
    verdicts = [p["comparisons"][0]["verdict"] for p in document["problems"]]
    assert verdicts == ["architecture", "architecture", "baseline"]
    assert document["verdict"] == "mixed"
    assert document["sentence"].startswith(
        "Of 3 challengers, 2 are better by architecture (digits_tweak and speech_tweak);"
        " 1 is worse (wmt_tweak)."
    )
    assert [p.metric.higher_is_better for p in problems] == [True, False, True]


def test_p_is_adjusted_over_all_problems(tmp_path):
    path = table(
        tmp_path,
        *(rows(f"p{i}", "accuracy", gain, seed=i) for i, gain in enumerate((0, 0.003))),
        rows("p2", "accuracy", 0.04, seed=2),
    )
    found, _ = judge_each([path], "base", baseline="{base}", margin=0.01)
    entries = found.verdict.to_dict()["problems"]
    alone = [e["comparisons"][0]["p_value"] for e in entries]
    assert [e["p_values_over_all"][0] for e in entries] == holm(alone)


def test_p_of_several_challengers_is_adjusted_once(tmp_path):
    """Adjusted for the two of a problem first, it would be 2 x 3 times as large."""
    path = table(
        tmp_path,
        rows("p0", "accuracy", 0.004, arms=("mlp", "cnn"), seed=1),
        (r for r in rows("p0", "accuracy", 0.0, arms=("mlp", "rnn"), seed=1) if "rnn" in r),
        rows("p1", "accuracy", 0.004, arms=("mlp", "cnn"), seed=2),
    )  # fmt: skip
    found, _ = judge_each([path], "base", baseline="mlp", margin=0.01)
    entries = found.verdict.to_dict()["problems"]
    alone = [c["p_value"] for e in entries for c in e["comparisons"]]
    assert len(alone) == 3
    assert [p for e in entries for p in e["p_values_over_all"]] == holm(alone)


def test_challengers_that_begin_with_two_problems_are_two(tmp_path):
    path = table(
        tmp_path,
        rows("cifar10", "accuracy", 0.04, arms=("plain", "cifar100_net")),
        rows("cifar100", "accuracy", 0.04, arms=("plain", "cifar100_net"), seed=3),
    )
    found, _ = judge_each([path], "base", baseline="plain", margin=0.01)
    said = found.verdict.to_dict()["sentence"]
    assert "(cifar10: cifar100_net and cifar100: cifar100_net)" in said
    assert "2 gains, 2 differ" in found.page()


def test_a_claim_that_does_not_hold_over_all_is_said(tmp_path):
    """Of ten problems, one that is told apart by p = .02 alone."""
    from archtrial.judge.each import _sentence

    found = {
        f"p{i}": {"challenger": f"p{i}", "verdict": "inconclusive", "alpha": 0.05}
        for i in range(9)
    }
    found["one"] = {"challenger": "one", "verdict": "architecture", "alpha": 0.05}
    said = _sentence(found, [1.0] * 9 + [0.2])
    assert "the one that is told apart does not remain so when" in said
    said = _sentence(found, [1.0] * 9 + [0.001])
    assert "the one that is told apart remains so when" in said


@pytest.mark.parametrize(
    ("overall", "said"),
    [
        ([0.2] * 3, "of the 3 that are told apart, none remains so"),
        ([0.2, 0.2, 0.01], "of the 3 that are told apart, 1 remains so"),
        ([0.01, 0.2, 0.01], "of the 3 that are told apart, 2 remain so"),
        ([0.01] * 3, "of the 3 that are told apart, all remain so"),
    ],
)
def test_how_many_claims_hold_over_all(overall, said):
    from archtrial.judge.each import _sentence

    one = {"challenger": "c", "verdict": "baseline", "alpha": 0.05}
    assert said in _sentence({f"p{i}": one for i in range(3)}, overall)


def test_one_baseline_of_all_problems_and_several_challengers(tmp_path):
    parts = [
        [
            *rows(name, "accuracy", 0.04, arms=("mlp", "cnn"), seed=i),
            *(
                row
                for row in rows(name, "accuracy", -0.04, arms=("mlp", "rnn"), seed=i)
                if ",rnn," in row
            ),
        ]
        for i, name in enumerate(("digits", "letters"))
    ]
    path = table(tmp_path, *parts)
    found, _ = judge_each([path], "base", baseline="mlp", margin=0.01)
    said = found.verdict.to_dict()["sentence"]
    assert "digits: cnn" in said
    assert "letters: rnn" in said
    assert [column.heading for column in found.article.brief.columns][:2] == [
        "base",
        "challenger",
    ]
    only, _ = judge_each(
        [path], "base", baseline="mlp", challengers=["cnn"], where=["base=digits"]
    )
    assert len(only.verdict.to_dict()["problems"]) == 1
    assert (
        only.verdict.to_dict()["sentence"]
        == "1 is better by architecture (digits: cnn)."
    )


def test_a_page_shows_gains_in_margins(three):
    found, _ = judge_each(
        [three], "base", baseline="{base}", margin=0.01, margins={"wmt": 0.5}
    )
    page = found.page()
    assert "gain of the challenger, in margins" in page
    assert "wmt_tweak" in page
    assert "speech" in page


@pytest.mark.parametrize(
    ("given", "says", "way_out"),
    [
        (["--baseline", "digits"], "base=speech: .*has no arm 'digits'", ""),
        (
            [],
            "base=digits: a comparison needs a baseline: .* has the arms",
            "--baseline '{base}'",
        ),
        (["--each", "bas"], "it has no 'bas'", "base"),
        (["--baseline", "{base}", "--margin-of", "wmd=.5"], "one of the problems", ""),
        (["--baseline", "{base}", "--margin-of", "wmt"], "PROBLEM=MARGIN", "wmt=.2"),
        (["--baseline", "{base}", "--ceiling"], "--ceiling is of one", "--where base="),
        (["--baseline", "{base}", "--margin", "2"], "base=digits", ""),
        (["--baseline", "{bse}"], "may have {base} in its name", "Write {base}"),
        (["--each", "validation"], "up to 200 problems|baseline", ""),
    ],
)
def test_a_mistake_is_one_message(three, given, says, way_out):
    import re

    told = given if "--each" in given else ["--each", "base", *given]
    done = call("judge", three, *told)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(says, done.stderr), done.stderr
    assert way_out in done.stderr


def test_a_margin_of_one_problem_needs_problems(three):
    done = call("judge", three, "--margin-of", "wmt=.5", "--baseline", "wmt")
    assert done.returncode == 2
    assert "--each COLUMN" in done.stderr


def test_the_command_prints_what_the_function_finds(three, tmp_path):
    page = tmp_path / "page.html"
    given = ["judge", three, "--each", "base", "--baseline", "{base}", "--margin-of"]
    done = call(*given, "wmt=.5", "--report", page)
    assert done.returncode == 0, done.stderr
    assert "2 are better by architecture" in " ".join(done.stdout.split())
    assert page.read_text().startswith("<!")
    printed = json.loads(call(*given, "wmt=.5", "--json").stdout)
    found, _ = judge_each([three], "base", baseline="{base}", margins={"wmt": 0.5})
    assert printed == found.verdict.to_dict()


def call(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "archtrial.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("each", [["--each", "base"], ["--where", "base=digits"]])
def test_a_note_is_said_with_the_verdict(three, tmp_path, each):
    page, said = tmp_path / "page.html", "The settings were chosen by hand."
    baseline = "{base}" if "--each" in each else "digits"
    given = [*each, "--baseline", baseline, "--margin-of", "wmt=.5"]
    given = given if "--each" in each else given[:-2]
    done = call("judge", three, *given, "--note", said, "--report", page)
    assert done.returncode == 0, done.stderr
    assert said in " ".join((done.stdout + done.stderr).split())
    assert said in page.read_text()


def test_rows_without_a_problem_are_said(three):
    lines = three.read_text().splitlines()
    lines[3] = lines[3].replace("digits", "", 1)
    lines[4] = lines[4].replace("digits", "nan", 1)
    three.write_text("\n".join(lines))
    found, problems = judge_each([three], "base", baseline="{base}", margin=0.01)
    assert [p.value for p in problems] == ["digits", "speech", "wmt"]
    assert "Left out: 2 rows without a value of base." in found.article.notes


def test_a_problem_without_a_verdict_is_named(tmp_path):
    path = table(
        tmp_path,
        rows("digits", "accuracy", 0.04),
        (row for row in rows("letters", "accuracy", 0.04) if "_tweak" not in row),
    )
    with pytest.raises(RecordsError, match="base=letters: "):
        judge_each([path], "base", baseline="{base}")
    with pytest.raises(ProtocolError, match="one of the problems, digits"):
        judge_each([path], "base", baseline="{base}", margins={"x": 1.0})


@pytest.mark.skipif(not VARIANTS.exists(), reason=f"no records at {VARIANTS}")
def test_six_small_changes_at_the_scale_of_imagenet():
    """As examples/small_changes says."""
    found, _ = judge_each(
        [VARIANTS],
        "base",
        baseline="{base}",
        margin=0.002,
        margins={"wmt": 0.2},
        effort=6,
    )
    by_name = {
        p["value"]: p["comparisons"][0] for p in found.verdict.to_dict()["problems"]
    }
    worse = {
        n: c["effect"]["estimate"]
        for n, c in by_name.items()
        if c["verdict"] == "baseline"
    }
    assert worse == pytest.approx(
        {"fastmri": -0.0092, "ogbg": -0.0149, "criteo1tb": -0.0115}, abs=5e-5
    )
    others = {c["verdict"] for n, c in by_name.items() if n not in worse}
    assert others == {"inconclusive"}
