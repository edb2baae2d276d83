"""Measurement of the candidates in rounds: samples, indexes, questions, rankings and costs, of which finished ones are kept."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from indexer.build.vectors import JoinedVectors, KnownVectors
from indexer.corpus.corpus import Corpus
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.inference.encoder import Encoder, Vectors
from indexer.progress import format_duration, say, stage
from trainer.data.clusters import cluster_queries
from trainer.data.labels import load_labels
from trainer.evaluate.encode import encode_queries
from trainer.files import atomic_write
from trainer.pipeline.bases.candidate import Candidate, find_vectors, measure_cost, open_index
from trainer.pipeline.bases.choice import Ballot, select_questions
from trainer.pipeline.bases.halving import TRIAL, Round, next_size, survivors
from trainer.pipeline.bases.measures import agreement, lexical, measure, rank
from trainer.pipeline.bases.neighbours import neighbour_questions
from trainer.pipeline.bases.questions import Kind, Material, Questions, take_words
from trainer.pipeline.bases.result import Cost
from trainer.pipeline.bases.sample import Sample, draw_sample
from trainer.pipeline.settings import CompareSettings
from trainer.pipeline.workspace import Workspace

ROUNDS_FILE = "rounds.json"


@dataclass(frozen=True)
class Measurements:
    """The sample, the rounds with the values of the models that took part, and the costs of all models.

    Attributes:
        spent: whether the budget ended the comparison before it was decided or had seen the whole sample.
    """

    sample: Sample
    rounds: list[Round]
    costs: list[Cost]
    spent: bool = False


def measure_bases(
    corpus: Corpus,
    candidates: Sequence[Candidate],
    settings: CompareSettings,
    workspace: Workspace,
    data: Path,
    *,
    default: int = 0,
    halve: bool = True,
) -> Measurements:
    """Measure the models on ever larger samples, as long as some are undecided and there is time.

    Args:
        corpus: after its check.
        candidates: the models.
        settings: of the comparison.
        workspace: where indexes and vectors are kept.
        data: the data directory.
        default: number of the model that is kept where no other is better.
        halve: leave out models that are certainly worse, and keep the budget; else all are measured on every sample up to
            the whole one.
    """
    labels = load_labels(settings.qrels, settings.queries) if settings.qrels else None
    with stage("make questions"):
        sample = draw_sample(corpus, settings.language, settings.sample, labels, settings.seed)
        material = take_words(sample, settings.seed)
    total = len(material.contents)
    say(f"sample: at most {total:,} of {corpus.documents:,} documents, {sample.language}")
    with stage("open the models"):
        models = [Contender.open(candidate, corpus, data) for candidate in candidates]
    measuring = _Measuring(material, models, workspace, settings.seed)
    rounds: list[Round] = []
    planned = _Planned(workspace.folder / ROUNDS_FILE)
    active, done, spent = list(range(len(models))), 0, False
    measuring.encode(active, min(TRIAL, total))
    while True:
        left = settings.budget_seconds - sum(workspace.seconds.values()) if halve else math.inf
        per_document = sum(models[number].seconds_a_document for number in active)
        size = planned.size(len(rounds)) or next_size(done, total, left, per_document)
        if size == done:
            spent = done < total
            break
        planned.add(len(rounds), size)
        rounds.append(measuring.run(active, size))
        done = size
        if done == total:
            break
        active = survivors(rounds[-1], default, settings.seed) if halve else active
        if active == [default]:
            break
        out = [candidates[number].name for number in rounds[-1].models if number not in active]
        say(f"undecided after {done:,} documents" + (f"; left out as certainly worse: {', '.join(out)}" if out else ""))
    with stage("measure costs"):
        queries = next(iter(material.questions(done, settings.seed).values()), None)
        texts = queries.texts if queries else [material.contents[0]["text"][:100]]
        costs = [measure_cost(model.candidate, model.index, texts) for model in models]
    return Measurements(sample, rounds, costs, spent)


@dataclass
class Contender:
    """A candidate with its index of the latest sample it took part in.

    Attributes:
        known: vectors of an index of the corpus, or of another one.
        queries: vectors of the questions of earlier rounds.
        seconds_a_document: in which it encodes a document, on all cores.
    """

    candidate: Candidate
    encoder: Encoder
    known: KnownVectors | None
    queries: dict[str, Vectors] = field(default_factory=dict)
    seconds_a_document: float = 0.0
    documents: int = 0
    _index: Index | None = None

    @classmethod
    def open(cls, candidate: Candidate, corpus: Corpus, data: Path) -> Self:
        """Open a candidate's encoder, and warm it up: the first batch would seem slow."""
        encoder = Encoder.open(candidate.folder)
        encoder.encode_documents(["warm up"])
        return cls(candidate, encoder, find_vectors(candidate, corpus.inputs, data))

    @property
    def index(self) -> Index:
        """The index of the latest sample.

        Raises:
            UserError: no documents were encoded.
        """
        if self._index is None:
            raise UserError("the corpus: it has no documents to compare models on")
        return self._index

    def take(self, index: Index, seconds: float) -> None:
        """Take the index of a larger sample, and the time that its new documents took."""
        self.seconds_a_document = seconds / max(len(index) - self.documents, 1)
        self._index, self.documents = index, len(index)

    @property
    def vectors(self) -> KnownVectors | None:
        """Vectors that need not be computed again: of the latest sample, and of an index of the corpus."""
        sources = [KnownVectors(self._index.folder)] if self._index else []
        sources += [self.known] if self.known else []
        return JoinedVectors(sources) if sources else None


