"""Publish a learned-sparse model whose queries need no model: its ONNX graph for documents, its table for queries.

Such models have a `Router` in sentence-transformers. Documents go through a masked-language model and `SpladePooling`,
queries through `SparseStaticEmbedding`, a weight for each token. OpenSearch's doc models are of this kind.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from sentence_transformers import SparseEncoder as TorchEncoder
from sentence_transformers.sparse_encoder.modules import Router, SparseStaticEmbedding, SpladePooling, Transformer

from indexer.artifacts.manifest import EncoderContract, Kind, Manifest, fingerprint, library_versions
from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.inference.sparse_encoder import GRAPH, QUERY_FOLDER, QUERY_WEIGHTS, Numbers, SparseEncoder
from indexer.progress import say, stage
from trainer.models.base import PublishResult, describe_model, locate
from trainer.models.load import load_on_cpu, positions_of
from trainer.models.onnx import OPSET, quiet_export
from trainer.models.settings import SparseSettings

KIND: Kind = "sparse"
MAX_DIFFERENCE = 1e-3
"""Largest difference between a weight of the graph, or of the table, and that of torch."""
LONGEST_QUERY = 100_000
"""A tokenizer without a limit names a larger number."""


@dataclass(frozen=True)
class SparseNetwork:
    """A loaded model, the modules of its documents, and the table of its queries."""

    model: TorchEncoder
    transformer: Any
    pooling: SpladePooling
    query: Any

    @property
    def table(self) -> Numbers:
        """Weight of each term in a query, shape (terms,)."""
        weights: Numbers = self.query.weight.detach().numpy().astype(np.float32)
        return weights


def publish_sparse(model: str, settings: SparseSettings, data: Path | None = None) -> PublishResult:
    """Publish a learned-sparse model with its ONNX graph and its table, and make it live.

    Args:
        model: name on the Hub or a local directory, such as
            opensearch-project/opensearch-neural-sparse-encoding-doc-v2-mini.
        settings: whether to publish again where the same model is published already.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the model cannot be loaded, needs a model for queries too, or its graph differs from torch.
    """
    name, directory = locate(model)
    models = Store(KIND, data)
    with models.building():
        inputs = [describe_model(name, directory)]
        key = fingerprint(KIND, {}, inputs, {"base": name})
        if not settings.force and (existing := models.reuse(key)):
            return PublishResult(existing, fresh=False)
        folder = models.staging(key)
        shutil.rmtree(folder)  # an export is fast: one that was killed starts anew
        folder.mkdir()
        with stage("load the model"):
            network = load_sparse(directory)
        contract, query_tokens = _write(network, folder)
        opened = SparseEncoder(folder, contract, query_tokens, cores=1)
        with stage("compare the graph with torch"):
            metrics = compare_weights(network, opened)
        if not max(metrics.values()) <= MAX_DIFFERENCE:
            raise UserError(
                f"{directory}: the ONNX graph and the table differ from torch by {max(metrics.values()):.2g} in a weight, "
                f"at most {MAX_DIFFERENCE:g} is allowed; not published"
            )
        asked = int(np.count_nonzero(network.table > 0))
        draft = Manifest(
            kind=KIND, fingerprint=key, inputs=inputs, config={"base": name, "query_tokens": query_tokens},
            encoder=contract, metrics={name: round(value, 7) for name, value in metrics.items()},
            counts={"parameters": sum(map(torch.numel, network.transformer.parameters())), "terms": asked},
            versions=library_versions("sentence-transformers", "transformers", "torch", "onnx", "onnxruntime"),
        )  # fmt: skip
        manifest = models.publish(folder, draft)
    say(f"learned-sparse model {manifest.id}: {asked:,} terms, {contract.max_tokens} tokens of a document")
    return PublishResult(manifest, fresh=True)


def load_sparse(directory: Path) -> SparseNetwork:
    """Load a learned-sparse model, whose queries need no model, for inference on the CPU.

    Raises:
        UserError: the directory holds no such model.
    """
    model = load_on_cpu(TorchEncoder, directory, "a learned-sparse model")
    modules: list[Any] = list(model)
    routes: Any = modules[0].sub_modules if len(modules) == 1 and isinstance(modules[0], Router) else {}
    query, document = (list(routes[name]) if name in routes else [] for name in ("query", "document"))
    if not (len(query) == 1 and isinstance(query[0], SparseStaticEmbedding)):
        raise UserError(
            f"{directory}: needs a model at query time; Dowse serves learned-sparse models whose queries are a table of "
            "weights (`SparseStaticEmbedding`), such as opensearch-project/opensearch-neural-sparse-encoding-doc-v2-mini"
        )
    if not (len(document) == 2 and isinstance(document[0], Transformer) and isinstance(document[1], SpladePooling)):
        raise UserError(f"{directory}: documents must go through a masked-language model and SpladePooling alone")
    network = SparseNetwork(model.eval(), document[0], document[1], query[0])
    if (outputs := int(network.transformer.model.config.vocab_size)) != len(network.table):
        raise UserError(f"{directory}: has {outputs} terms in documents and {len(network.table)} in queries")
    if model.similarity_fn_name != "dot":
        raise UserError(f"{directory}: compares vectors by {model.similarity_fn_name}; Dowse takes their dot product")
    if not (network.transformer.tokenizer.is_fast and network.query.tokenizer.is_fast):
        raise UserError(f"{directory}: has no fast tokenizer (tokenizer.json), which indexer and service need")
    return network


def export_documents(network: SparseNetwork, path: Path) -> None:
    """Write the side of documents as ONNX, with its weights in a separate file that processes map into memory and share.

    The graph takes ``input_ids`` and ``attention_mask`` (and ``token_type_ids`` where the model has them), each int64 of
    shape (batch, tokens). It returns ``weights``, float32 of shape (batch, terms).
    """
    features = network.transformer.preprocess(["a text of some length", "short"])
    inputs: list[str] = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in features]
    path.parent.mkdir(parents=True, exist_ok=True)
    single_file = path.with_suffix(".whole")
    with quiet_export(), torch.no_grad():
        torch.onnx.export(
            _Graph(network.transformer, network.pooling, inputs).eval(),
            tuple(features[name] for name in inputs), str(single_file), input_names=inputs, output_names=["weights"],
            dynamic_axes={name: {0: "batch", 1: "tokens"} for name in inputs} | {"weights": {0: "batch"}},
            opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    graph = onnx.load(str(single_file))
    single_file.unlink()
    onnx.save(graph, str(path), save_as_external_data=True, location=path.name + ".data", size_threshold=1024)


def compare_weights(network: SparseNetwork, opened: SparseEncoder) -> dict[str, float]:
    """Return the largest difference of a weight between torch and the published files, for documents and for queries.

    The texts have many lengths, also beyond the longest input. Each side tokenizes by itself, which compares truncation,
    padding and prompts too.
    """
    words = [token for token in network.transformer.tokenizer.get_vocab() if token.isalpha()]
    rng = np.random.default_rng(0)
    longest = opened.contract.max_tokens
    texts = [" ".join(rng.choice(words, length)) for length in (1, 2, 5, 9, 17, 33, longest, 2 * longest)]
    model = network.model
    model.max_active_dims = None  # all weights are compared
    expected = model.encode_document(texts, convert_to_sparse_tensor=False, batch_size=3, show_progress_bar=False)
    document = np.abs(opened.document_weights(texts) - expected.numpy()).max()
    expected = model.encode_query(texts, convert_to_sparse_tensor=False, batch_size=3, show_progress_bar=False)
    query = max(
        np.abs(_dense(*opened.query_terms(text), opened.contract.dimension) - np.maximum(row.numpy(), 0)).max()
        for text, row in zip(texts, expected, strict=True)
    )
    return {"parity_document": float(document), "parity_query": float(query)}


def _write(network: SparseNetwork, folder: Path) -> tuple[EncoderContract, int | None]:
    """Write tokenizers, table and graph; return the contract of documents and the longest query in tokens."""
    transformer, query = network.transformer, network.query
    transformer.tokenizer.save_pretrained(folder)
    query.tokenizer.save_pretrained(folder / QUERY_FOLDER)
    np.save(folder / QUERY_FOLDER / QUERY_WEIGHTS, network.table, allow_pickle=False)
    with stage("export to ONNX"):
        export_documents(network, folder / GRAPH)
    positions = positions_of(transformer.model, transformer.model.config)
    contract = EncoderContract(
        dimension=len(network.table),
        max_tokens=int(min(transformer.max_seq_length or positions, positions)),
        pooling=network.pooling.pooling_strategy,
        normalised=False,
        query_prompt=_prompt(network.model, "query"),
        document_prompt=_prompt(network.model, "document"),
        pad_token_id=int(transformer.tokenizer.pad_token_id or 0),
    )
    limit = int(query.tokenizer.model_max_length)
    return contract, limit if limit <= LONGEST_QUERY else None


def _prompt(model: TorchEncoder, name: str) -> str:
    return str(model.prompts.get(name) or model.prompts.get(model.default_prompt_name or "") or "")


def _dense(terms: Any, weights: Any, dimension: int) -> Numbers:
    vector = np.zeros(dimension, dtype=np.float32)
    vector[terms] = weights
    return vector


class _Graph(torch.nn.Module):
    """The side of documents as one function of its input tensors.

    The largest logit of a term is taken before the activation, which rises with it: the same numbers, and one value for
    a term instead of one for each token and term.
    """

    def __init__(self, transformer: Any, pooling: SpladePooling, inputs: list[str]) -> None:
        super().__init__()
        self.transformer = transformer
        self.pooling = pooling
        self.inputs = inputs

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        features: dict[str, Any] = dict(zip(self.inputs, tensors, strict=True))
        features = self.transformer(features)
        if self.pooling.pooling_strategy == "max":
            logits, mask = features["token_embeddings"], features["attention_mask"].unsqueeze(-1)
            features["token_embeddings"] = (logits * mask).amax(dim=1, keepdim=True)
            features["attention_mask"] = torch.ones_like(features["attention_mask"][:, :1])
        weights: torch.Tensor = self.pooling(features)["sentence_embedding"]
        return weights
