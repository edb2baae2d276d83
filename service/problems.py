"""Problems: every error answer is `application/problem+json` (RFC 9457) with a stable type and the request's id.

Only a browser that opens an address gets a page instead, with the same words.

Below `/v1` a problem has one extension member, the `error` that OpenAI's clients look for. The RFC allows extension
members, so one body serves both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from service import negotiation

MEDIA_TYPE = "application/problem+json"
URN = "urn:dowse:problem:"


class Kind(NamedTuple):
    """A kind of problem: the last part of its type stands before it in `KINDS`."""

    title: str
    statuses: tuple[int, ...]
    meaning: str
    """When a client meets it, and what to do; for the reference."""


KINDS = {
    "invalid-request": Kind(
        "Invalid request", (400, 422), "a field is missing, unknown or has a refused value; 422, below `/v1` also 400"
    ),
    "http": Kind(
        "Request failed",
        (400, 416, 431),
        "the request is not HTTP, its body not JSON, a `Range` malformed; or request line, headers or trailers are too long",
    ),
    "unauthorized": Kind("API key required", (401,), "the request has no key, or an unknown one"),
    "forbidden": Kind("Not allowed for this key", (403,), "the key lacks the scope of the route, or is confined"),
    "forbidden-origin": Kind("Origin not allowed", (403,), "a web page of another site has called `/mcp`"),
    "not-writable": Kind("Writes disabled", (403,), "the service takes no writes; start it with `--writable`"),
    "not-found": Kind("Not found", (404,), "no such route, document or report"),
    "model-not-found": Kind(
        "Model not found", (404,), "`model` of `/v1` is not the live one, encoder or re-ranker; `detail` has its names"
    ),
    "method-not-allowed": Kind("Method not allowed", (405,), "the header `Allow` has the methods of the route"),
    "timeout": Kind("Request body timed out", (408,), "the body came too slowly"),
    "too-large": Kind("Request too large", (413,), "the body is too long"),
    "forbidden-host": Kind(
        "Unknown host name", (421,), "without keys the service answers to known names only; see `--allowed-hosts`"
    ),
    "too-many-requests": Kind(
        "Rate limit exceeded", (429,), "more per minute than this key or address may send; again after `Retry-After`"
    ),
    "overloaded": Kind("Too many requests waiting", (429,), "the queue is full; again after `Retry-After`"),
    "client-gone": Kind("Client closed the connection", (499,), "only in the log: the client has hung up"),
    "internal": Kind("Internal error", (500,), "a fault of the service; the log has it under the request's id"),
    "not-ready": Kind(
        "Service not ready", (503,), "no index, or no model of the kind in question; `detail` has the command to run"
    ),
    "not-supported": Kind(
        "Not supported by this store",
        (501,),
        "the store of the index does not do what was asked (`--store milvus`); `detail` says what, and what does it",
    ),
    "store-unavailable": Kind(
        "Store not available",
        (503,),
        "the store of the index is away, too slow, or has lost rows; `detail` has the reason; again after `Retry-After`",
    ),
    "exhausted": Kind(
        "Machine out of resources", (503,), "the machine is out of memory or of open files; again after `Retry-After`"
    ),
    "draining": Kind("Service shutting down", (503,), "the service is about to end; another one takes over"),
    "not-written": Kind("Nothing written", (503,), "nothing was stored; what was there before is as it was"),
    "deadline": Kind(
        "Deadline exceeded", (504,), "no answer within `--deadline-seconds`; a write with this answer was not written"
    ),
    "disk-full": Kind("Disk full", (507,), "nothing was stored; what was there before is as it was"),
}
"""Kind of problem, the last part of its type → its title, statuses and meaning."""
EXAMPLE_ID = "0f8fad5bd9cb469fa16570867728950e"
"""Request id in examples."""
OPENAI = "/v1/"
"""Below this path are the routes that are compatible with OpenAI's."""
OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""HTTP status → OpenAI's type of error, where it is not one of the two general types."""


