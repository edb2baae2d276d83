"""Comparison of base and tuned model: both rank the same test queries by the code that serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from indexer.artifacts.manifest import EncoderContract
from indexer.artifacts.store import Store
from indexer.build.vectors import MAP_FILE, fold, maps_queries, vectors_of
from indexer.index.dense import DenseIndex
from indexer.index.index import Index
from indexer.inference.encoder import QUERY_FILE, Encoder, Precision, QueryEncoder, Vectors
from indexer.retrieval.retriever import Retriever
from trainer.adapter.distillation import all_passages
from trainer.adapter.linear_map import apply
from trainer.data.clusters import cluster_queries
from trainer.data.labels import QuerySet
from trainer.evaluate.encode import encode_passages, encode_queries
from trainer.evaluate.groups import group
from trainer.evaluate.rankings import RankedQueries, rank_queries
from trainer.evaluate.report import Group, Verdict
from trainer.evaluate.significance import paired
from trainer.evaluate.verdict import METRIC, decide
from trainer.pipeline.dataset import CLOZE, NEIGHBOURS, RunData, TestSet

MAX_INT8_LOSS = 0.005
"""Share of nDCG@10 on dev that 8-bit weights may cost."""
MAX_SMALL_LOSS = {"hybrid": 0.005, "dense": 0.02}
"""nDCG@10 that the small query encoder may cost, of each leg."""
ENCODERS: tuple[QueryEncoder, QueryEncoder] = ("full", "small")
"""Encoders of queries between which a run chooses."""


@dataclass
class Candidate:
    """A model that is compared: exported to ``folder``, not yet published or published earlier.

    Attributes:
        index: of the corpus, with the base model.
        passages: this model's vectors of all passages of that index, shape (passages, dimension).
        matrix: the map from the base model's vectors to these; None where the encoder itself was trained.
    """

    folder: Path
    contract: EncoderContract
    index: Index
    passages: Vectors
    matrix: Vectors | None
    precision: Precision = "fp32"
    """Precision of the weights that encode its queries, where it is a published model."""
    query_encoder: QueryEncoder = "full"
    """What encodes its queries, where it is a published model."""
    small: dict[str, Any] | None = None
    """Record of its small query encoder, where one was fitted in this run."""
    shares_vectors: bool = False
    """Whether its vectors of passages are those of the index's model, of this index and of pools of its documents."""
    dense_map: Vectors | None = None
    """Matrix for the queries of dense search, where the model maps nothing else, shape (dimension, dimension)."""
    _encoders: dict[tuple[Precision, QueryEncoder], Encoder] = field(default_factory=dict)

    @classmethod
    def of_query_map(
        cls,
        folder: Path,
        contract: EncoderContract,
        index: Index,
        matrix: Vectors,
    ) -> Candidate:
        """Return a candidate whose map ``matrix`` is for the queries of dense search; its passages are the index's."""
        passages = all_passages(index)
        return cls(folder, contract, index, passages, None, shares_vectors=True, dense_map=fold(matrix))

    def encoder(self, precision: Precision = "fp32", query_encoder: QueryEncoder = "full") -> Encoder:
        """Return the exported encoder."""
        key = precision, query_encoder
        if key not in self._encoders:
            self._encoders[key] = Encoder(self.folder, self.contract, precision, query_encoder=query_encoder)
        return self._encoders[key]

    def retriever(self, index: Index) -> Retriever:
        """Return a retriever over ``index`` with this model: the corpus, or a pool of its documents."""
        if index is self.index:
            vectors = self.passages
        elif self.matrix is not None:
            vectors = apply(self.matrix, all_passages(index))
        elif self.shares_vectors:
            vectors = all_passages(index)
        else:
            vectors = encode_passages("encode the pool", self.encoder(), index)
        return Retriever(index.with_encoder(self.encoder(), DenseIndex.of(vectors), self.dense_map))

    def rank(
        self,
        name: str,
        index: Index,
        queries: QuerySet,
        ids: list[str],
        precision: Precision,
        *,
        query_encoder: QueryEncoder = "full",
        left_out: Mapping[str, int] | None = None,
    ) -> RankedQueries:
        """Rank the documents of ``index`` for queries that this encoder encodes with weights of ``precision``."""
        encoder = self.encoder(precision, query_encoder)
        vectors = encode_queries(f"{name}: encode", encoder, list(queries.texts.values()))
        return rank_queries(name, self.retriever(index), queries, ids, vectors, left_out=left_out)


