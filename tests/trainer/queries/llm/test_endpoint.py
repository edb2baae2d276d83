"""The client of OpenAI-compatible endpoints: its requests, its handling of faults, and its secrets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from faulty_llm import KINDS, FaultyLLM, good, unused_port

import indexer.inference.llm.client
from indexer.errors import UserError
from indexer.inference.llm.client import EndpointError, Reply
from indexer.inference.llm.openai_api import retry_after
from trainer.queries.llm.endpoint import QueryEndpoint
from trainer.queries.llm.prompts import Task
from trainer.queries.settings import QueriesSettings


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back off for milliseconds instead of seconds."""
    monkeypatch.setattr(indexer.inference.llm.client, "FIRST_WAIT", 0.01)


def tasks(number: int, first: int = 0) -> Iterator[Task]:
    """Yield tasks whose texts contain their numbers, by which the server knows them."""
    for at in range(first, first + number):
        yield Task(f"d{at}", None, f"Entry {at} tells of the cat.", "en", KINDS)


def ask(server: FaultyLLM, number: int = 1, **settings: Any) -> dict[str, Reply]:
    """Ask about ``number`` rows and return the replies by row."""
    replies: dict[str, Reply] = {}
    chosen: dict[str, Any] = {"llm": server.url, "llm_model": "tiny", "retries": 2, "timeout": 10, **settings}
    QueryEndpoint(QueriesSettings(**chosen)).ask_all(
        tasks(number), lambda task, reply: replies.setdefault(task.id, reply)
    )
    return replies


def test_request_holds_what_the_settings_say() -> None:
    """Model, temperature, length, seed, the schema of the answer and both messages are sent."""
    with FaultyLLM() as llm:
        ask(llm, temperature=0.3, max_tokens=99, seed=7)
    body = llm.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"], body["seed"]) == ("tiny", 0.3, 99, 7)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["required"] == list(KINDS) and schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("refuses", "used"),
    [((), "json_schema"), (("json_schema",), "json_object"), (("json_schema", "json_object"), None)],
)
def test_format_falls_back_once_and_is_remembered(refuses: tuple[str, ...], used: str | None) -> None:
    """An endpoint without schemas gets requests for a JSON object, then for lines; what worked is used from then on."""
    with FaultyLLM(refuses=refuses) as llm:
        replies = ask(llm, 6, concurrency=1)
    assert [reply.outcome for reply in replies.values()] == ["complete"] * 6
    formats = [body.get("response_format", {}).get("type") for body in llm.bodies]
    assert formats == [*refuses, *[used] * 6]
    assert all(reply.attempts == 1 for reply in replies.values())
    last = llm.bodies[-1]["messages"][-1]["content"]
    assert ("one JSON object" in last) == (used is not None)


def test_fallback_with_many_requests_at_once() -> None:
    """Requests that are refused together step down once, not once each: lines are not reached past json_object."""
    with FaultyLLM(refuses=("json_schema",), latency=0.05) as llm:
        ask(llm, 16, concurrency=8)
    formats = [body.get("response_format", {}).get("type") for body in llm.bodies]
    assert formats.count("json_schema") <= 8
    assert formats.count("json_object") == 16
    assert None not in formats


@pytest.mark.parametrize("fault", [408, 429, 500, 502, 503, "reset", "cut", "html", "slow"])
def test_transient_faults_are_retried(fault: int | str) -> None:
    """Too many requests, server errors, lost connections, half a body, a proxy's page and time-outs are retried."""
    with FaultyLLM({0: [fault, fault]}) as llm:
        reply = ask(llm, timeout=0.5 if fault == "slow" else 10)["d0"]
    assert (reply.outcome, reply.attempts, llm.asked[0]) == ("complete", 3, 3)
    assert reply.answer and reply.answer.queries == list(good(0).items())


@pytest.mark.parametrize(
    ("fault", "reason"), [(429, "429"), (500, "500"), ("reset", "connection lost"), ("slow", "no answer within 0.5 s")]
)
def test_retries_are_bounded(fault: int | str, reason: str) -> None:
    """A row whose fault does not pass has failed after 1 + retries requests, and the reply says why."""
    with FaultyLLM({0: [fault] * 9}) as llm:
        reply = ask(llm, timeout=0.5 if fault == "slow" else 10, retries=1)["d0"]
    assert (reply.outcome, reply.attempts, llm.asked[0]) == ("failed", 2, 2)
    assert reply.error and reason in reply.error


def test_back_off_grows() -> None:
    """Each wait is about twice the one before, and not the same for all requests."""
    with FaultyLLM({0: [500] * 4}) as llm:
        indexer.inference.llm.client.FIRST_WAIT = 0.1
        ask(llm, retries=4)
    waits = [after - before for before, after in zip(llm.moments, llm.moments[1:], strict=False)]
    for number, wait in enumerate(waits):
        assert 0.05 * 2**number <= wait <= 0.1 * 2**number + 0.3


def test_retry_after_is_honoured_by_all_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker sends a request before the time that a server's Retry-After gives."""
    reply = FaultyLLM.reply
    monkeypatch.setattr(
        FaultyLLM,
        "reply",
        staticmethod(
            lambda handler, status, body, headers=None: reply(handler, status, body, headers and {"Retry-After": "0.6"})
        ),
    )
    with FaultyLLM({0: [429]}, latency=0.02) as llm:
        ask(llm, 12, concurrency=2)
    waits = [after - before for before, after in zip(llm.moments, llm.moments[1:], strict=False)]
    assert max(waits) >= 0.5
    assert sum(wait >= 0.5 for wait in waits) == 1


def test_retry_after_as_number_date_or_nonsense() -> None:
    """Both forms of RFC 9110 are read, bounded, and never negative."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28 <= (retry_after(soon) or 0) <= 30
    assert retry_after(format_datetime(datetime.now(UTC) - timedelta(days=1))) == 0
    assert (retry_after("7"), retry_after("-3"), retry_after("999999")) == (7, 0, 600)
    assert retry_after(None) is retry_after("soon") is retry_after("Mon, 99 Foo") is None
    assert retry_after("nan") is None


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_row_is_not_asked_again(status: int) -> None:
    """What the server will never answer, such as a text that is too long for it, costs one request."""
    with FaultyLLM({1: [status] * 9}) as llm:
        replies = ask(llm, 3, concurrency=1)
    assert [reply.outcome for reply in replies.values()] == ["complete", "refused", "complete"]
    assert llm.asked == {0: 1, 1: 1, 2: 1}
    assert f"{status}, " in str(replies["d1"].error)


def test_an_answer_without_a_query_is_asked_for_once_more() -> None:
    """An empty list may be random: a second request with another seed counts, and there is no third."""
    with FaultyLLM({0: ["[]"], 1: ["[]", "Sure!", "[]"]}) as llm:
        replies = ask(llm, 2, concurrency=1)
    assert [reply.outcome for reply in replies.values()] == ["complete", "empty"]
    assert replies["d1"].raw == ("[]", "Sure!")
    assert llm.asked == {0: 2, 1: 2}
    assert llm.bodies[0]["seed"] != llm.bodies[1]["seed"]


def test_half_a_json_gives_what_is_whole() -> None:
    """A truncated answer is not requested again: its complete queries are kept."""
    with FaultyLLM({0: ['{"question": "who sits in the garden", "claim": "a cat si']}) as llm:
        reply = ask(llm)["d0"]
    assert reply.answer and reply.answer.queries == [("question", "who sits in the garden")]
    assert (reply.outcome, llm.asked[0]) == ("underfilled", 1)


def test_concurrency_is_used_and_bounded() -> None:
    """The set number of requests is in flight, and no more tasks are taken."""
    taken: list[str] = []
    ahead: list[int] = []

    def counted() -> Iterator[Task]:
        for task in tasks(30):
            taken.append(task.id)
            yield task

    with FaultyLLM(latency=0.03) as llm:
        endpoint = QueryEndpoint(QueriesSettings(llm=llm.url, llm_model="tiny", concurrency=5))
        endpoint.ask_all(counted(), lambda _task, _reply: ahead.append(len(taken)))
    assert llm.max_concurrent == 5
    assert all(count <= done + 5 for done, count in enumerate(ahead))
    assert len(ahead) == 30


def test_an_endpoint_that_dies_is_given_up() -> None:
    """After three rows without an answer the others are not tried, so that a dead server costs seconds, not hours."""
    replies: dict[str, Reply] = {}
    with FaultyLLM(dies_after=10) as llm:
        endpoint = QueryEndpoint(QueriesSettings(llm=llm.url, llm_model="tiny", concurrency=2, retries=1))
        with pytest.raises(EndpointError, match=f"--llm {llm.url}: "):
            endpoint.ask_all(tasks(1000), lambda task, reply: replies.setdefault(task.id, reply))
    outcomes = [reply.outcome for reply in replies.values()]
    assert outcomes.count("complete") == len(llm.answered) >= 8
    assert 3 <= outcomes.count("failed") == len(outcomes) - len(llm.answered) <= 8


def test_answers_in_flight_are_awaited_when_giving_up() -> None:
    """An answer in flight when others failed is awaited and kept."""
    with FaultyLLM({0: ["slow"], **{number: [500] for number in range(1, 9)}}) as llm:
        replies: dict[str, Reply] = {}
        endpoint = QueryEndpoint(QueriesSettings(llm=llm.url, llm_model="tiny", concurrency=2, retries=0))
        with pytest.raises(EndpointError, match="500"):
            endpoint.ask_all(tasks(9), lambda task, reply: replies.setdefault(task.id, reply))
    assert {row: reply.outcome for row, reply in replies.items()} == {
        "d0": "complete", "d1": "failed", "d2": "failed", "d3": "failed",
    }  # fmt: skip


def test_scattered_failures_do_not_end_the_run() -> None:
    """Rows that fail among others that are answered are no sign of a dead server."""
    with FaultyLLM({number: [500] * 9 for number in range(0, 20, 2)}) as llm:
        replies = ask(llm, 20, concurrency=1, retries=0)
    assert sorted(reply.outcome for reply in replies.values()) == ["complete"] * 10 + ["failed"] * 10


def test_a_server_that_refuses_everything_is_given_up() -> None:
    """A mistake in the request, such as a model that it does not have, is not repeated for each row."""
    with FaultyLLM({number: [400] for number in range(50)}) as llm, pytest.raises(EndpointError, match="400"):
        ask(llm, 50, concurrency=1)
    assert sum(llm.asked.values()) == 3


def test_unknown_model_or_address_ends_the_run() -> None:
    """404 means that the address or the model is wrong: the message names both."""
    with FaultyLLM({0: [404]}) as llm, pytest.raises(EndpointError, match=f"--llm {llm.url}: 404.*--llm-model tiny"):
        ask(llm, 5, concurrency=1)
    assert sum(llm.asked.values()) == 1


def test_endpoint_that_is_down_at_the_start() -> None:
    """One line names the URL, what happened and the remedy; no row is tried."""
    url = f"http://127.0.0.1:{unused_port()}/v1"
    with pytest.raises(UserError, match=rf"^--llm {url}: no connection .*; start the server") as error:
        QueryEndpoint(QueriesSettings(llm=url, llm_model="tiny")).ask_all(tasks(1), lambda *_: pytest.fail("asked"))
    assert "\n" not in str(error.value)


def test_waiting_for_the_endpoint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With --llm-wait a server that is starting, or is still fetching the model, is waited for."""
    monkeypatch.setattr(indexer.inference.llm.client, "POLL_SECONDS", 0.02)
    polls: list[float] = []

    class Starting(FaultyLLM):
        @property
        def models(self) -> tuple[str, ...]:
            polls.append(time.monotonic())
            return ("tiny:latest",) if len(polls) > 3 else ()

        @models.setter
        def models(self, names: tuple[str, ...]) -> None:
            pass

    with Starting() as llm:
        assert ask(llm, llm_wait=30)["d0"].outcome == "complete"
    assert len(polls) == 4
    assert capsys.readouterr().err.count("waiting up to 30 s for tiny at http://127.0.0.1") == 1


