"""Questions about an index, on which old and new queries are compared: by labels, and made from documents left aside.

The texts of these documents are in no pair from which the map is learned.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexer.build.assemble import build_private_index
from indexer.build.settings import BuildSettings
from indexer.build.vectors import KnownVectors
from indexer.build.weights.inverse_cloze import halves, take_words
from indexer.build.weights.neighbour_questions import make_neighbour_questions
from indexer.index.index import Index
from indexer.progress import quiet, stage
from trainer.data.clusters import cluster_queries
from trainer.data.labels import LabelFiles, QuerySet
from trainer.pipeline.bases.questions import Kind
from trainer.queries.synthetic import Documents, keyword_queries, neighbour_queries

MAX_QUESTIONS = 400
"""Questions of a kind."""
MAX_TAKEN = 200
"""Documents out of which words are taken: the old model encodes them again."""
MIN_TAKEN = 40
"""With fewer sentences, half of a document's words ask for the other half."""
POOL = 1_500
"""Documents among which those are searched."""


@dataclass(frozen=True)
class Asked:
    """Questions of one kind, and the index that answers them.

    Attributes:
        queries: with their answers, by the names in ``ids``.
        index: with the old model.
        ids: name of each document by its row.
        left_out: for each query the row of a document that is not searched; empty for none.
        clusters: of each query; questions about one document are not independent.
    """

    queries: QuerySet
    index: Index
    ids: list[str]
    left_out: dict[str, int]
    clusters: list[Hashable]


def ask(
    index: Index, sides: tuple[Sequence[int], Sequence[int]], labels: LabelFiles | None, *, folder: Path, seed: int
) -> dict[Kind, Asked]:
    """Return the questions of each kind of which there are any.

    Args:
        index: as built.
        sides: rows of the documents that are asked about; and of those that only are in the way, where words are taken out.
        labels: labelled queries; None for none.
        folder: for the index of documents without the words that were taken out.
        seed: of all choices.
    """
    rows, others = sides
    ids: list[str] = index.column("id").to_pylist()
    kinds: dict[Kind, Asked] = {}
    if labels:
        queries = labels.within(set(ids))
        kinds["labels"] = Asked(queries, index, ids, {}, list(cluster_queries(queries.qrels, {}).values()))
    with stage("ask documents for their neighbours"):
        made = make_neighbour_questions(index, rows, MAX_QUESTIONS, seed)
    queries, left_out = neighbour_queries(made, ids)
    kinds["neighbours"] = Asked(queries, index, ids, left_out, list(left_out.values()))
    name, taken = _take_words(index, rows, others, folder, seed)
    kinds[name] = taken
    documents = [index.document(row) for row in rows]
    texts = Documents([one.id for one in documents], [one.title for one in documents], [one.text for one in documents])
    queries = keyword_queries(texts, range(len(texts.ids)), MAX_QUESTIONS, seed)
    answers = [next(iter(answers)) for answers in queries.qrels.values()]
    kinds["key words"] = Asked(queries, index, ids, {}, list(answers))
    return {kind: asked for kind, asked in kinds.items() if len(asked.queries)}


def _take_words(
    index: Index, rows: Sequence[int], others: Sequence[int], folder: Path, seed: int
) -> tuple[Kind, Asked]:
    """Take a sentence, or half of the words, out of some documents, and ask for what is left."""
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    pool = [*rows, *rng.sample(list(others), min(len(others), max(POOL - len(rows), 0)))]
    documents = [index.document(row) for row in pool]
    contents = [{"title": document.title, "text": document.text} for document in documents]
    texts = [document.text for document in documents[: len(rows)]]
    clozes, sentences = take_words(texts, MAX_TAKEN, min(MIN_TAKEN, len(rows)), seed)
    for cloze in clozes:
        contents[cloze.row]["text"] = cloze.rest
    config = index.manifest.config
    settings = BuildSettings(
        language=config["language"],
        passages=config["passages"],
        overlap_tokens=config["overlap_tokens"],
        precision=config["precision"],
    )
    with stage("take words out of documents"), quiet():
        private = build_private_index(contents, settings, index.encoder, KnownVectors(index.folder), folder)
    names = [str(row) for row in range(len(private))]
    asked = [halves(cloze.sentence, rng)[0] if sentences else cloze.sentence for cloze in clozes]
    queries = QuerySet(
        {names[cloze.row]: text for cloze, text in zip(clozes, asked, strict=True)},
        {names[cloze.row]: {names[cloze.row]: 1} for cloze in clozes},
    )
    return "sentences" if sentences else "halves", Asked(queries, private, names, {}, list(queries.texts))
