"""OpenAI protocol, as far as it is needed here: URLs, response formats, and parsing of responses."""

from __future__ import annotations

import math
import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx2

from indexer.errors import UserError

Form = Literal["json_schema", "json_object", "lines"]
"""What an answer is restricted to: a schema, JSON, or nothing."""
FORMS: tuple[Form, ...] = ("json_schema", "json_object", "lines")

MAX_RETRY_AFTER = 600.0
"""Longest wait in seconds that a Retry-After header may ask for."""


class Fault(Exception):  # noqa: N818 - the client tries again
    """A request without an answer that may be repeated; ``wait`` are the seconds that the server asks to wait."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def parse_endpoint(url: str) -> tuple[str, tuple[str, str] | None, list[str]]:
    """Return the base URL without credentials, the login, and the secrets that must never be shown.

    Raises:
        UserError: it is no http or https URL.
    """
    try:
        parsed = httpx2.URL(url)
        sound = parsed.scheme in {"http", "https"} and bool(parsed.host)
    except httpx2.InvalidURL:
        sound = False
    if not sound:  # the text is not repeated: it may contain a password
        raise UserError("--llm: no http or https URL; give one such as http://localhost:11434/v1")
    path = parsed.path.rstrip("/") or "/v1"
    base = str(parsed.copy_with(username=None, password=None, userinfo=b"", path=path, query=None, fragment=None))
    login = (parsed.username, parsed.password) if parsed.username or parsed.password else None
    return base.rstrip("/"), login, [secret for secret in (parsed.password, parsed.userinfo.decode()) if secret]


def ollama_address() -> str:
    """Return the base URL of Ollama: the variable OLLAMA_HOST, or this machine."""
    host = os.environ.get("OLLAMA_HOST") or "localhost"
    url = httpx2.URL(host if "://" in host else f"http://{host}")
    if url.host == "0.0.0.0":  # noqa: S104 - an address to listen on, not to connect to
        url = url.copy_with(host="localhost")
    return str(url if url.port or url.scheme == "https" else url.copy_with(port=11434)).rstrip("/") + "/v1"


def response_format(form: Form, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a request that restricts the answer: to the ``schema`` called ``name``, to JSON, or not at all."""
    if form == "json_schema":
        named = {"name": name, "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    return {"response_format": {"type": "json_object"}} if form == "json_object" else {}


def completion_text(response: httpx2.Response) -> str:
    """Return the text of a completion, of a chat or of a prompt.

    Raises:
        Fault: the body is no completion.
    """
    try:
        choice = response.json()["choices"][0]
        content = choice["text"] if "text" in choice else choice["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise Fault("the answer is no chat completion") from error
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def model_names(response: httpx2.Response) -> list[str]:
    """Return the names of a list of models; empty where the body is no such list."""
    try:
        return [str(model["id"]) for model in response.json()["data"]]
    except (ValueError, LookupError, TypeError):
        return []


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, given as a number or a date."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER) if math.isfinite(seconds) else None
