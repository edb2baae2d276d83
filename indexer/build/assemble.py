"""The parts of an index: documents, passages, vectors and words, written into a folder.

What `build` publishes is made here, and also what is only measured: an index of some documents that nobody else sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.artifacts.manifest import UNSET, InputEntry, Manifest, library_versions, read_manifest
from indexer.build.dense_weight import EQUAL
from indexer.build.labels import Labeller
from indexer.build.tables import PassageTable, write_ids
from indexer.build.vectors import KnownVectors, VectorJournal, passage_key
from indexer.corpus.corpus import Corpus, Reject, write_rejects
from indexer.index import dense, lexical
from indexer.index.index import DOCUMENTS, IDS, PASSAGES, ROWS_PER_BATCH, Index
from indexer.index.lexical import LexicalWriter
from indexer.inference.encoder import Encoder, load_tokenizer
from indexer.inference.passages import Passage, Splitter, encoder_input
from indexer.options import BuildSettings
from indexer.progress import Bar

REJECTS = "rejects.jsonl"
DOCUMENTS_PER_PART = 256
"""Documents whose passages are embedded together: enough to sort by length, few enough to lose little in a kill."""
PRIVATE_SCHEMA = pa.schema([("title", pa.string()), ("text", pa.string())])


class Documents(Protocol):
    """What is indexed: a corpus, or the documents of another index with what was written since."""

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
    """What an index is made of.

    Attributes:
        corpus: the documents.
        settings: how they are indexed; the language is decided.
        model: directory of the model artifact.
        encoder: of that model.
        known: vectors that need not be made again.
        folder: where the files are written.
        labeller: what adds labels to the metadata; None for nothing.
    """

    corpus: Documents
    settings: BuildSettings
    model: Path
    encoder: Encoder
    known: KnownVectors | None
    folder: Path
    labeller: Labeller | None = None

    @cached_property
    def splitter(self) -> Splitter:
        """What cuts texts into passages that the encoder takes whole."""
        contract = self.encoder.contract
        return Splitter(
            load_tokenizer(self.model), contract.max_tokens, self.settings.overlap_tokens, contract.document_prompt
        )

    def write(self, fingerprint: str) -> Manifest:
        """Write all files but the manifest, which is returned as far as it is known."""
        journal = VectorJournal(self.folder, self.encoder, self.known)
        with journal:
            passages = self._write_parts(self.settings.language, journal)
        dense.write_dense(
            self.folder / dense.FILE, self.settings.dense, self.encoder.contract.dimension, journal.blocks()
        )
        journal.remove()
        if self.corpus.rejects:
            write_rejects(self.folder / REJECTS, self.corpus.rejects)
        return Manifest(
            kind="index",
            fingerprint=fingerprint,
            parents={"model": self.model.name},
            inputs=self.corpus.inputs,
            config=self._config(),
            encoder=self.encoder.contract,
            counts={
                "rows": self.corpus.rows,
                "documents": self.corpus.documents,
                "passages": passages,
                "rejected": len(self.corpus.rejects),
                "embedded": journal.embedded,
                "reused": journal.reused,
            },
            notes=[f"ids: {self.corpus.id_from}", *self.corpus.notes],
            versions=library_versions("faiss-cpu", "tantivy", "pyarrow", "onnxruntime", "tokenizers"),
        )

    def _config(self) -> dict[str, Any]:
        left_out = {"force", "model", "label_with", "label_column"}
        config = self.settings.model_dump(exclude=left_out) | {"ids": self.corpus.id_from}
        if self.labeller:
            config["labels"] = self.labeller.facts()
        weight = config.pop("dense_weight")
        config["fusion"] = {"method": config["fusion"], "dense_weight": EQUAL if weight is None else weight}
        config["query_precision"] = read_manifest(self.model).config.get("query_precision") or self.settings.precision
        return config

    def _write_parts(self, language: str, journal: VectorJournal) -> int:
        """Write documents, ids, passages and words, and embed the passages; return the number of passages."""
        words = LexicalWriter(self.folder / lexical.FOLDER, language)
        ids: list[pa.Array] = []
        table = PassageTable()
        schema = self.labeller.schema(self.corpus.schema) if self.labeller else self.corpus.schema
        with (
            pa.OSFile(str(self.folder / DOCUMENTS), "wb") as file,
            pa.ipc.new_file(file, schema) as documents,
            Bar("embed", self.corpus.documents, "documents") as bar,
        ):
            for batch in self.corpus.batches(ROWS_PER_BATCH):
                documents.write_batch(self.labeller.add(batch) if self.labeller else batch)
                ids.append(batch.column("id"))
                titles = [title or "" for title in batch.column("title").to_pylist()]
                texts = batch.column("text").to_pylist()
                words.add(f"{title}\n{text}" for title, text in zip(titles, texts, strict=True))
                for part in self._split(titles, texts):
                    encoded = [text for _, _, text in part]
                    keys = [passage_key(text) for text in encoded]
                    table.add(part, keys)
                    journal.append(encoded, keys)
                    bar.advance(part[-1][0] - part[0][0] + 1)
        words.close()
        table.write(self.folder / PASSAGES)
        write_ids(self.folder / IDS, pa.chunked_array(ids))
        return len(table)

    def _split(self, titles: list[str], texts: list[str]) -> Iterator[list[tuple[int, Passage, str]]]:
        """Yield the passages of a batch in parts of some documents: place of the document, passage, text to encode."""
        if self.settings.passages == "one":
            split = [(title, [Passage(0, len(text))]) for title, text in zip(titles, texts, strict=True)]
        else:
            split = self.splitter.split(titles, texts)
        documents = iter(enumerate(zip(split, texts, strict=True)))
        while part := list(islice(documents, DOCUMENTS_PER_PART)):
            yield [
                (place, passage, encoder_input(title, text[passage.start : passage.end]))
                for place, ((title, passages), text) in part
                for passage in passages
            ]


def private_index(
    documents: list[dict[str, Any]],
    settings: BuildSettings,
    model: tuple[Path, Encoder],
    known: KnownVectors | None,
    folder: Path,
) -> Index:
    """Build an index that is measured and never published.

    Args:
        documents: with the keys title and text; a document's row is its place in the list.
        settings: as of the index that it stands for, the language decided.
        model: directory of the model artifact, and its encoder.
        known: vectors that need not be made again.
        folder: where the files are written; they are used as long as the index is.
    """
    source = folder / "documents.parquet"
    pq.write_table(pa.Table.from_pylist(documents, PRIVATE_SCHEMA), source)
    corpus = Corpus.check(str(source), title_column="title")
    assembly = Assembly(corpus, settings, *model, known, folder)
    return Index(folder, assembly.write(UNSET), model[1])
