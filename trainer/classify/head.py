"""`--frozen-encoder`: a logistic head on sentence embeddings. The encoder stays as it is, so that seconds are enough.

How strongly the head is held back (scikit-learn's C, larger is freer) is chosen by cross-validation within the training
rows, by macro-F1.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold
from torch import nn

from indexer.inference.encoder import Vectors
from indexer.progress import Bar
from trainer.classify.base import Start
from trainer.classify.data import FEWEST, Labelled, Part
from trainer.classify.metrics import Answers, macro_f1
from trainer.classify.settings import ClassifyTrainSettings

GRID = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
STEPS = 2000
SURE = 10.0
"""The logit of a label that all rows have: a probability of .99995."""


class Tried(BaseModel):
    """One C of the cross-validation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    c: float = Field(description="scikit-learn's C: larger holds the head back less")
    macro_f1: float = Field(description="mean macro-F1 of the folds")


class Head(NamedTuple):
    """Logits are ``vectors @ weight.T + bias``: weight of shape (labels, dimension), bias (labels,)."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def logits(self, vectors: Vectors) -> npt.NDArray[np.float32]:
        """Return the logits of vectors, shape (rows, labels)."""
        return vectors @ self.weight.T + self.bias


def fit_head(vectors: Vectors, data: Labelled, settings: ClassifyTrainSettings) -> tuple[Head, list[Tried]]:
    """Choose C by cross-validation and fit the head on all rows.

    Args:
        vectors: sentence embeddings of the training rows, shape (rows, dimension).
        data: labels and training rows.
        settings: folds, class weights, seed.

    Returns:
        the head, and macro-F1 of every C that was tried.
    """
    truth, multi_label = data.train.truth, data.multi_label
    folds = list(_folds(truth, settings, multi_label=multi_label))
    tried = []
    with Bar("cross-validation", len(GRID) * len(folds), "fits") as bar:
        for c in GRID:
            scores = []
            for learn, ask in folds:
                head = fit_with(vectors[learn], truth[learn], c, settings, multi_label=multi_label)
                scores.append(macro_f1(truth[ask], _answers(head.logits(vectors[ask]), multi_label=multi_label)))
                bar.advance(1)
            tried.append(Tried(c=c, macro_f1=round(float(np.mean(scores)), 6)))
    best = max(tried, key=lambda each: each.macro_f1)  # of equals the first: the one that is held back most
    return fit_with(vectors, truth, best.c, settings, multi_label=multi_label), tried


def _folds(
    truth: Answers, settings: ClassifyTrainSettings, *, multi_label: bool
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    fewest = len(truth) if multi_label else int(truth.sum(axis=0).min())
    number = max(min(settings.folds, fewest), FEWEST)
    if multi_label:
        yield from KFold(number, shuffle=True, random_state=settings.seed).split(truth)
    else:
        places = truth.argmax(axis=1)
        yield from StratifiedKFold(number, shuffle=True, random_state=settings.seed).split(truth, places)


def _answers(logits: npt.NDArray[np.float32], *, multi_label: bool) -> Answers:
    if multi_label:
        return logits >= 0
    answers: Answers = logits == logits.max(axis=1, keepdims=True)
    return answers


def fit_with(vectors: Vectors, truth: Answers, c: float, settings: ClassifyTrainSettings, *, multi_label: bool) -> Head:
    """Return the head that scikit-learn's C = ``c`` gives for ``vectors``, shape (rows, dimension)."""
    if multi_label:
        rows = [_line(vectors, truth[:, at], c, settings) for at in range(truth.shape[1])]
        return Head(np.stack([weight for weight, _ in rows]), np.array([bias for _, bias in rows], np.float32))
    if truth.shape[1] == FEWEST:  # of two labels the first has logit 0: the same function as scikit-learn's
        weight, bias = _line(vectors, truth[:, 1], c, settings)
        return Head(np.stack([np.zeros_like(weight), weight]), np.array([0.0, bias], np.float32))
    model = _regression(vectors, truth.argmax(axis=1), c, settings)
    return Head(model.coef_.astype(np.float32), model.intercept_.astype(np.float32))


def _line(
    vectors: Vectors, truth: npt.NDArray[np.bool_], c: float, settings: ClassifyTrainSettings
) -> tuple[npt.NDArray[np.float32], float]:
    """Return weight and bias of one yes-or-no decision; where all rows agree, only a bias."""
    if truth.all() or not truth.any():
        return np.zeros(vectors.shape[1], np.float32), SURE if truth.all() else -SURE
    model = _regression(vectors, truth, c, settings)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])


def _regression(
    vectors: Vectors, truth: npt.NDArray[np.bool_] | npt.NDArray[np.int64], c: float, settings: ClassifyTrainSettings
) -> LogisticRegression:
    weights = "balanced" if settings.class_weights == "balanced" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # cross-validation judges what came of it
        return LogisticRegression(C=c, max_iter=STEPS, class_weight=weights).fit(vectors, truth)


MOST_ROWS = 5_000
"""Rows that the probe is fitted to; more change little."""
BATCH = 64
FREEDOM = 0.1
"""scikit-learn's C: held back, since a head that is sure of itself leaves no gradients to learn from."""


def probe(start: Start, data: Labelled, settings: ClassifyTrainSettings) -> None:
    """Fit the last layer of the model of ``start`` to the training rows, in place; the other weights stay as they are."""
    last = [module for module in start.model.modules() if isinstance(module, nn.Linear)][-1]
    part = data.train
    if len(part.texts) > MOST_ROWS:
        rows = np.random.default_rng(settings.seed).permutation(len(part.texts))[:MOST_ROWS]
        if part.truth[rows].sum(axis=0).min() < FEWEST:  # a label that is too rare for a sample: the head stays random
            return
        part = Part([part.texts[row] for row in rows], part.truth[rows], part.seen[rows])
    features = _inputs_of(last, start, part.texts)
    # On one scale, whatever the encoder's is; folded back into weights and bias.
    mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    head = fit_with((features - mean) / spread, part.truth, FREEDOM, settings, multi_label=data.multi_label)
    weight = head.weight / spread
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(weight))
        last.bias.copy_(torch.from_numpy(head.bias - weight @ mean))


@torch.no_grad()
def _inputs_of(layer: nn.Linear, start: Start, texts: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return what the layer is given for each text, shape (texts, features)."""
    given: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _, inputs, __: given.append(inputs[0].detach()))
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    network: nn.Module = start.model
    network.eval()
    try:
        with Bar("read the texts", len(texts), "texts") as bar:
            for first in range(0, len(order), BATCH):
                some = [texts[row] for row in order[first : first + BATCH]]
                network(
                    **start.tokenizer(
                        some, truncation=True, max_length=start.max_tokens, padding=True, return_tensors="pt"
                    )
                )
                bar.advance(len(some))
    finally:
        handle.remove()
        network.train()
    found = np.empty((len(texts), layer.in_features), dtype=np.float32)
    found[order] = torch.cat(given).float().numpy()
    return found
