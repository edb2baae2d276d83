"""Error responses: every exception becomes problem details, unexpected ones an opaque 500."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from indexer.errors import NotSupported, StoreError, first_line, is_exhausted
from service.api.problem_responses import REFERENCE, RESPONSES, describe_openai
from service.problems import KINDS, URN, Problem, ProblemDetails, ProblemField, response
from service.security import permissions

log = logging.getLogger("dowse.service")

STATUS_KINDS = {404: "not-found", 405: "method-not-allowed", 500: "internal"}
"""Status of an error that a library raises → its kind; `http` for others."""


class ErrorMiddleware:
    """ASGI middleware that answers an unexpected exception: 503 where the machine lacks something, else an opaque 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False
        start: Message | None = None  # of a response whose body has not begun

        async def send_late(message: Message) -> None:
            """Send the start of a response with its body: Starlette opens a file only after it has sent the start.

            A response without a length may be a stream, whose start is waited for.
            """
            nonlocal started, start
            if message["type"] == "http.response.start" and any(
                name == b"content-length" for name, _ in message["headers"]
            ):
                start = message
                return
            started = True
            if start:
                held, start = start, None
                await send(held)
            await send(message)

        try:
            await self.app(scope, receive, send_late)
        except Exception as error:
            if started:  # too late for another response: the server closes the connection
                raise
            start = None
            await unexpected_error(Request(scope), error)(scope, receive, send_late)


class PlainErrorMiddleware:
    """ASGI middleware that turns errors in plain text, which libraries answer with, into problem details.

    Starlette gives such answers to a malformed `Range` and to a refused preflight. Their headers are kept.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start: Message | None = None  # of an error in plain text
        parts: list[bytes] = []

        async def send_problem(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_plain_error(message):
                start = message
            elif start is None:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    await plain_error(Request(scope), start, b"".join(parts))(scope, receive, send)

        await self.app(scope, receive, send_problem)


def _is_plain_error(start: Message) -> bool:
    return start["status"] >= 400 and Headers(raw=start["headers"]).get("content-type", "").startswith("text/plain")


def plain_error(request: Request, start: Message, text: bytes) -> Response:
    """Return the problem details of an error whose response begins with ``start`` and says ``text``."""
    status: int = start["status"]
    said = text.decode(errors="replace").strip() or HTTPStatus(status).phrase
    detail = f"{request.method} {request.scope['path']}: {said}"
    kept = Headers(raw=start["headers"]).mutablecopy()
    del kept["content-type"], kept["content-length"]
    answer = response(request, Problem(status, STATUS_KINDS.get(status, "http"), detail))
    if varies_by := kept.get("vary"):
        answer.headers.add_vary_header(varies_by)
        del kept["vary"]
    answer.headers.update(kept)
    return answer


def unexpected_error(request: Request, error: Exception) -> Response:
    """Log an exception, and return a response that names only the request's id."""
    request_id = request.scope.get("request_id", "")
    if is_exhausted(error):
        log.error("request %s refused: %s", request_id, first_line(error))
        detail = "The machine is out of memory or of open files; send the request again later"
        return response(request, Problem(503, "exhausted", detail))
    log.error("request %s failed", request_id, exc_info=error)
    detail = f"An unexpected error; the service's log has it under request id {request_id}"
    return response(request, Problem(500, "internal", detail))


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with problem details, and describe these in its OpenAPI document."""

    # Coroutines, because FastAPI calls plain functions in a thread.
    @app.exception_handler(Problem)
    async def handle_problem(request: Request, error: Problem) -> Response:
        return response(request, error)

    @app.exception_handler(StoreError)
    async def handle_store_error(request: Request, error: StoreError) -> Response:
        return response(request, Problem(503, "store-unavailable", str(error)))

    @app.exception_handler(NotSupported)
    async def handle_not_supported(request: Request, error: NotSupported) -> Response:
        return response(request, Problem(501, "not-supported", str(error)))

    @app.exception_handler(RequestValidationError)
    async def handle_validation_error(request: Request, error: RequestValidationError) -> Response:
        fields = [ProblemField(field=".".join(map(str, e["loc"])), message=e["msg"]) for e in error.errors()]
        detail = "; ".join(f"{field.field}: {field.message}" for field in fields)
        return response(request, Problem(422, "invalid-request", detail, fields))

    @app.exception_handler(HTTPException)
    async def handle_http_exception(request: Request, error: HTTPException) -> Response:
        kind = STATUS_KINDS.get(error.status_code, "http")
        detail = f"{request.method} {request.scope['path']}: {error.detail}; /docs lists the routes"
        answer = response(request, Problem(error.status_code, kind, detail))
        answer.headers.update(error.headers or {})
        return answer

    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        schema = ProblemDetails.model_json_schema(ref_template=REFERENCE)
        document["components"]["schemas"] |= {**schema.pop("$defs"), "ProblemDetails": schema}
        document["x-dowse-problems"] = {f"{URN}{name}": kind.title for name, kind in KINDS.items()}
        permissions.describe(document, RESPONSES)
        describe_openai(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
