"""Hard negatives: texts that the index finds for a query and that do not answer it, with a teacher's scores.

The teacher is the fused ranking, which is better than the dense leg alone, or a cross-encoder. A candidate that scores
nearly as much as the positive is likely to be an unlabelled answer, and is left out. The margin is the relative one of
NV-Retriever (Moreira et al., 2024). Cosines have a natural zero; standardised scores and logits have none. So the margin is
a share of the distance from the query's average candidate to the positive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.errors import UserError
from indexer.progress import Bar, say
from indexer.retrieval.retriever import Retriever
from trainer.data.pairs import read_pairs
from trainer.data.split import Split
from trainer.files import atomic_write
from trainer.mining.candidates import CandidateFinder, CrossEncoderTeacher, SearchedPair
from trainer.mining.roundtrip import map_concurrently, open_retriever
from trainer.mining.settings import NegativesSettings

BLOCK = 256
"""Queries that are mined together: bounds memory, and the number of pairs that a cross-encoder scores at a time."""


@dataclass
class Summary:
    """Counts of the queries by outcome, and how often teacher and dense leg rank the positive first."""

    queries: int = 0
    kept: int = 0
    lost: int = 0
    """Queries whose document is not among the candidates: the teacher cannot rank it first."""
    scarce: int = 0
    """Queries with too few negatives."""
    teacher_first: int = 0
    dense_first: int = 0

    def lines(self) -> list[str]:
        """Return the summary as lines, with a warning where the teacher is no better than the dense leg."""
        searched = max(self.queries - self.lost, 1)
        teacher, dense = self.teacher_first / searched, self.dense_first / searched
        kept = f"{self.kept:,} of {self.queries:,} queries kept"
        lines = [
            f"{kept}; {self.lost:,} do not find their document, {self.scarce:,} have too few negatives",
            f"own document first: teacher {teacher:.1%}, dense leg {dense:.1%}",
        ]
        if teacher <= dense:
            lines.append(
                "the teacher is no better than the dense leg on these queries: distillation from it will gain little"
            )
        return lines


class Miner:
    """Mines hard negatives in one index.

    Args:
        retriever: searches the index of the model that is to be trained.
        settings: window, margin, number and choice of the negatives.
        pairs: all pairs; a document that answers a query is never its negative.
        allowed: whether a row of the index may be a negative, shape (documents,); all may where it is None.
    """

    def __init__(
        self,
        retriever: Retriever,
        settings: NegativesSettings,
        pairs: pa.Table,
        allowed: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self.summary = Summary()
        self.schema = _schema(settings.negatives)
        self._retriever = retriever
        self._settings = settings
        self._pairs = pairs
        self._teacher = CrossEncoderTeacher(settings.teacher) if settings.teacher else None
        self._finder = CandidateFinder(retriever, settings, pairs, allowed, with_texts=self._teacher is not None)
        self._rng = np.random.default_rng(settings.seed)

    def mine(self) -> Iterator[pa.RecordBatch]:
        """Yield the training examples in the order of the pairs, with progress on stderr."""
        with Bar("negatives", self._pairs.num_rows, "queries") as bar:
            for batch in self._pairs.to_batches(BLOCK):
                results = list(map_concurrently(self._finder.search, batch.to_pylist(), self._retriever))
                searched = [result for result in results if result]
                self.summary.queries += len(results)
                self.summary.lost += len(results) - len(searched)
                if self._teacher and searched:
                    self._rescore(searched, self._teacher)
                examples = [example for result in searched if (example := self._example(result))]
                self.summary.kept += len(examples)
                if examples:
                    yield pa.RecordBatch.from_pylist(examples, schema=self.schema)
                bar.advance(batch.num_rows)

    def _rescore(self, searched: list[SearchedPair], teacher: CrossEncoderTeacher) -> None:
        """Replace the fused scores by the cross-encoder's, in place."""
        pairs = [(result.pair["query"], text) for result in searched for text in result.texts]
        ends = np.cumsum([len(result.texts) for result in searched])
        for result, scores in zip(searched, np.split(teacher.scores(pairs), ends[:-1]), strict=True):
            result.scores, result.mean_score = scores, float(scores.mean())

    def _example(self, searched: SearchedPair) -> dict[str, object] | None:
        """Choose the negatives of a query and return a training example; None where there are too few."""
        settings, positive = self._settings, searched.scores[0]
        self.summary.teacher_first += bool((searched.scores[1:] < positive).all())
        self.summary.dense_first += bool((searched.dense[1:] < searched.dense[0]).all())
        limit = positive - settings.margin * max(positive - searched.mean_score, 0.0)
        negatives = np.flatnonzero((searched.scores < limit) & (searched.ranks >= settings.from_rank))
        if len(negatives) < settings.negatives:
            self.summary.scarce += 1
            return None
        if settings.sampling == "random":
            negatives = self._rng.choice(negatives, settings.negatives, replace=False)
        hardest = negatives[np.argsort(-searched.scores[negatives], kind="stable")][: settings.negatives].tolist()
        columns = [0, *hardest]  # the positive first
        texts = [
            searched.texts[column] if searched.texts else self._finder.text(searched, column) for column in columns
        ]
        ids = [self._retriever.index.document(int(searched.rows[column])).id for column in columns]
        return {
            "query": searched.pair["query"],
            "positive": texts[0],
            **{f"negative_{number}": text for number, text in enumerate(texts[1:], start=1)},
            "scores": searched.scores[columns].tolist(),
            "query_id": searched.pair["query_id"],
            "positive_id": ids[0],
            "negative_ids": ids[1:],
        }


def mine_file(path: Path, settings: NegativesSettings, out: Path, data: Path | None = None) -> Summary:
    """Mine negatives for the pairs of a file, see `mine`. With a split, only documents of train are used."""
    pairs = read_pairs(path, settings.split)
    retriever = open_retriever(settings.index, data)
    allowed = None
    if settings.split:
        rows = [retriever.index.row_of(document) for document in Split.read(settings.split).documents("train")]
        allowed = np.isin(np.arange(len(retriever.index)), [row for row in rows if row is not None])
    return mine(pairs, retriever, settings, out, allowed)


def mine(
    pairs: pa.Table,
    retriever: Retriever,
    settings: NegativesSettings,
    out: Path,
    allowed: npt.NDArray[np.bool_] | None = None,
) -> Summary:
    """Write a training example with hard negatives and the teacher's scores for each pair to the Parquet file ``out``.

    Raises:
        UserError: a document is not in the index, the teacher cannot be loaded, or no query has enough negatives.
    """
    miner = Miner(retriever, settings, pairs, allowed)
    with atomic_write(out) as part:
        with pq.ParquetWriter(part, miner.schema) as writer:
            for batch in miner.mine():
                writer.write_batch(batch)
        for line in miner.summary.lines():
            say(line)
        if not miner.summary.kept:
            raise UserError(
                f"no query has {settings.negatives} negatives between ranks {settings.from_rank} and {settings.to_rank}; "
                "ask for fewer --negatives, or widen the window with --to-rank"
            )
    return miner.summary


def _schema(negatives: int) -> pa.Schema:
    texts = ["query", "positive", *(f"negative_{number}" for number in range(1, negatives + 1))]
    return pa.schema(
        [(name, pa.string()) for name in texts]
        + [("scores", pa.list_(pa.float32())), ("query_id", pa.string()), ("positive_id", pa.string())]
        + [("negative_ids", pa.list_(pa.string()))]
    )
