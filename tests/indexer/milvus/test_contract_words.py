"""Words of queries in Milvus: columns, exact values, words half typed and misspelt, synonyms and titles, as from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from milvus_server import MilvusServer
from shop import build_shop, shop_rows

from indexer.artifacts.store import Store
from indexer.filters.evaluate import compile_filter, restrict
from indexer.filters.filter import Filter
from indexer.index.index import Index
from indexer.index.served import ServedIndex
from indexer.milvus.open import open_index
from indexer.milvus.publish import publish_index
from indexer.milvus.settings import StoreSettings
from indexer.retrieval.completion import complete_titles
from indexer.retrieval.retriever import Retriever

ROWS = shop_rows()
BRAND = str(ROWS[0]["brand"])


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, milvus_server: MilvusServer
) -> tuple[ServedIndex, ServedIndex]:
    """The shop's index in files, and the same in Milvus."""
    data = build_shop(tmp_path_factory.mktemp("shop") / "data", tiny_data)
    settings = StoreSettings(store="milvus", uri=milvus_server.uri, alias="words")
    folder = Store("index", data).resolve()
    publish_index(folder.name, settings, data)
    return Index.open(folder), open_index(settings, data)


def best(index: ServedIndex, query: str, count: int = 10, **options: bool) -> list[tuple[str, float]]:
    """Return id and score of the best documents in lexical mode."""
    retriever = Retriever(index)
    ranking = retriever.search(query, "lexical", expanded=retriever.expand(query, **options))
    documents = index.documents(ranking.rows[:count])
    return [(document.id, score) for document, score in zip(documents, ranking.scores.tolist(), strict=False)]


@pytest.mark.parametrize(
    ("query", "options"),
    [
        (BRAND, {}),
        ("outdoor music", {}),
        ("headph", {"prefix": True}),
        ("ketle", {"typos": True}),
        ("couch", {}),
        ("P-007", {}),
        (str(ROWS[5]["sku"]).lower(), {}),
        ("4000011 ", {}),
    ],
)
def test_words_find_the_same(both: tuple[ServedIndex, ServedIndex], query: str, options: dict[str, bool]) -> None:
    """Documents, order and scores are those of the files; with several alternatives they are added up instead."""
    files, milvus = (best(index, query, **options) for index in both)
    assert [each for each, _ in milvus] == [each for each, _ in files]
    assert files
    assert np.allclose([score for _, score in milvus], [score for _, score in files], atol=1e-4)


def test_several_continuations_find_the_same_documents(both: tuple[ServedIndex, ServedIndex]) -> None:
    """Whatever their order."""
    files, milvus = ({each for each, _ in best(index, "bl", 100, prefix=True)} for index in both)
    assert files == milvus


def test_filters_and_views_hide_exact_values_and_titles(both: tuple[ServedIndex, ServedIndex]) -> None:
    """A document that is not allowed is not first; titles are of documents that a view shows."""
    without = Filter.model_validate({"must_not": [{"field": "id", "eq": "P-005"}]})
    own = Filter.model_validate({"must": [{"field": "brand", "eq": BRAND}]})
    titles = []
    for index in both:
        assert len(index.exact_rows("p-005")) == 1
        assert not len(index.exact_rows("p-005", compile_filter(without, index)))
        assert not len(restrict(without, index).exact_rows(str(ROWS[5]["sku"])))
        titles.append(complete_titles(restrict(own, index), "he", 20))
        assert all(BRAND in title for title in titles[-1])
    assert titles[0] == titles[1]
    assert sorted(complete_titles(both[0], "headph", 20)) == sorted(complete_titles(both[1], "headph", 20))
