"""Scores of a cross-encoder for the first results of many queries, with progress and a journal.

A small cross-encoder reads some hundred pairs a second, so this takes minutes. The journal is a file of one row per query:
a run that was killed continues after its last complete row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexer.inference.passages import encoder_input
from indexer.inference.reranker import Reranker
from indexer.progress import Bar, say
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.retriever import Retriever

Scores = npt.NDArray[np.float32]


def first_texts(retriever: Retriever, ranking: Ranking, depth: int) -> list[str]:
    """Return the texts of the first results as a cross-encoder reads them: title and best passage."""
    hits = retriever.hits(ranking, range(min(depth, len(ranking.rows))), explain=False)
    return [encoder_input(hit.document.title, hit.passage) for hit in hits]


def score_first(
    name: str, reranker: Reranker, retriever: Retriever, rankings: Sequence[Ranking], *, depth: int, journal: Path
) -> Scores:
    """Return the score of each of the first ``depth`` results of each ranking; NaN where a ranking has fewer.

    Args:
        name: of the progress bar.
        reranker: the cross-encoder.
        retriever: that has ranked.
        rankings: one for each query, which they hold.
        depth: number of results that are scored.
        journal: file to continue; it belongs to these queries, this depth and this cross-encoder alone.

    Returns:
        Shape (queries, depth).
    """
    row_bytes = depth * np.dtype(np.float32).itemsize
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a+b") as file:
        done = min(file.seek(0, 2) // row_bytes, len(rankings))
        file.truncate(done * row_bytes)  # a killed run may have left a part of a row
        if done:
            say(f"{name}: {done:,} queries are taken up from {journal}")
        with Bar(name, sum(min(depth, len(each.rows)) for each in rankings[done:]), "pairs") as bar:
            for ranking in rankings[done:]:
                texts = first_texts(retriever, ranking, depth)
                row = np.full(depth, np.nan, dtype=np.float32)
                if texts:
                    row[: len(texts)] = reranker.score(ranking.query, texts).scores
                file.write(row.tobytes())
                file.flush()
                bar.advance(len(texts))
        file.seek(0)
        return np.frombuffer(file.read(), dtype=np.float32).reshape(len(rankings), depth)
