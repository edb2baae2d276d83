"""Values that Python cannot hold: kept as the database writes them, so that one of them does not end the reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

POSTGRES_TIMES = ("date", "time", "timetz", "timestamp", "timestamptz")
"""Types with values beyond those of Python's: infinity, years before 1 and after 9999, 24:00."""


def keep_odd_values(connection: Connection) -> None:
    """Let a driver return what Python cannot hold as text.

    With psycopg these are times beyond Python's, and intervals: Python's have no months. With SQLite it is text that is not UTF-8: its bytes become lone
    surrogates, and the row is refused by name when the corpus is checked.
    """
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        driver.text_factory = _decode
    elif connection.dialect.driver == "psycopg":
        for name in POSTGRES_TIMES:
            driver.adapters.register_loader(name, _lenient(_text_loader(driver, name)))
        driver.adapters.register_loader("interval", _text_loader(driver, "text"))


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _text_loader(driver: Any, name: str) -> type[Any]:
    """Return the class that reads values of a type in PostgreSQL's text format."""
    from psycopg.pq import Format

    loader: type[Any] = driver.adapters.get_loader(driver.adapters.types[name].oid, Format.TEXT)
    return loader


def _lenient(strict: type[Any]) -> type[Any]:
    """Return a loader that keeps the text of values that ``strict`` refuses."""
    from psycopg import DataError
    from psycopg.adapt import Loader

    class Lenient(Loader):
        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._strict = strict(oid, context)

        def load(self, data: Any) -> Any:
            try:
                return self._strict.load(data)
            except (DataError, ValueError, OverflowError):
                return bytes(data).decode()

    return Lenient