class OpenAIError(BaseModel):
    """An error in the shape of OpenAI's API."""

    message: str = Field(description="the problem's `detail`")
    type: str = Field(
        description="`invalid_request_error`, `authentication_error`, `permission_error`, `rate_limit_error` or "
        "`server_error`"
    )
    param: str | None = Field(description="the refused field of the request; null where it was not one field")
    code: str = Field(description="the problem's kind, such as `model_not_found`")


class ProblemField(BaseModel):
    """One part of a request that was refused."""

    field: str = Field(description="path of the field: `body.top_k`, `query.q`, …")
    message: str = Field(description="what is wrong with it")


class ProblemDetails(BaseModel):
    """An error in the shape of RFC 9457."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:dowse:problem:invalid-request",
                    "title": "Invalid request",
                    "status": 422,
                    "detail": "body.top_k: Input should be less than or equal to 100",
                    "request_id": EXAMPLE_ID,
                    "errors": [{"field": "body.top_k", "message": "Input should be less than or equal to 100"}],
                }
            ]
        }
    )
    type: str = Field(description="stable name of the kind of problem")
    title: str = Field(description="the kind of problem in words")
    status: int = Field(description="HTTP status")
    detail: str = Field(description="what went wrong with this request, and what to do about it")
    request_id: str = Field(description="id of the request, as in the header X-Request-ID and in the log")
    errors: list[ProblemField] = Field(default=[], description="the refused parts of the request")
    error: OpenAIError | None = Field(default=None, description="the same in OpenAI's shape; only below `/v1`")


class Problem(Exception):  # noqa: N818 - the RFC's word
    """An error that is part of the API: when it is raised, the client receives it as `ProblemDetails`.

    Args:
        status: HTTP status.
        kind: a key of `KINDS`.
        detail: what went wrong, and what to do about it.
        errors: the refused parts of the request.
        headers: further headers of the response.
    """

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


def invalid(field: str, message: str, status: int = 422) -> Problem:
    """Return the problem of a refused field of the request."""
    return Problem(status, "invalid-request", f"{field}: {message}", [ProblemField(field=field, message=message)])


def details(problem: Problem, request_id: str) -> ProblemDetails:
    """Return the body of the response to ``problem``."""
    return ProblemDetails(
        type=f"{URN}{problem.kind}",
        title=KINDS[problem.kind].title,
        status=problem.status,
        detail=problem.detail,
        request_id=request_id,
        errors=problem.errors,
    )


def response(request: Request, problem: Problem) -> Response:
    """Return the response that reports ``problem``: problem details, or a page where a browser opens an address.

    A 503 has `Retry-After`, two seconds by default. Below `/v1` a 422 is a 400, as OpenAI's clients expect.
    """
    if problem.status == 422 and is_openai(request):
        problem.status = 400
    body = details(problem, request.scope.get("request_id", ""))
    headers = {"Retry-After": "2", **problem.headers} if problem.status == 503 else dict(problem.headers)
    if request.method in {"GET", "HEAD"}:
        headers["Vary"] = negotiation.VARY
    if negotiation.wants_page(request.scope):
        page = negotiation.problem_page(request.scope, body.status, body.title, body.detail, body.request_id)
        return HTMLResponse(page, problem.status, headers={**negotiation.PAGE_HEADERS, **headers})
    if is_openai(request):
        body.error = openai_error(problem)
    content = body.model_dump(exclude_unset=True)
    return JSONResponse(content, problem.status, media_type=MEDIA_TYPE, headers=headers)


def is_openai(request: Request) -> bool:
    """Say whether a request is for one of the OpenAI-compatible routes."""
    # From the scope: `request.url` is made with the header Host, and parsing it raises an error where that is malformed.
    path: str = request.scope["path"]
    return path.startswith(OPENAI)


def openai_error(problem: Problem) -> OpenAIError:
    """Return the ``error`` member of a problem; its ``param`` is the first refused field."""
    default = "server_error" if problem.status >= 500 else "invalid_request_error"
    return OpenAIError(
        message=problem.detail,
        type=OPENAI_TYPES.get(problem.status, default),
        param=problem.errors[0].field.partition(".")[2] if problem.errors else None,
        code=problem.kind.replace("-", "_"),
    )
