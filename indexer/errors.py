"""The one exception an operator can fix, and how a program reports it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from typer.exceptions import TyperException

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """Something the operator can fix.

    The message is one line that names the file, row or flag and ends with the remedy.
    """


def run(program: Callable[..., object]) -> None:
    """Run a command-line ``program``, a typer application, and exit.

    A `UserError` and a wrong flag or value become one line on stderr and exit status 2; Ctrl-C becomes status 130.
    """
    try:
        status = program(standalone_mode=False)
    except UserError as error:
        _fail(str(error), EXIT_USER_ERROR)
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # called without a command: the message is the help page
            sys.stderr.write(error.format_message())
            sys.exit(EXIT_USER_ERROR)
        _fail(f"{error.format_message().rstrip('.')}; see --help", EXIT_USER_ERROR)
    if status == EXIT_INTERRUPTED:  # what typer makes of Ctrl-C
        _fail("interrupted", EXIT_INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> NoReturn:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.exit(status)
