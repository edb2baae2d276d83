"""Labels of a training run: queries and qrels, read from files and divided into train, dev and test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.corpus.csv import CsvReader
from indexer.corpus.jsonl import JsonReader
from indexer.errors import UserError, first_line
from indexer.progress import say
from trainer.data.split import SIDES, draw

DEV_SHARE, TEST_SHARE = 0.1, 0.2
"""Shares of the documents for dev and test, where the queries have no column ``split``."""
DEV_OF_TRAIN = 0.15
"""Share of the queries of train for dev, where the column ``split`` has no dev."""
READERS: dict[str, type[CsvReader | JsonReader]] = {
    ".csv": CsvReader,
    ".tsv": CsvReader,
    ".jsonl": JsonReader,
    ".ndjson": JsonReader,
}
SUFFIXES = (".parquet", *READERS)
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

    def unseen(self, trained: set[str]) -> QuerySet:
        """Return the queries that have no answer among the documents ``trained``."""
        return self.only(query for query, answers in self.qrels.items() if not answers.keys() & trained)


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
        queries: as named; by default ``queries`` beside ``qrels``.

    Raises:
        UserError: a file does not exist, or there are queries without qrels.
    """
    if qrels is None:
        if queries:
            raise UserError(f"--queries {queries}: there are no qrels for these queries; give --qrels too")
        return []
    if queries is None:
        beside = [qrels.with_name("queries" + suffix) for suffix in SUFFIXES]
        queries = next((path for path in beside if path.is_file()), None)
        if queries is None:
            raise UserError(f"--qrels {qrels}: there is no file of queries beside it; name one with --queries")
    for flag, path in (("--qrels", qrels), ("--queries", queries)):
        if not path.is_file():
            raise UserError(f"{flag} {path}: no such file; give the path of the labels")
        if path.suffix.lower() not in SUFFIXES:
            raise UserError(f"{flag} {path}: give a file that ends in one of {', '.join(SUFFIXES)}")
    return [qrels, queries]


def read_labels(qrels: Path, queries: Path | None, documents: set[str], seed: int) -> Labels:
    """Read queries and qrels and divide them.

    A column ``split`` (train, dev, test) of the queries is followed. If it has no dev, dev queries are drawn from those of
    train. They are drawn by query, because future queries are partly about the same documents; the verdict rests on unseen
    documents all the same. Without that column, documents are drawn for dev and test.

    Args:
        qrels: file with the columns query_id, doc_id and relevance (default 1).
        queries: file with the columns id and text, and perhaps split; by default ``queries`` beside ``qrels``.
        documents: ids of the corpus; judgements about other documents are left out and counted.
        seed: of the random choices.

    Raises:
        UserError: a file is not readable, lacks a column or has a bad row, or no query has an answer in the corpus.
    """
    qrels, queries = label_files(qrels, queries)
    answers: dict[str, dict[str, int]] = {}
    absent = 0
    for number, row in _rows(qrels, ["query_id", "doc_id"]):
        relevance = _relevance(row, f"{qrels} row {number}")
        if str(row["doc_id"]) not in documents:
            absent += 1
        elif relevance > 0:
            answers.setdefault(str(row["query_id"]), {})[str(row["doc_id"])] = relevance
    texts: dict[str, str] = {}
    sides: dict[str, str] = {}
    for number, row in _rows(queries, ["id", "text"]):
        query = str(row["id"])
        if query in sides:
            raise UserError(f"{queries} row {number}: a second query with the id {query!r}; give each query its own id")
        sides[query] = str(row.get("split") or "")
        if query in answers:
            texts[query] = str(row["text"])
    if not texts:
        raise UserError(
            f"{qrels}: no query of {queries.name} has an answer in the corpus; check that doc_id holds the "
            "corpus's ids and query_id those of the queries"
        )
    if absent:
        say(f"{qrels.name}: {absent:,} judgements are about documents that are not in the corpus")
    return _divide(QuerySet(texts, {query: answers[query] for query in texts}), sides, seed, queries.name)


def _divide(everything: QuerySet, sides: dict[str, str], seed: int, file: str) -> Labels:
    """Divide by the column ``split`` if there is one, else by document."""
    sides = {query: sides[query] for query in everything.texts}
    if not set(sides.values()) & set(SIDES):
        sides = {query: _side(answers, seed) for query, answers in everything.qrels.items()}
    elif "dev" not in sides.values():
        train = [query for query, side in sides.items() if side == "train"]
        sides |= {query: "dev" for query in train if draw(query, seed) < DEV_OF_TRAIN}
    parts = [everything.only(query for query, part in sides.items() if part == side) for side in SIDES]
    if others := len(everything) - sum(map(len, parts)):
        say(f"{file}: {others:,} queries are left out: their split is none of {', '.join(SIDES)}")
    return Labels(*parts)


def _side(answers: dict[str, int] | Any, seed: int) -> str:
    """Return the side of a query: that of the first of its documents, to keep queries of one document together."""
    number = draw(min(answers), seed)
    return "dev" if number < DEV_SHARE else "test" if number < DEV_SHARE + TEST_SHARE else "train"


def _relevance(row: dict[str, Any], where: str) -> int:
    """Return the relevance of a row of qrels, 1 by default; ``where`` names the row in the error."""
    value = row.get("relevance", 1)
    try:
        relevance = int(float(value))  # pandas writes 1.0 where a column has gaps
        if relevance == float(value):
            return relevance
    except (TypeError, ValueError, OverflowError):
        pass
    raise UserError(f"{where}: the relevance is {value!r}; give a whole number, 0 for a document that is no answer")


def _rows(path: Path, columns: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and values of each row; those of ``columns`` are checked to be present."""
    try:
        names, rows = _read(path)
        if missing := [name for name in columns if name not in names]:
            raise UserError(f"{path}: has no column {missing[0]!r} (there are {', '.join(names)}); rename the column")
        for number, row in rows:
            if isinstance(row, str):
                raise UserError(f"{path} row {number}: {row}; repair the row")
            for name in columns:
                if row.get(name) is None:
                    raise UserError(f"{path} row {number}: no {name}; fill it or leave the row out")
            yield number, row
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: not readable ({first_line(error)})") from error


def _read(path: Path) -> tuple[list[str], Iterable[tuple[int, dict[str, Any] | str]]]:
    """Return the names of the columns, and the numbered rows; a row that cannot be read is its reason."""
    if path.suffix.lower() == ".parquet":
        table = pq.read_table(path)
        return table.column_names, enumerate(table.to_pylist(), 1)
    reader = READERS[path.suffix.lower()]()
    return list(reader.read_columns(path)), reader.read_records(path)
