"""Fit of a small query encoder to the vectors of the full one, by regression on short texts, within a budget of time.

First neurons are removed and all maps solved in closed form (`trainer.query_encoder.student`), then AdamW trains all layers. The
loss is the squared distance to the full encoder's unit vector, which is twice one minus the cosine (Hinton et al. 2015,
https://arxiv.org/abs/1503.02531, with vectors in place of classes).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from sentence_transformers import SentenceTransformer
from torch import nn

from indexer.errors import UserError
from indexer.inference.encoder import Vectors
from indexer.progress import Bar
from trainer.models.load import load_encoder
from trainer.query_encoder.student import find_parts, make_student
from trainer.training.clock import Clock

SAMPLE = 2_000
"""Texts of the regressions that choose neurons."""
HELD_OUT = 400
"""Texts that are left out, for the cosine in the report."""
BATCH_SIZE = 32
EPOCHS = 4
LEARNING_RATE = 3e-4
WARMUP = 0.05
BLOCK = 50
"""Batches whose texts are sorted by length together: little padding, and yet another order in each epoch."""


class FitRecord(BaseModel):
    """Record of a fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    neurons: list[int] = Field(description="neurons that each layer's feed-forward part has; 0 where none were removed")
    texts: int = Field(description="short texts that it learned from")
    steps: int = Field(description="steps of the optimizer")
    seconds: float = Field(description="time that they took")
    start: float = Field(description="mean cosine to the full encoder's vectors on texts left out, before these steps")
    cosine: float = Field(description="the same afterwards")


def can_imitate(directory: Path) -> bool:
    """Say whether the encoder in ``directory`` has neurons that a student can do without."""
    try:
        return any(find_parts(load_encoder(directory)))
    except UserError:
        return False


def fit_student(
    directory: Path, texts: Sequence[str], vectors: Vectors, seconds: float, seed: int = 0
) -> tuple[SentenceTransformer, FitRecord]:
    """Return a small encoder of queries that imitates the one in ``directory``, and the record of its fit.

    Args:
        directory: of the full encoder, in sentence-transformers' format.
        texts: short texts with the prompt of queries, at least two.
        vectors: the full encoder's unit vectors of the texts, shape (texts, dimension).
        seconds: time that the training may take; the closed-form part comes on top.
        seed: of the order of the texts.

    Raises:
        UserError: the architecture's layers have no feed-forward part of a known form.
    """
    held_out = min(HELD_OUT, len(texts) // 2)
    sample = slice(held_out, held_out + SAMPLE)
    student, neurons = make_student(directory, texts[sample])
    start = mean_cosine(student, texts[:held_out], vectors[:held_out])
    steps, took = _train(student, texts[held_out:], vectors[held_out:], seconds, seed)
    cosine = mean_cosine(student, texts[:held_out], vectors[:held_out])
    return student, FitRecord(
        neurons=neurons,
        texts=len(texts),
        steps=steps,
        seconds=round(took, 1),
        start=round(start, 4),
        cosine=round(cosine, 4),
    )


def mean_cosine(student: SentenceTransformer, texts: Sequence[str], vectors: Vectors) -> float:
    """Return the mean cosine between the student's vectors of ``texts`` and ``vectors``."""
    own = student.encode(list(texts), show_progress_bar=False, convert_to_numpy=True)
    return float(np.einsum("ij,ij->i", own, vectors).mean())


def _train(
    student: SentenceTransformer, texts: Sequence[str], vectors: Vectors, seconds: float, seed: int
) -> tuple[int, float]:
    """Train layers and maps; return the steps and seconds that this took."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student.to(device)
    weights = [weight for weight in student.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE)
    clock = Clock(seconds, WARMUP)
    clock.total = max(EPOCHS * len(texts) // BATCH_SIZE, 1)
    clock.start(0, 0.0)
    batches = _batches(texts, np.random.default_rng(seed))
    with Bar("query encoder", clock.total, "steps") as bar:
        while not clock.spent and clock.step < clock.total:
            rows = next(batches)
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * clock.rate_factor()
            features = student.preprocess([texts[row] for row in rows])
            features = {
                name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in features.items()
            }
            target = torch.from_numpy(vectors[rows]).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                made = student(features)["sentence_embedding"]
            loss = (made.float() - target).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            clock.tick(clock.step + 1)
            bar.revise(f"query encoder (loss {loss.item():.3f})", clock.expected_steps())
            bar.advance(1)
    student.to("cpu").eval()
    return clock.step, clock.seconds


def _batches(texts: Sequence[str], rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """Yield rows of texts of similar length without end, each text once in an epoch."""
    lengths = np.array([len(text) for text in texts])
    while True:
        order = rng.permutation(len(texts))
        for first in range(0, len(order), BLOCK * BATCH_SIZE):
            block = order[first : first + BLOCK * BATCH_SIZE]
            block = block[np.argsort(lengths[block], kind="stable")]
            starts = rng.permutation(range(0, len(block), BATCH_SIZE))
            for start in starts.tolist():
                yield block[start : start + BATCH_SIZE]
