"""Compatibility: a data directory of an earlier version opens in this one and gives the same answers."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from indexer.artifacts.manifest import FORMAT
from indexer.artifacts.store import FOLDERS, Store
from indexer.build.compact import compact
from service.app import create_app
from service.settings import ServiceSettings

ARCHIVE = Path(__file__).parent / "formats" / f"format-{FORMAT}.tar.xz"
FRESH = {"request_id", "took_ms", "timings", "version", "detail"}
"""Fields that differ from answer to answer, or that a later version may word differently."""


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The data directory that the first version of this format has written (`formats/make.py`)."""
    assert ARCHIVE.is_file(), (
        "FORMAT was raised: write its archive with `PYTHONPATH=.:tests python tests/formats/make.py`"
    )
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "data"


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every single value of an answer with its path."""
    if isinstance(value, dict):
        for name in value.keys() - FRESH:
            yield from leaves(value[name], f"{path}.{name}")
    elif isinstance(value, list):
        yield f"{path} has", len(value)
        for position, member in enumerate(value):
            yield from leaves(member, f"{path}.{position}")
    else:
        yield path, value


def test_what_was_written_answers_as_it_did(earlier: Path) -> None:
    """Index, live documents, classifier, masked-language model and re-ranker: every field has its value, to 0.001.

    An exception is the title of a problem, a text for people that may be reworded.
    """
    expected = json.loads((earlier / "answers.json").read_text(encoding="utf-8"))
    assert len(expected) >= 10
    with TestClient(create_app(ServiceSettings(data=earlier, writable=True, deadline_seconds=600))) as client:
        for record in expected:
            method, path, body = record["request"]
            answer = client.request(method, path, json=body)
            assert answer.status_code == record["status"], answer.text
            then, now = dict(leaves(record["body"])), dict(leaves(answer.json()))
            if record["status"] >= 400:
                assert now.pop(".title")
                del then[".title"]
            assert {name: now.get(name) for name in then} == pytest.approx(then, abs=1e-3), record["request"]
        again = client.put("/documents", json={"documents": [{"id": "new", "text": "The snow in winter."}]})
        assert again.status_code == 200, again.text


def test_what_was_written_is_sound_and_goes_on(earlier: Path) -> None:
    """Every file has its checksum, one artifact of each kind is live, and the writes can be folded into a new index."""
    for kind in FOLDERS.keys() - {"sparse"}:  # a kind that is younger than the archive
        store = Store(kind, earlier)
        assert store.verify(store.current_id() or "").format == FORMAT
    built = compact(earlier)
    assert built.fresh
    assert built.manifest.counts["documents"] == 6
    assert built.manifest.counts["embedded"] == 0  # its vectors are found
    with TestClient(create_app(ServiceSettings(data=earlier))) as client:
        assert client.get("/documents/s").json()["title"] == "Storm"
        assert client.get("/documents/b").status_code == 404
