"""Guesses of what the columns of a corpus are for, by their names and values; `indexer inspect` and `build` say them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from indexer.corpus.columns import ID_COLUMNS
from indexer.corpus.names import EXACT_NAMES, ID_NAMES, LIST_NAMES, TEXT_NAMES, TITLE_NAMES, is_among, rank
from indexer.corpus.profile import Column, Profile
from indexer.corpus.values.markup import LEAST_SHARE

MOST_TITLE_WORDS, MOST_TITLE_CHARACTERS = 15, 120
"""Mean length up to which texts that differ from row to row are titles, whatever their column is called."""
_CALL = re.compile(r"^\s*\(")
_SEPARATED = re.compile(r"[,;|\n]")
_ADDRESS = re.compile(r"^\s*(?:https?://|www\.|\S+@\S+\.\S+\s*$)|\.(?:jpe?g|png|webp|gif|svg)\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Guess:
    """What the columns of a corpus look like.

    Attributes:
        id: column of the ids; None for row numbers.
        title: column of the titles; None where there is none.
        text: column of the texts; None where nothing looks like one.
        lists: columns of texts with several values.
        exact: columns of codes that are searched as a whole, such as those of products.
        search: columns of short texts that repeat, such as brands, which are searched beside title and text.
        html: whether title or text holds HTML.
    """

    id: str | None
    title: str | None
    text: str | None
    lists: tuple[str, ...]
    exact: tuple[str, ...]
    search: tuple[str, ...]
    html: bool

    def flags(self) -> dict[str, str]:
        """Return the settings of the indexer that say so, where they differ from what it does without them."""
        flags = {}
        if self.id and self.id not in ID_COLUMNS:
            flags["id_column"] = self.id
        if self.title and self.title != "title":
            flags["title_column"] = self.title
        if self.text and self.text != "text":
            flags["text_column"] = self.text
        for name in ("lists", "exact", "search"):
            if columns := getattr(self, name):
                flags[{"lists": "list_columns"}.get(name, f"{name}_columns")] = ",".join(columns)
        return flags

    def use(self, column: Column) -> str:
        """Say in a few words what a column would be used for."""
        name = column.name
        if name in (self.title, self.text):
            role = "title" if name == self.title else "text"
            return f"{role}; HTML becomes text" if column.markup >= LEAST_SHARE else role
        uses = dict.fromkeys(self.search, "searched; filter, facet")
        uses |= dict.fromkeys(self.exact, "searched as a whole; filter")
        uses |= dict.fromkeys(self.lists, "list: filter, facet, searched")
        if self.id:
            uses[self.id] = "id"
        return uses.get(name) or _metadata_use(column)


def guess(profile: Profile) -> Guess:
    """Return what the columns of a corpus look like."""
    columns = list(profile.columns.values())
    text = _text(columns)
    title = _title([column for column in columns if column is not text], text)
    rest = [column for column in columns if column not in (text, title)]
    document_id = _id(rest)
    rest = [column for column in rest if column is not document_id]
    lists = [column for column in rest if _is_list(column)]
    exact = [column for column in rest if column not in lists and _is_exact(column)]
    search = [column for column in rest if column in lists or (column not in exact and _is_category(column))]
    html = any(column.markup >= LEAST_SHARE for column in (title, text) if column)
    return Guess(_name(document_id), _name(title), _name(text), _names(lists), _names(exact), _names(search), html)


def _metadata_use(column: Column) -> str:
    if not column.present:
        return "nothing: it is empty"
    if column.is_text and (column.words > 8 or column.share(_ADDRESS) > 0.9):
        return "shown"
    return "filter, facet" if column.is_text or pa.types.is_boolean(column.kind) else "filter"


def _name(column: Column | None) -> str | None:
    return column.name if column else None


def _names(columns: list[Column]) -> tuple[str, ...]:
    return tuple(column.name for column in columns)


def _text(columns: list[Column]) -> Column | None:
    """Return the column of the texts: `text`, else one with such a name and sentences in it, else the longest texts."""
    candidates = [column for column in columns if column.is_text and column.present]
    if own := [column for column in candidates if column.name == "text"]:
        return own[0]
    prose = [column for column in candidates if column.words >= 3 and column.share(_ADDRESS) < 0.5]
    named = [column for column in prose if is_among(column.name, TEXT_NAMES)]
    if named:
        return min(named, key=lambda column: (rank(column.name, TEXT_NAMES), -column.characters))
    return max(prose, key=lambda column: column.characters, default=None)


def _title(columns: list[Column], text: Column | None) -> Column | None:
    """Return the column of the titles: `title`, else one with such a name whose values are short and mostly differ.

    Else the first one of short texts that nearly all differ, and are longer than a person's name.
    """
    candidates = [column for column in columns if column.is_text and column.present]
    if own := [column for column in candidates if column.name == "title"]:
        return own[0]
    longest = text.characters if text else float("inf")
    fit = [
        column
        for column in candidates
        if column.present >= column.rows / 2
        and column.distinct >= column.present / 2
        and 1 <= column.words <= 25
        and column.characters < longest
        and not column.is_code_like
    ]
    if named := [column for column in fit if is_among(column.name, TITLE_NAMES)]:
        return min(named, key=lambda column: (rank(column.name, TITLE_NAMES), -column.characters))
    return next((column for column in fit if _reads_like_titles(column)), None)


def _reads_like_titles(column: Column) -> bool:
    """Say whether nearly every row has a short text of its own, of several words, that is no list and no address."""
    return (
        column.present >= 0.9 * column.rows
        and column.distinct >= 0.9 * column.present
        and 2 < column.words <= MOST_TITLE_WORDS
        and column.characters <= MOST_TITLE_CHARACTERS
        and column.has_letters
        and column.share(_ADDRESS) < 0.1
        and not _is_list(column)
    )


def _id(columns: list[Column]) -> Column | None:
    """Return the column of the ids: `id`, else one of unique codes, those with the name of an id first."""
    if own := [column for name in ID_COLUMNS for column in columns if column.name == name]:
        return own[0]
    fit = [
        column
        for column in columns
        if column.is_unique
        and (
            column.is_code_like
            or (is_among(column.name, ID_NAMES) and (pa.types.is_integer(column.kind) or _is_one_word(column)))
        )
    ]
    return min(fit, key=lambda column: rank(column.name, ID_NAMES), default=None)


def _is_one_word(column: Column) -> bool:
    return column.is_text and column.words == 1 and column.characters <= 64 and column.share(_ADDRESS) < 0.5


def _is_list(column: Column) -> bool:
    """Say whether texts hold several values each: lists as they are written, or short values that repeat.

    A town and its country, always two values, are one place.
    """
    if not column.is_text or column.share(_SEPARATED) < 0.2 or column.share(_CALL) > 0.5:
        return False
    lists = column.lists()
    items = [item for values in lists for item in values]
    if not items or np.mean([len(item.split()) for item in items]) > 4 or np.median([len(item) for item in items]) > 30:
        return False
    repeat = len(Counter(items)) <= len(items) / 2
    vary = len({len(values) for values in lists}) > 1
    words = sum(any(map(str.isalpha, item)) for item in items) >= len(items) / 2
    return (repeat and vary and words) or is_among(column.name, LIST_NAMES)


def _is_exact(column: Column) -> bool:
    """Say whether a column holds codes that nearly always differ."""
    differ = column.present >= column.rows / 2 and column.distinct >= 0.95 * column.present
    named = is_among(column.name, EXACT_NAMES) and (pa.types.is_integer(column.kind) or _is_one_word(column))
    return column.rows > 1 and differ and (column.is_code_like or named) and column.share(_ADDRESS) < 0.5


def _is_category(column: Column) -> bool:
    """Say whether a column holds short texts that repeat, and are words."""
    return (
        column.is_text
        and 3 <= column.distinct <= column.present / 2
        and column.words <= 4
        and column.has_letters
        and column.characters > 3
        and column.share(_ADDRESS) < 0.5
    )
