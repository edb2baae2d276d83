"""Extracted queries: titles, sentences and key phrases of the texts."""

from __future__ import annotations

import random

import pytest

from indexer.errors import UserError
from trainer.queries.extract import MAX_WORDS, MIN_WORDS, extract

HARBOUR = (
    "The harbour master of Ciutadella keeps a ledger. The lighthouse keeper writes the wind into the lighthouse ledger "
    "at noon. It is so."
)
OTHERS = [
    "The baker bakes bread. The baker sells rolls at noon in the market square of the town.",
    "The doctor writes a letter. The patients of the doctor wait in the square for the letter.",
    "The teacher reads a book. The children of the town listen to the teacher until noon.",
]


def kinds(queries):
    """Return the kinds in their order."""
    return [kind for kind, _ in queries]


def texts_of(queries, kind):
    """Return the queries of one kind."""
    return [query for query_kind, query in queries if query_kind == kind]


def test_title_comes_first_then_sentences_and_key_phrases_in_turn():
    """The first n queries of a document are of the most useful kinds, and mixed."""
    queries = extract(["Harbour"], [HARBOUR], count=5)[0]
    assert kinds(queries) == ["title", "sentence", "keywords", "sentence", "keywords"]
    assert queries[0] == ("title", "Harbour")
    assert kinds(extract([None], [HARBOUR], count=3)[0]) == ["sentence", "keywords", "sentence"]
    assert kinds(extract(["  "], [HARBOUR], count=1)[0]) == ["sentence"]


def test_the_sentence_with_the_rare_words_is_the_salient_one():
    """Salience comes from rare words: words that other texts have too, and length alone, do not count."""
    text = (
        "The doctor, the teacher and the children wait in the market square of the town for the book and the bread. "
        "The lighthouse keeper polishes brass lanterns. The children of the town read a book at noon."
    )
    assert extract([None] * 4, [text, *OTHERS], count=1)[0] == [
        ("sentence", "The lighthouse keeper polishes brass lanterns.")
    ]


def test_sentences_are_neither_too_short_nor_too_long():
    """Very short sentences are no queries; very long ones are cut."""
    long = "Every " + " ".join(f"word{number}" for number in range(60)) + ". It is so. The short one has six words."
    sentences = texts_of(extract([None], [long], count=9)[0], "sentence")
    assert "It is so." not in sentences
    assert all(MIN_WORDS <= len(sentence.split()) <= MAX_WORDS for sentence in sentences)
    assert any(len(sentence.split()) == MAX_WORDS for sentence in sentences)


def test_key_phrases_are_rare_words_in_the_order_of_the_text():
    """A query of key phrases has two to six words of the text, no stop words, in the text's order."""
    for seed in range(20):
        for query in texts_of(extract([None] * 4, [HARBOUR, *OTHERS], count=5, seed=seed)[0], "keywords"):
            words = query.split()
            assert 2 <= len(words) <= 6
            assert not {"the", "of", "it", "is", "a", "at", "into"} & {word.lower() for word in words}
            positions = [HARBOUR.index(word) for word in words]
            assert positions == sorted(positions)


def test_recurring_pairs_are_phrases():
    """A pair of words that recurs is a phrase; a pair that occurs once is not."""
    texts = [f"The solar panel number {name} hums. A solar panel needs light, said {name}." for name in "abcdefgh"]
    found = [query for queries in extract([None] * 8, texts, count=9) for query in texts_of(queries, "keywords")]
    assert any("solar panel" in query for query in found)


