"""The losses by their field names: which columns each learns from, and what it is made of.

`trainer/README.md` says of each what it does and when to take it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import Normalize
from torch import Tensor, nn

from indexer.errors import UserError
from trainer.finetune.grouped import GroupedNegativesLoss
from trainer.training.base_model import load_base_model, transformer_of

Columns = Literal["pairs", "plain-pairs", "neighbours", "one-negative", "listwise", "scored", "labelled", "texts"]
"""What a row holds: see `trainer.finetune.examples`, which reads them."""

TEMPERATURE = 0.05
GIST_TEMPERATURE = 0.01
MARGIN = 0.5


@dataclass(frozen=True)
class LossOptions:
    """What a loss can be told; None is its own default."""

    temperature: float | None = None
    teacher_temperature: float | None = None
    margin: float | None = None
    mini_batch_size: int = 32
    guide: Path | None = None
    gather: bool = False
    """Whether the other processes' texts are negatives too."""

    @property
    def scale(self) -> float:
        """The factor on cosine similarities before the softmax."""
        return 1 / (self.temperature or TEMPERATURE)


@dataclass(frozen=True)
class LossKind:
    """One loss: the columns that it learns from, and how it is made.

    ``in_batch`` says that the other texts of a batch are its negatives, so that no text may be there twice; ``grouped``
    that the rows of a text belong into one batch.
    ``most_negatives`` is how many negatives of a row it takes; None for all.
    """

    columns: Columns
    build: Callable[[SentenceTransformer, LossOptions], nn.Module]
    in_batch: bool = False
    grouped: bool = False
    most_negatives: int | None = None


