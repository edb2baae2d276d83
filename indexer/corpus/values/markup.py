"""HTML in texts: found by its tags, and turned into text before passages are cut.

Not every `<` is a tag: `a < b`, `vector<T>` and `<alice@example.org>` stay as they are. Only names of HTML elements count.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from resiliparse.extract.html2text import extract_plain_text

LEAST_SHARE = 0.1
"""Share of the texts of a column that have markup, at least, for the column to hold HTML."""
_BREAKING = (
    "address article aside blockquote body br caption center dd details dialog div dl dt fieldset figcaption figure footer "
    "form h1 h2 h3 h4 h5 h6 head header hr html li main menu nav ol option p pre section select summary table tbody td tfoot "
    "th thead title tr ul"
)
_INLINE = (
    "a abbr acronym audio b base bdi bdo big button canvas cite code col colgroup data del dfn em embed font i iframe img "
    "input ins kbd label link map mark meta meter noscript object output param picture progress q rp rt ruby s samp script "
    "small source span strike strong style sub sup svg template textarea time track tt u var video wbr"
)
_VOID = "br hr img p li"
"""Elements whose opening tag alone is markup: they need no closing one."""


def _names(names: str) -> str:
    return "|".join(sorted(names.split(), key=len, reverse=True))


_ATTRIBUTES = r"""(?:\s++(?:[a-z_:@][\w:.@-]*+(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s"'<>=]++))?|/(?=>)))*+\s*+/?"""
"""Of a tag, so that the comparison `a<b && c>d` is none."""
_NAME = rf"(?:{_names(f'{_BREAKING} {_INLINE}')}|[a-z][a-z0-9]*[:-][a-z0-9:-]+)"
"""Of HTML, or of its own with a colon or a hyphen, as word processors and web components write them."""
_TAG = rf"/?{_NAME}{_ATTRIBUTES}>|!--|!doctype\s|!\[|\?xml"
_STRAY = re.compile(rf"<(?!{_TAG})", re.IGNORECASE)
_BREAK = re.compile(rf"</?(?:{_names(_BREAKING)}){_ATTRIBUTES}>", re.IGNORECASE)
_SURE = re.compile(rf"<(?:{_names(_VOID)}){_ATTRIBUTES}>|</(?:{_names(f'{_BREAKING} {_INLINE}')})\s*+>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30});", re.IGNORECASE)
_PREFORMATTED = re.compile(r"<pre\b", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\r\f\v\xa0]+")
_EMPTY_LINES = re.compile(r"\n{3,}")


def share_with_markup(texts: Iterable[str | None]) -> float:
    """Return the share of the texts that have markup: an element of HTML, or an escaped character such as ``&amp;``.

    Texts that are missing or blank do not count.
    """
    found = [bool(_SURE.search(text) or _ENTITY.search(text)) for text in texts if text and not text.isspace()]
    return sum(found) / len(found) if found else 0.0


def to_text(text: str) -> str:
    """Return a text with markup as what a reader sees: breaks for block elements, characters for entities.

    Where no tag breaks lines, those of the text stay. A text without an element stays as it is but for its entities: a tag
    that nothing closes may be something else.
    """
    if not _SURE.search(text) and "<!--" not in text:
        return html.unescape(text) if _ENTITY.search(text) else text
    text = _STRAY.sub("&lt;", text)
    if not _BREAK.search(text):
        text = text.replace("\r\n", "\n").replace("\n", "<br>")
    plain = extract_plain_text(text, preserve_formatting=True, list_bullets=False, alt_texts=False)
    if _PREFORMATTED.search(text):  # indentation means something there
        lines = [line.rstrip() for line in plain.split("\n")]
    else:
        lines = [_BLANKS.sub(" ", line).strip() for line in plain.split("\n")]
    return _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()
