"""The door: who is it, may they, how often, and how much do they bring? Decided before a route sees the request."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.problems import Problem
from service.security import body
from service.security import permissions as access
from service.security.hosts import Hosts
from service.security.keyring import Keyring
from service.security.keys import Key
from service.security.rate_limit import RateLimiter, network_of
from service.settings import ServiceSettings

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="dowse"'}
STILL_OPEN = {"/livez", "/healthz", "/metrics"}
"""What is answered until the process ends."""
UNKNOWN = {"WWW-Authenticate": 'Bearer realm="dowse", error="invalid_token"'}


@dataclass(frozen=True)
class Caller:
    """Who a request comes from; it stands in the request's scope as ``caller``.

    Attributes:
        name: of the key, or the client's address.
        key: None where no key is needed.
    """

    name: str
    key: Key | None


class Door:
    """ASGI middleware: what it lets in has a key that may do this, is within its rate, and brings a body of fit size.

    The key is asked for first, and nothing of the body is read before it was found good. Once it is ``closed``, nobody
    comes in any more; who is in already, perhaps with half a body, is served.
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
        closed = self._closed.is_set() and scope["path"] not in STILL_OPEN
        try:
            asked = self._admit(scope, headers)
            if "content-length" in headers or "transfer-encoding" in headers:
                limit = self._settings.max_body_mb * 1_000_000 if asked and asked.large else access.ORDINARY
                receive = await body.whole(headers, receive, limit, self._settings.body_seconds)
        except Problem as problem:
            await problems.response(Request(scope), problem)(scope, receive, send)
        except body.ClientGone:
            return
        else:
            if closed:  # only now, for a connection that is closed upon an unread body resets, and the answer is lost
                ending = Problem(503, "draining", "The service is ending; ask another one", headers=body.CLOSE)
                await problems.response(Request(scope), ending)(scope, receive, send)
            else:
                await self.app(scope, receive, send)

    def _admit(self, scope: Scope, headers: Headers) -> access.Access | None:
        """Return what the route asks, None where there is no such route; put the caller into the scope.

        Raises:
            Problem: the caller is not let in.
        """
        self._keyring.follow()
        if not self._keyring.needed:
            self._hosts.check(scope, headers.get("host"))
        methods = access.methods_of(scope["path"])
        asked = methods.get(scope["method"])
        scope["caller"] = caller = Caller(network_of(scope["client"][0] if scope.get("client") else ""), None)
        if asked and not asked.scope:
            return asked
        refusal = None
        if self._keyring.needed:
            try:
                caller = scope["caller"] = self._identify(headers)
            except Problem as problem:
                refusal = problem
        self._count(caller)
        if refusal:
            raise refusal
        if caller.key and asked and asked.scope not in caller.key.scopes:
            has = ", ".join(caller.key.scopes)
            detail = f"This needs a key with the scope {asked.scope}; the key {caller.name!r} has {has}"
            raise Problem(403, "forbidden", detail)
        if caller.key and caller.key.filter and asked and asked.whole:
            raise Problem(403, "forbidden", f"This tells of the whole corpus; the key {caller.name!r} has a filter")
        if caller.key and not methods:  # a route that the table lacks is not there, whatever the application says
            raise problems.no_route(scope)
        if methods and not asked:
            raise problems.no_method(scope)
        return asked

    def _identify(self, headers: Headers) -> Caller:
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            detail = "This service needs a key; send it as `Authorization: Bearer KEY`"
            raise Problem(401, "unauthorized", detail, headers=CHALLENGE)
        key = self._keyring.find(text.strip())
        if key is None:
            detail = "The key is not known here, or was revoked; ask the operator for another"
            raise Problem(401, "unauthorized", detail, headers=UNKNOWN)
        return Caller(key.name, key)

    def _count(self, caller: Caller) -> None:
        own = caller.key.requests_per_minute if caller.key else None
        per_minute = own or self._settings.requests_per_minute
        if per_minute is None:
            return
        # A key and an address are counted apart, whatever somebody calls a key.
        if wait := self._limiter.wait(f"{'key' if caller.key else 'address'} {caller.name}", per_minute):
            detail = f"More than {per_minute:,} requests in a minute; ask again in {wait} s"
            raise Problem(429, "too-many-requests", detail, headers={"Retry-After": str(wait)})
