"""The corpus: every row is checked before any work is done, then the documents are streamed.

Every row becomes a document or a reject that names the row and the reason; no row is lost silently.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from indexer.artifacts.manifest import InputEntry, describe_input
from indexer.corpus.chunks import Chunk, Reject, Roles, SourceFile, Types
from indexer.corpus.columns import choose_roles, parse_names
from indexer.corpus.duplicates import IdDigests
from indexer.corpus.guess import guess
from indexer.corpus.profile import SAMPLE_ROWS, Profile
from indexer.corpus.settings import Markup
from indexer.corpus.source import Source
from indexer.corpus.sql.url import is_url
from indexer.corpus.treatment import FIELDS, Treatment, find_markup
from indexer.errors import UserError
from indexer.progress import Bar, say

__all__ = ["Corpus", "Documents", "Reject", "rebatch", "write_rejects"]

REJECTS_SHOWN = 5
ENCODING_REMEDY = "; if the file is in a code page such as Windows-1252, save it as UTF-8"
ID_CHARACTERS_SHOWN = 60


class Documents(Protocol):
    """Documents to index: a corpus, or the documents of another index with the live writes since.

    ``text_bytes`` is the size of their ids, titles and texts, as far as it is known before they are read. ``treatment`` says
    what was changed in them.
    """

    inputs: list[InputEntry]
    rows: int
    documents: int
    rejects: list[Reject]
    id_from: str
    notes: list[str]
    text_bytes: int
    treatment: Treatment

    @property
    def schema(self) -> pa.Schema:
        """Fields of a document: id, title, text and, where there are other columns, metadata."""

    def batches(self, rows: int = 1024) -> Iterator[pa.RecordBatch]:
        """Yield the documents in batches of exactly ``rows`` rows but for the last."""


@dataclass
class Corpus:
    """A corpus that passed its check.

    ``rows`` counts all rows that were read, ``documents`` those that were accepted; ``rejects`` are the others in corpus
    order. ``text_bytes`` is the size of ids, titles and texts. ``id_from`` says where the ids come from. ``schema`` has
    the fields id, title, text (strings) and, where there are other columns, metadata (a struct of them with their types).
    ``treatment`` says what was changed in them.
    """

    inputs: list[InputEntry]
    rows: int
    documents: int
    rejects: list[Reject]
    id_from: str
    notes: list[str]
    text_bytes: int
    schema: pa.Schema
    treatment: Treatment
    _source: Source = field(repr=False)
    _roles: Roles = field(repr=False)
    _types: Types = field(repr=False)
    _limit: int | None = field(repr=False)
    _stamps: dict[SourceFile, tuple[int, int]] = field(repr=False)

    @classmethod
    def check(
        cls,
        spec: str,
        *,
        id_column: str | None = None,
        text_column: str = "text",
        title_column: str | None = None,
        markup: Markup = "auto",
        list_columns: str | None = None,
        limit: int | None = None,
        skip_bad_rows: bool = False,
        query: str | None = None,
        data: Path | None = None,
    ) -> Corpus:
        """Read the file, folder or glob ``spec`` once and return it as a corpus.

        ``spec`` can be the URL of a database: then the corpus is what ``query`` returns. Its rows are kept in a file
        below ``data`` (default: ``$DOWSE_DATA``) as long as the corpus is used.

        Without ``id_column`` the ids come from the column "id" or, where there is none, from the number of the row in
        the corpus. Without ``title_column`` the titles come from the column "title" where it holds text; the empty
        string and "none" mean no titles. ``markup`` decides what becomes of HTML in texts and titles, see `find_markup`;
        ``list_columns`` names metadata columns of texts that become lists. ``limit`` takes the first rows only.

        Raises:
            UserError: a file or a database is not readable, or a column is missing or of the wrong type. Or no row is a
                document, or some row is none and ``skip_bad_rows`` is false.
        """
        if limit is not None and limit < 1:
            raise UserError(f"--limit {limit}: the number of rows must be at least 1")
        source = Source(spec, query, limit, data)
        stamps = {file: _read_stamp(file) for file in source.files}
        _require_text(source, spec, text_column, limit)
        roles, notes = choose_roles(source.columns, id_column, text_column, title_column)
        source.types(roles)  # a conflict between Parquet files is reported before any row is read
        treatment = Treatment(_find_markup(source, roles, markup, limit), parse_names(list_columns, "--list-columns"))
        notes += _describe(treatment, roles)
        rows, text_bytes, rejects = _check_rows(source, roles, limit, treatment)
        if not rows:
            raise UserError(f"{spec}: holds no rows; give a corpus with at least one document")
        encoding = ENCODING_REMEDY if any(reject.reason == "invalid UTF-8" for reject in rejects) else ""
        if rejects and not skip_bad_rows:
            raise UserError(f"{_summarise(rejects)}{encoding}; correct the rows or leave them out with --skip-bad-rows")
        if len(rejects) == rows:
            raise UserError(f"{spec}: no row is a document: {_summarise(rejects)}{encoding}; correct the rows")
        types = source.types(roles)
        treated_types = treatment.types(types)
        schema = pa.schema([("id", pa.string()), ("title", pa.string()), ("text", pa.string())])
        if types:
            schema = schema.append(pa.field("metadata", pa.struct(list(treated_types.items()))))
        corpus = cls(
            inputs=[describe_input(file.path, file.name, file.partitions) for file in source.files],
            rows=rows,
            documents=rows - len(rejects),
            rejects=rejects,
            id_from=f"column {roles.id!r}" if roles.id else "row number",
            notes=notes,
            text_bytes=text_bytes,
            schema=schema,
            treatment=treatment,
            _source=source,
            _roles=roles,
            _types=types,
            _limit=limit,
            _stamps=stamps,
        )
        corpus._refuse_changes(source.files)
        return corpus

    def profile(self) -> Profile:
        """Return the profile of all columns by the first rows, as they are in the files."""
        return Profile.read(self._source, min(self._limit or SAMPLE_ROWS, SAMPLE_ROWS), bar=False)

    def batches(self, rows: int = 1024) -> Iterator[pa.RecordBatch]:
        """Yield the documents in corpus order, in batches of exactly ``rows`` rows but for the last.

        Raises:
            UserError: a file has changed since it was checked.
        """
        self._refuse_changes(self._source.files)
        rejected: dict[str, list[int]] = {file.name: [] for file in self._source.files}
        for reject in self.rejects:
            rejected[reject.file].append(reject.row)

        def accepted_batches() -> Iterator[pa.RecordBatch]:
            for chunk in self._source.chunks(self._roles, self._limit, self._types):
                self._refuse_changes([chunk.file])
                good = ~np.isin(chunk.numbers, rejected[chunk.file.name])
                batch = self.treatment.batch(chunk.batch.filter(pa.array(good)))
                # Arrow's conversion, even to the same type, gives lists of nulls too few elements.
                yield batch if batch.schema == self.schema else batch.cast(self.schema)

        yield from rebatch(accepted_batches(), rows)

    def _refuse_changes(self, files: Iterable[SourceFile]) -> None:
        for file in files:
            if _read_stamp(file) != self._stamps[file]:
                raise UserError(f"{file.name}: changed while it was read; run the command again")


def rebatch(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches of exactly ``rows`` rows but for the last."""
    buffer: list[pa.RecordBatch] = []
    for batch in batches:
        buffer.append(batch)
        if sum(part.num_rows for part in buffer) >= rows:
            merged = pa.concat_batches(buffer)
            end = merged.num_rows // rows * rows
            yield from (merged.slice(start, rows) for start in range(0, end, rows))
            buffer = [merged.slice(end)]
    if remainder := [part for part in buffer if part.num_rows]:
        yield pa.concat_batches(remainder)


