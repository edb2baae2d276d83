"""JSON arrays: the elements one by one, in bounded memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from indexer.errors import UserError

READ_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"
_WHITE = re.compile(r"[ \t\r\n]*")
_BETWEEN = re.compile(r"[ \t\r\n]*,?[ \t\r\n]*")
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
"""Strings as a whole, brackets and commas: with them the end of an element is found, though it is broken."""


def elements(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield the elements of the array in ``file`` as JSON; the lines of a file that holds no array.

    An element that is broken, or not UTF-8, is yielded as it stands if its brackets match.

    Raises:
        UserError: an element is broken so that nobody knows where the next one begins. Or the file is one object.
    """
    head = file.readline(READ_BYTES)  # an array is often one line
    while head and not (start := head.removeprefix(_BOM).strip()):
        yield head
        head = file.readline(READ_BYTES)
    if not head:
        return
    if start.startswith(b"["):
        yield from _array(file, head.removeprefix(_BOM), path)
        return
    if _is_one_object(start, head):
        raise UserError(
            f"{path}: holds one object, not an array of objects or one object a line; write the documents as an array"
        )
    yield head if head.endswith(b"\n") else head + file.readline()
    yield from file


def _is_one_object(start: bytes, head: bytes) -> bool:
    """Say whether the first line begins an object over several lines, or is one that holds only objects and lists."""
    try:
        value = json.loads(start)
    except json.JSONDecodeError as error:
        return start.startswith(b"{") and head.endswith(b"\n") and error.pos >= len(error.doc)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(value, dict) and bool(value) and all(isinstance(member, (dict, list)) for member in value.values())
    )


def _array(file: BinaryIO, head: bytes, path: Path) -> Iterator[bytes]:
    """Yield the elements of the array that begins in ``head``; read on in ``file`` until the end of each is there."""
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)  # numbers of any length: only the end is of interest
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    number, step, ended = 0, READ_BYTES, False
    buffer = text.decode(head).lstrip()
    place = 1
    while True:
        place = _skip(buffer, place, _BETWEEN if number else _WHITE)
        if buffer.startswith("]", place):
            _refuse_rest(buffer[place + 1 :] + text.decode(file.read(READ_BYTES)), path)
            return
        try:
            _, end = decoder.raw_decode(buffer, place)
            problem = "no end"
            complete = ended or buffer[end - 1] in '}]"' or buffer.startswith((",", "]"), _skip(buffer, end, _WHITE))
        except json.JSONDecodeError as error:
            problem, end = error.msg, _end_of_broken(buffer, place)
            complete = end > 0
        except RecursionError:
            raise UserError(f"{path}: element {number + 1} is nested too deeply; correct the file") from None
        if complete:
            number += 1
            yield buffer[place:end].encode("utf-8", "surrogateescape")
            place, step = end, READ_BYTES
        elif ended:
            raise UserError(f"{path}: element {number + 1} is broken JSON ({problem}); correct the file")
        else:
            more = file.read(step)
            ended, step = not more, 2 * step
            buffer, place = buffer[place:] + text.decode(more, final=ended), 0


def _end_of_broken(buffer: str, start: int) -> int:
    """Return where the element that begins at ``start`` ends: before a comma or bracket of the array; 0 if unknown."""
    depth = 0
    for sign in _STRUCTURE.finditer(buffer, start):
        if sign[0] in "[{":
            depth += 1
        elif depth == 0 and sign[0] in ",]":
            return sign.start()
        elif sign[0] in "]}":
            depth -= 1
            if depth < 0:
                return 0
    return 0


def _skip(buffer: str, place: int, signs: re.Pattern[str]) -> int:
    """Return where the ``signs`` that begin at ``place`` end."""
    match = signs.match(buffer, place)
    return match.end() if match else place


def _refuse_rest(rest: str, path: Path) -> None:
    """Refuse text after the end of the array, such as a second array: nobody would miss it."""
    if rest.strip():
        raise UserError(f"{path}: there is more text after the end of the array; write one array")
