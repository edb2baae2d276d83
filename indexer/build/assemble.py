"""Assembly of an index: documents, ids, passages, vectors and the lexical index, written into a folder.

`build` and `compact` publish the folder. `build_private_index` writes an index that is only measured, never published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from indexer.artifacts.manifest import UNSET, InputEntry, Manifest, library_versions, read_manifest
from indexer.build.dense_codes import index_vectors
from indexer.build.dense_weight import EQUAL_WEIGHT
from indexer.build.labels import Labeller
from indexer.build.settings import BuildSettings
from indexer.build.sparse import Find, SparseWriter
from indexer.build.vectors import (
    KEY_BYTES,
    MAP_FILE,
    KnownVectors,
    VectorJournal,
    fold,
    maps_queries,
    origin_of,
    passage_key,
)
from indexer.corpus.corpus import Corpus, Reject, write_rejects
from indexer.index import dense, lexical
from indexer.index.index import DENSE_MAP, DOCUMENTS, IDS, PASSAGES, ROWS_PER_BATCH, Index
from indexer.index.lexical import LexicalWriter
from indexer.inference.encoder import Encoder, Vectors
from indexer.inference.passages import DocumentPassages, Passage, PassageMaker
from indexer.inference.sparse_encoder import SparseEncoder
from indexer.progress import Bar

REJECTS = "rejects.jsonl"
DOCUMENTS_PER_PART = 256
"""Documents whose passages are embedded together: enough to sort by length, few enough to lose little in a kill."""
PASSAGES_PER_STEP = 1024
"""Passages that are embedded between two lines of progress: a single document may have far more."""
TABLE_ROWS_PER_BATCH = 65_536
PRIVATE_SCHEMA = pa.schema([("title", pa.string()), ("text", pa.string())])


class Documents(Protocol):
    """Documents to index: a corpus, or the documents of another index with the live writes since."""

    inputs: list[InputEntry]
    rows: int
    documents: int
    rejects: list[Reject]
    id_from: str
    notes: list[str]

    @property
    def schema(self) -> pa.Schema:
        """Fields of a document: id, title, text and, where there are other columns, metadata."""

    def batches(self, rows: int = 1024) -> Iterator[pa.RecordBatch]:
        """Yield the documents in batches of exactly ``rows`` rows but for the last."""


@dataclass(frozen=True)
class Assembly:
    """The inputs of an index, and the writing of its files.

    Attributes:
        corpus: the documents.
        settings: how they are indexed; the language is not `auto`.
        encoder: of a model artifact.
        known: vectors that need not be computed again.
        folder: where the files are written.
        labeller: adds labels to the metadata; None for no labels.
        sparse: of a learned-sparse model; None for an index without such a leg.
        known_sparse: finds sparse vectors that need not be computed again.
        logged: queries of people, by which the recall of the dense index is measured too.
    """

    corpus: Documents
    settings: BuildSettings
    encoder: Encoder
    known: KnownVectors | None
    folder: Path
    labeller: Labeller | None = None
    sparse: SparseEncoder | None = None
    known_sparse: Find | None = None
    logged: Sequence[str] = ()

    @cached_property
    def passage_maker(self) -> PassageMaker:
        """Splits texts into passages that fit into the encoder."""
        return PassageMaker.of_config(self.encoder, self.settings.recipe())

    def write(self) -> tuple[dict[str, int], dict[str, Any]]:
        """Write all files but the manifest, and return for it the counts and what `config` lacks: the dense index."""
        with VectorJournal(self.folder, self.encoder, self.known) as journal:
            passages = self._write_parts(journal)
        dense.write_dense(self.folder / dense.FILE, self.encoder.contract.dimension, journal.blocks())
        if (matrix := self._dense_map()) is not None:
            np.save(self.folder / DENSE_MAP, matrix, allow_pickle=False)
        dense_index = index_vectors(self.folder, self.settings, self.encoder, logged=self.logged, dense_map=matrix)
        journal.remove()  # last: a build that is killed before need not encode again
        if self.corpus.rejects:
            write_rejects(self.folder / REJECTS, self.corpus.rejects)
        counts = {
            "rows": self.corpus.rows,
            "documents": self.corpus.documents,
            "passages": passages,
            "rejected": len(self.corpus.rejects),
            "embedded": journal.embedded,
            "reused": journal.reused,
        }
        return counts, dense_index

    def _dense_map(self) -> Vectors | None:
        """Return the matrix for the queries of dense mode, shape (dimension, dimension), where the model has one."""
        if not maps_queries(read_manifest(self.encoder.folder).config):
            return None
        return fold(np.load(self.encoder.folder / MAP_FILE, allow_pickle=False))

    def open(self, counts: dict[str, int], config: dict[str, Any]) -> Index:
        """Open what `write` has written, before it is published."""
        return Index.load(self.folder, self.draft_manifest(UNSET, counts, config), self.encoder, self.sparse)

    def config(self, dense_weight: float, sparse_weight: float = 0.0) -> dict[str, Any]:
        """Return the configuration of the index for its manifest, with these weights of its legs in hybrid search.

        What `write` returns of the dense index has to be added.
        """
        config = self.settings.recipe() | {"ids": self.corpus.id_from}
        del config["recall"]  # part of what `write` returns
        if self.labeller:
            config["labels"] = self.labeller.facts()
        del config["dense_weight"]
        config["fusion"] = {
            "method": self.settings.fusion,
            "dense_weight": dense_weight,
            # A weight that somebody has set is meant as it is.
            "by_query": self.settings.fusion == "convex" and self.settings.dense_weight is None,
        }
        if self.sparse:
            config["sparse"] = {"terms": self.settings.sparse_terms}
            config["fusion"]["sparse_weight"] = sparse_weight
        model = read_manifest(self.encoder.folder).config
        config["dense_map"] = maps_queries(model)
        if origin := origin_of(model):
            config["vectors_of"] = origin
        config["query_precision"] = model.get("query_precision") or self.settings.precision
        if self.encoder.query_encoder == "bridge":
            config["query_encoder"] = "bridge"
        elif self.settings.query_encoder == "auto":
            config["query_encoder"] = "small" if model.get("small_query_encoder") else "full"
        return config

    def draft_manifest(self, fingerprint: str, counts: dict[str, int], config: dict[str, Any]) -> Manifest:
        """Return the manifest without what is only known when the index is published."""
        return Manifest(
            kind="index",
            fingerprint=fingerprint,
            parents={"model": self.encoder.folder.name} | ({"sparse": self.sparse.name} if self.sparse else {}),
            inputs=self.corpus.inputs,
            config=config,
            encoder=self.encoder.contract,
            counts=counts,
            notes=[f"ids: {self.corpus.id_from}", *self.corpus.notes],
            versions=library_versions("faiss-cpu", "tantivy", "pyarrow", "onnxruntime", "tokenizers"),
        )

    def _write_parts(self, journal: VectorJournal) -> int:
        """Write documents, ids, passages and the lexical index, and embed the passages; return the number of passages."""
        lexical_writer = LexicalWriter(self.folder / lexical.FOLDER, self.settings.language)
        ids: list[pa.Array] = []
        passage_table = PassageTable()
        schema = self.labeller.schema(self.corpus.schema) if self.labeller else self.corpus.schema
        with (
            pa.OSFile(str(self.folder / DOCUMENTS), "wb") as file,
            pa.ipc.new_file(file, schema) as documents,
            Bar("embed", self.corpus.documents, "documents") as bar,
            self._sparse_writer() or nullcontext() as sparse_writer,
        ):
            done = 0
            for batch in self.corpus.batches(ROWS_PER_BATCH):
                documents.write_batch(self.labeller.add(batch) if self.labeller else batch)
                ids.append(batch.column("id"))
                titles, texts = batch.column("title").to_pylist(), batch.column("text").to_pylist()
                lexical_writer.add(f"{title or ''}\n{text}" for title, text in zip(titles, texts, strict=True))
                for number, part in enumerate(_split_parts(self.passage_maker.make(titles, texts))):
                    if sparse_writer:
                        rows = slice(number * DOCUMENTS_PER_PART, (number + 1) * DOCUMENTS_PER_PART)
                        sparse_writer.add(titles[rows], texts[rows])
                    inputs = [text for passages in part for _, text in passages]
                    keys = [passage_key(text) for text in inputs]
                    passage_table.add([[passage for passage, _ in passages] for passages in part], keys)
                    for start in range(0, len(inputs), PASSAGES_PER_STEP):
                        step = slice(start, start + PASSAGES_PER_STEP)
                        journal.append(inputs[step], keys[step])
                        done += len(inputs[step])
                        if len(inputs) > PASSAGES_PER_STEP:
                            bar.note(f"embed ({done:,} passages)")
                    bar.advance(len(part))
        lexical_writer.close()
        if sparse_writer:
            sparse_writer.finish()
        passage_table.write(self.folder / PASSAGES)
        write_ids(self.folder / IDS, pa.chunked_array(ids))
        return len(passage_table)

    def _sparse_writer(self) -> SparseWriter | None:
        if self.sparse is None:
            return None
        settings = self.settings
        maker = self.sparse.passage_maker(settings.passages, settings.overlap_tokens)
        return SparseWriter(self.folder, self.sparse, settings.sparse_terms, maker, self.known_sparse)


def _split_parts(documents: list[DocumentPassages]) -> Iterator[list[DocumentPassages]]:
    for start in range(0, len(documents), DOCUMENTS_PER_PART):
        yield documents[start : start + DOCUMENTS_PER_PART]


def build_private_index(
    documents: list[dict[str, Any]],
    settings: BuildSettings,
    encoder: Encoder,
    known: KnownVectors | None,
    folder: Path,
    *,
    sparse: SparseEncoder | None = None,
    known_sparse: Find | None = None,
) -> Index:
    """Build an index that is only measured, never published; dense and lexical leg have equal weights.

    Its dense leg is exact.

    Args:
        documents: with the keys title and text; a document's row is its position in the list.
        settings: those of the index that it represents; the language is not `auto`.
        encoder: of a model artifact.
        known: vectors that need not be computed again.
        folder: where the files are written; the index uses them as long as it is open.
        sparse: of a learned-sparse model; None for an index without such a leg.
        known_sparse: finds sparse vectors that need not be computed again.
    """
    source = folder / "documents.parquet"
    pq.write_table(pa.Table.from_pylist(documents, PRIVATE_SCHEMA), source)
    corpus = Corpus.check(str(source), title_column="title")
    settings = settings.model_copy(update={"dense": "flat"})
    assembly = Assembly(corpus, settings, encoder, known, folder, sparse=sparse, known_sparse=known_sparse)
    counts, dense_index = assembly.write()
    return assembly.open(counts, assembly.config(EQUAL_WEIGHT) | dense_index)


class PassageTable:
    """The passages of all documents, 28 bytes each, written as one Arrow table at the end."""

    def __init__(self) -> None:
        self._numbers: list[np.ndarray[Any, Any]] = []
        self._keys = bytearray()
        self._documents = 0

    def __len__(self) -> int:
        return len(self._keys) // KEY_BYTES

    def add(self, documents: list[list[Passage]], keys: list[bytes]) -> None:
        """Add the passages of the next documents, each with its key."""
        rows = [
            (self._documents + row, passage.start, passage.end)
            for row, passages in enumerate(documents)
            for passage in passages
        ]
        self._numbers.append(np.array(rows, dtype=np.int32))
        self._keys += b"".join(keys)
        self._documents += len(documents)

    def write(self, path: Path) -> None:
        """Write the Arrow file."""
        numbers = np.concatenate(self._numbers)
        columns = {name: numbers[:, column] for column, name in enumerate(("document", "start", "end"))}
        keys = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(KEY_BYTES), len(self), [None, pa.py_buffer(bytes(self._keys))]
        )
        _write_table(path, pa.table({**columns, "key": keys}))


def write_ids(path: Path, ids: pa.ChunkedArray) -> None:
    """Write the ids in the order of their UTF-8 bytes, each with its row: the lookup from an id to its document."""
    order = pc.array_sort_indices(ids)
    _write_table(path, pa.table({"id": ids.take(order).combine_chunks(), "row": order.cast(pa.int32())}))


def _write_table(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=TABLE_ROWS_PER_BATCH)
