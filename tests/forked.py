"""Forked processes: they need not import everything anew; two of them can train together."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path


def forked(call: Callable[[], object], said: Path, **environment: str) -> int:
    """Run ``call`` in a forked process, which need not import everything anew; return the process's id.

    Its output goes to ``said`` with the endings out and err.
    """
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.environ.update(environment)
        for descriptor, ending in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(said.with_suffix(ending), os.O_WRONLY | os.O_CREAT), descriptor)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        call()
        status = 0
    except BaseException:  # noqa: BLE001 - the parent reads it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def fork_two(call: Callable[[], object], said: Path) -> list[int]:
    """Run ``call`` in two processes that know each other as `accelerate launch` would tell them; return their ids.

    Their output goes to ``said`` with their number and the endings out and err.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [forked(call, said.with_name(f"{said.name}{rank}"), RANK=rank, LOCAL_RANK=rank, **common) for rank in "01"]
