"""The routes about the masked-language model: what stands behind a mask, how a text is read, and the page that shows it."""

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
from service.api.pages import PAGE, PAGE_HEADERS
from service.problems import RESPONSES, Problem, ProblemField
from service.serving.follower import Follower
from service.serving.queue import queued

router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 503)})


@dataclass(frozen=True)
class Masked:
    """The published masked-language model with its manifest."""

    model: MaskedModel
    manifest: Manifest


def open_masked(folder: Path, cores: int | None = None) -> Masked:
    """Verify and open a published masked-language model, and let it read once: the first text has not to wait for it."""
    manifest = verify_files(folder)
    model = MaskedModel.open(folder, cores)
    model.read("warm up")
    return Masked(model, manifest)


def published(request: Request) -> Follower[Masked]:
    """Return what follows the published masked-language models."""
    followed: Follower[Masked] = request.app.state.masked
    return followed


async def live_masked(request: Request) -> Masked:
    """Return the live masked-language model: taken once per request; a coroutine, to do without a thread."""
    return published(request).live


Live = Annotated[Masked, Depends(live_masked)]


@router.head("/model", include_in_schema=False)
@router.get("/model", include_in_schema=False)
async def page() -> FileResponse:
    """Return the page «how it reads»."""
    return FileResponse(PAGE / "model.html", media_type="text/html", headers=PAGE_HEADERS)


@router.get("/model/info", tags=["model"], summary="What the page /model can show")
def info(request: Request) -> schemas.ModelInfo:
    """Return which models are published, and for those that are missing the command that makes them."""
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


@router.post("/fill-mask", tags=["model"], summary="Which words stand behind the masks?", responses=QUEUED)
@queued
def fill_mask(request: Request, live: Live, body: schemas.FillMaskRequest) -> schemas.FillMaskResponse:
    """Return the words that the masked-language model expects behind each mask of a text, with their probabilities."""
    started = time.perf_counter()
    reading = _read(live.model, "text", body.text)
    if not reading.masked:
        raise _invalid("text", f"there is no {live.model.mask_token} in it")
    guesses = live.model.predict(reading, body.top_k)
    return schemas.FillMaskResponse(
        text=body.text,
        filled=live.model.fill(reading, guesses),
        masks=[answers.mask(reading, guess) for guess in guesses],
        masked_model=live.manifest.id,
        took_ms=_milliseconds_since(started),
        request_id=request.scope["request_id"],
    )


@router.post("/model/read", tags=["model"], summary="How is a text read?", responses=QUEUED)
@queued
def read(request: Request, live: Live, body: schemas.ReadRequest) -> schemas.ReadResponse:
    """Return a text's word pieces, what is expected in the places of its hidden words, and one head's attention."""
    started = time.perf_counter()
    layers, heads = live.model.layers_and_heads
    if body.layer > layers:
        raise _invalid("layer", f"the model has {layers} layers")
    if body.head > heads:
        raise _invalid("head", f"the model has {heads} heads in a layer")
    reading = _read(live.model, "text", body.text, set(body.hide), schemas.MAX_PIECES)
    if absent := set(body.hide) - {piece.word for piece in reading.pieces}:
        raise _invalid("hide", f"the text has no word {min(absent)}")
    return schemas.ReadResponse(
        text=body.text,
        pieces=answers.pieces(reading),
        masks=[answers.mask(reading, guess) for guess in live.model.predict(reading, body.top_k)],
        attention=answers.attention(reading, body.layer, body.head),
        masked_model=live.manifest.id,
        took_ms=_milliseconds_since(started),
        request_id=request.scope["request_id"],
    )


@router.post("/model/compare", tags=["model"], summary="Does a word mean the same in two texts?", responses=QUEUED)
@queued
def compare(request: Request, body: schemas.CompareRequest) -> schemas.CompareResponse:
    """Return the cosine of the contextual vectors of each word that two texts share, and the cosine of the texts.

    It works with the models that are there: words need a masked-language model, texts the live index's encoder.
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
    """Read a text that came in a field of the request; raise a problem where it is too long."""
    try:
        return model.read(text, hide, max_pieces)
    except UserError as error:
        raise _invalid(field, str(error)) from error


def _invalid(field: str, message: str) -> Problem:
    field = f"body.{field}"
    return Problem(422, "invalid-request", f"{field}: {message}", [ProblemField(field=field, message=message)])


def _milliseconds_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1e3, 3)
