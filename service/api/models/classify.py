"""`POST /classify`: labels of texts with calibrated probabilities, from the live classifier."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from indexer.artifacts.manifest import Manifest, verify_files
from indexer.inference.classifier import Classifier, read_contract
from service.api.dependencies import QUEUED
from service.api.problem_responses import RESPONSES
from service.serving.follower import Follower
from service.serving.queue import queued

MAX_TEXT = 10_000
MAX_TEXTS = 64

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT)]

SPAM: dict[str, JsonValue] = {"label": "spam", "probability": 0.994}
HAM: dict[str, JsonValue] = {"label": "ham", "probability": 0.006}
CLASSIFIER: dict[str, JsonValue] = {
    "id": "20261121T150101Z-3c4d5e6f",
    "labels": ["ham", "spam"],
    "multi_label": False,
    "max_tokens": 128,
    "macro_f1": 0.981,
}


class ClassifyRequest(BaseModel):
    """Body of `POST /classify`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"texts": ["WINNER! Text CASH to 80082 to claim your prize"]},
                {"texts": ["See you at eight?", "Free entry, text WIN now"], "top_k": 1},
            ]
        },
    )
    texts: list[Text] = Field(
        min_length=1,
        max_length=MAX_TEXTS,
        description=f"1 to {MAX_TEXTS} texts, of at most {MAX_TEXT:,} characters each; tokens beyond the "
        "classifier's `max_tokens` are not read",
    )
    top_k: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="number of labels in `probabilities` of each text, the most probable first",
    )


class LabelProbability(BaseModel):
    """A label and how probable it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [SPAM]})
    label: str = Field(description="the label")
    probability: float = Field(description="calibrated probability: of the answers with 0.9, nine in ten are right")


class Classified(BaseModel):
    """The answer about one text."""

    labels: list[LabelProbability] = Field(
        description="the labels that apply, the most probable first: exactly one, or with a multi-label classifier "
        "those that reach their thresholds, perhaps none"
    )
    probabilities: list[LabelProbability] = Field(
        description="the `top_k` most probable labels, whether they apply or not"
    )


class ClassifierFacts(BaseModel):
    """The classifier that answered."""

    model_config = ConfigDict(json_schema_extra={"examples": [CLASSIFIER]})
    id: str = Field(description="id of the classifier")
    labels: list[str] = Field(description="its labels")
    multi_label: bool = Field(description="whether several labels, or none, may apply to a text")
    max_tokens: int = Field(description="maximum number of tokens of a text that it reads")
    macro_f1: float | None = Field(description="macro-F1 on its test rows; null where that was not measured")


class ClassifyResponse(BaseModel):
    """Answer of `POST /classify`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "results": [{"labels": [SPAM], "probabilities": [SPAM, HAM]}],
                    "classifier": CLASSIFIER,
                    "took_ms": 4.7,
                    "request_id": "0f8fad5bd9cb469fa16570867728950e",
                }
            ]
        }
    )
    results: list[Classified] = Field(description="one for each text, in their order")
    classifier: ClassifierFacts = Field(description="the classifier that answered")
    took_ms: float = Field(description="milliseconds from the start of the work to the finished answer")
    request_id: str = Field(description="as in the header X-Request-ID and in the log")


router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 503)})


@dataclass(frozen=True)
class LiveClassifier:
    """The published classifier with its manifest."""

    classifier: Classifier
    manifest: Manifest


def open_classifier(folder: Path, cores: int | None = None) -> LiveClassifier:
    """Verify and open a published classifier, and warm it up with one text."""
    manifest = verify_files(folder)
    classifier = Classifier(folder, read_contract(folder), cores)
    classifier.predict(["warm up"])
    return LiveClassifier(classifier, manifest)


async def live_classifier(request: Request) -> LiveClassifier:
    """Return the live classifier, read once per request.

    It is a coroutine because FastAPI would call a plain function in a thread.

    Raises:
        Problem: no classifier is published; it names the command that trains one.
    """
    follower: Follower[LiveClassifier] = request.app.state.classifier
    return follower.live


Live = Annotated[LiveClassifier, Depends(live_classifier)]


@router.post(
    "/classify",
    operation_id="classify",
    tags=["classify"],
    summary="Which labels apply?",
    responses={400: RESPONSES[400], **QUEUED},
)
@queued
def classify(request: Request, live: Live, body: ClassifyRequest) -> ClassifyResponse:
    """Return the labels of texts with calibrated probabilities, from the classifier that was published last."""
    started = time.perf_counter()
    contract = live.classifier.contract
    probabilities = live.classifier.predict(body.texts)
    applies = contract.applies(probabilities)
    order = np.argsort(-probabilities, axis=1, kind="stable")

    def probabilities_of(row: int, columns: list[int]) -> list[LabelProbability]:
        return [
            LabelProbability(label=contract.labels[column], probability=round(float(probabilities[row, column]), 6))
            for column in columns
        ]

    results = [
        Classified(
            labels=probabilities_of(row, [column for column in columns if applies[row, column]]),
            probabilities=probabilities_of(row, columns[: body.top_k]),
        )
        for row, columns in enumerate(order.tolist())
    ]
    return ClassifyResponse(
        results=results,
        classifier=ClassifierFacts(
            id=live.manifest.id,
            labels=contract.labels,
            multi_label=contract.multi_label,
            max_tokens=contract.max_tokens,
            macro_f1=live.manifest.metrics.get("macro_f1"),
        ),
        took_ms=round((time.perf_counter() - started) * 1e3, 3),
        request_id=request.scope["request_id"],
    )