class EmbeddingMSELoss(nn.Module):
    """Mean squared error between the embeddings of two texts that mean the same: a query and its document.

    No teacher and no negatives: each text's embedding is the other's target. Nothing keeps all texts from falling
    together into one point, so it suits few steps and a small learning rate; `mnr` learns from the same pairs without
    that danger.

    Args:
        model: the encoder; the loss takes its two columns in either order.
    """

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return the mean over (batch, dimension) of the squared differences, a scalar; there are no labels."""
        first, second = (self.model(features)["sentence_embedding"] for features in sentence_features)
        return nn.functional.mse_loss(first, second)


def _mnr(model: SentenceTransformer, options: LossOptions) -> nn.Module:
    return losses.MultipleNegativesRankingLoss(model, scale=options.scale, gather_across_devices=options.gather)


def _cached_mnr(model: SentenceTransformer, options: LossOptions) -> nn.Module:
    return losses.CachedMultipleNegativesRankingLoss(
        model, scale=options.scale, mini_batch_size=options.mini_batch_size, gather_across_devices=options.gather
    )


def _symmetric_mnr(model: SentenceTransformer, options: LossOptions) -> nn.Module:
    return losses.MultipleNegativesRankingLoss(
        model,
        scale=options.scale,
        gather_across_devices=options.gather,
        directions=("query_to_doc", "doc_to_query"),
        partition_mode="per_direction",
    )


def _gist(model: SentenceTransformer, options: LossOptions) -> nn.Module:
    if options.guide is None:
        raise UserError("--loss gist: needs a guide; give the directory of a model with --guide")
    if not options.guide.is_dir():
        raise UserError(f"--guide {options.guide}: no directory; give one with a sentence-transformers model")
    guide = load_base_model(options.guide).eval()
    guide.requires_grad_(requires_grad=False)
    temperature = options.temperature or GIST_TEMPERATURE
    return losses.GISTEmbedLoss(model, guide, temperature=temperature, gather_across_devices=options.gather)


def _kl(model: SentenceTransformer, options: LossOptions) -> nn.Module:
    return losses.DistillKLDivLoss(
        model,
        student_temperature=options.temperature or TEMPERATURE,
        teacher_temperature=options.teacher_temperature or 1.0,
    )


def _contrastive(model: SentenceTransformer, options: LossOptions) -> nn.Module:
    return losses.ContrastiveLoss(model, margin=options.margin or MARGIN)


def _online_contrastive(model: SentenceTransformer, options: LossOptions) -> nn.Module:
    return losses.OnlineContrastiveLoss(model, margin=options.margin or MARGIN)


def _triplet(model: SentenceTransformer, options: LossOptions) -> nn.Module:
    # The library's default, a Euclidean margin of 5, is out of reach of unit vectors, which are 2 apart at most.
    cosine = losses.TripletDistanceMetric.COSINE
    return losses.TripletLoss(model, distance_metric=cosine, triplet_margin=options.margin or MARGIN)


def denoising_loss(model: SentenceTransformer) -> nn.Module:
    """Return TSDAE's loss over ``model``, an encoder and its pooling, with a decoder that shares the encoder's weights.

    The library takes the decoder from the files that the encoder once came from and hands *their* weights to both.
    The head for predicting words, where the files have one, is wanted; the encoder keeps what it has learned since.

    Raises:
        UserError: transformers has no decoder of this architecture.
    """
    encoder = transformer_of(model)
    weights = {name: tensor.detach().clone() for name, tensor in encoder.state_dict().items()}
    try:
        loss = losses.DenoisingAutoEncoderLoss(model)
    except ValueError as error:
        raise UserError(
            f"tsdae: {encoder.config.model_type} has no decoder in transformers; "
            "start from a BERT-like model, such as bert, roberta, xlm-roberta or electra"
        ) from error
    encoder.load_state_dict(weights)  # into tensors that the decoder now shares
    return loss.float()


LOSSES: dict[str, LossKind] = {
    "mnr": LossKind("pairs", _mnr, in_batch=True),
    "cached-mnr": LossKind("pairs", _cached_mnr, in_batch=True),
    "grouped-mnr": LossKind(
        "neighbours", lambda model, options: GroupedNegativesLoss(model, options.scale), grouped=True
    ),
    "symmetric-mnr": LossKind("pairs", _symmetric_mnr, in_batch=True),
    "gist": LossKind("pairs", _gist, in_batch=True, most_negatives=1),
    "margin-mse": LossKind("listwise", lambda model, _: losses.MarginMSELoss(model)),
    "kl": LossKind("listwise", _kl),
    "mse": LossKind("plain-pairs", lambda model, _: EmbeddingMSELoss(model)),
    "cosine": LossKind("scored", lambda model, _: losses.CosineSimilarityLoss(model)),
    "cosent": LossKind("scored", lambda model, options: losses.CoSENTLoss(model, scale=options.scale)),
    "contrastive": LossKind("labelled", _contrastive),
    "online-contrastive": LossKind("labelled", _online_contrastive),
    "triplet": LossKind("one-negative", _triplet),
    "tsdae": LossKind("texts", lambda model, _: denoising_loss(model)),
}


def make_loss(
    name: str, model: SentenceTransformer, options: LossOptions, matryoshka: tuple[int, ...] = ()
) -> nn.Module:
    """Return the loss of this name over ``model``, wrapped so that prefixes of the vectors learn too, on demand.

    Args:
        name: a key of `LOSSES`.
        model: the encoder that is trained.
        options: temperatures, margin, guide.
        matryoshka: the lengths of the prefixes (Kusupati et al. 2022, https://arxiv.org/abs/2205.13147), or none.

    Raises:
        UserError: the options do not fit the model or the loss.
    """
    loss = LOSSES[name].build(model, options)
    if not matryoshka:
        return loss
    if name == "tsdae":
        raise UserError("--matryoshka: tsdae reconstructs texts from whole vectors; leave it out")
    width = model.get_embedding_dimension() or 0
    if max(matryoshka) > width:
        raise UserError(f"--matryoshka {max(matryoshka)}: the model has {width} dimensions; give no more than that")
    return losses.MatryoshkaLoss(model, loss, matryoshka_dims=list(matryoshka))


TEACHER_SHARE = 0.3
"""CADET softens the teacher's scores, stretched to a range of 1, with this temperature (arXiv 2505.19274)."""


def teacher_temperature(name: str, examples: Dataset, model: SentenceTransformer) -> float:
    """Return what the teacher's ``scores`` are divided by where the operator says nothing.

    kl: 0.3 of the mean range of a row, so that the teacher is as decided as CADET's, whether its scores are logits of
    a cross-encoder or cosines. margin-mse: 1, but for models that end in `Normalize` the 99th percentile of the margins
    where that is above 1. Their similarities are cosines, a cross-encoder's margins exceed 10, and a student
    that can never reach its target only learns to spread everything as far as it goes.
    """
    scores = np.asarray(examples["scores"][:], dtype=np.float64)  # (rows, candidates)
    if name == "kl":
        return float(TEACHER_SHARE * np.ptp(scores, axis=1).mean()) or 1.0
    if not isinstance(list(model)[-1], Normalize):
        return 1.0
    return max(1.0, float(np.percentile(np.abs(scores[:, :1] - scores[:, 1:]), 99)))


def divide_scores(examples: Dataset, divisor: float) -> Dataset:
    """Return the examples with their ``scores`` divided by ``divisor``."""
    if divisor == 1.0:
        return examples
    scores = (np.asarray(examples["scores"][:], dtype=np.float64) / divisor).tolist()
    names = examples.column_names
    return examples.remove_columns("scores").add_column("scores", scores).select_columns(names)
