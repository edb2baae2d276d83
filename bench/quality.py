"""Quality of search: nDCG@10, MRR@10 and Recall@100 of each mode on data sets with relevance judgements.

    python bench/quality.py DATASET_DIR... [--modes dense,lexical,hybrid] [--json FILE]

A data set is a directory with `corpus.parquet` (id, title, text), `queries.parquet` (id, text, perhaps split) and
`qrels.parquet` (query_id, doc_id, relevance). The index is built and searched by the product's own code with its
defaults. It is kept in DATA/bench, and a second run only searches.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pyarrow.parquet as pq

from indexer.artifacts.store import Store, data_dir
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.progress import Bar, say
from indexer.retrieval.fusion import Fusion, fuse
from indexer.retrieval.query_weight import shifted
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.retriever import Retriever
from trainer.evaluate.metrics import METRICS, per_query
from trainer.evaluate.significance import interval

DEPTH = 100
WEIGHTS = [weight / 10 for weight in range(11)]

Rankings = dict[str, Ranking]
Search = Callable[[str], Ranking]


@dataclass(frozen=True)
class Dataset:
    """Queries of one split and their graded judgements."""

    folder: Path
    split: str
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]

    @classmethod
    def read(cls, folder: Path, split: str) -> Dataset:
        """Read the queries of ``split`` that have a relevant document; all queries where there are no splits."""
        for name in ("corpus", "queries", "qrels"):
            if not (folder / f"{name}.parquet").is_file():
                raise UserError(
                    f"{folder / name}.parquet: missing; a data set has corpus, queries and qrels as Parquet"
                )
        table = pq.read_table(folder / "queries.parquet")
        splits = table["split"].to_pylist() if "split" in table.column_names else [split] * len(table)
        qrels: dict[str, dict[str, int]] = defaultdict(dict)
        for row in pq.read_table(folder / "qrels.parquet").to_pylist():
            if row["relevance"] > 0:
                qrels[str(row["query_id"])][str(row["doc_id"])] = int(row["relevance"])
        rows = zip(table["id"].to_pylist(), table["text"].to_pylist(), splits, strict=True)
        queries = {str(key): text for key, text, part in rows if part == split and str(key) in qrels}
        if not queries:
            raise UserError(f"{folder}: no query of the split {split!r} has a relevant document; see --split")
        return cls(folder, split, queries, {key: qrels[key] for key in queries})

    def title_is_query(self) -> bool:
        """Say whether queries are the titles of their documents. If so, the title must not be indexed."""
        corpus = pq.read_table(self.folder / "corpus.parquet")
        if "title" not in corpus.column_names:
            return False
        titles = dict(zip(map(str, corpus["id"].to_pylist()), corpus["title"].to_pylist(), strict=True))
        same = [any(titles.get(doc) == text for doc in self.qrels[key]) for key, text in self.queries.items()]
        return float(np.mean(same)) > 0.5


def evaluate(dataset: Dataset, ids: list[str], rankings: Rankings) -> dict[str, dict[str, float]]:
    """Return mean and 95 % bootstrap interval of each measure; a query without a result counts as zero."""
    run = {query: [ids[row] for row in ranking.rows[:DEPTH].tolist()] for query, ranking in rankings.items()}
    summary = {}
    for name, values in per_query(dataset.qrels, run).items():
        numbers = list(values.values())
        low, high = interval(numbers, seed=0)
        summary[name] = {"mean": float(np.mean(numbers)), "low": low, "high": high}
    return summary


def rank_all(dataset: Dataset, name: str, search: Search) -> Rankings:
    """Rank the documents for every query."""
    rankings = {}
    with Bar(f"{dataset.folder.name} {name}", len(dataset.queries), "queries") as bar:
        for key, text in dataset.queries.items():
            rankings[key] = search(text)
            bar.advance(1)
    return rankings


def refuse(ranking: Ranking, weight: float) -> Ranking:
    """Return a hybrid ranking with another weight for the dense leg."""
    assert ranking.dense is not None and ranking.lexical is not None  # noqa: PT018 - what hybrid search returns
    scores = fuse(Fusion(dense_weight=shifted(weight, ranking.weight_shift)), ranking.dense, ranking.lexical).scores
    return Ranking(rows=ranking.rows[np.argsort(-scores, kind="stable")])


def measure(dataset: Dataset, arguments: argparse.Namespace) -> dict[str, object]:
    """Build the index of one data set, search it in every mode, and return the metrics."""
    text_only = arguments.text_only or dataset.title_is_query()
    if text_only:
        say(f"{dataset.folder.name}: indexing the text only")
    settings = BuildSettings(
        title_column="none" if text_only else None,
        skip_bad_rows=True,
        language=arguments.language,
        precision=arguments.precision,
    )
    corpus = str(dataset.folder / "corpus.parquet")
    retriever = open_index(corpus, settings, arguments.data)
    counts = retriever.index.manifest.counts
    ids = [retriever.index.document(row).id for row in range(len(retriever.index))]
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for mode in arguments.modes:
        rankings = rank_all(dataset, mode, lambda query, mode=mode: retriever.search(query, mode))
        rows[mode] = evaluate(dataset, ids, rankings)
    if "dense" in arguments.modes and counts["passages"] > counts["documents"]:
        # Published figures of a model use one vector per document, of its beginning.
        one_vector = open_index(corpus, settings.model_copy(update={"passages": "one"}), arguments.data)
        rankings = rank_all(dataset, "one vector", lambda query: one_vector.search(query, "dense"))
        rows["dense, one vector per document"] = evaluate(dataset, ids, rankings)
    if "hybrid" in arguments.modes and arguments.tune:
        dev = Dataset.read(dataset.folder, arguments.tune)
        tuning = rank_all(dev, f"hybrid on {arguments.tune}", retriever.search)
        score = {
            weight: evaluate(dev, ids, {key: refuse(ranking, weight) for key, ranking in tuning.items()})
            for weight in WEIGHTS
        }
        best = max(WEIGHTS, key=lambda weight: score[weight]["nDCG@10"]["mean"])
        final = rank_all(
            dataset,
            "hybrid tuned",
            lambda query: retriever.search(query, fusion=Fusion(dense_weight=best, by_query=True)),
        )
        rows[f"hybrid, dense weight {best} (best on {arguments.tune})"] = evaluate(dataset, ids, final)
    return {
        "dataset": dataset.folder.name,
        "split": dataset.split,
        "queries": len(dataset.queries),
        "documents": counts["documents"],
        "passages": counts["passages"],
        "rejected": counts["rejected"],
        "config": retriever.index.manifest.config,
        "results": rows,
    }


def open_index(corpus: str, settings: BuildSettings, data: Path) -> Retriever:
    """Build the index unless it exists, and open it."""
    manifest = build(corpus, settings, data).manifest
    return Retriever(Index.open(Store("index", data).path(manifest.id), verify=False))


def show(report: dict[str, object]) -> None:
    """Print one data set's table."""
    print(f"\n{report['dataset']} ({report['split']}): {report['queries']} queries, {report['documents']} documents")
    rows = report["results"]
    assert isinstance(rows, dict)
    width = max(map(len, rows))
    print(" " * width, *(f"{name:>22}" for name in METRICS))
    for mode, summary in rows.items():
        cells = [f"{value['mean']:.4f} [{value['low']:.3f}, {value['high']:.3f}]" for value in summary.values()]
        print(f"{mode:{width}}", *(f"{cell:>22}" for cell in cells), flush=True)


