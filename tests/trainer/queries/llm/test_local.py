"""A real, tiny LLaMA, run in this process and behind a real OpenAI-compatible server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pyarrow.parquet as pq
import pytest
import torch
from faulty_llm import KINDS, unused_port, write_frame
from tiny_llama import make_tiny_llama

import indexer.inference.llm.client
from indexer.errors import UserError
from indexer.inference.llm.client import Reply
from trainer.queries.generate import generate
from trainer.queries.llm.local import LocalModel
from trainer.queries.llm.prompts import Task
from trainer.queries.settings import QueriesSettings
from trainer.queries.summary import Summary


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a tiny LLaMA with a chat template."""
    return make_tiny_llama(tmp_path_factory.mktemp("llama"))


def local(path: Path, **settings: Any) -> LocalModel:
    """Open a model for short answers."""
    return LocalModel(QueriesSettings(llm_path=str(path), **{"max_tokens": 16, "batch_size": 3, **settings}))


def task(number: int, text: str = "the cat sits in the garden") -> Task:
    """Return the task of a row."""
    return Task(f"d{number}", None, text, "en", KINDS)


def ask(model: LocalModel, tasks: list[Task]) -> dict[str, Reply]:
    """Return the replies by row."""
    replies: dict[str, Reply] = {}
    model.ask_all(iter(tasks), lambda task, reply: replies.setdefault(task.id, reply))
    return replies


# --- in this process -------------------------------------------------------------------------------------------------


def test_every_task_is_answered(llama: Path) -> None:
    """Seven tasks in batches of three give seven replies with the raw answers and the queries found in them."""
    replies = ask(local(llama), [task(number) for number in range(7)])
    assert list(replies) == [f"d{number}" for number in range(7)]
    for reply in replies.values():
        assert reply.answer is not None and len(reply.raw) == 1
        assert reply.outcome == ("underfilled" if reply.answer.queries else "empty")
    assert any(reply.answer and reply.answer.queries for reply in replies.values())
    assert not any("<" in raw for reply in replies.values() for raw in reply.raw)  # no special tokens, no prompt


def test_sampling_is_seeded(llama: Path) -> None:
    """The same seed gives the same answers, another seed and another temperature others."""
    tasks = [task(number) for number in range(3)]

    def raw(**settings: Any) -> list[tuple[str, ...]]:
        return [reply.raw for reply in ask(local(llama, **settings), tasks).values()]

    assert raw(seed=1) == raw(seed=1)
    assert raw(seed=1) != raw(seed=2)
    greedy = raw(temperature=0)
    assert greedy == raw(temperature=0, seed=9)
    assert greedy[0] == greedy[1] == greedy[2] != raw(seed=1)[0]


def test_padding_does_not_change_an_answer(llama: Path) -> None:
    """A short prompt beside a long one is answered as it is alone."""
    tasks = [task(0), task(1, "the dog runs by the river and the king eats bread " * 5)]
    model = local(llama, temperature=0)
    together = ask(model, tasks)
    assert together["d0"].raw == ask(model, tasks[:1])["d0"].raw != together["d1"].raw


