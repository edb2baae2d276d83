"""One contract of stores: the same requests have the same answers from files and from Milvus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stories import WORDS

from indexer.artifacts.store import Store
from indexer.errors import NotSupported
from indexer.filters.evaluate import compile_filter, restrict
from indexer.filters.facets import FacetRequest, count_facet
from indexer.filters.fields import UnknownField, WrongType
from indexer.filters.filter import Filter
from indexer.index.index import Index
from indexer.index.served import ServedIndex
from indexer.milvus.index import MilvusIndex
from indexer.milvus.open import open_index
from indexer.milvus.settings import StoreSettings
from indexer.retrieval.diversity import centroids
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.retriever import Retriever
from indexer.retrieval.spelling import suggestion

MODES = ("hybrid", "dense", "lexical")
QUERIES = [
    "castle garden",
    "the cat",
    "of the",
    "gardens",
    "qwxz",
    *(" ".join(WORDS[n : n + 4]) for n in range(14, 66, 4)),
]
FILTERS = [
    {},
    {"must": [{"field": "rooms", "eq": 3}]},
    {"must": [{"field": "rooms", "eq": 3.5}]},
    {"must": [{"field": "rooms", "in": [1, 2, 99999999999]}]},
    {"must_not": [{"field": "price", "gte": 10}]},
    {"must": [{"field": "price", "gte": 1e-5, "lt": 20.25}]},
    {"must": [{"field": "price", "exists": False}]},
    {"must": [{"field": "kind", "eq": 'a "quoted" \\ name'}]},
    {"must": [{"field": "kind", "eq": 'house" or number >= 0 or kind == "'}]},
    {"must_not": [{"field": "kind", "eq": "house"}, {"field": "sold", "eq": True}]},
    {"must": [{"field": "kind", "in": ["sn\now", "ship"]}]},
    {"must": [{"field": "kind", "prefix": "ca"}]},
    {"must": [{"field": "kind", "prefix": ""}]},
    {"must": [{"field": "kind", "gte": "house", "lt": "shiq"}]},
    {
        "should": [{"field": "sold", "eq": False}, {"field": "rooms", "lte": -5}],
        "must": [{"field": "rooms", "gt": 1.5}],
    },
    {"must": [{"field": "when", "lt": "2026-01-03T12:30:00Z"}]},
    {"must": [{"field": "day", "gte": "2026-01-15", "lte": "2026-01-15T23:00:00"}]},
    {"must": [{"field": "cost", "gte": 1.234, "lt": 3}]},
    {"must": [{"field": "cost", "eq": "1.25"}]},
    {"must": [{"field": "tags", "eq": "pet"}], "must_not": [{"field": "tags", "in": ["water", "cold"]}]},
    {"must": [{"field": "tags", "exists": False}]},
    {"must": [{"field": "size.unit", "eq": "km"}, {"must": [], "should": [{"field": "size.height", "gte": 5}]}]},
    {"must": [{"field": "id", "in": ["d037", 'odd "id" \\9 ü', "nobody"]}]},
    {"must": [{"field": "id", "prefix": "odd"}]},
    {"must": [{"field": "lon", "eq": 10}]},
    {"must": [{"field": "rooms", "gte": 10**30}]},
]


@pytest.fixture(scope="module")
def files_index(stored_data: Path) -> Index:
    """The index in files."""
    return Index.open(Store("index", stored_data).resolve())


@pytest.fixture(scope="module")
def milvus_index(stored_data: Path, published: StoreSettings) -> MilvusIndex:
    """The same index in Milvus."""
    return open_index(published, stored_data)


@pytest.fixture(params=["files", "milvus"])
def index(request: pytest.FixtureRequest) -> ServedIndex:
    """The corpus in each store."""
    return request.getfixturevalue(f"{request.param}_index")


def ids(index: ServedIndex, rows: np.ndarray) -> list[str]:
    """Return the ids of documents."""
    return [document.id for document in index.documents(rows)]


def assert_same_order(files_index: ServedIndex, files: Ranking, milvus_index: ServedIndex, milvus: Ranking) -> None:
    """Fail unless both rank the same documents alike; scores that differ by rounding alone may change places."""
    assert np.allclose(milvus.scores, files.scores, atol=1e-5)
    scores = dict(zip(ids(files_index, files.rows), files.scores.tolist(), strict=True))
    found = ids(milvus_index, milvus.rows)
    assert sorted(found) == sorted(scores)
    assert np.allclose([scores[each] for each in found], files.scores, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_a_query_has_the_same_answer(files_index, milvus_index, mode):
    """Documents, their order, passages and scores are those of the files, in each mode."""
    files, milvus = Retriever(files_index), Retriever(milvus_index)
    for query in QUERIES:
        expected, found = (each.page(each.search(query, mode), 0, 10) for each in (files, milvus))
        assert [hit.document.id for hit in found] == [hit.document.id for hit in expected], query
        assert [hit.passage for hit in found] == [hit.passage for hit in expected], query
        assert np.allclose([hit.score for hit in found], [hit.score for hit in expected], atol=1e-5), query


@pytest.mark.parametrize("mode", MODES)
def test_a_result_has_the_same_relevance(files_index, milvus_index, mode):
    """The calibration that the build has made judges the results of both stores alike."""
    files, milvus = Retriever(files_index), Retriever(milvus_index)
    assert files.calibration == milvus.calibration is not None
    for query in QUERIES:
        expected, found = files.search(query, mode), milvus.search(query, mode)
        files.judge(expected, mode)
        milvus.judge(found, mode)
        assert found.relevance == pytest.approx(expected.relevance, abs=2e-4), query


@pytest.mark.parametrize("condition", FILTERS, ids=str)
def test_a_filter_lets_the_same_documents_pass(files_index, milvus_index, condition):
    """The same filter passes the same documents, whatever its values are, and all of them are found."""
    filter_ = Filter.model_validate(condition)
    expected, allowed = compile_filter(filter_, files_index), compile_filter(filter_, milvus_index)
    assert allowed.count == expected.count
    for mode in MODES:
        files = Retriever(files_index).search("castle garden", mode, candidates=150, allowed=expected)
        milvus = Retriever(milvus_index).search("castle garden", mode, candidates=150, allowed=allowed)
        assert_same_order(files_index, files, milvus_index, milvus)
        assert mode != "dense" or len(milvus.rows) == expected.count


def test_what_does_not_fit_is_refused_in_the_same_words(files_index, milvus_index):
    """An unknown field and a wrong type are the request's errors in every store."""
    for condition, error in (({"field": "nobody", "eq": 1}, UnknownField), ({"field": "rooms", "eq": "x"}, WrongType)):
        filter_ = Filter.model_validate({"must": [condition]})
        with pytest.raises(error) as expected:
            compile_filter(filter_, files_index)
        with pytest.raises(error) as found:
            compile_filter(filter_, milvus_index)
        assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    "condition",
    [
        {"latitude": "lat", "longitude": "lon", "within": {"lat": 41, "lon": 10, "km": 100}},
        {"field": "tags", "gte": "a"},
        {"field": "tags", "prefix": "p"},
    ],
    ids=str,
)
def test_what_milvus_does_not_do_is_said(milvus_index, condition):
    """A condition that the store has not is refused, and not answered by other documents."""
    with pytest.raises(NotSupported, match="Milvus as a store"):
        compile_filter(Filter.model_validate({"must": [condition]}), milvus_index)


