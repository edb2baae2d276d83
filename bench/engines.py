"""Dense search beside LanceDB and Qdrant's embedded engine, on the same vectors, at equal recall, without and with a filter.

pip install lancedb==0.40.0 qdrant-edge-py==0.9.0
python bench/scale.py --data DIR --vectors 1000000 --kinds ivf-1bit --folder FOLDER
python bench/engines.py FOLDER [--engines dowse,lancedb-rq,lancedb-hnsw,qdrant] [--recall 0.98]

FOLDER is what bench/scale.py leaves: vectors, codes and queries. Each engine is built once and kept there. Its effort is
the least that finds --recall of the ten nearest on half of the queries, without and with a filter. Then all engines answer
the other half in turn, query by query, so that other load of the machine meets them alike. Milliseconds are by the clock:
engines may use all cores. The filter is one of 100 values of a text column, evenly and randomly given, with an index in the
engines that have one; a value is first met without anything cached of it, and then again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pyarrow as pa

from indexer.filters.bind import bind
from indexer.filters.encoded import EncodedColumn
from indexer.filters.fields import find_field
from indexer.filters.filter import Filter
from indexer.filters.leaves import to_mask
from indexer.index import dense
from indexer.index.approximate.codes import open_codes
from indexer.index.approximate.leg import ApproximateDense
from indexer.index.dense import DenseIndex
from indexer.index.document_mask import DocumentMask
from indexer.inference.encoder import Vectors

COUNT, VALUES, BLOCK = 10, 100, 20_000
EFFORTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Engine(Protocol):
    """A built index that is searched."""

    effort: int

    def forget(self) -> None:
        """Drop what is cached of filters, where the engine can."""

    def search(self, vector: Vectors, value: str | None) -> list[int]:
        """Return the rows of the nearest vectors, among those with a value."""


class Dowse:
    """The dense leg of an index with codes, and the filter of its metadata, masks cached as in the service."""

    effort = 1

    def __init__(self, folder: Path, values: list[str]) -> None:
        self._exact = DenseIndex.open(folder / dense.FILE)
        self._codes, self._extra = open_codes(folder / "ivf-1bit.faiss"), 40
        self._column = EncodedColumn.of(pa.chunked_array([values]), find_field("value", {"value": pa.string()}))
        self._first_passage = np.arange(len(values) + 1)
        self._masks: dict[str, DocumentMask] = {}

    def search(self, vector: Vectors, value: str | None) -> list[int]:
        """Return the rows of the nearest vectors."""
        leg = ApproximateDense(self._exact, self._codes, self.effort, self._extra)
        rows: list[int] = leg.search(vector, COUNT, self._mask(value) if value else None)[1].tolist()
        return rows

    def forget(self) -> None:
        """Drop the masks."""
        self._masks.clear()

    def _mask(self, value: str) -> DocumentMask:
        if value not in self._masks:
            condition = Filter.model_validate({"must": [{"field": "value", "eq": value}]})
            bound = bind(condition, {"value": pa.string()}).must[0]
            truth = to_mask(bound.predicate(pa.chunked_array([self._column.values])))
            self._masks[value] = DocumentMask(self._column.mask(truth), self._first_passage)
        return self._masks[value]


class Other:
    """An engine whose caches are its own affair."""

    def forget(self) -> None:
        """Do nothing."""


class LanceDB(Other):
    """A table with a vector index of a kind, and a bitmap index of the values."""

    effort = 1

    def __init__(self, folder: Path, values: list[str], kind: str) -> None:
        import lancedb

        database = lancedb.connect(folder / f"lancedb-{kind}")
        self._refine = {"IVF_RQ": 8, "IVF_PQ": 20}.get(kind)
        if not (folder / f"lancedb-{kind}.built").is_file():
            exact = DenseIndex.open(folder / dense.FILE)
            table = database.create_table("vectors", _batches(exact, values), mode="overwrite")
            table.create_index(metric="cosine", vector_column_name="vector", index_type=kind)
            table.create_scalar_index("value", index_type="BITMAP")
            (folder / f"lancedb-{kind}.built").touch()
        self._table = database.open_table("vectors")

    def search(self, vector: Vectors, value: str | None) -> list[int]:
        """Return the rows of the nearest vectors."""
        query = (
            self._table.search(vector)
            .distance_type("cosine")
            .select(["row", "_distance"])
            .limit(COUNT)
            .nprobes(self.effort)
        )
        if self._refine:
            query = query.refine_factor(self._refine)
        if value:
            query = query.where(f"value = '{value}'", prefilter=True)
        rows: list[int] = query.to_arrow()["row"].to_pylist()
        return rows


class Qdrant(Other):
    """A shard with an HNSW graph, and an index of the values."""

    effort = 1

    def __init__(self, folder: Path, values: list[str]) -> None:
        import qdrant_edge as edge

        self._edge, path = edge, folder / "qdrant"
        if not (folder / "qdrant.built").is_file():
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            exact = DenseIndex.open(folder / dense.FILE)
            parameters = edge.EdgeVectorParams(exact.dimension, edge.Distance.Cosine)
            # One segment: several would be searched one after another.
            optimizers = edge.EdgeOptimizersConfig(default_segment_number=1)
            shard = edge.EdgeShard.create(str(path), edge.EdgeConfig(vectors=parameters, optimizers=optimizers))
            kind = edge.PayloadSchemaType.Keyword
            shard.update(edge.UpdateOperation.create_field_index("value", kind))
            for start in range(0, len(exact), BLOCK):
                rows = np.arange(start, min(start + BLOCK, len(exact)))
                points = [
                    edge.Point(int(row), vector.tolist(), {"value": values[row]})
                    for row, vector in zip(rows, exact.vectors(rows), strict=True)
                ]
                shard.update(edge.UpdateOperation.upsert_points(points))
            shard.optimize()
            shard.flush()
            shard.close()
            (folder / "qdrant.built").touch()
        self._shard = edge.EdgeShard.load(str(path))

    def search(self, vector: Vectors, value: str | None) -> list[int]:
        """Return the rows of the nearest vectors."""
        edge = self._edge
        condition = edge.FieldCondition("value", edge.MatchValue(value)) if value else None
        request = edge.SearchRequest(
            edge.Query.Nearest(vector.tolist()),
            COUNT,
            filter=edge.Filter(must=[condition]) if condition else None,
            params=edge.SearchParams(hnsw_ef=self.effort),
        )
        return [point.id for point in self._shard.search(request)]


def _batches(exact: DenseIndex, values: list[str]) -> pa.RecordBatchReader:
    kind = pa.list_(pa.float32(), exact.dimension)
    schema = pa.schema({"row": pa.int64(), "vector": kind, "value": pa.string()})

    def read() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(exact), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(exact)))
            vectors = pa.FixedSizeListArray.from_arrays(exact.vectors(rows).ravel(), exact.dimension)
            yield pa.record_batch([pa.array(rows), vectors, pa.array(values[start : rows[-1] + 1])], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, read())


ENGINES: dict[str, Callable[[Path, list[str]], Any]] = {
    "dowse": Dowse,
    "lancedb-rq": lambda folder, values: LanceDB(folder, values, "IVF_RQ"),
    "lancedb-pq": lambda folder, values: LanceDB(folder, values, "IVF_PQ"),
    "lancedb-hnsw": lambda folder, values: LanceDB(folder, values, "IVF_HNSW_SQ"),
    "qdrant": Qdrant,
}


def choose_effort(
    engine: Engine, queries: Vectors, values: list[str | None], nearest: list[set[int]], target: float
) -> None:
    """Set the least effort that reaches a recall, or the largest."""
    for engine.effort in EFFORTS:
        found = [engine.search(query, value) for query, value in zip(queries, values, strict=True)]
        if np.mean([len(rows.intersection(got)) / COUNT for rows, got in zip(nearest, found, strict=True)]) >= target:
            return


def compare(
    engines: dict[str, Engine], queries: Vectors, values: list[str | None], nearest: list[set[int]], heading: str
) -> None:
    """Ask all engines for each query in turn, and print time and recall."""
    took: dict[str, list[float]] = {name: [] for name in engines}
    recall: dict[str, list[float]] = {name: [] for name in engines}
    for query, value, expected in zip(queries, values, nearest, strict=True):
        for name, engine in engines.items():
            started = time.perf_counter()
            rows = engine.search(query, value)
            took[name].append((time.perf_counter() - started) * 1e3)
            recall[name].append(len(expected.intersection(rows)) / len(expected))
    print(f"\n{heading}\n| engine | effort | median ms | p95 ms | recall@10 |\n|---|--:|--:|--:|--:|")
    for name, engine in engines.items():
        times = np.percentile(took[name], (50, 95))
        print(f"| {name} | {engine.effort} | {times[0]:.2f} | {times[1]:.2f} | {np.mean(recall[name]):.3f} |")


def nearest_with(exact: DenseIndex, queries: Vectors, values: list[str | None], column: list[str]) -> list[set[int]]:
    """Return for each query the nearest rows that have its value, by exact search."""
    given, first = np.array(column), np.arange(len(column) + 1)
    masks = {value: DocumentMask(given == value, first) for value in set(values)}
    return [
        set(exact.search(query, COUNT, masks[value])[1].tolist()) for query, value in zip(queries, values, strict=True)
    ]


def main() -> None:
    """Read the command line, build what is missing, choose efforts, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engines", default="dowse,lancedb-rq,lancedb-hnsw,qdrant")
    parser.add_argument("--recall", type=float, default=0.98)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    exact, queries = DenseIndex.open(folder / dense.FILE), np.load(folder / "queries.npy")
    column = [f"v{number:02}" for number in np.random.default_rng(2).integers(VALUES, size=len(exact))]
    nearest = [set(rows.tolist()) for rows in exact.search_many(queries, COUNT)[1]]
    half = len(queries) // 2
    engines: dict[str, Engine] = {}
    for name in arguments.engines.split(","):
        started = time.perf_counter()
        engines[name] = ENGINES[name](folder, column)
        print(f"{name}: built or opened in {time.perf_counter() - started:.1f} s", flush=True)
    values: list[str | None] = [f"v{number % VALUES:02}" for number in range(half)]
    for heading, asked in (("no filter", [None] * half), ("a filter of 1 %", values)):
        if asked is values:
            nearest = nearest_with(exact, queries, values + values, column)
        for engine in engines.values():
            choose_effort(engine, queries[:half], asked, nearest[:half], arguments.recall)
        for engine in engines.values():
            engine.forget()
        later, expected = queries[half:], nearest[half:]
        if asked is values:
            first = slice(0, VALUES)
            compare(engines, later[first], values[first], expected[first], f"{heading}, each value for the first time")
        compare(engines, later, asked, expected, f"{len(exact):,} vectors, {heading}")


if __name__ == "__main__":
    main()
