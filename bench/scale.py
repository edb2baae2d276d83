"""Benchmark of dense indexes at scale: build, size, memory, time of a query and recall of each kind.

python bench/scale.py [--data DIR] [--vectors 200000] [--kinds ivf-1bit,ivf-int8] [--recall 0.98] [--csv FILE] [--check]

Vectors are made from those of all indexes in --data, which have to be of one model (see text_like.py). With --check, kinds
are compared on 20,000 real vectors, on as many made of them, and on as many made of 730 of them, which is the ratio of a
million to 27,000 real ones. --csv appends recall and time by effort, which bench/charts.py draws.

python bench/scale.py --data DIR --index ID --queries queries.parquet

With --queries, the effort that sentences of an index's documents choose is tried on people's queries (column `text`).

Milliseconds are processor time of one thread, to depend less on other load of the machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pyarrow.parquet as pq
from text_like import BLOCK, TextLike, real_vectors

from indexer.artifacts.store import Store, data_dir
from indexer.build.legs.dense_codes import make_queries, write_codes
from indexer.build.legs.recall import Point, choose, find_nearest, measure
from indexer.index import dense
from indexer.index.approximate.codes import Codes, open_codes
from indexer.index.approximate.leg import ApproximateDense
from indexer.index.dense import DenseIndex, unit
from indexer.index.document_mask import DocumentMask
from indexer.index.flat_file import write_flat
from indexer.index.index import Index
from indexer.inference.encoder import Vectors

QUERIES, TOPICS = 400, 60
SERVED = 258
"""Passages that the service asks for: 200 documents of 1.03 passages, and a quarter more."""


def resident() -> dict[str, float]:
    """Return the megabytes of this process that lie in memory: its own, and those of mapped files."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    sizes = {line.partition(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
    return {"own": sizes["RssAnon"], "mapped": sizes["RssFile"]}


def milliseconds(
    leg: ApproximateDense | DenseIndex, queries: Vectors, count: int, allowed: DocumentMask | None = None
) -> str:
    """Return median and 95th percentile of the processor time of a search, on one thread, as text."""
    took = times(leg, queries, count, allowed)
    return f"{np.median(took):.2f} / {np.percentile(took, 95):.2f}"


def times(
    leg: ApproximateDense | DenseIndex, queries: Vectors, count: int, allowed: DocumentMask | None = None
) -> list[float]:
    """Return the milliseconds of processor time that a search for each query takes, on one thread."""
    took = []
    for query in queries:
        started = time.thread_time()
        leg.search(query, count, allowed)
        took.append((time.thread_time() - started) * 1e3)
    return took


def found(leg: ApproximateDense, queries: Vectors, allowed: DocumentMask) -> tuple[float, bool]:
    """Return the recall of the ten nearest under a filter, and whether as many came as there are."""
    share, complete = [], True
    for query in queries:
        cosines, expected = leg.search(query, 10, allowed)[0], leg.exact.search(query, 10, allowed)[0]
        complete &= len(cosines) == min(10, allowed.passage_count)
        share.append(np.count_nonzero(cosines >= expected[-1] - 1e-6) / len(expected))
    return float(np.mean(share)), complete


def nearest_topics(exact: DenseIndex, rng: np.random.Generator) -> np.ndarray:
    """Return the number of the nearest of some random passages for each passage, shape (passages,)."""
    centres = exact.vectors(rng.integers(len(exact), size=TOPICS))
    rows = np.arange(len(exact))
    blocks = [exact.vectors(rows[start : start + BLOCK]) @ centres.T for start in range(0, len(exact), BLOCK)]
    return np.concatenate([block.argmax(axis=1) for block in blocks])


def build(kind: str, folder: Path, exact: DenseIndex) -> tuple[Codes, float]:
    """Write codes of a kind; return them, and the seconds that it took. Those of an earlier run are taken as they are."""
    if (folder / f"{kind}.faiss").is_file():
        return open_codes(folder / f"{kind}.faiss"), 0.0
    started, centres = time.perf_counter(), folder / "centres.npy"
    known = np.load(centres) if centres.is_file() and len(exact) > BLOCK else None
    written = write_codes(folder / f"{kind}.faiss", kind, exact, os.cpu_count() or 1, known)  # type: ignore[arg-type]
    if written.lists:
        np.save(centres, written.centres())
    return written, time.perf_counter() - started


