"""The student: some layers of an encoder, and linear maps in place of the others, found by ridge regression.

A layer expects what the layers before it made. So each layer that follows a gap gets a *bridge*: the linear map from what
the student has there to what the full encoder has there, for each token. After the pooling a last map leads to the full
encoder's vectors. All maps are regressions on a sample of texts, and need no gradient. Without the bridges the student
begins far worse (docs/experiments/encoder.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling
from torch import Tensor, nn

from indexer.errors import UserError
from indexer.inference.encoder import Vectors
from trainer.models.load import load_encoder
from trainer.training.base_model import find_blocks, find_transformer

LAYERS = 3
"""Layers of the student, but at most half of the encoder's."""
BRIDGE_PENALTY, HEAD_PENALTY = 1e-4, 1e-2
"""Weights of the penalty of the regressions on tokens, and on texts, which are fewer; shares of the mean variance."""
BATCH = 64


class Bridge(nn.Module):
    """A layer of a transformer with a linear map before it, which stands for the layers that were left out."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer = layer
        self.linear = nn.Linear(width, width)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the layer: some architectures ask a layer for its kind of attention."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, states: Tensor, *arguments: Any, **options: Any) -> Any:
        """Run the layer on the mapped states."""
        return self.layer(self.linear(states), *arguments, **options)


def kept_layers(depth: int) -> list[int]:
    """Return the positions of the layers that a student of an encoder of this ``depth`` has; none where it has too few.

    These are the first ones and the last. A single gap needs a single bridge, and costs no more than two smaller gaps.
    """
    count = min(LAYERS, depth // 2)
    return [*range(count - 1), depth - 1] if count > 1 else [0] * count


def make_student(directory: Path) -> tuple[SentenceTransformer, list[int]]:
    """Return the encoder in ``directory`` with only some layers and with maps that are not fitted yet, and those layers.

    Raises:
        UserError: the encoder has a single layer, or layers of an unknown architecture.
    """
    teacher = load_encoder(directory).float()
    transformer = find_transformer(teacher)
    blocks = find_blocks(transformer)
    if not (layers := kept_layers(len(blocks))):
        raise UserError(f"{directory}: the model has one layer, and fewer are none; leave out --query-encoder")
    width = int(transformer.config.hidden_size)
    student: list[nn.Module] = []
    for position, layer in enumerate(layers):
        follows = layer == (layers[position - 1] + 1 if position else 0)
        student.append(blocks[layer] if follows else Bridge(blocks[layer], width))
    del blocks[:]
    blocks.extend(student)
    transformer.config.num_hidden_layers = len(layers)
    if kinds := getattr(transformer.config, "layer_types", None):
        transformer.config.layer_types = [kinds[layer] for layer in layers]
    parts = list(teacher)
    position, pooling = next((position, part) for position, part in enumerate(parts) if isinstance(part, Pooling))
    pooled = int(pooling.get_embedding_dimension())
    dimension = int(teacher.get_embedding_dimension() or 0)
    head = Dense(pooled, dimension, bias=True, activation_function=nn.Identity())
    model = SentenceTransformer(modules=[*parts[: position + 1], head, Normalize()], device="cpu")
    transformer.get_input_embeddings().requires_grad_(requires_grad=False)  # most of the weights, and of AdamW's time
    return model.eval(), layers


@torch.no_grad()
def fit_maps(student: SentenceTransformer, directory: Path, texts: Sequence[str], vectors: Vectors) -> None:
    """Fit all maps of ``student`` by regression, each on what the maps before it make.

    Args:
        student: of `make_student`.
        directory: of the full encoder.
        texts: the sample, with the prompt of queries.
        vectors: of the full encoder for these texts, shape (texts, dimension).
    """
    order = np.argsort([len(text) for text in texts])  # little padding
    texts, vectors = [texts[row] for row in order], vectors[order]
    teacher = load_encoder(directory).float()
    blocks = find_blocks(find_transformer(student))
    bridges = {position: block for position, block in enumerate(blocks) if isinstance(block, Bridge)}
    originals = find_blocks(find_transformer(teacher))
    layers = kept_layers(len(originals))
    wanted = _inputs(teacher, [originals[layers[position]] for position in bridges], texts)
    for bridge, target in zip(bridges.values(), wanted, strict=True):
        (states,) = _inputs(student, [bridge], texts)
        _set(bridge.linear, _regression(states, target, BRIDGE_PENALTY))
    head = next(part for part in student if isinstance(part, Dense))
    (pooled,) = _inputs(student, [head], texts)
    _set(head.linear, _regression(pooled, torch.from_numpy(vectors), HEAD_PENALTY))


@contextmanager
def _recording(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Record the input of each module in the forward passes within the context; the list has the last pass's."""
    inputs: list[Tensor] = [torch.empty(0)] * len(modules)

    def record(position: int) -> Any:
        def hook(_: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
            value = arguments[0] if arguments else options["hidden_states"]
            inputs[position] = value if isinstance(value, Tensor) else value["sentence_embedding"]

        return hook

    handles = [
        module.register_forward_pre_hook(record(position), with_kwargs=True) for position, module in enumerate(modules)
    ]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()


def _inputs(model: SentenceTransformer, modules: Sequence[nn.Module], texts: Sequence[str]) -> list[Tensor]:
    """Return what each module gets for all ``texts``: a row for each token, or for each text behind the pooling."""
    parts: list[list[Tensor]] = [[] for _ in modules]
    if not modules:
        return []
    with _recording(modules) as inputs:
        for start in range(0, len(texts), BATCH):  # in their order: the regressions compare rows of two models
            features = model.preprocess(list(texts[start : start + BATCH]))
            mask = features["attention_mask"].bool()
            model(features)
            for part, value in zip(parts, inputs, strict=True):
                part.append(value[mask] if value.ndim == mask.ndim + 1 else value)
    return [torch.cat(part) for part in parts]


def _regression(inputs: Tensor, targets: Tensor, weight: float) -> Tensor:
    """Return the ridge regression from ``inputs`` to ``targets``, shape (inputs + 1, targets); the last row is the bias."""
    rows = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1).double()
    gram = rows.T @ rows
    penalty = weight * gram.trace() / len(gram) * torch.eye(len(gram), dtype=gram.dtype)
    solution: Tensor = torch.linalg.solve(gram + penalty, rows.T @ targets.double())
    return solution.float()


def _set(linear: nn.Linear, solution: Tensor) -> None:
    linear.weight.copy_(solution[:-1].T)
    linear.bias.copy_(solution[-1])
