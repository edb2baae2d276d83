"""The dashboard shows what the service counts."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client import REGISTRY

from service import metrics, scrape

ROOT = Path(__file__).parents[1]
DASHBOARD = json.loads((ROOT / "monitoring" / "dashboards" / "dowse.json").read_text(encoding="utf-8"))


def test_every_metric_of_the_dashboard_exists():
    """A metric that is renamed in the service does not leave an empty panel behind."""
    assert metrics.STAGE_SECONDS
    counted = {
        f"{family.name}{suffix}" for family in REGISTRY.collect() for suffix in ("", "_total", "_bucket", "_count")
    }
    counted |= set(re.findall(r'"(dowse_index_\w+)"', Path(scrape.__file__).read_text(encoding="utf-8")))
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    used = {name for each in expressions for name in re.findall(r"\b(?:dowse|http_server|process)_\w+", each)}
    assert len(used) >= 8
    assert used <= counted


def test_every_metric_of_the_service_is_on_the_dashboard_or_known_not_to_be():
    """Whoever adds a metric decides whether operators see it."""
    shown = json.dumps(DASHBOARD)
    own = {family.name for family in REGISTRY.collect() if family.name.startswith(("dowse_", "http_server_"))}
    assert {name for name in own if name not in shown} == {"dowse_index_swap"}
