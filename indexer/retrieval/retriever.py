"""Retriever: the one piece of code that answers a query, in the service as in every evaluation.

A query goes through both legs side by side; their candidates are scored by *both* legs, fused, and ordered by score and
then by id, so that the same query always gives the same pages.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from indexer.index.document_mask import DocumentMask, Rows, passages_of
from indexer.index.index import Document, Index
from indexer.inference.encoder import Vectors
from indexer.retrieval.fusion import Fusion, fuse
from indexer.retrieval.ranking import Hit, Ranking

Mode = Literal["hybrid", "dense", "lexical"]
Neighbours = tuple[Rows, Vectors, Rows]
"""Rows and cosines of the documents nearest to a query, best first, and the best passage of each."""
MIN_PARALLEL_DOCUMENTS = 20_000
"""From so many documents on the lexical leg runs in a thread; with fewer, handing it over takes longer than searching."""


class Retriever:
    """Answers queries from one index. Safe to use from several threads; holds no state of a query.

    Args:
        index: what is searched.
        threads: run the lexical leg beside the dense one; by default the retriever's own, as many as the encoder's cores.
    """

    def __init__(self, index: Index, threads: Executor | None = None) -> None:
        self.index = index
        self._threads = threads or ThreadPoolExecutor(index.encoder.cores, thread_name_prefix="lexical")

    def with_index(self, index: Index) -> Self:
        """Return a retriever over another index that shares this one's threads."""
        return type(self)(index, self._threads)

    @cached_property
    def fusion(self) -> Fusion:
        """The index's own way of combining the legs."""
        return Fusion.model_validate(self.index.manifest.config["fusion"])

    def search(
        self,
        query: str,
        mode: Mode = "hybrid",
        fusion: Fusion | None = None,
        candidates: int | None = None,
        *,
        vector: Vectors | None = None,
        neighbours: Neighbours | None = None,
        allowed: DocumentMask | None = None,
    ) -> Ranking:
        """Rank the documents for ``query``.

        Args:
            query: what the user typed.
            mode: both legs, or one alone.
            fusion: how the legs are combined; by default as the index says.
            candidates: how many documents of each leg take part; by default as the index says.
            vector: the query's, shape (dimension,), where it is known; else it is encoded here.
            neighbours: what `nearest` found for it at the same depth, where many queries were searched at once.
            allowed: the documents that may be returned; by default those that the index shows, mostly all.

        Returns:
            The candidates of one leg, or the fused candidates of both (up to twice as many).
        """
        ranking = Ranking(query=query)
        allowed = self.index.visible if allowed is None else allowed
        depth = self._depth(candidates, allowed)
        if not depth:
            return ranking
        if mode == "lexical":
            matches, ranking.timings["lexical"] = self._lexical_leg(query, depth, allowed)
            scores = matches.scores[:depth]
            return self._ordered(ranking, matches.rows[:depth], scores, lexical=scores)
        if mode == "dense":
            rows, cosines, passages = self._dense_leg(ranking, vector, neighbours, depth, allowed)
            return self._ordered(ranking, rows, cosines, dense=cosines, passages=passages)
        if len(self.index) >= MIN_PARALLEL_DOCUMENTS:
            pending = self._threads.submit(self._lexical_leg, query, depth, allowed)
            nearest = self._dense_leg(ranking, vector, neighbours, depth, allowed)
            matches, ranking.timings["lexical"] = pending.result()
        else:
            nearest = self._dense_leg(ranking, vector, neighbours, depth, allowed)
            matches, ranking.timings["lexical"] = self._lexical_leg(query, depth, allowed)
        rows, cosines, passages, bm25 = self._complete_scores(ranking, nearest, matches, depth)
        with ranking.timed("fuse"):
            fused = fuse(fusion or self.fusion, cosines.astype(np.float64), bm25)
            ranking.dense_part, ranking.lexical_part = fused.dense_part, fused.lexical_part
            return self._ordered(ranking, rows, fused.scores, dense=cosines, lexical=bm25, passages=passages)

    def nearest(self, vectors: Vectors, candidates: int | None = None) -> list[Neighbours]:
        """Return the nearest documents of many queries at once, for `search`; ``vectors`` has shape (queries, dimension)."""
        depth = min(candidates or self.index.candidates, len(self.index))
        cosines, passages = self.index.dense.search_many(vectors, self._passages_for(depth))
        total = len(self.index.dense)
        answers = (self._documents(passages[row], cosines[row], depth, total) for row in range(len(vectors)))
        return [found or self._nearest_documents(vectors[row], depth) for row, found in enumerate(answers)]

    def similar(self, row: int, count: int, allowed: DocumentMask | None = None) -> Ranking:
        """Rank the documents nearest to the document in ``row`` by cosine of their passages, the document left out.

        Only ``allowed`` documents are ranked, by default all that the index shows. Each passage of the document is
        searched with; a document counts with its closest pair of passages.
        """
        ranking = Ranking()
        allowed = self.index.visible if allowed is None else allowed
        depth = self._depth(count + 1, allowed)
        with ranking.timed("dense"):
            own = np.arange(self.index.first_passage[row], self.index.first_passage[row + 1])
            best: dict[int, float] = {}
            for vector in self.index.dense.vectors(own):
                rows, cosines, _ = self._nearest_documents(vector, depth, allowed)
                for other, cosine in zip(rows.tolist(), cosines.tolist(), strict=True):
                    if other != row:
                        best[other] = max(cosine, best.get(other, -2.0))
            ranking.vector = self.index.dense.vectors(own[:1])[0]
        scores = np.array(list(best.values()))
        ordered = self._ordered(ranking, np.array(list(best), dtype=np.int64), scores, dense=scores)
        return ordered.take(np.arange(min(count, len(ordered.rows))))

    def page(self, ranking: Ranking, offset: int, count: int) -> list[Hit]:
        """Fetch the documents and best passages of ``count`` hits from ``offset`` on."""
        return self.hits(ranking, range(offset, min(offset + count, len(ranking.rows))), offset + 1)

    def hits(
        self, ranking: Ranking, positions: Iterable[int], first_rank: int = 1, *, explain: bool = True
    ) -> list[Hit]:
        """Fetch the documents and best passages of the hits at ``positions`` of a ranking, in that order.

        Their ranks count from ``first_rank``. Without ``explain`` nothing is said of the legs.
        """
        with ranking.timed("fetch"):
            chosen = np.fromiter(positions, dtype=np.int64)
            documents = [self.index.document(row) for row in ranking.rows[chosen].tolist()]
            passages = self._passages_to_show(ranking, chosen, documents)
            dense, lexical = ranking.legs(chosen) if explain else (None, None)
            return [
                Hit(
                    rank=first_rank + at,
                    score=score,
                    document=document,
                    passage=document.text[slice(*self.index.passage_offsets(passages[at]))].strip(),
                    dense=dense[at] if dense else None,
                    lexical=lexical[at] if lexical else None,
                )
                for at, (document, score) in enumerate(zip(documents, ranking.scores[chosen].tolist(), strict=True))
            ]

    def _depth(self, candidates: int | None, allowed: DocumentMask | None) -> int:
        """Return how many documents of a leg can take part."""
        return min(candidates or self.index.candidates, len(self.index) if allowed is None else allowed.count)

    def _dense_leg(
        self,
        ranking: Ranking,
        vector: Vectors | None,
        neighbours: Neighbours | None,
        depth: int,
        allowed: DocumentMask | None,
    ) -> Neighbours:
        """Encode the query where its vector is not known, and return the ``depth`` documents nearest to it."""
        with ranking.timed("encode"):
            ranking.vector = self.index.encoder.encode_query(ranking.query) if vector is None else vector
        with ranking.timed("dense"):
            return neighbours or self._nearest_documents(ranking.vector, depth, allowed)

    def _lexical_leg(self, query: str, depth: int, allowed: DocumentMask | None) -> tuple[Matches, float]:
        """Return the documents that hold a term of the query, all or at least the ``depth`` best, and milliseconds."""
        started = time.perf_counter()
        if (every := self.index.lexical.every(query)) is None:
            matches = Matches(*self.index.lexical.search(query, depth, allowed), complete=False)
        elif allowed is None:
            matches = Matches(*every, complete=True)
        else:
            kept = allowed.mask[every[1]]
            matches = Matches(every[0][kept], every[1][kept], complete=True)
        return matches, (time.perf_counter() - started) * 1e3

    def _complete_scores(
        self, ranking: Ranking, neighbours: Neighbours, matches: Matches, depth: int
    ) -> tuple[Rows, Vectors, Rows, npt.NDArray[np.float64]]:
        """Let each leg score the candidates of the other.

        Returns:
            Rows of all candidates, their cosines, their best passages, and their BM25 scores.
        """
        rows, cosines, passages = neighbours
        with ranking.timed("lexical"):
            positions, found = matches.find(rows)
            bm25 = np.zeros(len(rows))
            bm25[found] = matches.scores[positions[found]]
            if not matches.complete and not found.all():
                bm25[~found] = self.index.lexical.scores(ranking.query, rows[~found])
        with ranking.timed("dense"):
            only_lexical = np.ones(len(matches.rows), dtype=bool)
            only_lexical[positions[found]] = False
            more = np.flatnonzero(only_lexical[:depth])
            more_cosines, more_passages = self._best_passages(ranking.vector, matches.rows[more])
            cosines, passages = np.concatenate([cosines, more_cosines]), np.concatenate([passages, more_passages])
        with ranking.timed("fuse"):
            return (
                np.concatenate([rows, matches.rows[more]]),
                cosines,
                passages,
                np.concatenate([bm25, matches.scores[more]]),
            )

    def _nearest_documents(self, vector: Vectors, depth: int, allowed: DocumentMask | None = None) -> Neighbours:
        """Return the ``depth`` nearest documents: as many passages are read as that takes."""
        total = len(self.index.dense) if allowed is None else allowed.passage_count
        count = self._passages_for(depth, allowed)
        while True:
            cosines, passages = self.index.dense.search(vector, count, allowed)
            if found := self._documents(passages, cosines, depth, total):
                return found
            count *= 2

    def _passages_for(self, depth: int, allowed: DocumentMask | None = None) -> int:
        """Return how many passages mostly belong to ``depth`` documents: the average, and some to spare."""
        if allowed is not None:
            return 1 + depth * allowed.passage_count * 5 // (max(allowed.count, 1) * 4)
        return 1 + depth * len(self.index.dense) * 5 // (len(self.index) * 4)

    def _documents(self, passages: Rows, cosines: Vectors, depth: int, total: int) -> Neighbours | None:
        """Return the documents of passages, best first; None where they are too few and more passages are there."""
        documents, first = np.unique(self.index.document_of[passages], return_index=True)
        if len(documents) < depth and len(passages) < total:
            return None
        order = np.sort(first)[:depth]  # positions in `passages`, which is best first
        return self.index.document_of[passages[order]], cosines[order], passages[order]

    def _best_passages(self, vector: Vectors | None, rows: Rows) -> tuple[Vectors, Rows]:
        """Return cosine and row of the best passage of each document of ``rows``, both of shape (len(rows),)."""
        if vector is None or not len(rows):
            return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
        passages = passages_of(rows, self.index.first_passage)
        cosines = self.index.dense.scores(vector, passages)
        if len(passages) == len(rows):
            return cosines, passages
        document = np.repeat(np.arange(len(rows)), self.index.first_passage[rows + 1] - self.index.first_passage[rows])
        best = np.lexsort((-cosines, document))  # by document, the best passage of each first
        first = best[np.searchsorted(document, np.arange(len(rows)))]
        return cosines[first], passages[first]

    def _ordered(
        self,
        ranking: Ranking,
        rows: Rows,
        scores: npt.NDArray[np.floating],
        *,
        dense: npt.NDArray[np.floating] | None = None,
        lexical: npt.NDArray[np.floating] | None = None,
        passages: Rows | None = None,
    ) -> Ranking:
        """Put candidates into a ranking, ordered by score and then by id."""
        order = np.argsort(-scores)
        best_first = scores[order]
        if (best_first[1:] == best_first[:-1]).any():  # only then do ids decide, which takes longer
            order = np.lexsort((self.index.id_rank[rows], -scores))
        ranking.rows = rows
        ranking.scores = scores.astype(np.float64)
        ranking.dense = None if dense is None else dense.astype(np.float64)
        ranking.lexical = None if lexical is None else lexical.astype(np.float64)
        ranking.passages = passages
        return ranking.take(order)

    def _passages_to_show(self, ranking: Ranking, positions: Rows, documents: list[Document]) -> list[int]:
        """Return of each hit the passage nearest to the query's vector or, without one, that with most of its terms."""
        rows = ranking.rows[positions]
        if ranking.passages is not None:
            return ranking.passages[positions].tolist()  # type: ignore[no-any-return]
        if ranking.vector is not None:
            return self._best_passages(ranking.vector, rows)[1].tolist()  # type: ignore[no-any-return]
        first, end = self.index.first_passage[rows].tolist(), self.index.first_passage[rows + 1].tolist()
        return [
            start if stop - start == 1 else start + self._fullest(ranking.query, document, start, stop - start)
            for start, stop, document in zip(first, end, documents, strict=True)
        ]

    def _fullest(self, query: str, document: Document, first: int, count: int) -> int:
        """Return which of a document's passages has most terms of the query, counted from its first."""
        wanted = set(self.index.lexical.terms(query))
        slices = [slice(*self.index.passage_offsets(first + passage)) for passage in range(count)]
        shared = [len(wanted.intersection(self.index.lexical.terms(document.text[each]))) for each in slices]
        return int(np.argmax(shared))


@dataclass(frozen=True)
class Matches:
    """What the lexical leg found: BM25 scores and rows, best first; ``complete`` where no other document matches."""

    scores: npt.NDArray[np.float32]
    rows: Rows
    complete: bool

    def find(self, rows: Rows) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Return the position of each of ``rows`` in `rows`, and whether it is there; else the position says nothing."""
        if not len(self.rows):
            return np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=bool)
        order = np.argsort(self.rows)
        positions = order[np.minimum(np.searchsorted(self.rows, rows, sorter=order), len(order) - 1)]
        return positions, self.rows[positions] == rows
