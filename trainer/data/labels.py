"""Labels of a training run: queries and qrels, read from files and divided into train, dev and test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from indexer.corpus.files import COMPRESSED, FORMATS
from indexer.errors import UserError
from indexer.progress import say
from trainer.data import trec
from trainer.data.clusters import Copies, cluster_queries, groups_of
from trainer.data.label_rows import id_text, read_rows, relevance_of
from trainer.data.split import SIDES, draw

DEV_SHARE, TEST_SHARE = 0.1, 0.2
"""Shares of the documents for dev and test, where the queries have no column ``split``."""
DEV_OF_TRAIN = 0.15
"""Share of the documents of train for dev, where the column ``split`` has no dev."""
SUFFIXES = tuple(
    suffix + compression for suffix in FORMATS for compression in (("",) if suffix == ".parquet" else ("", *COMPRESSED))
)
"""How the name of a file of labels may end: as that of a corpus."""
Qrels = Mapping[str, Mapping[str, int]]
"""Query id → document id → graded relevance; 0 is judged and not relevant."""


@dataclass(frozen=True)
class QuerySet:
    """Queries (id → text) with their qrels: query id → document id → graded relevance above 0."""

    texts: dict[str, str]
    qrels: Qrels

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def documents(self) -> set[str]:
        """Ids of all documents that answer a query."""
        return {document for answers in self.qrels.values() for document in answers}

    def only(self, queries: Iterable[str]) -> QuerySet:
        """Return the queries with these ids, in their order here."""
        ids = set(queries)
        texts = {query: text for query, text in self.texts.items() if query in ids}
        return QuerySet(texts, {query: self.qrels[query] for query in texts})

    def unseen(self, trained: set[str], copies: Copies | None = None) -> QuerySet:
        """Return the queries that have no answer, and no near-duplicate of one, among the documents ``trained``."""
        copies = copies or {}
        seen = groups_of(trained, copies)
        return self.only(query for query, answers in self.qrels.items() if not groups_of(answers, copies) & seen)


@dataclass(frozen=True)
class Labels:
    """Labelled queries in three parts."""

    train: QuerySet
    dev: QuerySet
    test: QuerySet


def label_files(qrels: Path | None, queries: Path | None) -> list[Path]:
    """Return the files of the labels: qrels and queries, or none where there are no labels.

    Args:
        qrels: as named.
        queries: as named; by default ``queries`` beside ``qrels``, or beside its folder where that is called qrels.

    Raises:
        UserError: a file does not exist, or there are queries without qrels.
    """
    if qrels is None:
        if queries:
            raise UserError(f"--queries {queries}: there are no qrels for these queries; give --qrels too")
        return []
    if queries is None:
        folders = (qrels.parent, qrels.parent.parent) if qrels.parent.name == "qrels" else (qrels.parent,)
        beside = [folder / f"queries{suffix}" for folder in folders for suffix in SUFFIXES]
        queries = next((path for path in beside if path.is_file()), None)
        if queries is None:
            raise UserError(f"--qrels {qrels}: there is no file of queries beside it; name one with --queries")
    for flag, path in (("--qrels", qrels), ("--queries", queries)):
        if not path.is_file():
            raise UserError(f"{flag} {path}: no such file; give the path of the labels")
        if not path.name.lower().endswith((*SUFFIXES, *trec.SUFFIXES) if flag == "--qrels" else SUFFIXES):
            raise UserError(
                f"{flag} {path}: give a file that ends in one of {', '.join(FORMATS)}; "
                "all but Parquet may also end in .gz or .zst"
            )
    return [qrels, queries]


@dataclass(frozen=True)
class LabelFiles:
    """Labels as their two files have them, checked without the corpus.

    Attributes:
        qrels: the file of the judgements.
        queries: the file of the queries.
        texts: text of each query.
        sides: value of the column ``split`` of each query; empty where there is none.
        answers: query id → document id → relevance above 0, of queries that have a text.
    """

    qrels: Path
    queries: Path
    texts: dict[str, str]
    sides: dict[str, str]
    answers: dict[str, dict[str, int]]

    @property
    def documents(self) -> set[str]:
        """Ids of all documents that answer a query."""
        return {document for answers in self.answers.values() for document in answers}

    def check(self, corpus: Iterable[str]) -> None:
        """Check that a document of ``corpus``, which yields the ids of the corpus, answers a query.

        Raises:
            UserError: there is none.
        """
        documents = self.documents
        shown: list[str] = []
        for document in corpus:
            if document in documents:
                return
            if len(shown) < 3:
                shown.append(document)
        raise UserError(
            f"{self.qrels}: no query of {self.queries.name} has an answer in the corpus; check that doc_id holds the "
            f"corpus's ids ({_examples(documents)} here, {_examples(shown)} there)"
        )

    def within(self, documents: set[str]) -> QuerySet:
        """Return the queries with an answer among ``documents``, with these answers; others are left out and counted.

        Raises:
            UserError: there are none.
        """
        self.check(documents)
        kept = {
            query: {document: grade for document, grade in answers.items() if document in documents}
            for query, answers in self.answers.items()
        }
        texts = {query: text for query, text in self.texts.items() if kept.get(query)}
        if absent := sum(map(len, self.answers.values())) - sum(map(len, kept.values())):
            say(f"{self.qrels.name}: {absent:,} judgements are about documents that are not in the corpus")
        return QuerySet(texts, {query: kept[query] for query in texts})


def load_labels(qrels: Path, queries: Path | None) -> LabelFiles:
    """Read both files of the labels and check all that can be checked without the corpus.

    Args:
        qrels: file with the columns query_id, doc_id and relevance (default 1).
        queries: file with the columns id and text, and perhaps split; by default ``queries`` beside ``qrels``.

    Raises:
        UserError: a file is not readable, lacks a column, or has a bad row or two rows that contradict each other. Or no
            query has an answer.
    """
    qrels, queries = label_files(qrels, queries)
    judged = _read_qrels(qrels)
    texts: dict[str, str] = {}
    sides: dict[str, str] = {}
    for number, row in read_rows(queries, ["id", "text"]):
        query = id_text(row["id"])
        if query in texts:
            raise UserError(f"{queries} row {number}: a second query with the id {query!r}; give each query its own id")
        texts[query] = str(row["text"])
        sides[query] = str(row.get("split") or "")
    if any(sides.values()) and not set(sides.values()) & set(SIDES):
        raise UserError(
            f"{queries}: the column 'split' holds {_examples(set(sides.values()) - {''})} and none of {', '.join(SIDES)}; "
            "write these, or leave the column out"
        )
    if not judged.keys() & texts.keys():
        raise UserError(
            f"{qrels}: no query of {queries.name} has an answer here; check that query_id holds the ids of the queries "
            f"({_examples(judged)} here, {_examples(texts)} there)"
        )
    if unknown := len(judged.keys() - texts.keys()):
        say(f"{qrels.name}: {unknown:,} queries are left out, since {queries.name} does not have them")
    answers = {
        query: {document: relevance for document, relevance in grades.items() if relevance > 0}
        for query, grades in judged.items()
        if query in texts
    }
    labels = LabelFiles(qrels, queries, texts, sides, answers)
    if not labels.documents:
        raise UserError(
            f"{qrels}: no query of {queries.name} has an answer here; give a relevance above 0 to documents that answer one"
        )
    return labels


def _read_qrels(qrels: Path) -> dict[str, dict[str, int]]:
    """Return query id → document id → relevance; the same judgement twice counts once."""
    judged: dict[str, dict[str, int]] = {}
    for number, row in read_rows(qrels, ["query_id", "doc_id"]):
        relevance = relevance_of(row, f"{qrels} row {number}")
        query, document = id_text(row["query_id"]), id_text(row["doc_id"])
        earlier = judged.setdefault(query, {}).setdefault(document, relevance)
        if earlier != relevance:
            raise UserError(
                f"{qrels} row {number}: relevance {relevance} of {document!r} for the query {query!r}, and {earlier} in an "
                "earlier row; keep one of them"
            )
    return judged


def read_labels(
    qrels: Path, queries: Path | None, documents: set[str], seed: int, copies: Copies | None = None
) -> Labels:
    """Read queries and qrels and divide them.

    A column ``split`` (train, dev, test) of the queries is followed. If it has no dev, documents of train are drawn for
    it. Without that column, documents are drawn for dev and test. A document is drawn with its near-duplicates and with
    the documents that answer the same queries (`trainer.data.clusters`).

    Args:
        qrels: as for `load_labels`.
        queries: as for `load_labels`.
        documents: ids of the corpus; judgements about other documents are left out and counted.
        seed: of the random choices.
        copies: near-duplicates among the documents.

    Raises:
        UserError: as for `load_labels`, or no query has an answer in the corpus.
    """
    files = load_labels(qrels, queries)
    return _divide(files.within(documents), files.sides, seed, files.queries.name, copies or {})


def _divide(everything: QuerySet, sides: dict[str, str], seed: int, file: str, copies: Copies) -> Labels:
    """Divide by the column ``split`` if there is one, else by document."""
    sides = {query: sides[query] for query in everything.texts}
    if not set(sides.values()) & set(SIDES):
        sides = {query: _side(draw(name, seed)) for query, name in cluster_queries(everything.qrels, copies).items()}
    elif "dev" not in sides.values():
        train = everything.only(query for query, side in sides.items() if side == "train")
        clusters = cluster_queries(train.qrels, copies)
        sides |= {query: "dev" for query, name in clusters.items() if draw(name, seed) < DEV_OF_TRAIN}
    parts = [everything.only(query for query, part in sides.items() if part == side) for side in SIDES]
    if others := len(everything) - sum(map(len, parts)):
        say(f"{file}: {others:,} queries are left out: their split is none of {', '.join(SIDES)}")
    return Labels(*parts)


def _side(number: float) -> str:
    """Return the side of a cluster of queries by the number that was drawn for it."""
    return "dev" if number < DEV_SHARE else "test" if number < DEV_SHARE + TEST_SHARE else "train"


def _examples(values: Iterable[str]) -> str:
    """Return the first values for a message."""
    shown = sorted(values)
    return ", ".join(map(repr, shown[:2])) + (" …" if len(shown) > 2 else "") if shown else "none"
