"""What an architecture may ask of the data: all that is known of the inputs."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import archtrial
from archtrial import data
from archtrial.data.inputs import Column, Inputs, inputs_of
from archtrial.errors import ArmError
from archtrial.protocol import Splits
from archtrial.zoo import arms

COLORS = ("red", "green", "blue")


@pytest.fixture
def table(tmp_path):
    """30 rows: a number, a column of three colours, and one of two answers."""
    rows = [
        f"{i * 7 % 11},{COLORS[i % 3]},{'yes' if i % 4 else 'no'},{'ab'[i % 2]}"
        for i in range(60)
    ]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["size,color,new,class", *rows]))
    return path


@pytest.fixture
def tokens(tmp_path):
    """Sequences of the ids 0 to 11, of which the largest stands in one row alone."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 11, (60, 5))
    x[7, 3] = 11
    np.savez(tmp_path / "tokens.npz", x=x, y=np.arange(60) % 2)
    return tmp_path / "tokens.npz"


def split_of(path, names=False, **read):
    return data.load(str(path), **read).split(Splits(), 0, names=names)


def test_a_tables_columns_are_told_with_their_categories(table):
    split = split_of(table, target="class")
    inputs = inputs_of(split)
    assert inputs == Inputs(
        shape=(6,),
        kind="table",
        columns=(Column("size", 0, None), Column("color", 1, 4), Column("new", 4, 3)),
    )
    assert hash(inputs) == hash(pickle.loads(pickle.dumps(inputs)))
    assert [c.width for c in inputs.columns] == [1, 3, 2]
    assert sum(c.width for c in inputs.columns) == split.x_train.shape[1]


def test_categories_become_whole_numbers_and_the_unseen_is_one_of_them(table):
    split = split_of(table, target="class")
    inputs = inputs_of(split)
    x = torch.from_numpy(split.x_train)
    numbers, ids = inputs.parted(x)
    assert torch.equal(numbers, x[:, :1])
    assert ids.dtype == torch.int64
    assert ids.shape == (len(x), 2)
    for place, column in enumerate(inputs.columns[1:]):
        own = x[:, column.start : column.start + column.width]
        assert torch.equal(ids[:, place] - 1, own.argmax(1))
        assert set(ids[:, place].tolist()) == set(range(1, column.categories))
    unseen = split.preparation({"size": [1], "color": ["pink"], "new": ["no"]})
    assert inputs.parted(unseen)[1][:, 0].tolist() == [0]
    assert inputs.parted(unseen)[1][0, 1] > 0


def test_a_table_of_categories_alone_and_one_of_numbers_alone():
    names = Inputs((3,), "table", columns=(Column("a", 0, 4),))
    numbers, ids = names.parted(torch.eye(3))
    assert numbers.shape == (3, 0)
    assert ids[:, 0].tolist() == [1, 2, 3]
    amounts = Inputs(
        (2,), "table", columns=(Column("a", 0, None), Column("b", 1, None))
    )
    numbers, ids = amounts.parted(torch.ones(5, 2))
    assert numbers.shape == (5, 2)
    assert (ids.shape, ids.dtype) == ((5, 0), torch.int64)
    with pytest.raises(ValueError, match="'image' have no columns"):
        Inputs.of_shape((1, 8, 8)).parted(torch.ones(1, 1, 8, 8))


def test_ids_have_a_vocabulary_and_amounts_have_none(tokens):
    inputs = inputs_of(split_of(tokens, names=True))
    assert (inputs.vocabulary, inputs.columns, inputs.shape) == (12, None, (5,))
    assert inputs_of(split_of(tokens)).vocabulary is None


def test_ids_below_0_are_no_places_in_a_table_of_embeddings(tmp_path):
    x = np.arange(180).reshape(60, 3) % 7 - 1
    np.savez(tmp_path / "t.npz", x=x, y=np.arange(60) % 2)
    assert inputs_of(split_of(tmp_path / "t.npz", names=True)).vocabulary is None


@pytest.mark.parametrize(
    ("shape", "kind", "lengths"),
    [
        ((7,), "array", None),
        ((3, 9), "sequence", (9, 9)),
        ((1, 8, 8), "image", None),
    ],
)
def test_a_shape_alone_says_the_least(shape, kind, lengths):
    found = Inputs.of_shape(list(shape))
    assert found == Inputs(shape, kind, None, lengths, None)
    assert Inputs.of_shape((9,), vocabulary=5).lengths == (9, 9)


