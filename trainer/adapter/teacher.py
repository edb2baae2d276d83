"""Cross-encoder as teacher of the map: its scores of the first results, mixed into the targets of the distillation.

The fused ranking holds only what both legs know. A cross-encoder brings knowledge from outside, at a few hundred pairs a
second. So it scores as many queries as the time allows; the others keep the fused ranking as their teacher.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.inference.reranker import Reranker
from indexer.progress import format_duration, say
from indexer.retrieval.fusion import standardised
from indexer.retrieval.ranking import Numbers, Ranking
from indexer.retrieval.retriever import Retriever
from trainer.evaluate.cross_scores import Scores, first_texts, score_first

TEACHER_WEIGHT = 0.5
"""Weight of the cross-encoder in a target; the fused ranking has the rest."""
TIMED_QUERIES = 4
"""Queries by which its speed is measured."""


@dataclass(frozen=True)
class Teacher:
    """A cross-encoder, the seconds that it may take, and the folder of its journal.

    The folder belongs to one run: its queries, their order and the cross-encoder are always the same there.
    """

    reranker: Reranker
    seconds: float
    folder: Path

    def score(self, retriever: Retriever, rankings: Sequence[Ranking], depth: int) -> Scores:
        """Return the scores of the first ``depth`` results of as many queries as the time allows, the first ones first."""
        count = self._affordable(retriever, rankings, depth)
        return score_first(
            "cross-encoder",
            self.reranker,
            retriever,
            rankings[:count],
            depth=depth,
            journal=self.folder / "teacher.f32",
        )

    def _affordable(self, retriever: Retriever, rankings: Sequence[Ranking], depth: int) -> int:
        """Return how many queries are scored; a run that is resumed scores as many as it had begun with."""
        kept = self.folder / "teacher.count"
        if kept.is_file():
            return int(kept.read_text())
        texts = [(each.query, first_texts(retriever, each, depth)) for each in rankings[: TIMED_QUERIES + 1]]
        times = []
        for query, passages in texts:
            started = time.monotonic()
            self.reranker.score(query, passages)
            times.append(time.monotonic() - started)
        seconds = float(np.mean(times[1:] or times)) or 1e-6  # the first one warms up
        count = max(1, min(len(rankings), int(self.seconds / seconds)))
        kept.write_text(str(count))
        say(
            f"cross-encoder: {depth} results of {count:,} of {len(rankings):,} queries, "
            f"about {format_duration(count * seconds)}"
        )
        return count


def mixed_targets(fused: Numbers, cross: Scores | None) -> Numbers:
    """Return the teacher's logits of the first results of a query.

    The cross-encoder's scores are brought to the mean and the spread of the fused scores: the softmax over them is as
    sharp as without it.

    Args:
        fused: scores of the fused ranking, shape (results,).
        cross: scores of the cross-encoder, of the same shape; None where it has not scored the query.
    """
    if cross is None or not len(fused):
        return fused
    scaled = standardised(cross.astype(np.float64)) * fused.std() + fused.mean()
    mixed: Numbers = TEACHER_WEIGHT * scaled + (1 - TEACHER_WEIGHT) * fused
    return mixed
