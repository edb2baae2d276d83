"""Exceptions of the client: a problem (RFC 9457) that the service answered, or no answer at all."""

from __future__ import annotations

from typing import Any

from dowse_client.models import ProblemDetails


class DowseError(Exception):
    """Base class of all errors of the client."""


class NotReachedError(DowseError):
    """The service did not answer: no connection, or a timeout."""


class ProblemError(DowseError):
    """The service refused or failed; each kind of problem is a subclass in `dowse_client.problems`.

    Attributes:
        status: HTTP status.
        problem: the body of the answer.
        retry_after: seconds after which the service suggests another attempt; None without a suggestion.
    """

    def __init__(self, status: int, problem: ProblemDetails, retry_after: float | None = None) -> None:
        super().__init__(problem.detail)
        self.status = status
        self.problem = problem
        self.retry_after = retry_after


def unknown_problem(status: int, text: str) -> ProblemDetails:
    """Return a problem for an answer that is not a problem, such as a proxy's page."""
    members: dict[str, Any] = {
        "type": "about:blank",
        "title": f"HTTP {status}",
        "detail": text[:500] or f"HTTP {status}",
    }
    return ProblemDetails(status=status, request_id="", **members)
