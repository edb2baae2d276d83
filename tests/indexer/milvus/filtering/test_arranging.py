"""Sorting, browsing, boosts and facets over results have the same answers from files and from Milvus, or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from indexer.artifacts.store import Store
from indexer.errors import NotSupported
from indexer.filters.evaluate import compile_filter
from indexer.filters.facets import FacetRequest, count_facet
from indexer.filters.filter import Filter
from indexer.filters.found import documents_found
from indexer.filters.grouping import first_of_groups
from indexer.filters.ordering import passing, rows_of, sorted_positions
from indexer.filters.sort import Point, SortByDistance, SortByField
from indexer.index.index import Index
from indexer.index.served import ServedIndex
from indexer.milvus import lexical
from indexer.milvus.filtering import arranging
from indexer.milvus.index import MilvusIndex
from indexer.milvus.open import open_index
from indexer.milvus.settings import StoreSettings
from indexer.retrieval.retriever import Retriever

BY_ID = SortByField(field="id")
PASSES = Filter.model_validate({"must": [{"field": "rooms", "gte": 2}]})


@pytest.fixture(scope="module")
def files(stored_data: Path) -> Index:
    """The index in files."""
    return Index.open(Store("index", stored_data).resolve())


@pytest.fixture(scope="module")
def milvus(stored_data: Path, published: StoreSettings) -> MilvusIndex:
    """The same index in Milvus."""
    return open_index(published, stored_data)


def browse(index: ServedIndex, sort: list[SortByField | SortByDistance], condition: Filter) -> list[str]:
    """The ids of the documents that pass, in the order of the keys."""
    rows = rows_of(compile_filter(condition, index), index)
    rows = np.arange(len(index)) if rows is None else rows
    ordered = rows[sorted_positions(sort, index, rows, len(rows))]
    return [document.id for document in index.documents(ordered)]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("field", ["price", "rooms", "kind", "sold", "when", "day", "cost", "size.unit", "id"])
def test_documents_are_sorted_alike(files, milvus, field, order):
    """Every kind of field that Milvus holds sorts as in files, missing ones last; ids decide among equal ones here."""
    sort = [SortByField(field=field, order=order), BY_ID]
    assert browse(milvus, sort, PASSES) == browse(files, sort, PASSES)


def test_distances_and_groups(files, milvus):
    """Distances from a point sort alike, and the first documents of each value are the same."""
    sort = [SortByDistance(latitude="lat", longitude="lon", near=Point(lat=45, lon=9)), BY_ID]
    assert browse(milvus, sort, Filter()) == browse(files, sort, Filter())
    kept = []
    for index in (files, milvus):
        rows = np.array([index.row_of(name) for name in browse(index, sort, PASSES)])
        kept.append([document.id for document in index.documents(first_of_groups(rows, "kind", 2, index))])
    assert kept[0] == kept[1]


def test_filters_of_candidates_and_what_is_found(files, milvus):
    """Of the candidates the same pass a filter, and facets over results count the same documents."""
    answers = []
    for index in (files, milvus):
        ranking = Retriever(index).search("castle garden", candidates=20)
        passes = passing(PASSES, index, ranking.rows)
        names = [document.id for document in index.documents(ranking.rows[passes])]
        allowed = compile_filter(PASSES, index)
        found = documents_found(index, ranking.rows[passes], ranking.expanded.terms, allowed)
        facet = count_facet(FacetRequest(field="kind"), index, found)
        answers.append((sorted(names), found.count, facet))
    assert answers[0] == answers[1]
    assert 20 < answers[0][1] < len(files)


def test_what_milvus_cannot_do_is_said(milvus, monkeypatch):
    """A field that it does not hold, and more documents than it returns, are refused, not answered by a part of them."""
    with pytest.raises(NotSupported, match="neither sort nor group by it"):
        arranging.values_of(
            "kind", np.array([1]), milvus.columns, {}, collection=milvus.names.documents, engine=milvus.engine
        )
    monkeypatch.setattr(arranging, "MAX_HITS", 20)
    monkeypatch.setattr(lexical, "MAX_HITS", 20)
    with pytest.raises(NotSupported, match="lists 20 documents at most without a query, and 150 pass"):
        browse(milvus, [BY_ID], Filter())
    ranking = Retriever(milvus).search("castle garden", "lexical", candidates=5)
    with pytest.raises(NotSupported, match="count over all documents"):
        documents_found(milvus, ranking.rows, ranking.expanded.terms, None)
