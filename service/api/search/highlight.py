"""Highlights of the results of one page: the words by the lexical index, the sentences by its encoder."""

from __future__ import annotations

from collections.abc import Sequence

from indexer.index.index import Index
from indexer.retrieval.highlights import SentenceVectors, nearest_sentences
from indexer.retrieval.ranking import Hit, Ranking
from service.api.search.schemas import Highlights


def highlights(index: Index, ranking: Ranking, hits: Sequence[Hit], vectors: SentenceVectors) -> list[Highlights]:
    """Return where each of ``hits`` answers the ranking's query.

    In lexical mode the query has no vector yet and is encoded here.
    """
    if not hits:
        return []
    with ranking.timed("highlight"):
        titles = index.lexical.spans(ranking.query, [hit.document.title or "" for hit in hits])
        texts = index.lexical.spans(ranking.query, [hit.passage for hit in hits])
        query = index.encoder.encode_query(ranking.query) if ranking.vector is None else ranking.vector
        model = index.manifest.parents["model"]
        found = nearest_sentences(query, [hit.passage for hit in hits], model, index.encoder, vectors)
        spans = zip(titles, texts, found, strict=True)
        return [Highlights(title=title, text=text, sentence=sentence) for title, text, sentence in spans]
