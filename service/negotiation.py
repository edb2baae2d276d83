"""Content negotiation: programs get JSON, and a person's browser gets a page that says the same."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import Scope

PAGE = Path(__file__).parent / "page"


def page_headers(image_sources: Sequence[str] = ()) -> dict[str, str]:
    """Return the headers of a page, whose policy lets it load pictures from ``image_sources``, too."""
    images = " ".join(["'self'", "data:", *image_sources])
    return {
        "Content-Security-Policy": f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {images}; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        "Cache-Control": "no-cache",
    }


PAGE_HEADERS = page_headers()
HTML = "text/html"
PROBLEM_PAGE = (PAGE / "problem.html").read_text(encoding="utf-8")
"""Template of `problem_page`, read once: a problem must not need an open file."""
VARY = "Accept, Sec-Fetch-Mode"
"""What an answer depends on where a browser gets another one than a program."""


def wants_page(scope: Scope) -> bool:
    """Say whether a request is a browser's that opens an address: it names HTML, and likes it no less than JSON.

    Programs that accept everything (`*/*`) get JSON, as do the scripts of a page.
    """
    return accepts_page(scope) and Headers(scope=scope).get("sec-fetch-mode", "navigate") == "navigate"


def accepts_page(scope: Scope) -> bool:
    """Say the same of the request alone, also where a script of a page makes it."""
    if scope["method"] not in {"GET", "HEAD"}:
        return False
    weights = _weights(",".join(Headers(scope=scope).getlist("accept")))
    page = weights.get(HTML, 0.0)
    return page > 0 and page >= max(weights.get(f"application/{kind}", 0.0) for kind in ("json", "problem+json"))


def problem_page(scope: Scope, status: int, title: str, detail: str, request_id: str) -> str:
    """Return the page of a problem. Its script asks for a key where a key can help."""
    text = PROBLEM_PAGE
    values = {"root": _root(scope), "status": str(status), "title": title, "detail": detail, "request_id": request_id}
    for name, value in values.items():
        # A value has no placeholder: its braces are written as character references.
        text = text.replace(f"{{{{ {name} }}}}", escape(value).replace("{", "&#123;"))
    return text


def _weights(accept: str) -> dict[str, float]:
    """Return the weight of each media type of an `Accept` header; a type with a weight that is no number has none."""
    weights = {}
    for part in accept.split(","):
        media_type, *parameters = (piece.strip() for piece in part.lower().split(";"))
        weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        try:
            weights[media_type] = float(weight)
        except ValueError:
            weights[media_type] = 0.0
    return weights


def _root(scope: Scope) -> str:
    """Return the relative way from a request's path to the search page; a proxy may serve it below a path of its own."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return "../" * (raw.partition(b"?")[0].count(b"/") - 1) or "./"
