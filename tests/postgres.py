"""A PostgreSQL server for tests: the binaries of the package `pgserver`, started here because that takes a second.

The package's own start takes five times as long, changes permissions above its folder and stops slowly. PostgreSQL
refuses to run as root: there, as in a container, it runs as `nobody`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

NOBODY = 65534
PASSWORD = "hunter2-geheim"  # noqa: S105 - the point of the tests is where it goes
"""Of the user `reader`, who needs it; the user `postgres` needs none."""


@contextmanager
def running_server(*options: str) -> Iterator[Path]:
    """Run a server with ``options`` and yield the folder of its socket, port 5432; it is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path has 107 bytes at most
    other: dict[str, Any] = {}
    if os.geteuid() == 0:
        other = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        os.chown(folder, NOBODY, NOBODY)
    process = None
    try:
        binaries = _binaries(folder, other)
        subprocess.run(
            [binaries / "initdb", "--pgdata", folder / "data", "--username=postgres", "--auth=trust", "--no-sync",
             "--encoding=utf8", "--locale=C"],
            check=True, capture_output=True, cwd=folder, **other,
        )  # fmt: skip
        access = folder / "data" / "pg_hba.conf"
        access.write_text("local all reader scram-sha-256\nlocal all all trust\n")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [binaries / "postgres", "-D", folder / "data", "-k", folder, "-F", "-c", "listen_addresses=", *options],
                cwd=folder, stdout=log, stderr=log, **other,
            )  # fmt: skip
        _wait(folder, process)
        with psycopg.connect(host=str(folder), user="postgres", autocommit=True) as connection:
            connection.execute(f"create role reader login password '{PASSWORD}' in role pg_read_all_data")
        yield folder
    finally:
        if process:
            process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _binaries(folder: Path, other: dict[str, Any]) -> Path:
    """Return the folder of the programs; copied where the other user may not enter the environment."""
    package = find_spec("pgserver")
    assert package and package.submodule_search_locations
    installed = Path(package.submodule_search_locations[0]) / "pginstall"
    try:
        subprocess.run([installed / "bin" / "postgres", "--version"], check=True, capture_output=True, **other)
    except (OSError, subprocess.CalledProcessError):
        return Path(shutil.copytree(installed, folder / "install")) / "bin"
    return installed / "bin"


def _wait(folder: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(host=str(folder), user="postgres").close()
        except psycopg.OperationalError:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        else:
            return
