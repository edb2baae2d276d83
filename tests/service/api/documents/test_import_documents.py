"""An index that begins empty, and a stream of documents that fills it: searched, compacted, exported and trained on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.compact import compact
from indexer.build.create import create, parse_columns
from indexer.build.settings import BuildSettings, CreateSettings
from indexer.corpus.corpus import Corpus
from indexer.errors import UserError
from indexer.live.export import export
from service.app import create_app
from service.settings import ServiceSettings

STORIES = [
    {"id": "a", "title": "The cat", "text": "The cat sits in the garden.", "metadata": {"price": 1.5, "tags": ["pet"]}},
    {"id": "b", "text": "The dog runs by the river.", "metadata": {"price": 2.5, "kind": "pet", "tags": "pet, water"}},
    {"id": "c", "title": "Storm", "text": "The ship sails in the storm at sea.", "metadata": {"sold": "2026-01-31"}},
    {"id": "d", "text": "The king eats bread in the castle.", "metadata": {}},
]
COLUMNS = "price:float, kind:text, tags:list, sold:date"


@pytest.fixture
def empty(data: Path) -> Path:
    """Return a data directory with an empty index that is live."""
    create(CreateSettings(columns=COLUMNS, language="en", force=True), data)
    return data


def client_of(data: Path, **settings: object) -> TestClient:
    """Return a client of a service that takes writes."""
    return TestClient(create_app(ServiceSettings(data=data, writable=True, poll_seconds=0.02, **settings)))  # type: ignore[arg-type]


def send(client: TestClient, rows: object) -> list[dict]:
    """Import rows, each an object or a line as it stands, and return the lines of the answer."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]  # type: ignore[attr-defined]
    answer = client.post("/documents/import", content=iter([b"\n".join(lines)]))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def found(client: TestClient, query: str, mode: str = "hybrid", **more: object) -> list[str]:
    """Return the ids that a search finds."""
    answer = client.post("/search", json={"query": query, "mode": mode, "top_k": 100, **more})
    assert answer.status_code == 200, answer.text
    return [result["id"] for result in answer.json()["results"]]


def test_an_empty_index_answers_and_takes_documents(empty: Path) -> None:
    """Nothing is found in it; what is imported is found by both legs, filtered, and there after a restart."""
    with client_of(empty) as client:
        assert [found(client, "cat", mode) for mode in ("hybrid", "dense", "lexical")] == [[], [], []]
        assert client.get("/info").status_code == 200
        [summary] = send(client, STORIES)
        assert {name: summary[name] for name in ("done", "lines", "put", "replaced", "refused")} == {
            "done": True, "lines": 4, "put": 4, "replaced": 0, "refused": 0,
        }  # fmt: skip
        assert summary["index"]["documents"] == 4
        assert found(client, "storm at sea", "lexical")[0] == "c"
        assert set(found(client, "storm at sea", "dense")) == {"a", "b", "c", "d"}
        assert found(client, "the dog", filter={"must": [{"field": "tags", "eq": "water"}]}) == ["b"]
        assert client.get("/documents/c").json()["metadata"]["sold"] == "2026-01-31"
        facets = client.post("/search", json={"query": "dog", "facets": [{"field": "tags"}]}).json()["facets"]["tags"][
            "values"
        ]
        assert facets == [{"value": "pet", "count": 2}, {"value": "water", "count": 1}]
    with client_of(empty) as client:
        assert found(client, "storm at sea", "lexical")[0] == "c"


def test_rare_words_count_more_before_the_first_compaction(empty: Path) -> None:
    """An empty index has no statistics of words; those of the live documents stand in for them."""
    rows = [{"id": str(row), "text": f"the ship sails {'storm' if row == 7 else 'sea'}"} for row in range(10)]
    with client_of(empty) as client:
        send(client, rows)
        answer = client.post("/search", json={"query": "ship storm", "mode": "lexical", "top_k": 2}).json()
        first, second = answer["results"]
        assert first["id"] == "7" and first["score"] > 2 * second["score"]


def test_columns_of_an_empty_index_are_searched(data: Path) -> None:
    """Words and whole values of its columns are found in what is written, before and after the first compaction."""
    columns = CreateSettings(columns="brand:text,ean:int", search_columns="brand^2", exact_columns="ean", force=True)
    create(columns, data)
    rows = [
        {"id": str(row), "text": "the cat", "metadata": {"brand": f"fish{row}", "ean": 4000 + row}} for row in range(5)
    ]
    for _ in range(2):
        with client_of(data) as client:
            send(client, rows)
            assert found(client, "fish3", "lexical")[0] == "3"
            assert found(client, "4002")[0] == "2"
        compact(data, cores=1)


def test_compaction_and_training_work_from_there(empty: Path, tmp_path: Path) -> None:
    """The first compaction is the index that a build of the same documents is: weights, language, words and vectors."""
    with client_of(empty) as client:
        send(client, STORIES)
    folded = compact(empty, cores=1)
    assert folded.fresh and folded.manifest.counts["documents"] == 4
    config = folded.manifest.config
    assert "created" not in config and config["language"] == "en"
    assert create(CreateSettings(columns=COLUMNS, language="en"), empty).fresh is False
    assert Store("index", empty).current_id() == folded.manifest.id
    assert export(tmp_path / "out" / "corpus.parquet", data=empty) == 4
    checked = Corpus.check(str(tmp_path / "out" / "corpus.parquet"))
    assert checked.documents == 4
    rows = pq.read_table(tmp_path / "out" / "corpus.parquet").to_pylist()
    assert [row["id"] for row in rows] == ["a", "b", "c", "d"] and rows[1]["tags"] == ["pet", "water"]
    settings = BuildSettings(language="en", dense_weight=config["fusion"]["dense_weight"])
    built = build(str(tmp_path / "out" / "corpus.parquet"), settings, empty, live=False)
    assert built.manifest.counts["embedded"] == 0
    with client_of(empty) as client:
        assert found(client, "storm at sea", "lexical") == ["c"]


