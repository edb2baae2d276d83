"""Build of an index: corpus → documents, passages, vectors, lexical index → one artifact, published when complete."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexer.artifacts.manifest import Manifest, fingerprint, read_manifest
from indexer.artifacts.store import Store
from indexer.build.assemble import Assembly
from indexer.build.executors.open import open_executor
from indexer.build.legs.dense_codes import logged_queries
from indexer.build.legs.sparse import find_known_sparse
from indexer.build.legs.words import check_words
from indexer.build.metadata.fill import check_columns, fill_attributes, with_texts
from indexer.build.metadata.labels import Labeller
from indexer.build.relevance.choose import choose_calibration
from indexer.build.settings import BuildSettings
from indexer.build.space import check_space, estimate_bytes
from indexer.build.vectors import KnownVectors, find_known_vectors, vectors_of
from indexer.build.weights.choose import choose_weights
from indexer.corpus.columns import parse_names
from indexer.corpus.corpus import Corpus, Documents
from indexer.corpus.inspect import advice
from indexer.corpus.settings import MetadataSettings, select
from indexer.errors import UserError
from indexer.index import dense
from indexer.index.index import Index
from indexer.index.terms.languages import detect_language
from indexer.inference.encoder import BRIDGE, Encoder
from indexer.inference.sparse_encoder import SparseEncoder, find_sparse_model
from indexer.live.forget import retracted_since
from indexer.progress import format_duration, say

LANGUAGE_SAMPLE_DOCUMENTS = 200
SELF_CHECK_DOCUMENTS = 50


@dataclass(frozen=True)
class BuildResult:
    """Result of a build: the manifest of the index, and whether it was built (``fresh``) or there already."""

    manifest: Manifest
    fresh: bool


def build(
    source: str,
    settings: BuildSettings,
    data: Path | None = None,
    cores: int | None = None,
    *,
    live: bool = True,
    known: KnownVectors | None = None,
    corpus: Corpus | None = None,
) -> BuildResult:
    """Build an index of the corpus ``source`` and make it the live one.

    Where an index of the same inputs, model and settings exists, nothing is built. It becomes live again if a *newer*
    one is live. If an *older* one is, that is a rollback, and the older one stays live.

    Args:
        source: a Parquet, CSV or JSON lines file, a folder of them, a glob, or the URL of a database.
        settings: what is indexed, and how.
        data: the data directory; by default ``$DOWSE_DATA``.
        cores: number of cores for embedding; by default all.
        live: whether the index goes live; if not, a later build of the same index with ``live`` makes it live.
        known: vectors of the model that need not be computed again; by default those of an earlier index, if any.
        corpus: ``source`` as `Corpus.check` has returned it for these settings; by default it is checked here.

    Raises:
        UserError: the corpus, the model or a setting is refused. Nothing is published then.
    """
    indexes, models = Store("index", data), Store("model", data)
    model = models.resolve(settings.model)
    if settings.query_encoder == "full" and (model / BRIDGE).is_dir():
        raise UserError(
            f"--query-encoder full: the queries of {model.name} are encoded by another model than its documents; leave it "
            f"out, or give --model {vectors_of(models, model.name)}, whose documents these are"
        )
    if (settings.dense_components or 0) > (dimension := read_manifest(model).contract.dimension):
        raise UserError(
            f"--dense-components {settings.dense_components}: the vectors of {model.name} have {dimension}; give no more"
        )
    corpus = corpus or Corpus.check(source, **select(settings, MetadataSettings), data=data)
    for line in advice(corpus.profile(), {name for name in MetadataSettings.model_fields if getattr(settings, name)}):
        say(line)
    labeller = Labeller.find(settings.label_with, settings.label_column, data, cores) if settings.label_with else None
    sparse = (
        SparseEncoder.open(find_sparse_model(settings.sparse_model, data), cores) if settings.sparse_model else None
    )
    # Conflicts of column names, and columns that are not there, are reported before any work.
    schema = with_texts(corpus.schema, parse_names(settings.extract, "--extract"))
    check_columns(corpus.schema, settings)
    check_words(settings, labeller.schema(schema) if labeller else schema)
    recipe, parents = (
        settings.recipe() | corpus.treatment.config(),
        {"model": model.name} | ({"sparse": sparse.name} if sparse else {}),
    )
    if labeller:
        recipe["labels"] = labeller.recipe()
    key = fingerprint("index", parents, corpus.inputs, recipe)
    with indexes.building():
        if not settings.force and (compacted := find_compacted(indexes, key)):
            return BuildResult(compacted, fresh=False)
        if not settings.force and (existing := indexes.reuse(key, live=live)):
            return BuildResult(existing, fresh=False)
        models.verify_once(model.name)
        encoder = Encoder.open(model, settings.precision, cores)
        with open_executor(settings, encoder) as executor:
            assembly = Assembly(
                fill_attributes(corpus, settings, data, cores) if settings.extract else corpus,
                settings.model_copy(update={"language": choose_language(corpus, settings.language)}),
                encoder,
                known or find_known_vectors(indexes, model, settings.precision, corpus.inputs),
                indexes.staging(key),
                labeller,
                sparse,
                find_known_sparse(indexes, sparse.name, settings.sparse_terms) if sparse else None,
                logged_queries(indexes.root.parent),
                executor,
            )
            return BuildResult(publish(indexes, assembly, key, live=live), fresh=True)


def publish(
    indexes: Store,
    assembly: Assembly,
    key: str,
    *,
    live: bool = True,
    config: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    guard: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Manifest:
    """Write an index, check it, publish it, and return its manifest. Call inside `Store.building`.

    Args:
        indexes: where the index is published.
        assembly: the inputs of the index.
        key: the fingerprint.
        live: whether the index goes live.
        config: of the manifest, but for the dense index; by default the assembly's, with the dense weight as set, tuned
            or estimated, and with a calibration of relevance.
        more: what the manifest's config gets besides.
        guard: see `Store.publish`.

    Raises:
        UserError: the disk will not suffice, or the index is not sound.
    """
    started = time.monotonic()
    check_space(assembly.folder, estimate_bytes(assembly.corpus, assembly.settings, assembly.encoder))
    counts, dense_index = assembly.write()
    fresh = config is None
    config = (config or assembly.config(**choose_weights(assembly, indexes.root))) | dense_index | (more or {})
    index = assembly.open(counts, config)
    share = measure_self_retrieval(index)
    if fresh:
        config |= choose_calibration(assembly, index)
    seconds = time.monotonic() - started
    metrics = {"seconds": round(seconds, 1), "self_retrieval": share}
    assembly.finish()
    draft = assembly.draft_manifest(key, counts, config).model_copy(update={"metrics": metrics})
    manifest = indexes.publish(assembly.folder, draft, live=live, guard=guard)
    say(
        f"index {manifest.id}: {manifest.counts['documents']:,} documents, {manifest.counts['passages']:,} passages "
        f"in {format_duration(seconds)}"
    )
    return manifest


def find_compacted(indexes: Store, key: str) -> Manifest | None:
    """Return the live index where it is the index of this fingerprint with the live writes since folded in."""
    live = indexes.current_id()
    if live is None or live not in indexes.ids():
        return None
    manifest = indexes.manifest(live)
    config = manifest.config
    if config.get("folded_into") != key or retracted_since(indexes.root.parent, config["folded"]):
        return None
    return manifest


def choose_language(corpus: Documents, language: str) -> str:
    """Return the language of an index: as set, or as the first texts of its documents have it."""
    if language != "auto":
        return language
    found = detect_language(next(corpus.batches(LANGUAGE_SAMPLE_DOCUMENTS)).column("text").to_pylist())
    say(f"language: {found} (--language sets another)")
    return found


def measure_self_retrieval(index: Index) -> float:
    """Return the share of sampled documents whose first passage has its own vector in the index: 1 in a sound index.

    The passages are encoded again and compared with the stored vectors. The share falls where vectors belong to other
    passages than the files say. An empty index has nothing that could be wrong.

    Raises:
        UserError: the share is below 90 %.
    """
    if not len(index):
        return 1.0
    rows = np.linspace(0, len(index) - 1, min(SELF_CHECK_DOCUMENTS, len(index))).astype(np.int64)
    vectors = index.encoder.encode_documents([index.passage_texts(row)[0] for row in rows.tolist()])
    stored = index.dense.vectors(index.first_passage[rows])
    cosines = np.einsum("ij,ij->i", dense.unit(vectors), stored)
    share = float((cosines > 0.95).mean())
    if share < 0.9:
        raise UserError(
            f"the index does not hold the vectors of its passages ({share:.0%} of a sample do); build it with --force"
        )
    return share
