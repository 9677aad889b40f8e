"""Networks of timm and torchvision as arms: named, checked, sized, and fine-tuned.

Where the packages are not installed small stand-ins take their places; where they are,
what holds of any release is tried on them as well.
"""

import functools
import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import archtrial as package
from archtrial import tuned
from archtrial.data import Inputs
from archtrial.errors import ArmError, StudyError
from archtrial.protocol import Recipe
from archtrial.specs import parse_spec
from archtrial.testing import check_architecture
from archtrial.training.module import build
from archtrial.training.problem import Job
from archtrial.zoo import arms, outside, trust
from archtrial.zoo.outside import weights as weights_of

STANDINS = Path(__file__).parent / "standins"
PACKAGES = ("timm", "torchvision")
RGB, GRAY = (3, 32, 32), (1, 32, 32)


def forget():
    for name in [n for n in sys.modules if n.partition(".")[0] in PACKAGES]:
        del sys.modules[name]


@pytest.fixture
def standins(monkeypatch, tmp_path):
    """Small packages of these names, and empty caches of what was downloaded."""
    kept = {n: m for n, m in sys.modules.items() if n.partition(".")[0] in PACKAGES}
    forget()
    monkeypatch.syspath_prepend(STANDINS)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    yield tmp_path
    forget()
    sys.modules.update(kept)


@pytest.fixture(params=["stand-ins", "installed"])
def either(request):
    if request.param == "stand-ins":
        request.getfixturevalue("standins")
    else:
        for name in PACKAGES:
            if importlib.util.find_spec(name) is None:
                pytest.skip(f"{name} is not installed")


def made(spec, shape=RGB, outputs=4, seed=0):
    _, name, options = parse_spec(spec)
    torch.manual_seed(seed)
    return arms.find(name, options).build(Inputs.of_shape(shape), outputs, {})


def refused(spec, shape=RGB, error=ArmError):
    with pytest.raises(error) as caught:
        made(spec, shape)
    return str(caught.value)


def typed(message):
    """The first spec that a message says to type."""
    return re.search(r"(?:timm|torchvision):\w+\([^)]*\)", message)[0]


def published(folder, spec="timm:resnet18", seed=7):
    """A network's weights as torch.hub keeps them; returns the network."""
    network = made(spec, (3, 224, 224), 1000, seed)
    file = {"timm:resnet18": "resnet18-a1_in1k.pth"}.get(spec, "resnet18-v1.pth")
    place = folder / "torch" / "hub" / "checkpoints" / file
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), place)
    return network, place


# --- what there is ------------------------------------------------------------------


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_that_is_not_installed(archtrial, monkeypatch, name):
    forget()
    monkeypatch.setitem(sys.modules, name, None)
    way_out = f"pip install {name}"
    assert way_out in refused(f"{name}:resnet18")
    with pytest.raises(ArmError, match=re.escape(way_out)):
        check_architecture(f"{name}:resnet18", [RGB])
    for typed_name in (f"{name}:resnet18", name):
        code, out, err = archtrial("zoo", typed_name)
        assert (code, out) == (2, "")
        assert way_out in err
        assert "Traceback" not in err


def test_the_extras_are_declared():
    place = Path(package.__file__).parents[2] / "pyproject.toml"
    if not place.exists():
        pytest.skip("the package was installed without its sources")
    text = place.read_text()
    for name in PACKAGES:
        assert re.search(rf'^{name} = \["{name}>=', text, re.MULTILINE)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("spec", ["timm:resnet18", "torchvision:resnet18"])
def test_any_release_builds_and_passes_the_contract(archtrial, spec):
    assert made(spec, outputs=5)(torch.randn(2, *RGB)).shape == (2, 5)
    check_architecture(spec, [RGB], num_outputs=(3,), examples=8)
    code, out, _ = archtrial("zoo", spec)
    assert code == 0
    assert "resolution" in out
    assert "parameters with 1000 outputs" in out
    code, out, _ = archtrial("zoo", spec, "--json")
    assert json.loads(out)[spec]["kinds"] == ["image"]
    code, out, _ = archtrial("zoo", spec.partition(":")[0])
    assert spec in out.splitlines()
    wrong = {"timm": "drop_rat", "torchvision": "zero_init_residua"}
    option = wrong[spec.partition(":")[0]]
    assert "Did you mean" in refused(f"{spec}({option}=0.1)")


