"""Retriever: ranks documents for a query, by the same code in the service and in every evaluation.

Both legs search in parallel. Their candidates are scored by *both* legs, fused, and ordered by score and then by id.
The same query therefore always gives the same pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from indexer.index.dense import unit
from indexer.index.document_mask import Rows
from indexer.index.served import Document, Neighbours, ServedIndex
from indexer.index.sparse import best_documents
from indexer.index.terms.rules import Rules
from indexer.index.terms.words import QueryTerms
from indexer.inference.encoder import Vectors
from indexer.retrieval.expansion import Expanded, expand
from indexer.retrieval.fusion import Fusion, add_sparse, fuse
from indexer.retrieval.query_weight import MIN_CANDIDATES, SAMPLE_PASSAGES, shifted, weight_shift
from indexer.retrieval.ranking import Hit, Mode, Ranking
from indexer.retrieval.relevance import Calibration

NO_ROWS = np.empty(0, dtype=np.int64)
Candidates = tuple[Rows, Vectors, Rows, npt.NDArray[np.float64]]
"""Rows of candidates, their cosines, their best passages, and their BM25 scores."""
MIN_PARALLEL_DOCUMENTS = 20_000
"""From this many documents on the lexical leg runs in a thread; with fewer, the handover is slower than the search."""


MOST_TABULATED = 50_000
"""Up to this row, documents are looked up in a table with a place for each."""


class Retriever:
    """Answers queries from one index. Safe to use from several threads; holds no state of a query.

    Args:
        index: what is searched.
        threads: run the lexical leg beside the dense one; by default its own threads, as many as the encoder has cores.
    """

    def __init__(self, index: ServedIndex, threads: Executor | None = None) -> None:
        self.index = index
        self._threads = threads or ThreadPoolExecutor(index.encoder.cores, thread_name_prefix="lexical")

    def with_index(self, index: ServedIndex) -> Self:
        """Return a retriever over another index that shares this one's threads."""
        return type(self)(index, self._threads)

    @cached_property
    def fusion(self) -> Fusion:
        """How the index combines the legs by default."""
        return Fusion.model_validate(self.index.manifest.config["fusion"])

    @cached_property
    def calibration(self) -> Calibration | None:
        """How scores become a relevance in this index; None where it was built without."""
        return Calibration.of_config(self.index.manifest.config)

    def search(
        self,
        query: str,
        mode: Mode = "hybrid",
        fusion: Fusion | None = None,
        candidates: int | None = None,
        *,
        vector: Vectors | None = None,
        neighbours: Neighbours | None = None,
        allowed: Any | None = None,
        reach: int = 0,
        expanded: Expanded | None = None,
        exact: bool = True,
    ) -> Ranking:
        """Rank the documents for ``query``.

        Args:
            query: what the user typed.
            mode: both legs, or one alone.
            fusion: how the legs are combined; by default as the index says.
            candidates: how many documents of each leg take part; by default as the index says.
            vector: of the query, shape (dimension,); by default the query is encoded here.
            neighbours: result of `nearest` for this vector at the same depth, where many queries are searched at once.
            allowed: the documents that may be returned, a `Selection` of the index; by default all that are visible.
            reach: how many documents are ranked at least in lexical mode, for pages beyond the candidates.
            expanded: the query as `expand` has returned it; by default as it does without prefixes and typos.
            exact: whether documents that have the query as their id, or as a value of an exact column, come first.

        Returns:
            The candidates of one leg, or the fused candidates of both (up to twice as many).
        """
        ranking = Ranking(query=query)
        allowed = self.index.visible if allowed is None else allowed
        depth = self._depth(candidates, allowed)
        if not depth:
            return ranking
        with ranking.timed("lexical"):
            if mode != "dense" or expanded is not None:
                ranking.expanded = expanded or self.expand(query)
            first = self.index.exact_rows(query, allowed) if exact else NO_ROWS
        if mode == "dense":
            rows, cosines, passages = self._dense_leg(ranking, vector, neighbours, depth, allowed, mapped=True)
            if len(first) and len(new := first[~np.isin(first, rows)]):
                new_cosines, new_passages = self._best_passages(ranking.vector, new)
                rows, passages = np.concatenate([rows, new]), np.concatenate([passages, new_passages])
                cosines = np.concatenate([cosines, new_cosines])
            return self._ordered(ranking, rows, cosines, dense=cosines, passages=passages, exact=first)
        terms = ranking.expanded.terms if ranking.expanded else self.index.lexical.analyze(query)
        if mode == "lexical":
            reached = max(depth, -(-reach // depth) * depth)
            matches = self._lexical_leg(ranking, terms, reached, allowed)
            rows, scores = matches.rows[:reached], matches.scores[:reached]
            if len(first) and len(new := first[~np.isin(first, rows)]):
                rows = np.concatenate([rows, new])
                scores = np.concatenate([scores, self.index.lexical.scores(terms, new)])
            return self._ordered(ranking, rows, scores, lexical=scores, exact=first, together=depth)
        if len(self.index) >= MIN_PARALLEL_DOCUMENTS:
            pending = self._threads.submit(self._lexical_leg, ranking, terms, depth, allowed)
            neighbours = self._dense_leg(ranking, vector, neighbours, depth, allowed)
            matches = pending.result()
        else:
            # First, for the encoder leaves nothing of what this needs in the caches of the processor.
            matches = self._lexical_leg(ranking, terms, depth, allowed)
            neighbours = self._dense_leg(ranking, vector, neighbours, depth, allowed)
        rows, cosines, passages, bm25 = self._complete_scores(ranking, terms, neighbours, matches, depth)
        fusion, learned = fusion or self.fusion, None
        with ranking.timed("fuse"):  # before others join the candidates, whose scores decide about the weight
            if fusion.by_query and fusion.method == "convex":
                ranking.weight_shift = self._weight_shift(ranking, terms, cosines, bm25)
            ranking.weight = shifted(fusion.dense_weight, ranking.weight_shift)
        if len(first) and not np.isin(first, rows).all():
            with ranking.timed("fuse"):
                rows, cosines, passages, bm25 = self._add_candidates(
                    ranking, terms, first, matches, (rows, cosines, passages, bm25)
                )
        if fusion.sparse_weight and self.index.sparse is not None:
            with ranking.timed("sparse"):
                everything = self.index.sparse.all_scores(ranking.text)
                rows, cosines, passages, bm25 = self._add_candidates(
                    ranking,
                    terms,
                    best_documents(everything, depth, allowed)[1],
                    matches,
                    (rows, cosines, passages, bm25),
                )
                learned = everything[rows].astype(np.float64)
        with ranking.timed("fuse"):
            fused = fuse(fusion, cosines.astype(np.float64), bm25, ranking.weight)
            if learned is not None:
                fused = add_sparse(fusion, fused, learned)
                ranking.sparse, ranking.sparse_part = learned, fused.sparse_part
            ranking.dense_part, ranking.lexical_part = fused.dense_part, fused.lexical_part
            return self._ordered(
                ranking, rows, fused.scores, dense=cosines, lexical=bm25, passages=passages, exact=first
            )

    def expand(self, query: str, *, prefix: bool = False, typos: bool = False, rules: Rules | None = None) -> Expanded:
        """Return a query as it is searched: see `indexer.retrieval.expansion`.

        Args:
            query: what the user typed.
            prefix: whether its last word may be half typed.
            typos: whether words that no document has are replaced by their nearest ones.
            rules: synonyms and stop words; by default those of the index.
        """
        rules = self.index.rules if rules is None else rules
        return expand(self.index, query, prefix=prefix, typos=typos, rules=rules)

    def judge(self, ranking: Ranking, mode: Mode = "hybrid") -> None:
        """Say of every candidate of a ranking how probable it is that it answers, where the index is calibrated."""
        if self.calibration is not None:
            with ranking.timed("fuse"):
                ranking.relevance = self.calibration.relevance(ranking, mode, self.index.lexical)

    def nearest(self, vectors: Vectors, candidates: int | None = None, mode: Mode = "hybrid") -> list[Neighbours]:
        """Return the nearest documents of many queries at once, for `search` in the same mode.

        ``vectors`` has shape (queries, dimension).
        """
        if mode == "dense":
            vectors = np.stack([self.map_query(vector) for vector in vectors])
        return self.index.nearest_of_many(vectors, min(candidates or self.index.candidates, len(self.index)))

    def similar(self, row: int, count: int, allowed: Any | None = None) -> Ranking:
        """Rank the documents nearest to the one in ``row`` by cosine of their passages, without the document itself.

        Only ``allowed`` documents are ranked, by default all that are visible. Each passage of the document is a query;
        the score of another document is that of the closest pair of passages.
        """
        ranking = Ranking()
        allowed = self.index.visible if allowed is None else allowed
        depth = self._depth(count + 1, allowed)
        with ranking.timed("dense"):
            (vectors,) = self.index.passage_vectors(np.array([row]))
            best: dict[int, float] = {}
            for vector in vectors:
                rows, cosines, _ = self.index.nearest_documents(self.map_query(vector), depth, allowed)
                for other, cosine in zip(rows.tolist(), cosines.tolist(), strict=True):
                    if other != row:
                        best[other] = max(cosine, best.get(other, -2.0))
            ranking.vector = vectors[0]
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

        Their ranks count from ``first_rank``. Without ``explain`` the hits have no scores of the legs.
        """
        with ranking.timed("fetch"):
            at = np.fromiter(positions, dtype=np.int64)
            documents = self.index.documents(ranking.rows[at])
            bounds = self.index.offsets(self._passages_to_show(ranking, at, documents))
            dense, lexical = ranking.legs(at) if explain else (None, None)
            sparse = ranking.sparse_leg(at) if explain else None
            relevance = None if ranking.relevance is None else ranking.relevance[at].tolist()
            return [
                Hit(
                    rank=first_rank + number,
                    score=score,
                    document=document,
                    passage=document.text[slice(*bounds[number])].strip(),
                    dense=dense[number] if dense else None,
                    lexical=lexical[number] if lexical else None,
                    sparse=sparse[number] if sparse else None,
                    relevance=None if relevance is None else relevance[number],
                )
                for number, (document, score) in enumerate(zip(documents, ranking.scores[at].tolist(), strict=True))
            ]

    def lexical_parts(self, ranking: Ranking, positions: Iterable[int]) -> list[dict[str, float]]:
        """Return what each field adds to the BM25 score of the hits at ``positions``, by its name; none that adds nothing."""
        lexical, rows = self.index.lexical, ranking.rows[np.fromiter(positions, dtype=np.int64)]
        terms = ranking.expanded.terms if ranking.expanded else lexical.analyze(ranking.query)
        parts = {name: lexical.scores(terms.only(name), rows).tolist() for name, _, _ in lexical.fields()}
        return [{name: round(own[at], 6) for name, own in parts.items() if own[at] > 0} for at in range(len(rows))]

    def map_query(self, vector: Vectors) -> Vectors:
        """Return a query's vector as dense mode searches by it, of unit length."""
        matrix = self.index.dense_map
        return vector if matrix is None else unit(matrix @ vector)

    @cached_property
    def _sample(self) -> Rows:
        """Rows of passages from all over the documents that can be searched, the same for every query."""
        return self.index.sample(SAMPLE_PASSAGES)

    def _weight_shift(
        self, ranking: Ranking, terms: QueryTerms, cosines: Vectors, bm25: npt.NDArray[np.float64]
    ) -> float:
        """Return what the query and the scores of its candidates add to the weight of the dense leg."""
        if ranking.vector is None or len(cosines) < MIN_CANDIDATES:
            return 0.0
        return weight_shift(len(terms.stems), cosines, self.index.passage_scores(ranking.vector, self._sample), bm25)

    def _depth(self, candidates: int | None, allowed: Any | None) -> int:
        """Return how many documents of a leg can be candidates."""
        return min(candidates or self.index.candidates, len(self.index) if allowed is None else allowed.count)

    def _dense_leg(
        self,
        ranking: Ranking,
        vector: Vectors | None,
        neighbours: Neighbours | None,
        depth: int,
        allowed: Any | None,
        *,
        mapped: bool = False,
    ) -> Neighbours:
        """Encode the query where its vector is not known, and return the ``depth`` documents nearest to it.

        With ``mapped``, the index's map for dense mode is applied to the vector, where there is one.
        """
        with ranking.timed("encode"):
            ranking.vector = self.index.encoder.encode_query(ranking.text) if vector is None else vector
            if mapped:
                ranking.vector = self.map_query(ranking.vector)
        with ranking.timed("dense"):
            return neighbours or self.index.nearest_documents(ranking.vector, depth, allowed)

    def _lexical_leg(self, ranking: Ranking, terms: QueryTerms, depth: int, allowed: Any | None) -> Matches:
        """Return the documents that hold a term of the query, all or the ``depth`` best."""
        with ranking.timed("lexical"):
            if (hits := self.index.lexical.search_all(terms)) is None:
                return Matches(*self.index.lexical.search(terms, depth, allowed), complete=False)
            if allowed is None:
                return Matches(*hits, complete=True)
            kept = allowed.mask[hits[1]]
            return Matches(hits[0][kept], hits[1][kept], complete=True)

    def _complete_scores(
        self, ranking: Ranking, terms: QueryTerms, neighbours: Neighbours, matches: Matches, depth: int
    ) -> tuple[Rows, Vectors, Rows, npt.NDArray[np.float64]]:
        """Let each leg score the candidates of the other.

        Returns:
            Rows of all candidates, their cosines, their best passages, and their BM25 scores.
        """
        rows, cosines, passages = neighbours
        with ranking.timed("lexical"):
            positions, in_both = matches.find(rows)
            bm25 = np.zeros(len(rows))
            bm25[in_both] = matches.scores[positions[in_both]]
            if not matches.complete and not in_both.all():
                bm25[~in_both] = self.index.lexical.scores(terms, rows[~in_both])
        with ranking.timed("dense"):
            only_lexical = np.ones(len(matches.rows), dtype=bool)
            only_lexical[positions[in_both]] = False
            added = np.flatnonzero(only_lexical[:depth])
            added_cosines, added_passages = self._best_passages(ranking.vector, matches.rows[added])
            cosines, passages = np.concatenate([cosines, added_cosines]), np.concatenate([passages, added_passages])
        with ranking.timed("fuse"):
            return (
                np.concatenate([rows, matches.rows[added]]),
                cosines,
                passages,
                np.concatenate([bm25, matches.scores[added]]),
            )

    def _add_candidates(
        self, ranking: Ranking, terms: QueryTerms, found: Rows, matches: Matches, candidates: Candidates
    ) -> Candidates:
        """Return candidates with those of ``found`` that are not among them, scored by the dense and the lexical leg."""
        rows, cosines, passages, bm25 = candidates
        new = found[~np.isin(found, rows)]
        positions, matched = matches.find(new)
        new_bm25 = np.zeros(len(new))
        new_bm25[matched] = matches.scores[positions[matched]]
        if not matches.complete and not matched.all():
            new_bm25[~matched] = self.index.lexical.scores(terms, new[~matched])
        new_cosines, new_passages = self._best_passages(ranking.vector, new)
        return (
            np.concatenate([rows, new]),
            np.concatenate([cosines, new_cosines]),
            np.concatenate([passages, new_passages]),
            np.concatenate([bm25, new_bm25]),
        )

    def _best_passages(self, vector: Vectors | None, rows: Rows) -> tuple[Vectors, Rows]:
        """Return cosine and row of the best passage of each document of ``rows``, both of shape (len(rows),)."""
        if vector is None or not len(rows):
            return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
        return self.index.best_passages(vector, rows)

    def _ordered(
        self,
        ranking: Ranking,
        rows: Rows,
        scores: npt.NDArray[np.floating],
        *,
        dense: npt.NDArray[np.floating] | None = None,
        lexical: npt.NDArray[np.floating] | None = None,
        passages: Rows | None = None,
        exact: Rows | None = None,
        together: int | None = None,
    ) -> Ranking:
        """Put candidates into a ranking, ordered by score and then by id; those of ``exact`` come first.

        With ``together``, only so many candidates are ordered with each other at a time; they are given best first. However
        many there are, the first ones are then the same, also where a score occurs on both sides of the border.
        """
        order = np.argsort(-scores)
        best_first = scores[order]
        if exact is not None and len(exact):
            ranking.exact = np.isin(rows, exact)
        if (
            ranking.exact is not None or (best_first[1:] == best_first[:-1]).any()
        ):  # only then do ids decide: it takes longer
            part = np.arange(len(rows)) // (together or max(len(rows), 1))
            first = np.zeros(len(rows), dtype=bool) if ranking.exact is None else ranking.exact
            order = np.lexsort((self.index.id_ranks(rows), -scores, part, ~first))
        ranking.rows = rows
        ranking.scores = scores.astype(np.float64)
        ranking.dense = None if dense is None else dense.astype(np.float64)
        ranking.lexical = None if lexical is None else lexical.astype(np.float64)
        ranking.passages = passages
        return ranking.take(order)

    def _passages_to_show(self, ranking: Ranking, positions: Rows, documents: list[Document]) -> Rows:
        """Return for each hit the passage nearest to the query's vector or, without one, that with most of its terms."""
        rows = ranking.rows[positions]
        if ranking.passages is not None:
            return ranking.passages[positions]
        if ranking.vector is not None:
            return self._best_passages(ranking.vector, rows)[1]
        passages, terms = self.index.passages_of_documents(rows), set(self.index.lexical.terms(ranking.words))
        chosen = [
            of_document[0] if len(of_document) == 1 else of_document[self._most_terms(terms, document, of_document)]
            for document, of_document in zip(documents, passages, strict=True)
        ]
        return np.array(chosen, dtype=np.int64)

    def _most_terms(self, terms: set[str], document: Document, passages: Rows) -> int:
        """Return which of a document's passages has most of the terms, counted from the first one."""
        slices = [slice(*bounds) for bounds in self.index.offsets(passages)]
        counts = [len(terms.intersection(self.index.lexical.terms(document.text[part]))) for part in slices]
        return int(np.argmax(counts))


@dataclass(frozen=True)
class Matches:
    """What the lexical leg found: BM25 scores and rows, best first; ``complete`` where no other document matches."""

    scores: npt.NDArray[np.float32]
    rows: Rows
    complete: bool

    def find(self, rows: Rows) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Return the position of each of ``rows`` in `rows`, and whether it is there; if not, ignore the position."""
        if not len(self.rows):
            return np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=bool)
        last = max(int(np.maximum.reduce(self.rows)), int(np.maximum.reduce(rows, initial=0)))
        if last < MOST_TABULATED:  # a third of the time of a binary search
            table = np.full(last + 1, -1)
            table[self.rows] = np.arange(len(self.rows))
            positions = table[rows]
            return positions, positions >= 0
        order = np.argsort(self.rows)
        positions = order[np.minimum(np.searchsorted(self.rows, rows, sorter=order), len(order) - 1)]
        return positions, self.rows[positions] == rows
