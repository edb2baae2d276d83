"""Text files opened for reading: decompressed, and refused with the remedy where they are not UTF-8."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from indexer.corpus.files import COMPRESSED
from indexer.errors import UserError

_COMPRESSION = {
    ".gz": (b"\x1f\x8b",),
    ".zst": (b"\x28\xb5\x2f\xfd", *(bytes([n, 0x2A, 0x4D, 0x18]) for n in range(0x50, 0x60))),
}
"""First bytes of a compressed file by the ending of its name."""
_OTHER_FORMATS = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook, not text; unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook, not text; save the sheet as CSV",
    b"BZh91AY": "compressed with bzip2; unpack it, or compress it with gzip or zstd",
    b"\xfd7zXZ": "compressed with xz; unpack it, or compress it with gzip or zstd",
    b"7z\xbc\xaf": "a 7-Zip archive, not text; unpack it",
    b"PAR1\x15": "a Parquet file; let its name end in .parquet",
    b"ARROW1\0\0": "an Arrow file, not text; write it as Parquet",
    b"Obj\x01": "an Avro file, not text; write it as Parquet",
    b"SQLite format 3\0": "an SQLite database; give sqlite:/// and its path, with --query",
    b"%PDF-": "a PDF, not text; give its text as CSV or JSON lines",
}
"""What a file is by its first bytes, and the remedy."""
HEAD_BYTES = 1024
NAMES_BYTES = 64
"""Bytes in which column names are looked for: the text after them may be in another script."""
_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}  # the longer ones first
_ZEROS: dict[tuple[bool, ...], str] = {
    (False, True, False, True): "UTF-16LE",
    (True, False, True, False): "UTF-16BE",
    (False, True, True, True): "UTF-32LE",
    (True, True, True, False): "UTF-32BE",
}
"""Encoding by which of four successive bytes are zero in ASCII text."""


def open_bytes(path: Path) -> BinaryIO:
    """Open a file of text for reading, decompressed where its name says that it is compressed.

    Raises:
        UserError: the file is not in UTF-8, but in UTF-16 or UTF-32, or it is compressed and its name does not say so.
    """
    suffix = path.suffix.lower()
    if suffix in COMPRESSED:
        _check_compressed(path, suffix)
    if suffix == ".gz":
        file = cast("BinaryIO", gzip.open(path))  # noqa: SIM115 - whoever calls closes it
    elif suffix == ".zst":
        file = cast("BinaryIO", io.BufferedReader(pa.input_stream(str(path), compression="zstd")))
    else:
        file = path.open("rb")
    try:
        _check_head(cast("io.BufferedReader", file).peek(HEAD_BYTES)[:HEAD_BYTES], path)
    except BaseException:
        file.close()
        raise
    return file


def _check_compressed(path: Path, suffix: str) -> None:
    """Refuse a file that is not compressed as its ``suffix`` says; an empty file is compressed in no way."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head and not head.startswith(_COMPRESSION[suffix]):
        _check_head(head, path)
        raise UserError(f"{path}: is not compressed; let its name end without {path.suffix}")


def _check_head(head: bytes, path: Path) -> None:
    """Refuse a file by its first bytes where these are no UTF-8 text of any kind."""
    for suffix, marks in _COMPRESSION.items():
        if head.startswith(marks):
            raise UserError(f"{path}: is compressed; let its name end in {suffix}")
    for mark, problem in _OTHER_FORMATS.items():
        if head.startswith(mark):
            raise UserError(f"{path}: is {problem}")
    if encoding := _other_encoding(head):
        name = path.name
        for ending in COMPRESSED:
            name = name.removesuffix(ending)
        unpack = "" if name == path.name else f"{'gzip' if path.suffix.lower() == '.gz' else 'zstd'} -dc {path.name} | "
        source = "" if unpack else f" {name}"
        raise UserError(
            f"{path}: is {encoding}, not UTF-8; save it as UTF-8, for instance with "
            f"{unpack}iconv -f {encoding} -t UTF-8{source} > utf8-{name}"
        )


def _other_encoding(head: bytes) -> str | None:
    """Return the encoding of a file's first bytes where these are UTF-16 or UTF-32, which no UTF-8 text looks like.

    Without a byte order mark it shows by the zeros: braces, delimiters and the ends of lines are ASCII, and mostly the
    names of columns.
    """
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding
    if b"\n\0" in head and not head[::2].count(0):  # names in another script than Latin
        return "UTF-16LE"
    if b"\0\n" in head and not head[1::2].count(0):
        return "UTF-16BE"
    fours = min(len(head), NAMES_BYTES) // 4
    zeros = tuple(head[place : 4 * fours : 4].count(0) * 4 >= max(fours, 1) for place in range(4))
    return _ZEROS.get(zeros)
