"""Ids of any characters: each reaches its own document through every route, the tools of MCP and the client."""

from __future__ import annotations

from http.client import HTTPConnection
from urllib.parse import quote

import httpx2
import pytest
from dowse_client import Dowse, problems

IDS = [
    "line", "line\n", "\nline", "li\nne", "line\r", "line\u2028", "a", "a/similar", "a/similar/similar", "a//similar",
    "/similar", "similar", "/", "//", "a/", "/a", ".", "..", "...", "./", "../..", "a/../b", "a/./b", "%2F", "%2f",
    "%252F", "%", "%zz", "%2E%2E", "?", "a?b=c", "#", "a#b", "a&id=b", "a;b", "a+b", "a b", " a", "a ", "\ta", "\u00a0a",
    "é", "e\u0301", "İ", "漢字", "🎈", "👩\u200d🚀", "\u202eabc", "\ufeffa", "\ufffd", "\x00a", "a\x00", "\x7f", "\\", "..\\x",
    '"', "'", "<b>", "null", "0", "-1", "{document_id}", "*", "~", "@", ":", "[x]", "x" * 2_000, "漢" * 2_000, "🎈" * 2_000,
]  # fmt: skip
JSON = {"Accept": "application/json, text/event-stream"}


def text_of(name: str) -> str:
    """The text of a document, which says whose it is."""
    return f"The cat number {IDS.index(name)} sits in the garden."


@pytest.fixture(scope="module", params=["built", "live"])
def url(request, serve_columns, start_module_service):
    """A writable service: every id is that of a document in the index, or of one that was put."""
    columns = {"id": ["another"], "text": ["The dog runs by the river."]}
    if request.param == "built":
        columns = {"id": [*columns["id"], *IDS], "text": [*columns["text"], *map(text_of, IDS)]}
    running = start_module_service(serve_columns(columns), "--writable")
    if request.param == "live":
        with Dowse(running.url) as client:
            documents = [{"id": name, "text": text_of(name)} for name in IDS]
            assert client.put_documents(documents).put == len(IDS)
    return running.url


def get(url: str, path: str) -> httpx2.Response:
    """The answer to a path that no client has touched."""
    connection = HTTPConnection(url.partition("//")[2], timeout=60)
    try:
        connection.putrequest("GET", path, skip_accept_encoding=True)
        connection.endheaders()
        answer = connection.getresponse()
        return httpx2.Response(answer.status, content=answer.read())
    finally:
        connection.close()


def test_a_path_reaches_the_document_of_exactly_this_id(url):
    """Encoded as a whole, dots too, each id gives its own document, and the documents like it."""
    for name in IDS:
        encoded = "".join(f"%{byte:02X}" for byte in name.encode())
        for path in {encoded, quote(name, safe="")}:
            document = get(url, f"/documents/{path}").json()
            assert (document.get("id"), document.get("text")) == (name, text_of(name)), document
            similar = get(url, f"/documents/{path}/similar?top_k=100").json()
            assert similar.get("id") == name, similar
            assert name not in [result["id"] for result in similar["results"]]


def test_bodies_name_the_document_of_exactly_this_id(url):
    """Filters, examples and feedback take an id as it is."""
    with httpx2.Client(base_url=url) as http:
        for name in IDS:
            only = {"must": [{"field": "id", "eq": name}]}
            for mode in ("dense", "lexical"):
                found = http.post("/search", json={"query": "cat", "mode": mode, "filter": only}).json()["results"]
                assert [(each["id"], each["text"]) for each in found] == [(name, text_of(name))]
            found = http.post("/similar", json={"ids": [name], "negative_ids": ["another"], "filter": only})
            assert (found.status_code, found.json()["results"]) == (200, [])
            found = http.post("/similar", json={"text": "cat", "negative_ids": [name], "filter": only})
            assert (found.status_code, found.json()["results"]) == (200, [])
            stored = http.post("/feedback", json={"query": "cat", "document": name, "grade": 1})
            assert stored.status_code == 200, stored.text


def test_the_tool_of_an_assistant_reads_the_document_of_exactly_this_id(url):
    """`get_document` gives each document, also where its id looks like a path."""
    with httpx2.Client(base_url=url) as http:
        for name in IDS:
            call = {"name": "get_document", "arguments": {"id": name}}
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
            result = http.post("/mcp", json=message, headers=JSON).json()["result"]
            read = result.get("structuredContent") or result
            assert (read.get("id"), read.get("text")) == (name, text_of(name)), result


def test_the_client_reads_the_document_of_exactly_this_id(url):
    """The Python client, whose HTTP library resolves dots in paths, gives each document."""
    with Dowse(url, retries=0) as client:
        for name in IDS:
            assert client.document(name).text == text_of(name)
            assert client.similar_documents(name, top_k=1).id == name
            with pytest.raises(problems.NotFound):
                client.document(name + "?")


def test_exactly_the_named_document_is_deleted_and_put(url):
    """Of two ids that differ in one character only one is deleted, and comes back."""
    with Dowse(url, retries=0) as client:
        before = client.info().index.documents
        for name in IDS:
            assert client.delete_documents(id=[name]).deleted == 1, name
            assert client.info().index.documents == before - 1
            with pytest.raises(problems.NotFound):
                client.document(name)
            assert client.put_documents([{"id": name, "text": text_of(name)}]).replaced == 0
            assert client.document(name).text == text_of(name)


@pytest.mark.parametrize("path", ["/documents/%FF", "/documents/%ED%A0%80/similar", "/search?q=caf%E9"])
def test_bytes_that_are_no_text_are_refused(url, path):
    """What is not UTF-8 names no document and asks for nothing; it is not taken for something that is like it."""
    answer = get(url, path)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:dowse:problem:http")
    assert "UTF-8" in answer.json()["detail"]
