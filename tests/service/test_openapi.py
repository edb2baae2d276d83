"""`service/openapi.json`: true, complete, and equal to the document that the service returns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from service import problems
from service.api import schemas
from service.api.documents import fetch_schemas
from service.api.documents import schemas as live_schemas
from service.api.models import classify as classify_schemas
from service.api.models import masked_lm_schemas as reading_schemas
from service.api.openai import rerank_schemas
from service.api.openai import schemas as embeddings_schemas
from service.api.operations import schemas as operations_schemas
from service.api.search import batch, example_queries, export, similar
from service.api.search import schemas as search_schemas
from service.app import create_app
from service.openapi import FILE, document
from service.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
DOCUMENT = create_app(ServiceSettings()).openapi()
SCHEMAS = DOCUMENT["components"]["schemas"]
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
SCHEMA_MODULES = (
    schemas, search_schemas, operations_schemas, classify_schemas, reading_schemas, embeddings_schemas, live_schemas,
    fetch_schemas, rerank_schemas, problems, batch, similar, example_queries, export,
)  # fmt: skip
EXAMPLES = [(name, example) for name, schema in SCHEMAS.items() for example in schema.get("examples", [])]


def parts(node):
    """Every object of a JSON document, itself included."""
    if isinstance(node, dict):
        yield node
    for below in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(below)


def resolve(reference):
    """The part of the document that a reference names."""
    node = DOCUMENT
    assert reference.startswith("#/")
    for step in reference[2:].split("/"):
        node = node[step]
    return node


def test_the_file_is_what_the_service_says_of_itself():
    """The file in the repository is up to date, so that a client made from it fits."""
    assert FILE == ROOT / "service" / "openapi.json"
    assert FILE.is_file(), "run `python -m service.openapi`"
    assert FILE.read_text(encoding="utf-8") == document(), "the API has changed: run `python -m service.openapi`"


def test_the_service_gives_out_the_same_document(client):
    """The running service's `/openapi.json` says what the file says."""
    assert client.get("/openapi.json").json() == json.loads(FILE.read_text(encoding="utf-8"))


def test_the_command_writes_the_file():
    """`python -m service.openapi` writes the file, byte for byte the same every time."""
    before = FILE.read_bytes()
    try:
        subprocess.run([sys.executable, "-m", "service.openapi"], cwd=ROOT, check=True, timeout=60)
        written = FILE.read_bytes()
    finally:
        FILE.write_bytes(before)
    assert written == document().encode()


