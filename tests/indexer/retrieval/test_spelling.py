"""«Did you mean»: unknown words become the nearest of the corpus, all else stays."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.index.document_mask import DocumentMask
from indexer.index.lexical import LexicalIndex, LexicalWriter
from indexer.retrieval.spelling import max_edits, suggestion

TEXTS = {
    "en": ["The running gardeners keep a garden.", "A garden, a castle and wine", "Castles of the WINE kings, warden"],
    "es": ["El pájaro canta en la montaña", "La montaña nevada"],
    "none": ["Garden castle", "garden"],
    "ja": ["その猫は庭にいる"],
}


@pytest.fixture(scope="module")
def lexicals(tmp_path_factory):
    """A BM25 index of each language."""
    found = {}
    for language, texts in TEXTS.items():
        folder = tmp_path_factory.mktemp("lexical") / language
        writer = LexicalWriter(folder, language)
        writer.add(texts)
        writer.close()
        found[language] = LexicalIndex.open(folder, language)
    return found


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
    """Whole words of the corpus come, never stems; of equally near ones the most frequent; what is known stays."""
    assert suggestion(query, lexicals[language]) == expected


def test_every_suggestion_finds_something(lexicals):
    """Whatever letter of a word is left out, the suggestion is known to the index."""
    for word in ("gardeners", "castles", "running"):
        for place in range(len(word)):
            asked = word[:place] + word[place + 1 :]
            better = suggestion(asked, lexicals["en"])
            assert lexicals["en"].knows(better or asked)


def test_a_long_text_of_unknown_words_is_not_corrected(lexicals):
    """Looking for many words would take long and help nobody."""
    assert suggestion(" ".join("gardn" + "abcdefgh"[n] for n in range(8)), lexicals["en"]) is not None
    assert suggestion(" ".join("gardn" + "abcdefghi"[n] for n in range(9)), lexicals["en"]) is None


def test_words_of_documents_that_nobody_may_see_are_never_suggested(lexicals):
    """A key that sees the first document alone is told its words, and none of another's, however near."""
    first = DocumentMask(np.array([True, False, False]), np.arange(4))
    assert suggestion("castel", lexicals["en"]) == "castle"
    assert suggestion("castel", lexicals["en"], first) is None
    assert suggestion("Xarden", lexicals["en"], first) == "garden"
    third = DocumentMask(np.array([False, False, True]), np.arange(4))
    assert suggestion("garden", lexicals["en"]) is None
    assert suggestion("garden", lexicals["en"], third) == "warden"  # for this key «garden» is no word of the corpus


def test_edits_grow_with_the_word():
    """A short word is hardly ever meant by another short one."""
    assert [max_edits("x" * length) for length in (1, 2, 3, 5, 6, 20)] == [0, 0, 1, 1, 2, 2]
