"""Problems: every error answer is `application/problem+json` (RFC 9457) with a stable type and the request's id.

Below `/v1` a problem has one member more, the `error` that OpenAI's clients look for: the RFC lets a problem have members
of its own, so that one body serves both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE = "application/problem+json"
URN = "urn:dowse:problem:"
TITLES = {
    "invalid-request": "Invalid request",
    "unauthorized": "API key required",
    "forbidden": "Not allowed for this key",
    "not-found": "Not found",
    "model-not-found": "Model not found",
    "forbidden-host": "Unknown host name",
    "forbidden-origin": "Origin not allowed",
    "method-not-allowed": "Method not allowed",
    "client-gone": "Client closed the connection",
    "overloaded": "Too many requests waiting",
    "timeout": "Request body timed out",
    "too-large": "Request too large",
    "too-many-requests": "Rate limit exceeded",
    "not-ready": "Service not ready",
    "draining": "Service shutting down",
    "deadline": "Deadline exceeded",
    "not-writable": "Writes disabled",
    "not-written": "Nothing written",
    "disk-full": "Disk full",
    "http": "Request failed",
    "internal": "Internal error",
}
"""Kind of problem, the last part of its type → its title."""
REFERENCE = "#/components/schemas/{model}"
CONTENT = {MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(model="ProblemDetails")}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": TITLES[kind], "content": CONTENT}
    for status, kind in (
        (400, "http"),
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not-found"),
        (408, "timeout"),
        (413, "too-large"),
        (421, "forbidden-host"),
        (422, "invalid-request"),
        (429, "too-many-requests"),
        (500, "internal"),
        (503, "not-ready"),
        (504, "deadline"),
        (507, "disk-full"),
    )
}
"""OpenAPI's description of the errors that a route can give."""
OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class OpenAIError(BaseModel):
    """An error as OpenAI's clients know it."""

    message: str = Field(description="the problem's `detail`")
    type: str = Field(
        description="`invalid_request_error`, `authentication_error`, `permission_error`, `rate_limit_error` or "
        "`server_error`"
    )
    param: str | None = Field(description="the field of the request that was refused, where it was one")
    code: str = Field(description="the problem's kind, such as `model_not_found`")


class ProblemField(BaseModel):
    """One part of a request that was refused."""

    field: str = Field(description="where: `body.top_k`, `query.q`, …")
    message: str = Field(description="what is wrong with it")


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:dowse:problem:invalid-request",
                    "title": "Invalid request",
                    "status": 422,
                    "detail": "body.top_k: Input should be less than or equal to 100",
                    "request_id": "0f8fad5bd9cb469fa16570867728950e",
                    "errors": [{"field": "body.top_k", "message": "Input should be less than or equal to 100"}],
                }
            ]
        }
    )
    type: str = Field(description="stable name of the kind of problem")
    title: str = Field(description="the kind of problem in words")
    status: int = Field(description="HTTP status")
    detail: str = Field(description="this problem, and what to do about it")
    request_id: str = Field(description="as in the header X-Request-ID and in the log")
    errors: list[ProblemField] = Field(default=[], description="the refused parts of the request")
    error: OpenAIError | None = Field(default=None, description="the same for OpenAI's clients; only below `/v1`")


class Problem(Exception):  # noqa: N818 - the RFC's word
    """An error that is part of the API: raise it and the client gets it in the one shape."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        errors: list[ProblemField] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = errors or []
        self.headers = headers or {}


def invalid(field: str, message: str) -> Problem:
    """Return the problem that a field of the request is refused."""
    return Problem(422, "invalid-request", f"{field}: {message}", [ProblemField(field=field, message=message)])


def details(problem: Problem, request_id: str) -> ProblemDetails:
    """Return the body of the response to ``problem``."""
    return ProblemDetails(
        type=f"{URN}{problem.kind}",
        title=TITLES[problem.kind],
        status=problem.status,
        detail=problem.detail,
        request_id=request_id,
        errors=problem.errors,
    )


def response(request: Request, problem: Problem) -> JSONResponse:
    """Return the response to a request that met ``problem``."""
    body = details(problem, request.scope.get("request_id", ""))
    if is_openai(request):
        body.error = openai_error(problem)
    content = body.model_dump(exclude_unset=True)
    headers = {"Retry-After": "2", **problem.headers} if problem.status == 503 else dict(problem.headers)
    return JSONResponse(content, problem.status, media_type=MEDIA_TYPE, headers=headers)


def is_openai(request: Request) -> bool:
    """Say whether a request is for the part of the API that has OpenAI's shape."""
    return request.url.path.startswith("/v1/")


def openai_error(problem: Problem) -> OpenAIError:
    """Return the ``error`` of a problem; its ``param`` is the first field that was refused."""
    default = "server_error" if problem.status >= 500 else "invalid_request_error"
    return OpenAIError(
        message=problem.detail,
        type=OPENAI_TYPES.get(problem.status, default),
        param=problem.errors[0].field.partition(".")[2] if problem.errors else None,
        code=problem.kind.replace("-", "_"),
    )
