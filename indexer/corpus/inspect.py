"""Inspection of a corpus before anything is built: a table of its columns, and the commands that take them as they are."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from indexer.corpus.guess import Guess, guess
from indexer.corpus.profile import MOST_DISTINCT, Column, Profile
from indexer.corpus.source import Source
from indexer.corpus.sql.url import is_url
from indexer.errors import UserError

EXAMPLE_CHARACTERS = 24
HEADER = ("column", "type", "empty", "distinct", "examples", "use")
_SHORT_TYPES = {
    pa.string(): "text", pa.large_string(): "text", pa.int64(): "whole number", pa.float64(): "number",
    pa.bool_(): "true/false", pa.date32(): "date", pa.null(): "none",
}  # fmt: skip


@dataclass(frozen=True)
class Inspection:
    """What `inspect` has found in the corpus ``spec``, of a database with the statement ``query``."""

    spec: str
    query: str | None
    profile: Profile
    guess: Guess

    def table(self) -> Iterator[str]:
        """Yield the lines of a table: one for each column of the corpus."""
        rows = [HEADER, *(_cells(column, self.guess) for column in self.profile.columns.values())]
        widths = [max(len(row[place]) for row in rows) for place in range(len(HEADER))]
        for row in rows:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()

    def remarks(self) -> Iterator[str]:
        """Yield in sentences what the table does not say."""
        profile, found = self.profile, self.guess
        if profile.bad:
            yield f"{profile.bad:,} rows cannot be read; a build names them, and leaves them out with --skip-bad-rows"
        if found.text is None:
            yield "no column has texts of some words: there is nothing to search; name one with --text-column"
        if found.id is None:
            yield "no column has unique ids: they will be row numbers"
        if found.text is not None and (missing := profile.columns[found.text].missing):
            yield f"{missing:,} rows have no {found.text}; leave them out with --skip-bad-rows"

    def command(self, program: str, known: Collection[str]) -> str:
        """Return the command that takes the columns as `Guess` says.

        Args:
            program: such as ``indexer build``.
            known: names of the settings that it has.
        """
        words = ["python", "-m", *program.split(), self.spec]
        if self.query:
            words += ["--query", self.query]
        flags = self.guess.flags()
        if (text := self.guess.text) and (self.profile.columns[text].missing or self.profile.bad):
            flags["skip_bad_rows"] = ""
        for name, value in flags.items():
            if name in known:
                words += [f"--{name.replace('_', '-')}", *([value] if value else [])]
        return shlex.join(words)


def inspect(spec: str, query: str | None = None, limit: int | None = None, data: Path | None = None) -> Inspection:
    """Read the first ``limit`` rows of a corpus, or all, and return what its columns look like.

    Args:
        spec: a file, a folder, a glob, or the URL of a database.
        query: SQL statement, where it is one.
        limit: number of rows.
        data: the data directory, where rows of a database are kept meanwhile; by default ``$DOWSE_DATA``.

    Raises:
        UserError: a file or a database cannot be read, or there are no rows.
    """
    source = Source(spec, query, limit, data)
    profile = Profile.read(source, limit)
    if not profile.rows:
        raise UserError(f"{source.files[0].name}: holds no rows; give a corpus with at least one document")
    shown = source.files[0].name if is_url(spec) else spec  # without the password
    return Inspection(shown, query, profile, guess(profile))


def advice(profile: Profile, settings: Collection[str]) -> Iterator[str]:
    """Yield lines about what was taken where no flag says so, and about what columns look like.

    Args:
        profile: of the first rows.
        settings: names of those that somebody has set.
    """
    found = guess(profile)
    if "id_column" not in settings and found.id not in ("id", "_id"):
        unique = f"; {found.id!r} is unique, use --id-column {shlex.quote(found.id)}" if found.id else ""
        yield f"no column 'id': ids are row numbers{unique}"
    if "title_column" not in settings and found.title not in (None, "title"):
        yield f"no column 'title': no titles; {found.title!r} looks like one, use --title-column {shlex.quote(found.title)}"
    if "list_columns" not in settings and found.lists:
        names = ",".join(found.lists)
        looks = "looks like a list" if len(found.lists) == 1 else "look like lists"
        yield f"{', '.join(map(repr, found.lists))} {looks}, use --list-columns {shlex.quote(names)}"


def _cells(column: Column, found: Guess) -> tuple[str, ...]:
    share = column.missing / max(column.rows, 1)
    empty = "" if not column.missing else f"{share:.0%}" if share >= 0.01 else "<1%"
    distinct = "unique" if column.is_unique else f"{column.distinct:,}{'+' if column.distinct >= MOST_DISTINCT else ''}"
    examples = " | ".join(_short(text) for text in column.examples)
    return column.name, _type(column.kind), empty, distinct, examples, found.use(column)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list of {_type(kind.value_type)}"
    if pa.types.is_timestamp(kind):
        return "time in UTC" if kind.tz else "time"
    return _SHORT_TYPES.get(kind, "object" if pa.types.is_struct(kind) else str(kind))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= EXAMPLE_CHARACTERS else f"{text[: EXAMPLE_CHARACTERS - 1]}…"
