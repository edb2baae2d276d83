"""What a directory with an exported token classifier says of itself; read without loading the model.

`trainer classify tokens` writes it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from indexer.artifacts.manifest import describe_files
from indexer.errors import UserError

CONTRACT = "token_classifier.json"
GRAPH = "onnx/model.onnx"
OVERLAP = 32
"""Tokens that neighbouring inputs share: a span that one cuts is whole in the other."""


class TokenContract(BaseModel):
    """How a text becomes input, and what the logits of a token stand for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = Field(default=1, description="number of this format")
    labels: list[str] = Field(
        min_length=2, description="the labels, in the order of the logits, such as O, B-LOC, I-LOC"
    )
    max_tokens: int = Field(ge=OVERLAP + 8, description="longest input in tokens, special tokens included")
    pad_token_id: int = Field(description="id of the token that fills up a batch")


def read_contract(folder: Path) -> TokenContract:
    """Read the contract of a token classifier.

    Raises:
        UserError: the directory holds none, or not all of it.
    """
    path, remedy = folder / CONTRACT, "write the directory with `python -m trainer classify tokens MODEL`"
    try:
        contract = TokenContract.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = "missing" if isinstance(error, OSError) else "not readable"
        raise UserError(f"{path}: {reason}; {remedy}") from error
    if not (folder / GRAPH).is_file():
        raise UserError(f"{folder / GRAPH}: missing; {remedy}")
    return contract


def model_digest(folder: Path) -> str:
    """Return the SHA-256 of names and contents of a classifier's files; of a folder without any, that of nothing."""
    states = tuple((path, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*")) if path.is_file())
    return _digest(folder, states)


@lru_cache(maxsize=8)  # a build asks several times, and reading a large model takes a second
def _digest(folder: Path, states: tuple[tuple[Path, int], ...]) -> str:
    files = describe_files(folder) if states else {}
    return hashlib.sha256(repr(sorted((name, entry.sha256) for name, entry in files.items())).encode()).hexdigest()
