"""The dashboard shows the metrics of the service."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from prometheus_client import REGISTRY

from service.api.operations import metrics as scrape
from service.observability import metrics

ROOT = Path(__file__).parents[1]
DASHBOARD = json.loads((ROOT / "monitoring" / "dashboards" / "dowse.json").read_text(encoding="utf-8"))


def test_every_metric_of_the_dashboard_exists():
    """A metric that is renamed in the service does not leave an empty panel behind."""
    assert metrics.STAGE_SECONDS
    counted = {
        f"{family.name}{suffix}"
        for family in REGISTRY.collect()
        for suffix in ("", "_total", "_bucket", "_count", "_sum")
    }
    counted |= set(re.findall(r'"(dowse_index_\w+)"', Path(scrape.__file__).read_text(encoding="utf-8")))
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    used = {name for each in expressions for name in re.findall(r"\b(?:dowse|http_server|process)_\w+", each)}
    assert len(used) >= 8
    assert used <= counted


def test_every_metric_of_the_service_is_on_the_dashboard_or_known_not_to_be():
    """Every metric is on the dashboard or explicitly left out."""
    shown = json.dumps(DASHBOARD)
    own = {family.name for family in REGISTRY.collect() if family.name.startswith(("dowse_", "http_server_"))}
    assert {name for name in own if name not in shown} == {"dowse_index_swap"}


def test_refusals_are_no_quick_searches():
    """Under load most requests are refused within a millisecond or two; the time of a search is that of the answers."""
    (panel,) = [panel for panel in DASHBOARD["panels"] if panel["title"] == "Time of a search"]
    assert len(panel["targets"]) == 3
    assert all('http_response_status_code="200"' in target["expr"] for target in panel["targets"])


def test_prometheus_has_the_key_that_it_is_given():
    """Where keys are needed, `/metrics` needs one: Prometheus reads it where docker-compose.yml mounts it."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    (mounted,) = [each for each in services["prometheus"]["volumes"] if isinstance(each, dict)]
    assert mounted["source"] == "${METRICS_KEY_FILE:-/dev/null}"
    (job,) = yaml.safe_load((ROOT / "monitoring" / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    assert job["authorization"] == {"credentials_file": mounted["target"]}
