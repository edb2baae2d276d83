"""Retrieval: the one piece of code that answers a query, in the service as in every evaluation.

A query goes through both legs side by side; their candidates are scored by *both* legs, fused, and ordered by score and
then by id, so that the same query always gives the same pages.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import numpy as np
import numpy.typing as npt

from indexer.index.dense import Rows
from indexer.index.document_mask import Allowed, passages_of
from indexer.index.index import Document, Index
from indexer.inference.encoder import Vectors
from indexer.retrieval.fusion import Fusion, fuse
from indexer.retrieval.ranking import Hit, Ranking, Words, legs_of

Mode = Literal["hybrid", "dense", "lexical"]
Near = tuple[Rows, Vectors, Rows]
"""Rows and cosines of the documents nearest to a query, best first, and the best passage of each."""
SIDE_BY_SIDE = 20_000
"""From so many documents on the lexical leg has a thread of its own; with fewer, handing it over takes longer than it."""
_lexical_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="lexical")


class Retriever:
    """Answers queries from one index. Safe to use from several threads; holds no state of a query."""

    def __init__(self, index: Index) -> None:
        self.index = index

    def search(
        self,
        query: str,
        mode: Mode = "hybrid",
        fusion: Fusion | None = None,
        candidates: int | None = None,
        *,
        vector: Vectors | None = None,
        near: Near | None = None,
        allowed: Allowed | None = None,
    ) -> Ranking:
        """Rank the documents for ``query``.

        Args:
            query: what the user typed.
            mode: both legs, or one alone.
            fusion: how the legs are combined; by default as the index says.
            candidates: how many documents of each leg take part; by default as the index says.
            vector: the query's, shape (dimension,), where it is known; else it is encoded here.
            near: what `nearest` found for it at the same depth, where many queries were asked at once.
            allowed: the documents that may be returned; by default those that the index lets be seen, mostly all.

        Returns:
            The candidates of one leg, or the fused candidates of both (up to twice as many).
        """
        ranking = Ranking(query=query)
        allowed = self.index.visible if allowed is None else allowed
        depth = self._depth(candidates, allowed)
        if not depth:
            return ranking
        words: Future[tuple[Words, float]] | None = None
        side_by_side = len(self.index) >= SIDE_BY_SIDE
        if mode != "dense" and side_by_side:
            words = _lexical_threads.submit(self._lexical, query, depth, allowed)
        if mode != "lexical":
            with ranking.timed("encode"):
                ranking.vector = self.index.encoder.encode_query(query) if vector is None else vector
            with ranking.timed("dense"):
                rows, cosines, passages = near or self._nearest_documents(ranking.vector, depth, allowed)
        if mode != "dense":
            leg, ranking.timings["lexical"] = words.result() if words else self._lexical(query, depth, allowed)
        if mode == "dense":
            return self._ordered(ranking, rows, cosines, dense=cosines, passages=passages)
        if mode == "lexical":
            return self._ordered(ranking, leg.rows[:depth], leg.scores[:depth], lexical=leg.scores[:depth])
        with ranking.timed("lexical"):
            places, found = leg.find(rows)
            bm25 = np.zeros(len(rows))
            bm25[found] = leg.scores[places[found]]
            if not leg.complete and not found.all():
                bm25[~found] = self.index.lexical.scores(query, rows[~found])
        with ranking.timed("dense"):
            only_words = np.ones(len(leg.rows), dtype=bool)
            only_words[places[found]] = False
            more = np.flatnonzero(only_words[:depth])
            more_cosines, more_passages = self._best_passages(ranking.vector, leg.rows[more])
            cosines, passages = np.concatenate([cosines, more_cosines]), np.concatenate([passages, more_passages])
        with ranking.timed("fuse"):
            rows, bm25 = np.concatenate([rows, leg.rows[more]]), np.concatenate([bm25, leg.scores[more]])
            ranking.fusion = fusion or self.index.fusion
            scores = fuse(ranking.fusion, cosines.astype(np.float64), bm25)
            return self._ordered(ranking, rows, scores, dense=cosines, lexical=bm25, passages=passages)

    def nearest(self, vectors: Vectors, candidates: int | None = None) -> list[Near]:
        """Return the nearest documents of many queries at once, for `search`; ``vectors`` has shape (queries, dimension)."""
        depth = min(candidates or self.index.candidates, len(self.index))
        cosines, found = self.index.dense.search_many(vectors, self._passages_for(depth))
        there_are = len(self.index.dense)
        answers = (self._documents(found[row], cosines[row], depth, there_are) for row in range(len(vectors)))
        return [near or self._nearest_documents(vectors[row], depth) for row, near in enumerate(answers)]

    def similar(self, row: int, count: int, allowed: Allowed | None = None) -> Ranking:
        """Rank the documents nearest to the document in ``row`` by cosine of their passages, the document left out.

        Only ``allowed`` documents are ranked, by default all that the index lets be seen. Each passage of the document asks for its neighbours; a document counts with its closest pair of passages.
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
        ranking = self._ordered(ranking, np.array(list(best), dtype=np.int64), scores, dense=scores)
        ranking.rows, ranking.scores = ranking.rows[:count], ranking.scores[:count]
        return ranking

    def page(self, ranking: Ranking, offset: int, count: int) -> list[Hit]:
        """Fetch the documents and best passages of ``count`` hits from ``offset`` on."""
        return self.hits(ranking, range(offset, min(offset + count, len(ranking.rows))), offset + 1)

    def hits(self, ranking: Ranking, places: Iterable[int], first_rank: int = 1, *, explain: bool = True) -> list[Hit]:
        """Fetch the documents and best passages of the hits at ``places`` of a ranking, in that order.

        Their ranks count from ``first_rank``. Without ``explain`` nothing is said of the legs.
        """
        with ranking.timed("fetch"):
            chosen = np.fromiter(places, dtype=np.int64)
            documents = [self.index.document(row) for row in ranking.rows[chosen].tolist()]
            passages = self._passages_to_show(ranking, chosen, documents)
            dense, lexical = legs_of(ranking, chosen) if explain else (None, None)
            return [
                Hit(
                    rank=first_rank + place,
                    score=score,
                    document=document,
                    passage=document.text[slice(*self.index.passage_offsets(passages[place]))].strip(),
                    dense=dense[place] if dense else None,
                    lexical=lexical[place] if lexical else None,
                )
                for place, (document, score) in enumerate(zip(documents, ranking.scores[chosen].tolist(), strict=True))
            ]

    def _depth(self, candidates: int | None, allowed: Allowed | None) -> int:
        """Return how many documents of a leg can take part."""
        return min(candidates or self.index.candidates, len(self.index) if allowed is None else allowed.count)

    def _lexical(self, query: str, depth: int, allowed: Allowed | None) -> tuple[Words, float]:
        started = time.perf_counter()
        if (every := self.index.lexical.every(query)) is None:
            leg = Words(*self.index.lexical.search(query, depth, allowed), complete=False)
        elif allowed is None:
            leg = Words(*every, complete=True)
        else:
            kept = allowed.mask[every[1]]
            leg = Words(every[0][kept], every[1][kept], complete=True)
        return leg, (time.perf_counter() - started) * 1e3

    def _nearest_documents(self, vector: Vectors, depth: int, allowed: Allowed | None = None) -> Near:
        """Return the ``depth`` nearest documents: as many passages are read as that takes."""
        there_are = len(self.index.dense) if allowed is None else allowed.passage_count
        passages = self._passages_for(depth, allowed)
        while True:
            cosines, found = self.index.dense.search(vector, passages, allowed)
            if near := self._documents(found, cosines, depth, there_are):
                return near
            passages *= 2

    def _passages_for(self, depth: int, allowed: Allowed | None = None) -> int:
        """Return how many passages mostly belong to ``depth`` documents: the average, and some to spare."""
        if allowed is not None:
            return 1 + depth * allowed.passage_count * 5 // (max(allowed.count, 1) * 4)
        return 1 + depth * len(self.index.dense) * 5 // (len(self.index) * 4)

    def _documents(self, found: Rows, cosines: Vectors, depth: int, there_are: int) -> Near | None:
        """Return the documents of the passages that were found; None where they are too few and more passages are there."""
        documents, first = np.unique(self.index.document_of[found], return_index=True)
        if len(documents) < depth and len(found) < there_are:
            return None
        order = np.sort(first)[:depth]  # places in `found`, which is best first
        return self.index.document_of[found[order]], cosines[order], found[order]

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
        order = np.argsort(-scores)
        best_first = scores[order]
        if (best_first[1:] == best_first[:-1]).any():  # only then do ids decide, which takes longer
            order = np.lexsort((self.index.id_rank[rows], -scores))
        ranking.rows = rows[order]
        ranking.scores = scores[order].astype(np.float64)
        ranking.dense = None if dense is None else dense[order].astype(np.float64)
        ranking.lexical = None if lexical is None else lexical[order].astype(np.float64)
        ranking.passages = None if passages is None else passages[order]
        return ranking

    def _passages_to_show(self, ranking: Ranking, places: Rows, documents: list[Document]) -> list[int]:
        """Return of each hit the passage nearest to the query's vector or, without one, that with most of its terms."""
        rows = ranking.rows[places]
        if ranking.passages is not None:
            return ranking.passages[places].tolist()  # type: ignore[no-any-return]
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
