"""Re-ranking: the first results of a ranking are ordered by a cross-encoder, within a time budget.

Without enough time or a model the order stays, and the response says why: a search never fails because of re-ranking.
The pages of one search must not differ in this, or they would repeat documents: see `rerank_memory.py`.
"""

from __future__ import annotations

from pathlib import Path

from indexer.artifacts.manifest import verify_files
from indexer.inference.passages import encoder_input
from indexer.inference.reranker import Reranker
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.retriever import Retriever
from service.api.search.rerank_memory import Outcome, RerankMemory, key_of
from service.api.search.schemas import Rerank, RerankRequest
from service.serving.follower import Follower


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
            scored, seconds = 0, 0.0
            reranker = self._follower.opened

            def compute() -> Outcome:
                nonlocal scored, seconds
                outcome, scored, seconds = self._score(reranker, texts)
                return outcome

            outcome = self._memory.settle(
                key_of(self._ranking.query, texts, self._options.budget_ms),
                compute,
                first_page=not self._offset,
                model=reranker.name if reranker else "",
            )
        if outcome.scores is not None:
            self.scores = dict(zip(first, outcome.scores.tolist(), strict=True))
            scored = len(first)
        self.outcome = Rerank(
            applied=outcome.scores is not None, scored=scored, took_ms=round(seconds * 1e3, 3), reason=outcome.reason
        )
        return self.scores

    def _score(self, reranker: Reranker | None, texts: list[str]) -> tuple[Outcome, int, float]:
        """Return the outcome for ``texts``, how many of them were scored, and the seconds that it took."""
        if reranker is None:
            return Outcome(None, self._follower.reason, ""), 0, 0.0
        scoring = reranker.score(self._ranking.query, texts, self._options.budget_ms / 1e3)
        reason = None
        if scoring.scores is None:
            reason = (
                f"{len(texts)} results would take some {scoring.expected * 1e3:.0f} ms of a budget of "
                f"{self._options.budget_ms} ms; ask for a smaller top_n or a larger budget_ms"
            )
        return Outcome(scoring.scores, reason, reranker.name), scoring.scored, scoring.seconds
