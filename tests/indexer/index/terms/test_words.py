"""Words of a text: one normalisation, with the place of each word in the text as it was given."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import OSA
from stories import STORIES

from indexer.errors import UserError
from indexer.index.lexical.search import LexicalIndex
from indexer.index.lexical.writer import LexicalWriter
from indexer.index.terms.analysis import find_analysis
from indexer.index.terms.languages import CHOICES, analyzer, exact_analyzer
from indexer.index.terms.tokens.characters import fold
from indexer.index.terms.tokens.pieces import MAX_WORD
from indexer.index.terms.vocabulary import Vocabulary
from indexer.index.terms.words import Words

ENGLISH = [text for _, _, text in STORIES]


def stems(text: str, language: str = "none") -> list[str]:
    """Return the terms of a text in the field of stems."""
    return Words(language).fields["body"].analyze(text)


def make(folder: Path, texts: list[str], language: str = "none", version: int = 2) -> LexicalIndex:
    """Write an index and open it."""
    writer = LexicalWriter(folder, language, version)
    writer.add(texts)
    writer.close()
    return LexicalIndex.open(folder, language, version)


def test_plain_english_has_the_terms_it_had() -> None:
    """For English in ASCII the terms of both fields are those of tantivy's analyzers, so that quality stays."""
    odd = ["It's 3.14 o'clock: state_of-the-art C++ and C# (v2.0)\tRUNNING\r\nU.S.A. x\x00y", "", " \n", "_", "a" * 79]
    words, stemmed, exact = Words("en"), analyzer("en"), exact_analyzer("en")
    assert exact
    for text in [*ENGLISH, *odd]:
        assert words.fields["body"].analyze(text) == stemmed.analyze(text)
        assert words.fields["exact"].analyze(text) == exact.analyze(text)
    assert Words("none").fields["body"].analyze(odd[0]) == analyzer("none").analyze(odd[0])


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("crème CRÈME cre\u0300me", ["creme"] * 3),
        ("ｓｅａｒｃｈ ﬁsh ① x² 𝐁old", ["search", "fish", "1", "x2", "bold"]),
        ("İZMİR ışık", ["izmir", "isik"]),
        ("Groß GROSS gro\u1e9e", ["gross"] * 3),
        ("ΛΌΓΟΣ λόγος", ["λογοσ", "λογοσ"]),
        ("data\u00adbase zero\u200bwidth \ufeffmark\u2060ed", ["database", "zerowidth", "marked"]),
        ("Dowse™ 5㎞ ㏒", ["dowse", "5km", "log"]),
        ("зелёный", ["зеленыи"]),
        ("שָׁלוֹם", ["שלום"]),
        ("مُحَمَّد كـتاب", ["محمد", "كتاب"]),
        ("कि की", ["कि", "की"]),
        ("٢٠٢٤", ["2024"]),
        ("п’ять п\u02bcять", ["п", "ять", "п", "ять"]),
        ("a_b", ["a", "b"]),
        ("Əliyev şəhər", ["eliyev", "seher"]),
        ("\u0301", []),
    ],
)
def test_spellings_are_one(text: str, terms: list[str]) -> None:
    """Composition, width, case, accents and what is not shown make no difference; vowel signs are no accents."""
    assert stems(text) == terms


def test_a_non_joiner_joins_arabic_letters_and_leaves_the_parts() -> None:
    """The Persian word is found joined, with the non-joiner, and with a space; elsewhere it is just removed."""
    assert stems("می\u200cروم") == ["ميروم", "مي", "روم"]
    assert stems("Auf\u200clage") == ["auflage"]


@pytest.mark.parametrize("language", ["none", "en", "tr", "ja"])
def test_scripts_without_spaces_become_pairs(language: str) -> None:
    """Runs are characters and pairs in any corpus; half-width letters and decomposed marks are pairs of the same."""
    assert {"東京", "京都"} <= set(stems("in 東京都 2024", language))
    assert (
        stems("ｶﾞﾗｽ", language) == stems("ガラス", language) == stems(unicodedata.normalize("NFD", "ガラス"), language)
    )
    assert "น้ำ" not in stems("น้ำแข็ง", language)
    assert {"한국", "국어"} <= set(stems(unicodedata.normalize("NFD", "한국어를"), language))
    assert Words(language).query_terms("タイ").fields["body"] == ["タイ"]
    assert Words(language).query_terms("ไ").fields["body"] == ["ไ"]


