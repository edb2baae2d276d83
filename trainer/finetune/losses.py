"""Losses by their names in the literature: columns and constructor of each; and the scale of a teacher's scores.

`docs/guides/losses.md` says what each loss does and when to use it. Teachers differ in scale: a cross-encoder's logits span
20, a fused ranker's scores 1, a cosine's margins 2. `teacher_temperature` returns the divisor.
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
from trainer.training.base_model import find_transformer, load_base_model

Columns = Literal["pairs", "plain-pairs", "neighbours", "one-negative", "listwise", "scored", "labelled", "texts"]
"""Kind of examples; `trainer.finetune.examples` lists the columns of each kind and reads them."""
TEMPERATURE = 0.05
GIST_TEMPERATURE = 0.01
MARGIN = 0.5
"""Margin of triplet and the contrastive losses, in cosine distance."""
CADET_TEMPERATURE = 0.3
"""Temperature by which CADET softens the teacher's scores, after scaling them to a range of 1 (arXiv 2505.19274)."""


@dataclass(frozen=True)
class LossOptions:
    """Options of the losses; None means the loss's own default."""

    temperature: float | None = None
    teacher_temperature: float | None = None
    margin: float | None = None
    mini_batch_size: int = 32
    guide: Path | None = None
    gather: bool = False
    """Whether texts of the other processes are negatives too."""

    @property
    def scale(self) -> float:
        """The factor on cosine similarities before the softmax."""
        return 1 / (self.temperature or TEMPERATURE)


@dataclass(frozen=True)
class LossKind:
    """One loss: the columns that it learns from, and the function that builds it.

    ``in_batch_negatives`` says that the other texts of a batch are negatives; a text may then be in a batch only once.
    ``grouped`` says that all rows of a positive belong in one batch. ``max_negatives`` is the number of negatives that
    it takes from a row; None for all.
    """

    columns: Columns
    build: Callable[[SentenceTransformer, LossOptions], nn.Module]
    in_batch_negatives: bool = False
    grouped: bool = False
    max_negatives: int | None = None


class EmbeddingMSELoss(nn.Module):
    """Mean squared error between the embeddings of two texts with the same meaning: a query and its document.

    It has no teacher and no negatives: each text's embedding is the other's target. Nothing prevents collapse, all
    texts in one point, so use few steps and a small learning rate. `mnr` learns from the same pairs without that
    danger.

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


def make_loss(
    name: str, model: SentenceTransformer, options: LossOptions, matryoshka: tuple[int, ...] = ()
) -> nn.Module:
    """Return the loss of this name over ``model``; with ``matryoshka`` it also trains prefixes of the vectors.

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
        raise UserError("--matryoshka: tsdae reconstructs texts from complete vectors; leave it out")
    width = model.get_embedding_dimension() or 0
    if max(matryoshka) > width:
        raise UserError(f"--matryoshka {max(matryoshka)}: the model has {width} dimensions; give no more than that")
    return losses.MatryoshkaLoss(model, loss, matryoshka_dims=list(matryoshka))


def make_denoising_loss(model: SentenceTransformer) -> nn.Module:
    """Return TSDAE's loss over ``model``, an encoder and its pooling, with a decoder that shares the encoder's weights.

    The library loads the decoder from the files that the encoder was first loaded from, and gives *their* weights to
    both. Only the head that predicts words should come from those files, so the encoder's present weights are restored.

    Raises:
        UserError: transformers has no decoder for this architecture.
    """
    encoder = find_transformer(model)
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


def teacher_temperature(name: str, examples: Dataset, model: SentenceTransformer) -> float:
    """Return the default divisor of the teacher's ``scores``.

    kl: 0.3 of the mean range of a row. The teacher's distribution is then as sharp as CADET's, whether its scores are
    logits of a cross-encoder or cosines.

    margin-mse: 1, but for models that end in `Normalize` the 99th percentile of the margins where that is above 1. The
    similarities of such models are cosines, while a cross-encoder's margins exceed 10. A student that can never reach
    its target would only learn to spread all texts as far as possible.
    """
    scores = np.asarray(examples["scores"][:], dtype=np.float64)  # (rows, candidates)
    if name == "kl":
        return float(CADET_TEMPERATURE * np.ptp(scores, axis=1).mean()) or 1.0
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


LOSSES: dict[str, LossKind] = {
    "mnr": LossKind("pairs", _mnr, in_batch_negatives=True),
    "cached-mnr": LossKind("pairs", _cached_mnr, in_batch_negatives=True),
    "grouped-mnr": LossKind(
        "neighbours",
        lambda model, options: GroupedNegativesLoss(model, options.scale, gather=options.gather),
        grouped=True,
    ),
    "symmetric-mnr": LossKind("pairs", _symmetric_mnr, in_batch_negatives=True),
    "gist": LossKind("pairs", _gist, in_batch_negatives=True, max_negatives=1),
    "margin-mse": LossKind("listwise", lambda model, _: losses.MarginMSELoss(model)),
    "kl": LossKind("listwise", _kl),
    "mse": LossKind("plain-pairs", lambda model, _: EmbeddingMSELoss(model)),
    "cosine": LossKind("scored", lambda model, _: losses.CosineSimilarityLoss(model)),
    "cosent": LossKind("scored", lambda model, options: losses.CoSENTLoss(model, scale=options.scale)),
    "contrastive": LossKind("labelled", _contrastive),
    "online-contrastive": LossKind("labelled", _online_contrastive),
    "triplet": LossKind("one-negative", _triplet),
    "tsdae": LossKind("texts", lambda model, _: make_denoising_loss(model)),
}
