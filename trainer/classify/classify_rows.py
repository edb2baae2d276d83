"""Labelled texts as a file has them: read, checked, and refused by name where something is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import pyarrow as pa

from indexer.artifacts.manifest import InputEntry
from indexer.corpus.corpus import Corpus
from indexer.errors import UserError
from trainer.classify.settings import LabelledSettings

Side = Literal["train", "dev", "test"]
SIDES: tuple[Side, ...] = get_args(Side)
NAMES: dict[str, Side] = {
    **{side: side for side in SIDES}, "training": "train", "validation": "dev", "valid": "dev", "val": "dev",
}  # fmt: skip
SHOWN = 5
"""Names that a message lists."""


@dataclass(frozen=True)
class Rows:
    """Labelled texts as a file has them: ``labels`` of each text, and its side where the file says so."""

    texts: list[str]
    labels: list[tuple[str, ...]]
    sides: list[Side] | None
    multi_label: bool
    inputs: list[InputEntry]
    notes: list[str]


def read_rows(source: str, settings: LabelledSettings) -> Rows:
    """Read labelled texts from Parquet, CSV or JSON lines.

    Raises:
        UserError: a column is missing, a row has no text or no label, or a side has an unknown name.
    """
    corpus = Corpus.check(
        source,
        text_column=settings.text_column,
        title_column="none",
        limit=settings.limit,
        skip_bad_rows=settings.skip_bad_rows,
    )
    others = corpus.schema.field("metadata").type if "metadata" in corpus.schema.names else pa.struct([])
    names = [field.name for field in others]
    if settings.label_column not in names:
        raise UserError(
            f"{source}: no column {settings.label_column!r} beside the texts, only "
            f"{', '.join(map(repr, names)) or 'none'}; name the right one with --label-column"
        )
    lists = pa.types.is_list(others.field(settings.label_column).type)
    multi_label = lists or settings.label_separator is not None
    texts: list[str] = []
    labels: list[tuple[str, ...]] = []
    sides: list[Side] = []
    missing: list[str] = []
    for batch in corpus.batches():
        found = batch.column("metadata").field(settings.label_column).to_pylist()
        told = _sides(batch, settings.split_column) if settings.split_column in names else None
        rows = zip(batch.column("id").to_pylist(), batch.column("text").to_pylist(), found, strict=True)
        for place, (name, text, cell) in enumerate(rows):
            own = _labels(cell, settings.label_separator, multi_label=multi_label)
            if own is None:
                missing.append(name)
                continue
            texts.append(text)
            labels.append(own)
            if told:
                sides.append(_side(told[place], settings.split_column, name))
    notes = [f"{corpus.rows - corpus.documents:,} rows without a usable text were left out"] if corpus.rejects else []
    if missing:
        which = ", ".join(map(repr, missing[:SHOWN])) + (" …" if len(missing) > SHOWN else "")
        if not settings.skip_bad_rows:
            raise UserError(
                f"{source}: {len(missing):,} rows have no label in {settings.label_column!r} (id {which}); "
                "label them, or leave them out with --skip-bad-rows"
            )
        notes.append(f"{len(missing):,} rows without a label were left out (id {which})")
    if not texts:
        raise UserError(f"{source}: no row has a label in {settings.label_column!r}; name another --label-column")
    return Rows(texts, labels, sides or None, multi_label, corpus.inputs, notes)


def _labels(value: Any, separator: str | None, *, multi_label: bool) -> tuple[str, ...] | None:
    """Return the labels that a cell holds; None where it holds none and one is wanted."""
    if value is None:
        return () if separator is not None else None
    if multi_label:
        parts = value.split(separator) if isinstance(value, str) else value if isinstance(value, list) else [value]
        return tuple(dict.fromkeys(label for part in parts if (label := _name(part))))
    label = _name(value)
    return (label,) if label else None


def _name(value: Any) -> str:
    """Return a label as text: true and false as JSON has them, 1.0 (how pandas keeps 1 beside gaps) as 1."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value).strip()


def _sides(batch: pa.RecordBatch, column: str) -> list[Any]:
    sides: list[Any] = batch.column("metadata").field(column).to_pylist()
    return sides


def _side(value: Any, column: str, name: str) -> Side:
    side = NAMES.get(str(value).strip().lower())
    if side is None:
        raise UserError(
            f"id {name!r}: column {column!r} says {value!r}; write train, dev or test, or name another --split-column"
        )
    return side
