"""Notes of a report."""

from __future__ import annotations

from typing import Any

import pytest

from indexer.artifacts.manifest import Manifest
from indexer.index.index import Index
from trainer.pipeline.results.summary import note_exact_search


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"dense": "flat"}, []),
        ({"dense": "ivf-1bit", "dense_index": {"recall": 0.987}}, ["exact", "ivf-1bit", "98.7%"]),
    ],
)
def test_the_report_says_that_it_searched_exactly(
    config: dict[str, Any], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the index is served approximately, the report says so, and how much that finds."""
    index = Index.__new__(Index)
    monkeypatch.setattr(
        index,
        "manifest",
        Manifest(kind="index", fingerprint="", inputs=[], config=config, versions={}),
        raising=False,
    )
    notes = note_exact_search(index)
    assert len(notes) == bool(words)
    assert all(word in notes[0] for word in words)
