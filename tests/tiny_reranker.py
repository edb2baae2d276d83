"""A tiny but real cross-encoder: the tiny BERT, trained briefly to distinguish a text's words from others."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from stories import STORIES, WORDS
from transformers import AutoTokenizer, BertForSequenceClassification


def make_tiny_reranker(model: Path, folder: Path, *, labels: int = 1, steps: int = 60) -> Path:
    """Write a cross-encoder made from the tiny sentence encoder in ``model`` into ``folder`` and return it."""
    torch.manual_seed(5)
    rng = random.Random(5)
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = BertForSequenceClassification.from_pretrained(model, num_labels=labels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(steps if labels == 1 else 0):
        texts = [rng.choice(STORIES)[2] for _ in range(16)]
        text_words = [[word for word in WORDS if word in text.lower().split()] for text in texts]
        relevant = [rng.random() < 0.5 for _ in texts]
        queries = [
            " ".join(rng.sample(words if yes else WORDS, 3)) for words, yes in zip(text_words, relevant, strict=True)
        ]
        batch = tokenizer(queries, texts, padding=True, truncation=True, max_length=48, return_tensors="pt")
        logits = network(**batch).logits[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(relevant, dtype=torch.float32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
