"""`POST /classify`: which labels apply to a text, by the live classifier."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Request

from indexer.artifacts.manifest import Manifest
from indexer.inference.classifier import Classifier, read_contract
from service.api.models import classify_schemas as schemas
from service.api.search.routes import QUEUED
from service.problems import RESPONSES
from service.serving.published import Published
from service.serving.queue import queued

router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 503)})


@dataclass(frozen=True)
class LiveClassifier:
    """The published classifier with its manifest."""

    classifier: Classifier
    manifest: Manifest


def open_classifier(folder: Path, manifest: Manifest, cores: int | None = None) -> LiveClassifier:
    """Open a published classifier and let it answer once, so that nobody waits for its first text."""
    classifier = Classifier(folder, read_contract(folder), cores)
    classifier.predict(["warm up"])
    return LiveClassifier(classifier, manifest)


async def live_classifier(request: Request) -> LiveClassifier:
    """Return the live classifier: taken once per request; a problem that says what to run where there is none.

    A coroutine, for FastAPI calls a plain function in a thread.
    """
    followed: Published[LiveClassifier] = request.app.state.classifier
    return followed.live


Live = Annotated[LiveClassifier, Depends(live_classifier)]


@router.post("/classify", tags=["classify"], summary="Which labels apply?", responses={400: RESPONSES[400], **QUEUED})
@queued
def classify(request: Request, live: Live, body: schemas.ClassifyRequest) -> schemas.ClassifyResponse:
    """Return the labels of texts with calibrated probabilities, by the classifier that was published last."""
    started = time.perf_counter()
    contract = live.classifier.contract
    probabilities = live.classifier.predict(body.texts)
    applies = contract.applies(probabilities)
    order = np.argsort(-probabilities, axis=1, kind="stable")

    def shown(row: int, places: list[int]) -> list[schemas.LabelProbability]:
        return [
            schemas.LabelProbability(label=contract.labels[at], probability=round(float(probabilities[row, at]), 6))
            for at in places
        ]

    results = [
        schemas.Classified(
            labels=shown(row, [at for at in places if applies[row, at]]),
            probabilities=shown(row, places[: body.top_k]),
        )
        for row, places in enumerate(order.tolist())
    ]
    return schemas.ClassifyResponse(
        results=results,
        classifier=schemas.ClassifierFacts(
            id=live.manifest.id,
            labels=contract.labels,
            multi_label=contract.multi_label,
            max_tokens=contract.max_tokens,
            macro_f1=live.manifest.metrics.get("macro_f1"),
        ),
        took_ms=round((time.perf_counter() - started) * 1e3, 3),
        request_id=request.scope["request_id"],
    )
