"""Texts as ids of their words or bytes: what the words are, training rows say."""

import collections
import dataclasses
import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from archtrial.data.content import check_size
from archtrial.data.split import Array, Rows
from archtrial.errors import DataError

__all__ = [
    "PADDING",
    "UNKNOWN",
    "Encoded",
    "Text",
    "Tokenizer",
    "Unit",
    "tokenized",
    "word_pattern",
]

Unit: TypeAlias = Literal["word", "byte"]

PADDING, UNKNOWN = 0, 1
_FIRST = 2  # the id of the commonest word, or of the byte 0

# The commonest 20,000 words are some 97 % of running English text. A rarer one stands
# in a handful of training rows at most, too few to learn 32 values of an embedding from.
_MOST_WORDS = 20_000
# Every text is padded to the longest, and every arm pays for it: a recurrent network in
# proportion, a transformer by the square. Sentences, reviews and abstracts are shorter.
_MOST_TOKENS: Mapping[Unit, int] = {"word": 256, "byte": 1024}
# What is longer is no word of a language, but an address, a key or an encoded file.
_LONGEST_WORD = 64


@dataclasses.dataclass(frozen=True)
class Text:
    """What is declared of a table's column of texts."""

    column: str
    tokens: Unit = "word"
    max_vocabulary: int = _MOST_WORDS
    """Of words; bytes are 256."""
    max_tokens: int | None = None
    """Of one text; what is behind is not read. None: 256 words, or 1024 bytes."""

    @property
    def most(self) -> int:
        """Tokens of one text at most."""
        return _MOST_TOKENS[self.tokens] if self.max_tokens is None else self.max_tokens


@functools.cache
def word_pattern() -> re.Pattern[str]:
    """Returns what a word is.

    Letters, digits and underscores of any script, with the marks that stand upon them;
    an apostrophe between two such parts belongs to the word. What Python itself counts
    as a character of words leaves marks out, and so vowels of Hindi, Thai and Hebrew.
    """
    marks = "".join(
        chr(code)
        for code in range(0x300, 0x1F000)
        if unicodedata.category(chr(code)).startswith("M")
    )
    part = rf"\w[\w{marks}]*"
    return re.compile(rf"{part}(?:'{part})*")


