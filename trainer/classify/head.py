"""Logistic heads: the classifier of `--frozen-encoder`, and the linear probe that fine-tuning starts from.

With a frozen encoder only the head on its sentence embeddings is trained, which takes seconds. The regularisation
(scikit-learn's C, larger regularises less) is chosen by cross-validation within the training rows, by macro-F1.

A fine-tuning starts from a linear probe, a head that is fitted to the features of the untrained encoder, also in
seconds. A random head would send random gradients through the encoder and distort its features before it has learned
anything itself (Kumar et al. 2022, «Fine-tuning can distort pretrained features and underperform out-of-distribution»,
https://arxiv.org/abs/2202.10054).
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
from trainer.classify.base import TrainableModel
from trainer.classify.data import MIN_TRAINING_ROWS, LabelledData, Split
from trainer.classify.metrics import Answers, macro_f1
from trainer.classify.settings import ClassifyTrainSettings

C_GRID = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Values of C that cross-validation compares."""
MAX_ITERATIONS = 2000
CONSTANT_LOGIT = 10.0
"""Logit of a label that all rows have: a probability of .99995."""
MAX_PROBE_ROWS = 5_000
"""Rows that the probe is fitted to; more change little."""
BATCH = 64
PROBE_C = 0.1
"""C of the probe. It regularises strongly: a confident head leaves no gradients to learn from."""


class GridPoint(BaseModel):
    """One value of C in the cross-validation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    c: float = Field(description="scikit-learn's C: larger regularises less")
    macro_f1: float = Field(description="mean macro-F1 of the folds")


class Head(NamedTuple):
    """A linear head: weight of shape (labels, dimension), bias of shape (labels,)."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def logits(self, vectors: Vectors) -> npt.NDArray[np.float32]:
        """Return ``vectors @ weight.T + bias``, shape (rows, labels)."""
        return vectors @ self.weight.T + self.bias


def fit_head(vectors: Vectors, data: LabelledData, settings: ClassifyTrainSettings) -> tuple[Head, list[GridPoint]]:
    """Choose C by cross-validation and fit the head to all training rows.

    Args:
        vectors: sentence embeddings of the training rows, shape (rows, dimension).
        data: labels and training rows.
        settings: folds, class weights, seed.

    Returns:
        The head, and the macro-F1 of every C.
    """
    truth, multi_label = data.train.truth, data.multi_label
    folds = list(_folds(truth, settings, multi_label=multi_label))
    points = []
    with Bar("cross-validation", len(C_GRID) * len(folds), "fits") as bar:
        for c in C_GRID:
            scores = []
            for train, test in folds:
                head = fit_with_c(vectors[train], truth[train], c, settings, multi_label=multi_label)
                scores.append(macro_f1(truth[test], _answers(head.logits(vectors[test]), multi_label=multi_label)))
                bar.advance(1)
            points.append(GridPoint(c=c, macro_f1=round(float(np.mean(scores)), 6)))
    best = max(points, key=lambda point: point.macro_f1)  # of equal ones the first: the strongest regularisation
    return fit_with_c(vectors, truth, best.c, settings, multi_label=multi_label), points


def fit_with_c(
    vectors: Vectors, truth: Answers, c: float, settings: ClassifyTrainSettings, *, multi_label: bool
) -> Head:
    """Return the head that is fitted to ``vectors``, shape (rows, dimension), with scikit-learn's C = ``c``."""
    if multi_label:
        lines = [_fit_binary(vectors, truth[:, label], c, settings) for label in range(truth.shape[1])]
        return Head(np.stack([weight for weight, _ in lines]), np.array([bias for _, bias in lines], np.float32))
    if truth.shape[1] == 2:  # the first label has logit 0, which gives the same function as scikit-learn's
        weight, bias = _fit_binary(vectors, truth[:, 1], c, settings)
        return Head(np.stack([np.zeros_like(weight), weight]), np.array([0.0, bias], np.float32))
    model = _fit_regression(vectors, truth.argmax(axis=1), c, settings)
    return Head(model.coef_.astype(np.float32), model.intercept_.astype(np.float32))


