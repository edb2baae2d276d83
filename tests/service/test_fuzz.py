"""Fuzz test of a running service: no 5xx, and no answer that the OpenAPI document does not describe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_api_keeps_its_description(tiny_data):
    """Some hundred requests over all operations, by a full key, tenants' keys and nobody, get what openapi.json says.

    The index has every Arrow type among its metadata. `bench/fuzz.py` sends more of them, with other seeds.
    """
    done = subprocess.run(
        [sys.executable, "bench/fuzz.py", "--data", str(tiny_data), "--cases", "600"],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "0 kinds of wrong answers" in done.stdout
    counted = [line.split() for line in done.stdout.splitlines() if line.startswith(" ")]
    assert {"POST /search", "PUT /documents", "POST /similar", "GET /info"} <= {" ".join(row[2:]) for row in counted}
    assert ["200", "GET", "/documents/{document_id}"] in [row[1:] for row in counted], "no document was found by its id"
    assert ["200", "PUT", "/documents"] in [row[1:] for row in counted], "nothing was written"
