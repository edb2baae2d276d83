"""The student: the full encoder with a part of its feed-forward neurons, chosen and fitted by least squares.

The layers are pruned from the first to the last. What leads back from the neurons that stay is a regression to what the
full encoder has there. It is made on what the pruned layers before give, and so mends their error too. Where a norm
follows, tokens weigh as the norm weighs them: a few have states that are fifteen times as large as those of the others.
None of this needs a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize
from torch import Tensor, nn

from indexer.errors import UserError
from indexer.progress import Bar
from trainer.models.load import load_encoder
from trainer.query_encoder.feed_forward import Call, FeedForward, choose_neurons, find_feed_forward
from trainer.training.base_model import find_blocks, find_transformer

SHARE = 4
"""One neuron of so many stays. Of BERT's layers that leaves half of the multiplications."""
PENALTY = 1e-6
"""Weight of the penalty of the regressions, a share of the mean variance."""
BATCH = 64


@torch.no_grad()
def find_parts(model: SentenceTransformer) -> list[FeedForward | None]:
    """Return the feed-forward part of each layer; None for a layer where it has no known form."""
    layers, width = _layers(model)
    _, [calls] = _record(model, layers, [["two short", "texts to try"]])
    return [
        find_feed_forward(layer, width, replace(call, states=calls[0].states))
        for layer, call in zip(layers, calls, strict=True)
    ]


@torch.no_grad()
def make_student(directory: Path, texts: Sequence[str]) -> tuple[SentenceTransformer, list[int]]:
    """Return the encoder in ``directory`` with fewer neurons, and how many each layer has; 0 where none were removed.

    Args:
        directory: of the full encoder, in sentence-transformers' format.
        texts: a sample of short texts, with the prompt of queries.

    Raises:
        UserError: no layer has a feed-forward part of a known form.
    """
    model = load_encoder(directory).float()
    parts = find_parts(model)
    if not any(parts):
        raise UserError(f"{directory}: no layer has a feed-forward part of a known form; leave out --query-encoder")
    order = np.argsort([len(text) for text in texts])  # little padding
    batches = [[texts[row] for row in order[start : start + BATCH]] for start in range(0, len(order), BATCH)]
    layers, _ = _layers(model)
    masks, calls = _record(model, layers, batches)
    wanted = states = [call[0].states for call in calls]
    with Bar("query encoder: remove neurons", len(layers), "layers") as bar:
        for row, (layer, part) in enumerate(zip(layers, parts, strict=True)):
            own = [call[row] for call in calls]
            wanted, full = _run(layer, part, own, wanted, masks)
            if part:
                _, pruned = _run(layer, part, own, states, masks)
                targets = full["outputs"]
                weights = torch.ones(len(targets), 1)
                if part.adds_inputs:
                    sums = targets + full["inputs"]
                    targets = sums - pruned["inputs"]
                    weights = 1 / sums.std(1, keepdim=True)  # as the norm of the sum weighs each token
                count = part.back.in_features // SHARE
                part.keep(*choose_neurons(pruned["neurons"], targets, weights, count, PENALTY))
            states, _ = _run(layer, None, own, states, masks)
            bar.advance(1)
    if not isinstance(model[-1], Normalize):
        model.append(Normalize())
    # Most of the weights, and of AdamW's time; words that no text has keep their meaning.
    find_transformer(model).get_input_embeddings().requires_grad_(requires_grad=False)
    return model, [part.back.in_features if part else 0 for part in parts]


def _layers(model: SentenceTransformer) -> tuple[list[nn.Module], int]:
    """Return the layers of the transformer, and the width of their states."""
    transformer = find_transformer(model)
    return list(find_blocks(transformer)), int(transformer.config.hidden_size)


def _record(
    model: SentenceTransformer, layers: Sequence[nn.Module], batches: Sequence[list[str]]
) -> tuple[list[Tensor], list[list[Call]]]:
    """Return for each batch the mask of its tokens, and the call of each layer; only the first keeps its states."""
    masks: list[Tensor] = []
    calls: list[list[Call]] = []

    def record(_: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        call = Call.of(arguments, options)
        calls[-1].append(replace(call, states=call.states.new_empty(0)) if calls[-1] else call)

    with _hooked([layer.register_forward_pre_hook(record, with_kwargs=True) for layer in layers]):
        for batch in batches:
            features = model.preprocess(batch)
            masks.append(features["attention_mask"].bool())
            calls.append([])
            model(features)
    return masks, calls


def _run(
    layer: nn.Module, part: FeedForward | None, calls: Sequence[Call], states: Sequence[Tensor], masks: Sequence[Tensor]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Run a layer on the states of all batches.

    Returns:
        Its states, and of its ``part`` the inputs, neurons and outputs of all tokens, each of shape (tokens, size).
    """
    seen: dict[str, list[Tensor]] = {"inputs": [], "neurons": [], "outputs": []}
    made = []
    for call, some, mask in zip(calls, states, masks, strict=True):
        hooks: list[Any] = []
        if part:

            def before(_: nn.Module, given: tuple[Tensor], mask: Tensor = mask) -> None:
                seen["inputs"].append(given[0][mask])

            def after(_: nn.Module, given: tuple[Tensor], output: Tensor, mask: Tensor = mask) -> None:
                seen["neurons"].append(given[0][mask])
                seen["outputs"].append(output[mask])

            hooks = [part.into[0].register_forward_pre_hook(before), part.back.register_forward_hook(after)]
        with _hooked(hooks):
            made.append(call.run(layer, some))
    return made, {name: torch.cat(values) for name, values in seen.items() if values}


@contextmanager
def _hooked(hooks: Sequence[Any]) -> Iterator[None]:
    """Remove hooks at the end."""
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
