"""The settings of `python -m trainer publish-mlm` and `fill-mask`, the commands about masked-language models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class PublishMlmSettings(BaseModel):
    """How a masked-language model is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    force: bool = Field(default=False, description="Publish even if the same model is there")


class FillMaskSettings(BaseModel):
    """Which model fills the masks, and how much it says of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(
        default=None,
        description="Model directory, such as `trainer pretrain` writes, or id of a published one "
        "(default: masked/CURRENT)",
    )
    top_k: int = Field(default=5, ge=1, le=1000, description="Number of words for each mask")
    explain: bool = Field(
        default=False,
        description="Show the steps too: pieces and ids, which are masked, logits, softmax, arg max, the decoded text",
    )


class RerankerSettings(BaseModel):
    """How a cross-encoder is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens: int = Field(
        default=512, ge=16, description="Longest query and passage together, in tokens; at most what the model can read"
    )
    force: bool = Field(default=False, description="Publish even if the same model is there")


def lengths(text: str | None) -> tuple[int, ...]:
    """Return the numbers of a list of lengths such as ``384,256,128``; none of None."""
    return tuple(int(part) for part in text.split(",")) if text else ()


def _are_lengths(text: str | None) -> str | None:
    if text is not None and not all(part.strip().isdigit() and int(part) for part in text.split(",")):
        raise ValueError("write lengths with commas between them, such as 384,256,128")
    return text


Lengths = Annotated[str | None, AfterValidator(_are_lengths)]


class BaseSettings(BaseModel):
    """How an untouched model is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    int8: bool = Field(default=False, description="Also write 8-bit weights, for `indexer build --precision int8`")
    corpus: str | None = Field(
        default=None,
        description="Corpus whose texts the ONNX encoder is checked on (default: Python's own documentation)",
    )
    text_column: str = Field(default="text", description="Column of the texts in that corpus")
    matryoshka: Lengths = Field(
        default=None,
        description="Lengths at which a prefix of the model's vectors is of use, such as 512,256; the service offers "
        "them (default: those that `finetune` has trained it for)",
    )
    force: bool = Field(default=False, description="Publish even if the same model is there")


class EmbedSettings(BaseModel):
    """What is embedded, by which model, and what is written."""

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
        default=None, ge=1, description="Print for each text the N others that are nearest to it, with their cosines"
    )
