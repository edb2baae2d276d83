"""Encoder: the one place where text becomes a vector, by ONNX Runtime and `tokenizers`, without torch.

A model may have a second, small graph for queries, which was fitted to the vectors of the full one. Or its queries are
encoded by another model, with a tokenizer and a prompt of its own, and mapped to these vectors. Documents always get
their vectors from the full graph.

There are two ONNX Runtime sessions over a model file. The *narrow* session uses one thread per call: as many calls as
there are cores run in parallel without waiting for each other. The *wide* session spreads one call over the cores: a
query that comes alone uses it, and is answered sooner, unless other programs use the cores (`pace.py`). The measurements
are in docs/decisions/encoder.md.

A query's vector is the same to the bit whoever else asks at that moment. So queries share a batch, and the wide session
is used, only where a probe at the start finds that both give exactly the vector of a query alone on one thread.

The vectors of recent queries can be cached, for each owner its own: users page through results, and repeat queries.
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
from tokenizers import Tokenizer

from indexer.artifacts.manifest import EncoderContract, read_manifest
from indexer.cache import ENTRY_BYTES, OwnedCache
from indexer.errors import UserError
from indexer.inference.pace import Pace
from indexer.inference.session import (
    BATCH_TOKENS,
    GPU_BATCH_TOKENS,
    has_gpu_support,
    load_tokenizer,
    open_session,
    padded,
    run_batches,
)

Precision = Literal["fp32", "int8"]
QueryEncoder = Literal["full", "small", "bridge"]
Vectors = npt.NDArray[np.float32]

MODEL_FILES: dict[Precision, str] = {"fp32": "onnx/model.onnx", "int8": "onnx/model_int8.onnx"}
QUERY_FILE = "onnx/query.onnx"
"""Graph of the small query encoder, of a model that has one."""
BRIDGE = "query"
"""Folder of the other model that encodes the queries, of a model that has one."""
BRIDGE_GRAPH, BRIDGE_CONTRACT = "model.onnx", "contract.json"
"""Files in it, beside its tokenizer: the graph that ends in the map, and what the other model says of its inputs."""
CONTENTION_WINDOW = 0.25
"""Seconds after two concurrent queries for which every query gets one thread: under load others need the cores."""
FIXED_TOKENS = 10
"""A query without a token takes as long as so many tokens: times of queries of unlike lengths are compared so."""
PROBE = "which of the small museums of the old town are open on holidays, and what do they show of clocks and watches?"
PROBES = [PROBE[:length] for length in (1, 8, 15, 23, 38, 61, len(PROBE))]
"""Texts of unlike lengths, for finding out at the start whether an encoder's vectors depend on company or threads."""


@dataclass(frozen=True)
class TokenCount:
    """How many tokens of a text the model reads, special ones included, and whether the end was truncated."""

    tokens: int
    truncated: bool


