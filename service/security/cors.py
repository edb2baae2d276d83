"""Cross-origin requests: which other sites' pages may use the API from a browser. None, unless the operator says so."""

from __future__ import annotations

import re

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from indexer.errors import UserError

ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?|https?://\[[0-9a-fA-F:]+\](:\d+)?")


def origins(text: str) -> list[str]:
    """Return the origins of a setting; raise `UserError` at what a browser would never send as one."""
    found = [each.strip() for each in text.split(",") if each.strip()]
    for each in found:
        if each != "*" and not ORIGIN.fullmatch(each):
            raise UserError(
                f"--cors {each}: an origin is scheme and host, perhaps with a port, such as https://example.com; or *"
            )
    return found


def install(app: FastAPI, setting: str | None) -> None:
    """Let the pages of these origins in; without a setting browsers keep all others out by themselves.

    No cookies are involved: a page that is let in still needs a key where keys are needed, and brings it itself.
    """
    if setting and (allowed := origins(setting)):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed,
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
