"""Small query encoder of a run: fitted to the tuned encoder and exported beside it; `comparison` decides whether it stays.

Its texts come from the documents that no dev and no test query asks for: the decision is about texts that it has not seen.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from indexer.index.dense import unit
from indexer.index.terms.languages import detect_language
from indexer.inference.encoder import QUERY_FILE
from indexer.progress import say
from trainer.data.clusters import groups_of
from trainer.evaluate.encode import encode_queries
from trainer.files import atomic_write
from trainer.pipeline.dataset import RunData
from trainer.pipeline.plan import Facts
from trainer.pipeline.results.comparison import Candidate
from trainer.pipeline.settings import RunSettings
from trainer.pipeline.workspace import Workspace
from trainer.query_encoder.texts import short_texts

MAX_TEXTS = 20_000
"""Short texts that it learns from."""
MIN_TEXTS = 200
"""With fewer there is nothing to fit."""
ENCODING_SHARE = 0.25
"""Share of its time in which the full encoder makes the vectors of these texts."""
BUDGET_SHARE = 1 / 3
"""Share of the run's budget that it takes, where so much is left."""
MIN_SECONDS = 60.0
"""Less time is not worth an attempt."""
FOLDER = "query-encoder"
RECORD = "record.json"
"""Written last: without it the folder is of a run that was killed."""


def add_query_encoder(
    candidate: Candidate, run_data: RunData, settings: RunSettings, workspace: Workspace, facts: Facts
) -> None:
    """Fit a small query encoder, unless the settings or the time forbid it, and put it into the candidate's folder.

    A fit that an interrupted run has finished is taken up.
    """
    if settings.query_encoder == "never":
        return
    seconds = min(settings.budget_seconds * BUDGET_SHARE, settings.budget_seconds - sum(workspace.seconds.values()))
    folder = workspace.folder / FOLDER
    if not (folder / RECORD).is_file():
        if settings.query_encoder == "auto" and seconds < MIN_SECONDS:
            say(f"no small query encoder: --budget {settings.budget} leaves no time for it")
            return
        with workspace.stage("query encoder"):
            seconds = max(seconds, MIN_SECONDS)
            count = min(MAX_TEXTS, int(ENCODING_SHARE * seconds * facts.queries_a_second))
            record = _fit(candidate, _texts(run_data, count, settings.seed), folder, seconds, settings.seed)
            with atomic_write(folder / RECORD) as part:
                part.write_text(json.dumps(record) + "\n", encoding="utf-8")
    candidate.small = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    if candidate.small:
        target = candidate.folder / QUERY_FILE
        for path in folder.glob(f"{target.name}*"):
            shutil.copy(path, target.parent)


def remove_query_encoder(folder: Path) -> None:
    """Remove the files of the small query encoder from a model's folder."""
    path = folder / QUERY_FILE
    for part in path.parent.glob(f"{path.name}*"):
        part.unlink()


def _fit(candidate: Candidate, texts: list[str], folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Fit a student and write its graph into ``folder``; return its record, an empty one where no student is possible."""
    from trainer.models.onnx import export_onnx
    from trainer.query_encoder.fit import can_imitate, fit_student

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if len(texts) < MIN_TEXTS or not can_imitate(candidate.folder):
        say("no small query encoder: the model has no feed-forward part of a known form, or the corpus too few texts")
        return {}
    vectors = unit(encode_queries("encode short texts", candidate.encoder(), texts))
    prompted = [candidate.contract.query_prompt + text for text in texts]
    student, record = fit_student(candidate.folder, prompted, vectors, (1 - ENCODING_SHARE) * seconds, seed)
    export_onnx(student, folder / Path(QUERY_FILE).name)
    return record.model_dump()


def _texts(run_data: RunData, count: int, seed: int) -> list[str]:
    """Return short texts of the documents that no dev and no test query asks for."""
    queries = [run_data.dev.queries, run_data.tests[run_data.deciding].queries]
    held_out = groups_of({document for some in queries for document in some.documents}, run_data.copies)
    documents = run_data.documents
    rows = [row for row, name in enumerate(documents.ids) if run_data.copies.get(name, name) not in held_out]
    texts = [documents.texts[row] for row in rows]
    return short_texts([documents.titles[row] for row in rows], texts, count, detect_language(texts[:200]), seed)
