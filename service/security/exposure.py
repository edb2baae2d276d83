"""Exposure: whether other machines can reach the service without a key, checked before it starts."""

from __future__ import annotations

import ipaddress
import socket

from indexer.errors import UserError
from service.settings import ServiceSettings


def is_loopback(host: str) -> bool:
    """Say whether every address of a host name is a loopback address; False for a name without an address."""
    try:
        results = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in results)


def check_exposure(settings: ServiceSettings) -> str | None:
    """Return a warning to the operator if the service is open to other machines on purpose, else None.

    Raises:
        UserError: other machines could search without a key, and ``--insecure`` is not set.
    """
    if settings.key_file.exists() or is_loopback(settings.host):
        return None
    if not settings.insecure:
        raise UserError(
            f"--host {settings.host}: other machines could search without a key; make one with "
            f"`python -m service keys add NAME` ({settings.key_file}), or add --insecure"
        )
    return f"no key is needed: anybody who can reach {settings.host} port {settings.port} may use every route"
