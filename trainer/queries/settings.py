"""Settings of `trainer queries`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from trainer.queries.llm.parse import KINDS


class QueriesSettings(BaseModel):
    """Language model that writes queries, and their number and kinds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    llm: str | None = Field(
        default=None,
        description="OpenAI-compatible endpoint of a language model, such as http://localhost:11434/v1 (Ollama, vLLM, "
        "llama.cpp); set its key, if it needs one, in the variable DOWSE_LLM_KEY. Default with --llm-model: Ollama "
        "on this machine, or at OLLAMA_HOST",
    )
    llm_model: str | None = Field(
        default=None, description="Model at that endpoint, such as llama3 (default: the only one that it serves)"
    )
    llm_path: str | None = Field(
        default=None,
        description="Directory of a language model that is run in this process instead (safetensors; GPU if there is one)",
    )
    llm_wait: float = Field(
        default=0, ge=0, description="Seconds to wait for the endpoint to come up and to have the model"
    )
    count: int = Field(
        default=5, ge=1, le=5, description="Queries per row: a target; rows with fewer are kept and counted"
    )
    kinds: str = Field(
        default=",".join(KINDS),
        description="Kinds of query to ask the model for, in turn: question, claim, title, keywords, search",
    )
    examples: str | None = Field(
        default=None,
        description='File with queries of the domain for the model to imitate: one a line, or {"query", "kind", "text"}',
    )
    concurrency: int = Field(default=4, ge=1, le=256, description="Concurrent requests")
    batch_size: int = Field(default=16, ge=1, description="Prompts at a time with --llm-path")
    timeout: float = Field(default=120, gt=0, description="Seconds that one answer may take")
    retries: int = Field(
        default=5,
        ge=0,
        description="Further tries after a time-out, a lost connection, 429 or 5xx, each after a longer wait",
    )
    temperature: float = Field(
        default=0.8, ge=0, le=2, description="Sampling temperature of the model; 0 for greedy decoding"
    )
    max_tokens: int = Field(default=512, ge=16, description="Longest answer, in tokens")
    limit_documents: int | None = Field(
        default=None, ge=1, description="Write queries for N documents only, drawn by --seed; the others get none"
    )
    seed: int = Field(default=0, ge=0, description="Seed of all random choices")
    allow_missing: bool = Field(
        default=False, description="Write the frame even if some rows have no answer yet, instead of exit status 2"
    )
    force: bool = Field(default=False, description="Ask about every row again; the journal so far is kept as *.old")

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, kinds: str) -> str:
        chosen = [kind.strip() for kind in kinds.split(",") if kind.strip()]
        if not chosen or not set(chosen) <= set(KINDS):
            raise ValueError(f"give one or more of {', '.join(KINDS)}, separated by commas")
        return ",".join(chosen)
