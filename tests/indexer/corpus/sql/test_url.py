"""Database URLs: how they are recognised, and what of them is shown."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from indexer.corpus.sql.url import describe_error, find_secrets, is_url, parse_url, render_url
from indexer.errors import UserError


@pytest.mark.parametrize(
    ("spec", "url"),
    [
        ("sqlite:///corpus.db", True),
        (" postgresql+psycopg://me:secret@host/shop", True),
        ("postgresql:/me:secret@host/shop", True),
        ("postgresql:me:secret@host/shop", True),
        ("corpus.parquet", False),
        ("folder/*.csv", False),
        ("c:/corpus.csv", False),
        ("with:colon.csv", False),
    ],
)
def test_is_url(spec: str, url: bool) -> None:
    """A URL is not taken for a file, even with a slash too few: as a file name it would be quoted with its password."""
    assert is_url(spec) == url


def test_file_that_looks_like_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is there is a file, whatever it is called."""
    monkeypatch.chdir(tmp_path)
    Path("backup:me@host.csv").touch()
    assert not is_url("backup:me@host.csv")


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("postgresql+psycopg://me:secret@host:5433/shop", "postgresql+psycopg://me:***@host:5433/shop"),
        ("postgresql://me@/shop?host=/run/pg&password=secret", "postgresql://me@/shop?host=/run/pg&password=***"),
        ("mssql+pyodbc:///?odbc_connect=PWD%3Dsecret", "mssql+pyodbc:///?odbc_connect=***"),
        ("postgresql://me@/shop?host=a&host=b&sslmode=require", "postgresql://me@/shop?host=a,b&sslmode=require"),
        ("sqlite:////data/me@home.db", "sqlite:////data/me%40home.db"),
    ],
)
def test_render(spec: str, shown: str) -> None:
    """A URL is shown without its password, and of its parameters only those that are known to be harmless."""
    assert render_url(parse_url(spec)) == shown


@pytest.mark.parametrize(
    "spec",
    [
        "postgresql://me:sec@ret@host/shop",
        "postgresql://me:secret@host:port/shop",
        "postgresql:/me:secret@host/shop",
        "postgresql://me:secret/@@host/shop",
    ],
)
def test_broken_url(spec: str) -> None:
    """Where the parser cannot tell where the password ends, nothing but the scheme is shown."""
    with pytest.raises(UserError, match=r"^postgresql://\*\*\*: ") as raised:
        parse_url(spec)
    written = "".join(traceback.format_exception(raised.value))
    assert "secret" not in written and "ret@" not in written.replace(spec, "")


def test_secrets_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver's message is shown without the password, escaped or not, wherever the driver had it from."""
    monkeypatch.setenv("PGPASSWORD", "other one")
    hidden = find_secrets(parse_url("postgresql://me:se%2Fcret@host/shop?sslpassword=third"))
    error = ValueError("bad: se/cret, se%2Fcret, 'other one', other+one, third\nDETAIL: long")
    assert describe_error(error, hidden) == "bad: ***, ***, '***', ***, ***"
