"""Tiny but real models, made without a download: two layers with random weights and a word-level tokenizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from stories import WORDS, write_corpus
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from indexer.artifacts.manifest import Manifest, describe_files, read_manifest, write_manifest
from indexer.artifacts.store import Store
from indexer.build.vectors import MAP_FILE
from indexer.inference.encoder import QUERY_FILE
from trainer.adapter.dense_module import with_map
from trainer.models.artifact import write_model
from trainer.models.base import publish_base
from trainer.models.load import load_encoder
from trainer.models.onnx import export_onnx
from trainer.models.settings import BaseSettings

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def make_tiny_model(
    folder: Path,
    *,
    pooling: str = "mean",
    normalise: bool = True,
    dense: int | None = None,
    max_tokens: int = 32,
    prompts: dict[str, str] | None = None,
    architecture: str = "bert",
    layers: int = 2,
) -> Path:
    """Write a sentence-transformers directory into ``folder`` and return it.

    Args:
        folder: where the directory is written.
        pooling: mean, cls or max.
        normalise: whether the model ends with a Normalize module.
        dense: width of a Dense module after the pooling; None for no such module.
        max_tokens: the longest input.
        prompts: the model's prompts by name.
        architecture: name of the architecture in transformers.
        layers: of the transformer.
    """
    torch.manual_seed(7)
    bert = folder / "bert"
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS, ".", ",", ":"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=max_tokens,
    ).save_pretrained(bert)  # fmt: skip
    config = AutoConfig.for_model(
        architecture, vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=66, pad_token_id=0,
    )  # fmt: skip
    network = AutoModel.from_config(config)
    with torch.no_grad():  # the words must weigh more than what all vectors have in common
        network.get_input_embeddings().weight.mul_(20)
    network.save_pretrained(bert)
    parts = [modules.Transformer(str(bert), max_seq_length=max_tokens), modules.Pooling(32, pooling_mode=pooling)]
    if dense:
        parts.append(modules.Dense(32, dense))
    if normalise:
        parts.append(modules.Normalize())
    model = SentenceTransformer(modules=parts, prompts=prompts, device="cpu")
    model.save_pretrained(str(folder / "model"), create_model_card=False)
    return folder / "model"


def publish(model: Path, data: Path) -> Manifest:
    """Publish a model directory, with 8-bit weights too, and return its manifest."""
    texts = write_corpus(model.parent / "parity.parquet")
    return publish_base(str(model), BaseSettings(int8=True, corpus=str(texts)), data).manifest


def publish_mapped(data: Path, matrix: np.ndarray, *, queries_only: bool = False) -> Manifest:
    """Publish the live model with a linear map behind it, as a training run does, and return its manifest; it goes live.

    With ``queries_only`` the map is for the queries of dense search, and the model's own vectors are the base's.
    """
    models = Store("model", data)
    base = models.resolve()
    with models.building():
        staging = models.staging("ab" * 32)
        written = write_model(
            with_map(base, None if queries_only else matrix), staging, ["the cat", "the storm at sea"], int8=False
        )
        np.save(staging / MAP_FILE, matrix, allow_pickle=False)
        config = {"map_of": base.name, "tuned_from": base.name, "hybrid": "base" if queries_only else "tuned"}
        draft = Manifest(kind="model", fingerprint="ab" * 32, inputs=[], config=config, **vars(written))
        return models.publish(staging, draft)


def give_query_encoder(folder: Path, source: Path) -> None:
    """Give the published model in ``folder`` a small query encoder: the graph of ``source``, of the same vocabulary."""
    export_onnx(load_encoder(source), folder / QUERY_FILE)
    manifest = read_manifest(folder)
    config = manifest.config | {"small_query_encoder": {"neurons": [16]}}
    write_manifest(folder, manifest.model_copy(update={"config": config, "files": describe_files(folder)}))
