"""The lexical leg: BM25 over whole documents in tantivy, with stemming by language.

Documents, not passages, are indexed: BM25 corrects for length itself, and words of a query often occur in another
passage than the answer. Every word is indexed twice, stemmed and as it is written: a document with the exact word of
the query scores higher than one with another form of it. `words.py` makes the terms, for an older index `analysis.py`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import tantivy

from indexer.artifacts.manifest import WORDS
from indexer.cache import cached_for_owner
from indexer.index.document_mask import DocumentMask, Rows
from indexer.index.legs import Field, Query, Scores
from indexer.index.terms.analysis import Analysis, TantivyAnalysis, find_analysis
from indexer.index.terms.columns import COLUMN, COLUMN_WORDS, TITLE, FieldTexts
from indexer.index.terms.vocabulary import Near, Vocabulary
from indexer.index.terms.words import Option, QueryTerms, Spelling, Words, is_of_letters

FOLDER = "lexical"
TOKENIZERS = {"body": "dowse", "exact": "dowse-exact"}
EXACT_WEIGHT = 0.5
"""Weight of a word as it is written; that of its stem is 1. With it, nDCG@10 of this leg on three data sets is .001 to
.009 higher than with stems alone (docs/decisions/retrieval.md)."""
HITS_PER_DOCUMENT = 12
"""Fetching this many more hits takes as long as one more allowed document in the query (docs/decisions/filters.md)."""
DEPTH_FACTOR = 4
"""Factor by which more hits are fetched where too few of them are allowed."""
MAX_HITS_FETCHED = 2_500
"""Up to this many hits, fetching them all takes no longer than finding the best and then scoring other documents (see
docs/decisions/retrieval.md)."""
WRITER_BYTES = 128_000_000
"""Memory of the index writer."""
MOST_COMMITTED = 20_000
"""Documents that are committed together, at most. Each commit makes a segment."""
MERGED_TOGETHER = 8
"""tantivy merges segments of about one size as soon as there are so many."""
MAX_VOCABULARY = 300_000
"""Words among which corrections of a misspelt word are searched."""
COMMON_PREFIXES = ("con", "tra", "pro", "sta", "ver", "mar")
"""Beginnings of words in most languages. Any term will do to read the average length; tantivy reads all that begin so, and of
a million documents reading all terms takes a second."""
CACHED_WORDS = 1 << 15
"""Words of queries of which is cached whether a document has them."""
MAX_TEXT = 2**31
"""Characters of a text whose terms are marked; no document is as long."""


def _schema(others: Iterable[str]) -> tantivy.Schema:
    """Return the schema of an index with these fields besides those of the text."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("body", tokenizer_name=TOKENIZERS["body"], index_option="freq")
    builder.add_text_field("exact", tokenizer_name=TOKENIZERS["exact"], index_option="freq")
    builder.add_unsigned_field("document", indexed=True, fast=True)
    for name in others:  # after those that every index has: their numbers stay the same
        builder.add_text_field(name, tokenizer_name=TOKENIZERS["exact"], index_option="freq")
    return builder.build()


def _other_fields(folder: Path) -> list[str]:
    """Return the fields that an index has besides those of the text; an older one has none."""
    schema = json.loads((folder / "meta.json").read_bytes())["schema"]
    names = [field["name"] for field in schema]
    return [name for name in names if name in (TITLE, COLUMN_WORDS) or name.startswith(COLUMN)]


def _register(index: tantivy.Index, analysis: Analysis) -> None:
    for name, tokenizer in analysis.tokenizers().items():
        index.register_tokenizer(TOKENIZERS[name], tokenizer)


def _reopen(folder: Path) -> tantivy.Index | None:
    """Return the index of a killed build, as it was last committed; None where there is none that can be opened."""
    try:
        return tantivy.Index.open(str(folder)) if tantivy.Index.exists(str(folder)) else None
    except (OSError, ValueError):
        return None


