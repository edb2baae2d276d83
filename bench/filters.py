"""Benchmark of filters: time of a mask over many documents, and of each way of searching the allowed documents.

python bench/filters.py [--documents 1000000] [--vectors 100000] [--texts 200000]

The data are random: unit vectors, texts of words with Zipf's frequencies, metadata of several types. Milliseconds are
processor time, the median of several runs on one thread, to depend less on other load of the machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import faiss
import numpy as np
import pyarrow as pa

from indexer.filters.bind import bind
from indexer.filters.evaluate import evaluate
from indexer.filters.facets import FacetRequest
from indexer.filters.facets import _count as count_facet
from indexer.filters.filter import Filter
from indexer.index import dense
from indexer.index.arrow import ArrowTable
from indexer.index.dense import DenseIndex
from indexer.index.document_mask import DocumentMask
from indexer.index.flat_file import write_flat
from indexer.index.index import ROWS_PER_BATCH
from indexer.index.lexical import search
from indexer.index.lexical.fields import FOLDER as LEXICAL
from indexer.index.lexical.search import LexicalIndex
from indexer.index.lexical.writer import LexicalWriter

SHARES = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 0.9)
DEPTH = 200
FILTERS = {
    "text eq": {"must": [{"field": "kind", "eq": "k7"}]},
    "number between": {"must": [{"field": "price", "gte": 10, "lt": 20}]},
    "in 1,000 ids": {"must": [{"field": "id", "in": [f"d{n * 31}" for n in range(1000)]}]},
    "list any of two": {"must": [{"field": "tags", "in": ["t3", "t5"]}]},
    "date from": {"must": [{"field": "day", "gte": "2026-01-01"}]},
    "within 50 km": {"must": [{"latitude": "lat", "longitude": "lon", "within": {"lat": 40, "lon": 4, "km": 50}}]},
    "tree of six": {
        "must": [{"field": "kind", "in": ["k1", "k2"]}, {"field": "price", "lt": 50}],
        "should": [{"field": "tags", "eq": "t1"}, {"field": "day", "lt": "2025-06-01"}],
        "must_not": [{"field": "sold", "exists": True}, {"field": "kind", "prefix": "k9"}],
    },
}
FACETS = ("kind", "price", "tags", "day", "sold")


class Metadata:
    """Columns of an index, as filters and facets need them."""

    def __init__(self, path: Path) -> None:
        self._file = ArrowTable.open(path)
        self.columns = {"id": pa.string()} | {
            field.name: field.type for field in self._file.schema.field("metadata").type
        }
        self.rows = len(self._file)

    def __len__(self) -> int:
        return self.rows

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column."""
        return self._file.column(*(["id"] if name == "id" else ["metadata", name]))


def median(run: Callable[[], object], times: int = 7) -> float:
    """Return the median processor time of a run in milliseconds."""
    took = []
    for _ in range(times):
        started = time.thread_time()
        run()
        took.append((time.thread_time() - started) * 1e3)
    return float(np.median(took))


def write_metadata(path: Path, documents: int, rng: np.random.Generator) -> None:
    """Write documents with metadata, in batches of the size that an index has."""
    writer = None
    with pa.OSFile(str(path), "wb") as file:
        for start in range(0, documents, ROWS_PER_BATCH):
            rows = range(start, min(start + ROWS_PER_BATCH, documents))
            size = len(rows)
            columns = {
                "kind": pa.array([f"k{n}" for n in rng.integers(20, size=size)]),
                "price": pa.array(rng.uniform(0, 200, size), mask=rng.random(size) < 0.1),
                "tags": pa.array([[f"t{n}" for n in row] for row in rng.integers(50, size=(size, 3))]),
                "day": pa.array(rng.integers(19_000, 21_000, size).astype("datetime64[D]")),
                "sold": pa.array(rng.random(size) < 0.5, mask=rng.random(size) < 0.7),
                "lat": pa.array(rng.uniform(-90, 90, size)),
                "lon": pa.array(rng.uniform(-180, 180, size)),
            }
            metadata = pa.StructArray.from_arrays(list(columns.values()), list(columns))
            batch = pa.RecordBatch.from_arrays([pa.array([f"d{row}" for row in rows]), metadata], ["id", "metadata"])
            writer = writer or pa.ipc.new_file(file, batch.schema)
            writer.write_batch(batch)
        if writer:
            writer.close()


