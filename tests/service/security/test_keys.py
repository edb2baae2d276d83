"""API keys: what the file holds, who may read it, and that a running service follows it."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import stat
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from indexer.errors import UserError
from service.__main__ import app as program
from service.app import create_app
from service.security import keys as keyring
from service.security.keys import KEY, Keyring, add_key, read_keys, revoke_key
from service.settings import ServiceSettings


@pytest.fixture
def file(tmp_path):
    """Where a key file will be."""
    return tmp_path / "keys.json"


def bearer(text):
    """The header that sends a key."""
    return {"Authorization": f"Bearer {text}"}


def run(*arguments):
    """Run a command of `python -m service keys` in this process."""
    result = CliRunner().invoke(program, ["keys", *map(str, arguments)])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_the_file_holds_no_key_and_is_its_owners_own(file):
    """The file holds only hashes and ids, and only its owner may read it."""
    text = add_key(file, "shop", ("search",))
    assert KEY.fullmatch(text)
    assert text.split("_", 2)[2] not in file.read_text()
    assert text not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir() if not path.name.endswith(".lock")] == ["keys.json"]


def test_keys_are_found_by_all_of_their_text(file):
    """A key is found by its whole text and by nothing that only resembles it, such as its id with another secret."""
    first, second = (add_key(file, name, ("search",)) for name in ("first", "second"))
    keys = read_keys(file)
    assert (keys.find(first).name, keys.find(second).name) == ("first", "second")
    mixed = first[:15] + second[15:]
    swapped = first[:-1] + ("A" if first[-1] != "A" else "B")
    for wrong in (mixed, swapped, first[:-1], first + "x", first.upper(), "", "dowse_", "ключ", keys.keys[0].sha256):
        assert keys.find(wrong) is None, wrong


def test_no_two_keys_are_the_same(file):
    """Secrets have 256 bits and are random: of many none is like another."""
    texts = {add_key(file, f"key-{number}", ("search",)) for number in range(50)}
    assert len({text[15:] for text in texts}) == 50
    assert all(len(text.partition("_")[2].partition("_")[2]) == 43 for text in texts)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "Invalid JSON"),
        ("[]", "valid dictionary|object"),
        ('{"format": 2}', "format"),
        ('{"keys": [{"name": "x"}]}', "keys.0.id"),
        ('{"keys": [], "nope": 1}', "nope"),
    ],
)
def test_a_file_that_is_none_is_refused(file, content, complaint):
    """A damaged file is named with what is wrong in it, and nothing of its content is repeated."""
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(UserError, match=complaint) as caught:
        read_keys(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_to_is_refused(file, mode):
    """The service refuses a key file that others can write to, since they could add a key."""
    add_key(file, "shop", ("search",))
    file.chmod(mode)
    with pytest.raises(UserError, match=f"chmod 600 {file}"):
        read_keys(file)


def test_the_same_name_twice_is_refused(file):
    """Names are in logs, where one must mean one key."""
    add_key(file, "shop", ("search",))
    with pytest.raises(UserError, match="already"):
        add_key(file, "shop", ("write",))
    both = json.loads(file.read_text())
    both["keys"] *= 2
    file.write_text(json.dumps(both))
    with pytest.raises(UserError, match="two keys"):
        read_keys(file)


def add_many(file, who):
    """Add ten keys, in a process of its own."""
    for number in range(10):
        add_key(file, f"{who}-{number}", ("search",))


def test_nobodys_key_is_lost_when_several_add_keys_at_once(file):
    """Three processes that add ten keys each leave thirty."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_many, args=(file, who)) for who in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(read_keys(file).keys) == 30


def test_the_commands_make_list_and_revoke(file):
    """`add` prints the key once, `list` shows what is no secret, `revoke` takes a name or an id."""
    text = run(
        "add", "shop", "--scope", "write", "--scope", "search", "--requests-per-minute", 90, "--keys", file
    ).stdout.strip()
    other = run("add", "other", "--keys", file).stdout.strip()
    assert read_keys(file).find(text).scopes == ("search", "write")
    listed = run("list", "--keys", file).stdout
    assert re.search(rf"dowse_{text[6:14]}_… +shop .* search,write +90 requests/min", listed)
    assert text not in listed
    assert "shop" in listed and "other" in listed
    run("revoke", "shop", "--keys", file)
    run("revoke", other[6:14], "--keys", file)
    assert read_keys(file).keys == ()
    with pytest.raises(UserError, match="no key 'shop'"):
        run("revoke", "shop", "--keys", file)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["shop", "--scope", "root"], "--scope root"), (["two words"], "name"), (["a\nb"], "name"), (["x" * 65], "name")],
)
def test_wrong_keys_are_not_made(file, arguments, complaint):
    """A scope that does not exist, and a name that could forge a line of a log, are refused."""
    with pytest.raises(UserError, match=complaint):
        run("add", *arguments, "--keys", file)
    assert not file.exists()


def test_a_running_service_follows_the_file(built_data, file):
    """A new key is let in and a revoked one kept out without a restart."""
    first = add_key(file, "first", ("search",))
    with TestClient(create_app(ServiceSettings(data=built_data, keys=file, poll_seconds=1e-9))) as client:
        assert client.get("/search?q=cat", headers=bearer(first)).status_code == 200
        second = add_key(file, "second", ("search",))
        assert client.get("/search?q=cat", headers=bearer(second)).status_code == 200
        revoke_key(file, "first")
        assert client.get("/search?q=cat", headers=bearer(first)).status_code == 401
        assert client.get("/search?q=cat", headers=bearer(second)).status_code == 200


def test_a_service_that_needed_keys_never_opens_by_itself(file):
    """A deleted file admits no key; a damaged one leaves the previous keys; a first one closes an open service."""
    ring = Keyring(file, poll_seconds=1e-9)
    assert not ring.needed
    text = add_key(file, "shop", ("search",))
    ring.follow()
    assert ring.needed and ring.find(text)
    file.write_text("damaged")
    ring.follow()
    assert ring.needed and ring.find(text)
    file.unlink()
    ring.follow()
    assert ring.needed and ring.find(text) is None
    again = add_key(file, "again", ("search",))
    ring.follow()
    assert ring.find(again)


def test_an_error_of_the_machine_keeps_no_revoked_key(file, monkeypatch, caplog):
    """A file that could not be read for lack of descriptors is read again, and said to be so once."""
    text = add_key(file, "shop", ("search",))
    ring = Keyring(file, poll_seconds=1e-9)
    revoke_key(file, "shop")
    with monkeypatch.context() as machine:
        machine.setattr(Path, "read_text", fail_with(errno.EMFILE))
        for _ in range(3):
            ring.follow()
        assert ring.find(text)
    assert caplog.text.count("Too many open files") == 1
    ring.follow()
    assert ring.find(text) is None


def fail_with(number):
    """A function that fails with an error of the system."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


def test_a_first_file_that_is_damaged_closes_the_service(file):
    """Once there is a key file the service is closed, whether the file is valid or not."""
    ring = Keyring(file, poll_seconds=1e-9)
    file.write_text("damaged")
    ring.follow()
    assert ring.needed


def test_the_file_is_not_looked_at_with_every_request(file, monkeypatch):
    """Within `poll_seconds` nothing is read, so that a search is not slower."""
    ring = Keyring(file, poll_seconds=1000)
    monkeypatch.setattr(keyring, "read_keys", lambda _: pytest.fail("read"))
    file.write_text("x")
    ring.follow()
    assert not ring.needed
