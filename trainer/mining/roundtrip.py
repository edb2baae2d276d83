"""Round-trip filter: keep the queries for which the retriever finds the document that they were written for.

Also called consistency filtering: Alberti et al., «Synthetic QA Corpora Generation with Roundtrip Consistency» (2019); used
for retrieval by Dai et al., «Promptagator» (2022). The retriever is the one that serves, with both legs fused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.progress import Bar, say
from indexer.retrieval.retriever import Retriever
from trainer.data.pairs import read_pairs
from trainer.files import atomic_write
from trainer.mining.settings import FilterSettings

Task = TypeVar("Task")
Result = TypeVar("Result")


def filter_file(path: Path, settings: FilterSettings, out: Path, data: Path | None = None) -> pa.Table:
    """Filter the queries of a frame or of a file of pairs, and write the kept pairs to the Parquet file ``out``.

    Raises:
        UserError: a file or the index does not exist, they are of different corpora, or no query is kept.
    """
    pairs = read_pairs(path, settings.split, settings.side)
    kept = filter_pairs(pairs, open_retriever(settings.index, data), settings.k)
    with atomic_write(out) as part:
        pq.write_table(kept, part)
    return kept


def open_retriever(index: str | None, data: Path | None = None) -> Retriever:
    """Open an index by its id, or the live one."""
    return Retriever(Index.open(Store("index", data).resolve(index)))


def filter_pairs(pairs: pa.Table, retriever: Retriever, k: int) -> pa.Table:
    """Return the pairs whose document is among the best ``k`` of the fused ranking, with their ``rank`` (from 1).

    Prints for each kind of query how many are kept.

    Raises:
        UserError: a document is not in the index, or no pair is kept.
    """
    judged = rank_pairs(pairs, retriever)
    rank = judged["rank"].to_numpy()
    for line in summarise(judged, k):
        say(line)
    kept = judged.filter(pa.array((rank > 0) & (rank <= k)))
    if not kept.num_rows:
        raise UserError(
            f"no document of {pairs.num_rows:,} queries is among the best {k} for its query; "
            "give the index of the same corpus or a larger --k"
        )
    return kept


def rank_pairs(pairs: pa.Table, retriever: Retriever) -> pa.Table:
    """Return ``pairs`` with the column ``rank``: that of the document for its query, from 1; 0 where it is not found.

    Raises:
        UserError: a document is not in the index.
    """
    pairs = pairs.drop_columns(["rank"]) if "rank" in pairs.column_names else pairs
    row_of = document_rows(pairs, retriever)
    rows = [row_of[document] for document in pairs["document"].to_pylist()]
    queries = pairs["query"].to_pylist()
    # A query of several documents, such as a common title, is searched once.
    positions: dict[str, list[int]] = {}
    for position, query in enumerate(queries):
        positions.setdefault(query, []).append(position)
    ranks = np.zeros(len(queries), dtype=np.int32)
    with Bar("filter", len(positions), "queries") as bar:
        for query, found in map_concurrently(lambda text: (text, retriever.search(text).rows), positions, retriever):
            for position in positions[query]:
                hits = np.flatnonzero(found == rows[position])
                ranks[position] = hits[0] + 1 if len(hits) else 0
            bar.advance(1)
    return pairs.append_column("rank", pa.array(ranks))


def summarise(judged: pa.Table, k: int) -> list[str]:
    """Return a line for each kind of query and one for all: how many are kept, and how many documents rank first."""
    ranks = judged["rank"].to_numpy()
    kinds = np.array(judged["kind"].to_pylist(), dtype=object)
    by_kind = [(str(kind), ranks[kinds == kind]) for kind in sorted(set(kinds))]
    return [
        f"{kind}: {int(((ranked > 0) & (ranked <= k)).sum()):,} of {len(ranked):,} queries find their document among the "
        f"best {k}, {(ranked == 1).mean():.0%} at the first place"
        for kind, ranked in [*by_kind, ("all", ranks)]
    ]


def document_rows(pairs: pa.Table, retriever: Retriever) -> dict[str, int]:
    """Return the row in the index of each document of the pairs.

    Raises:
        UserError: a document is not in the index.
    """
    rows: dict[str, int] = {}
    for document in pairs["document"].unique().to_pylist():
        row = retriever.index.row_of(document)
        if row is None:
            raise UserError(
                f"document {document!r}: not in index {retriever.index.manifest.id}; "
                "give the --index of the corpus that the queries were written for"
            )
        rows[document] = row
    return rows


def map_concurrently(work: Callable[[Task], Result], tasks: Iterable[Task], retriever: Retriever) -> Iterator[Result]:
    """Yield ``work(task)`` for each task in order, concurrently on as many threads as the encoder has cores."""
    cores = retriever.index.encoder.cores
    remaining = iter(tasks)
    with ThreadPoolExecutor(cores) as threads:
        # Only a few tasks are submitted ahead, which bounds the results in memory.
        submitted = [threads.submit(work, task) for task in islice(remaining, 4 * cores)]
        while submitted:
            first = submitted.pop(0)
            submitted += [threads.submit(work, task) for task in islice(remaining, 1)]
            yield first.result()
