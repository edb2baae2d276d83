"""Errors: `UserError`, which the operator can fix, and how a program reports it and exits."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from typer.exceptions import TyperException

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

DISK_REMEDIES = {
    errno.ENOSPC: "make room on the disk and start it again",
    errno.EDQUOT: "make room, or have the quota raised, and start it again",
    errno.EFBIG: "raise the limit on the size of a file and start it again",
    errno.EROFS: "mount it writable, or name another directory in DOWSE_DATA",
    errno.EACCES: "start it as a user who may, or change the owner with chown",
}
"""Remedy for a failed write, by the system's error number."""
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
"""Error numbers of the system where open files or memory are used up."""


class UserError(Exception):
    """Something the operator can fix.

    The message is one line that names the file, row or flag and ends with the remedy.
    """


class StoreError(Exception):
    """The store of the served index cannot answer now: it is away, too slow, or has lost what is asked for.

    The message is one sentence that says why. Another attempt may succeed.
    """


class NotSupported(Exception):  # noqa: N818 - the word of the API
    """The store of the served index does not do what was asked; the message says what, and what does it."""


def first_line(error: BaseException, length: int = 200) -> str:
    """Return the first line of an exception's text, at most ``length`` characters, or its type where it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:length]


def is_missing(error: OSError) -> bool:
    """Say whether a file or its folder is not there; other errors of the system may pass."""
    return error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}


def is_transient(error: BaseException) -> bool:
    """Say whether an error, or one from which it was raised, is one of the machine: memory, descriptors, disk."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and not is_missing(cause)):
            return True
        cause = cause.__cause__
    return False


def is_exhausted(error: BaseException) -> bool:
    """Say whether an error means that memory or open files are used up: others may have freed some a moment later."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in EXHAUSTED)


def run(program: Callable[..., object]) -> None:
    """Run a command-line ``program``, a typer application, and exit.

    A `UserError`, a wrong flag or value, and a disk that is full or cannot be written become one line on stderr and
    exit status 2; Ctrl-C becomes status 130.
    """
    try:
        status = program(standalone_mode=False)
    except (UserError, StoreError) as error:
        _fail(str(error), EXIT_USER_ERROR)
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # called without a command: the message is the help page
            sys.stderr.write(error.format_message())
            sys.exit(EXIT_USER_ERROR)
        _fail(f"{error.format_message().rstrip('.')}; see --help", EXIT_USER_ERROR)
    except Exception as error:
        if message := describe_disk_error(error):
            _fail(message, EXIT_USER_ERROR)
        raise
    if status == EXIT_INTERRUPTED:  # typer returns it after Ctrl-C
        _fail("interrupted", EXIT_INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def describe_disk_error(error: Exception) -> str | None:
    """Return one line about a full or unwritable disk, with the remedy, or None where the error is another one.

    Libraries in C++ or Rust (FAISS, tantivy, safetensors) raise exceptions of their own. Of the error number these hold
    only the system's words.
    """
    for number, remedy in DISK_REMEDIES.items():
        words = os.strerror(number)
        if isinstance(error, OSError) and error.errno == number:
            return f"{error.filename}: {words}; {remedy}" if error.filename else f"{words}; {remedy}"
        if not isinstance(error, OSError) and words in str(error):
            return f"{error}; {remedy}"
    return None


def _fail(message: str, status: int) -> NoReturn:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.exit(status)
