"""Direct routes: the same answers and errors as by way of the framework, for every kind of request."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from indexer.retrieval.retriever import Retriever
from service.api import direct
from service.app import create_app
from service.settings import ServiceSettings

VARYING = {"took_ms", "timings", "request_id"}
JSON = "application/json"
REQUESTS = [
    (b'{"query": "a dog in the garden"}', JSON),
    (b'{"query": "a dog in the garden", "mode": "lexical", "explain": true}', "Application/JSON; charset=utf-8"),
    (b'{"query": "cat", "filter": {"must": [{"field": "none", "equals": 1}]}}', JSON),
    (b'{"query": "cat", "top_k": true, "nope": 1}', JSON),
    (b'{"query": 1}', JSON),
    (b'{"query": "cat"', JSON),
    (b'{"query": "cat", "query": "dog"}', JSON),
    (b'["cat"]', JSON),
    (b"", JSON),
    (b"{}", JSON),
    (b'{"query": "cat"}', "text/plain"),
    (b'{"query": "cat"}', "application/problem+json"),
    (b'{"query": "cat"}', ""),
]


@pytest.fixture(scope="module")
def clients(built_data):
    """Two clients of one application, the second of one in which nothing is direct."""
    with pytest.MonkeyPatch.context() as patch, TestClient(create_app(ServiceSettings(data=built_data))) as first:
        patch.setattr(direct.DirectRoute, "of", classmethod(lambda *_: None))
        with TestClient(create_app(ServiceSettings(data=built_data))) as second:
            yield first, second


@pytest.mark.parametrize(("content", "kind"), REQUESTS)
def test_both_ways_give_the_same_answer(clients, content, kind):
    """Status, headers and body are the same, with errors of every kind; a body without a kind is as one of another."""
    headers = {"Content-Type": kind, "X-Request-ID": "same"} if kind else {"X-Request-ID": "same"}
    answers = [client.post("/search", content=content, headers=headers) for client in clients]
    bodies = [answer.json() for answer in answers]
    for body in bodies:
        assert [body.pop(name, None) for name in VARYING]
    assert bodies[0] == bodies[1]
    assert list(bodies[0]) == list(bodies[1])
    assert answers[0].status_code == answers[1].status_code
    assert {name: value for name, value in answers[0].headers.items() if name != "content-length"} == {
        name: value for name, value in answers[1].headers.items() if name != "content-length"
    }


def test_a_search_is_direct(clients, monkeypatch):
    """A plain search does not pass the framework's router, which other requests do."""
    passed = []
    for client in clients:
        router = client.app.router
        stack = router.middleware_stack

        async def note(scope, receive, send, stack=stack):
            passed.append(scope["path"])
            await stack(scope, receive, send)

        monkeypatch.setattr(router, "middleware_stack", note)
    assert clients[0].post("/search", json={"query": "cat"}).status_code == 200
    assert passed == []
    assert clients[0].get("/search?q=cat").status_code == 200
    assert clients[1].post("/search", json={"query": "cat"}).status_code == 200
    assert passed == ["/search", "/search"]


def test_an_error_within_the_search_is_answered_as_ever(clients, monkeypatch):
    """An unexpected error is an opaque 500 either way."""

    def fail(*_args, **_options):
        raise RuntimeError("secret")

    monkeypatch.setattr(Retriever, "search", fail)
    answers = [client.post("/search", json={"query": "cat"}, headers={"X-Request-ID": "same"}) for client in clients]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert answers[0].json() == answers[1].json()
    assert "secret" not in answers[0].text
