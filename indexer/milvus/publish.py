"""Publication of an index artifact in Milvus: its rows are copied, counted, and the alias is switched to them.

The artifact's files stay where they are; the copy holds everything that a search needs. The last rows to be written are
those that describe the index. Collections without them are left by a killed copy, and are written anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.filters.fields import find_field
from indexer.index.index import Index
from indexer.index.lexical.search import LexicalIndex
from indexer.index.terms.columns import field_texts, selected
from indexer.index.terms.words import is_of_letters
from indexer.inference.encoder import Vectors
from indexer.live.bm25 import Statistics
from indexer.milvus.about import About, read_about
from indexer.milvus.collections import KEY_BYTES, MAX_PASSAGES, Names, indexes, passage_number, schemas
from indexer.milvus.engine import LOAD_SECONDS, NUMBER, WRITE_SECONDS, Engine
from indexer.milvus.fields import MAX_FIELDS, StoredField, choose_fields, fits, stored_values
from indexer.milvus.payload import pieces, value_key, write_payload
from indexer.milvus.recall import described, lists_for, measure
from indexer.milvus.settings import StoreSettings
from indexer.milvus.terms import document_vector, numbered_terms
from indexer.progress import Bar, say, stage
from indexer.retrieval.query_weight import SAMPLE_PASSAGES

BATCH_BYTES = 8_000_000
"""Bytes of rows that are sent at once; Milvus takes 64 MB."""
BATCH_ROWS = 1_000
MAX_EXACT = 1_000
"""Documents that are kept of an exact value: a page shows a hundred."""
UNUSED = [0.0, 1.0]
Queries = Callable[[Index], Vectors]
"""Returns vectors of queries by which the recall of an index is measured, shape (queries, dimension)."""
SUPPORTED_WORDS = 2
"""Version of the analysis whose terms are made without tantivy's index."""


def publish_index(
    artifact: str, settings: StoreSettings, data: Path | None = None, queries: Queries | None = None
) -> str:
    """Make an index artifact the live one in Milvus; it is copied unless it is there already.

    Args:
        artifact: id of a published index.
        settings: where Milvus is.
        data: the data directory; by default ``$DOWSE_DATA``.
        queries: by which the recall is measured where the index is of an approximate kind; without them it is exact
            in Milvus.

    Returns:
        Name of the collection of documents, which the alias names now.

    Raises:
        UserError: the index holds something that Milvus does not take, or counts differ after the copy.
        StoreError: Milvus is away or refuses a call. The alias is as it was.
    """
    folder = Store("index", data).path(artifact)
    engine = Engine(str(settings.uri), settings.token, WRITE_SECONDS)
    try:
        names = Names.of(settings.alias, artifact)
        if not is_complete(engine, names):
            index = Index.open(folder)
            if (
                engine.alias_target(settings.alias) == names.documents
            ):  # has lost rows: Milvus drops nothing with an alias
                engine.call("drop_alias", settings.alias)
            Copy(engine, names, index, queries).write()
        switch_alias(engine, settings.alias, names.documents)
    finally:
        engine.close()
    say(f"live in Milvus: {names.documents}")
    return names.documents


def drop_others(kept: Collection[str], settings: StoreSettings) -> list[str]:
    """Drop the collections of all indexes but those of the artifacts ``kept`` and the live one; return their names.

    Only collections whose names begin with the alias are looked at.
    """
    engine = Engine(str(settings.uri), settings.token, WRITE_SECONDS)
    try:
        stay = {name for artifact in kept for name in Names.of(settings.alias, artifact).all}
        if live := engine.alias_target(settings.alias):
            stay |= set(Names(live).all)
        ours = re.compile(rf"{settings.alias}_\d{{8}}T\d{{6}}Z_[0-9a-f]{{8}}(_passages|_lookup)?")
        dropped = sorted(name for name in engine.call("list_collections") if ours.fullmatch(name) and name not in stay)
        for name in dropped:
            engine.call("drop_collection", name)
    finally:
        engine.close()
    return dropped


def is_complete(engine: Engine, names: Names) -> bool:
    """Say whether all rows of an index are in its collections, by their exact numbers."""
    if not all(engine.call("has_collection", name) for name in names.all):
        return False
    for name in names.all:  # after a restart they may not be in memory
        engine.call("load_collection", name, timeout=LOAD_SECONDS)
    about = read_about(engine, names)
    return about is not None and not about.missing(engine, names)


def switch_alias(engine: Engine, alias: str, collection: str) -> None:
    """Let the alias name a collection, in one step."""
    target = engine.alias_target(alias)
    if target is None:
        engine.call("create_alias", collection, alias)
    elif target != collection:
        engine.call("alter_alias", collection, alias)


