"""Client of OpenAI-compatible endpoints: Ollama, vLLM, llama.cpp, `transformers serve` and hosted ones.

It bounds concurrency and the time of an answer, retries with exponential back-off and jitter, and honours Retry-After. It
uses the strictest `response_format` that the endpoint supports. An endpoint that fails repeatedly is given up.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx2

from indexer.errors import UserError
from indexer.progress import say
from trainer.queries.llm.openai_api import (
    Fault,
    completion_text,
    model_names,
    ollama_address,
    parse_endpoint,
    response_format,
    retry_after,
)
from trainer.queries.llm.parse import Answer, Outcome, outcome
from trainer.queries.llm.prompts import END_OF_COMPLETION, Style, Task, read_reply
from trainer.queries.settings import QueriesSettings

KEY_VARIABLE = "DOWSE_LLM_KEY"
CONNECT_SECONDS, POLL_SECONDS = 10.0, 1.0
FIRST_WAIT, MAX_WAIT = 1.0, 60.0
"""Seconds of the exponential back-off."""
MAX_ANSWERS = 2
"""Answers to one row at most: an answer without any query is requested once more."""
MAX_FAILURES = 3
"""Consecutive rows without an answer after which the endpoint is given up."""
FORMATS = ("json_schema", "json_object", "lines")
_ABOUT_FORMAT = re.compile(r"response_format|json_schema|json_object|schema|grammar|structured|guided", re.IGNORECASE)


@dataclass(frozen=True)
class Reply:
    """Reply to one row: outcome, raw answers, queries of the last answer, and number of requests."""

    outcome: Outcome
    answer: Answer | None = None
    raw: tuple[str, ...] = ()
    attempts: int = 1
    error: str | None = None


class EndpointError(Exception):
    """The endpoint is down or refuses every request; the message names it and its reason."""


class _Refusal(Exception):  # noqa: N818 - caught below
    """The server refuses this request; a repetition would be refused too."""


class _Misconfigured(Exception):  # noqa: N818 - caught below
    """No request can succeed with this address, key or model; the message ends with the remedy."""


class Endpoint:
    """A language model behind a URL."""

    def __init__(self, settings: QueriesSettings) -> None:
        self._settings = settings
        self._base, self._auth, self._secrets = parse_endpoint(settings.llm or ollama_address())
        self._key = os.environ.get(KEY_VARIABLE) or None
        if self._key:
            self._secrets.append(self._key)
        self._model = settings.llm_model or None
        self._format = 0
        self._paused_until = 0.0
        self._failures = 0
        self._answered = False
        self._given_up = asyncio.Event()
        self._reason = ""

    @property
    def name(self) -> str:
        """The model and its URL, without credentials."""
        return f"{self._model or 'the model'} at {self._base}"

    def ask_all(self, tasks: Iterator[Task], done: Callable[[Task, Reply], None]) -> None:
        """Ask the model for every task, and pass each reply to ``done`` in the order of arrival.

        Tasks are taken from the iterator when they are needed: at most ``concurrency`` are in memory.

        Raises:
            UserError: the endpoint cannot be reached.
            EndpointError: it is down, or refuses every request. Earlier replies count, and answers in flight are awaited.
        """
        try:
            asyncio.run(self._ask_all(tasks, done))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _ask_all(self, tasks: Iterator[Task], done: Callable[[Task, Reply], None]) -> None:
        limits = httpx2.Limits(max_connections=self._settings.concurrency)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        async with httpx2.AsyncClient(
            auth=None if self._key else self._auth, headers=headers, timeout=None, limits=limits
        ) as client:
            await self._find_model(client)
            async with asyncio.TaskGroup() as group:
                for _ in range(self._settings.concurrency):
                    group.create_task(self._work(client, tasks, done))
        if self._given_up.is_set():
            raise EndpointError(f"--llm {self._base}: {self._reason}")

    async def _work(
        self, client: httpx2.AsyncClient, tasks: Iterator[Task], done: Callable[[Task, Reply], None]
    ) -> None:
        while not self._given_up.is_set() and (task := next(tasks, None)):
            reply = await self._reply(client, task)
            if reply is None:
                return
            done(task, reply)
            if reply.outcome not in {"failed", "refused"}:
                self._answered, self._failures = True, 0
                continue
            self._failures += 1
            if self._failures >= MAX_FAILURES and (reply.outcome == "failed" or not self._answered):
                self._give_up(reply.error or "")

    def _give_up(self, reason: str) -> None:
        """Start no other row and repeat no request; answers in flight still count."""
        self._reason = self._reason or reason
        self._given_up.set()

    async def _reply(self, client: httpx2.AsyncClient, task: Task) -> Reply | None:
        """Return the reply to a task; None where no request can succeed."""
        raw: list[str] = []
        faults = 0
        while True:
            attempts = len(raw) + faults + 1
            try:
                text = await self._completion(client, task, self._settings.seed + len(raw))
            except _Refusal as refusal:
                return Reply("refused", raw=tuple(raw), attempts=attempts, error=str(refusal))
            except _Misconfigured as error:
                self._give_up(str(error))
                return None
            except Fault as fault:
                faults += 1
                if faults > self._settings.retries or self._given_up.is_set():
                    return Reply("failed", raw=tuple(raw), attempts=attempts, error=str(fault))
                await self._back_off(fault, faults)
            else:
                raw.append(text)
                answer = read_reply(text, task, completes=self._settings.completes)
                if answer.queries or len(raw) == MAX_ANSWERS:
                    return Reply(outcome(len(answer.queries), len(task.slots)), answer, tuple(raw), attempts)

    async def _completion(self, client: httpx2.AsyncClient, task: Task, seed: int) -> str:
        """Return the text of one answer, in the strictest format that the endpoint supports.

        Raises:
            Fault: no answer; a repetition may succeed.
            _Refusal: the request is refused.
            _Misconfigured: the address, the key or the name of the model is wrong.
        """
        completes = self._settings.completes
        while True:
            level = self._format
            body: dict[str, Any] = {
                "model": self._model,
                "temperature": self._settings.temperature,
                "max_tokens": self._settings.longest_answer,
                "seed": seed,
            }
            if completes:
                body |= {"prompt": task.completion(), "stop": list(END_OF_COMPLETION)}
            else:
                style: Style = "lines" if FORMATS[level] == "lines" else "json"
                body |= {"messages": task.messages(style), **response_format(FORMATS[level], task)}
            await self._pause(self._paused_until - time.monotonic())
            path = "/completions" if completes else "/chat/completions"
            response = await self._send(client, "POST", path, self._settings.timeout, body)
            status = response.status_code
            if status == 200:
                return completion_text(response)
            message = self._safe(response.text)
            if not completes and "chat template" in response.text.replace("_", " ").lower():
                raise _Misconfigured(f"{status}, {message}; a base model takes --llm-prompt completion")
            if status in {401, 403}:
                raise _Misconfigured(f"{status}, {message}; put the right key into {KEY_VARIABLE}")
            if status == 404:
                raise _Misconfigured(f"404, {message}; correct the address or --llm-model {self._model}")
            if status in {408, 425, 429} or status >= 500:
                raise Fault(f"{status}, {message}", retry_after(response.headers.get("Retry-After")))
            if level + 1 < len(FORMATS) and _ABOUT_FORMAT.search(response.text):
                if level == self._format:  # unless another request has changed it meanwhile
                    self._format += 1
                    say(f"{self._base} does not support {FORMATS[level]}: using {FORMATS[level + 1]}")
                continue
            raise _Refusal(f"{status}, {message}")

    async def _send(
        self, client: httpx2.AsyncClient, method: str, path: str, seconds: float, body: Any = None
    ) -> httpx2.Response:
        try:
            async with asyncio.timeout(seconds):
                return await client.request(method, self._base + path, json=body)
        except TimeoutError as error:
            raise Fault(f"no answer within {seconds:g} s") from error
        except httpx2.ConnectError as error:
            raise Fault(f"no connection ({self._safe(str(error) or type(error).__name__)})") from error
        except httpx2.HTTPError as error:
            raise Fault(f"connection lost ({self._safe(str(error) or type(error).__name__)})") from error

    async def _back_off(self, fault: Fault, faults: int) -> None:
        if fault.wait is not None:  # the server means all requests
            self._paused_until = max(self._paused_until, time.monotonic() + fault.wait)
            return
        wait = min(FIRST_WAIT * 2 ** (faults - 1), MAX_WAIT)
        await self._pause(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _pause(self, seconds: float) -> None:
        """Wait, until the endpoint is given up at the latest."""
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._given_up.wait(), seconds)

    async def _find_model(self, client: httpx2.AsyncClient) -> None:
        """Wait up to ``--llm-wait`` until the endpoint lists the model; without a name take its only model.

        Raises:
            UserError: the endpoint is down, refuses the key, or does not have exactly one model and none is named.
        """
        deadline = time.monotonic() + self._settings.llm_wait
        announced = False
        while True:
            served: list[str] = []
            reason = ""
            try:
                response = await self._send(client, "GET", "/models", CONNECT_SECONDS)
                if response.status_code in {401, 403}:
                    raise UserError(
                        f"--llm {self._base}: {response.status_code}, {self._safe(response.text)}; "
                        f"put the right key into {KEY_VARIABLE}"
                    )
                served = model_names(response)
            except Fault as fault:
                reason = str(fault)
            # llama3:latest is llama3 too.
            names = {name for model in served for name in (model, model.partition(":")[0])}
            ready = self._model in names if self._model else bool(names)
            if ready or time.monotonic() >= deadline:
                break
            if not announced:
                say(f"waiting up to {self._settings.llm_wait:g} s for {self.name} …")
                announced = True
            await asyncio.sleep(min(POLL_SECONDS, max(deadline - time.monotonic(), 0)))
        if reason:
            raise UserError(
                f"--llm {self._base}: {reason}; start the server, correct the address, or leave --llm out "
                "for queries that are extracted from the texts"
            )
        if not self._model:
            if len(served) != 1:
                raise UserError(
                    f"--llm {self._base}: serves {', '.join(served[:5]) or 'no model that it names'}; "
                    "choose one with --llm-model"
                )
            self._model = served[0]

    def _safe(self, text: str) -> str:
        """Return the beginning of a message of a server or a library, on one line and without credentials."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return " ".join(text.split())[:200] or "no reason given"
