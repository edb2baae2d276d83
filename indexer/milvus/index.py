"""An index that is searched in Milvus. A process that serves it keeps no state: Milvus has texts, vectors and words.

Only the model comes from the data directory: it has the same size whatever the corpus has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer.cache import Cache
from indexer.errors import StoreError
from indexer.filters.encoded import EncodedColumn
from indexer.filters.evaluate import FilteringIndex
from indexer.filters.facets import CountingIndex, Facet, FacetRequest
from indexer.filters.filter import Filter
from indexer.filters.ordering import ArrangingIndex
from indexer.index.dense import unit
from indexer.index.document_mask import Mask, Rows
from indexer.index.exact import ids_are_values
from indexer.index.served import Document, Neighbours
from indexer.index.terms.analysis import find_analysis
from indexer.index.terms.column_names import parse_weights
from indexer.index.terms.columns import exact_key
from indexer.index.terms.rules import Rules
from indexer.inference.encoder import Encoder, Vectors
from indexer.milvus.about import About
from indexer.milvus.collections import Names, document_of, passage_number
from indexer.milvus.engine import MAX_HITS, NUMBER, Engine
from indexer.milvus.fields import StoredField
from indexer.milvus.filtering.arranging import passing, rows_of, values_of
from indexer.milvus.filtering.expression import Expression
from indexer.milvus.filtering.facets import count
from indexer.milvus.filtering.filter import ALL, NONE, translate
from indexer.milvus.filtering.selection import MilvusSelection
from indexer.milvus.lexical import SPARE, MilvusLexical
from indexer.milvus.payload import Payload, read_payload, value_key

PAYLOAD_CHARACTERS = 16_000_000
"""Characters of cached documents."""
VECTORS = 2_048
"""Vectors that are read at once."""
MAX_EXACT_PASSAGES = 20_000
"""Up to about this many passages that a filter allows, all lists are read."""
FILTER_SLACK = 3
"""Times as many allowed passages are compared under a wider filter as passages without one, on average."""
FEW_PASSAGES = 256
"""Passages that are asked for at least where those of given documents are scored."""


@dataclass(frozen=True)
class Stored:
    """An index in Milvus, as its views share it.

    Attributes:
        engine: the connection.
        names: of the collections.
        about: the index.
        payloads: recently read documents by number.
    """

    engine: Engine
    names: Names
    about: About
    payloads: Cache[int, Payload]

    @classmethod
    def of(cls, engine: Engine, names: Names, about: About) -> Stored:
        """Return an index without anything cached."""
        return cls(
            engine, names, about, Cache(PAYLOAD_CHARACTERS, lambda _, payload: len(payload.document.text) + 1000)
        )

    @cached_property
    def fields(self) -> Mapping[str, StoredField]:
        """The metadata that filters can ask for, by the path that a filter names."""
        return {field.path: field for field in self.about.fields}

    @cached_property
    def sample(self) -> tuple[Rows, Vectors]:
        """Passages from all over the index, and their vectors."""
        return self.passages(np.array(self.about.sample, dtype=np.int64))

    def passages(self, passages: Rows) -> tuple[Rows, Vectors]:
        """Return passages and their vectors, shape (passages, dimension)."""
        vectors: dict[int, Vectors] = {}
        for start in range(0, len(passages), VECTORS):
            part = passages[start : start + VECTORS].tolist()
            where = Expression(f"{NUMBER} in {{rows}}", {"rows": part})
            rows = self.engine.query(self.names.passages, where, [NUMBER, "vector"], limit=len(part))
            vectors |= {int(row[NUMBER]): np.array(row["vector"], dtype=np.float32) for row in rows}
        self.complete(passages.tolist(), vectors, "passages")
        return passages, np.stack([vectors[number] for number in passages.tolist()])

    def complete(self, wanted: list[int], found: Mapping[int, Any], what: str) -> None:
        """Refuse to go on where rows of the index are gone.

        Raises:
            StoreError: some are.
        """
        if missing := sum(number not in found for number in wanted):
            self.engine.fault = f"Milvus at {self.engine.uri} has lost {missing} of {len(wanted)} {what}"
            raise StoreError(self.engine.fault)


class MilvusIndex(FilteringIndex, CountingIndex, ArrangingIndex):
    """An index in Milvus, or a view of some of its documents.

    Args:
        stored: the index.
        encoder: of the model that it pins.
        visible: the documents that exist in this view; None for all.
    """

    def __init__(self, stored: Stored, encoder: Encoder, visible: MilvusSelection | None = None) -> None:
        self.manifest, self.encoder, self.sparse = stored.about.manifest, encoder, None
        self._stored, self._visible = stored, visible
        config = self.manifest.config
        # Lists in which the passages are kept, 0 for none, and how many of them a search reads.
        self._lists, self._nprobe = (int(config["dense_index"].get(name, 0)) for name in ("lists", "nprobe"))
        self.lexical = MilvusLexical(
            stored.engine,
            stored.names,
            find_analysis(config["language"], config["words"]),
            self.manifest.counts["documents"],
            parse_weights(config.get("search_columns")),
        )

    def __len__(self) -> int:
        """Return the number of documents that a search can return."""
        return self.manifest.counts["documents"] if self._visible is None else self._visible.count

    @property
    def engine(self) -> Engine:
        """The connection."""
        return self._stored.engine

    @property
    def names(self) -> Names:
        """Names of its collections."""
        return self._stored.names

    def missing(self) -> str:
        """Return which collection does not hold exactly its rows; empty where all do."""
        return self._stored.about.missing(self.engine, self.names)

    @property
    def passages(self) -> int:
        """Number of passages of the documents that a search can return."""
        if self._visible is None:
            return self.manifest.counts["passages"]
        return self.engine.count(self._stored.names.passages, self._visible.where)

    @property
    def generation(self) -> str:
        """Index id and number of the last visible write: what an answer came from."""
        return f"{self.manifest.id}.{self.folded}"

    @property
    def schema(self) -> pa.Schema:
        """The fields of a document: id, title, text and, where there are other columns, metadata."""
        return self._stored.about.schema

    @property
    def visible(self) -> MilvusSelection | None:
        """The documents that searches may return at all; None for all of them."""
        return self._visible

    @property
    def dense_map(self) -> Vectors | None:
        """Matrix by which a query's vector is multiplied in dense mode, shape (dimension, dimension); None for none."""
        return self._stored.about.dense_map

    def find(self, condition: Filter) -> MilvusSelection:
        """Return the documents that pass a filter."""
        where = translate(condition, self.columns, self._stored.fields)
        return MilvusSelection(self.engine, self._stored.names.documents, where & self._seen)

    def restricted(self, condition: Filter) -> MilvusIndex:
        """Return a view in which only the documents that pass a filter exist."""
        where = translate(condition, self.columns, self._stored.fields, "view")
        selection = MilvusSelection(self.engine, self._stored.names.documents, where & self._seen)
        return MilvusIndex(self._stored, self.encoder, selection)

    def count_values(self, request: FacetRequest, documents: MilvusSelection) -> Facet:
        """Count the values of a field over documents."""
        return count(request, self.columns, self._stored.fields, self.engine, documents)

    def rows_of(self, documents: MilvusSelection) -> Rows:
        """Return the rows of documents, ascending."""
        return rows_of(documents, self.engine)

    def select(self, rows: Rows) -> MilvusSelection:
        """Return the documents in ``rows``."""
        where = Expression(f"{NUMBER} in {{chosen}}", {"chosen": rows.tolist()}) if len(rows) else Expression(NONE)
        return MilvusSelection(self.engine, self._stored.names.documents, where)

    def passing(self, condition: Filter, rows: Rows) -> Mask:
        """Return for each document of ``rows`` whether it passes a filter."""
        where = translate(condition, self.columns, self._stored.fields)
        return passing(where, rows, self._stored.names.documents, self.engine)

    def values_of(self, field: str, rows: Rows) -> EncodedColumn:
        """Return the values of a field of single values, one for each document of ``rows``."""
        stored = self._stored
        return values_of(
            field, rows, self.columns, stored.fields, collection=stored.names.documents, engine=stored.engine
        )

    def row_of(self, document_id: str) -> int | None:
        """Return the row of the document with this id, or None."""
        where = Expression("id == {id}", {"id": document_id}) & self._seen
        rows = self.engine.query(self._stored.names.documents, where, [NUMBER], limit=1)
        return int(rows[0][NUMBER]) if rows else None

    def exact_rows(self, query: str, allowed: MilvusSelection | None = None) -> Rows:
        """Return the rows of the ``allowed`` documents that have the query as their id, or as an exact value."""
        stored, wanted = self._stored, [*dict.fromkeys((query.strip(), exact_key(query)))]
        keys = Expression("key in {keys}", {"keys": [value_key(key) for key in wanted]})
        entries = self.engine.query(stored.names.lookup, keys, ["value"], limit=len(wanted))
        found = [int(row) for entry in entries for row in entry["value"].split()]
        conditions = [Expression(f"{NUMBER} in {{exact}}", {"exact": found})] if found else []
        if ids_are_values(self.manifest.config.get("ids", "")):
            conditions.append(Expression("id in {ids}", {"ids": wanted}))
        seen = self._seen if allowed is None else allowed.where
        rows = {
            int(row[NUMBER])
            for where in conditions
            for row in self.engine.query(stored.names.documents, where & seen, [NUMBER], limit=MAX_HITS)
        }
        return np.array(sorted(rows), dtype=np.int64)

    @property
    def rules(self) -> Rules:
        """Synonyms and stop words of queries with which the index was built."""
        return self._stored.about.rules

    def first_document(self) -> Document | None:
        """Return some document that a search can return; None where there is none."""
        rows = self.engine.query(self._stored.names.documents, Expression(ALL) & self._seen, [NUMBER], limit=1)
        return self.document(int(rows[0][NUMBER])) if rows else None

    def documents(self, rows: Rows) -> list[Document]:
        """Return the documents in ``rows``, in their order."""
        payloads = self._payloads(rows.tolist())
        return [payloads[row].document for row in rows.tolist()]

    def id_ranks(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Return numbers that sort as the ids of these documents do: the rows themselves."""
        return rows

    def nearest_documents(self, vector: Vectors, depth: int, allowed: MilvusSelection | None = None) -> Neighbours:
        """Return the ``depth`` documents nearest to a vector; of the ``allowed`` ones alone where they are given."""
        return self._nearest(vector, depth, allowed)

    def nearest_of_many(self, vectors: Vectors, depth: int) -> list[Neighbours]:
        """Return what `nearest_documents` returns for each of several vectors, shape (vectors, dimension)."""
        if not len(vectors) or not depth:
            return [self._nearest(vector, depth, None) for vector in vectors]
        limit = self._limit(depth)
        results = []
        everything = self._passages(vectors, limit, Expression(""), self._nprobe)
        for vector, hits in zip(vectors, everything, strict=True):
            found = best_of_each(hits)
            whole = len(found) >= depth or (len(hits) < limit and self._nprobe == self._lists)
            results.append(neighbours(found, depth) if whole else self._nearest(vector, depth, None))
        return results

    def best_passages(self, vector: Vectors, rows: Rows) -> tuple[Vectors, Rows]:
        """Return cosine and number of the best passage of each document of ``rows``, both of shape (len(rows),)."""
        best: dict[int, tuple[float, int]] = {}
        wanted = rows.tolist()
        per_document = -(-self.manifest.counts["passages"] // max(self.manifest.counts["documents"], 1))
        while missing := [row for row in wanted if row not in best]:
            limit = min(max(FEW_PASSAGES, 4 * per_document * len(missing)), MAX_HITS)
            where = Expression("document in {rows}", {"rows": missing})
            hits = self._passages(vector[None, :], limit, where, self._lists)[0]
            found = best_of_each(hits)
            if len(hits) < limit or not found:
                self._stored.complete(missing, found, "documents")
            best |= found
        return (
            np.array([best[row][0] for row in wanted], dtype=np.float32),
            np.array([best[row][1] for row in wanted], dtype=np.int64),
        )

    def sample(self, count: int) -> Rows:
        """Return at most ``count`` passages from all over the index; those of a view are not told apart."""
        return self._stored.sample[0][:count]

    def passage_scores(self, vector: Vectors, passages: Rows) -> Vectors:
        """Return the cosine of a vector to each of ``passages``, shape (len(passages),)."""
        sample, vectors = self._stored.sample
        if not np.array_equal(passages, sample):
            _, vectors = self._stored.passages(passages)
        scores: Vectors = vectors @ unit(vector)
        return scores

    def passage_vectors(self, rows: Rows) -> list[Vectors]:
        """Return for each document of ``rows`` the vectors of its passages, shape (passages, dimension)."""
        passages = self.passages_of_documents(rows)
        if not passages:
            return []
        _, vectors = self._stored.passages(np.concatenate(passages))
        return np.split(vectors, np.cumsum([len(each) for each in passages])[:-1])

    def passages_of_documents(self, rows: Rows) -> list[Rows]:
        """Return for each document of ``rows`` its passages, in their order."""
        payloads = self._payloads(rows.tolist())
        return [passage_number(row, 0) + np.arange(len(payloads[row].offsets), dtype=np.int64) for row in rows.tolist()]

    def offsets(self, passages: Rows) -> list[tuple[int, int]]:
        """Return the character offsets of each passage in the text of its document, the end excluded."""
        documents = document_of(passages).tolist()
        payloads = self._payloads(list(dict.fromkeys(documents)))
        return [
            payloads[document].offsets[passage - passage_number(document, 0)]
            for document, passage in zip(documents, passages.tolist(), strict=True)
        ]

    @property
    def _seen(self) -> Expression:
        return Expression("") if self._visible is None else self._visible.where

    def _nearest(self, vector: Vectors, depth: int, allowed: MilvusSelection | None) -> Neighbours:
        """Return the nearest documents, reading as many passages as that takes.

        Where one search cannot return so many, the next one leaves out the documents that were found.
        """
        limit, probes = self._limit(depth), self._probes(allowed)
        found: dict[int, tuple[float, int]] = {}
        where = Expression("") if allowed is None else allowed.where
        remaining = where
        while depth:
            hits = self._passages(vector[None, :], limit, remaining, probes)[0]
            found |= {document: best for document, best in best_of_each(hits).items() if document not in found}
            if len(found) >= depth:
                break
            if len(hits) < limit:
                if probes == self._lists:
                    break
                probes, found, remaining = self._lists, {}, where  # nobody is to get fewer results than there are
            elif limit < MAX_HITS:
                limit = min(2 * limit, MAX_HITS)
            else:
                remaining = where & Expression("document not in {found}", {"found": list(found)})
        return neighbours(found, depth)

    def _probes(self, allowed: MilvusSelection | None) -> int:
        """Return how many lists a search reads: all of them where few passages are allowed, which makes it exact."""
        if allowed is None or not self._lists:
            return self._nprobe
        share = allowed.count / max(self.manifest.counts["documents"], 1)
        if share * self.manifest.counts["passages"] <= MAX_EXACT_PASSAGES:
            return self._lists
        return min(self._lists, math.ceil(FILTER_SLACK * self._nprobe / share))

    def _limit(self, depth: int) -> int:
        """Return how many passages usually belong to ``depth`` documents: the average and a quarter more."""
        counts = self.manifest.counts
        return min(SPARE + 1 + depth * counts["passages"] * 5 // (max(counts["documents"], 1) * 4), MAX_HITS)

    def _passages(self, vectors: Vectors, limit: int, where: Expression, probes: int) -> list[list[tuple[int, float]]]:
        """Return number and cosine of the passages nearest to each vector, best first; of equal ones the lower number."""
        found = self.engine.search(self.names.passages, "vector", unit(vectors).tolist(), limit, where, probes=probes)
        return [sorted(hits, key=lambda hit: (-hit[1], hit[0])) for hits in found]

    def _payloads(self, numbers: list[int]) -> dict[int, Payload]:
        """Return the documents of these numbers."""
        known = {number: payload for number in numbers if (payload := self._stored.payloads.get(number)) is not None}
        wanted = [number for number in numbers if number not in known]
        for start in range(0, len(wanted), FEW_PASSAGES):
            part = wanted[start : start + FEW_PASSAGES]
            for number, payload in self._read(part).items():
                known[number] = payload
                self._stored.payloads.put(number, payload)
        return known

    def _read(self, numbers: list[int]) -> dict[int, Payload]:
        stored, fields = self._stored, [NUMBER, "id", "payload", "pieces"]
        where = Expression(f"{NUMBER} in {{rows}}", {"rows": numbers})
        rows = {
            int(row[NUMBER]): row
            for row in self.engine.query(stored.names.documents, where, fields, limit=len(numbers))
        }
        stored.complete(numbers, rows, "documents")
        keys = [f"d:{number}:{piece:06d}" for number, row in rows.items() for piece in range(1, int(row["pieces"]))]
        more: dict[str, str] = {}
        for start in range(0, len(keys), FEW_PASSAGES):
            part = keys[start : start + FEW_PASSAGES]
            found = self.engine.query(
                stored.names.lookup, Expression("key in {keys}", {"keys": part}), ["key", "value"], limit=len(part)
            )
            more |= {row["key"]: row["value"] for row in found}
        if len(more) < len(keys):
            stored.complete([*range(len(keys))], dict.fromkeys(range(len(more))), "pieces of documents")
        schema = stored.about.metadata_schema
        return {
            number: read_payload(
                row["id"],
                row["payload"] + "".join(more[f"d:{number}:{piece:06d}"] for piece in range(1, int(row["pieces"]))),
                schema,
            )
            for number, row in rows.items()
        }


def best_of_each(hits: list[tuple[int, float]]) -> dict[int, tuple[float, int]]:
    """Return for each document its best passage's cosine and number, in the order of ``hits``, which are best first."""
    best: dict[int, tuple[float, int]] = {}
    documents = document_of(np.array([number for number, _ in hits], dtype=np.int64))
    for document, (number, cosine) in zip(documents.tolist(), hits, strict=True):
        best.setdefault(document, (cosine, number))
    return best


def neighbours(found: Mapping[int, tuple[float, int]], depth: int) -> Neighbours:
    """Return the first ``depth`` documents, best first, with cosine and number of their best passages."""
    documents = list(found)[:depth]
    return (
        np.array(documents, dtype=np.int64),
        np.array([found[document][0] for document in documents], dtype=np.float32),
        np.array([found[document][1] for document in documents], dtype=np.int64),
    )
