"""Permissions: which scope each method of each route needs, in one table for authentication, 405 answers and OpenAPI.

A route that is missing here is not reachable where keys are needed; a test compares the table with the routes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from starlette.convertors import PathConvertor, register_url_convertor
from starlette.routing import compile_path
from starlette.types import Scope as AsgiScope

from service.problems import Problem

Scope = Literal["search", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

MAX_BODY_BYTES = 1_000_000
"""Largest body of a route without ``large_body``: 32 searches with their filters are less."""


class AnyPathConvertor(PathConvertor):
    """The rest of a path with any characters: Starlette's own stops at a line end, and an id may hold one."""

    regex = r"[\s\S]*"


register_url_convertor("path", AnyPathConvertor())  # for the table below and for every route


@dataclass(frozen=True)
class Permission:
    """What one method of one route requires of its caller.

    Attributes:
        scope: the scope that a key needs; None for a route that needs no key and has no rate limit.
        large_body: whether the body may have ``--max-body-mb`` megabytes instead of `MAX_BODY_BYTES`.
        streamed: whether the route reads the body itself, piece by piece, whatever its length.
        requires_unrestricted_key: whether the answer is about the whole corpus, so that a key with a filter is refused.
    """

    scope: Scope | None
    large_body: bool = False
    streamed: bool = False
    requires_unrestricted_key: bool = False


OPEN = Permission(None)
SEARCH = Permission("search")
REPORT = Permission("search", requires_unrestricted_key=True)
PAGE = {"GET": OPEN, "HEAD": OPEN}

TABLE: dict[str, dict[str, Permission]] = {
    # The pages and the API documentation hold nothing of the corpus; the pages ask the user for a key.
    "/": PAGE,
    "/model": PAGE,
    "/status": PAGE,
    "/queries": PAGE,
    "/page/{path:path}": {"GET": OPEN},
    "/docs": {"GET": OPEN},
    # It has examples from the corpus only where no key is needed.
    "/docs/openapi.json": {"GET": OPEN},
    "/static-offline-docs/{path:path}": PAGE,
    "/openapi.json": PAGE,
    # Health checks come from orchestrators, which have no key.
    "/livez": PAGE,
    "/healthz": PAGE,
    "/readyz": PAGE,
    "/search": {"GET": SEARCH, "POST": SEARCH},
    "/search/batch": {"POST": SEARCH},
    "/search/examples": {"GET": SEARCH},
    "/search/export": {"POST": SEARCH},
    "/suggest": {"GET": SEARCH},
    "/similar": {"POST": SEARCH},
    "/documents/import": {"POST": Permission("write", streamed=True)},
    "/documents/{document_id:path}/similar": {"GET": SEARCH},
    "/documents/{document_id:path}": {"GET": SEARCH},
    "/documents/fetch": {"POST": SEARCH},
    "/documents/delete": {"POST": Permission("write")},
    "/documents": {"PUT": Permission("write", large_body=True), "DELETE": Permission("write")},
    # Clicks come from those who search; the service accepts them only with --clicks or --writable.
    "/feedback": {"POST": SEARCH},
    # Both MCP tools only read, and call the other routes with the caller's own key.
    "/mcp": {"POST": SEARCH},
    "/classify": {"POST": SEARCH},
    "/fill-mask": {"POST": SEARCH},
    "/model/info": {"GET": SEARCH},
    "/model/read": {"POST": SEARCH},
    "/model/compare": {"POST": SEARCH},
    # Clients of OpenAI's API send a thousand texts at once.
    "/v1/embeddings": {"POST": Permission("search", large_body=True)},
    "/v1/rerank": {"POST": Permission("search", large_body=True)},
    "/v1/models": {"GET": SEARCH},
    "/v1/models/{model:path}": {"GET": SEARCH},
    "/metrics": {"GET": Permission("admin")},
    # What others have searched for, and where the data lies.
    "/status.json": {"GET": Permission("admin")},
    "/queries.json": {"GET": Permission("admin")},
    "/info": {"GET": SEARCH},
    "/report": {"GET": REPORT, "HEAD": REPORT},
    "/report.json": {"GET": REPORT, "HEAD": REPORT},
    "/report/{model}": {"GET": REPORT, "HEAD": REPORT},
}

# Paths without a parameter are looked up; the others are matched in the order of the table, which is that of the routers.
_PATTERNS = [(compile_path(path)[0], methods) for path, methods in TABLE.items() if "{" in path]


def _matched(path: str) -> dict[str, Permission]:
    return next((methods for pattern, methods in _PATTERNS if pattern.match(path)), {})


# A document may be called `fetch`: beside the methods of such a path are those of the pattern that matches it, too.
_FIXED = {path: matched | own if (matched := _matched(path)) else own for path, own in TABLE.items() if "{" not in path}


def methods_of(path: str) -> dict[str, Permission]:
    """Return the permission of each method of the route at a request's path; empty if there is no such route."""
    return _FIXED.get(path) or _matched(path)


def describe(document: dict[str, Any], responses: Mapping[int | str, dict[str, Any]]) -> None:
    """Add to an OpenAPI document the scope of each route, and those of ``responses`` that authentication can give."""
    document["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "an API key of `python -m service keys add`; needed where the service has a key file"}
    }  # fmt: skip
    for permission, operation in _operations(document):
        refusals = {401, 403, 421, 429} if permission.scope else {421}
        if "requestBody" in operation:
            refusals |= {408, 413}
        if "requestBody" in operation or "parameters" in operation:
            refusals.add(400)  # the body is not JSON, or something is not UTF-8
        for status in sorted(refusals):
            operation["responses"].setdefault(str(status), responses[status])
        if permission.scope:
            operation["security"] = [{"key": []}, {}]
            operation["x-dowse-scope"] = permission.scope


def _operations(document: dict[str, Any]) -> Iterator[tuple[Permission, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        permissions = methods_of(path)
        for method, operation in operations.items():
            if method.upper() in permissions:
                yield permissions[method.upper()], operation


def no_route(scope: AsgiScope) -> Problem:
    """Return the problem of a path without a route."""
    return Problem(404, "not-found", f"{scope['method']} {scope['path']}: Not Found; /docs lists the routes")


def no_method(scope: AsgiScope) -> Problem:
    """Return the problem of a method that the route does not have; its `Allow` header lists those that it has."""
    allowed = {"Allow": ", ".join(sorted(methods_of(scope["path"])))}
    detail = f"{scope['method']} {scope['path']}: Method Not Allowed; /docs lists the routes"
    return Problem(405, "method-not-allowed", detail, headers=allowed)
