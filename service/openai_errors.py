"""Errors below `/v1` are problems like all others, with a member more: the `error` that OpenAI's clients look for.

RFC 9457 lets a problem have members of its own, so that one body serves both.
"""

from __future__ import annotations

from typing import Protocol

from fastapi import Request
from pydantic import BaseModel, Field

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class OpenAIError(BaseModel):
    """An error as OpenAI's clients know it."""

    message: str = Field(description="the problem's `detail`")
    type: str = Field(
        description="`invalid_request_error`, `authentication_error`, `permission_error`, `rate_limit_error` or "
        "`server_error`"
    )
    param: str | None = Field(description="the field of the request that was refused, where it was one")
    code: str = Field(description="the problem's kind, such as `model_not_found`")


class Told(Protocol):
    """What is needed of a problem."""

    status: int
    kind: str
    detail: str


def is_openai(request: Request) -> bool:
    """Say whether a request is for the part of the API that speaks as OpenAI's does."""
    return request.url.path.startswith("/v1/")


def error_member(problem: Told, field: str | None) -> OpenAIError:
    """Return the ``error`` of a problem whose first refused ``field`` is named as in `ProblemDetails.errors`."""
    by_status = "server_error" if problem.status >= 500 else "invalid_request_error"
    return OpenAIError(
        message=problem.detail,
        type=TYPES.get(problem.status, by_status),
        param=field and field.partition(".")[2],
        code=problem.kind.replace("-", "_"),
    )