class Copy:
    """The copy of an index into its collections.

    Args:
        engine: the connection.
        names: of the collections.
        index: an opened artifact.
        queries: by which the recall is measured; None for an exact index.
    """

    def __init__(self, engine: Engine, names: Names, index: Index, queries: Queries | None = None) -> None:
        self._engine, self._names, self._index, self._queries = engine, names, index, queries
        self._lists = 0 if queries is None else lists_for(index)
        self._fields, self._left_out = self._choose_fields()
        self._lookup_rows = 0

    def write(self) -> None:
        """Write all collections and count their rows.

        Raises:
            UserError: the index holds something that Milvus does not take, or the counts differ.
        """
        self._refuse()
        for name in self._names.all:
            self._engine.call("drop_collection", name)  # what a killed copy has left
        dimension = self._index.encoder.contract.dimension
        kinds = {"documents": self._names.documents, "passages": self._names.passages, "lookup": self._names.lookup}
        for kind, schema in schemas(self._fields, dimension).items():
            parameters = indexes(kind, self._fields, self._lists)
            self._engine.call("create_collection", kinds[kind], schema=schema, index_params=parameters)
        numbers = self._write_terms()
        self._write_documents(numbers)
        self._lookup_rows += self._insert(self._names.lookup, self._exact_values())
        counts = {"documents": len(self._index), "passages": len(self._index.dense), "lookup": self._lookup_rows}
        with stage("load the collections"):
            for name in self._names.all:
                self._engine.call("flush", name, timeout=LOAD_SECONDS)
                self._engine.call("load_collection", name, timeout=LOAD_SECONDS)
            self._engine.wait_for_index(self._names.passages, "vector")
        points = []
        if self._queries and self._lists:
            points = measure(self._engine, self._names.passages, self._index, self._queries(self._index), self._lists)
        about = About(
            manifest=described(self._index, self._lists, points),
            schema=self._index.schema,
            fields=self._fields,
            left_out=self._left_out,
            counts=counts,
            sample=self._sample(),
            dense_map=self._index.dense_map,
            rules=self._index.rules,
        )
        if missing := about.missing(self._engine, self._names):
            raise UserError(f"Milvus at {self._engine.uri}: {missing} after the copy; start it again")
        self._insert(self._names.lookup, self._texts("about", "about", about.text()))
        self._engine.call("flush", self._names.lookup)

    def _refuse(self) -> None:
        index, config = self._index, self._index.manifest.config
        if index.sparse is not None:
            raise UserError(
                f"index {index.manifest.id}: Milvus as a store has no learned-sparse leg; build without --sparse-model"
            )
        if config.get("words", 1) < SUPPORTED_WORDS:
            raise UserError(
                f"index {index.manifest.id}: its words are of an older version; build it again with --force"
            )
        if len(self._fields) > MAX_FIELDS:
            raise UserError(
                f"index {index.manifest.id}: {len(self._fields)} fields of metadata; Milvus takes {MAX_FIELDS}: "
                "leave some out of the corpus"
            )
        longest = int(np.diff(index.first_passage).max(initial=0))
        if longest > MAX_PASSAGES:
            raise UserError(f"index {index.manifest.id}: a document has {longest:,} passages; at most {MAX_PASSAGES:,}")

    def _choose_fields(self) -> tuple[list[StoredField], dict[str, str]]:
        """Return the fields that Milvus holds, and why others are left out."""
        kept, left_out = [], {}
        for field in choose_fields(self._index.columns):
            path = find_field(field.path, self._index.columns)
            if reason := fits(self._index.column(path.column), path):
                left_out[field.path] = reason
                say(f"the field {field.path!r} cannot be filtered in Milvus: {reason}")
            else:
                kept.append(field)
        return kept, left_out

    def _write_terms(self) -> dict[tuple[str, str], int]:
        """Write all terms into the lookup; return their numbers."""
        lexical = self._index.lexical
        if not isinstance(lexical, LexicalIndex):
            raise TypeError(f"{type(lexical).__name__} has no list of its terms")
        numbers: dict[tuple[str, str], int] = {}
        words = lexical.word_fields

        def rows() -> Iterator[dict[str, Any]]:
            for name, term, number, documents in numbered_terms(lexical):
                numbers[name, term] = number
                kind = "word" if name in words and is_of_letters(term) else "term"
                yield {"key": term_key(name, term), "kind": kind, "value": f"{number} {documents}", "unused": UNUSED}

        with Bar("copy terms", None, "terms") as bar:
            self._lookup_rows += self._insert(self._names.lookup, rows(), bar)
        return numbers

    def _write_documents(self, numbers: dict[tuple[str, str], int]) -> None:
        index, statistics = self._index, Statistics(self._index.lexical)
        first_row = 0
        with Bar("copy documents", len(index), "documents") as bar:
            for batch in index.contents.documents.batches:
                metadata = self._metadata(batch)
                ids, titles, texts = (batch.column(name).to_pylist() for name in ("id", "title", "text"))
                values = self._field_values(batch)
                columns_of = selected(batch, list(index.lexical.columns))
                records = None
                if "metadata" in batch.schema.names:
                    records = pa.RecordBatch.from_struct_array(batch.column("metadata"))
                documents, passages, more = [], [], []
                for offset in range(batch.num_rows):
                    row = first_row + offset
                    number = int(index.id_rank[row])
                    offsets = index.offsets(np.arange(index.first_passage[row], index.first_passage[row + 1]))
                    texts_of = {"title": titles[offset], "text": texts[offset]}
                    record = None if records is None or metadata[offset] else records.slice(offset, 1)
                    parts = write_payload(texts_of, record, offsets)
                    fields = {field.name: values[field.name][offset] for field in self._fields}
                    text = f"{titles[offset] or ''}\n{texts[offset]}"
                    others = field_texts(titles[offset], columns_of[offset], index.lexical.columns)
                    documents.append(
                        {
                            NUMBER: number,
                            "id": ids[offset],
                            "payload": parts[0],
                            "pieces": len(parts),
                            "terms": document_vector(text, statistics.fields, numbers, others),
                            **fields,
                        }
                    )
                    more += self._texts_of_parts(f"d:{number}", "more", parts[1:], first=1)
                    passages.append((row, number, ids[offset], fields))
                self._insert(self._names.documents, documents)
                self._insert(self._names.passages, self._passage_rows(passages))
                self._lookup_rows += self._insert(self._names.lookup, more)
                first_row += batch.num_rows
                bar.advance(batch.num_rows)

    def _exact_values(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the lookup that have the documents of each exact value."""
        for key, rows in self._index.contents.exact.values():
            numbers = " ".join(str(int(self._index.id_rank[row])) for row in rows[:MAX_EXACT])
            if len(value_key(key).encode()) <= KEY_BYTES:  # no query is as long
                yield {"key": value_key(key), "kind": "more", "value": numbers, "unused": UNUSED}

    def _passage_rows(self, documents: list[tuple[int, int, str, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
        for row, number, document_id, fields in documents:
            (vectors,) = self._index.passage_vectors(np.array([row]))
            for position, vector in enumerate(vectors):
                yield {
                    NUMBER: passage_number(number, position),
                    "document": number,
                    "id": document_id,
                    "vector": vector.tolist(),
                    **fields,
                }

    def _metadata(self, batch: pa.RecordBatch) -> list[bool]:
        """Return for each document whether it has no metadata at all."""
        if "metadata" not in batch.schema.names:
            return [True] * batch.num_rows
        return batch.column("metadata").is_null().to_pylist()  # type: ignore[no-any-return]

    def _field_values(self, batch: pa.RecordBatch) -> dict[str, list[Any]]:
        values = {}
        for field in self._fields:
            path = find_field(field.path, self._index.columns)
            column = pa.chunked_array([pa.compute.struct_field(batch.column("metadata"), [path.column])])
            values[field.name] = stored_values(column, path, field.form)
        return values

    def _sample(self) -> list[int]:
        """Return the numbers of the passages that stand for all, those that the files' index has, too."""
        index = self._index
        passages = index.sample(SAMPLE_PASSAGES)
        rows = index.document_of[passages]
        return [
            passage_number(int(index.id_rank[row]), int(passage - index.first_passage[row]))
            for row, passage in zip(rows, passages, strict=True)
        ]

    def _texts(self, key: str, kind: str, text: str) -> list[dict[str, Any]]:
        return self._texts_of_parts(key, kind, pieces(text))

    def _texts_of_parts(self, key: str, kind: str, parts: list[str], first: int = 0) -> list[dict[str, Any]]:
        return [
            {"key": f"{key}:{number:06d}", "kind": kind, "value": part, "unused": UNUSED}
            for number, part in enumerate(parts, first)
        ]

    def _insert(self, collection: str, rows: Iterable[dict[str, Any]], bar: Bar | None = None) -> int:
        """Insert rows in batches of bounded size; return their number."""
        total, batch, size = 0, [], 0
        for row in rows:
            batch.append(row)
            size += row_bytes(row)
            if size >= BATCH_BYTES or len(batch) >= BATCH_ROWS:
                total += self._send(collection, batch, bar)
                batch, size = [], 0
        return total + (self._send(collection, batch, bar) if batch else 0)

    def _send(self, collection: str, batch: list[dict[str, Any]], bar: Bar | None) -> int:
        self._engine.call("insert", collection, batch)
        if bar:
            bar.advance(len(batch))
        return len(batch)


def row_bytes(row: dict[str, Any]) -> int:
    """Return about how many bytes a row takes in a message."""
    return sum(
        4 * len(value) if isinstance(value, str) else 8 * len(value) if isinstance(value, list | dict) else 8
        for value in row.values()
    )


def term_key(field: str, term: str) -> str:
    """Return the key of a term in the lookup."""
    return f"t:{field}:{term}"