@pytest.mark.usefixtures("standins")
@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("timm:resnet81", "Did you mean timm:resnet18? archtrial zoo timm lists all"),
        ("timm:resnet18.a3_in1k", "timm has no weights 'a3_in1k' of resnet18"),
        ("torchvision:Resnet18", "Did you mean torchvision:resnet18?"),
        ("torchvision:r3d_18", "is an image classifier"),
    ],
)
def test_an_unknown_name(archtrial, spec, said):
    assert said in refused(spec)
    assert said in archtrial("zoo", spec)[2]


def test_what_is_not_meant():
    for spec in (
        "timm.py:Net",
        "a/timm:x/y",
        "timm.models:resnet18",
        "timm:",
        "sklearn:SVC",
    ):
        assert not outside.is_outside(spec)
    assert outside.is_outside("timm:vit_base_patch16_224.augreg_in21k")


def test_a_file_of_the_same_name_is_not_the_package(monkeypatch, tmp_path):
    forget()
    (tmp_path / "timm.py").write_text("class resnet18: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    said = refused("timm:resnet18")
    forget()
    assert "path/to/file.py:Name" in said
    assert "came with the folder" in trust.objection("timm:resnet18", None, tmp_path)


# --- options ------------------------------------------------------------------------


@pytest.mark.usefixtures("standins")
def test_options_are_passed_on():
    assert made("timm:resnet18(drop_rate=.25, width=5)").drop.p == 0.25
    vit = made("timm:vit_tiny_patch16_224(drop_path_rate=.1)")
    assert (vit.drop_path_rate, vit.sides) == (0.1, (32, 32))
    assert made("timm:vit_tiny_patch16_224", (3, 32, 48)).sides == (32, 48)
    assert made("timm:hidden(slope=.3)")[1].negative_slope == 0.3
    zeroed = made("torchvision:resnet18(zero_init_residual=true)")
    assert not zeroed.fc.weight.any()


@pytest.mark.usefixtures("standins")
@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("timm:resnet18(drop_rat=.1)", "Did you mean 'drop_rate'?"),
        ("timm:hidden(slop=.3)", "has no option 'slop'"),
        # It takes any name; what does nothing is no option.
        ("timm:careless(drop_rate=.1, magic=3)", "has no option 'magic'"),
        ("timm:resnet18(num_classes=4)", "The data decide it"),
        ("timm:resnet18(img_size=64)", "Write resolution="),
        ("timm:resnet18(checkpoint_path=x.pth)", "weights='path/to/model.safetensors'"),
        ("timm:resnet18(features_only=true)", "path/to/file.py:Name"),
        ("torchvision:resnet18(block=3)", "has no option 'block'"),
        ("timm:resnet18(gray=repeat)", "has no option 'gray'"),
        ("timm:resnet18(width=wide)", "width of timm:resnet18 is a number, such as 8"),
        ("timm:resnet18(drop_rate=7)", "dropout probability"),
        ("timm:resnet18(resolution=0)", "a whole number, at least 1"),
        ("timm:resnet18(pretrained=1)", "true or false"),
        ("timm:resnet18(weights=3)", "a text"),
        ("torchvision:resnet18(gray=mean)", "gray of torchvision:resnet18 is repeat"),
        ("timm:resnet18(weights=nowhere.pth)", "there is no file nowhere.pth"),
    ],
)
def test_an_option_that_is_none(spec, said):
    assert said in refused(spec)


@pytest.mark.usefixtures("standins")
def test_searched_options_are_held_to_the_same():
    with pytest.raises(ArmError, match="has no option 'widht'"):
        arms.find("timm:resnet18", {}, {"widht": [4, 8]})
    found = arms.find("timm:resnet18", {}, {"width": [4, 8]})
    assert found.build(RGB, 3, {"width": 4}).conv1.out_channels == 4


# --- inputs -------------------------------------------------------------------------


