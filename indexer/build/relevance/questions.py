"""Queries that an index answers, and queries that it does not: made without labels.

Answered are three kinds. They differ in how much of the answer's words they share, as people's queries do:

- *neighbour questions*: a sentence whose own document is left out; other documents answer it;
- *key words* of a document: some of its rarest words;
- *halves*: half of the words of a sentence that the document still has.

Other documents with all words of the last two kinds answer them, too: in a catalogue many texts share their sentences.

Not answered are a fixed list of short queries of many domains and languages, and words of the key words of three
documents, which no document has together. A sentence without its own document is no example: where documents resemble
each other, others answer it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from indexer.build.weights.inverse_cloze import halves
from indexer.build.weights.neighbour_questions import make_neighbour_questions, pick_sentence
from indexer.index.index import Index
from indexer.index.served import ServedIndex
from indexer.index.terms.columns import COLUMN, column_text

OF_EACH_KIND = 100
"""Queries of each kind, at most."""
SOURCES = 4 * OF_EACH_KIND
"""Documents that are drawn for one kind, as some of them give no query."""
MAX_SHARE = 0.1
"""Share of the documents that have a key word, at most."""
KEY_WORDS = range(2, 5)
"""Key words of a query."""
RAREST = 20
"""Words of a document among which its key words are."""
MIN_WORD = 3
"""Characters of a key word, at least."""
MIXED_WEIGHT = 0.5
"""Weight of a query of mixed words: its words are the corpus's own, and some document may answer it after all."""
GENERAL_QUERIES = Path(__file__).with_name("general_queries.txt")


class Query(NamedTuple):
    """A query, and what is known of its answers.

    Attributes:
        text: as a user would type it.
        answers: rows of the documents that answer it; none where the index does not.
        left_out: row of a document that is not searched; None for none.
        weight: of the query among all others.
        by_words: whether every document that has all of its words answers it.
    """

    text: str
    answers: frozenset[int] = frozenset()
    left_out: int | None = None
    weight: float = 1.0
    by_words: bool = False


def make_queries(index: Index, seed: int) -> list[Query]:
    """Return the queries of all kinds; those that the index answers come first."""
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    rows = rng.sample(range(index.rows), min(SOURCES, index.rows))
    neighbours = make_neighbour_questions(index, rows, OF_EACH_KIND, seed)
    with_key_words = list(draw_key_words(index, rng.sample(rows, len(rows)), rng))
    return [
        *(Query(question.text, frozenset(question.answers), question.source) for question in neighbours),
        *(Query(" ".join(words), frozenset([row]), by_words=True) for row, words in with_key_words),
        *_halves(index, rng.sample(rows, len(rows)), rng),
        *unanswered_queries([words for _, words in with_key_words], rng),
    ]


def unanswered_queries(key_words: Sequence[Sequence[str]], rng: random.Random) -> list[Query]:
    """Return queries that no document answers: the fixed ones, and mixed words of the ``key_words`` of documents."""
    mixed = []
    for words in key_words:
        others = rng.sample(key_words, min(2, len(key_words)))
        mixed.append(" ".join(rng.choice(each) for each in (words, *others)))
    return [*map(Query, general_queries()), *(Query(text, weight=MIXED_WEIGHT) for text in mixed)]


@cache
def general_queries() -> tuple[str, ...]:
    """Return the fixed queries of many domains and languages."""
    return tuple(GENERAL_QUERIES.read_text(encoding="utf-8").splitlines())


def searched_text(index: ServedIndex, row: int) -> str:
    """Return all words of a document that the lexical leg finds: of its title, its text and its search columns."""
    document = index.document(row)
    columns = (column_text(document.metadata.get(name)) for name in index.lexical.columns)
    return "\n".join([document.title or "", document.text, *columns])


def key_words(index: Index, row: int) -> list[str]:
    """Return the rarest words of a document as its author writes them, the rarest first; without those of many documents."""
    lexical = index.lexical
    fields = ["body", *(COLUMN + name for name in lexical.columns)]
    found = {}
    for word in dict.fromkeys(each.word for each in lexical.spellings(searched_text(index, row))):
        if len(word) >= MIN_WORD and (terms := lexical.terms(word)):
            frequency = max(lexical.document_frequency(field, terms[0]) for field in fields)
            if 0 < frequency <= max(MAX_SHARE * len(lexical), 1):
                found[word] = frequency
    return sorted(found, key=lambda word: (found[word], word))[:RAREST]


def draw_key_words(index: Index, rows: Sequence[int], rng: random.Random) -> Iterator[tuple[int, list[str]]]:
    """Yield some rows, each with key words of its document."""
    count = 0
    for row in rows:
        words = key_words(index, row)
        if len(words) >= KEY_WORDS.start:
            yield row, rng.sample(words, min(rng.choice(KEY_WORDS), len(words)))
            count += 1
        if count == OF_EACH_KIND:
            return


def _halves(index: Index, rows: Sequence[int], rng: random.Random) -> Iterator[Query]:
    """Yield half of the words of a sentence of each document."""
    for row in rows[:OF_EACH_KIND]:
        half, _ = halves(pick_sentence(index.document(row).text, rng), rng)
        if half.strip():
            yield Query(half, frozenset([row]), by_words=True)
