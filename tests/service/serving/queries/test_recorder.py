"""The query recorder: typing is one search, redaction, tenants, and a disk that refuses."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from indexer.live.query_log import QueryLog, read_lines
from service.security.keys import Key
from service.serving.queries import recorder as recorders
from service.serving.queries.recorder import QueryRecorder, Search, tenant_of
from service.serving.queries.redaction import RareQueries, redacted
from service.settings import ServiceSettings


def search(query: str, results: int = 10, mode: str = "hybrid", tenant: str | None = None) -> Search:
    """Return a search."""
    return Search(query, mode, results, None, 5.0, False, tenant)


def written(data: Path) -> list[tuple[str, str, int]]:
    """Return query, mode and results of each line of the log."""
    lines = [line for path in QueryLog(data).files() for line in read_lines(path)[0]]
    return [(line["query"], line["mode"], line["results"]) for line in lines]


def recorder(data: Path, **settings: object) -> QueryRecorder:
    """Return a recorder that has no thread yet."""
    return QueryRecorder(ServiceSettings(data=data, query_log=True, **settings))


def end(recorder: QueryRecorder) -> None:
    """Have everything written."""
    recorder.start()
    recorder.stop()


def test_what_is_typed_is_one_search(tmp_path: Path) -> None:
    """Each letter searches; kept is the query that they led to. Facets and highlights of the same query are no others."""
    log = recorder(tmp_path)
    for typed in ("h", "he", "head", "headp", "head", "headphones"):
        log.record("a", search(typed))
    log.record("a", search("headphones", 1, "lexical"))  # as facets are asked for
    log.record("b", search("floor lamp"))
    log.record("a", search("kettle"))
    end(log)
    assert sorted(written(tmp_path)) == [
        ("floor lamp", "hybrid", 10),
        ("headphones", "hybrid", 10),
        ("kettle", "hybrid", 10),
    ]


def test_the_same_query_later_counts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the hold, the same caller's query is another search."""
    monkeypatch.setattr(recorders, "HOLD_SECONDS", 0.0)
    log = recorder(tmp_path)
    log.record("a", search("lamp"))
    log.record("a", search("lamp"))
    end(log)
    assert len(written(tmp_path)) == 2


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("write to ann.lee+x@mail.example.org now", "write to [email] now"),
        ("call +49 (30) 1234-567", "call [number]"),
        ("order 123456", "order [number]"),
        ("top 10 lamps of 2026", "top 10 lamps of 2026"),
        ("model x200v", "model x200v"),
    ],
)
def test_personal_parts_are_replaced(query: str, kept: str) -> None:
    """Addresses and long numbers are replaced; years, small numbers and names stay."""
    assert redacted(query, "personal") == kept
    assert redacted(query, "none") == query


def test_rare_queries_are_kept_without_their_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of a query are on the disk only from the time on that it was searched often enough."""
    monkeypatch.setattr(recorders, "HOLD_SECONDS", 0.0)
    log = recorder(tmp_path, query_log_min_count=3)
    for query in ("lamp", "my secret", "lamp", "lamp", "lamp"):
        log.record("a", search(query))
    end(log)
    assert [query for query, _, _ in written(tmp_path)] == [None, None, None, "lamp", "lamp"]
    assert b"secret" not in b"".join(path.read_bytes() for path in QueryLog(tmp_path).files())


def test_the_counts_of_rare_queries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow with the number of different queries."""
    monkeypatch.setattr("service.serving.queries.redaction.REMEMBERED", 10)
    rare = RareQueries(2)
    assert not any(rare.may_keep(str(number)) for number in range(1000))
    assert len(rare._counts) == 10


def test_a_full_disk_stops_the_log_and_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the disk refuses, searches go on, memory is bounded, the problem is said once; then it is written again."""
    monkeypatch.setattr(recorders, "MAX_WAITING", 5)
    monkeypatch.setattr(recorders, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(recorders, "HOLD_SECONDS", 0.0)
    log, append = recorder(tmp_path), QueryLog.append

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(QueryLog, "append", refuse)
    for number in range(9):
        log.record("a", search(f"query {number}"))
        log._flush()
    assert log.problem and "No space left" in log.problem
    assert log.dropped == 4
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1
    monkeypatch.setattr(QueryLog, "append", append)
    log._flush()
    assert log.problem is None
    assert [query for query, _, _ in written(tmp_path)] == [f"query {number}" for number in range(5)]


def test_tenants_see_their_own_past_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with a filter gets past queries of that filter alone, another key with the same filter the same ones."""
    monkeypatch.setattr(recorders, "HOLD_SECONDS", 0.0)
    common = {"sha256": "0" * 64, "scopes": ("search",), "created": "2026-11-29T00:00:00+00:00"}
    keys = [
        Key(name="k", id="00000000", filter=value and {"must": [{"field": "tenant", "eq": value}]}, **common)
        for value in (None, "a", "a", "b")
    ]
    assert tenant_of(None) is None
    assert tenant_of(keys[1]) == tenant_of(keys[2]) != tenant_of(keys[3])
    log = recorder(tmp_path)
    for key, query in [(keys[0], "public"), (keys[1], "of a"), (keys[3], "of b")] * 2:
        log.record(query, search(query, tenant=tenant_of(key)))
    log._flush(everything=True)
    assert [log.past_queries(key) for key in keys] == [{}] * 4
    log._refresh_past()
    assert [log.past_queries(key) for key in keys] == [{"public": 2}, {"of a": 2}, {"of a": 2}, {"of b": 2}]
    assert (log.complete("PU", 5), log.complete("of", 5)) == (["public"], [])
    assert (log.complete("of", 5, keys[1]), log.complete("of", 0, keys[1])) == (["of a"], [])