def main() -> None:
    """Read the command line, measure every data set, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path, metavar="DATASET_DIR", help="directory of a data set")
    parser.add_argument(
        "--modes",
        default=["dense", "lexical", "hybrid"],
        type=lambda text: text.split(","),
        help="comma-separated (default: dense,lexical,hybrid)",
    )
    parser.add_argument(
        "--split", default="test", help="split to report, where the queries have splits (default: test)"
    )
    parser.add_argument(
        "--tune", metavar="SPLIT", help="also report hybrid with the dense weight that is best on SPLIT"
    )
    parser.add_argument(
        "--text-only", action="store_true", help="leave the title out (automatic where it is the query)"
    )
    parser.add_argument("--language", default="auto", help="as in `indexer build`")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "int8"], help="as in `indexer build`")
    parser.add_argument("--model", help="Hub name or directory of a model (default: all-MiniLM-L6-v2)")
    parser.add_argument("--data", type=Path, default=data_dir() / "bench", help="where indexes are kept (DATA/bench)")
    parser.add_argument("--json", type=Path, help="file for the results (default: DATA/bench/quality.json)")
    arguments = parser.parse_args()
    if unknown := set(arguments.modes) - {"dense", "lexical", "hybrid"}:
        parser.error(f"--modes: {', '.join(sorted(unknown))}: not among dense, lexical, hybrid")
    from trainer.models.base import publish_base
    from trainer.models.settings import BaseSettings

    publish_base(arguments.model, BaseSettings(int8=arguments.precision == "int8"), arguments.data)
    reports = []
    for folder in arguments.datasets:
        reports.append(measure(Dataset.read(folder, arguments.split), arguments))
        show(reports[-1])
        results = arguments.json or arguments.data / "quality.json"
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps(reports, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
