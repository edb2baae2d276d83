"""`POST /feedback`: clicks and grades of results, for the trainer and for the statistics of queries."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from indexer.live.feedback import FeedbackLog
from service.api.dependencies import QUEUED, Live
from service.api.documents import schemas
from service.api.problem_responses import RESPONSES, documented
from service.problems import Problem
from service.serving.live_documents import write_problem
from service.serving.queries.redaction import redacted
from service.serving.queue import queued_commit

NO_FEEDBACK = Problem(
    403, "not-writable", "This service takes no feedback; start it with --clicks or DOWSE_CLICKS=1, or with --writable"
)


async def may_give_feedback(request: Request) -> None:
    """Refuse the request unless the service is writable or collects clicks."""
    settings = request.app.state.settings
    if not (settings.writable or settings.clicks):
        raise Problem(NO_FEEDBACK.status, NO_FEEDBACK.kind, NO_FEEDBACK.detail)


router = APIRouter(
    responses={
        403: documented(NO_FEEDBACK),
        **{status: RESPONSES[status] for status in (404, 422, 500, 503, 507)},
        **QUEUED,
    },
    dependencies=[Depends(may_give_feedback)],
)


@router.post("/feedback", operation_id="give_feedback", tags=["write"], summary="Give feedback on a result")
@queued_commit
def feedback(request: Request, live: Live, body: schemas.Feedback) -> schemas.FeedbackResponse:
    """Store that a document was opened for a query, or how well it answers. The trainer learns from it."""
    if live.index.row_of(body.document) is None:
        raise Problem(404, "not-found", f"The index holds no document {body.document!r}")
    settings = request.app.state.settings
    query = redacted(body.query, settings.query_log_redact) if settings.query_log else body.query
    log = FeedbackLog(settings.data)
    try:
        log.append(query, body.document, body.grade, live.index.generation, body.rank)
    except OSError as error:
        raise write_problem(error, log.folder) from error
    return schemas.FeedbackResponse(stored=True, request_id=request.scope["request_id"])
