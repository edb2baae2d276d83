"""A map behind an encoder in sentence-transformers' format: a Dense module, which the library itself can load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules

from indexer.inference.encoder import Vectors
from trainer.models.load import load_encoder


def with_map(directory: Path, matrix: Vectors | None) -> SentenceTransformer:
    """Return the model in ``directory`` with a linear map and Normalize behind it, or unchanged where there is no map.

    Args:
        directory: a sentence-transformers directory.
        matrix: maps the model's unit vectors, shape (dimension, dimension).
    """
    model = load_encoder(directory)
    if matrix is None:
        return model
    # No Normalize before the map: without a bias, the length of its input changes only the length of its output.
    parts = list(model)
    if isinstance(parts[-1], modules.Normalize):
        parts.pop()
    return _extended(model, [*parts, _dense(matrix, None), modules.Normalize()])


def with_affine_map(directory: Path, matrix: Vectors, bias: Vectors) -> SentenceTransformer:
    """Return the model in ``directory`` with an affine map of its unit vectors behind it, whose results get unit length.

    Args:
        directory: a sentence-transformers directory.
        matrix: shape (new dimension, dimension).
        bias: shape (new dimension,).
    """
    model = load_encoder(directory)
    parts = list(model)
    if not isinstance(parts[-1], modules.Normalize):
        parts.append(modules.Normalize())
    return _extended(model, [*parts, _dense(matrix, bias), modules.Normalize()])


def _dense(matrix: Vectors, bias: Vectors | None) -> modules.Dense:
    dense = modules.Dense(
        matrix.shape[1], matrix.shape[0], bias=bias is not None, activation_function=torch.nn.Identity()
    )
    with torch.no_grad():
        dense.linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(matrix)))
        if bias is not None:
            dense.linear.bias.copy_(torch.from_numpy(bias))
    return dense


def _extended(model: SentenceTransformer, parts: list[torch.nn.Module]) -> SentenceTransformer:
    """Return a model of these modules with the prompts of ``model``."""
    return SentenceTransformer(
        modules=parts,
        prompts={name: prompt for name, prompt in model.prompts.items() if prompt is not None},
        default_prompt_name=model.default_prompt_name,
        device="cpu",
    ).eval()
