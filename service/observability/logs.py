"""The log on stderr: text lines, or one JSON object per line with the id of the request that it belongs to."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextvars import ContextVar
from typing import Literal

from service.observability import tracing

LogFormat = Literal["text", "json"]

REQUEST_ID: ContextVar[str] = ContextVar("request", default="")
"""Id of the request that is being answered; set also in the threads that work on it."""

access = logging.getLogger("dowse.access")


class JsonFormatter(logging.Formatter):
    """One JSON object per line: ``time`` in UTC, ``level``, ``logger``, ``message``, and the fields of the record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        line |= tracing.trace_ids() | getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(log_format: LogFormat) -> None:
    """Write the log to stderr in a format; with ``json``, a line for every request as well."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # at level INFO it logs how it was loaded
    access.setLevel(logging.INFO if log_format == "json" else logging.WARNING)


def log_request(request: str, route: str, status: int, seconds: float, **fields: str) -> None:
    """Log one request: ``request`` is its method and path, ``fields`` are further fields of the JSON line."""
    if access.isEnabledFor(logging.INFO):
        line = {"route": route, "status": status, "ms": round(seconds * 1e3, 3), **fields}
        access.info("%s %d", request, status, extra={"fields": line})
