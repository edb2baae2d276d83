"""Fuzz test of the API: no 5xx, and no answer that the OpenAPI document does not describe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_api_keeps_its_description(built_data):
    """Some hundred requests over all operations, valid and invalid, alone and in chains, get what openapi.json says.

    `bench/fuzz.py` sends more of them, with other seeds.
    """
    done = subprocess.run(
        [sys.executable, "bench/fuzz.py", "--data", str(built_data), "--cases", "400"],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "0 kinds of wrong answers" in done.stdout
    counted = [line.split() for line in done.stdout.splitlines() if line.startswith(" ")]
    assert {"POST /search", "PUT /documents", "POST /similar", "GET /info"} <= {" ".join(row[2:]) for row in counted}
    assert ["200", "GET", "/documents/{document_id}"] in [row[1:] for row in counted], "no document was found by its id"
