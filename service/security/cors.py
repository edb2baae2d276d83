"""Cross-origin requests (CORS): the origins whose pages may use the API from a browser; none by default."""

from __future__ import annotations

import re

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from indexer.errors import UserError

ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?|https?://\[[0-9a-fA-F:]+\](:\d+)?")


def parse_origins(text: str) -> list[str]:
    """Return the origins of a setting.

    Raises:
        UserError: one of them is nothing that a browser would send as an origin.
    """
    origins = [origin.strip() for origin in text.split(",") if origin.strip()]
    for origin in origins:
        if origin != "*" and not ORIGIN.fullmatch(origin):
            raise UserError(
                f"--cors {origin}: an origin is scheme and host, perhaps with a port, such as https://example.com; or *"
            )
    return origins


def install(app: FastAPI, setting: str | None) -> None:
    """Allow the pages of the origins in ``setting``; without it, browsers block all other origins by themselves.

    No cookies are involved: an allowed page still needs a key where keys are needed, and sends it itself.
    """
    if setting and (allowed := parse_origins(setting)):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed,
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
