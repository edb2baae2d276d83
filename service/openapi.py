"""OpenAPI document of the service, written to `service/openapi.json`; the Python client is generated from it.

python -m service.openapi
"""

from __future__ import annotations

import json
from pathlib import Path

from service.app import create_app
from service.settings import ServiceSettings

FILE = Path(__file__).with_suffix(".json")


def document() -> str:
    """Return the application's OpenAPI document as JSON, the content of the file."""
    return json.dumps(create_app(ServiceSettings()).openapi(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
