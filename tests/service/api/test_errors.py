"""One error shape. Clients match on `type`; whatever changes here breaks them, so a change here is a new version."""

from __future__ import annotations

import errno
import logging
import os
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from indexer.retrieval.retriever import Retriever
from service.app import create_app
from service.problems import KINDS
from service.settings import ServiceSettings

TYPES = {
    "urn:dowse:problem:invalid-request",
    "urn:dowse:problem:unauthorized",
    "urn:dowse:problem:forbidden",
    "urn:dowse:problem:not-found",
    "urn:dowse:problem:model-not-found",
    "urn:dowse:problem:forbidden-host",
    "urn:dowse:problem:store-unavailable",
    "urn:dowse:problem:not-supported",
    "urn:dowse:problem:forbidden-origin",
    "urn:dowse:problem:method-not-allowed",
    "urn:dowse:problem:client-gone",
    "urn:dowse:problem:overloaded",
    "urn:dowse:problem:timeout",
    "urn:dowse:problem:too-large",
    "urn:dowse:problem:too-many-requests",
    "urn:dowse:problem:not-ready",
    "urn:dowse:problem:exhausted",
    "urn:dowse:problem:draining",
    "urn:dowse:problem:deadline",
    "urn:dowse:problem:not-writable",
    "urn:dowse:problem:not-written",
    "urn:dowse:problem:disk-full",
    "urn:dowse:problem:http",
    "urn:dowse:problem:internal",
}
SEARCH = {"query": "cat"}
SECRET = "secret path /etc/x"  # noqa: S105 - what must not leak


@pytest.fixture(scope="module")
def without_index(tmp_path_factory):
    """A client of a service that has no index."""
    with TestClient(create_app(ServiceSettings(data=tmp_path_factory.mktemp("empty")))) as client:
        yield client


@pytest.fixture
def failing(monkeypatch):
    """Makes every search fail as no search should."""

    def fail(*_args, **_options):
        raise RuntimeError(SECRET)

    monkeypatch.setattr(Retriever, "search", fail)


def check(answer, status, kind, title):
    """Check that an answer is a problem, whole and nothing else, and return its body."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "request_id", "errors"}
    assert body["type"] == f"urn:dowse:problem:{kind}"
    assert body["type"] in TYPES
    assert body["title"] == title
    assert body["status"] == status
    assert body["detail"]
    assert body["request_id"] == answer.headers["X-Request-ID"] != ""
    assert isinstance(body["errors"], list)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    return body


def test_the_types_are_stable():
    """The types that a client may meet are these; a new one is added here, and none is ever renamed."""
    assert {f"urn:dowse:problem:{kind}" for kind in KINDS} == TYPES


@pytest.mark.parametrize("path", ["/nope", "/page", "/page/", "/docs/nope", "/index.html", "/search/more"])
def test_an_unknown_route(client, path):
    """A path that does not exist is a 404 in the one shape, which names the path and where to look."""
    body = check(client.get(path), 404, "not-found", "Not found")
    assert path in body["detail"]
    assert "/docs" in body["detail"]
    assert body["errors"] == []


@pytest.mark.parametrize("name", ["nope.js", "index.html", "..%2Froutes.py", "%2Fetc%2Fpasswd"])
def test_an_unknown_file_of_the_page(client, name):
    """Of the page's folder nothing but the page's own files is given out."""
    check(client.get(f"/page/{name}"), 404, "not-found", "Not found")


@pytest.mark.parametrize("path", ["/documents/nope", "/documents/nope/similar"])
def test_an_unknown_document(client, path):
    """A document that does not exist is a 404 in the one shape, which names it."""
    body = check(client.get(path), 404, "not-found", "Not found")
    assert body["detail"] == "The index holds no document 'nope'"


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/search"), ("POST", "/info"), ("PUT", "/"), ("POST", "/readyz")]
)
def test_a_method_that_is_not_allowed(client, method, path):
    """A method that a path does not have is a 405 in the one shape that says what is allowed."""
    answer = client.request(method, path)
    check(answer, 405, "method-not-allowed", "Method not allowed")
    assert answer.headers["Allow"]


def test_a_request_that_is_not_valid(client):
    """A request that is not valid is a 422 that lists every field with what is wrong with it."""
    body = check(
        client.post("/search", json={"query": 5, "top_k": 0, "nope": 1}),
        422,
        "invalid-request",
        "Invalid request",
    )
    assert {error["field"] for error in body["errors"]} == {"body.query", "body.top_k", "body.nope"}
    for error in body["errors"]:
        assert set(error) == {"field", "message"}
        assert f"{error['field']}: {error['message']}" in body["detail"]


def test_a_refusal_does_not_repeat_what_was_sent(client):
    """What a client sent does not come back in a refusal, where it could end up in a log or a page."""
    assert "<script>" not in client.post("/search", json={"query": "cat", "top_k": "<script>"}).text


def test_a_body_that_cannot_be_read(client):
    """What is wrong with a request before it is understood is of the type `http`, with HTTP's own status."""
    answer = client.post("/search", content=b"[" * 100_000, headers={"Content-Type": "application/json"})
    check(answer, 400, "http", "Request failed")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/search"), ("GET", "/search?q=x"), ("GET", "/documents/a"), ("GET", "/readyz")]
)
def test_a_service_without_an_index(without_index, method, path):
    """Without an index the answer is a 503 that names the command to run and when to ask again."""
    answer = without_index.request(method, path, json=SEARCH if method == "POST" else None)
    body = check(answer, 503, "not-ready", "Service not ready")
    assert "`python -m indexer build CORPUS`" in body["detail"]
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.usefixtures("failing")
def test_an_unexpected_error_tells_nothing(client):
    """A bug is a 500 that carries the request id and nothing of what happened inside."""
    answer = client.post("/search", json=SEARCH)
    body = check(answer, 500, "internal", "Internal error")
    assert body["request_id"] in body["detail"]
    for secret in (SECRET, "/etc/x", "RuntimeError", "Traceback", ".py"):
        assert secret not in answer.text
        assert secret not in str(answer.headers)


