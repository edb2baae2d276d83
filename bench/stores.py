"""Comparison of stores: how many queries have the same top ten from files and from Milvus, and how long each takes.

python bench/stores.py --data data --queries scifact/queries.parquet --split test --uri http://127.0.0.1:19530

The live index of the data directory is copied to Milvus unless it is there. For a small server on this machine:
`pip install milvus-lite`, then `milvus-lite server`. Queries have the columns id, text and split.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import pyarrow.parquet as pq

from indexer.artifacts.store import Store
from indexer.build.legs.dense_codes import recall_queries
from indexer.index.index import Index
from indexer.index.served import ServedIndex
from indexer.milvus.open import open_index
from indexer.milvus.publish import publish_index
from indexer.milvus.settings import StoreSettings
from indexer.retrieval.retriever import Retriever

MODES = ("dense", "lexical", "hybrid")
TOP = 10
PATIENCE = 60.0
"""Seconds of a call: a small server on a busy machine is slow when it is asked for the first time."""


def rank(retriever: Retriever, query: str, mode: str) -> tuple[list[str], float]:
    """Return the ids of the best documents, and the milliseconds of the search."""
    started = time.perf_counter()
    ranking = retriever.search(query, mode)  # type: ignore[arg-type]
    milliseconds = (time.perf_counter() - started) * 1e3
    index: ServedIndex = retriever.index
    return [document.id for document in index.documents(ranking.rows[:TOP])], milliseconds


def main() -> None:
    """Measure and print one line for each mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="data directory with a live index")
    parser.add_argument("--queries", type=Path, required=True, help="Parquet file with the columns id, text, split")
    parser.add_argument("--split", default="test", help="queries of this split")
    parser.add_argument("--uri", required=True, help="address of Milvus")
    parser.add_argument("--alias", default="dowse_bench", help="alias in Milvus")
    arguments = parser.parse_args()
    store = StoreSettings(store="milvus", uri=arguments.uri, alias=arguments.alias)
    live = Store("index", arguments.data).resolve()
    publish_index(live.name, store, arguments.data, lambda index: recall_queries(index, arguments.data))
    files, milvus = Retriever(Index.open(live)), Retriever(open_index(store, arguments.data, seconds=PATIENCE))
    rows = pq.read_table(arguments.queries).to_pylist()
    queries = [row["text"] for row in rows if row["split"] == arguments.split]
    for mode in MODES:
        pairs = [(rank(files, query, mode), rank(milvus, query, mode)) for query in queries]
        in_order = statistics.fmean(one[0] == other[0] for one, other in pairs)
        as_sets = statistics.fmean(set(one[0]) == set(other[0]) for one, other in pairs)
        medians = [statistics.median(each[side][1] for each in pairs) for side in (0, 1)]
        print(
            f"{mode:8} {len(queries)} queries: the same top {TOP} in order {in_order:.1%}, as sets {as_sets:.1%}; "
            f"median {medians[0]:.1f} ms in files, {medians[1]:.1f} ms in Milvus"
        )


if __name__ == "__main__":
    main()
