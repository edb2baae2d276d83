"""Retriever: the same query always gives the same pages, and both legs score every candidate."""

from __future__ import annotations

import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stories import WORDS

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.index.lexical import search
from indexer.index.terms.words import Words
from indexer.inference.encoder import Encoder
from indexer.retrieval.fusion import Fusion, fuse
from indexer.retrieval.ranking import Hit
from indexer.retrieval.retriever import Retriever

MODES: tuple[Literal["hybrid", "dense", "lexical"], ...] = ("hybrid", "dense", "lexical")
QUERIES = ["the cat in the garden", "king queen castle", "snow", "a sailor on a ship at sea", "slow red bread"]
SAME = "The old ship sails from the castle to the sea."
CANDIDATES = 12


def make(data: Path, documents: dict[str, tuple[str | None, str]], **settings: object) -> Retriever:
    """Build an index of ``documents``, id → title and text, and open it."""
    titles, texts = zip(*documents.values(), strict=True)
    corpus = data / "corpus.parquet"
    pq.write_table(pa.table({"id": list(documents), "title": pa.array(titles, pa.string()), "text": texts}), corpus)
    options = BuildSettings.model_validate({"language": "en", **settings})
    manifest = build(str(corpus), options, data, cores=2).manifest
    return Retriever(Index.open(Store("index", data).path(manifest.id), cores=4))


def make_sentence(rng: random.Random, shortest: int, longest: int) -> str:
    """Return a random sentence of so many words."""
    return " ".join(rng.choices(WORDS, k=rng.randint(shortest, longest))).capitalize() + "."


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Retriever:
    """Return a retriever over 90 short documents, a long one and four copies; few of them are candidates of a leg."""
    data = Path(shutil.copytree(tiny_data, tmp_path_factory.mktemp("retrieval") / "data"))
    rng = random.Random(4)
    documents: dict[str, tuple[str | None, str]] = {
        f"d{number:02}": (rng.choice([None, make_sentence(rng, 1, 3)]), make_sentence(rng, 4, 18))
        for number in rng.sample(range(90), 90)
    }
    documents["long"] = ("The long one", " ".join(make_sentence(rng, 5, 15) for _ in range(60)))
    documents |= dict.fromkeys(("same-3", "same-1", "same-4", "same-2"), (None, SAME))
    return make(data, documents, candidates=CANDIDATES)


@pytest.fixture(scope="module")
def stories(built_data: Path) -> Retriever:
    """Return a retriever over the six stories."""
    return Retriever(Index.open(Store("index", built_data).resolve(), cores=2))


def get_hits(retriever: Retriever, query: str, mode: Literal["hybrid", "dense", "lexical"] = "hybrid") -> list[Hit]:
    """Return all hits of a query."""
    ranking = retriever.search(query, mode)
    return retriever.page(ranking, 0, len(ranking.rows))


