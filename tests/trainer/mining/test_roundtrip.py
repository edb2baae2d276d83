"""The round-trip filter, on a real index of six stories."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from indexer.errors import UserError
from trainer.data.pairs import SCHEMA
from trainer.mining.roundtrip import filter_pairs, map_concurrently, open_retriever, rank_pairs, summarise

GOOD = [
    ("sailor ship storm", "c", "keywords"),
    ("cheese and wine in the castle", "d", "sentence"),
    ("The dog", "b", "title"),
]
BAD = [("king and queen in the castle", "a", "keywords")]


def pairs_from(rows):
    """Return a table of pairs from (query, document, kind)."""
    columns = [[f"{document}/{position}" for position, (_, document, _) in enumerate(rows)]]
    columns += [
        list(values)
        for values in zip(*((query, document, document, kind) for query, document, kind in rows), strict=True)
    ]
    return pa.table(columns, schema=SCHEMA)


@pytest.fixture(scope="module")
def retriever(built_data):
    """A retriever over the index of the six stories."""
    return open_retriever(None, built_data)


def test_a_query_is_kept_if_it_finds_its_document(retriever):
    """A query for which another document ranks higher is dropped: it would be a wrong training example."""
    kept = filter_pairs(pairs_from(GOOD + BAD), retriever, k=2)
    assert kept["query"].to_pylist() == [query for query, _, _ in GOOD]
    assert all(1 <= rank <= 2 for rank in kept["rank"].to_pylist())
    assert kept.column_names == [*SCHEMA.names, "rank"]


def test_the_rank_is_the_place_in_the_fused_ranking(retriever):
    """The rank is that of the ranking that the service gives."""
    judged = rank_pairs(pairs_from(GOOD + BAD), retriever)
    for row in judged.to_pylist():
        hits = retriever.page(retriever.search(row["query"]), 0, 6)
        assert hits[row["rank"] - 1].document.id == row["document"]
    assert rank_pairs(judged, retriever) == judged  # a second time over its own result


def test_what_is_not_found_has_rank_zero(retriever, monkeypatch):
    """A document that is no candidate has the rank 0, not 1."""
    search = retriever.search
    monkeypatch.setattr(retriever, "search", lambda query: search(query, mode="lexical"))
    judged = rank_pairs(pairs_from([("castle", "a", "keywords"), ("castle", "d", "keywords")]), retriever)
    assert judged["rank"].to_pylist() == [0, 1]
    assert filter_pairs(judged, retriever, k=6)["document"].to_pylist() == ["d"]


def test_summary_by_kind(retriever, capsys):
    """The summary shows how many queries of each kind are kept."""
    judged = pairs_from([("x", "a", "title")] * 2 + [("y", "b", "question")] * 3).append_column(
        "rank", pa.array([1, 4, 3, 0, 1], pa.int32())
    )
    assert summarise(judged, 3) == [
        "question: 2 of 3 queries find their document among the best 3, 33% at the first place",
        "title: 1 of 2 queries find their document among the best 3, 50% at the first place",
        "all: 3 of 5 queries find their document among the best 3, 40% at the first place",
    ]
    filter_pairs(pairs_from(GOOD), retriever, 3)
    assert "title: 1 of 1" in capsys.readouterr().err


def test_many_queries_at_a_time_keep_their_order(retriever):
    """Results of threads keep the order of their queries."""
    rows = (GOOD + BAD) * 30
    assert (
        rank_pairs(pairs_from(rows), retriever)["rank"].to_pylist()
        == rank_pairs(pairs_from(GOOD + BAD), retriever)["rank"].to_pylist() * 30
    )
    assert list(map_concurrently(lambda number: number * 2, range(1000), retriever)) == list(range(0, 2000, 2))


def test_an_index_of_another_corpus_is_refused(retriever):
    """A document that is not in the index is an error that names it; its queries are not silently dropped."""
    with pytest.raises(UserError, match=r"document 'zz': not in index .*--index"):
        rank_pairs(pairs_from([*GOOD, ("castle", "zz", "title")]), retriever)


def test_nothing_left_is_an_error(retriever):
    """No empty file of pairs is written."""
    with pytest.raises(UserError, match="no document of 1 queries is among the best 1"):
        filter_pairs(pairs_from(BAD), retriever, 1)


def test_command(tmp_path, built_data, monkeypatch):
    """`trainer filter` reads a frame, takes the train side, writes pairs beside it and prints where."""
    from trainer.cli import app

    monkeypatch.setenv("DOWSE_DATA", str(built_data))
    frame = {
        "id": ["c", "d"],
        "document": ["c", "d"],
        "query_1": ["sailor ship storm", "wine castle"],
        "kinds": [["keywords"]] * 2,
    }
    pq.write_table(pa.table(frame), tmp_path / "queries.parquet")
    split = {"document": ["c", "d"], "group": [0, 1], "split": ["train", "test"]}
    pq.write_table(pa.table(split), tmp_path / "split.parquet")
    words = ["filter", str(tmp_path / "queries.parquet"), "--k", "1", "--split", str(tmp_path / "split.parquet")]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout == f"{tmp_path / 'pairs.parquet'}\n"
    assert pq.read_table(tmp_path / "pairs.parquet").to_pylist() == [
        {
            "query_id": "c/1",
            "query": "sailor ship storm",
            "document": "c",
            "frame_id": "c",
            "kind": "keywords",
            "rank": 1,
        }
    ]
