"""Inline SVG of matplotlib figures: accessible, coloured by the page's style sheet, without `style` attributes.

matplotlib writes `style` attributes, which a strict content security policy refuses, and fixed colours, which are not
readable in both light and dark schemes. Here every colour is a role: a plot draws with ``COLOURS["base"]``, and the element
in the page has the class ``stroke-base`` or ``fill-base``. The style sheet gives the class a colour for either scheme.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib.figure import Figure

ROLES = ("ink", "soft", "line", "base", "tuned", "words")
COLOURS = {role: f"#0000{number:02x}" for number, role in enumerate(ROLES, 1)}
"""Role → the placeholder colour with which matplotlib draws it."""

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
ET.register_namespace("", SVG)
STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a dollar in a name starts no formula
    "svg.fonttype": "none",  # text stays text: small, selectable, read by screen readers
    "font.size": 10,
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["soft"],
    "axes.labelcolor": COLOURS["ink"],
    "xtick.color": COLOURS["soft"],
    "ytick.color": COLOURS["soft"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "grid.color": COLOURS["line"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def figure(height: float = 2.7) -> Figure:
    """Return an empty figure five inches wide; draw on it and pass it to `inline` within `drawing`."""
    return Figure(figsize=(5, height), layout="constrained")


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """Set matplotlib up for `inline` within the block; equal data give equal bytes."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        yield


def inline(drawn: Figure, name: str, title: str, description: str) -> str:
    """Return the figure as an `<svg>` element.

    Args:
        drawn: a figure whose colours are from `COLOURS`.
        name: of the plot within the page; starts every id, so that no two plots share one.
        title: of the plot, which a screen reader reads first.
        description: content of the plot, for readers who cannot see it.
    """
    buffer = io.StringIO()
    drawn.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ET.fromstring(buffer.getvalue())  # noqa: S314 - written by matplotlib a moment ago
    for child in list(root):
        if child.tag in {f"{{{SVG}}}metadata", f"{{{SVG}}}title"}:
            root.remove(child)
    _drop_style_sheets(root)
    _name_ids(root, name)
    for element in root.iter():
        _restyle(element)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-description",
        "stroke-linejoin": "round",
        "class": "plot",
    }
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        node = ET.Element(f"{{{SVG}}}{tag}", {"id": f"{name}-{'title' if tag == 'title' else 'description'}"})
        node.text = text
        root.insert(position, node)
    return ET.tostring(root, encoding="unicode").replace(f' xmlns="{SVG}"', "")  # not needed inside HTML


def _drop_style_sheets(root: ET.Element) -> None:
    for parent in root.iter():
        for child in list(parent):
            if child.tag == f"{{{SVG}}}style":
                parent.remove(child)


def _name_ids(root: ET.Element, name: str) -> None:
    """Prefix the ids that are referred to with the plot's name; drop all others."""
    used: set[str] = set()
    for element in root.iter():
        for value in element.attrib.values():
            used |= set(re.findall(r"url\(#([^)]+)\)", value))
        used |= {element.attrib[key][1:] for key in (f"{{{XLINK}}}href", "href") if key in element.attrib}
    for element in root.iter():
        if (identifier := element.attrib.pop("id", None)) in used:
            element.set("id", f"{name}-{identifier}")
        if link := element.attrib.pop(f"{{{XLINK}}}href", None):
            element.set("href", f"#{name}-{link[1:]}")
        for key, value in element.attrib.items():
            element.set(key, re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", value))


def _restyle(element: ET.Element) -> None:
    """Replace a `style` attribute by presentation attributes, and placeholder colours by classes."""
    classes = []
    declared = dict(part.split(":", 1) for part in element.attrib.pop("style", "").split(";") if ":" in part)
    for key, value in ((key.strip(), value.strip()) for key, value in declared.items()):
        role = next((role for role, colour in COLOURS.items() if colour == value), None)
        if role:
            classes.append(f"{key}-{role}")
        elif key == "font":  # a shorthand is no presentation attribute; the page sets the family
            element.set("font-size", re.findall(r"[\d.]+px", value)[0])
        elif key != "font-family":
            element.set(key, value)
    if classes:
        element.set("class", " ".join(classes))
