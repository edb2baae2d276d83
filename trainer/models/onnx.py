"""Export of a sentence-transformers model to ONNX, one graph from token ids to the final vector; and the parity check.

Pooling, Dense and Normalize modules become part of the graph, and the service needs no code for them. The export uses
torch's TorchScript exporter with plain («eager») attention. The graphs of the other ways were slower, or took six times
as long to write (see docs/decisions/training.md). Before a model is published, the vectors of the ONNX encoder are
compared with those of sentence-transformers.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from indexer.artifacts.manifest import EncoderContract
from indexer.corpus.corpus import Corpus
from indexer.corpus.sample import write_sample
from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.inference.encoder import Encoder, Precision
from indexer.progress import stage
from trainer.models.load import max_tokens, prompts_of
from trainer.models.settings import BaseSettings

OPSET = 17
PARITY_TEXTS = 200
"""Texts that both encoders are compared on."""
MIN_COSINE: dict[Precision, float] = {"fp32": 0.999, "int8": 0.98}
"""Smallest cosine allowed between the two vectors of a text."""


def encoder_contract(model: SentenceTransformer) -> EncoderContract:
    """Return the encoder contract (prompts, pooling, lengths) from the model's own modules and configuration.

    Raises:
        UserError: the model needs something that the exported graph cannot hold.
    """
    modules = list(model)
    poolings = [module for module in modules if isinstance(module, Pooling)]
    if len(poolings) != 1:
        raise UserError(f"the model has {len(poolings)} pooling modules; Dowse serves models with exactly one")
    query, document = prompts_of(model)
    if (query or document) and not poolings[0].include_prompt:
        raise UserError("the model leaves its prompt out of the pooling; Dowse cannot serve such models")
    mode = poolings[0].pooling_mode
    tokenizer = model.tokenizer
    return EncoderContract(
        dimension=int(model.get_embedding_dimension() or 0),
        max_tokens=max_tokens(model),
        pooling=mode if isinstance(mode, str) else "+".join(mode),
        normalised=isinstance(modules[-1], Normalize),
        query_prompt=query,
        document_prompt=document,
        pad_token_id=tokenizer.pad_token_id or 0,
    )


def export_onnx(model: SentenceTransformer, path: Path) -> None:
    """Write the model as ONNX, with its weights in a separate file that processes map into memory and share.

    The graph takes ``input_ids`` and ``attention_mask`` (and ``token_type_ids`` where the model has them), each int64
    of shape (batch, tokens). It returns ``sentence_embedding``, float32 of shape (batch, dimension).
    """
    features = model.preprocess(["a text of some length", "short"])
    inputs: list[str] = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in features]
    path.parent.mkdir(parents=True, exist_ok=True)
    single_file = path.with_suffix(".whole")
    with quiet_export(), _traceable_masks(), torch.no_grad():
        torch.onnx.export(
            _Graph(model, inputs).eval(),
            tuple(features[name] for name in inputs),
            str(single_file),
            input_names=inputs,
            output_names=["sentence_embedding"],
            dynamic_axes={name: {0: "batch", 1: "tokens"} for name in inputs} | {"sentence_embedding": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    graph = onnx.load(str(single_file))
    single_file.unlink()
    onnx.save(graph, str(path), save_as_external_data=True, location=path.name + ".data", size_threshold=1024)


def quantise(source: Path, target: Path) -> None:
    """Write an ONNX model with 8-bit weights, one scale per channel; activations are quantised at run time."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet_export():
        quantize_dynamic(str(source), str(target), weight_type=QuantType.QInt8, per_channel=True)


