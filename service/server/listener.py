"""Sockets that listen: one for a single process, or a port that several processes share."""

from __future__ import annotations

import socket

from indexer.errors import UserError

BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise `UserError` where the address is taken or not of this machine."""
    listener = _bound(host, port)
    listener.listen(BACKLOG)
    return listener


def reserve(host: str, port: int) -> socket.socket:
    """Return a socket that keeps a port for the `shared` ones of this user, and accepts nothing itself.

    Raises:
        UserError: the address is taken, also by another service that shares it, or not of this machine.
    """
    reserved = _bound(host, port)
    # Only now: a socket that asks to share before it is bound may be bound beside those of another service. And
    # without this option nobody takes the port while the first worker has not yet begun to listen.
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return reserved


def shared(host: str, port: int) -> socket.socket:
    """Return a socket at a reserved port; once it listens it gets its part of all new connections.

    The kernel chooses among those that listen. With one socket for all, whoever wakes first takes what has come: of
    sixteen clients at once one worker got sixteen.
    """
    return _bound(host, port, share=True)


def _bound(host: str, port: int, *, share: bool = False) -> socket.socket:
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
        raise UserError(
            f"--host {host} --port {port}: {error.strerror or error}; choose another with --port"
        ) from error
    # Connections inherit this. asyncio does it by itself only for sockets that it has opened; without it every answer
    # on a kept connection waits 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