def _words(text: str) -> Iterator[str]:
    """Yields a text's words, in lower case."""
    plain = unicodedata.normalize("NFC", text.lower()).replace("\u2019", "'")
    return (match[0] for match in word_pattern().finditer(plain))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # halves of surrogate pairs have no UTF-8


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """Texts as ids."""

    ids: Array
    """(N, steps) int64; behind the end of a text 0."""
    lengths: Array
    """(N,) int64: how many tokens of each text are read, at least 1."""
    cut: Array
    """(N,) bool: which texts are longer than what is read of them."""
    silent: Array
    """(N,) bool: which texts hold no token; they are read as one unknown token."""


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """From a text to ids: 0 behind its end, 1 what is not known, then the tokens.

    Words are in lower case and stand in the order of their frequency in the training
    rows, those that are equally frequent in the order of their characters' code points.
    A byte's id is its value and 2.
    """

    unit: Unit
    steps: int
    """Tokens that are read of a text."""
    words: tuple[str, ...] = ()
    """Of the ids from 2 on; none where tokens are bytes."""

    @classmethod
    def learnt(cls, texts: Iterable[str | None], told: Text) -> tuple["Tokenizer", int]:
        """Returns the tokenizer of the training rows, and how many words it leaves out.

        What lies behind the longest that is read of a text is not learnt from.

        Raises:
            DataError: No text holds a token.
        """
        counts: collections.Counter[str] = collections.Counter()
        longest, empty = 0, True
        for text in texts:
            empty = empty and not text
            if told.tokens == "byte":
                longest = max(longest, len(_bytes(text or "")))
                continue
            words = list(itertools.islice(_words(text or ""), told.most))
            longest = max(longest, len(words))
            counts.update(word for word in words if len(word) <= _LONGEST_WORD)
        if longest == 0:
            first = "Check the file" if empty else "Use --tokens byte"
            raise DataError(
                f"texts hold {told.tokens}s",
                f"in column {told.column!r} no text of the training rows does",
                f"{first}, or name another column: --text NAME (in a protocol, text ="
                " ...).",
            )
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        kept = tuple(ranked[: told.max_vocabulary])
        made = cls(told.tokens, min(longest, told.most), kept)
        return made, len(ranked) - len(kept)

    @property
    def vocabulary(self) -> int:
        """Ids are from 0 to below it."""
        return _FIRST + (256 if self.unit == "byte" else len(self.words))

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words, _FIRST)}

    def __call__(self, texts: Sequence[str | None]) -> Encoded:
        """Returns texts as ids; None is an empty text."""
        ids = np.full((len(texts), self.steps), PADDING, np.int64)
        lengths = np.ones(len(texts), np.int64)
        cut, silent = (np.zeros(len(texts), bool) for _ in range(2))
        for row, text in enumerate(texts):
            found = self._ids(text or "")
            cut[row], silent[row] = len(found) > self.steps, len(found) == 0
            found = found[: self.steps] if len(found) else [UNKNOWN]
            lengths[row] = len(found)
            ids[row, : len(found)] = found
        return Encoded(ids, lengths, cut, silent)

    def _ids(self, text: str) -> Sequence[int] | Array:
        """Returns one id more than is read where there are more."""
        if self.unit == "byte":
            some = _bytes(text[: self.steps + 1])  # a character is a byte at least
            return np.frombuffer(some, np.uint8).astype(np.int64) + _FIRST
        some_words = itertools.islice(_words(text), self.steps + 1)
        return [self._places.get(word, UNKNOWN) for word in some_words]

    def notes(
        self, told: Text, left_out: int, sets: Mapping[str, Encoded]
    ) -> list[str]:
        """Says what texts became, and what was cut.

        Args:
            told: What was declared.
            left_out: Words of the training rows that have no id.
            sets: By "training", "validation" and "test" its texts.
        """
        number = f"{len(self.words):,} words" if self.unit == "word" else "256 bytes"
        which = ", the commonest of the training rows" if self.unit == "word" else ""
        notes = [
            f"Texts of column {told.column} are read {self.unit} by {self.unit}, up to"
            f" {self.steps:,} of them: {number}{which}; 1 stands for what"
            " is not known, and 0 behind the end of a text."
        ]
        if left_out:
            notes.append(
                f"{left_out:,} rarer words of the training rows have no id of their own"
                " (--max-vocabulary)."
            )
        total = sum(len(part.lengths) for part in sets.values())
        cut = sum(int(part.cut.sum()) for part in sets.values())
        if cut:
            share = f"{cut:,} of {total:,} texts"
            limit = (
                "--max-tokens reads more"
                if self.steps == told.most
                else "the longest text of the training rows"
            )
            notes.append(
                f"{share} are longer than {self.steps:,} {self.unit}s ({limit}): what is"
                " behind is not read."
            )
        silent = sum(int(part.silent.sum()) for part in sets.values())
        if silent:
            notes.append(
                f"{silent:,} of {total:,} texts hold no {self.unit}; each is read as one"
                " that is not known."
            )
        for name, part in sets.items():
            within = part.ids != PADDING
            unknown = (part.ids == UNKNOWN) & ~part.silent[:, None]
            share_of = unknown.sum() / max(1, within.sum())
            nothing = (unknown == within).all(1).sum()
            if name != "training" and share_of >= 0.01:
                notes.append(
                    f"{100 * share_of:.0f} % of the {self.unit}s of the {name} texts are not known"
                    " from the training rows"
                    + (f", and {nothing:,} texts hold no other" if nothing else "")
                    + (" (--tokens byte knows all)." if share_of > 0.5 else ".")
                )
        return notes

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {"unit": self.unit, "steps": self.steps, "words": list(self.words)}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> "Tokenizer":
        """Returns what `to_dict` described, be it read from JSON.

        Raises:
            KeyError: Something is missing.
            ValueError: Something is not what it should be.
        """
        unit, steps, words = (described[name] for name in ("unit", "steps", "words"))
        if unit not in _MOST_TOKENS or type(steps) is not int or steps < 1:
            raise ValueError(f"a tokenizer of {steps!r} tokens, each a {unit!r}")
        if not isinstance(words, list) or not all(isinstance(w, str) for w in words):
            raise ValueError("the words of a tokenizer are texts")
        return cls(unit, steps, tuple(words))


def tokenized(
    texts: Array, rows: Rows, told: Text
) -> tuple[Tokenizer, list[Array], tuple[int, int], list[str]]:
    """Learns a tokenizer from the training rows, and reads all of them by it.

    Args:
        texts: (N,) str and None.
        rows: Which train, choose and test.
        told: How texts are read.

    Returns:
        The tokenizer; the sets' ids, (n, steps) int64 each; tokens of the shortest and of
        the longest text; and notes.

    Raises:
        DataError: No training text holds a token, or the ids would not fit into memory.
    """
    tokenizer, left_out = Tokenizer.learnt(texts[rows.train].tolist(), told)
    check_size(
        f"{len(texts):,} texts of {tokenizer.steps:,} ids",
        8 * len(texts) * tokenizer.steps,
    )
    names = ("training", "validation", "test")
    sets = {
        name: tokenizer(texts[members].tolist())
        for name, members in zip(names, rows, strict=True)
    }
    tokens = np.concatenate([encoded.lengths for encoded in sets.values()])
    ends = (int(tokens.min()), int(tokens.max()))
    parts = [encoded.ids for encoded in sets.values()]
    return tokenizer, parts, ends, tokenizer.notes(told, left_out, sets)
