"""Labels from the feedback of the service: clicks and grades become queries and qrels.

The relevance of a document for a query is the rounded mean of its grades. Without grades, clicks count as 1, however many.
Who clicks has seen a title and a rank, not an answer (Joachims et al., «Accurately Interpreting Clickthrough Data as
Implicit Feedback», 2005).

Where the service keeps a query log, it says how often each query was searched: what is opened in few of many searches is
no answer, but a slip of the hand.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from indexer.errors import UserError
from indexer.live.feedback import FeedbackLog
from indexer.live.query_log import normalised
from indexer.live.query_statistics import QueryStatistics
from indexer.progress import say
from trainer.files import atomic_write, training_dir

MIN_SEARCHES, MIN_CLICK_SHARE = 20, 0.05
"""Searches of a query from which on the log counts against clicks, and the share of them that must have opened a document."""
CLICK_RELEVANCE = 1
"""Relevance of a document with clicks and without grades."""


def feedback_labels(data: Path) -> tuple[Path, Path]:
    """Write the feedback below ``data`` as labels and return their two files: qrels and queries.

    Raises:
        UserError: the feedback has no answer to any query.
    """
    log = FeedbackLog(data)
    statistics = QueryStatistics(data)
    statistics.refresh()
    searches = statistics.searches()
    texts, qrels = aggregate(log.read(), searches)
    if not texts:
        raise UserError(
            f"--feedback: {log.path} has no answer to any query; start the service with --writable and send clicks or "
            "grades to POST /feedback"
        )
    folder = training_dir(data) / "feedback"
    qrels_file, queries_file = folder / "qrels.jsonl", folder / "queries.jsonl"
    rows: list[dict[str, Any]] = [
        {"query_id": query, "doc_id": document, "relevance": relevance}
        for query, answers in qrels.items()
        for document, relevance in answers.items()
    ]
    _write(qrels_file, rows)
    _write(queries_file, ({"id": query, "text": text} for query, text in texts.items()))
    logged = f"; the query log counts {sum(searches.values()):,} searches" if searches else ""
    say(f"feedback: {len(texts):,} queries with {sum(row['relevance'] > 0 for row in rows):,} answers{logged}")
    return qrels_file, queries_file


def aggregate(
    feedback: Iterable[dict[str, Any]], searches: Mapping[str, int] | None = None
) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Return the queries that have an answer (id → text), and their qrels (id → document → relevance).

    Queries that differ only in case and white space are one query, with the text that was sent first.

    Args:
        feedback: lines of the feedback.
        searches: normalised query → how often it was searched, where that is known. A document that was opened in too
            few of them, and that nobody has graded, has the relevance 0.
    """
    texts: dict[str, str] = {}
    needed: dict[str, float] = {}
    grades: dict[str, dict[str, list[int]]] = {}
    clicks: Counter[tuple[str, str]] = Counter()
    for entry in feedback:
        normal = normalised(entry["query"])
        query = hashlib.blake2b(normal.encode(), digest_size=8).hexdigest()
        texts.setdefault(query, entry["query"])
        number = (searches or {}).get(normal, 0)
        needed[query] = MIN_CLICK_SHARE * number if number >= MIN_SEARCHES else 1
        document_grades = grades.setdefault(query, {}).setdefault(entry["document"], [])
        if entry["grade"] is not None:
            document_grades.append(int(entry["grade"]))
        else:
            clicks[query, entry["document"]] += 1
    qrels = {
        query: {
            document: int(sum(values) / len(values) + 0.5)
            if values
            else CLICK_RELEVANCE * (clicks[query, document] >= needed[query])
            for document, values in by_document.items()
        }
        for query, by_document in grades.items()
    }
    answered = {query for query, answers in qrels.items() if any(answers.values())}
    return (
        {query: text for query, text in texts.items() if query in answered},
        {query: answers for query, answers in qrels.items() if query in answered},
    )


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as JSON lines."""
    with atomic_write(path) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
