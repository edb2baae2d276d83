"""A tiny but real learned-sparse model: a masked-language BERT with random weights, and a table of weights for queries."""

from __future__ import annotations

from pathlib import Path

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

MAX_TOKENS = 16


def make_tiny_sparse(
    model: Path,
    folder: Path,
    *,
    activation: str = "relu",
    pooling: str = "max",
    table: bool = True,
    prompts: dict[str, str] | None = None,
) -> Path:
    """Write a learned-sparse model with the tokenizer of the tiny sentence encoder in ``model``; return its directory.

    Args:
        model: directory of the tiny sentence encoder.
        folder: where the directory is written.
        activation: relu, or log1p_relu.
        pooling: max or sum over the tokens.
        table: whether queries are a table; else they go through the network as documents do.
        prompts: the model's prompts by name.
    """
    torch.manual_seed(3)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.model_max_length = MAX_TOKENS
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32, pad_token_id=0,
    )  # fmt: skip
    network = BertForMaskedLM(config)
    with torch.no_grad():  # the words must weigh more than what all vectors have in common
        network.get_input_embeddings().weight.mul_(20)
        network.cls.predictions.bias.fill_(-1.0)
    network.save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    options = {"max_seq_length": MAX_TOKENS, "transformer_task": "fill-mask"}
    documents = [
        Transformer(str(folder / "bert"), **options),
        SpladePooling(pooling_strategy=pooling, activation_function=activation),
    ]
    modules = documents
    if table:
        weights = torch.rand(len(tokenizer)) * 5
        weights[: len(tokenizer.all_special_tokens)] = 0
        weights[tokenizer.convert_tokens_to_ids("the")] = 0  # a term that no query asks for
        queries = [SparseStaticEmbedding(tokenizer, weights, frozen=True)]
        modules = [Router.for_query_document(queries, documents)]
    encoder = SparseEncoder(modules=modules, prompts=prompts, similarity_fn_name="dot", device="cpu")
    encoder.save_pretrained(str(folder / "model"), create_model_card=False)
    return folder / "model"