def published_candidate(models: Store, artifact: str, index: Index) -> Candidate:
    """Return a published model as a candidate for ``index``; a map of that index's model needs no encoding."""
    folder, manifest = models.path(artifact), models.manifest(artifact)
    precision = manifest.config.get("query_precision", "fp32")
    small: QueryEncoder = "small" if manifest.config.get("small_query_encoder") else "full"
    dense_map = fold(np.load(folder / MAP_FILE, allow_pickle=False)) if maps_queries(manifest.config) else None
    own = vectors_of(models, index.manifest.parents["model"])
    of_index = manifest.config.get("map_of") == own
    if of_index and dense_map is None:
        matrix = np.load(folder / MAP_FILE, allow_pickle=False)
        return Candidate(folder, manifest.contract, index, apply(matrix, all_passages(index)), matrix, precision, small)
    shared = vectors_of(models, artifact) == own
    passages = all_passages(index) if shared else encode_passages("encode passages", Encoder.open(folder), index)
    return Candidate(
        folder,
        manifest.contract,
        index,
        passages,
        None,
        precision,
        small,
        shares_vectors=shared,
        dense_map=dense_map,
    )


@dataclass(frozen=True)
class Comparison:
    """Rankings of both models for each group of test queries.

    Attributes:
        base: group → rankings of the base model.
        tuned: group → rankings of the tuned model.
        weights: of the dense leg in hybrid search, for base and tuned model.
        how: how the weights were found.
        precision: of the weights that encode the tuned model's queries.
        query_encoder: what encodes them.
        notes: for the report, about both.
        deciding: the group on which the verdict rests.
        maps_queries: whether the tuned model is a map for the queries of dense search only.
        run_data: the queries.
        seed: of bootstrap and tests.
    """

    base: dict[str, RankedQueries]
    tuned: dict[str, RankedQueries]
    weights: tuple[float, float]
    how: str
    precision: Precision
    query_encoder: QueryEncoder
    notes: list[str]
    deciding: str
    maps_queries: bool
    run_data: RunData
    seed: int

    @cached_property
    def groups(self) -> dict[str, Group]:
        """Figures of each group of queries, the deciding group first."""
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
        clusters = cluster_queries(base.queries.qrels, self.run_data.copies)
        return group(systems, list(base.queries.texts), self.seed, clusters)

    def verdict(self) -> tuple[Verdict, list[str]]:
        """Return the verdict and its reasons."""
        groups = self.groups
        verdict, reasons = decide(
            self.run_data.judged_by, groups[self.deciding], groups.get(CLOZE), groups.get(NEIGHBOURS)
        )
        if self.maps_queries and self.query_encoder == "full":
            reasons = [*reasons, "hybrid search is unchanged: it goes on with the base's vectors"]
        return verdict, reasons


def compare(
    index: Index, run_data: RunData, candidate: Candidate, seed: int, *, live: Candidate | None = None
) -> Comparison:
    """Rank all test queries by base and candidate.

    The base is the live model: the model of ``index`` or, where an earlier run has tuned it already, ``live``.

    With labels each model has the weight of the dense leg that is best for it on dev; without labels both have the
    index's. Queries are encoded with 8-bit weights where these cost neither leg more than `MAX_INT8_LOSS` of nDCG@10: the
    lower end of the 95 % interval on dev has to be above that. Where the candidate has a small query encoder, this is
    tried first, see `_query_encoder`.
    """
    dev = run_data.dev
    ids = run_data.documents.ids
    exact = candidate.rank("dev", index, dev.queries, ids, "fp32")
    if run_data.judged_by == "labels":
        baseline = _baseline("dev", TestSet(dev.queries, dev.vectors, index, ids), live)
        weights, how = _weights(baseline, exact, run_data)
    else:
        weights, how = (Retriever(index).fusion.dense_weight,) * 2, "found without labels when the base was indexed"
    query_encoder, notes = _query_encoder(index, run_data, candidate, exact, weights[1])
    precision: Precision = "fp32"
    if query_encoder == "full":
        precision, more = _precision(index, run_data, candidate, exact, weights[1])
        notes += more
    base: dict[str, RankedQueries] = {}
    tuned: dict[str, RankedQueries] = {}
    for name, test in run_data.tests.items():
        base[name] = _baseline(name, test, live)
        tuned[name] = candidate.rank(
            f"{name}, tuned",
            test.index,
            test.queries,
            test.ids,
            precision,
            query_encoder=query_encoder,
            left_out=test.left_out,
        )
    return Comparison(
        base,
        tuned,
        weights,
        how,
        precision,
        query_encoder,
        notes,
        run_data.deciding,
        candidate.dense_map is not None,
        run_data,
        seed,
    )