def test_the_seed_decides_and_nothing_else():
    """The same texts and seed give the same queries; another seed gives other key phrases, not other sentences."""
    titles, texts = [None] * 4, [HARBOUR, *OTHERS]
    first, again, other = (extract(titles, texts, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert texts_of(first[0], "sentence") == texts_of(other[0], "sentence")


def test_key_phrases_of_one_text_vary():
    """The queries of a text share fewer words than independent random ones would."""
    text = (
        "alpha. beta. gamma. delta. epsilon. zeta. eta. theta. iota. kappa. lambda. omicron. rho. sigma. tau. upsilon"
    )
    shared, independent = 0.0, 0.0
    for seed in range(40):
        first, second = (set(query.split()) for query in texts_of(extract([None], [text], 2, seed=seed)[0], "keywords"))
        shared += len(first & second)
        independent += len(first) * len(second) / 16
    assert shared < 0.75 * independent


def test_no_query_twice_and_not_the_whole_text_where_there_are_others():
    """Duplicates, and queries that are the complete text, are useless training queries."""
    text = "The cat sits in the garden. The cat sits in the garden. THE CAT SITS IN THE GARDEN."
    found = extract(["the cat sits in the garden."], [text], count=9)[0]
    assert found[0] == ("title", "the cat sits in the garden.")
    queries = [query.casefold() for _, query in found]
    assert len(queries) == len(set(queries))
    single = "The king and the queen eat cheese with wine in the castle."
    assert single not in [query for _, query in extract([None], [single], count=9)[0]]
    assert extract([None], ["castle"], count=5) == [[("sentence", "castle")]]


def test_every_text_with_a_word_has_a_query():
    """Every text with a letter or a digit has a query; punctuation alone has none."""
    texts = ["x", "2024", "!!!", "a b", "...and so on and so forth, again and again", "\n\n tab\tbed \n"]
    found = extract([None] * len(texts), texts, language="en")
    assert [bool(queries) for queries in found] == [True, True, False, True, True, True]
    assert extract([], []) == []


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("zh", "北京大学是中国最古老的大学之一。学生们在北京学习历史和文学。", "学生们在北京学习历史和文学。"),
        ("ja", "東京は日本の首都です。人口は約千四百万人です。", "人口は約千四百万人です。"),
        ("th", "ประเทศไทยเป็นประเทศที่มีวัฒนธรรมเก่าแก่ กรุงเทพมหานครเป็นเมืองหลวง", "กรุงเทพมหานครเป็นเมืองหลวง"),
    ],
)
def test_scripts_without_spaces(language, text, expected):
    """Chinese, Japanese and Thai give sentences, and pieces of the text as key phrases, never single letters."""
    queries = extract([None, None], [text, "English beside it, said the reader."], count=5, language=language)[0]
    assert expected in texts_of(queries, "sentence")
    for query in texts_of(queries, "keywords"):
        assert all(len(piece) >= 2 and piece in text for piece in query.split())
    assert bool(texts_of(queries, "keywords")) == (language != "th")  # five letters of Thai are no phrase


def test_stop_words_are_those_of_the_language():
    """German text gives no «der» and «und»; without a language, words in most texts are no key words."""
    text = "Der Leuchtturm und der Hafen und die Mole liegen vor der Stadt. Dort wohnt der Fischer mit dem Boot."
    words = {word for _, query in extract([None], [text], count=9, language="de")[0][1::2] for word in query.split()}
    assert "Leuchtturm" in words
    assert not words & {"der", "Der", "und", "die", "mit", "dem"}
    animals = random.Random(0).sample(range(1000), 40)
    plain = [f"zu beast{animal} zu sees{animal} zu field{animal}" for animal in animals]
    found = extract([None] * 40, plain, count=9, language="none")
    assert not {word for queries in found for _, query in queries[1:] for word in query.split()} & {"zu"}


def test_combining_marks_stay_with_their_letters():
    """A vowel sign of Hindi does not end a word."""
    text = "मुंबई भारत का सबसे बड़ा शहर है. यहाँ समुद्र है और बंदरगाह है."
    for query in texts_of(extract([None], [text], count=5, language="none")[0], "keywords"):
        assert set(query.split()) <= set(text.replace(".", "").split())


def test_an_unknown_language_is_refused():
    """A misspelt code does not silently give queries with stop words."""
    with pytest.raises(UserError, match="--language xx"):
        extract([None], [HARBOUR], language="xx")


def test_large_corpora_are_processed_in_chunks(monkeypatch):
    """Every text of a corpus of several chunks gets its own queries, in the order of the texts."""
    monkeypatch.setattr("trainer.queries.extract.CHUNK", 3)
    texts = [f"The red house number{row} stands here. A blue river number{row} runs by it." for row in range(10)]
    for row, queries in enumerate(extract([f"t{row}" for row in range(10)], texts, count=5)):
        assert queries[0] == ("title", f"t{row}")
        assert all(f"number{row}" in query or "number" not in query for _, query in queries)
        assert len(queries) == 5
