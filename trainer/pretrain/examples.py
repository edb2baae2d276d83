"""Examples for pre-training: two segments of one document or, in half of the examples, of two; new in every epoch.

    [CLS] a [SEP] b [SEP]

Devlin et al. 2018, https://arxiv.org/abs/1810.04805, appendix A.2. An example is first cut out of one document, as long
as allowed, and cut in two at the end of a sentence. Then examples of different documents whose second segments are
about equally long are paired, and half of the pairs swap these segments. Only the content of the segments then tells
the two kinds apart: not their lengths, not the positions of the cuts, and not how often a segment is seen.

The corpus is read in blocks of shards in random order. Everything follows from seed, epoch and block, and needs the
memory of one block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.pretrain.tokens import Ids, Tokens

SHARD = 2**15
"""Consecutive tokens of the corpus that are read together."""
BLOCK = 2**19
"""Tokens among which examples are paired, shuffled and sorted by length."""
MIN_TOKENS = 8
"""Smallest number of tokens in an example; from fewer nothing can be learned."""
SHARDS, CUTS, ORDER, MASKS = range(4)
"""Purposes of random numbers, one part of the key of `make_generator`."""


class Spans(NamedTuple):
    """Examples as ranges of the corpus's tokens; every field has the shape (examples,).

    The first segment is tokens ``a`` to ``a_end``, the second ``b`` to ``b_end``, which is empty in examples of one
    segment.
    """

    a: Ids
    a_end: Ids
    b: Ids
    b_end: Ids
    is_next: npt.NDArray[np.bool_]

    @property
    def tokens(self) -> Ids:
        """Tokens of each example, without special tokens."""
        return (self.a_end - self.a) + (self.b_end - self.b)

    def take(self, rows: Ids) -> Spans:
        """Return some of the examples."""
        return Spans(self.a[rows], self.a_end[rows], self.b[rows], self.b_end[rows], self.is_next[rows])


@dataclass(frozen=True)
class Recipe:
    """How examples are made: at most ``length`` tokens, special tokens included; a share ``short`` is made shorter."""

    length: int
    nsp: bool
    short: float = 0.1
    seed: int = 0

    @property
    def special(self) -> int:
        """Number of special tokens of an example."""
        return 3 if self.nsp else 2


def count_blocks(corpus: Tokens) -> int:
    """Return the number of blocks of an epoch."""
    return -(-_count_shards(corpus) * SHARD // BLOCK)


def _count_shards(corpus: Tokens) -> int:
    return max(-(-len(corpus.tokens) // SHARD), 1)


def make_generator(*key: int) -> np.random.Generator:
    """Return the random generator of one position in the data; the same key gives the same random numbers."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def make_examples(corpus: Tokens, recipe: Recipe, epoch: int, block: int) -> Spans:
    """Return the examples of one block of an epoch, in random order."""
    order = make_generator(recipe.seed, SHARDS, epoch).permutation(_count_shards(corpus))
    block_shards = BLOCK // SHARD
    rng = make_generator(recipe.seed, CUTS, epoch, block)
    units = _select_units(corpus, np.sort(order[block * block_shards : (block + 1) * block_shards]))
    first, last = _cut_chunks(units, recipe, rng)
    begin, end = units.begin[first], units.end[last - 1]
    long_enough = end - begin >= MIN_TOKENS
    first, last, begin, end = (column[long_enough] for column in (first, last, begin, end))
    if not recipe.nsp:
        spans = Spans(begin, end, end, end, np.zeros(len(begin), dtype=np.bool_))
    else:
        # Cut at the start of a unit, any but the first; a single unit is cut in its middle.
        inner = first + 1 + np.floor(rng.random(len(first)) * (last - first - 1)).astype(np.int64)
        cut = np.where(last - first > 1, units.begin[np.minimum(inner, len(units.begin) - 1)], (begin + end) // 2)
        spans = _pair(begin, cut, end, units.document[first], rng)
    return spans.take(rng.permutation(len(spans.a)))


class _Units(NamedTuple):
    """Sentences, or pieces of long ones, as ranges of the corpus's tokens; every field has the shape (units,)."""

    begin: Ids
    end: Ids
    document: Ids
    group: Ids
    """Number that changes where a document or a run of shards ends."""


def _select_units(corpus: Tokens, shards: Ids) -> _Units:
    """Return the units that begin in these shards, in the order of the corpus."""
    edges = np.searchsorted(corpus.starts[:-1], np.stack([shards, shards + 1]) * SHARD)
    ranges = [slice(int(start), int(end)) for start, end in edges.T]
    begin = np.concatenate([corpus.starts[part] for part in ranges]).astype(np.int64)
    end = np.concatenate([corpus.starts[part.start + 1 : part.stop + 1] for part in ranges]).astype(np.int64)
    document = np.concatenate([corpus.documents[part] for part in ranges]).astype(np.int64)
    # Shards that follow each other in the corpus are joined.
    changes = (np.diff(document, prepend=-1) != 0) | (begin != np.concatenate([[-1], end[:-1]]))
    return _Units(begin, end, document, changes.cumsum() - 1)


def _cut_chunks(units: _Units, recipe: Recipe, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """Return the first unit of each chunk, and the unit after its last.

    A chunk is as many units as fit into an example, from the start of a document on. All documents are processed at
    once, one chunk of each at a time.
    """
    if not len(units.begin):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    length = recipe.length - recipe.special
    targets = np.full(len(units.begin), length)
    short = rng.random(len(targets)) < recipe.short
    targets[short] = rng.integers(min(MIN_TOKENS, length), length + 1, int(short.sum()))
    offsets = np.concatenate([[0], (units.end - units.begin).cumsum()])
    heads = np.flatnonzero(np.diff(units.group, prepend=-1))
    stop = np.append(heads[1:], len(units.group))[units.group]
    after = np.searchsorted(offsets, offsets[:-1] + targets, side="right") - 1
    after = np.minimum(np.maximum(after, np.arange(len(after)) + 1), stop)
    firsts, current = [], heads
    while len(current):
        firsts.append(current)
        current = after[current][after[current] < stop[current]]
    first = np.concatenate(firsts)
    return first, after[first]


def _pair(begin: Ids, cut: Ids, end: Ids, document: Ids, rng: np.random.Generator) -> Spans:
    """Return the examples with the second segments of half of them swapped between documents.

    Pairs are neighbours by the length of their second segments. Where both examples of a pair are of one document, it
    exchanges a partner with the next such pair.
    """
    b_length = end - cut
    order = np.lexsort((rng.random(len(begin)), b_length))
    order = order[: len(order) // 2 * 2]
    left, right = order[0::2], order[1::2]
    for _ in range(16):
        same = np.flatnonzero(document[left] == document[right])
        if not len(same):
            break
        following = np.append(same[1:], (same[-1] + 1) % len(right))
        for pair, other in zip(same.tolist(), following.tolist(), strict=True):
            right[pair], right[other] = right[other], right[pair]
    swaps = np.zeros(len(left), dtype=np.bool_)
    swappable = np.flatnonzero(document[left] != document[right])
    half = (len(left) + int(rng.integers(2))) // 2
    swaps[rng.permutation(swappable)[:half]] = True
    shared = np.minimum(b_length[left], b_length[right])
    b_left, b_right = np.where(swaps, cut[right], cut[left]), np.where(swaps, cut[left], cut[right])
    is_next = ~np.concatenate([swaps, swaps])
    a, b = np.concatenate([left, right]), np.concatenate([b_left, b_right])
    return Spans(begin[a], cut[a], b, b + np.concatenate([shared, shared]), is_next)


def plan_batches(spans: Spans, special: int, batch_tokens: int, rng: np.random.Generator) -> list[Ids]:
    """Return the rows of each batch, in random order: examples of nearly the same length, at most ``batch_tokens``.

    Both kinds of examples alternate by their rank in length, which gives every batch one half of each kind.
    """
    lengths = spans.tokens + special
    order = np.lexsort((rng.random(len(lengths)), lengths))
    rank = np.empty(len(order))
    for kind in (True, False):
        rows = order[spans.is_next[order] == kind]
        rank[rows] = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
    order = np.lexsort((rng.random(len(lengths)), rank))
    longest = np.maximum.accumulate(lengths[order])
    rows_of_batches = []
    end = len(order)
    while end:  # from the longest example down, because the longest of a batch decides how many fit
        start = max(end - max(batch_tokens // int(longest[end - 1]), 1), 0)
        rows_of_batches.append(order[start:end])
        end = start
    return [rows_of_batches[batch] for batch in rng.permutation(len(rows_of_batches))]


class DataPosition(NamedTuple):
    """Position of a batch in the endless sequence of batches."""

    epoch: int = 0
    block: int = 0
    batch: int = 0


def iterate_batches(
    corpus: Tokens, recipe: Recipe, batch_tokens: int, start: DataPosition
) -> Iterator[tuple[DataPosition, Spans]]:
    """Yield the position and the examples of each batch, from ``start`` on, epoch after epoch without end."""
    epoch, block, skip = start
    while True:
        spans = make_examples(corpus, recipe, epoch, block)
        plan = plan_batches(spans, recipe.special, batch_tokens, make_generator(recipe.seed, ORDER, epoch, block))
        for number in range(skip, len(plan)):
            yield DataPosition(epoch, block, number), spans.take(plan[number])
        skip, block = 0, block + 1
        if block == count_blocks(corpus):
            epoch, block = epoch + 1, 0
