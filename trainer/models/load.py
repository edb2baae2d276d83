"""Loading of a sentence-transformers model, in the one form that export, training and service take it.

What models on the Hub configure in several ways is the same afterwards: 32-bit weights, prompts named query and document,
the longest input that its positions allow, and a Matryoshka cut as a module of its own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize

from indexer.errors import UserError, first_line

_Model = TypeVar("_Model")
DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""Names of the prompt for documents, as models have them."""
OWN_MODULES = "sentence_transformers."
"""What the names of modules begin with that need no code from the model's directory."""


def load_encoder(directory: Path, dimensions: int | None = None) -> SentenceTransformer:
    """Load a sentence-transformers directory (or a plain transformers one: mean pooling) for inference on the CPU.

    Args:
        directory: of the model.
        dimensions: cut the vectors to their first so many values (Matryoshka); by default as the model says.

    Raises:
        UserError: the directory holds no model that sentence-transformers can load, or one that needs code of its own.
    """
    refuse_own_code(directory)
    model = load_on_cpu(SentenceTransformer, directory, "a sentence-transformers model")
    model.float()  # many are stored with 16 bits, which ONNX Runtime cannot compute with on a CPU
    # The library takes the prompt named document even where that is empty and the model's own is named passage.
    model.prompts["query"], model.prompts["document"] = prompts_of(model)
    model.max_seq_length = max_tokens(model)
    _cut(model, dimensions)
    return model.eval()


def load_on_cpu(kind: Callable[..., _Model], directory: Path, what: str) -> _Model:
    """Load a model of one of sentence-transformers' classes, with attention that ONNX can express.

    Raises:
        UserError: the directory holds no such model; ``what`` says in the message what was expected.
    """
    # Our own stages show progress; the library's bars are about downloads and shards.
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # The library warns of every configuration key of an older version; an operator cannot act on that.
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    options: dict[str, Any] = {"device": "cpu", "local_files_only": True, "trust_remote_code": False}
    try:
        try:
            return kind(str(directory), model_kwargs={"attn_implementation": "eager"}, **options)
        except ValueError:  # an architecture with only one implementation of attention
            return kind(str(directory), **options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{directory}: not loadable as {what} ({first_line(error)})") from error


def refuse_own_code(directory: Path) -> None:
    """Refuse a model that brings Python code of its own, which would run with all rights of this process.

    Raises:
        UserError: it needs such code.
    """
    remedy = "Dowse runs no code that comes with a model (trust_remote_code); choose one whose architecture is in transformers"
    for part in _read(directory / "modules.json", list):
        kind = str(part.get("type", "")) if isinstance(part, dict) else ""
        if kind and not kind.startswith(OWN_MODULES):
            raise UserError(
                f"{directory}: needs the module {kind}, which is no part of sentence-transformers; {remedy}"
            )
    config = _read(directory / "config.json", dict)
    known = transformers.CONFIG_MAPPING
    if config.get("auto_map") and config.get("model_type") not in known:
        raise UserError(f"{directory}: needs code of its own for {config.get('model_type')!r}; {remedy}")


def _read(path: Path, kind: type[Any]) -> Any:
    """Return the content of a JSON file; an empty one where there is no such file, or none that can be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return kind()
    return content if isinstance(content, kind) else kind()


def prompts_of(model: SentenceTransformer) -> tuple[str, str]:
    """Return the prompts for queries and for documents.

    The default prompt stands in for a side that has none, unless it is that of the other side.
    """
    prompts, default = model.prompts, model.default_prompt_name
    fallback = prompts.get(default or "") or ""
    query = prompts.get("query") or (fallback if default not in DOCUMENT_PROMPTS else "")
    document = next((prompts[name] for name in DOCUMENT_PROMPTS if prompts.get(name)), "")
    return query, document or (fallback if default != "query" else "")


def max_tokens(model: SentenceTransformer) -> int:
    """Return the longest input: as configured, and no longer than the model has positions for."""
    positions = positions_of(model, getattr(getattr(model[0], "auto_model", None), "config", None))
    return int(min(model.max_seq_length or positions, positions))


def positions_of(model: torch.nn.Module, config: Any, unknown: int = 512) -> int:
    """Return how many tokens a model has positions for; ``unknown`` where its configuration does not say."""
    positions = int(getattr(config, "max_position_embeddings", 0) or unknown)
    for name, module in model.named_modules():
        # RoBERTa, MPNet and XLM-R count positions from the one after that of padding.
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            positions = min(positions, int(module.num_embeddings) - int(module.padding_idx) - 1)
    return positions


def _cut(model: SentenceTransformer, dimensions: int | None) -> None:
    """Turn a cut of the vectors to their first values into a module, followed by Normalize where the model has one.

    Export, map and service then need not know of it, and a cut vector has unit length again.
    """
    cut = dimensions or model.truncate_dim
    model.truncate_dim = None
    width = int(model.get_embedding_dimension() or 0)
    if not cut or cut == width:
        return
    if cut > width:
        raise UserError(f"--dimensions {cut}: the model's vectors have length {width}; give no more than that")
    normalised = isinstance(model[-1], Normalize)
    head = Dense(width, cut, bias=False, activation_function=torch.nn.Identity(), init_weight=torch.eye(cut, width))
    model.append(head)
    if normalised:
        model.append(Normalize())
