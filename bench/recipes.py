"""Benchmark of training: base against tuned model on the real test queries of data sets, by the code that serves.

    python bench/recipes.py squad_v11_dev airbnb_menorca scifact                 # from the texts alone
    python bench/recipes.py scifact --labelled --seeds 0                         # from the labels of the train split

A data set is a directory with `corpus.parquet`, `queries.parquet` (id, text, split) and `qrels.parquet`. Titles are left
out where they are the queries. Without labels each model has the product's own weight, before and after; with labels the
weight that is best on the dev split, if there is one. The verdict is that of the run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from quality import Dataset

sys.path.insert(0, str(Path(__file__).parents[1]))


from indexer.artifacts.store import Store, data_dir
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.retrieval.retriever import Retriever
from trainer.data.labels import QuerySet
from trainer.evaluate.rankings import RankedQueries
from trainer.evaluate.significance import Difference, paired
from trainer.pipeline.results.comparison import Candidate, published_candidate
from trainer.pipeline.run import run
from trainer.pipeline.settings import RunSettings


def answers(model: Candidate, questions: QuerySet) -> RankedQueries:
    """Rank the queries in every mode by the code that serves, as an index of the model would."""
    index = model.index
    ids = [index.document(row).id for row in range(len(index))]
    return model.rank("search", index, questions, ids, model.precision)


def questions_of(folder: Path, split: str) -> QuerySet | None:
    """Return the labelled queries of one split, or None where there are none."""
    try:
        dataset = Dataset.read(folder, split)
    except UserError:
        return None
    return QuerySet(dataset.queries, dataset.qrels)


def difference(base: RankedQueries, tuned: RankedQueries, weights: tuple[float, float], keys: list[str]) -> Difference:
    """Compare nDCG@10 over some queries."""
    before, after = base.metrics(weights[0])["nDCG@10"], tuned.metrics(weights[1])["nDCG@10"]
    return paired([before[key] for key in keys], [after[key] for key in keys], seed=0)


def measure(folder: Path, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train once and measure on the test split."""
    test, dev, train = (questions_of(folder, split) for split in ("test", "dev", "train"))
    if test is None:
        raise UserError(f"{folder}: no query of the split 'test' has an answer; give a data set that has such queries")
    plain = Dataset.read(folder, "test").title_is_query()
    labels = {"qrels": folder / "qrels.parquet", "queries": folder / "queries.parquet"} if arguments.labelled else {}
    settings = RunSettings(
        title_column="none" if plain else None, seed=seed, budget=arguments.budget, layers=arguments.layers, **labels
    )
    started = time.monotonic()
    outcome = run(str(folder / "corpus.parquet"), settings, arguments.data)
    seconds = time.monotonic() - started
    models, indexes = Store("model", arguments.data), Store("index", arguments.data)
    base = outcome.manifest.config["tuned_from"]
    built = [manifest for manifest in map(indexes.manifest, indexes.ids()) if manifest.parents["model"] == base]
    inputs = [entry.sha256 for entry in outcome.manifest.inputs]
    index = Index.open(
        indexes.path([manifest for manifest in built if manifest.inputs[0].sha256 == inputs[0]][-1].id), verify=False
    )
    if live := models.current_id():  # the next seed starts from the same base
        models.activate(base if live != base else live)
    before_after = [published_candidate(models, model, index) for model in (base, outcome.manifest.id)]
    rankings = {
        name: tuple(answers(model, queries) for model in before_after)
        for name, queries in (("test", test), ("dev", dev))
        if queries is not None
    }
    dev_rankings = rankings.get("dev")
    index_weight = Retriever(index).fusion.dense_weight
    weights = (
        (dev_rankings[0].best_weight, dev_rankings[1].best_weight)
        if dev_rankings and arguments.labelled
        else (index_weight, outcome.manifest.config["dense_weight"])
    )
    before, after = rankings["test"]
    trained = train.documents if train and arguments.labelled else set()
    groups = {"all": list(test.texts), "unseen": list(test.unseen(trained).texts)}
    result: dict[str, Any] = {
        "dataset": folder.name, "seed": seed, "verdict": outcome.verdict, "seconds": round(seconds, 1), "weights": weights,
        "base": {"dense": before.mean(1), "hybrid": before.mean(weights[0]), "lexical": before.mean(0)},
        "tuned": {"dense": after.mean(1), "hybrid": after.mean(weights[1])},
    }  # fmt: skip
    for group, keys in groups.items():
        for leg, pair in (("dense", (1.0, 1.0)), ("hybrid", weights)):
            if keys:
                result[f"{group} {leg}"] = difference(before, after, pair, keys).model_dump()
    return result


def line(result: dict[str, Any]) -> str:
    """Return one run as a line."""
    cells = [f"{result['dataset']:16} seed {result['seed']} {result['verdict']:4} {result['seconds']:6.0f} s"]
    for leg in ("dense", "hybrid"):
        cells.append(f"{leg} {result['base'][leg]:.4f} → {result['tuned'][leg]:.4f}")
        differences = {group: result.get(f"{group} {leg}") for group in ("all", "unseen")}
        cells += [
            f"{name} {diff['mean']:+.4f} ± {diff['standard_error']:.4f}" for name, diff in differences.items() if diff
        ]
    return "  ".join(cells) + f"  weights {result['weights'][0]}, {result['weights'][1]}"


def main() -> None:
    """Read the command line, train and measure, print a line a run and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path, metavar="DATASET_DIR", help="directory of a data set")
    parser.add_argument("--labelled", action="store_true", help="learn from the labels of the train split")
    parser.add_argument("--seeds", type=lambda text: [int(each) for each in text.split(",")], default=[0], help="0,1,2")
    parser.add_argument("--budget", default="15m", help="as of `trainer run`")
    parser.add_argument("--layers", default="auto", choices=["auto", "never", "always"], help="as of `trainer run`")
    parser.add_argument("--data", type=Path, default=data_dir() / "bench", help="where everything is kept (DATA/bench)")
    parser.add_argument("--json", type=Path, help="file for the results (default: DATA/bench/recipes.json)")
    arguments = parser.parse_args()
    results = []
    for folder in arguments.datasets:
        for seed in arguments.seeds:
            results.append(measure(folder, seed, arguments))
            print(line(results[-1]), flush=True)
            out = arguments.json or arguments.data / "recipes.json"
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
