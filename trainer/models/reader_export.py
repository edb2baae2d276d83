"""Masked-language model → ONNX: one graph from token ids to logits, contextual vectors and attentions.

Attention is computed plainly («eager»), since faster kernels never hold the attention matrix that the page shows. Any
architecture that transformers loads as a masked-language model goes; a BERT with the next-sentence head goes without it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import transformers
from transformers import AutoModelForMaskedLM, PreTrainedModel

from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.inference.masked_lm import MaskedModel, Network, Outputs
from indexer.progress import stage
from trainer.models.onnx import OPSET, quiet_export

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MOST_DIFFERENCE = 1e-3
"""Between the graph and torch: of a probability, of an attention weight, and of a cosine from 1."""


def load_masked(directory: Path) -> PreTrainedModel:
    """Load a masked-language model of the Hub's format for inference on the CPU.

    Raises:
        UserError: the directory holds no such model in safetensors, or a model without the head that fills masks.
    """
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    reports = logging.getLogger("transformers")  # they list the next-sentence head, which is left out on purpose
    level, options = reports.level, {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    reports.setLevel(logging.ERROR + 1)
    try:
        model, found = AutoModelForMaskedLM.from_pretrained(
            str(directory), attn_implementation="eager", output_loading_info=True, **options
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"{directory}: not loadable as a masked-language model ({reason}); "
            "give a directory as `python -m trainer pretrain` writes"
        ) from error
    finally:
        reports.setLevel(level)
    if missing := sorted(found["missing_keys"]):
        raise UserError(
            f"{directory}: has no head that fills masks (no {missing[0]}), as sentence encoders have none; "
            "give a directory as `python -m trainer pretrain` writes"
        )
    loaded: PreTrainedModel = model.eval()
    return loaded


class _Reader(torch.nn.Module):
    """A model as one function of its input tensors, with all that can be shown of it."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.segments = getattr(model.config, "type_vocab_size", 0) > 0

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given: dict[str, Any] = {"token_type_ids": types} if self.segments else {}
        out = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True, output_attentions=True, **given)
        return out.logits, out.hidden_states[-1], torch.stack(out.attentions, dim=1)


def torch_network(model: PreTrainedModel) -> Network:
    """Return the model as the function of three arrays that `MaskedModel` reads with."""
    reader = _Reader(model).eval()

    def run(*arrays: Any) -> Outputs:
        with torch.inference_mode():
            return Outputs(*(tensor.numpy() for tensor in reader(*map(torch.from_numpy, arrays))))

    return run


def export_reader(model: PreTrainedModel, path: Path) -> None:
    """Write the model as ONNX with its weights beside it, in a file that processes map into memory and share.

    The graph takes ``input_ids``, ``attention_mask`` and, where the model knows segments, ``token_type_ids``, each int64
    of shape (batch, length), and gives the float32 arrays of `indexer.inference.masked_lm.Outputs`.
    """
    ids = torch.tensor([[5, 6, 7, 8, 9], [6, 5, 0, 0, 0]])
    mask, types = (ids > 0).long(), torch.zeros_like(ids)
    batch = {0: "batch", 1: "length"}
    axes = dict.fromkeys((*INPUTS, "logits", "hidden"), batch) | {"attentions": {0: "batch", 3: "length", 4: "length"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_suffix(".whole")
    with quiet_export(), torch.no_grad():
        torch.onnx.export(
            _Reader(model).eval(), (ids, mask, types), str(whole), input_names=list(INPUTS),
            output_names=list(Outputs._fields), dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    graph = onnx.load(str(whole))
    whole.unlink()
    onnx.save(graph, str(path), save_as_external_data=True, location=path.name + ".data", size_threshold=1024)


def check_reader(model: PreTrainedModel, folder: Path) -> dict[str, float]:
    """Compare the exported graph with torch on rows of random ids of every length, filled up and in two segments.

    Returns:
        The largest difference of a probability and of an attention weight, and the smallest cosine of two vectors.

    Raises:
        UserError: one of them is beyond `MOST_DIFFERENCE`.
    """
    opened = MaskedModel.open(folder, threads=1)
    chance = np.random.default_rng(0)
    lengths = [2, 3, 7, min(40, opened.max_tokens), min(128, opened.max_tokens)]
    ids = chance.integers(0, opened.vocabulary, (len(lengths), max(lengths)))
    real = np.arange(max(lengths)) < np.array(lengths)[:, None]
    segments = int(getattr(model.config, "type_vocab_size", 1)) > 1
    types = (chance.random(ids.shape) < 0.5).astype(np.int64) * segments
    with stage("compare the graph with torch"):
        networks = (opened.network, torch_network(model))
        told, expected = (run(ids, real.astype(np.int64), types) for run in networks)
    both = real[:, None, None, :, None] & real[:, None, None, None, :]
    cosines = np.einsum("ij,ij->i", unit(told.hidden[real]), unit(expected.hidden[real]))
    metrics = {
        "parity_probability": float(np.abs(_softmax(told.logits) - _softmax(expected.logits))[real].max()),
        "parity_attention": float((np.abs(told.attentions - expected.attentions) * both).max()),
        "parity_hidden": float(cosines.min()),
    }
    worst = max(metrics["parity_probability"], metrics["parity_attention"], 1 - metrics["parity_hidden"])
    if not worst <= MOST_DIFFERENCE:
        raise UserError(
            f"{folder}: the ONNX graph differs from torch by {worst:.2g}, at most {MOST_DIFFERENCE:g} goes; not published"
        )
    return {name: round(value, 7) for name, value in metrics.items()}


def _softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
