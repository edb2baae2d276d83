"""Labels as metadata (`--label-with`): a classifier labels every document while the index is built.

Two columns are added: the label and its probability. With a multi-label classifier both hold lists, the most probable
label first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from indexer.build.metadata.columns import column_types, with_columns, with_values
from indexer.errors import UserError
from indexer.inference.classifier import Classifier, Numbers, find_classifier


def label_types(classifier: Classifier) -> tuple[pa.DataType, pa.DataType]:
    """Return the Arrow types of label and probability."""
    if classifier.contract.multi_label:
        return pa.list_(pa.string()), pa.list_(pa.float32())
    return pa.string(), pa.float32()


def decode_labels(classifier: Classifier, probabilities: Numbers) -> tuple[pa.Array, pa.Array]:
    """Return label and probability of each row of ``probabilities``, which has the shape (texts, labels)."""
    label_type, probability_type = label_types(classifier)
    applies = classifier.contract.applies(probabilities)
    if not classifier.contract.multi_label:
        best = probabilities.argmax(axis=1)
        names = [classifier.labels[label] for label in best]
        return pa.array(names, label_type), pa.array(probabilities[np.arange(len(best)), best], probability_type)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    chosen = [[label for label in order[row] if applies[row, label]] for row in range(len(order))]
    return (
        pa.array([[classifier.labels[label] for label in labels] for labels in chosen], label_type),
        pa.array([probabilities[row, labels].tolist() for row, labels in enumerate(chosen)], probability_type),
    )


@dataclass(frozen=True)
class Labeller:
    """A classifier and the name of the column that it fills; its probabilities go into ``<column>_probability``."""

    classifier: Classifier
    column: str

    @classmethod
    def find(cls, name: str, column: str, data: Path | None, cores: int | None) -> Labeller:
        """Open the classifier ``name``: ``current``, an id, or a directory.

        Raises:
            UserError: there is no classifier of that name, or it was altered.
        """
        return cls(Classifier.open(find_classifier(name, data), cores), column)

    @property
    def columns(self) -> tuple[str, str]:
        """The names of both columns."""
        return self.column, f"{self.column}_probability"

    def recipe(self) -> dict[str, Any]:
        """Return what decides the labels, for the fingerprint: the content of the classifier and the column."""
        return {"sha256": self.classifier.digest(), "column": self.column}

    def facts(self) -> dict[str, Any]:
        """Return the recipe with the classifier's name, for the manifest of the index."""
        return {"classifier": self.classifier.name, **self.recipe()}

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """Return a corpus's schema with both columns among the metadata.

        Raises:
            UserError: the corpus has a column of one of these names.
        """
        there = column_types(schema)
        for name in self.columns:
            if name in there:
                raise UserError(
                    f"--label-with: the corpus has a column {name!r} already; name another with --label-column"
                )
        return with_columns(schema, zip(self.columns, label_types(self.classifier), strict=True))

    def add(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return documents with their labels; the classifier reads the text, not the title."""
        probabilities = self.classifier.predict(batch.column("text").to_pylist())
        self.schema(batch.schema)  # refuses documents that have such columns
        return with_values(batch, dict(zip(self.columns, decode_labels(self.classifier, probabilities), strict=True)))
