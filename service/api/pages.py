"""Pages: the search page at `/` with its assets, and the API documentation at `/docs`."""

from __future__ import annotations

import base64
import hashlib
import re

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from service.api.examples import with_live_examples
from service.negotiation import PAGE, PAGE_HEADERS, page_headers
from service.problems import Problem
from service.security.image_sources import parse_sources

MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
ASSETS = {
    path.relative_to(PAGE).as_posix(): MEDIA_TYPES[path.suffix]
    for path in PAGE.rglob("*")
    if path.suffix in MEDIA_TYPES
}
"""Path within `page/` of each file that the pages load → its media type."""
STATIC = "/static-offline-docs"
"""Where fastapi-offline serves the files of Swagger UI."""
DOCUMENT = "/docs/openapi.json"
"""What `/docs` shows: `/openapi.json` with examples from the live index."""
INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)

router = APIRouter(include_in_schema=False)


@router.head("/")
@router.get("/")
async def page(request: Request) -> FileResponse:
    """Return the search page."""
    headers = page_headers(parse_sources(request.app.state.settings.image_sources))
    return FileResponse(PAGE / "index.html", media_type="text/html", headers=headers)


@router.get("/page/{path:path}")
async def asset(path: str) -> FileResponse:
    """Return an asset of the pages."""
    if path not in ASSETS:
        raise Problem(404, "not-found", f"There is no file /page/{path}; /docs lists the routes")
    return FileResponse(PAGE / path, media_type=ASSETS[path], headers=PAGE_HEADERS)


def install_docs(app: FastAPI) -> None:
    """Add the API documentation (Swagger UI) to ``app``, with a policy under which no other script can run.

    Its script and its style sheet are those that fastapi-offline serves.
    """
    page = get_swagger_ui_html(
        openapi_url=DOCUMENT,
        title=f"{app.title}: the API",
        swagger_js_url=f"{STATIC}/swagger-ui-bundle.js",
        swagger_css_url=f"{STATIC}/swagger-ui.css",
        swagger_favicon_url="/page/icon.svg",
    ).body
    # Before the body is drawn, so that a dark page does not begin white; the meta element colours what a browser draws itself.
    head = b"""<meta name="color-scheme" content="light dark">
    <link rel="stylesheet" href="/page/docs.css">
    <script src="/page/docs.js"></script></head>"""
    page = bytes(page).replace(b"</head>", head)
    # An inline script starts Swagger UI. The policy allows it by its hash.
    scripts = INLINE_SCRIPT.findall(bytes(page))
    digests = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts)
    hashes = " ".join(f"'sha256-{digest}'" for digest in digests)
    policy = (
        f"default-src 'none'; script-src 'self' {hashes}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    @app.get(DOCUMENT, include_in_schema=False)
    async def document(request: Request) -> JSONResponse:
        described, state = app.openapi(), request.app.state
        # This route asks for no key. So where one is needed, it shows nothing of the corpus.
        if (live := state.searcher.current) and not state.keyring.needed:
            described = with_live_examples(described, live.retriever.index, live.model.name)
        return JSONResponse(described, headers={"Cache-Control": "no-cache"})