def write_curve(path: Path, first: str, leg: ApproximateDense, points: list[Point], queries: Vectors) -> None:
    """Append recall and milliseconds of a query for 10 passages at each effort to a CSV file, after the ``first`` columns."""
    fresh = not path.exists()
    with path.open("a", encoding="utf-8") as file:
        if fresh:
            file.write("vectors,kind,bytes,effort,recall,milliseconds\n")
        for point in points:
            if point.extra == leg.extra:
                took = np.median(times(leg.with_effort(point.effort, point.extra), queries, 10))
                file.write(f"{first},{point.effort},{point.recall:.4f},{took:.3f}\n")


def report(
    kind: str, folder: Path, exact: DenseIndex, queries: Vectors, *, nearest: Vectors, target: float, csv: Path | None
) -> str:
    """Build a kind, choose the effort of a search, print what it costs and finds, and return the argument of --memory."""
    written, seconds = build(kind, folder, exact)
    leg = ApproximateDense(exact, written, 1, 0)
    points = measure(leg, queries, nearest)
    chosen = choose(points, target, leg)
    print(f"\n{kind}: built in {seconds:.0f} s; {_facts(folder, kind, len(exact))}")
    print_curve(points, chosen)
    if csv:
        first = f"{len(exact)},{kind},{(folder / f'{kind}.faiss').stat().st_size / len(exact):.0f}"
        write_curve(csv, first, leg.with_effort(chosen.effort, chosen.extra), points, queries)
    del leg, written
    started = time.perf_counter()
    leg = ApproximateDense(exact, open_codes(folder / f"{kind}.faiss"), chosen.effort, chosen.extra)
    leg.search(queries[0], 10)
    opened = time.perf_counter() - started
    took = [milliseconds(leg, queries, count) for count in (10, SERVED)]
    print(
        f"opened and first query {opened * 1e3:.0f} ms; a query, ms: 10 passages {took[0]}, {SERVED} passages {took[1]}"
    )
    rng = np.random.default_rng(1)
    topics = nearest_topics(exact, rng)
    print("| allowed | filter | recall@10 | complete | ms for 10 | ms for 258 |\n|--:|---|--:|---|--:|--:|")
    for share in (0.005, 0.01, 0.1, 0.3, 0.8):
        by_topic = rng.gamma(0.5, size=TOPICS)
        by_topic = np.minimum(1, share * by_topic / by_topic.mean())
        for name, chance in (("at random", share), ("by topic", by_topic[topics])):
            allowed = DocumentMask(rng.random(len(exact)) < chance, np.arange(len(exact) + 1))
            recall, complete = found(leg, queries[:100], allowed)
            took = [milliseconds(leg, queries[:100], count, allowed) for count in (10, SERVED)]
            print(f"| {share:.1%} | {name} | {recall:.3f} | {'yes' if complete else 'NO'} | {took[0]} | {took[1]} |")
    return f"{kind},{chosen.effort},{chosen.extra}"


def print_curve(points: list[Point], chosen: Point) -> None:
    """Print recall by effort, and what was chosen."""
    print(f"chosen: effort {chosen.effort}, {chosen.extra} extra passages, recall {chosen.recall:.3f}")
    curve = [point for point in points if point.extra == chosen.extra]
    print(", ".join(f"{point.effort}: {point.recall:.3f} ({point.deeper:.3f} of 100)" for point in curve))


def _facts(folder: Path, kind: str, passages: int) -> str:
    size = (folder / f"{kind}.faiss").stat().st_size / passages
    return f"{size:.0f} bytes a passage beside {(folder / dense.FILE).stat().st_size / passages:.0f} on the disk"


def memory(folder: Path, kind: str, effort: int, extra: int) -> None:
    """Print memory and time of a process that only opens an index and searches, and that finds no page in the cache.

    FAISS advises the kernel not to read ahead in mapped files, so only the pages that searches read are resident.
    """
    vectors = np.load(folder / "queries.npy")
    for name in (dense.FILE, f"{kind}.faiss"):
        with (folder / name).open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before, started = resident(), time.perf_counter()
    exact = DenseIndex.open(folder / dense.FILE)
    leg = ApproximateDense(exact, open_codes(folder / f"{kind}.faiss"), effort, extra)
    leg.search(vectors[0], 10)
    print(f"{kind}, nothing cached: opened, with the first query, in {(time.perf_counter() - started) * 1e3:.0f} ms")
    for count in (10, SERVED):
        took = []
        for query in vectors:
            started = time.perf_counter()
            leg.search(query, count)
            took.append((time.perf_counter() - started) * 1e3)
        after = resident()
        own, mapped = (after[name] - before[name] for name in ("own", "mapped"))
        per = (own + mapped) * 1024 * 1024 / len(exact)
        print(
            f"after {len(vectors)} more queries for {count} passages: {per:.0f} bytes a passage resident (own {own:.0f} MB, "
            f"mapped {mapped:.0f} MB), {np.median(took):.2f} ms a query by the clock"
        )


