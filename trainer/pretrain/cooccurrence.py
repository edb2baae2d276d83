"""Vectors of word pieces from which pieces stand near which: what can be known before any training.

The singular value decomposition of positive pointwise mutual information does what word2vec does (Levy and Goldberg 2014,
«Neural word embedding as implicit matrix factorization»; Levy, Goldberg and Dagan 2015 for the exponent of the contexts).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainer.pretrain.tokens import Tokens

WINDOW = 8
"""Tokens to either side that count as near, a nearer one more."""
ENOUGH = 8_000_000
"""Tokens that are counted; more change little."""
SLICE = 2**19
"""Tokens that are counted at a time."""
SMOOTHING = 0.75
"""Exponent of the contexts' frequencies: without it rare pieces would count as the best contexts."""
LEAST = 20_000
"""Tokens below which such vectors say nothing."""


def vectors(corpus: Tokens, vocabulary: int, width: int, seed: int) -> npt.NDArray[np.float32] | None:
    """Return the vectors of all pieces, shape (vocabulary, at most width), or None where there is too little text.

    A piece that the corpus does not have has a vector of zeros.
    """
    from scipy.sparse import csr_array
    from sklearn.utils.extmath import randomized_svd

    if len(corpus.tokens) < LEAST:
        return None
    counts = csr_array((vocabulary, vocabulary), dtype=np.float32)
    for start in range(0, min(len(corpus.tokens), ENOUGH), SLICE):
        counts += _near(corpus, start, min(start + SLICE, len(corpus.tokens)), vocabulary)
    counts = (counts + counts.T).tocoo()
    near = np.bincount(counts.row, weights=counts.data, minlength=vocabulary)
    context = near**SMOOTHING / (near**SMOOTHING).sum()
    gain = np.log(counts.data / (near[counts.row] * context[counts.col]))
    kept = gain > 0
    table = csr_array((gain[kept].astype(np.float32), (counts.row[kept], counts.col[kept])), shape=counts.shape)
    left, strength, _ = randomized_svd(table, min(width, vocabulary - 2) + 1, n_iter=2, random_state=seed)
    # The first direction is the one that all pieces share, which tells none from another (Mu and Viswanath 2018).
    found: npt.NDArray[np.float32] = (left * np.sqrt(strength))[:, 1:].astype(np.float32)
    return found


def _near(corpus: Tokens, start: int, end: int, vocabulary: int) -> object:
    """Return how often which piece follows which within the window, weighted, for tokens ``start`` to ``end``."""
    from scipy.sparse import coo_array

    tokens = np.asarray(corpus.tokens[start:end]).astype(np.int32)
    unit = np.searchsorted(corpus.starts, np.arange(start, end), side="right") - 1
    document = corpus.documents[unit]
    rows, columns, weights = [], [], []
    for distance in range(1, WINDOW + 1):
        together = document[distance:] == document[:-distance]
        rows.append(tokens[:-distance][together])
        columns.append(tokens[distance:][together])
        weights.append(np.full(int(together.sum()), distance**-0.5, dtype=np.float32))
    values = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return coo_array(values, shape=(vocabulary, vocabulary)).tocsr()
