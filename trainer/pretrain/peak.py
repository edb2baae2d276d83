"""What a training step costs in floating-point operations, and what a GPU can do in a second."""

from __future__ import annotations

import re

from transformers import PretrainedConfig

PEAKS = {
    "B200": 2250, "GB200": 2450, "H200": 989, "GH200": 989, "H100 NVL": 835, "H100 PCIe": 756, "H100": 989, "H800": 989,
    "A100": 312, "A800": 312, "A40": 150, "A30": 165, "A10G": 70, "A10": 125, "L40S": 362, "L40": 181, "L4": 121,
    "RTX 6000 Ada": 364, "RTX 5090": 210, "RTX 4090": 165, "RTX 4080": 97, "RTX 3090": 71, "RTX A6000": 155,
    "MI300X": 1307, "MI250X": 383,
}  # fmt: skip
"""Part of a GPU's name → its dense bf16 peak in 10¹² operations a second, without sparsity, as its maker gives it."""


def peak(name: str) -> float | None:
    """Return the dense bf16 peak of a GPU in operations a second, or None for one that is not known."""
    matching = [part for part in PEAKS if re.search(rf"\b{re.escape(part)}\b", name, re.IGNORECASE)]
    return PEAKS[max(matching, key=len)] * 1e12 if matching else None


def operations_per_token(config: PretrainedConfig, length: float, mask: float) -> float:
    """Return what one token costs, forward and backward, counted as the field does: 6 for each weight of a matrix.

    Args:
        config: of the model.
        length: tokens of a sequence, which attention multiplies with each other.
        mask: share of the positions at which the vocabulary is scored.
    """
    width, inner = config.hidden_size, config.intermediate_size
    layer = 4 * width * width + 2 * width * inner + 2 * width * length
    head = mask * (width * width + width * config.vocab_size)
    return float(6 * (config.num_hidden_layers * layer + head))
