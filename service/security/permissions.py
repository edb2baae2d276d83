"""Who may call which route, and how much it may send: one table for the door, the 405 answers and the API document.

A route that is missing here is not reachable where keys are needed; `tests/service/security/test_permissions.py` finds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from starlette.routing import compile_path

Scope = Literal["search", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

ORDINARY = 1_000_000
"""Bytes of the body of a search or of texts: 32 searches with their filters are less."""


@dataclass(frozen=True)
class Access:
    """What one method of one route asks of its caller.

    Attributes:
        scope: the scope that a key needs; None for a route that is open to everybody and never limited.
        large: whether a body of documents may come, instead of an ordinary one.
        whole: whether it tells of the whole corpus, and so nothing to a key with a filter.
    """

    scope: Scope | None
    large: bool = False
    whole: bool = False


OPEN = Access(None)
SEARCH = Access("search")
REPORT = Access("search", whole=True)
PAGE = {"GET": OPEN, "HEAD": OPEN}

TABLE: dict[str, dict[str, Access]] = {
    # The page and the documentation hold nothing of the corpus; the page asks for a key itself.
    "/": PAGE,
    "/model": PAGE,
    "/page/{name}": {"GET": OPEN},
    "/docs": {"GET": OPEN},
    "/static-offline-docs/{path:path}": PAGE,
    "/openapi.json": PAGE,
    # Health checks come from what restarts containers, and that has no key.
    "/livez": PAGE,
    "/healthz": PAGE,
    "/readyz": PAGE,
    "/search": {"GET": SEARCH, "POST": SEARCH},
    "/search/batch": {"POST": SEARCH},
    "/similar": {"POST": SEARCH},
    "/documents/{document_id:path}/similar": {"GET": SEARCH},
    "/documents/{document_id:path}": {"GET": SEARCH},
    "/documents": {"PUT": Access("write", large=True), "DELETE": Access("write")},
    # Clicks come from those who search; the service takes them only where it is --writable.
    "/feedback": {"POST": SEARCH},
    # Both tools read only; what they ask comes through this door once more.
    "/mcp": {"POST": SEARCH},
    "/classify": {"POST": SEARCH},
    "/fill-mask": {"POST": SEARCH},
    "/model/info": {"GET": SEARCH},
    "/model/read": {"POST": SEARCH},
    "/model/compare": {"POST": SEARCH},
    # Clients of OpenAI's API send a thousand texts at once.
    "/v1/embeddings": {"POST": Access("search", large=True)},
    "/v1/models": {"GET": SEARCH},
    "/v1/models/{model:path}": {"GET": SEARCH},
    "/metrics": {"GET": Access("admin")},
    "/info": {"GET": SEARCH},
    "/report": {"GET": REPORT, "HEAD": REPORT},
    "/report.json": {"GET": REPORT, "HEAD": REPORT},
}

# Most paths are found by their name; the others in the order of the table, which is that of the routers.
_PATTERNS = [(compile_path(path)[0], methods) for path, methods in TABLE.items() if "{" in path]


def methods_of(path: str) -> dict[str, Access]:
    """Return what each method of the route at a request's path asks; nothing where there is no such route."""
    if "{" not in path and (found := TABLE.get(path)):
        return found
    return next((methods for pattern, methods in _PATTERNS if pattern.match(path)), {})


def describe(document: dict[str, Any], responses: Mapping[int | str, dict[str, Any]]) -> None:
    """Write into an OpenAPI document which key a route asks for, and which of the ``responses`` the door can give."""
    document["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "a key of `python -m service keys add`, where keys are needed"}
    }  # fmt: skip
    for access, operation in _operations(document):
        refusals = {401, 403, 421, 429} if access.scope else {421}
        if "requestBody" in operation:
            refusals |= {400, 408, 413}  # 400: it is no JSON, or no UTF-8
        for status in sorted(refusals):
            operation["responses"].setdefault(str(status), responses[status])
        if access.scope:
            operation["security"] = [{"key": []}, {}]
            operation["x-dowse-scope"] = access.scope


def _operations(document: dict[str, Any]) -> Iterator[tuple[Access, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        asked = methods_of(path)
        for method, operation in operations.items():
            if method.upper() in asked:
                yield asked[method.upper()], operation
