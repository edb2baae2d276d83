"""Query weight: how much more, or less, the dense leg counts for one query than for the index's other queries.

No single weight suits all queries. The words of a long query are many and unspecific, and BM25 adds them all up. Where
people's words are not those of the documents, no candidate stands out by its words; where the encoder does not know the
language, none stands out by its vector. All of this can be seen in the query and in the scores of its candidates, without
labels. The constants were fitted on people's queries of eight corpora, each tested on the corpus that was left out
(docs/experiments/retrieval.md).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.floating]

MIN_CANDIDATES = 100
"""With fewer candidates, such as behind a narrow filter, their scores say little: the query has the index's weight."""
SAMPLE_PASSAGES = 512
"""Passages whose cosines with the query show how high the best one is above the rest of the corpus."""
SHIFT = 0.04
"""Shift of a query with `TYPICAL_TERMS` terms in which both legs stand out alike."""
TYPICAL_TERMS = 6.7
PER_TERMS = 0.15
"""Shift for each factor of e in the number of terms."""
PER_CONTRAST = 0.12
"""Shift for each factor of e in the ratio of the dense leg's contrast to the lexical leg's."""
CLEAR_CONTRAST = 0.45
"""Logarithm of that ratio above which the lexical leg hardly tells the candidates apart."""
PER_CLEAR_CONTRAST = 2.0
"""Additional shift above `CLEAR_CONTRAST`."""
LIMIT = 0.45
"""Largest shift in either direction."""
BOUNDS = (0.05, 0.95)
"""Smallest and largest weight of the dense leg after the shift."""


def weight_shift(terms: int, cosines: Numbers, sample: Numbers, bm25: Numbers) -> float:
    """Return what is added to the dense leg's weight for one query; 0 where its candidates say too little.

    Args:
        terms: number of the query's distinct terms, without stop words.
        cosines: of the query with its candidates, shape (candidates,).
        sample: its cosines with passages from all over the corpus, shape (passages,).
        bm25: scores of its candidates, shape (candidates,).
    """
    if len(cosines) < MIN_CANDIDATES or not terms:
        return 0.0
    dense, lexical = _contrast(float(cosines.max()), sample), _contrast(float(bm25.max()), bm25)
    if dense <= 0 or lexical <= 0:
        return 0.0
    ratio = float(np.log(dense / lexical))
    shift = SHIFT + PER_TERMS * float(np.log(terms / TYPICAL_TERMS)) + PER_CONTRAST * ratio
    shift += PER_CLEAR_CONTRAST * max(ratio - CLEAR_CONTRAST, 0.0)
    return max(-LIMIT, min(shift, LIMIT))


def shifted(weight: float, shift: float) -> float:
    """Return the dense leg's weight for a query with this shift; where only one leg counts, it stays so.

    Below one half the index is known not to suit the encoder: a shift upwards counts less, in proportion.
    """
    if not shift or weight in {0.0, 1.0}:
        return weight
    if shift > 0:
        shift *= min(1.0, 2 * weight)
    return max(min(weight, BOUNDS[0]), min(weight + shift, max(weight, BOUNDS[1])))


def _contrast(best: float, scores: Numbers) -> float:
    """Return how many standard deviations ``best`` is above the mean of ``scores``; 0 where they do not differ."""
    # As `mean` and `std` of numpy compute them, to the bit, in a third of the time.
    mean = np.add.reduce(scores) / len(scores)
    centred = scores - mean
    spread = float(np.sqrt(np.add.reduce(centred * centred) / len(scores)))
    return (best - float(mean)) / spread if spread > 1e-9 else 0.0
