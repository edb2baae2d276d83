"""Errors: every one is `application/problem+json` (RFC 9457) with a stable type and the request's id."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from service import openai_errors
from service.api.schemas import ProblemDetails, ProblemField
from service.security import permissions as access

log = logging.getLogger("dowse.service")

MEDIA_TYPE = "application/problem+json"

URN = "urn:dowse:problem:"

TITLES = {
    "invalid-request": "The request is not valid",
    "unauthorized": "A key is needed",
    "forbidden": "The key does not allow this",
    "not-found": "There is no such thing",
    "model-not-found": "The service has no such model",
    "forbidden-host": "The service is not known by this name",
    "forbidden-origin": "Pages of this origin are not let in",
    "method-not-allowed": "The method is not allowed here",
    "client-gone": "The client is gone",
    "overloaded": "There is too much to do",
    "timeout": "The request took too long to come",
    "too-large": "The request is too large",
    "too-many-requests": "Too many requests",
    "not-ready": "The service is not ready",
    "draining": "The service is about to end",
    "deadline": "The answer took too long",
    "not-writable": "The service takes no writes",
    "not-written": "Nothing was written",
    "disk-full": "The disk is full",
    "http": "The request failed",
    "internal": "Something went wrong here",
}

REFERENCE = "#/components/schemas/{model}"
CONTENT = {MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(model="ProblemDetails")}}}

# OpenAPI's description of the errors that a route can give.
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


def no_route(scope: Scope) -> Problem:
    """Return the problem of a path that leads nowhere."""
    return Problem(404, "not-found", f"{scope['method']} {scope['path']}: Not Found; /docs lists what there is")


def no_method(scope: Scope) -> Problem:
    """Return the problem of a method that the route does not have, with all that it has."""
    allowed = {"Allow": ", ".join(sorted(access.methods_of(scope["path"])))}
    detail = f"{scope['method']} {scope['path']}: Method Not Allowed; /docs lists what there is"
    return Problem(405, "method-not-allowed", detail, headers=allowed)


def details(problem: Problem, request_id: str) -> ProblemDetails:
    """Return the body of the response that tells ``problem``."""
    return ProblemDetails(
        type=f"{URN}{problem.kind}",
        title=TITLES[problem.kind],
        status=problem.status,
        detail=problem.detail,
        request_id=request_id,
        errors=problem.errors,
    )


def response(request: Request, problem: Problem) -> JSONResponse:
    """Return the response that tells ``problem``."""
    told = details(problem, request.scope.get("request_id", ""))
    if openai_errors.is_openai(request):
        told.error = openai_errors.error_member(problem, problem.errors[0].field if problem.errors else None)
    content = told.model_dump(exclude_unset=True)
    headers = {"Retry-After": "2", **problem.headers} if problem.status == 503 else dict(problem.headers)
    return JSONResponse(content, problem.status, media_type=MEDIA_TYPE, headers=headers)


def install(app: FastAPI) -> None:
    """Make ``app`` answer every error in the one shape."""

    # Coroutines, for a plain function would wait for a thread first.
    @app.exception_handler(Problem)
    async def known(request: Request, error: Problem) -> JSONResponse:
        return response(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        fields = [ProblemField(field=".".join(map(str, e["loc"])), message=e["msg"]) for e in error.errors()]
        detail = "; ".join(f"{field.field}: {field.message}" for field in fields)
        status = 400 if openai_errors.is_openai(request) else 422
        return response(request, Problem(status, "invalid-request", detail, fields))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http")
        detail = f"{request.method} {request.url.path}: {error.detail}; /docs lists what there is"
        answer = response(request, Problem(error.status_code, kind, detail))
        answer.headers.update(error.headers or {})
        return answer

    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        schema = ProblemDetails.model_json_schema(ref_template=REFERENCE)
        document["components"]["schemas"] |= {**schema.pop("$defs"), "ProblemDetails": schema}
        document["x-dowse-problems"] = {f"{URN}{kind}": title for kind, title in TITLES.items()}
        access.describe(document, RESPONSES)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def internal(request: Request) -> JSONResponse:
    """Log the exception that is being handled with its traceback and return an answer that tells nothing of it."""
    identity = request.scope.get("request_id", "")
    log.exception("request %s failed", identity)  # noqa: LOG004 - called while the exception is handled
    detail = f"An unexpected error; the service's log has it under request id {identity}"
    return response(request, Problem(500, "internal", detail))