@pytest.mark.usefixtures("standins")
@pytest.mark.parametrize("spec", ["timm:resnet18", "torchvision:resnet18"])
def test_only_images(spec):
    for kind, way_out in (("table", "Take mlp."), ("sequence", "resnet")):
        with pytest.raises(ArmError, match=way_out):
            arms.check_kind(arms.find(spec), kind)
    arms.check_kind(arms.find(spec), "image")
    for shape in ((8,), (2, 40)):
        assert "images (C, H, W)" in refused(spec, shape)


@pytest.mark.usefixtures("standins")
def test_channels():
    assert made("timm:resnet18", (5, 16, 16)).conv1.in_channels == 5
    repeated = typed(refused("torchvision:resnet18", GRAY))
    network = made(repeated, GRAY).eval()
    x = torch.randn(2, *GRAY)
    plain = made("torchvision:resnet18").eval()
    assert torch.equal(network(x), plain(x.repeat(1, 3, 1, 1)))
    assert "Take resnet or cnn" in refused("torchvision:resnet18", (5, 32, 32))
    less = refused("torchvision:resnet18(gray=repeat)")
    assert "Write torchvision:resnet18." in less


@pytest.mark.usefixtures("standins")
@pytest.mark.parametrize(
    ("spec", "shape", "side"),
    [
        ("timm:valid", (3, 16, 16), 32),
        ("timm:vit_tiny_patch16_224", (3, 28, 28), 32),
        ("timm:vit_tiny_patch16_224(drop_path_rate=.1)", (3, 28, 40), 48),
        ("torchvision:vit_b_16", (3, 40, 40), 48),
        ("torchvision:vit_b_16", (3, 32, 48), 48),
        ("timm:valid(resolution=7)", RGB, 32),
    ],
)
def test_a_size_that_it_cannot_take(spec, shape, side):
    said = refused(spec, shape)
    way_out = typed(said)
    assert f"resolution={side}" in way_out
    if "drop_path_rate" in spec:
        assert "drop_path_rate=0.1" in way_out
    assert made(way_out, shape)(torch.randn(2, *shape)).shape == (2, 4)


@pytest.mark.usefixtures("standins")
def test_looking_ahead_draws_nothing():
    """A network is that of its seed, however often others were made to look at."""
    first = made("timm:vit_tiny_patch16_224", (3, 48, 48), 6, seed=3).state_dict()
    again = made("timm:vit_tiny_patch16_224", (3, 48, 48), 6, seed=3).state_dict()
    import timm

    torch.manual_seed(3)
    plain = timm.create_model("vit_tiny_patch16_224", num_classes=6, img_size=48)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, first[name])
        assert torch.equal(tensor, again[name])


# --- weights ------------------------------------------------------------------------


def test_pretrained_weights_are_found_where_torch_hub_keeps_them(standins):
    for spec in ("timm:resnet18", "torchvision:resnet18"):
        network, _ = published(standins, spec)
        fine, scratch = made(f"{spec}(pretrained=true)"), made(spec)
        for name, tensor in fine.state_dict().items():
            # The head alone is random: that of an arm that starts from scratch.
            other = scratch if name.startswith("fc.") else network
            assert torch.equal(tensor, other.state_dict()[name]), name
        assert outside.loaded(fine) == {
            name for name, _ in network.named_parameters() if name[:3] != "fc."
        }


def test_a_run_is_restored_without_what_it_started_from(standins):
    """Years later, on a machine that has never downloaded it."""
    _, place = published(standins)
    found = arms.find("timm:resnet18", {"pretrained": True}, {})
    trained = found.build(Inputs.of_shape(RGB), 6, {}).eval()
    left = safetensors.torch.save(trained.state_dict())
    place.unlink()
    with pytest.raises(ArmError, match="nothing is downloaded"):
        found.build(Inputs.of_shape(RGB), 6, {})
    x = torch.randn(2, *RGB)
    module = tuned.restored(found, Inputs.of_shape(RGB), 6, {}, 0, left, x)
    assert torch.equal(module(x), trained(x))


