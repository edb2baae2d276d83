"""Hard negatives: texts that the index finds for a query and that do not answer it, with a teacher's scores.

The teacher is the fused ranking, which beats the dense leg that it teaches, or a cross-encoder. A candidate that scores
nearly as much as the positive is likely to be an answer that nobody has labelled, and is left out. The margin is the
relative one of NV-Retriever (Moreira et al., 2024). Cosines have a natural zero and standardised scores or logits have
none, so the margin is a share of the way from the query's average candidate up to the positive.
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
from trainer.files import whole
from trainer.mining.candidates import CandidateFinder, CrossEncoderTeacher, SearchedPair
from trainer.mining.roundtrip import open_retriever, side_by_side
from trainer.mining.settings import NegativesSettings

BLOCK = 256
"""Queries that are mined together: what a cross-encoder scores in one go, and what memory holds."""


@dataclass
class Summary:
    """What became of the queries, and whether the teacher knows more than the student."""

    queries: int = 0
    kept: int = 0
    lost: int = 0
    """Queries whose document the index does not find: the teacher cannot be right about them."""
    scarce: int = 0
    """Queries with too few texts that may be negatives."""
    teacher_first: int = 0
    dense_first: int = 0

    def lines(self) -> list[str]:
        """Return what an operator has to know, a warning where the teacher is no better than the dense leg."""
        found = max(self.queries - self.lost, 1)
        teacher, dense = self.teacher_first / found, self.dense_first / found
        kept = f"{self.kept:,} of {self.queries:,} queries kept"
        lines = [
            f"{kept}; {self.lost:,} do not find their document, {self.scarce:,} have too few negatives",
            f"own document first: teacher {teacher:.1%}, dense leg {dense:.1%}",
        ]
        if teacher <= dense:
            lines.append("the teacher is no better than the dense leg on these queries: it has little to teach")
        return lines


class Miner:
    """Finds negatives in one index.

    Args:
        retriever: searches the index of the model that is to be trained.
        settings: window, margin, number and choice of the negatives.
        pairs: all pairs, so that no document that answers a query becomes its negative.
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
        """Yield the training examples in the order of the pairs, with the progress of it on stderr."""
        with Bar("negatives", self._pairs.num_rows, "queries") as bar:
            for batch in self._pairs.to_batches(BLOCK):
                asked = list(side_by_side(self._finder.ask, batch.to_pylist(), self._retriever))
                found = [each for each in asked if each]
                self.summary.queries += len(asked)
                self.summary.lost += len(asked) - len(found)
                if self._teacher and found:
                    self._rescore(found, self._teacher)
                examples = [example for each in found if (example := self._example(each))]
                self.summary.kept += len(examples)
                if examples:
                    yield pa.RecordBatch.from_pylist(examples, schema=self.schema)
                bar.advance(batch.num_rows)

    def _rescore(self, found: list[SearchedPair], teacher: CrossEncoderTeacher) -> None:
        """Replace the fused scores by the cross-encoder's."""
        pairs = [(each.pair["query"], text) for each in found for text in each.texts]
        ends = np.cumsum([len(each.texts) for each in found])
        for each, scores in zip(found, np.split(teacher.scores(pairs), ends[:-1]), strict=True):
            each.scores, each.floor = scores, float(scores.mean())

    def _example(self, asked: SearchedPair) -> dict[str, object] | None:
        """Choose the negatives of a query; None where there are too few."""
        settings, positive = self._settings, asked.scores[0]
        self.summary.teacher_first += bool((asked.scores[1:] < positive).all())
        self.summary.dense_first += bool((asked.dense[1:] < asked.dense[0]).all())
        limit = positive - settings.margin * max(positive - asked.floor, 0.0)
        fit = np.flatnonzero((asked.scores < limit) & (asked.ranks >= settings.from_rank))
        if len(fit) < settings.negatives:
            self.summary.scarce += 1
            return None
        if settings.sampling == "random":
            fit = self._rng.choice(fit, settings.negatives, replace=False)
        chosen = [0, *fit[np.argsort(-asked.scores[fit], kind="stable")][: settings.negatives].tolist()]
        texts = [asked.texts[at] if asked.texts else self._finder.text(asked, at) for at in chosen]
        ids = [self._retriever.index.document(int(asked.rows[at])).id for at in chosen]
        return {
            "query": asked.pair["query"],
            "positive": texts[0],
            **{f"negative_{number}": text for number, text in enumerate(texts[1:], start=1)},
            "scores": asked.scores[chosen].tolist(),
            "query_id": asked.pair["query_id"],
            "positive_id": ids[0],
            "negative_ids": ids[1:],
        }


def mine_file(path: Path, settings: NegativesSettings, out: Path, data: Path | None = None) -> Summary:
    """Mine negatives for the pairs of a file; see `mine`. With a split, only documents of train take part."""
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
    with whole(out) as part:
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
