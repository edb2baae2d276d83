"""Queries without any LLM: titles, salient sentences and key phrases, taken out of the texts themselves.

Key phrases are the words and pairs of neighbouring words with the largest TF-IDF weights (scikit-learn), in the order
of the text; a sentence is salient when much of its document's weight falls on its words (the centroid of Radev, Jing,
Styś and Tam, «Centroid-based summarization of multiple documents», 2004). In scripts without spaces between words, the
n-grams of characters that touch are joined again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from indexer.index.languages import detect_language
from trainer.data.words import Keys, Sentence, sentences_of

CHUNK = 5_000
"""Texts that are weighed together: enough for document frequencies, few enough for memory."""
LEAST_WORDS, MOST_WORDS = 4, 32
"""Length of a sentence that is a query; a longer one is cut."""
KEYWORDS = (2, 6)
"""Words of a query of key phrases, least and most."""
CANDIDATES = 16
"""Key phrases of a text from which its queries are drawn."""
COMMON = 0.3
"""A word in more than this share of the texts says nothing of one of them, whatever its language."""
COMMON_FROM = 30
"""Number of texts from which that share is trusted."""
SHARPNESS = 3.0
"""How much more often a heavy key phrase is drawn than a light one."""


class _Text(NamedTuple):
    text: str
    sentences: list[Sentence]
    weights: dict[str, float]


def extract(
    titles: Sequence[str | None], texts: Sequence[str], count: int = 5, language: str = "en", seed: int = 0
) -> list[list[tuple[str, str]]]:
    """Return up to ``count`` (kind, query) for each text: its title, then sentences and key phrases in turn.

    Every text that has a letter or a digit gets at least one query. The same texts and seed give the same queries.

    Args:
        titles: one per text, None or blank where there is none.
        texts: the documents or their pieces; what is rare and what is common is counted over them.
        count: how many queries per text, at most.
        language: ISO 639-1 code whose stop words are left out; ``auto`` finds it, ``none`` goes by frequency alone.
        seed: chooses among the key phrases.

    Raises:
        UserError: the language is not known.
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
            queries[row] = _mixed(titles[row], text, count, rng)
    return queries


def _grams(sentences: list[Sentence]) -> list[str]:
    return [key for sentence in sentences for key in (*filter(None, sentence.keys), *sentence.pairs)]


def _weights(documents: list[list[Sentence]]) -> Iterator[dict[str, float]]:
    """Yield for each document the TF-IDF weights of its words and of the pairs that are more than a coincidence."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    common = COMMON if len(documents) >= COMMON_FROM else 1.0
    vectoriser = TfidfVectorizer(analyzer=_grams, sublinear_tf=True, norm=None, max_df=common, dtype=np.float32)
    try:
        matrix: Any = vectoriser.fit_transform(documents)
    except ValueError:  # no word at all, or all are common
        yield from ({} for _ in documents)
        return
    names, idf = vectoriser.get_feature_names_out(), vectoriser.idf_
    once = float(np.log((1 + len(documents)) / 2) + 1) - 1e-4  # the idf of what stands in one document only
    paired = np.array([" " in name for name in names])
    for row in range(len(documents)):
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        columns, weights = matrix.indices[span], matrix.data[span]
        # A pair that occurs a single time in the whole corpus is two words that happened to meet.
        kept = ~(paired[columns] & (idf[columns] >= once) & (weights <= idf[columns] + 1e-4))
        yield dict(zip(names[columns[kept]], weights[kept].tolist(), strict=True))


def _mixed(title: str | None, text: _Text, count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Take the title, then a sentence and key phrases in turn; what runs out leaves its turn to the other."""
    whole = " ".join(text.text.split())
    found: dict[str, tuple[str, str]] = {}
    if (title := " ".join((title or "").split()[:MOST_WORDS])) and title.casefold() != whole.casefold():
        found[title.casefold()] = ("title", title)
    turns = [
        iter([("sentence", query) for query in _salient(*text) if query != whole]),
        (("keywords", query) for query in _key_phrases(*text, count, rng) if query != whole),
    ]
    while turns and len(found) < count:
        turn = turns.pop(0)
        for kind, query in turn:
            if query.casefold() not in found:
                found[query.casefold()] = (kind, query)
                turns.append(turn)
                break
    if not found and any(sentence.keys for sentence in text.sentences):
        return [("sentence", " ".join(whole.split()[:MOST_WORDS]))][:count]
    return list(found.values())[:count]


def _salient(text: str, sentences: list[Sentence], weights: dict[str, float]) -> list[str]:
    """Return the sentences, cut where they are too long, the most salient first."""
    scored: list[tuple[float, int, str]] = []
    for sentence in sentences:
        kept = bisect_right(list(accumulate(sentence.sizes)), MOST_WORDS)
        size = sum(sentence.sizes[:kept])
        if size < LEAST_WORDS:
            continue
        end = sentence.end if kept == len(sentence.keys) else sentence.ends[kept - 1]
        # The root lets a sentence gain by what it says and not by its length.
        salience = sum(weights.get(key, 0.0) for key in set(sentence.keys[:kept])) / size**0.5
        scored.append((-salience, len(scored), " ".join(text[sentence.start : end].split())))
    return [query for _, _, query in sorted(scored)]


def _key_phrases(
    text: str, sentences: list[Sentence], weights: dict[str, float], count: int, rng: np.random.Generator
) -> Iterator[str]:
    """Draw queries of heavy key phrases in the order of the text; a phrase that was used is less likely to come again."""
    if not weights:
        return
    heaviest = np.sort(list(weights.values()))[-CANDIDATES:][0]
    heavy = {key for key, weight in weights.items() if weight >= heaviest}
    spans: dict[str, tuple[int, int]] = {}
    for sentence in sentences:
        for start, end, key, size in zip(sentence.starts, sentence.ends, sentence.keys, sentence.sizes, strict=True):
            if key in heavy and size >= 0.5:  # five letters of Thai are no word
                spans.setdefault(key, (start, end))
        for key in heavy & sentence.pairs.keys():
            spans.setdefault(key, sentence.pairs[key])
    phrases = sorted(spans, key=lambda key: (-weights[key], spans[key]))[:CANDIDATES]
    odds = SHARPNESS * np.log([weights[key] for key in phrases])
    for _ in range(2 * count):
        wanted = int(rng.integers(KEYWORDS[0], KEYWORDS[1], endpoint=True))
        chosen: set[str] = set()
        picked = []
        for at in np.argsort(-(odds + rng.gumbel(size=len(phrases)))):
            words = phrases[at].split(" ")
            if len(chosen) + len(words) <= wanted and chosen.isdisjoint(words):
                chosen.update(words)
                picked.append(at)
        if len(chosen) < KEYWORDS[0]:
            return
        odds[picked] -= 1.0
        yield _joined(text, sorted(spans[phrases[at]] for at in picked))


def _joined(text: str, spans: list[tuple[int, int]]) -> str:
    """Return the pieces of a text in its order; those that overlap or touch are one."""
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return " ".join(" ".join(text[start:end].split()) for start, end in merged)
