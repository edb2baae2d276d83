"""Ladder: training steps of a linear map, from the cheapest to the most expensive, each kept only if dev agrees.

A map on frozen vectors is trained in seconds (`trainer.adapter.linear_map`). Training the encoder's layers takes minutes,
and every passage has to be encoded again (`trainer.pipeline.layers`). Each rung starts from the best result so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from indexer.index.dense import DenseIndex
from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.progress import format_duration, say
from indexer.retrieval.retriever import Retriever
from trainer.adapter.distillation import all_passages, from_fused_ranking, from_labels
from trainer.adapter.linear_map import MapSettings, apply, blend, learn, whitening
from trainer.adapter.teacher import Teacher
from trainer.data.labels import QuerySet
from trainer.evaluate.rankings import RankedQueries, rank_queries
from trainer.evaluate.report import DevPoint, LossPoint, Rung

WHITENING_EXPONENT = 0.4
"""Exponent of the soft whitening."""
DISTILLATION = MapSettings()
"""Training settings of a map that is distilled from the fused ranking."""
SUPERVISION = MapSettings(learning_rate=5e-4, epochs=10)
"""Training settings of a map that is trained on labels."""
BLEND_SHARES = (0.5, 0.75)
"""Weights of the learned map in blends with the identity that are tried on dev."""


@dataclass(frozen=True)
class EncodedQueries:
    """Queries with their unit vectors by the encoder under the map, shape (queries, dimension)."""

    queries: QuerySet
    vectors: Vectors

    def only(self, queries: QuerySet) -> EncodedQueries:
        """Return some of the queries with their vectors."""
        kept = [row for row, query in enumerate(self.queries.texts) if query in queries.texts]
        return EncodedQueries(queries, self.vectors[kept])


@dataclass
class Ladder:
    """The best map so far over the vectors of one encoder, with the record of the rungs that were tried.

    Attributes:
        index: of the corpus, with the encoder whose vectors are mapped.
        ids: ids of its documents.
        dev: queries by which rungs are kept or dropped.
        weights: weights of the dense leg at which hybrid search is evaluated on dev; the best of them counts.
        seed: of every random choice.
        unseen: dev queries about documents that are not trained on; None where there are too few.
        matrix: the best map; None is the identity.
        score: of that map on dev.
        rungs: rungs that were tried.
        losses: training losses of all rungs.
        points: scores on dev, beginning with the identity.
        passages: unit vectors of all passages by the encoder, shape (passages, dimension).
    """

    index: Index
    ids: Sequence[str]
    dev: EncodedQueries
    weights: Sequence[float]
    seed: int
    unseen: QuerySet | None = None
    matrix: Vectors | None = None
    score: float = 0.0
    rungs: list[Rung] = field(default_factory=list)
    losses: list[LossPoint] = field(default_factory=list)
    points: list[DevPoint] = field(default_factory=list)
    passages: Vectors = field(init=False)

    def __post_init__(self) -> None:
        self._started = time.monotonic()
        self.passages = all_passages(self.index)
        self.score = self.measure(None)
        self.points.append(DevPoint(at="base", value=self.score))

    def retriever(self, matrix: Vectors | None) -> Retriever:
        """Return a retriever whose passage vectors are mapped by ``matrix``; it searches by given query vectors only."""
        if matrix is None:
            return Retriever(self.index)
        vectors = DenseIndex.of(apply(matrix, self.passages))
        return Retriever(self.index.with_encoder(self.index.encoder, vectors))

    def rank(
        self, matrix: Vectors | None, queries: EncodedQueries, name: str, left_out: Mapping[str, int] | None = None
    ) -> RankedQueries:
        """Rank all documents for queries, with the vectors of both mapped by ``matrix``; see `rank_queries`."""
        vectors = queries.vectors if matrix is None else apply(matrix, queries.vectors)
        return rank_queries(name, self.retriever(matrix), queries.queries, self.ids, vectors, left_out=left_out)

    def measure(self, matrix: Vectors | None) -> float:
        """Return the score on dev: the mean of nDCG@10 of dense search and of hybrid search at its best weight.

        Where there is a group of unseen queries, its score counts as much as that of all queries.
        """
        ranked = self.rank(matrix, self.dev, "dev")
        groups = [ranked, ranked.only(self.unseen)] if self.unseen else [ranked]
        scores = [(group.mean(1) + max(group.mean(weight) for weight in self.weights)) / 2 for group in groups]
        return sum(scores) / len(scores)

    def attempt(self, name: str, make: Callable[[], Vectors], shares: Sequence[float] = BLEND_SHARES) -> None:
        """Try a map, and blends of it with the identity; keep the best of them if it improves the score on dev."""
        started, before = time.monotonic(), self.score
        learned = make()
        maps = {1.0: learned} | {share: blend(learned, share) for share in shares}
        scores = {share: self.measure(matrix) for share, matrix in maps.items()}
        share = max(scores, key=lambda share: scores[share])
        after = scores[share]
        if kept := after > before:
            self.matrix, self.score = maps[share], after
        merged = f", merged with the base at {share}" if share < 1 else ""
        seconds = time.monotonic() - started
        self.rungs.append(Rung(name=name + merged, kept=kept, seconds=seconds, dev_before=before, dev_after=after))
        self.points.append(DevPoint(at=name, value=after))
        say(
            f"{name}{merged}: dev {before:.4f} → {after:.4f} in {format_duration(seconds)}, {'kept' if kept else 'dropped'}"
        )

    def whiten(self) -> Vectors:
        """Return the soft whitening of the corpus."""
        return whitening(self.passages, WHITENING_EXPONENT)

    def distill(
        self, texts: Sequence[str], vectors: Vectors, start: Vectors, teacher: Teacher | None = None
    ) -> Vectors:
        """Return a map that is distilled from the fused ranking, with vectors that ``start`` maps.

        With a ``teacher``, its scores are mixed into the targets.
        """
        targets = from_fused_ranking(
            self.retriever(start), texts, apply(start, vectors), apply(start, self.passages), teacher
        )
        examples = replace(targets, queries=vectors, passages=self.passages)
        return learn(examples, start, replace(DISTILLATION, seed=self.seed), self._log)

    def supervise(self, labelled: EncodedQueries, rows: dict[str, int], start: Vectors) -> Vectors:
        """Return a map that is trained on labels; ``rows`` are the rows of the documents by id."""
        examples = from_labels(
            Retriever(self.index), labelled.queries, rows, labelled.vectors, passages=self.passages, seed=self.seed
        )
        return learn(examples, start, replace(SUPERVISION, seed=self.seed), self._log)

    def _log(self, step: int, loss: float) -> bool:
        if step % 10 == 0:
            self.losses.append(LossPoint(step=step, seconds=round(time.monotonic() - self._started, 2), loss=loss))
        return True

    @property
    def best(self) -> Vectors:
        """The best map so far, the identity where none was kept."""
        return np.eye(self.passages.shape[1], dtype=np.float32) if self.matrix is None else self.matrix
