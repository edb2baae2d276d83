"""Suites that others have written, run by their own programs against the real service: LangChain's and Haystack's.

`scripts/suites` installs them. They have an environment of their own, since their plugins change how pytest runs.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-suites" / "bin" / "python"
COLUMNS = {
    "id": ["first"], "text": ["A document that is deleted at once."], "extra": ["{}"],
    "name": ["a"], "page": ["1"], "chapter": ["a"], "number": [1], "date": ["2020-01-01T00:00:00"],
    "no_embedding": [True], "category": ["a"], "status": ["a"], "year": [2020], "priority": [1], "rating": [0.5],
    "updated": [True], "extra_field": ["a"], "featured": [True],
}  # fmt: skip
"""The metadata that the suites filter by, and `extra` for all others."""


@pytest.fixture(scope="module")
def url(minilm_data, tmp_path_factory, publish, start_module_service):
    """The URL of a writable service with the real model and these columns."""
    import shutil

    data = shutil.copytree(minilm_data, tmp_path_factory.mktemp("suites") / "data")
    publish(COLUMNS, data)
    return start_module_service(data, "--writable").url


@pytest.mark.skipif(not PYTHON.exists(), reason="scripts/suites installs the frameworks")
@pytest.mark.parametrize("framework", ["langchain", "haystack", "llama_index"])
def test_a_framework_s_own_tests_pass(url, framework):
    """All tests of the framework that apply pass; what cannot is marked there, with its reason."""
    suite = ROOT / "client" / "suites"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    run = subprocess.run(
        [PYTHON, "-m", "pytest", "-c", suite / "pytest.ini", suite / f"test_{framework}.py"],
        cwd=suite,
        env={**environment, "DOWSE_SUITE_URL": url, "HAYSTACK_TELEMETRY_ENABLED": "False"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
