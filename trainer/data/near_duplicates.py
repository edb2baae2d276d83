"""Near-duplicate texts: MinHash signatures, locality-sensitive hashing in bands, and connected components.

MinHash: Broder, «On the resemblance and containment of documents», 1997; locality-sensitive hashing: Indyk and Motwani, 1998.
The signatures are datasketch's. The bands are sorted columns of numbers instead of its hash tables, which take some 8 kB
per document.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from indexer.progress import Bar
from trainer.data.words import tokens

PERMUTATIONS = 128
"""Length of a signature."""
SHINGLE = 3
"""Words of a shingle, or characters of scripts without spaces."""
MIN_RECALL = 0.99
"""Probability with which a pair right at the threshold must share a band."""
MAX_NEIGHBOURS = 32
"""Documents with the same band value that each document is compared with."""
Signatures = npt.NDArray[np.uint32]
Groups = npt.NDArray[np.int64]


def signatures(texts: Iterable[str], bar: Bar | None = None) -> Signatures:
    """Return the MinHash signatures of texts, shape (texts, `PERMUTATIONS`)."""
    from datasketch import MinHash

    blocks: list[Signatures] = []
    block: list[Signatures] = []
    for sketch in MinHash.generator(map(_shingles, texts), num_perm=PERMUTATIONS, hashfunc=int):
        block.append(sketch.hashvalues)
        if len(block) == 1024:
            blocks.append(np.stack(block))
            block = []
        if bar:
            bar.advance(1)
    if block:
        blocks.append(np.stack(block))
    return np.concatenate(blocks) if blocks else np.empty((0, PERMUTATIONS), dtype=np.uint32)


def _shingles(text: str) -> list[int]:
    """Return the hashes of the shingles of a text."""
    words = [word.encode() for word in tokens(text)] or [text.encode()]
    return [zlib.crc32(b" ".join(words[start : start + SHINGLE])) for start in range(max(len(words) - SHINGLE, 0) + 1)]


def near_duplicates(sketches: Signatures, threshold: float) -> Groups:
    """Return the group of each text: the row of its first member, shape (texts,).

    The share in which two signatures agree estimates the Jaccard similarity of their shingles. Texts with a share of at least
    ``threshold`` are in one group, as are texts that are linked by others.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(sketches):
        return np.empty(0, dtype=np.int64)
    # Exact copies first: a thousand of them in one band would fill each other's `MAX_NEIGHBOURS`.
    distinct, copy_of = np.unique(_digests(sketches), return_inverse=True)
    first = np.full(len(distinct), len(sketches))
    np.minimum.at(first, copy_of, np.arange(len(sketches)))
    pairs = np.concatenate([*_similar_pairs(sketches[first], threshold)], axis=1)
    links = coo_array((np.ones(pairs.shape[1], dtype=np.bool_), (pairs[0], pairs[1])), shape=(len(first), len(first)))
    _, labels = connected_components(links, directed=False)
    groups = labels[copy_of]
    representative = np.full(groups.max() + 1, len(sketches))
    np.minimum.at(representative, groups, np.arange(len(sketches)))
    return np.asarray(representative[groups], dtype=np.int64)


def _similar_pairs(sketches: Signatures, threshold: float) -> Iterator[npt.NDArray[np.int64]]:
    """Yield pairs of rows whose signatures agree, shape (2, pairs), for each band."""
    rows = rows_per_band(threshold)
    for band in range(PERMUTATIONS // rows):
        keys = _digests(sketches[:, band * rows : (band + 1) * rows])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        yield np.empty((2, 0), dtype=np.int64)
        for distance in range(1, MAX_NEIGHBOURS + 1):
            positions = np.flatnonzero(keys[distance:] == keys[:-distance])
            if not len(positions):
                break
            for part in np.array_split(positions, len(positions) // 50_000 + 1):  # 25 MB of signatures at a time
                left, right = order[part], order[part + distance]
                similar = (sketches[left] == sketches[right]).mean(axis=1) >= threshold
                yield np.stack([left[similar], right[similar]])


def rows_per_band(threshold: float) -> int:
    """Return the largest band with which a pair right at the threshold shares one with probability `MIN_RECALL`."""
    for rows in range(16, 1, -1):
        if 1 - (1 - threshold**rows) ** (PERMUTATIONS // rows) >= MIN_RECALL:
            return rows
    return 1


def _digests(rows: Signatures) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of each row of numbers, shape (rows,); equal rows have equal hashes."""
    mixed = np.zeros(len(rows), dtype=np.uint64)
    for column in rows.T:
        mixed = (mixed ^ column) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed
