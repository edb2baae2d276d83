"""Spelling suggestions: unknown words become the nearest words of the corpus, everything else stays."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.index.document_mask import DocumentMask
from indexer.index.lexical.search import LexicalIndex
from indexer.index.lexical.writer import LexicalWriter
from indexer.retrieval.spelling import max_edits, suggestion

TEXTS = {
    "en": ["The running gardeners keep a garden.", "A garden, a castle and wine", "Castles of the WINE kings, warden"],
    "es": ["El pájaro canta en la montaña", "La montaña nevada"],
    "none": ["Garden castle", "garden"],
    "ja": ["その猫は庭にいる"],
}


@pytest.fixture(scope="module")
def lexicals(tmp_path_factory):
    """Return a BM25 index for each language."""
    indexes = {}
    for language, texts in TEXTS.items():
        folder = tmp_path_factory.mktemp("lexical") / language
        writer = LexicalWriter(folder, language)
        writer.add(texts)
        writer.close()
        indexes[language] = LexicalIndex.open(folder, language)
    return indexes


@pytest.mark.parametrize(
    ("language", "query", "expected"),
    [
        ("en", "gardn", "garden"),
        ("en", "the gadren, 42!", "the garden, 42!"),
        ("en", "Xarden", "garden"),  # in two documents, warden in one
        ("en", "garrdeners", "gardeners"),
        ("en", "runing", "running"),
        ("en", "castel wine", "castle wine"),
        ("en", "wnie in the castel", "wine in the castle"),
        ("es", "montanya", "montaña"),
        ("none", "GARDN", "garden"),
        ("en", "garden", None),
        ("en", "gardening", None),  # its stem is known
        ("en", "zeppelin", None),
        ("en", "wi", None),
        ("en", "42 !?", None),
        ("en", "the of", None),
        ("ja", "猫庭", None),
    ],
)
def test_unknown_words_become_the_nearest(lexicals, language, query, expected):
    """Suggestions are words of the corpus, never stems; of equally near ones the most frequent; known words stay."""
    assert suggestion(query, lexicals[language]) == expected


def test_every_suggestion_finds_something(lexicals):
    """Whatever letter of a word is left out, the suggestion is known to the index."""
    for word in ("gardeners", "castles", "running"):
        for position in range(len(word)):
            query = word[:position] + word[position + 1 :]
            corrected = suggestion(query, lexicals["en"])
            assert lexicals["en"].knows(corrected or query)


def test_a_long_text_of_unknown_words_is_not_corrected(lexicals):
    """A query with many unknown words is not corrected: that would take long and be of no use."""
    assert suggestion(" ".join("gardn" + "abcdefgh"[n] for n in range(8)), lexicals["en"]) is not None
    assert suggestion(" ".join("gardn" + "abcdefghi"[n] for n in range(9)), lexicals["en"]) is None


def test_words_of_documents_that_are_not_visible_are_never_suggested(lexicals):
    """A key that sees only the first document gets suggestions from it, and none from others, however near."""
    first = DocumentMask(np.array([True, False, False]), np.arange(4))
    assert suggestion("castel", lexicals["en"]) == "castle"
    assert suggestion("castel", lexicals["en"], first) is None
    assert suggestion("Xarden", lexicals["en"], first) == "garden"
    third = DocumentMask(np.array([False, False, True]), np.arange(4))
    assert suggestion("garden", lexicals["en"]) is None
    assert suggestion("garden", lexicals["en"], third) == "warden"  # for this key «garden» is no word of the corpus


def test_edits_grow_with_the_word():
    """Short words may differ in fewer edits: another short word is rarely a misspelling."""
    assert [max_edits("x" * length) for length in (1, 2, 3, 5, 6, 20)] == [0, 0, 1, 1, 2, 2]
