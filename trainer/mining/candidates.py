"""Candidates for hard negatives: documents that an index finds for a query beside its answer. Cross-encoder teacher.

A cross-encoder reads query and text together, and scores them better than vectors do.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
import transformers
from sentence_transformers import CrossEncoder

from indexer.errors import UserError, first_line
from indexer.index.index import Index
from indexer.inference.passages import encoder_input
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.retriever import Retriever
from trainer.mining.roundtrip import document_rows
from trainer.mining.settings import NegativesSettings

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass
class SearchedPair:
    """A query with its results: the positive first, then the best candidates that are no copies of it."""

    pair: dict[str, str]
    rows: Rows
    ranks: Rows
    """Rank of each row in the fused ranking, from 1."""
    dense: Numbers
    scores: Numbers
    """Score of each row by the teacher."""
    mean_score: float
    """Mean of the teacher's scores over all candidates."""
    ranking: Ranking
    texts: list[str]
    """Text of each row, where the teacher reads it; otherwise empty."""


class CandidateFinder:
    """Searches an index for candidates; thread-safe.

    Args:
        retriever: searches the index of the model that is to be trained.
        settings: last rank, and the cosine of copies.
        pairs: all pairs; a document that answers a query is never its negative.
        allowed: whether a row of the index may be a negative, shape (documents,); all may where it is None.
        with_texts: read the texts of all candidates.
    """

    def __init__(
        self,
        retriever: Retriever,
        settings: NegativesSettings,
        pairs: pa.Table,
        allowed: npt.NDArray[np.bool_] | None,
        *,
        with_texts: bool,
    ) -> None:
        self._retriever = retriever
        self._settings = settings
        self._allowed = np.ones(len(retriever.index), dtype=np.bool_) if allowed is None else allowed
        self._with_texts = with_texts
        self._rows = document_rows(pairs, retriever)
        self._answers: dict[str, set[int]] = {}
        for query, document in zip(pairs["query"].to_pylist(), pairs["document"].to_pylist(), strict=True):
            self._answers.setdefault(query.casefold(), set()).add(self._rows[document])

    def search(self, pair: dict[str, str]) -> SearchedPair | None:
        """Search for the query of a pair; None where its document is not among the candidates."""
        positive = self._rows[pair["document"]]
        ranking = self._retriever.search(pair["query"])
        position = np.flatnonzero(ranking.rows == positive)
        if not len(position) or ranking.dense is None:
            return None
        others = np.arange(min(self._settings.to_rank, len(ranking.rows)))
        others = others[self._allowed[ranking.rows[others]]]
        others = others[~np.isin(ranking.rows[others], list(self._answers[pair["query"].casefold()]))]
        others = others[~self._copies(positive, ranking.rows[others])]
        positions = np.concatenate([position, others])
        searched = SearchedPair(
            pair=pair,
            rows=ranking.rows[positions],
            ranks=positions + 1,
            dense=ranking.dense[positions],
            scores=ranking.scores[positions],
            mean_score=float(ranking.scores.mean()),
            ranking=ranking,
            texts=[],
        )
        if self._with_texts:
            searched.texts = [self.text(searched, column) for column in range(len(positions))]
        return searched

    def _copies(self, positive: int, rows: Rows) -> npt.NDArray[np.bool_]:
        """Return for each document whether its passages are, on average, near-duplicates of passages of the positive."""
        index = Index.of(self._retriever.index)
        if not len(rows):
            return np.empty(0, dtype=np.bool_)
        positive_vectors = index.dense.vectors(
            np.arange(index.first_passage[positive], index.first_passage[positive + 1])
        )
        lengths = index.first_passage[rows + 1] - index.first_passage[rows]
        bounds = np.cumsum(lengths) - lengths
        passages = np.repeat(index.first_passage[rows] - bounds, lengths) + np.arange(lengths.sum())
        nearest = (index.dense.vectors(passages) @ positive_vectors.T).max(axis=1)
        means = np.add.reduceat(nearest, bounds) / lengths
        return np.asarray(means >= self._settings.copy_cosine)

    def text(self, searched: SearchedPair, column: int) -> str:
        """Return the encoder's input for a candidate: its title and its best passage for the query.

        Where the query is a title, titles are left out: the model would learn that a title answers itself.
        """
        hit = self._retriever.page(searched.ranking, int(searched.ranks[column]) - 1, 1)[0]
        return encoder_input(None if searched.pair["kind"] == "title" else hit.document.title, hit.passage)


class CrossEncoderTeacher:
    """Cross-encoder that scores pairs of query and text by its logit; a sigmoid would flatten the differences.

    Raises:
        UserError: the directory holds no cross-encoder, or one with several outputs.
    """

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise UserError(f"--teacher {directory}: no directory; give one with a cross-encoder")
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
        try:
            self._model = CrossEncoder(
                str(directory), local_files_only=True, trust_remote_code=False, activation_fn=torch.nn.Identity()
            )
        except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
            reason = first_line(error)
            raise UserError(f"--teacher {directory}: not loadable as a cross-encoder ({reason})") from error
        if self._model.num_labels != 1:
            raise UserError(
                f"--teacher {directory}: has {self._model.num_labels} outputs; give a cross-encoder with one score"
            )

    def scores(self, pairs: Sequence[tuple[str, str]]) -> npt.NDArray[np.float64]:
        """Return the logit of each (query, text), shape (pairs,)."""
        logits = self._model.predict(list(pairs), show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(logits, dtype=np.float64).reshape(-1)