def commit_size(documents: int) -> int:
    """Return after how many of the ``documents`` each commit is made, so that tantivy ends with one segment.

    tantivy merges eight segments of one size, and nothing else: the Python package cannot ask for more. A search in one
    segment takes half as long as in seventeen. So there are 1, 8, 64, … commits of one size. Where texts are so long that
    the memory of the writer does not suffice for one, or there are other documents than was said, some segments are left.
    """
    commits = 1
    while documents > commits * MOST_COMMITTED:
        commits *= MERGED_TOGETHER
    return -(-documents // commits) or MOST_COMMITTED


class LexicalWriter:
    """Writes a BM25 index of texts, one per document, in the order of the documents.

    With a single writer thread, equal input gives an equal ranking. As a context manager it is closed at the end.

    Args:
        folder: of the index.
        language: of the texts.
        version: of the analysis of words.
        documents: how many will be added, as far as it is known: then the index has one segment in the end.
        resume: whether documents that are committed in the folder stay; then those texts, when added, are skipped.
        columns: whose words are fields of their own.
    """

    def __init__(
        self,
        folder: Path,
        language: str,
        version: int = WORDS,
        *,
        documents: int = 0,
        resume: bool = False,
        columns: Iterable[str] = (),
    ) -> None:
        self._analysis = find_analysis(language, version)
        fields, of_columns = self._analysis.fields, [COLUMN + name for name in columns]
        analyzers = {TITLE: self._analysis.titles} | dict.fromkeys(of_columns, fields["body"])
        if of_columns:
            analyzers[COLUMN_WORDS] = [*fields.values()][-1]
        self._others = {name: analyzer for name, analyzer in analyzers.items() if analyzer is not None}
        index = _reopen(folder) if resume else None
        if index is None or _other_fields(folder) != [*self._others]:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            index = tantivy.Index(_schema(self._others), str(folder))
        _register(index, self._analysis)
        self._folder = folder
        self._there = int(index.searcher().num_docs)
        self._writer = index.writer(WRITER_BYTES, 1)
        self._rows = 0
        self._committed_together = commit_size(documents)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def add(self, texts: Iterable[str], others: Iterable[FieldTexts] = ()) -> None:
        """Add the next documents. A kill does not lose them, but for those of the last commit.

        Args:
            texts: title, line end and text of each.
            others: texts of the other fields of each; by default these are empty.
        """
        rest = iter(others)
        for text in texts:
            of_fields = next(rest, {})
            if self._rows < self._there:
                self._rows += 1
                continue
            document = tantivy.Document()
            for name, prepared in self._analysis.prepare(text).items():
                document.add_text(name, prepared)
            for name, analyzer in self._others.items():
                document.add_text(name, " ".join(analyzer.analyze(of_fields.get(name, ""))))
            document.add_unsigned("document", self._rows)
            self._writer.add_document(document)
            self._rows += 1
            if self._rows % self._committed_together == 0:
                self._writer.commit()

    def close(self) -> None:
        """Commit what is still in memory, and merge; the folder is complete after this."""
        self._writer.commit()
        self._writer.wait_merging_threads()
        for lock in self._folder.glob(".tantivy-*.lock"):  # not part of the index; created again when it is opened
            lock.unlink()


class AnalysedWords(ABC):
    """What a lexical leg knows by the analysis of its texts alone, whichever store has its words.

    Args:
        analysis: makes terms of texts.
        columns: weight of each column that is searched.
        titles: whether the titles have a field of their own.
    """

    def __init__(self, analysis: Analysis, columns: Mapping[str, float] | None = None, *, titles: bool = False) -> None:
        self._analysis = analysis
        self._columns = dict(columns or {})
        self._titles = analysis.titles if titles else None

    @property
    @abstractmethod
    def vocabulary(self) -> Mapping[str, int]:
        """The most frequent words, unstemmed and in lower case, each with its document frequency."""

    def terms(self, text: str) -> list[str]:
        """Return the distinct terms of ``text`` as the index knows them: lower-cased, stemmed, no stop words."""
        return list(dict.fromkeys(self._analysis.fields["body"].analyze(text)))

    def analyze(self, query: Query) -> QueryTerms:
        """Return the terms of a query; those that are terms already are returned as they are."""
        if not isinstance(query, str):
            return query
        terms = self._analysis.query_terms(query)
        if not self._columns:
            return terms
        in_columns = dict.fromkeys([COLUMN + name for name in self._columns], terms.fields["body"])
        return terms._replace(fields={**terms.fields, **in_columns})

    def fields(self) -> list[Field]:
        """Return name, weight of a term, and analyzer of each field.

        The fields of titles and of all columns' words are in no query for documents.
        """
        weights = {"body": 1.0, "exact": EXACT_WEIGHT}
        fields = [(name, weights[name], analyzer) for name, analyzer in self._analysis.fields.items()]
        if self._titles:
            fields.append((TITLE, 1.0, self._titles))
        body, words = self._analysis.fields["body"], fields[len(self._analysis.fields) - 1][2]
        fields += [(COLUMN + name, weight, body) for name, weight in self._columns.items()]
        return [*fields, (COLUMN_WORDS, 1.0, words)] if self._columns else fields

    @property
    def columns(self) -> Mapping[str, float]:
        """Weight of each column that is searched beside title and text."""
        return self._columns

    @property
    def word_fields(self) -> list[str]:
        """Names of the fields that hold words as they are written, or the nearest to it that an older index has."""
        words = [*self._analysis.fields][-1]
        return [words, COLUMN_WORDS] if self._columns else [words]

    @property
    def title_field(self) -> str:
        """Name of the field from which titles are completed; an older index has none of its own."""
        return TITLE if self._titles else self.word_fields[0]

    def near(self, word: str, edits: int) -> list[Near]:
        """Return the words of the vocabulary within so many edits, nearest first, of equally near ones the most frequent."""
        return self._compared.near(word, edits)

    def comparable(self, word: str) -> str:
        """Return a word, spelt as in the vocabulary, in the form in which it is compared."""
        return self._analysis.comparable(word)

    @cached_property
    def _compared(self) -> Vocabulary:
        return Vocabulary(self.vocabulary, self._analysis.comparable)

    def knows_all(self, text: str) -> bool:  # noqa: ARG002 - of the protocol
        """Say whether every word of `spellings` is known; this leg does not find out without them."""
        return False

    def spellings(self, text: str) -> list[Spelling]:
        """Return the words of letters in ``text``, each with its place and as the vocabulary spells it."""
        return self._analysis.spellings(text)


class LexicalIndex(AnalysedWords):
    """A BM25 index that can be searched; safe to use from several threads.

    Args:
        folder: of the index.
        language: of the texts.
        version: of the analysis with which it was written.
        columns: weight of each column that is searched.
    """

    def __init__(
        self, folder: Path, language: str, version: int = WORDS, columns: Mapping[str, float] | None = None
    ) -> None:
        others = _other_fields(folder)
        super().__init__(find_analysis(language, version), columns, titles=TITLE in others)
        self._schema = _schema(others)
        # tantivy insists on a lock file beside the index, but the artifact is immutable and may be mounted read-only.
        # So the index is opened through a temporary folder of links. The files stay mapped when the folder is removed.
        # tantivy may write its lock file during the removal, which then leaves an empty file.
        with tempfile.TemporaryDirectory(prefix="dowse-lexical-", ignore_cleanup_errors=True) as links:
            for path in folder.iterdir():
                (Path(links) / path.name).symlink_to(path.resolve())
            index = tantivy.Index.open(links)
            _register(index, self._analysis)
            index.config_reader("manual")
            self._searcher = index.searcher()
        self._is_known = cached_for_owner(self._look_up, CACHED_WORDS)
        self._are_known = cached_for_owner(self._look_up_all, CACHED_WORDS)

    @classmethod
    def open(
        cls, folder: Path, language: str, version: int = WORDS, columns: Mapping[str, float] | None = None
    ) -> Self:
        """Open the index in ``folder``, which was written for ``language`` with this version of the analysis."""
        return cls(folder, language, version, columns)

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def document_frequency(self, name: str, term: str) -> int:
        """Return how many documents have a term in a field."""
        return int(self._searcher.doc_freq(name, term))

    def all_terms(self, name: str) -> list[tuple[str, int]]:
        """Return all terms of a field in the order of their bytes, each with its document frequency."""
        limit = MAX_VOCABULARY
        while len(terms := self._searcher.terms_with_prefix(name, "", limit=limit)) == limit:
            limit *= DEPTH_FACTOR  # tantivy reserves memory for as many
        return list(terms)

    def average_length(self, name: str) -> float:
        """Return the average number of terms in a field; tantivy gives it only in the explanation of a score."""
        prefixes = (*COMMON_PREFIXES, "")
        found = (self._searcher.terms_with_prefix(name, prefix, limit=1) for prefix in prefixes)
        terms = next(filter(None, found), None)
        if not terms:
            return 1.0
        query = self._term(name, terms[0][0])
        _, address = self._searcher.search(query, 1, count=False).hits[0]
        parts = [json.loads(query.explain(self._searcher, address).to_json())]
        while not (part := parts.pop())["description"].startswith("avgdl"):
            parts += part.get("details", [])
        return float(part["value"])

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

    def continuations(self, prefix: str, count: int, field: str | None = None) -> list[tuple[str, int]]:
        """Return the most frequent words that begin with ``prefix``, as they are written, with their frequencies.

        Words of title and text, or those of another ``field``.
        """
        found: Counter[str] = Counter()
        for name in [field] if field else self.word_fields:
            found |= Counter(dict(self._searcher.terms_with_prefix(name, prefix, limit=count)))  # the larger number
        return found.most_common(count)

    def count_documents(self, word: str, allowed: DocumentMask) -> int:
        """Return how many of the ``allowed`` documents hold a word of `vocabulary` as it is written, not its stem."""
        fields = self.word_fields
        any_field = _any_of([self._term(field, word) for field in fields])
        _, rows = self._search(any_field, sum(self.document_frequency(field, word) for field in fields))
        return int(np.count_nonzero(allowed.mask[rows]))

    def knows(self, word: str) -> bool:
        """Say whether ``word`` occurs in a document, or has no terms to look for, like a stop word."""
        return self._is_known(word)

    def knows_all(self, text: str) -> bool:
        """Say whether the leg `knows` every word of `spellings`, several times faster than one by one.

        False may also mean that the index is an older one, whose analysis has to be asked for the whole text.
        """
        return isinstance(self._analysis, Words) and all(map(self._are_known, self._analysis.written(text)))

    def _look_up_all(self, written: str) -> bool:
        return all(self.knows(spelling.word) for spelling in self.spellings(written))

    def _look_up(self, word: str) -> bool:
        terms = self.terms(word)
        fields = ["body", *(COLUMN + name for name in self._columns)]
        return not terms or any(self._searcher.doc_freq(field, term) for term in terms for field in fields)

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """The most frequent words, unstemmed and in lower case, each with its document frequency.

        It has no words of scripts without spaces. Reading it takes a moment and some memory.
        """
        if self._analysis.vocabulary_field is None:
            return {}
        words: dict[str, int] = {}
        for field in self.word_fields:
            for word, documents in self._searcher.terms_with_prefix(field, "", limit=MAX_VOCABULARY):
                if is_of_letters(word):
                    words[word] = max(documents, words.get(word, 0))
        return words

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
        any_document = tantivy.Query.term_set_query(self._schema, "document", documents.tolist())
        return tantivy.Query.boolean_query(
            [
                (tantivy.Occur.Must, tantivy.Query.const_score_query(any_document, 0.0)),
                (tantivy.Occur.Must, self._any_term(query)),
            ]
        )

    def _term(self, field: str, term: str) -> tantivy.Query:
        return tantivy.Query.term_query(self._schema, field, term, "freq")

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


def merge_spans(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans in order, overlapping ones merged: pairs of characters overlap, words never do."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def to_code_points(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Convert ascending spans from offsets in UTF-8 bytes to offsets in code points."""
    if text.isascii():
        return spans
    raw, byte, code_point, bounds = text.encode(), 0, 0, []
    for span in spans:
        for bound in span:
            code_point += len(raw[byte:bound].decode())
            byte = bound
            bounds.append(code_point)
    return list(zip(bounds[::2], bounds[1::2], strict=True))