@contextmanager
def quiet_export() -> Iterator[None]:
    """Silence the warnings that exporters emit on every export: tracer, deprecation, hints to pre-process."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)


@contextmanager
def _traceable_masks() -> Iterator[None]:
    """Let transformers make attention masks of its own patterns by broadcasting: the exporter cannot trace `torch.vmap`.

    EmbeddingGemma needs it, whose tokens see both sides. All patterns of transformers work by index and give the same
    masks either way; the parity check would notice another one.
    """
    from transformers import masking_utils

    def expand(mask_function: Callable[..., Any]) -> Callable[..., Any]:
        def masks(batch: Any, head: Any, query: Any, key: Any) -> Any:
            mask = mask_function(
                batch[:, None, None, None],
                head[None, :, None, None],
                query[None, None, :, None],
                key[None, None, None, :],
            )
            return mask.expand(batch.shape[0], -1, query.shape[0], key.shape[0])

        return masks

    changed = {"_vmap_expansion_sdpa": expand, "TransformGetItemToIndex": nullcontext}
    original = {name: getattr(masking_utils, name) for name in changed}
    try:
        for name, value in changed.items():
            setattr(masking_utils, name, value)
        yield
    finally:
        for name, value in original.items():
            setattr(masking_utils, name, value)


def parity_texts(settings: BaseSettings) -> list[str]:
    """Return the texts to compare on: from the corpus, or from Python's documentation where no corpus is given."""
    with tempfile.TemporaryDirectory() as folder:
        source = settings.corpus
        if source is None:
            source = f"{folder}/sample.parquet"
            write_sample(Path(source))
        corpus = Corpus.check(source, text_column=settings.text_column, limit=20 * PARITY_TEXTS, skip_bad_rows=True)
        texts: list[str] = [text for batch in corpus.batches() for text in batch.column("text").to_pylist()]
    return texts[:: max(len(texts) // PARITY_TEXTS, 1)][:PARITY_TEXTS]


def check_parity(
    model: SentenceTransformer,
    folder: Path,
    contract: EncoderContract,
    texts: list[str],
    *,
    int8: bool,
    require_int8: bool = True,
) -> dict[str, float]:
    """Return the smallest cosine between the vectors of both encoders over ``texts``, per precision.

    Without ``require_int8``, 8-bit weights that differ too much are left out of the result instead of raising.

    Raises:
        UserError: a cosine is below 0.999 (32-bit floats) or 0.98 (8-bit integers).
    """
    metrics = {}
    with stage(f"compare with sentence-transformers on {len(texts)} texts"):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # several threads would wait for one another where another process holds a core
        expected = unit(model.encode_document(texts, show_progress_bar=False))
        torch.set_num_threads(threads)
        for precision in ("fp32", "int8") if int8 else ("fp32",):
            vectors = Encoder(folder, contract, precision).encode_documents(texts)
            cosine = float(np.einsum("ij,ij->i", expected, unit(vectors)).min())
            if cosine < MIN_COSINE[precision]:
                if precision == "int8" and not require_int8:
                    continue
                raise UserError(
                    f"the {precision} ONNX encoder differs from sentence-transformers: cosine {cosine:.4f}, "
                    f"needed {MIN_COSINE[precision]}; "
                    + ("publish without --int8" if precision == "int8" else "not published")
                )
            metrics[f"parity_{precision}"] = round(cosine, 6)
    return metrics


class _Graph(torch.nn.Module):
    """All modules of a model as one function of its input tensors."""

    def __init__(self, model: SentenceTransformer, inputs: list[str]) -> None:
        super().__init__()
        self.model = model
        self.inputs = inputs

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        features: dict[str, Any] = dict(zip(self.inputs, tensors, strict=True))
        for module in self.model:
            if isinstance(module, Pooling) and module.pooling_mode in ("mean", ("mean",)):
                features["sentence_embedding"] = _mean(features["token_embeddings"], features["attention_mask"])
            else:
                features = module(features)
        vectors: torch.Tensor = features["sentence_embedding"]
        return vectors


def _mean(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of each text's tokens, shape (batch, dimension), as a product of matrices.

    A text's mean then has the same bits in every batch, so that queries may be encoded together. It has not if it is a
    sum over the middle axis, as the pooling module has it, or a product with a single row: ONNX Runtime adds up in
    another order when the batch has one text, or the row another length. So there is a second row, which is not used.
    """
    weights = mask.unsqueeze(1).expand(-1, 2, -1).to(tokens.dtype)
    return torch.matmul(weights, tokens)[:, 0] / weights[:, 0].sum(1, keepdim=True).clamp(min=1e-9)
