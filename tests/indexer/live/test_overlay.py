"""Overlay: both legs find live documents, and none that was replaced or deleted."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stories import WORDS

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.filters.evaluate import compile_filter
from indexer.filters.facets import FacetRequest, count_facet
from indexer.filters.filter import Filter
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.index.served import Document
from indexer.inference.encoder import Vectors
from indexer.live.bm25 import quantised_length
from indexer.live.overlay import LiveIndex
from indexer.live.prepare import NewDocument, Preparer, apply_writes
from indexer.live.write import Write
from indexer.retrieval.ranking import Mode
from indexer.retrieval.retriever import Retriever

MODES: tuple[Mode, ...] = ("dense", "lexical", "hybrid")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Index:
    """Return an index of 200 random texts, some of them of several passages."""
    import shutil

    data = tmp_path_factory.mktemp("overlay") / "data"
    shutil.copytree(tiny_data, data)
    rng = random.Random(3)
    columns = {
        "id": [f"doc-{number:03}" for number in range(200)],
        "title": [rng.choice(WORDS) for _ in range(200)],
        "text": [prose(rng) for _ in range(200)],
        "price": list(range(200)),
    }
    pq.write_table(pa.table(columns), data / "corpus.parquet")
    build(str(data / "corpus.parquet"), BuildSettings(language="en"), data)
    return Index.open(Store("index", data).resolve())


def prose(rng: random.Random) -> str:
    """Return a text of 3 to 300 known words."""
    return " ".join(rng.choices(WORDS, k=rng.choice([3, 20, 60, 300])))


def put(index: Index, *documents: NewDocument, deleted: tuple[str, ...] = ()) -> Index:
    """Return the index after one more write."""
    preparer = Preparer(index)
    sequence = index.overlay.sequence + 1 if isinstance(index, LiveIndex) else 1
    return apply_writes(index, [Write(sequence, preparer.recipe, tuple(preparer.prepare(documents)), deleted, "now")])


def scores(index: Index, query: str, mode: Mode) -> dict[str, float]:
    """Return the score of every document that a query finds."""
    ranking = Retriever(index).search(query, mode, candidates=10_000)
    names = [index.document(int(row)).id for row in ranking.rows]
    assert len(set(names)) == len(names)
    return dict(zip(names, ranking.scores.tolist(), strict=True))


def test_lengths_are_as_coarse_as_those_of_the_index() -> None:
    """A byte can hold these lengths: all up to 40, then steps whose size doubles after every eight."""
    kept = list(range(24)) + [24 + (step if step < 8 else (8 | step & 7) << (step >> 3) - 1) for step in range(232)]
    for length in [*range(2_000), 4_095, 4_096, 100_000]:
        assert quantised_length(length) == max(value for value in kept if value <= length)


@pytest.mark.parametrize("mode", ["dense", "lexical"])
def test_a_copy_scores_as_the_indexed_document(large: Index, mode: Mode) -> None:
    """A live document with title and text of an indexed one gets its score: both parts have the same scale."""
    originals = [large.document(row) for row in range(0, 200, 5)]
    index = put(large, *(NewDocument(f"copy of {copied.id}", copied.title, copied.text, {}) for copied in originals))
    compared = 0
    for query in ("the cat sleeps in the garden", "king", "old red house by the river", "running dogs and running"):
        after = scores(index, query, mode)
        before = scores(large, query, mode)
        for original in originals:
            if original.id in before:
                assert after[f"copy of {original.id}"] == pytest.approx(before[original.id], abs=2e-6)
                compared += 1
    assert compared > 60


def test_random_writes_match_a_plain_scan(large: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any sequence of writes each leg finds exactly the current documents, with the scores of a plain scan.

    Old snapshots answer as before: a later write changes nothing in them.
    """
    monkeypatch.setattr("indexer.live.overlay.MIN_OBSOLETE", 5)
    rng = random.Random(11)
    index = large
    documents = {document.id: document for document in map(large.document, range(200))}
    vectors = encode_again(large, list(documents.values()))
    names = [*documents, *(f"new-{number}" for number in range(30)), "a", "zz", "doc-0505", "ß"]
    before: list[tuple[Index, dict[str, float]]] = []
    for _ in range(15):
        written = rng.sample(names, rng.randint(1, 12))
        sent = [NewDocument(name, rng.choice([None, "king"]), prose(rng), {"price": 7}) for name in written[::2]]
        index = put(index, *sent, deleted=tuple(written[1::2]))
        for name in written[1::2]:
            documents.pop(name, None)
        documents |= {new.id: Document(new.id, new.title, new.text, new.metadata) for new in sent}
        vectors |= encode_again(index, [documents[new.id] for new in sent])
        query = " ".join(rng.choices(WORDS, k=3))
        by_mode = {mode: scores(index, query, mode) for mode in MODES}
        assert by_mode["dense"] == pytest.approx(
            {name: float((vectors[name] @ unit(index.encoder.encode_query(query))).max()) for name in documents},
            abs=1e-5,
        )
        assert by_mode["lexical"].keys() == {
            name for name, document in documents.items() if shares_a_word(index, query, document)
        }
        assert by_mode["hybrid"].keys() == documents.keys()
        assert len(index) == len(documents)
        before.append((index, by_mode["dense"]))
        assert scores(before[0][0], "cat", "lexical") == scores(before[0][0], "cat", "lexical")
    for name in names:
        row = index.row_of(name)
        assert (None if row is None else index.document(row)) == documents.get(name)
    assert isinstance(index, LiveIndex)
    assert len(index.overlay.versions) < 200
    for old, dense in before[::10]:
        assert len(scores(old, "cat", "dense")) == len(dense)


