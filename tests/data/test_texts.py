"""Columns of texts: their tokens as ids, learnt from the training rows, or a question."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

import archtrial
from archtrial import data, trial
from archtrial.data.preparation import Preparation
from archtrial.data.texts import PADDING, UNKNOWN, Text, Tokenizer
from archtrial.errors import ArmError, DataError, ProtocolError, UserError
from archtrial.protocol import Protocol, Splits
from archtrial.zoo import families

GOOD, BAD = ["lovely", "clear", "honest", "bright"], ["dull", "slow", "noisy", "empty"]
REST = ["the", "a", "film", "book", "play", "was", "it", "very", "and", "who"]


def review(i):
    """Returns a text of its own whose words say which of two classes it is of."""
    rng = np.random.default_rng(i)
    words = [*rng.choice(REST, 3 + i % 4), *rng.choice((BAD, GOOD)[i % 2], 2)]
    return " ".join([*words, f"w{i}"])


def reviews(count=80):
    texts = [review(i) for i in range(count)]
    return pd.DataFrame({"review": texts, "stars": ["low", "high"] * (count // 2)})


@pytest.fixture
def path(tmp_path):
    reviews().to_csv(tmp_path / "r.csv", index=False)
    return tmp_path / "r.csv"


def written(folder, frame, name="t.csv"):
    path = folder / name
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    elif "json" in name:
        frame.to_json(path, orient="records", lines="jsonl" in name)
    else:
        separator = "\t" if name.endswith(".tsv") else ","
        frame.to_csv(path, index=False, sep=separator)
    return path


def split_of(path, seed=0, **told):
    return data.load(path, text="review", **told).split(Splits(), seed)


# --- tokens -----------------------------------------------------------------------------


def learnt(texts, **told):
    return Tokenizer.learnt(texts, Text("t", **told))[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't STOP, it's 3.5!", ["don't", "stop", "it's", "3", "5"]),
        ("l\u2019\u00e9t\u00e9 'quoted'", ["l'\u00e9t\u00e9", "quoted"]),
        ("cafe\u0301 caf\u00e9 CAF\u00c9", ["caf\u00e9"] * 3),
        ("snake_case x-ray a/b", ["snake_case", "x", "ray", "a", "b"]),
        # Vowels of Hindi are marks, which no letter of Python's is.
        ("\u0939\u093f\u0928\u094d\u0926\u0940", ["\u0939\u093f\u0928\u094d\u0926\u0940"]),
        ("\u041c\u0438\u0440 \u03c4\u03ad\u03bb\u03bf\u03c2", ["\u043c\u0438\u0440", "\u03c4\u03ad\u03bb\u03bf\u03c2"]),
        ("one\ntwo\tthree\u2028four", ["one", "two", "three", "four"]),
        ("!? ... \U0001f600", []),
    ],
)  # fmt: skip
def test_what_a_word_is(text, words):
    tokenizer = learnt([" ".join([text, "anchor"])])
    known = dict(enumerate(tokenizer.words, 2))
    ids = tokenizer([text]).ids[0]
    assert [known[i] for i in ids.tolist() if i > UNKNOWN] == words


def test_ids_are_padding_unknown_and_words_by_falling_frequency():
    tokenizer = learnt(["z a c", "c a", "a b"])
    assert tokenizer.words == ("a", "c", "b", "z")
    assert tokenizer.vocabulary == 6
    found = tokenizer(["C x a", "z", "", None, "a a a a a"])
    assert found.ids.dtype == np.int64
    assert found.ids.tolist() == [[3, 1, 2], [5, 0, 0], [1, 0, 0], [1, 0, 0], [2, 2, 2]]
    assert found.lengths.tolist() == [3, 1, 1, 1, 3]
    assert found.cut.tolist() == [False] * 4 + [True]
    assert found.silent.tolist() == [False, False, True, True, False]


def test_bytes_are_what_they_are():
    tokenizer = learnt(["ab", "\u00e9"], tokens="byte")
    assert (tokenizer.words, tokenizer.vocabulary, tokenizer.steps) == ((), 258, 2)
    ids = tokenizer(["a", "\u00e9", "\x00", ""]).ids
    assert (ids - 2).tolist() == [[97, -2], [0xC3, 0xA9], [0, -2], [-1, -2]]
    assert tokenizer(["\ud800"]).ids.tolist() == [[63 + 2, PADDING]]


def test_limits_keep_the_commonest_words_and_the_beginning():
    texts = ["a b c d", "a b c", "a b"]
    tokenizer, left_out = Tokenizer.learnt(
        texts, Text("t", max_vocabulary=2, max_tokens=3)
    )
    # "d" is behind what is read, and so neither learnt nor counted.
    assert (tokenizer.words, left_out, tokenizer.steps) == (("a", "b"), 1, 3)
    assert tokenizer(["c b a d"]).ids.tolist() == [[1, 3, 2]]


def test_what_is_no_word_of_a_language_is_unknown():
    blob = "x" * 65
    assert learnt([f"a {blob}"])([f"{blob} a"]).ids.tolist() == [[UNKNOWN, 2]]


def test_a_tokenizer_comes_back_from_json():
    tokenizer = learnt(["b a", "caf\u00e9 a"])
    again = Tokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    assert again == tokenizer
    for broken in ({"unit": "char"}, {"steps": 0}, {"steps": True}, {"words": [1]}):
        with pytest.raises(ValueError, match="tokenizer"):
            Tokenizer.from_dict({**tokenizer.to_dict(), **broken})


# --- data sets --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["t.csv", "t.tsv", "t.csv.gz", "t.parquet", "t.jsonl", "t.json"]
)
def test_texts_of_every_table_become_the_same_ids(tmp_path, name):
    frame = reviews()
    frame["review"] = [
        text.replace(" ", "\n", 1) + ', "so" it, said' for text in frame["review"]
    ]
    split = split_of(written(tmp_path, frame, name))
    assert (split.kind, split.task, split.classes) == (
        "sequence", "classification", ("high", "low"),
    )  # fmt: skip
    assert split.x_train.dtype == np.int64
    assert split.input_shape == (12,)
    inputs = data.inputs_of(split)
    assert (inputs.vocabulary, inputs.lengths) == (split.vocabulary, (9, 12))
    counted = CountVectorizer(token_pattern=r"\w+").fit(frame["review"])
    assert split.vocabulary < len(counted.vocabulary_)  # of the training rows alone
    written(tmp_path, frame, "same.csv")
    assert np.array_equal(split.x_test, split_of(tmp_path / "same.csv").x_test)


def test_the_tokenizer_knows_the_training_rows_alone(path):
    frame, split = reviews(), split_of(path)
    words = set(split.preparation.text["tokenizer"]["words"])
    again = split.preparation(frame["review"]).numpy()
    rows = {row.tobytes(): i for i, row in enumerate(again)}
    own = {f"w{rows[row.tobytes()]}" for row in split.x_train}
    # Each text has a word of its own, and is told apart by the other words, or not.
    assert {word for word in words if re.fullmatch(r"w\d+", word)} >= own
    assert len([w for w in words if re.fullmatch(r"w\d+", w)]) == len(split.x_train)
    assert (split.x_train != UNKNOWN).all()
    assert (split.x_test == UNKNOWN).any(1).all()
    # The vocabulary is the tokenizer's, not the largest id that is seen.
    assert split.vocabulary == len(words) + 2


def test_longer_texts_than_any_of_the_training_rows_are_cut(tmp_path):
    frame = reviews()
    split = split_of(written(tmp_path, frame))
    kept = {row.tobytes() for row in split.x_train}
    again = split.preparation(frame["review"]).numpy()
    outside = next(i for i, row in enumerate(again) if row.tobytes() not in kept)
    frame.loc[outside, "review"] += " long" * 50
    split = split_of(written(tmp_path, frame))
    assert split.input_shape[0] < 20
    assert "1 of 80 texts are longer than" in " ".join(split.notes)
    assert "the longest text of the training rows" in " ".join(split.notes)


def test_what_is_cut_is_said(path):
    split = split_of(path, max_vocabulary=10, max_tokens=4)
    assert (split.vocabulary, split.input_shape) == (12, (4,))
    said = " ".join(split.notes)
    assert "80 of 80 texts are longer than 4 words (--max-tokens reads more)" in said
    assert re.search(r"\d+ rarer words .* \(--max-vocabulary\)", said)
    assert "rarer words" not in " ".join(split_of(path).notes)
    assert split.digest != split_of(path).digest != split_of(path, tokens="byte").digest


def test_empty_texts_and_texts_of_unknown_words(tmp_path):
    frame = reviews()
    frame.loc[3, "review"], frame.loc[4, "review"], frame.loc[5, "review"] = (
        "",
        None,
        "?!",
    )
    split = split_of(written(tmp_path, frame))
    assert "3 of 80 texts hold no word; each is read as one that is not known." in (
        " ".join(split.notes)
    )
    assert data.inputs_of(split).lengths[0] == 1
    assert (
        np.concatenate([split.x_train, split.x_test, split.x_validation])[:, 0] > 0
    ).all()


def test_texts_without_any_word_are_refused_and_the_way_out_works(tmp_path):
    path = written(
        tmp_path, reviews().assign(review=["?!" * (1 + i % 5) for i in range(80)])
    )
    with pytest.raises(DataError, match="texts hold words") as caught:
        split_of(path)
    assert "--tokens byte" in caught.value.way_out
    assert split_of(path, tokens="byte").vocabulary == 258
    path = written(tmp_path, reviews().assign(review=""))
    for tokens in ("word", "byte"):
        with pytest.raises(DataError, match=f"texts hold {tokens}s") as caught:
            split_of(path, tokens=tokens)
        assert "--tokens" not in caught.value.way_out


def test_copies_between_the_sets_are_found(tmp_path):
    path = written(tmp_path, pd.concat([reviews()] * 3))
    split = split_of(path)
    assert split.copies.exact > len(split.x_test) / 2
    assert split_of(written(tmp_path, reviews())).copies.exact == 0


def test_other_columns_are_left_out_and_groups_stay(tmp_path):
    frame = reviews().assign(pages=[i * i % 97 / 3 for i in range(80)])
    frame["author"] = [f"author {i % 8}" for i in range(80)]
    frame = frame[["pages", "author", "review", "stars"]]
    path = written(tmp_path, frame)
    said = " ".join(split_of(path).notes)
    assert (
        "Left out, since only the texts of review are read: pages and author." in said
    )
    grouped = data.load(path, text="review", groups="author").split(
        Splits(groups="author"), 0
    )
    assert "Column author names the groups and is no input." in grouped.notes
    assert len(grouped.x_test) % 10 == 0
    # The target is the last column beside the texts, wherever those stand.
    frame = frame[["pages", "stars", "review"]]
    assert data.load(written(tmp_path, frame), text="review").classes == ("high", "low")
    amounts = data.load(path, text="review", target="pages", task="regression")
    assert (amounts.task, amounts.kind) == ("regression", "sequence")


def test_what_is_not_read_is_not_asked_about(tmp_path):
    """Beside the texts: a number of either notation, and an object within a row."""
    frame = reviews().assign(price=["1.234", "2,5"] * 40)[["price", "review", "stars"]]
    path = written(tmp_path, frame)
    with pytest.raises(DataError, match="--decimal point"):
        data.load(path)
    assert "are read: price." in " ".join(data.load(path, text="review").notes)
    objects = [{**row, "helpful": [0, 1]} for row in frame.to_dict("records")]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in objects))
    with pytest.raises(DataError, match="'helpful' in row 1 is a list"):
        data.load(path, target="stars")
    found = data.load(path, text="review", target="stars")
    assert "are read: price and helpful." in " ".join(found.notes)


def test_quotation_marks_between_tabs_are_parts_of_texts(tmp_path):
    lines = [
        f"{('ham', 'spam')[i % 2]}\t{chr(34) if i % 9 == 0 else ''}{review(i)}"
        for i in range(60)
    ]
    (tmp_path / "sms.tsv").write_text("\n".join(lines) + "\n")
    found = data.load(tmp_path / "sms.tsv", text="column_2")
    assert (len(found.targets), found.classes) == (60, ("ham", "spam"))
    assert found.inputs[0].values[0].startswith('"')
    # Where marks stand around fields, they are none of the text.
    (tmp_path / "q.tsv").write_text(
        "y\treview\n" + "\n".join(f'{"ab"[i % 2]}\t"say ""{i}""\n x"' for i in range(9))
    )
    assert (
        data.load(tmp_path / "q.tsv", text="review").inputs[0].values[3]
        == 'say "3"\n x'
    )


def test_huge_cells(tmp_path):
    frame = reviews()
    frame.loc[:9, "review"] = "word " * 40_000
    with pytest.raises(DataError, match="131,072 characters") as caught:
        split_of(written(tmp_path, frame))
    assert ".jsonl" in caught.value.way_out
    for name in ("t.jsonl", "t.parquet"):
        split = split_of(written(tmp_path, frame, name))
        assert split.input_shape == (256,)
        assert "10 of 80 texts are longer than 256 words" in " ".join(split.notes)


def test_bytes_are_no_texts(tmp_path):
    (tmp_path / "l.csv").write_bytes(
        b"review,y\n"
        + b"".join(b"caf\xe9 is good %d,%d\n" % (i, i % 2) for i in range(40))
    )
    with pytest.raises(DataError, match="UTF-8"):
        data.load(tmp_path / "l.csv", text="review")
    frame = reviews()
    frame["review"] = [text.encode() for text in frame["review"]]
    with pytest.raises(DataError, match="holds bytes"):
        split_of(written(tmp_path, frame, "b.parquet"))


# --- what is asked, and refused ---------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 4])
def test_a_table_of_nothing_but_texts_is_asked_for(tmp_path, copies):
    """Whether its texts repeat, as categories do, or not; and the answers work."""
    frame = pd.concat([reviews()] * copies)
    path = written(tmp_path, frame)
    with pytest.raises(DataError, match="--text review") as caught:
        data.load(path)
    assert data.load(path, text="review").kind == "sequence"
    answers = re.findall(r"--categorical (\w+)", caught.value.way_out)
    assert answers == (["review"] if copies > 1 else [])
    for name in answers:
        found = data.load(path, categorical=[name])
        assert found.kind == "table"
        assert found.split(Splits(), 0).x_train.shape[1] > 1


def test_names_that_are_no_prose_are_asked_for_when_they_are_dropped(tmp_path):
    frame = reviews().assign(review=[f"name{i * 7919}" for i in range(80)])
    path = written(tmp_path, frame)
    with pytest.raises(DataError, match="--text review"):
        data.load(path).split(Splits(), 0)
    assert split_of(path, tokens="byte").kind == "sequence"


def test_a_dropped_text_beside_other_columns_is_pointed_to(tmp_path):
    frame = reviews().assign(pages=[i * i % 97 / 3 for i in range(80)])
    path = written(tmp_path, frame[["review", "pages", "stars"]])
    said = " ".join(data.load(path).split(Splits(), 0).notes)
    assert "nearly every row has a text of its own: review." in said
    assert "--text review" in said


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"text": "revew"}, "Did you mean review"),
        ({"text": "stars", "target": "stars"}, "'stars' for both"),
        ({"text": "review", "groups": "review"}, "groups another"),
        ({"tokens": "byte"}, "--text COLUMN"),
        ({"max_tokens": 9}, "max_tokens says how"),
        ({"max_vocabulary": 9}, "max_vocabulary says how"),
        ({"text": "review", "tokens": "char"}, "word or byte"),
        (
            {"text": "review", "tokens": "byte", "max_vocabulary": 9},
            "of bytes there are",
        ),
    ],
)
def test_what_contradicts_itself_is_one_message(path, told, says):
    with pytest.raises(DataError, match=re.escape(says)):
        data.load(path, **told)


def test_texts_belong_to_tables(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((9, 3)), y=np.arange(9))
    with pytest.raises(DataError, match="text is for tables"):
        data.load(tmp_path / "a.npz", text="x")
    with pytest.raises(DataError, match="tokens says how"):
        data.load(tmp_path / "a.npz", tokens="byte")
    with pytest.raises(DataError, match="text says how a file is read"):
        data.load("digits", text="x")
    reviews()[["review"]].to_csv(tmp_path / "only.csv", index=False)
    with pytest.raises(DataError, match="a column of targets"):
        data.load(tmp_path / "only.csv", text="review")
    reviews().assign(stars="low").to_csv(tmp_path / "one.csv", index=False)
    with pytest.raises(DataError, match="at least two classes"):
        data.load(tmp_path / "one.csv", text="review")


def prepared(path, *arms, **declared):
    return trial.prepare(
        Protocol(
            data=str(path), text="review", baseline=arms[0], challengers=arms[1:],
            steps=4, configurations=4, effort=1, **declared,
        )
    )  # fmt: skip


def test_arms_that_multiply_their_inputs_are_refused_and_others_named(path):
    for arms in (("gru", "mlp"), ("linear", "cnn"), ("lstm", "cnn_large")):
        with pytest.raises(ProtocolError, match="looked up") as caught:
            prepared(path, *arms)
        for name, family in families().items():
            assert (family.names != "never") == bool(
                re.search(rf"\b{name}\b", caught.value.way_out)
            )
    ways = re.findall(r"Take (\w+), .*(sklearn:\w+)", caught.value.way_out)
    assert prepared(path, *ways[0]).resolved["data"]["kind"] == "sequence"


def test_texts_are_never_scaled(path):
    with pytest.raises(ProtocolError, match="Leave --scale out"):
        prepared(path, "gru", "lstm", scale=True)
    assert prepared(path, "gru", "lstm", scale=False).problem.x_train.dtype == np.int64
    with pytest.raises(ProtocolError, match=r"Leave augmentation out\.$"):
        prepared(path, "gru", "lstm", recipe={"augmentation": ["noise"]})


NET = """
import torch
from torch import nn
class Bag(nn.Module):
    def __init__(self, vocab_size, num_outputs):
        super().__init__()
        self.e, self.o = nn.Embedding(vocab_size, 4), nn.Linear(4, num_outputs)
    def forward(self, x):
        return self.o(self.e(x).mean(1))
