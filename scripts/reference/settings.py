"""`settings.md`: environment variables of the service, of the other programs and of the containers."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.reference.markdown import default, table
from service.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
INTRODUCTION = """# Settings

The environment says where things are, flags say what to do. This page has the environment variables; the flags of all
commands are in [Command line](cli.md).

## The service

Each flag of `python -m service` has a variable. A flag counts more than its variable.
"""
OTHERS = """
## The other programs

| variable | default | |
|---|---|---|
| `DOWSE_DATA` | `data` | data directory of indexer and trainer too |
| `DOWSE_LLM_KEY` | | key of the language model's endpoint, for `trainer queries`, `trainer run` and `indexer build --llm` |
| `PORT` | `8000` | port of `make demo` |

The service sends traces to an OpenTelemetry collector where the standard variables say so, such as
`OTEL_EXPORTER_OTLP_ENDPOINT` and `OTEL_SERVICE_NAME`; see [Operate](../guides/operate.md).

## Containers

`docker compose` reads these and the service's variables from the environment or from a file `.env`; `.env.example` is
one to copy. In a container `DOWSE_DATA`, `DOWSE_HOST`, `DOWSE_PORT`, `DOWSE_KEYS` and `DOWSE_INSECURE` are settled by
the image and by `docker-compose.yml`.
"""


def page() -> str:
    """Return the page."""
    rows = []
    for name, field in ServiceSettings.model_fields.items():
        extra = field.json_schema_extra
        if not isinstance(extra, dict):
            raise TypeError(f"{name}: has no variable")
        flag, shown = "--" + name.replace("_", "-"), "" if field.default is None else default(field)
        rows.append([f"`{extra['env']}`", f"`{flag}`", shown, field.description or ""])
    service = table(["variable", "flag", "default", ""], rows)
    return INTRODUCTION + "\n" + service + "\n" + OTHERS + "\n" + _compose() + "\n"


def _compose() -> str:
    """Return the table of the variables that only containers have, from `.env.example`."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    part = re.split(r"^# --- .*\n", text, flags=re.MULTILINE)[1]
    rows = []
    for block in part.strip().split("\n\n"):
        lines = [line.removeprefix("# ") for line in block.splitlines()]
        variables = [line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line)]
        words = " ".join(line for line in lines if not re.match(r"[A-Z_]+=", line))
        names = "<br>".join(f"`{name}`" for name, _ in variables)
        rows.append([names, "<br>".join(f"`{value}`" for _, value in variables), words])
    return table(["variable", "for example", ""], rows)
