"""The log of the service, for people and for programs."""

from __future__ import annotations

import json
import signal


def test_json_log_has_a_line_for_every_request(built_data, start_service, eventually):
    """Each request is one JSON object with its id, as the client gave it; health checks and metrics are not logged."""
    running = start_service(built_data, "--log-format", "json")
    eventually(lambda: running.status("/readyz") == 200, "the service is ready")
    assert running.status("/search?q=cat") == 200
    assert running.status("/nope") == 404
    assert running.status("/metrics") == 200
    assert running.end(signal.SIGINT) == 0
    lines = [json.loads(line) for line in running.said.splitlines()]
    assert all(line["time"].endswith("Z") and line["level"] and line["logger"] for line in lines)
    requests = [line for line in lines if line["logger"] == "dowse.access"]
    assert [(line["path"], line["route"], line["status"]) for line in requests] == [
        ("/search", "/search", 200),
        ("/nope", "none", 404),
    ]
    assert all(len(line["request_id"]) == 32 and line["ms"] > 0 for line in requests)
    assert "cat" not in running.said, "what people look for is not logged"


def test_the_text_log_has_no_line_for_requests(built_data, start_service, eventually):
    """By default the log has events of the service, not queries."""
    running = start_service(built_data)
    eventually(lambda: running.status("/readyz") == 200, "the service is ready")
    assert running.status("/search?q=cat") == 200
    assert running.end(signal.SIGINT) == 0
    assert "dowse.access" not in running.said
    assert "index 2" in running.said