@pytest.mark.parametrize("language", ["none", "en", "th"])
def test_the_vowel_am_is_written_in_three_ways(language: str) -> None:
    """Thai and Lao «am» is one letter, or a mark before or after the tone and a letter; without it the word is another."""
    for written in (["น้ำ", "น้\u0e4d\u0e32", "น\u0e4d\u0e49\u0e32"], ["ນ້ຳ", "ນ້\u0ecd\u0eb2", "ນ\u0ecd\u0ec9\u0eb2"]):
        assert len({tuple(stems(word, language)) for word in written}) == 1
        assert Words(language).query_terms(written[0]).fields["body"] == [written[1]]
    assert not set(Words(language).query_terms("นำ").fields["body"]) & set(stems("นา", language))


def test_a_long_word_is_cut_and_never_left_out() -> None:
    """Every character of a long word is in a term, and a query with the word has the same terms."""
    for word in ("x" * 1000, "ж" * 251, "ab1" * 200, "e\u0301" * 600):
        terms = stems(word)
        assert "".join(terms) == fold(unicodedata.normalize("NFC", word))
        assert max(map(len, terms)) <= MAX_WORD
        pieces = list(Words("none").pieces(word))
        assert pieces[0].start == 0 and pieces[-1].end == len(word)


@pytest.mark.parametrize("language", [*CHOICES, "none"])
def test_accents_are_optional_in_every_language(tmp_path: Path, language: str) -> None:
    """A query finds a word with and without its accents, and the text with the very spelling comes first."""
    texts = ["canción préférée łódka", "cancion preferee lodka"]
    index = make(tmp_path / "lexical", texts, language)
    for word in ("canción", "préférée", "łódka"):
        assert index.search(word, 9)[1].tolist() == [0, 1]
        assert index.search(unicodedata.normalize("NFD", word).upper(), 9)[1].tolist() == [0, 1]
        assert index.search(fold(word), 9)[1].tolist() == [1, 0]


@given(st.text(st.characters(codec="utf-8"), max_size=40))
@settings(max_examples=400, deadline=None)
def test_places_are_in_order_and_any_text_has_some(text: str) -> None:
    """Places lie within the text; composed, decomposed and padded with soft hyphens, a text has the same terms."""
    words = Words("none")
    for piece in words.pieces(text):
        assert 0 <= piece.start < piece.end <= len(text)
        assert piece.text
    terms = words.fields["body"].analyze(text)
    assert all(term and not term.isspace() for term in terms)
    assert not any(" " in term for term in terms)
    assert words.fields["body"].analyze(unicodedata.normalize("NFC", text)) == words.fields["body"].analyze(
        unicodedata.normalize("NFD", text)
    )


def test_any_letters_give_the_same_terms_with_and_without_the_fast_path() -> None:
    """A soft hyphen takes the path for odd words: it gives the same words at the shifted places."""
    chance = random.Random(3)
    letters = "abzIéßşжΣאبक\u093f東のカ한ไ\u0e35ทำ\u0e49\u0e4d1٢"
    words = Words("none")
    for _ in range(500):
        text = "".join(chance.choices(letters, k=chance.randint(1, 9)))
        hyphenated = "\u00ad".join(text)
        expected = [(piece.text, piece.kind, text[piece.start : piece.end]) for piece in words.pieces(text)]
        found = [
            (piece.text, piece.kind, hyphenated[piece.start : piece.end].replace("\u00ad", ""))
            for piece in words.pieces(hyphenated)
        ]
        assert found == expected


def test_an_older_index_is_searched_as_it_was(tmp_path: Path) -> None:
    """An index of version 1 keeps tantivy's terms; one of a later version is refused with the remedy."""
    index = make(tmp_path / "lexical", ["crème and łódka", "機器學習演算法"], version=1)
    assert index.search("crème", 9)[1].tolist() == [0]
    assert index.search("creme", 9)[1].tolist() == index.search("學習", 9)[1].tolist() == []
    assert index.spans("CRÈME", ["crème and łódka"]) == [[(0, 5)]]
    with pytest.raises(UserError, match=r"version 3.*update"):
        find_analysis("en", 3)


def test_the_nearest_words_are_those_of_all_comparisons() -> None:
    """Words that differ in too many letters are not compared, and none that is near is lost by that."""
    dice = random.Random(1)
    words = {"".join(dice.choices("abcdé€", k=dice.randint(0, 6))) for _ in range(1_500)}
    vocabulary = Vocabulary(dict.fromkeys(words, 1), str)
    for word in dice.sample(sorted(words), 60):
        for edits in (1, 2):
            near = {(each.edits, each.word) for each in vocabulary.near(word + "a", edits)}
            distances = {(OSA.distance(word + "a", other), other) for other in words}
            assert near == {(distance, other) for distance, other in distances if distance <= edits}
