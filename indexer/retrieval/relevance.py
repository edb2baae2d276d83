"""Relevance: the probability that a result answers the query, between 0 and 1.

Scores of a query say which of its candidates is better, and not whether any is good: fused scores are relative to the
other candidates. Two logistic regressions say it. The first has the best cosine and the best share of all candidates,
and says whether the index answers such a query at all. The second has a result's own cosine, share and rank, and says
whether this result does, where one does. Their product is the relevance. Down a ranking it never rises.

The share is a BM25 score divided by the largest one that a document could reach for this query, with every word in it
as often as one likes. A word that no document has counts fully, so a query of unknown words has a small share. A search
column counts only for the words that it has: hardly a word stands in every column.

Each index has its own coefficients, for each mode (docs/decisions/retrieval.md). An index without any has no relevance.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from indexer.artifacts.manifest import RELEVANCE
from indexer.index.legs import LexicalLeg
from indexer.index.terms.columns import COLUMN
from indexer.index.terms.words import QueryTerms, inverse_frequency
from indexer.retrieval.expansion import Expanded
from indexer.retrieval.ranking import Mode, Numbers, Ranking

SATURATION = 2.2
"""Factor of a term's weight in BM25 that its frequency approaches and never reaches: k1 + 1 with k1 = 1.2, as in tantivy."""
DIGITS = 4
"""Decimals of a relevance."""
Coefficients = tuple[float, ...]
"""Of a logistic regression: the constant, then one for each feature."""


class Regressions(BaseModel):
    """Coefficients of both regressions for one mode."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: Coefficients = Field(description="of the best cosine and the best share, as far as the mode has them")
    result: Coefficients = Field(description="of a result's cosine, its share, and the logarithm of its rank")


class Calibration(BaseModel):
    """How features become a relevance in one index."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int = RELEVANCE
    fitted_on: Literal["questions", "labels"] = Field(
        description="queries made from the documents, or people's queries with their answers"
    )
    modes: dict[Mode, Regressions]

    @classmethod
    def of_config(cls, config: dict[str, Any]) -> Calibration | None:
        """Return the calibration in the configuration of an index or a model; None where it has none of this version."""
        stored = config.get("relevance")
        if not isinstance(stored, dict) or stored.get("version") != RELEVANCE:
            return None
        return cls.model_validate(stored)

    def relevance(self, ranking: Ranking, mode: Mode, lexical: LexicalLeg[Any]) -> Numbers | None:
        """Return the relevance of every candidate of a ranking, shape (candidates,); None without a calibration of the mode.

        Args:
            ranking: of one query, best first.
            mode: in which it was searched.
            lexical: the leg that knows how frequent the query's terms are.
        """
        regressions = self.modes.get(mode)
        if regressions is None:
            return None
        if not len(ranking.rows):
            return np.empty(0)
        columns = leg_features(ranking, mode, lexical)
        answered = predict(regressions.query, query_features(columns)[None, :])
        found: Numbers = answered * predict(regressions.result, result_features(columns))
        if ranking.exact is not None:
            found[ranking.exact] = 1.0  # the query is their id, or a value that was asked for
        return np.minimum.accumulate(found).round(DIGITS)


def leg_features(ranking: Ranking, mode: Mode, lexical: LexicalLeg[Any]) -> list[Numbers]:
    """Return the cosines and the shares of all candidates, as far as the mode has them, each of shape (candidates,)."""
    nothing, columns = np.zeros(len(ranking.rows)), []
    if mode != "lexical":
        columns.append(nothing if ranking.dense is None else ranking.dense)
    if mode != "dense":
        most = 0.0 if ranking.expanded is None else _largest_score_of(ranking.expanded, lexical)
        columns.append(nothing if ranking.lexical is None or not most else ranking.lexical / most)
    return columns


def query_features(columns: Sequence[Numbers]) -> Numbers:
    """Return the best value of each column, 0 where there are no candidates, shape (columns,)."""
    return np.array([np.maximum.reduce(column, initial=0.0) for column in columns])


def result_features(columns: Sequence[Numbers], count: int | None = None) -> Numbers:
    """Return the features of the first ``count`` candidates, or all: shape (candidates, columns + 1)."""
    shown = [column[:count] for column in columns]
    features = np.empty((len(shown[0]), len(shown) + 1))
    for place, column in enumerate(shown):
        features[:, place] = column
    features[:, -1] = _log_ranks(len(features))
    return features


@lru_cache(maxsize=64)
def _log_ranks(count: int) -> Numbers:
    """Return the logarithms of the ranks 1 to ``count``, read-only: most queries have a number of candidates in common."""
    logarithms: Numbers = np.log1p(np.arange(count))
    logarithms.flags.writeable = False
    return logarithms


def _largest_score_of(expanded: Expanded, lexical: LexicalLeg[Any]) -> float:
    """Return the score that no document can exceed.

    A word half typed, and one that is misspelt for certain, count as what they stand for, and not as unknown words.
    """
    replaced = " ".join(
        each.word for each in expanded.expansions if each.kind == "prefix" or (each.kind == "typo" and each.certain)
    )
    if not replaced:
        return largest_score(expanded.terms, lexical)
    left_out = {(name, term) for name, terms in lexical.analyze(replaced).fields.items() for term in terms}
    fields = {
        name: [term for term in terms if (name, term) not in left_out or lexical.document_frequency(name, term)]
        for name, terms in expanded.terms.fields.items()
    }
    return largest_score(expanded.terms._replace(fields=fields), lexical)


def largest_score(terms: QueryTerms, lexical: LexicalLeg[Any]) -> float:
    """Return the BM25 score that no document can exceed for these terms; 0 where there are none.

    A term that no document has counts as the rarest one does, as a word of title or text. One that only search columns
    have counts in those columns.
    """
    documents = len(lexical)
    weights = {name: weight for name, weight, _ in lexical.fields()}
    having = {each: lexical.document_frequency(*each) for each in dict.fromkeys(terms.all_terms())}
    in_columns = {term for (name, term), count in having.items() if count and name.startswith(COLUMN)}

    def is_elsewhere(name: str, term: str) -> bool:
        """Say whether a term that its field does not have is looked for there because others may have it."""
        return name.startswith(COLUMN) or bool(in_columns and not in_columns.isdisjoint([term, *lexical.terms(term)]))

    def most(name: str, term: str) -> float:
        count = having[name, term]
        if not count and is_elsewhere(name, term):
            return 0.0
        return weights.get(name, 0.0) * inverse_frequency(documents, count)

    total = sum(most(name, term) for name, terms_of in terms.fields.items() for term in terms_of)
    for group in terms.groups:  # as if each word were written as it was typed: a corrected one counts for less
        options = [[(name, term) for name, term, _ in option] for option in group]
        found = [option for option in options if any(having[each] for each in option)]
        total += max((sum(most(*each) for each in option) for option in found or options), default=0.0)
    return SATURATION * total


def predict(coefficients: Coefficients, features: npt.NDArray[np.floating]) -> Numbers:
    """Return the probability of each row of ``features``, which has the shape (rows, coefficients - 1)."""
    logits = coefficients[0] + features @ np.array(coefficients[1:])
    return np.asarray(1 / (1 + np.exp(-np.minimum(np.maximum(logits, -30), 30))))
