"""The one place where text becomes a vector: ONNX Runtime and `tokenizers`, no torch.

Two ONNX Runtime sessions over one model file. The *narrow* session uses one thread per call, so that as many calls as
there are cores run side by side without waiting for each other. The *wide* session spreads one call over the cores:
a query that comes while nobody else asks takes it and is answered sooner. `DECISIONS.md` has the measurements.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import onnxruntime

from indexer.artifacts.manifest import EncoderContract, read_manifest
from indexer.cache import Cache
from indexer.errors import UserError
from indexer.inference.session import load_tokenizer, open_session, padded, run_batches

Precision = Literal["fp32", "int8"]
Vectors = npt.NDArray[np.float32]

MODEL_FILES: dict[Precision, str] = {"fp32": "onnx/model.onnx", "int8": "onnx/model_int8.onnx"}


CONTENTION_WINDOW = 0.25
"""For how long after two queries have met a query is not spread over the cores: under load the others want them."""


@dataclass(frozen=True)
class TokenCount:
    """What the model reads of a text: how many tokens, special ones included, and whether the end was cut off."""

    tokens: int
    truncated: bool


class Encoder:
    """A published model, ready to encode. Safe to use from several threads.

    Attributes:
        folder: of the model.
        contract: what the model's own files say about prompts, length, pooling and normalisation.
        precision: weights of 32-bit floats, or 8-bit integers (faster, slightly less exact).
        cores: how many calls run side by side.

    ``query_cache_bytes`` keeps the vectors of the latest queries; by default every query is encoded.
    """

    def __init__(
        self,
        model: Path,
        contract: EncoderContract,
        precision: Precision = "fp32",
        cores: int | None = None,
        query_cache_bytes: int = 0,
    ) -> None:
        self.folder = model
        self.contract = contract
        self.precision: Precision = precision
        self.cores = cores or len(os.sched_getaffinity(0))
        # Cutting off is configured once, here: a tokenizer that changes while another thread uses it raises an error.
        self._tokenizer = load_tokenizer(model)
        self._tokenizer.enable_truncation(contract.max_tokens)
        path = model / MODEL_FILES[precision]
        if not path.is_file():
            flag = " --int8" if precision == "int8" else ""
            raise UserError(
                f"{path}: the model has no {precision} weights; publish it with `python -m trainer base{flag}`"
            )
        self._narrow = open_session(path, threads=1)
        # Integer weights are no faster on two threads, so that a second session would only cost memory.
        wide = self.cores > 1 and precision == "fp32"
        self._wide = open_session(path, threads=min(self.cores, 4)) if wide else self._narrow
        self._inputs = {node.name for node in self._narrow.get_inputs()}
        self._query_vectors: Cache[str, Vectors] = Cache(query_cache_bytes, _entry_bytes)
        self._busy = 0
        self._met = -CONTENTION_WINDOW
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls, model: Path, precision: Precision = "fp32", cores: int | None = None, query_cache_bytes: int = 0
    ) -> Self:
        """Open the model artifact in directory ``model``.

        Raises:
            UserError: the directory is no model artifact, or has no weights of this precision.
        """
        return cls(model, read_manifest(model).contract, precision, cores, query_cache_bytes)

    def encode_query(self, query: str) -> Vectors:
        """Encode one query, its prompt included; return shape (dimension,). One of the latest is not encoded again."""
        if (known := self._query_vectors.get(query)) is not None:
            return known
        ids = [self._tokenizer.encode(self.contract.query_prompt + query).ids]
        with self._lock:
            now = time.monotonic()
            if self._busy:
                self._met = now
            alone = now - self._met > CONTENTION_WINDOW
            self._busy += 1
        try:
            vector: Vectors = self._run(self._wide if alone else self._narrow, ids)[0]
        finally:
            with self._lock:
                self._busy -= 1
        self._query_vectors.put(query, _frozen(vector))
        return vector

    def encode_batch(self, queries: Sequence[str]) -> Vectors:
        """Encode a few queries of similar length in one call on one core; return shape (len(queries), dimension)."""
        vectors = np.empty((len(queries), self.contract.dimension), dtype=np.float32)
        new = []
        for row, query in enumerate(queries):
            if (known := self._query_vectors.get(query)) is None:
                new.append(row)
            else:
                vectors[row] = known
        if new:
            with self._lock:
                self._met = time.monotonic()
            tokens = self._tokenizer.encode_batch([self.contract.query_prompt + queries[row] for row in new])
            vectors[new] = self._run(self._narrow, [each.ids for each in tokens])
            for row in new:
                self._query_vectors.put(queries[row], _frozen(vectors[row]))
        return vectors

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode texts of the corpus, the document prompt included; return shape (len(texts), dimension).

        Batches hold texts of similar length and at most `BATCH_TOKENS` padded tokens; the cores share them.
        """
        return self._encode(texts, self.contract.document_prompt)

    def encode_queries(self, queries: Sequence[str]) -> Vectors:
        """Encode many queries at once, the query prompt included; return shape (len(queries), dimension)."""
        return self._encode(queries, self.contract.query_prompt)

    def read(self, texts: Sequence[str], prompt: str = "") -> list[TokenCount]:
        """Say what the model reads of each text behind ``prompt``; nothing is encoded."""
        encodings = self._tokenizer.encode_batch([prompt + text for text in texts])
        return [TokenCount(len(encoding.ids), bool(encoding.overflowing)) for encoding in encodings]

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch([prompt + text for text in texts])]
        vectors = np.empty((len(texts), self.contract.dimension), dtype=np.float32)

        def encode(batch: list[int]) -> None:
            vectors[batch] = self._run(self._narrow, [tokens[row] for row in batch])

        run_batches(tokens, encode, self.cores)
        return vectors

    def _run(self, session: onnxruntime.InferenceSession, tokens: Sequence[Sequence[int]]) -> Vectors:
        feed = padded(tokens, self.contract.pad_token_id, self._inputs)
        vectors: Vectors = session.run(["sentence_embedding"], feed)[0]
        return vectors


def _frozen(vector: Vectors) -> Vectors:
    """Return a read-only copy: no view that would keep a whole batch, and nobody can change what others are given."""
    copy = np.array(vector)
    copy.flags.writeable = False
    return copy


def _entry_bytes(query: str, vector: Vectors) -> int:
    return sys.getsizeof(query) + sys.getsizeof(vector) + 100  # and the entry itself
