"""What a run is going to do, said before it starts, with an estimate of the time that each step takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from indexer.index.index import Index
from indexer.inference.passages import encoder_input
from indexer.progress import format_duration
from trainer.pipeline.settings import RunSettings

SAMPLE = 32
SEARCH_SECONDS = 0.006
"""A hybrid search whose query is encoded already, per core."""


@dataclass(frozen=True)
class Step:
    """One line of the plan: what, and about how many seconds."""

    what: str
    seconds: float


@dataclass(frozen=True)
class Facts:
    """What a recipe depends on.

    Attributes:
        passages_a_second: that the encoder manages here.
        queries_a_second: the same for short texts.
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
    def find(cls, index: Index, settings: RunSettings) -> Facts:
        """Look at the corpus, the settings and the machine; takes about a second."""
        import torch

        rows = range(0, len(index), max(len(index) // SAMPLE, 1))
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


def _rate(encode: object, texts: list[str]) -> float:
    started = time.monotonic()
    encode(texts)  # type: ignore[operator]
    return len(texts) / max(time.monotonic() - started, 1e-6)


def make_plan(facts: Facts, settings: RunSettings) -> list[Step]:
    """Return the steps of a run in their order."""
    sizes = Sizes.within(settings.budget_seconds)
    practice = min(sizes.practice, 4 * facts.documents)
    exam = sizes.keywords + 2 * sizes.clozes
    search = SEARCH_SECONDS / facts.cores
    steps = [
        Step("encode queries", (practice + sizes.dev + exam) / facts.queries_a_second),
        Step("rung 1: even out what all passages have in common (whitening)", 2 * sizes.dev * search),
        Step(
            "rung 2: learn a map from the fused ranking of words and meaning",
            (practice + 3 * sizes.dev) * search + practice / 400,
        ),
    ]
    if facts.llm:
        steps.insert(0, Step(f"let {settings.llm_model or 'the language model'} write queries", float("nan")))
    if facts.labels:
        steps.append(Step("rung 3: learn a map from the labels", 40))
    if facts.labels and settings.layers != "never":
        encode = facts.passages / facts.passages_a_second
        steps.append(Step("rung 4: train the encoder's layers on the labels", settings.budget_seconds * 0.6))
        steps.append(Step("encode all passages again", encode))
    steps.append(Step("export and compare the exports", 25))
    steps.append(Step("the exam: base against tuned", 2 * exam * search + 10))
    return steps


def lines(facts: Facts, steps: list[Step]) -> list[str]:
    """Return the plan as lines for people."""
    known = "labels" if facts.labels else "no labels"
    known += ", queries by a language model" if facts.llm else ""
    cores = f"{facts.cores} cores" if facts.cores > 1 else "one core"
    head = f"plan for {facts.documents:,} documents ({facts.passages:,} passages), {known}, on {facts.device} with {cores}:"
    total = sum(step.seconds for step in steps if step.seconds == step.seconds)
    body = [
        f"  {step.what}: "
        + (f"about {format_duration(step.seconds)}" if step.seconds == step.seconds else "depends on it")
        for step in steps
    ]
    return [head, *body, f"  together about {format_duration(total)}"]


FULL = 180.0
"""Seconds of budget from which nothing is saved on."""


@dataclass(frozen=True)
class Sizes:
    """Numbers of queries.

    Attributes:
        practice: to learn from; more than 6,000 gave little (DECISIONS.md), and each costs an encoding and a search.
        dev: to choose by, where there are no labels.
        keywords: of the exam, where there are no labels.
        clozes: sentences of the exam; each makes two queries.
    """

    practice: int = 6_000
    dev: int = 800
    keywords: int = 1_200
    clozes: int = 300

    @classmethod
    def within(cls, budget: float) -> Self:
        """Return what fits into a budget in seconds."""
        share = min(1.0, budget / FULL)
        return cls(
            practice=max(int(6_000 * share**2), 1_000),  # the dearest part, and the one where half does nearly as well
            dev=max(int(800 * share), 200),
            keywords=max(int(1_200 * share), 400),
            clozes=max(int(300 * share), 120),
        )
