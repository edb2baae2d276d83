"""Routes of the masked-language model: fill masks, read a text, compare two texts, and the page that shows them."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse

from indexer.artifacts.manifest import Manifest, verify_files
from indexer.errors import UserError
from indexer.inference.masked_lm import MaskedModel, Reading
from service.api.dependencies import QUEUED, serving
from service.api.models import masked_lm_answers as answers
from service.api.models import masked_lm_schemas as schemas
from service.api.problem_responses import RESPONSES
from service.negotiation import PAGE, PAGE_HEADERS
from service.problems import Problem, ProblemField
from service.serving.follower import Follower
from service.serving.queue import queued

router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 503)})


@dataclass(frozen=True)
class Masked:
    """The published masked-language model with its manifest."""

    model: MaskedModel
    manifest: Manifest


def open_masked(folder: Path, cores: int | None = None) -> Masked:
    """Verify and open a published masked-language model, and warm it up with one text."""
    manifest = verify_files(folder)
    model = MaskedModel.open(folder, cores)
    model.read("warm up")
    return Masked(model, manifest)


def published(request: Request) -> Follower[Masked]:
    """Return the follower of the published masked-language models."""
    follower: Follower[Masked] = request.app.state.masked
    return follower


async def live_masked(request: Request) -> Masked:
    """Return the live masked-language model, read once per request.

    It is a coroutine because FastAPI would call a plain function in a thread.
    """
    return published(request).live


Live = Annotated[Masked, Depends(live_masked)]


@router.head("/model", include_in_schema=False)
@router.get("/model", include_in_schema=False)
async def page() -> FileResponse:
    """Return the page «how it reads»."""
    return FileResponse(PAGE / "model.html", media_type="text/html", headers=PAGE_HEADERS)


@router.get("/model/info", operation_id="get_model_info", tags=["model"], summary="Models for the page /model")
def info(request: Request) -> schemas.ModelInfo:
    """Return which models are published, and for each missing one the command that makes it."""
    masked, missing = published(request).opened, []
    if masked is None:
        missing.append(published(request).reason)
    try:
        encoder = serving(request).model.manifest
    except Problem as problem:
        encoder = None
        missing.append(problem.detail)
    return schemas.ModelInfo(
        masked=masked and answers.facts(masked.model, masked.manifest),
        encoder=encoder and schemas.EncoderFacts(id=encoder.id, name=str(encoder.config.get("base", encoder.id))),
        missing=missing,
    )


@router.post(
    "/fill-mask", operation_id="fill_mask", tags=["model"], summary="Fill the masks of a text", responses=QUEUED
)
@queued
def fill_mask(request: Request, live: Live, body: schemas.FillMaskRequest) -> schemas.FillMaskResponse:
    """Return the most probable words for each mask of a text, with their probabilities."""
    started = time.perf_counter()
    reading = _read(live.model, "text", body.text)
    if not reading.masked:
        raise _invalid("text", f"the text has no {live.model.mask_token}")
    predictions = live.model.predict(reading, body.top_k)
    return schemas.FillMaskResponse(
        text=body.text,
        filled=live.model.fill(reading, predictions),
        masks=[answers.mask(reading, prediction) for prediction in predictions],
        masked_model=live.manifest.id,
        took_ms=_milliseconds_since(started),
        request_id=request.scope["request_id"],
    )


@router.post(
    "/model/read", operation_id="read_text", tags=["model"], summary="Read a text as the model does", responses=QUEUED
)
@queued
def read(request: Request, live: Live, body: schemas.ReadRequest) -> schemas.ReadResponse:
    """Return a text's word pieces, the candidates for its masked words, and the attention of one head."""
    started = time.perf_counter()
    layers, heads = live.model.layers_and_heads
    if body.layer > layers:
        raise _invalid("layer", f"the model has {layers} layers")
    if body.head > heads:
        raise _invalid("head", f"the model has {heads} heads in a layer")
    reading = _read(live.model, "text", body.text, set(body.hide), schemas.MAX_PIECES)
    if missing := set(body.hide) - {piece.word for piece in reading.pieces}:
        raise _invalid("hide", f"the text has no word {min(missing)}")
    return schemas.ReadResponse(
        text=body.text,
        pieces=answers.pieces(reading),
        masks=[answers.mask(reading, prediction) for prediction in live.model.predict(reading, body.top_k)],
        attention=answers.attention(reading, body.layer, body.head),
        masked_model=live.manifest.id,
        took_ms=_milliseconds_since(started),
        request_id=request.scope["request_id"],
    )


@router.post(
    "/model/compare",
    operation_id="compare_texts",
    tags=["model"],
    summary="Compare the words of two texts",
    responses=QUEUED,
)
@queued
def compare(request: Request, body: schemas.CompareRequest) -> schemas.CompareResponse:
    """Return the cosine of the contextual vectors of each word that two texts share, and the cosine of the texts.

    Words need a masked-language model, texts the encoder of the live index. What lacks its model is null.
    """
    started = time.perf_counter()
    masked = published(request).opened
    try:
        encoder = serving(request)
    except Problem:
        if masked is None:
            raise
        encoder = None
    words = sentences = None
    if masked:
        first = _read(masked.model, "first", body.first, max_pieces=schemas.MAX_PIECES)
        second = _read(masked.model, "second", body.second, max_pieces=schemas.MAX_PIECES)
        words = answers.shared_words(body.first, first, body.second, second)
    if encoder:
        sentences = answers.cosine(*encoder.retriever.index.encoder.encode_documents([body.first, body.second]))
    return schemas.CompareResponse(
        words=words,
        sentences=sentences,
        masked_model=masked and masked.manifest.id,
        encoder=encoder and encoder.model.manifest.id,
        took_ms=_milliseconds_since(started),
        request_id=request.scope["request_id"],
    )


def _read(
    model: MaskedModel, field: str, text: str, hide: Collection[int] = (), max_pieces: int | None = None
) -> Reading:
    """Read the text of a field of the request.

    Raises:
        Problem: the text is too long; it names the field.
    """
    try:
        return model.read(text, hide, max_pieces)
    except UserError as error:
        raise _invalid(field, str(error)) from error


def _invalid(field: str, message: str) -> Problem:
    field = f"body.{field}"
    return Problem(422, "invalid-request", f"{field}: {message}", [ProblemField(field=field, message=message)])


def _milliseconds_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1e3, 3)
