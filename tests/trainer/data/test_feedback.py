"""Feedback of the service as labels: aggregation, and a run that is trained on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tales import write_labelled

from indexer.errors import UserError
from indexer.live.feedback import FeedbackLog
from trainer.data.feedback import aggregate, feedback_labels
from trainer.pipeline.run import run
from trainer.pipeline.settings import RunSettings


def entry(query: str, document: str, grade: int | None = None) -> dict[str, object]:
    """Return one line of the feedback."""
    return {"query": query, "document": document, "grade": grade}


def test_grades_are_averaged_and_outweigh_clicks() -> None:
    """Queries that differ in case and spaces are one; grades outweigh clicks, and 0 is no answer."""
    lines = [
        entry("Copy  a file", "copy2"),
        entry("copy a FILE", "copy2"),
        entry("copy a file", "move", 3),
        entry("copy a file", "move", 2),
        entry("copy a file", "rmtree"),
        entry("copy a file", "rmtree", 0),
        entry("nothing fits", "copy2", 0),
    ]
    texts, qrels = aggregate(lines)
    (query,) = texts
    assert texts == {query: "Copy  a file"}
    assert qrels == {query: {"copy2": 1, "move": 3, "rmtree": 0}}


def test_what_few_of_many_searches_opened_is_no_answer() -> None:
    """Where the query log knows how often a query was searched, a click in a hundred counts for nothing; a grade does."""
    lines = [entry("copy a file", "slip"), *[entry("Copy a file", "copy2")] * 9, entry("rare", "slip")]
    searches = {"copy a file": 100, "rare": 3}
    texts, qrels = aggregate([*lines, entry("copy a file", "graded", 2)], searches)
    by_text = {texts[query]: answers for query, answers in qrels.items()}
    assert by_text == {"copy a file": {"slip": 0, "copy2": 1, "graded": 2}, "rare": {"slip": 1}}
    _, without = aggregate(lines)
    assert all(relevance == 1 for answers in without.values() for relevance in answers.values())


def test_without_feedback_the_error_has_a_remedy(tmp_path: Path) -> None:
    """Without feedback a run stops before any work."""
    with pytest.raises(UserError, match="POST /feedback"):
        feedback_labels(tmp_path)
    with pytest.raises(UserError, match="--qrels"):
        run("corpus", RunSettings(feedback=True, qrels=tmp_path / "qrels.csv"), tmp_path)


def test_an_unfinished_line_is_left_out(tmp_path: Path) -> None:
    """A line that a killed service left incomplete loses only itself, also when more lines follow."""
    log = FeedbackLog(tmp_path)
    log.append("one", "a", 1, "g")
    with log.path.open("ab") as file:
        file.write(b'{"query": "tor')
    log.append("two", "b", None, "g")
    assert [(entry["query"], entry["grade"]) for entry in log.read()] == [("one", 1), ("two", None)]


def test_a_run_learns_from_it(skewed_data: Path, tmp_path: Path) -> None:
    """`--feedback` gives a run its labels: the verdict rests on them, and new feedback makes a new run."""
    data = Path(shutil.copytree(skewed_data, tmp_path / "data"))
    corpus = write_labelled(tmp_path / "labels", 128)
    queries = {row["id"]: row["text"] for row in pq.read_table(corpus.with_name("queries.parquet")).to_pylist()}
    log = FeedbackLog(data)
    for row in pq.read_table(corpus.with_name("qrels.parquet")).to_pylist():
        log.append(queries[row["query_id"]], row["doc_id"], 3, "g")
    settings = RunSettings(feedback=True, language="en", layers="never")
    outcome = run(str(corpus), settings, data)
    assert outcome.manifest.config["judged_by"] == "labels"
    assert [entry.name for entry in outcome.manifest.inputs] == [str(corpus), "qrels.jsonl", "queries.jsonl"]
    assert not run(str(corpus), settings, data).fresh
    lines = (data / "training" / "feedback" / "qrels.jsonl").read_text().splitlines()
    assert {json.loads(line)["relevance"] for line in lines} == {3}
