"""A language model behind a URL that writes queries: Ollama, vLLM, llama.cpp, `transformers serve` and hosted ones."""

from __future__ import annotations

from typing import Any

from indexer.inference.llm.client import Endpoint, EndpointOptions, Outcome
from indexer.inference.llm.openai_api import Form, response_format
from trainer.queries.llm.parse import Answer, outcome
from trainer.queries.llm.prompts import END_OF_COMPLETION, Task, read_reply
from trainer.queries.settings import QueriesSettings


class QueryEndpoint(Endpoint[Task, Answer]):
    """Writes queries by chat, or by continuing examples from the corpus."""

    without_template = "a base model takes --llm-prompt completion"

    def __init__(self, settings: QueriesSettings) -> None:
        super().__init__(
            EndpointOptions(
                url=settings.llm,
                model=settings.llm_model,
                wait=settings.llm_wait,
                concurrency=settings.concurrency,
                timeout=settings.timeout,
                retries=settings.retries,
                temperature=settings.temperature,
                max_tokens=settings.longest_answer,
                seed=settings.seed,
                otherwise="queries that are extracted from the texts",
            )
        )
        self._completes = settings.completes

    def request(self, task: Task, form: Form) -> tuple[str, dict[str, Any]]:
        """Return path and content of the request for the queries of a row."""
        if self._completes:
            return "/completions", {"prompt": task.completion(), "stop": list(END_OF_COMPLETION)}
        messages = task.messages("lines" if form == "lines" else "json")
        return "/chat/completions", {"messages": messages, **response_format(form, "queries", task.schema())}

    def interpret(self, task: Task, text: str) -> tuple[Answer, Outcome]:
        """Return the queries of an answer, and whether all were written."""
        answer = read_reply(text, task, completes=self._completes)
        return answer, outcome(len(answer.queries), len(task.slots))
