"""A PostgreSQL server for tests: the binaries of the package `pgserver`, started in about a second.

The package's own start is not used: it takes five times as long, changes permissions above its folder and stops slowly.
PostgreSQL refuses to run as root; under root, as in a container, it runs as `nobody`.
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
PASSWORD = "hunter2-geheim"  # noqa: S105 - the tests check where it appears
"""Password of the user `reader`; the user `postgres` needs none."""


@contextmanager
def running_server(*options: str) -> Iterator[Path]:
    """Run a server with ``options`` and yield the folder of its socket, port 5432; stop and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path may have at most 107 bytes
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        os.chown(folder, NOBODY, NOBODY)
    process = None
    try:
        binaries = _binaries(folder, user)
        subprocess.run(
            [binaries / "initdb", "--pgdata", folder / "data", "--username=postgres", "--auth=trust", "--no-sync",
             "--encoding=utf8", "--locale=C"],
            check=True, capture_output=True, cwd=folder, **user,
        )  # fmt: skip
        access = folder / "data" / "pg_hba.conf"
        access.write_text("local all reader scram-sha-256\nlocal all all trust\n")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [binaries / "postgres", "-D", folder / "data", "-k", folder, "-F", "-c", "listen_addresses=", *options],
                cwd=folder, stdout=log, stderr=log, **user,
            )  # fmt: skip
        _wait(folder, process)
        with psycopg.connect(host=str(folder), user="postgres", autocommit=True) as connection:
            connection.execute(f"create role reader login password '{PASSWORD}' in role pg_read_all_data")
        yield folder
    finally:
        if process:
            process.send_signal(signal.SIGQUIT)  # immediate shutdown: the data are deleted anyway
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _binaries(folder: Path, user: dict[str, Any]) -> Path:
    """Return the folder of the programs; a copy where the other user cannot read the installed one."""
    package = find_spec("pgserver")
    assert package and package.submodule_search_locations
    installed = Path(package.submodule_search_locations[0]) / "pginstall"
    try:
        subprocess.run([installed / "bin" / "postgres", "--version"], check=True, capture_output=True, **user)
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
