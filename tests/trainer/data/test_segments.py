"""Segmentation of long texts: which texts are cut, and where."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from indexer.errors import UserError
from indexer.inference.passages import Splitter
from indexer.inference.session import load_tokenizer
from trainer.data.segments import CharacterSegments, CountingModel, TokenSegments, make_segmenter
from trainer.models.base import locate

SENTENCES = ["The cat sits in the garden.", "The dog runs by the river.", "The bird flies to the sea."]
"""Seven tokens each for the tiny model, whose longest input is 32 tokens, two of them special."""


def pieces(text: str, data: Path, title: str = "", over: int | None = None, segment: int | None = None) -> list[str]:
    """Return the pieces of one text, by tokens."""
    return make_segmenter("tokens", over, segment, data).pieces([title], [text])[0]


@pytest.mark.parametrize("length", [1, 1023, 1024, 1025, 1100, 5000])
def test_characters_as_the_original_system_did(length: int) -> None:
    """A text over 1,024 characters becomes pieces of exactly 100, the last one shorter; together they are the text."""
    text = "".join(chr(ord("a") + at % 26) for at in range(length))
    (cut,) = make_segmenter("chars", 1024, 100).pieces([""], [text])
    assert "".join(cut) == text
    if length <= 1024:
        assert cut == [text]
    else:
        assert {len(piece) for piece in cut[:-1]} == {100} and 1 <= len(cut[-1]) <= 100


def test_characters_by_default() -> None:
    """The sizes of the original system are the defaults for characters, as far as one given size allows."""
    assert make_segmenter("chars", None, None) == CharacterSegments(1024, 100)
    assert make_segmenter("chars", 50, None) == CharacterSegments(50, 50)
    assert make_segmenter("chars", None, 2000) == CharacterSegments(2000, 2000)


def test_blank_pieces() -> None:
    """A piece of white space only is left out."""
    assert make_segmenter("chars", 4, 4).pieces([""], ["abcd    efgh"]) == [["abcd", "efgh"]]


def test_characters_are_not_bytes() -> None:
    """A character is a character in every script."""
    assert make_segmenter("chars", 2, 2).pieces([""], ["äöü€"]) == [["äö", "ü€"]]


def test_tokens_at_the_ends_of_sentences(data: Path) -> None:
    """A text that is too long for the live model is cut between sentences; a shorter one is not changed."""
    text = " ".join(SENTENCES * 3)
    cut = pieces(text, data)
    assert " ".join(cut) == text
    assert all(piece.endswith(".") for piece in cut)
    assert len(cut) == 3
    assert pieces("  " + SENTENCES[0] + " ", data) == ["  " + SENTENCES[0] + " "]


def test_every_piece_fits(data: Path) -> None:
    """No piece is longer, with title and special tokens, than what the encoder takes; no word is lost."""
    tokenizer = Tokenizer.from_file(str(next((data / "models").glob("*/tokenizer.json"))))
    tokenizer.no_truncation()
    text = " ".join(["the cat and the dog sleep in the old house"] * 30)  # a sentence without end
    for segment in (16, 24, 32):
        cut = pieces(text, data, title="The cat", segment=segment, over=segment)
        assert " ".join(cut) == text
        assert max(len(tokenizer.encode("The cat " + piece).ids) for piece in cut) <= segment


def test_short_texts_are_not_cut(data: Path) -> None:
    """A text up to the first size is not cut; a longer one is cut to the second size."""
    some, many = " ".join([*SENTENCES[:2], "It sleeps."]), " ".join(SENTENCES * 2)
    assert pieces(some, data, over=24, segment=16) == [some]
    assert pieces(some, data, over=16, segment=16) == [SENTENCES[0], f"{SENTENCES[1]} It sleeps."]
    assert pieces(many, data, over=24, segment=16) == SENTENCES * 2


@pytest.mark.parametrize("letter", ["a", ".", "ü", "🜁"])
@pytest.mark.parametrize("bytewise", [False, True])
def test_texts_that_are_not_counted_are_short(tmp_path: Path, letter: str, bytewise: bool) -> None:
    """A text passes without tokenization only where every tokenizer would find it short enough."""
    directory = locate(None)[1]
    if bytewise:  # as many tokens as bytes
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        tokenizer = Tokenizer(models.BPE({byte: number for number, byte in enumerate(alphabet)}, []))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        directory = tmp_path
    splitter = Splitter(load_tokenizer(directory), 64, 0)
    segments = TokenSegments(CountingModel(directory, 64, ""), 64, 64)
    for count in (5, 14, 15, 16, 17, 30, 31, 32, 58, *range(60, 67), 200):
        ((_, passages),) = splitter.split([""], [letter * count])
        (cut,) = segments.pieces([""], [letter * count])
        assert cut == [letter * (passage.end - passage.start) for passage in passages]


def test_packaged_tokenizer_where_no_model_is_live(data: Path, tmp_path: Path) -> None:
    """Without a live model the packaged one counts: 256 tokens. The fingerprint distinguishes the two."""
    packaged, live = (make_segmenter("tokens", None, None, folder) for folder in (tmp_path, data))
    assert packaged.identity.startswith("tokens 256 256 ")
    assert live.identity.startswith("tokens 32 32 ")
    assert packaged.identity.split()[-1] != live.identity.split()[-1]
    text = " ".join(SENTENCES * 20)
    assert len(packaged.pieces([""], [text])[0]) == 2


@pytest.mark.parametrize(
    ("unit", "over", "segment", "message"),
    [
        ("chars", 100, 200, "--segment 200: longer than --split-over 100"),
        ("tokens", 20, 30, "--segment 30: longer than --split-over 20"),
        ("tokens", None, 3, "--segment 3: too short for a text; give at least 16 tokens"),
    ],
)
def test_wrong_sizes(data: Path, unit: str, over: int | None, segment: int, message: str) -> None:
    """Contradictory sizes are refused with the flag."""
    with pytest.raises(UserError, match=message):
        make_segmenter(unit, over, segment, data)
