"""What an index finds for a query beside the document that answers it: the texts that may become hard negatives."""

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
from indexer.inference.passages import encoder_input
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.retriever import Retriever
from trainer.mining.roundtrip import document_rows
from trainer.mining.settings import NegativesSettings

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass
class SearchedPair:
    """A query and what the index finds for it: the positive first, then the best candidates that are no copies of it."""

    pair: dict[str, str]
    rows: Rows
    ranks: Rows
    """Place of each row in the fused ranking, from 1."""
    dense: Numbers
    scores: Numbers
    """What the teacher says of each row."""
    floor: float
    """The teacher's score of the average candidate."""
    ranking: Ranking
    texts: list[str]
    """Text of each row, where the teacher has to read it."""


class CandidateFinder:
    """Searches an index for candidates. Safe to use from several threads.

    Args:
        retriever: searches the index of the model that is to be trained.
        settings: last rank, and what counts as a copy.
        pairs: all pairs, so that no document that answers a query becomes its negative.
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

    def ask(self, pair: dict[str, str]) -> SearchedPair | None:
        """Search for the query of a pair; None where its document is not among the candidates."""
        positive = self._rows[pair["document"]]
        ranking = self._retriever.search(pair["query"])
        place = np.flatnonzero(ranking.rows == positive)
        if not len(place) or ranking.dense is None:
            return None
        others = np.arange(min(self._settings.to_rank, len(ranking.rows)))
        others = others[self._allowed[ranking.rows[others]]]
        others = others[~np.isin(ranking.rows[others], list(self._answers[pair["query"].casefold()]))]
        others = others[~self._copies(positive, ranking.rows[others])]
        places = np.concatenate([place, others])
        asked = SearchedPair(
            pair=pair,
            rows=ranking.rows[places],
            ranks=places + 1,
            dense=ranking.dense[places],
            scores=ranking.scores[places],
            floor=float(ranking.scores.mean()),
            ranking=ranking,
            texts=[],
        )
        if self._with_texts:
            asked.texts = [self.text(asked, at) for at in range(len(places))]
        return asked

    def _copies(self, positive: int, rows: Rows) -> npt.NDArray[np.bool_]:
        """Say of each document whether its passages are, on average, near-duplicates of passages of the positive."""
        index = self._retriever.index
        if not len(rows):
            return np.empty(0, dtype=np.bool_)
        own = index.dense.vectors(np.arange(index.first_passage[positive], index.first_passage[positive + 1]))
        lengths = index.first_passage[rows + 1] - index.first_passage[rows]
        bounds = np.cumsum(lengths) - lengths
        passages = np.repeat(index.first_passage[rows] - bounds, lengths) + np.arange(lengths.sum())
        nearest = (index.dense.vectors(passages) @ own.T).max(axis=1)
        means = np.add.reduceat(nearest, bounds) / lengths
        return np.asarray(means >= self._settings.copy_cosine)

    def text(self, asked: SearchedPair, at: int) -> str:
        """Return what the encoder is given for a candidate: its best passage for the query, after its title.

        Texts for a query that *is* a title go without: otherwise the title would be learned to be its own answer.
        """
        hit = self._retriever.page(asked.ranking, int(asked.ranks[at]) - 1, 1)[0]
        return encoder_input(None if asked.pair["kind"] == "title" else hit.document.title, hit.passage)


class CrossEncoderTeacher:
    """Scores pairs of query and text by the raw logit: the sigmoid that rankers end with flattens what is to be learned.

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
        found = self._model.predict(list(pairs), show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(found, dtype=np.float64).reshape(-1)
