"""Values that no other row has: what stands where values of the column mostly stand.

A context is what surrounds a value: the two words before it, the two after it, or one on either side. Its precision is the
lower bound of the share of rows in which the words there are the row's value. So «by Tavira comes» teaches that what stands
between «by» and «comes» is the brand, and a brand that nobody has written into the column is found too.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from indexer.build.metadata.grams import WORD
from indexer.build.metadata.rules import MIN_ROWS, lower_bound

MAX_CONTEXT_WORDS = 120
"""Words of a text in which values are looked for."""
LONGEST_VALUE = 3
"""Words of a value, at most."""
MIN_VALUES = 3
"""Different values that a context must have been seen with: with one it says nothing about another."""
START, END = "^", "$"

Context = tuple[str, int, str, str]
"""Kind, number of words of the value, and the words around it."""


@dataclass(frozen=True)
class Words:
    """The words of a text, as they are written and for comparing, and the text itself."""

    text: str
    spans: list[tuple[int, int]]
    folded: list[str]

    @classmethod
    def of(cls, text: str) -> Words:
        """Cut a text into words."""
        matches = [match for match, _ in zip(WORD.finditer(text), range(MAX_CONTEXT_WORDS), strict=False)]
        return cls(text, [match.span() for match in matches], [match[0].casefold() for match in matches])

    def written(self, first: int, count: int) -> str:
        """Return ``count`` words as the text has them, with one blank between them."""
        return re.sub(r"\s+", " ", self.text[self.spans[first][0] : self.spans[first + count - 1][1]])

    def contexts(self, first: int, count: int) -> Iterator[Context]:
        """Yield what surrounds the ``count`` words from ``first`` on."""
        around = [START, START, *self.folded, END, END]
        before, after = around[first : first + 2], around[first + 2 + count : first + 4 + count]
        yield "before", count, before[0], before[1]
        yield "around", count, before[1], after[0]
        yield "after", count, after[0], after[1]


@dataclass(frozen=True)
class Contexts:
    """Contexts of a column's values, with the precision of each."""

    precisions: dict[Context, float]

    def apply(self, texts: Sequence[Words]) -> tuple[str | None, float]:
        """Return what stands in the most precise context, as it is written, and the precision; None and 0 for none."""
        best, value = 0.0, None
        for words, first, count, context in _places(texts, {context[1] for context in self.precisions}):
            if self.precisions.get(context, 0.0) > best:
                best, value = self.precisions[context], words.written(first, count)
        return value, best


def learn_contexts(documents: Sequence[Sequence[Words]], values: Sequence[str]) -> Contexts:
    """Learn from rows whose value is known; most values have to stand in the texts as they are.

    Args:
        documents: the texts of each row.
        values: what each row has.
    """
    seen: defaultdict[Context, set[str]] = defaultdict(set)
    folded = [tuple(match[0].casefold() for match in WORD.finditer(value)) for value in values]
    for texts, value in zip(documents, folded, strict=True):
        if 0 < len(value) <= LONGEST_VALUE:
            for words, first, count, context in _places(texts, {len(value)}):
                if tuple(words.folded[first : first + count]) == value:
                    seen[context].add(" ".join(value))
    kept = {context for context, of_values in seen.items() if len(of_values) >= MIN_VALUES}
    rows: Counter[Context] = Counter()
    right: Counter[Context] = Counter()
    for texts, value in zip(documents, folded, strict=True):
        there: dict[Context, bool] = {}
        for words, first, count, context in _places(texts, {context[1] for context in kept}):
            if context in kept:
                is_value = tuple(words.folded[first : first + count]) == value
                there[context] = there.get(context, True) and is_value
        rows.update(there)
        right.update(context for context, all_right in there.items() if all_right)
    return Contexts(
        {context: float(lower_bound(right[context], rows[context])) for context in kept if rows[context] >= MIN_ROWS}
    )


def _places(texts: Sequence[Words], counts: set[int]) -> Iterator[tuple[Words, int, int, Context]]:
    """Yield every run of so many words of the texts, once for each of its contexts."""
    for words in texts:
        for count in counts:
            for first in range(len(words.folded) - count + 1):
                for context in words.contexts(first, count):
                    yield words, first, count, context
