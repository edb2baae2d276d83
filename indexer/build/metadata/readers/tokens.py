"""Token classifier as a reader: the surest span of a column's label is its value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from indexer.build.metadata.readers.reader import Answers, Said
from indexer.build.metadata.sample import Texts
from indexer.errors import UserError
from indexer.inference.token_classifier import TokenClassifier, model_digest

BATCH_DOCUMENTS = 64
"""Documents that are read together."""


class TokenReader:
    """Finds values by a token classifier.

    Args:
        model: the classifier.
        labels: column → label of its values.
    """

    def __init__(self, model: TokenClassifier, labels: Mapping[str, str]) -> None:
        self._model, self._labels = model, dict(labels)
        self._digest = model_digest(model.folder)
        self.name = model.folder.resolve().name

    @classmethod
    def open(cls, folder: Path, columns: Sequence[str], named: Mapping[str, str], cores: int | None) -> TokenReader:
        """Open the classifier in a directory, whose labels are the columns' names but for those that are ``named``.

        Raises:
            UserError: there is none, or it has no label for a column.
        """
        model = TokenClassifier.open(folder, cores)
        same = {label.casefold(): label for label in model.labels}
        labels: dict[str, str] = {}
        for column in columns:
            label = same.get(named.get(column, column).casefold())
            if label is None:
                raise UserError(
                    f"--token-model {folder}: no label {named.get(column, column)!r} for the column {column!r}; its labels "
                    f"are {', '.join(model.labels)}: say which with --token-labels {column}=LABEL"
                )
            labels[column] = label
        return cls(model, labels)

    @property
    def recipe(self) -> dict[str, Any]:
        """The files of the model, and the labels."""
        return {"tokens": self._digest, "labels": self._labels}

    def read(self, documents: Sequence[Texts], done: Callable[[int, Answers], None]) -> None:
        """Read titles and texts, and pass the surest span of each column's label on."""
        for first in range(0, len(documents), BATCH_DOCUMENTS):
            batch = documents[first : first + BATCH_DOCUMENTS]
            texts = [f"{title}\n{text}" if title else text for title, text in batch]
            for place, spans in enumerate(self._model.spans(texts)):
                answers: Answers = {}
                for column, label in self._labels.items():
                    mine = [span for span in spans if span.label == label]
                    if mine:
                        best = max(mine, key=lambda span: (span.probability, -span.start))
                        value = " ".join(texts[place][best.start : best.end].split())
                        answers[column] = Said(value, round(best.probability, 4))
                done(first + place, answers)
