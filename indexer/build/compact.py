"""Compaction: live writes are folded into a new index, and texts that have a vector are not encoded again.

The index is published first, with the number of the last write in it; only then is the log folded. Wherever the process
dies in between, the writes are in the log, in the index, or in both. The number says which writes still apply over the
index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer.artifacts.manifest import WORDS, InputEntry, Manifest, fingerprint
from indexer.artifacts.store import Store, data_dir
from indexer.build.assemble import Assembly
from indexer.build.build import BuildResult, choose_language, publish
from indexer.build.create import CREATED
from indexer.build.legs.dense_codes import logged_queries
from indexer.build.relevance.choose import keep_calibration_sample
from indexer.build.settings import BuildSettings
from indexer.build.vectors import KnownVectors, passage_key
from indexer.build.weights.choose import keep_sample
from indexer.corpus.corpus import Reject, rebatch
from indexer.corpus.treatment import Treatment
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.index.sparse import FOLDER as SPARSE_FOLDER
from indexer.index.sparse import StoredVectors
from indexer.index.terms.rules import RULE_FILES
from indexer.inference.encoder import Encoder, Vectors
from indexer.inference.passages import Passage, encoded_columns
from indexer.inference.sparse_encoder import SparseVectors
from indexer.live.inspect import hidden_writes
from indexer.live.log import LogReplaced, WriteLog
from indexer.live.overlay import LiveIndex
from indexer.live.prepare import replay_writes
from indexer.live.write import Write, last_writes
from indexer.progress import say


def compact(data: Path | None = None, cores: int | None = None) -> BuildResult:
    """Build an index of the live index's documents with the writes since, and make it the live one.

    Args:
        data: the data directory; by default ``$DOWSE_DATA``.
        cores: number of cores for embedding; by default all.

    Raises:
        UserError: the index or the log is damaged or was replaced meanwhile, or no document is left. Nothing is changed.
    """
    data = data or data_dir()
    indexes, log = Store("index", data), WriteLog(data)
    with indexes.building():
        base = Index.open(indexes.resolve(), cores=cores)
        if not log.has_new():
            return BuildResult(base.manifest, fresh=False)
        with log.locked():
            everything = log.read()
            log.close()
        writes = [write for write in everything if write.sequence > base.folded]
        index = replay_writes(base, writes)
        set_aside = {write.sequence for write in hidden_writes(everything, base.manifest)}
        if isinstance(index, LiveIndex):
            set_aside |= index.overlay.set_aside.keys()
        applied = [write for write in writes if write.sequence not in set_aside]
        fresh = bool(last_writes(applied))
        through = log.sequence
        manifest = (
            _publish(indexes, base, index, applied, cores, log=log, set_aside=set_aside) if fresh else base.manifest
        )
        try:
            log.fold(through, set_aside)
        except LogReplaced as error:
            say(f"{error}: the log was replaced meanwhile, and stays as it is")
    return BuildResult(manifest, fresh=fresh)


def _publish(
    indexes: Store,
    base: Index,
    index: Index,
    writes: list[Write],
    cores: int | None,
    *,
    log: WriteLog,
    set_aside: Collection[int],
) -> Manifest:
    """Publish ``index``: the index ``base`` with the ``writes`` of ``log`` over it."""
    documents = LiveDocuments.of(index, writes)
    config = {name: value for name, value in base.manifest.config.items() if name not in ("set_aside", CREATED)}
    model = Store("model", indexes.root.parent).path(base.manifest.parents["model"])
    settings = _settings_of(config, base.folder)
    created = base.manifest.config.get(CREATED)
    if created:  # what an empty index left open is decided now, as a build of these documents would
        settings = settings.model_copy(
            update={"language": choose_language(documents, created["language"]), "dense_weight": None}
        )
    # The fingerprint of the index that was built from the corpus: a build of the same corpus is then up to date.
    origin = config.get("folded_into", base.manifest.fingerprint)
    if any(write.retraction for write in writes):  # retracted writes may be folded in, which a build would not have
        origin = base.manifest.fingerprint
    folding: dict[str, Any] = {"folded": writes[-1].sequence, "folded_into": origin}
    if hidden := sorted(number for number in set_aside if number < writes[-1].sequence):
        folding["set_aside"] = hidden
    key = fingerprint("index", base.manifest.parents, documents.inputs, config | folding)
    assembly = Assembly(
        documents,
        settings,
        Encoder.open(model, settings.precision, cores),
        KnownAndLiveVectors(base.folder, documents.index),
        indexes.staging(key),
        sparse=None if base.sparse is None else base.sparse.encoder,
        known_sparse=None if base.sparse is None else KnownAndLiveTerms(base.folder, documents.index).find,
        logged=logged_queries(indexes.root.parent),
    )
    if created:
        return publish(indexes, assembly, key, more=folding, guard=lambda: _unreplaced(log))
    keep_sample(base.folder, assembly.folder)
    keep_calibration_sample(base.folder, assembly.folder)
    return publish(indexes, assembly, key, config=config | folding | {"words": WORDS}, guard=lambda: _unreplaced(log))


@contextmanager
def _unreplaced(log: WriteLog) -> Iterator[None]:
    """Hold the lock of a log that is still the one that was read.

    An older copy that was restored meanwhile may have taken writes under the numbers of those that the new index has
    folded. The index would take them for its own, and hide them. Once it is published, writes are numbered above it.

    Raises:
        UserError: the log was replaced.
    """
    with log.locked():
        try:
            log.read()
        except LogReplaced as error:
            raise UserError(
                f"{error}: the log was replaced during the compaction, and nothing was published; compact again"
            ) from error
        yield


def _settings_of(config: dict[str, Any], folder: Path) -> BuildSettings:
    """Return the settings with which the index in ``folder`` was built."""
    fields = {name: config[name] for name in BuildSettings.model_fields if name in config}
    if sparse := config.get("sparse"):
        fields["sparse_terms"] = sparse["terms"]
    if fields.get("query_encoder") in ("small", "bridge"):
        fields["query_encoder"] = "auto"
    # An index without this was built when there was one kind only, which nobody had asked for.
    dense_index = config.get("dense_index", {"requested": "auto"})
    fields["dense"] = dense_index["requested"]
    if "target" in dense_index:
        fields["recall"] = dense_index["target"]
    fields["dense_components"] = dense_index.get("requested_components")
    fields |= {name: folder / file for name, file in RULE_FILES.items() if name in config}
    fusion = config["fusion"]
    return BuildSettings(**fields | {"fusion": fusion["method"], "dense_weight": fusion["dense_weight"]})


@dataclass
class LiveDocuments:
    """The documents of an index with the live ones over it, in the form of a corpus (see `Documents`)."""

    index: Index
    inputs: list[InputEntry]
    rows: int
    documents: int
    id_from: str
    notes: list[str]
    text_bytes: int
    treatment: Treatment
    rejects: list[Reject] = field(default_factory=list)

    @classmethod
    def of(cls, index: Index, writes: list[Write]) -> LiveDocuments:
        """Take the visible documents of ``index``; raise `UserError` where there are none."""
        if not len(index):
            raise UserError("every document was deleted, and an index needs one; put a document, then compact again")
        first, last = writes[0].sequence, writes[-1].sequence
        lines = [write.line() for write in writes]
        digest = hashlib.sha256(b"".join(lines)).hexdigest()
        size = sum(map(len, lines))
        return cls(
            index=index,
            inputs=[*index.manifest.inputs, InputEntry(name=f"writes {first} to {last}", size=size, sha256=digest)],
            rows=len(index),
            documents=len(index),
            id_from=index.manifest.config["ids"],
            notes=[note for note in index.manifest.notes if not note.startswith("ids: ")],
            treatment=Treatment.of_config(index.manifest.config),
            text_bytes=size + sum(batch.nbytes for batch in index.contents.documents.batches),
        )

    @property
    def schema(self) -> pa.Schema:
        """Fields of a document."""
        return self.index.schema

    def batches(self, rows: int = 1024) -> Iterator[pa.RecordBatch]:
        """Yield the documents in batches of exactly ``rows`` rows but for the last."""
        return rebatch(self.index.batches(), rows)


class KnownAndLiveVectors(KnownVectors):
    """The vectors of an index and of live documents over it, found by passage key."""

    def __init__(self, folder: Path, index: Index) -> None:
        super().__init__(folder)
        maker = index.contents.passage_maker
        self._live: dict[bytes, Vectors] = {}
        for document in index.overlay.versions if isinstance(index, LiveIndex) else ():
            passages = [Passage(*bounds) for bounds in document.passages]
            inputs = maker.encoder_inputs(maker.head(document.title, document.metadata), document.text, passages)
            self._live |= zip(map(passage_key, inputs), document.vectors, strict=True)

    def find(self, keys: list[bytes]) -> tuple[npt.NDArray[np.bool_], Vectors]:
        """Return which of ``keys`` are known, shape (len(keys),), and the vectors of those that are."""
        known, stored = super().find(keys)
        vectors = np.empty((len(keys), stored.shape[1]), dtype=np.float32)
        vectors[known] = stored
        for position in np.flatnonzero(~known).tolist():
            if (vector := self._live.get(keys[position])) is not None:
                vectors[position], known[position] = vector, True
        return known, vectors[known]


class KnownAndLiveTerms:
    """The learned weights of an index's passages and of those of live documents over it, found by passage key."""

    def __init__(self, folder: Path, index: Index) -> None:
        self._stored = StoredVectors(folder / SPARSE_FOLDER)
        self._live: dict[bytes, SparseVectors] = {}
        if not (isinstance(index, LiveIndex) and index.sparse is not None):
            return
        config = index.manifest.config
        maker = index.sparse.encoder.passage_maker(
            config["passages"], int(config["overlap_tokens"]), encoded_columns(config)
        )
        for document in index.overlay.versions:
            if document.sparse:
                ((*passages,),) = maker.make([maker.head(document.title, document.metadata)], [document.text])
                vectors = document.sparse.vectors()
                self._live |= {
                    passage_key(text): SparseVectors.of([vector])
                    for (_, text), vector in zip(passages, vectors, strict=True)
                }

    def find(self, keys: list[bytes]) -> list[SparseVectors | None]:
        """Return the vector of each of ``keys``, None for one that is not known."""
        stored = self._stored.find(keys)
        return [self._live.get(key) if vector is None else vector for key, vector in zip(keys, stored, strict=True)]
