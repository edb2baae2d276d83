"""Benchmark of the encoder: Dowse against sentence-transformers.encode, in turns, on the same texts.

    python bench/encoder.py                                   one query at a time
    python bench/encoder.py --busy                            the same while another process keeps one core busy
    python bench/encoder.py --documents 512 CORPUS.parquet    embedding a corpus (sentence-transformers: batch 32)

Each engine has its own process and works while the others sleep; rounds alternate between them. A ratio is the median
over the rounds of the time of sentence-transformers divided by that of Dowse.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pyarrow.parquet as pq

from indexer.artifacts.store import Store, data_dir
from indexer.progress import say

ENGINES = ("sentence-transformers", "fp32", "int8")
QUERIES = [
    "run a command and get its output",
    "remove duplicates but keep the order",
    "read a large file line by line",
    "temporary directory that is deleted afterwards",
    "how many times does each word occur in a text",
    "convert a date string to a timestamp with a time zone",
    "call a function again with other arguments filled in",
    "split a path into its directory and its file name",
    "wait until several threads have finished their work",
    "compress data so that it takes less space on disk",
]


def load(engine: str, model: Path) -> Callable[[list[str]], object]:
    """Return the function of ``engine`` that encodes texts: a single one as a query, several as documents."""
    if engine == "sentence-transformers":
        from sentence_transformers import SentenceTransformer

        reference = SentenceTransformer(str(model), device="cpu")
        return lambda texts: reference.encode(texts if len(texts) > 1 else texts[0], batch_size=32)
    from indexer.inference.encoder import Encoder

    encoder = Encoder.open(model, "int8" if engine == "int8" else "fp32")
    return lambda texts: encoder.encode_documents(texts) if len(texts) > 1 else encoder.encode_query(texts[0])


def work(engine: str, model: Path, pipe: Connection) -> None:
    """Serve one engine: receive batches of texts, send the seconds that each took."""
    encode = load(engine, model)
    while (batches := pipe.recv()) is not None:
        seconds = []
        for texts in batches:
            started = time.perf_counter()
            encode(texts)
            seconds.append(time.perf_counter() - started)
        pipe.send(seconds)


def compare(model: Path, batches: list[list[str]], rounds: int) -> dict[str, list[float]]:
    """Return for every engine the median seconds of a batch in each round, after one round that does not count."""
    spawn = multiprocessing.get_context("spawn")
    pipes, workers = {}, []
    for engine in ENGINES:
        pipes[engine], other = spawn.Pipe()
        workers.append(spawn.Process(target=work, args=(engine, model, other), daemon=True))
        workers[-1].start()
    medians: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for number in range(rounds + 1):
        for engine, pipe in pipes.items():
            pipe.send(batches)
            seconds = float(np.median(pipe.recv()))
            if number:
                medians[engine].append(seconds)
        say(f"round {number} of {rounds}" + ("" if number else " (warm-up)"))
    for pipe, worker in zip(pipes.values(), workers, strict=True):
        pipe.send(None)
        worker.join()
    return medians


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy while the context is open."""
    spinner = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    spinner.start()
    yield
    spinner.terminate()
    spinner.join()


def spin() -> None:
    """Keep a core busy forever."""
    while True:
        pass


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", type=Path, help="Parquet file with title and text, for --documents")
    parser.add_argument("--documents", type=int, metavar="N", help="embed N documents of CORPUS, evenly spread")
    parser.add_argument("--queries", type=Path, help="Parquet file whose column text holds the queries")
    parser.add_argument("--busy", action="store_true", help="keep one core busy with another process")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    parser.add_argument("--data", type=Path, default=data_dir() / "bench", help="where the model is kept (DATA/bench)")
    arguments = parser.parse_args()
    if bool(arguments.documents) != bool(arguments.corpus):
        parser.error("--documents N and CORPUS go together")
    from trainer.models.base import publish_base
    from trainer.models.settings import BaseSettings

    model = Store("model", arguments.data).path(publish_base(None, BaseSettings(int8=True), arguments.data).manifest.id)
    if arguments.documents:
        table = pq.read_table(arguments.corpus, columns=["title", "text"])
        table = table.take(np.linspace(0, len(table) - 1, arguments.documents).astype(int))
        rows = zip(table["title"].to_pylist(), table["text"].to_pylist(), strict=True)
        batches = [[f"{title or ''} {text}".strip() for title, text in rows]]
    else:
        texts = pq.read_table(arguments.queries)["text"].to_pylist()[:100] if arguments.queries else QUERIES * 5
        batches = [[text] for text in texts]
    if arguments.busy:
        with busy_core():
            medians = compare(model, batches, arguments.rounds)
    else:
        medians = compare(model, batches, arguments.rounds)
    reference = np.array(medians["sentence-transformers"])
    for engine, seconds in medians.items():
        ratio = float(np.median(reference / np.array(seconds)))
        middle = float(np.median(seconds))
        speed = f"{arguments.documents / middle:7.1f} documents/s" if arguments.documents else f"{middle * 1e3:7.2f} ms"
        print(f"{engine:22} {speed}   {ratio:5.2f} times as fast")


if __name__ == "__main__":
    main()
