"""Opened lexical index: its terms, their document frequencies, average lengths and vocabulary."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Self

import tantivy

from indexer.artifacts.manifest import WORDS
from indexer.cache import cached_for_owner
from indexer.index.lexical.analysed import AnalysedWords
from indexer.index.lexical.fields import make_schema, other_fields, register
from indexer.index.terms.analysis import find_analysis
from indexer.index.terms.columns import COLUMN, TITLE
from indexer.index.terms.words import Words, is_of_letters

MAX_VOCABULARY = 300_000
"""Words among which corrections of a misspelt word are searched."""
COMMON_PREFIXES = ("con", "tra", "pro", "sta", "ver", "mar")
"""Beginnings of words in most languages. Any term will do to read the average length; tantivy reads all that begin so, and of
a million documents reading all terms takes a second."""
CACHED_WORDS = 1 << 15
"""Words of queries of which is cached whether a document has them."""
GROWTH = 4
"""Factor by which more terms are read where there are more than were asked for."""


class IndexedWords(AnalysedWords):
    """The words of a BM25 index; safe to use from several threads.

    Args:
        folder: of the index.
        language: of the texts.
        version: of the analysis with which it was written.
        columns: weight of each column that is searched.
    """

    def __init__(
        self, folder: Path, language: str, version: int = WORDS, columns: Mapping[str, float] | None = None
    ) -> None:
        others = other_fields(folder)
        super().__init__(find_analysis(language, version), columns, titles=TITLE in others)
        self._schema = make_schema(others)
        # tantivy insists on a lock file beside the index, but the artifact is immutable and may be mounted read-only.
        # So the index is opened through a temporary folder of links. The files stay mapped when the folder is removed.
        # tantivy may write its lock file during the removal, which then leaves an empty file.
        with tempfile.TemporaryDirectory(prefix="dowse-lexical-", ignore_cleanup_errors=True) as links:
            for path in folder.iterdir():
                (Path(links) / path.name).symlink_to(path.resolve())
            index = tantivy.Index.open(links)
            register(index, self._analysis)
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
            limit *= GROWTH  # tantivy reserves memory for as many
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

    def continuations(self, prefix: str, count: int, field: str | None = None) -> list[tuple[str, int]]:
        """Return the most frequent words that begin with ``prefix``, as they are written, with their frequencies.

        Words of title and text, or those of another ``field``.
        """
        found: Counter[str] = Counter()
        for name in [field] if field else self.word_fields:
            found |= Counter(dict(self._searcher.terms_with_prefix(name, prefix, limit=count)))  # the larger number
        return found.most_common(count)

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

    def _term(self, field: str, term: str) -> tantivy.Query:
        return tantivy.Query.term_query(self._schema, field, term, "freq")