class Encoder:
    """A published model that encodes queries and documents. Safe to use from several threads.

    Attributes:
        folder: of the model.
        contract: what the model's own files say about prompts, length, pooling and normalisation.
        precision: weights of 32-bit floats, or 8-bit integers (faster, slightly less exact).
        cores: how many calls run in parallel.
        query_encoder: whether queries are encoded by the model's small graph, which has 32-bit weights, or by the full
            one as documents are. A model whose queries are encoded by another one always has `bridge`.
        device: on which the full graph runs: `cuda` where ``gpu`` is asked for and ONNX Runtime has it, else `cpu`.

    ``query_cache_bytes`` is the memory for the vectors of recent queries; by default none are cached.
    """

    def __init__(
        self,
        model: Path,
        contract: EncoderContract,
        precision: Precision = "fp32",
        cores: int | None = None,
        query_cache_bytes: int = 0,
        *,
        query_encoder: QueryEncoder = "full",
        gpu: bool = False,
    ) -> None:
        self.device = "cuda" if gpu and has_gpu_support() else "cpu"
        self.folder = model
        self.contract = contract
        self.precision: Precision = precision
        self.cores = cores or len(os.sched_getaffinity(0))
        # Truncation is configured once, here: a tokenizer that is changed while another thread uses it raises an error.
        self._tokenizer = load_tokenizer(model)
        self._tokenizer.enable_truncation(contract.max_tokens)
        path = model / MODEL_FILES[precision]
        if not path.is_file():
            flag = " --int8" if precision == "int8" else ""
            raise UserError(
                f"{path}: the model has no {precision} weights; publish it with `python -m trainer base{flag}`"
            )
        # Its own graph knows neither the prompt nor the words of the other model.
        self.query_encoder: QueryEncoder = "bridge" if (model / BRIDGE).is_dir() else query_encoder
        # Integer weights are no faster on two threads: a second session would only cost memory.
        wide = self.cores > 1 and precision == "fp32" and self.device == "cpu"
        if query_encoder == "small" and not (model / QUERY_FILE).is_file():
            raise UserError(f"{model / QUERY_FILE}: missing; build the index again with --query-encoder full")
        own = self.query_encoder == "full"
        self._documents = self._open(path, wide=wide and own, gpu=self.device == "cuda")
        self._query_tokenizer = self._tokenizer
        if self.query_encoder == "bridge":
            other = read_bridge(model)
            self._query_tokenizer = load_tokenizer(model / BRIDGE)
            self._query_tokenizer.enable_truncation(other.max_tokens)
            self._queries = _Graph(
                model / BRIDGE / BRIDGE_GRAPH, other.pad_token_id, min(self.cores, 4), _probes(self._query_tokenizer)
            )
        else:
            self._queries = self._documents if own else self._open(model / QUERY_FILE, wide=self.cores > 1)
        self._query_vectors: OwnedCache[str, Vectors] = OwnedCache(query_cache_bytes, _entry_bytes)
        self._running = 0
        self._last_contention = -CONTENTION_WINDOW
        self._pace = Pace()
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        model: Path,
        precision: Precision = "fp32",
        cores: int | None = None,
        query_cache_bytes: int = 0,
        *,
        query_encoder: QueryEncoder = "full",
        gpu: bool = False,
    ) -> Self:
        """Open the model artifact in directory ``model``.

        Raises:
            UserError: the directory is no model artifact, or has no weights of this precision, or no small query encoder.
        """
        contract = read_manifest(model).contract
        return cls(model, contract, precision, cores, query_cache_bytes, query_encoder=query_encoder, gpu=gpu)

    @property
    def batches_exactly(self) -> bool:
        """Whether queries that are encoded together get the vectors that they get alone, to the bit.

        They do not with 8-bit weights, whose activations have one scale for a whole batch, nor with models that Dowse
        published before December 2026.
        """
        return self._queries.batches_exactly

    def encode_query(self, query: str) -> Vectors:
        """Encode one query, its prompt included, or take its vector from the cache; return shape (dimension,)."""
        if (cached := self._query_vectors.get(query)) is not None:
            return cached
        ids = [self._query_tokenizer.encode(self.contract.query_prompt + query).ids]
        with self._lock:
            now = time.monotonic()
            if self._running:
                self._last_contention = now
            alone = now - self._last_contention > CONTENTION_WINDOW
            self._running += 1
        spread = alone and self._queries.can_spread and self._pace.prefer()
        try:
            vector: Vectors = self._queries.run(ids, spread=spread)[0]
            if alone:
                work = len(ids[0]) + FIXED_TOKENS
                self._pace.add((time.monotonic() - now) / work, preferred=spread)
        finally:
            with self._lock:
                self._running -= 1
        self._query_vectors.put(query, _frozen_copy(vector))
        return vector

    def encode_batch(self, queries: Sequence[str]) -> Vectors:
        """Encode a few queries of similar length in one call on one core; return shape (len(queries), dimension).

        Only with `batches_exactly` are these the vectors of `encode_query`.
        """
        vectors = np.empty((len(queries), self.contract.dimension), dtype=np.float32)
        new = []
        for row, query in enumerate(queries):
            if (cached := self._query_vectors.get(query)) is None:
                new.append(row)
            else:
                vectors[row] = cached
        if new:
            with self._lock:
                self._last_contention = time.monotonic()
            # One by one: `encode_batch` of the tokenizer hands its few rows to threads that wait for a core.
            prompted = [self.contract.query_prompt + queries[row] for row in new]
            vectors[new] = self._queries.run([self._query_tokenizer.encode(text).ids for text in prompted])
            for row in new:
                self._query_vectors.put(queries[row], _frozen_copy(vectors[row]))
        return vectors

    def encode_documents(self, texts: Sequence[str], *, exactly: bool = False) -> Vectors:
        """Encode texts of the corpus, the document prompt included; return shape (len(texts), dimension).

        Batches hold texts of similar length and at most `BATCH_TOKENS` padded tokens; the cores share them. With
        ``exactly``, a text's vector does not depend on the others to the bit; with 8-bit weights it never does.
        """
        exactly |= self.precision == "int8"
        prompted = [self.contract.document_prompt + text for text in texts]
        return self._encode(self._documents, self._tokenizer, prompted, exactly=exactly)

    def encode_queries(self, queries: Sequence[str]) -> Vectors:
        """Encode many queries, the query prompt included; return shape (len(queries), dimension).

        Each vector is to the bit that of `encode_query`.
        """
        prompted = [self.contract.query_prompt + query for query in queries]
        return self._encode(self._queries, self._query_tokenizer, prompted, exactly=True)

    def has_token(self, word: str) -> bool:
        """Say whether the tokenizer of queries has a word as a whole, in its own vocabulary."""
        tokens = self._query_tokenizer.encode(word, add_special_tokens=False)
        return len(tokens.ids) == 1 and tokens.offsets[0] == (0, len(word)) and "unk" not in tokens.tokens[0].lower()

    def count_tokens(self, texts: Sequence[str], *, queries: bool) -> list[TokenCount]:
        """Return how many tokens the model reads of each text, its prompt included; nothing is encoded.

        The texts are ``queries``, or else texts of the corpus.
        """
        tokenizer = self._query_tokenizer if queries else self._tokenizer
        prompt = self.contract.query_prompt if queries else self.contract.document_prompt
        encodings = tokenizer.encode_batch([prompt + text for text in texts])
        return [TokenCount(len(encoding.ids), bool(encoding.overflowing)) for encoding in encodings]

    def _open(self, path: Path, *, wide: bool, gpu: bool = False) -> _Graph:
        """Open a graph of the model's own tokens, with a session over several cores where ``wide``, and probe it."""
        threads = min(self.cores, 4) if wide else 1
        return _Graph(path, self.contract.pad_token_id, threads, _probes(self._tokenizer), gpu=gpu)

    def _encode(self, graph: _Graph, tokenizer: Tokenizer, texts: Sequence[str], *, exactly: bool) -> Vectors:
        tokens = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        vectors = np.empty((len(texts), self.contract.dimension), dtype=np.float32)

        def encode(batch: list[int]) -> None:
            vectors[batch] = graph.run([tokens[row] for row in batch])

        budget = GPU_BATCH_TOKENS if graph is self._documents and self.device == "cuda" else BATCH_TOKENS
        run_batches(tokens, encode, self.cores, budget=1 if exactly and not graph.batches_exactly else budget)
        return vectors