def encode_again(index: Index, documents: list[Document]) -> dict[str, Vectors]:
    """Return the vectors of the passages of each document, encoded again."""
    sent = [NewDocument(document.id, document.title, document.text, {}) for document in documents]
    return {document.id: unit(document.vectors) for document in Preparer(index).prepare(sent)}


def shares_a_word(index: Index, query: str, document: Document) -> bool:
    """Say whether a document holds a term of the query."""
    return bool({*index.lexical.terms(query)} & {*index.lexical.terms(f"{document.title or ''}\n{document.text}")})


def test_ties_are_in_the_order_of_the_ids(large: Index) -> None:
    """Documents with the same text come in the order of their ids, in whichever part they are."""
    index = put(large, *(NewDocument(name, None, "sword and ship", {}) for name in ("doc-0505", "a", "zz", "doc-050x")))
    index = put(index, NewDocument("doc-010", None, "sword and ship", {}), NewDocument("b", None, "sword and ship", {}))
    same = ["a", "b", "doc-010", "doc-0505", "doc-050x", "zz"]
    assert [name for name in scores(index, "sword and ship", "lexical") if name in same] == same


def test_filters_hold_for_both_parts(large: Index) -> None:
    """A mask covers the rows of both parts; deleted documents are never in it."""
    index = put(large, *(NewDocument(f"new-{n}", None, prose(random.Random(n)), {"price": n}) for n in range(50)))
    index = put(index, NewDocument("doc-003", None, "the cat", {"price": 500}), deleted=("doc-004", "new-5"))
    prices = index.column("price").to_numpy(zero_copy_only=False)
    for limit in (1, 10, 60, 1_000):
        allowed = index.allowed(prices < limit)
        expected = {f"doc-{n:03}" for n in range(min(limit, 200)) if n not in (3, 4)}
        expected |= {f"new-{n}" for n in range(min(limit, 50)) if n != 5} | ({"doc-003"} if limit > 500 else set())
        ranking = Retriever(index).search("the cat", "hybrid", candidates=10_000, allowed=allowed)
        assert {index.document(int(row)).id for row in ranking.rows} == expected
        few = Retriever(index).search("the cat", "dense", candidates=7, allowed=allowed)
        assert len(few.rows) == min(7, len(expected))


