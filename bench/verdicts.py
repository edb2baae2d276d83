"""Validity of verdicts without labels: good and harmful maps, judged by synthetic and by real queries.

    python bench/verdicts.py scifact squad_v11_dev airbnb_menorca --seeds 0,1,2 [--json FILE]

For every map it prints the verdict of a run without labels, whose vectors hybrid search would have, and the real
difference on the test queries, as it would be served. A line ends in
`WRONG` where the verdict is WIN and the real queries show a significant loss. It also does where they show a significant
gain and the verdict is not WIN. With --json a line of the file holds all differences of one map, on each kind of question.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from quality import Dataset
from recipes import questions_of

from indexer.artifacts.store import Store, data_dir
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.build.vectors import fold
from indexer.errors import UserError
from indexer.index.dense import DenseIndex
from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.retrieval.retriever import Retriever
from trainer.adapter.distillation import all_passages, from_fused_ranking
from trainer.adapter.ladder import DISTILLATION, WHITENING_EXPONENT, Ladder
from trainer.adapter.linear_map import RankingExamples, apply, learn, scaled, whitening
from trainer.evaluate.encode import encode_queries
from trainer.evaluate.groups import group
from trainer.evaluate.rankings import RankedQueries, rank_queries
from trainer.evaluate.report import Group
from trainer.evaluate.verdict import METRIC, decide, is_better, is_worse
from trainer.models.base import publish_base
from trainer.models.settings import BaseSettings
from trainer.pipeline.dataset import CLOZE, NEIGHBOURS, RunData, TestSet, prepare_data
from trainer.pipeline.modes import HybridVectors, choose_hybrid_vectors
from trainer.pipeline.settings import RunSettings
from trainer.pipeline.workspace import Workspace

MAX_REAL_QUERIES = 1_500
"""Limit of the real queries that are taken from the test split."""


def maps(index: Index, material: RunData, seed: int) -> Iterator[tuple[str, Callable[[], Vectors]]]:
    """Yield names of maps and functions that make them: the recipe, its parts, and harmful recipes."""
    passages, unlabelled = all_passages(index), material.unlabelled
    texts = list(unlabelled.queries.texts.values())
    rng = np.random.default_rng(seed)
    identity = np.eye(passages.shape[1], dtype=np.float32)

    def examples_of(start: Vectors, *, shuffled: bool) -> RankingExamples:
        retriever = Retriever(index.with_encoder(index.encoder, DenseIndex.of(apply(start, passages))))
        examples = from_fused_ranking(retriever, texts, apply(start, unlabelled.vectors), apply(start, passages))
        examples = replace(examples, queries=unlabelled.vectors, passages=passages)
        if not shuffled:
            return examples
        order = rng.permutation(len(texts))
        return replace(examples, candidates=examples.candidates[order], targets=examples.targets[order])

    settings = replace(DISTILLATION, seed=seed)
    white = whitening(passages, WHITENING_EXPONENT)
    yield "the recipe", lambda: learn(examples_of(white, shuffled=False), white, settings)
    yield "whitening", lambda: white
    yield "distillation alone", lambda: learn(examples_of(identity, shuffled=False), identity, settings)
    yield "shuffled teacher", lambda: learn(examples_of(identity, shuffled=True), identity, settings)
    unbound = replace(settings, pull=0.0, learning_rate=3e-3)
    yield "shuffled, unbound", lambda: learn(examples_of(identity, shuffled=True), identity, unbound)
    yield "whitening to the power 1", lambda: whitening(passages, 1.0)
    yield "whitening to the power 1.5", lambda: whitening(passages, 1.5)
    yield "the opposite of whitening", lambda: whitening(passages, -0.5)
    yield "noise", lambda: scaled(identity + rng.normal(0, 0.03, identity.shape).astype(np.float32))


def answers(test: TestSet, matrix: Vectors | None, hybrid: HybridVectors = "tuned") -> RankedQueries:
    """Rank the queries of a test with a map, or without one, as an index of the model would."""
    index, vectors = test.index, test.vectors
    if matrix is not None and hybrid == "base":
        index = index.with_encoder(index.encoder, index.dense, fold(matrix))
    elif matrix is not None:
        index = index.with_encoder(index.encoder, DenseIndex.of(apply(matrix, all_passages(index))))
        vectors = apply(matrix, vectors)
    return rank_queries("search", Retriever(index), test.queries, test.ids, vectors, left_out=test.left_out)


def compared(base: RankedQueries, tuned: RankedQueries, weight: float) -> Group:
    """Compare two models over one group of queries."""
    systems = {
        f"{name} {leg}": ranked.metrics(dense_weight)
        for name, ranked in (("base", base), ("tuned", tuned))
        for leg, dense_weight in (("dense", 1.0), ("hybrid", weight))
    }
    return group(systems, list(base.queries.texts), 0)


def judge(folder: Path, seed: int, data: Path, record: Path | None) -> tuple[int, int]:
    """Print a line for each map, and append it to the file ``record``; return the number of maps, and of wrong verdicts."""
    plain = Dataset.read(folder, "test").title_is_query()
    source, title = str(folder / "corpus.parquet"), "none" if plain else None
    settings = RunSettings(title_column=title, seed=seed)
    model = publish_base(None, BaseSettings(), data, live=False).manifest.id
    index = Index.open(
        Store("index", data).path(
            build(source, BuildSettings(model=model, title_column=title), data, live=False).manifest.id
        )
    )
    real_queries = questions_of(folder, "test")
    if real_queries is None:
        raise UserError(f"{folder}: no query of the split 'test' has an answer")
    real_queries = real_queries.only(list(real_queries.texts)[:: -(-len(real_queries) // MAX_REAL_QUERIES)])
    with (
        tempfile.TemporaryDirectory() as pool,
        Workspace(data / "verdicts", f"{seed:02x}{zlib.crc32(folder.name.encode()) & 0xFFFFFF:06x}") as workspace,
    ):
        material = prepare_data(source, index, settings, workspace, pool=Path(pool))
        vectors = encode_queries("encode", index.encoder, list(real_queries.texts.values()))
        tests = {**material.tests, "people": TestSet(real_queries, vectors, index, material.documents.ids)}
        weight = Retriever(index).fusion.dense_weight
        base = {name: answers(test, None) for name, test in tests.items()}
        ladder = Ladder(index, material.documents.ids, material.dev, (weight,), seed)
        wrong = count = 0
        for name, make in maps(index, material, seed):
            matrix = make()
            hybrid = choose_hybrid_vectors(ladder, material, matrix)
            groups = {key: compared(base[key], answers(test, matrix, hybrid), weight) for key, test in tests.items()}
            verdict, _ = decide(
                "synthetic queries", groups[material.deciding], groups.get(CLOZE), groups.get(NEIGHBOURS)
            )
            real = {leg: differences[METRIC] for leg, differences in groups["people"].differences.items()}
            harmed = any(is_worse(difference) for difference in real.values())
            gained = any(is_better(difference) for difference in real.values()) and not harmed
            mistaken = (verdict == "WIN" and harmed) or (verdict != "WIN" and gained)
            wrong, count = wrong + mistaken, count + 1
            cells = "  ".join(f"{leg} {each.mean:+.4f} ± {each.standard_error:.4f}" for leg, each in real.items())
            print(
                f"{folder.name:16} seed {seed}  {name:28} {verdict:4} hybrid: {hybrid:5}  real: {cells}{'  WRONG' if mistaken else ''}",
                flush=True,
            )
            if record:
                about = {"set": folder.name, "seed": seed, "map": name, "verdict": verdict, "hybrid": hybrid}
                figures = {key: each.model_dump() for key, each in groups.items()}
                with record.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(about | {"deciding": material.deciding, "groups": figures}) + "\n")
    return count, wrong


def main() -> None:
    """Read the command line and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path, metavar="DATASET_DIR", help="directory of a data set")
    parser.add_argument("--seeds", type=lambda text: [int(each) for each in text.split(",")], default=[0], help="0,1,2")
    parser.add_argument("--data", type=Path, default=data_dir() / "bench", help="where everything is kept (DATA/bench)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="JSON lines to append all differences to")
    arguments = parser.parse_args()
    totals = [
        judge(folder, seed, arguments.data, arguments.json) for folder in arguments.datasets for seed in arguments.seeds
    ]
    print(f"{sum(wrong for _, wrong in totals)} of {sum(count for count, _ in totals)} verdicts are wrong")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
