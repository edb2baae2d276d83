"""The model behind the live index: its manifest, and the files of its report."""

from __future__ import annotations

from pathlib import Path

from indexer.artifacts.manifest import read_manifest

REPORT_PAGE = "report/report.html"
REPORT_JSON = "report/report.json"


class LiveModel:
    """The published model of the live index: its manifest, and paths of its report."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.manifest = read_manifest(folder)

    def file(self, name: str) -> Path | None:
        """Return the path of a published file of the model, or None where the manifest does not list it."""
        return self._folder / name if name in self.manifest.files else None

    @property
    def name(self) -> str:
        """Name of the base model; its id where the manifest has none."""
        return str(self.manifest.config.get("base", self.manifest.id))
