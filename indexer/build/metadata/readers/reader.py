"""Readers of texts, and their answers on disk: a killed build asks for nothing twice, and neither does the next one.

The answers are in `DATA/answers/extract.sqlite`, by a hash of the reader and the text. The file may be deleted; then
everything is asked again.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from indexer.build.metadata.sample import Texts
from indexer.errors import UserError

FILE = Path("answers") / "extract.sqlite"
COMMIT_SECONDS = 1.0
"""Seconds after which answers are on the disk."""


class Said(NamedTuple):
    """A value that a reader found in a text, and how sure it is: between 0 and 1, comparable within a reader only."""

    value: str
    confidence: float


Answers = dict[str, Said]
"""What was found in a text, by column."""


class Reader(Protocol):
    """A model that finds values of columns in texts."""

    @property
    def name(self) -> str:
        """The model."""

    @property
    def recipe(self) -> dict[str, Any]:
        """What decides the answers besides the text."""

    def read(self, documents: Sequence[Texts], done: Callable[[int, Answers], None]) -> None:
        """Read documents, and pass the position of each and what was found to ``done``, in any order.

        A document that cannot be read is left out.

        Raises:
            UserError: the reader cannot go on.
        """


class KeptReader:
    """A reader whose answers are kept on disk."""

    def __init__(self, reader: Reader, data: Path) -> None:
        self.reader = reader
        self._path = data / FILE
        self._recipe = json.dumps(reader.recipe, sort_keys=True)
        self._committed = time.monotonic()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A build asks in its own thread and fills in the one that reads ahead: never at the same time.
            self._kept = sqlite3.connect(self._path, check_same_thread=False)
            self._kept.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answers TEXT) WITHOUT ROWID")
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"{self._path}: answers cannot be kept there ({error}); mend or delete the file") from error

    @property
    def name(self) -> str:
        """The model."""
        return self.reader.name

    def kept(self, documents: Sequence[Texts]) -> list[Answers | None]:
        """Return what was found in each document before, None where it was not read."""
        return [self._get(self._key(document)) for document in documents]

    def read(self, documents: Sequence[Texts], advance: Callable[[int], None]) -> list[Answers | None]:
        """Return what was found in each document, None where it could not be read; ``advance`` gets how many are done.

        Raises:
            UserError: the reader cannot go on. What it has answered is kept.
        """
        keys = [self._key(document) for document in documents]
        found = [self._get(key) for key in keys]
        todo = [position for position, answers in enumerate(found) if answers is None]
        advance(len(documents) - len(todo))

        def done(position: int, answers: Answers) -> None:
            found[todo[position]] = answers
            self._keep(keys[todo[position]], answers)
            advance(1)

        if todo:
            try:
                self.reader.read([documents[position] for position in todo], done)
            finally:
                self._kept.commit()
        return found

    def _key(self, document: Texts) -> bytes:
        return hashlib.sha256(json.dumps([self._recipe, *document]).encode()).digest()

    def _get(self, key: bytes) -> Answers | None:
        row = self._kept.execute("SELECT answers FROM answers WHERE key = ?", (key,)).fetchone()
        return {column: Said(*said) for column, said in json.loads(row[0]).items()} if row else None

    def _keep(self, key: bytes, answers: Answers) -> None:
        self._kept.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, json.dumps(answers)))
        if time.monotonic() - self._committed > COMMIT_SECONDS:
            self._kept.commit()
            self._committed = time.monotonic()
