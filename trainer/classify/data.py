"""Labelled texts divided into train, dev and test.

The division is stratified: every label has about the same share of each side. Rows with the same text (but for case and
white space) stay together, so that no test row has been learned by heart.
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

FEWEST = 2
"""Training rows that a label needs: one for each part of the smallest cross-validation."""
Truth = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Part:
    """The rows of one side: texts, and which label applies, shape (texts, labels)."""

    texts: list[str]
    truth: Truth
    seen: Truth
    """Which texts are training texts too, shape (texts,)."""

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """The place of each text's one label, shape (texts,)."""
        places: npt.NDArray[np.int64] = self.truth.argmax(axis=1)
        return places


@dataclass(frozen=True)
class Labelled:
    """What a classifier learns from, is steered by and is measured on."""

    labels: list[str]
    multi_label: bool
    parts: dict[Side, Part]
    notes: list[str]

    @property
    def train(self) -> Part:
        """The rows that are learned from."""
        return self.parts["train"]

    @property
    def dev(self) -> Part:
        """The rows that decide when to stop, and that probabilities are calibrated on."""
        return self.parts["dev"]

    @property
    def test(self) -> Part:
        """The rows that only the report is about."""
        return self.parts["test"]


def label_names(labels: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the distinct labels, whole numbers by size before names by alphabet."""
    distinct = {label for own in labels for label in own}
    return sorted(distinct, key=lambda label: (0, int(label), "") if label.isdecimal() else (1, 0, label))


def divide(rows: Rows, *, dev: float, test: float, seed: int) -> list[Side]:
    """Return the side of every row: as the file says, and drawn by ``seed`` for sides that it does not know."""
    sides: list[Side] = list(rows.sides) if rows.sides else ["train"] * len(rows.texts)
    shares: dict[Side, float] = {"test": test, "dev": dev}
    wanted = {side: share for side, share in shares.items() if side not in (rows.sides or ())}
    counts = Counter(label for own in rows.labels for label in own)
    strata: dict[str, dict[str, list[int]]] = {}
    for place, (text, own) in enumerate(zip(rows.texts, rows.labels, strict=True)):
        if sides[place] == "train":
            rarest = min(own, key=lambda label: (counts[label], label), default="")
            strata.setdefault(rarest, {}).setdefault(same_text(text), []).append(place)
    chance = np.random.default_rng(seed)
    taken: set[str] = set()
    for stratum in sorted(strata):
        groups = [group for key, group in strata[stratum].items() if key not in taken]
        taken |= strata[stratum].keys()
        order = [groups[place] for place in chance.permutation(len(groups))]
        for side, share in wanted.items():
            number = min(max(round(share * len(groups)), 1), max(len(order) - FEWEST, 0))
            for group in order[:number]:
                for place in group:
                    sides[place] = side
            order = order[number:]
    return _together(rows, sides) if wanted else sides


def _together(rows: Rows, sides: list[Side]) -> list[Side]:
    """Give rows with the same text and different labels the side of the first, where no file says otherwise."""
    if rows.sides:
        return sides
    first: dict[str, Side] = {}
    return [first.setdefault(same_text(text), side) for text, side in zip(rows.texts, sides, strict=True)]


def same_text(text: str) -> str:
    """Return what two texts have in common that differ only in case and white space."""
    return " ".join(text.casefold().split())


def labelled(rows: Rows, sides: Sequence[Side]) -> Labelled:
    """Return the labels that can be learned, and the rows of each side.

    Raises:
        UserError: a side is empty, there is nothing to tell apart, or a label has too few training rows.
    """
    at = {side: [place for place, each in enumerate(sides) if each == side] for side in SIDES}
    for side, places in at.items():
        if not places:
            raise UserError(f"no row is on the side {side}; give more rows, or a larger --dev and --test")
    counts = Counter(label for place in at["train"] for label in rows.labels[place])
    labels = label_names(rows.labels)
    if len(labels) < FEWEST:
        which = f"all rows have the label {labels[0]!r}" if labels else "no row has a label"
        raise UserError(f"{which}; there is nothing to tell apart; give rows with other labels too")
    few = [label for label in labels if counts[label] < FEWEST]
    if few:
        raise UserError(
            f"label {few[0]!r}: {counts[few[0]]} training rows, at least {FEWEST} are needed; give more, or remove it"
            + (f" (also {', '.join(map(repr, few[1 : SHOWN + 1]))})" if few[1:] else "")
        )
    learned = {same_text(rows.texts[place]) for place in at["train"]}
    found = {}
    for side, places in at.items():
        seen = np.array([same_text(rows.texts[place]) in learned for place in places], dtype=np.bool_)
        found[side] = replace(part_of(rows, places, labels), seen=seen)
    return Labelled(labels, rows.multi_label, found, rows.notes)


def part_of(rows: Rows, places: Sequence[int], labels: list[str]) -> Part:
    """Return some rows with the truth as a matrix over ``labels``.

    Raises:
        UserError: a row has a label that is not among them.
    """
    column = {label: number for number, label in enumerate(labels)}
    truth = np.zeros((len(places), len(labels)), dtype=np.bool_)
    for row, place in enumerate(places):
        for label in rows.labels[place]:
            if label not in column:
                known = ", ".join(map(repr, labels[:SHOWN])) + (" …" if len(labels) > SHOWN else "")
                raise UserError(f"label {label!r}: unknown to this classifier, which knows {known}; remove its rows")
            truth[row, column[label]] = True
    return Part([rows.texts[place] for place in places], truth, np.zeros(len(places), dtype=np.bool_))


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
    corpus = Corpus.check(source, **select(settings, RowSettings), title_column="none")
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
