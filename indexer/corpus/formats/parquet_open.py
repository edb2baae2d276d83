"""Parquet files opened so that every value can be read: also times of old writers, and types that Arrow cannot restore."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.errors import UserError

READ_BUFFER_BYTES = 1 << 20  # without a buffer size Arrow reads a complete column chunk at once
PROBE_ROWS = 65_536
NS_SECONDS = 2**63 // 10**9 - 1
"""Seconds before and after 1970 that nanoseconds in 64 bits can express: until 2262."""
US_SECONDS = 2**63 // 10**6 - 1
_MAGIC = b"PAR1"
_LENGTH_BYTES = 4
_ARROW_SCHEMA, _HIDDEN = b"ARROW:schema", b"ARROW:hidden"


def open_parquet(path: Path, *, restore: bool = True) -> pq.ParquetFile:
    """Open a file; with ``restore`` its columns have the Arrow types with which they were written.

    Without it they have those of Parquet alone: a dictionary is read as its values, a list view as a list, and a duration
    as a whole number.

    Raises:
        UserError: a column has times of which no unit holds all.
    """
    return pq.ParquetFile(
        path,
        metadata=None if restore else _plain_metadata(path),
        buffer_size=READ_BUFFER_BYTES,
        coerce_int96_timestamp_unit=int96_unit(path),
    )


def _plain_metadata(path: Path) -> pq.FileMetaData:
    """Return the footer of a file under which Arrow does not find its own schema; pyarrow has no option for that."""
    with path.open("rb") as file:
        file.seek(-_LENGTH_BYTES - len(_MAGIC), 2)
        end = file.read()
        length = int.from_bytes(end[:_LENGTH_BYTES], "little")
        file.seek(-len(end) - length, 2)
        footer = file.read(length).replace(_ARROW_SCHEMA, _HIDDEN)
    return pq.read_metadata(BytesIO(_MAGIC + footer + end))


def int96_unit(path: Path) -> str | None:
    """Return the unit in which a file's INT96 times, as Spark and Impala write them, are read; None where there are none.

    Arrow reads them in nanoseconds, and dates before 1677 and after 2262 become others without a word. A file that has
    such dates is read in microseconds.

    Raises:
        UserError: a column also has nanoseconds, or times that microseconds cannot express.
    """
    status = path.stat()
    return _int96_unit(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _int96_unit(path: Path, size: int, changed: int) -> str | None:  # noqa: ARG001 - a changed file is looked at again
    with pq.ParquetFile(path) as file:
        paths = [file.schema.column(number) for number in range(len(file.schema))]
        old = [column.path for column in paths if column.physical_type == "INT96"]
        names = [name for name in file.schema_arrow.names if any(f"{column}.".startswith(f"{name}.") for column in old)]
    found = {name: _extremes(path, name) for name in names}
    far, fine = ([name for name in names if found[name][kind]] for kind in (0, 1))
    if far and fine:
        raise UserError(
            f"{path}: column {far[0]!r} holds dates before 1677 or after 2262, and column {fine[0]!r} nanoseconds; "
            "write these columns in microseconds"
        )
    return None if not names else "us" if far else "ns"


def _extremes(path: Path, name: str) -> tuple[bool, bool]:
    """Say whether a column of INT96 has dates that nanoseconds cannot express, and whether it has nanoseconds."""
    far = fine = False
    for nanoseconds, microseconds, seconds in zip(
        *(_int96(path, name, unit) for unit in ("ns", "us", "s")), strict=True
    ):
        if np.abs(seconds).max(initial=0) > US_SECONDS:
            raise UserError(f"{path}: column {name!r} holds a time beyond the year 290000; correct it")
        far = far or bool(np.abs(seconds).max(initial=0) > NS_SECONDS)
        fine = fine or bool((nanoseconds - microseconds * 1000).any())  # modulo 2**64, as Arrow has wrapped them
    return far, fine


def _int96(path: Path, name: str, unit: str) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the numbers of a column of INT96 in ``unit``; null is 0."""
    with pq.ParquetFile(path, buffer_size=READ_BUFFER_BYTES, coerce_int96_timestamp_unit=unit) as file:
        for batch in file.iter_batches(PROBE_ROWS, columns=[name]):
            for times in _times(batch.column(0)):
                yield times.view(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)


def _times(column: pa.Array) -> Iterator[pa.Array]:
    """Yield all arrays of moments within a column."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        yield column
    elif pa.types.is_struct(kind):
        for member in column.flatten():
            yield from _times(member)
    elif pa.types.is_map(kind):
        yield from _times(column.keys)
        yield from _times(column.items)
    elif pa.types.is_nested(kind):
        yield from _times(column.flatten())
