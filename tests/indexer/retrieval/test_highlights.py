"""Highlights: words by the index's analyzer, sentences by their vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from indexer.artifacts.store import Store
from indexer.cache import ENTRY_BYTES
from indexer.index.dense import unit
from indexer.index.lexical.search import LexicalIndex
from indexer.index.lexical.writer import LexicalWriter
from indexer.inference.encoder import Encoder
from indexer.retrieval.highlights import SentenceVectors, nearest_sentences, sentences


def make_lexical(folder: Path, language: str, *texts: str) -> LexicalIndex:
    """Return a BM25 index of some texts."""
    writer = LexicalWriter(folder / "lexical", language)
    writer.add(texts)
    writer.close()
    return LexicalIndex.open(folder / "lexical", language)


@pytest.fixture(scope="module")
def encoder(tiny_data: Path) -> Encoder:
    """Return the encoder of the tiny model."""
    return Encoder.open(Store("model", tiny_data).resolve(), cores=1)


@pytest.mark.parametrize(
    ("language", "query", "text", "words"),
    [
        (
            "en",
            "the garden runs",
            "Gardens, a garden; he runs the running club",
            ["Gardens", "garden", "runs", "running"],
        ),
        ("en", "garden", "😀 «garden» é gardens", ["garden", "gardens"]),
        ("en", "the", "the cat", []),
        ("en", "AND body:garden)", "garden and body", ["garden", "body"]),
        ("es", "pajaros", "Los pájaros, un pajaro", ["pájaros", "pajaro"]),
        ("none", "Garden", "garden gardens GARDEN", ["garden", "GARDEN"]),
        ("ja", "猫は", "その猫は庭にいる猫", ["猫は", "猫"]),
    ],
)
def test_words_of_the_query_are_found_as_the_index_finds_them(tmp_path, language, query, text, words):
    """Words that the lexical leg finds are marked, by stem, without accents, without spaces; offsets are code points."""
    (spans,) = make_lexical(tmp_path, language, text).spans(query, [text])
    assert [text[start:end] for start, end in spans] == words


def test_a_text_without_words_of_the_query_has_no_spans(tmp_path):
    """Each text has its own spans; an empty one has none."""
    index = make_lexical(tmp_path, "en", "a cat and a dog")
    assert index.spans("dog", ["", "a cat", "my dog"]) == [[], [], [(3, 6)]]
    assert index.spans("zebra", ["my dog"]) == [[]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  \n\n ", []),
        ("One sentence only", ["One sentence only"]),
        (" The first is here.  The second too!\n", ["The first is here.", "The second too!"]),
        ("Mr. Smith is at home. He sleeps all day.", ["Mr. Smith is at home.", "He sleeps all day."]),
        ("A whole sentence. No.", ["A whole sentence.", "No."]),
        ("Это предложение. А это другое.", ["Это предложение.", "А это другое."]),
    ],
)
def test_sentences(text, expected):
    """Sentences come in order, without white space; a fragment is joined to what follows, and no text is lost."""
    assert [text[start:end] for start, end in sentences(text)] == expected


def test_the_nearest_sentence_is_the_one_of_the_largest_cosine(encoder):
    """In each passage the sentence is marked that brute force finds; a single sentence is marked in any case."""
    passages = [
        "The cat sits in the garden. The king eats bread and cheese. Snow in the winter.",
        "The storm is at sea.",
        "",
        "The ship is at sea with the sailor. The queen sleeps in the castle at night.",
    ]
    for query in ("the king eats cheese", "snow", "a sailor at sea"):
        vector = encoder.encode_query(query)
        spans = nearest_sentences(vector, passages, "tiny", encoder, SentenceVectors())
        assert spans[2] is None
        for passage, span in zip(passages, spans, strict=True):
            parts = sentences(passage)
            if len(parts) > 1:
                cosines = [float(unit(encoder.encode_documents([passage[a:b]]))[0] @ unit(vector)) for a, b in parts]
                assert span == parts[int(np.argmax(cosines))]
            elif parts:
                assert span == (0, len(passage))


ENTRY = ENTRY_BYTES + 400
"""Bytes of a short sentence with its vector, at least; two of them are more than one such entry."""


class RecordingEncoder:
    """An encoder that records the texts that it encodes."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.encoded: list[str] = []

    def encode_documents(self, texts, *, exactly=False):
        """Encode texts and record them."""
        self.encoded += texts
        return self.encoder.encode_documents(texts, exactly=exactly)


def test_a_sentence_is_encoded_once_for_each_model(encoder):
    """Cached sentences are not encoded again, vectors of another model are never used, and the oldest are dropped."""
    recording, vectors = RecordingEncoder(encoder), SentenceVectors(capacity=3 * ENTRY)  # not a fourth
    first = vectors.get("one", recording, ["the cat", "the dog", "the cat"])
    assert recording.encoded == ["the cat", "the dog"]
    assert np.array_equal(first[0], first[2]) and not np.array_equal(first[0], first[1])
    assert np.array_equal(vectors.get("one", recording, ["the dog", "the cat"]), first[[1, 0]])
    assert len(recording.encoded) == 2
    vectors.get("two", recording, ["the cat"])
    assert recording.encoded[2:] == ["the cat"]
    vectors.get("one", recording, ["the bird"])
    assert len(vectors) == 3
    vectors.get("one", recording, ["the dog"])
    assert recording.encoded[4:] == ["the dog"]
