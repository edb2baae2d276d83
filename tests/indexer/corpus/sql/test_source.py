"""SQL databases as a corpus: with a real PostgreSQL server, and SQLite."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from postgres import PASSWORD
from stories import STORIES

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.corpus.corpus import Corpus
from indexer.corpus.source import Source
from indexer.corpus.sql import source as sqlsource
from indexer.errors import UserError

REPOSITORY = Path(__file__).parents[4]
QUERY = "select id, title, text, price from stories order by id"


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the spooled rows below the test's own folder."""
    monkeypatch.setenv("DOWSE_DATA", str(tmp_path / "data"))


@pytest.fixture
def server(postgres: Path) -> Iterator[psycopg.Connection]:
    """A connection to the server, on which the six stories are a table."""
    with psycopg.connect(host=str(postgres), user="postgres", autocommit=True) as connection:
        connection.execute("drop table if exists stories")
        connection.execute("create table stories (id text primary key, title text, text text, price numeric(8, 2))")
        connection.cursor().executemany("insert into stories values (%s, %s, %s, 1.5)", STORIES)
        yield connection


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """The URL of a SQLite database with the six stories."""
    with sqlite3.connect(tmp_path / "stories.db") as connection:
        connection.execute("create table stories (id, title, text, price)")
        connection.executemany("insert into stories values (?, ?, ?, 1.5)", STORIES)
    connection.close()
    return f"sqlite:///{tmp_path}/stories.db"


def url(folder: Path, user: str = "postgres", database: str = "postgres") -> str:
    """Return the URL of the server."""
    return f"postgresql+psycopg://{user}@/{database}?host={folder}"


def documents(spec: str, query: str = QUERY, **options: Any) -> list[dict[str, Any]]:
    """Return the documents of a query."""
    corpus = Corpus.check(spec, query=query, **options)
    return [row for batch in corpus.batches() for row in batch.to_pylist()]


def assert_refused(spec: str, query: str | None = QUERY) -> str:
    """Assert that a source is refused, and that the exception nowhere has the password; return the message."""
    with pytest.raises(UserError) as raised:
        Source(spec, query)
    error: BaseException | None = raised.value
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))
    while error:  # also in chained exceptions, which a log may print further than Python does
        assert PASSWORD not in f"{error} {error!r} {error.args}"
        error = error.__cause__ or error.__context__
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.usefixtures("server")
def test_postgres_documents(postgres: Path) -> None:
    """A table becomes documents: roles as in a file, the other columns metadata with their types."""
    rows = documents(url(postgres))
    assert [(row["id"], row["title"], row["text"]) for row in rows] == list(STORIES)
    assert rows[0]["metadata"] == {"price": Decimal("1.50")}


def test_sqlite_documents(sqlite: str) -> None:
    """The same from SQLite, whose columns have no types."""
    rows = documents(sqlite)
    assert [(row["id"], row["title"], row["text"]) for row in rows] == list(STORIES)
    assert rows[0]["metadata"] == {"price": 1.5}


def test_postgres_types(postgres: Path) -> None:
    """Common column types become Arrow types, or text where Arrow has no such type."""
    query = """select 1::smallint as id, 'x' as text, 2.50::numeric(5,2) as price, true as open, 0.5::real as share,
        date '2026-05-04' as day, timestamp '2026-05-04 03:02:01' as at, timestamptz '2026-05-04 03:02:01+02' as moment,
        interval '1 day' as span, '\\x00ff'::bytea as raw, '{"a": [1]}'::jsonb as object, array['a', null] as tags,
        array[[1],[2]] as grid, '12345678-1234-5678-1234-567812345678'::uuid as key, null::int as nothing,
        int4range(1, 5) as span_of, inet '10.0.0.1' as address"""
    (row,) = documents(url(postgres), query)
    assert row["id"] == "1"
    assert row["metadata"] == {
        "price": Decimal("2.50"), "open": True, "share": 0.5, "day": date(2026, 5, 4),
        "at": datetime(2026, 5, 4, 3, 2, 1), "moment": datetime(2026, 5, 4, 1, 2, 1, tzinfo=UTC),  # noqa: DTZ001
        "span": "1 day", "raw": b"\x00\xff", "object": '{"a": [1]}', "tags": ["a", None], "grid": [[1], [2]],
        "key": "12345678-1234-5678-1234-567812345678", "nothing": None, "span_of": "[1, 5)", "address": "10.0.0.1",
    }  # fmt: skip


