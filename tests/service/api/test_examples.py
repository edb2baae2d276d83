"""Examples of `/docs`: requests that can be sent as they are, whatever the corpus."""

from __future__ import annotations

import datetime as dt
import shutil
from decimal import Decimal
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.security.keys import add_key
from service.settings import ServiceSettings

CORPORA = {
    "texts alone": {"id": ["a", "b"], "text": ["The kettle whistles.", "The lamp glows."]},
    "many types": {
        "id": ["a/b c?", "similar"],
        "title": ["", "A lamp"],
        "text": ["The kettle whistles & sings for everybody who comes along.", "The lamp glows."],
        "huge": [2**63 - 1, 1],
        "price": [Decimal("1.50"), Decimal("2.50")],
        "seen": [dt.datetime(2024, 5, 1, tzinfo=dt.UTC), None],
        "raw": [b"\x00", b"\x01"],
        "tags": [["red", "blue"], []],
        "size": [{"width": 1}, {"width": 2}],
        "sold": [True, False],
        "rooms": [7, 8],
        "prose": ["word " * 90, "short"],
    },
}


@pytest.fixture(scope="module", params=CORPORA)
def docs(request, serve_columns):
    """A writable service over one of the corpora, and the document that its `/docs` shows."""
    settings = ServiceSettings(data=serve_columns(CORPORA[request.param]), writable=True)
    with TestClient(create_app(settings)) as client:
        yield client, client.get("/docs/openapi.json").json()


def bodies(document, operation):
    """The bodies that the documentation offers for an operation: its own examples, else those of the schema."""
    if (content := operation["requestBody"]["content"].get("application/json")) is None:
        return []  # a stream of lines, which has no example to be sent from the page
    if "examples" in content:
        return [example["value"] for example in content["examples"].values()]
    name = content["schema"]["$ref"].rpartition("/")[2]
    return document["components"]["schemas"][name]["examples"]


def parameters(operation):
    """The parameters that the documentation fills in."""
    found = {}
    for each in operation.get("parameters", []):
        example = each.get("example", next(iter(each["schema"].get("examples", [])), None))
        if example is not None or each["in"] == "path":
            found[each["name"]] = example
    return found


def test_every_example_can_be_sent(docs):
    """Each example is answered with 200 but where a model is missing; the ones with columns name those of the corpus."""
    client, document = docs
    refused, sent = [], 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            given = parameters(operation)
            query = {name: value for name, value in given.items() if f"{{{name}}}" not in path}
            address = path.format(**{name: quote(str(value), safe="") for name, value in given.items()})
            for body in bodies(document, operation) if "requestBody" in operation else [None]:
                answer = client.request(method, address, params=query, json=body)
                absent = (
                    path in ("/v1/rerank", "/classify", "/fill-mask", "/model/read", "/model/compare")
                    and answer.status_code == 503
                )
                absent |= path.startswith(("/report", "/queries.json")) and answer.status_code == 404
                sent += 1
                if answer.status_code != 200 and not absent:
                    refused.append((method, address, body, answer.text))
    assert refused == []
    assert sent >= 24


def test_examples_show_the_columns_of_the_corpus(docs):
    """A search with filter, facets and fields names short values of columns that the index has."""
    client, document = docs
    searches = bodies(document, document["paths"]["/search"]["post"])
    has_columns = "rooms" in client.get("/info").json()["index"]["metadata"]
    assert len(searches) == 1 + has_columns
    if has_columns:
        assert searches[1]["fields"] == ["sold", "rooms"]
        answer = client.post("/search", json=searches[1]).json()
        assert answer["matches"] == 1
        assert answer["facets"]["sold"]["values"] == [{"value": True, "count": 1}]


def test_where_a_key_is_needed_nothing_of_the_corpus_is_shown(serve_columns):
    """The documentation is open to everybody. So where keys are needed it is the same as with no index at all."""
    data = serve_columns(CORPORA["texts alone"])
    shutil.rmtree(data / "live", ignore_errors=True)
    add_key(data / "keys.json", "reader", ("search",))
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        assert client.get("/search?q=lamp").status_code == 401
        assert client.get("/docs/openapi.json").json() == client.get("/openapi.json").json()


def test_without_an_index_there_are_examples_too(tmp_path):
    """Before anything is published, the documentation is there, with examples for any corpus."""
    with TestClient(create_app(ServiceSettings(data=tmp_path))) as client:
        assert client.get("/docs/openapi.json").json() == client.get("/openapi.json").json()