def test_the_language_is_found_in_what_was_written(data: Path) -> None:
    """Without --language words are not stemmed until the texts show their language."""
    index = create(CreateSettings(force=True), data).manifest
    assert index.config["language"] == "none"
    with client_of(data) as client:
        send(client, STORIES)
    assert compact(data, cores=1).manifest.config["language"] == "en"


def test_a_live_index_is_not_replaced_by_an_empty_one(data: Path, publish) -> None:  # type: ignore[no-untyped-def]
    """Nobody loses the search of an index by a command that was meant for another directory."""
    publish({"id": ["a"], "text": ["The cat."]}, data)
    with pytest.raises(UserError, match=r"is live, with 1 documents; --force"):
        create(CreateSettings(columns="price:float"), data)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ("price", "'price' names no type"), ("price:money", "one of text, int, float"), ("id:text", "every document has id"),
        ("a:int,a:text", "'a' is given twice"), (":int", "name another column"),
    ],
)  # fmt: skip
def test_wrong_columns_are_refused(columns: str, problem: str) -> None:
    """The part that is wrong is named, with what can be written there."""
    with pytest.raises(UserError, match=problem):
        parse_columns(columns)


def test_each_refused_row_has_a_line(empty: Path) -> None:
    """Rows are refused one by one with number, id and reason; all others are written, and the last of equal ids counts."""
    rows = [
        STORIES[0],
        b"{broken",
        b"",
        {"id": "x", "text": " "},
        {"id": "y", "text": "The horse.", "metadata": {"price": "dear"}},
        {"id": "z", "text": "The horse.", "colour": "red"},
        b'{"id": "u", "text": "\xff"}',
        b"[1]",
        b'{"id": "v", "id": "w", "text": "The horse."}',
        {"id": "a", "text": "The old cat."},
    ]
    with client_of(empty) as client:
        *refused, summary = send(client, rows)
        assert [(line["line"], line["id"]) for line in refused] == [
            (2, None), (4, "x"), (5, "y"), (6, "z"), (7, None), (8, None), (9, None),
        ]  # fmt: skip
        for line, reason in zip(
            refused, ["broken JSON", "text", "metadata.price", "colour", "UTF-8", "no JSON object", "'id'"], strict=True
        ):
            assert reason in line["error"]
        assert (summary["lines"], summary["put"], summary["replaced"], summary["refused"]) == (10, 2, 1, 7)
        assert client.get("/documents/a").json()["text"] == "The old cat."


def test_a_line_may_be_too_long(empty: Path) -> None:
    """A line beyond the limit is refused and never held; the rows after it are read."""
    with client_of(empty, max_body_mb=1) as client:
        pieces = [b'{"id": "x", "text": "', *[b"a" * 100_000] * 15, b'"}\n', json.dumps(STORIES[0]).encode()]
        answer = client.post("/documents/import", content=iter(pieces)).text.splitlines()
        refused, summary = map(json.loads, answer)
        assert (refused["line"], "longer than 1,000,000 bytes" in refused["error"]) == (1, True)
        assert (summary["lines"], summary["put"]) == (2, 1)


def test_a_service_that_takes_no_writes_refuses_before_it_reads(empty: Path) -> None:
    """The refusal is a problem like any other."""
    with TestClient(create_app(ServiceSettings(data=empty))) as client:
        answer = client.post("/documents/import", content=b"{}")
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:dowse:problem:not-writable")


def test_a_document_may_be_called_import(empty: Path) -> None:
    """No route takes a document's address away."""
    with client_of(empty) as client:
        send(client, [{"id": name, "text": "The cat."} for name in ("import", "fetch", "delete")])
        for name in ("import", "fetch", "delete"):
            assert client.get(f"/documents/{name}").json()["text"] == "The cat."


def chunked(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks of a body."""
    for line in lines:
        yield b"%x\r\n%b\r\n" % (len(line), line)


def test_what_was_acknowledged_survives_a_broken_connection(empty: Path, start_service, eventually) -> None:  # type: ignore[no-untyped-def]
    """The client stops in the middle of a row: the rows before it are written as soon as it pauses, the broken one is not."""
    running = start_service(empty, "--writable")

    def documents() -> int:
        return int(json.loads(running.get("/info")[1])["index"]["documents"])

    with socket.create_connection(("127.0.0.1", running.port), 30) as connection:
        head = b"POST /documents/import HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"".join(chunked(json.dumps(row).encode() + b"\n" for row in STORIES[:3])))
        connection.sendall(b"".join(chunked(iter([b'{"id": "broken", "text": "The']))))
        eventually(lambda: documents() == 3, "three documents are written")
    assert running.status("/documents/broken") == 404
    assert documents() == 3


def test_many_refusals_wait_for_a_client_that_does_not_read(empty: Path, start_service) -> None:  # type: ignore[no-untyped-def]
    """A client that sends everything before it reads anything gets every line: the answer waits in a file meanwhile."""
    running = start_service(empty, "--writable")
    rows = 20_000
    connection = HTTPConnection("127.0.0.1", running.port, timeout=60)
    connection.request("POST", "/documents/import", b'{"id": "x"}\n' * rows)  # returns when all is sent
    *refused, last = [json.loads(line) for line in connection.getresponse().read().splitlines()]
    connection.close()
    assert [line["line"] for line in refused if "error" in line] == list(range(1, rows + 1))
    assert (last["done"], last["refused"]) == (True, rows)
