"""Assembly of an index: documents, ids, passages, vectors and the lexical index, written into a folder shard by shard.

`build` and `compact` publish the folder. `build_private_index` writes an index that is only measured, never published.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.artifacts.manifest import UNSET, Manifest, fingerprint, library_versions, read_manifest
from indexer.build.executors.pool import Executor, InProcess
from indexer.build.legs.dense_codes import EarlierCodes, index_vectors
from indexer.build.legs.sparse import Find, SparseWriter
from indexer.build.legs.words import copy_rules
from indexer.build.metadata.labels import Labeller
from indexer.build.settings import BuildSettings
from indexer.build.shards.earlier import EarlierShards
from indexer.build.shards.embedding import Embedding, add_words, write_window
from indexer.build.shards.exact import write_exact
from indexer.build.shards.pipeline import Behind, ahead
from indexer.build.shards.shard import Shard, remove_shards, resume_shards
from indexer.build.shards.tables import all_vectors, write_ids, write_keys, write_passages
from indexer.build.shards.windows import Reader
from indexer.build.vectors import MAP_FILE, KnownVectors, fold, maps_queries, origin_of
from indexer.build.weights.dense_weight import EQUAL_WEIGHT
from indexer.corpus.columns import parse_names
from indexer.corpus.corpus import Corpus, Documents, write_rejects
from indexer.index import dense
from indexer.index.approximate import codes
from indexer.index.exact import ids_are_values
from indexer.index.flat_file import write_flat
from indexer.index.index import DENSE_MAP, Index
from indexer.index.lexical.fields import FOLDER as LEXICAL
from indexer.index.lexical.writer import LexicalWriter
from indexer.inference.encoder import Encoder, Vectors
from indexer.inference.passages import PassageMaker
from indexer.inference.sparse_encoder import SparseEncoder
from indexer.progress import Bar

REJECTS = "rejects.jsonl"
WINDOWS_AHEAD, WINDOWS_BEHIND, SHARDS_BEHIND = 4, 2, 2
"""Windows that are read before they are encoded; windows, and words of shards, that wait to be written."""
PRIVATE_SCHEMA = pa.schema([("title", pa.string()), ("text", pa.string())])


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
        executor: encodes the passages, and is closed when all are; by default this process does it.
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
    executor: Executor | None = None

    @cached_property
    def passage_maker(self) -> PassageMaker:
        """Splits texts into passages that fit into the encoder."""
        return PassageMaker.of_config(self.encoder, self.settings.recipe())

    def write(self) -> tuple[dict[str, int], dict[str, Any]]:
        """Write all files but the manifest, and return for it the counts and what `config` lacks: the dense index.

        Call `finish` before they are published. What a killed build of the same inputs and settings has left in the
        folder is gone on with.
        """
        dimension = self.encoder.contract.dimension
        resume = resume_shards(self.folder, self._digest())
        folder, documents = self.folder / LEXICAL, self.corpus.documents
        columns = self.settings.weights_of_columns
        with LexicalWriter(
            folder, self.settings.language, documents=documents, resume=resume, columns=columns
        ) as words:
            embedding = self._embed(words)
        shards = embedding.shards
        passages = write_passages(self.folder, shards)
        write_flat(self.folder / dense.FILE, dimension, passages, all_vectors(shards))
        write_ids(self.folder)
        write_exact(
            self.folder,
            parse_names(self.settings.exact_columns, "--exact-columns"),
            ids=ids_are_values(self.corpus.id_from),
        )
        copy_rules(self.folder, self.settings)
        write_keys(self.folder)
        if (matrix := self._dense_map()) is not None:
            np.save(self.folder / DENSE_MAP, matrix, allow_pickle=False)
        dense_index = index_vectors(
            self.folder,
            self.settings,
            self.encoder,
            logged=self.logged,
            dense_map=matrix,
            earlier=self._earlier_codes(embedding.embedded / max(passages, 1)),
        )
        if self.corpus.rejects:
            write_rejects(self.folder / REJECTS, self.corpus.rejects)
        counts = {
            "rows": self.corpus.rows,
            "documents": self.corpus.documents,
            "passages": passages,
            "rejected": len(self.corpus.rejects),
            "embedded": embedding.embedded,
            "reused": passages - embedding.embedded,
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

    def config(self, dense_weight: float, sparse_weight: float = 0.0, weights_of: str | None = None) -> dict[str, Any]:
        """Return the configuration of the index for its manifest, with these weights of its legs in hybrid search.

        Weights that were estimated for an earlier index are ``weights_of`` that one. What `write` returns of the dense
        index has to be added.
        """
        config = self.settings.recipe() | self.corpus.treatment.config() | {"ids": self.corpus.id_from}
        del config["recall"]  # part of what `write` returns
        del config["relevance"]  # its version; the calibration is made of the index
        if self.labeller:
            config["labels"] = self.labeller.facts()
        del config["dense_weight"]
        config["fusion"] = {
            "method": self.settings.fusion,
            "dense_weight": dense_weight,
            # A weight that somebody has set is meant as it is.
            "by_query": self.settings.fusion == "convex" and self.settings.dense_weight is None,
        }
        if weights_of:
            config["weights_of"] = weights_of
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

    def finish(self) -> None:
        """Delete what only an interrupted build needs, before the folder is published."""
        remove_shards(self.folder)

    def _digest(self) -> str:
        """Return the digest of everything that decides what is written."""
        recipe = self.settings.recipe() | self.corpus.treatment.config()
        recipe |= {"labels": self.labeller.recipe() if self.labeller else None}
        return fingerprint("index", {"model": self.encoder.folder.name}, self.corpus.inputs, recipe)

    def _embed(self, words: LexicalWriter) -> Embedding:
        """Write the documents, words, passages and vectors of all shards.

        Reading and cutting run ahead of the encoder in one thread; words and vectors are written behind it, each in
        another. The encoder keeps this one, and has as many more as there are cores; or other processes encode.
        """
        with (
            self.executor or InProcess(self.encoder) as executor,
            Behind(SHARDS_BEHIND) as word_thread,
            Behind(WINDOWS_BEHIND) as vector_thread,
            Bar("embed", self.corpus.documents, "documents") as bar,
            self._sparse_writer() or nullcontext() as sparse_writer,
        ):
            embedding = Embedding(executor, self.encoder.contract.dimension, self.known)
            reader = Reader(
                self.corpus,
                self.labeller,
                self.passage_maker,
                self._earlier_shards(),
                lambda number: Shard(self.folder, number, self.encoder.contract.dimension),
                lambda shard: word_thread.put(add_words, words, self.settings.weights_of_columns, shard),
            )
            with closing(ahead(reader.windows(), WINDOWS_AHEAD)) as windows:
                for window, vectors in embedding.finished(windows):
                    if not window.complete:
                        vector_thread.put(write_window, window, vectors)
                    if sparse_writer:
                        sparse_writer.add(*window.ended)
                    count = bar.skip if window.resumed else bar.advance
                    count(len(window.ended.texts), passages=len(window.passages), MB=window.ended.size / 1e6)
        if sparse_writer:
            sparse_writer.finish()
        return embedding

    def _earlier_shards(self) -> EarlierShards:
        """Return the shards of the index whose vectors are taken; without passages where these are not its own."""
        if self.known is None or not (self.known.folder / "manifest.json").is_file():
            return EarlierShards()
        manifest, model = read_manifest(self.known.folder), self.encoder.folder.name
        return EarlierShards.of(self.known.folder, manifest, model if self.known.own else None, self.settings.recipe())

    def _earlier_codes(self, new: float) -> EarlierCodes | None:
        """Return the codes of the index whose vectors are taken as they are, but for a share that is ``new``."""
        if self.settings.force or self.known is None or not self.known.own:
            return None
        return EarlierCodes(self.known.folder, new) if (self.known.folder / codes.FILE).is_file() else None

    def _sparse_writer(self) -> SparseWriter | None:
        if self.sparse is None:
            return None
        settings = self.settings
        maker = self.sparse.passage_maker(settings.passages, settings.overlap_tokens)
        return SparseWriter(self.folder, self.sparse, settings.sparse_terms, maker, self.known_sparse)


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
    assembly.finish()
    return assembly.open(counts, assembly.config(EQUAL_WEIGHT) | dense_index)
