"""The head of a fine-tuning starts as a linear probe: fitted to what the untouched encoder says of the texts.

A random head sends random gradients through the encoder and spoils what it knows before it has learned anything itself
(Kumar et al. 2022, «Fine-tuning can distort pretrained features and underperform out-of-distribution»,
https://arxiv.org/abs/2202.10054). A probe takes seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from indexer.progress import Bar
from trainer.classify.classify_start import Start
from trainer.classify.data import FEWEST, Labelled, Part
from trainer.classify.head import fit_with
from trainer.classify.settings import ClassifyTrainSettings

MOST_ROWS = 5_000
"""Rows that the probe is fitted to; more change little."""
BATCH = 64
FREEDOM = 0.1
"""scikit-learn's C: held back, since a head that is sure of itself leaves no gradients to learn from."""


def probe(start: Start, data: Labelled, settings: ClassifyTrainSettings) -> None:
    """Fit the last layer of the model of ``start`` to the training rows, in place; the other weights stay as they are."""
    last = [module for module in start.model.modules() if isinstance(module, nn.Linear)][-1]
    part = data.train
    if len(part.texts) > MOST_ROWS:
        rows = np.random.default_rng(settings.seed).permutation(len(part.texts))[:MOST_ROWS]
        if part.truth[rows].sum(axis=0).min() < FEWEST:  # a label that is too rare for a sample: the head stays random
            return
        part = Part([part.texts[row] for row in rows], part.truth[rows], part.seen[rows])
    features = _inputs_of(last, start, part.texts)
    # On one scale, whatever the encoder's is; folded back into weights and bias.
    mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    head = fit_with((features - mean) / spread, part.truth, FREEDOM, settings, multi_label=data.multi_label)
    weight = head.weight / spread
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(weight))
        last.bias.copy_(torch.from_numpy(head.bias - weight @ mean))


@torch.no_grad()
def _inputs_of(layer: nn.Linear, start: Start, texts: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return what the layer is given for each text, shape (texts, features)."""
    given: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _, inputs, __: given.append(inputs[0].detach()))
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    network: nn.Module = start.model
    network.eval()
    try:
        with Bar("read the texts", len(texts), "texts") as bar:
            for first in range(0, len(order), BATCH):
                some = [texts[row] for row in order[first : first + BATCH]]
                network(
                    **start.tokenizer(
                        some, truncation=True, max_length=start.max_tokens, padding=True, return_tensors="pt"
                    )
                )
                bar.advance(len(some))
    finally:
        handle.remove()
        network.train()
    found = np.empty((len(texts), layer.in_features), dtype=np.float32)
    found[order] = torch.cat(given).float().numpy()
    return found
