"""Short texts of a corpus: of the lengths of queries, of the corpus's own words, the same each time."""

from __future__ import annotations

from trainer.query_encoder.texts import HALF_WINDOW, WINDOW, short_texts

TEXTS = [
    f"The cat number{row} sleeps in the garden{row}. A dog{row} runs along the river near mill{row}."
    for row in range(40)
]


def test_texts_as_long_as_queries() -> None:
    """No text is longer than an extract may be, most are short, none is blank, and none occurs twice."""
    made = short_texts([None] * len(TEXTS), TEXTS, 900)
    assert 600 < len(made) <= 900
    assert len(set(made)) == len(made)
    assert all(text.strip() == text and text for text in made)
    assert max(len(text.split()) for text in made) <= max(WINDOW[1], 2 * HALF_WINDOW[1], 32)
    corpus = {word for text in TEXTS for word in text.lower().replace(".", "").split()}
    assert {word for text in made for word in text.lower().replace(".", "").split()} <= corpus


def test_words_of_two_documents_meet() -> None:
    """Some texts join words that stand in no single document, as queries do."""
    numbers = [
        {word[6:] for word in text.split() if word.startswith("number")}
        for text in short_texts([None] * 40, TEXTS, 900)
    ]
    assert any(len(found) == 2 for found in numbers)


def test_the_same_texts_each_time() -> None:
    """The same documents and seed give the same texts in the same order, another seed gives others."""
    first = short_texts([None] * len(TEXTS), TEXTS, 200, seed=1)
    assert first == short_texts([None] * len(TEXTS), TEXTS, 200, seed=1)
    assert first != short_texts([None] * len(TEXTS), TEXTS, 200, seed=2)


def test_a_script_without_spaces() -> None:
    """Where nothing stands between words, a window is a run of characters and not the whole text."""
    made = short_texts([None] * 10, ["小さな博物館は休日も開いていますか" * 20] * 10, 60, "none")
    assert made
    assert max(map(len, made)) < 80


def test_documents_without_words() -> None:
    """A corpus without a word gives no texts."""
    assert short_texts([None, None], ["", "  "], 10) == []
