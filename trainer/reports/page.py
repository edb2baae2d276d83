"""HTML page of a report: one file with its style sheet and plots, without scripts or network access."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel

from indexer.progress import format_duration
from trainer.evaluate.report import HTML_FILE, JSON_FILE, Summary
from trainer.evaluate.significance import Difference
from trainer.files import atomic_write
from trainer.reports.plots import Plot, short

STYLE = Path(__file__).with_name("report.css")


def render(template: Path, plots: Sequence[Plot], **values: Any) -> str:
    """Return the page that a Jinja template makes of ``values`` and ``plots``.

    Every value enters the page as text, never as markup. The plots are markup: an XML writer must have escaped the texts in
    them. The page's content security policy names the hash of the style sheet.
    """
    style = STYLE.read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "short": short,
        "signed": signed,
        "p": p_value,
        "interval": interval,
        "clock": format_duration,
    }
    environment.filters |= {"value": value, "plain": plain_name}
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        style=Markup(style),  # noqa: S704 - a file of this package
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        plots=[(plot, Markup(plot.svg)) for plot in plots],  # noqa: S704 - their texts are escaped
        **values,
    )


def write_files(report: BaseModel, page: str, folder: Path) -> None:
    """Write ``folder/report.html`` and then ``folder/report.json``, each complete or not at all.

    Raises:
        UserError: a file cannot be written.
    """
    for name, text in ((HTML_FILE, page), (JSON_FILE, report.model_dump_json(indent=2) + "\n")):
        with atomic_write(folder / name) as part:
            part.write_text(text, encoding="utf-8")


def signed(number: float) -> str:
    """Format a difference: ``+.024``, ``−.006``, ``±.000``."""
    text = short(abs(number))
    return ("±" if text == ".000" else "−" if number < 0 else "+") + text


def interval(figure: Summary | Difference) -> str:
    """Format the 95 % interval of a mean, or of a difference with its signs."""
    form = signed if isinstance(figure, Difference) else short
    return f"[{form(figure.low)},\N{NO-BREAK SPACE}{form(figure.high)}]"


def p_value(p: float) -> str:
    """Format a p: ``p = .034``, ``p < .001``."""
    text = "p < .001" if p < 0.001 else f"p = {short(p)}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def plain_name(name: str) -> str:
    """Return a setting's name in words."""
    return name.replace("_", " ")


def value(setting: object) -> str:
    """Format a setting of the recipe for readers: yes and no, lists with commas, short numbers."""
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
            text = ", ".join(f"{plain_name(str(key))} {value(item)}" for key, item in setting.items())
        case _:
            text = "" if setting is None else str(setting)
    return text or "–"