def check(real: Vectors, kinds: list[str], folder: Path) -> None:
    """Print recall by effort on real vectors and on made ones of the same number."""
    half = 20_000
    samples = {"real": (real[:half], real[half : half + QUERIES])}
    for seeds in (half, 730):
        source = TextLike.of(real[:seeds])
        samples[f"made of {seeds:,}"] = source.make(half), source.make(QUERIES)
    for name, (vectors, queries) in samples.items():
        write_flat(folder / dense.FILE, vectors.shape[1], len(vectors), [vectors])
        exact = DenseIndex.open(folder / dense.FILE)
        nearest = find_nearest(exact, queries)
        at = ", ".join(f"{rank}: {nearest[:, rank - 1].mean():.3f}" for rank in (1, 2, 5, 10, 100))
        print(f"\n{name}: cosine of the nearest by rank {at}")
        for kind in kinds:
            leg = ApproximateDense(exact, build(kind, folder, exact)[0], 1, 0)
            points = measure(leg, queries, nearest)
            print(kind, end=" ")
            print_curve(points, choose(points, 0.98, leg))


def people(data: Path, name: str, queries: Path, kinds: list[str], folder: Path) -> None:
    """Print the recall that sentences of an index's documents choose an effort by, and that of people's queries."""
    index = Index.open(Store("index", data).path(name), verify=False).searched_exactly()
    texts = pq.read_table(queries, columns=["text"]).column("text").to_pylist()[:QUERIES]
    asked = {
        "sentences": make_queries(index.folder, index.encoder, []).vectors,
        "people": unit(index.encoder.encode_queries(texts)),
    }
    exact = DenseIndex.open(index.folder / dense.FILE)
    for kind in kinds:
        leg = ApproximateDense(exact, build(kind, folder, exact)[0], 1, 0)
        points = {origin: measure(leg, vectors, find_nearest(exact, vectors)) for origin, vectors in asked.items()}
        chosen = choose(points["sentences"], 0.98, leg)
        same = [point for point in points["people"] if (point.effort, point.extra) == (chosen.effort, chosen.extra)]
        print(f"{kind}: people's queries {same[0].recall if same else 1:.3f}, sentences", end=" ")
        print_curve(points["sentences"], chosen)


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_dir())
    parser.add_argument("--vectors", type=int, default=200_000)
    parser.add_argument("--kinds", default="ivf-1bit,ivf-int8")
    parser.add_argument("--recall", type=float, default=0.98)
    parser.add_argument("--csv", type=Path, help="file to which recall and time by effort are appended")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--memory", metavar="KIND,EFFORT,EXTRA", help="only search what lies in --folder")
    parser.add_argument("--folder", type=Path, help="where vectors and codes are kept for another run")
    parser.add_argument("--index", help="id of the index to which --queries belong")
    parser.add_argument("--queries", type=Path, help="Parquet file of people's queries")
    arguments = parser.parse_args()
    kinds = arguments.kinds.split(",")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if arguments.memory:
            kind, effort, extra = arguments.memory.split(",")
            memory(folder, kind, int(effort), int(extra))
            return
        if arguments.queries:
            people(arguments.data, arguments.index, arguments.queries, kinds, folder)
            return
        if arguments.check:
            check(real_vectors(arguments.data), kinds, folder)
            return
        if not (folder / dense.FILE).is_file():
            source = TextLike.of(real_vectors(arguments.data))
            np.save(folder / "queries.npy", source.make(QUERIES))
            write_flat(folder / dense.FILE, source.real.shape[1], arguments.vectors, source.blocks(arguments.vectors))
        exact, queries = DenseIndex.open(folder / dense.FILE), np.load(folder / "queries.npy")
        print(f"{len(exact):,} vectors of {exact.dimension} dimensions")
        print(f"flat: a query, ms: 10 passages {milliseconds(exact, queries[:20], 10)}")
        nearest = find_nearest(exact, queries)
        options = {"nearest": nearest, "target": arguments.recall, "csv": arguments.csv}
        measured = [report(kind, folder, exact, queries, **options) for kind in kinds]
        del exact  # pages that a process has mapped stay in the cache
        sys.stdout.flush()
        for argument in measured:
            subprocess.run([sys.executable, __file__, "--folder", str(folder), "--memory", argument], check=True)


if __name__ == "__main__":
    main()