def write_rejects(path: Path, rejects: Iterable[Reject]) -> None:
    """Write one JSON object with file, row, id and reason per line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(reject), ensure_ascii=False) + "\n" for reject in rejects)


def _read_stamp(file: SourceFile) -> tuple[int, int]:
    """Return size and modification time of a file, by which a change is noticed."""
    try:
        status = file.path.stat()
    except OSError as error:
        raise UserError(f"{file.name}: not readable ({error.strerror}); restore the file") from error
    return status.st_size, status.st_mtime_ns


def _require_text(source: Source, spec: str, text_column: str, limit: int | None) -> None:
    """Raise `UserError` where no file has a column of the texts, and say which one looks like it."""
    columns = [columns for columns in source.columns.values() if columns]
    if not columns or any(text_column in names for names in columns):
        return  # a file of several that lacks it is named where roles are chosen
    found = guess(Profile.read(source, min(limit or SAMPLE_ROWS, SAMPLE_ROWS), bar=False)).text
    looks = f", such as {found!r}" if found else ""
    whole = (
        "" if is_url(spec) else f"; `python -m indexer inspect {shlex.quote(spec)}` shows what each column looks like"
    )
    raise UserError(
        f"{source.files[0].name}: no column {text_column!r} among {', '.join(map(repr, columns[0]))}; name the right one with "
        f"--text-column{looks}{whole}"
    )


def _find_markup(source: Source, roles: Roles, markup: Markup, limit: int | None) -> tuple[str, ...]:
    """Return which of title and text hold HTML, by the first rows; say so."""
    first = next(source.chunks(roles, limit), None) if markup == "auto" else None
    titles, texts = (first.batch.column(name).to_pylist() if first else [] for name in FIELDS)
    return find_markup(markup, titles, texts)


def _describe(treatment: Treatment, roles: Roles) -> list[str]:
    """Say what is done to the columns of title and text, and return it for the manifest."""
    columns = [
        repr(column) for field, column in zip(FIELDS, roles[1:], strict=True) if column and field in treatment.markup
    ]
    if not columns:
        return []
    note = f"HTML of {' and '.join(columns)} was turned into text"
    say(f"{note} (--markup keep leaves it)")
    return [note]


def _check_rows(source: Source, roles: Roles, limit: int | None, treatment: Treatment) -> tuple[int, int, list[Reject]]:
    """Read all rows; return their number, the size of ids, titles and texts, and the rejects in corpus order."""
    position = {file.name: number for number, file in enumerate(source.files)}
    total = min(source.total, limit) if source.total is not None and limit else source.total or limit
    rows = text_bytes = 0
    rejects: list[Reject] = []
    digests = IdDigests()
    with Bar("check", total, "rows") as bar:
        for chunk in source.chunks(roles, limit):
            rows += len(chunk.numbers) + len(chunk.rejects)
            bar.advance(len(chunk.numbers) + len(chunk.rejects))
            batch = treatment.batch(chunk.batch)
            text_bytes += batch.nbytes
            rejects += chunk.rejects
            no_id, no_text = _is_blank(batch.column("id")), _is_blank(batch.column("text"))
            for row in np.flatnonzero(no_id | no_text):
                reason = "missing id" if no_id[row] else "empty text"
                document_id = None if no_id[row] else batch.column("id")[row].as_py()
                rejects.append(Reject(chunk.file.name, int(chunk.numbers[row]), document_id, reason))
            if roles.id:
                good = ~(no_id | no_text)
                ids = batch.column("id").filter(pa.array(good))
                digests.add(position[chunk.file.name], chunk.numbers[good], ids)
    rejects += _duplicate_rejects(source, roles, limit, digests)
    return rows, text_bytes, sorted(rejects, key=lambda reject: (position[reject.file], reject.row))


def _is_blank(texts: pa.StringArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return for each text whether it is null or only white space."""
    filled = pc.not_equal(pc.utf8_trim_whitespace(texts), "").fill_null(False)
    blank: np.ndarray[tuple[int], np.dtype[np.bool_]] = ~filled.to_numpy(zero_copy_only=False)
    return blank


