"""Benchmark of building: time, peak memory and size of a large index, of a re-build after 1 % of the rows changed, and of none.

    python bench/building.py 1000000 --data data            made-up vectors: what a build takes beside the encoder
    python bench/building.py 20000 --data data --encode     the model's own vectors: shares of a real build

The texts are made up of the words of the model's vocabulary. Everything but the encoder is that of a real build, with the
number of dimensions of the live model in DATA. Each step is a process of its own; its peak is all resident memory, mapped
files included. The index goes into a temporary folder that is deleted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.artifacts.store import Store, data_dir
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.corpus.corpus import Corpus
from indexer.index.dense import unit
from indexer.inference.encoder import Encoder, Vectors
from indexer.inference.session import load_tokenizer

ROWS_PER_GROUP = 50_000
WORDS_PER_TEXT = 20
SETTINGS = BuildSettings(language="en", dense_weight=0.5)
"""The weight is set: estimating it takes a time that does not depend on the size of the corpus."""


def make_up(self: Encoder, texts: Sequence[str], *, exactly: bool = False) -> Vectors:  # noqa: ARG001 - as the method
    """Return a vector for each text that depends on the text alone."""
    table = np.random.default_rng(0).normal(size=(4096, self.contract.dimension)).astype(np.float32)
    places = np.array([[zlib.crc32(text.encode(), start) % 4096 for start in range(3)] for text in texts])
    return unit(table[places].sum(axis=1))


def write_corpus(path: Path, rows: int, words: list[str], changed: float = 0.0) -> None:
    """Write made-up documents; a share of them is ``changed``, evenly spread, and a twentieth of those is left out."""
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("number", pa.int64())])
    rng, other = np.random.default_rng(1), np.random.default_rng(2)
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, ROWS_PER_GROUP):
            count = min(ROWS_PER_GROUP, rows - first)
            chosen = rng.integers(0, len(words), (count, WORDS_PER_TEXT))
            draw = other.random(count)
            texts = [" ".join(words[word] for word in row) for row in chosen.tolist()]
            texts = [f"new {text}" if value < changed else text for text, value in zip(texts, draw, strict=True)]
            ids = [f"document-{number}" for number in range(first, first + count)]
            table = pa.table([ids, texts, np.arange(count)], schema=schema)
            writer.write_table(table.filter(pa.array(draw >= changed / 20)))


def step(name: str, corpus: Path, data: Path, *, encode: bool) -> tuple[float, float, int, dict[str, int]]:
    """Check or build in this process; return wall and processor seconds, peak of resident MB, and counts."""
    if not encode:
        Encoder.encode_documents = make_up  # type: ignore[method-assign]
    started, used = time.perf_counter(), time.process_time()
    counts: dict[str, int] = {}
    if name == "read":
        Corpus.check(str(corpus))
    else:
        counts = build(str(corpus), SETTINGS, data).manifest.counts
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return time.perf_counter() - started, time.process_time() - used, peak, counts


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", type=int, help="rows of the corpus; each has one passage")
    parser.add_argument("--encode", action="store_true", help="take the vectors of the model")
    parser.add_argument("--data", type=Path, default=data_dir(), help="the data directory with the model")
    arguments = parser.parse_args()
    model = Store("model", arguments.data).resolve()
    vocabulary: dict[str, Any] = load_tokenizer(model).get_vocab()
    words = sorted(word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2)
    spawn = multiprocessing.get_context("spawn")
    with TemporaryDirectory(dir=arguments.data) as name:
        data = Path(name)
        shutil.copytree(model.parent, data / "models", ignore=lambda _, names: {n for n in names if n[0] == "."})
        full, changed = data / "full.parquet", data / "changed.parquet"
        write_corpus(full, arguments.documents, words)
        write_corpus(changed, arguments.documents, words, changed=0.01)
        print(f"{'step':10} {'wall s':>8} {'CPU s':>8} {'peak MB':>8} {'encoded':>9} {'index MB':>9}")
        steps = (("read", full), ("build", full), ("1 % new", changed), ("no-op", changed), ("read", changed))
        for title, corpus in steps:
            with spawn.Pool(1) as pool:
                wall, used, peak, counts = pool.apply(step, (title, corpus, data), {"encode": arguments.encode})
            live = Store("index", data).current_id()
            files = Store("index", data).manifest(live).files.values() if live else ()
            size = sum(entry.size for entry in files) / 1e6
            encoded = counts.get("embedded", 0)
            print(f"{title:10} {wall:8.1f} {used:8.1f} {peak:8} {encoded:9,} {size:9,.0f}", flush=True)


if __name__ == "__main__":
    main()
