"""Inverse cloze task: the query is taken out of the text, and nothing else is."""

from __future__ import annotations

import random

import pytest

from indexer.build.weights.inverse_cloze import Cloze, halves, make_clozes, make_halves, split_sentences

STORY = "The cat sits in the garden. It eats fish at night! Does the old dog sleep in the house? The end came."


def take(text: str, seed: int = 0) -> list[Cloze]:
    """Take a sentence out of one text."""
    return make_clozes([text], 1, seed)


@pytest.mark.parametrize(
    "text",
    [
        STORY,
        "No end",
        "One.\n\nTwo paragraphs.  And\tmore. ",
        " Leading space. He said «yes.» Then left…  ",
        "猫は庭に座っている。夜に魚を食べる。犬は眠る。",
    ],
)
def test_sentences_cover_the_text(text: str) -> None:
    """Sentences are neighbouring slices without gap or overlap: joined, they are the text."""
    pieces = split_sentences(text)
    assert "".join(text[start:end] for start, end in pieces).strip() == text.strip()
    assert all(text[start:end].strip() for start, end in pieces)


def test_sentences_of_no_text() -> None:
    """A text without a letter has no sentence."""
    assert split_sentences("") == split_sentences(" \n ") == []


def test_the_sentence_is_gone_and_nothing_else() -> None:
    """The rest is the text without exactly that sentence, in its order, and does not hold the sentence any more."""
    taken = {each.sentence: each.rest for seed in range(40) for each in take(STORY, seed)}
    assert taken == {
        "The cat sits in the garden.": "It eats fish at night! Does the old dog sleep in the house? The end came.",
        "It eats fish at night!": "The cat sits in the garden. Does the old dog sleep in the house? The end came.",
        "Does the old dog sleep in the house?": "The cat sits in the garden. It eats fish at night! The end came.",
    }  # «The end came.» has too few words for a query


@pytest.mark.parametrize(("words", "taken"), [(4, False), (5, True), (40, True), (41, False)])
def test_length_of_a_query(words: int, taken: bool) -> None:
    """A sentence of 5 to 40 words is a query; a shorter or longer one is not."""
    text = f"Short. {'word ' * (words - 1)}end. Also short."
    assert [len(each.sentence.split()) for each in take(text)] == ([words] if taken else [])


@pytest.mark.parametrize(("letters", "taken"), [(11, False), (12, True), (120, True), (121, False)])
def test_length_of_a_query_without_spaces(letters: int, taken: bool) -> None:
    """Where a script puts no spaces between words, 12 to 120 characters are a query."""
    text = f"短い。{'字' * (letters - 1)}。終わり。"
    assert [len(each.sentence) for each in take(text)] == ([letters] if taken else [])


def test_four_english_words_are_no_query() -> None:
    """Characters count only for text that is not ASCII: a long heading of four words is no query."""
    assert take("A. Extraordinarily internationalised transformations everywhere. B.") == []


@pytest.mark.parametrize(
    "text", ["", "One sentence of five words.", "First of six words is here. Second of six words is here."]
)
def test_short_texts_are_passed_over(text: str) -> None:
    """A text of fewer than three sentences gives no query: too little text would be left."""
    assert take(text) == []


def test_white_space_is_that_of_a_query() -> None:
    """A sentence that was broken over lines becomes a query on one line."""
    text = "Short.\nThe cat sits\n  in\tthe garden. Short too."
    assert take(text) == [Cloze(0, "The cat sits in the garden.", "Short.\nShort too.")]


def test_rows_count_and_order() -> None:
    """Each text gives at most one sentence; they come in the order of the texts, and no more than requested."""
    texts = [STORY if number % 3 else "Too short." for number in range(30)]
    clozes = make_clozes(texts, 7, 0)
    rows = [each.row for each in clozes]
    assert len(rows) == 7
    assert rows == sorted(set(rows))
    assert all(number % 3 for number in rows)
    assert rows != [row for row in range(30) if row % 3][:7]  # from the whole corpus, which may be sorted
    every = make_clozes(texts, 100, 0)
    assert [each.row for each in every] == [row for row in range(30) if row % 3]


def test_the_seed_draws() -> None:
    """The same seed gives the same sentences, another seed others; the global generator has no influence."""
    texts = [STORY] * 20
    random.seed(1)
    first = make_clozes(texts, 10, 5)
    random.seed(2)
    assert make_clozes(texts, 10, 5) == first
    assert make_clozes(texts, 10, 6) != first


# --- documents of one or two sentences ------------------------------------------------------------------------------


def test_short_documents_are_divided() -> None:
    """Of a short text one half of the words asks for the other half, each in the order of the text."""
    texts = ["red wool scarf with long fringes made by hand in Mallorca", "too short to divide", "x"]
    (half,) = make_halves(texts, 5, seed=0)
    words = texts[0].split()
    assert half.row == 0
    assert sorted([*half.sentence.split(), *half.rest.split()]) == sorted(words)
    assert [words.index(word) for word in half.sentence.split()] == sorted(map(words.index, half.sentence.split()))
    assert len(half.sentence.split()) == len(words) // 2


def test_halves_are_at_most_ten_words() -> None:
    """A long sentence gives a query of ten words."""
    (half,) = make_halves([" ".join(f"word{number}" for number in range(60))], 1, seed=0)
    assert len(half.sentence.split()) == 10
    assert len(half.rest.split()) == 50


def test_halves_without_spaces() -> None:
    """A text in a script without spaces is cut in the middle."""
    text = "日本の京都にある古い寺の庭はとても静かです"
    (half,) = make_halves([text], 1, seed=0)
    assert half.sentence + half.rest == text
    assert abs(len(half.sentence) - len(half.rest)) <= 1


# --- halves ---------------------------------------------------------------------------------------------------------


def test_halves_of_a_sentence() -> None:
    """Each word is in exactly one half, in the order of the sentence; the halves are equally long and random."""
    words = [f"w{number:02}" for number in range(9)]
    drawn = set()
    for seed in range(20):
        one, other = (half.split() for half in halves(" ".join(words), random.Random(seed)))
        assert sorted([*one, *other]) == words
        assert one == sorted(one)
        assert other == sorted(other)
        assert {len(one), len(other)} == {4, 5}
        drawn.add(tuple(one))
    assert len(drawn) > 15


@pytest.mark.parametrize("sentence", ["猫は庭に座っている。", "one two three", "ab"])
def test_halves_without_words(sentence: str) -> None:
    """A sentence with few spaces is cut in the middle."""
    one, other = halves(sentence, random.Random(0))
    assert one + other == sentence
    assert abs(len(one) - len(other)) <= 1
