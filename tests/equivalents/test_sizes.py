"""Sizes are known, and compared with what is free, before anything is built."""

import sys

import pytest
import torch
from torch import nn

import archtrial
from archtrial import equivalents, zoo
from archtrial.equivalents import graph, mapping
from archtrial.equivalents import sizes as counted_by_the_room
from archtrial.errors import ArmError

room = sys.modules["archtrial.equivalents.sizes"]


def held(network):
    return sum(p.numel() for p in network.parameters())


def test_the_papers_sizes():
    counted = equivalents.sizes(zoo.vanilla_cnn((3, 32, 32), 10), (3, 32, 32))
    assert (counted.module, counted.fcn) == (143_178, 110_606_602)
    assert counted.bytes("fcn") == 4 * counted.fcn_without_padding


def test_the_papers_sizes_where_padding_is_a_layer_of_its_own():
    layers = []
    for layer in zoo.vanilla_cnn((3, 32, 32), 10):
        if isinstance(layer, nn.Conv2d):
            layers.append(nn.ZeroPad2d(layer.padding[0]))
            layer.padding = (0, 0)
        layers.append(layer)
    counted = equivalents.sizes(nn.Sequential(*layers), (3, 32, 32))
    plain = equivalents.sizes(zoo.vanilla_cnn((3, 32, 32), 10), (3, 32, 32))
    assert counted == plain


def test_the_sizes_on_mnist1d():
    module = zoo.cnn((40,), 10)
    counted = equivalents.sizes(module, (40,))
    assert (counted.module, counted.fcn) == (5_210, 190_810)
    assert counted.fcn_without_padding == 171_110
    assert held(archtrial.equivalent_fcn(module, (40,))) == 171_110
    assert held(archtrial.locally_connected(module, (40,))) == counted.lcn


@pytest.mark.parametrize("batch_norm", ["per_position", "folded"])
def test_what_is_counted_is_what_is_built(batch_norm):
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, groups=2, bias=False),
        nn.BatchNorm2d(4),
        nn.PReLU(),
        nn.Conv2d(4, 3, 2, padding="same", padding_mode="replicate"),
        nn.GroupNorm(1, 3),
        nn.Linear(5, 2),
        nn.Flatten(),
        nn.Linear(24, 2),
    )
    counted = equivalents.sizes(module, (2, 4, 5), batch_norm=batch_norm)
    options = {"batch_norm": batch_norm}
    fcn = archtrial.equivalent_fcn(module, (2, 4, 5), **options)
    lcn = archtrial.locally_connected(module, (2, 4, 5), **options)
    assert counted.fcn_without_padding == held(fcn)
    assert counted.lcn == held(lcn)
    # 4 x 5 padded to 6 x 7, two channels, to four channels of 4 x 5.
    padding = 80 * 2 * (42 - 20)
    assert counted.fcn - counted.fcn_without_padding == padding
    assert counted.module == held(module)
    assert counted_by_the_room is equivalents.sizes


def test_double_precision_takes_twice_the_memory():
    module = zoo.cnn((40,), 10).double()
    assert equivalents.sizes(module, (40,)).bytes("fcn") == 8 * 171_110


@pytest.mark.parametrize("form", ["fcn", "lcn"])
def test_what_does_not_fit_is_refused_unless_forced(monkeypatch, form):
    module = zoo.cnn((40,), 10)
    build = {"fcn": mapping.equivalent_fcn, "lcn": mapping.locally_connected}[form]
    counted = equivalents.sizes(module, (40,))
    bound = counted.bytes(form)
    monkeypatch.setattr(room, "available_memory", lambda device: bound)
    assert held(build(module, (40,))) == bound / 4
    monkeypatch.setattr(room, "available_memory", lambda device: bound - 1)
    with pytest.raises(
        ArmError, match="connected equivalent fits into memory"
    ) as caught:
        build(module, (40,))
    said = str(caught.value)
    number, size = {"fcn": ("171,110", "0.7 MB"), "lcn": ("32,610", "0.1 MB")}[form]
    assert f"its {number} parameters need {size}, {size} are free" in said
    assert "force=True (--allow-large) tries nevertheless" in said
    assert ("locally_connected (--form lcn)" in said) == (form == "fcn")
    assert held(build(module, (40,), force=True)) == bound / 4


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 399532621824 bytes"),
        torch.OutOfMemoryError("399532621824 bytes"),
        MemoryError("399532621824 bytes"),
    ],
)
def test_what_does_not_fit_after_all_is_one_message(monkeypatch, error):
    def fails(self, form):
        raise error

    monkeypatch.setattr(graph.Plan, "build", fails)
    with pytest.raises(ArmError) as caught:
        mapping.equivalent_fcn(zoo.cnn((40,), 10), (40,), force=True)
    said = str(caught.value)
    assert "fits into memory: " in said
    assert "399532621824 bytes" in said
    assert "--form lcn" in said


def test_another_error_while_it_is_built_is_passed_on(monkeypatch):
    def fails(self, form):
        raise RuntimeError("a slip")

    monkeypatch.setattr(graph.Plan, "build", fails)
    with pytest.raises(RuntimeError, match="a slip"):
        mapping.equivalent_fcn(zoo.cnn((40,), 10), (40,))


def test_what_never_fits_is_refused_before_it_is_allocated():
    module = nn.Conv2d(3, 64, 3, padding=1)
    with pytest.raises(
        ArmError, match=r"13,194,156,310,528 parameters need 52,776.6 GB"
    ):
        archtrial.equivalent_fcn(module, (3, 512, 512))


def test_free_memory_is_less_than_there_is():
    free = equivalents.available_memory()
    assert 0 < free <= room._installed()
    assert equivalents.available_memory(torch.device("cpu")) > 0


def group(folder, limit, used, inactive, version):
    folder.mkdir(parents=True, exist_ok=True)
    names = {
        2: ("memory.max", "memory.current", "inactive_file"),
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    }[version]
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {inactive}\n")


def test_a_control_group_leaves_less(tmp_path):
    mounted, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("0::/user/session\n")
    group(mounted / "user" / "session", "max", 10, 0, 2)
    group(mounted / "user", 1000, 300, 100, 2)
    assert room._left_in_groups(mounted, own) == [800]
    group(mounted / "user" / "session", 500, 10, 0, 2)
    assert sorted(room._left_in_groups(mounted, own)) == [490, 800]


def test_a_control_group_of_the_first_version_leaves_less(tmp_path):
    mounted, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("5:cpu:/job\n4:memory:/job\n")
    group(mounted / "memory" / "job", 1000, 900, 50, 1)
    group(mounted / "cpu" / "job", 1, 1, 0, 1)
    assert room._left_in_groups(mounted, own) == [150]


def test_a_container_sees_its_group_as_the_root(tmp_path):
    mounted, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("0::/somewhere/outside\n")
    group(mounted, 700, 100, 0, 2)
    assert room._left_in_groups(mounted, own) == [600]
    assert room._left_in_groups(mounted, tmp_path / "nowhere") == []
