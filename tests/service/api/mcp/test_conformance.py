"""The conformance tests of the Model Context Protocol, by its makers, against the real program.

`scripts/suites` installs them. What fails is listed in `conformance.yml` with its reason.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[4] / ".node" / "node_modules" / ".bin" / "conformance"
EXPECTED = Path(__file__).with_name("conformance.yml")
PASSED = {
    "server-initialize", "ping", "tools-list", "tools-call-simple-text", "tools-call-error", "dns-rebinding-protection"
}  # fmt: skip


@pytest.mark.skipif(
    not (PROGRAM.exists() and shutil.which("node")), reason="scripts/suites installs the tests, where there is a node"
)
def test_the_protocol_s_own_tests_pass(story_service, tmp_path):
    """All scenarios pass but those that are listed, and none of the listed ones passes."""
    run = subprocess.run(
        [PROGRAM, "server", "--url", f"{story_service.url}/mcp", "--suite", "all", "--expected-failures", EXPECTED],
        cwd=tmp_path,  # it writes its results there
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert set(re.findall(r"✓ ([\w-]+): [1-9]", run.stdout)) == PASSED


def test_every_expected_failure_has_a_reason():
    """Each entry follows a comment, its own or that of its group."""
    lines = EXPECTED.read_text(encoding="utf-8").partition("server:\n")[2].splitlines()
    assert lines[0].startswith("  #")
    assert all(line.startswith(("  # ", "  - ")) for line in lines)
