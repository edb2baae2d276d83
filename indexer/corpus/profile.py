"""Profile of a corpus's columns: types, missing and distinct values, examples; what `indexer inspect` shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from indexer.corpus.chunks import Roles, Types
from indexer.corpus.source import Source
from indexer.corpus.values.lists import split_list
from indexer.corpus.values.markup import share_with_markup
from indexer.progress import Bar

NO_ROLES = Roles(None, None, "")
"""All columns are metadata: nothing is known of them yet."""
MOST_DISTINCT = 1_000_000
"""Distinct values of a column that are counted; from there on it has «more»."""
SAMPLE_ROWS = 1_024
EXAMPLES = 3
_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"\d")


@dataclass
class Column:
    """What is known of one column.

    Attributes:
        name: of the column.
        kind: its type in an index.
        rows: that were read.
        missing: rows without a value, or with a blank one.
        distinct: different values, up to `MOST_DISTINCT`.
        sample: texts of the first rows that have one; of other types none.
        examples: the first different values, as text.
    """

    name: str
    kind: pa.DataType
    rows: int = 0
    missing: int = 0
    sample: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    _hashes: set[int] = field(default_factory=set, repr=False)

    @property
    def distinct(self) -> int:
        """Number of different values."""
        return len(self._hashes)

    @property
    def present(self) -> int:
        """Number of rows with a value."""
        return self.rows - self.missing

    @property
    def is_text(self) -> bool:
        """Whether the values are texts."""
        return bool(pa.types.is_string(self.kind) or pa.types.is_large_string(self.kind))

    @property
    def is_unique(self) -> bool:
        """Whether every row has a value, and no other row has it."""
        return self.rows > 1 and self.distinct == self.rows

    @property
    def words(self) -> float:
        """Mean number of words of a text."""
        return float(np.mean([len(text.split()) for text in self.sample])) if self.sample else 0.0

    @property
    def characters(self) -> float:
        """Mean length of a text."""
        return float(np.mean([len(text) for text in self.sample])) if self.sample else 0.0

    @property
    def markup(self) -> float:
        """Share of the texts that have HTML."""
        return share_with_markup(self.sample)

    def share(self, matches: re.Pattern[str]) -> float:
        """Return the share of the texts in which a pattern is found."""
        return sum(bool(matches.search(text)) for text in self.sample) / max(len(self.sample), 1)

    @property
    def is_code_like(self) -> bool:
        """Whether the values look like codes: one word each of 4 to 40 characters with digits, or whole numbers as long."""
        if pa.types.is_integer(self.kind):
            return bool(self.examples) and min(map(len, self.examples)) >= 8
        single = all(4 <= len(text) <= 40 and not re.search(r"\s|://|@", text) for text in self.sample)
        return self.is_text and single and self.share(_DIGIT) > 0.9

    @property
    def has_letters(self) -> bool:
        """Whether nearly all texts have letters."""
        return self.share(_LETTER) > 0.9

    def lists(self) -> list[list[str]]:
        """Return the values of each text, as `--list-columns` would."""
        return [values for text in self.sample if (values := split_list(text))]

    def observe(self, values: pa.Array) -> None:
        """Count more values."""
        self.rows += len(values)
        texts = _texts(values)
        present = [text for text in texts if text is not None and text.strip()]
        self.missing += len(texts) - len(present)
        if len(self._hashes) < MOST_DISTINCT:
            self._hashes.update(map(hash, present))
        if self.is_text:
            self.sample += present[: SAMPLE_ROWS - len(self.sample)]
        for text in present:
            if len(self.examples) == EXAMPLES:
                break
            if text not in self.examples:
                self.examples.append(text)


def _texts(values: pa.Array) -> Sequence[str | None]:
    """Return the values of a column as texts."""
    try:
        texts: list[str | None] = values.cast(pa.string()).to_pylist()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, UnicodeDecodeError):
        texts = [None if value is None or value == [] else _text(value) for value in map(_value, values)]
    return texts


def _value(scalar: pa.Scalar) -> Any:
    """Return a value; one that Python has no type for, such as a date of the year 20000, as a sign that there is one."""
    try:
        return scalar.as_py()
    except (OverflowError, ValueError, pa.ArrowException):
        return "…"


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class Profile:
    """The columns of a corpus, and how many rows were read of it; ``bad`` of them could not be."""

    columns: dict[str, Column]
    rows: int
    bad: int

    @classmethod
    def read(cls, source: Source, limit: int | None = None, *, bar: bool = True) -> Profile:
        """Read the first ``limit`` rows of ``source``, or all, twice: for the types, and for the values.

        Raises:
            UserError: a file cannot be read.
        """
        chunks: Iterable[Any] = source.chunks(NO_ROLES, limit)
        rows = bad = 0
        for chunk in chunks:
            rows += len(chunk.numbers) + len(chunk.rejects)
            bad += len(chunk.rejects)
        types: Types = source.types(NO_ROLES)
        columns = {name: Column(name, kind) for name, kind in types.items()}
        if bar and rows > SAMPLE_ROWS:
            with Bar("inspect", rows, "rows") as progress:
                for read in _observe(source, types, columns, limit):
                    progress.advance(read)
        else:
            for _ in _observe(source, types, columns, limit):
                pass
        return cls(columns, rows, bad)


def _observe(source: Source, types: Types, columns: dict[str, Column], limit: int | None) -> Iterable[int]:
    for chunk in source.chunks(NO_ROLES, limit, types):
        metadata = chunk.batch.column("metadata") if types else None
        for position, name in enumerate(types):
            values = pc.struct_field(metadata, [position])
            columns[name].observe(values)
        yield len(chunk.numbers) + len(chunk.rejects)
