"""Calibration of relevance: does the relevance of the first result tell queries with an answer from queries without?

    python bench/calibration.py DATASET_DIR DATASET_DIR... [--queries 300] [--json FILE]

Data sets are those of `bench/quality.py`, and the indexes are built in the same way, in the same place. Queries with an
answer are a data set's own of the split, those without one the queries of the others: two data sets that share a text are
not paired. Searches are those of the service: unknown words are corrected. For each mode it prints

- AUC: how often a query with an answer has the higher relevance of the two;
- the mean relevance of the first results of both kinds, and how many of the first kind are right;
- ECE, the expected calibration error: over the first results of the queries with an answer, and over as many of both.

«Right» is what the judgements say. Where they name one document of several that answer, a relevance looks too high.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pyarrow.parquet as pq

from bench.quality import Dataset, open_index
from indexer.artifacts.store import data_dir
from indexer.build.relevance.fit import auc, calibration_error
from indexer.build.relevance.observe import MODES
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from indexer.progress import Bar
from indexer.retrieval.ranking import Mode, Numbers
from indexer.retrieval.retriever import Retriever

SEED = 0
OF_OTHERS = 60
"""Queries of each other data set, at most."""
Row = dict[str, float]


def measure(dataset: Dataset, others: Iterable[Dataset], arguments: argparse.Namespace) -> dict[Mode, Row]:
    """Build the index of one data set, and measure its relevance in every mode."""
    rng = random.Random(SEED)  # noqa: S311 - a sample, no secret
    settings = BuildSettings(title_column="none" if dataset.title_is_query() else None, skip_bad_rows=True)
    retriever = open_index(str(dataset.folder / "corpus.parquet"), settings, arguments.data)
    own = rng.sample(sorted(dataset.queries), min(arguments.queries, len(dataset.queries)))
    texts = texts_of(dataset)
    foreign = [
        query
        for other in others
        if other.folder != dataset.folder and texts.isdisjoint(texts_of(other))
        for query in rng.sample(sorted(other.queries.values()), min(OF_OTHERS, len(other.queries)))
    ]
    rows: dict[Mode, Row] = {}
    for mode in MODES:
        with Bar(f"{dataset.folder.name} {mode}", len(own) + len(foreign), "queries") as bar:
            answered = [first_result(retriever, dataset.queries[key], mode, bar) for key in own]
            unanswered = np.array([first_result(retriever, query, mode, bar)[0] for query in foreign])
        relevance = np.array([value for value, _ in answered])
        right = np.array([row in dataset.qrels[key] for (_, row), key in zip(answered, own, strict=True)])
        rows[mode] = summarise(relevance, right, unanswered)
    return rows


def summarise(relevance: Numbers, right: np.ndarray, unanswered: Numbers) -> Row:
    """Return the figures of one mode from the relevance of the first results of both kinds of queries."""
    few = np.random.default_rng(SEED).permutation(unanswered)[: len(relevance)]
    both, right_of_both = np.concatenate([relevance, few]), np.concatenate([right, np.zeros(len(few), dtype=bool)])
    return {
        "queries": len(relevance),
        "others": len(unanswered),
        "AUC": auc(relevance, unanswered),
        "mean": float(relevance.mean()),
        "right": float(right.mean()),
        "mean of others": float(unanswered.mean()),
        "ECE": calibration_error(relevance, right),
        "ECE of both": calibration_error(both, right_of_both),
    }


def first_result(retriever: Retriever, query: str, mode: Mode, bar: Bar) -> tuple[float, str]:
    """Return relevance and id of the first result of a query; 0 and no id where there is none.

    Raises:
        UserError: the index has no calibration.
    """
    ranking = retriever.search(query, mode, expanded=retriever.expand(query, typos=True))
    retriever.judge(ranking, mode)
    bar.advance(1)
    if ranking.relevance is None:
        raise UserError(f"index {retriever.index.manifest.id} has no calibration of the mode {mode}")
    if not len(ranking.rows):
        return 0.0, ""
    return float(ranking.relevance[0]), retriever.index.document(int(ranking.rows[0])).id


def texts_of(dataset: Dataset) -> set[str]:
    """Return the texts of a corpus."""
    return set(pq.read_table(dataset.folder / "corpus.parquet", columns=["text"])["text"].to_pylist())


def main() -> None:
    """Read the command line, measure every data set, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path, metavar="DATASET_DIR", help="directory of a data set")
    parser.add_argument("--queries", type=int, default=300, help="queries of each data set, at most (default: 300)")
    parser.add_argument("--split", default="test", help="split to report, where there are splits (default: test)")
    parser.add_argument("--only", help="comma-separated names of the data sets to report (default: all)")
    parser.add_argument("--data", type=Path, default=data_dir() / "bench", help="where indexes are kept (DATA/bench)")
    parser.add_argument("--json", type=Path, help="file for the results (default: DATA/bench/calibration.json)")
    arguments = parser.parse_args()
    if len(arguments.datasets) < 2:
        parser.error("give at least two data sets: the queries of one are those without an answer in the other")
    from trainer.models.base import publish_base
    from trainer.models.settings import BaseSettings

    publish_base(None, BaseSettings(), arguments.data)
    datasets = [Dataset.read(folder, arguments.split) for folder in arguments.datasets]
    reports: dict[str, dict[Mode, Row]] = {}
    for dataset in datasets:
        if arguments.only and dataset.folder.name not in arguments.only.split(","):
            continue
        rows = reports[dataset.folder.name] = measure(dataset, datasets, arguments)
        names = list(next(iter(rows.values())))
        print(f"\n{dataset.folder.name:16}", *(f"{name:>14}" for name in names))
        for mode, row in rows.items():
            print(f"{mode:16}", *(f"{row[name]:14.3f}" for name in names), flush=True)
        results = arguments.json or arguments.data / "calibration.json"
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps(reports, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
