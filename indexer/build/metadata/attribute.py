"""A column whose empty cells are filled: what was learned from its values, and how well that finds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from indexer.build.metadata.contexts import Contexts, Words
from indexer.build.metadata.grams import Grams, Vocabulary
from indexer.build.metadata.measure import Measured, measure_contexts, measure_rules
from indexer.build.metadata.rules import Rules
from indexer.build.metadata.sample import Sample, Texts
from indexer.corpus.corpus import Documents

Document = tuple[Grams, list[Words]]
"""Runs of words of a document, and its texts."""
MIN_KNOWN = 110
"""Rows with a value that a column needs: with fewer, a precision of .95 cannot be shown even if all are right."""


@dataclass(frozen=True)
class Learned:
    """What is known of a column's values, and how well it fills cells: by rules, and by contexts where no rule says anything."""

    rules: Rules
    by_rule: Measured
    contexts: Contexts
    by_context: Measured

    @property
    def usable(self) -> bool:
        """Whether any cell can be filled."""
        return self.by_rule.usable or self.by_context.usable


@dataclass(frozen=True)
class Attribute:
    """A column whose empty cells are filled. ``learned`` is None where too few of its rows, ``known``, have a value."""

    name: str
    values: list[str]
    known: int
    learned: Learned | None

    @property
    def usable(self) -> bool:
        """Whether any cell can be filled."""
        return self.learned is not None and self.learned.usable

    def describe(self) -> str:
        """Say in one line what the column gets."""
        if self.learned is None:
            return f"{self.name}: stays as it is, since only {self.known} rows have a value; {MIN_KNOWN} are needed"
        known = figures(self.learned.by_rule, "whose value other rows have")
        new = figures(self.learned.by_context, "as if no other row had their value")
        if not self.learned.usable:
            return f"{self.name}: stays as it is; nothing in the texts says its values surely enough ({known}; {new})"
        return f"{self.name}: empty cells are filled from the text ({known}; {new})"

    def find(self, grams: Grams, texts: Sequence[str | None]) -> str | None:
        """Return the value that a document's runs of words say, or what stands in a value's context; None for none."""
        if self.learned is None:
            return None
        value, precision, _ = self.learned.rules.apply(grams)
        if value >= 0 and precision >= self.learned.by_rule.least:
            return self.values[value]
        if not self.learned.by_context.usable:
            return None
        written, precision = self.learned.contexts.apply([Words.of(text) for text in texts if text])
        if written is None or precision < self.learned.by_context.least:
            return None
        return self._spellings.get(written.casefold(), written)

    @cached_property
    def _spellings(self) -> dict[str, str]:
        return {value.casefold(): value for value in self.values}


@dataclass
class RowFiller:
    """Fills cells as the rows with a value say."""

    vocabulary: Vocabulary
    attributes: Sequence[Attribute]

    @classmethod
    def learn(cls, sample: Sample, min_precision: float) -> Self:
        """Learn from the rows that have a value how to fill the others, and measure how well that succeeds."""
        vocabulary = Vocabulary()
        documents = [
            (vocabulary.read(texts, learn=True), [Words.of(text) for text in texts if text])
            for texts in sample.documents
        ]
        return cls(
            vocabulary,
            [learn_attribute(name, documents, cells, min_precision) for name, cells in sample.cells.items()],
        )

    def prepare(self, corpus: Documents, sample: Sample) -> None:
        """Do nothing: a document is read in a moment."""

    def find(self, documents: Sequence[Texts], wanted: Sequence[Sequence[str]]) -> list[dict[str, str]]:
        """Return for each document the values of its ``wanted`` columns that are sure enough."""
        attributes = {attribute.name: attribute for attribute in self.attributes}
        found: list[dict[str, str]] = []
        for texts, names in zip(documents, wanted, strict=True):
            grams = self.vocabulary.read(texts, learn=False)
            values = {name: attributes[name].find(grams, texts) for name in names}
            found.append({name: value for name, value in values.items() if value is not None})
        return found


def learn_attribute(
    name: str, documents: Sequence[Document], cells: Sequence[str | None], min_precision: float
) -> Attribute:
    """Learn from the ``cells`` of a column that have a value, one for each document."""
    known = [row for row, value in enumerate(cells) if not is_empty(value)]
    values = sorted({cells[row] or "" for row in known})
    if len(known) < MIN_KNOWN:
        return Attribute(name, values, len(known), None)
    number = {value: place for place, value in enumerate(values)}
    of_rows = np.array([number[cells[row] or ""] for row in known], dtype=np.int64)
    grams, texts = [documents[row][0] for row in known], [documents[row][1] for row in known]
    rules, by_rule = measure_rules(grams, of_rows, min_precision)
    contexts, by_context = measure_contexts(
        texts, grams, values, of_rows, least_rule=by_rule.least, min_precision=min_precision
    )
    return Attribute(name, values, len(known), Learned(rules, by_rule, contexts, by_context))


def is_empty(value: str | None) -> bool:
    """Say whether a cell holds nothing."""
    return value is None or not value.strip()


def figures(measured: Measured, of: str) -> str:
    """Say precision and recall ``of`` some rows."""
    if not measured.precision:
        return f"none of {measured.rows:,} rows {of}"
    return f"precision {measured.precision:.3f}, recall {measured.recall:.3f} of {measured.rows:,} rows {of}"
