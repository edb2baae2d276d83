"""The Model Context Protocol: the official client against the real program, and requests that are refused."""

from __future__ import annotations

import json

import anyio
import httpx2
import pytest
from dowse_client import Dowse, problems
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from openai import AuthenticationError, OpenAI
from starlette.testclient import TestClient
from stories import STORIES
from test_imports import loaded

from service.app import create_app
from service.security.keys import add_key
from service.settings import ServiceSettings

BOTH_ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"], ids=["with a handshake", "without"])
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}


@pytest.fixture
def with_assistant(story_service):
    """Runs a coroutine function with an official client that is connected to the real program."""

    def run(converse, mode="auto"):
        async def conversation():
            async with Client(f"{story_service.url}/mcp", mode=mode) as assistant:
                return await converse(assistant)

        return anyio.run(conversation)

    return run


def call(name, arguments):
    """Return what calls a tool, for `with_assistant`."""

    async def converse(assistant):
        return await assistant.call_tool(name, arguments)

    return converse


@BOTH_ERAS
def test_an_assistant_searches_and_reads(with_assistant, client, mode):
    """The client, in either era of the protocol, finds what `/search` finds and reads it with `get_document`."""

    async def converse(assistant):
        found = await assistant.call_tool("search", {"query": "the sailor on the ship", "top_k": 3})
        return found, await assistant.call_tool("get_document", {"id": found.structured_content["results"][0]["id"]})

    found, read = with_assistant(converse, mode)
    assert not found.is_error
    assert json.loads(found.content[0].text) == found.structured_content
    expected = client.post("/search", json={"query": "the sailor on the ship", "top_k": 3}).json()["results"]
    wanted = ("id", "title", "text", "score", "relevance", "metadata")
    assert found.structured_content["results"] == [{name: each[name] for name in wanted} for each in expected]
    document = client.get(f"/documents/{expected[0]['id']}").json()
    assert read.structured_content == {
        **{name: document[name] for name in ("id", "title", "text", "metadata")},
        "start": 0,
        "characters": len(document["text"]),
    }


def test_the_tools_describe_themselves(with_assistant):
    """An assistant learns from the list alone what the corpus is, what each argument means and what comes back."""

    async def converse(assistant):
        return await assistant.list_tools(), assistant.instructions

    listed, instructions = with_assistant(converse, "legacy")
    assert "get_document" in instructions
    tools = {tool.name: tool for tool in listed.tools}
    assert set(tools) == {"search", "get_document"}
    assert f"{len(STORIES)} documents" in tools["search"].description
    for tool in tools.values():
        assert tool.annotations.read_only_hint
        assert tool.output_schema["properties"]
        assert all(argument["description"] for argument in tool.input_schema["properties"].values())
    assert "required" not in tools["search"].input_schema  # without a query it lists documents


def test_a_filter_narrows_the_search(with_assistant, client):
    """The filter of `/search` works here too, and the error for an unknown field lists the known ones."""
    wanted = client.get("/search?q=cat&top_k=2").json()["results"][1]["id"]
    narrow = {"must": [{"field": "id", "in": [wanted]}]}
    found = with_assistant(call("search", {"query": "cat", "filter": narrow})).structured_content
    assert [each["id"] for each in found["results"]] == [wanted]
    unknown = {"must": [{"field": "colour", "eq": "red"}]}
    refused = with_assistant(call("search", {"query": "cat", "filter": unknown}))
    assert refused.is_error
    assert "colour" in refused.content[0].text


def test_an_assistant_lists_and_sorts(with_assistant, client):
    """Without a query the documents are listed as the sort says, and counted."""
    asked = {
        "sort": [{"field": "price", "order": "desc"}],
        "top_k": 2,
        "filter": {"must": [{"field": "rooms", "lt": 6}]},
    }
    listed = with_assistant(call("search", asked)).structured_content
    expected = client.post("/search", json=asked).json()
    assert [result["id"] for result in listed["results"]] == ["e", "d"] == [each["id"] for each in expected["results"]]
    assert listed["matches"] == expected["matches"] == 5


def test_a_long_document_is_read_in_parts(with_assistant, client):
    """`start` and `max_characters` give a part, and the length of the whole says how much is left."""
    whole = client.get("/documents/" + str(STORIES[0][0])).json()
    part = with_assistant(call("get_document", {"id": whole["id"], "start": 3, "max_characters": 5})).structured_content
    assert part["text"] == whole["text"][3:8]
    assert part["characters"] == len(whole["text"])


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("search", {"query": "cat", "sort": [{"field": "colour"}]}, "There is no field 'colour'"),
        ("search", {"query": "cat", "top_k": 1_000}, "top_k"),
        ("search", {"query": "cat", "colour": "red"}, "colour"),
        ("search", {"query": 5}, "query"),
        ("get_document", {"id": "no such"}, "no such"),
        ("get_document", {"id": "x", "start": -1}, "start"),
        ("delete_everything", {}, "search and get_document"),
    ],
)
def test_mistakes_are_told_to_the_assistant(with_assistant, tool, arguments, says):
    """A wrong call is an error inside the result, which an assistant reads and mends, not a broken protocol."""
    result = with_assistant(call(tool, arguments))
    assert result.is_error
    assert says in result.content[0].text


