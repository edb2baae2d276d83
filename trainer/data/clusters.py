"""Clusters of queries that share a document or a near-duplicate of it: they are divided and resampled together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

MAX_SHARE = 0.1
"""Largest share of the queries in one cluster of linked queries. Where documents link more, e.g. in deep judgements, a query
goes to the one of its documents that answers most queries."""

Copies = Mapping[str, str]
"""Document id → id that stands for its group of near-duplicates. A document that is missing here stands for itself."""


def groups_of(documents: Collection[str], copies: Copies) -> set[str]:
    """Return the groups of near-duplicates to which the documents belong."""
    return {copies.get(document, document) for document in documents}


def cluster_queries(answers: Mapping[str, Collection[str]], copies: Copies) -> dict[str, str]:
    """Return the cluster of each query, in the order of the queries.

    Queries are linked where their documents have a group of near-duplicates in common. Linked queries are one cluster, also
    those that others link. A cluster is named by a group, so that the only query of a document is named by that document.

    Args:
        answers: query id → its documents, at least one.
        copies: groups of near-duplicates.
    """
    groups = {query: sorted(groups_of(documents, copies)) for query, documents in answers.items()}
    linked = _linked(groups)
    sizes = Counter(linked.values())
    uses = Counter(group for own in groups.values() for group in own)
    return {
        query: linked[query]
        if sizes[linked[query]] <= MAX_SHARE * len(groups)
        else min(own, key=lambda group: (-uses[group], group))
        for query, own in groups.items()
    }


def _linked(groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return for each query the first group, in order, of all queries that it is linked with."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers = {
        group: number for number, group in enumerate(sorted({group for own in groups.values() for group in own}))
    }
    edges = np.array(
        [(numbers[own[0]], numbers[group]) for own in groups.values() for group in own], dtype=np.int64
    ).reshape(-1, 2)
    links = coo_array((np.ones(len(edges), dtype=np.bool_), (edges[:, 0], edges[:, 1])), shape=(len(numbers),) * 2)
    _, labels = connected_components(links, directed=False)
    first: dict[int, str] = {}
    for group, number in numbers.items():  # in order
        first.setdefault(int(labels[number]), group)
    return {query: first[int(labels[numbers[own[0]]])] for query, own in groups.items()}
