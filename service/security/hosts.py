"""By which names the service may be called where it trusts its network and asks for no key.

A page of any site can have its own name lead to 127.0.0.1 (DNS rebinding) and then ask, from within a visitor's browser,
whatever listens there. The browser still says the page's name in ``Host``, so that a name that nobody gave the service is
refused. An IP address cannot be rebound, and is always right.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import Scope

from indexer.errors import UserError
from service.problems import Problem
from service.security.exposure import is_loopback
from service.settings import ServiceSettings

NAME = re.compile(r"\*|[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


class Hosts:
    """The names of one service: `localhost`, the one that it was bound to, and those of ``--allowed-hosts``.

    They are asked for where the service listens on loopback alone, and where ``--allowed-hosts`` says some, as in a
    container whose port is published on the loopback of its machine.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._given = allowed_hosts(settings.allowed_hosts or "")
        self._known = {settings.host.lower(), *self._given}
        self._every = "*" in self._given or not (self._given or is_loopback(settings.host))

    def check(self, scope: Scope, host: str | None) -> None:
        """Raise the problem that a request's ``Host`` is a name that nobody has given the service."""
        if self._every or host is None:  # every browser sends one
            return
        # An application that was called without a socket, as in tests, listens nowhere.
        if not self._given and not is_local((scope.get("server") or ("", 0))[0]):
            return
        name = host_name(host)
        if name not in self._known and not is_local(name) and not _is_address(name):
            detail = (
                f"The service is not known as {host[:200]!r}; --allowed-hosts names what it may be called without a key"
            )
            raise Problem(421, "forbidden-host", detail)


def allowed_hosts(text: str) -> set[str]:
    """Return the names of a setting; raise `UserError` at what is none."""
    found = {each.strip().lower() for each in text.split(",") if each.strip()}
    for each in found:
        if not NAME.fullmatch(each):
            raise UserError(f"--allowed-hosts {each}: give names without scheme and port, such as search.example; or *")
    return found


@lru_cache(maxsize=256)
def host_name(host: str) -> str:
    """Return the name or address in a ``Host``, without its port; empty where there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


@lru_cache(maxsize=256)
def is_local(name: str) -> bool:
    """Say whether a name or an address is this machine's own, whatever a name server says."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
