"""Settings of the commands about models: base, publish-mlm, fill-mask, reranker, sparse and embed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def parse_lengths(text: str | None) -> tuple[int, ...]:
    """Return the lengths in a list such as ``384,256,128``; None gives an empty tuple."""
    return tuple(int(part) for part in text.split(",")) if text else ()


def _check_lengths(text: str | None) -> str | None:
    if text is not None and not all(part.strip().isdecimal() and int(part) for part in text.split(",")):
        raise ValueError("write lengths with commas between them, such as 384,256,128")
    return text


Lengths = Annotated[str | None, AfterValidator(_check_lengths)]
"""Prefix lengths of Matryoshka embeddings, separated by commas."""


class BaseSettings(BaseModel):
    """How a base model is published, without any training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    int8: bool = Field(default=False, description="Also write 8-bit weights, for `indexer build --precision int8`")
    corpus: str | None = Field(
        default=None,
        description="Corpus whose texts the ONNX encoder is compared on (default: Python's own documentation)",
    )
    text_column: str = Field(default="text", description="Column of the texts in that corpus")
    matryoshka: Lengths = Field(
        default=None,
        description="Useful prefix lengths of the model's vectors, such as 512,256; the service offers them (default: "
        "those that `finetune` trained)",
    )
    dimensions: int | None = Field(
        default=None,
        ge=1,
        description="Cut the vectors to their first N values, with unit length again, for models that were trained for "
        "it (Matryoshka): a smaller index (default: as the model says)",
    )
    force: bool = Field(default=False, description="Publish even if the same model is published already")


class PublishMlmSettings(BaseModel):
    """How a masked-language model is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    force: bool = Field(default=False, description="Publish even if the same model is published already")


class FillMaskSettings(BaseModel):
    """Which model fills the masks, and how many predictions it shows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(
        default=None,
        description="Model directory, such as `trainer pretrain` writes, or id of a published model "
        "(default: masked/CURRENT)",
    )
    top_k: int = Field(default=5, ge=1, le=1000, description="Number of words for each mask")
    explain: bool = Field(
        default=False,
        description="Also show every step: pieces and ids, masked positions, logits, softmax, arg max, decoded text",
    )


class RerankerSettings(BaseModel):
    """How a cross-encoder is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens: int = Field(
        default=512,
        ge=16,
        description="Longest query and passage together, in tokens; limited to the model's longest input",
    )
    force: bool = Field(default=False, description="Publish even if the same model is published already")


class SparseSettings(BaseModel):
    """How a learned-sparse model is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    force: bool = Field(default=False, description="Publish even if the same model is published already")


class EmbedSettings(BaseModel):
    """Which texts are embedded, by which model, and into which file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path | None = Field(
        default=None, description="File of the texts: one a line, or Parquet, CSV or JSON lines with --text-column"
    )
    text_column: str = Field(default="text", description="Column of the texts in --file")
    model: str | None = Field(
        default=None,
        description="Id of a model artifact, or directory of a sentence-transformers model (default: models/CURRENT)",
    )
    precision: Literal["fp32", "int8"] = Field(
        default="fp32", description="Weights of a model artifact: exact, or 8-bit integers (faster)"
    )
    out: Path = Field(
        default=Path("sample_embeddings.pt"),
        description="File to write: .pt (a PyTorch tensor), .npy (NumPy) or .parquet (text and embedding)",
    )
    similar: int | None = Field(
        default=None, ge=1, description="Print for each text its N nearest other texts, with their cosines"
    )
