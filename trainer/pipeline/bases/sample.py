"""Sample of the corpus on which bases are compared: documents, and labelled queries that they answer.

The documents are in random order, so that every beginning of the sample is a sample, too: a comparison starts with few
documents and takes more as long as it is undecided (`halving.py`). Two thirds of each beginning answer labelled queries,
as long as there are such documents.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import islice

from indexer.corpus.corpus import Corpus
from indexer.index.terms.languages import detect_language
from trainer.data.labels import LabelFiles, QuerySet
from trainer.queries.synthetic import Documents

DOCUMENTS = 2_000
"""Documents of the sample at most, where its size is not set: one question for each gives standard errors of about .005."""
MAX_TEXT = 2_000
"""Characters of a document that are compared: the first window of a model with 512 tokens, two of one with 256."""
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
        size: number of documents at most; None for `DOCUMENTS`.
        labels: queries with answers; queries of the side test are left out where there are others, since the verdict of
            a run rests on them.
        seed: of the random choices.
    """
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    limit = size or DOCUMENTS
    wanted = _labelled(labels, limit, rng) if labels else []
    answers = {document for query in wanted for document in labels.answers[query]} if labels else set()
    # Reservoir sampling: each document has the same chance, and the corpus is read once.
    kept: dict[str, tuple[str | None, str]] = {}
    reservoir: list[str] = []
    seen = 0
    for batch in corpus.batches():
        columns = (batch.column(name).to_pylist() for name in ("id", "title", "text"))
        for document, title, text in zip(*columns, strict=True):
            entry = (title, text[:MAX_TEXT])
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
    answering = [name for query in wanted for name in labels.answers[query] if name in kept] if labels else []
    order = _mixed(list(dict.fromkeys(answering)), reservoir)[:limit]
    documents = Documents(order, [kept[document][0] for document in order], [kept[document][1] for document in order])
    if language == "auto":
        language = detect_language(documents.texts[:200])
    return Sample(documents, language, _within(labels, wanted, set(order)))


def _mixed(answering: list[str], others: list[str]) -> list[str]:
    """Return all documents, one of the others after every two that answer queries, as long as there are both."""
    mixed: list[str] = []
    rest = iter(others)
    for number, document in enumerate(answering, start=1):
        mixed.append(document)
        if number % 2 == 0:
            mixed.extend(islice(rest, 1))
    return [*mixed, *rest]


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
