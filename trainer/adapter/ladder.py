"""The ladder: ways of learning from the cheapest to the dearest, each kept only if the dev split agrees.

A map on frozen vectors learns in seconds (`trainer.adapter.linear_map`); training the encoder's own layers takes minutes and
every passage has to be encoded again (`trainer.pipeline.layers`). Each rung starts from the best so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from indexer.index.dense import DenseIndex
from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.progress import format_duration, say
from indexer.retrieval.retriever import Retriever
from trainer.adapter.distillation import all_passages, from_fused_ranking, from_labels
from trainer.adapter.linear_map import MapSettings, apply, blend, learn, whitening
from trainer.data.labels import QuerySet
from trainer.evaluate.rankings import RankedQueries, rank_queries
from trainer.evaluate.report import DevPoint, LossPoint, Rung

EXPONENT = 0.4
"""Of the soft whitening."""
UNLABELLED = MapSettings()
LABELLED = MapSettings(learning_rate=5e-4, epochs=10)
SHARES = (0.5, 0.75)
"""Maps between the identity and the learned one that are tried on dev."""


@dataclass(frozen=True)
class EncodedQueries:
    """QuerySet, and the unit vectors of the untrained encoder for them."""

    queries: QuerySet
    vectors: Vectors


@dataclass
class Ladder:
    """The best map so far over one encoder's vectors, and how it came about.

    Attributes:
        index: of the corpus, with the encoder whose vectors are mapped.
        ids: ids of its documents.
        dev: the questions that decide.
        weights: of the dense leg, at which hybrid search is measured on dev; the best of them counts.
        unseen: those of the dev questions that are about documents that were not learned from, where there are enough.
        matrix: the map; None is the identity.
        score: of the map on dev.
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
        self._began = time.monotonic()
        self.passages = all_passages(self.index)
        self.score = self.measure(None)
        self.points.append(DevPoint(at="base", value=self.score))

    def retriever(self, matrix: Vectors | None) -> Retriever:
        """Return a retriever whose passages went through ``matrix``; queries have to be given as vectors."""
        if matrix is None:
            return Retriever(self.index)
        vectors = DenseIndex.of(apply(matrix, self.passages))
        return Retriever(self.index.with_encoder(self.index.encoder, vectors))

    def answers(self, matrix: Vectors | None, asked: EncodedQueries, name: str) -> RankedQueries:
        """Ask questions through a map."""
        vectors = asked.vectors if matrix is None else apply(matrix, asked.vectors)
        return rank_queries(name, self.retriever(matrix), asked.queries, self.ids, vectors)

    def measure(self, matrix: Vectors | None) -> float:
        """Return the score on dev: the mean nDCG@10 of dense and of hybrid search at its best weight.

        Where some questions are about documents that were not learned from, these count as much as all together.
        """
        answers = self.answers(matrix, self.dev, "dev")
        groups = [answers, answers.only(self.unseen)] if self.unseen else [answers]
        scores = [(each.mean(1) + max(each.mean(weight) for weight in self.weights)) / 2 for each in groups]
        return sum(scores) / len(scores)

    def attempt(self, name: str, make: Callable[[], Vectors], shares: Sequence[float] = SHARES) -> None:
        """Try a map, and maps between it and the identity; keep the best if dev agrees."""
        started, before = time.monotonic(), self.score
        made = make()
        tried = {1.0: made} | {share: blend(made, share) for share in shares}
        scores = {share: self.measure(matrix) for share, matrix in tried.items()}
        share = max(scores, key=lambda share: scores[share])
        after = scores[share]
        if kept := after > before:
            self.matrix, self.score = tried[share], after
        merged = f", merged with the base at {share}" if share < 1 else ""
        seconds = time.monotonic() - started
        self.rungs.append(Rung(name=name + merged, kept=kept, seconds=seconds, dev_before=before, dev_after=after))
        self.points.append(DevPoint(at=name, value=after))
        say(
            f"{name}{merged}: dev {before:.4f} → {after:.4f} in {format_duration(seconds)}, {'kept' if kept else 'dropped'}"
        )

    def whiten(self) -> Vectors:
        """Return the soft whitening of the corpus."""
        return whitening(self.passages, EXPONENT)

    def distill(self, texts: Sequence[str], vectors: Vectors, start: Vectors) -> Vectors:
        """Learn from the fused ranking of the passages as ``start`` maps them."""
        teacher = from_fused_ranking(self.retriever(start), texts, apply(start, vectors), apply(start, self.passages))
        lesson = replace(teacher, queries=vectors, passages=self.passages)
        return learn(lesson, start, replace(UNLABELLED, seed=self.seed), self._log)

    def supervise(self, asked: EncodedQueries, rows: dict[str, int], start: Vectors) -> Vectors:
        """Learn from labels."""
        lesson = from_labels(
            Retriever(self.index), asked.queries, rows, asked.vectors, passages=self.passages, seed=self.seed
        )
        return learn(lesson, start, replace(LABELLED, seed=self.seed), self._log)

    def _log(self, step: int, loss: float) -> bool:
        if step % 10 == 0:
            self.losses.append(LossPoint(step=step, seconds=round(time.monotonic() - self._began, 2), loss=loss))
        return True

    @property
    def best(self) -> Vectors:
        """The best map so far, the identity where none was kept."""
        return np.eye(self.passages.shape[1], dtype=np.float32) if self.matrix is None else self.matrix
