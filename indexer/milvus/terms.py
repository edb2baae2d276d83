"""Term vectors: BM25 as an inner product of a document's weights and a query's.

The document has what depends on it alone, the saturation of a term's frequency by the document's length; the query has
inverse document frequency and the weight of the field. Stems and words as written are of different numbers in one
vector: the sum over both fields, as tantivy has it, is then the product itself, and the best of it are the best.
Formula, constants and rounding of lengths are those of `indexer.live.bm25`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from indexer.index.lexical.search import LexicalIndex
from indexer.index.terms.columns import TEXT_FIELDS, FieldTexts
from indexer.live.bm25 import K1, B, Field, quantised_length

Vector = dict[int, float]
"""Weight by number of the term."""
ALWAYS = 0
"""Number of a term that every document has and no query: Milvus refuses an empty vector."""


def numbered_terms(index: LexicalIndex) -> Iterator[tuple[str, str, int, int]]:
    """Yield field, term, number and document frequency of each term of an index; numbers begin at 1."""
    number = ALWAYS
    for name, _, _ in index.fields():
        for term, documents in index.all_terms(name):
            number += 1
            yield name, term, number, documents


def document_vector(
    text: str, fields: list[Field], numbers: Mapping[tuple[str, str], int], others: FieldTexts | None = None
) -> Vector:
    """Return the weights of a document's terms.

    Args:
        text: title, line end and text, as in the lexical index.
        fields: of the lexical index.
        numbers: of its terms.
        others: texts of the other fields; by default these are empty.
    """
    weights: Vector = {ALWAYS: 1.0}
    for each in fields:
        terms = each.analyzer.analyze(text if each.name in TEXT_FIELDS else (others or {}).get(each.name, ""))
        norm = K1 * (1 - B + B * quantised_length(len(terms)) / each.average_length)
        for term, frequency in Counter(terms).items():
            weights[numbers[each.name, term]] = (K1 + 1) * frequency / (frequency + norm)
    return weights
