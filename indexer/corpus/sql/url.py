"""Database URLs: recognised, parsed, and shown without their secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from indexer.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

URL_EXAMPLE = "postgresql+psycopg://user@host/database"
INSTALL_COMMAND = "pip install 'sqlalchemy>=2.1' 'psycopg[binary]'"
HIDDEN = "***"
MAX_MESSAGE_CHARACTERS = 300

_URL = re.compile(r"\s*([A-Za-z][\w+.-]+):(?:/|.*@)", re.DOTALL)
"""Also matches a URL with a slash too few: it may hold a password and must not be quoted as a file name."""

_SHOWN_PARAMETERS = {"host", "port", "dbname", "user", "sslmode", "application_name", "charset", "mode", "uri"}
"""Every other parameter is hidden: drivers take passwords under many names, some inside a longer value."""

_PASSWORD_VARIABLES = ("PGPASSWORD", "MYSQL_PWD")
"""Where drivers find a password when the URL has none."""


def is_url(spec: str) -> bool:
    """Say whether ``spec`` is meant as a database URL rather than as a file, a folder or a glob."""
    return bool(_URL.match(spec)) and not Path(spec).exists()


def parse_url(spec: str) -> URL:
    """Parse a database URL.

    Raises:
        UserError: it is no database URL, or its password has characters that must be escaped. The message shows nothing
            after the scheme.
    """
    match = _URL.match(spec)
    shown = f"{match.group(1) if match else ''}://{HIDDEN}"
    try:
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError:
        raise UserError(f"{shown}: reading a database needs SQLAlchemy; {INSTALL_COMMAND}") from None
    try:
        url = make_url(spec.strip())
    except (ArgumentError, ValueError):  # ValueError: the port is no number
        raise UserError(f"{shown}: not a database URL; write it as {URL_EXAMPLE}") from None
    if url.password is not None and "@" in f"{url.host}{url.database}":
        # The parser took the first @ for the end of the password and would show the rest of the password as the host.
        raise UserError(f"{shown}: more than one @ in the URL; write @ in a user name or password as %40")
    return url


def render_url(url: URL) -> str:
    """Return the URL for people and manifests: without password, and without parameters that may hold a secret."""
    plain = url.set(query={}).render_as_string(hide_password=True)
    shown = [f"{name}={_render_parameter(name, value)}" for name, value in url.query.items()]
    return plain + ("?" + "&".join(shown) if shown else "")


def _render_parameter(name: str, value: str | tuple[str, ...]) -> str:
    if name not in _SHOWN_PARAMETERS:
        return HIDDEN
    return value if isinstance(value, str) else ",".join(value)


def find_secrets(url: URL) -> list[str]:
    """Return every string that must not be shown, in the spellings it may have in a driver's message."""
    values = {url.password, *map(os.environ.get, _PASSWORD_VARIABLES)}
    for name, value in url.query.items():
        if name not in _SHOWN_PARAMETERS:
            values |= {value} if isinstance(value, str) else set(value)
    plain = [secret for secret in values if secret]
    spellings = {spelling for secret in plain for spelling in (secret, quote(secret, safe=""), quote_plus(secret))}
    return sorted(spellings, key=len, reverse=True)  # longest first: one secret may be part of another


def describe_error(error: BaseException, hidden: Iterable[str]) -> str:
    """Return the first line of a driver's error message, without the strings in ``hidden``."""
    message = str(getattr(error, "orig", None) or error).strip()
    for secret in hidden:
        message = message.replace(secret, HIDDEN)
    return message.partition("\n")[0][:MAX_MESSAGE_CHARACTERS].rstrip(" .;") or type(error).__name__
