"""Benchmark of everything around the encoder at a million documents: build, opening, search over HTTP, writes, compaction.

    python bench/million.py make FOLDER --source DATA [--documents 1000000]    corpora in FOLDER
    python bench/million.py build FOLDER [--changed]                           an index of one, stage by stage
    python bench/million.py serve FOLDER --queries QUERIES.parquet             a real service, over HTTP
    python bench/million.py open FOLDER                                        the opening alone
    python bench/million.py writes FOLDER                                      live writes
    python bench/million.py compact FOLDER                                     an index with these writes in it

Texts and vectors are made of the indexes in DATA (see `million_corpus.py`), without encoding a text. The queries (column
`text`) are encoded by the model itself. FOLDER/data is the data directory.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import psutil
import pyarrow.parquet as pq
from million_corpus import Source, write_corpus
from service_process import ServiceProcess

from indexer.artifacts.store import Store
from indexer.artifacts.verified import record_of, verify_once
from indexer.build import assemble, build
from indexer.build.compact import compact
from indexer.build.settings import BuildSettings
from indexer.index.index import Index
from indexer.inference.encoder import Encoder
from indexer.retrieval.retriever import Retriever

FOUR_FACETS = ["category", "tags", "year", "open"]
WIDE_FACETS = ["source", "views", "published", "price"]
"""Fields with many different values."""


def make(folder: Path, source: Path, documents: int) -> None:
    """Write both corpora, and link the model."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    model = Store("model", source).resolve()
    shutil.copytree(model.parent, folder / "data" / "models", copy_function=_link, dirs_exist_ok=True)
    (folder / "source").write_text(str(source.resolve()), encoding="utf-8")
    passages = Source.of(source, folder / "source.npz")
    for name, changed in (("corpus", 0.0), ("changed", 0.01)):
        started = time.perf_counter()
        write_corpus(folder / f"{name}.parquet", passages, documents, changed)
        print(f"{name}: {documents:,} documents in {time.perf_counter() - started:.0f} s")


def _link(source: str, target: str) -> None:
    if not Path(target).exists():
        os.link(source, target)


def use_made_vectors(folder: Path) -> None:
    """Let the encoder make the vectors of documents as `Source` does."""
    source = Source.of(Path((folder / "source").read_text(encoding="utf-8")), folder / "source.npz")
    Encoder.encode_documents = functools.partialmethod(_encode, source)  # type: ignore[assignment]


def _encode(self: Encoder, source: Source, texts: list[str], **options: bool) -> Any:
    return source.encode(self, texts, **options)


def timed(owner: Any, name: str, title: str) -> None:
    """Print the wall and processor time that a function takes."""
    function: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(function)
    def measured(*arguments: Any, **named: Any) -> Any:
        with watch(title):
            return function(*arguments, **named)

    setattr(owner, name, measured)


@contextmanager
def watch(title: str) -> Iterator[None]:
    """Print wall and processor seconds of a block, and bytes that it wrote."""
    started, used, process = time.perf_counter(), time.process_time(), psutil.Process()
    written = process.io_counters().write_chars
    yield
    megabytes = (process.io_counters().write_chars - written) / 1e6
    took, used = time.perf_counter() - started, time.process_time() - used
    print(f"| {title} | {took:.1f} | {used:.1f} | {megabytes:,.0f} |", flush=True)


def run_build(folder: Path, *, changed: bool) -> None:
    """Build an index and print the time of each stage."""
    use_made_vectors(folder)
    for name, title in (
        ("_embed", "documents, passages, vectors, words"),
        ("write_passages", "passages"),
        ("write_flat", "flat file of the vectors"),
        ("write_ids", "ids in order"),
        ("write_keys", "keys in order"),
        ("index_vectors", "codes, and their recall"),
    ):
        timed(assemble.Assembly if name == "_embed" else assemble, name, title)
    timed(build.Corpus, "check", "check of the corpus")
    timed(build, "find_known_vectors", "verify the earlier index")
    timed(build, "choose_weights", "weights of the legs")
    timed(build, "measure_self_retrieval", "check of the vectors")
    timed(Store, "publish", "checksums, flush, publish")
    settings = BuildSettings(language="en")
    print("| stage | wall s | CPU s | written MB |\n|---|--:|--:|--:|")
    with watch("all"):
        result = build.build(
            str(folder / ("changed.parquet" if changed else "corpus.parquet")), settings, folder / "data"
        )
    size = sum(entry.size for entry in result.manifest.files.values()) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak {peak:,} MB, index {size:,.0f} MB, {result.manifest.counts}, {result.manifest.config['fusion']}")


def summary(values: list[float]) -> str:
    """Return median and 95th percentile."""
    return f"{np.median(values):.1f} / {np.percentile(values, 95):.1f}"