def read_bridge(model: Path) -> EncoderContract:
    """Return what the other model that encodes the queries of ``model`` says of its inputs.

    Raises:
        UserError: the file is missing or not readable.
    """
    path = model / BRIDGE / BRIDGE_CONTRACT
    try:
        return EncoderContract.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{path}: not readable; publish the model with `python -m trainer bridge` again") from error


def _probes(tokenizer: Tokenizer) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(PROBES)]


class _Graph:
    """An ONNX file with its sessions: narrow, and perhaps wide.

    Args:
        path: of the file.
        pad_token_id: fills up the shorter rows of a batch.
        threads: of the wide session; with 1 there is none.
        probes: tokens of texts of unlike lengths.
        gpu: whether it runs there.
    """

    def __init__(
        self, path: Path, pad_token_id: int, threads: int, probes: list[list[int]], *, gpu: bool = False
    ) -> None:
        self._pad_token_id = pad_token_id
        self._narrow = open_session(path, threads=1, gpu=gpu)
        self._wide = open_session(path, threads=threads) if threads > 1 else self._narrow
        self._inputs = {node.name for node in self._narrow.get_inputs()}
        self.batches_exactly, spreads_exactly = self._probe(probes)
        if not spreads_exactly:
            self._wide = self._narrow
        self.can_spread = self._wide is not self._narrow

    def run(self, tokens: Sequence[Sequence[int]], *, spread: bool = False) -> Vectors:
        """Return the vectors of a batch, on one core, or ``spread`` over several."""
        return self._run(self._wide if spread else self._narrow, tokens)

    def _run(self, session: onnxruntime.InferenceSession, tokens: Sequence[Sequence[int]]) -> Vectors:
        feed = padded(tokens, self._pad_token_id, self._inputs)
        vectors: Vectors = session.run(["sentence_embedding"], feed)[0]
        return vectors

    def _probe(self, tokens: list[list[int]]) -> tuple[bool, bool]:
        """Say whether texts in a batch, and a text on several threads, get the vectors of one alone on one, to the bit."""
        alone = np.concatenate([self._run(self._narrow, [ids]) for ids in tokens])
        together = np.concatenate([self._run(self._narrow, tokens[row : row + 3]) for row in range(0, len(tokens), 3)])
        whole = self._run(self._narrow, tokens)
        one_session = self._wide is self._narrow
        spread = alone if one_session else np.concatenate([self._run(self._wide, [ids]) for ids in tokens])
        return np.array_equal(together, alone) and np.array_equal(whole, alone), np.array_equal(spread, alone)


def _frozen_copy(vector: Vectors) -> Vectors:
    """Return a read-only copy: a view would keep a whole batch in memory, and callers share what is cached."""
    copy = np.array(vector)
    copy.flags.writeable = False
    return copy


def _entry_bytes(query: str, vector: Vectors) -> int:
    return sys.getsizeof(query) + sys.getsizeof(vector) + ENTRY_BYTES