def test_everything_can_be_deleted(large: Index) -> None:
    """An index whose documents were all deleted finds nothing, and accepts new ones."""
    index = put(large, deleted=tuple(f"doc-{n:03}" for n in range(200)))
    assert [scores(index, "cat", mode) for mode in MODES] == [{}, {}, {}]
    index = put(index, NewDocument("one", None, "the cat", {}))
    assert [list(scores(index, "cat", mode)) for mode in MODES] == [["one"], ["one"], ["one"]]


def test_similar_documents_come_from_both_parts(large: Index) -> None:
    """Similar documents of a live document are found in the index, and the other way round."""
    original = large.document(40)
    index = put(large, NewDocument("copy", original.title, original.text, {}))
    for row, nearest in ((40, "copy"), (index.row_of("copy"), original.id)):
        ranking = Retriever(index).similar(row, 3)
        assert index.document(int(ranking.rows[0])).id == nearest
        assert ranking.scores[0] == pytest.approx(1, abs=1e-5)


def test_a_page_shows_the_best_passage_of_a_live_document(large: Index) -> None:
    """A long live document is split like any other, and a hit shows its best passage."""
    text = " ".join(["Snow in winter." for _ in range(30)]) + " The king has a sword. " + "Rain on the street. " * 30
    index = put(large, NewDocument("long", "A long one", text, {"price": 3}))
    ranking = Retriever(index).search("king sword", "lexical")
    (hit,) = [hit for hit in Retriever(index).page(ranking, 0, 300) if hit.document.id == "long"]
    assert "The king has a sword." in hit.passage
    assert len(hit.passage) < len(text) / 3
    assert hit.document.metadata == {"price": 3}


def test_vectors_and_scores_of_both_parts(large: Index) -> None:
    """Every passage, indexed or live, is scored by the cosine of its own vector."""
    index = put(large, NewDocument("new", "The cat", prose(random.Random(5)), {}), deleted=("doc-001",))
    query = large.encoder.encode_query("the cat in the garden")
    rows = np.arange(len(index.dense))[::-1]
    assert len(rows) > len(large.dense)
    assert np.allclose(index.dense.scores(query, rows), index.dense.vectors(rows) @ unit(query), atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_filters_and_facets_see_live_documents(large: Index, mode: Mode) -> None:
    """Live documents are filtered by their own metadata; replaced and deleted ones neither pass nor are counted."""
    index = put(
        large,
        NewDocument("doc-003", None, "the cat and the dog", {"price": 1_000}),
        NewDocument("new", None, "the cat in the garden", {"price": 1_000}),
        deleted=("doc-004",),
    )

    def count_and_search(low: int, high: int) -> set[str]:
        tree = Filter.model_validate({"must": [{"field": "price", "gte": low, "lt": high}]})
        allowed = compile_filter(tree, index)
        facet = count_facet(FacetRequest(field="id", limit=100), index, allowed)
        ranking = Retriever(index).search("the cat in the garden", mode, allowed=allowed)
        names = {index.document(int(row)).id for row in ranking.rows}
        assert names <= {count.value for count in facet.values} == {index.document(int(row)).id for row in allowed.rows}
        assert mode == "lexical" or len(names) == allowed.count == len(facet.values)
        return {str(count.value) for count in facet.values}

    assert count_and_search(1_000, 1_001) == {"doc-003", "new"}
    assert count_and_search(2, 6) == {"doc-002", "doc-005"}
    everything = compile_filter(Filter(), index)
    assert everything.count == len(index) == 200
    assert count_facet(FacetRequest(field="price"), index, everything).missing == 0


def test_words_that_only_live_documents_have_are_marked(large: Index) -> None:
    """Words of a query that no indexed document has are marked in live documents too."""
    text = "A zebra, old as the zebras: «Zebra» by the river."
    index = put(large, NewDocument("zebra", None, text, {}))
    (spans,) = index.lexical.spans("zebra river", [text])
    assert [text[start:end] for start, end in spans] == ["zebra", "zebras", "Zebra", "river"]
