"""Sample of the corpus on which bases are compared: documents, and labelled queries that they answer.

Intervals decide how many documents are needed: one question for each gives standard errors of about .01. More documents
would only take longer: a base of 12 layers and 768 values encodes 1,600 characters a second on one core.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from indexer.corpus.corpus import Corpus
from indexer.index.languages import detect_language
from trainer.data.labels import LabelFiles, QuerySet
from trainer.queries.synthetic import Documents

DOCUMENTS = 2_000
CHARACTERS = 600_000
"""Characters of the sample, where its size is not set: long texts make it smaller."""
MAX_TEXT = 4_000
"""Characters of a document that are compared."""
MAX_LABELLED = 400
"""Labelled queries that are used."""


@dataclass(frozen=True)
class Sample:
    """Documents of the sample, their language, and the labelled queries; None where there are no labels."""

    documents: Documents
    language: str
    labelled: QuerySet | None


def draw_sample(corpus: Corpus, language: str, size: int | None, labels: LabelFiles | None, seed: int) -> Sample:
    """Draw documents at random, and with labels first those that answer the labelled queries.

    Args:
        corpus: after its check.
        language: of the texts; `auto` detects it.
        size: number of documents; None for as many as the length of the texts allows, at most `DOCUMENTS`.
        labels: queries with answers; queries of the side test are left out where there are others, since the verdict of
            a run rests on them.
        seed: of the random choices.
    """
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    limit = size or DOCUMENTS
    wanted = _labelled(labels, limit, rng) if labels else []
    answers = {document for query in wanted for document in labels.answers[query]} if labels else set()
    # Reservoir sampling: each document has the same chance, and the corpus is read once.
    kept: dict[str, tuple[int, str | None, str]] = {}
    reservoir: list[str] = []
    row = seen = 0
    for batch in corpus.batches():
        columns = (batch.column(name).to_pylist() for name in ("id", "title", "text"))
        for document, title, text in zip(*columns, strict=True):
            entry = (row, title, text[:MAX_TEXT])
            row += 1
            if document in answers:
                kept[document] = entry
                continue
            seen += 1
            if len(reservoir) < limit:
                reservoir.append(document)
                kept[document] = entry
            elif (place := rng.randrange(seen)) < limit:
                del kept[reservoir[place]]
                reservoir[place] = document
                kept[document] = entry
    rng.shuffle(reservoir)
    order = [*sorted(answers & kept.keys()), *reservoir][:limit]
    if size is None:
        ends = np.cumsum([len(kept[document][2]) for document in order])
        order = order[: max(int(np.searchsorted(ends, CHARACTERS)), 1)]
    order.sort(key=lambda document: kept[document][0])
    documents = Documents(order, [kept[document][1] for document in order], [kept[document][2] for document in order])
    if language == "auto":
        language = detect_language(documents.texts[:200])
    return Sample(documents, language, _within(labels, wanted, set(order)))


def _labelled(labels: LabelFiles, limit: int, rng: random.Random) -> list[str]:
    """Return labelled queries whose answers fill at most two thirds of the sample."""
    queries = [query for query in labels.texts if labels.answers.get(query)]
    queries = [query for query in queries if labels.sides[query] != "test"] or queries
    rng.shuffle(queries)
    kept: list[str] = []
    answers: set[str] = set()
    for query in queries:
        more = answers | labels.answers[query].keys()
        if len(more) <= limit * 2 // 3:
            kept.append(query)
            answers = more
        if len(kept) == MAX_LABELLED:
            break
    return kept


def _within(labels: LabelFiles | None, wanted: list[str], documents: set[str]) -> QuerySet | None:
    """Return the queries that documents of the sample answer."""
    if labels is None:
        return None
    qrels = {
        query: {document: grade for document, grade in labels.answers[query].items() if document in documents}
        for query in wanted
    }
    texts = {query: labels.texts[query] for query in wanted if qrels[query]}
    return QuerySet(texts, {query: qrels[query] for query in texts})
