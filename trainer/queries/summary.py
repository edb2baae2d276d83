"""Summary of `trainer queries`: rows by outcome, and kept and dropped queries."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from indexer.progress import format_duration, say
from trainer.files import atomic_write
from trainer.queries.llm.journal import Entry


class Summary(BaseModel):
    """Counts of the rows of a frame by outcome. ``chosen`` is the sum of the outcomes, and of asked, resumed and unasked."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(description="source of the queries: a model and where it ran, or `extracts`")
    rows: int = Field(default=0, description="rows of the frame")
    chosen: int = Field(default=0, description="rows that should get queries: all, or those of --limit-documents")
    asked: int = Field(default=0, description="rows that this run sent to the model")
    resumed: int = Field(default=0, description="rows with an answer in the journal of an earlier run")
    unasked: int = Field(
        default=0, description="rows that were not sent to the model, because the endpoint was given up"
    )
    again: int = Field(default=0, description="rows sent again that had failed or been refused in an earlier run")
    stale: int = Field(
        default=0, description="rows whose answer in the journal belongs to another text or other settings"
    )
    complete: int = Field(default=0, description="rows with all queries")
    underfilled: int = Field(default=0, description="rows with fewer")
    empty: int = Field(default=0, description="rows whose answers contain no query")
    refused: int = Field(default=0, description="rows that the model refuses, such as texts that are too long for it")
    failed: int = Field(default=0, description="rows without an answer after all retries")
    queries: int = Field(default=0, description="queries that were kept")
    kinds: dict[str, int] = Field(default={}, description="queries that were kept, by kind")
    dropped: dict[str, int] = Field(default={}, description="dropped queries, by reason")
    attempts: int = Field(default=0, description="requests for these answers, retries included")
    seconds: float = Field(default=0, description="duration of this run")

    def count(self, entry: Entry) -> None:
        """Account for one row."""
        setattr(self, entry.outcome, getattr(self, entry.outcome) + 1)
        self.queries += len(entry.queries)
        self.kinds = dict(Counter(self.kinds) + Counter(kind for kind, _ in entry.queries))
        self.dropped = dict(Counter(self.dropped) + Counter(entry.dropped))
        self.attempts += entry.attempts

    def lines(self) -> str:
        """Return the summary as one line of text."""
        words = [f"{self.queries:,} queries for {self.chosen:,} rows from {self.source}"]
        words += [
            f"{getattr(self, name):,} {name}"
            for name in ("complete", "underfilled", "empty", "refused", "failed", "unasked", "resumed")
            if getattr(self, name)
        ]
        if self.dropped:
            words.append("dropped " + ", ".join(f"{number:,} {reason}" for reason, number in self.dropped.items()))
        return "; ".join(words) + f"; {format_duration(self.seconds)}"

    def report(self, out: Path, started: float) -> None:
        """Print the summary and write it beside ``out``; ``started`` is the start of the run by the monotonic clock."""
        self.seconds = round(time.monotonic() - started, 3)
        say(self.lines())
        with atomic_write(out.with_suffix(".summary.json")) as part:
            part.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
