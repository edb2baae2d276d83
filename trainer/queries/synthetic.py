"""Synthetic test queries about held-out documents, for corpora without labels.

There are two kinds, because each alone can mislead. *Key words* of a document, which it still contains, show whether the
encoder tells the documents of this corpus apart better than before. *Cloze queries* are the two halves of a sentence that was
taken out of a document (inverse cloze task). They show whether the encoder still finds a text by its meaning when the words
are gone. A model that gains on the first and loses on the second has learned to match words only.
docs/decisions/training.md compares these verdicts with those by labels.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.build.assemble import build_private_index
from indexer.build.settings import BuildSettings
from indexer.build.vectors import KnownVectors
from indexer.build.weights.inverse_cloze import halves, make_clozes
from indexer.build.weights.neighbour_questions import NeighbourQuestion
from indexer.index.index import Index
from indexer.index.terms.languages import detect_language
from indexer.progress import quiet, stage
from trainer.data.labels import QuerySet
from trainer.queries.extract import extract

EXTRACTS_PER_DOCUMENT = 5
"""Extracts per document, of which only the key-word queries are used."""
POOL_DOCUMENTS = 2_000
"""Documents of the pool in which cloze queries are searched."""


@dataclass(frozen=True)
class Documents:
    """All documents of an index: ids, titles and texts by row."""

    ids: list[str]
    titles: list[str | None]
    texts: list[str]

    @classmethod
    def of(cls, index: Index) -> Documents:
        """Read the documents of an index."""
        documents = [index.document(row) for row in range(len(index))]
        return cls(
            [document.id for document in documents],
            [document.title for document in documents],
            [document.text for document in documents],
        )


def keyword_queries(documents: Documents, rows: Sequence[int], limit: int, seed: int) -> QuerySet:
    """Return at most ``limit`` queries of key words of the documents in ``rows``."""
    texts = [documents.texts[row] for row in rows]
    language = detect_language(texts[:200]) if texts else "none"
    by_document = extract([None] * len(rows), texts, EXTRACTS_PER_DOCUMENT, language, seed)
    pairs = {
        f"{documents.ids[row]}/{number}": (query, documents.ids[row])
        for row, queries in zip(rows, by_document, strict=True)
        for number, (kind, query) in enumerate(queries)
        if kind == "keywords"
    }
    chosen = sorted(random.Random(seed).sample(sorted(pairs), min(limit, len(pairs))))  # noqa: S311
    return QuerySet({key: pairs[key][0] for key in chosen}, {key: {pairs[key][1]: 1} for key in chosen})


def neighbour_queries(questions: Sequence[NeighbourQuestion], ids: Sequence[str]) -> tuple[QuerySet, dict[str, int]]:
    """Return neighbour questions as queries, and for each the row of its source, which is not to be searched.

    ``ids`` are those of the documents by row.
    """
    named = {f"{ids[question.source]}/neighbour": question for question in questions}
    queries = QuerySet(
        {key: question.text for key, question in named.items()},
        {key: {ids[row]: 1 for row in question.answers} for key, question in named.items()},
    )
    return queries, {key: question.source for key, question in named.items()}


@dataclass(frozen=True)
class ClozePool:
    """Cloze queries, and an index of a pool of documents from which their sentences were removed.

    Attributes:
        queries: the halves of the sentences; qrels name documents by the pool's ids.
        index: of the pool.
        ids: of its documents by row: numbers from 1 as text.
    """

    queries: QuerySet
    index: Index
    ids: list[str]


def cloze_queries(
    index: Index,
    documents: Documents,
    rows: Sequence[int],
    *,
    folder: Path,
    count: int,
    seed: int,
) -> ClozePool:
    """Take one sentence out of each of some documents, and make two queries of its halves.

    Args:
        index: of the corpus; its encoder is used, and its vectors for unchanged documents.
        documents: of that index.
        rows: held-out documents, from which sentences are taken.
        folder: to which the index of the pool is written.
        count: number of sentences.
        seed: of all random choices.
    """
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    held_out = list(rows)
    others = sorted(set(range(len(documents.ids))) - set(held_out))
    pool = held_out + rng.sample(others, min(len(others), max(POOL_DOCUMENTS - len(held_out), 0)))
    contents: list[dict[str, Any]] = [{"title": documents.titles[row], "text": documents.texts[row]} for row in pool]
    texts: dict[str, str] = {}
    for cloze in make_clozes([documents.texts[row] for row in held_out], count, seed):
        for half, words in enumerate(halves(cloze.sentence, rng)):
            texts[f"{cloze.row + 1}/{half}"] = words
        contents[cloze.row]["text"] = cloze.rest
    config = index.manifest.config
    settings = BuildSettings(language=config["language"], passages=config["passages"], precision=config["precision"])
    with stage("take sentences out of documents"), quiet():
        known = KnownVectors(index.folder)
        pool_index = build_private_index(contents, settings, index.encoder, known, folder)
    ids = [pool_index.document(row).id for row in range(len(pool_index))]
    return ClozePool(QuerySet(texts, {key: {key.partition("/")[0]: 1} for key in texts}), pool_index, ids)
