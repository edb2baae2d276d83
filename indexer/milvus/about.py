"""Description of an index in Milvus: what a replica has to know of it, kept in the collection of texts by key."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from indexer.artifacts.manifest import Manifest
from indexer.index.terms.rules import NO_RULES, Rules
from indexer.inference.encoder import Vectors
from indexer.milvus.collections import Names
from indexer.milvus.engine import Engine
from indexer.milvus.fields import StoredField
from indexer.milvus.filtering.expression import Expression

TEXT_KINDS = Expression('kind == "term" or kind == "word" or kind == "more"')
"""Rows of the lookup that are counted: all but the description itself."""


@dataclass(frozen=True)
class About:
    """What a replica has to know of an index.

    Attributes:
        manifest: of the artifact, with the kind of dense index that Milvus has.
        schema: of the documents.
        fields: the metadata that filters can ask for.
        left_out: path of each field that is not kept → why.
        counts: exact number of rows of each collection.
        sample: numbers of passages from all over the index.
        dense_map: matrix for the queries of dense mode, shape (dimension, dimension); None for none.
        rules: synonyms and stop words of queries.
    """

    manifest: Manifest
    schema: pa.Schema
    fields: list[StoredField]
    left_out: dict[str, str]
    counts: dict[str, int]
    sample: list[int]
    dense_map: Vectors | None
    rules: Rules = NO_RULES

    def text(self) -> str:
        """Return the description as text."""
        matrix = None if self.dense_map is None else base64.b64encode(self.dense_map.astype("<f4").tobytes()).decode()
        return json.dumps(
            {
                "manifest": self.manifest.model_dump(mode="json"),
                "schema": base64.b64encode(self.schema.serialize()).decode(),
                "fields": [asdict(field) for field in self.fields],
                "left_out": self.left_out,
                "counts": self.counts,
                "sample": self.sample,
                "dense_map": matrix,
                "rules": asdict(self.rules),
            }
        )

    @classmethod
    def parse(cls, text: str) -> About:
        """Return a description from its text."""
        content: dict[str, Any] = json.loads(text)
        manifest = Manifest.model_validate(content["manifest"])
        matrix = content["dense_map"]
        if matrix is not None:
            dimension = manifest.contract.dimension
            matrix = np.frombuffer(base64.b64decode(matrix), dtype="<f4").reshape(dimension, dimension)
        return cls(
            manifest=manifest,
            schema=pa.ipc.read_schema(pa.py_buffer(base64.b64decode(content["schema"]))),
            fields=[StoredField(**field) for field in content["fields"]],
            left_out=content["left_out"],
            counts=content["counts"],
            sample=content["sample"],
            dense_map=matrix,
            rules=Rules.of(content.get("rules", {})),
        )

    @cached_property
    def metadata_schema(self) -> pa.Schema | None:
        """Fields of the metadata; None where there is none."""
        if "metadata" not in self.schema.names:
            return None
        return pa.schema(list(self.schema.field("metadata").type))

    def missing(self, engine: Engine, names: Names) -> str:
        """Return which collection does not hold exactly its rows, with both numbers; empty where all do."""
        expected = {
            names.documents: (self.counts["documents"], Expression("")),
            names.passages: (self.counts["passages"], Expression("")),
            names.lookup: (self.counts["lookup"], TEXT_KINDS),
        }
        for collection, (count, where) in expected.items():
            found = engine.count(collection, where)
            if found != count:
                return f"{collection} has {found:,} rows of {count:,}"
        return ""


def read_about(engine: Engine, names: Names) -> About | None:
    """Return the description of an index; None where its copy is not complete."""
    rows = engine.query(names.lookup, Expression('kind == "about"'), ["key", "value"], limit=16_000)
    text = "".join(row["value"] for row in sorted(rows, key=lambda row: row["key"]))
    try:
        return About.parse(text) if text else None
    except (ValueError, KeyError):
        return None
