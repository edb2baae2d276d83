"""Languages: detection, stemmers, stop words, and scripts without spaces."""

from __future__ import annotations

import pytest

from indexer.errors import UserError
from indexer.index.terms.languages import CHOICES, analyzer, detect_language

SAMPLES = {
    "en": ["The cat sits in the garden and sleeps in the sun.", "How do I remove duplicates from a list?"],
    "es": ["El gato duerme en el jardín bajo el sol de la tarde.", "¿Cómo puedo quitar los duplicados de una lista?"],
    "de": ["Die Katze schläft im Garten in der Sonne.", "Wie entferne ich doppelte Einträge aus einer Liste?"],
    "fr": ["Le chat dort dans le jardin au soleil.", "Comment supprimer les doublons d'une liste ?"],
    "zh": ["我们喜欢自然语言处理和搜索引擎。", "猫在花园里睡觉。"],
}


def list_terms(language: str, text: str) -> list[str]:
    """Return the terms of a text."""
    return list(analyzer(language).analyze(text))


@pytest.mark.parametrize("language", SAMPLES)
def test_detection(language: str) -> None:
    """The language of most texts is detected."""
    assert detect_language(SAMPLES[language] * 3) == language
    other = "de" if language != "de" else "en"
    assert detect_language([*SAMPLES[language] * 3, SAMPLES[other][0]]) == language


def test_detection_of_unsupported_languages() -> None:
    """An unsupported language, and a corpus without texts, are `none` and no wrong guess."""
    assert detect_language([]) == "none"
    assert detect_language(["Jak odstranić duplikaty z listy, zachowując kolejność elementów?"] * 3) == "none"  # Polish
    assert detect_language(["Katten sover i hagen, og hunden løper langs elva hver eneste morgen."] * 3) in ("no", "da")


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("en", "running", "run"),
        ("en", "Ships", "ship"),
        ("en", "café", "cafe"),
        ("es", "casas", "casa"),
        ("es", "corriendo", "correr"),
        ("es", "jardín", "jardin"),
        ("de", "Häuser", "Haus"),
        ("de", "laufen", "laufe"),
        ("fr", "chevaux", "cheval"),
        ("ru", "книги", "книга"),
        ("tr", "kitaplar", "kitap"),
        ("none", "Running", "running"),
    ],
)
def test_forms_of_a_word_are_one_term(language: str, one: str, other: str) -> None:
    """Forms of a word, with capitals or accents, are one term in the language of the index."""
    assert list_terms(language, one) == list_terms(language, other) != []


def test_stems_differ_by_language() -> None:
    """Each language has its own stemmer, and `none` has none."""
    assert list_terms("none", "running casas") == ["running", "casas"]
    assert list_terms("en", "running casas") != list_terms("es", "running casas")


@pytest.mark.parametrize(
    ("language", "words"), [("en", "the of and"), ("es", "de la que el"), ("de", "der die und"), ("fr", "le et dans")]
)
def test_stop_words_are_left_out(language: str, words: str) -> None:
    """Stop words are no terms; without a language all words are terms."""
    assert list_terms(language, words) == []
    assert list_terms("none", words) == words.split()


@pytest.mark.parametrize("language", [*CHOICES, "none"])
def test_every_choice_has_an_analyzer(language: str) -> None:
    """Every supported code has an analyzer that works on any text."""
    text_analyzer = analyzer(language)
    assert text_analyzer.analyze("") == []
    text_analyzer.analyze("Some text, 東京 🙂 ünïcödé كتاب \x00 " + "x" * 10_000)
    assert text_analyzer.analyze("zebra")


@pytest.mark.parametrize("language", ["xx", "EN", "english", "", "auto", "zh-CN"])
def test_an_unknown_language_is_refused(language: str) -> None:
    """An unknown code is refused; the error names the flag and all known codes."""
    with pytest.raises(UserError, match=f"--language {language}: not known.*en.*zh"):
        analyzer(language)


def test_unspaced_languages_are_indexed_by_pairs() -> None:
    """Text without spaces becomes characters and pairs of them: a word inside a sentence is a term."""
    assert {"语言", "语", "言"} <= set(list_terms("zh", "自然语言处理"))
    assert set(list_terms("ja", "東京")) == {"東", "東京", "京"}
