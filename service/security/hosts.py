"""Allowed host names of a service that needs no key: a defence against DNS rebinding.

Any site can let its own name resolve to 127.0.0.1 (DNS rebinding); its page can then send requests from a visitor's
browser to whatever listens there. The browser still sends the page's name as ``Host``, so a name that the operator has
not allowed is refused. An IP address cannot be rebound, and is always allowed.
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


class AllowedHosts:
    """The allowed names of one service: `localhost`, that of ``--host``, and those of ``--allowed-hosts``.

    Names are checked if the service listens on loopback only. They are also checked if ``--allowed-hosts`` is set, as in
    a container whose port is published on the loopback of its machine.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._setting = parse_allowed_hosts(settings.allowed_hosts or "")
        self._names = {settings.host.lower(), *self._setting}
        self._allows_all = "*" in self._setting or not (self._setting or is_loopback(settings.host))

    def check(self, scope: Scope, host: str | None) -> None:
        """Check the ``Host`` of a request.

        Raises:
            Problem: 421, it is a name that is not allowed.
        """
        if self._allows_all or host is None:  # a request without Host comes from a program: every browser sends one
            return
        # An application that is called without a socket, as in tests, listens nowhere.
        if not self._setting and not is_local((scope.get("server") or ("", 0))[0]):
            return
        name = host_name(host)
        if name not in self._names and not is_local(name) and not _is_address(name):
            detail = (
                f"The host name {host[:200]!r} is not allowed without a key; --allowed-hosts sets the allowed names"
            )
            raise Problem(421, "forbidden-host", detail)


def parse_allowed_hosts(text: str) -> set[str]:
    """Return the names of a setting.

    Raises:
        UserError: one of them is not a host name.
    """
    names = {name.strip().lower() for name in text.split(",") if name.strip()}
    for name in names:
        if not NAME.fullmatch(name):
            raise UserError(f"--allowed-hosts {name}: give names without scheme and port, such as search.example; or *")
    return names


@lru_cache(maxsize=256)
def host_name(host: str) -> str:
    """Return the name or address in a ``Host`` without its port; an empty string if there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


@lru_cache(maxsize=256)
def is_local(name: str) -> bool:
    """Say whether a name is `localhost` or a loopback address, without a DNS lookup."""
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
