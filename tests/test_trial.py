"""Studies of real modules on real data, small."""

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import archtrial
from archtrial import trial
from archtrial.errors import ArmError, DataError, ProtocolError, UserError
from archtrial.protocol import Protocol
from archtrial.records.store import Store
from archtrial.study import Study

SMALL = Protocol(
    data="digits",
    baseline={
        "architecture": "mlp",
        "space": {"width": [8, 16], "dropout": [0.0, 0.3]},
    },
    challengers=[{"architecture": "cnn", "space": {"width": [4]}}],
    configurations=4,
    effort=1,
    steps=12,
    margin=0.05,
)

NET = """
import torch

class Net(torch.nn.Module):
    space = {"width": [4, 8]}

    def __init__(self, input_shape, num_outputs, width=4, skip=False):
        super().__init__()
        inputs = input_shape.numel() if hasattr(input_shape, "numel") else 1
        for side in input_shape:
            inputs *= side
        self.hidden = torch.nn.Linear(inputs, width)
        self.drop = torch.nn.Dropout(0.1)
        self.out = torch.nn.Linear(width, num_outputs)
        self.skip = skip

    def forward(self, x):
        h = torch.relu(self.hidden(x.flatten(1)))
        return self.out(self.drop(h + 1 if self.skip else h))


class Branching(Net):
    def forward(self, x):
        return super().forward(x) * (2 if float(x.sum()) > 0 else 1)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    study = Study(SMALL, tmp_path_factory.mktemp("digits"))
    study.run()
    return study


def test_two_workers_give_the_same_bytes(finished, tmp_path):
    two = Study(SMALL, tmp_path).run(workers=2)
    assert two.to_json() == finished.verdict.to_json()


def test_torch_threads_outside_change_nothing(finished, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = Study(SMALL, tmp_path).run()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert again.to_json() == finished.verdict.to_json()


def test_global_generators_are_left_as_they_were(tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - what is looked at
    Study(SMALL.replace(steps=2), tmp_path).run()
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_no_path_clock_or_machine_stands_in_the_verdict(finished, tmp_path):
    text = (finished.folder / "verdict.json").read_text()
    assert str(finished.folder) not in text
    assert "seconds" not in text
    assert time.strftime("%Y-%m") not in text


def test_test_labels_are_opened_by_the_study_alone(finished):
    # What is sent to those who train has no test targets.
    sent = [field.name for field in dataclasses.fields(finished.trial.problem)]
    assert "x_test" in sent
    assert "y_test" not in sent
    with Store(finished.folder, read_only=True) as store:
        runs, sealed = store.runs(), store.sealed()
    assert runs
    assert not sealed  # all of them are opened
    for run in runs:
        assert run.test == pytest.approx(np.mean(run.per_example))
    assert finished.judgement.verdict.to_dict()["study"]["arms"][0]["default"]


def test_the_tuned_model_is_kept_and_loads(finished):
    for arm in ("mlp", "cnn"):
        model = archtrial.load_tuned(finished.folder, arm)
        with Store(finished.folder, read_only=True) as store:
            runs = store.runs()
        kept = json.loads((finished.folder / "tuned" / f"{arm}.json").read_text())
        (run,) = (
            r
            for r in runs
            if (r.arm, r.seed, r.stage) == (arm, kept["seed"], "confirm")
            and r.configuration == kept["configuration"]
        )
        inputs = torch.from_numpy(finished.trial.split.x_validation)
        outputs = model.module(inputs)
        right = outputs.argmax(1).numpy() == finished.trial.split.y_validation
        assert right.mean() == pytest.approx(run.validation)
    assert sorted(p.name for p in (finished.folder / "tuned").iterdir()) == [
        "cnn.json",
        "cnn.safetensors",
        "mlp.json",
        "mlp.safetensors",
    ]


def test_loading_what_is_not_there(finished, tmp_path):
    with pytest.raises(UserError, match="tuned model of 'rnn'"):
        archtrial.load_tuned(finished.folder, "rnn")
    with pytest.raises(ArmError, match="fit its architecture"):
        archtrial.load_tuned(finished.folder, "mlp", "cnn")


def test_a_users_module_its_source_and_its_tweak(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    spec = f"{tmp_path}/net.py:Net"
    protocol = SMALL.replace(
        baseline=f"plain={spec}", challengers=[f"skip={spec}(skip=true)"]
    )
    study = Study(protocol, tmp_path / "study")
    assert study.trial.trainer.stacks == {"plain": True, "skip": True}
    study.run(workers=2)
    resolved = json.loads((tmp_path / "study" / "protocol.json").read_text())
    assert "self.hidden" in resolved["baseline"]["source"]
    assert resolved["baseline"]["architecture"] == "net.py:Net"
    assert str(tmp_path) not in json.dumps(resolved)
    model = archtrial.load_tuned(study.folder, "skip")
    assert model.skip
    # A changed source is another protocol.
    (tmp_path / "net.py").write_text(NET.replace("h + 1", "h + 2"))
    with pytest.raises(UserError, match="source"):
        Study(protocol, tmp_path / "study").run()


def test_a_module_that_cannot_stack_trains_alone_and_says_why(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    protocol = SMALL.replace(
        baseline=f"{tmp_path}/net.py:Net", challengers=[f"{tmp_path}/net.py:Branching"]
    )
    study = Study(protocol, tmp_path / "study")
    assert study.trial.trainer.stacks == {"Net": True, "Branching": False}
    assert any("Branching trains one run at a time" in note for note in study.notes)
    study.run()


def test_classes_given_in_python(tmp_path):
    class Plain(torch.nn.Module):
        def __init__(self, input_shape, num_outputs, width=4):
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Flatten(), torch.nn.LazyLinear(width), torch.nn.ReLU(),
                torch.nn.Linear(width, num_outputs),
            )  # fmt: skip

        def forward(self, x):
            return self.layers(x)

    protocol = SMALL.replace(
        baseline=Plain, challengers=[archtrial.Arm(name="wide", architecture=Plain, options={"width": 8})]
    )  # fmt: skip
    study = Study(protocol, tmp_path)
    study.run()
    assert "LazyLinear" in study.trial.resolved["baseline"]["source"]
    loaded = archtrial.load_tuned(tmp_path, "wide", Plain)
    assert loaded.layers[1].out_features == 8


def test_runs_of_one_structure_share_a_fleet_whatever_their_rates(tmp_path):
    # Of four draws, those of one width may have one dropout.
    study = Study(SMALL.replace(configurations=16), tmp_path)
    tasks = study.trial.trainer.divide(study._plan_search(study.trial.arms, 1))
    for task in tasks:
        assert len({item.arm for item in task}) == 1
        assert len({item.configuration.get("width") for item in task}) == 1
    mlp = [task for task in tasks if task[0].arm == "mlp"]
    assert any(len({i.configuration.get("dropout") for i in task}) > 1 for task in mlp)


def test_fleets_are_divided_evenly(finished):
    items = [
        item
        for item in finished._plan_search(finished.trial.arms, 1) * 10
        if item.arm == "cnn" and item.stage == "search"
    ]
    assert [len(t) for t in finished.trial.trainer.divide(items)] == [13, 13, 14]


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"device": "cuda"}, ProtocolError, "no GPU"),
        ({"device": "tpu"}, ProtocolError, "cpu or cuda"),
        ({"device": "mps"}, ProtocolError, "cpu or cuda"),
        ({"metric": "r2"}, ProtocolError, "metric of regression"),
        ({"metric": "acuracy"}, ProtocolError, "accuracy"),
        ({"data": "digts"}, DataError, "digits"),
        ({"space": {"widht": [1, 2]}}, ArmError, "'widht'"),
        ({"baseline": "mpl"}, ArmError, "mlp"),
    ],
)
def test_mistakes_come_before_anything_is_trained(changes, kind, says):
    if changes.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(kind) as caught:
        trial.prepare(SMALL.replace(**changes))
    assert says in str(caught.value)


def test_a_shared_dimension_is_searched_where_it_is_taken(tmp_path):
    protocol = SMALL.replace(
        baseline="linear",
        space={
            "learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
            "dropout": {"low": 0.0, "high": 0.5},
            "momentum": {"low": 0.5, "high": 0.95},
        },
    )
    study = Study(protocol, tmp_path)
    assert set(study.trial.spaces["linear"]) == {"learning_rate", "momentum"}
    assert set(study.trial.spaces["cnn"]) == {
        "learning_rate", "dropout", "momentum", "width",
    }  # fmt: skip
    assert any("linear does not take dropout" in note for note in study.notes)


def test_what_is_declared_nearest_to_an_arm_is_what_it_searches(tmp_path):
    protocol = SMALL.replace(
        baseline="mlp",
        challengers=[{"architecture": "cnn", "space": {"width": [3]}}],
        space={"width": [5, 6], "learning_rate": [1e-3, 1e-2]},
    )
    spaces = trial.prepare(protocol).spaces
    # mlp: the shared width before its own; depth and dropout are still its own.
    assert spaces["mlp"]["width"].options == (5, 6)
    assert set(spaces["mlp"]) == {"width", "learning_rate", "depth", "dropout"}
    assert spaces["cnn"]["width"].options == (3,)
    assert set(spaces["cnn"]) == {"width", "learning_rate"}
    nothing = protocol.replace(baseline={"architecture": "mlp", "space": {}})
    assert set(trial.prepare(nothing).spaces["mlp"]) == {"width", "learning_rate"}


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"learning_rate": {"low": -1.0, "high": 0.1}}, "learning_rate"),
        ({"learning_rate": ["a", "b"]}, "training, a number"),
        ({"momentum": {"low": 0.5, "high": 1.5}}, "momentum"),
        ({"width": [4, 0]}, "width"),
        ({"dropout": {"low": 0.0, "high": 1.5}}, "dropout"),
    ],
)
def test_every_end_of_a_space_is_tried_before_the_study(space, says):
    protocol = SMALL.replace(baseline="mlp", challengers=["b=mlp"], space=space)
    with pytest.raises(UserError) as caught:
        trial.prepare(protocol)
    assert says in str(caught.value)


def test_paths_of_a_protocol_file_start_at_its_folder(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    path = tmp_path / "trial.toml"
    path.write_text(
        'data = "digits"\nbaseline = "net.py:Net"\nchallengers = ["mlp"]\neffort = 1\n'
        "configurations = 4\n"
    )
    program = os.path.join(os.path.dirname(sys.executable), "archtrial")
    done = subprocess.run(
        [program, "plan", path, "--steps", "2", "--workers", "1"],
        capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_an_arm_called_like_another_ones_seed(tmp_path):
    protocol = SMALL.replace(
        baseline="mlp.1=mlp", challengers=["mlp=mlp(width=4)"], steps=2
    )
    Study(protocol, tmp_path).run()
    kept = {p.name for p in (tmp_path / "tuned").iterdir()}
    assert kept == {"mlp.json", "mlp.safetensors", "mlp.1.json", "mlp.1.safetensors"}
    assert archtrial.load_tuned(tmp_path, "mlp")
    (tmp_path / "tuned" / "mlp.safetensors").write_bytes(b"cut")
    with pytest.raises(ArmError, match="fit its architecture"):
        archtrial.load_tuned(tmp_path, "mlp")


def test_killed_and_resumed_ends_with_the_same_bytes(tmp_path):
    program = os.path.join(os.path.dirname(sys.executable), "archtrial")
    command = [program, "run", "--data", "digits", "--baseline", "linear", "--challenger",
               "mlp", "--configurations", "16", "--steps", "40", "--workers", "2",
               "--study"]  # fmt: skip
    subprocess.run([*command, tmp_path / "whole"], check=True, capture_output=True)
    # The moments are those at which something new has been recorded.
    for records in (0, 12, 50):
        process = subprocess.Popen(
            [*command, tmp_path / "parts"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None:
            time.sleep(0.05)
            if recorded(tmp_path / "parts") >= records:
                process.send_signal(signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL
    subprocess.run([*command, tmp_path / "parts"], check=True, capture_output=True)
    whole, parts = (tmp_path / n / "verdict.json" for n in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


def recorded(folder):
    try:
        with Store(folder, read_only=True) as store:
            return len(store.runs(per_example=False))
    except UserError:
        return -1


def test_interrupted_it_says_how_to_go_on(tmp_path):
    program = os.path.join(os.path.dirname(sys.executable), "archtrial")
    with subprocess.Popen(
        [program, "run", "--data", "digits", "--steps", "4000", "--workers", "2",
         "--study", tmp_path / "study"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # What was started in the background of a shell ignores it, and so do its own.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        while recorded(tmp_path / "study") < 0:
            time.sleep(0.1)
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        # Its workers are still loading torch, which takes long on a busy machine.
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "To go on: archtrial run --data digits" in errors
    assert "Traceback" not in errors


# Arms that differ in their recipe, factorials, and a matched baseline.


@pytest.fixture(scope="module")
def modern(tmp_path_factory):
    """A factorial of recipe and norm, with a matched baseline, trained and judged."""
    protocol = Protocol(
        data="digits",
        baseline={"architecture": "mlp", "space": {"width": [8, 16]}},
        factors={"norm": ["none", "batch"], "recipe": ["plain", "modern"]},
        matched_baseline=True,
        configurations=4,
        effort=1,
        steps=12,
        margin=0.05,
    )
    study = Study(protocol, tmp_path_factory.mktemp("modern"))
    study.run()
    return study


def runs_of(study):
    with Store(study.folder, read_only=True) as store:
        return store.runs()


def test_a_recipe_is_an_arms_own_and_its_length_is_counted(modern):
    (plain, longer) = (
        [r for r in runs_of(modern) if (r.arm, r.stage) == (arm, "search")]
        for arm in ("mlp", "mlp + modern")
    )
    assert plain[0].curve[-1].step == 12
    assert longer[0].curve[-1].step == 24
    for one, other in zip(plain, longer, strict=True):
        assert one.configuration == other.configuration  # searched alike, and paired
        assert other.flops == 2 * one.flops
        assert other.validation != one.validation
    arm = modern.protocol.arms[1]
    assert arm.name == "mlp + modern"
    given = modern.trial.trainer.problem_of(arm.name, rung=2)
    assert given.recipe == modern.protocol.recipe_of(arm, "image")
    assert given.steps == 48
    resolved = modern.trial.resolved
    by_name = {arm["name"]: arm for arm in resolved["challengers"]}
    assert by_name["mlp + modern"]["steps"] == 24
    assert by_name["mlp + modern"]["recipe"]["augmentation"] == ["shift"]
    assert "recipe" not in by_name["mlp + norm=batch"]
    assert any("It trains for 24 steps" in note for note in modern.notes)


def test_some_cells_of_a_factorial_can_be_judged_alone(modern):
    whole = archtrial.judge_study(modern.folder).verdict.to_dict()
    assert len(whole["study"]["factorial"]["effects"]) == 3
    some = archtrial.judge_study(modern.folder, challengers=["mlp + norm=batch"])
    document = some.verdict.to_dict()
    assert [c["challenger"] for c in document["comparisons"]] == ["mlp + norm=batch"]
    assert document["study"]["factorial"] is None


def test_an_arm_with_a_recipe_trains_in_fleets_of_its_own(modern):
    assert set(modern.trial.trainer.stacks.values()) == {True}
    for task in modern.trial.trainer.divide(modern._plan_search(modern.trial.arms, 1)):
        assert len({item.arm for item in task}) == 1


def test_the_weights_that_are_kept_are_the_averaged_ones(modern):
    place = modern.folder / "tuned" / "mlp + norm=batch + modern.json"
    model = archtrial.load_tuned(modern.folder, "mlp + norm=batch + modern")
    (run,) = (
        run
        for run in runs_of(modern)
        if (run.arm, run.stage) == ("mlp + norm=batch + modern", "confirm")
        and run.seed == json.loads(place.read_text())["seed"]
        and run.configuration == json.loads(place.read_text())["configuration"]
    )
    split = modern.trial.split
    outputs = model.module(torch.from_numpy(split.x_validation))
    right = outputs.argmax(1).numpy() == split.y_validation
    assert right.mean() == pytest.approx(run.validation)


def test_a_factorial_is_resolved_with_its_levels(modern):
    resolved = json.loads((modern.folder / "protocol.json").read_text())
    assert resolved["factors"] == {
        "norm": ["none", "batch"], "recipe": ["plain", "modern"],
    }  # fmt: skip
    assert resolved["baseline"]["levels"] == {"norm": "none", "recipe": "plain"}
    assert [arm["levels"] for arm in resolved["challengers"]] == [
        {"norm": "none", "recipe": "modern"},
        {"norm": "batch", "recipe": "plain"},
        {"norm": "batch", "recipe": "modern"},
    ]
    assert resolved["challengers"][1]["options"] == {"norm": "batch"}
    assert all("levels" not in arm for arm in (resolved["matched"],))


def test_the_matched_baseline_is_trained_like_any_arm_and_is_no_challenger(modern):
    (name,) = {arm.name for arm in modern.trial.arms} - {
        arm.name for arm in modern.protocol.arms
    }
    assert name == "mlp (matched)"
    resolved = modern.trial.resolved
    matched = resolved["matched"]
    assert (matched["role"], matched["matches"]) == ("matched", "mlp + norm=batch")
    assert matched["parameters"] >= matched["parameters_of_challenger"]
    assert matched["space"]["width"] != [8, 16]
    assert matched["fleet"]
    assert "class _Hidden" in matched["source"]
    stages = {stage: set() for stage in ("search", "confirm", "winner", "default")}
    for run in runs_of(modern):
        stages[run.stage].add(run.arm)
    assert all(name in arms for arms in stages.values())
    names = [
        compared["challenger"] for compared in modern.verdict.to_dict()["comparisons"]
    ]
    assert name not in names
    assert archtrial.load_tuned(modern.folder, name)
    assert any("mlp (matched) is mlp with its width scaled" in n for n in modern.notes)


def test_a_worker_trains_by_the_same_recipes(modern):
    """What several workers are sent is a copy of the trainer."""
    trainer = modern.trial.trainer
    copy = pickle.loads(pickle.dumps(trainer))
    (task,) = (
        task
        for task in trainer.divide(modern._plan_search(modern.trial.arms, 1))
        if task[0].arm == "mlp + modern" and task[0].stage == "search"
        and task[0].configuration["width"] == 8
    )  # fmt: skip
    recorded = {run.pair: run for run in runs_of(modern)
                if (run.arm, run.stage) == ("mlp + modern", "search")}  # fmt: skip
    for finished in copy(task):
        assert finished.run.curve == recorded[finished.run.pair].curve


def test_a_factor_is_fixed_and_not_searched():
    protocol = SMALL.replace(
        baseline="mlp", factors={"depth": [2, 3], "dropout": [0.0, 0.5]}
    )
    prepared = trial.prepare(protocol)
    for arm in protocol.arms:
        assert set(prepared.spaces[arm.name]) == {
            "width", "learning_rate", "weight_decay",
        }  # fmt: skip


def test_architectures_are_crossed_with_an_option_that_all_of_them_take(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "def net(input_shape, num_outputs, norm='none', **rest):\n"
        "    size = torch.Size(input_shape).numel()\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(),"
        " torch.nn.Linear(size, num_outputs))\n"
    )
    own = f"{tmp_path}/net.py:net"
    crossed = {"architecture": ["mlp", own], "norm": ["none", "batch"]}
    protocol = SMALL.replace(baseline="mlp", factors=crossed)
    resolved = trial.prepare(protocol).resolved
    assert resolved["factors"] == {
        "architecture": ["mlp", "net"],
        "norm": ["none", "batch"],
    }
    assert str(tmp_path) not in json.dumps(resolved)
    arms = [resolved["baseline"], *resolved["challengers"]]
    assert [(arm["name"], arm["levels"]["architecture"]) for arm in arms] == [
        ("mlp", "mlp"), ("mlp + norm=batch", "mlp"), ("net", "net"), ("net + norm=batch", "net"),
    ]  # fmt: skip
    # What only some of its parameters' names tell, **rest takes.
    crossed = {"architecture": ["mlp", own], "depth": [2, 3]}
    assert len(trial.prepare(SMALL.replace(baseline="mlp", factors=crossed)).arms) == 4


@pytest.mark.parametrize(
    ("factors", "says"),
    [
        (
            {"architecture": ["linear", "mlp(depth=1)"], "norm": ["none", "layer"]},
            [
                "a factor is recipe, or an option that all of its architectures take",
                "norm, which mlp(depth=1) takes and linear does not",
                "--factor 'architecture=linear,mlp(depth=1, norm=none),"
                "mlp(depth=1, norm=layer)'",
            ],
        ),
        (
            {
                "depth": [2, 3],
                "architecture": ["mlp(recipe=modern)", "cnn", "linear", "sklearn:SVC"],
            },
            [
                "depth, which mlp(recipe=modern) and cnn take and linear and SVC do not",
                "mlp(recipe=modern, depth=3),cnn(depth=2),cnn(depth=3),linear,sklearn:SVC",
            ],
        ),
        (
            {
                "architecture": ["mlp", "sklearn:SVC"],
                "recipe": ["plain", "modern"],
                "degree": [2, 3],
            },
            ["degree, which SVC takes and mlp does not", "architecture=mlp,sklearn:SVC(deg"],
        ),
        ({"architecture": ["mlp", "cnn"], "norn": ["none", "batch"]}, ["mean 'norm'"]),
    ],
)  # fmt: skip
def test_an_option_of_some_architectures_is_no_factor_beside_them(factors, says):
    declared = Protocol(data="digits", factors=factors)
    with pytest.raises(UserError) as caught:
        trial.prepare(declared)
    for part in says:
        assert part in str(caught.value)


def test_a_baseline_that_is_as_large_is_not_matched():
    protocol = SMALL.replace(
        baseline="mlp", challengers=["mlp(width=9)"], matched_baseline=True
    )
    prepared = trial.prepare(protocol)
    assert prepared.arms == protocol.arms
    assert "matched" not in prepared.resolved
    assert any("no larger one to match" in note for note in prepared.resolved["notes"])


def test_what_nobody_declares_leaves_the_resolved_protocol_as_it_was():
    resolved = trial.prepare(SMALL).resolved
    assert not {"factors", "matched"} & set(resolved)
    for arm in (resolved["baseline"], *resolved["challengers"]):
        assert set(arm) == {
            "name", "architecture", "options", "space", "source", "fleet",
        }  # fmt: skip
    assert "augmentation" not in resolved["recipe"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"factors": {"residul": [False, True]}}, "Did you mean 'residual'?"),
        ({"factors": {"norm": ["none", "laier"]}}, "norm of mlp is one of none, batch"),
        ({"factors": {"learning_rate": [0.1, 0.2]}}, "set it in the recipe"),
        ({"factors": {"width": [8, 16]}}, "either fixed or searched: 'width' is both"),
        (
            {"data": "mnist1d", "recipe": {"augmentation": ["flip"]}},
            "'flip' suits inputs of the kind image: sequence inputs",
        ),
        (
            {
                "data": "diabetes",
                "baseline": {"architecture": "linear", "recipe": {"augmentation": ["shift"]}},
                "challengers": ["mlp"],
            },
            "'shift' suits inputs of the kind image or sequence or array: table inputs",
        ),
        (
            {"baseline": "linear", "challengers": ["mlp"], "matched_baseline": True},
            "linear has none of width, channels",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_recipes_and_factors_come_before_anything_is_trained(changes, says):
    with pytest.raises(UserError) as caught:
        trial.prepare(SMALL.replace(**changes))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"matched_baseline": True}, "matched_baseline is declared"),
        ({"challengers": ["b(recipe='modern')"]}, "b(recipe=modern) has one of its own"),
        ({"factors": {"recipe": ["plain", "modern"]}}, "a + modern has one of its own"),
    ],
)  # fmt: skip
def test_a_trainer_of_ones_own_has_its_own_recipes(changes, says):
    declared = Protocol(data="own", baseline="a", challengers=["b"]).replace(**changes)
    with pytest.raises(ProtocolError) as caught:
        trial.prepare(declared, function=lambda **_: {})
    assert says in str(caught.value)


def test_a_trainer_of_ones_own_is_told_the_levels():
    declared = Protocol(data="own", baseline="a", factors={"skip": [False, True]})
    prepared = trial.prepare(declared, function=lambda **_: {})
    assert prepared.resolved["factors"] == {"skip": [False, True]}
    assert [arm.options for arm in prepared.arms] == [{"skip": False}, {"skip": True}]


def test_what_the_data_say_to_parameters_is_noted(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "def net(num_classes=10, in_chans=3, width=2):\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(in_chans, width, 3),\n"
        "        torch.nn.Flatten(), torch.nn.Linear(36 * width, num_classes))\n"
    )
    protocol = SMALL.replace(
        data="digits", baseline="linear", challengers=[f"{tmp_path}/net.py:net"]
    )
    (note,) = (n for n in trial.prepare(protocol).resolved["notes"] if "told" in n)
    assert note == "net is told what the data have: num_classes = 10, in_chans = 1."


@pytest.mark.parametrize(
    ("baseline", "challenger", "same"),
    [
        # A block after a stage's first is the first that adds its input.
        ("mobilenet_v2(depth=1)", "mobilenet_v2(depth=1, skip=false)", True),
        ("mobilenet_v2(depth=[1, 2])", "mobilenet_v2(depth=[1, 2], skip=false)", False),
        (
            "efficientnet(depth=1)",
            "efficientnet(depth=1, stochastic_depth=0.3)",
            True,
        ),
        # Only where each starts is another.
        ("convnext(depth=[1])", "convnext(depth=[1], layer_scale=0.01)", False),
    ],
)
def test_a_switch_that_changes_nothing_is_noted(baseline, challenger, same):
    protocol = Protocol(
        data="mnist1d",
        baseline=baseline,
        challengers=[f"again={challenger}"],
        configurations=4,
        effort=1,
        steps=2,
    )
    said = [n for n in trial.prepare(protocol).resolved["notes"] if "same net" in n]
    assert len(said) == same
    if same:
        assert "and again are the same network" in said[0]


def test_the_data_keep_their_name_whatever_arms_are_called():
    declared = Protocol(data="digits", baseline="linear", challengers=["mlp"])
    resolved = trial.prepare(declared).resolved
    assert resolved["data"]["name"] == "digits"
