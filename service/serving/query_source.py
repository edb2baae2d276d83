"""Port to past queries: what people have searched for, and found something, completes what is being typed."""

from __future__ import annotations

from typing import Protocol


class QuerySource(Protocol):
    """Past queries that found something."""

    def complete(self, text: str, limit: int) -> list[str]:
        """Return at most ``limit`` past queries that begin with ``text``, without regard to case, the best first."""


class NoQueries:
    """The source where queries are not kept."""

    def complete(self, text: str, limit: int) -> list[str]:  # noqa: ARG002 - of the protocol
        """Return nothing."""
        return []