def masks(folder: Path, documents: int, rng: np.random.Generator) -> None:
    """Print the time of filters and facets over many documents."""
    write_metadata(folder / "documents.arrow", documents, rng)
    index = Metadata(folder / "documents.arrow")
    print(f"\n| {documents:,} documents | documents that pass | mask, ms |\n|---|--:|--:|")
    for name, tree in FILTERS.items():
        request = Filter.model_validate(tree)
        passing = int(evaluate(bind(request, index.columns), index).sum())
        took = median(lambda request=request: evaluate(bind(request, index.columns), index), 3)
        print(f"| {name} | {passing:,} | {took:.1f} |")
    everything = DocumentMask(np.ones(documents, dtype=np.bool_), np.arange(documents + 1))
    some = DocumentMask(rng.random(documents) < 0.1, np.arange(documents + 1))
    print("\n| facet | of all, ms | of a tenth, ms |\n|---|--:|--:|")
    for field in FACETS:
        request = FacetRequest(field=field)
        took = [median(lambda r=request, m=mask: count_facet(r, index, m), 3) for mask in (everything, some)]
        print(f"| {field} | {took[0]:.1f} | {took[1]:.1f} |")


def dense_leg(folder: Path, vectors: int, rng: np.random.Generator) -> None:
    """Print the time of each way of searching the allowed vectors."""
    data = rng.normal(size=(vectors, 384)).astype(np.float32)
    write_flat(folder / dense.FILE, 384, vectors, [data])
    index, query = DenseIndex.open(folder / dense.FILE), data[5]
    print(f"\n{vectors:,} vectors, no filter: {median(lambda: index.search(query, DEPTH)):.2f} ms\n")
    print("| allowed | one by one, ms | FAISS with a bitmap, ms |\n|--:|--:|--:|")
    for share in SHARES:
        allowed = DocumentMask(rng.random(vectors) < share, np.arange(vectors + 1))
        count = min(DEPTH, allowed.count)
        selector = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(allowed.passage_bits))
        brute_force = median(lambda a=allowed, c=count: index._brute_force(query, c, a.passages))  # noqa: SLF001 - this is compared
        bitmap = median(lambda s=selector, c=count: index._index.search(dense.unit(query)[None], c, params=s))  # noqa: SLF001
        print(f"| {share:.2%} | {brute_force:.2f} | {bitmap:.2f} |")


def lexical_leg(folder: Path, texts: int, rng: np.random.Generator) -> None:
    """Print the time of each way of searching the allowed texts."""
    writer = LexicalWriter(folder / LEXICAL, "none")
    for start in range(0, texts, 10_000):
        numbers = (rng.zipf(1.25, size=(min(10_000, texts - start), 40)) - 1) % 30_000
        writer.add([" ".join(f"w{n}" for n in row) for row in numbers])
    writer.close()
    index = LexicalIndex.open(folder / LEXICAL, "none")
    query = "w0 w1 w7 w300 w9000"
    print(f"\n{texts:,} texts, no filter: {median(lambda: index.search(query, DEPTH)):.2f} ms\n")
    print("| allowed | a part of the query, ms | looking deeper, ms | as planned, ms |\n|--:|--:|--:|--:|")
    planned = search.HITS_PER_DOCUMENT
    for share in SHARES:
        allowed = DocumentMask(rng.random(texts) < share, np.arange(texts + 1))
        took = []
        for per_document in (0, texts, planned):
            search.HITS_PER_DOCUMENT = per_document
            took.append(median(lambda a=allowed: index.search(query, DEPTH, a), 3))
        print(f"| {share:.2%} | " + " | ".join(f"{milliseconds:.1f}" for milliseconds in took) + " |")


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--texts", type=int, default=200_000)
    sizes = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        masks(Path(folder), sizes.documents, rng)
        dense_leg(Path(folder), sizes.vectors, rng)
        lexical_leg(Path(folder), sizes.texts, rng)


if __name__ == "__main__":
    main()