def test_these_are_the_operations():
    """The operations of the API are these: none disappears, and none is added, without this test."""
    assert set(OPERATIONS) == {
        "POST /search", "GET /search", "POST /search/batch", "POST /search/export", "GET /suggest", "POST /similar", "GET /documents/{document_id}", "GET /documents/{document_id}/similar",
        "GET /info", "GET /report", "GET /report.json", "GET /livez", "GET /healthz", "GET /readyz",
        "POST /documents/import", "PUT /documents", "DELETE /documents", "POST /documents/fetch", "POST /documents/delete", "POST /feedback",
        "POST /classify", "POST /fill-mask", "GET /model/info", "POST /model/read", "POST /model/compare",
        "POST /v1/embeddings", "POST /v1/rerank", "GET /v1/models", "GET /v1/models/{model}",
        "GET /metrics", "GET /status.json", "GET /queries.json", "GET /search/examples",
    }  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_described(name):
    """Every operation has a summary, a description, a tag and described parameters."""
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"].endswith(".")
    assert operation["tags"]
    for parameter in operation.get("parameters", []):
        assert parameter.get("description") or parameter["in"] == "path", parameter["name"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_error_is_documented_as_a_problem(name):
    """Errors are documented with their media type and the one schema, and a 404 where something may be absent."""
    responses = OPERATIONS[name]["responses"]
    errors = {status for status in responses if status != "200"}
    refused = "400" if "/v1/" in name else "422"  # as OpenAI's clients expect it
    assert errors >= {refused, "500", "503"}
    assert {"400", "422"} - errors or refused == "422"
    assert ("404" in errors) == any(
        part in name
        for part in (
            "{document_id}",
            "/report",
            "{model}",
            "/v1/embeddings",
            "/v1/rerank",
            "POST /feedback",
            "/queries.json",
        )
    )
    for status in errors:
        assert responses[status]["description"]
        ((media_type, content),) = responses[status]["content"].items()
        assert media_type == "application/problem+json"
        assert content["schema"] == {"$ref": "#/components/schemas/ProblemDetails"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_error_has_the_example_of_its_status(name):
    """The example of an error is a problem of this status and of a kind that has it, with a title that fits."""
    for status, response in OPERATIONS[name]["responses"].items():
        if status in ("200", "default"):
            continue
        example = response["content"]["application/problem+json"]["example"]
        kind = problems.KINDS[example["type"].removeprefix(problems.URN)]
        assert example["status"] == int(status)
        assert int(status) in kind.statuses
        assert example["title"] == kind.title == response["description"]
        assert bool(example["errors"]) == (kind is problems.KINDS["invalid-request"])
        assert ("error" in example) == ("/v1/" in name)
        assert problems.ProblemDetails.model_validate(example, strict=True)


def test_operations_have_names_to_call_them_by():
    """Generated clients name their methods by these; each begins with what the operation does."""
    assert {name: operation["operationId"] for name, operation in OPERATIONS.items()} == {
        "POST /search": "search", "GET /search": "search_with_query_string", "POST /search/batch": "search_batch", "POST /search/export": "export_search", "GET /suggest": "suggest",
        "POST /similar": "find_similar", "GET /documents/{document_id}/similar": "get_similar_documents",
        "GET /documents/{document_id}": "get_document", "PUT /documents": "put_documents",
        "DELETE /documents": "delete_documents", "POST /documents/import": "import_documents", "POST /documents/fetch": "fetch_documents",
        "POST /documents/delete": "delete_by_filter", "POST /feedback": "give_feedback",
        "GET /info": "get_info", "GET /report": "get_report_page", "GET /report.json": "get_report",
        "GET /livez": "get_livez", "GET /healthz": "get_healthz", "GET /readyz": "get_readyz", "GET /metrics": "get_metrics",
        "GET /status.json": "get_status", "GET /queries.json": "get_queries", "GET /search/examples": "get_example_queries",
        "POST /classify": "classify", "POST /fill-mask": "fill_mask", "GET /model/info": "get_model_info",
        "POST /model/read": "read_text", "POST /model/compare": "compare_texts",
        "POST /v1/embeddings": "create_embeddings", "POST /v1/rerank": "rerank_texts", "GET /v1/models": "list_models", "GET /v1/models/{model}": "get_model",
    }  # fmt: skip


def test_every_reference_leads_somewhere():
    """No reference dangles: tools that make clients stop at the first that does."""
    references = [part["$ref"] for part in parts(DOCUMENT) if "$ref" in part]
    assert len(references) > 10
    for reference in references:
        assert resolve(reference), reference


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_property_is_described(name):
    """Every schema and each of its properties says what it means."""
    assert SCHEMAS[name]["description"]
    for field, schema in SCHEMAS[name]["properties"].items():
        assert schema.get("description"), f"{name}.{field}"


def test_the_problem_is_documented_with_all_its_fields(client):
    """The documented problem has the fields that a real one has; below /v1 there is one more."""
    documented = set(SCHEMAS["ProblemDetails"]["properties"])
    assert documented == set(client.get("/v1/models/nope").json())
    assert documented - {"error"} == set(client.get("/nope").json())


def test_there_are_examples_to_check():
    """The bodies that a reader copies from `/docs` are there: four searches, an answer and a problem."""
    names = [name for name, _ in EXAMPLES]
    assert names.count("SearchRequest") == 4
    assert {"Result", "SearchResponse", "ProblemDetails"} <= set(names)


@pytest.mark.parametrize("example", [example for name, example in EXAMPLES if name == "SearchRequest"], ids=json.dumps)
def test_examples_of_requests_are_accepted(client, example):
    """Each example of the documentation gets results, not a refusal."""
    answer = client.post("/search", json=example)
    assert answer.status_code == 200
    assert answer.json()["query"] == example.get("query", "")
    assert answer.json()["results"]


def test_examples_of_parameters_are_accepted(client):
    """The examples of the query string are accepted too."""
    parameters = OPERATIONS["GET /search"]["parameters"]
    examples = {each["name"]: each["schema"]["examples"][0] for each in parameters if "examples" in each["schema"]}
    assert "q" in examples
    assert client.get("/search", params=examples).status_code == 200


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_examples_are_of_their_models(name, example):
    """Every example is valid for its model, with all that is required and nothing that the model does not know."""
    (owner,) = {getattr(module, name) for module in SCHEMA_MODULES if hasattr(module, name)}
    model = owner.model_validate(example, strict=True)
    assert json.loads(model.model_dump_json(exclude_unset=True)) == example


def test_a_real_answer_has_the_fields_of_the_example(client):
    """The example of an answer shows the fields of a real one."""
    (example,) = SCHEMAS["SearchResponse"]["examples"]
    answer = client.post("/search", json={"query": "cat"}).json()
    assert set(answer) == set(example)
    assert set(answer["timings"]) == set(example["timings"])
    assert set(answer["index"]) == set(example["index"])
    assert set(answer["results"][0]) == set(example["results"][0])
