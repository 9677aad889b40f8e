"""What a profile declares, and what it refuses with the way out."""

import json

import pytest

from archtrial.errors import ProtocolError
from archtrial.experiments import profile
from archtrial.protocol import Arm

from . import profiled


def test_architectures_are_arms_as_everywhere():
    one = profiled.declared("mnist1d", architectures="cnn")
    assert [arm.name for arm in one.architectures] == ["cnn"]
    several = profiled.declared(
        "mnist1d", architectures=["mlp", "wide=mlp(width=9)", Arm.model_validate("cnn")]
    )
    assert [arm.name for arm in several.architectures] == ["mlp", "wide", "cnn"]
    assert several.architectures[1].options == {"width": 9}


def test_it_is_declared_again_from_what_it_says_of_itself():
    declared = profiled.declared("mnist1d", target_score=0.8)
    told = json.loads(json.dumps(declared.describe()))
    assert profile.Protocol(**told) == declared


def test_a_file_names_architectures_beside_itself(tmp_path):
    profiled.saved(tmp_path)
    (tmp_path / "profile.toml").write_text(
        'data = "rows.npz"\narchitectures = ["mlp", "own=net.py:Net"]\nonly = ["cost"]\n'
    )
    declared = profile.load(tmp_path / "profile.toml", seeds=7)
    assert declared.data == str(tmp_path / "rows.npz")
    assert declared.architectures[1].architecture == f"{tmp_path / 'net.py'}:Net"
    assert (declared.only, declared.seeds) == (("cost",), 7)
    (tmp_path / "trial.toml").write_text('baseline = "mlp"\nchallengers = ["cnn"]\n')
    with pytest.raises(ProtocolError, match=r"archtrial run .*trial\.toml"):
        profile.load(tmp_path / "trial.toml")


@pytest.mark.parametrize(
    ("changes", "rule", "way_out"),
    [
        (
            {"architectures": ()},
            "one or more architectures",
            "archtrial profile mlp cnn",
        ),
        ({"architectures": None}, "one or more architectures", "--data mnist1d"),
        ({"architectures": ("mlp", "mlp")}, "by their names", "second=mlp"),
        ({"architectures": ("mlp", "MLP=cnn")}, "whatever their case", "second=cnn"),
        ({"only": ("costs",)}, "a group of measures is one of", "--only cost"),
        ({"only": ()}, "one or more, each once", "Leave it out"),
        ({"only": ("cost", "cost")}, "one or more, each once", "Leave it out"),
        ({"learning_rates": (0.1, 0.01)}, "larger than the one before", "--learning"),
        ({"learning_rates": ()}, "larger than the one before", "--learning-rates"),
        ({"recipe": {"learning_rate": 0.1}}, "are tried", "--learning-rates 0.1"),
        ({"seeds": 5}, "takes 6 seeds", "--seeds 6"),
        ({"seeds": 6, "alpha": 0.01}, "takes 8 seeds", "seeds = 8"),
        ({"target_score": float("inf")}, "target_score", ""),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_way_out(changes, rule, way_out):
    with pytest.raises(ProtocolError) as refused:
        profiled.declared("mnist1d", **changes)
    assert rule in str(refused.value)
    assert way_out in str(refused.value)


def test_data_are_named():
    with pytest.raises(ProtocolError, match="--data mnist1d"):
        profile.Protocol(architectures="cnn")


@pytest.mark.parametrize(
    ("target", "meant"), [(80, "0.8"), (-0.1, "0.8"), (2e5, "0.8")]
)
def test_a_target_lies_where_scores_do(tmp_path, target, meant):
    data = profiled.saved(tmp_path)
    with pytest.raises(ProtocolError, match=f"--target-score {meant} "):
        profiled.begun(tmp_path / "study", data, target_score=target)
    assert not (tmp_path / "study").exists()
