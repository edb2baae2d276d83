"""Document masks: rows, passages and bits of a set of documents, however small or large it is."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from indexer.index import document_mask
from indexer.index.document_mask import DocumentMask


@pytest.mark.parametrize("few", [0, 16, 10**6])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_passages_of_documents(few: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way they are found, the passages are those of the documents."""
    monkeypatch.setattr(document_mask, "FEW", few)
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 4, 500)
    first_passage = np.concatenate([[0], np.cumsum(lengths)])
    mask = rng.random(500) < share
    documents = DocumentMask(mask, first_passage)
    expected = np.flatnonzero(np.repeat(mask, lengths))
    assert documents.passages.tolist() == expected.tolist()
    assert documents.passage_count == len(expected)
    bits = np.unpackbits(documents.passage_bits, bitorder="little")
    assert np.flatnonzero(bits).tolist() == expected.tolist()


def test_what_is_kept_of_an_index_goes_with_it() -> None:
    """Masks of one index share what they need of its passages, and another index in the same place has its own."""
    gc.collect()  # of other tests' indexes, or they would go meanwhile
    before = len(document_mask._layouts)
    for lengths in ([1, 2, 3], [3, 2, 1]):
        first_passage = np.concatenate([[0], np.cumsum(lengths)])
        for _ in range(2):
            assert DocumentMask(np.array([True, False, False]), first_passage).passage_bits.tolist() == [
                (1 << lengths[0]) - 1
            ]
            assert len(document_mask._layouts) == before + 1
        del first_passage
        gc.collect()
        assert len(document_mask._layouts) == before
