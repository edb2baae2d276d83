"""Re-ranker: a published cross-encoder, which reads query and passage together; slower and sharper than two vectors.

Batches go through ONNX Runtime in waves of one per core. After every wave the remaining time is estimated, and scoring
stops early where it would exceed the budget: a partial re-ranking is of no use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding

from indexer.artifacts.manifest import Manifest
from indexer.errors import UserError
from indexer.inference.session import BATCH_TOKENS, batches_by_length, load_tokenizer, open_session, padded

GRAPH = "onnx/model.onnx"
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RerankResult:
    """Scores of a cross-encoder for the passages of one query, or how far it got.

    Attributes:
        scores: logits, shape (passages,), higher is better; None where the time did not suffice.
        scored: how many passages were scored.
        seconds: how long that took.
        expected: estimate of how long all passages would have taken.
    """

    scores: Scores | None
    scored: int
    seconds: float
    expected: float


class Reranker:
    """A cross-encoder that scores passages for a query. Safe to use from several threads.

    Args:
        model: directory of the artifact.
        max_tokens: longest pair in tokens, special tokens included; the longer of the two texts is truncated first.
        pad_token_id: pads shorter rows of a batch.
        cores: how many batches run in parallel.

    Attributes:
        name: of the directory: the artifact's id.
    """

    def __init__(self, model: Path, max_tokens: int, pad_token_id: int, cores: int | None = None) -> None:
        path = model / GRAPH
        if not path.is_file():
            raise UserError(f"{path}: missing; publish the model with `python -m trainer reranker MODEL`")
        self.name = model.name
        self._tokenizer = load_tokenizer(model)
        self._tokenizer.enable_truncation(max_tokens)
        self._pad = pad_token_id
        self._cores = cores or len(os.sched_getaffinity(0))
        self._session = open_session(path, threads=1)
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._threads = ThreadPoolExecutor(self._cores, thread_name_prefix="rerank")

    @classmethod
    def open(cls, folder: Path, manifest: Manifest, cores: int | None = None) -> Self:
        """Open a published cross-encoder."""
        return cls(folder, int(manifest.config["max_tokens"]), int(manifest.config["pad_token_id"]), cores)

    def score(
        self,
        query: str,
        passages: Sequence[str],
        budget: float = float("inf"),
        clock: Callable[[], float] = time.perf_counter,
    ) -> RerankResult:
        """Score each of ``passages`` for ``query``.

        Args:
            query: what the user typed.
            passages: texts.
            budget: seconds; where scoring would take longer, there are no scores.
            clock: returns seconds.
        """
        started = clock()
        pairs = self.encode_pairs(query, passages)
        batches = batches_by_length([pair.ids for pair in pairs], BATCH_TOKENS)
        scores = np.empty(len(passages), dtype=np.float32)
        scored, spent = 0, clock() - started
        for first in range(0, len(batches), self._cores):
            wave = batches[first : first + self._cores]
            for batch, logits in zip(
                wave, self._threads.map(lambda rows: self.run([pairs[row] for row in rows]), wave), strict=True
            ):
                scores[batch] = logits
                scored += len(batch)
            spent = clock() - started
            expected = spent * len(batches) / (first + len(wave))
            if expected > budget:
                return RerankResult(None, scored, spent, expected)
        return RerankResult(scores, scored, spent, spent)

    def encode_pairs(self, query: str, passages: Sequence[str]) -> list[Encoding]:
        """Return the tokens of the query with each passage; what of a pair was cut off is its ``overflowing``."""
        pairs: list[Encoding] = self._tokenizer.encode_batch([(query, passage) for passage in passages])
        return pairs

    def run(self, pairs: Sequence[Encoding]) -> Scores:
        """Return the logits of one batch, shape (pairs,)."""
        types = [pair.type_ids for pair in pairs]
        feed = padded([pair.ids for pair in pairs], self._pad, self._inputs, types)
        logits: Scores = self._session.run(["logits"], feed)[0]
        return logits[:, 0]