def test_sequences_have_lengths():
    inputs = inputs_of(data.load("mnist1d").split(Splits(), 0))
    assert (inputs.kind, inputs.lengths) == ("sequence", (40, 40))


def test_it_is_kept_as_json(table):
    for inputs in (inputs_of(split_of(table, target="class")), Inputs.of_shape((3, 9))):
        again = json.loads(json.dumps(inputs.to_dict()))
        assert Inputs.from_dict(again) == inputs
        with pytest.raises(dataclasses.FrozenInstanceError):
            inputs.kind = "image"


class Net(nn.Module):
    """Embeds categories, and takes numbers as they are."""

    def __init__(self, inputs: Inputs, num_outputs, width=3):
        super().__init__()
        self.inputs = inputs
        of_categories = [c for c in inputs.columns if c.categories is not None]
        self.embeddings = nn.ModuleList(
            nn.Embedding(c.categories, width) for c in of_categories
        )
        numbers = len(inputs.columns) - len(of_categories)
        self.head = nn.Linear(numbers + width * len(of_categories), num_outputs)

    def forward(self, x):
        numbers, ids = self.inputs.parted(x)
        looked_up = [e(ids[:, i]) for i, e in enumerate(self.embeddings)]
        return self.head(torch.cat([numbers, *looked_up], 1))


def by_name(inputs: "archtrial.Inputs", num_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs.shape[0], num_outputs))


def of_another_kind(inputs=6, num_outputs=2):
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, num_outputs))


def test_a_builder_asks_for_them_by_name_and_type(table):
    inputs = inputs_of(split_of(table, target="class"))
    found = arms.find(Net, {"width": 5})
    assert found.asks_for_inputs
    assert found.accepts == set()
    assert found.build(inputs, 2, {}).embeddings[0].num_embeddings == 4
    assert arms.find(by_name).build((7,), 2, {})[1].in_features == 7
    plain = arms.find(of_another_kind)
    assert not plain.asks_for_inputs
    assert plain.accepts == {"inputs"}
    assert plain.build((6,), 2, {"inputs": 6})[1].in_features == 6


def test_it_is_no_option_where_the_data_give_it():
    with pytest.raises(ArmError, match="no option 'inputs'"):
        arms.find(Net, {"inputs": 3})


def test_without_its_type_it_is_a_parameter_like_any_other():
    def net(inputs, num_outputs):
        return nn.Linear(inputs, num_outputs)

    with pytest.raises(ArmError, match="'inputs' has none") as caught:
        arms.find(net).build((6,), 2, {})
    assert "inputs: archtrial.Inputs" in str(caught.value)


def looked_up(vocab_size, num_outputs):
    return nn.Sequential(
        nn.Embedding(vocab_size, 3), nn.Flatten(), nn.Linear(15, num_outputs)
    )


def with_a_tokenizer(num_outputs, vocab_size=999):
    return looked_up(vocab_size, num_outputs)


def test_public_names_of_a_vocabulary_are_told_from_the_data(tokens):
    inputs = inputs_of(split_of(tokens, names=True))
    assert arms.find(looked_up).told(inputs, 2, {}) == {"vocab_size": 12}
    assert arms.find(looked_up).build(inputs, 2, {})[0].num_embeddings == 12
    assert arms.find(with_a_tokenizer).build(inputs, 2, {})[0].num_embeddings == 999
    given = arms.find(with_a_tokenizer, {"vocab_size": "{vocabulary}"})
    assert given.build(inputs, 2, {})[0].num_embeddings == 12
    with pytest.raises(ArmError, match="'vocab_size' has none"):
        arms.find(looked_up).build((5,), 2, {})
    with pytest.raises(ArmError, match=r"have no \{vocabulary\}"):
        given.build((5,), 2, {})


def test_a_study_hands_them_out_trains_in_a_fleet_and_loads_the_model(table, tmp_path):
    study = archtrial.Study(
        archtrial.Protocol(
            data=str(table), target="class", baseline=f"{__file__}:Net",
            challengers=["linear"], configurations=4, effort=1, confirm_seeds=1,
            epochs=2, metric="accuracy", sampling="random",
        ),
        tmp_path / "study",
    )  # fmt: skip
    assert study.resolved["baseline"]["fleet"]
    assert not any("is told what the data have" in note for note in study.notes)
    study.run()
    model = archtrial.load_tuned(tmp_path / "study", "Net")
    assert model.inputs == inputs_of(split_of(table, target="class"))
    assert model.predict({"size": [3], "color": ["pink"], "new": ["no"]}).shape == (1,)
