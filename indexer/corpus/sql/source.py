"""SQL databases as a source: the rows of one statement, read with a server-side cursor into a Parquet file.

    python -m indexer build 'postgresql+psycopg://me@db.example/shop' --query "select id, description as text from listings"

Any URL that SQLAlchemy knows; PostgreSQL and SQLite are tested. The transaction is read-only where the database offers
that. What a driver says is shown without the password, and the driver's exception, which may quote it, is not chained.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.corpus.chunks import SourceFile
from indexer.corpus.sql.spool import ROWS_PER_BATCH, RowWriter, claim_folder
from indexer.corpus.sql.url import parse, reason, render, secrets
from indexer.errors import UserError
from indexer.progress import Bar

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, CursorResult, Row

QUERY_EXAMPLE = '--query "select id, description as text from listings"'
CONNECT_SECONDS = 10
COUNT_SECONDS = 2.0
"""How long a count of the rows may take; it is for the estimate of the time only."""

DRIVERS = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "mysql": "mysql-connector-python",
}
"""Modules that are called otherwise than the package that brings them."""

DIALECTS = {
    "bigquery": "sqlalchemy-bigquery",
    "clickhouse": "clickhouse-sqlalchemy",
    "cockroachdb": "sqlalchemy-cockroachdb",
    "databricks": "databricks-sqlalchemy",
    "duckdb": "duckdb-engine",
    "redshift": "sqlalchemy-redshift",
    "snowflake": "snowflake-sqlalchemy",
    "trino": "'trino[sqlalchemy]'",
}
"""Packages of dialects that SQLAlchemy does not bring itself."""


def spool(spec: str, query: str | None, limit: int | None, data: Path | None, owner: object) -> SourceFile:
    """Write the first ``limit`` rows of ``query``, or all, to a Parquet file and return it.

    Args:
        spec: the URL of the database. The file is called by it, without what is secret.
        query: one statement that returns rows, as the database understands it.
        limit: how many rows, or None.
        data: the file lies below this directory; by default ``$DOWSE_DATA``.
        owner: when it is no longer used, the file is removed.

    Raises:
        UserError: no query; the URL, the database or the statement is refused; two columns have the same name.
    """
    url = parse(spec)
    name, hidden = render(url), secrets(url)
    if not query or not query.strip():
        raise UserError(f"{name}: no statement; give one with {QUERY_EXAMPLE}")
    from sqlalchemy.exc import SQLAlchemyError

    path = claim_folder(owner, data) / "rows.parquet"
    advice = "the statement is refused ({}); correct --query"
    try:
        with _connect(url, name, hidden) as connection:
            _begin(connection)
            total = _count(connection, query)
            with closing(_execute(connection, query, stream_results=True)) as result:
                names = _names(result, name)
                advice = "reading stopped ({}); correct --query, or run the command again"
                total = min(total, limit) if total is not None and limit else total
                with RowWriter(path, names) as writer, Bar("read", total, "rows") as bar:
                    while rows := _fetch(result, None if limit is None else limit - bar.done):
                        writer.add(rows)
                        bar.advance(len(rows))
        return SourceFile(path, name)
    except SQLAlchemyError as error:
        problem = advice.format(reason(error, hidden))
    # Raised here and not above: the driver's exception may quote what is secret, and a log prints exceptions in chains.
    raise UserError(f"{name}: {problem}")


def _connect(url: URL, name: str, hidden: list[str]) -> Connection:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        if url.get_dialect().is_async:
            raise UserError(f"{name}: {url.drivername} is asynchronous; name a driver that is not")
        if url.get_backend_name() == "sqlite" and not _sqlite_file(url):
            raise UserError(f"{name}: there is no such file; give the path of the database")  # or it would be made
        return create_engine(url, poolclass=NullPool, connect_args=_arguments(url)).connect()
    except NoSuchModuleError:
        known = DIALECTS.get(url.get_backend_name(), "the package of the dialect")
        remedy = "write postgresql://" if url.drivername == "postgres" else f"correct it, or pip install {known}"
        problem = f"SQLAlchemy knows no dialect {url.drivername!r}; {remedy}"
    except ImportError as error:
        module = (error.name or "").partition(".")[0] or url.get_driver_name()
        problem = f"the driver {module} is not installed; pip install {DRIVERS.get(module, module)}"
    except (SQLAlchemyError, TypeError, ValueError, OSError) as error:  # the others: arguments no driver takes
        problem = f"not reachable ({reason(error, hidden)}); check host, port, user, password and database"
    raise UserError(f"{name}: {problem}")


def _sqlite_file(url: URL) -> bool:
    database = url.database or ""
    return database.startswith("file:") or Path(database).is_file()


def _arguments(url: URL) -> dict[str, Any]:
    stated = "connect_timeout" in url.query or "PGCONNECT_TIMEOUT" in os.environ
    if url.get_driver_name() in ("psycopg", "psycopg2") and not stated:
        return {"connect_timeout": CONNECT_SECONDS}  # without it, a silent host is waited for for minutes
    return {}


def _begin(connection: Connection) -> None:
    """Begin the one transaction in which all is read, where possible a read-only one."""
    if connection.dialect.name == "postgresql":
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        # The same table is read in the same order, so that it gives the same checksum; and all rows are wanted, not the
        # first of them soon. Set only where they exist: other databases speak PostgreSQL's protocol.
        for setting, value in (("synchronize_seqscans", "off"), ("cursor_tuple_fraction", "1")):
            connection.exec_driver_sql(
                f"select set_config(name, '{value}', true) from pg_settings where name = '{setting}'"  # noqa: S608
            )
    elif connection.dialect.name == "sqlite":
        connection.exec_driver_sql("pragma query_only = on")


def _execute(connection: Connection, statement: str, *, stream_results: bool = False) -> CursorResult[Any]:
    """Execute a statement as it stands: neither ``:name`` nor ``%`` means a parameter."""
    options = {"no_parameters": True, "stream_results": stream_results}
    return connection.exec_driver_sql(statement, execution_options=options)


def _fetch(result: CursorResult[Any], left: int | None) -> Sequence[Row[Any]]:
    """Return some of the rows of which ``left`` are wanted."""
    wanted = ROWS_PER_BATCH if left is None else min(left, ROWS_PER_BATCH)
    return result.fetchmany(wanted) if wanted else []  # to some drivers 0 means their own choice


def _count(connection: Connection, query: str) -> int | None:
    """Return how many rows there are, or None where that cannot be had within `COUNT_SECONDS`."""
    from sqlalchemy.exc import SQLAlchemyError

    statement = f"select count(*) from ({query.strip().rstrip(';')}\n) as counted"  # noqa: S608 - as the user wrote it
    try:
        if connection.dialect.name == "postgresql":
            with connection.begin_nested() as attempt:
                connection.exec_driver_sql(f"set local statement_timeout = {round(COUNT_SECONDS * 1000)}")
                count = int(_execute(connection, statement).scalar_one())
                attempt.rollback()  # of the setting
            return count
        if connection.dialect.name == "sqlite":
            driver: Any = connection.connection.driver_connection
            deadline = time.monotonic() + COUNT_SECONDS
            driver.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            try:
                return int(_execute(connection, statement).scalar_one())
            finally:
                driver.set_progress_handler(None, 0)
    except SQLAlchemyError:  # too slow, or wrong, which the statement itself will say better
        pass
    return None


def _names(result: CursorResult[Any], name: str) -> list[str]:
    if not result.returns_rows:
        raise UserError(f"{name}: the statement returns no rows; give a select with --query")
    names = list(result.keys())
    for each in names:
        if names.count(each) > 1:
            raise UserError(f"{name}: two columns are called {each!r}; name one of them otherwise with `as` in --query")
    return names
