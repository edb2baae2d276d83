"""Build an index: corpus → documents, passages, vectors, words → one artifact, published when it is whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from indexer import dense, lexical
from indexer.artifacts import Store
from indexer.corpus import Corpus, write_rejects
from indexer.encoder import Encoder, load_tokenizer
from indexer.errors import UserError
from indexer.index import DOCUMENTS, IDS, PASSAGES, ROWS_PER_BATCH, Index
from indexer.languages import detect_language
from indexer.lexical import LexicalWriter
from indexer.manifest import Manifest, fingerprint, library_versions
from indexer.passages import Passage, Splitter, encoder_input
from indexer.progress import Bar, clock, say
from indexer.settings import BuildSettings
from indexer.tables import PassageTable, write_ids
from indexer.vectors import KnownVectors, VectorJournal, passage_key

REJECTS = "rejects.jsonl"
LANGUAGE_SAMPLE = 200
SELF_CHECKS = 50
DOCUMENTS_PER_PART = 256
"""Documents whose passages are embedded together: enough to sort by length, few enough to lose little in a kill."""


@dataclass(frozen=True)
class Built:
    """What a build came to: the manifest of the index, and whether anything had to be done."""

    manifest: Manifest
    fresh: bool


def build(source: str, settings: BuildSettings, data: Path | None = None, cores: int | None = None) -> Built:
    """Build an index of the corpus ``source`` and make it the live one.

    Where an index of the same inputs, model and settings exists, nothing is built. It becomes live again if a *newer*
    one is live; if an *older* one is, somebody has rolled back, and it stays.

    Args:
        source: a Parquet, CSV or JSON lines file, a folder of them, or a glob.
        settings: what is indexed, and how.
        data: the data directory; by default ``$DOWSE_DATA``.
        cores: how many cores embed; by default all.

    Raises:
        UserError: the corpus, the model or a setting is refused. Nothing is published then.
    """
    indexes, models = Store("index", data), Store("model", data)
    model = models.resolve(settings.model)
    corpus = Corpus.check(
        source,
        id_column=settings.id_column,
        text_column=settings.text_column,
        title_column=settings.title_column,
        limit=settings.limit,
        skip_bad_rows=settings.skip_bad_rows,
    )
    recipe = settings.model_dump(exclude={"force", "model"})
    key = fingerprint("index", {"model": model.name}, corpus.inputs, recipe)
    with indexes.building():
        if not settings.force and (existing := indexes.reuse(key)):
            return Built(existing, fresh=False)
        models.verify(model.name)
        encoder = Encoder.open(model, settings.precision, cores)
        return Built(_Build(corpus, settings, indexes, model, recipe, key, encoder).run(), fresh=True)


@dataclass(frozen=True)
class _Build:
    """One run from a checked corpus to a published index."""

    corpus: Corpus
    settings: BuildSettings
    indexes: Store
    model: Path
    recipe: dict[str, Any]
    key: str
    encoder: Encoder

    @cached_property
    def folder(self) -> Path:
        """The hidden directory in which the artifact grows."""
        return self.indexes.staging(self.key)

    @cached_property
    def splitter(self) -> Splitter:
        """What cuts texts into passages that the encoder takes whole."""
        contract = self.encoder.contract
        return Splitter(
            load_tokenizer(self.model), contract.max_tokens, self.settings.overlap_tokens, contract.document_prompt
        )

    def run(self) -> Manifest:
        """Build and publish."""
        started = time.monotonic()
        language = self._language()
        journal = VectorJournal(self.folder, self.encoder, self._known_vectors())
        with journal:
            passages = self._write_parts(language, journal)
        dense.write_dense(
            self.folder / dense.FILE, self.settings.dense, self.encoder.contract.dimension, journal.blocks()
        )
        journal.remove()
        if self.corpus.rejects:
            write_rejects(self.folder / REJECTS, self.corpus.rejects)
        draft = Manifest(
            kind="index",
            fingerprint=self.key,
            parents={"model": self.model.name},
            inputs=self.corpus.inputs,
            config=self._config(language),
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
        found = self_retrieval(Index(self.folder, draft, self.encoder))
        seconds = time.monotonic() - started
        metrics = {"seconds": round(seconds, 1), "self_retrieval": found}
        manifest = self.indexes.publish(self.folder, draft.model_copy(update={"metrics": metrics}))
        say(f"index {manifest.id}: {self.corpus.documents:,} documents, {passages:,} passages in {clock(seconds)}")
        return manifest

    def _language(self) -> str:
        if self.settings.language != "auto":
            return self.settings.language
        batch = next(self.corpus.batches(LANGUAGE_SAMPLE))
        language = detect_language(batch.column("text").to_pylist())
        say(f"language: {language} (--language sets another)")
        return language

    def _known_vectors(self) -> KnownVectors | None:
        """Return the live index's vectors if the same encoder made them."""
        live = self.indexes.current_id()
        if live is None:
            return None
        try:
            manifest = self.indexes.verify(live)
        except UserError as error:
            say(f"nothing is reused from the live index: {error}")
            return None
        same = manifest.parents["model"] == self.model.name
        if not same or manifest.config["precision"] != self.settings.precision:
            return None
        return KnownVectors(self.indexes.path(live))

    def _config(self, language: str) -> dict[str, Any]:
        config = dict(self.recipe) | {"language": language, "ids": self.corpus.id_from}
        config["fusion"] = {"method": config["fusion"], "dense_weight": config.pop("dense_weight")}
        return config

    def _write_parts(self, language: str, journal: VectorJournal) -> int:
        """Write documents, ids, passages and words, and embed the passages; return the number of passages."""
        words = LexicalWriter(self.folder / lexical.FOLDER, language)
        ids: list[pa.Array] = []
        table = PassageTable()
        schema = self.corpus.schema
        with (
            pa.OSFile(str(self.folder / DOCUMENTS), "wb") as file,
            pa.ipc.new_file(file, schema) as documents,
            Bar("embed", self.corpus.documents, "documents") as bar,
        ):
            for batch in self.corpus.batches(ROWS_PER_BATCH):
                documents.write_batch(batch)
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


def self_retrieval(index: Index) -> float:
    """Return the share of sampled documents whose own first passage is found by its vector: 1 in a sound index.

    Vectors that belong to other passages than the files say would make it fall.

    Raises:
        UserError: more than one in ten is not found.
    """
    rows = np.linspace(0, len(index) - 1, min(SELF_CHECKS, len(index))).astype(np.int64)
    texts = []
    for row in rows.tolist():
        document = index.document(row)
        start, end = index.passage_offsets(int(index.first_passage[row]))
        texts.append(encoder_input(document.title, document.text[start:end]))
    vectors = index.encoder.encode_documents(texts)
    own = index.dense.vectors(index.first_passage[rows])
    cosines = np.einsum("ij,ij->i", dense.unit(vectors), own)
    share = float((cosines > 0.95).mean())
    if share < 0.9:
        raise UserError(
            f"the index does not hold the vectors of its passages ({share:.0%} found); build it with --force"
        )
    return share