def test_pretrained_weights_are_found_where_hugging_face_keeps_them(standins):
    network = made("timm:resnet18", RGB, 1000, 7)
    folder = standins / "hub" / "models--timm--resnet18.a1_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc123")
    (folder / "snapshots" / "abc123").mkdir(parents=True)
    place = folder / "snapshots" / "abc123" / "model.safetensors"
    safetensors.torch.save_file(network.state_dict(), place)
    found = made("timm:resnet18.a1_in1k(pretrained=true)")
    assert torch.equal(found.conv1.weight, network.conv1.weight)
    assert f"weights  {place}" in outside.page("timm:resnet18")
    assert "resnet18.a2_in1k" in refused("timm:resnet18.a2_in1k(pretrained=true)")


@pytest.mark.usefixtures("standins")
def test_weights_that_are_not_there():
    said = refused("timm:resnet18(pretrained=true)")
    assert "nothing is downloaded" in said
    assert "timm.create_model('resnet18', pretrained=True)" in said
    assert "timm:resnet18(weights='path/to/model.safetensors')" in said
    assert "weights='DEFAULT'" in refused("torchvision:resnet18(pretrained=true)")
    assert "none that were published" in refused(
        "torchvision:vit_b_16(pretrained=true)"
    )
    both = refused("timm:resnet18(pretrained=true, weights='x.pth')")
    assert "Write timm:resnet18(weights='x.pth')" in both


def test_a_file_of_ones_own(standins):
    network = made("timm:resnet18", RGB, 7, 9)
    safe, other = standins / "w.safetensors", standins / "w.pth"
    safetensors.torch.save_file(network.state_dict(), safe)
    wrapped = {f"module.{k}": v for k, v in network.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, other)
    for file in (safe, other):
        found = made(f"timm:resnet18(weights='{file}')", RGB, 7)
        assert torch.equal(found.conv2.weight, network.conv2.weight)
        assert not torch.equal(found.fc.weight, network.fc.weight)
    torch.save({"model": wrapped, "model_ema": wrapped}, other)
    assert "model and model_ema" in refused(f"timm:resnet18(weights='{other}')")


def test_the_first_convolution_is_adapted_to_the_channels(standins):
    network, _ = published(standins)
    own = network.conv1.weight
    one = made("timm:resnet18(pretrained=true)", GRAY).conv1.weight
    torch.testing.assert_close(one, own.sum(1, keepdim=True))
    five = made("timm:resnet18(pretrained=true)", (5, 32, 32)).conv1.weight
    torch.testing.assert_close(five, own[:, [0, 1, 2, 0, 1]] * 0.6)


def test_weights_that_do_not_fit_are_named(standins):
    published(standins)
    said = refused("timm:resnet18(pretrained=true, width=5)")
    assert "of another shape are" in said
    assert "conv1.weight ((8, 3, 3, 3), not (5, 3, 3, 3)), bn1.weight" in said
    file = standins / "w.safetensors"
    tensors = made("timm:resnet18").state_dict()
    del tensors["conv2.bias"]
    safetensors.torch.save_file({**tensors, "extra": torch.ones(1)}, file)
    said = refused(f"timm:resnet18(weights='{file}')")
    assert "the file lacks conv2.bias" in said
    assert "the network lacks extra" in said


def test_weights_that_the_package_renames_are_its_own_to_convert(standins):
    network = made("timm:resnet18", RGB, 1000, 7)
    renamed = {f"old_{key}": value for key, value in network.state_dict().items()}
    safetensors.torch.save_file(renamed, standins / "w.safetensors")
    found = made(f"timm:resnet18(weights='{standins}/w.safetensors')")
    assert torch.equal(found.conv1.weight, network.conv1.weight)


def test_weights_for_inputs_of_another_size(standins):
    network = made("timm:vit_tiny_patch16_224", (3, 64, 64), 1000, 7)
    file = standins / "w.safetensors"
    safetensors.torch.save_file(network.state_dict(), file)
    said = refused(f"timm:vit_tiny_patch16_224(weights='{file}')")
    assert "pos_embed" in said
    assert "resolution=64" in typed(said)
    found = made(typed(said))[1]
    assert torch.equal(found.pos_embed, network.pos_embed)