class Few(Bag):
    def __init__(self, num_outputs):
        super().__init__(5, num_outputs)
class Plain(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.o = nn.Linear(input_shape[0], num_outputs)
    def forward(self, x):
        return self.o(x)
"""


def test_modules_of_ones_own_get_the_ids(path):
    (path.parent / "net.py").write_text(NET)
    made = prepared(path, "gru", f"{path.parent}/net.py:Bag")
    assert made.resolved["data"]["inputs"] == "whole numbers"
    assert f"vocab_size = {made.split.vocabulary}" in " ".join(made.resolved["notes"])
    for name in ("Plain", "Few"):
        with pytest.raises(ArmError) as caught:
            prepared(path, "gru", f"{path.parent}/net.py:{name}")
        assert "--scale" not in caught.value.way_out
        assert f"nn.Embedding of {made.split.vocabulary}" in caught.value.way_out


def test_other_kinds_of_study_and_trainers_refuse_texts(path):
    declared = Protocol(
        data=str(path), text="review", baseline="gru", challengers=["lstm"]
    )
    with pytest.raises(ProtocolError, match="leave --text out"):
        trial.load(declared)
    for name, value in (
        ("text", "review"), ("tokens", "word"), ("max_tokens", 3), ("max_vocabulary", 3)
    ):  # fmt: skip
        declared = Protocol(
            data="d", baseline="a=x", challengers=["b=y"], **{name: value}
        )
        with pytest.raises(ProtocolError, match=f"{name} is declared"):
            trial.prepare(declared, lambda *_: {})


# --- to the end -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    reviews(160).to_json(folder / "r.jsonl", orient="records", lines=True)
    (folder / "t.toml").write_text(
        'data = "r.jsonl"\ntext = "review"\nmax_vocabulary = 60\nbaseline = "gru"\n'
        'challengers = ["sklearn:LogisticRegression"]\n'
        "configurations = 4\neffort = 1\nconfirm_seeds = 2\nsteps = 60\n"
    )
    run = [sys.executable, "-c", "from archtrial.cli import main; main()", "run"]
    done = subprocess.run(
        [*run, "t.toml", "--study", "study", "--json"],
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_study_of_texts_from_its_file_to_its_verdict(finished):
    folder, done = finished
    said = json.loads(done.stdout)
    assert json.loads((folder / "study/verdict.json").read_text()) == said
    assert "(a bag of words): their order is lost" in done.stderr
    asked = subprocess.run(
        [sys.executable, "-c", "from archtrial.cli import main; main()", "run",
         "t.toml", "--study", "study", "--max-tokens", "5"],
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    assert asked.returncode == 2
    assert "digest" in asked.stderr or "protocol" in asked.stderr


def test_a_tuned_model_takes_raw_texts(finished):
    folder, _ = finished
    model = archtrial.load_tuned(folder / "study", "gru")
    frame = reviews(160)
    predicted = model.predict(list(frame["review"]))
    assert (predicted == frame["stars"]).mean() > 0.8
    for same in (frame, {"review": frame["review"]}, frame["review"].to_numpy()):
        assert (model.predict(same) == predicted).all()
    assert len(model.predict(["", "none of these is known", None, np.nan])) == 4
    with pytest.raises(DataError, match=r"A single text is \[text\]"):
        model.predict("one text")
    for wrong in (b"bytes", 5, [5], [b"x"], {"text": ["x"]}):
        with pytest.raises(DataError):
            model.predict(wrong)
    assert model.preparation.text["column"] == "review"
    again = Preparation.from_dict(json.loads(json.dumps(model.preparation.to_dict())))
    assert (again(["a film"]) == model.preparation(["a film"])).all()


def test_a_damaged_tokenizer_is_one_message(finished):
    folder, _ = finished
    kept = folder / "study/tuned/gru.json"
    text = kept.read_text()
    try:
        kept.write_text(text.replace('"unit": "word"', '"unit": "char"'))
        with pytest.raises(UserError, match="damaged"):
            archtrial.load_tuned(folder / "study", "gru")
    finally:
        kept.write_text(text)


def test_an_estimator_counts_words_as_scikit_learn_does(path):
    made = prepared(path, "gru", "sklearn:LogisticRegression(C=1.0)")
    split, fits = made.split, made.trainer.fits
    (arm,), rows = fits.estimators, np.arange(len(split.y_train))
    (found,) = fits._presented(arm, {}, 0, rows, [split.x_validation], finely=True)
    words = split.preparation.text["tokenizer"]["words"]
    spelled = dict(enumerate(["", "unknownword", *words]))

    def texts(ids):
        return [" ".join(spelled[i] for i in row if i) for row in ids.tolist()]

    counts = CountVectorizer(
        vocabulary=["unknownword", *words], token_pattern=r"[^ ]+", lowercase=False
    )
    twin = LogisticRegression(C=1.0, max_iter=1000, random_state=0)
    twin.fit(counts.transform(texts(split.x_train)), split.y_train)
    expected = twin.predict_proba(counts.transform(texts(split.x_validation)))
    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    "name",
    ["HistGradientBoostingClassifier", "RandomForestClassifier", "LinearSVC",
     "KNeighborsClassifier", "DummyClassifier"],
)  # fmt: skip
def test_estimators_fit_to_counts_whether_sparse_or_not(path, name):
    made = prepared(path, "gru", f"sklearn:{name}")
    assert "bag of words" in " ".join(made.resolved["notes"])
