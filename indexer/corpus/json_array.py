"""JSON arrays: the elements one by one, in bounded memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from indexer.errors import UserError

READ_BYTES = 1 << 20
_WHITE = " \t\r\n"


def elements(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield the elements of the array in ``file`` as JSON; the lines of a file that holds no array.

    Raises:
        UserError: the array is broken, so that nobody knows where its next element begins.
    """
    lines = iter(file)
    head = b""
    for line in lines:
        head = line.removeprefix(b"\xef\xbb\xbf")
        if head.strip():
            break
        yield line
    if not head.lstrip().startswith(b"["):
        if head:
            yield head
        yield from lines
        return
    yield from _array(file, head, path)


def _array(file: BinaryIO, head: bytes, path: Path) -> Iterator[bytes]:
    decoder, text = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8")()
    number, step, ended = 0, READ_BYTES, False
    try:
        buffer = text.decode(head).lstrip()[1:]
        while True:
            buffer = buffer.lstrip(_WHITE + ",")
            if buffer.startswith("]"):
                return
            try:
                _, end = decoder.raw_decode(buffer)
                complete = ended or buffer[end:].lstrip(_WHITE)[:1] in (",", "]")
                problem = "no end"
            except json.JSONDecodeError as error:
                complete, problem = False, error.msg
            if complete and buffer:
                number += 1
                yield buffer[:end].encode()
                buffer, step = buffer[end:], READ_BYTES
            elif ended:
                raise UserError(f"{path}: element {number + 1} is broken JSON ({problem}); correct the file")
            else:
                more = file.read(step)
                ended, step = not more, 2 * step
                buffer += text.decode(more, final=ended)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: invalid UTF-8 after element {number}; save the file as UTF-8") from error
