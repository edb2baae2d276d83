"""Labelled texts: read from a file, checked, and split into train, dev and test.

The split is stratified: every label has about the same share of each side. Rows with the same text (except for case and
white space) stay on one side, so no test row was memorised in training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer.artifacts.manifest import InputEntry
from indexer.corpus.corpus import Corpus
from indexer.corpus.settings import RowSettings, select
from indexer.errors import UserError
from trainer.classify.settings import LabelledSettings

Side = Literal["train", "dev", "test"]
SIDES: tuple[Side, ...] = get_args(Side)
SIDE_NAMES: dict[str, Side] = {
    **{side: side for side in SIDES}, "training": "train", "validation": "dev", "valid": "dev", "val": "dev",
}  # fmt: skip
MIN_TRAINING_ROWS = 2
"""Training rows that a label needs: one for each fold of the smallest cross-validation."""
MAX_SHOWN = 5
"""Labels or ids that a message lists."""
Truth = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LabelledRows:
    """Labelled texts as in the file: the labels of each text, and its side where the file has a split column."""

    texts: list[str]
    labels: list[tuple[str, ...]]
    sides: list[Side] | None
    multi_label: bool
    inputs: list[InputEntry]
    notes: list[str]


@dataclass(frozen=True)
class Split:
    """The rows of one side: texts, and which labels apply, shape (texts, labels)."""

    texts: list[str]
    truth: Truth
    seen: Truth
    """Which texts are training texts as well, shape (texts,)."""

    @property
    def label_indices(self) -> npt.NDArray[np.int64]:
        """The index of each text's only label, shape (texts,)."""
        indices: npt.NDArray[np.int64] = self.truth.argmax(axis=1)
        return indices


@dataclass(frozen=True)
class LabelledData:
    """The labels, and the rows for training, calibration and measurement."""

    labels: list[str]
    multi_label: bool
    splits: dict[Side, Split]
    notes: list[str]

    @property
    def train(self) -> Split:
        """The rows that are trained on."""
        return self.splits["train"]

    @property
    def dev(self) -> Split:
        """The rows that decide when to stop and which weights to keep, and that probabilities are calibrated on."""
        return self.splits["dev"]

    @property
    def test(self) -> Split:
        """The rows that only the report uses."""
        return self.splits["test"]


def read_rows(source: str, settings: LabelledSettings) -> LabelledRows:
    """Read labelled texts from Parquet, CSV or JSON lines.

    Raises:
        UserError: a column is missing, a row has no text or no label, or a side has an unknown name.
    """
    corpus = Corpus.check(source, **select(settings, RowSettings), title_column="none")
    metadata = corpus.schema.field("metadata").type if "metadata" in corpus.schema.names else pa.struct([])
    names = [field.name for field in metadata]
    if settings.label_column not in names:
        raise UserError(
            f"{source}: no column {settings.label_column!r} beside the texts, only "
            f"{', '.join(map(repr, names)) or 'none'}; name the right one with --label-column"
        )
    has_lists = pa.types.is_list(metadata.field(settings.label_column).type)
    multi_label = has_lists or settings.label_separator is not None
    texts: list[str] = []
    labels: list[tuple[str, ...]] = []
    sides: list[Side] = []
    missing: list[str] = []
    for batch in corpus.batches():
        label_cells = batch.column("metadata").field(settings.label_column).to_pylist()
        side_cells = _read_sides(batch, settings.split_column) if settings.split_column in names else None
        rows = zip(batch.column("id").to_pylist(), batch.column("text").to_pylist(), label_cells, strict=True)
        for row, (row_id, text, cell) in enumerate(rows):
            row_labels = _parse_labels(cell, settings.label_separator, multi_label=multi_label)
            if row_labels is None:
                missing.append(row_id)
                continue
            texts.append(text)
            labels.append(row_labels)
            if side_cells:
                sides.append(_parse_side(side_cells[row], settings.split_column, row_id))
    notes = [f"{corpus.rows - corpus.documents:,} rows without a usable text were left out"] if corpus.rejects else []
    if missing:
        which = ", ".join(map(repr, missing[:MAX_SHOWN])) + (" …" if len(missing) > MAX_SHOWN else "")
        if not settings.skip_bad_rows:
            raise UserError(
                f"{source}: {len(missing):,} rows have no label in {settings.label_column!r} (id {which}); "
                "label them, or leave them out with --skip-bad-rows"
            )
        notes.append(f"{len(missing):,} rows without a label were left out (id {which})")
    if not texts:
        raise UserError(f"{source}: no row has a label in {settings.label_column!r}; name another --label-column")
    return LabelledRows(texts, labels, sides or None, multi_label, corpus.inputs, notes)


