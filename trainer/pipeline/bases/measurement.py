"""Measurement of all candidates: sample, indexes, questions, rankings and costs, of which finished ones are kept."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.corpus.corpus import Corpus
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.progress import say, stage
from trainer.data.clusters import cluster_queries
from trainer.data.labels import load_labels
from trainer.evaluate.encode import encode_queries
from trainer.pipeline.bases.candidate import Candidate, find_vectors, measure_cost, open_index
from trainer.pipeline.bases.choice import Ballot, select_questions
from trainer.pipeline.bases.measures import agreement, lexical, measure, rank
from trainer.pipeline.bases.neighbours import neighbour_questions
from trainer.pipeline.bases.questions import Kind, Questions, make_questions
from trainer.pipeline.bases.result import Cost
from trainer.pipeline.bases.sample import Sample, draw_sample
from trainer.pipeline.settings import CompareSettings
from trainer.pipeline.workspace import Workspace


@dataclass(frozen=True)
class Measurements:
    """The sample, the kinds of questions with the values of all models, and the costs of the models."""

    sample: Sample
    ballots: dict[Kind, Ballot]
    costs: list[Cost]


def measure_bases(
    corpus: Corpus, candidates: Sequence[Candidate], settings: CompareSettings, workspace: Workspace, data: Path
) -> Measurements:
    """Encode the sample with every model, make the questions, and rank them."""
    labels = load_labels(settings.qrels, settings.queries) if settings.qrels else None
    with stage("make questions"):
        sample = draw_sample(corpus, settings.language, settings.sample, labels, settings.seed)
        contents, kinds = make_questions(sample, settings.seed)
    texts = [str(content["text"]) for content in contents]
    characters = sum(map(len, texts))
    say(f"sample: {len(texts):,} of {corpus.documents:,} documents, {characters:,} characters, {sample.language}")
    indexes: list[Index] = []
    for number, candidate in enumerate(candidates, start=1):
        say(f"model {number} of {len(candidates)}: {candidate.name}")
        with workspace.stage(candidate.id):
            folder = workspace.folder / candidate.id
            known = find_vectors(candidate, corpus.inputs, data)
            indexes.append(open_index(candidate, contents, sample.language, known, folder))
    with stage("find neighbours on which all models agree"):
        neighbours = neighbour_questions(indexes, settings.seed)
    if len(neighbours):
        kinds = {"neighbours": neighbours, **kinds}
    if not kinds:
        raise UserError("the corpus: its documents give no questions; give more documents, or labels with --qrels")
    vectors = [
        _encode(candidate, index, kinds, workspace) for candidate, index in zip(candidates, indexes, strict=True)
    ]
    first = next(iter(kinds.values())).texts
    costs = [measure_cost(candidate, index, first) for candidate, index in zip(candidates, indexes, strict=True)]
    return Measurements(sample, _rank(candidates, indexes, kinds, vectors, sample), costs)


def _encode(
    candidate: Candidate, index: Index, kinds: dict[Kind, Questions], workspace: Workspace
) -> dict[Kind, Vectors]:
    """Return the vectors of all questions by kind, or read those of a killed comparison."""
    texts = [text for questions in kinds.values() for text in questions.texts]
    arrays = workspace.arrays(
        f"questions-{candidate.id}",
        lambda: {"vectors": encode_queries(f"{candidate.name}: encode questions", index.encoder, texts)},
    )
    bounds = np.cumsum([0, *map(len, kinds.values())])
    return {kind: arrays["vectors"][bounds[row] : bounds[row + 1]] for row, kind in enumerate(kinds)}


def _rank(
    candidates: Sequence[Candidate],
    indexes: Sequence[Index],
    kinds: dict[Kind, Questions],
    vectors: Sequence[dict[Kind, Vectors]],
    sample: Sample,
) -> dict[Kind, Ballot]:
    """Return the values of all models on each kind of question, and on agreement where there are enough models."""
    ballots: dict[Kind, Ballot] = {}
    for kind, questions in kinds.items():
        ranked = [
            rank(f"{candidate.name}: {kind}", index, questions, own[kind])
            for candidate, index, own in zip(candidates, indexes, vectors, strict=True)
        ]
        clusters: list[Hashable] = list(questions.clusters)
        if kind == "labels" and sample.labelled is not None:
            clusters = list(cluster_queries(sample.labelled.qrels, {}).values())
        ballots[kind] = select_questions(kind, [measure(each) for each in ranked], lexical(ranked[0]), clusters)
        if kind == "neighbours" and len(candidates) > 2:
            values = agreement(indexes, [own[kind] for own in vectors], questions, ranked)
            ballots["agreement"] = select_questions("agreement", values, lexical(ranked[0]), clusters)
    return ballots