@pytest.mark.usefixtures("failing")
def test_an_unexpected_error_is_logged_whole(client, caplog):
    """The log has the traceback of a bug under the request id that the client was given."""
    with caplog.at_level(logging.ERROR, logger="dowse.service"):
        identity = client.get("/search?q=cat").json()["request_id"]
    records = [record for record in caplog.records if identity in record.getMessage()]
    assert len(records) == 1
    assert records[0].exc_info
    assert isinstance(records[0].exc_info[1], RuntimeError)
    assert f"RuntimeError: {SECRET}" in caplog.text
    assert "service/api/search/routes.py" in caplog.text


def no_descriptor(*_args, **_options):
    """Fail as `open` does where all descriptors are in use."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), SECRET)


@pytest.mark.parametrize("path", ["/", "/model", "/page/style.css", "/static-offline-docs/swagger-ui.css"])
@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}])
def test_files_without_a_free_descriptor(client, monkeypatch, caplog, path, headers):
    """A file that cannot be opened for lack of descriptors is a 503 to ask again after, and leaves no traceback."""
    with monkeypatch.context() as patch:
        patch.setattr("anyio.open_file", no_descriptor)
        answer = client.get(path, headers=headers)
    check(answer, 503, "exhausted", "Machine out of resources")
    assert int(answer.headers["Retry-After"]) > 0
    assert SECRET not in answer.text
    assert "Traceback" not in caplog.text
    assert client.get(path).status_code == 200
    assert client.head(path).status_code in {200, 405}


def test_a_browser_without_a_free_descriptor(client, monkeypatch):
    """The page of a problem needs no open file itself."""
    monkeypatch.setattr("anyio.open_file", no_descriptor)
    monkeypatch.setattr(Path, "read_text", no_descriptor)
    answer = client.get("/", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert "Machine out of resources" in answer.text


def test_a_search_without_memory(client, monkeypatch):
    """Where memory is used up, a search can be sent again."""
    monkeypatch.setattr(Retriever, "search", lambda *_args, **_options: (_ for _ in ()).throw(MemoryError))
    check(client.post("/search", json=SEARCH), 503, "exhausted", "Machine out of resources")


def test_the_service_survives_an_unexpected_error(client, monkeypatch):
    """After a bug in one request the next is answered."""
    with monkeypatch.context() as patch:
        patch.setattr(Retriever, "search", lambda *_args: 1 / 0)
        assert client.post("/search", json=SEARCH).status_code == 500
    assert client.post("/search", json=SEARCH).status_code == 200


def test_a_known_problem_is_not_logged_as_an_error(client, caplog):
    """A client's mistakes leave no errors in the log, where they would hide real ones."""
    client.get("/nope")
    client.post("/search", json={})
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("given", ["a", "0f8fad5b-d9cb-469f-a165-70867728950e", "A.b_c-9", "x" * 64])
@pytest.mark.parametrize("path", ["/livez", "/search?q=cat", "/nope", "/"])
def test_a_fit_request_id_is_kept(client, given, path):
    """A client's own request id is used, so that it can follow a request through several services."""
    answer = client.get(path, headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] == given
    if answer.headers["Content-Type"].endswith("json") and path != "/livez":
        assert answer.json()["request_id"] == given


@pytest.mark.parametrize(
    "given", ["two words", "x" * 100, "x" * 65, "", "a\r\nSet-Cookie: b=c", "a\n", "<script>", "é", "a\tb"]
)
def test_an_unfit_request_id_is_replaced(client, given):
    """A request id that could forge a header or a log line, or that is too long, is replaced by a new one."""
    answer = client.get("/nope", headers={"X-Request-ID": given.encode("latin-1")})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
    assert "Set-Cookie" not in answer.headers


def test_every_request_has_an_id_of_its_own(client):
    """Two requests never share an id, whether they succeed or fail."""
    identities = {
        client.get(path).headers["X-Request-ID"] for path in ("/livez", "/livez", "/nope", "/", "/search?q=cat")
    }
    assert len(identities) == 5


@pytest.mark.parametrize(
    "path", ["/", "/page/search/app.js", "/page/style.css", "/page/icon.svg", "/livez", "/search?q=cat", "/docs"]
)
def test_a_browser_is_told_to_be_careful(client, path):
    """Every answer forbids the browser to guess its type and to tell other sites what was searched for."""
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/page/search/app.js", "/page/style.css", "/page/icon.svg"])
def test_the_page_runs_no_script_but_its_own(client, path):
    """The page's policy allows its own scripts alone: no inline script, no other origin, no frame around it."""
    policy = client.get(path).headers["Content-Security-Policy"]
    rules = {name: values for name, *values in (rule.split() for rule in policy.split(";"))}
    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == ["'self'"]
    assert rules["style-src"] == ["'self'"]
    assert rules["frame-ancestors"] == ["'none'"]
    assert rules["base-uri"] == ["'none'"]
    assert "unsafe" not in policy


def test_the_documentation_page_loads_nothing_from_elsewhere(client):
    """The page at `/docs` works without the internet: whatever it loads is served here."""
    page = client.get("/docs").text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert any(path.endswith(".js") for path in loaded)
    for path in loaded:
        assert not path.startswith(("http:", "https:", "//")), path
        assert client.get(path).status_code == 200, path
