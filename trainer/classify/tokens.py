"""Token classifier → a directory that `indexer build --token-model` reads: graph, tokenizer, contract."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from indexer.errors import UserError, first_line
from indexer.inference.token_classifier import TokenClassifier
from indexer.inference.token_contract import CONTRACT, TokenContract
from indexer.progress import say, stage
from trainer.classify.export import MAX_DIFFERENCE, export_classifier
from trainer.models.base import locate
from trainer.models.load import positions_of, refuse_own_code
from trainer.models.onnx import parity_texts
from trainer.models.settings import BaseSettings
from trainer.training.base_model import silence_libraries

MAX_TOKENS = 512
"""Tokens of an input at most: longer texts are cut into several."""
COMPARED_EVERY = 4
"""Of the texts that exports are compared on: each has hundreds of probabilities here."""


def export_tokens(model: str, out: Path) -> None:
    """Export a token classifier into the directory ``out``, which appears when it is complete.

    Args:
        model: a directory in transformers' format with safetensors, or a name on the Hub.
        out: the directory; an earlier one is replaced.

    Raises:
        UserError: there is no such model, it is no token classifier, or its export differs.
    """
    name, directory = locate(model)
    refuse_own_code(directory)
    loaded, tokenizer = _load(name, directory)
    names: dict[Any, str] = {**(loaded.config.id2label or {})}
    contract = TokenContract(
        labels=[str(names[number]) for number in range(len(names))],
        max_tokens=min(positions_of(loaded, loaded.config), int(tokenizer.model_max_length), MAX_TOKENS),
        pad_token_id=tokenizer.pad_token_id or 0,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(out.name + ".new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    tokenizer.backend_tokenizer.save(str(staging / "tokenizer.json"))
    (staging / CONTRACT).write_text(contract.model_dump_json(indent=2) + "\n", encoding="utf-8")
    export_classifier(loaded, tokenizer, staging, of_tokens=True)
    exported = TokenClassifier.open(staging)
    difference = _compare(exported, loaded, tokenizer)
    shutil.rmtree(out, ignore_errors=True)
    staging.rename(out)
    say(f"{name}: finds {', '.join(exported.labels)}; probabilities differ by {difference:.0e} at most")


def _load(name: str, directory: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    silence_libraries()
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with stage("load the model"):
            config = AutoConfig.from_pretrained(str(directory), **options)
            kinds = config.architectures or []
            if not any(kind.endswith("ForTokenClassification") for kind in kinds):
                raise UserError(f"{name}: no token classifier, but {', '.join(kinds) or 'of an unknown kind'}")
            model = AutoModelForTokenClassification.from_pretrained(
                str(directory), use_safetensors=True, dtype=torch.float32, **options
            )
            tokenizer = AutoTokenizer.from_pretrained(str(directory), **options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{name}: not loadable as a token classifier ({first_line(error)})") from error
    if not tokenizer.is_fast:
        raise UserError(f"{name}: its tokenizer has no fast form (tokenizer.json), which is needed")
    return model.eval(), tokenizer


def _compare(exported: TokenClassifier, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> float:
    """Return the largest difference between a probability of the export and of the original.

    Raises:
        UserError: it is above 0.001.
    """
    texts, difference = parity_texts(BaseSettings())[::COMPARED_EVERY], 0.0
    with stage(f"compare the export with the original on {len(texts)} texts"), torch.inference_mode():
        for text, found in zip(texts, exported.probabilities(texts), strict=True):
            features = tokenizer(text, truncation=True, max_length=exported.contract.max_tokens, return_tensors="pt")
            expected = torch.softmax(model(**features).logits[0].float(), dim=-1).numpy()
            difference = max(difference, float(np.abs(found - expected).max()))
    if not difference <= MAX_DIFFERENCE:
        raise UserError(
            f"the exported token classifier differs by {difference:.4f} in a probability, at most {MAX_DIFFERENCE} is "
            "allowed; not written"
        )
    return difference
