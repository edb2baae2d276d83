"""Permissions: the table of routes and scopes is complete and true, and a route that it lacks is closed."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.security import permissions as access
from service.security.keys import add_key
from service.security.permissions import SCOPES, TABLE
from service.settings import ServiceSettings

APP = create_app(ServiceSettings())
DOCUMENT = APP.openapi()
OPERATIONS = [(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods]


def routes(router):
    """Every route of an application, also those of its routers and those that the API document leaves out."""
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes(inner)
        elif hasattr(route, "methods"):
            yield route.path.replace(":path}", "}"), set(route.methods)
        else:
            yield f"{route.path}/{{path}}", {"GET", "HEAD"}


def declared():
    """The table, with the paths written as the API document writes them."""
    return {path.replace(":path}", "}"): set(methods) for path, methods in TABLE.items()}


def test_every_route_has_a_row_and_every_row_a_route():
    """Each method of each route, hidden ones included, has its row; and the table promises nothing that is not there."""
    there: dict[str, set[str]] = {}
    for path, methods in routes(APP.router):
        there.setdefault(path, set()).update(methods)
    assert declared() == there


def test_the_table_is_found_by_the_path_of_a_request():
    """Names with slashes, and the longer of two patterns, lead to the row of the route that answers."""
    assert access.methods_of("/documents/a/b/c") is TABLE["/documents/{document_id:path}"]
    assert access.methods_of("/documents/a/b/similar") is TABLE["/documents/{document_id:path}/similar"]
    assert access.methods_of("/search") is TABLE["/search"]
    for path in ("/documents/{document_id:path}", "/search/", "//search", "/Search", "/pages/a/b", ""):
        found = access.methods_of(path)
        assert found in ({}, TABLE["/documents/{document_id:path}"]), path
    assert access.methods_of("/search/") == {}


def test_only_what_holds_nothing_of_the_corpus_is_open():
    """These routes need no key: the page, the documentation, the health checks. One more is a decision, not a slip."""
    open_routes = {path for path, methods in TABLE.items() if any(each.scope is None for each in methods.values())}
    assert open_routes == {
        "/", "/model", "/status", "/queries", "/page/{path:path}", "/docs", "/docs/openapi.json", "/static-offline-docs/{path:path}", "/openapi.json",
        "/livez", "/healthz", "/readyz",
    }  # fmt: skip


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_api_document_says_what_a_route_needs(method, path):
    """The OpenAPI document has the key, the scope and the refusals of each route, as in the table."""
    operation = DOCUMENT["paths"][path][method.lower()]
    row = next(TABLE[each] for each in TABLE if each.replace(":path}", "}") == path)[method]
    assert operation.get("x-dowse-scope") == row.scope
    assert ("security" in operation) == (row.scope is not None)
    assert ({"401", "403", "429"} <= set(operation["responses"])) == (row.scope is not None)
    assert ({"408", "413"} <= set(operation["responses"])) == ("requestBody" in operation)


@pytest.fixture(scope="module")
def locked(tmp_path_factory, built_data):
    """A client of a service that needs keys, and a key of each single scope."""
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    texts = {scope: add_key(keys, scope, (scope,)) for scope in SCOPES}
    with TestClient(create_app(ServiceSettings(data=built_data, keys=keys))) as client:
        yield client, texts


def example(path):
    """A path of a route."""
    return re.sub(r"{\w+(:path)?}", "x", path)


@pytest.mark.parametrize(("method", "path"), [(method, path) for path in TABLE for method in TABLE[path]])
def test_each_route_wants_its_scope(locked, method, path):
    """Without a key, with a wrong one, and with a key of each other scope, no route but the open ones does anything."""
    client, texts = locked
    needed = TABLE[path][method].scope
    answers = {
        scope: client.request(method, example(path), headers={"Authorization": f"Bearer {text}"})
        for scope, text in texts.items()
    }
    # There is another reason for a 403: a service that takes no writes.
    statuses = {
        scope: 200 if b"not-writable" in answer.content else answer.status_code for scope, answer in answers.items()
    }
    nobody = client.request(method, example(path)).status_code
    wrong = client.request(method, example(path), headers={"Authorization": "Bearer nonsense"}).status_code
    if needed is None:
        assert {nobody, wrong, *statuses.values()} & {401, 403} == set()
    else:
        assert nobody == wrong == 401
        assert {scope for scope, status in statuses.items() if status == 403} == set(SCOPES) - {needed}
        assert statuses[needed] not in {401, 403}


def test_a_route_that_the_table_forgot_is_closed(tmp_path, built_data):
    """A route without a row is a 404 where keys are needed, for every key, and works where none are."""
    keys = tmp_path / "keys.json"
    text = add_key(keys, "all", SCOPES)
    for settings, status in (
        (ServiceSettings(data=built_data), 200),
        (ServiceSettings(data=built_data, keys=keys), 404),
    ):
        app = create_app(settings)
        app.add_api_route("/forgotten", lambda: "here")
        answer = TestClient(app).get("/forgotten", headers={"Authorization": f"Bearer {text}"})
        assert answer.status_code == status
    assert TestClient(app).get("/forgotten").status_code == 401


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/search", "GET, POST"),
        ("/", "GET, HEAD"),
        ("/report", "GET, HEAD"),
        ("/documents/x", "GET"),
        ("/classify", "POST"),
    ],
)
def test_a_refused_method_is_told_all_others(client, path, allowed):
    """`Allow` names every method of the path, not only those of the first route that has it."""
    answer = client.request("PATCH", path)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == allowed
