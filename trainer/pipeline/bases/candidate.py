"""A candidate of the comparison: a published model, its index of the sample, and what it costs."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexer.artifacts.manifest import InputEntry, Manifest
from indexer.artifacts.store import ID_PATTERN, Store
from indexer.build.assemble import build_private_index
from indexer.build.settings import BuildSettings
from indexer.build.vectors import KnownVectors, find_known_vectors
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.inference.encoder import Encoder
from indexer.progress import quiet
from indexer.retrieval.retriever import Retriever
from trainer.files import atomic_write
from trainer.models.base import locate, publish_base
from trainer.models.settings import BaseSettings
from trainer.pipeline.bases.result import Cost

DRAFT = "draft.json"
"""Manifest of the index of the sample; it is written last, so that a folder without it is unfinished."""
TIMED_QUERIES = 40
TIMED_DOCUMENTS = 12
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Candidate:
    """A published model that is compared.

    Attributes:
        name: on the Hub, of its directory, or its id.
        manifest: of the model.
        folder: of the model.
        licence: as its card names it, or «unknown».
    """

    name: str
    manifest: Manifest
    folder: Path
    licence: str

    @property
    def id(self) -> str:
        """Id of the model artifact."""
        return self.manifest.id


def publish_candidates(models: Sequence[str], data: Path) -> list[Candidate]:
    """Publish the models that are not published yet, without making one live, and return all of them in order.

    Raises:
        UserError: a model cannot be loaded or served; or one is named twice.
    """
    store = Store("model", data)
    candidates: list[Candidate] = []
    for model in models:
        if ID_PATTERN.fullmatch(model):
            manifest, source = store.manifest(store.resolve(model).name), None
        else:
            manifest, source = publish_base(model, BaseSettings(), data, live=False).manifest, locate(model)[1]
        name = str(manifest.config.get("base", manifest.id))
        if twin := next((other for other in candidates if other.id == manifest.id), None):
            raise UserError(f"{model}: the same model as {twin.name}; name each model once")
        folder = store.path(manifest.id)
        # Artifacts that were published before December 2026 have no card.
        licence = (read_licence(source) if source else None) or read_licence(folder) or "unknown"
        candidates.append(Candidate(name, manifest, folder, licence))
    return candidates


def read_licence(folder: Path) -> str | None:
    """Return the licence that a model's card or configuration names; None where it names none."""
    from huggingface_hub.repocard import metadata_load
    from yaml import YAMLError  # type: ignore[import-untyped]

    card = folder / "README.md"
    fields: dict[str, Any] = {}
    if card.is_file():
        try:
            fields = metadata_load(card) or {}
        except (ValueError, YAMLError):  # YAML errors are those of the Hub's client, which reads the head
            fields = {}
    licence = fields.get("license")
    if licence == "other":
        licence = fields.get("license_name") or licence
    config = folder / "config.json"
    if not licence and config.is_file():
        licence = json.loads(config.read_bytes()).get("license")
    if isinstance(licence, list):
        licence = ", ".join(map(str, licence))
    return str(licence) if licence else None


def find_vectors(candidate: Candidate, inputs: list[InputEntry], data: Path) -> KnownVectors | None:
    """Return the vectors of an index of this model, by the texts of their passages; an index of this corpus is preferred."""
    with quiet():
        return find_known_vectors(Store("index", data), candidate.folder, "fp32", inputs)


def open_index(
    encoder: Encoder, contents: list[dict[str, Any]], language: str, known: KnownVectors | None, folder: Path
) -> Index:
    """Return the candidate's index of the sample; a killed build of it resumes, a finished one is opened.

    Args:
        encoder: of the candidate.
        contents: the documents.
        language: of the lexical leg.
        known: vectors that need not be computed again.
        folder: where the index is kept.
    """
    draft = folder / DRAFT
    if draft.is_file():
        return Index.load(folder, Manifest.model_validate_json(draft.read_bytes()), encoder)
    folder.mkdir(parents=True, exist_ok=True)
    index = build_private_index(contents, BuildSettings(language=language), encoder, known, folder)
    with atomic_write(draft) as part:
        part.write_text(index.manifest.model_dump_json(), encoding="utf-8")
    return index


def measure_cost(candidate: Candidate, index: Index, queries: Sequence[str]) -> Cost:
    """Measure what a model costs: median milliseconds of a whole hybrid search, and documents that are encoded a second."""
    retriever = Retriever(index)
    retriever.search(queries[0])  # the first search opens files
    encode, search = [], []
    for query in queries[:TIMED_QUERIES]:
        started = time.perf_counter()
        ranking = retriever.search(query)
        search.append((time.perf_counter() - started) * 1e3)
        encode.append(ranking.timings["encode"])
    rows = np.linspace(0, len(index) - 1, min(TIMED_DOCUMENTS, len(index))).astype(np.int64).tolist()
    texts = [text for row in rows for text in index.passage_texts(row)]
    started = time.perf_counter()
    index.encoder.encode_documents(texts)
    seconds = max(time.perf_counter() - started, 1e-6)
    contract = candidate.manifest.contract
    return Cost(
        ms_encode=round(statistics.median(encode), 2),
        ms_query=round(statistics.median(search), 2),
        documents_per_second=round(len(rows) / seconds, 1),
        passages_per_document=round(len(index.dense) / len(index), 2),
        vector_bytes=FLOAT_BYTES * contract.dimension,
        dimension=contract.dimension,
        max_tokens=contract.max_tokens,
        parameters=candidate.manifest.counts.get("parameters", 0),
    )
