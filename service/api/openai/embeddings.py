"""OpenAI-compatible `/v1/embeddings` and `/v1/models`, answered by the model of the live index.

Clients of OpenAI get vectors that are comparable with those of the index. `input_type` chooses the prompt.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from indexer.inference.encoder import TokenCount, Vectors
from indexer.inference.session import BATCH_TOKENS, batches_by_length
from service.api.dependencies import QUEUED, serving
from service.api.openai import schemas
from service.api.problem_responses import CONTENT, RESPONSES, documented
from service.problems import Problem, ProblemField, invalid
from service.serving.queue import RequestQueue
from service.serving.searcher import Serving

NO_SUCH_MODEL = documented(Problem(404, "model-not-found", "The live model is 20261120T101420Z-5a6b7c8d, not 'nope'"))

# With `default`, FastAPI documents no 422. These routes answer 400 instead, as OpenAI's clients expect.
router = APIRouter(
    prefix="/v1",
    tags=["openai"],
    responses={
        **{status: RESPONSES[status] for status in (500, 503)},
        400: documented(invalid("body.input", "Field required", status=400)),
        "default": {"description": "Any other error", "content": CONTENT},
    },
)


async def live_serving(request: Request) -> Serving:
    """Return the live index with its model.

    It is a coroutine because FastAPI would call a plain function in a thread.
    """
    return serving(request)


Live = Annotated[Serving, Depends(live_serving)]


@router.post(
    "/embeddings",
    operation_id="create_embeddings",
    summary="Vectors of texts, as OpenAI's API gives them",
    responses={404: NO_SUCH_MODEL, **QUEUED},
    response_model=schemas.EmbeddingsResponse,
)
async def embeddings(request: Request, live: Live, body: schemas.EmbeddingsRequest) -> Response:
    """Encode texts with the model of the live index, for clients of OpenAI's API."""
    _check_name(live, body.model)
    queue: RequestQueue = request.app.state.queue
    content = await queue.run_steps(_steps(live, body, _width(live, body.dimensions)), request.receive)
    return Response(content, media_type="application/json")


def _steps(live: Serving, body: schemas.EmbeddingsRequest, width: int) -> Iterator[bytes | None]:
    """Encode the texts in batches; yield None after each batch but the last, then the answer as JSON.

    Each step is a turn of the queue. A thousand texts thus take one core, and searches run in between.
    """
    encoder = live.retriever.index.encoder
    is_query = body.input_type == "query"
    encode = encoder.encode_queries if is_query else encoder.encode_documents
    counts = encoder.count_tokens(body.texts, queries=is_query)
    vectors = np.empty((len(counts), encoder.contract.dimension), dtype=np.float32)
    first, *others = batches_by_length([range(count.tokens) for count in counts], BATCH_TOKENS)
    vectors[first] = encode([body.texts[position] for position in first])
    for batch in others:
        yield None
        vectors[batch] = encode([body.texts[position] for position in batch])
    yield _answer(live, body, counts, shorten(vectors, width, normalised=encoder.contract.normalised))


def _answer(live: Serving, body: schemas.EmbeddingsRequest, counts: list[TokenCount], vectors: Vectors) -> bytes:
    tokens = sum(count.tokens for count in counts)
    answer = {
        "object": "list",
        "data": [
            schemas.Embedding(object="embedding", index=position, embedding=_serialize(vector, body.encoding_format))
            for position, vector in enumerate(vectors)
        ],
        "model": live.model.manifest.id,
        "usage": schemas.Usage(prompt_tokens=tokens, total_tokens=tokens),
    }
    if truncated := [position for position, count in enumerate(counts) if count.truncated]:
        answer["truncated"] = truncated
    return schemas.EmbeddingsResponse(**answer).model_dump_json(exclude_unset=True).encode()


@router.get("/models", operation_id="list_models", summary="Models, as OpenAI's API lists them")
async def models(live: Live) -> schemas.ModelList:
    """List the live model under its id and under its name."""
    return schemas.ModelList(data=[_model(live, name) for name in _names(live)])


@router.get(
    "/models/{model:path}",
    operation_id="get_model",
    summary="One model, as OpenAI's API describes it",
    responses={404: NO_SUCH_MODEL},
)
async def model(live: Live, model: str) -> schemas.Model:
    """Describe the live model by its id or its name."""
    _check_name(live, model)
    return _model(live, model)


def shorten(vectors: Vectors, width: int, *, normalised: bool) -> Vectors:
    """Return the first ``width`` numbers of each vector, scaled to unit length if the vectors are normalised.

    The prefix of a Matryoshka vector is itself a vector (Kusupati et al. 2022, https://arxiv.org/abs/2205.13147).
    """
    if width == vectors.shape[1]:
        return vectors
    prefixes = vectors[:, :width]
    if not normalised:
        return prefixes
    lengths = np.linalg.norm(prefixes, axis=1, keepdims=True)
    units: Vectors = prefixes / np.maximum(lengths, np.finfo(np.float32).tiny)
    return units


def _width(live: Serving, requested: int | None) -> int:
    dimension = live.retriever.index.encoder.contract.dimension
    lengths = sorted({dimension, *live.model.manifest.config.get("matryoshka", ())})
    if requested is None or requested in lengths:
        return requested or dimension
    listed = ", ".join(map(str, lengths))
    reason = "" if len(lengths) > 1 else "; prefixes are useful only where the model was trained for them (Matryoshka)"
    detail = f"dimensions: the live model gives vectors of length {listed}, not {requested}{reason}"
    raise Problem(400, "invalid-request", detail, [ProblemField(field="body.dimensions", message=f"give {listed}")])


def _serialize(vector: Vectors, encoding: str) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers


def _names(live: Serving) -> list[str]:
    return list(dict.fromkeys([live.model.manifest.id, live.model.name]))


def _check_name(live: Serving, name: str) -> None:
    if name not in (names := _names(live)):
        detail = f"The live model is {' or '.join(names)}, not {name!r}"
        raise Problem(404, "model-not-found", detail, [ProblemField(field="body.model", message="not the live model")])


def _model(live: Serving, name: str) -> schemas.Model:
    return schemas.Model(id=name, created=int(datetime.fromisoformat(live.model.manifest.created).timestamp()))
