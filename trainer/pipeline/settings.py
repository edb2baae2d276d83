"""Settings of `trainer run` and `trainer evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from indexer.corpus.settings import CorpusSettings
from trainer.training.settings import checked_duration, parse_duration


class RunSettings(CorpusSettings):
    """What is learned from, how long, and what is done with the result."""

    qrels: Path | None = Field(
        default=None,
        description="Labels: a file with query_id, doc_id and relevance; without it the run learns from the texts alone",
    )
    queries: Path | None = Field(
        default=None,
        description="Queries of the labels: a file with id, text and perhaps split (train, dev, test); "
        "default: queries.parquet, .csv or .jsonl beside --qrels",
    )
    feedback: bool = Field(
        default=False,
        description="Labels from the service, in place of --qrels: what people clicked and graded (POST /feedback)",
    )
    llm: str | None = Field(
        default=None,
        description="OpenAI-compatible endpoint of a language model that writes queries, see `trainer queries` "
        "(default: none; queries are taken out of the texts)",
    )
    llm_model: str | None = Field(default=None, description="Model at that endpoint, such as llama3")
    llm_path: str | None = Field(default=None, description="Directory of a language model that is run in this process")
    llm_wait: float = Field(default=0, ge=0, description="Seconds to wait for the endpoint to come up")
    model: str | None = Field(
        default=None,
        description="Model to start from: a name on the Hub or a directory (default: what the live model was tuned "
        "from, else all-MiniLM-L6-v2)",
    )
    budget: Annotated[str, BeforeValidator(checked_duration)] = Field(
        default="15m", description="Time that learning may take, such as 90s, 5m or 1h; measuring comes on top"
    )
    layers: Literal["auto", "never", "always"] = Field(
        default="auto",
        description="Train the encoder's own layers too: auto does where there are labels and time enough",
    )
    seed: int = Field(default=0, ge=0, description="Seed of everything that is drawn")
    force: bool = Field(default=False, description="Make the tuned model live whatever the verdict says")

    @field_validator("qrels", "queries")
    @classmethod
    def _file(cls, path: Path | None) -> Path | None:
        """Take an empty name and the null device, which docker-compose.yml mounts where no file is named, as none."""
        return None if path is not None and (path == Path() or path.is_char_device()) else path

    @property
    def budget_seconds(self) -> float:
        """The budget in seconds."""
        return parse_duration(self.budget)


class EvaluateSettings(CorpusSettings):
    """Which models are compared, on what."""

    qrels: Path | None = Field(
        default=None,
        description="Labels: a file with query_id, doc_id and relevance (default: questions about held-out documents)",
    )
    queries: Path | None = Field(
        default=None, description="Queries of the labels (default: queries.parquet, .csv or .jsonl beside --qrels)"
    )
    model: str | None = Field(default=None, description="Id of the model that is measured (default: models/CURRENT)")
    against: str | None = Field(
        default=None, description="Id of the model that it is compared with (default: what it was tuned from)"
    )
    seed: int = Field(default=0, ge=0, description="Seed of everything that is drawn")
    out: Path | None = Field(
        default=None, description="Directory for report.json and report.html (default: training/report in $DOWSE_DATA)"
    )
