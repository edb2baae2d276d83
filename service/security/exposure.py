"""Exposure: whether other machines can reach the service without a key, checked before it starts."""

from __future__ import annotations

import ipaddress
import socket

from indexer.errors import UserError
from service.settings import ServiceSettings


def is_loopback(host: str) -> bool:
    """Say whether every address of a host name is this machine's own; what has no address reaches nobody."""
    try:
        found = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def check_exposure(settings: ServiceSettings) -> str | None:
    """Return what the operator should hear about who can reach the service, or None.

    Raises:
        UserError: others could search without a key, and nobody said that they may.
    """
    if settings.key_file.exists() or is_loopback(settings.host):
        return None
    if not settings.insecure:
        raise UserError(
            f"--host {settings.host}: other machines could search without a key; make one with "
            f"`python -m service keys add NAME` ({settings.key_file}), or say --insecure"
        )
    return f"no key is needed: whoever reaches {settings.host} port {settings.port} may use every route"
