"""Metrics of several workers: read at any moment, also while a worker is just starting."""

from __future__ import annotations

import os

from prometheus_client.parser import text_string_to_metric_families

from service.observability.worker_metrics import exposition, has_served, mark_serving


def test_a_worker_that_is_just_starting(tmp_path):
    """A file that was created and has no content yet is passed over; a process is there once its number is written."""
    (tmp_path / "counter_0.db").touch()
    assert not has_served(tmp_path, 0)
    mark_serving(tmp_path, 0)
    assert has_served(tmp_path, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.pid", "counter_0.db"]
    families = {family.name: family for family in text_string_to_metric_families(exposition(tmp_path).decode())}
    [sample] = families["process_resident_memory_bytes"].samples
    assert sample.labels == {"worker": "0"}
    assert sample.value > 1e6
    assert (tmp_path / "0.pid").read_text() == str(os.getpid())
