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
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import httpx2

from indexer.errors import UserError
from indexer.inference.llm.openai_api import (
    FORMS,
    Fault,
    Form,
    completion_text,
    model_names,
    ollama_address,
    parse_endpoint,
    retry_after,
)
from indexer.progress import say

Task = TypeVar("Task")
Answer = TypeVar("Answer")
Outcome = Literal["complete", "underfilled", "empty", "refused", "failed"]
"""Outcome of a row: all that was asked for, less, nothing, request refused by the server, no answer."""

KEY_VARIABLE = "DOWSE_LLM_KEY"
CONNECT_SECONDS, POLL_SECONDS = 10.0, 1.0
FIRST_WAIT, MAX_WAIT = 1.0, 60.0
"""Seconds of the exponential back-off."""
MAX_ANSWERS = 2
"""Answers to one row at most: an answer that says nothing is requested once more."""
MAX_FAILURES = 3
"""Consecutive rows without an answer after which the endpoint is given up."""
_ABOUT_FORMAT = re.compile(r"response_format|json_schema|json_object|schema|grammar|structured|guided", re.IGNORECASE)


@dataclass(frozen=True)
class EndpointOptions:
    """Where a language model is, and how it is asked.

    Attributes:
        url: base URL; by default Ollama's.
        model: its name there; by default the only one that is served.
        wait: seconds to wait for the endpoint to come up.
        concurrency: requests at a time.
        timeout: seconds that one answer may take.
        retries: further tries after a time-out, a lost connection, 429 or 5xx.
        temperature: of sampling.
        max_tokens: longest answer.
        seed: of sampling.
        otherwise: what can be done without a model, for the message that it cannot be reached.
    """

    url: str | None
    model: str | None
    wait: float
    concurrency: int
    timeout: float
    retries: int
    temperature: float
    max_tokens: int
    seed: int
    otherwise: str


@dataclass(frozen=True)
class Reply(Generic[Answer]):
    """Reply to one row: outcome, what the last answer says, raw answers, and number of requests."""

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


class Endpoint(ABC, Generic[Task, Answer]):
    """A language model behind a URL. What is asked, and what an answer says, is another class's for each purpose."""

    without_template = "choose a model that follows instructions"
    """What to do where the model has no chat template."""

    def __init__(self, options: EndpointOptions) -> None:
        self._options = options
        self._base, self._auth, self._secrets = parse_endpoint(options.url or ollama_address())
        self._key = os.environ.get(KEY_VARIABLE) or None
        if self._key:
            self._secrets.append(self._key)
        self._model = options.model or None
        self._format = 0
        self._paused_until = 0.0
        self._failures = 0
        self._answered = False
        self._given_up = asyncio.Event()
        self._reason = ""

    @abstractmethod
    def request(self, task: Task, form: Form) -> tuple[str, dict[str, Any]]:
        """Return the path of the request for a task and what its body holds besides the sampling."""

    @abstractmethod
    def interpret(self, task: Task, text: str) -> tuple[Answer, Outcome]:
        """Return what the text of an answer says, and whether that is all."""

    @property
    def name(self) -> str:
        """The model and its URL, without credentials."""
        return f"{self._model or 'the model'} at {self._base}"

    def ask_all(self, tasks: Iterator[Task], done: Callable[[Task, Reply[Answer]], None]) -> None:
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

    async def _ask_all(self, tasks: Iterator[Task], done: Callable[[Task, Reply[Answer]], None]) -> None:
        limits = httpx2.Limits(max_connections=self._options.concurrency)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        async with httpx2.AsyncClient(
            auth=None if self._key else self._auth, headers=headers, timeout=None, limits=limits
        ) as client:
            await self._find_model(client)
            async with asyncio.TaskGroup() as group:
                for _ in range(self._options.concurrency):
                    group.create_task(self._work(client, tasks, done))
        if self._given_up.is_set():
            raise EndpointError(f"--llm {self._base}: {self._reason}")

    async def _work(
        self, client: httpx2.AsyncClient, tasks: Iterator[Task], done: Callable[[Task, Reply[Answer]], None]
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

    async def _reply(self, client: httpx2.AsyncClient, task: Task) -> Reply[Answer] | None:
        """Return the reply to a task; None where no request can succeed."""
        raw: list[str] = []
        faults = 0
        while True:
            attempts = len(raw) + faults + 1
            try:
                text = await self._completion(client, task, self._options.seed + len(raw))
            except _Refusal as refusal:
                return Reply("refused", raw=tuple(raw), attempts=attempts, error=str(refusal))
            except _Misconfigured as error:
                self._give_up(str(error))
                return None
            except Fault as fault:
                faults += 1
                if faults > self._options.retries or self._given_up.is_set():
                    return Reply("failed", raw=tuple(raw), attempts=attempts, error=str(fault))
                await self._back_off(fault, faults)
            else:
                raw.append(text)
                answer, outcome = self.interpret(task, text)
                if outcome != "empty" or len(raw) == MAX_ANSWERS:
                    return Reply(outcome, answer, tuple(raw), attempts)

    async def _completion(self, client: httpx2.AsyncClient, task: Task, seed: int) -> str:
        """Return the text of one answer, in the strictest format that the endpoint supports.

        Raises:
            Fault: no answer; a repetition may succeed.
            _Refusal: the request is refused.
            _Misconfigured: the address, the key or the name of the model is wrong.
        """
        while True:
            level = self._format
            path, content = self.request(task, FORMS[level])
            body: dict[str, Any] = {
                "model": self._model,
                "temperature": self._options.temperature,
                "max_tokens": self._options.max_tokens,
                "seed": seed,
                **content,
            }
            await self._pause(self._paused_until - time.monotonic())
            response = await self._send(client, "POST", path, self._options.timeout, body)
            status = response.status_code
            if status == 200:
                return completion_text(response)
            message = self._safe(response.text)
            if "messages" in content and "chat template" in response.text.replace("_", " ").lower():
                raise _Misconfigured(f"{status}, {message}; {self.without_template}")
            if status in {401, 403}:
                raise _Misconfigured(f"{status}, {message}; put the right key into {KEY_VARIABLE}")
            if status == 404:
                raise _Misconfigured(f"404, {message}; correct the address or --llm-model {self._model}")
            if status in {408, 425, 429} or status >= 500:
                raise Fault(f"{status}, {message}", retry_after(response.headers.get("Retry-After")))
            if level + 1 < len(FORMS) and _ABOUT_FORMAT.search(response.text):
                if level == self._format:  # unless another request has changed it meanwhile
                    self._format += 1
                    say(f"{self._base} does not support {FORMS[level]}: using {FORMS[level + 1]}")
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
        deadline = time.monotonic() + self._options.wait
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
                say(f"waiting up to {self._options.wait:g} s for {self.name} …")
                announced = True
            await asyncio.sleep(min(POLL_SECONDS, max(deadline - time.monotonic(), 0)))
        if reason:
            raise UserError(
                f"--llm {self._base}: {reason}; start the server, correct the address, or leave --llm out "
                f"for {self._options.otherwise}"
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
