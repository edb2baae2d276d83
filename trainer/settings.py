"""The settings of `python -m trainer base`: the only place where a name, a default and a help text stand."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class BaseSettings(BaseModel):
    """How an untouched model is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    int8: bool = Field(default=False, description="Also write 8-bit weights, for `indexer build --precision int8`")
    corpus: str | None = Field(
        default=None,
        description="Corpus whose texts the ONNX encoder is checked on (default: Python's own documentation)",
    )
    text_column: str = Field(default="text", description="Column of the texts in that corpus")
    force: bool = Field(default=False, description="Publish even if the same model is there")
