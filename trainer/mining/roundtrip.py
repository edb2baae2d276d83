"""The round-trip filter: a query stays if the retriever finds the document that it was written for.

Called consistency filtering by Alberti et al., «Synthetic QA Corpora Generation with Roundtrip Consistency» (2019), and
used for retrieval by Dai et al., «Promptagator» (2022). The retriever is the one that serves, both legs fused.
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
from trainer.files import whole
from trainer.mining.settings import FilterSettings

Task = TypeVar("Task")
Result = TypeVar("Result")


def filter_file(path: Path, settings: FilterSettings, out: Path, data: Path | None = None) -> pa.Table:
    """Filter the queries of a file, a frame or pairs, and write the pairs that stay to the Parquet file ``out``.

    Raises:
        UserError: a file or the index is not there, they do not belong together, or no query stays.
    """
    pairs = read_pairs(path, settings.split, settings.side)
    kept = keep(pairs, open_retriever(settings.index, data), settings.k)
    with whole(out) as part:
        pq.write_table(kept, part)
    return kept


def open_retriever(index: str | None, data: Path | None = None) -> Retriever:
    """Open an index by its id, or the live one."""
    return Retriever(Index.open(Store("index", data).resolve(index)))


def keep(pairs: pa.Table, retriever: Retriever, k: int) -> pa.Table:
    """Return the pairs whose document is among the best ``k`` of the fused ranking, with their ``rank`` (from 1).

    Says for each kind of query how many stay.

    Raises:
        UserError: a document is not in the index, or no pair stays.
    """
    judged = ranked(pairs, retriever)
    rank = judged["rank"].to_numpy()
    for line in summary(judged, k):
        say(line)
    kept = judged.filter(pa.array((rank > 0) & (rank <= k)))
    if not kept.num_rows:
        raise UserError(
            f"no document of {pairs.num_rows:,} queries is among the best {k} for its query; "
            "give the index of the same corpus or a larger --k"
        )
    return kept


def ranked(pairs: pa.Table, retriever: Retriever) -> pa.Table:
    """Return ``pairs`` with the column ``rank``: the place of the document for its query, 0 where it is not found.

    Raises:
        UserError: a document is not in the index.
    """
    pairs = pairs.drop_columns(["rank"]) if "rank" in pairs.column_names else pairs
    known = document_rows(pairs, retriever)
    rows = [known[document] for document in pairs["document"].to_pylist()]
    queries = pairs["query"].to_pylist()
    # A query that several documents have, a common title for example, is asked once.
    askers: dict[str, list[int]] = {}
    for place, query in enumerate(queries):
        askers.setdefault(query, []).append(place)
    ranks = np.zeros(len(queries), dtype=np.int32)
    with Bar("filter", len(askers), "queries") as bar:
        for query, found in side_by_side(lambda text: (text, retriever.search(text).rows), askers, retriever):
            for place in askers[query]:
                at = np.flatnonzero(found == rows[place])
                ranks[place] = at[0] + 1 if len(at) else 0
            bar.advance(1)
    return pairs.append_column("rank", pa.array(ranks))


def summary(judged: pa.Table, k: int) -> list[str]:
    """Return a line for each kind of query and one for all: how many stay, and how many documents come first."""
    ranks = judged["rank"].to_numpy()
    kinds = np.array(judged["kind"].to_pylist(), dtype=object)
    chosen = [(str(kind), ranks[kinds == kind]) for kind in sorted(set(kinds))]
    return [
        f"{kind}: {int(((own > 0) & (own <= k)).sum()):,} of {len(own):,} queries find their document among the best "
        f"{k}, {(own == 1).mean():.0%} at the first place"
        for kind, own in [*chosen, ("all", ranks)]
    ]


def document_rows(pairs: pa.Table, retriever: Retriever) -> dict[str, int]:
    """Return the row in the index of each document of the pairs.

    Raises:
        UserError: a document is not there.
    """
    known: dict[str, int] = {}
    for document in pairs["document"].unique().to_pylist():
        row = retriever.index.row_of(document)
        if row is None:
            raise UserError(
                f"document {document!r}: not in index {retriever.index.manifest.id}; "
                "give the --index of the corpus that the queries were written for"
            )
        known[document] = row
    return known


def side_by_side(work: Callable[[Task], Result], tasks: Iterable[Task], retriever: Retriever) -> Iterator[Result]:
    """Yield ``work(task)`` for each task in order, with as many at a time as the encoder takes."""
    cores = retriever.index.encoder.cores
    waiting = iter(tasks)
    with ThreadPoolExecutor(cores) as threads:
        # A few ahead of what is asked for: a million rankings do not wait in memory.
        ahead = [threads.submit(work, task) for task in islice(waiting, 4 * cores)]
        while ahead:
            done = ahead.pop(0)
            ahead += [threads.submit(work, task) for task in islice(waiting, 1)]
            yield done.result()
