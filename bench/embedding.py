"""Benchmark of embedding: the whole of a build's first part beside bare ONNX Runtime on the same batches, in turns.

    python bench/embedding.py CORPUS.parquet --data data
    python bench/embedding.py CORPUS.parquet --data data --documents 2000 --rounds 7

The build reads the rows, cuts them into passages, makes tokens and batches, encodes, and writes documents, words, passages
and vectors to a new folder. Bare ONNX Runtime gets the padded arrays of the same windows and the same batches by length,
made before, and runs them on as many threads. The ratio is the throughput of the build divided by the other's: by wall
time, and by processor time, which does not depend on who else uses the machine. Both are medians over the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import onnxruntime

from indexer.artifacts.store import Store, data_dir
from indexer.build.assemble import Assembly
from indexer.build.settings import BuildSettings
from indexer.build.shards.shard import WINDOW
from indexer.corpus.corpus import Corpus
from indexer.inference.encoder import MODEL_FILES, Encoder
from indexer.inference.session import BATCH_TOKENS, Ids, batches_by_length, load_tokenizer, open_session, padded
from indexer.progress import quiet


def make_feeds(assembly: Assembly, session: onnxruntime.InferenceSession) -> list[dict[str, Ids]]:
    """Return the input arrays of all batches of the build, in its order."""
    contract = assembly.encoder.contract
    tokenizer = load_tokenizer(assembly.encoder.folder)
    tokenizer.enable_truncation(contract.max_tokens)
    names = {node.name for node in session.get_inputs()}
    texts: list[str] = []
    for batch in assembly.corpus.batches():
        made = assembly.passage_maker.make(batch.column("title").to_pylist(), batch.column("text").to_pylist())
        texts += [contract.document_prompt + text for passages in made for _, text in passages]
    feeds = []
    for first in range(0, len(texts), WINDOW):
        tokens = [encoding.ids for encoding in tokenizer.encode_batch(texts[first : first + WINDOW])]
        feeds += [
            padded([tokens[row] for row in rows], contract.pad_token_id, names)
            for rows in batches_by_length(tokens, BATCH_TOKENS)
        ]
    return feeds


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Return the wall and the processor seconds of a call."""
    started, used = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - started, time.process_time() - used


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="as for `indexer build`")
    parser.add_argument("--documents", type=int, default=2 * WINDOW, help=f"first rows (default: {2 * WINDOW})")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    parser.add_argument("--cores", type=int, default=None, help="threads of both (default: all cores)")
    parser.add_argument("--data", type=Path, default=data_dir(), help="the data directory with the model")
    arguments = parser.parse_args()
    encoder = Encoder.open(Store("model", arguments.data).resolve(), cores=arguments.cores)
    session = open_session(encoder.folder / MODEL_FILES["fp32"], threads=1)
    settings = BuildSettings(language="en", dense_weight=0.5)
    corpus = Corpus.check(arguments.corpus, limit=arguments.documents)

    def build() -> None:
        with TemporaryDirectory() as folder, quiet():
            Assembly(corpus, settings, encoder, None, Path(folder)).write()

    with TemporaryDirectory() as folder:
        feeds = make_feeds(Assembly(corpus, settings, encoder, None, Path(folder)), session)

    def bare() -> None:
        with ThreadPoolExecutor(encoder.cores) as threads:
            list(threads.map(lambda feed: session.run(["sentence_embedding"], feed), feeds))

    passages = sum(len(feed["input_ids"]) for feed in feeds)
    times: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for number in range(arguments.rounds + 1):
        pair = timed(bare), timed(build)
        times += [pair] if number else []
    seconds = np.array(times)  # (rounds, engine, kind of time)
    wall, used = np.median(seconds[:, 0] / seconds[:, 1], axis=0)
    rates = passages / np.median(seconds[:, :, 0], axis=0)
    print(f"{passages} passages in {len(feeds)} batches, {encoder.cores} threads")
    print(f"bare ONNX Runtime {rates[0]:7.1f} passages/s")
    print(f"build             {rates[1]:7.1f} passages/s")
    print(f"build ÷ bare      {wall:7.3f} by wall time, {used:.3f} by processor time")


if __name__ == "__main__":
    main()
