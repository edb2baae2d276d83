"""The exam: the base and the tuned model answer the same questions, through the code that serves."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from indexer.artifacts.manifest import EncoderContract
from indexer.artifacts.store import Store
from indexer.build.vectors import MAP_FILE
from indexer.index.dense import DenseIndex
from indexer.index.index import Index
from indexer.inference.encoder import Encoder, Precision, Vectors
from indexer.retrieval.retriever import Retriever
from trainer.adapter.distillation import all_passages
from trainer.adapter.linear_map import apply
from trainer.data.labels import QuerySet
from trainer.evaluate.encode import encode_passages, encode_queries
from trainer.evaluate.groups import group
from trainer.evaluate.rankings import RankedQueries, rank_queries
from trainer.evaluate.report import Group, Verdict
from trainer.evaluate.significance import paired
from trainer.evaluate.verdict import METRIC, decide
from trainer.pipeline.dataset import TAKEN_OUT, RunData, TestSet

MAX_INT8_LOSS = 0.005
"""Share of nDCG@10 on dev that 8-bit weights may cost."""


@dataclass
class Candidate:
    """The tuned model, exported to ``folder`` and not yet published.

    Attributes:
        index: of the corpus.
        passages: this model's vectors of all passages of that index, shape (passages, dimension).
        matrix: the map that has made them; None where the encoder itself was trained.
    """

    folder: Path
    contract: EncoderContract
    index: Index
    passages: Vectors
    matrix: Vectors | None
    precision: Precision = "fp32"
    """Of the weights that its queries are encoded with, where that is decided."""
    _encoders: dict[Precision, Encoder] = field(default_factory=dict)

    def encoder(self, precision: Precision = "fp32") -> Encoder:
        """Return the exported encoder."""
        if precision not in self._encoders:
            self._encoders[precision] = Encoder(self.folder, self.contract, precision)
        return self._encoders[precision]

    def retriever(self, index: Index) -> Retriever:
        """Return what would serve ``index`` with this model: the corpus's, or that of a pool of its documents."""
        if index is self.index:
            vectors = self.passages
        elif self.matrix is not None:
            vectors = apply(self.matrix, all_passages(index))
        else:
            vectors = encode_passages("encode the pool", self.encoder(), index)
        return Retriever(index.with_encoder(self.encoder(), DenseIndex.of(vectors)))

    def answers(
        self, name: str, index: Index, questions: QuerySet, ids: list[str], precision: Precision
    ) -> RankedQueries:
        """Ask this model, its queries encoded with weights of ``precision``."""
        vectors = encode_queries(f"{name}: encode", self.encoder(precision), list(questions.texts.values()))
        return rank_queries(name, self.retriever(index), questions, ids, vectors)


def published(models: Store, artifact: str, index: Index) -> Candidate:
    """Return a published model as a candidate for ``index``; where it is a map of that index's model, nothing is encoded."""
    folder, manifest = models.path(artifact), models.manifest(artifact)
    precision = manifest.config.get("query_precision", "fp32")
    if manifest.config.get("map_of") == index.manifest.parents["model"]:
        matrix = np.load(folder / MAP_FILE, allow_pickle=False)
        return Candidate(folder, manifest.contract, index, apply(matrix, all_passages(index)), matrix, precision)
    passages = encode_passages("encode passages", Encoder.open(folder), index)
    return Candidate(folder, manifest.contract, index, passages, None, precision)


