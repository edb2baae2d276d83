"""HTTP transport of the client: requests, retries, answers and errors; blocking, and for asyncio."""

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

MAX_WAIT = 30.0
"""Seconds. If the service names a longer wait, the request is not sent again."""


def quote(value: str) -> str:
    """Return a value percent-encoded for a path: an id may hold slashes, question marks and any other character.

    Where it is nothing but dots, they are encoded, too: else they would be taken for steps up the path.
    """
    encoded = percent_encode(value, safe="")
    return encoded.replace(".", "%2E") if encoded in {".", ".."} else encoded


def plain(value: Any) -> Any:
    """Return a value as JSON data; models without the fields that were not set."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if isinstance(value, Mapping):
        return {name: plain(below) for name, below in value.items()}
    if isinstance(value, list | tuple):
        return [plain(below) for below in value]
    return value


class _Requests:
    """Base class of both transports: makes requests, and decides about retries."""

    def __init__(self, url: str, key: str | None, timeout: float, retries: int) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._options: dict[str, Any] = {"base_url": url.rstrip("/"), "headers": headers, "timeout": timeout}
        self._retries = retries

    def _request(self, method: str, path: str, query: Mapping[str, Any] | None, body: Mapping[str, Any] | None) -> Any:
        parameters = {name: value for name, value in (query or {}).items() if value is not None}
        content = None if body is None else {name: plain(value) for name, value in body.items() if value is not None}
        return {"method": method, "url": path, "params": parameters, "json": content}

    def _pause(self, response: httpx2.Response, attempt: int) -> float | None:
        """Return the seconds until the next attempt; None if the answer is final."""
        if response.status_code not in {429, 503} or attempt >= self._retries:
            return None
        wait = _retry_after(response)
        wait = 0.5 * 2**attempt if wait is None else wait
        return wait if wait <= MAX_WAIT else None


class Transport(_Requests):
    """Sends requests and waits for the answers. Safe to use from several threads.

    Args:
        url: URL of the service.
        key: API key, sent as `Authorization: Bearer KEY`, if the service needs one.
        timeout: seconds until a request without an answer is given up.
        retries: how often a request is sent again after a 429 or 503.
        transport: transport of httpx2, for tests.
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
    content: Any = response.text if answer is str else response.content
    if answer is not str:
        content = answer.model_validate_json(content) if issubclass(answer, BaseModel) else response.json()
    value: Answer = content
    return value


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
