"""OpenAI's API, called by OpenAI's own client: the vectors of the index's model, and errors that the client knows."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import openai
import pytest
from openai import OpenAI
from starlette.testclient import TestClient
from stories import write_corpus
from tests_support import make_tiny_model

from indexer.artifacts.store import Store
from indexer.index.index import Index
from indexer.inference.encoder import Encoder
from indexer.inference.session import BATCH_TOKENS, batches_by_length
from service.api.openai.embeddings import shorten
from service.api.openai.schemas import MAX_INPUT, MAX_INPUTS
from service.app import create_app
from service.settings import ServiceSettings
from trainer.models.base import publish_base
from trainer.models.settings import BaseSettings

TEXTS = ["the cat sits", "a dog runs in the garden", "the king and the queen of the castle"]


@pytest.fixture(scope="module")
def index(built_data):
    """The index that the service of `client` has live."""
    store = Store("index", built_data)
    return Index.open(store.path(store.current_id()))


@pytest.fixture(scope="module")
def encoder(index) -> Encoder:
    """Its encoder."""
    return index.encoder


@pytest.fixture(scope="module")
def model(index) -> str:
    """The id of its model."""
    return index.manifest.parents["model"]


@pytest.fixture
def ask(client, model):
    """Posts an embeddings request; fields replace or add to those of a plain one."""

    def ask(**fields):
        return client.post("/v1/embeddings", json={"model": model, "input": TEXTS, **fields})

    return ask


def client_of(running) -> OpenAI:
    """OpenAI's own client of a service; it tries nothing twice."""
    return OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def openai_client(story_service) -> Iterator[OpenAI]:
    """OpenAI's own client, of the real program over the six stories; its connections are closed in the end."""
    with client_of(story_service) as client:
        yield client


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> dict[str, str]:
    """What makes the publishing of a model quick: its encoder is checked on the six stories."""
    return {"corpus": str(write_corpus(tmp_path_factory.mktemp("parity") / "parity.parquet"))}


@pytest.fixture(scope="module")
def matryoshka(tmp_path_factory, tiny_model, publish, settings):
    """A client in this process of a service whose model was trained to be cut at 16 and 8 of its 32 numbers."""
    data = tmp_path_factory.mktemp("matryoshka") / "data"
    publish_base(str(tiny_model), BaseSettings(matryoshka="16,8", **settings), data)
    publish({"id": ["a"], "text": ["the cat sits"]}, data)
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        yield client


@pytest.mark.parametrize("encoding", ["float", "base64", openai.omit])
def test_the_clients_vectors_are_those_of_the_index(openai_client, encoder, model, encoding):
    """OpenAI's client gets the vectors that the index was built with, to the last bit, in every encoding."""
    answer = openai_client.embeddings.create(model=model, input=TEXTS, encoding_format=encoding)
    got = [each.embedding for each in answer.data]
    if encoding == "base64":  # asked for in so many words, the client leaves it as it is
        got = [np.frombuffer(base64.b64decode(each), "<f4") for each in got]
    expected = encoder.encode_documents(TEXTS)
    assert np.array_equal(np.array(got, dtype=np.float32), expected)
    assert [each.index for each in answer.data] == [0, 1, 2]
    assert answer.model == model


def test_many_texts_take_turns_with_searches(client, ask, encoder, monkeypatch):
    """A long list is encoded a batch at a time, each in a turn of its own, and comes back whole and in order."""
    texts = [" ".join(["cat", "dog", "king"][: 1 + n % 3] * (1 + n % 7)) for n in range(200)]
    run, turns = client.app.state.queue.run, []

    async def counted(work, receive):
        turns.append(work)
        return await run(work, receive)

    monkeypatch.setattr(client.app.state.queue, "run", counted)
    data = ask(input=texts).json()["data"]
    assert np.allclose([each["embedding"] for each in data], encoder.encode_documents(texts), atol=1e-6)
    lengths = [range(text.tokens) for text in encoder.count_tokens(texts, queries=False)]
    assert len(turns) == len(batches_by_length(lengths, BATCH_TOKENS)) > 2


def test_one_text_is_a_list_of_one(openai_client, encoder, model):
    """A text that stands alone gets one vector."""
    (only,) = openai_client.embeddings.create(model=model, input=TEXTS[0]).data
    assert np.allclose(only.embedding, encoder.encode_documents(TEXTS[:1])[0], atol=1e-7)


def test_input_type_chooses_the_prompt(tmp_path, publish, settings):
    """Texts are documents unless `input_type` says query; each kind gets its own prompt."""
    data = tmp_path / "data"
    prompted = make_tiny_model(tmp_path / "model", prompts={"query": "the queen of", "document": "a"})
    publish_base(str(prompted), BaseSettings(**settings), data)
    publish({"id": ["a"], "text": ["the cat sits"]}, data)
    store = Store("model", data)
    encoder = Encoder.open(store.path(store.current_id()))
    assert encoder.contract.query_prompt != encoder.contract.document_prompt
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        plain = {"model": store.current_id(), "input": TEXTS}
        documents, queries = (
            client.post("/v1/embeddings", json=plain | more).json() for more in ({}, {"input_type": "query"})
        )
    vectors = [np.array([each["embedding"] for each in answer["data"]]) for answer in (documents, queries)]
    assert np.allclose(vectors[0], encoder.encode_documents(TEXTS), atol=1e-6)
    assert np.allclose(vectors[1], encoder.encode_queries(TEXTS), atol=1e-6)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3
    assert queries["usage"]["prompt_tokens"] > documents["usage"]["prompt_tokens"]  # the prompt is read too