def assign_sides(rows: LabelledRows, *, dev: float, test: float, seed: int) -> list[Side]:
    """Return the side of every row: as in the file, or drawn at random from its training rows.

    Args:
        rows: texts, labels and the sides that the file gives.
        dev: share of the rows for dev, where the file gives none.
        test: share of the rows for test, where the file gives none.
        seed: of the drawing.
    """
    sides: list[Side] = list(rows.sides) if rows.sides else ["train"] * len(rows.texts)
    shares: dict[Side, float] = {"test": test, "dev": dev}
    drawn_shares = {side: share for side, share in shares.items() if side not in (rows.sides or ())}
    counts = Counter(label for labels in rows.labels for label in labels)
    strata: dict[str, dict[str, list[int]]] = {}  # by the rarest label of a row, then by text
    for row, (text, labels) in enumerate(zip(rows.texts, rows.labels, strict=True)):
        if sides[row] == "train":
            rarest = min(labels, key=lambda label: (counts[label], label), default="")
            strata.setdefault(rarest, {}).setdefault(normalise_text(text), []).append(row)
    rng = np.random.default_rng(seed)
    assigned: set[str] = set()
    for stratum in sorted(strata):
        groups = [group for key, group in strata[stratum].items() if key not in assigned]
        assigned |= strata[stratum].keys()
        order = [groups[index] for index in rng.permutation(len(groups))]
        for side, share in drawn_shares.items():
            number = min(max(round(share * len(groups)), 1), max(len(order) - MIN_TRAINING_ROWS, 0))
            for group in order[:number]:
                for row in group:
                    sides[row] = side
            order = order[number:]
    return _join_duplicates(rows, sides) if drawn_shares else sides


def make_splits(rows: LabelledRows, sides: Sequence[Side]) -> LabelledData:
    """Return the labels, and the rows of each side.

    Raises:
        UserError: a side is empty, there are fewer than two labels, or a label has too few training rows.
    """
    side_rows = {side: [row for row, value in enumerate(sides) if value == side] for side in SIDES}
    for side, indices in side_rows.items():
        if not indices:
            raise UserError(f"no row is on the side {side}; give more rows, or a larger --dev and --test")
    counts = Counter(label for row in side_rows["train"] for label in rows.labels[row])
    labels = collect_labels(rows.labels)
    if len(labels) < 2:
        which = f"all rows have the label {labels[0]!r}" if labels else "no row has a label"
        raise UserError(f"{which}; there is nothing to tell apart; give rows with other labels too")
    rare = [label for label in labels if counts[label] < MIN_TRAINING_ROWS]
    if rare:
        raise UserError(
            f"label {rare[0]!r}: {counts[rare[0]]} training rows, at least {MIN_TRAINING_ROWS} are needed; "
            "give more, or remove it" + (f" (also {', '.join(map(repr, rare[1 : MAX_SHOWN + 1]))})" if rare[1:] else "")
        )
    training_texts = {normalise_text(rows.texts[row]) for row in side_rows["train"]}
    splits = {}
    for side, indices in side_rows.items():
        seen = np.array([normalise_text(rows.texts[row]) in training_texts for row in indices], dtype=np.bool_)
        splits[side] = replace(select_rows(rows, indices, labels), seen=seen)
    return LabelledData(labels, rows.multi_label, splits, rows.notes)


def select_rows(rows: LabelledRows, indices: Sequence[int], labels: list[str]) -> Split:
    """Return the rows with these indices, and the truth as a matrix over ``labels``.

    Raises:
        UserError: a row has a label that is not in ``labels``.
    """
    column = {label: number for number, label in enumerate(labels)}
    truth = np.zeros((len(indices), len(labels)), dtype=np.bool_)
    for position, row in enumerate(indices):
        for label in rows.labels[row]:
            if label not in column:
                known = ", ".join(map(repr, labels[:MAX_SHOWN])) + (" …" if len(labels) > MAX_SHOWN else "")
                raise UserError(f"label {label!r}: unknown to this classifier, which knows {known}; remove its rows")
            truth[position, column[label]] = True
    return Split([rows.texts[row] for row in indices], truth, np.zeros(len(indices), dtype=np.bool_))


def collect_labels(row_labels: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the distinct labels: whole numbers in numeric order, then names in alphabetical order."""
    distinct = {label for labels in row_labels for label in labels}
    return sorted(distinct, key=lambda label: (0, int(label), "") if label.isdecimal() else (1, 0, label))


def normalise_text(text: str) -> str:
    """Return the form that is equal for texts that differ only in case and white space."""
    return " ".join(text.casefold().split())


def _join_duplicates(rows: LabelledRows, sides: list[Side]) -> list[Side]:
    """Give rows with the same text and different labels the side of the first one, where the file gives no sides."""
    if rows.sides:
        return sides
    first: dict[str, Side] = {}
    return [first.setdefault(normalise_text(text), side) for text, side in zip(rows.texts, sides, strict=True)]


def _parse_labels(value: Any, separator: str | None, *, multi_label: bool) -> tuple[str, ...] | None:
    """Return the labels in a cell; None where it has none although one is required."""
    if value is None:
        return () if separator is not None else None
    if multi_label:
        parts = value.split(separator) if isinstance(value, str) else value if isinstance(value, list) else [value]
        return tuple(dict.fromkeys(label for part in parts if (label := _format_label(part))))
    label = _format_label(value)
    return (label,) if label else None


def _format_label(value: Any) -> str:
    """Return a label as text: true and false as in JSON, and 1.0 (pandas' form of 1 in a column with gaps) as 1."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value).strip()


def _read_sides(batch: pa.RecordBatch, column: str) -> list[Any]:
    sides: list[Any] = batch.column("metadata").field(column).to_pylist()
    return sides


def _parse_side(value: Any, column: str, row_id: str) -> Side:
    side = SIDE_NAMES.get(str(value).strip().lower())
    if side is None:
        raise UserError(
            f"id {row_id!r}: column {column!r} says {value!r}; write train, dev or test, or name another --split-column"
        )
    return side
