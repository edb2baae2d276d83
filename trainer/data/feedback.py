"""What people clicked and graded in the service, as labels: queries, and the documents that answer them.

A grade says more than a click. Of several grades of one document for one query the mean counts, rounded; where there
are only clicks, they count as 1, however many: who clicks has seen a title and a rank, not an answer (Joachims et al.,
«Accurately Interpreting Clickthrough Data as Implicit Feedback», 2005).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from indexer.errors import UserError
from indexer.live.feedback import FeedbackLog
from indexer.progress import say
from trainer.files import training_dir, whole

CLICKED = 1


def feedback_labels(data: Path) -> tuple[Path, Path]:
    """Write the feedback below ``data`` as labels and return their two files: qrels and queries.

    Raises:
        UserError: nobody has said that a document answers a query.
    """
    log = FeedbackLog(data)
    texts, judged = aggregate(log.read())
    if not texts:
        raise UserError(
            f"--feedback: {log.path} has no answer to any query; start the service with --writable and send clicks or "
            "grades to POST /feedback"
        )
    folder = training_dir(data) / "feedback"
    qrels, queries = folder / "qrels.jsonl", folder / "queries.jsonl"
    rows: list[dict[str, Any]] = [
        {"query_id": query, "doc_id": document, "relevance": relevance}
        for query, answers in judged.items()
        for document, relevance in answers.items()
    ]
    _write(qrels, rows)
    _write(queries, ({"id": query, "text": text} for query, text in texts.items()))
    say(f"feedback: {len(texts):,} queries with {sum(row['relevance'] > 0 for row in rows):,} answers")
    return qrels, queries


def aggregate(feedback: Iterable[dict[str, Any]]) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Return the queries that have an answer (id → text), and what was said of documents (id → document → relevance).

    Queries that differ in case and white space only are one; its text is the one that was sent first.
    """
    texts: dict[str, str] = {}
    grades: dict[str, dict[str, list[int]]] = {}
    for each in feedback:
        same = " ".join(each["query"].casefold().split())
        query = hashlib.blake2b(same.encode(), digest_size=8).hexdigest()
        texts.setdefault(query, each["query"])
        given = grades.setdefault(query, {}).setdefault(each["document"], [])
        if each["grade"] is not None:
            given.append(int(each["grade"]))
    judged = {
        query: {
            document: int(sum(given) / len(given) + 0.5) if given else CLICKED for document, given in answers.items()
        }
        for query, answers in grades.items()
    }
    answered = {query for query, answers in judged.items() if any(answers.values())}
    return (
        {query: text for query, text in texts.items() if query in answered},
        {query: answers for query, answers in judged.items() if query in answered},
    )


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with whole(path) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
