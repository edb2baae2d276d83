"""`--label-with`: a classifier reads every document while the index is built, and its answer becomes metadata.

Two columns are added: the label, and its probability. Where several labels may apply both hold lists, the most probable
label first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from indexer.errors import UserError
from indexer.inference.classifier import Classifier, Numbers, find_classifier


def label_types(classifier: Classifier) -> tuple[pa.DataType, pa.DataType]:
    """Return the Arrow types of label and probability."""
    if classifier.contract.multi_label:
        return pa.list_(pa.string()), pa.list_(pa.float32())
    return pa.string(), pa.float32()


def labels_of(classifier: Classifier, probabilities: Numbers) -> tuple[pa.Array, pa.Array]:
    """Return label and probability of each row of ``probabilities``, which has the shape (texts, labels)."""
    label_type, sure_type = label_types(classifier)
    applies = classifier.contract.applies(probabilities)
    if not classifier.contract.multi_label:
        best = probabilities.argmax(axis=1)
        names = [classifier.labels[at] for at in best]
        return pa.array(names, label_type), pa.array(probabilities[np.arange(len(best)), best], sure_type)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    chosen = [[at for at in order[row] if applies[row, at]] for row in range(len(order))]
    return (
        pa.array([[classifier.labels[at] for at in row] for row in chosen], label_type),
        pa.array([probabilities[number, row].tolist() for number, row in enumerate(chosen)], sure_type),
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
            UserError: there is none of that name, or it was altered.
        """
        return cls(Classifier.open(find_classifier(name, data), cores), column)

    @property
    def columns(self) -> tuple[str, str]:
        """The names of both columns."""
        return self.column, f"{self.column}_probability"

    def recipe(self) -> dict[str, Any]:
        """Return what decides the labels: what the classifier is, whatever its name, and the column."""
        return {"sha256": self.classifier.digest(), "column": self.column}

    def facts(self) -> dict[str, Any]:
        """Return the same with the classifier's name, for the manifest of the index."""
        return {"classifier": self.classifier.name, **self.recipe()}

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """Return a corpus's schema with both columns among the metadata.

        Raises:
            UserError: the corpus has a column of one of these names.
        """
        place = schema.get_field_index("metadata")
        own = [] if place < 0 else list(schema.field(place).type)
        for name in self.columns:
            if name in {field.name for field in own}:
                raise UserError(
                    f"--label-with: the corpus has a column {name!r} already; name another with --label-column"
                )
        own += [pa.field(name, kind) for name, kind in zip(self.columns, label_types(self.classifier), strict=True)]
        field = pa.field("metadata", pa.struct(own))
        return schema.append(field) if place < 0 else schema.set(place, field)

    def add(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return documents with their labels; what is read of them is the text, not the title."""
        probabilities = self.classifier.predict(batch.column("text").to_pylist())
        labels = dict(zip(self.columns, labels_of(self.classifier, probabilities), strict=True))
        schema = self.schema(batch.schema)
        place = batch.schema.get_field_index("metadata")
        known: dict[str, pa.Array] = {}
        if place >= 0:
            metadata = batch.column(place)
            known = {field.name: metadata.field(at) for at, field in enumerate(metadata.type)}
        metadata = pa.StructArray.from_arrays(
            [*known.values(), *labels.values()], fields=list(schema.field("metadata").type)
        )
        columns = [batch.column(name) for name in schema.names if name != "metadata"]
        return pa.RecordBatch.from_arrays([*columns, metadata], schema=schema)