def test_usage_counts_what_was_read(ask, encoder):
    """Tokens are counted after the cut, special ones included; texts that were cut are named, and only those."""
    long = " ".join(["cat"] * 500)
    body = ask(input=["cat", long, "the dog"]).json()
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] == 3 + encoder.contract.max_tokens + 4
    assert body["truncated"] == [1]
    assert "truncated" not in ask().json()


def test_the_model_is_known_by_its_id_and_its_name(openai_client, model):
    """Both names that are listed are taken and lead to the same vectors; a request learns the id."""
    ids = [each.id for each in openai_client.models.list()]
    assert ids[0] == model
    assert len(ids) == 2
    answers = [openai_client.embeddings.create(model=name, input="cat") for name in ids]
    assert answers[0].data[0].embedding == answers[1].data[0].embedding
    assert [each.model for each in answers] == [model, model]
    assert openai_client.models.retrieve(ids[1]).id == ids[1]


def test_a_name_with_a_slash_is_found(data, publish_tuned, publish):
    """Names of the Hub have a slash; so does the path at which such a model is described."""
    name = "sentence-transformers/all-MiniLM-L6-v2"
    tuned = publish_tuned(data, None, base=name)
    publish({"id": ["a"], "text": ["the cat sits"]}, data)
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        assert client.get(f"/v1/models/{name}").json()["id"] == name
        assert client.post("/v1/embeddings", json={"model": name, "input": "cat"}).json()["model"] == tuned.id


def test_another_model_is_not_found(openai_client, model):
    """A model that is not live is OpenAI's «model not found», and the message says which ones there are."""
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.embeddings.create(model="text-embedding-3-small", input="cat")
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert model in caught.value.message
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("nope")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "1 to"),
        ([], "1 to"),
        (["cat", ""], "number 1"),
        (["cat"] * (MAX_INPUTS + 1), "1 to"),
        ("x" * (MAX_INPUT + 1), "characters"),
        ([1, 2, 3], "Token ids"),
        ([[1, 2], [3]], "Token ids"),
        (["cat", 7], "Token ids"),
    ],
)
def test_input_that_is_refused(openai_client, model, given, says):
    """What OpenAI refuses is refused as it does: the client raises BadRequestError and names the field.

    Token ids, which it takes, are of its own tokenizers; taking them here would give vectors of other words.
    """
    with pytest.raises(openai.BadRequestError) as caught:
        openai_client.embeddings.create(model=model, input=given)
    assert says in caught.value.message
    assert caught.value.param == "input"
    assert caught.value.code == "invalid_request"
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("given", [None, {}, 7, [None], True])
def test_what_is_no_text_at_all(ask, given):
    """No kind of JSON in place of a text is more than a refusal."""
    assert ask(input=given).status_code == 400


def test_an_error_is_one_body_in_two_shapes(ask):
    """An error below /v1 is a problem (RFC 9457) like all others, with the member `error` for OpenAI's clients."""
    answer = ask(input_type="passage", colour="red")
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == "urn:dowse:problem:invalid-request"
    assert body["status"] == 400
    assert [each["field"] for each in body["errors"]] == ["body.input_type", "body.colour"]
    assert body["error"] == {
        "message": body["detail"],
        "type": "invalid_request_error",
        "param": "input_type",
        "code": "invalid_request",
    }


def test_errors_elsewhere_have_no_such_member(client):
    """The member belongs to /v1 alone; what is refused elsewhere stays a 422."""
    answer = client.post("/search", json={"top_k": 0})
    assert answer.status_code == 422
    assert "error" not in answer.json()


def test_without_an_index_the_client_hears_that(tmp_path, start_service):
    """While nothing is live OpenAI's client gets a 503 of the type that it tries again, with what to run."""
    with client_of(start_service(tmp_path)) as client, pytest.raises(openai.InternalServerError) as caught:
        client.embeddings.create(model="x", input="cat")
    assert caught.value.status_code == 503
    assert caught.value.type == "server_error"
    assert "indexer build" in caught.value.message


def test_dimensions_of_an_ordinary_model(ask, encoder):
    """A request may name the model's own length; another one only where the model was trained for it."""
    own = encoder.contract.dimension
    assert len(ask(dimensions=own).json()["data"][0]["embedding"]) == own
    refused = ask(dimensions=own // 2)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "dimensions"
    assert f"length {own}, not {own // 2}" in refused.json()["detail"]
    assert "Matryoshka" in refused.json()["detail"]


def test_dimensions_of_a_matryoshka_model(matryoshka):
    """A trained length gives the beginning of the whole vector, at unit length again; others are refused by name."""
    (name, _) = [each["id"] for each in matryoshka.get("/v1/models").json()["data"]]

    def vectors(**fields):
        answer = matryoshka.post("/v1/embeddings", json={"model": name, "input": TEXTS, **fields})
        return np.array([each["embedding"] for each in answer.json()["data"]])

    whole, short = vectors(), vectors(dimensions=8)
    assert short.shape == (3, 8)
    assert np.allclose(np.linalg.norm(short, axis=1), 1, atol=1e-6)
    assert np.allclose(short, whole[:, :8] / np.linalg.norm(whole[:, :8], axis=1, keepdims=True), atol=1e-6)
    refused = matryoshka.post("/v1/embeddings", json={"model": name, "input": TEXTS, "dimensions": 12})
    assert "8, 16, 32, not 12" in refused.json()["error"]["message"]


def test_shorten():
    """Prefixes are cut, brought to unit length only where the whole ones have it, and zeros stay zeros."""
    vectors = np.array([[3, 4, 0], [0, 0, 1]], dtype=np.float32)
    assert shorten(vectors, 3, normalised=True) is vectors
    assert shorten(vectors, 2, normalised=False).tolist() == [[3, 4], [0, 0]]
    assert np.allclose(shorten(vectors, 2, normalised=True), [[0.6, 0.8], [0, 0]])
