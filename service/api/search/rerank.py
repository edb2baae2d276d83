"""Re-ranking: the first results of a ranking are ordered by a cross-encoder, within a time budget.

Without enough time or a model the order stays, and the response says why: a search never fails because of re-ranking.
The pages of one search must not differ in this, or they would repeat documents: a later page has the outcome of the first.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexer.artifacts.manifest import verify_files
from indexer.cache import ENTRY_BYTES, OwnedCache
from indexer.inference.passages import encoder_input
from indexer.inference.reranker import Reranker
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.retriever import Retriever
from service.api.search.schemas import Rerank, RerankRequest
from service.serving.follower import Follower

MEMORY_BYTES = 8 << 20
"""Memory for the outcomes of recent first pages."""


@dataclass(frozen=True)
class Outcome:
    """Whether the first results of a search were re-ranked: their scores, in the order of the ranking, or why not."""

    scores: npt.NDArray[np.float32] | None
    reason: str | None


class RerankMemory:
    """Outcomes of recent re-rankings, by query and passages; for each owner its own. Safe to use from several threads.

    Each process has its own: with several workers, a later page that another worker answers is scored again.
    """

    def __init__(self, capacity: int = MEMORY_BYTES) -> None:
        self._outcomes: OwnedCache[bytes, Outcome] = OwnedCache(capacity, _entry_bytes)

    def get(self, query: str, passages: list[str]) -> Outcome | None:
        """Return the latest outcome for these passages, or None."""
        return self._outcomes.get(_digest(query, passages))

    def put(self, query: str, passages: list[str], outcome: Outcome) -> None:
        """Keep an outcome."""
        self._outcomes.put(_digest(query, passages), outcome)


def _digest(query: str, passages: list[str]) -> bytes:
    return hashlib.sha256(json.dumps([query, passages]).encode()).digest()


def _entry_bytes(key: bytes, outcome: Outcome) -> int:
    scores = 0 if outcome.scores is None else outcome.scores.nbytes
    return len(key) + scores + len(outcome.reason or "") + 2 * ENTRY_BYTES


def open_reranker(folder: Path, cores: int | None = None) -> Reranker:
    """Verify and open a published cross-encoder, and warm it up with one pair."""
    reranker = Reranker.open(folder, verify_files(folder), cores)
    reranker.score("warm up", ["once"])
    return reranker


class Reranking:
    """The re-ranking of one search; called once, with the eligible positions of its ranking.

    Attributes:
        scores: position → score of the cross-encoder; empty if it was not applied.
        outcome: the `rerank` field of the response.
    """

    def __init__(
        self,
        follower: Follower[Reranker],
        memory: RerankMemory,
        live: Retriever,
        ranking: Ranking,
        options: RerankRequest,
        *,
        offset: int,
    ) -> None:
        self._follower, self._memory, self._offset = follower, memory, offset
        self._live, self._ranking, self._options = live, ranking, options
        self.scores: dict[int, float] = {}
        self.outcome = Rerank(applied=False, scored=0, took_ms=0.0, reason=follower.reason)

    def __call__(self, positions: list[int]) -> dict[int, float]:
        """Score the first of ``positions`` with the live cross-encoder; return no scores if it is not applied."""
        first = positions[: self._options.top_n]
        with self._ranking.timed("rerank"):
            hits = self._live.hits(self._ranking, first)
            texts = [encoder_input(hit.document.title, hit.passage) for hit in hits]
            known = self._memory.get(self._ranking.query, texts) if self._offset else None
            if known is None:
                known, scored, seconds = self._score(texts)
                self._memory.put(self._ranking.query, texts, known)
            else:
                scored, seconds = 0, 0.0
        if known.scores is not None:
            self.scores = dict(zip(first, known.scores.tolist(), strict=True))
            scored = len(first)
        self.outcome = Rerank(
            applied=known.scores is not None, scored=scored, took_ms=round(seconds * 1e3, 3), reason=known.reason
        )
        return self.scores

    def _score(self, texts: list[str]) -> tuple[Outcome, int, float]:
        """Return the outcome for ``texts``, how many of them were scored, and the seconds that it took."""
        reranker = self._follower.opened
        if reranker is None:
            return Outcome(None, self._follower.reason), 0, 0.0
        scoring = reranker.score(self._ranking.query, texts, self._options.budget_ms / 1e3)
        reason = None
        if scoring.scores is None:
            reason = (
                f"{len(texts)} results would take some {scoring.expected * 1e3:.0f} ms of a budget of "
                f"{self._options.budget_ms} ms; ask for a smaller top_n or a larger budget_ms"
            )
        return Outcome(scoring.scores, reason), scoring.scored, scoring.seconds
