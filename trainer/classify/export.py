"""Export of a classifier to ONNX, one graph from token ids to logits for both kinds; and the parity check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from indexer.errors import UserError
from indexer.inference.classifier import GRAPH, Classifier, Numbers
from indexer.progress import stage
from trainer.classify.head import Head
from trainer.models.onnx import OPSET, quiet_export

PARITY_TEXTS = 200
MAX_DIFFERENCE = 1e-3
"""Largest difference between a probability of the export and of the original."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class _Graph(torch.nn.Module):
    """A model as one function from its input tensors to logits."""

    def __init__(self, model: PreTrainedModel, inputs: list[str]) -> None:
        super().__init__()
        self.model = model
        self.inputs = inputs

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(**dict(zip(self.inputs, tensors, strict=True))).logits
        return logits


def export_classifier(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, of_tokens: bool = False
) -> None:
    """Write ``onnx/model.onnx`` below ``folder``: token ids (batch, tokens) → logits (batch, labels).

    The axes batch and tokens are dynamic. With ``of_tokens`` each token has logits: (batch, tokens, labels).
    """
    features = tokenizer(["a text of some length", "short"], padding=True, return_tensors="pt")
    inputs = [name for name in INPUTS if name in features]
    (folder / GRAPH).parent.mkdir(parents=True, exist_ok=True)
    single_file = folder / f"{GRAPH}.whole"
    model.set_attn_implementation("eager")  # as for encoders, see trainer/models/onnx.py
    with stage("export to ONNX"), quiet_export(), torch.no_grad():
        torch.onnx.export(
            _Graph(model, inputs).eval(),
            tuple(features[name] for name in inputs),
            str(single_file),
            input_names=inputs,
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 1: "tokens"} for name in inputs}
            | {"logits": {0: "batch", 1: "tokens"} if of_tokens else {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    graph = onnx.load(str(single_file))
    single_file.unlink()
    _save(graph, folder)


def export_head(encoder: Path, head: Head, folder: Path) -> None:
    """Write ``onnx/model.onnx`` below ``folder``: the graph in ``encoder``, and ``head`` on its sentence embedding."""
    model = onnx.load(str(encoder))
    graph = model.graph
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.ascontiguousarray(head.weight.T, np.float32), "head.weight"),
            numpy_helper.from_array(head.bias.astype(np.float32), "head.bias"),
        ]
    )
    graph.node.append(
        helper.make_node("Gemm", ["sentence_embedding", "head.weight", "head.bias"], ["logits"], name="head")
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(head.bias)]))
    (folder / GRAPH).parent.mkdir(parents=True, exist_ok=True)
    _save(model, folder)


def _save(model: onnx.ModelProto, folder: Path) -> None:
    path = folder / GRAPH
    path.with_name(path.name + ".data").unlink(missing_ok=True)  # onnx would append to it
    onnx.save(model, str(path), save_as_external_data=True, location=path.name + ".data", size_threshold=1024)


def torch_logits(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> Callable[[Sequence[str]], Numbers]:
    """Return the function from texts to the logits of transformers itself, which `check_classifier` compares with."""

    def logits(texts: Sequence[str]) -> Numbers:
        rows = []
        with torch.inference_mode():
            for text in texts:
                features = tokenizer(text, truncation=True, max_length=max_tokens, return_tensors="pt")
                rows.append(model(**features).logits[0].float().numpy())
        return np.stack(rows)

    return logits


def check_classifier(classifier: Classifier, logits: Callable[[Sequence[str]], Numbers], texts: Sequence[str]) -> float:
    """Return the largest difference between the exported probabilities and those of the original over ``texts``.

    Raises:
        UserError: it is above 0.001.
    """
    texts = list(texts)[:: max(len(texts) // PARITY_TEXTS, 1)][:PARITY_TEXTS]
    with stage(f"compare the export with the original on {len(texts)} texts"):
        expected = classifier.contract.probabilities(logits(texts))
        difference = float(np.abs(classifier.predict(texts) - expected).max())
    if not difference <= MAX_DIFFERENCE:
        raise UserError(
            f"the exported classifier differs by {difference:.4f} in a probability, "
            f"at most {MAX_DIFFERENCE} is allowed; not written"
        )
    return round(difference, 8)