def fit_probe(trainable: TrainableModel, data: LabelledData, settings: ClassifyTrainSettings) -> None:
    """Fit the model's last linear layer to the training rows, in place; all other weights stay unchanged.

    Where a sample of a large file has too few rows of a label, the layer stays random.
    """
    last = [module for module in trainable.model.modules() if isinstance(module, nn.Linear)][-1]
    split = data.train
    if len(split.texts) > MAX_PROBE_ROWS:
        rows = np.random.default_rng(settings.seed).permutation(len(split.texts))[:MAX_PROBE_ROWS]
        if split.truth[rows].sum(axis=0).min() < MIN_TRAINING_ROWS:
            return
        split = Split([split.texts[row] for row in rows], split.truth[rows], split.seen[rows])
    features = _layer_inputs(last, trainable, split.texts)
    # Standardise the features, because encoders differ in scale; weight and bias undo it.
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    head = fit_with_c((features - mean) / deviation, split.truth, PROBE_C, settings, multi_label=data.multi_label)
    weight = head.weight / deviation
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(weight))
        last.bias.copy_(torch.from_numpy(head.bias - weight @ mean))


def _folds(
    truth: Answers, settings: ClassifyTrainSettings, *, multi_label: bool
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yield the row indices to train on and to test on, for each fold."""
    smallest = len(truth) if multi_label else int(truth.sum(axis=0).min())
    number = max(min(settings.folds, smallest), MIN_TRAINING_ROWS)
    if multi_label:
        yield from KFold(number, shuffle=True, random_state=settings.seed).split(truth)
    else:
        indices = truth.argmax(axis=1)
        yield from StratifiedKFold(number, shuffle=True, random_state=settings.seed).split(truth, indices)


def _answers(logits: npt.NDArray[np.float32], *, multi_label: bool) -> Answers:
    if multi_label:
        return logits >= 0
    answers: Answers = logits == logits.max(axis=1, keepdims=True)
    return answers


def _fit_binary(
    vectors: Vectors, truth: npt.NDArray[np.bool_], c: float, settings: ClassifyTrainSettings
) -> tuple[npt.NDArray[np.float32], float]:
    """Return weight and bias of one binary decision; where all rows agree the weight is zero."""
    if truth.all() or not truth.any():
        return np.zeros(vectors.shape[1], np.float32), CONSTANT_LOGIT if truth.all() else -CONSTANT_LOGIT
    model = _fit_regression(vectors, truth, c, settings)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])


def _fit_regression(
    vectors: Vectors, truth: npt.NDArray[np.bool_] | npt.NDArray[np.int64], c: float, settings: ClassifyTrainSettings
) -> LogisticRegression:
    weights = "balanced" if settings.class_weights == "balanced" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # cross-validation evaluates the head in any case
        return LogisticRegression(C=c, max_iter=MAX_ITERATIONS, class_weight=weights).fit(vectors, truth)


@torch.no_grad()
def _layer_inputs(
    layer: nn.Linear, trainable: TrainableModel, texts: list[str]
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the input of ``layer`` for each text, shape (texts, features)."""
    inputs: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _, tensors, __: inputs.append(tensors[0].detach()))
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    network: nn.Module = trainable.model
    network.eval()
    try:
        with Bar("read the texts", len(texts), "texts") as bar:
            for first in range(0, len(order), BATCH):
                batch = [texts[row] for row in order[first : first + BATCH]]
                network(
                    **trainable.tokenizer(
                        batch, truncation=True, max_length=trainable.max_tokens, padding=True, return_tensors="pt"
                    )
                )
                bar.advance(len(batch))
    finally:
        handle.remove()
        network.train()
    features = np.empty((len(texts), layer.in_features), dtype=np.float32)
    features[order] = torch.cat(inputs).float().numpy()
    return features
