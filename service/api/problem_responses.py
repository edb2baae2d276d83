"""Problems in the OpenAPI document: for each status a response with the very body that the service sends as its example."""

from __future__ import annotations

from typing import Any

from service.problems import (
    EXAMPLE_ID,
    KINDS,
    MEDIA_TYPE,
    OPENAI,
    URN,
    Problem,
    ProblemField,
    details,
    invalid,
    openai_error,
)

REFERENCE = "#/components/schemas/{model}"
"""Where OpenAPI documents keep the schema of a model."""
CONTENT = {MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(model="ProblemDetails")}}}


def documented(problem: Problem, *, is_openai: bool = False) -> dict[str, Any]:
    """Return OpenAPI's description of a response that reports ``problem``, with that very body as its example."""
    body = details(problem, EXAMPLE_ID)
    if is_openai:
        body.error = openai_error(problem)
    example = body.model_dump(exclude_unset=True)
    content = {media_type: {**described, "example": example} for media_type, described in CONTENT.items()}
    return {"description": KINDS[problem.kind].title, "content": content}


RESPONSES: dict[int | str, dict[str, Any]] = {
    problem.status: documented(problem)
    for problem in (
        Problem(400, "http", "The body is not UTF-8: invalid start byte at byte 10; send JSON in UTF-8"),
        Problem(401, "unauthorized", "This service needs a key; send it as `Authorization: Bearer KEY`"),
        Problem(403, "forbidden", "This needs a key with the scope search; the key 'indexing' has write"),
        Problem(404, "not-found", "The index holds no document 'nope'"),
        Problem(408, "timeout", "The body did not arrive within 30 seconds; send it without pauses"),
        Problem(413, "too-large", "The body is longer than the 1,000,000 bytes that this route accepts; send less"),
        Problem(
            421,
            "forbidden-host",
            "The host name 'example.org' is not allowed without a key; --allowed-hosts sets the allowed names",
        ),
        invalid("body.top_k", "Input should be less than or equal to 100"),
        Problem(429, "too-many-requests", "More than 60 requests in a minute; ask again in 2 s"),
        Problem(500, "internal", f"An unexpected error; the service's log has it under request id {EXAMPLE_ID}"),
        Problem(501, "not-supported", "Milvus as a store has no condition `within`; filter by bounds"),
        Problem(503, "not-ready", "There is no index yet; run `python -m indexer build CORPUS`"),
        Problem(504, "deadline", "There was no answer within 10 s; ask again later"),
        Problem(507, "disk-full", "The disk is full: nothing was written; make room, then send it again"),
    )
}
"""HTTP status → OpenAPI's description of the error; each router names those that its routes can give."""


def describe_openai(document: dict[str, Any]) -> None:
    """Add to the problems below `/v1` of an OpenAPI document the member that OpenAI's clients look for."""
    for path, methods in document["paths"].items():
        for operation in methods.values() if path.startswith(OPENAI) else ():
            for status, described in operation["responses"].items():
                if example := described.get("content", {}).get(MEDIA_TYPE, {}).get("example"):
                    kind, fields = example["type"].removeprefix(URN), example["errors"]
                    problem = Problem(
                        example["status"], kind, example["detail"], [ProblemField(**each) for each in fields]
                    )
                    operation["responses"][status] = documented(problem, is_openai=True)