@pytest.mark.parametrize("field", ["rooms", "kind", "sold", "when", "day", "cost", "tags", "price", "size.unit", "id"])
def test_a_facet_has_the_same_counts(files_index, milvus_index, field):
    """Values, missing ones and extremes are counted alike."""
    filter_ = Filter.model_validate({"must": [{"field": "rooms", "lt": 4}]})
    request = FacetRequest(field=field, limit=20)
    facets = [count_facet(request, each, compile_filter(filter_, each)) for each in (files_index, milvus_index)]
    assert facets[1] == facets[0]


def test_ranges_of_a_facet(files_index, milvus_index):
    """Ranges are counted alike."""
    request = FacetRequest.model_validate({"field": "price", "ranges": [{"gte": 1, "lt": 10}, {"gte": 10}]})
    facets = [count_facet(request, each, compile_filter(Filter(), each)) for each in (files_index, milvus_index)]
    assert facets[1] == facets[0]


def test_documents_come_back_as_they_are(files_index, milvus_index):
    """Every document has its title, text and metadata, with their types, and its passages."""
    for row in range(len(files_index)):
        document = files_index.document(row)
        number = milvus_index.row_of(document.id)
        found = milvus_index.document(number)
        assert repr(found) == repr(document)  # NaN is NaN
        (passages,) = milvus_index.passages_of_documents(np.array([number]))
        (expected,) = files_index.passages_of_documents(np.array([row]))
        assert milvus_index.offsets(passages) == files_index.offsets(expected)