class Client:
    """A connection that is kept open; the parsing of answers is not timed."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        self._connection = HTTPConnection("127.0.0.1", service.port, timeout=300)

    def send(self, method: str, path: str, body: Any = None) -> tuple[float, int, Any]:
        """Return the milliseconds until the answer was read, its status and its content."""
        content = None if body is None else json.dumps(body).encode()
        started = time.perf_counter()
        self._connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        read = answer.read()
        took = (time.perf_counter() - started) * 1e3
        return took, answer.status, json.loads(read) if read else None

    def ask(self, body: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        """Search; return the milliseconds without those of the encoder, and the answer."""
        took, status, answer = self.send("POST", "/search", body)
        if status != 200:
            raise RuntimeError(answer)
        return took - answer["timings"]["encode"], answer

    def wait(self) -> None:
        """Wait until the service is ready."""
        while self.send("GET", "/readyz")[1] != 200:
            time.sleep(0.02)

    def used(self) -> float:
        """Return the milliseconds of processor time that the service has used so far."""
        times = psutil.Process(self.service.process.pid).cpu_times()
        return float(times.user + times.system) * 1e3


def serve(folder: Path, queries: list[str], options: list[str]) -> None:
    """Start the service twice, first with nothing of the index in the cache, and ask it."""
    drop_pages(folder)
    for title in ("nothing cached", "cached"):
        started = time.perf_counter()
        service = ServiceProcess(folder / "data", "--query-cache-mb", "64", *options)
        try:
            client = Client(service)
            client.wait()
            print(f"{title}: ready after {time.perf_counter() - started:.1f} s", flush=True)
            first, _ = client.ask({"query": queries[0]})
            print(f"first query {first:.0f} ms without the encoder; {memory(service)}", flush=True)
            for query in queries[1:20]:
                last, _ = client.ask({"query": query})
            print(f"twentieth query {last:.0f} ms; {memory(service)}", flush=True)
            if title == "cached":
                measure(client, queries, folder)
                print(memory(service))
        finally:
            service.end()


def drop_pages(folder: Path) -> Path:
    """Drop the pages of the live index from the cache; return its folder."""
    index = Store("index", folder / "data").resolve()
    for path in (path for path in index.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return index


def open_index(folder: Path, *, cached: bool, recorded: bool) -> None:
    """Open the live index in this process, and print what that takes, beside the model of queries."""
    index = Store("index", folder / "data").resolve() if cached else drop_pages(folder)
    if not recorded:
        record_of(index).unlink(missing_ok=True)
    encoder = Encoder.open(Store("model", folder / "data").resolve(), "fp32")
    started, used = time.perf_counter(), time.process_time()
    manifest = verify_once(index)
    opened = Index.load(index, manifest, encoder)
    Retriever(opened).search("warm up")
    took, used = time.perf_counter() - started, time.process_time() - used
    pages = "pages cached" if cached else "nothing cached"
    print(f"| {pages} | {'verified before' if recorded else 'read'} | {took:.2f} | {used:.2f} |", flush=True)


def memory(service: ServiceProcess) -> str:
    """Return the memory of the service: its own, and pages of files."""
    info = psutil.Process(service.process.pid).memory_info()
    return f"resident {info.rss >> 20:,} MB, of which {info.shared >> 20:,} MB pages of files"


def measure(client: Client, queries: list[str], folder: Path) -> None:
    """Print a table of requests and times; filters differ from query to query, so nothing is cached of them."""
    fresh = iter(range(10**6))

    def bucket() -> dict[str, Any]:
        """A filter of 1 % that nobody has asked for before."""
        number = next(fresh)
        return {"must": [{"field": "bucket", "eq": number % 100}, {"field": "views", "gte": -number}]}

    def part() -> dict[str, Any]:
        return {"must": [{"field": "views", "gte": 300 + next(fresh)}]}

    four, wide = ([{"field": name} for name in names] for names in (FOUR_FACETS, WIDE_FACETS))
    cases: dict[str, Callable[[], dict[str, Any]]] = {
        "hybrid": dict,
        "dense": lambda: {"mode": "dense"},
        "lexical": lambda: {"mode": "lexical"},
        "hybrid, the same filter of 1 %": lambda: {"filter": {"must": [{"field": "bucket", "eq": 7}]}},
        "hybrid, another filter of 1 % each": lambda: {"filter": bucket()},
        "hybrid, another filter of 57 % each": lambda: {"filter": part()},
        "hybrid, four facets over everything": lambda: {"facets": four},
        "hybrid, four facets, another filter of 1 % each": lambda: {"facets": four, "filter": bucket()},
        "hybrid, four facets, another filter of 57 % each": lambda: {"facets": four, "filter": part()},
        "hybrid, four wide facets, another filter of 57 % each": lambda: {"facets": wide, "filter": part()},
    }
    for query in queries:  # their vectors are then in the cache of queries
        client.ask({"query": query})
    print("| request | ms over HTTP without the encoder | dense | lexical | took in the service | CPU of the service |")
    print("|---|--:|--:|--:|--:|--:|")
    for title, extra in cases.items():
        totals, dense, lexical, inside = [], [], [], []
        client.ask({"query": queries[0]} | extra())
        before = client.used()
        for query in queries:
            took, answer = client.ask({"query": query, "explain": True} | extra())
            totals.append(took)
            dense.append(answer["timings"]["dense"])
            lexical.append(answer["timings"]["lexical"])
            inside.append(answer["took_ms"] - answer["timings"]["encode"])
        used = (client.used() - before) / len(queries)
        columns = " | ".join(map(summary, (totals, dense, lexical, inside)))
        print(f"| {title} | {columns} | {used:.1f} |", flush=True)
    complete, found, asked = check_filter(client, queries[:50], folder)
    print(f"filter of 1 %: count right in {complete} of {asked}; recall@10 of dense mode {found:.4f}")


def check_filter(client: Client, queries: list[str], folder: Path) -> tuple[int, float, int]:
    """Compare dense mode under filters of 1 % with cosines computed here; return complete answers, recall, and queries."""
    index = Index.open(Store("index", folder / "data").resolve(), verify=False)
    buckets = index.column("bucket").to_numpy()
    complete, shares = 0, []
    for number, query in enumerate(queries):
        body = {"query": query, "mode": "dense", "filter": {"must": [{"field": "bucket", "eq": number % 100}]}}
        _, answer = client.ask(body)
        rows = np.flatnonzero(buckets[index.document_of] == number % 100)
        cosines = index.dense.vectors(rows) @ index.encoder.encode_query(query)
        _, first = np.unique(index.document_of[rows[np.argsort(-cosines)]], return_index=True)
        best = np.sort(-np.sort(cosines)[::-1][np.sort(first)[:10]])
        scores = np.array([result["score"] for result in answer["results"]])
        complete += answer["count"] == 10 and answer["matches"] == int(np.count_nonzero(buckets == number % 100))
        shares.append(np.count_nonzero(scores >= -best[-1] - 1e-5) / 10)
    return complete, float(np.mean(shares)), len(queries)


def writes(folder: Path) -> None:
    """PUT one document and a thousand, and print times and memory."""
    table = pq.read_table(folder / "changed.parquet").slice(0, 2_000).to_pylist()
    documents = [
        {
            "id": f"live-{number}", "title": row["title"], "text": row["text"],
            "metadata": {"category": row["category"], "tags": row["tags"], "bucket": row["bucket"], "year": row["year"]},
        }
        for number, row in enumerate(table)
    ]  # fmt: skip
    service = ServiceProcess(folder / "data", "--writable", "--deadline-seconds", "300")
    try:
        client = Client(service)
        client.wait()
        for title, count in (("PUT of 1", 1), ("PUT of 1 more", 1), ("DELETE of 1", 0), ("PUT of 1,000 in 256s", 1000)):
            started, used = time.perf_counter(), client.used()
            statuses = [] if count else [client.send("DELETE", "/documents?id=document-77")[1]]
            for first in range(0, count, 256):
                part = documents[first : min(first + 256, count)]
                statuses.append(client.send("PUT", "/documents", {"documents": part})[1])
            took, used = time.perf_counter() - started, client.used() - used
            print(f"{title}: {took:.3f} s, {used:.0f} ms of processor time, {set(statuses)}; {memory(service)}")
            times = [client.ask({"query": f"cells {number}"})[0] for number in range(20)]
            print(f"  hybrid then {summary(times)} ms", flush=True)
    finally:
        service.end()


def fold(folder: Path) -> None:
    """Compact, and print the time of each stage and the bytes written."""
    use_made_vectors(folder)
    for name in ("_embed", "write_passages", "write_flat", "write_ids", "write_keys", "index_vectors"):
        timed(assemble.Assembly if name == "_embed" else assemble, name, name)
    timed(Store, "publish", "publish")
    print("| compaction | wall s | CPU s | written MB |\n|---|--:|--:|--:|")
    with watch("all"):
        compact(folder / "data")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["make", "build", "serve", "open", "writes", "compact"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--source", type=Path, help="data directory whose indexes give texts and vectors")
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--changed", action="store_true", help="the corpus of which 1 %% has changed")
    parser.add_argument("--queries", type=Path, help="Parquet file of people's queries")
    parser.add_argument("--count", type=int, default=100, help="queries of each kind of request")
    parser.add_argument("--option", action="append", default=[], help="option of the service")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    match arguments.step:
        case "make":
            make(folder, arguments.source, arguments.documents)
        case "build":
            run_build(folder, changed=arguments.changed)
        case "serve":
            texts = pq.read_table(arguments.queries, columns=["text"]).column("text").to_pylist()
            serve(folder, texts[: arguments.count], arguments.option)
        case "open":
            for cached, recorded in ((True, False), (False, True), (True, True), (True, True)):
                open_index(folder, cached=cached, recorded=recorded)
        case "writes":
            writes(folder)
        case "compact":
            fold(folder)


if __name__ == "__main__":
    main()
