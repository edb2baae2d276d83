"""`report.html`: the report as one page that needs no other file, no network and no script."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from indexer.progress import clock
from trainer.evaluate.metrics import MEASURES
from trainer.evaluate.report import Report, Summary
from trainer.evaluate.significance import Difference
from trainer.reports.plots import plots, short

HERE = Path(__file__).parent
HEADLINES = {
    "WIN": "The tuned model is better",
    "TIE": "No difference that can be relied on",
    "LOSS": "The tuned model is worse",
}


def report_page(report: Report) -> str:
    """Return the page. What comes from the corpus or the queries enters it as text, never as markup."""
    style = (HERE / "report.css").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"short": short, "signed": signed, "p": p_value, "interval": interval, "clock": clock}
    environment.filters |= {"value": value, "plain": plain_name}
    template = environment.from_string((HERE / "report_template.html").read_text(encoding="utf-8"))
    return template.render(
        report=report,
        style=Markup(style),  # noqa: S704 - a file of this package
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        headline=HEADLINES[report.verdict],
        measures=MEASURES,
        # The plots are made here; every text in them went through an XML writer.
        plots=[(plot, Markup(plot.svg)) for plot in plots(report)],  # noqa: S704 - as said above
    )


def signed(number: float) -> str:
    """Format a difference: ``+.024``, ``−.006``, ``±.000``."""
    text = short(abs(number))
    return ("±" if text == ".000" else "−" if number < 0 else "+") + text


def interval(part: Summary | Difference) -> str:
    """Format the 95 % interval of a mean, or of a difference with its signs."""
    form = signed if isinstance(part, Difference) else short
    return f"[{form(part.low)},\N{NO-BREAK SPACE}{form(part.high)}]"


def p_value(p: float) -> str:
    """Format a p: ``p = .034``, ``p < .001``."""
    text = "p < .001" if p < 0.001 else f"p = {short(p)}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def plain_name(name: str) -> str:
    """Return a setting's name in words."""
    return name.replace("_", " ")


def value(setting: object) -> str:
    """Return a setting of the recipe as a reader wants it: yes and no, lists with commas, short numbers."""
    match setting:
        case bool():
            text = "yes" if setting else "no"
        case int():
            text = f"{setting:,}"
        case float():
            text = f"{setting:g}"
        case list():
            text = ", ".join(map(value, setting))
        case dict():
            text = ", ".join(f"{plain_name(str(key))} {value(each)}" for key, each in setting.items())
        case _:
            text = "" if setting is None else str(setting)
    return text or "–"
