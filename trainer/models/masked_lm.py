"""Publish a masked-language model: its own files, and an ONNX graph from token ids to logits, vectors and attentions.

The service and `fill-mask` use the graph. Attention is computed plainly («eager»): faster kernels never hold the
attention matrix, which the service's page shows. Every architecture that transformers loads as a masked-language model
is accepted. The next-sentence head of a BERT is left out of the graph.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import transformers
from transformers import AutoModelForMaskedLM, PreTrainedModel

from indexer.artifacts.manifest import Kind, Manifest, describe_input, fingerprint, library_versions
from indexer.artifacts.store import Store
from indexer.errors import UserError, first_line
from indexer.index.dense import unit
from indexer.inference.masked_lm import GRAPH, MaskedModel, Network, Outputs
from indexer.progress import say, stage
from trainer.models.base import PublishResult
from trainer.models.load import positions_of
from trainer.models.onnx import OPSET, quiet_export
from trainer.models.settings import PublishMlmSettings

KIND: Kind = "masked"
NEEDED = ("config.json", "tokenizer.json", "tokenizer_config.json")
PATTERNS = (
    *NEEDED, "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
    "*.safetensors", "*.safetensors.index.json",
)  # fmt: skip
"""Files of the Hub's format that are published; other files, such as logs and checkpoints, are not."""
REPORT = "report"
"""Folder with the report of the pre-training; published where it exists."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MAX_DIFFERENCE = 1e-3
"""Largest difference between graph and torch: in a probability, in an attention weight, and of a cosine from 1."""


def publish_mlm(directory: Path, settings: PublishMlmSettings, data: Path | None = None) -> PublishResult:
    """Publish the masked-language model in ``directory`` and make it live.

    Args:
        directory: in the Hub's format, with a fast tokenizer and weights in safetensors, as `pretrain` writes it.
        settings: whether to publish again where the same model is published already.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the directory holds no such model, or the exported graph differs from torch.
    """
    files = _files(directory)
    models = Store(KIND, data)
    with models.building():
        inputs = [describe_input(path, path.name) for path in files]
        recipe = {"base": directory.resolve().name}
        key = fingerprint(KIND, {}, inputs, recipe)
        if not settings.force and (existing := models.reuse(key)):
            return PublishResult(existing, fresh=False)
        folder = models.staging(key)
        counts, metrics = _write(directory, files, folder)
        draft = Manifest(
            kind=KIND, fingerprint=key, inputs=inputs, config=recipe, counts=counts, metrics=metrics,
            versions=library_versions("transformers", "torch", "onnx", "onnxruntime"),
        )  # fmt: skip
        manifest = models.publish(folder, draft)
    say(
        f"masked-language model {manifest.id}: {counts['layers']} layers, {counts['heads']} heads, "
        f"{counts['vocabulary']:,} word pieces, {counts['max_tokens']} at most in a text"
    )
    return PublishResult(manifest, fresh=True)


def load_masked(directory: Path) -> PreTrainedModel:
    """Load a masked-language model in the Hub's format for inference on the CPU.

    Raises:
        UserError: the directory holds no such model in safetensors, or a model without a masked-language head.
    """
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # transformers would report the next-sentence head as unused; it is left out on purpose.
    logger = logging.getLogger("transformers")
    level, options = logger.level, {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    logger.setLevel(logging.ERROR + 1)
    try:
        model, loading = AutoModelForMaskedLM.from_pretrained(
            str(directory), attn_implementation="eager", output_loading_info=True, **options
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = first_line(error)
        raise UserError(
            f"{directory}: not loadable as a masked-language model ({reason}); "
            "give a directory that `python -m trainer pretrain` wrote"
        ) from error
    finally:
        logger.setLevel(level)
    if missing := sorted(loading["missing_keys"]):
        raise UserError(
            f"{directory}: has no head that fills masks (no {missing[0]}); sentence encoders have none; "
            "give a directory that `python -m trainer pretrain` wrote"
        )
    loaded: PreTrainedModel = model.eval()
    return loaded


def torch_network(model: PreTrainedModel) -> Network:
    """Return the model as the function of three arrays (ids, mask, types) that `MaskedModel` takes."""
    graph = _Graph(model).eval()

    def run(*arrays: Any) -> Outputs:
        with torch.inference_mode():
            return Outputs(*(tensor.numpy() for tensor in graph(*map(torch.from_numpy, arrays))))

    return run


def export_masked(model: PreTrainedModel, path: Path) -> None:
    """Write the model as ONNX, with its weights in a separate file that processes map into memory and share.

    The graph takes ``input_ids``, ``attention_mask`` and, where the model knows segments, ``token_type_ids``, each
    int64 of shape (batch, length). It returns the float32 arrays of `indexer.inference.masked_lm.Outputs`.
    """
    ids = torch.tensor([[5, 6, 7, 8, 9], [6, 5, 0, 0, 0]])
    mask, types = (ids > 0).long(), torch.zeros_like(ids)
    batch = {0: "batch", 1: "length"}
    axes = dict.fromkeys((*INPUTS, "logits", "hidden"), batch) | {"attentions": {0: "batch", 3: "length", 4: "length"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    single_file = path.with_suffix(".whole")
    with quiet_export(), torch.no_grad():
        torch.onnx.export(
            _Graph(model).eval(), (ids, mask, types), str(single_file), input_names=list(INPUTS),
            output_names=list(Outputs._fields), dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    graph = onnx.load(str(single_file))
    single_file.unlink()
    onnx.save(graph, str(path), save_as_external_data=True, location=path.name + ".data", size_threshold=1024)


def check_masked(model: PreTrainedModel, folder: Path) -> dict[str, float]:
    """Compare the exported graph with torch on rows of random ids of several lengths, padded and in two segments.

    Returns:
        The largest difference of a probability and of an attention weight, and the smallest cosine of two vectors.

    Raises:
        UserError: one of them differs by more than `MAX_DIFFERENCE`.
    """
    opened = MaskedModel.open(folder, threads=1)
    rng = np.random.default_rng(0)
    lengths = [2, 3, 7, min(40, opened.max_tokens), min(128, opened.max_tokens)]
    ids = rng.integers(0, opened.vocabulary_size, (len(lengths), max(lengths)))
    real = np.arange(max(lengths)) < np.array(lengths)[:, None]
    segments = int(getattr(model.config, "type_vocab_size", 1)) > 1
    types = (rng.random(ids.shape) < 0.5).astype(np.int64) * segments
    with stage("compare the graph with torch"):
        networks = (opened.network, torch_network(model))
        exported, expected = (run(ids, real.astype(np.int64), types) for run in networks)
    both_real = real[:, None, None, :, None] & real[:, None, None, None, :]
    cosines = np.einsum("ij,ij->i", unit(exported.hidden[real]), unit(expected.hidden[real]))
    metrics = {
        "parity_probability": float(np.abs(_softmax(exported.logits) - _softmax(expected.logits))[real].max()),
        "parity_attention": float((np.abs(exported.attentions - expected.attentions) * both_real).max()),
        "parity_hidden": float(cosines.min()),
    }
    worst = max(metrics["parity_probability"], metrics["parity_attention"], 1 - metrics["parity_hidden"])
    if not worst <= MAX_DIFFERENCE:
        raise UserError(
            f"{folder}: the ONNX graph differs from torch by {worst:.2g}, at most {MAX_DIFFERENCE:g} is allowed; "
            "not published"
        )
    return {name: round(value, 7) for name, value in metrics.items()}


def _files(directory: Path) -> list[Path]:
    """Return the files of the Hub's format in a directory; raise `UserError` where a required one is missing."""
    if not directory.is_dir():
        raise UserError(f"{directory}: no directory; give one that `python -m trainer pretrain` wrote")
    for name in NEEDED:
        if not (directory / name).is_file():
            raise UserError(
                f"{directory / name}: missing; give a directory in the Hub's format with a fast tokenizer, "
                "such as `python -m trainer pretrain` writes"
            )
    return sorted(path for pattern in PATTERNS for path in directory.glob(pattern))


