"""What `judge` and a study really write is what the closed schemas describe.

Documents that were made by hand hide what the program does otherwise.
"""

import importlib.resources
import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from archtrial import Protocol, Study, judge
from archtrial.testing import KnownTruth, Surface

GOLDEN = Path(__file__).with_name("golden")


def schema(room):
    text = importlib.resources.files(room).joinpath("verdict.schema.json").read_text()
    return json.loads(text)


TRIAL = schema("archtrial.statistics")


def checked(judgement):
    """Returns a judgement's document, after the schema has seen it."""
    document = json.loads(judgement.verdict.to_json())
    jsonschema.Draft202012Validator(TRIAL).validate(document)
    assert judgement.page()
    return document


def objects(node):
    """Yields every description of an object in a schema."""
    if isinstance(node, dict):
        if node.get("type") == "object" or "properties" in node:
            yield node
        for child in node.values():
            yield from objects(child)
    elif isinstance(node, list):
        for child in node:
            yield from objects(child)


@pytest.mark.parametrize(
    "room", ["archtrial.statistics", "archtrial.experiments.relax"]
)
def test_the_schemas_are_closed(room):
    found = schema(room)
    jsonschema.Draft202012Validator.check_schema(found)
    # What a user names, such as hyperparameters, is anybody's; its values are typed,
    # or, of a configuration, whatever a hyperparameter may be.
    for described in objects(found):
        if "properties" in described:
            assert described["additionalProperties"] is False
        else:
            assert (
                "additionalProperties" in described
                or "tuned" in described["description"]
            )


def table(tmp_path, gain, n=32, spread=0.02, noise=0.002, arms="AB"):
    """Writes runs of arms with one draw, of which each is better than the one before."""
    generator = np.random.default_rng(3)
    rows = ["arm,pair,seed,val_score,test_score"]
    for pair in range(n):
        height = generator.normal(scale=spread)
        for i, arm in enumerate(arms):
            for seed in range(2):
                scores = 0.8 + i * gain + height + generator.normal(scale=noise, size=2)
                rows.append(f"{arm},{pair},{seed},{scores[0]:.6f},{scores[1]:.6f}")
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("verdict", "made", "declared"),
    [
        ("architecture", {"gain": 0.04}, {}),
        ("baseline", {"gain": -0.04}, {}),
        ("equivalent", {"gain": 0.0}, {"margin": 0.005}),
        ("tuning", {"gain": 0.0}, {"published": {"A": 0.70, "B": 0.75}}),
        ("tuning", {"gain": 0.004, "n": 64, "noise": 0.0005}, {"margin": 0.003}),
        ("inconclusive", {"gain": 0.012, "n": 16, "noise": 0.02}, {}),
        ("inconclusive", {"gain": 0.1, "n": 4}, {}),
        ("not_assessable", {"gain": 0.04, "n": 8}, {"effort": 4}),
    ],
)  # fmt: skip
def test_every_verdict_of_a_table_fits_the_schema(tmp_path, verdict, made, declared):
    path = table(tmp_path, **made)
    found = judge.judge_sources([path], baseline="A", **declared)
    document = checked(found)
    assert document["comparisons"][0]["verdict"] == verdict


def test_several_arms_and_a_model_of_the_ceiling_fit_the_schema(tmp_path):
    path = table(tmp_path, 0.03, n=16, arms="ABC")
    document = checked(judge.judge_sources([path], baseline="A", ceilings=True))
    assert set(document["study"]["ceilings"]) == {"A", "B", "C"}


@pytest.mark.parametrize("release", sorted(p.name for p in GOLDEN.iterdir()))
def test_studies_of_old_releases_fit_the_schema(tmp_path, release):
    shutil.copytree(GOLDEN / release, tmp_path / "study")
    checked(judge.judge_study(tmp_path / "study"))


@pytest.mark.parametrize(
    "more", [{"looks": (16, 32)}, {"ladder": (1, 2)}, {"challengers": ["tweak", "odd"]}]
)
def test_studies_of_ours_fit_the_schema(tmp_path, more):
    trainer = KnownTruth(
        {
            "plain": Surface(peak=0.80, lag=20.0),
            "tweak": Surface(peak=0.83),
            "odd": Surface(peak=0.81),
        }
    )
    protocol = Protocol(
        data="known truth", baseline="plain",
        space=dict(trainer.space), **{"challengers": ["tweak"], "configurations": 32, "steps": 1000, **more},
    )  # fmt: skip
    study = Study(protocol, tmp_path / "s", trainer=trainer)
    study.run()
    document = checked(study.judgement)
    assert ("looks" in document["study"]) == ("looks" in more)
    assert (document["study"]["winner"] is None) == ("challengers" not in more)
