"""Listening sockets: one for a single process, or several that share a port (`SO_REUSEPORT`)."""

from __future__ import annotations

import errno
import socket

from indexer.errors import UserError

BACKLOG = 512
"""Connections that may wait to be accepted."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        UserError: the address is taken, or does not belong to this machine.
    """
    while True:
        listener = _bind(host, port)
        try:
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            # Others may bind a port, free or not, until somebody listens on it; for port 0 any other port will do.
            if port or error.errno != errno.EADDRINUSE:
                raise _not_bound(host, port, error) from error
        else:
            return listener


def reserve(host: str, port: int) -> socket.socket:
    """Return a socket that reserves a port for `bind_shared` by the same user, and accepts no connections itself.

    Raises:
        UserError: the address is taken, also by another service that shares it, or does not belong to this machine.
    """
    reserved = _bind(host, port)
    # Set after bind: with SO_REUSEPORT set before, the bind would succeed beside the sockets of another service.
    # SO_REUSEADDR is cleared: so that no process can take the port before the first worker listens.
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return reserved


def bind_shared(host: str, port: int) -> socket.socket:
    """Return a socket bound to a reserved port; once it listens, it gets its share of new connections.

    The kernel distributes connections among the sockets that listen. With one socket for all workers, the first to wake
    takes all connections that wait: of sixteen clients at once, one worker got sixteen.
    """
    return _bind(host, port, share=True)


def _bind(host: str, port: int, *, share: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise _not_bound(host, port, error) from error
    # Connections inherit this option. asyncio sets it only for sockets that it has opened itself. Without it every
    # response on a kept connection waits 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _not_bound(host: str, port: int, error: OSError) -> UserError:
    return UserError(f"--host {host} --port {port}: {error.strerror or error}; choose another with --port")
