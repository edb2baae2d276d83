"""Settings of `trainer queries`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from trainer.queries.llm.parse import KINDS

COMPLETED_TOKENS = 24
"""Tokens for each query of a completion."""


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
    llm_prompt: Literal["auto", "chat", "completion"] = Field(
        default="auto",
        description="chat: instructions, for models that follow them; completion: examples from the corpus that the model "
        "continues, for base models. auto takes completion where a --llm-path has no chat template",
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
    batch_size: int | None = Field(
        default=None, ge=1, description="Prompts at a time with --llm-path (default: 16 on a GPU, 1 on a CPU)"
    )
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

    @property
    def completes(self) -> bool:
        """Whether the model continues examples, in place of following instructions."""
        if self.llm_prompt != "auto" or not self.llm_path:
            return self.llm_prompt == "completion"
        folder = Path(self.llm_path)
        config = folder / "tokenizer_config.json"
        templates = any(folder.glob("chat_template*")) or (folder / "additional_chat_templates").is_dir()
        return not templates and not (config.is_file() and json.loads(config.read_bytes()).get("chat_template"))

    @property
    def longest_answer(self) -> int:
        """Tokens of an answer at most; a completion has no form around its queries."""
        return min(self.max_tokens, COMPLETED_TOKENS * self.count) if self.completes else self.max_tokens

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, kinds: str) -> str:
        chosen = [kind.strip() for kind in kinds.split(",") if kind.strip()]
        if not chosen or not set(chosen) <= set(KINDS):
            raise ValueError(f"give one or more of {', '.join(KINDS)}, separated by commas")
        return ",".join(chosen)
