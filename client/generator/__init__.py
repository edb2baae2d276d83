"""Generator of the client from `service/openapi.json`: models, problems, and a method per operation.

It is our own because its result is easy to read. Each operation is a method whose arguments are the fields of the
request, and each kind of problem is an exception. `openapi-python-client` gives a module for each operation and for each
model (8,300 lines at 15 operations), and returns problems where Python raises.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from generator.methods import clients
from generator.models import HEADER, Schema, models

ROOT = Path(__file__).parents[2]
OPENAPI = ROOT / "service" / "openapi.json"
PACKAGE = ROOT / "client" / "dowse_client"


def generate() -> dict[str, str]:
    """Return the generated files by name."""
    document = json.loads(OPENAPI.read_text(encoding="utf-8"))
    makers = {"models.py": models, "problems.py": problems, "client.py": clients}
    return {name: formatted(maker(document)) for name, maker in makers.items()}


def problems(document: Schema) -> str:
    """Return `problems.py`: an exception for each kind of problem."""
    text = HEADER.format(about="An exception for each kind of problem.")
    text += "\nfrom dowse_client.errors import ProblemError\n"
    kinds = {urn: "".join(map(str.title, urn.rpartition(":")[2].split("-"))) for urn in document["x-dowse-problems"]}
    for urn, name in kinds.items():
        text += f'\n\nclass {name}(ProblemError):\n    """{document["x-dowse-problems"][urn]}."""\n'
    table = "".join(f"    {urn!r}: {name},\n" for urn, name in kinds.items())
    return f"{text}\n\nBY_TYPE: dict[str, type[ProblemError]] = {{\n{table}}}\n"


def formatted(text: str) -> str:
    """Return code as `ruff format` writes it."""
    command = [sys.executable, "-m", "ruff", "format", "--config", str(ROOT / "pyproject.toml"), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
