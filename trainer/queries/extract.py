"""Extracted queries, without a language model: titles, salient sentences and key phrases of the texts.

Key phrases are the words and pairs of neighbouring words with the largest TF-IDF weights (scikit-learn), in the order
of the text. A sentence is salient when much of its document's weight falls on its words (the centroid of Radev, Jing,
Styś and Tam, «Centroid-based summarization of multiple documents», 2004). In scripts without spaces between words, the
n-grams of characters that touch are joined again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from indexer.index.terms.languages import detect_language
from trainer.data.words import Keys, Sentence, sentences_of

CHUNK = 5_000
"""Texts whose TF-IDF is computed together: enough for document frequencies, few enough for memory."""
MIN_WORDS, MAX_WORDS = 4, 32
"""Words of a sentence that is a query; a longer one is cut."""
KEYWORD_COUNTS = (2, 6)
"""Minimum and maximum of words in a query of key phrases."""
CANDIDATES = 16
"""Key phrases of a text from which its queries are drawn."""
MAX_DOCUMENT_SHARE = 0.3
"""Words in a larger share of the texts are no key words, in any language."""
MIN_TEXTS = 30
"""Number of texts from which that share is applied."""
SHARPNESS = 3.0
"""Exponent of the TF-IDF weights when key phrases are drawn: larger values prefer heavy ones more."""


class _Text(NamedTuple):
    """A text with its sentences and the TF-IDF weights of its words and pairs."""

    text: str
    sentences: list[Sentence]
    weights: dict[str, float]


def extract(
    titles: Sequence[str | None], texts: Sequence[str], count: int = 5, language: str = "en", seed: int = 0
) -> list[list[tuple[str, str]]]:
    """Return up to ``count`` (kind, query) for each text: its title, then sentences and key phrases in turn.

    Every text with a letter or a digit gets at least one query. The same texts and seed give the same queries.

    Args:
        titles: one per text, None or blank where there is none.
        texts: the documents or their pieces; document frequencies are counted over them.
        count: how many queries per text, at most.
        language: ISO 639-1 code whose stop words are left out; ``auto`` detects it, ``none`` uses frequencies alone.
        seed: of the choice among key phrases.

    Raises:
        UserError: the language is unknown.
    """
    keys = Keys(detect_language(texts[:200]) if language == "auto" else language)
    rng = np.random.default_rng(seed)
    queries: list[list[tuple[str, str]]] = [[] for _ in texts]
    chunks = -(-len(texts) // CHUNK)
    for first in range(chunks):
        # Every n-th text, not n texts in a row: a corpus may be sorted by subject.
        rows = range(first, len(texts), chunks)
        documents = [sentences_of(texts[row], keys) for row in rows]
        for row, sentences, weights in zip(rows, documents, _weights(documents), strict=True):
            text = _Text(texts[row], sentences, weights)
            queries[row] = _mix(titles[row], text, count, rng)
    return queries


def _grams(sentences: list[Sentence]) -> list[str]:
    """Return words and pairs of a document, for TF-IDF."""
    return [key for sentence in sentences for key in (*filter(None, sentence.keys), *sentence.pairs)]


def _weights(documents: list[list[Sentence]]) -> Iterator[dict[str, float]]:
    """Yield for each document the TF-IDF weights of its words, and of its pairs that recur."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    common = MAX_DOCUMENT_SHARE if len(documents) >= MIN_TEXTS else 1.0
    vectoriser = TfidfVectorizer(analyzer=_grams, sublinear_tf=True, norm=None, max_df=common, dtype=np.float32)
    try:
        matrix: Any = vectoriser.fit_transform(documents)
    except ValueError:  # no words, or only common ones
        yield from ({} for _ in documents)
        return
    names, idf = vectoriser.get_feature_names_out(), vectoriser.idf_
    once = float(np.log((1 + len(documents)) / 2) + 1) - 1e-4  # the idf of a term in a single document
    paired = np.array([" " in name for name in names])
    for row in range(len(documents)):
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        columns, weights = matrix.indices[span], matrix.data[span]
        # A pair that occurs only once among all texts is no phrase.
        kept = ~(paired[columns] & (idf[columns] >= once) & (weights <= idf[columns] + 1e-4))
        yield dict(zip(names[columns[kept]], weights[kept].tolist(), strict=True))