def test_waiting_ends() -> None:
    """A server that never comes up is an error after the wait, not for ever."""
    started = time.monotonic()
    url = f"http://127.0.0.1:{unused_port()}/v1"
    with pytest.raises(UserError, match="no connection"):
        QueryEndpoint(QueriesSettings(llm=url, llm_model="tiny", llm_wait=0.3)).ask_all(tasks(1), lambda *_: None)
    assert 0.3 <= time.monotonic() - started < 5


def test_the_only_model_is_taken_by_default() -> None:
    """A server of one model, as vLLM and llama.cpp are, needs no name of it."""
    with FaultyLLM(models=("llama-3",)) as llm:
        ask(llm, llm_model=None)
    assert llm.bodies[0]["model"] == "llama-3"


def test_several_models_have_to_be_chosen_from() -> None:
    """Where there are several, the message names them."""
    with (
        FaultyLLM(models=("llama3", "phi")) as llm,
        pytest.raises(UserError, match="llama3, phi; choose one with --llm-model"),
    ):
        ask(llm, llm_model=None)


@pytest.mark.parametrize("url", ["localhost:11434", "ftp://user:secret@host/v1", "http://", "secret"])
def test_what_is_no_url_is_refused_without_repeating_it(url: str) -> None:
    """A mistyped address may hold a password."""
    with pytest.raises(UserError, match="--llm: no http or https URL; give one such as") as error:
        QueryEndpoint(QueriesSettings(llm=url))
    assert "secret" not in str(error.value)


