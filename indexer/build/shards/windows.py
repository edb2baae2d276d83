"""Reading side of a build: documents are written shard by shard, cut into passages, and handed on in windows.

A shard that a killed build has completed is not read again but for its rows. One whose documents an earlier index of the
same model holds, byte for byte, is not cut again: its passages and vectors are those of that index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from indexer.build.metadata.labels import Labeller
from indexer.build.shards.earlier import EarlierShards
from indexer.build.shards.shard import PASSAGE, Passages, Shard, number_shards
from indexer.build.vectors import passage_key
from indexer.corpus.corpus import Documents, rebatch
from indexer.errors import UserError
from indexer.index.arrow import ArrowTable
from indexer.index.document_mask import Rows
from indexer.index.index import ROWS_PER_BATCH
from indexer.index.terms.columns import selected
from indexer.inference.passages import DocumentPassages, PassageMaker

DOCUMENTS_PER_PART = 256
"""Documents that are cut into passages together."""


class Ended(NamedTuple):
    """Heads (`PassageMaker.head`) and texts of the documents that end in a window."""

    heads: list[str | None]
    texts: list[str]

    @property
    def size(self) -> int:
        """Their characters."""
        return sum(len(head or "") for head in self.heads) + sum(map(len, self.texts))


@dataclass(frozen=True)
class Window:
    """Passages of a shard that are encoded together.

    Attributes:
        shard: where they are written.
        passages: their places and keys.
        ended: the documents that end here.
        inputs: what the encoder is given for each; empty where the vectors are known otherwise.
        rows: passages of the earlier index that have these vectors; None where each is to be looked up.
        resumed: whether a killed build has written the vectors.
        complete: whether it has written the whole shard; then this is all of it, and nothing is to be written.
        documents: of the shard, in its last window; else None.
    """

    shard: Shard
    passages: Passages
    ended: Ended
    inputs: list[str] = field(default_factory=list)
    rows: Rows | None = None
    resumed: bool = False
    complete: bool = False
    documents: int | None = None


@dataclass(frozen=True)
class Reader:
    """Writes the documents of an index and yields the windows of their passages.

    Attributes:
        corpus: the documents.
        labeller: adds labels to the metadata; None for no labels.
        maker: cuts texts into passages.
        earlier: the shards of an earlier index.
        shard: makes the shard of a number.
        written: is called with each shard as soon as its documents are on the disk.
    """

    corpus: Documents
    labeller: Labeller | None
    maker: PassageMaker
    earlier: EarlierShards
    shard: Callable[[int], Shard]
    written: Callable[[Shard], None]

    def windows(self) -> Iterator[Window]:
        """Yield the windows of all shards in their order.

        Raises:
            UserError: a file of the corpus has changed, or the folder holds shards of other documents.
        """
        if not self.corpus.documents:
            self._write(self.shard(0), [])  # the schema of an empty index
        pieces = number_shards(self.corpus.batches(ROWS_PER_BATCH))
        for number, group in groupby(pieces, key=itemgetter(0)):
            shard = self.shard(number)
            batches = rebatch((batch for _, batch in group), ROWS_PER_BATCH)
            if counts := shard.counts():
                rows = sum(batch.num_rows for batch in batches)
                if rows != counts.documents:
                    raise UserError(f"{shard.documents}: {counts.documents} documents where the corpus has {rows}; "
                                    f"delete {shard.documents.parents[1]} and build again")  # fmt: skip
                self.written(shard)
                yield from self._whole(shard, shard.passages(), counts.documents, complete=True)
                continue
            digest = self._write(shard, batches)
            self.written(shard)
            resumed = shard.begin()
            found = self.earlier.find(digest)
            if found:
                shard.link_documents(found.path)
            if found and found.passages is not None:
                yield from self._whole(shard, found.passages, found.documents, first=found.first, resumed=resumed)
            else:
                yield from self._cut(shard, resumed)

    def _write(self, shard: Shard, batches: Iterable[pa.RecordBatch]) -> str:
        schema = self.corpus.schema
        if not self.labeller:
            return shard.write_documents(batches, schema)
        return shard.write_documents(map(self.labeller.add, batches), self.labeller.schema(schema))

    def _cut(self, shard: Shard, resumed: int) -> Iterator[Window]:
        """Yield the windows of a shard whose passages are to be made."""
        inputs: list[str] = []
        rows: list[tuple[int, int, int, bytes]] = []
        ended = Ended([], [])
        done = number = 0
        for number, (head, text, passages) in enumerate(self._documents(shard), 1):
            for passage, encoder_input in passages:
                if len(rows) == shard.window:
                    done += shard.window
                    yield Window(shard, np.array(rows, PASSAGE), ended, inputs, resumed=done <= resumed)
                    inputs, rows, ended = [], [], Ended([], [])
                inputs.append(encoder_input)
                rows.append((number - 1, passage.start, passage.end, passage_key(encoder_input)))
            ended.heads.append(head)
            ended.texts.append(text)
        done += len(rows)
        yield Window(shard, np.array(rows, PASSAGE), ended, inputs, resumed=done <= resumed, documents=number)

    def _documents(self, shard: Shard) -> Iterator[tuple[str | None, str, DocumentPassages]]:
        for heads, texts in _parts(shard, self.maker):
            yield from zip(heads, texts, self.maker.make(heads, texts), strict=True)

    def _whole(
        self,
        shard: Shard,
        passages: Passages,
        documents: int,
        *,
        first: int = 0,
        resumed: int = 0,
        complete: bool = False,
    ) -> Iterator[Window]:
        """Yield the windows of a shard whose passages are known: of a complete one, or from the earlier index."""
        ends = np.searchsorted(passages["document"], np.arange(documents), side="right")
        texts = _documents_of(shard, self.maker)
        done = 0
        for start in range(0, len(passages), shard.window):
            stop = min(start + shard.window, len(passages))
            count = int(np.searchsorted(ends, stop, side="right")) - done
            done += count
            yield Window(
                shard,
                passages[start:stop],
                Ended(*map(list, zip(*(next(texts) for _ in range(count)), strict=True))) if count else Ended([], []),
                rows=None if complete else np.arange(first + start, first + stop),
                resumed=complete or stop <= resumed,
                complete=complete,
                documents=documents if stop == len(passages) else None,
            )


def _parts(shard: Shard, maker: PassageMaker) -> Iterator[tuple[list[str | None], list[str]]]:
    """Yield heads (`PassageMaker.head`) and texts of a shard's documents in parts of bounded size."""
    for batch in ArrowTable.open(shard.documents).batches:
        for start in range(0, batch.num_rows, DOCUMENTS_PER_PART):
            part = batch.slice(start, DOCUMENTS_PER_PART)
            titles, metadata = part.column("title").to_pylist(), selected(part, list(maker.columns))
            yield list(map(maker.head, titles, metadata)), part.column("text").to_pylist()


def _documents_of(shard: Shard, maker: PassageMaker) -> Iterator[tuple[str | None, str]]:
    for heads, texts in _parts(shard, maker):
        yield from zip(heads, texts, strict=True)