def compute_best_cosines(index: Index, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, by brute force, the best cosine of each document and the passage that has it."""
    cosines = index.dense.vectors(np.arange(len(index.dense))) @ unit(vector)
    spans = [range(*index.first_passage[row : row + 2]) for row in range(len(index))]
    best = np.array([span[int(np.argmax(cosines[span.start : span.stop]))] for span in spans])
    return cosines[best], best


# --- the legs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", QUERIES)
def test_dense_is_brute_force(large: Retriever, query: str) -> None:
    """Dense search finds the documents whose best passages are the nearest of all, with their cosines."""
    index = large.index
    expected, _ = compute_best_cosines(index, index.encoder.encode_query(query))
    ranking = large.search(query, "dense")
    assert len(ranking.rows) == CANDIDATES
    assert np.allclose(ranking.scores, expected[ranking.rows], atol=1e-5)
    assert np.allclose(ranking.scores, -np.sort(-expected)[:CANDIDATES], atol=1e-5)


@pytest.mark.parametrize("query", QUERIES)
def test_lexical_is_the_lexical_index(large: Retriever, query: str) -> None:
    """Lexical search gives the documents with terms of the query by BM25, and none without."""
    scores, _ = large.index.lexical.search(query, CANDIDATES)
    ranking = large.search(query, "lexical")
    assert np.allclose(ranking.scores, scores)
    assert np.allclose(large.index.lexical.scores(query, ranking.rows), ranking.scores, rtol=1e-5)
    assert 0 < len(ranking.rows) <= CANDIDATES


@pytest.mark.parametrize("max_hits", [10_000, 0])
@pytest.mark.parametrize("query", QUERIES)
def test_hybrid_has_the_candidates_of_both_legs_scored_by_both(
    large: Retriever, query: str, max_hits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Candidates are the best of either leg, and both legs score all of them.

    That holds if all documents with a term are fetched at once, and if others are scored afterwards.
    """
    monkeypatch.setattr(search, "MAX_HITS_FETCHED", max_hits)
    assert (large.index.lexical.search_all(query) is None) == (max_hits == 0)
    index = large.index
    ranking = large.search(query)
    assert ranking.dense is not None
    assert ranking.lexical is not None
    legs = [set(large.search(query, mode).rows.tolist()) for mode in ("dense", "lexical")]
    assert set(ranking.rows.tolist()) == legs[0] | legs[1]
    assert legs[0] - legs[1]
    assert len(ranking.rows) == len(set(ranking.rows.tolist()))
    expected, _ = compute_best_cosines(index, index.encoder.encode_query(query))
    assert np.allclose(ranking.dense, expected[ranking.rows], atol=1e-5)
    assert np.allclose(ranking.lexical, index.lexical.scores(query, ranking.rows), rtol=1e-5)
    for method in ("convex", "rrf"):
        fusion = Fusion(method=method, dense_weight=0.3)
        fused = large.search(query, fusion=fusion)
        assert fused.dense is not None
        assert fused.lexical is not None
        assert np.allclose(fused.scores, fuse(fusion, fused.dense, fused.lexical).scores)
        assert set(fused.rows.tolist()) == set(ranking.rows.tolist())


def test_number_of_candidates(large: Retriever) -> None:
    """The number of candidates of a leg is that of the index unless another is given."""
    assert len(large.search(QUERIES[0], "dense").rows) == CANDIDATES
    assert len(large.search(QUERIES[0], "dense", candidates=3).rows) == 3
    assert len(large.search(QUERIES[0], "dense", candidates=1000).rows) == len(large.index)


# --- hits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", QUERIES)
def test_every_hit_has_the_scores_of_the_legs(large: Retriever, query: str) -> None:
    """Each hit of hybrid search has score and rank of the dense leg, and of the lexical leg where a term occurs."""
    ranking = large.search(query)
    hits = large.page(ranking, 0, len(ranking.rows))
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert all(one.score >= other.score for one, other in pairwise(hits))
    dense = [hit.dense for hit in hits if hit.dense]
    assert len(dense) == len(hits)
    for leg in (dense, [hit.lexical for hit in hits if hit.lexical]):
        assert min(leg_score.rank for leg_score in leg) == 1
        for leg_score in leg:
            assert leg_score.rank == 1 + sum(other.score > leg_score.score for other in leg)
    terms = set(large.index.lexical.terms(query))
    for hit in hits:
        body = set(large.index.lexical.terms(f"{hit.document.title or ''}\n{hit.document.text}"))
        assert (hit.lexical is not None) == bool(terms & body)


@pytest.mark.parametrize("method", ["convex", "rrf"])
def test_the_parts_of_the_legs_add_up_to_the_score(large: Retriever, method: Literal["convex", "rrf"]) -> None:
    """The parts of a hit are its score minus a constant of all candidates; the smallest part of a leg is 0."""
    ranking = large.search(QUERIES[0], fusion=Fusion(method=method, dense_weight=0.7))
    hits = large.page(ranking, 0, len(ranking.rows))
    parts = [[leg.part for leg in (hit.dense, hit.lexical) if leg and leg.part is not None] for hit in hits]
    assert all(parts)
    constants = [hit.score - sum(of_hit) for hit, of_hit in zip(hits, parts, strict=True)]
    assert np.allclose(constants, constants[0])
    assert min(of_hit[0] for of_hit in parts) == 0
    assert min(min(of_hit) for of_hit in parts) == 0


def test_one_leg_alone_has_no_scores_of_the_other(stories: Retriever) -> None:
    """A hit of dense search has no lexical score, and the other way round."""
    assert all(hit.dense and hit.lexical is None for hit in get_hits(stories, "the dog", "dense"))
    assert all(hit.dense and hit.dense.part is None for hit in get_hits(stories, "the dog", "dense"))
    assert all(hit.lexical and hit.dense is None for hit in get_hits(stories, "the dog", "lexical"))
    assert [hit.rank for hit in get_hits(stories, "the dog", "lexical")] == [1, 2]


@pytest.mark.parametrize("query", QUERIES)
def test_all_the_weight_on_one_leg(large: Retriever, query: str) -> None:
    """With weight 1 candidates come in the order of their cosines; with 0 those with terms in the order of BM25."""
    dense = large.search(query, fusion=Fusion(dense_weight=1))
    assert dense.dense is not None
    assert (np.diff(dense.dense) <= 1e-7).all()
    alone = large.search(query, "dense").rows
    assert dense.rows[np.isin(dense.rows, alone)].tolist() == alone.tolist()
    lexical = large.search(query, fusion=Fusion(dense_weight=0))
    assert lexical.lexical is not None
    assert (np.diff(lexical.lexical) <= 1e-6).all()
    alone = large.search(query, "lexical").rows
    assert lexical.rows[: len(alone)].tolist() == alone.tolist()


@pytest.mark.parametrize("mode", MODES)
def test_ties_are_broken_by_id(large: Retriever, mode: Literal["hybrid", "dense", "lexical"]) -> None:
    """Documents with the same text come in the order of their ids, whatever their order in the corpus."""
    for fusion in (Fusion(), Fusion(method="rrf")):
        ranking = large.search(SAME, mode, fusion)
        ids = [hit.document.id for hit in large.page(ranking, 0, len(ranking.rows))]
        assert ids[:4] == ["same-1", "same-2", "same-3", "same-4"]
        assert len(set(ranking.scores[:4].tolist())) == 1


def test_hits_have_title_and_metadata(stories: Retriever) -> None:
    """A hit holds its document as it was indexed: title or none, text, and metadata with their types."""
    by_id = {hit.document.id: hit.document for hit in get_hits(stories, "the garden", "dense")}
    assert by_id["a"].title == "The cat"
    assert by_id["d"].title is None
    assert by_id["b"].metadata == {"price": 2.0, "rooms": 2, "tags": ["pet", "water"]}
    assert by_id["d"].metadata == {"price": 4.0, "rooms": 4, "tags": None}
    assert by_id["c"].text.startswith("The sailor is on the ship")


# --- pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1, 5, 7, 1000])
def test_pages_are_pieces_of_one_ranking(
    large: Retriever, mode: Literal["hybrid", "dense", "lexical"], size: int
) -> None:
    """Successive pages repeat no document and lose none."""
    hits = get_hits(large, QUERIES[0], mode)
    pages = [hit for at in range(0, len(hits), size) for hit in large.page(large.search(QUERIES[0], mode), at, size)]
    assert pages == hits
    assert len({hit.document.id for hit in pages}) == len(pages) > 3
    assert large.page(large.search(QUERIES[0], mode), len(hits), size) == []


def test_a_long_document_appears_once_with_its_best_passage(large: Retriever) -> None:
    """A document of many passages is one hit, and shows the passage that is nearest to the query."""
    index = large.index
    row = index.row_of("long")
    assert row is not None
    first, last = index.first_passage[row : row + 2]
    assert last - first > 10
    text = index.document(row).text
    for passage in range(first, last, 4):
        start, end = index.passage_offsets(passage)
        query = f"The long one {text[start:end]}"
        [hit] = [hit for hit in get_hits(large, query) if hit.document.id == "long"]
        _, best = compute_best_cosines(index, index.encoder.encode_query(query))
        start, end = index.passage_offsets(int(best[row]))
        assert hit.passage == text[start:end].strip()
        assert hit.passage != text


def test_lexical_search_shows_the_passage_with_the_terms(data: Path) -> None:
    """Without a vector, the passage with most terms of the query is shown."""
    sentences = ["The young dog runs in the green garden by the house."] * 30
    sentences[17] = "The queen sleeps in the castle."
    retriever = make(data, {"x": (None, " ".join(sentences)), "y": (None, "snow")})
    [hit] = get_hits(retriever, "sleeping queens", "lexical")
    assert "The queen sleeps" in hit.passage
    assert len(hit.passage) < 300


def test_pages_are_full(data: Path) -> None:
    """A document that has most of the passages does not crowd out others: a page is full as long as there are any."""
    rng = random.Random(6)
    queries = [*QUERIES, "the cat"]
    documents: dict[str, tuple[str | None, str]] = {
        "long": (None, " ".join(f"{query} {make_sentence(rng, 2, 4)}" for _ in range(40) for query in queries)),
        **{f"d{number}": (None, make_sentence(rng, 4, 9)) for number in range(7)},
    }
    retriever = make(data, documents)
    assert retriever.index.manifest.counts["passages"] > 60
    for mode in ("dense", "hybrid"):
        for query in queries:
            for top_k in (1, 3, 8, 50):
                page = retriever.page(retriever.search(query, mode, candidates=top_k), 0, top_k)
                assert len({hit.document.id for hit in page}) == len(page) == min(top_k, 8)


@pytest.mark.parametrize("query", ["", " ", "?!", "the of", "x" * 20_000, "🙂", "\x00"])
def test_queries_without_terms(stories: Retriever, query: str) -> None:
    """A query without terms still has its nearest documents, and no lexical hit."""
    assert len(get_hits(stories, query, "dense")) == 6
    fused = get_hits(stories, query)
    assert len(fused) == 6
    assert all(np.isfinite(hit.score) and hit.lexical is None for hit in fused)
    assert get_hits(stories, query, "lexical") == []


def test_stages_are_timed(stories: Retriever) -> None:
    """A ranking has the milliseconds of each stage."""
    ranking = stories.search("the cat")
    stories.page(ranking, 0, 3)
    assert ranking.timings.keys() == {"encode", "dense", "lexical", "fuse", "fetch"}
    assert all(0 < milliseconds < 10_000 for milliseconds in ranking.timings.values())


@pytest.mark.parametrize("fetched", [0, search.MAX_HITS_FETCHED])
def test_a_query_is_analysed_once(large: Retriever, monkeypatch: pytest.MonkeyPatch, fetched: int) -> None:
    """Both searches of the lexical leg, the scores of others' candidates and the query's weight share its terms."""
    monkeypatch.setattr(search, "MAX_HITS_FETCHED", fetched)
    analysed: list[str] = []
    terms = Words.terms
    monkeypatch.setattr(Words, "terms", lambda self, text: analysed.append(text) or terms(self, text))
    ranking = large.search(QUERIES[0])
    assert len(ranking.rows) > CANDIDATES
    assert analysed == [QUERIES[0]]


def test_lexical_search_needs_no_encoder(stories: Retriever, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lexical search does not encode the query."""

    def encode_query(_: Encoder, query: str) -> None:
        raise AssertionError(query)

    monkeypatch.setattr(Encoder, "encode_query", encode_query)
    assert [hit.document.id for hit in get_hits(stories, "queen", "lexical")] == ["d"]
    with pytest.raises(AssertionError, match="queen"):
        stories.search("queen", "dense")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("query", QUERIES)
def test_a_given_vector(
    large: Retriever, query: str, mode: Literal["hybrid", "dense", "lexical"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search with the query's vector gives the result of one that encodes the query, and does not encode it."""
    expected = large.search(query, mode)
    vector = large.index.encoder.encode_query(query)
    monkeypatch.setattr(Encoder, "encode_query", None)
    for scale in (1, 3):  # the length of a vector does not matter
        given = large.search(query, mode, vector=scale * vector)
        assert given.rows.tolist() == expected.rows.tolist()
        assert np.allclose(given.scores, expected.scores, atol=1e-5)
    assert (given.vector is None) == (mode == "lexical")


@pytest.mark.parametrize("candidates", [None, 3, 1000])
def test_neighbours_of_many_queries_at_once(large: Retriever, candidates: int | None) -> None:
    """Neighbours that evaluation searches for many queries at once are those of each query alone."""
    vectors = large.index.encoder.encode_queries(QUERIES)
    for query, vector, near in zip(QUERIES, vectors, large.nearest(vectors, candidates), strict=True):
        alone = large.search(query, candidates=candidates, vector=vector)
        together = large.search(query, candidates=candidates, vector=vector, neighbours=near)
        assert together.rows.tolist() == alone.rows.tolist()
        assert together.scores == pytest.approx(alone.scores, abs=1e-5)


def test_a_vector_decides(large: Retriever) -> None:
    """Dense search uses the given vector and not the words of the query."""
    other = large.search("snow", "dense")
    assert large.search("king queen castle", "dense", vector=other.vector).rows.tolist() == other.rows.tolist()
    assert large.search("king queen castle", "dense").rows.tolist() != other.rows.tolist()


# --- similar documents ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["long", "d07", "same-2"])
@pytest.mark.parametrize("count", [1, 10, 1000])
def test_similar_is_brute_force(large: Retriever, name: str, count: int) -> None:
    """Similar documents are those with the closest pair of passages, best first, the document itself left out."""
    index = large.index
    row = index.row_of(name)
    assert row is not None
    vectors = index.dense.vectors(np.arange(*index.first_passage[row : row + 2]))
    cosines = (index.dense.vectors(np.arange(len(index.dense))) @ vectors.T).max(axis=1)
    expected = np.maximum.reduceat(cosines, index.first_passage[:-1])
    others = np.delete(np.arange(len(index)), row)
    ranking = large.similar(row, count)
    assert row not in ranking.rows
    assert len(set(ranking.rows.tolist())) == len(ranking.rows) == min(count, len(others))
    assert np.allclose(ranking.scores, expected[ranking.rows], atol=1e-5)
    assert np.allclose(ranking.scores, -np.sort(-expected[others])[:count], atol=1e-5)
    hits = large.page(ranking, 0, count)
    assert all(hit.dense and hit.lexical is None for hit in hits)


def test_similar_copies_come_first_by_id(large: Retriever) -> None:
    """Copies of a document are the most similar ones, in the order of their ids."""
    row = large.index.row_of("same-2")
    assert row is not None
    hits = large.page(large.similar(row, 5), 0, 5)
    assert [hit.document.id for hit in hits[:3]] == ["same-1", "same-3", "same-4"]
    assert hits[0].score == pytest.approx(1, abs=1e-5)
    assert hits[3].score < 0.9999


def test_similar_in_a_corpus_of_one(data: Path) -> None:
    """The only document has no similar ones, and every query has that document as its only hit."""
    retriever = make(data, {"only": (None, "The cat sits in the garden.")})
    assert retriever.page(retriever.similar(0, 10), 0, 10) == []
    for mode in MODES:
        assert [hit.document.id for hit in get_hits(retriever, "cat", mode)] == ["only"]


# --- threads --------------------------------------------------------------------------------------------------------


def test_from_eight_threads(large: Retriever) -> None:
    """Queries of all modes from several threads at once get the same pages as from a single one."""
    questions = [(query, mode) for query in [*QUERIES, *WORDS[:20]] for mode in MODES] * 4
    alone = [[hit.document.id for hit in get_hits(large, query, mode)] for query, mode in questions]
    with ThreadPoolExecutor(8) as threads:
        together = list(
            threads.map(lambda question: [hit.document.id for hit in get_hits(large, *question)], questions)
        )
    assert together == alone


def test_a_long_document_does_not_crowd_out_others_that_are_allowed(large: Retriever) -> None:
    """Under a filter too, passages are read until there are enough documents, however long one of them is."""
    index = large.index
    row = index.row_of("long")
    assert row is not None
    mask = np.zeros(len(index), dtype=np.bool_)
    mask[[row, *range(30)]] = True
    allowed = index.allowed(mask)
    vectors = index.dense.vectors(np.arange(*index.first_passage[row : row + 2]))
    for vector in [*vectors, vectors.mean(axis=0)]:
        expected, _ = compute_best_cosines(index, vector)
        ranking = large.search("", "dense", candidates=3, vector=vector, allowed=allowed)
        assert len(ranking.rows) == 3
        assert np.allclose(ranking.scores, -np.sort(-expected[mask])[:3], atol=1e-5)