def test_an_unknown_id_has_no_row(index):
    """An id that is not there is not found."""
    assert index.row_of("nobody") is None


def test_similar_documents(files_index, milvus_index):
    """Documents similar to one, and mean vectors, are the same."""
    for name in ("d037", "d100", 'odd "id" \\9 ü'):
        rankings = [Retriever(each).similar(each.row_of(name), 10) for each in (files_index, milvus_index)]
        assert ids(milvus_index, rankings[1].rows) == ids(files_index, rankings[0].rows)
        means = [centroids(each, np.array([each.row_of(name)])) for each in (files_index, milvus_index)]
        assert np.allclose(means[0], means[1], atol=1e-6)


def test_many_vectors_at_once(index):
    """Neighbours of many vectors are those of each."""
    retriever = Retriever(index)
    vectors = index.encoder.encode_queries(QUERIES[:4])
    for vector, (rows, cosines, passages) in zip(vectors, retriever.nearest(vectors), strict=True):
        expected = index.nearest_documents(vector, index.candidates)
        assert np.array_equal(rows, expected[0])
        assert np.allclose(cosines, expected[1], atol=1e-6)
        assert np.array_equal(passages, expected[2])


def test_a_view_holds_only_its_documents(files_index, milvus_index):
    """For a key with a filter, other documents do not exist."""
    view_filter = Filter.model_validate({"must": [{"field": "kind", "eq": "house"}]})
    views = [restrict(view_filter, each) for each in (files_index, milvus_index)]
    assert len(views[0]) == len(views[1]) > 0
    assert views[0].passages == views[1].passages
    outside = next(each for each in map(files_index.document, range(100)) if each.metadata["kind"] != "house")
    assert views[1].row_of(outside.id) is None
    assert views[1].first_document().metadata["kind"] == "house"
    inner = Filter.model_validate({"must": [{"field": "rooms", "lt": 3}]})
    assert compile_filter(inner, views[1]).count == compile_filter(inner, views[0]).count
    for mode in ("dense", "lexical"):
        found = [Retriever(each).search("castle garden", mode) for each in views]
        assert ids(views[1], found[1].rows) == ids(views[0], found[0].rows)


def test_spelling_and_highlights(files_index, milvus_index):
    """Corrections of misspelt words, and marked words, are the same."""
    for query in ("casle", "gardn horse", "qwxzqwxz"):
        assert suggestion(query, milvus_index.lexical) == suggestion(query, files_index.lexical)
    texts = ["The gardens of the castle", "nothing"]
    assert milvus_index.lexical.spans("garden castle", texts) == files_index.lexical.spans("garden castle", texts)


def test_facts(files_index, milvus_index):
    """What is said of the index is the same."""
    for name in ("generation", "candidates", "schema", "metadata_types", "scalar_columns", "columns", "passages"):
        assert getattr(milvus_index, name) == getattr(files_index, name)
    assert len(milvus_index) == len(files_index)
