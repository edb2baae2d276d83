"""Vectors of hybrid search: whether a run's map is for both modes or for dense search alone.

A map that is distilled from the fused ranking makes the dense leg more like the words. Dense search gains from that.
Hybrid search often loses: its legs complement each other less. So each mode has what is better for it. Hybrid search
keeps the base's vectors unless questions show that it gains by the map too; dense search then maps its queries only.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from indexer.inference.encoder import Vectors
from indexer.progress import say
from trainer.adapter.ladder import Ladder
from trainer.evaluate.rankings import WEIGHTS, RankedQueries
from trainer.evaluate.significance import paired
from trainer.evaluate.verdict import METRIC, is_better
from trainer.pipeline.dataset import RunData

HybridVectors = Literal["base", "tuned"]


def choose_hybrid_vectors(ladder: Ladder, run_data: RunData, matrix: Vectors) -> HybridVectors:
    """Return whose vectors hybrid search is to use: the base's, or those under the map ``matrix``.

    With labels dev decides, each at its best weight. Without labels neighbour questions do, at the index's weight: key
    words hardly judge hybrid search, whose lexical leg finds them at once.
    """
    if run_data.judged_by == "labels":
        unseen = run_data.unseen_dev
        queries = run_data.dev if unseen is None else run_data.dev.only(unseen)
        before, after = ladder.rank(None, queries, "hybrid, base"), ladder.rank(matrix, queries, "hybrid, map")
        old, new = _best(before, WEIGHTS), _best(after, WEIGHTS)
        better = new > old
    else:
        test = run_data.neighbours
        if test is None:
            return "base"
        before = ladder.rank(None, test.encoded, "hybrid, base", test.left_out)
        after = ladder.rank(matrix, test.encoded, "hybrid, map", test.left_out)
        weight = ladder.weights[0]
        olds, news = (list(ranked.metrics(weight)[METRIC].values()) for ranked in (before, after))
        old, new = float(np.mean(olds)), float(np.mean(news))
        better = is_better(paired(olds, news, seed=0))
    choice: HybridVectors = "tuned" if better else "base"
    say(
        f"hybrid search: {old:.4f} with the base's vectors, {new:.4f} with the map's; it has those of the {_name(choice)}"
    )
    return choice


def _best(ranked: RankedQueries, weights: tuple[float, ...]) -> float:
    return max(ranked.mean(weight) for weight in weights)


def _name(choice: HybridVectors) -> str:
    return "base" if choice == "base" else "map"
