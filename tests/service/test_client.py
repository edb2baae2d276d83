"""The Python client: generated from the current OpenAPI document, and used with the real program."""

from __future__ import annotations

import asyncio
import inspect
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx2
import pytest
from dowse_client import AsyncDowse, Dowse, NotReachedError, ProblemError, models, problems
from generator import generate
from generator.methods import operations
from pydantic import BaseModel
from stories import STORIES

from service.problems import KINDS, URN

ROOT = Path(__file__).parents[2]
OPENAPI = json.loads((ROOT / "service" / "openapi.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def dowse(story_service):
    """A client of the real program over the six stories."""
    with Dowse(story_service.url, retries=0) as client:
        yield client


def answering(*answers: httpx2.Response, retries: int = 2) -> tuple[Dowse, list[httpx2.Request]]:
    """Return a client of a service that gives these answers in turn, and the requests that it gets."""
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return answers[min(len(asked), len(answers)) - 1]

    return Dowse(key="a key", retries=retries, transport=httpx2.MockTransport(answer)), asked


def busy(status: int = 503, wait: str = "0") -> httpx2.Response:
    """Return the answer of a service that cannot answer now."""
    kind = "not-ready" if status == 503 else "too-many-requests"
    body = {"type": URN + kind, "title": "", "status": status, "detail": "later", "request_id": "x", "errors": []}
    return httpx2.Response(status, json=body, headers={"Retry-After": wait})


HEALTHY = httpx2.Response(200, json={"status": "alive"})


def test_the_client_is_made_from_the_api_as_it_is():
    """The files in the repository are those that `make client` would write now."""
    for name, text in generate().items():
        file = ROOT / "client" / "dowse_client" / name
        assert file.read_text(encoding="utf-8") == text, f"the API has changed: run `make client` ({name})"


def test_every_operation_has_a_method_in_both_clients():
    """No operation is forgotten, and both clients have the same ones with the same arguments."""
    names = {name for name, _ in inspect.getmembers(Dowse, inspect.isfunction) if not name.startswith("_")} - {"close"}
    keys = [key for key, _ in operations(OPENAPI)]
    assert len(names) == len(keys) > 15
    for name in names:
        same = getattr(AsyncDowse, name)
        assert inspect.iscoroutinefunction(same)
        assert inspect.signature(same) == inspect.signature(getattr(Dowse, name))


def test_every_problem_has_a_class_of_its_own():
    """Catching one kind of problem catches no other kind."""
    assert set(problems.BY_TYPE) == {URN + kind for kind in KINDS}
    assert len(set(problems.BY_TYPE.values())) == len(KINDS)
    assert all(issubclass(each, ProblemError) for each in problems.BY_TYPE.values())


def test_search(dowse, client):
    """A search gives typed results, the same as over HTTP."""
    found = dowse.search("the sailor on the ship", top_k=2, explain=True)
    assert isinstance(found, models.SearchResponse)
    expected = client.post("/search", json={"query": "the sailor on the ship", "top_k": 2, "explain": True}).json()
    assert [each.model_dump(exclude_unset=True) for each in found.results] == expected["results"]
    assert found.results[0].scores.dense.rank >= 1


@pytest.mark.parametrize(
    "narrow",
    [
        {"must": [{"field": "id", "in": [str(STORIES[0][0])]}]},
        models.Filter(must=[models.OneOf(field="id", in_=[str(STORIES[0][0])])]),
        models.Filter(must=[{"field": "id", "in": [str(STORIES[0][0])]}]),
    ],
    ids=["dictionary", "models", "mixed"],
)
def test_a_filter_as_a_model_or_a_dictionary(dowse, narrow):
    """A filter may be written either way; `in`, which is a word of Python, is `in_` in the model."""
    found = dowse.search("cat", filter=narrow)
    assert [each.id for each in found.results] == [str(STORIES[0][0])]
    assert found.matches == 1


def test_documents(dowse):
    """A document comes with its text and metadata, and finds its neighbours."""
    name = str(STORIES[0][0])
    document = dowse.document(name)
    assert document.id == name
    assert document.text
    assert document.metadata
    similar = dowse.similar_documents(name, top_k=2)
    assert len(similar.results) == 2
    assert name not in [each.id for each in similar.results]


def test_other_kinds_of_answers(dowse):
    """What is served, and vectors."""
    info = dowse.info()
    assert info.index.documents == len(STORIES)
    answer = dowse.embeddings(["cat", "dog"], info.model.id, input_type="query")
    assert len(answer.data[1].embedding) == info.index.encoder["dimension"]


def test_a_refusal_is_an_exception_of_its_kind(dowse):
    """Each kind of problem is raised as its class, with the whole answer of the service."""
    with pytest.raises(problems.NotFound, match="no such/id") as caught:
        dowse.document("no such/id?#")
    assert caught.value.status == 404
    assert caught.value.problem.request_id
    with pytest.raises(problems.InvalidRequest) as caught:
        dowse.search("cat", top_k=100_000)
    assert [each.field for each in caught.value.problem.errors] == ["body.top_k"]
    with pytest.raises(problems.ModelNotFound):
        dowse.embeddings("cat", "no such model")


def test_asyncio(story_service):
    """The client for asyncio gives and raises the same."""

    async def ask():
        async with AsyncDowse(story_service.url) as dowse:
            with pytest.raises(problems.NotFound):
                await dowse.document("no such")
            return await asyncio.gather(*(dowse.search(query, top_k=1) for query in ("cat", "ship")))

    assert [each.query for each in asyncio.run(ask())] == ["cat", "ship"]


def test_nobody_answers():
    """A service that is not there is an error of its own."""
    with Dowse("http://127.0.0.1:9", timeout=5) as nobody, pytest.raises(NotReachedError):
        nobody.livez()


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again(status):
    """What the service is too busy for is sent again after the time that it asks for."""
    client, asked = answering(busy(status), busy(status), HEALTHY)
    assert client.livez().status == "alive"
    assert len(asked) == 3
    assert {request.headers["authorization"] for request in asked} == {"Bearer a key"}


@pytest.mark.parametrize(("wait", "retries", "requests"), [("0", 1, 2), ("0", 0, 1), ("3600", 2, 1)])
def test_patience_ends(wait, retries, requests):
    """After the last retry, or where the wait would be long, the problem is raised with the time of Retry-After."""
    client, asked = answering(busy(wait=wait), retries=retries)
    with pytest.raises(problems.NotReady, match="later") as caught:
        client.livez()
    assert caught.value.retry_after == float(wait)
    assert len(asked) == requests


def test_other_failures_are_not_sent_again():
    """What was refused would be refused again."""
    client, asked = answering(httpx2.Response(500, text="<html>a proxy's page</html>"))
    with pytest.raises(ProblemError, match="a proxy's page") as caught:
        client.livez()
    assert type(caught.value) is ProblemError
    assert len(asked) == 1


def test_a_kind_that_this_client_does_not_know():
    """A newer service may have problems and fields that this client has not heard of: neither breaks it."""
    body = {"type": URN + "from-the-future", "title": "", "status": 418, "detail": "tea", "request_id": "x", "hue": 3}
    client, _ = answering(httpx2.Response(418, json=body))
    with pytest.raises(ProblemError, match="tea") as caught:
        client.livez()
    assert caught.value.problem.hue == 3


def test_what_is_left_out_is_not_sent():
    """An argument that was not given does not override what the service has by default."""
    client, asked = answering(HEALTHY)
    with pytest.raises(ValueError):  # the answer is none to a search
        client.search("cat", offset=0)
    assert json.loads(asked[0].content) == {"query": "cat", "offset": 0}


def test_it_can_be_installed(tmp_path):
    """The package builds by itself, says that it is typed, and needs nothing of the service."""
    shutil.copytree(ROOT / "client", tmp_path / "client")  # building leaves files beside the sources
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*command, str(tmp_path / "client")], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("dowse_client-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {f"dowse_client/{name}" for name in ("client.py", "models.py", "problems.py", "py.typed")} <= set(names)
    assert not [name for name in names if name.startswith(("service", "indexer", "trainer", "generator"))]


def test_models_keep_their_fields():
    """No field of a model is hidden by a method of the same name."""
    for name, schema in OPENAPI["components"]["schemas"].items():
        fields = getattr(models, name).model_fields if issubclass(getattr(models, name), BaseModel) else {}
        assert {field.alias or own for own, field in fields.items()} == set(schema.get("properties", {}))
