"""`python -m service check`: checks of Python, data directory, index, memory, keys and port before the service starts."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from indexer.artifacts.manifest import Manifest
from indexer.artifacts.store import Store, verify_parents
from indexer.errors import StoreError, UserError
from indexer.live.inspect import log_problems
from indexer.live.log import FOLDER
from indexer.milvus.settings import require_client
from service.observability import tracing
from service.security.exposure import check_exposure
from service.security.keys import read_keys
from service.serving.memory import available_memory
from service.settings import ServiceSettings

MIN_FREE_BYTES = 1_000_000_000
"""Free disk space below which a warning is given: a new index is built beside the live one."""
PROCESS_BYTES = 200_000_000
"""Memory of a process before it opens anything."""


@dataclass(frozen=True)
class Finding:
    """Result of one check; a `problem` keeps the service from starting or from answering."""

    level: Literal["ok", "warning", "problem"]
    text: str


def run_checks(settings: ServiceSettings) -> Iterator[Finding]:
    """Check everything that the service needs, one thing after the other."""
    yield _check_python()
    if message := _directory_problem(settings.data):
        yield Finding("problem", message)
    else:
        yield Finding("ok", f"{settings.data}: can be read")
        yield from _check_disk(settings)
        yield from _check_index(settings)
    yield from _check_workers(settings)
    yield from _check_keys(settings.key_file)
    yield from _check_tracing()
    yield _check_exposure(settings)
    yield _check_port(settings)


def _check_python() -> Finding:
    version = sys.version_info
    if version[:2] == (3, 11):
        return Finding("ok", f"Python {version.major}.{version.minor}")
    return Finding("warning", f"Python {version.major}.{version.minor}: Dowse is tested with 3.11")


def _directory_problem(data: Path) -> str | None:
    if not data.is_dir():
        return f"--data {data}: there is no such directory; name the one that `python -m indexer build` has written"
    if not os.access(data, os.R_OK | os.X_OK):
        return f"--data {data}: this user may not read it; chmod it, or start the service as its owner"
    return None


def _check_disk(settings: ServiceSettings) -> Iterator[Finding]:
    free = shutil.disk_usage(settings.data).free
    level: Literal["ok", "warning"] = "ok" if free >= MIN_FREE_BYTES else "warning"
    yield Finding(level, f"{settings.data}: {_megabytes(free)} free on the disk")
    flags = {"--writable": settings.writable, "--clicks": settings.clicks, "--query-log": settings.query_log}
    if given := " ".join(flag for flag, is_given in flags.items() if is_given):
        live = settings.data / "live"
        folder = live if live.exists() else settings.data
        if not os.access(folder, os.W_OK):
            yield Finding(
                "problem", f"{given}: this user may not write to {folder}; chown it, or start without {given}"
            )


def _check_index(settings: ServiceSettings) -> Iterator[Finding]:
    """Check every byte of the live index and its models, as the service does before it opens them."""
    if settings.store == "milvus":
        yield _check_milvus(settings)
        return
    data = settings.data
    try:
        indexes = Store("index", data)
        live = indexes.current_id()
        if live is None:
            yield Finding("problem", f"{data}: there is no index yet; run `python -m indexer build CORPUS`")
            return
        index = indexes.verify(live)
        model = verify_parents(index, data)["model"]
    except (UserError, OSError) as error:
        yield Finding("problem", str(error))
        return
    yield Finding(
        "ok",
        f"index {live}: {index.counts['documents']:,} documents; all files of the index and its model as published",
    )
    yield from _check_log(data)
    yield from _check_versions(index)
    yield _check_memory(index, model, settings.workers)


def _check_milvus(settings: ServiceSettings) -> Finding:
    """Count the rows of the index that is live in Milvus."""
    try:
        require_client()
        from service.serving.milvus import check_store

        return Finding("ok", check_store(settings))
    except (UserError, StoreError) as error:
        return Finding("problem", str(error))


def _check_log(data: Path) -> Iterator[Finding]:
    """Check that every live write can be applied to the live index, and that none is hidden behind it."""
    try:
        problems = log_problems(data)
    except (UserError, OSError) as error:
        problems = [str(error)]
    yield from (Finding("problem", problem) for problem in problems)
    if not problems and (data / FOLDER).is_dir():
        yield Finding("ok", f"{data / FOLDER}: every write can be applied to the index")


def _check_versions(index: Manifest) -> Iterator[Finding]:
    for name, built_with in index.versions.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if installed.split(".")[:2] != built_with.split(".")[:2]:
            yield Finding(
                "warning",
                f"{name} is {installed}; the index was built with {built_with}: build the index again if a search fails",
            )


def _check_memory(index: Manifest, model: Manifest, workers: int) -> Finding:
    graph = max((entry.size for name, entry in model.files.items() if name.startswith("onnx/")), default=0)
    shared = sum(entry.size for entry in index.files.values())  # mapped once for all workers
    needed = workers * (PROCESS_BYTES + 2 * graph) + shared
    free = available_memory()
    if free is None:
        return Finding("ok", f"the service takes some {_megabytes(needed)} of memory")
    level: Literal["ok", "warning"] = "ok" if free >= needed else "warning"
    return Finding(level, f"the service takes some {_megabytes(needed)} of memory, {_megabytes(free)} are available")


def _check_workers(settings: ServiceSettings) -> Iterator[Finding]:
    cores = settings.cores or len(os.sched_getaffinity(0))
    if settings.workers > cores:
        yield Finding(
            "warning", f"--workers {settings.workers} share {cores} cores; more than {cores} workers gain nothing"
        )


def _check_keys(file: Path) -> Iterator[Finding]:
    if not file.exists():
        yield Finding("ok", f"{file}: there is no key file, and no key is needed")
        return
    try:
        keys = read_keys(file).keys
    except UserError as error:
        yield Finding("problem", str(error))
        return
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        yield Finding(
            "warning", f"{file}: other users can read it (mode {mode:o}); it holds only hashes, but chmod 600 {file}"
        )
    if not keys:
        yield Finding(
            "warning", f"{file}: it holds no key, so every request is refused; run `python -m service keys add NAME`"
        )
    else:
        yield Finding("ok", f"{file}: {len(keys)} keys")


def _check_tracing() -> Iterator[Finding]:
    if warning := tracing.configuration_warning():
        yield Finding("warning", warning)
    elif tracing.is_enabled():
        yield Finding("ok", "requests are traced, by the variables OTEL_*")


def _check_exposure(settings: ServiceSettings) -> Finding:
    try:
        warning = check_exposure(settings)
    except UserError as error:
        return Finding("problem", str(error))
    return (
        Finding("warning", warning)
        if warning
        else Finding("ok", f"{settings.host}: no other machine can search without a key")
    )


def _check_port(settings: ServiceSettings) -> Finding:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        reason = f"--host {settings.host} --port {settings.port}: {error.strerror or error}"
        return Finding("problem", f"{reason}; stop the program that listens there, or choose another with --port")
    return Finding("ok", f"{settings.host} port {settings.port}: free")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
