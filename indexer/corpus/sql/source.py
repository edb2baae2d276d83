"""SQL databases as a corpus: the rows of one statement, read with a server-side cursor into a Parquet file.

    python -m indexer build 'postgresql+psycopg://me@db.example/shop' --query "select id, description as text from listings"

Any URL that SQLAlchemy supports works; PostgreSQL and SQLite are tested. The transaction is read-only where the database
offers that. A driver's message is shown without the password. The driver's exception may quote it and is not chained.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.corpus.chunks import SourceFile
from indexer.corpus.sql.odd_values import keep_odd_values
from indexer.corpus.sql.spool import ROWS_PER_BATCH, RowWriter, claim_folder
from indexer.corpus.sql.url import describe_error, find_secrets, parse_url, render_url
from indexer.errors import UserError
from indexer.progress import Bar

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, CursorResult, Row

QUERY_EXAMPLE = '--query "select id, description as text from listings"'
CONNECT_TIMEOUT_SECONDS = 10
COUNT_TIMEOUT_SECONDS = 2.0
"""Time limit of counting the rows; the count only serves to estimate the remaining time."""

DRIVER_PACKAGES = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "mysql": "mysql-connector-python",
}
"""Packages of driver modules whose package has another name than the module."""

DIALECT_PACKAGES = {
    "bigquery": "sqlalchemy-bigquery",
    "clickhouse": "clickhouse-sqlalchemy",
    "cockroachdb": "sqlalchemy-cockroachdb",
    "databricks": "databricks-sqlalchemy",
    "duckdb": "duckdb-engine",
    "redshift": "sqlalchemy-redshift",
    "snowflake": "snowflake-sqlalchemy",
    "trino": "'trino[sqlalchemy]'",
}
"""Packages of dialects that SQLAlchemy does not include."""


def spool(spec: str, query: str | None, limit: int | None, data: Path | None, owner: object) -> SourceFile:
    """Write the first ``limit`` rows of ``query``, or all, to a Parquet file and return it.

    Args:
        spec: the URL of the database. Without its secrets it is the name of the returned file.
        query: one statement that returns rows, in the database's SQL.
        limit: maximum number of rows, or None for all.
        data: the file is written below this directory; by default ``$DOWSE_DATA``.
        owner: the file is removed when this object is no longer used.

    Raises:
        UserError: there is no query; the URL, the database or the statement is refused; or two columns have the same
            name.
    """
    url = parse_url(spec)
    name, secrets = render_url(url), find_secrets(url)
    if not query or not query.strip():
        if not _is_database(url):
            raise UserError(
                f"{name}: {url.drivername} is no database that is known here, and files are read from this machine only; "
                "fetch the file first and give its path"
            )
        raise UserError(f"{name}: no statement; give one with {QUERY_EXAMPLE}")
    from sqlalchemy.exc import SQLAlchemyError

    path = claim_folder(owner, data) / "rows.parquet"
    message = "the statement is refused ({}); correct --query"
    try:
        with _connect(url, name, secrets) as connection:
            keep_odd_values(connection)
            _begin(connection)
            total = _count_rows(connection, query)
            with closing(_execute(connection, query, stream_results=True)) as result:
                names = _column_names(result, name)
                message = "reading stopped ({}); correct --query, or run the command again"
                total = min(total, limit) if total is not None and limit else total
                with RowWriter(path, names) as writer, Bar("read", total, "rows") as bar:
                    while rows := _fetch(result, None if limit is None else limit - bar.done):
                        writer.add(rows)
                        bar.advance(len(rows))
        return SourceFile(path, name)
    except SQLAlchemyError as error:
        problem = message.format(describe_error(error, secrets))
    # Raised outside the handler: the driver's exception may quote secrets, and logs print chained exceptions.
    raise UserError(f"{name}: {problem}")


def _connect(url: URL, name: str, secrets: list[str]) -> Connection:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        if url.get_dialect().is_async:
            raise UserError(f"{name}: {url.drivername} is asynchronous; name a synchronous driver")
        if url.get_backend_name() == "sqlite" and not _sqlite_file(url):
            raise UserError(f"{name}: there is no such file; give the path of the database")  # SQLite would create it
        return create_engine(url, poolclass=NullPool, connect_args=_connect_arguments(url)).connect()
    except NoSuchModuleError:
        package = DIALECT_PACKAGES.get(url.get_backend_name(), "the package of the dialect")
        remedy = "write postgresql://" if url.drivername == "postgres" else f"correct it, or pip install {package}"
        problem = f"SQLAlchemy knows no dialect {url.drivername!r}; {remedy}"
    except ImportError as error:
        module = (error.name or "").partition(".")[0] or url.get_driver_name()
        problem = f"the driver {module} is not installed; pip install {DRIVER_PACKAGES.get(module, module)}"
    except (
        SQLAlchemyError,
        TypeError,
        ValueError,
        OSError,
    ) as error:  # not only SQLAlchemyError: the driver refuses the arguments of the URL
        problem = f"not reachable ({describe_error(error, secrets)}); check host, port, user, password and database"
    raise UserError(f"{name}: {problem}")


def _is_database(url: URL) -> bool:
    """Say whether SQLAlchemy, or a package that adds to it, reads such URLs."""
    from sqlalchemy.exc import NoSuchModuleError

    try:
        url.get_dialect()
    except NoSuchModuleError:
        return url.get_backend_name() in {*DIALECT_PACKAGES, "postgres"}
    except ImportError:  # the dialect is there, its driver is not
        pass
    return True


def _sqlite_file(url: URL) -> bool:
    database = url.database or ""
    return database.startswith("file:") or Path(database).is_file()


def _connect_arguments(url: URL) -> dict[str, Any]:
    has_timeout = "connect_timeout" in url.query or "PGCONNECT_TIMEOUT" in os.environ
    if url.get_driver_name() in ("psycopg", "psycopg2") and not has_timeout:
        return {"connect_timeout": CONNECT_TIMEOUT_SECONDS}  # without it the driver waits minutes for a silent host
    return {}


def _begin(connection: Connection) -> None:
    """Begin the transaction in which all rows are read: read-only where the database offers that."""
    if connection.dialect.name == "postgresql":
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        # Without synchronised scans an unchanged table is read in the same order and gives the same checksum. The cursor
        # is planned for all rows, not for an early first one. Set only where the settings exist: other databases speak
        # PostgreSQL's protocol.
        for setting, value in (("synchronize_seqscans", "off"), ("cursor_tuple_fraction", "1")):
            connection.exec_driver_sql(
                f"select set_config(name, '{value}', true) from pg_settings where name = '{setting}'"  # noqa: S608
            )
    elif connection.dialect.name == "sqlite":
        connection.exec_driver_sql("pragma query_only = on")


def _execute(connection: Connection, statement: str, *, stream_results: bool = False) -> CursorResult[Any]:
    """Execute a statement unchanged: neither ``:name`` nor ``%`` means a parameter."""
    options = {"no_parameters": True, "stream_results": stream_results}
    return connection.exec_driver_sql(statement, execution_options=options)


def _fetch(result: CursorResult[Any], remaining: int | None) -> Sequence[Row[Any]]:
    """Return the next rows, at most ``remaining`` of them."""
    count = ROWS_PER_BATCH if remaining is None else min(remaining, ROWS_PER_BATCH)
    return result.fetchmany(count) if count else []  # for some drivers 0 means a default of their own


def _count_rows(connection: Connection, query: str) -> int | None:
    """Return the number of rows, or None where counting fails or takes longer than `COUNT_TIMEOUT_SECONDS`."""
    from sqlalchemy.exc import SQLAlchemyError

    statement = f"select count(*) from ({query.strip().rstrip(';')}\n) as counted"  # noqa: S608 - as the user wrote it
    try:
        if connection.dialect.name == "postgresql":
            with connection.begin_nested() as attempt:
                connection.exec_driver_sql(f"set local statement_timeout = {round(COUNT_TIMEOUT_SECONDS * 1000)}")
                count = int(_execute(connection, statement).scalar_one())
                attempt.rollback()  # also undoes the setting
            return count
        if connection.dialect.name == "sqlite":
            driver: Any = connection.connection.driver_connection
            deadline = time.monotonic() + COUNT_TIMEOUT_SECONDS
            driver.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            try:
                return int(_execute(connection, statement).scalar_one())
            finally:
                driver.set_progress_handler(None, 0)
    except SQLAlchemyError:  # too slow, or an error that the statement itself will report
        pass
    return None


def _column_names(result: CursorResult[Any], name: str) -> list[str]:
    if not result.returns_rows:
        raise UserError(f"{name}: the statement returns no rows; give a select with --query")
    names = list(result.keys())
    for column in names:
        if names.count(column) > 1:
            raise UserError(f"{name}: two columns are called {column!r}; rename one with `as` in --query")
    return names
