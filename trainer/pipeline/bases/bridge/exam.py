"""Old and new queries on the same vectors, ranked by the code that serves, and which of them are better.

The kinds of questions vote as in `trainer compare`: labels alone where there are enough, else neighbour questions most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from indexer.index.index import Index
from indexer.inference.encoder import Encoder
from indexer.retrieval.retriever import Retriever
from trainer.evaluate.encode import encode_queries
from trainer.evaluate.rankings import RankedQueries, rank_queries
from trainer.evaluate.report import Leg
from trainer.evaluate.significance import Difference
from trainer.pipeline.bases.bridge.questions import Asked
from trainer.pipeline.bases.choice import GUARD, LEGS, Ballot, difference, is_win, select_questions, total, voting
from trainer.pipeline.bases.measures import lexical, measure
from trainer.pipeline.bases.page import KINDS
from trainer.pipeline.bases.questions import Kind
from trainer.pipeline.workspace import Workspace

Judgement = Literal["better", "worse", "undecided"]
FIRST = 10
"""First documents of both rankings that are compared."""


@dataclass(frozen=True)
class Exam:
    """What the questions say.

    Attributes:
        judgement: of the new queries.
        lines: the judgement in a line with its reasons, and a line for each kind of question.
        means: leg → nDCG@10 of old and of new queries, as the weighted mean of the kinds that vote; empty for none.
    """

    judgement: Judgement
    lines: list[str]
    means: dict[Leg, tuple[float, float]]


def examine(kinds: Mapping[Kind, Asked], index: Index, new: Encoder, workspace: Workspace, seed: int) -> Exam:
    """Rank all questions with old and with new queries, and judge.

    Args:
        kinds: questions of each kind.
        index: with the old model; its weight of the legs is used.
        new: encodes queries into vectors of the index's space.
        workspace: keeps the vectors of the questions.
        seed: of the bootstrap.
    """
    weight = Retriever(index).fusion.dense_weight
    ballots: dict[Kind, Ballot] = {}
    lines = []
    for kind, asked in kinds.items():
        old, newer = (
            _rank(f"{kind}, {name}", asked, encoder, workspace)
            for name, encoder in (("old", index.encoder), ("new", new))
        )
        models = [measure(each, weight) for each in (old, newer)]
        everything = Ballot(1.0, models, asked.clusters)
        ballots[kind] = select_questions(kind, models, lexical(old), asked.clusters)
        figures = "; ".join(
            f"{leg} {getattr(models[0], leg).mean():.3f} → {getattr(models[1], leg).mean():.3f}, "
            f"{_signed(difference(everything, 0, 1, leg, seed))}, {_same(old, newer, one):.1f} of the first {FIRST} are the same"
            for leg, one in zip(LEGS, (1.0, weight), strict=True)
        )
        lines.append(f"{KINDS[kind]} ({len(asked.queries):,}): {figures}")
    return _judge(voting(ballots), lines, seed)


def _judge(ballots: Mapping[Kind, Ballot], lines: list[str], seed: int) -> Exam:
    if not ballots:
        return Exam("undecided", ["undecided: too few questions; give labels by --qrels", *lines], {})
    differences = {kind: {leg: difference(ballot, 0, 1, leg, seed) for leg in LEGS} for kind, ballot in ballots.items()}
    weights = {kind: ballot.weight for kind, ballot in ballots.items()}
    totals = {leg: total(differences, weights, leg) for leg in LEGS}
    judgement = judge(totals, differences.get(GUARD))
    figures = ", ".join(f"{leg} search {_signed(each)}" for leg, each in totals.items())
    how = "labels" if "labels" in ballots else "questions made from the texts"
    names = {"better": "are better", "worse": "are worse", "undecided": "do not differ for certain"}
    lines = [f"{judgement}: the new queries {names[judgement]} than the old ones, by {how}: {figures}", *lines]
    if judgement == "undecided":
        lines[0] = f"undecided: old and new queries do not differ for certain, by {how}: {figures}"
    values = np.array([weights[kind] for kind in ballots])
    means = {}
    for leg in LEGS:
        before, after = (
            float(values @ [getattr(ballot.models[model], leg).mean() for ballot in ballots.values()] / values.sum())
            for model in (0, 1)
        )
        means[leg] = before, after
    return Exam(judgement, lines, means)


def judge(totals: Mapping[Leg, Difference], guard: Mapping[Leg, Difference] | None) -> Judgement:
    """Return the judgement: better as in `is_win`, worse where a kind of search or a guarded one certainly is."""
    if is_win(totals, guard):
        return "better"
    losses = [each.high < 0 for each in (*totals.values(), *(guard or {}).values())]
    return "worse" if any(losses) else "undecided"


def _rank(name: str, asked: Asked, encoder: Encoder, workspace: Workspace) -> RankedQueries:
    """Rank questions whose vectors come from ``encoder``; a command that was killed takes its vectors up."""
    texts = list(asked.queries.texts.values())
    arrays = workspace.arrays(
        name.replace(", ", "-").replace(" ", "-"),
        lambda: {"vectors": encode_queries(f"{name}: encode", encoder, texts)},
    )
    index = asked.index.with_encoder(encoder, asked.index.dense, asked.index.contents.dense_map)
    return rank_queries(
        name, Retriever(index), asked.queries, asked.ids, arrays["vectors"], left_out=asked.left_out or None
    )


def _same(old: RankedQueries, new: RankedQueries, weight: float) -> float:
    """Return how many of the first documents of old and new queries are the same, in the mean."""
    before, after = old.run(weight), new.run(weight)
    return float(np.mean([len({*before[query][:FIRST]} & {*after[query][:FIRST]}) for query in before]))


def _signed(difference: Difference) -> str:
    return f"{difference.mean:+.3f} (95 % interval {difference.low:+.3f} to {difference.high:+.3f})"
