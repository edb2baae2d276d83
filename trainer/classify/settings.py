"""Settings of `python -m trainer classify`, one class per command: name, default and help text of every flag."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from indexer.corpus.settings import TextSettings
from trainer.training.settings import FitSettings


class LabelledSettings(TextSettings):
    """Which columns of a file hold texts and labels."""

    label_column: str = Field(
        default="label", description="Column of the labels: a value, or a list of them where several may apply"
    )
    label_separator: str | None = Field(
        default=None,
        description="Separator between the labels of a text, such as `|`: several may apply, and an empty cell means "
        "none (default: one label per text, unless the column holds lists)",
    )
    split_column: str = Field(
        default="split", description="Column with train, dev or test for each row, if the file has one"
    )
    skip_bad_rows: bool = Field(
        default=False, description="Leave rows without text or label out instead of refusing the file"
    )


class ClassifyTrainSettings(FitSettings, LabelledSettings):
    """How a classifier is trained."""

    model: str | None = Field(
        default=None,
        description="Model to start from: a directory (of `trainer pretrain`, transformers or sentence-transformers), "
        "a name on the Hub, or the id of a published model (default: all-MiniLM-L6-v2; with --frozen-encoder the live "
        "model, if there is one)",
    )
    frozen_encoder: bool = Field(
        default=False,
        description="Train only a logistic head on the encoder's sentence embeddings: seconds on a CPU",
    )
    dev: float = Field(
        default=0.1,
        gt=0,
        lt=0.5,
        description="Share of the rows that decide which weights are kept and that probabilities are calibrated on, "
        "where the file has no split column",
    )
    test: float = Field(
        default=0.2,
        gt=0,
        lt=0.5,
        description="Share of the rows that only the report uses, where the file has no split column",
    )
    class_weights: Literal["none", "balanced"] = Field(
        default="none",
        description="balanced: a rare label counts as much as a frequent one, for higher recall and lower precision of "
        "rare labels",
    )
    folds: int = Field(
        default=5, ge=2, le=20, description="Folds of the cross-validation that chooses C, with --frozen-encoder"
    )
    learning_rate: float = Field(default=5e-5, gt=0, description="Highest learning rate, reached after the warm-up")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW's weight decay")
    epochs: float = Field(default=4, gt=0, description="Number of passes over all rows")
    max_tokens: int | None = Field(
        default=128, ge=4, description="Tokens of a text that are read, in training and in use; the rest is cut off"
    )
    patience: int | None = Field(
        default=4, ge=1, description="Stop after N evaluations in a row without a better macro-F1 on dev"
    )


class ClassifyEvaluateSettings(LabelledSettings):
    """Which classifier is measured, and on which rows."""

    model: str = Field(
        default="current", description="The classifier: `current`, the id of a published one, or a directory"
    )
    side: Literal["test", "dev", "train", "all"] = Field(
        default="test", description="Rows to measure on, where the file has a split column; all for every row"
    )


class ClassifyPredictSettings(TextSettings):
    """Which texts are classified, and into which file."""

    model: str = Field(
        default="current", description="The classifier: `current`, the id of a published one, or a directory"
    )
    out: Path = Field(
        default=Path("predictions.parquet"), description="File to write; its name ends in .parquet or .csv"
    )
    id_column: str | None = Field(
        default=None, description="Column of the ids (default: id, or the row number where there is none)"
    )
    label_separator: str = Field(
        default="|", min_length=1, description="Separator between the labels of a text in a CSV file"
    )
    all_probabilities: bool = Field(
        default=False, description="Also write a column `probability_LABEL` for every label"
    )
    skip_bad_rows: bool = Field(default=False, description="Leave rows without text out instead of refusing the file")


class ClassifyPublishSettings(BaseModel):
    """How a classifier is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quiet: bool = Field(
        default=False, description="Publish without going live; `python -m indexer activate --kind classifier ID` does"
    )
    force: bool = Field(default=False, description="Publish even if the same classifier is published already")
