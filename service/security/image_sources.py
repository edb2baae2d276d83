"""Sources of pictures: the origins from which the page may load them by its content security policy; none by default."""

from __future__ import annotations

import re

from indexer.errors import UserError

SOURCE = re.compile(r"https?:|https?://(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:\d+)?")
"""A scheme, or an origin: nothing that would begin another directive of the policy."""


def parse_sources(setting: str | None) -> list[str]:
    """Return the sources of a setting in lower case, as browsers write origins; none for None.

    Raises:
        UserError: one of them is no source.
    """
    sources = [source.strip().lower().rstrip("/") for source in (setting or "").split(",") if source.strip()]
    for source in sources:
        if not SOURCE.fullmatch(source):
            raise UserError(
                f"--image-sources {source}: a source is scheme and host, such as https://images.example.com or "
                "https://*.example.com, or `https:` for all hosts"
            )
    return sources
