"""Re-ranking: the first results of a ranking in the order of a cross-encoder, within a budget of time.

Where there is no time or no model the order stays, and the response says why: a search never fails for it.
"""

from __future__ import annotations

from pathlib import Path

from indexer.artifacts.manifest import verify_files
from indexer.inference.passages import encoder_input
from indexer.inference.reranker import Reranker
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.retriever import Retriever
from service.api.search.schemas import Rerank, RerankRequest
from service.serving.follower import Follower


def open_reranker(folder: Path, cores: int | None = None) -> Reranker:
    """Verify and open a published cross-encoder, and let it read once: the first pair has not to wait for it."""
    reranker = Reranker.open(folder, verify_files(folder), cores)
    reranker.score("warm up", ["once"])
    return reranker


class Reranking:
    """The re-ranking of one search, called once with all places of its ranking.

    Attributes:
        scores: of each place that was read, where it was applied; else empty.
        said: what the response says of it.
    """

    def __init__(self, followed: Follower[Reranker], live: Retriever, ranking: Ranking, asked: RerankRequest) -> None:
        self._followed, self._live, self._ranking, self._asked = followed, live, ranking, asked
        self.scores: dict[int, float] = {}
        self.said = Rerank(applied=False, scored=0, took_ms=0.0, reason=followed.reason)

    def __call__(self, places: list[int]) -> dict[int, float]:
        """Score the first of ``places`` with the live cross-encoder; return no scores where it is not applied."""
        reranker, head = self._followed.opened, places[: self._asked.top_n]
        if reranker is None:
            return {}
        with self._ranking.timed("rerank"):
            hits = self._live.hits(self._ranking, head)
            texts = [encoder_input(hit.document.title, hit.passage) for hit in hits]
            found = reranker.score(self._ranking.query, texts, self._asked.budget_ms / 1e3)
        reason = None
        if found.scores is None:
            reason = (
                f"{len(head)} results would take some {found.expected * 1e3:.0f} ms of a budget of "
                f"{self._asked.budget_ms} ms; ask for a smaller top_n or a larger budget_ms"
            )
        else:
            self.scores = dict(zip(head, found.scores.tolist(), strict=True))
        took = round(found.seconds * 1e3, 3)
        self.said = Rerank(applied=reason is None, scored=found.scored, took_ms=took, reason=reason)
        return self.scores
