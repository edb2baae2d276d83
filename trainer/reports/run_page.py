"""Report page of a training run: `report.html` and `report.json`."""

from __future__ import annotations

from pathlib import Path

from trainer.evaluate.metrics import METRICS
from trainer.evaluate.report import Report
from trainer.reports.page import render, write_files
from trainer.reports.plots import plots

HEADLINES = {
    "WIN": "The tuned model is better",
    "TIE": "No significant difference",
    "LOSS": "The tuned model is worse",
}


def report_page(report: Report) -> str:
    """Return the page; texts of the corpus and of queries enter it as text, never as markup."""
    return render(
        Path(__file__).with_name("report_template.html"),
        plots(report),
        report=report,
        headline=HEADLINES[report.verdict],
        measures=METRICS,
    )


def write_report(report: Report, folder: Path) -> None:
    """Write ``folder/report.json`` and ``folder/report.html``, each under its name only once it is complete."""
    write_files(report, report_page(report), folder)
