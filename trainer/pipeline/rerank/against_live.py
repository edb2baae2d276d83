"""Comparison of a cross-encoder that has won with the live one, which re-ranks by default already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from indexer.artifacts.manifest import Manifest
from indexer.artifacts.store import Store
from indexer.inference.reranker import Reranker
from indexer.progress import say
from trainer.data.clusters import cluster_queries
from trainer.evaluate.verdict import decide_reranking
from trainer.models.reranker import wins_with
from trainer.pipeline.dataset import RunData
from trainer.pipeline.rerank.scored import Reranked, compare_orders, score_group
from trainer.pipeline.workspace import Workspace


def compare_with_live(
    scored: Mapping[str, Reranked],
    weight: float,
    *,
    data: Path,
    index: Manifest,
    run_data: RunData,
    workspace: Workspace,
    seed: int,
) -> dict[str, Any]:
    """Return fields of the manifest, and «reasons»; {} where no live cross-encoder re-ranks by default with this model.

    Args:
        scored: groups of queries on which the verdict rests, with the scores of the new cross-encoder.
        weight: of the new one.
        data: the data directory.
        index: manifest of the index that was searched.
        run_data: the questions, and the documents that are copies of others.
        workspace: keeps the scores of the live one, so that a killed comparison resumes.
        seed: of the tests.
    """
    store = Store("reranker", data)
    live = store.current_id()
    manifest = store.manifest(live) if live else None
    if manifest is None or not wins_with(manifest, index.parents["model"]):
        return {}
    say(f"compare with {manifest.id}, which re-ranks by default now")
    depth, reranker = int(manifest.config["top_n"]), Reranker.open(store.path(manifest.id), manifest)
    groups = {}
    for number, (name, new) in enumerate(scored.items()):
        journal = workspace.folder / f"live-{manifest.id}-{number}.f32"
        old = score_group(f"{name}: re-rank by the live one", reranker, new.ranked, depth, journal)
        clusters = cluster_queries(new.ranked.queries.qrels, run_data.copies)
        groups[name] = compare_orders(old.metrics(float(manifest.config["weight"])), new, weight, seed, clusters)
    verdict, reasons = decide_reranking(run_data.judged_by, groups, run_data.deciding)
    return {
        "compared_with": manifest.id,
        "verdict_against_live": verdict,
        "reasons": [f"against {manifest.id}, which is live: {reason}" for reason in reasons],
    }
