"""Settings of `trainer run`, `trainer evaluate`, `trainer compare` and `trainer bridge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from indexer.corpus.settings import CorpusSettings
from trainer.models.settings import RerankerSettings
from trainer.training.settings import parse_duration, validate_duration


class RunSettings(CorpusSettings):
    """Labels, language model, base model and budget of a run, and what happens with the result."""

    qrels: Path | None = Field(
        default=None,
        description="Labels: a file with query_id, doc_id and relevance; without it the run trains on the texts alone",
    )
    queries: Path | None = Field(
        default=None,
        description="Queries of the labels: a file with id, text and perhaps split (train, dev, test); "
        "default: queries.parquet, .csv or .jsonl beside --qrels",
    )
    feedback: bool = Field(
        default=False,
        description="Labels from the service, in place of --qrels: clicks and grades sent to POST /feedback",
    )
    llm: str | None = Field(
        default=None,
        description="OpenAI-compatible endpoint of a language model that writes queries, see `trainer queries` "
        "(default: none; queries are extracted from the texts)",
    )
    llm_model: str | None = Field(default=None, description="Model at that endpoint, such as llama3")
    llm_path: str | None = Field(default=None, description="Directory of a language model that is run in this process")
    llm_wait: float = Field(default=0, ge=0, description="Seconds to wait for the endpoint to come up")
    llm_prompt: Literal["auto", "chat", "completion"] = Field(
        default="auto",
        description="chat for models that follow instructions, completion for base models; see `trainer queries`",
    )
    llm_documents: int | None = Field(
        default=None,
        ge=1,
        description="Documents for which the language model writes queries (default: 2000, fewer with a short budget)",
    )
    teacher: str | None = Field(
        default=None,
        description="Cross-encoder whose scores of the first results teach the map, too: a directory or a name on the Hub. "
        "It takes up to 40 % of the budget (default: none)",
    )
    model: str | None = Field(
        default=None,
        description="Model to start from: a name on the Hub or a directory (default: what the live model was tuned "
        "from, else all-MiniLM-L6-v2)",
    )
    models: str | None = Field(
        default=None,
        description="Models to choose from, in place of --model, with commas between them: they are compared as by "
        "`trainer compare`, and the run starts from the best one",
    )
    budget: Annotated[str, BeforeValidator(validate_duration)] = Field(
        default="15m", description="Time for training, such as 90s, 5m or 1h; the evaluation comes on top"
    )
    layers: Literal["auto", "never", "always"] = Field(
        default="auto",
        description="Train the encoder's layers too: auto does if there are labels and enough time",
    )
    query_encoder: Literal["auto", "never", "always"] = Field(
        default="never",
        description="Fit a small encoder for queries, which is kept if search loses next to nothing with it: auto does in "
        "a third of the budget, where training has left a minute or more",
    )
    seed: int = Field(default=0, ge=0, description="Seed of every random choice")
    force: bool = Field(default=False, description="Make the tuned model live whatever the verdict")

    @field_validator("qrels", "queries")
    @classmethod
    def _file(cls, path: Path | None) -> Path | None:
        """Read an empty name and the null device as no file: docker-compose.yml mounts the null device where none is named."""
        return None if path is not None and (path == Path() or path.is_char_device()) else path

    @property
    def budget_seconds(self) -> float:
        """The budget in seconds."""
        return parse_duration(self.budget)


class EvaluateSettings(CorpusSettings):
    """Models to compare, and the queries to compare them on."""

    qrels: Path | None = Field(
        default=None,
        description="Labels: a file with query_id, doc_id and relevance (default: synthetic queries about held-out documents)",
    )
    queries: Path | None = Field(
        default=None, description="Queries of the labels (default: queries.parquet, .csv or .jsonl beside --qrels)"
    )
    model: str | None = Field(default=None, description="Id of the model to evaluate (default: models/CURRENT)")
    against: str | None = Field(
        default=None, description="Id of the model to compare it with (default: the model it was tuned from)"
    )
    seed: int = Field(default=0, ge=0, description="Seed of every random choice")
    out: Path | None = Field(
        default=None, description="Directory for report.json and report.html (default: training/report in $DOWSE_DATA)"
    )


class JudgedRerankerSettings(CorpusSettings, RerankerSettings):
    """How a cross-encoder is published, and the corpus on which it is compared with searches without re-ranking."""

    judge: str | None = Field(
        default=None,
        description="Corpus on which hybrid search is compared with and without re-ranking: a file, a folder, a quoted "
        "glob, or the URL of a database with --query. Only with a WIN are searches re-ranked that do not ask for it "
        "(default: no comparison)",
    )
    qrels: Path | None = Field(
        default=None,
        description="Labels for --judge: a file with query_id, doc_id and relevance (default: synthetic queries about "
        "held-out documents)",
    )
    queries: Path | None = Field(
        default=None, description="Queries of the labels (default: queries.parquet, .csv or .jsonl beside --qrels)"
    )
    top_n: int = Field(
        default=50, ge=1, le=200, description="Most first results that are re-ranked; fewer where the time is short"
    )
    budget_ms: int = Field(
        default=200, ge=1, le=60_000, description="Time limit of the re-ranking of a search, in milliseconds"
    )
    seed: int = Field(default=0, ge=0, description="Seed of every random choice")


class CompareSettings(CorpusSettings):
    """Sample, labels and budget of a comparison of bases."""

    qrels: Path | None = Field(
        default=None,
        description="Labels: a file with query_id, doc_id and relevance (default: questions that are made from the texts)",
    )
    queries: Path | None = Field(
        default=None, description="Queries of the labels (default: queries.parquet, .csv or .jsonl beside --qrels)"
    )
    sample: int | None = Field(
        default=None,
        ge=1,
        description="Documents that are compared at most (default: 2,000); fewer where fewer decide, or the budget ends",
    )
    budget: Annotated[str, BeforeValidator(validate_duration)] = Field(
        default="10m",
        description="Time for the comparison, such as 90s, 5m or 1h. Undecided models are compared on twice as many "
        "documents as long as that fits",
    )
    max_cost: float = Field(
        default=8.0,
        ge=1,
        description="Only a model whose queries take at most so many times as long as the cheapest one's is chosen",
    )
    seed: int = Field(default=0, ge=0, description="Seed of every random choice")
    out: Path | None = Field(
        default=None, description="Directory for report.json and report.html (default: training/compare in $DOWSE_DATA)"
    )

    @property
    def budget_seconds(self) -> float:
        """The budget in seconds."""
        return parse_duration(self.budget)


class BridgeSettings(BaseModel):
    """Index, pairs and labels of a map from a new model's queries to the vectors of an index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str | None = Field(
        default=None, description="Id of the index that the new queries search (default: indexes/CURRENT)"
    )
    sample: int = Field(
        default=2000,
        ge=100,
        description="Texts of the corpus that both models encode to learn the map, half of them passages, half short ones",
    )
    budget: Annotated[str, BeforeValidator(validate_duration)] = Field(
        default="10m", description="Time for encoding these texts, such as 90s or 5m; the questions come on top"
    )
    qrels: Path | None = Field(
        default=None,
        description="Labels: a file with query_id, doc_id and relevance (default: questions that are made from the texts)",
    )
    queries: Path | None = Field(
        default=None, description="Queries of the labels (default: queries.parquet, .csv or .jsonl beside --qrels)"
    )
    seed: int = Field(default=0, ge=0, description="Seed of every random choice")

    @property
    def budget_seconds(self) -> float:
        """The budget in seconds."""
        return parse_duration(self.budget)
