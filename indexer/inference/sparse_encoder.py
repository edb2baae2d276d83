"""Learned-sparse encoder: documents → weights of terms by ONNX Runtime, queries → weights by a table; no torch.

    onnx/model.onnx       input_ids, attention_mask (, token_type_ids) → weights (batch, terms)
    tokenizer.json        of documents
    query/tokenizer.json  of queries
    query/weights.npy     weight of each term in a query, float32, shape (terms,)

A term is a piece of the tokenizer. A document gets weights also for terms that it does not contain (Formal and others,
«SPLADE v2», 2021). A query gets the weights of its own terms and needs no model (Geng and others, «Towards Competitive
Search Relevance For Inference-Free Learned Sparse Retrievers», 2024). A score is the sum of products over common terms.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnxruntime

from indexer.artifacts.manifest import EncoderContract, read_manifest
from indexer.artifacts.store import ID_PATTERN, Store
from indexer.errors import UserError
from indexer.inference.passages import PassageMaker, PassageMode
from indexer.inference.session import load_tokenizer, open_session, padded, run_batches

GRAPH = "onnx/model.onnx"
QUERY_FOLDER = "query"
QUERY_WEIGHTS = "weights.npy"
CURRENT = "current"
MIN_WEIGHT = 0.01
"""Smaller weights are left out: a score is a sum of some ten products of numbers around 1."""
OUTPUT_BYTES = 64 << 20
"""Memory for the output of the texts that are encoded in one step: a float for each term of the vocabulary."""

Offsets = npt.NDArray[np.int64]
Terms = npt.NDArray[np.int32]
Weights = npt.NDArray[np.float16]
Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SparseVectors:
    """Sparse vectors as compressed rows.

    Attributes:
        offsets: where each vector begins in the other two, and the end, shape (vectors + 1,).
        terms: ascending within a vector.
        weights: of the terms, float16.
    """

    offsets: Offsets
    terms: Terms
    weights: Weights

    def __len__(self) -> int:
        """Return the number of vectors."""
        return len(self.offsets) - 1

    @classmethod
    def of(cls, vectors: Sequence[tuple[Terms, Weights]]) -> Self:
        """Put vectors, each of terms and weights, one below the other."""
        offsets = np.concatenate([[0], np.cumsum([len(terms) for terms, _ in vectors])]).astype(np.int64)
        terms = np.concatenate([np.empty(0, np.int32), *(terms for terms, _ in vectors)]).astype(np.int32)
        weights = np.concatenate([np.empty(0, np.float16), *(weights for _, weights in vectors)]).astype(np.float16)
        return cls(offsets, terms, weights)

    @classmethod
    def joined(cls, parts: Iterable[SparseVectors]) -> Self:
        """Put several groups of vectors one below the other."""
        return cls.of([vector for part in parts for vector in part.vectors()])

    def vectors(self) -> list[tuple[Terms, Weights]]:
        """Return terms and weights of each vector."""
        bounds = self.offsets.tolist()
        return [(self.terms[start:end], self.weights[start:end]) for start, end in pairwise(bounds)]


class SparseEncoder:
    """A published learned-sparse model. Safe to use from several threads.

    Queries need only a tokenizer and a table; the graph is opened with the first document.

    Args:
        model: directory of the artifact.
        contract: lengths and prompts; its dimension is the number of terms.
        query_tokens: longest query; None for any length.
        cores: how many batches of documents run in parallel.
    """

    def __init__(
        self, model: Path, contract: EncoderContract, query_tokens: int | None = None, cores: int | None = None
    ) -> None:
        self.folder = model
        self.contract = contract
        self.cores = cores or len(os.sched_getaffinity(0))
        path = model / QUERY_FOLDER / QUERY_WEIGHTS
        if not path.is_file():
            raise UserError(f"{path}: missing; publish the model with `python -m trainer sparse MODEL`")
        self._weights: Numbers = np.load(path, allow_pickle=False)
        if self._weights.shape != (contract.dimension,):
            raise UserError(
                f"{path}: has the shape {self._weights.shape} for a model of {contract.dimension} terms; publish it again"
            )
        self._query_tokenizer = load_tokenizer(model / QUERY_FOLDER)
        if query_tokens is not None:
            self._query_tokenizer.enable_truncation(query_tokens)

    @classmethod
    def open(cls, model: Path, cores: int | None = None) -> Self:
        """Open the published model in directory ``model``.

        Raises:
            UserError: the directory holds no learned-sparse model.
        """
        manifest = read_manifest(model)
        return cls(model, manifest.contract, manifest.config.get("query_tokens"), cores)

    @property
    def name(self) -> str:
        """Name of the directory: the artifact's id."""
        return self.folder.name

    def passage_maker(self, mode: PassageMode, overlap_tokens: int, columns: Sequence[str] = ()) -> PassageMaker:
        """Return what cuts documents into pieces that this model can read; they are longer than those of most encoders."""
        return PassageMaker(self.folder, self.contract, mode, overlap_tokens, columns)

    def query_terms(self, query: str) -> tuple[Terms, Numbers]:
        """Return the distinct terms of a query, ascending, and their weights; those without a weight are left out."""
        text = self.contract.query_prompt + query
        ids = self._query_tokenizer.encode(text, add_special_tokens=False).ids
        terms = np.unique(np.array(ids, dtype=np.int32))
        weights = self._weights[terms]
        asked = weights > 0
        return terms[asked], weights[asked]

    def encode_documents(self, texts: Sequence[str], max_terms: int) -> SparseVectors:
        """Return the sparse vectors of texts, the document prompt included.

        A vector has the ``max_terms`` largest weights of at least `MIN_WEIGHT`; of equal ones the lower term. Terms that
        no query gives a weight are left out.
        """
        vectors: list[tuple[Terms, Weights]] = []
        step = max(OUTPUT_BYTES // (4 * self.contract.dimension), 1)
        for start in range(0, len(texts), step):
            weights = self.document_weights(texts[start : start + step])
            vectors += [_largest(row, max_terms) for row in np.where(self._weights > 0, weights, np.float32(0))]
        return SparseVectors.of(vectors)

    def document_weights(self, texts: Sequence[str]) -> Numbers:
        """Return the weights of all terms for texts as the graph gives them, shape (len(texts), terms)."""
        prompt = self.contract.document_prompt
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch([prompt + text for text in texts])]
        weights = np.empty((len(texts), self.contract.dimension), dtype=np.float32)

        def run(batch: list[int]) -> None:
            feed = padded([tokens[row] for row in batch], self.contract.pad_token_id, self._inputs)
            weights[batch] = self._session.run(["weights"], feed)[0]

        run_batches(tokens, run, self.cores)
        return weights

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizer = load_tokenizer(self.folder)
        tokenizer.enable_truncation(self.contract.max_tokens)
        return tokenizer

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return open_session(self.folder / GRAPH, threads=1)

    @cached_property
    def _inputs(self) -> set[str]:
        return {node.name for node in self._session.get_inputs()}


def _largest(weights: Numbers, count: int) -> tuple[Terms, Weights]:
    """Return the terms with the ``count`` largest weights, ascending, and these weights."""
    terms = np.flatnonzero(weights >= MIN_WEIGHT)
    if len(terms) > count:
        terms = np.sort(terms[np.argsort(-weights[terms], kind="stable")[:count]])
    return terms.astype(np.int32), weights[terms].astype(np.float16)


def find_sparse_model(name: str, data: Path | None = None) -> Path:
    """Return the directory of a published learned-sparse model: ``current`` or an id. Its files are checked.

    Raises:
        UserError: there is no such model, or it was altered.
    """
    store = Store("sparse", data)
    if name != CURRENT and not ID_PATTERN.fullmatch(name):
        raise UserError(
            f"--sparse-model {name}: neither `current` nor an id; publish a model with "
            f"`python -m trainer sparse MODEL`, see `{store.command('list')}`"
        )
    folder = store.resolve(None if name == CURRENT else name)
    store.verify(folder.name)
    return folder
