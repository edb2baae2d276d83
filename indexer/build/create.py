"""An empty index: columns without documents, for a writable service to fill. The first compaction makes it a whole one.

While it is empty there are no texts by which the language and the weights of the legs could be found; the compaction finds
them in what was written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from indexer.artifacts.manifest import InputEntry, fingerprint, read_manifest
from indexer.artifacts.store import Store
from indexer.build.assemble import Assembly
from indexer.build.build import BuildResult, find_compacted, publish
from indexer.build.legs.words import check_words
from indexer.build.settings import BuildSettings, ColumnSettings, CreateSettings
from indexer.build.weights.dense_weight import EQUAL_WEIGHT
from indexer.corpus.corpus import Reject
from indexer.corpus.settings import select
from indexer.corpus.treatment import FIELDS, Treatment
from indexer.corpus.values.lists import LIST
from indexer.errors import UserError
from indexer.inference.encoder import Encoder

CREATED = "created"
"""Name in an index's configuration of what its first compaction decides; compacted indexes lack it."""
COLUMN_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "time": pa.timestamp("us", "UTC"),
    "list": LIST,
}


@dataclass
class NoDocuments:
    """A corpus without documents, see `indexer.corpus.corpus.Documents`."""

    schema: pa.Schema
    treatment: Treatment
    inputs: list[InputEntry]
    rows: int = 0
    documents: int = 0
    rejects: list[Reject] = field(default_factory=list)
    id_from: str = "column 'id'"
    notes: list[str] = field(default_factory=list)
    text_bytes: int = 0

    def batches(self, rows: int = 1024) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 - as of a corpus
        """Yield nothing."""
        yield from ()


def parse_columns(columns: str) -> dict[str, pa.DataType]:
    """Return names and types of the columns that ``price:float,brand:text`` names.

    Raises:
        UserError: a type is missing or unknown, or a name is empty, given twice, or that of a field of each document.
    """
    types: dict[str, pa.DataType] = {}
    for part in filter(str.strip, columns.split(",")):
        name, colon, kind = (piece.strip() for piece in part.rpartition(":"))
        if not colon or kind not in COLUMN_TYPES:
            raise UserError(
                f"--columns: {part.strip()!r} names no type; write it as NAME:TYPE, with one of {', '.join(COLUMN_TYPES)}"
            )
        if name in ("", "id", "title", "text"):
            raise UserError(f"--columns: {part.strip()!r}: every document has id, title and text; name another column")
        if name in types:
            raise UserError(f"--columns: {name!r} is given twice; leave one out")
        types[name] = COLUMN_TYPES[kind]
    return types


def create(settings: CreateSettings, data: Path | None = None, cores: int | None = None) -> BuildResult:
    """Publish an empty index and make it live. Where the live index began as the same empty one, nothing is done.

    Args:
        settings: its columns, and how its documents will be read.
        data: the data directory; by default ``$DOWSE_DATA``.
        cores: number of cores of the encoder; by default all.

    Raises:
        UserError: a column is refused, there is no model, or another index is live and ``force`` is off.
    """
    types = parse_columns(settings.columns)
    schema = pa.schema([("id", pa.string()), ("title", pa.string()), ("text", pa.string())])
    if types:
        schema = schema.append(pa.field("metadata", pa.struct(list(types.items()))))
    lists = tuple(name for name, kind in types.items() if kind == LIST)
    digest = hashlib.sha256(str(schema).encode()).hexdigest()
    corpus = NoDocuments(
        schema,
        Treatment(FIELDS if settings.markup == "strip" else (), lists),
        [InputEntry(name="no documents", size=0, sha256=digest)],
    )
    indexes, models = Store("index", data), Store("model", data)
    model = models.resolve(settings.model)
    language = "none" if settings.language == "auto" else settings.language
    build_settings = BuildSettings(language=language, markup=settings.markup, **select(settings, ColumnSettings))
    check_words(build_settings, schema)
    created: dict[str, Any] = {CREATED: {"language": settings.language}}
    recipe = build_settings.recipe() | corpus.treatment.config() | created
    key = fingerprint("index", {"model": model.name}, corpus.inputs, recipe)
    with indexes.building():
        live = indexes.current_id()
        if (compacted := find_compacted(indexes, key)) or (live and indexes.manifest(live).fingerprint == key):
            return BuildResult(compacted or indexes.manifest(str(live)), fresh=False)
        if live and not settings.force:
            documents = indexes.manifest(live).counts["documents"]
            raise UserError(
                f"index {live} is live, with {documents:,} documents; --force makes an empty one live in its place"
            )
        models.verify_once(model.name)
        encoder = Encoder.open(model, build_settings.precision, cores)
        assembly = Assembly(corpus, build_settings, encoder, None, indexes.staging(key))
        weight = read_manifest(model).config.get("dense_weight")
        config = assembly.config(EQUAL_WEIGHT if weight is None else weight) | created
        return BuildResult(publish(indexes, assembly, key, config=config), fresh=True)
