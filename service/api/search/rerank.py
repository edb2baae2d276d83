"""Re-ranking: the first results of a ranking are ordered by a cross-encoder, within a time budget.

A search may ask for it. One that says nothing is re-ranked where the live cross-encoder has won its comparison.

Without enough time or a model the order stays, and the response says why: a search never fails because of re-ranking.
The searches of a batch share a time limit, too: each alone may keep its budget, and all together outlast the deadline.
The pages of one search must not differ in this, or they would repeat documents: see `rerank_memory.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from indexer.artifacts.manifest import Manifest, verify_files
from indexer.inference.passages import encoder_input
from indexer.inference.reranker import Reranker
from indexer.retrieval.ranking import Mode, Ranking
from indexer.retrieval.reranking import mix
from indexer.retrieval.retriever import Retriever
from service.api.search.rerank_memory import Outcome, RerankMemory, key_of
from service.api.search.schemas import Rerank, RerankRequest
from service.serving.follower import Follower


@dataclass(frozen=True)
class LiveReranker:
    """The live cross-encoder with its manifest, which has the verdict about it."""

    model: Reranker
    manifest: Manifest

    @property
    def weight(self) -> float:
        """Weight of its score against the first ranking's, as the judge found it best; without a verdict it is alone."""
        return float(self.manifest.config.get("weight", 1.0))

    def default_for(self, live: Retriever) -> RerankRequest | None:
        """Return how searches are re-ranked that do not say; None where they are not.

        Only a WIN counts, and only for the model that it was measured with: another one ranks differently.
        """
        config = self.manifest.config
        if config.get("verdict") != "WIN" or config["judged_with"] != live.index.manifest.parents.get("model"):
            return None
        return RerankRequest(top_n=config["top_n"], budget_ms=config["budget_ms"])


def open_reranker(folder: Path, cores: int | None = None) -> LiveReranker:
    """Verify and open a published cross-encoder, and warm it up with one pair."""
    manifest = verify_files(folder)
    reranker = Reranker.open(folder, manifest, cores)
    reranker.score("warm up", ["once"])
    return LiveReranker(reranker, manifest)


def rerank_options(
    asked: RerankRequest | bool | None, mode: Mode, live: Retriever, reranker: LiveReranker | None, *, on_request: bool
) -> RerankRequest | None:
    """Return how a search is re-ranked, None for not at all.

    Args:
        asked: what the request says; None where it says nothing.
        mode: of the search; verdicts are about hybrid search.
        live: the live index.
        reranker: the live cross-encoder.
        on_request: whether only searches that ask are re-ranked (`--rerank-on-request`).
    """
    if asked is True:
        return RerankRequest()
    if asked is not None:
        return asked or None
    if on_request or mode != "hybrid" or reranker is None:
        return None
    return reranker.default_for(live)


@dataclass
class TimeLeft:
    """Seconds that several re-rankings may still take together."""

    seconds: float = math.inf


class Reranking:
    """The re-ranking of one search; called once, with the eligible positions of its ranking.

    Args:
        follower: of the live cross-encoder.
        memory: outcomes of earlier re-rankings.
        live: the live index.
        ranking: of the search.
        options: how many results are scored, and the time for that.
        offset: of the page.
        left: time that this re-ranking shares with others; it is reduced by what this one takes.

    Attributes:
        scores: position → score of the cross-encoder; empty if it was not applied.
        outcome: the `rerank` field of the response.
    """

    def __init__(
        self,
        follower: Follower[LiveReranker],
        memory: RerankMemory,
        live: Retriever,
        ranking: Ranking,
        options: RerankRequest,
        *,
        offset: int,
        left: TimeLeft | None = None,
    ) -> None:
        self._follower, self._memory, self._offset = follower, memory, offset
        self._left = left or TimeLeft()
        self._live, self._ranking, self._options = live, ranking, options
        self.scores: dict[int, float] = {}
        self.outcome = Rerank(applied=False, scored=0, took_ms=0.0, reason=follower.reason)

    def __call__(self, positions: list[int]) -> dict[int, float]:
        """Score the first of ``positions`` with the live cross-encoder, and return the scores that order them.

        If it is not applied, there are none.
        """
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
                model=reranker.model.name if reranker else "",
            )
        order: dict[int, float] = {}
        if outcome.scores is not None:
            self.scores = dict(zip(first, outcome.scores.tolist(), strict=True))
            weight = self._weight(reranker)
            order = dict(zip(first, mix(outcome.scores, self._ranking.scores[first], weight).tolist(), strict=True))
            scored = len(first)
        self.outcome = Rerank(
            applied=outcome.scores is not None, scored=scored, took_ms=round(seconds * 1e3, 3), reason=outcome.reason
        )
        return order

    def _weight(self, reranker: LiveReranker | None) -> float:
        """Return the weight that the request gives, else that of the cross-encoder."""
        if self._options.weight is not None:
            return self._options.weight
        return reranker.weight if reranker else 1.0

    def _score(self, reranker: LiveReranker | None, texts: list[str]) -> tuple[Outcome, int, float]:
        """Return the outcome for ``texts``, how many of them were scored, and the seconds that it took."""
        if reranker is None:
            return Outcome(None, self._follower.reason, ""), 0, 0.0
        left = max(self._left.seconds, 0.0)
        budget = min(self._options.budget_ms / 1e3, left)
        if not budget:
            return (
                Outcome(
                    None,
                    "earlier searches of the batch took all time for re-ranking; ask for fewer",
                    reranker.model.name,
                ),
                0,
                0.0,
            )
        scoring = reranker.model.score(self._ranking.query, texts, budget)
        self._left.seconds -= scoring.seconds
        reason = None
        if scoring.scores is None and budget < self._options.budget_ms / 1e3:
            reason = (
                f"{len(texts)} results would take some {scoring.expected * 1e3:.0f} ms, and earlier searches of the batch "
                f"left {budget * 1e3:.0f} ms; ask for fewer searches or a smaller top_n"
            )
        elif scoring.scores is None:
            reason = (
                f"{len(texts)} results would take some {scoring.expected * 1e3:.0f} ms of a budget of "
                f"{self._options.budget_ms} ms; ask for a smaller top_n or a larger budget_ms"
            )
        return Outcome(scoring.scores, reason, reranker.model.name), scoring.scored, scoring.seconds
