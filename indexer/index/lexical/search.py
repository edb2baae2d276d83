"""Search of the lexical index by BM25: the best documents, all of them, scores of given ones, and words in texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import tantivy

from indexer.index.document_mask import DocumentMask, Rows
from indexer.index.legs import Query, Scores
from indexer.index.lexical.indexed import IndexedWords
from indexer.index.lexical.spans import merge_spans, to_code_points
from indexer.index.terms.analysis import TantivyAnalysis
from indexer.index.terms.words import Option, QueryTerms

HITS_PER_DOCUMENT = 12
"""Fetching this many more hits takes as long as one more allowed document in the query (docs/decisions/filters.md)."""
DEPTH_FACTOR = 4
"""Factor by which more hits are fetched where too few of them are allowed."""
MAX_HITS_FETCHED = 2_500
"""Up to this many hits, fetching them all takes no longer than finding the best and then scoring other documents (see
docs/decisions/retrieval.md)."""
MAX_SINGLE_TERMS = 1_000
"""Up to this many documents, a query of a term for each takes less time than a set of terms: a third for 200 documents."""
MAX_TEXT = 2**31
"""Characters of a text whose terms are marked; no document is as long."""


class LexicalIndex(IndexedWords):
    """A BM25 index that can be searched; safe to use from several threads."""

    def search(self, query: Query, count: int, allowed: DocumentMask | None = None) -> tuple[Scores, Rows]:
        """Return BM25 score and row of the ``count`` best documents; fewer where fewer hold a term of the query.

        With ``allowed``, only these documents are returned. Usually more hits are fetched, until enough of them are
        allowed. Where that would take longer, the allowed documents become a part of the query.
        """
        query = self.analyze(query)
        any_term = self._any_term(query)
        if allowed is None:
            return self._search(any_term, count)
        documents, count = len(self), min(count, allowed.count)
        # Deep enough where the allowed documents are spread evenly; never deeper than if all others ranked first.
        max_depth = min(documents - allowed.count + count, documents)
        depth = 1 + count * documents * 5 // (max(allowed.count, 1) * 4)
        while depth < HITS_PER_DOCUMENT * allowed.count:
            depth = min(depth, max_depth)
            scores, rows, found = self._search_allowed(any_term, depth, allowed, count)
            if len(rows) == count or found < depth:
                return scores, rows
            depth *= DEPTH_FACTOR
        return self._search(self._any_term_in(query, allowed.rows), count)

    def search_all(self, query: Query) -> tuple[Scores, Rows] | None:
        """Return BM25 score and row of every document that holds a term of the query, best first.

        None where there may be more than `MAX_HITS_FETCHED`: then it is faster to `search` for the best and to compute
        the `scores` of others.
        """
        query = self.analyze(query)
        return self._search(self._any_term(query), len(self)) if self._hits_at_most(query, MAX_HITS_FETCHED) else None

    def matching(self, query: Query, allowed: DocumentMask | None = None) -> Rows:
        """Return the rows of all documents that hold a term of the query, in any order; of the ``allowed`` ones alone.

        Scores are left out, which takes half the time: .15 s for 250,000 of a million documents.
        """
        any_term = tantivy.Query.const_score_query(self._any_term(self.analyze(query)), 1.0)
        _, rows = self._search(any_term, self._searcher.search(any_term, 1, count=True).count)
        return rows if allowed is None else rows[allowed.mask[rows]]

    def scores(self, query: Query, documents: Rows) -> Scores:
        """Return the BM25 score of each of ``documents``, shape (len(documents),); 0 where no term occurs."""
        values, rows = self._search(self._any_term_in(self.analyze(query), documents), len(documents))
        scores = np.zeros(len(documents), dtype=np.float32)
        order = np.argsort(documents)
        scores[order[np.searchsorted(documents, rows, sorter=order)]] = values
        return scores

    def count_documents(self, word: str, allowed: DocumentMask) -> int:
        """Return how many of the ``allowed`` documents hold a word of `vocabulary` as it is written, not its stem."""
        fields = self.word_fields
        any_field = _any_of([self._term(field, word) for field in fields])
        _, rows = self._search(any_field, sum(self.document_frequency(field, word) for field in fields))
        return int(np.count_nonzero(allowed.mask[rows]))

    def spans(self, query: str, texts: Iterable[str]) -> list[list[tuple[int, int]]]:
        """Return where the terms of ``query`` occur in each of ``texts``, as the index's own analyzer finds them.

        Returns:
            For each text the words as code points (start, end), the end excluded, in order and not overlapping.
        """
        analysed = self.analyze(query)
        terms = set(analysed.fields["body"])
        if not isinstance(self._analysis, TantivyAnalysis):
            return [merge_spans(self._analysis.places(terms, text)) for text in texts]
        new = {term for term in terms if not self.document_frequency("body", term)}  # of live documents
        snippets = tantivy.SnippetGenerator.create(self._searcher, self._any_term(analysed), self._schema, "body")
        snippets.set_max_num_chars(MAX_TEXT)  # the whole text, not an excerpt
        return [
            merge_spans([*self._spans(snippets, text), *(self._analysis.places(new, text) if new else ())])
            for text in texts
        ]

    def _spans(self, snippets: tantivy.SnippetGenerator, text: str) -> list[tuple[int, int]]:
        document = tantivy.Document()
        document.add_text("body", text)
        spans = [(span.start, span.end) for span in snippets.snippet_from_doc(document).highlighted()]
        return to_code_points(text, merge_spans(spans))

    def _hits_at_most(self, query: QueryTerms, count: int) -> bool:
        if len(self) <= count:
            return True
        return sum(self.document_frequency(*term) for term in query.all_terms()) <= count

    def _any_term(self, query: QueryTerms) -> tantivy.Query:
        weights = self._weights
        terms = [
            self._weighted(name, term, weight)
            for name, weight in weights.items()
            for term in query.fields.get(name, ())
        ]
        for group in query.groups:
            options = [self._option(option, weights) for option in group]
            terms.append(options[0] if len(options) == 1 else tantivy.Query.disjunction_max_query(options))
        return _any_of(terms)

    @cached_property
    def _weights(self) -> dict[str, float]:
        return {name: weight for name, weight, _ in self.fields()}

    def _option(self, option: Option, weights: Mapping[str, float]) -> tantivy.Query:
        """Return the query of an alternative: the sum of its terms."""
        terms = [self._weighted(name, term, weights[name] * factor) for name, term, factor in option]
        return terms[0] if len(terms) == 1 else _any_of(terms)

    def _weighted(self, name: str, term: str, weight: float) -> tantivy.Query:
        query = self._term(name, term)
        return query if weight == 1 else tantivy.Query.boost_query(query, weight)

    def _any_term_in(self, query: QueryTerms, documents: Rows) -> tantivy.Query:
        if len(documents) <= MAX_SINGLE_TERMS:
            any_document = _any_of(
                [tantivy.Query.term_query(self._schema, "document", row) for row in documents.tolist()]
            )
        else:
            any_document = tantivy.Query.term_set_query(self._schema, "document", documents.tolist())
        return tantivy.Query.boolean_query(
            [
                (tantivy.Occur.Must, tantivy.Query.const_score_query(any_document, 0.0)),
                (tantivy.Occur.Must, self._any_term(query)),
            ]
        )

    def _search(self, query: tantivy.Query, count: int) -> tuple[Scores, Rows]:
        hits = self._searcher.search(query, count, count=False).hits if count else []
        if not hits:
            return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
        return np.array([score for score, _ in hits], dtype=np.float32), self._rows_of(hits)

    def _search_allowed(
        self, query: tantivy.Query, depth: int, allowed: DocumentMask, count: int
    ) -> tuple[Scores, Rows, int]:
        """Return score and row of the first ``count`` allowed ones of ``depth`` hits, and how many hits there were.

        Only their scores become Python objects: of tens of thousands of hits few are allowed.
        """
        hits = self._searcher.search(query, depth, count=False).hits
        rows = self._rows_of(hits)
        kept = np.flatnonzero(allowed.mask[rows])[:count]
        return np.array([hits[place][0] for place in kept.tolist()], dtype=np.float32), rows[kept], len(hits)

    def _rows_of(self, hits: Sequence[tuple[float, tantivy.DocAddress]]) -> Rows:
        values = self._searcher.fast_field_values("document", [hit[1] for hit in hits])
        return np.fromiter(values, dtype=np.int64, count=len(hits))


def _any_of(terms: Sequence[tantivy.Query]) -> tantivy.Query:
    return tantivy.Query.boolean_query([(tantivy.Occur.Should, term) for term in terms])
