"""Fixtures of the frameworks' own suites: a running, writable service, which is empty at the start of each test.

`tests/service/test_suites.py` starts it and names it in `DOWSE_SUITE_URL`.
"""

from __future__ import annotations

import os

import pytest
from dowse_client import Dowse


@pytest.fixture(scope="session")
def url() -> str:
    """URL of the service."""
    return os.environ["DOWSE_SUITE_URL"]


@pytest.fixture
def empty(url):
    """The service without any document."""
    with Dowse(url) as dowse:
        dowse.delete_by_filter({})
        assert dowse.fetch_documents(limit=0).matches == 0
        yield dowse
