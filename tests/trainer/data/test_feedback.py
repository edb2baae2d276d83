"""Feedback of the service as labels: aggregated, and learned from by a run."""

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


def said(query: str, document: str, grade: int | None = None) -> dict[str, object]:
    """One line of the feedback."""
    return {"query": query, "document": document, "grade": grade}


def test_grades_are_averaged_and_outweigh_clicks() -> None:
    """Queries are one whatever their case and spaces; a grade counts more than clicks, and 0 is no answer."""
    lines = [
        said("Copy  a file", "copy2"),
        said("copy a FILE", "copy2"),
        said("copy a file", "move", 3),
        said("copy a file", "move", 2),
        said("copy a file", "rmtree"),
        said("copy a file", "rmtree", 0),
        said("nothing fits", "copy2", 0),
    ]
    texts, judged = aggregate(lines)
    (query,) = texts
    assert texts == {query: "Copy  a file"}
    assert judged == {query: {"copy2": 1, "move": 3, "rmtree": 0}}


def test_without_feedback_it_says_what_to_do(tmp_path: Path) -> None:
    """Where nobody has said anything a run stops before any work."""
    with pytest.raises(UserError, match="POST /feedback"):
        feedback_labels(tmp_path)
    with pytest.raises(UserError, match="--qrels"):
        run("corpus", RunSettings(feedback=True, qrels=tmp_path / "qrels.csv"), tmp_path)


def test_an_unfinished_line_is_left_out(tmp_path: Path) -> None:
    """What a killed service has left of a line costs that line alone, also when more is written behind it."""
    log = FeedbackLog(tmp_path)
    log.append("one", "a", 1, "g")
    with log.path.open("ab") as file:
        file.write(b'{"query": "tor')
    log.append("two", "b", None, "g")
    assert [(each["query"], each["grade"]) for each in log.read()] == [("one", 1), ("two", None)]


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
