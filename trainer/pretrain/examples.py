"""Examples of pre-training: two segments of one document or, half of the time, of two; made anew in every epoch.

    [CLS] a [SEP] b [SEP]

Devlin et al. 2018, https://arxiv.org/abs/1810.04805, appendix A.2. An example is first cut out of one document, as long as
it may be, and cut in two at the end of a sentence. Then pairs of examples of different documents whose second segments
are about equally long are formed, and half of the pairs swap these. So nothing but what the segments say tells one kind
from the other: neither lengths nor places of the cuts nor how often a segment is seen.

The corpus is gone through in blocks of shards in random order. Everything follows from seed, epoch and block, and takes as
much memory as a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.pretrain.tokens import Ids, Tokens

SHARD = 2**15
"""Tokens that follow each other in the corpus and are read together."""
BLOCK = 2**19
"""Tokens among which examples are paired, shuffled and sorted by length."""
LEAST = 8
"""Tokens of an example; of fewer there is nothing to be learned."""


SHARDS, CUTS, ORDER, HOLES = range(4)
"""What chance is asked for; a part of the key of `generator`."""


class Spans(NamedTuple):
    """Examples as ranges of the corpus's tokens, each of shape (examples,).

    The first segment is tokens ``a`` to ``a_end``, the second ``b`` to ``b_end``, empty in examples of one segment.
    """

    a: Ids
    a_end: Ids
    b: Ids
    b_end: Ids
    is_next: npt.NDArray[np.bool_]

    @property
    def tokens(self) -> Ids:
        """Tokens of each example, without special ones."""
        return (self.a_end - self.a) + (self.b_end - self.b)

    def take(self, rows: Ids) -> Spans:
        """Return some of the examples."""
        return Spans(self.a[rows], self.a_end[rows], self.b[rows], self.b_end[rows], self.is_next[rows])


@dataclass(frozen=True)
class Recipe:
    """How examples are made: ``length`` tokens at most with the special ones; a ``short`` share is made shorter."""

    length: int
    nsp: bool
    short: float = 0.1
    seed: int = 0

    @property
    def special(self) -> int:
        """Special tokens of an example."""
        return 3 if self.nsp else 2


def blocks(corpus: Tokens) -> int:
    """Return how many blocks an epoch has."""
    return -(-_shards(corpus) * SHARD // BLOCK)


def _shards(corpus: Tokens) -> int:
    return max(-(-len(corpus.tokens) // SHARD), 1)


def generator(*key: int) -> np.random.Generator:
    """Return the chance of one place in the data: of the same key always the same."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def examples(corpus: Tokens, recipe: Recipe, epoch: int, block: int) -> Spans:
    """Return the examples of one block of an epoch, in random order."""
    order = generator(recipe.seed, SHARDS, epoch).permutation(_shards(corpus))
    each = BLOCK // SHARD
    chance = generator(recipe.seed, CUTS, epoch, block)
    units = _units(corpus, np.sort(order[block * each : (block + 1) * each]))
    first, last = _chunks(units, recipe, chance)
    begin, end = units.begin[first], units.end[last - 1]
    long_enough = end - begin >= LEAST
    first, last, begin, end = (column[long_enough] for column in (first, last, begin, end))
    if not recipe.nsp:
        found = Spans(begin, end, end, end, np.zeros(len(begin), dtype=np.bool_))
    else:
        # Cut at the start of a unit, any but the first; an only unit in its middle.
        inner = first + 1 + np.floor(chance.random(len(first)) * (last - first - 1)).astype(np.int64)
        cut = np.where(last - first > 1, units.begin[np.minimum(inner, len(units.begin) - 1)], (begin + end) // 2)
        found = _paired(begin, cut, end, units.document[first], chance)
    return found.take(chance.permutation(len(found.a)))


class _Units(NamedTuple):
    begin: Ids
    end: Ids
    document: Ids
    group: Ids
    """Changes where a document or a shard ends."""


def _units(corpus: Tokens, shards: Ids) -> _Units:
    edges = np.searchsorted(corpus.starts[:-1], np.stack([shards, shards + 1]) * SHARD)
    ranges = [slice(int(start), int(end)) for start, end in edges.T]
    begin = np.concatenate([corpus.starts[part] for part in ranges]).astype(np.int64)
    end = np.concatenate([corpus.starts[part.start + 1 : part.stop + 1] for part in ranges]).astype(np.int64)
    document = np.concatenate([corpus.documents[part] for part in ranges]).astype(np.int64)
    # Shards that follow each other in the corpus are as one.
    changes = (np.diff(document, prepend=-1) != 0) | (begin != np.concatenate([[-1], end[:-1]]))
    return _Units(begin, end, document, changes.cumsum() - 1)


def _chunks(units: _Units, recipe: Recipe, chance: np.random.Generator) -> tuple[Ids, Ids]:
    """Return first and last unit (excluded) of each chunk: as many units as fit, from the start of a document on.

    All documents are gone through at once, from chunk to chunk.
    """
    if not len(units.begin):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    room = recipe.length - recipe.special
    targets = np.full(len(units.begin), room)
    short = chance.random(len(targets)) < recipe.short
    targets[short] = chance.integers(min(LEAST, room), room + 1, int(short.sum()))
    done = np.concatenate([[0], (units.end - units.begin).cumsum()])
    heads = np.flatnonzero(np.diff(units.group, prepend=-1))
    stop = np.append(heads[1:], len(units.group))[units.group]
    after = np.searchsorted(done, done[:-1] + targets, side="right") - 1
    after = np.minimum(np.maximum(after, np.arange(len(after)) + 1), stop)
    found, at = [], heads
    while len(at):
        found.append(at)
        at = after[at][after[at] < stop[at]]
    first = np.concatenate(found)
    return first, after[first]


def _paired(begin: Ids, cut: Ids, end: Ids, document: Ids, chance: np.random.Generator) -> Spans:
    """Return examples of which half have the second segment of another document."""
    b_length = end - cut
    order = np.lexsort((chance.random(len(begin)), b_length))
    order = order[: len(order) // 2 * 2]
    left, right = order[0::2], order[1::2]
    for _ in range(16):  # of one document: exchange partners with the next such pair
        same = np.flatnonzero(document[left] == document[right])
        if not len(same):
            break
        near = np.append(same[1:], (same[-1] + 1) % len(right))
        for place, other in zip(same.tolist(), near.tolist(), strict=True):
            right[place], right[other] = right[other], right[place]
    swaps = np.zeros(len(left), dtype=np.bool_)
    able = np.flatnonzero(document[left] != document[right])
    half = (len(left) + int(chance.integers(2))) // 2
    swaps[chance.permutation(able)[:half]] = True
    shared = np.minimum(b_length[left], b_length[right])
    b_left, b_right = np.where(swaps, cut[right], cut[left]), np.where(swaps, cut[left], cut[right])
    is_next = ~np.concatenate([swaps, swaps])
    a, b = np.concatenate([left, right]), np.concatenate([b_left, b_right])
    return Spans(begin[a], cut[a], b, b + np.concatenate([shared, shared]), is_next)


def batches(spans: Spans, special: int, room: int, chance: np.random.Generator) -> list[Ids]:
    """Return the rows of each batch, in random order: examples of nearly the same length, ``room`` positions at most.

    Both kinds of examples take turns by their rank in length, so that half of every batch is of each.
    """
    lengths = spans.tokens + special
    order = np.lexsort((chance.random(len(lengths)), lengths))
    rank = np.empty(len(order))
    for kind in (True, False):
        rows = order[spans.is_next[order] == kind]
        rank[rows] = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
    order = np.lexsort((chance.random(len(lengths)), rank))
    longest = np.maximum.accumulate(lengths[order])
    found = []
    end = len(order)
    while end:  # from the longest on, so that the longest says how many fit
        start = max(end - max(room // int(longest[end - 1]), 1), 0)
        found.append(order[start:end])
        end = start
    return [found[place] for place in chance.permutation(len(found))]


class Place(NamedTuple):
    """A place in the data: the batch that comes next."""

    epoch: int = 0
    block: int = 0
    batch: int = 0


def walk(corpus: Tokens, recipe: Recipe, room: int, start: Place) -> Iterator[tuple[Place, Spans]]:
    """Yield the batches from ``start`` on, epoch after epoch without end, and where each stands."""
    epoch, block, skip = start
    while True:
        spans = examples(corpus, recipe, epoch, block)
        plan = batches(spans, recipe.special, room, generator(recipe.seed, ORDER, epoch, block))
        for number in range(skip, len(plan)):
            yield Place(epoch, block, number), spans.take(plan[number])
        skip, block = 0, block + 1
        if block == blocks(corpus):
            epoch, block = epoch + 1, 0
