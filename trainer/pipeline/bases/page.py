"""Report page of a comparison of bases: `report.html` and `report.json`."""

from __future__ import annotations

from pathlib import Path

from trainer.pipeline.bases.result import COLUMNS, BaseComparison, rows_of
from trainer.reports.page import render, write_files

KINDS = {
    "neighbours": "sentences of a neighbour",
    "sentences": "sentences that were taken out",
    "halves": "halves of short documents",
    "key words": "key words",
    "agreement": "agreement with the other models and the words",
    "labels": "labelled queries",
}
"""Kinds of questions in words."""


def comparison_page(result: BaseComparison) -> str:
    """Return the page; names of models and of the corpus enter it as text, never as markup."""
    return render(
        Path(__file__).with_name("page_template.html"),
        [],
        result=result,
        columns=COLUMNS[:-1],
        rows=[row[:-1] for row in rows_of(result)],
        kinds=KINDS,
    )


def write_comparison(result: BaseComparison, folder: Path) -> None:
    """Write ``folder/report.html`` and then ``folder/report.json``, each complete or not at all."""
    write_files(result, comparison_page(result), folder)
