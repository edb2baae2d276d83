"""Examples of pre-training: next and other segments, which only their texts distinguish."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tales import write_tales
from tokenizers import Tokenizer

import trainer.pretrain.examples as module
from trainer.pretrain.batches import prefetch
from trainer.pretrain.examples import (
    DataPosition,
    Recipe,
    Spans,
    count_blocks,
    iterate_batches,
    make_examples,
    make_generator,
    plan_batches,
)
from trainer.pretrain.tokens import Tokens, TokenWriter, learn_wordpiece

RECIPE = Recipe(64, nsp=True)

LETTERS = "abcdefghijklmnopqrstuvwxyz.,"


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokens, Tokenizer]:
    """A thousand tales of about thirty tokens, every third of them three times as long, as token ids."""
    folder = tmp_path_factory.mktemp("encoded")
    texts = pq.read_table(write_tales(folder / "tales.parquet", 1000))["text"].to_pylist()
    texts = [" ".join(texts[at : at + (3 if at % 3 == 0 else 1)]) for at in range(len(texts))]
    tokenizer = learn_wordpiece([texts], [*LETTERS], vocab_size=256, lowercase=True, strip_accents=True)
    with TokenWriter(folder / "tokens", tokenizer) as writer:
        writer.add([[text] for text in texts])
    return Tokens.open(folder / "tokens"), tokenizer


@pytest.fixture(scope="module")
def corpus(encoded: tuple[Tokens, Tokenizer]) -> Tokens:
    """The token ids of the tales."""
    return encoded[0]


def documents(corpus: Tokens, places: np.ndarray) -> np.ndarray:
    """Return the document of each token."""
    return corpus.documents[np.searchsorted(corpus.starts, places, side="right") - 1]


def test_half_of_the_segments_follow(corpus: Tokens) -> None:
    """Half of the second segments follow the first in its document; the others are of another document."""
    found = make_examples(corpus, RECIPE, 0, 0)
    assert found.is_next.mean() == pytest.approx(0.5, abs=0.01)
    assert np.array_equal(found.is_next, found.a_end == found.b)
    same = documents(corpus, found.a) == documents(corpus, found.b)
    assert np.array_equal(same, found.is_next)
    for start, end in ((found.a, found.a_end), (found.b, found.b_end)):
        assert (end > start).all()
        assert np.array_equal(documents(corpus, start), documents(corpus, end - 1))


def test_lengths_do_not_tell_what_follows(corpus: Tokens) -> None:
    """Both kinds have the same distribution of the lengths of a, of b and of both; else no word need be read."""
    every = [make_examples(corpus, RECIPE, epoch, 0) for epoch in range(40)]
    kinds = {True: [], False: []}
    for found in every:
        for kind, lengths in kinds.items():
            rows = found.is_next == kind
            lengths.append(np.stack([(found.a_end - found.a)[rows], (found.b_end - found.b)[rows], found.tokens[rows]]))
    follows, other = (np.concatenate(kinds[kind], axis=1) for kind in (True, False))
    for place in range(3):
        edges = np.arange(70)
        shares = [np.histogram(kind[place], edges)[0] / kind.shape[1] for kind in (follows, other)]
        assert np.abs(np.cumsum(shares[0]) - np.cumsum(shares[1])).max() < 0.012  # Kolmogorov and Smirnov's distance


def test_a_segment_of_either_kind_is_seen_as_often(corpus: Tokens) -> None:
    """Nearly every token is in exactly one example of an epoch: none is a favourite of one kind."""
    found = make_examples(corpus, RECIPE, 0, 0)
    seen = np.zeros(len(corpus.tokens), dtype=int)
    for start, end in zip(np.append(found.a, found.b), np.append(found.a_end, found.b_end), strict=True):
        seen[start:end] += 1
    assert seen.max() == 1
    assert seen.mean() > 0.97


def test_length_and_shares(corpus: Tokens) -> None:
    """No example is too long; long documents fill it, but for the share that is made short."""
    found = make_examples(corpus, RECIPE, 0, 0)
    room = RECIPE.length - RECIPE.special
    assert found.tokens.max() <= room
    never_short, always = (
        make_examples(corpus, Recipe(64, nsp=True, short=short), 0, 0).tokens.mean() for short in (0.0, 1.0)
    )
    assert never_short > found.tokens.mean() > always


def test_one_segment(corpus: Tokens) -> None:
    """Without next-sentence prediction an example is one stretch of one document."""
    found = make_examples(corpus, Recipe(64, nsp=False), 0, 0)
    assert (found.b == found.b_end).all()
    assert np.array_equal(documents(corpus, found.a), documents(corpus, found.a_end - 1))
    assert found.tokens.max() <= 62


def test_every_epoch_is_another_and_can_be_had_again(corpus: Tokens) -> None:
    """Pairs and cuts are drawn anew in every epoch, from the seed alone."""
    first, again, other = (make_examples(corpus, RECIPE, epoch, 0) for epoch in (0, 0, 1))
    assert all(np.array_equal(*columns) for columns in zip(first, again, strict=True))
    assert not np.array_equal(first.b, other.b)


def test_blocks_bound_what_is_held(corpus: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block takes no more than its shards, of many places of the corpus; all blocks together are an epoch."""
    monkeypatch.setattr(module, "SHARD", 512)
    monkeypatch.setattr(module, "BLOCK", 8192)
    count = count_blocks(corpus)
    assert count == -(-len(corpus.tokens) // 8192)
    found = [make_examples(corpus, RECIPE, 3, block) for block in range(count)]
    assert max(int(each.tokens.sum()) for each in found) <= 8192 + 16 * 64
    assert sum(int(each.tokens.sum()) for each in found) > 0.95 * len(corpus.tokens)
    spread = np.unique(found[0].a // 512)
    assert len(spread) == 16
    assert np.diff(spread).max() > 1, "neighbours only"


def test_hardly_any_padding(corpus: Tokens) -> None:
    """Batches are of examples of nearly one length, and as large as may be; each example is in one of them."""
    found = make_examples(corpus, RECIPE, 0, 0)
    plan = plan_batches(found, RECIPE.special, 1024, make_generator(0))
    lengths = found.tokens + RECIPE.special
    sizes = [len(rows) * int(lengths[rows].max()) for rows in plan]
    assert max(sizes) <= 1024
    assert sorted(itertools.chain.from_iterable(rows.tolist() for rows in plan)) == list(range(len(lengths)))
    assert lengths.sum() / sum(sizes) > 0.97
    longest = [int(lengths[rows].max()) for rows in plan]
    assert longest != sorted(longest), "from short to long"
    follow = [2 * int(found.is_next[rows].sum()) - len(rows) for rows in plan]
    assert max(map(abs, follow)) <= 2, "half of every batch is of each kind"


def test_the_walk_goes_on_where_it_was_left(corpus: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any place on come the batches that had come from there before, into the next block and epoch."""
    monkeypatch.setattr(module, "SHARD", 512)
    monkeypatch.setattr(module, "BLOCK", 16384)

    def take(start: DataPosition, count: int) -> list[tuple[DataPosition, Spans]]:
        return list(itertools.islice(iterate_batches(corpus, RECIPE, 1024, start), count))

    whole = take(DataPosition(), 160)
    assert {place.epoch for place, _ in whole} >= {0, 1}
    assert len({place.block for place, _ in whole}) == count_blocks(corpus)
    for at in (5, 90):
        for (place, spans), (wanted_place, wanted) in zip(take(whole[at][0], 60), whole[at : at + 60], strict=True):
            assert place == wanted_place
            assert all(np.array_equal(*columns) for columns in zip(spans, wanted, strict=True))


def test_one_document_has_no_other(tmp_path: Path, encoded: tuple[Tokens, Tokenizer]) -> None:
    """A single text gives segments that follow, and none that pretend not to."""
    with TokenWriter(tmp_path, encoded[1]) as writer:
        writer.add([["The cat sits in the garden. The dog runs by the river. " * 20]])
    assert make_examples(Tokens.open(tmp_path), RECIPE, 0, 0).is_next.all()


def test_prefetching_changes_nothing_and_ends() -> None:
    """The same items in the same order; an error is raised where the items are read; leaving early does not wait."""

    def failing() -> itertools.chain[int]:
        def rest() -> list[int]:
            raise KeyError("lost")

        return itertools.chain([1, 2], (each for make in [rest] for each in make()))

    with prefetch(iter(range(50))) as items:
        assert list(items) == list(range(50))
    with prefetch(itertools.count()) as items:
        assert [next(items) for _ in range(3)] == [0, 1, 2]
    with prefetch(failing()) as items, pytest.raises(KeyError, match="lost"):
        list(items)
