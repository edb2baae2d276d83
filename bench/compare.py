"""Validity of `trainer compare`: the base that it chooses without labels, beside the figures of people's queries.

    python bench/compare.py cisi medline cosqa --models all-MiniLM-L6-v2,sentence-transformers/all-mpnet-base-v2

A data set is a directory with `corpus.parquet`, `queries.parquet` and `qrels.parquet`. A sample of its documents is compared,
first those that answer people's queries. For each set it prints what every kind of question says of every model, nDCG@10 of
people's queries on the same sample, the model that was chosen, and the regret: how much its hybrid search is below that of
the best model. All models are measured on every sample, without a budget; what halving would have done is then replayed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from quality import Dataset

from indexer.artifacts.store import data_dir
from indexer.corpus.corpus import Corpus
from indexer.errors import UserError
from trainer.pipeline.bases.candidate import publish_candidates
from trainer.pipeline.bases.choice import LEGS, Ballot
from trainer.pipeline.bases.decision import decide_bases
from trainer.pipeline.bases.halving import Round, survivors
from trainer.pipeline.bases.measurement import Measurements, measure_bases
from trainer.pipeline.bases.questions import Kind
from trainer.pipeline.settings import CompareSettings
from trainer.pipeline.workspace import Workspace

NEAR = 0.005
"""Regret of a choice that is as good as the best one."""


def judge(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare the models on one data set; return the judge's figures and people's."""
    plain = Dataset.read(folder, arguments.split).title_is_query()
    settings = CompareSettings(
        title_column="none" if plain else None,
        qrels=folder / "qrels.parquet",
        queries=folder / "queries.parquet",
        sample=arguments.sample,
        seed=arguments.seed,
        max_cost=1_000,
    )
    source = str(folder / "corpus.parquet")
    corpus = Corpus.check(source, title_column=settings.title_column, data=arguments.data)
    candidates = publish_candidates(arguments.models.split(","), arguments.data)
    started = time.monotonic()
    key = f"{arguments.seed:02x}{sum(folder.name.encode()) * len(folder.name) & 0xFFFFFF:06x}"
    with Workspace(arguments.data / "compare" / folder.name, key) as workspace:
        measured = measure_bases(corpus, candidates, settings, workspace, arguments.data, halve=False)
    last = measured.rounds[-1]
    people = last.ballots["labels"]
    rounds = replay(measured.rounds, settings.seed)
    result = decide_bases(
        source,
        corpus,
        candidates,
        Measurements(measured.sample, rounds, measured.costs),
        default=0,
        settings=settings,
    )
    named = {"people" if kind == "labels" else kind: ballot for kind, ballot in last.ballots.items()}
    hybrid = {model.id: float(ballot.hybrid.mean()) for model, ballot in zip(result.models, people.models, strict=True)}
    return {
        "dataset": folder.name,
        "sample": last.documents,
        "rounds": result.rounds,
        "queries": len(people.clusters),
        "seconds": round(time.monotonic() - started),
        "choice": result.chosen.name,
        "decided": result.decided,
        "regret": max(hybrid.values()) - hybrid[result.choice],
        "worst": hybrid[result.choice] == min(hybrid.values()),
        "gain": hybrid[result.choice] - hybrid[result.default],
        "models": {
            model.name: {
                "people": {leg: float(getattr(ballot, leg).mean()) for leg in LEGS},
                "total": {leg: each.model_dump() for leg, each in model.total.items()},
                "kinds": {kind: {leg: legs[leg].mean for leg in LEGS} for kind, legs in model.figures.items()},
                "ms_query": model.cost.ms_query,
            }
            for model, ballot in zip(result.models, people.models, strict=True)
        },
        "values": {
            kind: [{leg: getattr(model, leg).round(5).tolist() for leg in LEGS} for model in ballot.models]
            for kind, ballot in named.items()
        },
        "clusters": {kind: list(ballot.clusters) for kind, ballot in named.items()},
    }


def replay(rounds: list[Round], seed: int) -> list[Round]:
    """Return the rounds as they would have been without labels, with models left out where these were certainly worse."""
    kept: list[Round] = []
    active = rounds[0].models
    for each in rounds:
        unlabelled: dict[Kind, Ballot] = {kind: ballot for kind, ballot in each.ballots.items() if kind != "labels"}
        kept.append(Round(each.documents, each.models, unlabelled).only(active))
        active = survivors(kept[-1], 0, seed)
        if active == [0]:
            break
    return kept


def show(result: dict[str, Any]) -> None:
    """Print one data set: a line for each model, and the choice."""
    print(
        f"\n{result['dataset']}: {result['rounds']} of {result['sample']} documents, {result['queries']} queries, {result['seconds']} s"
    )
    for name, model in result["models"].items():
        cells = [f"{name.rpartition('/')[2][:24]:24}"]
        for label, legs in (("people", model["people"]), *model["kinds"].items()):
            cells.append(f"{label} {legs['dense']:.3f} {legs['hybrid']:.3f}")
        cells += [f"{leg} {each['mean']:+.3f} ± {each['standard_error']:.3f}" for leg, each in model["total"].items()]
        print("  ".join(cells))
    certain = "" if result["decided"] else "undecided, "
    print(f"→ {certain}{result['choice']}; regret {result['regret']:.3f}, gain {result['gain']:+.3f}", flush=True)


def main() -> None:
    """Read the command line, compare on every data set, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path, metavar="DATASET_DIR", help="directory of a data set")
    parser.add_argument(
        "--models", required=True, help="names, directories or ids, with commas between; the first is the default"
    )
    parser.add_argument("--sample", type=int, help="as of `trainer compare`")
    parser.add_argument(
        "--split", default="test", help="split by which a title that is the query is noticed (default: test)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=data_dir() / "bench", help="where everything is kept (DATA/bench)")
    parser.add_argument("--json", type=Path, help="file for the results (default: DATA/bench/compare.json)")
    arguments = parser.parse_args()
    results = []
    for folder in arguments.datasets:
        results.append(judge(folder, arguments))
        show(results[-1])
        out = arguments.json or arguments.data / "compare.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results) + "\n", encoding="utf-8")
    near = sum(result["regret"] <= NEAR for result in results)
    gain = sum(result["gain"] for result in results) / len(results)
    print(
        f"\n{near} of {len(results)} choices are within {NEAR} of the best base, {sum(result['worst'] for result in results)} "
        f"are the worst; hybrid search gains {gain:+.3f} on average"
    )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