def _duplicate_rejects(source: Source, roles: Roles, limit: int | None, digests: IdDigests) -> Iterator[Reject]:
    """Yield a reject for every row whose id an earlier row has; where there are any, the rows are read again for the ids."""
    first_locations: dict[tuple[str, int], str] = {}
    for duplicate in digests.duplicates():
        file, first_file = source.files[duplicate.file].name, source.files[duplicate.first_file].name
        location = f"row {duplicate.first_row}" if file == first_file else f"{first_file} row {duplicate.first_row}"
        first_locations[file, duplicate.row] = location
    chunks: Iterable[Chunk] = source.chunks(roles, limit) if first_locations else ()
    for chunk in chunks:
        for row, number in enumerate(chunk.numbers.tolist()):
            if location := first_locations.get((chunk.file.name, number), ""):
                document_id = chunk.batch.column("id")[row].as_py()
                yield Reject(chunk.file.name, number, document_id, f"duplicate id (first in {location})")


def _summarise(rejects: list[Reject]) -> str:
    lines = []
    for reject in rejects[:REJECTS_SHOWN]:
        document_id = f" (id {reject.id[:ID_CHARACTERS_SHOWN]!r})" if reject.id is not None else ""
        lines.append(f"{reject.file} row {reject.row}{document_id}: {reject.reason}")
    more = len(rejects) - len(lines)
    return "; ".join(lines) + (f"; and {more:,} more" if more else "")