def test_column_that_starts_with_nulls(postgres: Path) -> None:
    """The type of a column is that of all rows, however many NULLs come first."""
    query = "select g as id, 'x' as text, case when g > 3000 then g * 1.5 end as price from generate_series(1, 3001) g"
    corpus = Corpus.check(url(postgres), query=query)
    assert corpus.schema.field("metadata").type.field("price").type == pa.decimal128(38, 1)
    assert [row for batch in corpus.batches() for row in batch.to_pylist()][-1]["metadata"] == {
        "price": Decimal("4501.5")
    }


@pytest.mark.parametrize("limit", [1, 1024, 1500])
def test_rows_are_streamed(postgres: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """The server sends rows as they are read: the first rows of an endless query arrive at once.

    Counting the rows for the estimate of the time gives up, and does not disturb the reading.
    """
    monkeypatch.setattr(sqlsource, "COUNT_TIMEOUT_SECONDS", 0.05)
    assert (
        len(documents(url(postgres), "select generate_series(1, 1000000000000) as id, 'x' as text", limit=limit))
        == limit
    )


def test_rows_are_streamed_from_sqlite(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for SQLite."""
    monkeypatch.setattr(sqlsource, "COUNT_TIMEOUT_SECONDS", 0.05)
    endless = "with recursive n(id) as (select 1 union all select id + 1 from n) select id, 'x' as text from n"
    assert len(documents(sqlite, endless, limit=1500)) == 1500


def test_count_does_not_limit_the_statement(
    postgres: Path, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the count must be quick; the statement may take its time."""
    server.execute(
        "create or replace function slow(text) returns text language plpgsql stable as "
        "$$ begin perform pg_sleep(0.1); return $1; end $$"
    )
    monkeypatch.setattr(sqlsource, "COUNT_TIMEOUT_SECONDS", 0.4)
    assert len(documents(url(postgres), "select id, slow(text) as text from stories")) == 6


@pytest.mark.parametrize("ending", ["", ";", " ; ", " -- all of them"])
@pytest.mark.usefixtures("server")
def test_progress_has_a_total(postgres: Path, sqlite: str, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """The number of rows is known before they are read: the remaining time can be estimated."""
    totals = []

    class Bar(sqlsource.Bar):
        def __init__(self, name: str, total: int | None, unit: str) -> None:
            totals.append(total)
            super().__init__(name, total, unit)

    monkeypatch.setattr(sqlsource, "Bar", Bar)
    Source(url(postgres), QUERY + ending)
    Source(sqlite, QUERY + ending)
    Source(sqlite, QUERY + ending, limit=4)
    assert totals == [6, 6, 4]


@pytest.mark.usefixtures("server")
def test_statement_is_taken_as_it_stands(postgres: Path, sqlite: str) -> None:
    """Per cent signs and colons mean what they mean in SQL; nothing in a statement is a parameter."""
    query = "select id, text, ':id %s' as colon from stories where text like '%castle%' and ':a' <> '%(b)s'"
    for spec in (url(postgres), sqlite):
        assert [(row["id"], row["metadata"]) for row in documents(spec, query)] == [("d", {"colon": ":id %s"})]


def test_read_only(postgres: Path, server: psycopg.Connection, sqlite: str) -> None:
    """A statement cannot change the database, not even through a function that it calls."""
    server.execute(
        "create or replace function forget() returns text language sql as $$ delete from stories returning id $$"
    )
    assert "read-only transaction" in assert_refused(url(postgres), "select forget() as id, 'x' as text")
    assert "readonly database" in assert_refused(sqlite, "delete from stories returning id, text")
    assert len(documents(url(postgres))) == len(documents(sqlite)) == 6


def test_unchanged_table_is_up_to_date(data: Path, postgres: Path, server: psycopg.Connection) -> None:
    """The checksum of the rows is that of the input: nothing is built while the rows are the same, and a change is noticed."""
    spec, settings = url(postgres), BuildSettings(query=QUERY)
    first = build(spec, settings, data)
    assert first.fresh and first.manifest.counts["documents"] == 6
    assert first.manifest.inputs[0].name == spec
    assert not build(spec, settings, data).fresh
    server.execute("update stories set text = text || ' It is winter.' where id = 'a'")
    second = build(spec, settings, data)
    assert second.fresh and second.manifest.counts["embedded"] == 1
    gc.collect()
    assert [path.name for path in (data / ".spool").iterdir()] == [".gate"]


def test_one_answer_for_both_passes(postgres: Path, server: psycopg.Connection) -> None:
    """The documents are the checked rows, whatever happens to the table in between."""
    corpus = Corpus.check(url(postgres), query=QUERY)
    server.execute("delete from stories")
    assert sum(batch.num_rows for batch in corpus.batches()) == 6


def test_rows_in_the_same_order(postgres: Path, server: psycopg.Connection) -> None:
    """A large table is always read from its beginning, also while PostgreSQL would join a scan that is under way."""
    server.execute("drop table if exists large")
    server.execute("create table large as select g as id, repeat('x', 900) as text from generate_series(1, 40000) g")
    query = "select id, text from large"
    with (
        server.transaction(),
        server.cursor("scan") as joined,
    ):  # PostgreSQL would start the next scan at the position of this one
        joined.execute(query)
        joined.fetchmany(20_000)
        assert documents(url(postgres), query, limit=1)[0]["id"] == "1"
    server.execute("drop table large")


@pytest.mark.usefixtures("server")
def test_password_is_not_written_anywhere(data: Path, postgres: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build with a password leaves it in no file, in no line of progress and in no message."""
    monkeypatch.setenv("DOWSE_DATA", str(data))
    spec = f"postgresql+psycopg://reader:{PASSWORD}@/postgres?host={postgres}"

    done = subprocess.run(
        [sys.executable, "-m", "indexer", "build", spec, "--query", QUERY],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "read: 6 rows" in done.stderr and PASSWORD not in done.stdout + done.stderr
    named = Store("index", data).manifest(done.stdout.strip()).inputs[0].name
    assert named == f"postgresql+psycopg://reader:***@/postgres?host={postgres}"
    for path in data.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path


@pytest.mark.usefixtures("server")
def test_password_from_the_environment(postgres: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's own variable works, and is as secret as a password in the URL."""
    spec = url(postgres, user="reader")
    assert "no password supplied" in assert_refused(spec)  # the server does ask for it
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert len(documents(spec)) == 6
    assert '"***"' in assert_refused(spec, f"select '{PASSWORD}'::int")


def test_wrong_password(postgres: Path) -> None:
    """A refused login says for whom, and not with what."""
    message = assert_refused(f"postgresql://reader:{PASSWORD}x@/postgres?host={postgres}")
    assert 'password authentication failed for user "reader"' in message
    assert message.startswith(f"postgresql://reader:***@/postgres?host={postgres}: not reachable")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (None, 'no statement; give one with --query "select'),
        (" ", 'no statement; give one with --query "select'),
        ("select id from nowhere", r"the statement is refused \(.*nowhere.*\); correct --query"),
        ("selec id", r"the statement is refused \(.*\); correct --query"),
        ("select 1 as id, 2 as id", "two columns are called 'id'"),
    ],
)
def test_wrong_query(postgres: Path, sqlite: str, query: str | None, message: str) -> None:
    """A statement that the database refuses, or that cannot become a corpus, is answered in one line."""
    for spec in (url(postgres), sqlite):
        with pytest.raises(UserError, match=f"{spec[:8]}.*: {message}"):
            Source(spec, query)
        assert_refused(spec, query)


def test_statement_that_fails_midway(postgres: Path) -> None:
    """A row that cannot be computed ends the reading; a part of the rows is never a corpus."""
    message = assert_refused(
        url(postgres), "select 5000 / (g - 3000) as id, 'x' as text from generate_series(1, 5000) g"
    )
    assert "reading stopped (division by zero)" in message


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("spec", ["azure://account/box/a.parquet", "lakefs://repo/a.csv", "mongodb://host/shop"])
def test_url_of_no_database(spec: str) -> None:
    """A URL that no database reads is not asked for a statement: the remedy is a file on this machine."""
    assert "fetch the file first" in assert_refused(spec, None)


def test_statement_without_rows(sqlite: str, postgres: Path) -> None:
    """A statement with no rows is no corpus, and a statement that returns none by its kind is no query."""
    for spec in (sqlite, url(postgres)):
        with pytest.raises(UserError, match="holds no rows"):
            Corpus.check(spec, query="select id, text from stories where id = 'z'")
    assert "returns no rows" in assert_refused(sqlite, "pragma query_only = on")
    assert "the statement is refused" in assert_refused(url(postgres), "create table more (id int)")


def test_columns_are_checked_as_in_a_file(sqlite: str) -> None:
    """A missing or unfit column is named together with the flag, under the name of the database."""
    with pytest.raises(UserError, match=rf"^{sqlite}: no column 'text' among 'id', 'body'; .*--text-column"):
        Corpus.check(sqlite, query="select id, text as body from stories")
    with pytest.raises(UserError, match=rf"^{sqlite}: column 'price' holds double, not text"):
        Corpus.check(sqlite, query="select id, price from stories", text_column="price")
    with pytest.raises(UserError, match=rf"{sqlite} row 2 \(id 'b'\): empty text"):
        Corpus.check(sqlite, query="select id, case id when 'b' then null else text end as text from stories")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sqlite:///absent.db", "there is no such file"),
        ("sqlite://", "there is no such file"),
        ("postgresql+psycopg://me@/shop?host=/absent", r"not reachable \(.*\); check host"),
        (f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:1/shop", r"not reachable \(.*refused.*\); check host"),
        (f"postgresql+psycopg://me@127.0.0.1:1/shop?nonsense={PASSWORD}", r"invalid connection option .nonsense."),
        (f"postgresql+psycopg://me:{PASSWORD}@host:port/shop", "not a database URL"),
        ("postgres://me@host/shop", "SQLAlchemy knows no dialect 'postgres'; write postgresql://"),
        ("duckdb:///shop.db", "SQLAlchemy knows no dialect 'duckdb'; correct it, or pip install duckdb-engine"),
        ("postgresql+asyncpg://me@host/shop", r"postgresql\+asyncpg is asynchronous"),
        ("mysql://me@host/shop", "the driver MySQLdb is not installed; pip install mysqlclient"),
        ("mysql+pymysql://me@host/shop", "the driver pymysql is not installed; pip install pymysql"),
        ("nosql://example.com/corpus.csv", "SQLAlchemy knows no dialect 'nosql'"),
    ],
)
def test_wrong_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, message: str) -> None:
    """A faulty URL gives an error of one line, with the package to install where one is missing."""
    monkeypatch.chdir(tmp_path)
    for module in ("MySQLdb", "pymysql"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=message):
        Source(spec, QUERY)
    assert_refused(spec)
    assert not list(tmp_path.glob("*.db"))


