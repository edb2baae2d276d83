"""An example report: its rankings are invented, its figures are computed from them by the product's code."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from trainer.evaluate.groups import biggest_changes, group, separation
from trainer.evaluate.metrics import METRICS, per_query
from trainer.evaluate.reliability import Bin, Calibration
from trainer.evaluate.report import (
    ALL,
    SYSTEMS,
    UNSEEN,
    BaseModelFacts,
    CorpusFacts,
    Curves,
    DevPoint,
    Group,
    LossPoint,
    QueryChange,
    Report,
    Rung,
    Shown,
    TunedModelFacts,
    Weights,
)
from trainer.reports.plots import short

RELEVANCES = [(41, 0.05, 0.02), (52, 0.22, 0.25), (60, 0.43, 0.4), (88, 0.68, 0.74), (71, 0.9, 0.86)]
"""Bins of the relevance of first results: queries, mean relevance, and the share that is right."""

LOG_RANKS = {"BM25": 1.9, "base dense": 2.3, "tuned dense": 1.7, "base hybrid": 1.6, "tuned hybrid": 1.45}
"""Mean logarithm of the rank at which a system puts a query's relevant document."""

TOPICS = ["harbour", "wind farm", "school canteen", "beach parking", "water tariff", "cave excavation", "cheese fair"]
FORMS = [
    "Council approves the new {} despite complaints of residents",
    "How much will the {} cost the island next year?",
    "{} closed after last night's storm",
    "opening hours {}",
]
TEXT = (
    "The plenary session approved the project for the {} with the votes of the governing party. Residents had collected "
    "more than four hundred signatures against it, and the opposition asked for the report of the technical services, "
    "which arrived only on Thursday. Works are to begin in spring and will take about nine months; the budget has been "
    "raised twice since the first draft was presented, and a third of it is paid by the regional government."
)


def rankings(queries: int, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return system → metric → query → value for rankings in which the rank of the relevant document is random."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(0, 1.2, queries)
    qrels = {f"q{number}": {"wanted": 1} for number in range(queries)}
    values = {}
    for system in SYSTEMS:
        ranks = np.exp(LOG_RANKS[system] + difficulty + rng.normal(0, 0.6, queries)).astype(int)
        others = [f"d{number}" for number in range(100)]
        run = {f"q{number}": [*others[:rank], "wanted", *others[rank:]][:100] for number, rank in enumerate(ranks)}
        values[system] = per_query(qrels, run)
    return values


@cache
def make_groups(queries: int, unseen: int) -> dict[str, Group]:
    """Return the figures of both groups, cached because the bootstrap is slow."""
    values = rankings(queries, seed=1)
    ids = list(values["BM25"][METRICS[0]])
    return {ALL: group(values, ids, seed=0), UNSEEN: group(values, ids[:unseen], seed=0)}


def example_report(queries: int = 312, unseen: int = 208, **changes: Any) -> Report:
    """Return a WIN on an invented newspaper; ``changes`` replace fields of the report."""
    values = rankings(queries, seed=1)
    ids = list(values["BM25"][METRICS[0]])
    base, tuned = (values[f"{which} hybrid"]["nDCG@10"] for which in ("base", "tuned"))
    gains, losses = biggest_changes(base, tuned, ids)
    rng = np.random.default_rng(2)

    def shown(number: int) -> Shown:
        topic = TOPICS[number % len(TOPICS)]
        return Shown(id=f"news-{1000 + number}", title=f"The {topic} before the council", text=TEXT.format(topic))

    def change(query: str) -> QueryChange:
        number = int(query[1:])
        text = FORMS[number % len(FORMS)].format(TOPICS[number % len(TOPICS)])
        return QueryChange(
            query_id=query,
            query=text,
            before=base[query],
            after=tuned[query],
            wanted=[shown(number)],
            found_before=shown(number + 3),
            found_after=shown(number if tuned[query] == 1 else number + 2) if number % 5 else None,
        )

    groups = make_groups(queries, unseen)
    rise = {leg: groups[UNSEEN].differences[leg]["nDCG@10"].mean for leg in ("dense", "hybrid")}
    fields: dict[str, Any] = {
        "created": "2026-11-20T10:15:00+00:00",
        "verdict": "WIN",
        "reasons": [
            f"Hybrid nDCG@10 rises by {short(rise['hybrid'])} on documents that were not trained on, interval above zero.",
            f"Dense nDCG@10 rises by {short(rise['dense'])} on the same queries.",
            "No measure falls significantly.",
        ],
        "judged_by": "labels",
        "corpus": CorpusFacts(name="island-news", documents=5000, passages=18_412, language="en"),
        "base": BaseModelFacts(id="20261120T094420Z-5a6b7c8d", name="sentence-transformers/all-MiniLM-L6-v2"),
        "tuned": TunedModelFacts(
            name="all-MiniLM-L6-v2 tuned on island-news",
            recipe={
                "queries": ["title", "sentence", "keywords"],
                "pairs": 15_210,
                "teacher": "fused ranker, top 50",
                "loss": "kl",
                "optimizer": "Adam",
                "learning_rate": 3e-4,
                "epochs": 3,
                "pull_to_identity": 0.01,
                "merged_with_base": False,
                "seed": 0,
            },
            rungs=[
                Rung(name="map", kept=True, seconds=17.4, dev_before=0.252, dev_after=0.274),
                Rung(name="two maps", kept=True, seconds=19.8, dev_before=0.274, dev_after=0.281),
                Rung(name="last two layers", kept=False, seconds=141.0, dev_before=0.281, dev_after=0.279),
            ],
        ),
        "settings": {"budget": "5m", "seed": 0, "qrels": None, "int8": True, "dense_weights": [0.3, 0.5, 0.7]},
        "seconds": {"prepare": 4.2, "queries": 31.0, "filter": 12.5, "mine": 22.0, "train": 178.2, "evaluate": 61.0},
        "groups": groups,
        "fusion": Weights(base=0.3, tuned=0.4, how="chosen on the dev split for either model"),
        "changes": {
            leg: [values[f"tuned {leg}"]["nDCG@10"][query] - values[f"base {leg}"]["nDCG@10"][query] for query in ids]
            for leg in ("dense", "hybrid")
        },
        "gains": [change(query) for query in gains],
        "losses": [change(query) for query in losses],
        "relevance": Calibration(
            ece=0.036,
            bins=[Bin(rows=rows, said=said, true=true) for rows, said, true in RELEVANCES],
        ),
        "curves": Curves(
            loss=[
                LossPoint(step=step, seconds=step / 9, loss=0.4 + 1.9 * 0.985**step + abs(rng.normal(0, 0.04)))
                for step in range(1, 361, 4)
            ],
            dev=[
                DevPoint(at="base", value=0.252),
                DevPoint(at="map", value=0.274),
                DevPoint(at="two maps", value=0.281),
                DevPoint(at="last two layers", value=0.279),
            ],
        ),
        "separation": {
            "base": separation(rng.normal(0.48, 0.13, queries), rng.normal(0.46, 0.09, queries)),
            "tuned": separation(rng.normal(0.62, 0.12, queries), rng.normal(0.5, 0.09, queries)),
        },
        "notes": [
            "104 of the 312 test queries are answered by documents that training has seen: read the second column."
        ],
    }
    return Report(**fields | changes)