def _write(directory: Path, files: list[Path], folder: Path) -> tuple[dict[str, int], dict[str, float]]:
    """Copy the model's files, export the graph and compare both; return counts and metrics of the manifest."""
    shutil.rmtree(folder)  # an export is fast: one that was killed starts anew
    folder.mkdir()
    with stage("load the model"):
        model = load_masked(directory)
    for path in files:
        shutil.copyfile(path, folder / path.name)
    if (directory / REPORT).is_dir():
        shutil.copytree(directory / REPORT, folder / REPORT)
    _limit_length(folder / "tokenizer_config.json", positions_of(model, model.config))
    with stage("export to ONNX"):
        export_masked(model, folder / GRAPH)
    metrics = check_masked(model, folder)
    opened = MaskedModel.open(folder)
    counts = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "layers": opened.layers_and_heads[0],
        "heads": opened.layers_and_heads[1],
        "vocabulary": opened.vocabulary_size,
        "max_tokens": opened.max_tokens,
    }
    return counts, metrics


def _limit_length(path: Path, positions: int) -> None:
    """Lower the longest input of a tokenizer's settings to the positions of its model; the graph does not tell them."""
    settings = json.loads(path.read_bytes())
    settings["model_max_length"] = min(settings.get("model_max_length") or positions, positions)
    path.write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


class _Graph(torch.nn.Module):
    """A model as one function of its input tensors: logits, last hidden states and attentions of all layers."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.segments = getattr(model.config, "type_vocab_size", 0) > 0

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> tuple[torch.Tensor, ...]:
        optional: dict[str, Any] = {"token_type_ids": types} if self.segments else {}
        out = self.model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, output_attentions=True, **optional
        )
        return out.logits, out.hidden_states[-1], torch.stack(out.attentions, dim=1)


def _softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
