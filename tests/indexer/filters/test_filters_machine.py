"""Filtered search against brute force: one document in ten thousand or all of them, every mode, page after page."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from plain_filters import passes
from stories import WORDS

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.filters.evaluate import compile_filter
from indexer.filters.filter import Filter
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.retrieval.retriever import Retriever

DOCUMENTS = 10_000
CANDIDATES = 60
QUERIES = ["the cat in the garden", "snow", "king queen castle wine", "zebra", "a ship at sea in a storm at night"]
RNG = random.Random(11)
CONDITIONS: list[dict[str, Any]] = [
    *({"field": "n", "lt": count} for count in (0, 1, 2, 10, 100, 700, 2000, 5000, 9900, DOCUMENTS)),
    {"field": "n", "gte": 9_990},
    {"field": "first", "in": ["cat", "snow"]},
    {"field": "first", "prefix": "s"},
    {"field": "words", "eq": "garden"},
    {"field": "words", "in": ["ship", "storm"]},
    {"field": "price", "gte": -0.5, "lt": 0.25},
    {"field": "price", "exists": False},
    {"field": "when", "lt": "2026-01-03T00:00:00+01:00"},
    {"field": "id", "in": ["d00007", "d09999", "none"]},
    {"field": "place", "eq": "Maó \U0001f3e0"},
]


class Corpus:
    """Ten thousand short documents, some of several passages, and all scores of a query by brute force."""

    def __init__(self, data: Path) -> None:
        texts = [RNG.choices(WORDS, k=RNG.choice([3, 4, 5, 6, 7, 60])) for _ in range(DOCUMENTS)]
        texts[1::1000] = [texts[0]] * 10  # ties
        order = RNG.sample(range(DOCUMENTS), DOCUMENTS)
        when = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        self.table = pa.table(
            {
                "id": [f"d{n:05}" for n in RNG.sample(range(DOCUMENTS), DOCUMENTS)],
                "n": order,
                "first": [words[0] for words in texts],
                "words": [None if RNG.random() < 0.1 else words[:5] for words in texts],
                "price": pa.array([None if n % 7 == 0 else RNG.gauss(0, 1) for n in order], pa.float32()),
                "when": pa.array([when + dt.timedelta(seconds=60 * n) for n in order], pa.timestamp("ms", "UTC")),
                "place": [RNG.choice(["Maó \U0001f3e0", "Mao", None]) for _ in texts],
            }
        )
        corpus = data / "corpus.parquet"
        pq.write_table(self.table.append_column("text", pa.array([" ".join(words) for words in texts])), corpus)
        manifest = build(
            str(corpus), BuildSettings(language="en", candidates=CANDIDATES, dense_weight=0.5), data
        ).manifest
        self.retriever = Retriever(Index.open(Store("index", data).path(manifest.id), cores=1))
        self.index = self.retriever.index
        self.rows = self.table.to_pylist()
        self.cosines, self.bm25 = {}, {}
        vectors = self.index.dense.vectors(np.arange(len(self.index.dense)))
        for query in QUERIES:
            cosines = vectors @ unit(self.index.encoder.encode_query(query))
            self.cosines[query] = np.maximum.reduceat(cosines, self.index.first_passage[:-1])
            scores, rows = self.index.lexical.search(query, DOCUMENTS)
            self.bm25[query] = np.zeros(DOCUMENTS)
            self.bm25[query][rows] = scores


class FilteredSearch(RuleBasedStateMachine):
    """A filter that is narrowed, widened and negated, with searches in between."""

    corpus: Corpus

    @initialize()
    def start(self) -> None:
        """Begin with all documents."""
        self.tree: dict[str, Any] = {}

    @rule(condition=st.sampled_from(CONDITIONS))
    def narrow(self, condition: dict[str, Any]) -> None:
        """Add a condition."""
        self.tree = {"must": [self.tree, condition]}

    @rule(condition=st.sampled_from(CONDITIONS))
    def replace(self, condition: dict[str, Any]) -> None:
        """Replace all conditions by another."""
        self.tree = {"must": [condition]}

    @rule(condition=st.sampled_from(CONDITIONS))
    def widen(self, condition: dict[str, Any]) -> None:
        """Let the documents of another condition pass too."""
        self.tree = {"should": [self.tree, condition]}

    @rule()
    def negate(self) -> None:
        """Let exactly those documents pass that did not."""
        self.tree = {"must_not": [self.tree]}

    @rule(
        mode=st.sampled_from(["dense", "lexical", "hybrid"]), query=st.sampled_from(QUERIES), top_k=st.integers(1, 30)
    )
    def search(self, mode: Literal["dense", "lexical", "hybrid"], query: str, top_k: int) -> None:
        """The best documents that pass are found, and no other ones."""
        corpus = self.corpus
        passing = np.array([passes(self.tree, row, corpus.table.schema) for row in corpus.rows])
        allowed = compile_filter(Filter.model_validate(self.tree), corpus.index)
        assert np.array_equal(allowed.mask, passing)

        ranking = corpus.retriever.search(query, mode, allowed=allowed)
        cosines = np.where(passing, corpus.cosines[query], -np.inf)
        bm25 = np.where(passing, corpus.bm25[query], 0)
        assert len(set(ranking.rows.tolist())) == len(ranking.rows)
        assert passing[ranking.rows].all()
        if mode == "dense":
            assert len(ranking.rows) == min(CANDIDATES, passing.sum())
            assert np.allclose(ranking.scores, -np.sort(-cosines)[: len(ranking.rows)], atol=1e-5)
        if mode == "lexical":
            assert len(ranking.rows) == min(CANDIDATES, np.count_nonzero(bm25))
            assert np.allclose(ranking.scores, -np.sort(-bm25)[: len(ranking.rows)], rtol=1e-5)
        if mode == "hybrid":
            assert len(ranking.rows) >= min(CANDIDATES, passing.sum())
            for scores in (cosines, bm25):
                last = -np.sort(-scores)[CANDIDATES - 1]
                assert set(np.flatnonzero(scores > max(last + 1e-4, 0 if scores is bm25 else -2))) <= set(
                    ranking.rows.tolist()
                )
        if ranking.dense is not None:
            assert np.allclose(ranking.dense, cosines[ranking.rows], atol=1e-5)
        if ranking.lexical is not None:
            assert np.allclose(ranking.lexical, bm25[ranking.rows], rtol=1e-5)

        pages = [
            corpus.retriever.page(ranking, offset, top_k) for offset in range(0, min(len(ranking.rows), 60), top_k)
        ]
        assert len(pages[0] if pages else []) == min(top_k, len(ranking.rows))
        shown = [hit.document.id for page in pages for hit in page]
        ids = corpus.table["id"].to_pylist()
        assert shown == [ids[row] for row in ranking.rows[: len(shown)]]
        scores_and_ids = list(zip(-ranking.scores, (ids[row] for row in ranking.rows), strict=True))
        assert scores_and_ids == sorted(scores_and_ids)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Corpus:
    """Return the corpus with its index."""
    data = tmp_path_factory.mktemp("machine")
    (data / "models").symlink_to(tiny_data / "models")
    return Corpus(data)


def test_filtered_search_is_brute_force(corpus: Corpus) -> None:
    """Whatever the filter lets pass, from one document to all, the best are found in every mode and on every page."""
    machine = type("Machine", (FilteredSearch,), {"corpus": corpus})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_every_share_of_the_documents(corpus: Corpus, condition: dict[str, Any], mode: Any) -> None:
    """Each condition and its negation, with a query of frequent words: few documents pass, many, or all."""
    machine = type("Machine", (FilteredSearch,), {"corpus": corpus})()
    machine.start()
    machine.narrow(condition)
    machine.search(mode, QUERIES[0], 10)
    machine.negate()
    machine.search(mode, QUERIES[0], 10)
