"""`POST /search/export`: complete, in order, harmless in a spreadsheet, and in parts between which others are answered."""

from __future__ import annotations

import csv
import io
import json
import math

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from service.api.search import export
from service.app import create_app
from service.problems import Problem
from service.settings import ServiceSettings

COUNT = 40
COLUMNS = {
    "id": [f"d{number:02}" for number in range(COUNT)],
    "title": ["=1+1", "-dash", "@home", "+49", "\ttab", 'a "quoted", name', "Zoë"] + [None] * (COUNT - 7),
    "text": [f"The cat number {number}.\nIt sleeps in the garden." for number in range(COUNT)],
    "price": [-5.5, math.nan, None, *range(COUNT - 3)],
    "sold": [True, False, None] + [None] * (COUNT - 3),
    "tags": [["=a", "b"], [], None] + [["c"]] * (COUNT - 3),
    "day": pa.array(["2026-05-30"] * COUNT).cast(pa.date32()),
    "rank": [f"r{number}" for number in range(COUNT)],
}


@pytest.fixture(scope="module")
def client(serve_columns):
    """A client of a service over forty documents."""
    with TestClient(create_app(ServiceSettings(data=serve_columns(COLUMNS)))) as client:
        yield client


def exported(client, **body):
    """The answer to an export that succeeds."""
    answer = client.post("/search/export", json=body)
    assert answer.status_code == 200, answer.text
    return answer


def table(answer):
    """The rows of a CSV file, as dictionaries."""
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))


def lines(answer):
    """The objects of JSON lines."""
    return [json.loads(line) for line in answer.text.splitlines()]


def test_all_documents_as_json_lines(client, monkeypatch):
    """Without a query all documents are exported, with their own values, part by part; the file can be indexed again."""
    monkeypatch.setattr(export, "PART", 7)
    answer = exported(client, format="jsonl")
    assert answer.headers["content-type"] == "application/jsonl; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="results.jsonl"'
    rows = lines(answer)
    assert [row["id"] for row in rows] == COLUMNS["id"]
    assert rows[0] == {
        "id": "d00", "title": "=1+1", "text": COLUMNS["text"][0], "price": -5.5, "sold": True, "tags": ["=a", "b"], "day": "2026-05-30", "rank": "r0",
    }  # fmt: skip
    assert (rows[1]["price"], rows[2]["tags"], rows[1]["tags"]) == (None, None, [])


def test_a_csv_file_is_harmless_in_a_spreadsheet(client):
    """Texts that a spreadsheet would run begin with an apostrophe; numbers, quotes and line ends are as they were."""
    answer = exported(client)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = table(answer)
    assert [row["title"] for row in rows[:8]] == ["'=1+1", "'-dash", "'@home", "'+49", "'\ttab", 'a "quoted", name', "Zoë", ""]  # fmt: skip
    assert [row["price"] for row in rows[:4]] == ["-5.5", "", "", "0.0"]
    assert [row["sold"] for row in rows[:3]] == ["true", "false", ""]
    assert [row["tags"] for row in rows[:3]] == ['["=a","b"]', "[]", ""]
    assert rows[3]["text"] == COLUMNS["text"][3]
    assert list(rows[0]) == ["id", "title", "text", "price", "sold", "tags", "day", "rank"]


def test_the_results_of_a_search(client):
    """What a search finds is exported in its order, with the columns that are asked for, scores among them."""
    body = {"query": "cat number 7", "filter": {"must": [{"field": "price", "gte": 3}]}, "group_by": "rank"}
    found = client.post("/search", json={**body, "top_k": 100}).json()["results"]
    rows = table(exported(client, **body, fields=["score", "id", "rank"]))
    assert [row["id"] for row in rows] == [result["id"] for result in found]
    assert [float(row["score"]) for row in rows] == [result["score"] for result in found]
    assert rows[0]["rank"] == found[0]["metadata"]["rank"]  # a column of the corpus goes before the position
    assert len(table(exported(client, **body, limit=3))) == 3
    by_price = table(exported(client, query="cat", sort=[{"field": "price", "order": "desc"}], limit=2))
    assert [row["price"] for row in by_price] == ["36.0", "35.0"]


def test_an_empty_export_is_a_file_of_column_names(client):
    """Where nothing is found a CSV file has its first line, and JSON lines are empty."""
    nothing = {"filter": {"must": [{"field": "id", "in": []}]}}
    assert exported(client, **nothing, fields=["id"]).text == "id\r\n"
    assert exported(client, **nothing, format="jsonl").text == ""


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"fields": ["id", "colour"]}, "body.fields"),
        ({"offset": 3}, "body.offset"),
        ({"facets": [{"field": "price"}]}, "body.facets"),
        ({"format": "xlsx"}, "body.format"),
        ({"limit": 0}, "body.limit"),
        ({"min_score": 1}, "body.min_score"),
        ({"group_by": "tags"}, "body.group_by"),
        ({"sort": [{"field": "tags"}]}, "body.sort.0"),
        ({"filter": {"must": [{"field": "x", "eq": 1}]}}, "body.filter"),
    ],
)
def test_what_an_export_has_not_is_refused(client, body, where):
    """A refusal comes as a problem with its field, before any line is sent."""
    refused = client.post("/search/export", json=body)
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    assert refused.json()["errors"][0]["field"] == where


def test_others_are_answered_between_two_parts(client, monkeypatch):
    """Each part is a turn of the queue, and each is made only when the one before was taken."""
    monkeypatch.setattr(export, "PART", 10)
    turns = []
    queue = client.app.state.queue
    run = queue.run

    async def counted(work, *rest):
        content = await run(work, *rest)
        turns.append(len(content))
        return content

    monkeypatch.setattr(queue, "run", counted)
    exported(client, format="jsonl")
    assert [bool(size) for size in turns] == [True, True, True, True, False]


def test_a_full_queue_delays_a_part_and_loses_nothing(client, monkeypatch):
    """A part that finds the queue full is asked for again; the file is complete."""
    monkeypatch.setattr(export, "PART", 10)
    monkeypatch.setattr(export, "BUSY_SECONDS", 0.01)
    queue, tries = client.app.state.queue, []
    run = queue.run

    async def sometimes_full(work, *rest):
        tries.append(len(tries))
        if len(tries) in {2, 3, 5}:
            raise Problem(429, "overloaded", "full")
        return await run(work, *rest)

    monkeypatch.setattr(queue, "run", sometimes_full)
    assert [row["id"] for row in lines(exported(client, format="jsonl"))] == COLUMNS["id"]
    assert len(tries) == 8


def test_a_part_that_fails_ends_the_connection(client, monkeypatch):
    """The answer breaks off, so that nobody takes half a file for a whole one; the queue is free again."""
    monkeypatch.setattr(export, "PART", 10)
    queue = client.app.state.queue
    run, turns = queue.run, []

    async def failing(work, *rest):
        turns.append(work)
        if len(turns) == 3:
            raise Problem(504, "deadline", "too late")
        return await run(work, *rest)

    monkeypatch.setattr(queue, "run", failing)
    with pytest.raises(RuntimeError, match="response already started"):
        client.post("/search/export", json={"format": "jsonl"})
    monkeypatch.undo()
    assert len(lines(exported(client, format="jsonl"))) == COUNT
