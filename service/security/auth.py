"""Authentication: API key, scope, rate limit and body size, decided before routing.

FastAPI reads a body before it solves dependencies; here the key is checked first, and a body is read only for a good one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.problems import Problem, response
from service.security import body, permissions
from service.security.hosts import Hosts
from service.security.keys import Key, Keyring
from service.security.rate_limit import RateLimiter, network_of
from service.settings import ServiceSettings

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="dowse"'}
ALWAYS_OPEN = {"/livez", "/healthz", "/metrics"}
"""Answered until the process ends."""
UNKNOWN_KEY = {"WWW-Authenticate": 'Bearer realm="dowse", error="invalid_token"'}


@dataclass(frozen=True)
class Caller:
    """Who a request comes from; it stands in the request's scope as ``caller``.

    Attributes:
        name: of the key, or the client's address.
        key: None where no key is needed.
    """

    name: str
    key: Key | None


class AuthMiddleware:
    """ASGI middleware: a request reaches the routes with a key for their scope, within its rate, and with a body that fits.

    Nothing of the body is read before the key was found good. Once ``closed`` is set, requests are refused with 503;
    those that were accepted before, perhaps with half a body, are answered.
    """

    def __init__(
        self, app: ASGIApp, keyring: Keyring, settings: ServiceSettings, hosts: Hosts, closed: threading.Event
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
        closed = self._closed.is_set() and scope["path"] not in ALWAYS_OPEN
        try:
            permission = self._authorize(scope, headers)
            if "content-length" in headers or "transfer-encoding" in headers:
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
            if closed:  # only now, for a connection that is closed upon an unread body resets, and the answer is lost
                ending = Problem(503, "draining", "The service is ending; ask another one", headers=body.CLOSE)
                await response(Request(scope), ending)(scope, receive, send)
            else:
                await self.app(scope, receive, send)

    def _authorize(self, scope: Scope, headers: Headers) -> permissions.Permission | None:
        """Return what the route requires, None where there is no such route; put the caller into the scope.

        Raises:
            Problem: the caller lacks it.
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
            raise Problem(403, "forbidden", f"This tells of the whole corpus; the key {caller.name!r} has a filter")
        if caller.key and not methods:  # a route that the table lacks is not there, whatever the application says
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
        own = caller.key.requests_per_minute if caller.key else None
        per_minute = own or self._settings.requests_per_minute
        if per_minute is None:
            return
        # A key and an address are counted apart, whatever somebody calls a key.
        if wait := self._limiter.wait_seconds(f"{'key' if caller.key else 'address'} {caller.name}", per_minute):
            detail = f"More than {per_minute:,} requests in a minute; ask again in {wait} s"
            raise Problem(429, "too-many-requests", detail, headers={"Retry-After": str(wait)})
