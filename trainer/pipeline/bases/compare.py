"""`trainer compare`: measure several models as bases for a corpus, and make the best one live.

python -m trainer compare --source data/corpus.parquet all-MiniLM-L6-v2 MongoDB/mdbr-leaf-ir intfloat/multilingual-e5-small
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from indexer.artifacts.manifest import describe_input, fingerprint
from indexer.artifacts.store import Store, data_dir
from indexer.errors import UserError
from indexer.progress import say
from trainer.evaluate.report import HTML_FILE
from trainer.files import atomic_write, training_dir
from trainer.pipeline.bases.candidate import Candidate, publish_candidates
from trainer.pipeline.bases.decision import decide_bases
from trainer.pipeline.bases.measurement import measure_bases
from trainer.pipeline.bases.page import write_comparison
from trainer.pipeline.bases.result import BaseComparison, table
from trainer.pipeline.inputs import check_folder, check_inputs
from trainer.pipeline.settings import CompareSettings
from trainer.pipeline.workspace import Workspace

RECIPE = 2
"""Version of the comparison: raised when it gives other results."""
RESULT_FILE = "result.json"


def compare_bases(
    source: str, models: Sequence[str], settings: CompareSettings, data: Path | None = None
) -> BaseComparison:
    """Publish the models, measure them as bases for the corpus, and return which is best; nothing goes live.

    Finished steps are kept: a comparison that was killed resumes, a finished one is up to date.

    Args:
        source: the corpus, as for `indexer.build.build.build`.
        models: names on the Hub, directories or ids of published models, at least two.
        settings: see `CompareSettings`.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: there are fewer than two models, or a model, the corpus or the labels are refused.
    """
    data = data or data_dir()
    if len(models) < 2:
        raise UserError("one model: there is nothing to compare; name at least two")
    corpus, files = check_inputs(source, settings, settings.qrels, settings.queries, data)
    candidates = publish_candidates(models, data)
    default = default_of(candidates, Store("model", data))
    recipe = settings.model_dump(mode="json", exclude={"qrels", "queries", "out", "max_cost", "budget"}) | {
        "recipe": RECIPE
    }
    key = fingerprint(
        "index",
        {candidate.id: candidate.manifest.fingerprint for candidate in candidates},
        [*corpus.inputs, *(describe_input(path, path.name) for path in files)],
        recipe,
    )
    with Workspace(training_dir(data) / "compare", key) as workspace:
        finished = workspace.folder / RESULT_FILE
        if finished.is_file():
            result = BaseComparison.model_validate_json(finished.read_bytes())
            # Another default or other limits only change the decision; no text is encoded twice for it.
            asked = (candidates[default].id, settings.max_cost, settings.budget)
            if (result.default, result.max_cost, result.budget) == asked:
                say("up to date")
                return result
        measured = measure_bases(corpus, candidates, settings, workspace, data, default=default)
        result = decide_bases(source, corpus, candidates, measured, default=default, settings=settings)
        with atomic_write(finished) as part:
            part.write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return result


def compare_and_choose(
    source: str, models: Sequence[str], settings: CompareSettings, data: Path | None = None
) -> tuple[BaseComparison, list[str]]:
    """Compare, write the report, and make the best model live; return the result and the table.

    A live model that was not compared stays live, also one that was tuned from a compared one: it may be better than
    either.
    """
    data = data or data_dir()
    out = settings.out or training_dir(data) / "compare"
    check_folder(out)
    result = compare_bases(source, models, settings, data)
    write_comparison(result, out)
    for reason in result.reasons:
        say(reason)
    say(f"report: {out / HTML_FILE}")
    store = Store("model", data)
    with store.building():
        live = store.current_id()
        if live == result.choice:
            say(f"live stays {live}")
        elif live is None or live in {model.id for model in result.models}:
            store.activate(result.choice)
            say(f"live: {result.choice}; `python -m indexer build` makes its index")
        else:
            say(f"live stays {live}; `python -m trainer run CORPUS --model {result.choice}` starts from the best one")
    return result, table(result)


def default_of(candidates: Sequence[Candidate], models: Store) -> int:
    """Return the number of the model that is kept where nothing is better: the live one or its base, else the first."""
    live = models.current_id()
    if live is None or live not in models.ids():
        return 0
    ids = [candidate.id for candidate in candidates]
    for wanted in (live, models.manifest(live).config.get("tuned_from")):
        if wanted in ids:
            return ids.index(wanted)
    return 0
