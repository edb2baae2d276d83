"""Publish a cross-encoder: a model that reads query and passage together, for the `rerank` of a search."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from indexer.artifacts.manifest import Kind, Manifest, fingerprint, library_versions
from indexer.artifacts.store import Store
from indexer.errors import UserError, first_line
from indexer.inference.reranker import GRAPH, Reranker
from indexer.progress import say, stage
from trainer.models.base import PublishResult, describe, locate
from trainer.models.settings import RerankerSettings

KIND: Kind = "reranker"
MOST_DIFFERENCE = 1e-3
"""Between a logit of the graph and one of torch."""


def publish_reranker(model: str, settings: RerankerSettings, data: Path | None = None) -> PublishResult:
    """Publish a cross-encoder with its ONNX graph and make it the live one.

    Args:
        model: name on the Hub or a local directory, with one label, such as cross-encoder/ms-marco-MiniLM-L6-v2.
        settings: how long an input may be, and whether to publish again what is there.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the model cannot be loaded or is no cross-encoder, or its graph gives other scores than torch.
    """
    name, directory = locate(model)
    models = Store(KIND, data)
    with models.building():
        inputs = [describe(name, directory)]
        recipe: dict[str, Any] = {"base": name, "max_tokens": settings.max_tokens}
        key = fingerprint(KIND, {}, inputs, recipe)
        if not settings.force and (existing := models.reuse(key)):
            return PublishResult(existing, fresh=False)
        folder = models.staging(key)
        shutil.rmtree(folder)  # an export is quick: nothing of a killed one is taken up
        folder.mkdir()
        counts, metrics, read = _write(directory, folder, settings.max_tokens)
        draft = Manifest(
            kind=KIND, fingerprint=key, inputs=inputs, config=recipe | read, counts=counts, metrics=metrics,
            versions=library_versions("transformers", "torch", "onnx", "onnxruntime"),
        )  # fmt: skip
        manifest = models.publish(folder, draft)
    say(f"re-ranking model {manifest.id}: {read['max_tokens']} tokens of query and passage")
    return PublishResult(manifest, fresh=True)


def _write(directory: Path, folder: Path, most: int) -> tuple[dict[str, int], dict[str, float], dict[str, int]]:
    """Write model, tokenizer and graph; return what the manifest counts, measures, and says of the input."""
    with stage("load the model"):
        network, tokenizer = load(directory)
    positions = getattr(network.config, "max_position_embeddings", most)
    read = {
        "max_tokens": int(min(most, positions, tokenizer.model_max_length)),
        "pad_token_id": int(tokenizer.pad_token_id or 0),
    }
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with stage("export to ONNX"):
        export(network, tokenizer, folder / GRAPH)
    with stage("compare the graph with torch"):
        difference = compare(network, tokenizer, Reranker(folder, **read, cores=1), read["max_tokens"])
    if not difference <= MOST_DIFFERENCE:
        raise UserError(
            f"{directory}: the ONNX graph differs from torch by {difference:.2g} in a score, "
            f"at most {MOST_DIFFERENCE:g} goes; not published"
        )
    return {"parameters": network.num_parameters()}, {"parity_score": round(difference, 7)}, read


def load(directory: Path) -> tuple[Any, Any]:
    """Load a cross-encoder of the Hub's format and its fast tokenizer for inference on the CPU.

    Raises:
        UserError: the directory holds no such model, or one that does not give a single score.
    """
    import transformers
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    reports = logging.getLogger("transformers")  # they list what is missing, which is refused below
    level, options = reports.level, {"local_files_only": True, "trust_remote_code": False}
    reports.setLevel(logging.ERROR + 1)
    try:
        network, found = AutoModelForSequenceClassification.from_pretrained(
            str(directory), attn_implementation="eager", output_loading_info=True, use_safetensors=True, **options
        )
        tokenizer = AutoTokenizer.from_pretrained(str(directory), **options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = first_line(error)
        raise UserError(f"{directory}: not loadable as a cross-encoder ({reason})") from error
    finally:
        reports.setLevel(level)
    if missing := sorted(found["missing_keys"]):
        raise UserError(f"{directory}: has no head that scores a pair (no {missing[0]}); give a cross-encoder")
    if network.config.num_labels != 1:
        raise UserError(
            f"{directory}: gives {network.config.num_labels} numbers for a pair; a cross-encoder for ranking gives one"
        )
    if not tokenizer.is_fast:
        raise UserError(f"{directory}: has no fast tokenizer (tokenizer.json), which the service needs")
    return network.eval(), tokenizer


def export(network: Any, tokenizer: Any, path: Path) -> None:
    """Write the model as ONNX with its weights beside it, in a file that processes map into memory and share.

    The graph takes ``input_ids`` and ``attention_mask`` (and ``token_type_ids`` where the tokenizer gives them), each
    int64 of shape (batch, tokens), and gives ``logits``, float32 of shape (batch, 1).
    """
    import onnx
    import torch

    from trainer.models.onnx import OPSET, quiet_export

    pairs = tokenizer(["a query", "two"], ["a passage of some length", "short"], padding=True, return_tensors="pt")
    inputs = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in pairs]

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(**dict(zip(inputs, tensors, strict=True))).logits
            return logits

    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_suffix(".whole")
    with quiet_export(), torch.no_grad():
        torch.onnx.export(
            Graph().eval(), tuple(pairs[name] for name in inputs), str(whole), input_names=inputs,
            output_names=["logits"], opset_version=OPSET, dynamo=False,
            dynamic_axes={name: {0: "batch", 1: "tokens"} for name in inputs} | {"logits": {0: "batch"}},
        )  # fmt: skip
    graph = onnx.load(str(whole))
    whole.unlink()
    onnx.save(graph, str(path), save_as_external_data=True, location=path.name + ".data", size_threshold=1024)


def compare(network: Any, tokenizer: Any, reranker: Reranker, max_tokens: int) -> float:
    """Return the largest difference between torch's scores and the published model's, over pairs of many lengths.

    Each side tokenizes by itself, so that cutting off and filling up are compared too.
    """
    import numpy as np
    import torch

    words = [token for token in tokenizer.get_vocab() if token.isalpha()]
    chance = np.random.default_rng(0)
    lengths = [1, 2, 5, 9, 17, 33, max_tokens, 2 * max_tokens]
    passages = [" ".join(chance.choice(words, length)) for length in lengths]
    query = " ".join(chance.choice(words, 4))
    told = tokenizer(
        [query] * len(passages), passages, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt"
    )
    with torch.inference_mode():
        expected = network(**told).logits[:, 0].numpy()
    scores = reranker.score(query, passages).scores
    return float("inf") if scores is None else float(np.abs(scores - expected).max())
