"""The one exception an operator can fix, and how a program reports it."""

from __future__ import annotations

import sys
from collections.abc import Callable

EXIT_USER_ERROR = 2


class UserError(Exception):
    """Something the operator can fix.

    The message is one line that names the file, row or flag and ends with the remedy.
    """


def run(program: Callable[[], object]) -> None:
    """Run a command-line ``program``; a `UserError` becomes one line on stderr and exit status 2."""
    try:
        program()
    except UserError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
