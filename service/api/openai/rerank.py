"""`POST /v1/rerank`: texts of the caller, ordered by the live cross-encoder, in the shape of Cohere, Jina and vLLM.

The documents need not be of the index. A request runs in turns of one batch, so that searches run in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from tokenizers import Encoding

from indexer.inference.session import BATCH_TOKENS, batches_by_length
from service.api.dependencies import QUEUED
from service.api.openai import rerank_schemas as schemas
from service.api.problem_responses import RESPONSES, documented
from service.api.search.rerank import LiveReranker
from service.problems import Problem, ProblemField, invalid
from service.serving.follower import Follower
from service.serving.queue import RequestQueue

NO_SUCH_MODEL = documented(Problem(404, "model-not-found", "The live re-ranker is 20261121T150101Z-7e8f9a0b, not 'no'"))
router = APIRouter(prefix="/v1", tags=["openai"])


async def live_reranker(request: Request) -> LiveReranker:
    """Return the live cross-encoder, read once per request.

    It is a coroutine because FastAPI would call a plain function in a thread.

    Raises:
        Problem: none is published; it names the command that publishes one.
    """
    follower: Follower[LiveReranker] = request.app.state.reranker
    return follower.live


@router.post(
    "/rerank",
    operation_id="rerank_texts",
    summary="Order texts by how well they answer, as Cohere's and Jina's API do",
    responses={
        400: documented(invalid("body.query", "Field required", status=400)),
        404: NO_SUCH_MODEL,
        **QUEUED,
        **{status: RESPONSES[status] for status in (500, 503)},
        # With `default`, FastAPI documents no 422. This route answers 400 instead, as all below `/v1` do.
        "default": RESPONSES[500] | {"description": "Any other error"},
    },
    response_model=schemas.RerankTextsResponse,
)
async def rerank_texts(
    request: Request, live: Annotated[LiveReranker, Depends(live_reranker)], body: schemas.RerankTextsRequest
) -> Response:
    """Score texts for a query with the live re-ranker; the best come first."""
    names = list(dict.fromkeys([live.manifest.id, str(live.manifest.config["base"])]))
    if body.model is not None and body.model not in names:
        detail = f"The live re-ranker is {' or '.join(names)}, not {body.model!r}"
        raise Problem(
            404, "model-not-found", detail, [ProblemField(field="body.model", message="not the live re-ranker")]
        )
    queue: RequestQueue = request.app.state.queue
    content = await queue.run_steps(_steps(live, body, request.scope["request_id"]), request.receive)
    return Response(content, media_type="application/json")


def _steps(live: LiveReranker, body: schemas.RerankTextsRequest, request_id: str) -> Iterator[bytes | None]:
    """Score the documents in batches; yield None after each batch, then the answer as JSON."""
    pairs = live.model.encode_pairs(body.query, body.documents)
    logits = np.empty(len(pairs), dtype=np.float64)
    for batch in batches_by_length([pair.ids for pair in pairs], BATCH_TOKENS):
        logits[batch] = live.model.run([pairs[row] for row in batch])
        yield None
    yield _answer(live, body, request_id, pairs, logits)


def _answer(
    live: LiveReranker,
    body: schemas.RerankTextsRequest,
    request_id: str,
    pairs: list[Encoding],
    logits: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> bytes:
    scores = 0.5 * (1 + np.tanh(logits / 2))  # the sigmoid, without overflow
    results: list[schemas.RerankedDocument] = []
    for row in np.argsort(-logits, kind="stable")[: body.top_n].tolist():
        repeated = {"document": schemas.RerankedText(text=body.documents[row])} if body.return_documents else {}
        results.append(schemas.RerankedDocument(index=row, relevance_score=float(scores[row]), **repeated))
    tokens = sum(len(pair.ids) for pair in pairs)
    answer = {
        "id": request_id,
        "object": "list",
        "model": live.manifest.id,
        "results": results,
        "usage": schemas.RerankUsage(prompt_tokens=tokens, total_tokens=tokens),
        "meta": schemas.RerankMeta(tokens=schemas.RerankTokens(input_tokens=tokens)),
    }
    if truncated := [position for position, pair in enumerate(pairs) if pair.overflowing]:
        answer["truncated"] = truncated
    return schemas.RerankTextsResponse(**answer).model_dump_json(exclude_unset=True).encode()
