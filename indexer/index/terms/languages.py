"""Languages: detection of the language of a corpus, and text analyzers with stemmers and stop words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import tantivy

from indexer.errors import UserError

STEMMED = {
    "ar": "arabic", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish", "fi": "finnish",
    "fr": "french", "hu": "hungarian", "it": "italian", "nl": "dutch", "no": "norwegian", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip
"""ISO 639-1 code → the name of tantivy's stemmer."""

UNSPACED = {"zh", "ja", "ko", "th", "lo", "km", "my"}
"""Languages written without spaces, or with long compounds between them: indexed by characters and pairs of them."""

NO_STOP_WORDS = {"ar", "el", "ro", "ta", "tr"}
"""Languages for which tantivy has a stemmer but no list of stop words."""

CHOICES = sorted({*STEMMED, *UNSPACED})
MAX_WORD = 80
"""Bytes in UTF-8; words of so many or more are not indexed."""


def detect_language(texts: Iterable[str]) -> str:
    """Return the ISO 639-1 code of the language of most ``texts``, or ``none`` for one that is not in `CHOICES`."""
    import py3langid  # here, since it loads its model

    votes = Counter(py3langid.classify(text[:2000])[0] for text in texts)
    language = votes.most_common(1)[0][0] if votes else "none"
    language = {"nb": "no", "nn": "no"}.get(language, language)
    return language if language in CHOICES else "none"


def analyzer(language: str) -> tantivy.TextAnalyzer:
    """Return the text analyzer for a language code, or for ``none``: lower-cased words, not stemmed.

    Raises:
        UserError: the code is not one of `CHOICES`.
    """
    if language != "none" and language not in CHOICES:
        raise UserError(f"--language {language}: not known; use auto, none or one of {', '.join(CHOICES)}")
    if language in UNSPACED:
        return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.ngram(1, 2)).filter(tantivy.Filter.lowercase()).build()
    builder = _word_analyzer(language)
    if language in STEMMED:
        builder = builder.filter(tantivy.Filter.stemmer(STEMMED[language]))
    if language != "none":
        # Users leave accents out of queries. They are folded after stemming, since the stemmer needs them.
        builder = builder.filter(tantivy.Filter.ascii_fold())
    return builder.build()


def language_filters(language: str) -> list[tantivy.Filter]:
    """Return the filters of a language for one lower-cased word: stop words and stemmer; none where it has no stemmer.

    Raises:
        UserError: the code is not one of `CHOICES`, nor ``none``.
    """
    analyzer(language)
    name = STEMMED.get(language)
    if name is None:
        return []
    stop_words = [] if language in NO_STOP_WORDS else [tantivy.Filter.stopword(name)]
    return [*stop_words, tantivy.Filter.stemmer(name)]


def exact_analyzer(language: str) -> tantivy.TextAnalyzer | None:
    """Return the analyzer of words as they are written, without stop words; None where `analyzer` does not stem."""
    return _word_analyzer(language).build() if language in STEMMED else None


def _word_analyzer(language: str) -> tantivy.TextAnalyzerBuilder:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    builder = builder.filter(tantivy.Filter.remove_long(MAX_WORD)).filter(tantivy.Filter.lowercase())
    if language in STEMMED and language not in NO_STOP_WORDS:
        builder = builder.filter(tantivy.Filter.stopword(STEMMED[language]))
    return builder