def _mix(title: str | None, text: _Text, count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Return the title, then sentences and key phrases in turn, and the rest of one kind when the other is used up."""
    full_text = " ".join(text.text.split())
    queries: dict[str, tuple[str, str]] = {}
    if (title := " ".join((title or "").split()[:MAX_WORDS])) and title.casefold() != full_text.casefold():
        queries[title.casefold()] = ("title", title)
    turns = [
        iter([("sentence", query) for query in _salient(*text) if query != full_text]),
        (("keywords", query) for query in _key_phrases(*text, count, rng) if query != full_text),
    ]
    while turns and len(queries) < count:
        turn = turns.pop(0)
        for kind, query in turn:
            if query.casefold() not in queries:
                queries[query.casefold()] = (kind, query)
                turns.append(turn)
                break
    if not queries and any(sentence.keys for sentence in text.sentences):
        return [("sentence", " ".join(full_text.split()[:MAX_WORDS]))][:count]
    return list(queries.values())[:count]


def _salient(text: str, sentences: list[Sentence], weights: dict[str, float]) -> list[str]:
    """Return the sentences, cut where they are too long, the most salient first."""
    scored: list[tuple[float, int, str]] = []
    for sentence in sentences:
        kept = bisect_right(list(accumulate(sentence.sizes)), MAX_WORDS)
        size = sum(sentence.sizes[:kept])
        if size < MIN_WORDS:
            continue
        end = sentence.end if kept == len(sentence.keys) else sentence.ends[kept - 1]
        # Divided by the root of the length: long sentences have no advantage.
        salience = sum(weights.get(key, 0.0) for key in set(sentence.keys[:kept])) / size**0.5
        scored.append((-salience, len(scored), " ".join(text[sentence.start : end].split())))
    return [query for _, _, query in sorted(scored)]


def _key_phrases(
    text: str, sentences: list[Sentence], weights: dict[str, float], count: int, rng: np.random.Generator
) -> Iterator[str]:
    """Yield queries of heavy key phrases, drawn at random, in the order of the text; used phrases become less likely."""
    if not weights:
        return
    threshold = np.sort(list(weights.values()))[-CANDIDATES:][0]
    heavy = {key for key, weight in weights.items() if weight >= threshold}
    spans: dict[str, tuple[int, int]] = {}
    for sentence in sentences:
        for start, end, key, size in zip(sentence.starts, sentence.ends, sentence.keys, sentence.sizes, strict=True):
            if key in heavy and size >= 0.5:  # a short n-gram, such as five letters of Thai, is no word
                spans.setdefault(key, (start, end))
        for key in heavy & sentence.pairs.keys():
            spans.setdefault(key, sentence.pairs[key])
    phrases = sorted(spans, key=lambda key: (-weights[key], spans[key]))[:CANDIDATES]
    odds = SHARPNESS * np.log([weights[key] for key in phrases])
    for _ in range(2 * count):
        target = int(rng.integers(KEYWORD_COUNTS[0], KEYWORD_COUNTS[1], endpoint=True))
        chosen: set[str] = set()
        rows = []
        for row in np.argsort(-(odds + rng.gumbel(size=len(phrases)))):
            words = phrases[row].split(" ")
            if len(chosen) + len(words) <= target and chosen.isdisjoint(words):
                chosen.update(words)
                rows.append(row)
        if len(chosen) < KEYWORD_COUNTS[0]:
            return
        odds[rows] -= 1.0
        yield _join(text, sorted(spans[phrases[row]] for row in rows))


def _join(text: str, spans: list[tuple[int, int]]) -> str:
    """Return the pieces of a text at ``spans``, which are sorted; pieces that overlap or touch are joined."""
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return " ".join(" ".join(text[start:end].split()) for start, end in merged)
