"""Texts as token ids on disk: nothing lost, units that segments can be made of, complete or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stories import STORIES
from tokenizers import Tokenizer, models, pre_tokenizers

from trainer.pretrain.tokens import (
    MAX_UNIT_TOKENS,
    Tokens,
    TokenWriter,
    count_frequencies,
    find_word_starts,
    is_held_out,
    learn_wordpiece,
    split_sentences,
)

TEXTS = [text for *_, text in STORIES]

LETTERS = "abcdefghijklmnopqrstuvwxyz.,"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A tokenizer learned from the stories."""
    return learn_wordpiece([TEXTS * 3], [*LETTERS], vocab_size=128, lowercase=True, strip_accents=True)


def test_nothing_is_lost(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Documents come back token by token, each under its number; a sentence is a unit."""
    with TokenWriter(tmp_path, tokenizer) as writer:
        writer.add([[TEXTS[0]], [TEXTS[1], TEXTS[2]]])
        writer.add([["\t"], [TEXTS[3]]])
    found = Tokens.open(tmp_path)
    for number, texts in ((0, TEXTS[:1]), (1, TEXTS[1:3]), (3, TEXTS[3:4])):
        units = np.flatnonzero(found.documents == number)
        ids = found.tokens[found.starts[units[0]] : found.starts[units[-1] + 1]]
        wanted = [piece for text in texts for piece in tokenizer.encode(text, add_special_tokens=False).ids]
        assert ids.tolist() == wanted
        assert len(units) == sum(len(split_sentences(text)) for text in texts)
    assert not (found.documents == 2).any()
    assert found.tokens.dtype == np.uint16


def test_long_sentences_are_cut_where_a_word_begins(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """A text without a full stop can be made two segments of; a word without an end is cut all the same."""
    endless = " ".join(["garden", "mountain", "castle"] * 60)
    with TokenWriter(tmp_path, tokenizer) as writer:
        writer.add([[endless], ["x" * 99 + "y" * 99]])
    found = Tokens.open(tmp_path)
    sizes = np.diff(found.starts)
    assert sizes.max() <= MAX_UNIT_TOKENS * 1.5
    begins = find_word_starts(tokenizer)
    assert begins[found.tokens[found.starts[:-1][found.documents == 0]]].all()


def test_what_was_broken_off_is_not_there(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """After an error there are no half texts that a later start would take for whole."""
    with TokenWriter(tmp_path, tokenizer) as writer:
        writer.add([[TEXTS[0]]])
    with pytest.raises(KeyboardInterrupt), TokenWriter(tmp_path, tokenizer):
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError):
        Tokens.open(tmp_path)


def test_sentences_are_the_whole_text() -> None:
    """Quotes and spaces behind a full stop belong to the sentence before; other scripts end theirs too."""
    text = 'He said "no." Then he went. 这是一句。这是另一句。\n\nThe end'
    found = split_sentences(text)
    assert "".join(found) == text
    words = [part.strip() for part in found if part.strip()]
    assert words == ['He said "no."', "Then he went.", "这是一句。", "这是另一句。", "The end"]


def test_who_is_held_out() -> None:
    """The share is kept, and a document stays on its side whatever else there is; the seed changes sides."""
    keys = [f"d{number}" for number in range(20_000)]
    sides = [is_held_out(key, 0.05, 0) for key in keys]
    assert np.mean(sides) == pytest.approx(0.05, abs=0.005)
    assert sides != [is_held_out(key, 0.05, 1) for key in keys]
    assert all(is_held_out(key, 0.1, 0) for key, out in zip(keys, sides, strict=True) if out)


def test_word_starts_of_other_tokenizers() -> None:
    """Marks of a word's beginning are distinguished from marks of a continuation."""
    vocabulary = {"<s>": 0, "▁the": 1, "▁cat": 2, "s": 3}
    sentencepiece = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
    sentencepiece.pre_tokenizer = pre_tokenizers.Metaspace()
    assert find_word_starts(sentencepiece).tolist() == [False, True, True, False]
    wordpiece = Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1, "##s": 2}, unk_token="[UNK]"))
    assert find_word_starts(wordpiece).tolist() == [True, True, False]


def test_frequencies(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Shares of all pieces, none of them 0, which has no logarithm."""
    with TokenWriter(tmp_path, tokenizer) as writer:
        writer.add([[TEXTS[0]]])
    found = Tokens.open(tmp_path)
    share = count_frequencies(found, 128)
    assert share.sum() == pytest.approx(1)
    assert (share > 0).all()
    most = np.bincount(found.tokens).max()
    assert share.max() == pytest.approx((most + 1) / (len(found.tokens) + 128))
