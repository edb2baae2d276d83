"""`trainer reranker MODEL --judge CORPUS`: is hybrid search better with its first results re-ranked?

Where a cross-encoder re-ranks searches of this model by default already, the new one is compared with it, too: only what
is better than both replaces it. The questions are those of a run: with labels the test queries, else synthetic queries of kinds that fail differently. The
first results are scored by the published graph, as the service does it. How many are re-ranked follows from the budget of a
search and the speed on this machine. The weight of the cross-encoder is chosen on other queries than the verdict rests on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from indexer.artifacts.manifest import InputEntry, Manifest, describe_input, fingerprint
from indexer.artifacts.store import Store, data_dir
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.corpus.settings import CorpusSettings, select
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.inference.reranker import Reranker
from indexer.progress import say
from trainer.data.clusters import cluster_queries
from trainer.evaluate.cross_scores import first_texts
from trainer.evaluate.rankings import RankedQueries
from trainer.evaluate.report import Group
from trainer.evaluate.verdict import METRIC, decide_reranking
from trainer.files import training_dir
from trainer.models.base import PublishResult, publish_base
from trainer.models.reranker import Judgement, publish_reranker
from trainer.models.settings import BaseSettings
from trainer.pipeline.dataset import RunData, TestSet, prepare_data
from trainer.pipeline.inputs import check_inputs
from trainer.pipeline.rerank.against_live import compare_with_live
from trainer.pipeline.rerank.groups import CHOOSE, divide, rank_neighbour_questions, rank_sample
from trainer.pipeline.rerank.scored import Reranked, compare_orders, score_group
from trainer.pipeline.settings import JudgedRerankerSettings, RunSettings
from trainer.pipeline.workspace import Workspace

WEIGHTS = (0.25, 0.5, 0.75, 1.0)
"""Weights of the cross-encoder that are tried; the first ranking has the rest."""
TIMED_QUERIES = 8
"""Queries by which the time of a pair is measured."""
BUDGET_SHARE = 0.6
"""Share of the budget that the median query may take: others are longer, and a service does other work beside it."""
MIN_RESULTS = 3
"""Fewest results that are worth re-ranking."""


@dataclass(frozen=True)
class RerankJudge:
    """Judge of a cross-encoder on a corpus, for `publish_reranker`.

    Attributes:
        source: the corpus.
        settings: labels, budget of a search and seed.
        data: the data directory.
        index: manifest of the index of the corpus with the live model.
        files: corpus and labels.
    """

    source: str
    settings: JudgedRerankerSettings
    data: Path
    index: Manifest
    files: list[InputEntry]

    @property
    def recipe(self) -> dict[str, Any]:
        """Settings that decide the verdict, for the fingerprint."""
        asked = self.settings.model_dump(mode="json", exclude={"qrels", "queries", "force", "max_tokens"})
        return asked | {"judged_on": self.index.fingerprint}

    def __call__(self, open_reranker: Callable[..., Reranker], key: str) -> Judgement:
        """Compare hybrid search with and without re-ranking; ``key`` is the fingerprint of the artifact."""
        settings = self.settings
        run_settings = RunSettings(
            **select(settings, CorpusSettings), qrels=settings.qrels, queries=settings.queries, seed=settings.seed
        )
        index = Index.open(Store("index", self.data).path(self.index.id)).searched_exactly()
        with (
            Workspace(training_dir(self.data), fingerprint("reranker", {}, [], {"judge": key})) as workspace,
            TemporaryDirectory(dir=workspace.folder, prefix=".pool-") as pool,
        ):
            with workspace.stage("questions"):
                run_data = prepare_data(self.source, index, run_settings, workspace, pool=Path(pool), learn=False)
            with workspace.stage("rerank"):
                return self._judge(open_reranker, index, run_data, workspace)

    def _judge(
        self, open_reranker: Callable[..., Reranker], index: Index, run_data: RunData, workspace: Workspace
    ) -> Judgement:
        seed, labelled = self.settings.seed, run_data.judged_by == "labels"
        dev = TestSet(run_data.dev.queries, run_data.dev.vectors, index, run_data.documents.ids)
        tests = {"dev": dev} | run_data.tests if labelled else divide(run_data.tests)
        ranked = {name: rank_sample(name, test, seed) for name, test in tests.items()}
        if not labelled:
            ranked |= rank_neighbour_questions(index, run_data.documents.ids, seed)
        first = next(iter(ranked.values()))
        timed = workspace.arrays("speed", lambda: {"seconds": _seconds_a_pair(open_reranker(cores=1), first)})
        seconds = float(timed["seconds"][0])
        depth = min(self.settings.top_n, int(BUDGET_SHARE * self.settings.budget_ms / 1e3 / seconds))
        if depth < MIN_RESULTS:
            raise UserError(
                f"a pair takes {seconds * 1e3:.0f} ms on one core: {self.settings.budget_ms} ms suffice for fewer than "
                f"{MIN_RESULTS} results; give a larger --budget-ms, or a smaller cross-encoder"
            )
        say(
            f"re-rank {depth} results: {seconds * 1e3:.1f} ms a pair on one core, {self.settings.budget_ms} ms a search"
        )
        reranker = open_reranker()
        scored = {
            name: score_group(
                f"{name}: re-rank", reranker, each, depth, workspace.folder / f"cross-{number}-{depth}.f32"
            )
            for number, (name, each) in enumerate(ranked.items())
        }
        chosen_on = [scored[name] for name in scored if name == "dev" or name.endswith(CHOOSE)]
        weight = max(WEIGHTS, key=lambda weight: (sum(_mean(each, weight) for each in chosen_on), -weight))
        copies = run_data.copies
        groups = {
            name: compare_orders(
                each.metrics(0), each, weight, seed, cluster_queries(each.ranked.queries.qrels, copies)
            )
            for name, each in scored.items()
            if each not in chosen_on
        }
        verdict, reasons = decide_reranking(run_data.judged_by, groups, run_data.deciding)
        milliseconds = round(seconds * depth * 1e3, 1)
        against = (
            compare_with_live(
                {name: scored[name] for name in groups},
                weight,
                data=self.data,
                index=self.index,
                run_data=run_data,
                workspace=workspace,
                seed=self.settings.seed,
            )
            if verdict == "WIN"
            else {}
        )
        reasons += against.pop("reasons", [])
        reasons.append(f"{depth} results take about {milliseconds:.0f} ms a search on one core of this machine")
        return Judgement(
            config={
                "verdict": verdict,
                "judged_by": run_data.judged_by,
                "judged_with": self.index.parents["model"],
                "judged_on": self.index.id,
                "top_n": depth,
                "budget_ms": self.settings.budget_ms,
                "weight": weight,
                **against,
            },
            metrics=_metrics(groups[run_data.deciding]) | {"milliseconds": milliseconds},
            reasons=reasons,
        )


def _seconds_a_pair(reranker: Reranker, ranked: RankedQueries) -> np.ndarray:
    """Return the median time of a pair on one core, shape (1,)."""
    times = []
    for ranking in ranked.rankings[: TIMED_QUERIES + 1]:
        texts = first_texts(ranked.retriever, ranking, 10)
        started = time.perf_counter()
        reranker.score(ranking.query, texts)
        times.append((time.perf_counter() - started) / max(len(texts), 1))
    return np.array([np.median(times[1:] or times)])  # the first one warms up


def _mean(reranked: Reranked, weight: float) -> float:
    return float(np.mean(list(reranked.metrics(weight)[METRIC].values())))


def _metrics(deciding: Group) -> dict[str, float]:
    names = {"base_hybrid_ndcg10": "base hybrid", "hybrid_ndcg10": "tuned hybrid"}
    return {name: round(deciding.systems[system][METRIC].mean, 6) for name, system in names.items()}


def publish_judged(model: str, settings: JudgedRerankerSettings, data: Path | None = None) -> PublishResult:
    """Publish a cross-encoder with its verdict on a corpus; on a WIN it re-ranks searches that do not say.

    Args:
        model: name on the Hub or a local directory.
        settings: the corpus (``judge``), labels, and the budget of a search.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the corpus, the labels or the model is refused, or the model is too slow for the budget.
    """
    data = data or data_dir()
    source = settings.judge or ""
    corpus, labels = check_inputs(source, settings, settings.qrels, settings.queries, data)
    base = Store("model", data).current_id() or publish_base(None, BaseSettings(), data).manifest.id
    index_settings = BuildSettings(model=base, **select(settings, CorpusSettings))
    index = build(source, index_settings, data, live=False, corpus=corpus).manifest
    files = [*index.inputs, *(describe_input(path, path.name) for path in labels)]
    return publish_reranker(model, settings, data, RerankJudge(source, settings, data, index, files))
