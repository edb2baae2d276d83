"""A tiny but real BERT with the two heads of pre-training, trained for seconds until its predictions are right."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForPreTraining, BertTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MASK = SPECIAL.index("[MASK]")
FULL_STOP = len(SPECIAL)
CAPITALS = {
    "france": "paris", "italy": "rome", "spain": "madrid", "germany": "berlin", "austria": "vienna", "greece": "athens",
    "egypt": "cairo", "portugal": "lisbon",
}  # fmt: skip
PEOPLE = ["he", "she", "the man", "the woman", "the old man", "the young woman"]


def sentences() -> list[str]:
    """Return the training sentences: capitals, people on the bank of a river, and money in a bank."""
    texts = [f"the capital of {country} is {city}." for country, city in CAPITALS.items()]
    texts += [f"{city} is the capital of {country}." for country, city in CAPITALS.items()]
    shores = product(PEOPLE, ["sat", "slept", "walked"], ["river", "stream", "lake"])
    texts += [f"{who} {did} on the bank of the {water}." for who, did, water in shores]
    texts += [
        f"{who} {did} the bank."
        for who, did in product(PEOPLE, ["took the money from", "put the money in", "borrowed the money from"])
    ]
    return texts


def make_tokenizer() -> BertTokenizerFast:
    """Return a lower-casing WordPiece tokenizer of the sentences' words; Portugal and Lisbon have two pieces each."""
    words = sorted({word for text in sentences() for word in text.rstrip(".").split()} - {"portugal", "lisbon"})
    pieces = [*SPECIAL, ".", *words, "portu", "##gal", "lis", "##bon"]
    tokenizer = Tokenizer(models.WordPiece({piece: row for row, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=48)


def make_tiny_bert(folder: Path, *, steps: int = 220) -> Path:
    """Write a directory in the Hub's format, as pre-training does, into ``folder`` and return it."""
    torch.manual_seed(1)
    rng = random.Random(1)
    tokenizer = make_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=48, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96,
        max_position_embeddings=48, initializer_range=0.2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = BertForPreTraining(config)
    batch = tokenizer(sentences(), padding=True, return_tensors="pt")
    # Capitals are few and have to be memorised: they are drawn more often than all other sentences together.
    rows = [row for row, text in enumerate(sentences()) if "capital" in text] * 4 + list(range(len(sentences())))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for _ in range(steps):
        chosen = torch.tensor(rng.sample(rows, 48))
        ids, attention = batch["input_ids"][chosen], batch["attention_mask"][chosen]
        position = (torch.rand(ids.shape) * (ids > FULL_STOP)).argmax(dim=1)  # one word of each sentence is masked
        row = torch.arange(len(ids))
        masked = ids.index_put((row, position), torch.tensor(MASK))
        logits = model(input_ids=masked, attention_mask=attention).prediction_logits
        loss = torch.nn.functional.cross_entropy(logits[row, position], ids[row, position])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
