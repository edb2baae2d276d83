"""The architecture as a test: rooms on floors, no import circle; and what a command loads before it does anything."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Collection
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
FLOORS = {
    "indexer": "__main__ cli build milvus live filters retrieval index inference corpus artifacts options progress cache strict_json errors",
    "service": "__main__ openapi check server app api.mcp api.openai api.models api.operations api.documents api.search api "
    "serving security observability problems negotiation settings",
    "trainer": "__main__ cli pipeline classify pretrain adapter reports finetune query_encoder queries mining evaluate training data models "
    "files",
}
"""The rooms of each package from the top floor down: a room imports rooms on lower floors only. A folder within a room
belongs to it unless it is listed by itself."""
MAY_IMPORT = {
    "indexer": {"indexer"},
    "trainer": {"trainer", "indexer"},
    "service": {"service", "indexer"},
    "bench": {"bench", "indexer", "trainer", "service"},
    "client": set(),
}


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a file imports anywhere in it, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            found.add((node.module or "").partition(".")[0])
    return found


def modules(package: str) -> dict[str, Path]:
    """Return the modules of a package by their dotted names; those that only name the files of a folder are left out."""
    paths = (path for path in (REPOSITORY / package).rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path for path in paths}


def imported_modules(path: Path, known: Collection[str]) -> set[str]:
    """Return which of the ``known`` modules a file imports anywhere in it: in functions and for type checkers too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names & set(known)


def room_of(module: str) -> tuple[str, int]:
    """Return the room of a module and its floor, 0 for the top one."""
    package, _, inside = module.partition(".")
    rooms = FLOORS[package].split()
    mine = [room for room in rooms if inside == room or inside.startswith(f"{room}.")]
    assert mine, f"{module} is in no room of FLOORS"
    room = max(mine, key=len)
    return room, rooms.index(room)


def loaded(*command: str) -> set[str]:
    """Run Python with ``command`` and return the top-level modules that it imported, as the interpreter reports them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        capture_output=True, text=True, cwd=REPOSITORY, env={**os.environ, "TERM": "dumb"}, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("package", FLOORS)
def test_rooms_import_lower_floors_only(package: str) -> None:
    """A room knows nothing of the rooms above it; this is what keeps the folders apart."""
    known = modules(package)
    for module, path in known.items():
        room, floor = room_of(module)
        for target in imported_modules(path, known):
            other, its_floor = room_of(target)
            assert other == room or its_floor > floor, f"{module} imports {target}: {other} is above {room}"


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_its_floor(package: str) -> None:
    """The list of floors is complete and holds no room that is gone."""
    there = {room_of(module)[0] for module in modules(package)}
    assert there == set(FLOORS[package].split())


@pytest.mark.parametrize("package", FLOORS)
def test_no_import_circle(package: str) -> None:
    """No module needs itself by way of others, not even inside functions or for type checkers."""
    known = modules(package)
    graph = {module: imported_modules(path, known) - {module} for module, path in known.items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("package", FLOORS)
def test_rooms_have_no_code_in_their_face(package: str) -> None:
    """The `__init__.py` of a room is only a docstring, so importing one file of it does not load the others."""
    for path in (REPOSITORY / package).rglob("*/__init__.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) == 1 and isinstance(body[0], ast.Expr), path
        assert len(path.read_text(encoding="utf-8").splitlines()) >= 3, path


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_import_rule(package: str) -> None:
    """Imports go trainer → indexer ← service and nowhere else; nothing imports bench."""
    for path in (REPOSITORY / package).rglob("*.py"):
        wrong = imported(path) & MAY_IMPORT.keys() - MAY_IMPORT[package]
        assert not wrong, f"{path} imports {', '.join(wrong)}"


def test_import_rule_sees_every_package() -> None:
    """The rule is checked on files that are there: a renamed package does not pass by being empty."""
    for package in ("indexer", "trainer", "service"):
        assert (REPOSITORY / package / "__main__.py").is_file()
    assert "indexer" in imported(REPOSITORY / "trainer" / "models" / "base.py")
    assert "sentence_transformers" in imported(REPOSITORY / "trainer" / "models" / "onnx.py")


def test_service_loads_no_training_library() -> None:
    """The service is made of ONNX Runtime and tokenizers: it starts in a second and ships in a small image."""
    program = "from service.app import create_app; from service.settings import ServiceSettings; create_app(ServiceSettings())"
    modules = loaded("-c", program)
    assert {"fastapi", "onnxruntime", "indexer"} <= modules  # the report is of what was really loaded
    assert not modules & {"torch", "transformers", "sentence_transformers", "pandas", "trainer"}


@pytest.mark.parametrize("program", ["indexer", "trainer", "service"])
def test_help_is_instant(program: str) -> None:
    """`--help` loads none of the heavy libraries."""
    modules = loaded("-m", program, "--help")
    assert {"typer", program} <= modules
    assert not modules & {"onnxruntime", "faiss", "torch", "pyarrow", "numpy", "tantivy", "fastapi", "transformers"}
