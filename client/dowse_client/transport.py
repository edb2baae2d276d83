"""Requests and answers: what is sent, what comes back, what is raised, and what is tried again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote as percent_encode

import httpx2
from pydantic import BaseModel, ValidationError

from dowse_client.errors import NotReachedError, ProblemError, unknown_problem
from dowse_client.models import ProblemDetails
from dowse_client.problems import BY_TYPE

Answer = TypeVar("Answer")

LONGEST_WAIT = 30.0
"""Seconds. A service that wants to be asked again later than this is not waited for."""


def quote(value: str) -> str:
    """Return a value as a part of a path: an id may hold slashes, question marks and anything else."""
    return percent_encode(value, safe="")


def plain(value: Any) -> Any:
    """Return what JSON can say of a value: models as they were filled in, without their defaults."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if isinstance(value, Mapping):
        return {name: plain(below) for name, below in value.items()}
    if isinstance(value, list | tuple):
        return [plain(below) for below in value]
    return value


class _Requests:
    """What both transports share: requests are made, answers are read."""

    def __init__(self, url: str, key: str | None, timeout: float, retries: int) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._options: dict[str, Any] = {"base_url": url.rstrip("/"), "headers": headers, "timeout": timeout}
        self._retries = retries

    def _request(self, method: str, path: str, query: Mapping[str, Any] | None, body: Mapping[str, Any] | None) -> Any:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        content = None if body is None else {name: plain(value) for name, value in body.items() if value is not None}
        return {"method": method, "url": path, "params": given, "json": content}

    def _pause(self, response: httpx2.Response, attempt: int) -> float | None:
        """Return after how many seconds to try again; None where the answer is to be taken as it is."""
        if response.status_code not in {429, 503} or attempt >= self._retries:
            return None
        wait = _retry_after(response)
        wait = 0.5 * 2**attempt if wait is None else wait
        return wait if wait <= LONGEST_WAIT else None


class Transport(_Requests):
    """Sends requests and waits for the answers. Safe to use from several threads.

    Args:
        url: of the service.
        key: sent as `Authorization: Bearer KEY`, where the service wants one.
        timeout: seconds until a request that gets no answer is given up.
        retries: how often a request is sent again that the service was too busy for (429 and 503).
        transport: of httpx2, for tests.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout: float = 30.0,
        retries: int = 2,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, key, timeout, retries)
        self._http = httpx2.Client(transport=transport, **self._options)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(
        self,
        method: str,
        path: str,
        answer: type[Answer],
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        request = self._request(method, path, query, body)
        for attempt in range(self._retries + 1):
            try:
                response = self._http.request(**request)
            except httpx2.TransportError as error:
                raise _not_reached(error) from error
            if (pause := self._pause(response, attempt)) is None:
                break
            time.sleep(pause)
        return _read(response, answer)


class AsyncTransport(_Requests):
    """The same for asyncio; close it with `await client.aclose()`, or use it in an `async with` block."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout: float = 30.0,
        retries: int = 2,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, key, timeout, retries)
        self._http = httpx2.AsyncClient(transport=transport, **self._options)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _call(
        self,
        method: str,
        path: str,
        answer: type[Answer],
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        request = self._request(method, path, query, body)
        for attempt in range(self._retries + 1):
            try:
                response = await self._http.request(**request)
            except httpx2.TransportError as error:
                raise _not_reached(error) from error
            if (pause := self._pause(response, attempt)) is None:
                break
            await asyncio.sleep(pause)
        return _read(response, answer)


def _not_reached(error: httpx2.TransportError) -> NotReachedError:
    return NotReachedError(f"{type(error).__name__}: {error}")


def _read(response: httpx2.Response, answer: type[Answer]) -> Answer:
    if response.status_code >= 300:
        raise _problem(response)
    read: Any = response.text if answer is str else response.content
    if answer is not str:
        read = answer.model_validate_json(read) if issubclass(answer, BaseModel) else response.json()
    given: Answer = read
    return given


def _problem(response: httpx2.Response) -> ProblemError:
    try:
        problem = ProblemDetails.model_validate_json(response.content)
    except ValidationError:
        problem = unknown_problem(response.status_code, response.text)
    kind = BY_TYPE.get(problem.type, ProblemError)
    return kind(response.status_code, problem, _retry_after(response))


def _retry_after(response: httpx2.Response) -> float | None:
    try:
        return float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
