"""An index with another model that gives documents the same vectors: its files are copied, and nothing is encoded.

Such a model differs in its queries only (`indexer.build.vectors.vectors_of`). So passages, vectors and words stay.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from indexer.artifacts.manifest import Manifest, fingerprint
from indexer.artifacts.store import Store
from indexer.build.build import measure_self_retrieval
from indexer.build.relevance.choose import SAMPLE, calibrate
from indexer.build.vectors import vectors_of
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.inference.encoder import Encoder
from indexer.progress import say, stage


def share_index(index: Index, model: str, data: Path) -> Manifest:
    """Publish a copy of ``index`` that is searched with ``model``, without making it live; return its manifest.

    A copy that is published already is up to date. Live writes apply over the copy as they do over the index.

    Args:
        index: as built, without live writes.
        model: id of a published model.
        data: the data directory of both.

    Raises:
        UserError: the vectors of the model's documents are others.
    """
    indexes, models = Store("index", data), Store("model", data)
    origins = [vectors_of(models, name) for name in (index.manifest.parents["model"], model)]
    if origins[0] != origins[1]:
        raise UserError(
            f"index {index.manifest.id} has the vectors of the model {origins[0]}, and {model} needs those of {origins[1]}; "
            f"build one with `python -m indexer build CORPUS --model {model}`"
        )
    encoder = Encoder.open(models.path(model), index.manifest.config["precision"], index.encoder.cores)
    # A build of the corpus with the other model would not have found the index that this one was folded into.
    config = {name: value for name, value in index.manifest.config.items() if name != "folded_into"}
    config |= {"query_encoder": encoder.query_encoder, "query_precision": encoder.precision, "vectors_of": origins[0]}
    parents = index.manifest.parents | {"model": model}
    key = fingerprint("index", parents, index.manifest.inputs, config | {"copy_of": index.manifest.fingerprint})
    with indexes.building(beside=True):  # the new base's own index may be under way, for hours
        if existing := indexes.reuse(key, live=False):
            return existing
        started = time.monotonic()
        staging = indexes.staging(key)
        with stage("copy the index"):
            shutil.rmtree(staging)
            shutil.copytree(index.folder, staging, ignore=shutil.ignore_patterns("manifest.json"))
        counts = index.manifest.counts | {"embedded": 0, "reused": index.manifest.counts["passages"]}
        draft = index.manifest.model_copy(
            update={
                "fingerprint": key,
                "parents": parents,
                "config": config,
                "encoder": encoder.contract,
                "counts": counts,
            }
        )
        copy = Index.load(staging, draft, encoder, None if index.sparse is None else index.sparse.encoder)
        share = measure_self_retrieval(copy)
        (staging / SAMPLE).unlink(missing_ok=True)  # other vectors of queries have other cosines
        config = {name: value for name, value in config.items() if name != "relevance_of"}
        config |= {"relevance": calibrate(copy)}
        metrics = {"seconds": round(time.monotonic() - started, 1), "self_retrieval": share}
        manifest = indexes.publish(staging, draft.model_copy(update={"config": config, "metrics": metrics}), live=False)
    say(f"index {manifest.id}: {counts['documents']:,} documents, their vectors taken from {index.manifest.id}")
    return manifest
