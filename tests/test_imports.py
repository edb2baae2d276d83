"""Who imports whom, and what a command loads before it has anything to do."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
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


def loaded(*command: str) -> set[str]:
    """Run Python with ``command`` and return the top-level modules that it imported, as the interpreter reports them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        capture_output=True, text=True, cwd=REPOSITORY, env={**os.environ, "TERM": "dumb"}, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


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