def test_chat_template_is_used_once(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """System and user message stand in the template's form, and the special tokens in it are tokens, not doubled."""
    model = local(llama)
    prompt = model.prompt(task(0).messages("json"))
    assert prompt.startswith("<begin>system ") and prompt.endswith("<end><begin>assistant ")
    assert prompt.count("<begin>") == 3
    seen: list[list[int]] = []
    generate = model._model.generate
    monkeypatch.setattr(
        model._model, "generate", lambda **batch: seen.extend(batch["input_ids"].tolist()) or generate(**batch)
    )
    ask(model, [task(0)])
    assert seen[0].count(model._tokenizer.bos_token_id) == 3


def test_plain_prompt_without_a_chat_template(tmp_path: Path) -> None:
    """A base model works too: it gets the messages as plain text, after the token that begins a text."""
    model = local(make_tiny_llama(tmp_path, template=None))
    messages = task(0).messages("json")
    assert model.prompt(messages) == f"<begin>{messages[0]['content']}\n\n{messages[1]['content']}\n\n"
    assert ask(model, [task(0)])["d0"].raw


def test_chat_template_that_knows_no_system_role(tmp_path: Path) -> None:
    """Where the template refuses a system message, what it says goes before the user's."""
    template = (
        "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "<begin>{{ message['content'] }}{% endfor %}"
    )
    messages = task(0).messages("json")
    prompt = local(make_tiny_llama(tmp_path, template=template)).prompt(messages)
    assert prompt == f"<begin>{messages[0]['content']}\n\n{messages[1]['content']}"


def test_chat_template_that_fails(tmp_path: Path) -> None:
    """A template that takes no message at all is an operator's error."""
    model = local(make_tiny_llama(tmp_path, template="{{ raise_exception('broken') }}"))
    with pytest.raises(UserError, match=r"chat template fails .broken."):
        model.prompt(task(0).messages("json"))


def test_a_prompt_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """A row that does not fit into the model's context is accounted for as refused; those beside it are answered."""
    model = local(make_tiny_llama(tmp_path))
    shortest = model._tokenizer(model.prompt(task(0).messages("json")), add_special_tokens=False)["input_ids"]
    model._context = len(shortest) + 16  # and as many for the answer
    replies = ask(model, [task(0), task(1, "castle"), task(2, "the cat sits in the garden castle")])
    assert replies["d2"].outcome == "refused" and f"the model's {model._context}" in str(replies["d2"].error)
    assert replies["d0"].raw and replies["d1"].raw
    assert len(replies) == 3


def test_batch_that_is_too_large_for_the_gpu(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that runs out of memory is an operator's error that names the flag."""
    model = local(llama)

    def full(**_: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(model._model, "generate", full)
    with pytest.raises(UserError, match="--batch-size 3: "):
        ask(model, [task(0)])


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.json"])
def test_incomplete_model_is_refused(tmp_path: Path, missing: str) -> None:
    """A directory without weights in a safe format, or without a tokenizer, is one line with the remedy."""
    make_tiny_llama(tmp_path)
    (tmp_path / missing).unlink()
    if missing == "model.safetensors":
        (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04would be unpickled")
    with pytest.raises(UserError, match=f"--llm-path {tmp_path}: ") as error:
        local(tmp_path)
    assert "\n" not in str(error.value)


def test_stage_with_a_local_model(llama: Path, tmp_path: Path) -> None:
    """The stage journals, resumes and sums up a local model as it does an endpoint."""
    frame = write_frame(tmp_path / "frame.parquet", 7)
    settings = QueriesSettings(llm_path=str(llama), max_tokens=16)
    summary = generate(frame, settings)
    assert (summary.source, summary.asked) == (llama.name, 7)
    assert summary.underfilled + summary.empty == 7
    again = generate(frame, settings)
    assert (again.resumed, again.asked, again.queries) == (7, 0, summary.queries)
    assert (
        sum(len(kinds) for kinds in pq.read_table(tmp_path / "queries.parquet")["kinds"].to_pylist()) == again.queries
    )


# --- behind a server -------------------------------------------------------------------------------------------------


@pytest.fixture
def server(llama: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start `transformers serve` with the tiny LLaMA; return the process and its base URL."""
    port = unused_port()
    program = str(Path(sys.executable).with_name("transformers"))
    with (tmp_path / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(llama), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
    try:
        yield process, f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def test_stage_with_a_real_server(
    llama: Path, tmp_path: Path, server: tuple[subprocess.Popen[bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real OpenAI-compatible server, waited for until it is up, answers every row; killed midway it is given up."""
    monkeypatch.setattr(indexer.inference.llm.client, "FIRST_WAIT", 0.05)
    process, url = server
    frame = write_frame(tmp_path / "frame.parquet", 5)
    common = {"llm": url, "llm_model": str(llama), "max_tokens": 16, "concurrency": 2, "retries": 1}
    wait_for(url, process)
    summary = generate(frame, QueriesSettings(**common))
    assert (summary.asked, summary.failed, summary.refused) == (5, 0, 0)
    assert summary.underfilled + summary.empty == 5 and summary.queries >= 1
    lines = [json.loads(line) for line in (tmp_path / "queries.journal.jsonl").read_text().splitlines()]
    assert all(line["raw"] and isinstance(line["raw"][0], str) for line in lines)

    write_frame(frame, 300)
    killer = subprocess.Popen(
        [sys.executable, "-c", KILL_AT_TEN, str(tmp_path / "queries.journal.jsonl"), str(process.pid)]
    )
    with pytest.raises(UserError, match=f"--llm {url}: .* of 300 rows are without an answer"):
        generate(frame, QueriesSettings(**common))
    killer.wait()
    summary = Summary.model_validate_json((tmp_path / "queries.summary.json").read_text())
    answered = summary.underfilled + summary.empty + summary.complete
    assert summary.resumed == 5 and 10 <= answered < 300
    assert answered + summary.failed + summary.unasked == 300


KILL_AT_TEN = """
import os, sys, time
while open(sys.argv[1], "rb").read().count(b"\\n") < 10:
    time.sleep(0.005)
os.kill(int(sys.argv[2]), 9)
"""


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server is up."""
    until = time.monotonic() + 120
    while True:
        assert process.poll() is None and time.monotonic() < until
        with suppress(OSError), urlopen(url.removesuffix("/v1") + "/health", timeout=1):  # noqa: S310 - on this machine
            return
        time.sleep(0.1)
