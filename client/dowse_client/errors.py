"""What a client raises: the service's problem (RFC 9457) as an exception, or that there was no service."""

from __future__ import annotations

from typing import Any

from dowse_client.models import ProblemDetails


class DowseError(Exception):
    """Whatever went wrong between here and an answer."""


class NotReachedError(DowseError):
    """There was no answer: no connection, or not in time."""


class ProblemError(DowseError):
    """The service refused or failed; each kind of problem is a subclass in `dowse_client.problems`.

    Attributes:
        status: HTTP status.
        problem: all that the service said.
        retry_after: seconds after which it should be tried again, where the service said so.
    """

    def __init__(self, status: int, problem: ProblemDetails, retry_after: float | None = None) -> None:
        super().__init__(problem.detail)
        self.status = status
        self.problem = problem
        self.retry_after = retry_after


def unknown_problem(status: int, text: str) -> ProblemDetails:
    """Return a problem for an answer that is none, such as a proxy's page."""
    said: dict[str, Any] = {"type": "about:blank", "title": f"HTTP {status}", "detail": text[:500] or f"HTTP {status}"}
    return ProblemDetails(status=status, request_id="", **said)
