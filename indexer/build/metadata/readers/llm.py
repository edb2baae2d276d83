"""Language model behind an endpoint as a reader: one request for each document, which asks for all columns at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from indexer.build.metadata.readers.prompt import WORDING, Prompt
from indexer.build.metadata.readers.reader import Answers
from indexer.build.metadata.sample import Texts
from indexer.build.metadata.settings import ExtractSettings
from indexer.errors import UserError
from indexer.inference.llm.client import Endpoint, EndpointError, EndpointOptions, Outcome, Reply
from indexer.inference.llm.openai_api import Form, response_format

TOKENS = 40
"""Tokens of the answer for each column."""
RETRIES = 5


class Task(NamedTuple):
    """A document that is asked about, and its position among those that are read together."""

    position: int
    texts: Texts


class LlmReader(Endpoint[Task, Answers]):
    """Asks a language model for the values of columns, greedily: the same text has the same answer.

    Args:
        settings: where the model is.
        prompt: what is asked. Its values and examples may change from build to build; answers that are kept stay.
    """

    def __init__(self, settings: ExtractSettings, prompt: Prompt) -> None:
        super().__init__(
            EndpointOptions(
                url=settings.llm,
                model=settings.llm_model,
                wait=settings.llm_wait,
                concurrency=settings.llm_concurrency,
                timeout=settings.llm_timeout,
                retries=RETRIES,
                temperature=0.0,
                max_tokens=TOKENS * (len(prompt.columns) + 1),
                seed=0,
                otherwise="cells that are filled as the rows with a value say",
            )
        )
        self._prompt = prompt
        self._named = settings.reader_recipe()

    @property
    def recipe(self) -> dict[str, Any]:
        """The model, the columns and the wording."""
        return {**self._named, "columns": list(self._prompt.columns), "wording": WORDING}

    def read(self, documents: Sequence[Texts], done: Callable[[int, Answers], None]) -> None:
        """Ask about documents, and pass on what is answered. Without an answer remain those that the model refuses.

        Raises:
            UserError: the endpoint cannot be reached, or refuses every request.
        """

        def answered(task: Task, reply: Reply[Answers]) -> None:
            if reply.answer is not None:
                done(task.position, reply.answer)

        try:
            self.ask_all(map(Task._make, enumerate(documents)), answered)
        except EndpointError as error:
            raise UserError(f"{error}; what was answered is kept, and the same command continues from there") from error

    def request(self, task: Task, form: Form) -> tuple[str, dict[str, Any]]:
        """Return path and content of the request for a document."""
        messages = self._prompt.messages(task.texts, as_json=form != "lines")
        return "/chat/completions", {"messages": messages, **response_format(form, "fields", self._prompt.schema())}

    def interpret(self, task: Task, text: str) -> tuple[Answers, Outcome]:
        """Return what an answer says, and whether it is one."""
        answers = self._prompt.read(text, task.texts)
        return ({}, "empty") if answers is None else (answers, "complete")