def test_address_without_a_path_gets_the_usual_one() -> None:
    """http://localhost:11434 means …/v1."""
    with FaultyLLM() as llm:
        replies = ask(llm, llm=llm.url.removesuffix("/v1"))
    assert replies["d0"].outcome == "complete"
    assert QueryEndpoint(QueriesSettings(llm=llm.url + "/")).name.endswith(llm.url)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (None, "http://localhost:11434/v1"),
        ("", "http://localhost:11434/v1"),
        ("ollama", "http://ollama:11434/v1"),
        ("0.0.0.0:8080", "http://localhost:8080/v1"),
        ("http://ollama:11434/", "http://ollama:11434/v1"),
        ("https://ollama.example", "https://ollama.example/v1"),
    ],
)
def test_a_model_alone_is_asked_of_ollama(monkeypatch: pytest.MonkeyPatch, host: str | None, url: str) -> None:
    """`--llm-model llama3` is enough where Ollama runs; its own variable says where else."""
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    if host is not None:
        monkeypatch.setenv("OLLAMA_HOST", host)
    assert QueryEndpoint(QueriesSettings(llm_model="llama3")).name == f"llama3 at {url}"


def test_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The key stands in a variable; a server that repeats it in its complaint does not bring it into an error."""
    monkeypatch.setenv("DOWSE_LLM_KEY", "sk-right")
    with FaultyLLM(key="sk-right") as llm:
        assert ask(llm)["d0"].outcome == "complete"
    monkeypatch.setenv("DOWSE_LLM_KEY", "sk-wrong")
    with FaultyLLM(key="sk-right") as llm, pytest.raises(UserError, match=r"401.*DOWSE_LLM_KEY") as error:
        ask(llm)
    assert "sk-wrong" not in str(error.value) + capsys.readouterr().err


def test_credentials_of_the_url_are_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """User and password before the host are used for basic authentication and left out of every name and message."""
    monkeypatch.delenv("DOWSE_LLM_KEY", raising=False)
    headers: list[str] = []
    allowed = FaultyLLM.allowed
    monkeypatch.setattr(
        FaultyLLM,
        "allowed",
        lambda self, handler: headers.append(handler.headers["Authorization"]) or allowed(self, handler),
    )
    with FaultyLLM({0: [400]}) as llm:
        url = llm.url.replace("http://", "http://ann:pa%24s@") + "?token=hidden"
        reply = ask(llm, llm=url)["d0"]
        name = QueryEndpoint(QueriesSettings(llm=url, llm_model="tiny")).name
    assert set(headers) == {"Basic YW5uOnBhJHM="}  # ann:pa$s
    assert name == f"tiny at {llm.url}"
    assert reply.outcome == "refused" and "pa$s" not in str(reply.error)
