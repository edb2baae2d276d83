"""`report.html` of a classifier: one page that needs no other file, no network and no script."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from indexer.progress import clock
from trainer.classify.report import ClassifyReport
from trainer.classify.report_page import classify_plots
from trainer.reports.page import HERE, p_value, plain_name, value
from trainer.reports.plots import short


def classify_page(report: ClassifyReport) -> str:
    """Return the page. Labels and texts enter it as text, never as markup."""
    style = (HERE / "report.css").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"short": short, "p": p_value, "value": value, "plain": plain_name, "clock": clock}
    template = environment.from_string(Path(__file__).with_name("classify_template.html").read_text(encoding="utf-8"))
    return template.render(
        report=report,
        style=Markup(style),  # noqa: S704 - a file of this package
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        # The plots are made here; every text in them went through an XML writer.
        plots=[(plot, Markup(plot.svg)) for plot in classify_plots(report)],  # noqa: S704 - as said above
    )
