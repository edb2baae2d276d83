"""Bodies that are no text: refused before any route parses them, in the shape of the route."""

from __future__ import annotations

import json

import pytest

from service.problems import Problem
from service.security.body import check_text

HALVES = ["\\ud83d", "\\uDE00", "\\ude00\\ud83d", "\\ud83d\\ud83d\\ude00", "\\\\\\ud8ff", "\\\\ud83d\\ude00"]
WHOLE = [
    "\\ud83d\\ude00",
    "\\uD83D\\uDE00 x",
    "\\\\ud83d",
    "\\\\\\\\ude00",
    "\\u00e9\\ud7ff\\ue000",
    "😀 é",
    "\\n\\t\\\\",
]
PLACES = {
    ("/search", 422): '{"query": "%s"}',
    ("/search", 422, "column"): '{"query": "a", "fields": ["%s"]}',
    ("/search", 422, "name"): '{"query": "a", "%s": 1}',
    ("/search", 422, "filter"): '{"query": "a", "filter": {"must": [{"field": "id", "in": ["%s"]}]}}',
    ("/search/batch", 422): '{"searches": [{"query": "%s"}]}',
    ("/similar", 422): '{"ids": ["%s"]}',
    ("/v1/embeddings", 400): '{"model": "m", "input": "%s"}',
    ("/v1/embeddings", 400, "list"): '{"model": "m", "input": ["a", "%s"]}',
    ("/v1/embeddings", 400, "model"): '{"model": "%s", "input": "a"}',
    ("/v1/rerank", 400): '{"query": "%s", "documents": ["a"]}',
    ("/v1/rerank", 400, "document"): '{"query": "a", "documents": [{"text": "%s"}]}',
    ("/mcp", 422): '{"jsonrpc": "2.0", "id": "%s", "method": "tools/list"}',
}


@pytest.mark.parametrize("half", HALVES)
def test_half_of_a_surrogate_pair_is_found(half):
    """Alone, in the wrong order, beside a whole pair, or behind an escaped backslash."""
    body = f'{{"a": "x{half}y"}}'.encode()
    with pytest.raises(UnicodeEncodeError):
        json.loads(body)["a"].encode()
    with pytest.raises(Problem, match="half of a surrogate pair"):
        check_text(body)


@pytest.mark.parametrize("whole", WHOLE)
def test_whole_pairs_pass(whole):
    """Emojis, as clients escape them, are text, and so is a backslash before the letters of an escape."""
    check_text(f'{{"a": "x{whole}y"}}'.encode())


@pytest.mark.parametrize(
    "body", ['{"a": "\ud800"}'.encode("utf-8", "surrogatepass"), b'"\xff"', '"ab"'.encode("utf-16-le")]
)
def test_what_is_no_utf_8_is_refused(body):
    """Halves that are not escaped, and other encodings, which Python's parser guesses, are refused."""
    with pytest.raises(Problem, match="UTF-8"):
        check_text(body)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_no_route_fails_at_it(client, place):
    """Wherever a string stands in a body, half of a pair in it is the client's error, and named."""
    path, status = place[:2]
    body = PLACES[place].replace("%s", "cats \\udc61").encode()
    answer = client.post(path, content=body, headers={"Content-Type": "application/json", "Accept": "application/json"})
    assert answer.status_code == status
    assert answer.json()["type"] == "urn:dowse:problem:invalid-request"
    assert "\\udc61" in answer.json()["detail"]
    assert ("error" in answer.json()) == path.startswith("/v1")


@pytest.mark.parametrize(
    "origin", ["http://[bad", "http://a]b", "https://[::1", "http://\u2100.example".encode(), "[", "://"]
)
def test_a_malformed_origin_is_not_allowed(client, origin):
    """An origin that is no URL is one that may not call `/mcp`."""
    answer = client.post("/mcp", json={}, headers={"Origin": origin})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:dowse:problem:forbidden-origin")


@pytest.mark.parametrize("path", ["/", "/page/search/app.js", "/static-offline-docs/swagger-ui.css"])
@pytest.mark.parametrize(("asked", "status"), [("bytes=x-y", 400), ("lines=1-2", 400), ("bytes=99999999-", 416)])
def test_a_wrong_range_is_a_problem(client, path, asked, status):
    """Errors that libraries answer with in plain text have the one shape, and keep their headers."""
    answer = client.get(path, headers={"Range": asked})
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["status"]) == ("urn:dowse:problem:http", status)
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert ("Content-Range" in answer.headers) == (status == 416)
    assert client.get(path, headers={"Range": "bytes=0-9"}).status_code == 206
