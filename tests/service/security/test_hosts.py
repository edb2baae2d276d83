"""DNS rebinding: unknown host names are refused where no key is needed."""

from __future__ import annotations

import json
import shutil
from http.client import HTTPConnection

import pytest
from starlette.testclient import TestClient

from indexer.errors import UserError
from service.app import create_app
from service.problems import Problem
from service.security.hosts import AllowedHosts, parse_allowed_hosts
from service.security.keys import add_key
from service.settings import ServiceSettings

LOOPBACK = {"server": ("127.0.0.1", 8000)}
OWN = ["localhost:8000", "LOCALHOST", "localhost.", "127.0.0.1:8000", "[::1]:8000", "192.168.1.7", None]
STRANGE = ["evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example@localhost.x", "", "["]


def answers(asked, **settings):
    """Say whether a service answers to a ``Host`` of a request that came in on loopback."""
    try:
        AllowedHosts(ServiceSettings(**settings)).check(LOOPBACK, asked)
    except Problem as problem:
        return not (problem.kind == "forbidden-host" and "--allowed-hosts" in problem.detail)
    return True


@pytest.mark.parametrize("host", OWN)
def test_its_own_names(host):
    """Addresses and localhost are right, also where other names were given."""
    assert answers(host)
    assert answers(host, allowed_hosts="search.example", host="0.0.0.0")  # noqa: S104 - as in a container


@pytest.mark.parametrize("host", STRANGE)
def test_names_that_nobody_gave_it(host):
    """They are refused on loopback, and wherever some names were given, but not where the service is open to others."""
    assert not answers(host)
    assert not answers(host, allowed_hosts="search.example", host="0.0.0.0")  # noqa: S104
    assert answers(host, host="0.0.0.0", insecure=True)  # noqa: S104
    assert answers(host, allowed_hosts="*")


def test_names_that_were_given():
    """Each of the list is answered to, in any case and with any port; others still are not."""
    settings = {"allowed_hosts": "Search.example, service"}
    assert answers("search.EXAMPLE:443", **settings)
    assert answers("service:8000", **settings)
    assert not answers("www.search.example", **settings)


@pytest.mark.parametrize("text", ["https://search.example", "search.example:8000", "a b"])
def test_what_is_no_name(text):
    """A URL or a port in the setting is refused with what to give instead, at the start."""
    with pytest.raises(UserError, match=r"--allowed-hosts .*without scheme and port"):
        create_app(ServiceSettings(allowed_hosts=text))
    assert parse_allowed_hosts(" , ") == set()


def test_the_program_refuses_a_rebound_name(story_service):
    """The real service on loopback answers 421 to a page's name, in the one shape, and 200 to its own."""
    connection = HTTPConnection("127.0.0.1", story_service.port, timeout=60)
    try:
        for path in ("/search?q=cat", "/", "/livez"):
            connection.request("GET", path, headers={"Host": f"evil.example:{story_service.port}"})
            answer = connection.getresponse()
            assert answer.status == 421
            assert json.loads(answer.read())["type"] == "urn:dowse:problem:forbidden-host"
        connection.request("GET", "/search?q=cat", headers={"Host": f"localhost:{story_service.port}"})
        assert connection.getresponse().status == 200
    finally:
        connection.close()


def test_with_keys_any_name_will_do(tmp_path, built_data):
    """A rebound page has no key; a proxy may send whatever name it has."""
    data = tmp_path / "data"
    shutil.copytree(built_data, data)
    with TestClient(create_app(ServiceSettings(data=data, allowed_hosts="service", poll_seconds=0.01))) as client:
        assert client.get("/search?q=cat").status_code == 421  # a test's client calls itself `testserver`
    key = add_key(data / "keys.json", "one", ("search",))
    with TestClient(create_app(ServiceSettings(data=data, allowed_hosts="service"))) as client:
        assert client.get("/search?q=cat", headers={"Authorization": f"Bearer {key}"}).status_code == 200