@dataclass(frozen=True)
class Comparison:
    """What both models answered to each group of questions, and at which weights of the dense leg they are compared."""

    base: dict[str, RankedQueries]
    tuned: dict[str, RankedQueries]
    weights: tuple[float, float]
    how: str
    precision: Precision
    notes: list[str]
    deciding: str
    material: RunData
    seed: int

    @cached_property
    def groups(self) -> dict[str, Group]:
        """The figures of each group of questions, the deciding one first."""
        names = sorted(self.base, key=lambda name: name != self.deciding)
        return {name: self._group(name) for name in names}

    def _group(self, name: str) -> Group:
        base, tuned = self.base[name], self.tuned[name]
        systems = {
            "BM25": base.metrics(0),
            "base dense": base.metrics(1),
            "tuned dense": tuned.metrics(1),
            "base hybrid": base.metrics(self.weights[0]),
            "tuned hybrid": tuned.metrics(self.weights[1]),
        }
        return group(systems, list(base.queries.texts), self.seed)

    def verdict(self) -> tuple[Verdict, list[str]]:
        """Return the verdict and its reasons."""
        return decide(self.material.judged_by, self.groups[self.deciding], self.groups.get(TAKEN_OUT))


def compare(
    index: Index, material: RunData, candidate: Candidate, seed: int, *, live: Candidate | None = None
) -> Comparison:
    """Ask base and candidate all questions of the exam.

    The base is what is live: the model of ``index`` or, where an earlier run has tuned it already, ``live``.

    With labels each model is given the weight of the dense leg that is best for it on dev; without, both have the
    index's. Queries are encoded with 8-bit weights where that certainly costs neither leg more than half a per cent of
    nDCG@10: the whole 95 % interval on dev has to lie above that.
    """
    dev = material.dev
    ids = material.documents.ids
    exact = candidate.answers("dev", index, dev.queries, ids, "fp32")
    if material.judged_by == "labels":
        before = _before("dev", TestSet(dev.queries, dev.vectors, index, ids), live)
        weights, how = _weights(before, exact, material)
    else:
        weights, how = (Retriever(index).fusion.dense_weight,) * 2, "found without labels when the base was indexed"
    precision, notes = _precision(index, material, candidate, exact, weights[1])
    base: dict[str, RankedQueries] = {}
    tuned: dict[str, RankedQueries] = {}
    for name, test in material.tests.items():
        base[name] = _before(name, test, live)
        tuned[name] = candidate.answers(f"{name}, tuned", test.index, test.queries, test.ids, precision)
    return Comparison(base, tuned, weights, how, precision, notes, material.deciding, material, seed)


def _weights(before: RankedQueries, after: RankedQueries, material: RunData) -> tuple[tuple[float, float], str]:
    """Return the best weight of either model on dev: on questions about documents that were not learned from, if it can be.

    The dense leg knows the documents that it was trained on by heart, and would be given too much weight by them.
    """
    if unseen := material.unseen_dev:
        return (
            before.only(unseen).best_weight,
            after.only(unseen).best_weight,
        ), "best for each model on dev questions about unseen documents"
    return (before.best_weight, after.best_weight), "best for each model on the dev questions"


def _before(name: str, test: TestSet, live: Candidate | None) -> RankedQueries:
    if live:
        return live.answers(f"{name}, live", test.index, test.queries, test.ids, live.precision)
    return rank_queries(f"{name}, base", Retriever(test.index), test.queries, test.ids, test.vectors)


def _precision(
    index: Index, material: RunData, candidate: Candidate, exact: RankedQueries, weight: float
) -> tuple[Precision, list[str]]:
    if not (candidate.folder / "onnx" / "model_int8.onnx").is_file():
        return "fp32", ["Queries are encoded with 32-bit weights: 8-bit ones would give other vectors."]
    dev = material.dev.queries
    small = candidate.answers("dev, int8", index, dev, material.documents.ids, "int8")
    costs, dear = [], False
    for leg, at in (("dense", 1.0), ("hybrid", weight)):
        before, after = (list(each.metrics(at)[METRIC].values()) for each in (exact, small))
        change = paired(before, after, seed=0)
        dear |= change.low < -MAX_INT8_LOSS * float(np.mean(before))
        costs.append(f"{leg} search {np.mean(before):.4f} with 32-bit weights, {np.mean(after):.4f} with 8-bit weights")
    chosen: Precision = "fp32" if dear else "int8"
    return chosen, [
        f"Queries are encoded with {'32' if dear else '8'}-bit weights: nDCG@10 on dev, {'; '.join(costs)}."
    ]
