"""The lexical leg: BM25 over whole documents in tantivy, with stemming by language.

Documents, not passages, are indexed: BM25 corrects for length itself, and a word of the question often stands in
another passage than the answer. Every word is indexed twice, as its stem and as it is written: a document that has the
very word of the query gets more than one that has a form of it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import tantivy

from indexer.index.document_mask import DocumentMask, Rows
from indexer.index.languages import UNSPACED, analyzer, exact_analyzer
from indexer.index.legs import Scores

FOLDER = "lexical"
ANALYZER = "dowse"
EXACT_ANALYZER = "dowse-exact"
EXACT_WEIGHT = 0.5
"""What a word as it is written counts beside its stem. nDCG@10 of this leg on three data sets is .001 to .009 above that
of stems alone (see DECISIONS.md)."""
HITS_PER_DOCUMENT = 12
"""How many more documents can be looked at in the time that it takes to make one a part of the query (DECISIONS.md)."""
DEPTH_FACTOR = 4
"""How much deeper to look where too few of the documents that were found are allowed."""
MAX_HITS_FETCHED = 2_500
"""Documents that are all fetched in the time that it takes to find the best of them and to score others (DECISIONS.md)."""
WRITER_BYTES = 128_000_000
MAX_VOCABULARY = 300_000
"""Words among which a misspelt one is looked for."""
MAX_TEXT = 2**31
"""Characters; no document is as long."""


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("body", tokenizer_name=ANALYZER, index_option="freq")
    builder.add_text_field("exact", tokenizer_name=EXACT_ANALYZER, index_option="freq")
    builder.add_unsigned_field("document", indexed=True, fast=True)
    return builder.build()


def _register(index: tantivy.Index, language: str) -> None:
    index.register_tokenizer(ANALYZER, analyzer(language))
    # tantivy wants every field's tokenizer, also that of a field that stays empty.
    index.register_tokenizer(EXACT_ANALYZER, exact_analyzer(language) or analyzer("none"))


class LexicalWriter:
    """Writes a BM25 index of texts, one per document, in the order of the documents.

    One writer thread keeps the result the same for the same input.
    """

    def __init__(self, folder: Path, language: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        index = tantivy.Index(_schema(), str(folder))
        _register(index, language)
        self._fields = ["body", "exact"] if exact_analyzer(language) else ["body"]
        self._folder = folder
        self._writer = index.writer(WRITER_BYTES, 1)
        self._rows = 0

    def add(self, texts: Iterable[str]) -> None:
        """Add the texts of the next documents."""
        for text in texts:
            document = tantivy.Document()
            for field in self._fields:
                document.add_text(field, text)
            document.add_unsigned("document", self._rows)
            self._writer.add_document(document)
            self._rows += 1

    def close(self) -> None:
        """Write what is still in memory and merge; the folder is complete after this."""
        self._writer.commit()
        self._writer.wait_merging_threads()
        for lock in self._folder.glob(".tantivy-*.lock"):  # no part of the index; made again by whoever opens it
            lock.unlink()


class LexicalIndex:
    """A BM25 index that can be searched; safe to use from several threads."""

    def __init__(self, folder: Path, language: str) -> None:
        self._language = language
        self._analyzer = analyzer(language)
        self._exact_analyzer = exact_analyzer(language)
        self._schema = _schema()
        # tantivy insists on a lock file beside the index. The artifact may lie on a read-only mount and is immutable,
        # so that the index is opened in a folder of links to its files, which are mapped when the folder goes.
        # tantivy may still write its lock file while the folder is removed; what is left then is an empty file.
        with tempfile.TemporaryDirectory(prefix="dowse-lexical-", ignore_cleanup_errors=True) as links:
            for path in folder.iterdir():
                (Path(links) / path.name).symlink_to(path.resolve())
            index = tantivy.Index.open(links)
            _register(index, language)
            index.config_reader("manual")
            self._searcher = index.searcher()

    @classmethod
    def open(cls, folder: Path, language: str) -> Self:
        """Open the index in ``folder``, which was written for ``language``."""
        return cls(folder, language)

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def terms(self, text: str) -> list[str]:
        """Return the distinct terms of ``text`` as the index knows them: lower-cased, stemmed, no stop words."""
        return list(dict.fromkeys(self._analyzer.analyze(text)))

    def fields(self) -> list[tuple[str, float, tantivy.TextAnalyzer]]:
        """Return of each field its name, the weight of its terms, and what makes terms of a text."""
        fields = [("body", 1.0, self._analyzer)]
        return [*fields, ("exact", EXACT_WEIGHT, self._exact_analyzer)] if self._exact_analyzer else fields

    def document_frequency(self, name: str, term: str) -> int:
        """Return how many documents have a term in a field."""
        return int(self._searcher.doc_freq(name, term))

    def average_length(self, name: str) -> float:
        """Return how many terms a field has on average; tantivy says so only where it explains a score."""
        common = self._searcher.terms_with_prefix(name, "", limit=1)
        if not common:
            return 1.0
        query = self._term(name, common[0][0])
        _, address = self._searcher.search(query, 1, count=False).hits[0]
        waiting = [json.loads(query.explain(self._searcher, address).to_json())]
        while not (part := waiting.pop())["description"].startswith("avgdl"):
            waiting += part.get("details", [])
        return float(part["value"])

    def search(self, query: str, count: int, allowed: DocumentMask | None = None) -> tuple[Scores, Rows]:
        """Return BM25 score and row of the ``count`` best documents; fewer where fewer hold a term of the query.

        Of the ``allowed`` documents alone, where they are given. Mostly more documents are asked for, until enough of
        them are allowed. Where that would take longer, the allowed documents become a part of the query.
        """
        words = self._any_term(query)
        if allowed is None:
            return self._search(words, count)
        documents, count = len(self), min(count, allowed.count)
        # As deep as it takes where what is allowed is spread evenly; never deeper than if all others came first.
        deepest = min(documents - allowed.count + count, documents)
        depth = 1 + count * documents * 5 // (max(allowed.count, 1) * 4)
        while depth < HITS_PER_DOCUMENT * allowed.count:
            depth = min(depth, deepest)
            scores, rows = self._search(words, depth)
            kept = np.flatnonzero(allowed.mask[rows])[:count]
            if len(kept) == count or len(rows) < depth:
                return scores[kept], rows[kept]
            depth *= DEPTH_FACTOR
        return self._search(self._any_term_of(query, allowed.rows), count)

    def every(self, query: str) -> tuple[Scores, Rows] | None:
        """Return BM25 score and row of every document that holds a term of the query, best first.

        None where there may be more than `MAX_HITS_FETCHED`: then it is quicker to `search` for the best, and to ask for the
        `scores` of others.
        """
        return self._search(self._any_term(query), len(self)) if self._hits_at_most(query, MAX_HITS_FETCHED) else None

    def scores(self, query: str, documents: Rows) -> Scores:
        """Return the BM25 score of each of ``documents``, shape (len(documents),); 0 where no term occurs."""
        found, rows = self._search(self._any_term_of(query, documents), len(documents))
        scores = np.zeros(len(documents), dtype=np.float32)
        order = np.argsort(documents)
        scores[order[np.searchsorted(documents, rows, sorter=order)]] = found
        return scores

    def knows(self, word: str) -> bool:
        """Say whether ``word`` can find a document, or is none that is looked for, such as a stop word."""
        terms = self.terms(word)
        return not terms or any(self._searcher.doc_freq("body", term) for term in terms)

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """The most frequent words as they are written, in lower case, each with the number of its documents.

        Empty for languages that are indexed by pairs of characters. Reading it takes a moment and some memory.
        """
        if self._language in UNSPACED:
            return {}
        field = "exact" if self._exact_analyzer else "body"
        words = self._searcher.terms_with_prefix(field, "", limit=MAX_VOCABULARY)
        return {word: documents for word, documents in words if word.isalpha()}

    def spans(self, query: str, texts: Iterable[str]) -> list[list[tuple[int, int]]]:
        """Return where the terms of ``query`` stand in each of ``texts``, by the index's own analyzer.

        Returns:
            For each text the code points (first, last but one) of every such word, in order and not overlapping.
        """
        snippets = tantivy.SnippetGenerator.create(self._searcher, self._any_term(query), self._schema, "body")
        snippets.set_max_num_chars(MAX_TEXT)  # the whole text, not an excerpt
        return [self._spans(snippets, text) for text in texts]

    def _spans(self, snippets: tantivy.SnippetGenerator, text: str) -> list[tuple[int, int]]:
        document = tantivy.Document()
        document.add_text("body", text)
        found = [(span.start, span.end) for span in snippets.snippet_from_doc(document).highlighted()]
        return code_points(text, merged(found))

    def _hits_at_most(self, query: str, count: int) -> bool:
        if len(self) <= count:
            return True
        terms = [(name, term) for name, _, analyzer in self.fields() for term in dict.fromkeys(analyzer.analyze(query))]
        return sum(self.document_frequency(*term) for term in terms) <= count

    def _any_term(self, query: str) -> tantivy.Query:
        words = [self._term("body", term) for term in self.terms(query)]
        if self._exact_analyzer:
            exact = dict.fromkeys(self._exact_analyzer.analyze(query))
            words += [tantivy.Query.boost_query(self._term("exact", word), EXACT_WEIGHT) for word in exact]
        return tantivy.Query.boolean_query([(tantivy.Occur.Should, word) for word in words])

    def _any_term_of(self, query: str, documents: Rows) -> tantivy.Query:
        wanted = tantivy.Query.term_set_query(self._schema, "document", documents.tolist())
        return tantivy.Query.boolean_query(
            [
                (tantivy.Occur.Must, tantivy.Query.const_score_query(wanted, 0.0)),
                (tantivy.Occur.Must, self._any_term(query)),
            ]
        )

    def _term(self, field: str, term: str) -> tantivy.Query:
        return tantivy.Query.term_query(self._schema, field, term, "freq")

    def _search(self, query: tantivy.Query, count: int) -> tuple[Scores, Rows]:
        hits = self._searcher.search(query, count, count=False).hits if count else []
        if not hits:
            return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
        rows = self._searcher.fast_field_values("document", [address for _, address in hits])
        return np.array([score for score, _ in hits], dtype=np.float32), np.array(rows, dtype=np.int64)


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans in order, those that overlap as one: pairs of characters do, words never."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def code_points(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans that count the bytes of UTF-8, ascending, as spans that count code points."""
    if text.isascii():
        return spans
    raw, place, counted, found = text.encode(), 0, 0, []
    for span in spans:
        for end in span:
            counted += len(raw[place:end].decode())
            place = end
            found.append(counted)
    return list(zip(found[::2], found[1::2], strict=True))