def test_without_an_index_the_assistant_hears_what_to_run(tmp_path, start_service):
    """While there is no index the tools are there, and say what the operator has to run."""

    async def conversation(url):
        async with Client(url, mode="legacy") as assistant:
            listed = await assistant.list_tools()
            return listed.tools[0].description, await assistant.call_tool("search", {"query": "cat"})

    description, result = anyio.run(conversation, f"{start_service(tmp_path).url}/mcp")
    assert "Nothing is indexed yet" in description
    assert result.is_error
    assert "indexer build" in result.content[0].text


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://127.0.0.1.evil.example", "http://localhost@evil.example", "null", "", "::"],
)
def test_pages_of_other_sites_are_refused(client, origin):
    """A page that has rebound its name to this machine still says where it comes from, and is refused."""
    answer = client.post("/mcp", json=CALL, headers={**HEADERS, "Origin": origin})
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:dowse:problem:forbidden-origin"


@pytest.mark.parametrize(("setting", "status"), [("https://ours.example", 200), ("*", 200), ("https://o.example", 403)])
def test_pages_that_the_operator_has_named_are_let_in(built_data, setting, status):
    """An origin of `--cors` may call the tools from a browser too, and no other."""
    with TestClient(create_app(ServiceSettings(data=built_data, cors=setting))) as client:
        answer = client.post("/mcp", json=CALL, headers=HEADERS | {"Origin": "https://ours.example"})
    assert answer.status_code == status


@pytest.mark.parametrize("origin", [None, "http://localhost:6274", "http://127.0.0.1:3000", "http://[::1]:9"])
def test_programs_and_pages_of_this_machine_are_let_in(client, origin):
    """Programs send no origin; a tool that runs in a browser on this machine names it."""
    answer = client.post("/mcp", json=CALL, headers=HEADERS | ({"Origin": origin} if origin else {}))
    assert answer.status_code == 200
    assert [tool["name"] for tool in answer.json()["result"]["tools"]] == ["search", "get_document"]
    assert "mcp-session-id" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_there_are_neither_streams_nor_sessions(client, method):
    """What would open a stream or end a session is a 405, as the specification has it, and nothing hangs."""
    assert client.request(method, "/mcp", headers={"Accept": "text/event-stream"}).status_code == 405


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"jsonrpc": "2.0"}', b'"x"', b"\xff"])
def test_what_is_no_message_is_refused(client, body):
    """Whatever is sent, the answer is a refusal and not a failure."""
    headers = {**HEADERS, "Content-Type": "application/json"}
    assert 400 <= client.post("/mcp", content=body, headers=headers).status_code < 500


def test_every_client_brings_its_key(tmp_path, built_data, start_service):
    """Where keys are needed, all kinds of clients search with one, and hear in their own way that one is wrong."""
    file = tmp_path / "keys.json"
    key = add_key(file, "reader", ("search",))
    url = start_service(built_data, "--keys", str(file)).url

    async def conversation():
        http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"})
        async with http, Client(streamable_http_client(f"{url}/mcp", http_client=http)) as assistant:
            return await assistant.call_tool("search", {"query": "cat", "top_k": 1})

    found = anyio.run(conversation).structured_content["results"]
    with Dowse(url, key=key) as dowse, Dowse(url, key="wrong") as stranger:
        assert dowse.search("cat", top_k=1).results[0].id == found[0]["id"]
        with pytest.raises(problems.Unauthorized):
            stranger.search("cat")
    with OpenAI(base_url=f"{url}/v1", api_key=key) as reader:
        name = reader.models.list().data[0].id
    with (
        OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(AuthenticationError) as caught,
    ):
        stranger.embeddings.create(model=name, input="cat")
    assert caught.value.type == "authentication_error"
    assert httpx2.post(f"{url}/mcp", json=CALL, headers=HEADERS).status_code == 401


def test_the_protocol_is_loaded_when_the_first_assistant_comes():
    """The SDK takes a second and 30 MB, which a service without assistants does not pay."""
    program = "from service.app import create_app; from service.settings import ServiceSettings; create_app(ServiceSettings())"
    assert not loaded("-c", program) & {"mcp", "mcp_types", "cryptography", "httpx2"}
