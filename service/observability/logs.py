"""The log: lines for people, or one JSON object a line for programs, with the request that each belongs to."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextvars import ContextVar
from typing import Literal

from service.observability import tracing

LogFormat = Literal["text", "json"]

REQUEST: ContextVar[str] = ContextVar("request", default="")
"""Id of the request that is being answered; work that is done for it in a thread has it too."""

access = logging.getLogger("dowse.access")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` in UTC, ``level``, ``logger``, ``message``, and what the record brings along."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if identity := REQUEST.get():
            line["request_id"] = identity
        line |= tracing.identity() | getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(form: LogFormat) -> None:
    """Write the log to stderr in this form; with ``json``, one line for every request as well."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it tells how it was loaded
    access.setLevel(logging.INFO if form == "json" else logging.WARNING)


def log_request(request: str, route: str, status: int, seconds: float, **fields: str) -> None:
    """Write the line of one request, which is called by its method and path; ``fields`` stand in it as they are."""
    if access.isEnabledFor(logging.INFO):
        line = {"route": route, "status": status, "ms": round(seconds * 1e3, 3), **fields}
        access.info("%s %d", request, status, extra={"fields": line})
