"""Training examples from Parquet and CSV files, selected by the columns that a loss needs and checked row by row.

The sets of columns:

    query, positive                                      a query and a text that answers it
    query, positive, neighbourhood                       and, optionally, which rows belong together (`grouped-mnr`)
    query, positive, negative  (or negative_1 … _n)      and texts that do not answer it
    query, positive, negative …, scores                  and the teacher's scores of the positive and of each negative
    sentence1, sentence2, score                          two texts and how similar they are
    sentence1, sentence2, label                          two texts and whether they mean the same (1) or not (0)
    text                                                 a text, for `tsdae`
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from datasets import Dataset

from indexer.errors import UserError, first_line
from trainer.finetune.grouped import NEIGHBOURHOOD
from trainer.finetune.losses import Columns

_NEGATIVE = re.compile(r"negative(?:_(\d+))?")


def read_examples(paths: Sequence[Path], columns: Columns, max_negatives: int | None = None) -> Dataset:
    """Return the examples of all files as one data set in memory.

    Args:
        paths: Parquet or CSV files with the same columns. A list in a CSV file is written as JSON.
        columns: what the loss learns from; other columns are left out.
        max_negatives: how many negatives a row keeps; None for all.

    Returns:
        A data set with the columns in the order in which the losses expect them, numbers as float32.

    Raises:
        UserError: a file is not readable, lacks a column, or has a row that is not complete.
    """
    tables = [_select(_read(path), columns, path, max_negatives) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if table.column_names != tables[0].column_names:
            raise UserError(
                f"{path}: gives the columns {_names(table.column_names)}, {paths[0]} gives "
                f"{_names(tables[0].column_names)}; give files with the same columns"
            )
    examples = pa.concat_tables(tables)
    if not examples.num_rows:
        raise UserError(f"{_names([str(path) for path in paths])}: no example; give a file with at least one row")
    return Dataset(examples)


def detect_columns(path: Path) -> Columns:
    """Return the kind of examples that the columns of a file hold: scored or labelled sentences, or pairs.

    Raises:
        UserError: the file is not readable.
    """
    names = set(_read(path).column_names)
    if {"sentence1", "sentence2"} <= names:
        return "scored" if "score" in names else "labelled"
    return "pairs"


def explode_negatives(table: pa.Table) -> pa.Table:
    """Return the columns query, positive and negative, with one row for each negative of each row."""
    triplets = [table.select(["query", "positive", name]) for name in _negatives(table.column_names)]
    return pa.concat_tables([part.rename_columns(["query", "positive", "negative"]) for part in triplets])


def _read(path: Path) -> pa.Table:
    try:
        if path.suffix.lower() == ".csv":
            parse = pa_csv.ParseOptions(newlines_in_values=True)
            with pa_csv.open_csv(path, parse_options=parse) as file:
                names = file.schema.names
            # A column of texts stays text even where all its values look like numbers.
            texts = {name: pa.string() for name in names if name not in {"score", "label"}}
            return pa_csv.read_csv(path, parse_options=parse, convert_options=pa_csv.ConvertOptions(column_types=texts))
        return pq.read_table(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; give a Parquet or CSV file of training examples") from error
    except (OSError, pa.ArrowException) as error:
        reason = first_line(error)
        raise UserError(
            f"{path}: not readable as Parquet or CSV ({reason}); give a file of training examples"
        ) from error


def _select(table: pa.Table, columns: Columns, path: Path, max_negatives: int | None) -> pa.Table:
    """Return the columns of one set, checked, in the order in which the losses expect them."""
    if columns == "texts":
        name = "text" if "text" in table.column_names else "positive"
        return _texts(table, [name], path).rename_columns(["text"])
    if columns in {"scored", "labelled"}:
        return _sentences(table, columns, path)
    negatives = [] if columns in {"plain-pairs", "neighbours"} else _negatives(table.column_names)[:max_negatives]
    if columns in {"one-negative", "listwise"} and not negatives:
        _raise_missing(table, path, ["negative"])
    selected = _texts(table, ["query", "positive", *negatives], path)
    if columns == "neighbours" and NEIGHBOURHOOD in table.column_names:
        return selected.append_column(NEIGHBOURHOOD, _integers(table, NEIGHBOURHOOD, path))
    if columns == "one-negative":
        return explode_negatives(selected)
    if columns == "listwise":
        return selected.append_column("scores", _scores(table, len(negatives) + 1, path))
    return selected


def _negatives(names: list[str]) -> list[str]:
    """Return the columns of negatives in order: ``negative``, or ``negative_1`` to ``negative_n``."""
    numbered = [(int(match[1] or 0), name) for name in names if (match := _NEGATIVE.fullmatch(name))]
    return [name for _, name in sorted(numbered)]


def _texts(table: pa.Table, names: list[str], path: Path) -> pa.Table:
    """Return these columns as strings; raise `UserError` where one is missing, holds no text, or has an empty row."""
    if missing := [name for name in names if name not in table.column_names]:
        _raise_missing(table, path, missing)
    for name in names:
        kind = table.schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
            raise UserError(f"{path}: column {name!r} holds {kind}, not text; write it as text")
        column = table.column(name).cast(pa.string())
        table = table.set_column(table.column_names.index(name), name, column)
        empty = pc.equal(pc.utf8_trim_whitespace(column), "").fill_null(True)
        if pc.any(empty).as_py():
            row = empty.to_pylist().index(True) + 1
            raise UserError(f"{path} row {row}: {name} is empty; fill it or leave the row out")
    return table.select(names)


def _sentences(table: pa.Table, columns: Columns, path: Path) -> pa.Table:
    """Return two sentences with their score or label."""
    selected = _texts(table, ["sentence1", "sentence2"], path)
    # Losses that learn from scores take a label as a score of 0 or 1; the reverse does not hold.
    column = "label" if columns == "labelled" or "score" not in table.column_names else "score"
    if column not in table.column_names:
        _raise_missing(table, path, ["label" if columns == "labelled" else "score"])
    numbers = _numbers(table, column, path)
    if column == "label" and (wrong := np.flatnonzero((numbers != 0) & (numbers != 1))).size:
        row = int(wrong[0])
        raise UserError(
            f"{path} row {row + 1}: label is {numbers[row]:g}; write 1 for the same meaning and 0 for another"
        )
    return selected.append_column("score" if columns == "scored" else "label", pa.array(numbers, pa.float32()))


def _numbers(table: pa.Table, name: str, path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    column = table.column(name)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    try:
        numbers = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise UserError(f"{path}: column {name!r} holds {column.type}, not numbers; write it as numbers") from error
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if wrong.size:
        raise UserError(f"{path} row {int(wrong[0]) + 1}: {name} is not a number; fill it or leave the row out")
    return np.asarray(numbers, dtype=np.float64)


def _integers(table: pa.Table, name: str, path: Path) -> pa.Array:
    numbers = _numbers(table, name, path)
    if (wrong := np.flatnonzero((numbers < 0) | (numbers != np.floor(numbers)))).size:
        row = int(wrong[0])
        raise UserError(f"{path} row {row + 1}: {name} is {numbers[row]:g}; write a whole number from 0")
    return pa.array(numbers.astype(np.int64))


def _scores(table: pa.Table, count: int, path: Path) -> pa.Array:
    """Return the teacher's scores, ``count`` of them in each row."""
    if "scores" not in table.column_names:
        _raise_missing(table, path, ["scores"])
    rows = []
    for row, value in enumerate(table.column("scores").to_pylist(), start=1):
        scores = _parse_list(value)
        if len(scores) != count or not all(isinstance(score, int | float) and np.isfinite(score) for score in scores):
            raise UserError(
                f"{path} row {row}: scores is {str(value)[:80]}; write a list of {count} numbers, the teacher's score of "
                "the positive and then of each negative"
            )
        rows.append(scores)
    return pa.array(rows, pa.list_(pa.float32()))


def _parse_list(value: object) -> list[Any]:
    """Return a list as it is, or from JSON; any other value gives an empty list."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return []
    return value if isinstance(value, list) else []


def _raise_missing(table: pa.Table, path: Path, missing: list[str]) -> NoReturn:
    raise UserError(
        f"{path}: no column {_names(missing)} among {_names(table.column_names)}; "
        "choose a --loss that learns from these columns, or add it"
    )


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
