"""Which documents are trained on, which are chosen by, and which are only ever asked about at the end.

Frozen before any query is written. Near-duplicates stay together. The side of a document comes from a hash of its id: it
stays when other documents are added, but for those that leave dev and test because there are too many of them, and for
small corpora, whose sides are filled up.
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
from trainer.files import whole

SIDES = ("train", "dev", "test")
SCHEMA = pa.schema([("document", pa.string()), ("group", pa.int64()), ("split", pa.string())])
SMALLEST = 30
"""Documents below which a side is filled up, unless that is more than a fifth of them all."""


@dataclass(frozen=True)
class Split:
    """Document → group and side, in the order of the corpus: a table of `SCHEMA`."""

    table: pa.Table

    def documents(self, side: str) -> list[str]:
        """Return the ids of one side, in the order of the corpus."""
        found: list[str] = self.table.filter(pc.equal(self.table["split"], side))["document"].to_pylist()
        return found

    def counts(self) -> dict[str, int]:
        """Return the number of documents of each side, and of groups."""
        return {side: len(self.documents(side)) for side in SIDES} | {
            "groups": pc.count_distinct(self.table["group"]).as_py()
        }

    def write(self, path: Path) -> None:
        """Write the split as Parquet, whole or not at all."""
        with whole(path) as part:
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
            raise UserError(f"{path}: a document is there twice; {remedy}")
        sides = table.group_by("group").aggregate([("split", "count_distinct"), ("split", "min")])
        if torn := sides.filter(pc.greater(sides["split_count_distinct"], 1)).num_rows:
            raise UserError(f"{path}: {torn:,} groups of near-duplicates are on two sides; {remedy}")
        return cls(table)


def split_source(source: str, settings: SplitSettings, data: Path | None = None) -> Split:
    """Split a corpus that is read in batches: in memory are its ids, and 512 bytes for each document.

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
    found = _split(ids, groups, settings)
    say("split: " + ", ".join(f"{count:,} {name}" for name, count in found.counts().items()))
    return found


def split(ids: Sequence[str], texts: Sequence[str], settings: SplitSettings) -> Split:
    """Split documents into train, dev and test; near-duplicates stay together.

    Args:
        ids: the ids of the documents, unique.
        texts: their texts.
        settings: shares and limits of the sides, the threshold of near-duplicates and the seed.
    """
    return _split(ids, near_duplicates(signatures(texts), settings.threshold), settings)


def _split(ids: Sequence[str], groups: Groups, settings: SplitSettings) -> Split:
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(row)
    # The member with the shortest id, the first among these, stands for the group: numbered documents that are added
    # later do not take its place.
    names = {
        group: min((ids[row] for row in rows), key=lambda name: (len(name), name)) for group, rows in members.items()
    }
    draws = {group: draw(name, settings.seed) for group, name in names.items()}
    sides = np.full(len(ids), "train", dtype=object)
    for side, share, most, origin in (
        ("test", settings.test, settings.most_test, 0.0),
        ("dev", settings.dev, settings.most_dev, 0.5),
    ):
        least = min(SMALLEST, len(ids) // 5, most) if share else 0
        limit = min(most, max(least, round(1.5 * share * len(ids))))
        taken = 0
        free = (group for group, rows in members.items() if sides[rows[0]] == "train")
        for distance, group in sorted(((draws[group] - origin) % 1.0, group) for group in free):
            size = len(members[group])
            if size > max(limit // 4, 1):  # would be most of what is measured
                continue
            if (distance >= share and taken >= least) or taken + size > limit:
                break
            sides[members[group]] = side
            taken += size
    return Split(pa.table({"document": list(ids), "group": groups, "split": sides.tolist()}, schema=SCHEMA))


def draw(document: str, seed: int) -> float:
    """Return the number from 0 to 1 that decides about a document: the same whatever else is in the corpus."""
    digest = hashlib.blake2b(document.encode(), digest_size=8, key=seed.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big") / 2**64
