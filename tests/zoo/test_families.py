"""Families and their variants: rows of a table, found by a name of their own."""

import json
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from archtrial import Protocol, protocol, zoo
from archtrial.data import Inputs
from archtrial.errors import ArmError, ProtocolError
from archtrial.protocol import Recipe
from archtrial.space import Choice, Real
from archtrial.specs import parse_spec
from archtrial.trial import Zoo
from archtrial.zoo import arms, catalogue, picture, registry
from archtrial.zoo.registry import (
    ANY,
    Count,
    Lineage,
    Size,
    Variant,
    describe,
    register,
)

VARIANTS = [name for name, entry in zoo.entries().items() if entry.variant is not None]


@pytest.fixture(autouse=True)
def _keep_global_generator():
    with torch.random.fork_rng(devices=[]):
        yield


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def size_of(entry):
    return entry.family.size if entry.variant is None else entry.variant.size


def test_every_family_has_a_row_in_the_tree():
    for family in zoo.families().values():
        assert family.lineage is not None, family.name
        assert 1900 < family.lineage.year < 2100
        assert str(family.lineage.year) in family.lineage.paper
        assert family.lineage.new.endswith(".")
        assert family.size is not None
        Recipe.model_validate(dict(family.recipe))


def test_what_a_family_took_from_another_names_an_older_one():
    for family in zoo.families().values():
        for whom in family.lineage.took:
            if " " not in whom:  # a paper has an author and a year
                assert zoo.families()[whom].lineage.year <= family.lineage.year


@pytest.mark.parametrize("name", list(zoo.entries()))
def test_sizes_are_what_is_counted(name):
    entry = zoo.get(name)
    size = size_of(entry)
    assert size is not None
    with torch.device("meta"):
        module = entry.function(size.shape, size.num_outputs)
    assert parameters(module) == size.parameters


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_its_family_with_other_defaults(name):
    entry = zoo.get(name)
    family = zoo.get(entry.family.name)
    assert name in entry.family.variants
    assert entry.options == {**family.options, **entry.variant.options}
    assert entry.values == family.values
    assert not entry.variant.options.keys() & entry.space.keys()
    assert entry.space.keys() | entry.variant.options.keys() >= family.space.keys()
    if size_of(entry).parameters > 2e6:
        return  # which is what its size says
    shape = size_of(entry).shape
    torch.manual_seed(0)
    own = arms.find(name).build(shape, 3, {})
    torch.manual_seed(0)
    same = arms.find(family.name, entry.variant.options).build(shape, 3, {})
    x = torch.randn(5, *shape)
    assert torch.equal(own.eval()(x), same.eval()(x))


@pytest.mark.parametrize(
    ("written", "width"),
    [("cnn_small", 12), ("cnn_small(width=7)", 7), ("a=cnn_small(dropout=.5)", 12)],
)
def test_a_variant_is_written_like_any_arm(written, width):
    name, spec, options = parse_spec(written)
    assert spec == "cnn_small"
    module = arms.find(spec, options).build((40,), 10, {})
    assert module[1].convolution.out_channels == width
    assert name in ("a", None)


def test_a_variant_stands_in_toml_and_its_options_can_be_searched(tmp_path):
    (tmp_path / "t.toml").write_text(
        'data = "digits"\nbaseline = "mlp_small"\nconfigurations = 4\neffort = 1\n'
        '[[challengers]]\nname = "wide"\narchitecture = "mlp_large"\n'
        "options = { depth = 2 }\nspace = { width = [30, 40] }\n"
    )
    declared = protocol.load(tmp_path / "t.toml")
    trial = Zoo.of(declared)
    assert trial.resolved["baseline"]["architecture"] == "mlp_small"
    assert trial.spaces["wide"]["width"] == Choice((30, 40))
    module = trial.architectures["wide"].build((64,), 10, {"width": 30})
    assert module[1].linear.out_features == 30


def test_what_a_variant_is_belongs_to_what_a_study_keeps_of_it():
    plain, small = arms.find("cnn"), arms.find("cnn_small")
    assert small.source == plain.source + '# cnn_small: {"depth": 2, "width": 12}\n'


def test_a_variant_given_as_its_function_is_found_by_its_name():
    assert arms.find(zoo.get("cnn_small").function).spec == "cnn_small"
    assert registry.entry_of(zoo.cnn) is zoo.get("cnn")


