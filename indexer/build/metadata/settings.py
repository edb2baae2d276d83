"""Settings of `--extract`: which cells are filled, and by what."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from indexer.inference.token_classifier import model_digest


class ExtractSettings(BaseModel):
    """Columns whose empty cells are filled, and who reads the texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    extract: str | None = Field(
        default=None,
        description="Columns, separated by commas, whose empty cells are filled from title and text, as the rows with a value "
        "say, or as --token-model or --llm reads there (default: none)",
    )
    min_precision: float = Field(
        default=0.95,
        ge=0,
        le=1,
        description="Share of the cells that --extract fills that have to be right, measured on rows whose value is known; "
        "what is less sure stays empty. 0 takes what a model says unmeasured, also into columns that are not there yet",
    )
    token_model: Path | None = Field(
        default=None,
        description="Token classifier that finds values in the texts: a directory that `trainer classify tokens` wrote. Its "
        "labels are the names of the columns, or see --token-labels (default: none)",
    )
    token_labels: str | None = Field(
        default=None,
        description="Label of the token classifier for columns of other names, with commas between them: brand=ORG,place=LOC",
    )
    llm: str | None = Field(
        default=None,
        description="OpenAI-compatible endpoint of a language model that reads the texts for --extract, such as "
        "http://localhost:11434/v1; set its key, if it needs one, in the variable DOWSE_LLM_KEY. Default with --llm-model: "
        "Ollama on this machine, or at OLLAMA_HOST",
    )
    llm_model: str | None = Field(
        default=None, description="Model at that endpoint, such as llama3 (default: the only one that it serves)"
    )
    llm_wait: float = Field(
        default=0, ge=0, description="Seconds to wait for the endpoint to come up and to have the model"
    )
    llm_concurrency: int = Field(default=4, ge=1, le=256, description="Requests to that endpoint at a time")
    llm_timeout: float = Field(default=120, gt=0, description="Seconds that one answer of that endpoint may take")

    @property
    def asks_llm(self) -> bool:
        """Whether a language model reads the texts."""
        return self.llm is not None or self.llm_model is not None

    def labels(self) -> dict[str, str]:
        """Return the label of the token classifier for each column of `--token-labels`."""
        pairs = [pair.split("=", 1) for pair in (self.token_labels or "").split(",") if pair.strip()]
        return {column.strip(): label.strip() for column, label in pairs}

    def reader_recipe(self) -> dict[str, Any]:
        """Return what decides who reads the texts; address, time-out and number of requests do not."""
        if self.asks_llm:
            return {"llm": self.llm_model or self.llm}
        return {"tokens": model_digest(self.token_model), "labels": self.labels()} if self.token_model else {}

    def extract_recipe(self) -> dict[str, Any]:
        """Return what decides the filled cells, for the fingerprint of an index; empty where none are filled."""
        if self.extract is None:
            return {}
        reader = self.reader_recipe()
        return {"extract": self.extract, "min_precision": self.min_precision} | ({"reader": reader} if reader else {})

    @model_validator(mode="after")
    def _one_reader(self) -> Self:
        if self.asks_llm and self.token_model:
            raise ValueError("--token-model and --llm both read the texts: give one of them")
        if (self.asks_llm or self.token_model) and not self.extract:
            raise ValueError("--token-model and --llm read the texts for --extract: name its columns")
        if any("=" not in pair for pair in (self.token_labels or "").split(",") if pair.strip()):
            raise ValueError("--token-labels takes column=label, with commas between them")
        return self
