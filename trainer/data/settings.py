"""Settings of `trainer prepare` and `trainer split`: the single source of names, defaults and help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from indexer.corpus.settings import DocumentSettings, RowSettings


class PrepareSettings(DocumentSettings):
    """Documents of the training frame, and how long texts are split."""

    unit: Literal["tokens", "chars"] = Field(
        default="tokens",
        description="Unit of the lengths: tokens, split at ends of sentences, or characters, split anywhere",
    )
    split_over: int | None = Field(
        default=None,
        ge=1,
        description="Split texts that are longer than this (default: the model's longest input; 1024 characters)",
    )
    segment: int | None = Field(
        default=None,
        ge=1,
        description="Longest piece of a split text (default: the model's longest input; 100 characters)",
    )
    csv: bool = Field(default=False, description="Also write the frame as CSV beside the Parquet file")
    out: Path | None = Field(default=None, description="File to write (default: training/frame.parquet in $DOWSE_DATA)")
    force: bool = Field(default=False, description="Write the frame even if it is up to date; its queries are lost")


class SplitSettings(RowSettings):
    """How documents are divided into train, dev and test."""

    dev: float = Field(
        default=0.1, ge=0, le=0.4, description="Share of the documents for dev, by which training steps are chosen"
    )
    test: float = Field(
        default=0.1, ge=0, le=0.4, description="Share of the documents for test, which only the report is about"
    )
    most_dev: int = Field(default=500, ge=1, description="Documents of dev, at most")
    most_test: int = Field(default=500, ge=1, description="Documents of test, at most")
    threshold: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="Jaccard similarity of three-word shingles from which two documents are near-duplicates",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the split")