# How somebody may write a variant that he remembers by half.
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("cnn-small", "cnn_small"),
        ("cnn.small", "cnn_small"),
        ("CNN_Small", "cnn_small"),
        ("small_cnn", "cnn_small"),
        ("cnn_smal", "cnn_small"),
        ("cnn:small", "cnn_small"),
        ("cnn:smal", "cnn_small"),
        ("mlp_larg", "mlp_large"),
        ("mlp_big", None),
        ("mlp:", None),
        ("lstm_huge", None),
        ("CNN", "cnn"),
        ("gruu", "gru"),
        ("vanillacnn", "vanilla_cnn"),
    ],
)
def test_a_name_that_is_not_there_has_a_way_out(written, meant):
    with pytest.raises(ArmError) as caught:
        arms.find(written)
    said = str(caught.value)
    if meant is not None:
        assert f"Did you mean {meant!r}?" in said
        arms.find(meant)
    elif written != "mlp:":
        family = written.partition("_")[0]
        assert f"The variants of {family} are {family}_" in said


def test_a_name_that_is_like_none_lists_the_families():
    with pytest.raises(
        ArmError, match=r"There are: .*cnn, .*gru, .*archtrial zoo shows"
    ):
        arms.find("quux")


def test_an_option_that_a_variant_has_not_names_the_nearest():
    with pytest.raises(ArmError, match="cnn_small has no option 'widht'") as caught:
        arms.find("cnn_small", {"widht": 3})
    assert "Did you mean 'width'?" in str(caught.value)


@pytest.mark.usefixtures("_registered")
def test_values_of_a_variant_are_held_to_the_familys_annotations():
    with pytest.raises(ArmError, match="depth of tower18 is one of 18, 34"):
        arms.find("tower18", {"depth": 19})
    with pytest.raises(ArmError, match="depth of tower is one of 18, 34"):
        add(Variant("tower19", "Of 19 layers.", {"depth": 19}))
    with pytest.raises(ArmError, match="tower has no option 'dept'"):
        add(Variant("tower19", "Of 19 layers.", {"dept": 18}))
    with pytest.raises(ValueError, match="mlp_small is in the zoo already"):
        add(Variant("mlp_small", "A name that is taken.", {"depth": 18}))


