"""One-line descriptions of exceptions."""

from __future__ import annotations

import pytest

from indexer.errors import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("  one\ntwo"), "one"),
        (ValueError(), "ValueError"),
        (KeyError("\n"), "'\\n'"),
        (RuntimeError(" \n "), "RuntimeError"),
        (ValueError("x" * 300), "x" * 200),
    ],
)
def test_the_first_line_of_an_exception(error: Exception, line: str) -> None:
    """One line that is never empty: an exception without a text is named by its type."""
    assert first_line(error) == line
