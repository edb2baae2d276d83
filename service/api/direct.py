"""Direct routes: a request with a JSON body reaches its route without the framework's routing and dependencies.

For one route that takes a body and the live index, these layers take a tenth of the time of a search. What they would
refuse, or read in another way, is left to them, body unread: every answer and every error is the same either way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.dependencies import serving
from service.security.body import ReadBody

JSON = b"application/json"


@dataclass(frozen=True)
class DirectRoute:
    """A route whose function takes ``request``, ``live`` and ``body``, and nothing else.

    Attributes:
        route: as the framework has it.
        model: of its body.
        call: its function.
    """

    route: APIRoute
    model: type[BaseModel]
    call: Callable[..., Awaitable[Response]]

    @classmethod
    def of(cls, router: APIRouter, path: str, model: type[BaseModel]) -> DirectRoute:
        """Return the route that answers POST at a path of a router without a prefix."""
        found = next(
            each
            for each in router.routes
            if isinstance(each, APIRoute) and each.path == path and "POST" in (each.methods or ())
        )
        return cls(found, model, found.endpoint)


class DirectRoutes:
    """ASGI middleware that answers requests for some routes itself; it is the innermost.

    Args:
        app: answers all others.
        routes: by their paths.
    """

    def __init__(self, app: ASGIApp, routes: Mapping[str, DirectRoute]) -> None:
        self.app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        body = None if route is None else _validated(scope, receive, route.model)
        if route is None or body is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route.route
        request = Request(scope, receive)
        try:
            response = await route.call(request=request, live=serving(request).retriever, body=body)
        except Exception as error:
            handlers: Mapping[Any, Callable[..., Any]] = scope["app"].exception_handlers
            handler = next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)
            if handler is None:
                raise
            response = await handler(request, error)
        await response(scope, receive, send)


def _validated(scope: Scope, receive: Receive, model: type[BaseModel]) -> BaseModel | None:
    """Return the body of a request; None where the framework has to read it, or to say what is wrong with it."""
    if not isinstance(receive, ReadBody) or not isinstance(receive.value, dict) or scope.get("root_path"):
        return None
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if kind != JSON and kind.partition(b";")[0].strip().lower() != JSON:
        return None
    try:
        return model.model_validate(receive.value)
    except ValidationError:
        return None
