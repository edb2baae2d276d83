"""Weights of the legs of an index: as set, as the model was tuned with, as an earlier index has them, or estimated.

An estimate is made on the first documents of the corpus, and takes some seconds, whatever the corpus's size. What it was
made on is kept in the index as digests. A later build whose first documents are nearly all the same takes the weights over:
an estimate on a sample that differs by a few documents would say the same. It is always compared with the sample of the
estimate itself, so that many small changes end in a new one.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.artifacts.manifest import Manifest, read_manifest
from indexer.build.assemble import Assembly, build_private_index
from indexer.build.legs.sparse import Find
from indexer.build.vectors import KnownVectors
from indexer.build.weights.dense_weight import (
    EQUAL_WEIGHT,
    MAX_QUERIES,
    MIN_QUERIES,
    POOL_DOCUMENTS,
    estimate_dense_weight,
)
from indexer.build.weights.inverse_cloze import take_words
from indexer.build.weights.sparse_weight import Question, choose_sparse_weight
from indexer.index.index import open_documents
from indexer.index.sparse import FOLDER as SPARSE_FOLDER
from indexer.index.sparse import StoredVectors
from indexer.progress import quiet, say, stage
from indexer.retrieval.retriever import Retriever

SAMPLE = "weights_sample.npy"
"""Digests of the documents on which the weights were estimated: uint64, ascending."""
SAME_SHARE = 0.95
"""Share of these documents that has to be the same."""
SAME_SETTINGS = ("language", "words", "weighting", "passages", "overlap_tokens", "precision", "query_precision",
                 "query_encoder", "dense_map")  # fmt: skip
"""Settings of the index that an estimate depends on."""
Digests = npt.NDArray[np.uint64]
Row = dict[str, Any]


def choose_weights(assembly: Assembly, scratch: Path) -> dict[str, Any]:
    """Return the weights of the dense and of the learned-sparse leg, and whose they are, as arguments of `Assembly.config`."""
    settings = assembly.settings
    dense_weight, sparse_weight = settings.dense_weight, settings.sparse_weight if assembly.sparse else 0.0
    if dense_weight is None and settings.fusion == "convex":
        dense_weight = read_manifest(assembly.encoder.folder).config.get("dense_weight")
    elif dense_weight is None:
        dense_weight = EQUAL_WEIGHT
    if dense_weight is not None and sparse_weight is not None:
        return {"dense_weight": dense_weight, "sparse_weight": sparse_weight}
    documents = list(islice(open_documents(assembly.folder).rows(["title", "text"]), POOL_DOCUMENTS))
    # A weight of the sparse leg depends on that of the dense leg: both are of one estimate, or it is not kept.
    whole = dense_weight is None and (sparse_weight is None or not assembly.sparse)
    sample = digest_sample(documents)
    if whole and not settings.force and (earlier := _earlier_estimate(assembly, sample)):
        return earlier
    weights = _estimate(assembly, scratch, documents, dense_weight, sparse_weight)
    if whole:
        np.save(assembly.folder / SAMPLE, sample, allow_pickle=False)
    return {"dense_weight": weights[0], "sparse_weight": weights[1]}


def digest_sample(documents: Sequence[Row]) -> Digests:
    """Return the digests of titles and texts, ascending."""
    texts = (f"{document['title'] or ''}\n{document['text']}".encode() for document in documents)
    return np.sort(
        np.array([int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) for text in texts], np.uint64)
    )


def keep_sample(source: Path, folder: Path) -> None:
    """Copy the digests of an index to another one with the same weights."""
    if (source / SAMPLE).is_file():
        shutil.copyfile(source / SAMPLE, folder / SAMPLE)


def _earlier_estimate(assembly: Assembly, sample: Digests) -> dict[str, Any] | None:
    """Return the weights of the index whose vectors are taken, where these were estimated on nearly the same documents."""
    folder = assembly.known.folder if assembly.known else None
    if folder is None or not ((folder / SAMPLE).is_file() and (folder / "manifest.json").is_file()):
        return None
    earlier = read_manifest(folder)
    if estimated_for(earlier) != estimated_for(assembly.draft_manifest("", {}, assembly.config(EQUAL_WEIGHT))):
        return None
    known: Digests = np.load(folder / SAMPLE, allow_pickle=False)
    share = np.intersect1d(known, sample).size / max(known.size, sample.size, 1)
    if share < SAME_SHARE:
        return None
    keep_sample(folder, assembly.folder)
    fusion, origin = earlier.config["fusion"], earlier.config.get("weights_of", earlier.id)
    say(
        f"dense weight: {fusion['dense_weight']}, as estimated for {origin}: {share:.1%} of its sample is the same "
        "(--dense-weight sets another, --force estimates anew)"
    )
    return {
        "dense_weight": fusion["dense_weight"],
        "sparse_weight": fusion.get("sparse_weight", 0.0),
        "weights_of": origin,
    }


def estimated_for(manifest: Manifest) -> list[Any]:
    """Return everything besides the documents that an estimate of the weights depends on."""
    config, fusion = manifest.config, manifest.config["fusion"]
    settings = [config.get(name) for name in SAME_SETTINGS]
    return [manifest.parents, *settings, config.get("sparse"), fusion["method"], fusion["by_query"]]


def _estimate(
    assembly: Assembly,
    scratch: Path,
    documents: list[Row],
    dense_weight: float | None,
    sparse_weight: float | None,
) -> tuple[float, float]:
    """Estimate the weights that are None on a small index in which some documents lack a sentence, or half their words."""
    texts = [document["text"] for document in documents]
    clozes, _ = take_words(texts, MAX_QUERIES, MIN_QUERIES, seed=0)
    if len(clozes) < MIN_QUERIES:
        return EQUAL_WEIGHT if dense_weight is None else dense_weight, sparse_weight or 0.0
    for cloze in clozes:
        documents[cloze.row]["text"] = cloze.rest
    with (
        stage("estimate the weights of the legs" if assembly.sparse else "estimate the dense weight"),
        quiet(),
        TemporaryDirectory(dir=scratch, prefix=".building-") as folder,
    ):
        known = KnownVectors(assembly.folder)
        index = build_private_index(
            documents,
            assembly.settings,
            assembly.encoder,
            known,
            Path(folder),
            sparse=assembly.sparse,
            known_sparse=_written(assembly),
        )
        retriever = Retriever(index)
        estimated = dense_weight is None
        if dense_weight is None:
            dense_weight = estimate_dense_weight(retriever, clozes)
        if sparse_weight is None:
            questions = [Question(cloze.sentence, (cloze.row,)) for cloze in clozes]
            fusion = retriever.fusion.model_copy(update={"dense_weight": dense_weight})
            sparse_weight = choose_sparse_weight(retriever, questions, fusion)
    if estimated:
        say(f"dense weight: {dense_weight} (--dense-weight sets another)")
    if assembly.sparse and assembly.settings.sparse_weight is None:
        say(f"sparse weight: {sparse_weight} (--sparse-weight sets another)")
    return dense_weight, sparse_weight


def _written(assembly: Assembly) -> Find | None:
    """Return what finds the sparse vectors that the build has just written."""
    return StoredVectors(assembly.folder / SPARSE_FOLDER).find if assembly.sparse else None
