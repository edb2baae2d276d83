"""Decision list: a run of words that stands mostly in rows of one value says that value.

Each rule has a precision: the lower bound of the share of rows with the run that have the value. A row gets the value of
its most precise rule; the others have no say. Logistic regression over the same runs finds fewer values at the same
precision (docs/decisions/attributes.md), and a rule can be read. Decision lists: Yarowsky 1995, «Unsupervised word sense
disambiguation rivaling supervised methods».
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.build.metadata.grams import Grams

MIN_ROWS = 3
"""Rows in which a run of words has to stand."""
CONFIDENCE = 1.64
"""Standard errors between a share and its lower bound: one side of 95 %."""

Numbers = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rules:
    """Runs of words in ascending order, with the value that each says and its precision; all of shape (rules,)."""

    grams: Grams
    values: Numbers
    precisions: Shares

    def apply(self, grams: Grams) -> tuple[int, float, int]:
        """Return value, precision and run of the most precise rule for a document's runs; -1, 0 and 0 for none."""
        places = np.minimum(np.searchsorted(self.grams, grams), max(len(self.grams) - 1, 0))
        places = places[self.grams[places] == grams] if len(self.grams) else places[:0]
        if not len(places):
            return -1, 0.0, 0
        best = places[np.argmax(self.precisions[places])]
        return int(self.values[best]), float(self.precisions[best]), int(self.grams[best])


def learn_rules(documents: Sequence[Grams], values: Numbers) -> Rules:
    """Learn from documents whose value is known.

    Args:
        documents: the runs of words of each, every one once.
        values: the number of each one's value, shape (len(documents),).
    """
    if not len(documents):
        return Rules(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    grams = np.concatenate(documents)
    of_gram = np.repeat(values, [len(document) for document in documents])
    order = np.lexsort((of_gram, grams))
    grams, of_gram = grams[order], of_gram[order]
    new_pair = np.flatnonzero(np.r_[True, (grams[1:] != grams[:-1]) | (of_gram[1:] != of_gram[:-1])])
    together = np.diff(np.r_[new_pair, len(grams)])  # rows with a run and a value
    pair_grams, pair_values = grams[new_pair], of_gram[new_pair]
    starts = np.flatnonzero(np.r_[True, pair_grams[1:] != pair_grams[:-1]])
    rows = np.add.reduceat(together, starts)  # rows with a run
    of_pair = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(pair_grams)]))
    best_first = np.lexsort((pair_values, -together, of_pair))[starts]
    kept = rows >= MIN_ROWS
    return Rules(
        pair_grams[best_first][kept], pair_values[best_first][kept], lower_bound(together[best_first], rows)[kept]
    )


def lower_bound(right: npt.ArrayLike, of: npt.ArrayLike, deviations: float = CONFIDENCE) -> Shares:
    """Return the lower end of Wilson's interval for the shares ``right / of``, elementwise; 0 where ``of`` is 0."""
    n = np.maximum(np.asarray(of, dtype=np.float64), 1e-9)
    share, spread = np.asarray(right) / n, deviations**2 / n
    bound = (share + spread / 2 - deviations * np.sqrt(share * (1 - share) / n + spread / n / 4)) / (1 + spread)
    return np.maximum(bound, 0.0)
