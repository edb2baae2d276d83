"""The lexical leg in Milvus: BM25 as an inner product of term vectors, with the tokens of our own analysis.

Milvus's analyzers take no part: a query has the same terms in every store, and the same score but for rounding.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import islice, takewhile

import numpy as np

from indexer.cache import Cache
from indexer.errors import NotSupported
from indexer.index.document_mask import Rows
from indexer.index.legs import Query, Scores
from indexer.index.lexical.analysed import AnalysedWords
from indexer.index.lexical.indexed import MAX_VOCABULARY
from indexer.index.lexical.spans import merge_spans
from indexer.index.terms.analysis import Analysis
from indexer.index.terms.columns import COLUMN
from indexer.milvus.collections import Names
from indexer.milvus.engine import MAX_HITS, NUMBER, Engine
from indexer.milvus.filtering.expression import Expression
from indexer.milvus.filtering.selection import MilvusSelection
from indexer.milvus.publish import term_key
from indexer.milvus.terms import Vector

SPARE = 8
"""Hits fetched beyond those asked for: of equal scores Milvus returns any, and the first ids are to be returned."""
CACHED_TERMS = 100_000
"""Terms of queries whose numbers and frequencies are cached."""


class MilvusLexical(AnalysedWords):
    """BM25 over the documents of an index in Milvus. Safe to use from several threads.

    Args:
        engine: the connection.
        names: of the collections.
        analysis: what makes terms of texts.
        documents: number of documents of the index.
        columns: weight of each column that is searched.
    """

    def __init__(
        self,
        engine: Engine,
        names: Names,
        analysis: Analysis,
        documents: int,
        columns: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(analysis, columns, titles=True)
        self._engine, self._names, self._documents = engine, names, documents
        self._terms: Cache[str, tuple[int, int]] = Cache(CACHED_TERMS)

    def __len__(self) -> int:
        return self._documents

    def search(self, query: Query, count: int, allowed: MilvusSelection | None = None) -> tuple[Scores, Rows]:
        """Return BM25 score and row of the ``count`` best of the ``allowed`` documents that hold a term of the query."""
        vector = self._query_vector(query)
        where = Expression("") if allowed is None else allowed.where
        return self._search(vector, min(count + SPARE, MAX_HITS), where, count)

    def search_all(self, query: Query) -> tuple[Scores, Rows] | None:  # noqa: ARG002 - of the protocol
        """Return None: the best are searched, and others are scored where it takes them."""
        return None

    def matching(self, query: Query, allowed: MilvusSelection | None = None) -> Rows:
        """Return the rows of all ``allowed`` documents that hold a term of the query, in any order.

        Raises:
            NotSupported: there may be more than Milvus returns; a part of them would give wrong numbers.
        """
        _, rows = self._search(
            self._query_vector(query), MAX_HITS, Expression("") if allowed is None else allowed.where, MAX_HITS
        )
        if len(rows) == MAX_HITS:
            raise NotSupported(
                f"Milvus as a store finds the words of a query in {MAX_HITS:,} documents at most, and more have them; add "
                'a filter, or count over all documents (`"facets_over": "all"`)'
            )
        return rows

    def scores(self, query: Query, documents: Rows) -> Scores:
        """Return the BM25 score of each of ``documents``, shape (len(documents),); 0 where no term occurs."""
        scores = np.zeros(len(documents), dtype=np.float32)
        vector = self._query_vector(query)
        for start in range(0, len(documents), MAX_HITS):
            part = documents[start : start + MAX_HITS].tolist()
            found, rows = self._search(
                vector, len(part), Expression(f"{NUMBER} in {{rows}}", {"rows": part}), len(part)
            )
            places = {row: place for place, row in enumerate(part, start)}
            scores[[places[row] for row in rows.tolist()]] = found
        return scores

    def document_frequency(self, name: str, term: str) -> int:
        """Return how many documents have a term in a field."""
        return self._lookup([(name, term)]).get((name, term), (0, 0))[1]

    def average_length(self, name: str) -> float:
        """Return the average number of terms in a field, which only the writing of documents needs."""
        raise NotImplementedError(name)

    def count_documents(self, word: str, allowed: MilvusSelection) -> int:
        """Return how many of the ``allowed`` documents hold a word as it is written; `MAX_HITS` stands for more."""
        numbers = [number for number, _ in self._lookup([(field, word) for field in self.word_fields]).values()]
        return len(self._search(dict.fromkeys(numbers, 1.0), MAX_HITS, allowed.where, MAX_HITS)[1])

    def knows(self, word: str) -> bool:
        """Say whether ``word`` occurs in a document, or has no terms to look for, like a stop word."""
        fields = ["body", *(COLUMN + name for name in self.columns)]
        terms = [(field, term) for term in self.terms(word) for field in fields]
        return not terms or bool(self._lookup(terms))

    @cached_property
    def vocabulary(self) -> Mapping[str, int]:
        """Words, unstemmed and in lower case, each with its document frequency; read when they are first needed."""
        words: dict[str, int] = {}
        for rows in self._engine.pages(self._names.lookup, 'kind == "word"', ["key", "value"], MAX_VOCABULARY):
            for row in rows:
                word, documents = row["key"].split(":", 2)[2], int(row["value"].split()[1])
                words[word] = max(documents, words.get(word, 0))
        return words

    def continuations(self, prefix: str, count: int, field: str | None = None) -> list[tuple[str, int]]:  # noqa: ARG002 - of the protocol
        """Return the most frequent words that begin with ``prefix``, as they are written, with their frequencies.

        Only words of title and text are known here: another ``field`` has words of its own only in the files.
        """
        first = bisect_left(self._sorted, prefix)
        words = takewhile(lambda word: word.startswith(prefix), islice(self._sorted, first, None))
        return sorted(((word, self.vocabulary[word]) for word in words), key=lambda each: (-each[1], each[0]))[:count]

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.vocabulary)

    def spans(self, query: str, texts: Iterable[str]) -> list[list[tuple[int, int]]]:
        """Return where the terms of ``query`` occur in each of ``texts``, as code points (start, end), the end excluded."""
        terms = set(self.analyze(query).fields["body"])
        return [merge_spans(self._analysis.places(terms, text)) for text in texts]

    def _query_vector(self, query: Query) -> Vector:
        """Return inverse document frequency times the weight of the field for each term of a query, by its number.

        Scores of alternatives are added up: an inner product has no maximum.
        """
        terms, weights = self.analyze(query), {name: weight for name, weight, _ in self.fields()}
        wanted = {(name, term): weight for name, weight in weights.items() for term in terms.fields.get(name, ())}
        for group in terms.groups:
            for name, term, factor in (each for option in group for each in option):
                wanted[name, term] = max(wanted.get((name, term), 0.0), weights[name] * factor)
        return {
            number: wanted[term] * float(np.log1p((self._documents - frequency + 0.5) / (frequency + 0.5)))
            for term, (number, frequency) in self._lookup(list(wanted)).items()
        }

    def _search(self, vector: Vector, limit: int, where: Expression, count: int) -> tuple[Scores, Rows]:
        if not vector or not limit:
            return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
        hits = [
            hit for hit in self._engine.search(self._names.documents, "terms", [vector], limit, where)[0] if hit[1] > 0
        ]
        rows = np.array([row for row, _ in hits], dtype=np.int64)
        scores = np.array([score for _, score in hits], dtype=np.float32)
        best = np.lexsort((rows, -scores))[:count]
        return scores[best], rows[best]

    def _lookup(self, terms: list[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, int]]:
        """Return number and document frequency of those terms that the index has."""
        keys = {term_key(*term): term for term in terms}
        known = {key: entry for key in keys if (entry := self._terms.get(key)) is not None}
        if wanted := [key for key in keys if key not in known]:
            where = Expression("key in {keys}", {"keys": wanted})
            rows = self._engine.query(self._names.lookup, where, ["key", "value"], limit=len(wanted))
            found = {row["key"]: row["value"].split() for row in rows}
            for key in wanted:
                number, frequency = found.get(key, ("0", "0"))
                known[key] = int(number), int(frequency)
                self._terms.put(key, known[key])
        return {keys[key]: entry for key, entry in known.items() if entry[0]}
