"""The listening socket: a port that somebody else takes between bind and listen."""

from __future__ import annotations

import socket

import pytest

from indexer.errors import UserError
from service.server import listener


@pytest.fixture
def contended(monkeypatch):
    """Lets somebody else listen on the port that is bound first; returns the sockets of the others."""
    bind, others = listener._bind, []

    def bind_late(host, port, **options):
        bound = bind(host, port, **options)
        if not others:
            others.append(bind(host, bound.getsockname()[1]))
            others[0].listen()
        return bound

    monkeypatch.setattr(listener, "_bind", bind_late)
    yield others
    for other in others:
        other.close()


def test_any_free_port_is_found_while_others_take_one(contended):
    """Port 0 asks for any port: where another program takes the first one, a second is taken."""
    with listener.listen("127.0.0.1", 0) as listening:
        assert listening.getsockname()[1] != contended[0].getsockname()[1]
        socket.create_connection(listening.getsockname()).close()


@pytest.mark.usefixtures("contended")
def test_a_port_that_was_taken_meanwhile_is_named():
    """A port that was asked for is reported, as where it was taken before."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match=f"--port {port}: Address already in use"):
        listener.listen("127.0.0.1", port)
