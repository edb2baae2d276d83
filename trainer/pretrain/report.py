"""Report of a pre-training, `report.json`; and the share of a GPU's peak in floating-point operations that it used."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from transformers import PretrainedConfig

from trainer.pretrain.objective import HeldOutMetrics

FORMAT = 1
FOLDER = "report"
PREFIX = "held_out_"
"""Prefix of the held-out metrics in the log."""
PEAKS = {
    "B200": 2250, "GB200": 2450, "H200": 989, "GH200": 989, "H100 NVL": 835, "H100 PCIe": 756, "H100": 989, "H800": 989,
    "A100": 312, "A800": 312, "A40": 150, "A30": 165, "A10G": 70, "A10": 125, "L40S": 362, "L40": 181, "L4": 121,
    "RTX 6000 Ada": 364, "RTX 5090": 210, "RTX 4090": 165, "RTX 4080": 97, "RTX 3090": 71, "RTX A6000": 155,
    "MI300X": 1307, "MI250X": 383,
}  # fmt: skip
"""Part of a GPU's name → its dense bf16 peak in 10¹² operations a second, without sparsity, published by its maker."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CorpusFacts(_Part):
    """Sizes of the training and of the held-out documents."""

    name: str = Field(description="the source")
    documents: int = Field(description="training documents")
    held_out_documents: int = Field(description="held-out documents, which were not trained on")
    tokens: int = Field(description="tokens of the training documents")
    held_out_tokens: int = Field(description="tokens of the held-out documents")
    vocabulary: int = Field(description="pieces of the tokenizer")


class ModelFacts(_Part):
    """The model and its sizes."""

    start: str | None = Field(description="the checkpoint that the training started from; null for a new model")
    architecture: str = Field(description="class of transformers")
    parameters: int = Field(description="weights")
    layers: int = Field(description="layers")
    hidden: int = Field(description="width")
    heads: int = Field(description="attention heads")
    max_length: int = Field(description="longest input in tokens")


class WorkFacts(_Part):
    """Device, time and speed of the training."""

    device: str = Field(description="name of the GPU or CPU")
    processes: int = Field(description="number of processes")
    steps: int = Field(description="steps of the optimizer")
    tokens: int = Field(description="tokens seen, with special tokens and without padding")
    seconds: float = Field(description="time of the training, with evaluations and checkpoints")
    tokens_per_second: float = Field(description="tokens per second of training, without evaluations")
    peak_share: float | None = Field(
        description="floating-point operations as a share of the GPU's peak (dense bf16); null where that is not known"
    )


class HeldOutPoint(_Part):
    """An evaluation on the sample of held-out documents."""

    step: int = Field(description="steps so far")
    seconds: float = Field(description="time so far")
    tokens: int = Field(description="tokens seen so far")
    figures: HeldOutMetrics = Field(description="the metrics")


class LossPoint(_Part):
    """Training losses, the mean since the previous point."""

    step: int = Field(description="steps so far")
    seconds: float = Field(description="time so far")
    tokens: int = Field(description="tokens seen so far")
    mlm: float = Field(description="MLM loss, nats")
    nsp: float | None = Field(default=None, description="NSP loss, nats; null without next-sentence prediction")


class PretrainReport(_Part):
    """Report of a pre-training."""

    format: int = Field(default=FORMAT, description="version of this file's format")
    created: str = Field(description="time, ISO 8601, UTC")
    corpus: CorpusFacts = Field(description="training and held-out documents")
    model: ModelFacts = Field(description="the model")
    work: WorkFacts = Field(description="device, time and speed")
    settings: dict[str, Any] = Field(description="the command's settings")
    result: HeldOutMetrics = Field(
        description="the trained model on all held-out documents, twice, paired and masked anew"
    )
    held_out: list[HeldOutPoint] = Field(description="the model during training, on a sample of them")
    losses: list[LossPoint] = Field(description="training losses")

    @property
    def gain(self) -> float:
        """Difference of the unigram loss and the trained model's MLM loss, in nats."""
        return self.result.unigram_loss - self.result.mlm_loss

    @property
    def masked_gain(self) -> float:
        """The same for positions that show [MASK]; the unigram loss is that of all chosen positions."""
        return self.result.unigram_loss - self.result.masked_loss


def read_curves(log: Sequence[dict[str, float]]) -> tuple[list[HeldOutPoint], list[LossPoint]]:
    """Return the held-out metrics and the training losses from the lines of a log."""
    points, losses = [], []
    for line in log:
        head: dict[str, Any] = {name: line[name] for name in ("step", "seconds", "tokens")}
        metrics = {
            name: line.get(PREFIX + name)
            for name in HeldOutMetrics.model_fields
            if PREFIX + name in line or "nsp" in name
        }
        if PREFIX + "mlm_loss" in line:
            points.append(HeldOutPoint(**head, figures=HeldOutMetrics.model_validate(metrics)))
        else:
            losses.append(LossPoint(**head, mlm=line["mlm"], nsp=line.get("nsp")))
    return points, losses


def utc_now() -> str:
    """Return the time in the report's format."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def peak_operations(name: str) -> float | None:
    """Return the dense bf16 peak of a GPU in operations a second, or None for an unknown one."""
    matches = [part for part in PEAKS if re.search(rf"\b{re.escape(part)}\b", name, re.IGNORECASE)]
    return PEAKS[max(matches, key=len)] * 1e12 if matches else None


def operations_per_token(config: PretrainedConfig, length: float, mask: float) -> float:
    """Return the floating-point operations of one token, forward and backward: 6 for each weight of a matrix.

    Args:
        config: of the model.
        length: tokens of a sequence; attention multiplies all pairs of them.
        mask: share of the positions at which the masked-language head is computed.
    """
    width, inner = config.hidden_size, config.intermediate_size
    layer = 4 * width * width + 2 * width * inner + 2 * width * length
    head = mask * (width * width + width * config.vocab_size)
    return float(6 * (config.num_hidden_layers * layer + head))
