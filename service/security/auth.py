"""Authentication: API key, scope, rate limit and body size, decided before routing.

FastAPI reads a body before it resolves dependencies. This middleware checks the key first, and reads a body only for a
valid key.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.problems import Problem, response
from service.security import body, permissions
from service.security.hosts import AllowedHosts
from service.security.keys import Key, Keyring
from service.security.rate_limit import RateLimiter, network_of
from service.settings import ServiceSettings

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="dowse"'}
OPEN_UNTIL_EXIT = {"/livez", "/healthz", "/metrics"}
"""Routes that are answered until the process ends, also while the service shuts down."""
UNKNOWN_KEY = {"WWW-Authenticate": 'Bearer realm="dowse", error="invalid_token"'}


@dataclass(frozen=True)
class Caller:
    """Origin of a request, in the request's ASGI scope as ``caller``.

    Attributes:
        name: of the key, or the client's address where no key is needed.
        key: None where no key is needed.
    """

    name: str
    key: Key | None


class AuthMiddleware:
    """ASGI middleware that admits a request only with a key for its route, within its rate limit and the body limits.

    Nothing of the body is read before the key is accepted. Once ``closed`` is set, new requests are refused with 503;
    those that were accepted before, perhaps with half a body read, are answered.
    """

    def __init__(
        self, app: ASGIApp, keyring: Keyring, settings: ServiceSettings, hosts: AllowedHosts, closed: threading.Event
    ) -> None:
        self.app = app
        self._keyring = keyring
        self._settings = settings
        self._closed = closed
        self._limiter = RateLimiter()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        closed = self._closed.is_set() and scope["path"] not in OPEN_UNTIL_EXIT
        try:
            permission = self._authorize(scope, headers)
            body.check_address(scope.get("raw_path", b""), scope["query_string"])
            streamed = permission is not None and permission.streamed
            if not streamed and ("content-length" in headers or "transfer-encoding" in headers):
                limit = (
                    self._settings.max_body_mb * 1_000_000
                    if permission and permission.large_body
                    else permissions.MAX_BODY_BYTES
                )
                receive = await body.read_body(headers, receive, limit, self._settings.body_seconds)
        except Problem as problem:
            await response(Request(scope), problem)(scope, receive, send)
        except body.ClientGone:
            return
        else:
            if closed:  # only after the body: closing a connection with an unread body resets it and loses the answer
                detail = "The service is shutting down; send the request to another one"
                draining = Problem(503, "draining", detail, headers=body.CLOSE)
                await response(Request(scope), draining)(scope, receive, send)
            else:
                await self.app(scope, receive, send)

    def _authorize(self, scope: Scope, headers: Headers) -> permissions.Permission | None:
        """Return the permission of the route, None if there is no such route; put the caller into the scope.

        Raises:
            Problem: the key is missing, unknown or lacks the permission, the rate limit is exceeded, or the host name
                is not allowed.
        """
        self._keyring.follow()
        if not self._keyring.needed:
            self._hosts.check(scope, headers.get("host"))
        methods = permissions.methods_of(scope["path"])
        permission = methods.get(scope["method"])
        scope["caller"] = caller = Caller(network_of(scope["client"][0] if scope.get("client") else ""), None)
        if permission and not permission.scope:
            return permission
        refusal = None
        if self._keyring.needed:
            try:
                caller = scope["caller"] = self._identify(headers)
            except Problem as problem:
                refusal = problem
        self._count(caller)
        if refusal:
            raise refusal
        if caller.key and permission and permission.scope not in caller.key.scopes:
            has = ", ".join(caller.key.scopes)
            detail = f"This needs a key with the scope {permission.scope}; the key {caller.name!r} has {has}"
            raise Problem(403, "forbidden", detail)
        if caller.key and caller.key.filter and permission and permission.requires_unrestricted_key:
            detail = f"This route is about the whole corpus; the key {caller.name!r} is restricted by a filter"
            raise Problem(403, "forbidden", detail)
        # A route that the table lacks does not exist for a key, whatever the application says. Nor does one with a line
        # end: the `$` of Starlette's patterns also matches before it.
        if not methods and (caller.key or scope["path"].endswith("\n")):
            raise permissions.no_route(scope)
        if methods and not permission:
            raise permissions.no_method(scope)
        return permission

    def _identify(self, headers: Headers) -> Caller:
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            detail = "This service needs a key; send it as `Authorization: Bearer KEY`"
            raise Problem(401, "unauthorized", detail, headers=CHALLENGE)
        key = self._keyring.find(text.strip())
        if key is None:
            detail = "The key is not known here, or was revoked; ask the operator for another"
            raise Problem(401, "unauthorized", detail, headers=UNKNOWN_KEY)
        return Caller(key.name, key)

    def _count(self, caller: Caller) -> None:
        key_limit = caller.key.requests_per_minute if caller.key else None
        per_minute = key_limit or self._settings.requests_per_minute
        if per_minute is None:
            return
        # The prefix keeps keys and addresses apart: a key may have the name of an address.
        if wait := self._limiter.wait_seconds(f"{'key' if caller.key else 'address'} {caller.name}", per_minute):
            detail = f"More than {per_minute:,} requests in a minute; ask again in {wait} s"
            raise Problem(429, "too-many-requests", detail, headers={"Retry-After": str(wait)})
