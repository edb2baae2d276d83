"""The model behind the live index: what it is, by how much it beat its base, and its report."""

from __future__ import annotations

from pathlib import Path

from indexer.artifacts.manifest import read_manifest
from service.api import schemas

REPORT_PAGE = "report/report.html"
REPORT_JSON = "report/report.json"


class LiveModel:
    """A published model as an operator and a reader of the page want to know it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.manifest = read_manifest(folder)

    def file(self, name: str) -> Path | None:
        """Return the path of a published file of the model, or None where the manifest does not list it."""
        return self._folder / name if name in self.manifest.files else None

    def facts(self) -> schemas.ModelFacts:
        """Return what `/info` says of the model."""
        config = self.manifest.config
        return schemas.ModelFacts(
            id=self.manifest.id,
            name=str(config.get("base", self.manifest.id)),
            tuned="tuned_from" in config,
            tuned_from=config.get("tuned_from"),
            verdict=config.get("verdict"),
            judged_by=config.get("judged_by"),
            dense=self._gain("dense"),
            hybrid=self._gain("hybrid"),
            report="report" if self.file(REPORT_PAGE) else None,
        )

    def _gain(self, leg: str) -> schemas.Gain | None:
        metrics = self.manifest.metrics
        base, tuned = metrics.get(f"base_{leg}_ndcg10"), metrics.get(f"{leg}_ndcg10")
        return None if base is None or tuned is None else schemas.Gain(base=base, tuned=tuned)
