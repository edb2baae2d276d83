"""ONNX Runtime sessions, tokenizers and padded batches, shared by all models that run without torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from indexer.errors import UserError

BATCH_TOKENS = 512
"""Padded tokens in a batch. On a CPU a small batch that stays in the cache is faster than a large one (measured)."""
GPU_BATCH_TOKENS = 16_384
"""The same on a GPU, which small batches leave idle (not measured)."""
CUDA = "CUDAExecutionProvider"

Ids = npt.NDArray[np.int64]


def load_tokenizer(model: Path) -> Tokenizer:
    """Load the tokenizer of a model directory, neither truncating nor padding.

    Raises:
        UserError: the directory has no tokenizer.json.
    """
    path = model / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{path}: missing; publish the model with `python -m trainer base`")
    tokenizer = Tokenizer.from_buffer(path.read_bytes())  # `from_file` raises no OSError where it cannot open the file
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def open_session(path: Path, threads: int, *, gpu: bool = False) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU, or on the GPU; on the CPU each call of the session uses this many ``threads``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers: list[Any] = ["CPUExecutionProvider"]
    if gpu:  # TF32 has a mantissa of 10 bits: vectors would differ from those of a CPU in the fourth digit
        providers.insert(0, (CUDA, {"use_tf32": 0}))
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


def has_gpu_support() -> bool:
    """Say whether the ONNX Runtime that is installed can use a GPU (`onnxruntime-gpu`)."""
    return CUDA in onnxruntime.get_available_providers()


def batches_by_length(tokens: Sequence[Sequence[int]], budget: int) -> list[list[int]]:
    """Group positions of ``tokens``, longest first, into batches whose rows × longest row is at most ``budget``.

    A sequence that is longer than the budget gets a batch of its own.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    for position in sorted(range(len(tokens)), key=lambda row: -len(tokens[row])):
        if batch and len(tokens[batch[0]]) * (len(batch) + 1) > budget:
            batches.append(batch)
            batch = []
        batch.append(position)
    return [*batches, batch] if batch else batches


def run_batches(
    tokens: Sequence[Sequence[int]], run: Callable[[list[int]], None], cores: int, budget: int = BATCH_TOKENS
) -> None:
    """Call ``run`` with the positions of each batch of similar length; ``cores`` calls run in parallel.

    A batch holds at most ``budget`` padded tokens, or a single sequence: with 1, each sequence is alone.
    """
    with ThreadPoolExecutor(cores) as threads:
        for future in [threads.submit(run, batch) for batch in batches_by_length(tokens, budget)]:
            future.result()


def padded(
    tokens: Sequence[Sequence[int]],
    pad_token_id: int,
    inputs: Collection[str],
    types: Sequence[Sequence[int]] | None = None,
) -> dict[str, Ids]:
    """Return the input arrays of a batch, each of shape (len(tokens), longest).

    Args:
        tokens: ids of each row.
        pad_token_id: fills up shorter rows.
        inputs: names of the graph's inputs; what it does not take is left out.
        types: segment of each token; by default 0.
    """
    shape = len(tokens), max(map(len, tokens))
    ids = np.full(shape, pad_token_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    segments = np.zeros(shape, dtype=np.int64)
    for row, sequence in enumerate(tokens):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
        if types is not None:
            segments[row, : len(sequence)] = types[row]
    arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
    return {name: arrays[name] for name in inputs}
