"""Benchmark of the small query encoder: quality on people's queries, and the time of encoding one, beside the full encoder.

    python bench/query_encoder.py DATASET_DIR... [--seconds 300] [--texts 20000] [--json FILE]

A data set is a directory as for bench/quality.py. Its index is built with the product's defaults, or found in DATA. The
small encoder is fitted to short texts of the corpus, without labels and without these queries. Differences of nDCG@10 have
the 95 % interval of the paired bootstrap. The speed is the median over rounds of (time of the full encoder / time of the
small one), one query at a time on one core, in turns; the time is the processor's, so that other programs do not count.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from quality import Dataset

from indexer.artifacts.store import Store, data_dir
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.inference.encoder import QUERY_FILE, Encoder
from indexer.retrieval.retriever import Retriever
from trainer.data.labels import QuerySet
from trainer.evaluate.encode import encode_queries
from trainer.evaluate.rankings import rank_queries
from trainer.evaluate.significance import paired
from trainer.models.base import publish_base
from trainer.models.onnx import export_onnx
from trainer.models.settings import BaseSettings
from trainer.query_encoder.fit import fit_student
from trainer.query_encoder.texts import short_texts

ROUNDS = 15
TIMED_QUERIES = 30


def open_index(dataset: Dataset, data: Path) -> Index:
    """Return the index of a data set with the default model."""
    model = publish_base(None, BaseSettings(), data).manifest.id
    titles = "none" if dataset.title_is_query() else None
    settings = BuildSettings(model=model, title_column=titles, skip_bad_rows=True)
    built = build(str(dataset.folder / "corpus.parquet"), settings, data, live=False).manifest
    return Index.open(Store("index", data).path(built.id), verify=False)


def add_student(index: Index, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Copy the index's model into ``folder``, add a small query encoder, and return the record of its fit."""
    shutil.copytree(index.encoder.folder, folder)
    documents = [index.document(row) for row in range(len(index))]
    titles, texts = [document.title for document in documents], [document.text for document in documents]
    short = short_texts(titles, texts, arguments.texts, index.manifest.config["language"], arguments.seed)
    vectors = unit(encode_queries("encode short texts", index.encoder, short))
    prompt = index.encoder.contract.query_prompt
    student, record = fit_student(folder, [prompt + text for text in short], vectors, arguments.seconds, arguments.seed)
    export_onnx(student, folder / QUERY_FILE)
    return record.model_dump()


def speed(full: Encoder, small: Encoder, queries: list[str]) -> tuple[float, float, float]:
    """Return the median ratio of the times of one query, and both median milliseconds."""
    ratios, times = [], np.zeros((ROUNDS, 2))
    for row in range(ROUNDS):
        for column, encoder in enumerate((full, small)):
            seconds = []
            for query in queries:
                started = time.thread_time()
                encoder.encode_query(query)
                seconds.append(time.thread_time() - started)
            times[row, column] = np.median(seconds)
        ratios.append(times[row, 0] / times[row, 1])
    return float(np.median(ratios)), *(np.median(times, axis=0) * 1e3).tolist()


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fit and measure on one data set."""
    dataset = Dataset.read(folder, "test")
    index = open_index(dataset, arguments.data)
    names = list(dataset.queries)[: arguments.queries]
    queries = QuerySet({name: dataset.queries[name] for name in names}, {name: dataset.qrels[name] for name in names})
    retriever = Retriever(index)
    ids = [index.document(row).id for row in range(len(index))]
    with TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        result: dict[str, Any] = {"dataset": folder.name, "queries": len(names), **add_student(index, model, arguments)}
        full, small = (Encoder.open(model, cores=1, query_encoder=kind) for kind in ("full", "small"))
        texts = list(queries.texts.values())
        vectors = [encode_queries("encode queries", encoder, texts) for encoder in (full, small)]
        ranked = [rank_queries("search", retriever, queries, ids, own) for own in vectors]
        result["query_cosine"] = float(np.einsum("ij,ij->i", *vectors).mean())
        for leg, weight in (("dense", 1.0), ("hybrid", retriever.fusion.dense_weight)):
            before, after = (list(ranking.metrics(weight)["nDCG@10"].values()) for ranking in ranked)
            result[leg] = {"full": float(np.mean(before)), "small": float(np.mean(after))}
            result[leg] |= paired(before, after, seed=0).model_dump()
        result["speed"], result["full_ms"], result["small_ms"] = speed(full, small, texts[:TIMED_QUERIES])
    return result


def line(result: dict[str, Any]) -> str:
    """Return one data set as a line."""
    legs = [
        f"{leg} {result[leg]['full']:.4f} → {result[leg]['small']:.4f} "
        f"({result[leg]['mean']:+.4f} [{result[leg]['low']:+.4f}, {result[leg]['high']:+.4f}])"
        for leg in ("hybrid", "dense")
    ]
    return (
        f"{result['dataset']:16} {result['queries']:5,} queries  cosine {result['query_cosine']:.3f}  {'  '.join(legs)}  "
        f"{result['full_ms']:.2f} → {result['small_ms']:.2f} ms, {result['speed']:.2f} times as fast  "
        f"({result['texts']:,} texts, {result['steps']:,} steps)"
    )


def main() -> None:
    """Read the command line, fit and measure, print a line for each data set and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path, metavar="DATASET_DIR", help="directory of a data set")
    parser.add_argument(
        "--seconds", type=float, default=300, help="time of the training, for each data set (default: 300)"
    )
    parser.add_argument("--texts", type=int, default=20_000, help="short texts to learn from (default: 20000)")
    parser.add_argument("--queries", type=int, default=1_500, help="test queries, at most (default: 1500)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=data_dir() / "bench", help="where indexes are kept (DATA/bench)")
    parser.add_argument("--json", type=Path, help="file for the results")
    arguments = parser.parse_args()
    results = []
    for folder in arguments.datasets:
        results.append(measure(folder, arguments))
        print(line(results[-1]), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