def _weights(before: RankedQueries, after: RankedQueries, run_data: RunData) -> tuple[tuple[float, float], str]:
    """Return the best weight of each model on dev, and how it was found.

    Dev queries about documents that were not trained on are used where there are enough. The dense leg ranks trained
    documents too well: with them it would get too much weight.
    """
    if unseen := run_data.unseen_dev:
        return (
            before.only(unseen).best_weight,
            after.only(unseen).best_weight,
        ), "best for each model on dev queries about unseen documents"
    return (before.best_weight, after.best_weight), "best for each model on the dev queries"


def _baseline(name: str, test: TestSet, live: Candidate | None) -> RankedQueries:
    """Return the rankings of the live model, or of the index's model where there is no other."""
    if live:
        return live.rank(
            f"{name}, live",
            test.index,
            test.queries,
            test.ids,
            live.precision,
            query_encoder=live.query_encoder,
            left_out=test.left_out,
        )
    return rank_queries(
        f"{name}, base", Retriever(test.index), test.queries, test.ids, test.vectors, left_out=test.left_out
    )


def _precision(
    index: Index, run_data: RunData, candidate: Candidate, exact: RankedQueries, weight: float
) -> tuple[Precision, list[str]]:
    """Return the precision of the weights that encode the tuned model's queries, and a note with its cost on dev.

    Args:
        index: of the corpus.
        run_data: its dev queries decide.
        candidate: the tuned model.
        exact: its rankings of the dev queries with 32-bit weights.
        weight: of the dense leg in hybrid search.
    """
    if candidate.dense_map is not None:
        return "fp32", ["Queries are encoded with 32-bit weights, as the base's are: hybrid search stays as it was."]
    if not (candidate.folder / "onnx" / "model_int8.onnx").is_file():
        return "fp32", ["Queries are encoded with 32-bit weights: 8-bit ones would give other vectors."]
    dev = run_data.dev.queries
    quantised = candidate.rank("dev, int8", index, dev, run_data.documents.ids, "int8")
    clusters = list(cluster_queries(dev.qrels, run_data.copies).values())
    costs, too_costly = [], False
    for leg, dense_weight in (("dense", 1.0), ("hybrid", weight)):
        before, after = (list(ranked.metrics(dense_weight)[METRIC].values()) for ranked in (exact, quantised))
        change = paired(before, after, seed=0, clusters=clusters)
        too_costly |= change.low < -MAX_INT8_LOSS * float(np.mean(before))
        costs.append(f"{leg} search {np.mean(before):.4f} with 32-bit weights, {np.mean(after):.4f} with 8-bit weights")
    precision: Precision = "fp32" if too_costly else "int8"
    return precision, [
        f"Queries are encoded with {'32' if too_costly else '8'}-bit weights: nDCG@10 on dev, {'; '.join(costs)}."
    ]


def _query_encoder(
    index: Index, run_data: RunData, candidate: Candidate, exact: RankedQueries, weight: float
) -> tuple[QueryEncoder, list[str]]:
    """Return what encodes the tuned model's queries, and a note with what the small query encoder costs.

    It is chosen where the lower end of the 95 % interval of the difference is above −`MAX_SMALL_LOSS` for each leg, over
    the dev queries and the cloze queries together, and no kind of them loses more on average.
    """
    if not (candidate.folder / QUERY_FILE).is_file():
        return "full", []
    kinds = {
        "dev": (
            exact,
            candidate.rank("dev, small", index, exact.queries, list(exact.ids), "fp32", query_encoder="small"),
        )
    }
    if cloze := run_data.tests.get(CLOZE):
        full, small = (
            candidate.rank(f"cloze, {name}", cloze.index, cloze.queries, cloze.ids, "fp32", query_encoder=name)
            for name in ENCODERS
        )
        kinds["cloze"] = full, small
    figures, too_costly = [], False
    for leg, dense_weight in (("hybrid", weight), ("dense", 1.0)):
        before: list[float] = []
        after: list[float] = []
        clusters: list[str] = []
        for kind, pair in kinds.items():
            old, new = (list(ranked.metrics(dense_weight)[METRIC].values()) for ranked in pair)
            too_costly |= float(np.mean(new) - np.mean(old)) < -MAX_SMALL_LOSS[leg]
            before, after = before + old, after + new
            clusters += [f"{kind} {name}" for name in cluster_queries(pair[0].queries.qrels, run_data.copies).values()]
        change = paired(before, after, seed=0, clusters=clusters)
        too_costly |= change.low < -MAX_SMALL_LOSS[leg]
        figures.append(f"{leg} search {change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}]")
    chosen: QueryEncoder = "full" if too_costly else "small"
    note = (
        f"Queries are encoded by the {chosen} query encoder: nDCG@10 with the small one, over {len(before):,} questions "
        f"({' and '.join(kinds)}): {', '.join(figures)}."
    )
    return chosen, [note]
