"""Tiny encoders of the kinds that are on the Hub: tokenizers, architectures, poolings and heads, with random weights."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from stories import STORIES, WORDS
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

WIDTH = 32
SIZES = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def byte_pairs() -> PreTrainedTokenizerFast:
    """Return a tokenizer like RoBERTa's: pairs of bytes, with <s> and </s>."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        _texts(),
        trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return _fast(tokenizer, "<s>", "</s>", "<pad>")


def unigrams() -> PreTrainedTokenizerFast:
    """Return a tokenizer like XLM-R's: SentencePiece unigrams, with <s> and </s>."""
    # Not learned: the library's scores are sums in the order of a hash table, and differ from process to process.
    counts = Counter(f"▁{word}" for text in _texts() for word in text.split())
    frequent = counts.most_common(60)
    letters = sorted({letter for piece in counts for letter in piece})
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces = [(piece, math.log(count / counts.total())) for piece, count in frequent]
    tokenizer = Tokenizer(
        models.Unigram(
            [*((name, 0.0) for name in special), *pieces, *((letter, -12.0) for letter in letters)], unk_id=3
        )
    )
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return _fast(tokenizer, "<s>", "</s>", "<pad>")


def gemma_pieces() -> PreTrainedTokenizerFast:
    """Return a tokenizer like Gemma's: pairs of characters with a fall-back to bytes, padding first, <bos> and <eos>."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator(
        _texts(), trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", pair="<bos> $A <eos> $B:1 <eos>:1", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    return _fast(tokenizer, "<bos>", "<eos>", "<pad>", padding_side="left")


def make_encoder(
    folder: Path,
    architecture: str,
    tokenizer: PreTrainedTokenizerFast,
    *,
    pooling: str = "mean",
    dense: int | None = None,
    max_tokens: int | None = 32,
    prompts: dict[str, str] | None = None,
    dtype: torch.dtype = torch.float32,
    truncate: int | None = None,
    **config: Any,
) -> Path:
    """Write a sentence-transformers directory with a random network of this architecture, and return it."""
    torch.manual_seed(7)
    network_folder = folder / "network"
    tokenizer.save_pretrained(network_folder)
    options = {
        **SIZES, "vocab_size": len(tokenizer), "max_position_embeddings": 66, "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    network = AutoModel.from_config(AutoConfig.for_model(architecture, **(options | config)))
    with torch.no_grad():  # the words must weigh more than what all vectors have in common
        network.get_input_embeddings().weight.mul_(20)
    network.to(dtype).save_pretrained(network_folder)
    parts = [
        modules.Transformer(str(network_folder), max_seq_length=max_tokens),
        modules.Pooling(WIDTH, pooling_mode=pooling),
    ]
    if dense:
        parts.append(modules.Dense(WIDTH, dense, bias=False, activation_function=torch.nn.Identity()))
    parts.append(modules.Normalize())
    model = SentenceTransformer(modules=parts, prompts=prompts, device="cpu", truncate_dim=truncate)
    model.to(dtype).save_pretrained(str(folder / "model"), create_model_card=False)
    return folder / "model"


def _fast(tokenizer: Tokenizer, first: str, last: str, pad: str, **options: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=first, eos_token=last, cls_token=first, sep_token=last, pad_token=pad,
        unk_token="<unk>", **options,
    )  # fmt: skip


def _texts() -> list[str]:
    return [" ".join(WORDS), *(text for _, _, text in STORIES)]
