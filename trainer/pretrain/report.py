"""What a pre-training measured: `report.json` for programs, `report.html` for people."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from transformers import PretrainedConfig

from trainer.pretrain.objective import Figures

FORMAT = 1
FOLDER = "report"
PREFIX = "held_out_"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CorpusFacts(_Part):
    """What was learned from, and what was held out."""

    name: str = Field(description="the source")
    documents: int = Field(description="training documents")
    held_out_documents: int = Field(description="documents that nothing was learned from")
    tokens: int = Field(description="tokens of the training documents")
    held_out_tokens: int = Field(description="tokens of the held-out documents")
    vocabulary: int = Field(description="pieces of the tokenizer")


class ModelFacts(_Part):
    """What was trained."""

    start: str | None = Field(description="the checkpoint that it went on from; null for a new model")
    architecture: str = Field(description="class of transformers")
    parameters: int = Field(description="weights")
    layers: int = Field(description="layers")
    hidden: int = Field(description="width")
    heads: int = Field(description="heads of attention")
    max_length: int = Field(description="longest input in tokens")


class WorkFacts(_Part):
    """What it took."""

    device: str = Field(description="what computed")
    processes: int = Field(description="how many processes")
    steps: int = Field(description="steps of the optimizer")
    tokens: int = Field(description="tokens seen, special ones included and padding not")
    seconds: float = Field(description="time of the training, with measuring and saving")
    tokens_per_second: float = Field(description="tokens by seconds of training, without measuring")
    peak_share: float | None = Field(
        description="floating-point operations by what the GPU could do (dense bf16); null where that is not known"
    )


class Point(_Part):
    """A measurement on the sample of held-out documents."""

    step: int = Field(description="steps that were done")
    seconds: float = Field(description="time that had gone")
    tokens: int = Field(description="tokens that had been seen")
    figures: Figures = Field(description="what was measured")


class Loss(_Part):
    """Training losses, the mean since the point before."""

    step: int = Field(description="steps that were done")
    seconds: float = Field(description="time that had gone")
    tokens: int = Field(description="tokens that had been seen")
    mlm: float = Field(description="loss of masked words, nats")
    nsp: float | None = Field(default=None, description="loss of the next sentence, nats; null without it")


class PretrainReport(_Part):
    """A pre-training as a whole."""

    format: int = Field(default=FORMAT, description="version of this file's form")
    created: str = Field(description="time, ISO 8601, UTC")
    corpus: CorpusFacts = Field(description="what was learned from")
    model: ModelFacts = Field(description="what was trained")
    work: WorkFacts = Field(description="what it took")
    settings: dict[str, Any] = Field(description="the command's settings")
    result: Figures = Field(description="the trained model on all held-out documents, twice, paired and masked anew")
    held_out: list[Point] = Field(description="the model in training, on a sample of them")
    losses: list[Loss] = Field(description="training losses")

    @property
    def gain(self) -> float:
        """How many nats better than the unigram distribution the trained model is."""
        return self.result.unigram_loss - self.result.mlm_loss

    @property
    def masked_gain(self) -> float:
        """The same where [MASK] stands; the unigram loss is that of all chosen positions."""
        return self.result.unigram_loss - self.result.masked_loss


def curves(log: Sequence[dict[str, float]]) -> tuple[list[Point], list[Loss]]:
    """Return what the lines of a log say of held-out documents and of the training losses."""
    points, losses = [], []
    for line in log:
        head: dict[str, Any] = {name: line[name] for name in ("step", "seconds", "tokens")}
        measured = {
            name: line.get(PREFIX + name) for name in Figures.model_fields if PREFIX + name in line or "nsp" in name
        }
        if PREFIX + "mlm_loss" in line:
            points.append(Point(**head, figures=Figures.model_validate(measured)))
        else:
            losses.append(Loss(**head, mlm=line["mlm"], nsp=line.get("nsp")))
    return points, losses


def now() -> str:
    """Return the time as the report has it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


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