class Opens:
    """Creates a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x02.", None])
def test_weights_are_read_and_never_run(standins, content):
    file, trace = standins / "w.pth", standins / "trace"
    if content is None:
        torch.save({"a": torch.ones(1), "b": Opens(trace)}, file)
    else:
        file.write_bytes(content)
    said = refused(f"timm:resnet18(weights='{file}')")
    assert "read without running code" in said or "tensors by name" in said
    assert not trace.exists()
    file.rename(file.with_suffix(".safetensors"))
    assert "w.safetensors" in refused(
        f"timm:resnet18(weights='{standins}/w.safetensors')"
    )


def test_weights_that_changed_are_noticed(standins):
    _, file = published(standins)
    found = arms.find("timm:resnet18", {"pretrained": True})
    assert re.search("# pretrained: sha256 [0-9a-f]{64}\n", found.source)
    before = found.build(RGB, 3, {})
    torch.save(made("timm:resnet18", RGB, 1000, 8).state_dict(), file)
    weights_of.tensors_of.cache_clear()  # as in another process
    with pytest.raises(StudyError, match="has changed since"):
        found.build(RGB, 3, {})
    new = arms.find("timm:resnet18", {"pretrained": True})
    assert new.source != found.source
    assert not torch.equal(new.build(RGB, 3, {}).conv1.weight, before.conv1.weight)


def test_whether_to_start_from_weights_can_be_searched(standins):
    published(standins)
    found = arms.find("timm:resnet18", {}, {"pretrained": [True, False]})
    assert "sha256" in found.source
    both = [found.build(RGB, 3, {"pretrained": v}) for v in (True, False)]
    assert [bool(outside.loaded(network)) for network in both] == [True, False]


def test_another_version_is_noticed(standins, monkeypatch):
    found = arms.find("timm:resnet18")
    assert found.source == "# timm 1.0.99: resnet18\n"
    monkeypatch.setattr(sys.modules["timm"], "__version__", "1.1.0")
    arms._loaded.clear()  # as in another process
    with pytest.raises(StudyError, match=re.escape("pip install timm==1.0.99")):
        found.build(RGB, 3, {})


def test_the_initial_scale_is_that_of_what_was_drawn(standins):
    network, _ = published(standins)
    found = arms.find("timm:resnet18", {"pretrained": True, "resolution": 32})
    problem = package.testing._random_problem(
        Inputs.of_shape(RGB), 3, "classification", 8
    )

    def at(scale):
        scaled = package.testing.dataclasses.replace(
            problem, recipe=Recipe(initial_scale=scale)
        )
        job = Job(functools.partial(found.build, RGB, 3, {}), {}, 1, 1, 1)
        return build(scaled, job)[1]

    plain, scaled = at(1.0), at(0.5)
    assert torch.equal(scaled.conv1.weight, network.conv1.weight)
    torch.testing.assert_close(scaled.fc.weight, plain.fc.weight * 0.5)


# --- a study ------------------------------------------------------------------------


def test_fine_tuning_against_training_from_scratch(archtrial, standins, monkeypatch):
    _, weights = published(standins)
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    x = rng.normal(size=(120, 3, 8, 8)).astype(np.float32) + y[:, None, None, None]
    np.savez(standins / "d.npz", x=x, y=y)
    folder = standins / "study"
    command = ["run", "--data", standins / "d.npz", "--baseline", "timm:resnet18",
               "--challenger", "timm:resnet18(pretrained=true)", "--steps", "4",
               "--configurations", "4", "--effort", "1", "--confirm-seeds", "2",
               "--workers", "1", "--study", folder]  # fmt: skip
    monkeypatch.chdir(standins)
    code, _, err = archtrial(*command)
    assert code == 0, err
    assert "starts from weights that were trained before" in err
    assert "mean [0.5, 0.5, 0.5]" in err
    kept = json.loads((folder / "protocol.json").read_text())
    sources = [kept["baseline"]["source"], kept["challengers"][0]["source"]]
    assert ["sha256" in source for source in sources] == [False, True]
    # What was tuned is loaded without the file that it started from.
    weights.rename(weights.with_suffix(".away"))
    arm = "resnet18(pretrained=true)"
    model = package.load_tuned(folder, arm)
    assert model.predict(x[:3]).shape == (3,)
    torch.save(made("timm:resnet18", RGB, 1000, 8).state_dict(), weights)
    code, _, err = archtrial(*command)
    assert code == 2
    assert "source" in err
    assert "Traceback" not in err