@pytest.fixture
def _registered():
    def tower(
        inputs: Inputs,
        num_outputs: int,
        *,
        depth: Literal[18, 34] = 18,
        blocks: tuple[Count, ...] = (2, 2),
        patch: Literal[(4, 4), (8, 8)] = (4, 4),
        rate: Literal[0.5, 1.0] = 0.5,
    ) -> nn.Module:
        """A tower that looks names up.

        Args:
            inputs: Token ids.
        """
        assert isinstance(blocks, tuple)
        assert isinstance(patch, tuple)
        return nn.Sequential(
            nn.Embedding(inputs.vocabulary, depth),
            nn.Flatten(),
            nn.Linear(inputs.shape[0] * depth * len(blocks) // 2, num_outputs),
        )

    register(space={"depth": Choice((18, 34))}, kinds=ANY, names="always")(tower)
    tower = registry.families()["tower"]
    assert tower.lineage is None
    try:
        add(
            Variant("tower18", "Of 18 layers.", {"depth": 18}),
            Variant(
                "tower34",
                "Of 34 layers in four blocks, as lists in JSON have them.",
                {"depth": 34, "blocks": [3, 4], "patch": [8, 8], "rate": 1.0},
                Size((2,), 3, 1),
                {"rate": Choice((0.5, 1.0)), "learning_rate": Real(0.01, 0.1)},
            ),
        )
        yield
    finally:
        for register_of in (registry._entries, registry._families):
            for name in [n for n in register_of if n.startswith("tower")]:
                del register_of[name]


def add(*variants):
    describe(
        "tower",
        Lineage(1889, "Eiffel 1889", "Iron."),
        *variants,
        recipe={"warmup": 0.1},
    )


@pytest.mark.usefixtures("_registered")
def test_a_family_is_made_in_a_few_lines():
    tower, of_34 = registry.families()["tower"], zoo.get("tower34")
    assert list(tower.variants) == ["tower18", "tower34"]
    assert of_34.options == {
        "depth": 34,
        "blocks": (3, 4),
        "patch": (8, 8),
        "rate": 1.0,
    }
    assert of_34.space == {"rate": Choice((0.5, 1.0)), "learning_rate": Real(0.01, 0.1)}
    assert zoo.get("tower18").space == {}
    given = Inputs.of_shape((5,), vocabulary=7)
    module = arms.find("tower34", {"patch": [4, 4]}).build(given, 2, {"rate": 0.5})
    assert (module[0].num_embeddings, module[0].embedding_dim) == (7, 34)
    assert arms.find("tower").build(given, 2, {"depth": 34})[0].embedding_dim == 34


@pytest.mark.usefixtures("_registered")
def test_the_catalogue_shows_all_of_it():
    lines = list(catalogue.table())
    at = next(i for i, line in enumerate(lines) if line.startswith("tower "))
    assert lines[at].split() == ["tower", "1889", "Iron."]
    assert lines[at + 1].split() == ["tower18,", "tower34"]
    page = list(catalogue.page("tower34"))
    assert (
        page[1] == "the same as tower(depth=34, blocks=[3, 4], patch=[8, 8], rate=1.0)"
    )
    assert "recipe   warmup = 0.1" in page
    assert (
        "option   blocks=[3, 4]      a list, each value a whole number, at least 1"
        in (page)
    )
    for line in page:
        if line.startswith("option"):
            typed = f"tower34({line.split(maxsplit=1)[1].split('  ')[0]})"
            arms.find(*parse_spec(typed)[1:])
    told = catalogue.described("tower34")["tower34"]
    assert json.loads(json.dumps(told))["variants"] == ["tower18", "tower34"]
    assert catalogue.described().keys() == zoo.entries().keys()


@pytest.mark.usefixtures("_registered")
def test_a_family_that_looks_names_up_gets_ids(tmp_path):
    import numpy as np

    x = np.random.default_rng(0).integers(0, 9, (60, 5))
    np.savez(tmp_path / "t.npz", x=x, y=np.arange(60) % 2)
    declared = Protocol(
        data=str(tmp_path / "t.npz"), baseline="tower18", challengers=["tower34"],
        configurations=4, effort=1, epochs=1,
    )  # fmt: skip
    trial = Zoo.of(declared)
    assert trial.problem.x_train.dtype == np.int64
    assert trial.resolved["data"]["inputs"] == "whole numbers"


def test_token_ids_reach_a_sequences_network_through_an_embedding():
    ids = torch.randint(0, 9, (4, 20))
    given = Inputs.of_shape((20,), vocabulary=9)
    wide = arms.find("gru", {"embedding": 8}).build(given, 3, {})
    assert wide.embedding.weight.shape == (9, 8)
    assert wide(ids).shape == (4, 3)
    assert arms.find("gru_large").build(given, 3, {}).embedding.weight.shape == (9, 32)
    assert "embedding" not in dict(arms.find("gru").build((20,), 3, {}).named_modules())


def test_an_embedding_of_numbers_is_refused():
    with pytest.raises(ArmError, match="an embedding is of names, such as token ids"):
        arms.find("lstm", {"embedding": 8}).build((20,), 3, {})
    with pytest.raises(ArmError, match=r"one sequence of token ids an example, \(L,\)"):
        arms.find("rnn").build(Inputs.of_shape((2, 20), vocabulary=9), 3, {})


def test_whole_numbers_that_nobody_must_look_up_are_a_question(tmp_path):
    import numpy as np

    x = np.random.default_rng(0).integers(0, 9, (60, 12))
    np.savez(tmp_path / "t.npz", x=x, y=np.arange(60) % 2)
    declared = Protocol(
        data=str(tmp_path / "t.npz"), baseline="gru", challengers=["lstm"],
        configurations=4, effort=1, epochs=1,
    )  # fmt: skip
    with pytest.raises(ProtocolError, match="gru and lstm read either") as caught:
        Zoo.of(declared)
    assert "--scale if they are amounts" in str(caught.value)
    assert "--no-scale if they are names" in str(caught.value)
    dtypes = [
        Zoo.of(declared.model_copy(update={"scale": scale})).problem.x_train.dtype
        for scale in (True, False)
    ]
    assert dtypes == [np.float32, np.int64]


def test_the_picture_has_every_family_below_the_one_that_it_took_from():
    rows = picture.ordered()
    names = [name for name, _ in rows]
    assert sorted(names) == list(zoo.families())
    for name, lineage in rows:
        parents = [whom for whom in lineage.took if whom in names]
        if parents:
            assert names.index(parents[0]) < names.index(name)
    figure = picture.draw()
    written = {text.get_text() for text in figure.axes[0].texts}
    assert written >= set(names)


def test_the_tree_is_drawn_by_a_command(tmp_path, archtrial):
    status, said, _ = archtrial("zoo", "--figure", tmp_path / "tree.svg")
    assert (status, said) == (0, f"figure: {tmp_path / 'tree.svg'}\n")
    assert "squeezenet" in (tmp_path / "tree.svg").read_text()
    status, _, said = archtrial("zoo", "resnet", "--figure", tmp_path / "x.svg")
    assert (status, (tmp_path / "x.svg").exists()) == (2, False)
    assert "the tree has all families" in said
    assert archtrial("zoo", "--figure", tmp_path / "x.pdf")[0] == 2


def test_the_documentation_has_every_family_and_variant():
    """docs/zoo.md is written by evidence/zoo.py."""
    place = Path(__file__).resolve().parents[2] / "docs" / "zoo.md"
    if not place.exists():
        pytest.skip("the package was installed without its documents")
    text = place.read_text()
    for name, entry in zoo.entries().items():
        heading = f"## {name}\n" if entry.variant is None else f"- `{name}`: "
        assert heading in text, name
        assert f"{size_of(entry).parameters:,} parameters" in text, name