def test_sqlalchemy_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files need no SQLAlchemy; with a database the error says what to install."""
    monkeypatch.setitem(sys.modules, "sqlalchemy.engine", None)
    assert "pip install 'sqlalchemy>=2.1' 'psycopg[binary]'" in assert_refused("sqlite:///a.db")


def test_query_for_a_file(corpus: Path) -> None:
    """A query for a file is refused, not silently ignored."""
    with pytest.raises(UserError, match=r"^--query: .*corpus\.parquet is no database"):
        Corpus.check(str(corpus), query=QUERY)


def test_silent_host_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for a host that does not answer takes seconds, not minutes, unless the user sets a timeout."""
    from indexer.corpus.sql.url import parse_url

    monkeypatch.delenv("PGCONNECT_TIMEOUT", raising=False)
    assert sqlsource._connect_arguments(parse_url("postgresql://host/shop")) == {"connect_timeout": 10}
    assert sqlsource._connect_arguments(parse_url("postgresql://host/shop?connect_timeout=99")) == {}
    monkeypatch.setitem(os.environ, "PGCONNECT_TIMEOUT", "99")
    assert sqlsource._connect_arguments(parse_url("postgresql://host/shop")) == {}


def test_sqlite_odd_values(tmp_path: Path) -> None:
    """Text that is not UTF-8 makes its row a reject, and text in a BLOB is text."""
    path = tmp_path / "odd.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table t (id integer, text, note)")
        database.execute("insert into t values (1, cast(x'ff41' as text), 'a')")
        database.execute("insert into t values (2, cast('wörds' as blob), 'b')")
        database.execute("insert into t values (3, 'words', cast(x'e9' as text))")
        database.execute("insert into t values (4, 'words', x'fffe')")
        database.commit()
    corpus = Corpus.check(f"sqlite:///{path}", query="select * from t order by id", skip_bad_rows=True, data=tmp_path)
    assert [(reject.row, reject.reason) for reject in corpus.rejects] == [
        (1, "invalid UTF-8 in column 'text'"),
        (3, "invalid UTF-8 in column 'note'"),
        (4, "invalid UTF-8 in column 'note'"),
    ]
    assert [row["text"] for batch in corpus.batches() for row in batch.to_pylist()] == ["wörds"]


def test_postgres_odd_times(postgres: Path, tmp_path: Path) -> None:
    """Times that Python cannot hold are text, and whole numerics are ids."""
    statement = """
        select 1::numeric as id, 'words' as text, 'infinity'::timestamp as moment, '0044-03-15 BC'::date as day,
               '24:00'::time as clock, '1 year 1 mon'::interval as span, array['-infinity'::timestamptz] as several
        union all select 2.0, 'words', '2020-01-02 03:04', '2020-01-02', '10:00', '90 days', null
        order by id"""
    url = f"postgresql+psycopg://postgres@/postgres?host={postgres}"
    corpus = Corpus.check(url, query=statement, data=tmp_path)
    rows = [row for batch in corpus.batches() for row in batch.to_pylist()]
    assert [row["id"] for row in rows] == ["1", "2"]
    assert rows[0]["metadata"] == {
        "moment": "infinity", "day": "0044-03-15 BC", "clock": "24:00:00", "span": "1 year 1 mon",
        "several": ["-infinity"],
    }  # fmt: skip
    assert rows[1]["metadata"]["moment"] == "2020-01-02 03:04:00"
