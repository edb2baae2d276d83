"""Plan of a run, shown before it starts: its steps with estimated times, and the number of queries that fit the budget."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import isnan
from typing import Self

from indexer.index.index import Index
from indexer.inference.passages import encoder_input
from indexer.progress import format_duration
from trainer.pipeline.settings import RunSettings

SAMPLE_DOCUMENTS = 32
"""Documents by which the speed of encoding is measured."""
SEARCH_SECONDS = 0.006
"""Seconds of a hybrid search per core, without encoding the query."""
FULL_BUDGET = 180.0
"""Budget in seconds from which on a run uses all its queries."""


@dataclass(frozen=True)
class QueryCounts:
    """Numbers of synthetic queries of a run.

    Attributes:
        unlabelled: training queries for distillation. More than 6,000 gave little (docs/decisions/training.md), and each
            costs an encoding and a search.
        dev: dev queries, where there are no labels.
        keywords: key-word test queries, where there are no labels.
        clozes: sentences that are taken out of test documents; each gives two test queries.
    """

    unlabelled: int = 6_000
    dev: int = 800
    keywords: int = 1_200
    clozes: int = 300

    @classmethod
    def for_budget(cls, budget: float) -> Self:
        """Return the numbers of queries that fit into a budget in seconds."""
        share = min(1.0, budget / FULL_BUDGET)
        return cls(
            # The most expensive queries, and those of which half do nearly as well.
            unlabelled=max(int(6_000 * share**2), 1_000),
            dev=max(int(800 * share), 200),
            keywords=max(int(1_200 * share), 400),
            clozes=max(int(300 * share), 120),
        )


@dataclass(frozen=True)
class Step:
    """One step of the plan: what is done, and its estimated seconds; NaN where no estimate is possible."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Facts:
    """Facts about the corpus, the settings and the machine, on which the plan depends.

    Attributes:
        labels: whether there are labels.
        llm: whether a language model writes queries.
        passages_a_second: throughput of the encoder on this machine for passages of this corpus.
        queries_a_second: its throughput for short texts.
    """

    documents: int
    passages: int
    labels: bool
    llm: bool
    cores: int
    device: str
    passages_a_second: float
    queries_a_second: float

    @classmethod
    def measure(cls, index: Index, settings: RunSettings) -> Facts:
        """Measure the encoder on a sample of the corpus, and read the other facts; takes about a second."""
        import torch

        rows = range(0, len(index), max(len(index) // SAMPLE_DOCUMENTS, 1))
        texts = [encoder_input(index.document(row).title, index.document(row).text) for row in rows]
        encoder = index.encoder
        return cls(
            documents=len(index),
            passages=len(index.dense),
            labels=settings.qrels is not None,
            llm=bool(settings.llm or settings.llm_model or settings.llm_path),
            cores=encoder.cores,
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
            passages_a_second=_rate(encoder.encode_documents, texts),
            queries_a_second=_rate(encoder.encode_queries, [" ".join(text.split()[:12]) for text in texts]),
        )


def make_plan(facts: Facts, settings: RunSettings) -> list[Step]:
    """Return the steps of a run in their order."""
    counts = QueryCounts.for_budget(settings.budget_seconds)
    unlabelled = min(counts.unlabelled, 4 * facts.documents)
    test = counts.keywords + 2 * counts.clozes
    search = SEARCH_SECONDS / facts.cores
    steps = [
        Step("encode queries", (unlabelled + counts.dev + test) / facts.queries_a_second),
        Step("rung 1: whitening of the passage vectors", 2 * counts.dev * search),
        Step(
            "rung 2: learn a map from the fused ranking (distillation)",
            (unlabelled + 3 * counts.dev) * search + unlabelled / 400,
        ),
    ]
    if facts.llm:
        steps.insert(0, Step(f"let {settings.llm_model or 'the language model'} write queries", float("nan")))
    if settings.teacher:
        steps.append(
            Step("let the cross-encoder score results, and learn a map from it", 0.4 * settings.budget_seconds)
        )
    if facts.labels:
        steps.append(Step("rung 3: learn a map from the labels", 40))
    if facts.labels and settings.layers != "never":
        encode = facts.passages / facts.passages_a_second
        steps.append(Step("rung 4: train the encoder's layers on the labels", settings.budget_seconds * 0.6))
        steps.append(Step("encode all passages again", encode))
    steps.append(Step("export and compare the exports", 25))
    if settings.query_encoder != "never":
        steps.append(Step("fit a small query encoder", settings.budget_seconds / 3))
    steps.append(Step("evaluate base and tuned model on the test queries", 2 * test * search + 10))
    return steps


def format_plan(facts: Facts, steps: list[Step]) -> list[str]:
    """Return the plan as lines of text."""
    queries = "labels" if facts.labels else "no labels"
    queries += ", queries by a language model" if facts.llm else ""
    cores = f"{facts.cores} cores" if facts.cores > 1 else "one core"
    head = f"plan for {facts.documents:,} documents ({facts.passages:,} passages), {queries}, on {facts.device} with {cores}:"
    total = sum(step.seconds for step in steps if not isnan(step.seconds))
    body = [
        f"  {step.name}: " + ("no estimate" if isnan(step.seconds) else f"about {format_duration(step.seconds)}")
        for step in steps
    ]
    return [head, *body, f"  together about {format_duration(total)}"]


def _rate(encode: object, texts: list[str]) -> float:
    """Return texts per second."""
    started = time.monotonic()
    encode(texts)  # type: ignore[operator]
    return len(texts) / max(time.monotonic() - started, 1e-6)
