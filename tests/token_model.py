"""A token classifier in transformers' format that is trained on the spot: it learns that a brand stands behind «by»."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

LABELS = ("O", "B-BRAND", "I-BRAND")


def write_token_model(folder: Path, words: list[str], sentences: list[tuple[str, str]], steps: int = 60) -> Path:
    """Train a tiny BERT on sentences and the brand in each, and save it.

    Args:
        folder: where.
        words: the vocabulary; other words are unknown, and only what stands around them tells what they are.
        sentences: text and brand, which may be empty.
        steps: passes over all sentences.
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate([*special, *sorted({word.lower() for word in words})])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=64,
    )  # fmt: skip
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, num_labels=len(LABELS), id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)}, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = BertForTokenClassification(config)
    features = tokenizer(
        [text for text, _ in sentences], padding=True, return_tensors="pt", return_offsets_mapping=True
    )
    offsets = features.pop("offset_mapping")
    labels = torch.full(features["input_ids"].shape, -100)
    for row, (text, brand) in enumerate(sentences):
        start = text.index(brand) if brand else len(text)
        for place, (first, last) in enumerate(offsets[row].tolist()):
            if last > first:
                inside = start <= first and last <= start + len(brand)
                labels[row, place] = (1 if first == start else 2) if inside else 0
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(steps):
        loss = model(**features, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
