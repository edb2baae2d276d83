"""Clusters of queries: what shares a document, or a near-duplicate of it, is together."""

from __future__ import annotations

from trainer.data.clusters import MAX_SHARE, cluster_queries, groups_of

OTHERS = {f"other{number}": {f"x{number}"} for number in range(40)}
"""Queries with a document of their own each: without them two linked queries would be too large a share."""


def clusters(answers: dict[str, set[str]], copies: dict[str, str] | None = None) -> dict[str, str]:
    """Return the clusters of ``answers`` among many other queries; the others have to be alone."""
    result = cluster_queries(OTHERS | answers, copies or {})
    assert {query: result[query] for query in OTHERS} == {query: min(own) for query, own in OTHERS.items()}
    return {query: result[query] for query in answers}


def test_a_query_of_its_own_document() -> None:
    """The only query of a document is alone, and named by the document: its side is drawn as it always was."""
    assert clusters({"q": {"a"}, "r": {"b"}}) == {"q": "a", "r": "b"}


def test_queries_of_one_document() -> None:
    """Queries that share a document are together, also where only a third query links them."""
    assert clusters({"q": {"a"}, "r": {"a"}}) == {"q": "a", "r": "a"}
    assert clusters({"q": {"c", "b"}, "r": {"d"}, "s": {"d", "c"}}) == {"q": "b", "r": "b", "s": "b"}


def test_near_duplicates_are_one_document() -> None:
    """A copy under another id is the same document, wherever its own id would sort."""
    copies = {"a": "m", "m": "m", "z": "m"}
    assert clusters({"q": {"a"}, "r": {"z"}, "s": {"b"}}, copies) == {"q": "m", "r": "m", "s": "b"}
    assert groups_of({"a", "z", "b"}, copies) == {"m", "b"}


def test_where_all_is_linked() -> None:
    """Deep judgements link all queries: each goes to its most judged document, so that there are clusters to resample."""
    ring = {
        f"q{number}": {f"d{number:02}", f"d{(number + 1) % 30:02}", "hub" if number < 10 else "d00"}
        for number in range(30)
    }
    result = cluster_queries(ring, {})
    assert {result[f"q{number}"] for number in range(1, 9)} == {"hub"}
    assert {result[f"q{number}"] for number in range(10, 30)} == {"d00"}
    assert cluster_queries({"q": {"a", "b"}, "r": {"b"}}, {}) == {"q": "b", "r": "b"}
    most = int(MAX_SHARE * 40)
    chain = {f"q{number}": {f"c{number}", f"c{number + 1}"} for number in range(most)}
    filled = chain | {f"other{number}": {f"x{number}"} for number in range(40 - most)}
    assert {cluster_queries(filled, {})[query] for query in chain} == {"c0"}
