"""Query writing by a language model: asks for each row of a frame that the journal does not answer, and fills the frame."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from indexer.errors import UserError
from indexer.inference.llm.client import EndpointError, Reply
from indexer.progress import Bar, say
from trainer.data.frame import FrameRow, Mask, Pairs, fill_frame, read_rows
from trainer.queries.llm.endpoint import QueryEndpoint
from trainer.queries.llm.journal import AnswerJournal, Entry
from trainer.queries.llm.parse import Answer
from trainer.queries.llm.prompts import PromptPlan, Task, read_examples
from trainer.queries.llm.shots import corpus_shots
from trainer.queries.settings import QueriesSettings
from trainer.queries.summary import Summary

RETRIED_OUTCOMES = {"failed", "refused"}
"""Outcomes of an earlier run that are tried again."""


class Model(Protocol):
    """A language model, in this process or behind an endpoint."""

    name: str

    def ask_all(self, tasks: Iterator[Task], done: Callable[[Task, Reply[Answer]], None]) -> None:
        """Ask the model for every task, and pass each reply to ``done`` as it comes."""


@dataclass(frozen=True)
class Plan:
    """Input and output frame, mask of the rows to write queries for, and the language of most rows."""

    frame: Path
    out: Path
    chosen: Mask
    language: str


class QueryWriting:
    """One run of query writing: resumes the journal, asks the model, fills the frame."""

    def __init__(self, plan: Plan, settings: QueriesSettings, summary: Summary) -> None:
        self._plan = plan
        self._settings, self._summary = settings, summary
        examples = read_examples(Path(settings.examples)) if settings.examples else ()
        shots = corpus_shots(plan.frame, plan.chosen, plan.language, settings.seed) if settings.completes else ()
        self._prompts = PromptPlan(settings.count, tuple(settings.kinds.split(",")), examples, settings.seed, shots)
        self._recipe = _recipe(settings, self._prompts)
        # Before anything is read: a wrong URL is refused at once.
        self._endpoint = None if settings.llm_path else QueryEndpoint(settings)
        self._path = plan.out.with_suffix(".journal.jsonl")
        self._error: str | None = None
        summary.source = self._endpoint.name if self._endpoint else Path(settings.llm_path or "").resolve().name

    def run(self) -> None:
        """Ask for the rows that the journal does not answer, and fill the frame if none is missing then."""
        with AnswerJournal(self._path, fresh=self._settings.force) as journal:
            todo = self._resume(journal)
            self._summary.unasked = int(todo.sum())
            if todo.any():
                self._ask(journal, todo)
            if not self._blocked():
                self._fill(journal)

    def refuse_missing(self) -> None:
        """Raise a `UserError` where the frame was not written."""
        if not self._blocked():
            return
        remedy = f"the others are kept in {self._path}, and the same command continues from there"
        if self._summary.queries:
            remedy += ", or with --allow-missing writes the frame without them"
        raise UserError(
            f"{self._error or f'{self._summary.source}: no answer contained a query'}; {self._missing():,} of "
            f"{self._summary.chosen:,} rows are without an answer; {remedy}"
        )

    def _missing(self) -> int:
        """Return the number of rows without an answer."""
        return self._summary.failed + self._summary.unasked + self._summary.refused

    def _blocked(self) -> bool:
        """Say whether the frame cannot be written: no query, or rows without an answer and no ``--allow-missing``."""
        if not self._summary.queries:
            return True
        return bool(self._summary.failed or self._summary.unasked) and not self._settings.allow_missing

    def _resume(self, journal: AnswerJournal) -> Mask:
        """Count the rows that the journal answers, and return the mask of the rows that are left."""
        todo = np.zeros_like(self._plan.chosen)
        rows = read_rows(self._plan.frame, self._plan.chosen)
        for row in _with_progress("journal", self._summary.chosen, rows) if len(journal) else rows:
            entry = journal.get(row.id)
            same = entry is not None and entry.key == self._key(row)
            if entry and same and entry.outcome not in RETRIED_OUTCOMES:
                self._summary.count(entry)
                self._summary.resumed += 1
                continue
            todo[row.number] = True
            if entry:
                journal.forget(row.id)
                self._summary.again += same
                self._summary.stale += not same
        if self._summary.stale:
            say(
                f"{self._path}: {self._summary.stale:,} answers belong to other texts or settings; these rows are sent again"
            )
        return todo

    def _ask(self, journal: AnswerJournal, todo: Mask) -> None:
        """Ask the model for the rows of a mask, and journal each reply."""
        keys: dict[str, str] = {}  # of the rows in flight

        def tasks() -> Iterator[Task]:
            for row in read_rows(self._plan.frame, todo):
                keys[row.id] = self._key(row)
                yield self._prompts.task(row.id, row.title, row.text, self._plan.language)

        def done(task: Task, reply: Reply[Answer]) -> None:
            queries, dropped = reply.answer or Answer([], Counter())
            entry = Entry(
                id=task.id,
                key=keys.pop(task.id),
                outcome=reply.outcome,
                queries=[list(pair) for pair in queries],
                dropped=dict(dropped),
                raw=list(reply.raw),
                attempts=reply.attempts,
                error=reply.error,
            )
            journal.add(entry)
            self._summary.count(entry)
            self._summary.asked += 1
            self._summary.unasked -= 1
            self._error = f"{self._summary.source}: {reply.error}" if reply.error else self._error
            bar.advance(1)

        model = self._endpoint or _local_model(self._settings)
        with Bar("queries", int(todo.sum()), "rows") as bar:
            try:
                model.ask_all(tasks(), done)
            except EndpointError as error:
                self._error = str(error)
        self._summary.source = model.name

    def _key(self, row: FrameRow) -> str:
        """Return a digest of everything that decides the answer for a row."""
        return hashlib.sha256(json.dumps([self._recipe, row.title, row.text]).encode()).hexdigest()

    def _fill(self, journal: AnswerJournal) -> None:
        """Write the frame with the queries of the journal."""

        def pairs(rows: list[FrameRow]) -> list[Pairs]:
            bar.advance(len(rows))
            return [self._pairs(journal, row) for row in rows]

        with Bar("write", self._summary.rows, "rows") as bar:
            fill_frame(self._plan.frame, self._plan.out, pairs)

    def _pairs(self, journal: AnswerJournal, row: FrameRow) -> Pairs:
        entry = journal.get(row.id) if self._plan.chosen[row.number] else None
        return [(kind, query) for kind, query in entry.queries] if entry else []


def _recipe(settings: QueriesSettings, prompts: PromptPlan) -> str:
    """Return a digest of everything but the rows that decides the answers; address and speed of the model do not."""
    model = Path(settings.llm_path).resolve().name if settings.llm_path else settings.llm_model or None
    parts = ["local" if settings.llm_path else "endpoint", model, settings.temperature, settings.max_tokens]
    return hashlib.sha256(json.dumps([*parts, prompts.wording()]).encode()).hexdigest()


def _local_model(settings: QueriesSettings) -> Model:
    """Load the model of ``--llm-path``."""
    from trainer.queries.llm.local import LocalModel

    return LocalModel(settings)


def _with_progress(name: str, total: int, rows: Iterator[FrameRow]) -> Iterator[FrameRow]:
    """Yield ``rows`` under a progress bar."""
    with Bar(name, total, "rows") as bar:
        for row in rows:
            yield row
            bar.advance(1)
