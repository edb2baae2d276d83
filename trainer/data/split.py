"""Split of the documents into train, dev and test, frozen before any query is written; near-duplicates stay together.

The side of a document comes from a hash of its id, and does not change when other documents are added. There are two
exceptions: documents leave dev and test where these exceed their limits, and small corpora have their sides filled up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from indexer.corpus.corpus import Corpus
from indexer.corpus.settings import RowSettings, select
from indexer.errors import UserError
from indexer.progress import Bar, say
from trainer.data.near_duplicates import Groups, near_duplicates, signatures
from trainer.data.settings import SplitSettings
from trainer.files import atomic_write

SIDES = ("train", "dev", "test")
SCHEMA = pa.schema([("document", pa.string()), ("group", pa.int64()), ("split", pa.string())])
MIN_SIDE = 30
"""Smallest number of documents to which dev and test are filled up, but at most a fifth of the corpus each."""


@dataclass(frozen=True)
class Split:
    """Group and side of each document, in the order of the corpus: a table of `SCHEMA`."""

    table: pa.Table

    def documents(self, side: str) -> list[str]:
        """Return the ids of one side, in the order of the corpus."""
        ids: list[str] = self.table.filter(pc.equal(self.table["split"], side))["document"].to_pylist()
        return ids

    def counts(self) -> dict[str, int]:
        """Return the number of documents of each side, and the number of groups."""
        return {side: len(self.documents(side)) for side in SIDES} | {
            "groups": pc.count_distinct(self.table["group"]).as_py()
        }

    def copies(self) -> dict[str, str]:
        """Return for each document the id that stands for its group of near-duplicates: its own, where it has none."""
        documents, groups = self.table["document"].to_pylist(), self.table["group"].to_pylist()
        names = _names(documents, groups)
        return {document: names[group] for document, group in zip(documents, groups, strict=True)}

    def write(self, path: Path) -> None:
        """Write the split as Parquet, completely or not at all."""
        with atomic_write(path) as part:
            pq.write_table(self.table, part)

    @classmethod
    def read(cls, path: Path) -> Split:
        """Read a split and check it.

        Raises:
            UserError: the file is not readable, has a document twice, an unknown side, or a group on two sides.
        """
        remedy = "make it with `python -m trainer split`"
        try:
            table = pq.read_table(path).select(SCHEMA.names).cast(SCHEMA)
        except FileNotFoundError as error:
            raise UserError(f"{path}: no such file; {remedy}") from error
        except (OSError, KeyError, pa.ArrowException) as error:
            raise UserError(f"{path}: no Parquet file with the columns document, group and split; {remedy}") from error
        if any(column.null_count for column in table.columns):
            raise UserError(f"{path}: has empty cells; {remedy}")
        if unknown := set(table["split"].unique().to_pylist()) - set(SIDES):
            raise UserError(f"{path}: unknown split {min(unknown)!r}, known are {', '.join(SIDES)}; {remedy}")
        if len(table["document"].unique()) < len(table):
            raise UserError(f"{path}: a document occurs twice; {remedy}")
        sides = table.group_by("group").aggregate([("split", "count_distinct"), ("split", "min")])
        if divided := sides.filter(pc.greater(sides["split_count_distinct"], 1)).num_rows:
            raise UserError(f"{path}: {divided:,} groups of near-duplicates are on two sides; {remedy}")
        return cls(table)


def split_source(source: str, settings: SplitSettings, data: Path | None = None) -> Split:
    """Split a corpus that is read in batches; its ids and 512 bytes per document are in memory.

    Args:
        source: a Parquet, CSV or JSON lines file, a folder of them, a glob, or the URL of a database.
        settings: columns, shares and limits of the sides, the threshold of near-duplicates and the seed.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the source is refused.
    """
    corpus = Corpus.check(source, **select(settings, RowSettings), title_column="none", data=data)
    ids: list[str] = []

    def texts() -> Iterator[str]:
        for batch in corpus.batches():
            ids.extend(batch.column("id").to_pylist())
            yield from batch.column("text").to_pylist()

    with Bar("compare", corpus.documents, "documents") as bar:
        groups = near_duplicates(signatures(texts(), bar), settings.threshold)
    result = _split(ids, groups, settings)
    say("split: " + ", ".join(f"{count:,} {name}" for name, count in result.counts().items()))
    return result


def split(ids: Sequence[str], texts: Sequence[str], settings: SplitSettings) -> Split:
    """Split documents into train, dev and test; near-duplicates stay together.

    Args:
        ids: the ids of the documents, unique.
        texts: their texts.
        settings: shares and limits of the sides, the threshold of near-duplicates and the seed.
    """
    return _split(ids, near_duplicates(signatures(texts), settings.threshold), settings)


def _split(ids: Sequence[str], groups: Groups, settings: SplitSettings) -> Split:
    """Split documents by their groups of near-duplicates."""
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(row)
    draws = {group: draw(name, settings.seed) for group, name in _names(ids, groups.tolist()).items()}
    sides = np.full(len(ids), "train", dtype=object)
    for side, share, maximum, origin in (
        ("test", settings.test, settings.most_test, 0.0),
        ("dev", settings.dev, settings.most_dev, 0.5),
    ):
        minimum = min(MIN_SIDE, len(ids) // 5, maximum) if share else 0
        limit = min(maximum, max(minimum, round(1.5 * share * len(ids))))
        count = 0
        free = (group for group, rows in members.items() if sides[rows[0]] == "train")
        for distance, group in sorted(((draws[group] - origin) % 1.0, group) for group in free):
            size = len(members[group])
            if size > max(limit // 4, 1):  # would dominate the evaluation
                continue
            if (distance >= share and count >= minimum) or count + size > limit:
                break
            sides[members[group]] = side
            count += size
    return Split(pa.table({"document": list(ids), "group": groups, "split": sides.tolist()}, schema=SCHEMA))


def _names(ids: Sequence[str], groups: Sequence[int]) -> dict[int, str]:
    """Return for each group the shortest id of its documents, the first of these in order.

    Groups are drawn by it, and numbered documents that are added later do not change it.
    """
    names: dict[int, str] = {}
    for name, group in zip(ids, groups, strict=True):
        names[group] = min(names.get(group, name), name, key=lambda each: (len(each), each))
    return names


def draw(document: str, seed: int) -> float:
    """Return a number from 0 to 1 for a document, which decides its side and does not depend on other documents."""
    digest = hashlib.blake2b(document.encode(), digest_size=8, key=seed.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big") / 2**64
