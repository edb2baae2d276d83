"""`report.md`, `report-classify.md` and `report-pretrain.md`: fields of each program's `report.json`."""

from __future__ import annotations

from pydantic import BaseModel

from scripts.reference.markdown import model_table, models_within
from trainer.classify.report import ClassifyReport
from trainer.evaluate.report import Report
from trainer.pretrain.report import PretrainReport

INTRODUCTION = """# {heading}

`{program}` writes its report twice: `report/report.html` for people, and `report/report.json`, which has these
fields, for programs.
"""


def run_page() -> str:
    """Return the page of the report that compares two models."""
    return _page("Report of a run", "trainer run", Report)


def classify_page() -> str:
    """Return the page of a classifier's report."""
    return _page("Report of a classifier", "trainer classify train", ClassifyReport)


def pretrain_page() -> str:
    """Return the page of a pre-training's report."""
    return _page("Report of a pre-training", "trainer pretrain", PretrainReport)


def _page(heading: str, program: str, report: type[BaseModel]) -> str:
    """Return the fields of a report; a model within it has a heading of its own."""
    parts = [INTRODUCTION.format(heading=heading, program=program), model_table(report) + "\n"]
    for model in models_within(report):
        parts += [f"## {model.__name__}\n", f"{(model.__doc__ or '').strip()}\n", model_table(model) + "\n"]
    return "\n".join(parts)
