"""Dev metric of a training: one number on the dev split, larger is better, which decides the weights that are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer, util
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.sentence_transformer.evaluation import (
    BinaryClassificationEvaluator,
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
)

from trainer.finetune.examples import detect_columns, read_examples
from trainer.training.arguments import METRIC

DevMetric = Callable[[SentenceTransformer], float]
"""Function from the model in training to its score on the dev split; larger is better."""


class DevEvaluator(BaseEvaluator):
    """The library's evaluator around a dev metric, reported under the key `METRIC`."""

    def __init__(self, metric: DevMetric) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.metric = metric
        self.primary_metric = METRIC

    def __call__(  # type: ignore[override]  # this one evaluates sentence encoders
        self,
        model: SentenceTransformer,
        output_path: str | None = None,  # noqa: ARG002
        epoch: int = -1,  # noqa: ARG002
        steps: int = -1,  # noqa: ARG002
    ) -> dict[str, float]:
        """Return the metric's value under its key."""
        return {METRIC: float(self.metric(model))}


def make_dev_metric(paths: Sequence[Path], batch_size: int) -> DevMetric:
    """Return the dev metric that suits the columns of the dev examples.

    Pairs: nDCG@10 of searching all texts of the split. Scored sentences: Spearman's rank correlation. Labelled
    sentences: average precision. All use the cosine.

    Raises:
        UserError: a file is not readable or a row is not complete.
    """
    kind = detect_columns(paths[0])
    examples = read_examples(paths, kind)
    columns = {name: examples[name][:] for name in examples.column_names}
    evaluator: BaseEvaluator
    if kind == "pairs":
        evaluator = _make_retrieval_evaluator(columns, batch_size)
    elif kind == "scored":
        evaluator = EmbeddingSimilarityEvaluator(
            columns["sentence1"],
            columns["sentence2"],
            columns["score"],
            batch_size=batch_size,
            main_similarity="cosine",
            write_csv=False,
        )
    else:
        evaluator = BinaryClassificationEvaluator(
            columns["sentence1"],
            columns["sentence2"],
            [int(label) for label in columns["label"]],
            batch_size=batch_size,
            similarity_fn_names=["cosine"],
            write_csv=False,
        )

    def metric(model: SentenceTransformer) -> float:
        metrics = evaluator(model)
        return float(metrics[str(evaluator.primary_metric)])  # which is set only by the evaluation

    return metric


def _make_retrieval_evaluator(columns: dict[str, list[Any]], batch_size: int) -> InformationRetrievalEvaluator:
    """Return an evaluator that searches all texts of the split, negatives included, for every query."""
    texts = [text for name, column in columns.items() if name != "query" for text in column]
    ids = {text: str(number) for number, text in enumerate(dict.fromkeys(texts))}
    answers: dict[str, set[str]] = {}
    for query, positive in zip(columns["query"], columns["positive"], strict=True):
        answers.setdefault(query, set()).add(ids[positive])
    return InformationRetrievalEvaluator(
        {query: query for query in answers},
        {number: text for text, number in ids.items()},
        answers,
        batch_size=batch_size,
        score_functions={"cosine": util.cos_sim},
        write_csv=False,
    )