@dataclass(frozen=True)
class _Measuring:
    material: Material
    models: Sequence[Contender]
    workspace: Workspace
    seed: int

    def run(self, active: list[int], size: int) -> Round:
        """Measure the active models on the first ``size`` documents."""
        self.encode(active, size)
        with self.workspace.stage(f"{size}-questions"):
            return Round(size, active, self._ballots([self.models[number] for number in active], size))

    def encode(self, active: Sequence[int], size: int) -> None:
        """Encode the first documents by the active models."""
        expected = sum(
            max(size - model.documents, 0) * model.seconds_a_document for model in map(self.models.__getitem__, active)
        )
        ahead = f", about {format_duration(expected)}" if expected else ""
        say(f"{size:,} documents, {len(active)} models{ahead}")
        for place, number in enumerate(active, start=1):
            model = self.models[number]
            name = f"{size}-{model.candidate.id}"
            say(f"model {place} of {len(active)}: {model.candidate.name}")
            with self.workspace.stage(name):
                index = open_index(
                    model.encoder,
                    self.material.contents[:size],
                    self.material.sample.language,
                    model.vectors,
                    self.workspace.folder / name,
                )
            model.take(index, self.workspace.seconds[name])

    def _ballots(self, models: Sequence[Contender], size: int) -> dict[Kind, Ballot]:
        """Return the values of some models on each kind of question, and on agreement where there are enough models."""
        indexes = [model.index for model in models]
        with stage("find neighbours on which all models agree"):
            neighbours = neighbour_questions(indexes, self.seed)
        kinds = self.material.questions(size, self.seed)
        if len(neighbours):
            kinds = {"neighbours": neighbours, **kinds}
        if not kinds:
            raise UserError("the corpus: its documents give no questions; give more documents, or labels with --qrels")
        vectors = [self._encode(model, kinds, size) for model in models]
        ballots: dict[Kind, Ballot] = {}
        for kind, questions in kinds.items():
            ranked = [
                rank(f"{model.candidate.name}: {kind}", model.index, questions, own[kind])
                for model, own in zip(models, vectors, strict=True)
            ]
            clusters: list[Hashable] = list(questions.clusters)
            if kind == "labels":
                clusters = list(cluster_queries(questions.query_set().qrels, {}).values())
            ballots[kind] = select_questions(kind, [measure(each) for each in ranked], lexical(ranked[0]), clusters)
            if kind == "neighbours" and len(models) > 2:
                values = agreement(indexes, [own[kind] for own in vectors], questions, ranked)
                ballots["agreement"] = select_questions("agreement", values, lexical(ranked[0]), clusters)
        return ballots

    def _encode(self, model: Contender, kinds: dict[Kind, Questions], size: int) -> dict[Kind, Vectors]:
        """Return the vectors of all questions by kind, or read those of a killed comparison."""
        texts = [text for questions in kinds.values() for text in questions.texts]
        encoder, name = model.encoder, model.candidate.name

        def make() -> dict[str, Vectors]:
            new = [text for text in dict.fromkeys(texts) if text not in model.queries]
            known = model.queries | dict(
                zip(new, encode_queries(f"{name}: encode questions", encoder, new), strict=True)
            )
            return {"vectors": np.stack([known[text] for text in texts])}

        vectors = self.workspace.arrays(f"questions-{size}-{model.candidate.id}", make)["vectors"]
        model.queries.update(zip(texts, vectors, strict=True))
        bounds = np.cumsum([0, *map(len, kinds.values())])
        return {kind: vectors[bounds[row] : bounds[row + 1]] for row, kind in enumerate(kinds)}


class _Planned:
    """Sizes of the rounds, kept in a file: a comparison that was killed repeats them, whatever time is left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes: list[int] = json.loads(path.read_bytes()) if path.is_file() else []

    def size(self, number: int) -> int | None:
        """Return the size of a round that was begun before; None for a new one."""
        return self._sizes[number] if number < len(self._sizes) else None

    def add(self, number: int, size: int) -> None:
        """Keep the size of a round."""
        if number == len(self._sizes):
            self._sizes.append(size)
            with atomic_write(self._path) as part:
                part.write_text(json.dumps(self._sizes) + "\n", encoding="utf-8")
