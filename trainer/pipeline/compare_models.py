"""`trainer evaluate`: compare two published models on a corpus, without training.

python -m trainer evaluate data/corpus.parquet --qrels labels/qrels.parquet
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from indexer.artifacts.manifest import describe_input, fingerprint
from indexer.artifacts.store import Store, data_dir
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.corpus.settings import CorpusSettings, select
from indexer.errors import UserError
from indexer.index.index import Index
from trainer.adapter.distillation import all_passages
from trainer.evaluate.report import Report
from trainer.files import training_dir
from trainer.pipeline.dataset import prepare_data
from trainer.pipeline.inputs import check_folder, check_inputs
from trainer.pipeline.results.comparison import compare, published_candidate
from trainer.pipeline.results.summary import build_report
from trainer.pipeline.settings import EvaluateSettings, RunSettings
from trainer.pipeline.tuning import TuningRecord, TuningResult
from trainer.pipeline.workspace import Workspace
from trainer.reports.run_page import write_report


def evaluate(source: str, settings: EvaluateSettings, data: Path | None = None) -> tuple[Report, Path]:
    """Compare a published model with another one and write the report; return it and its directory.

    Args:
        source: the corpus, as for `indexer.build.build.build`.
        settings: see `EvaluateSettings`.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: there is no model to compare with, or the corpus or the labels are refused.
    """
    data = data or data_dir()
    models = Store("model", data)
    model = models.resolve(settings.model).name
    out = settings.out or training_dir(data) / "report"
    check_folder(out)
    against = settings.against or models.manifest(model).config.get("tuned_from")
    if not against:
        raise UserError(f"model {model} was not tuned from another one; name the model to compare it with by --against")
    corpus = select(settings, CorpusSettings)
    opponent = models.path(against).name
    checked, labels = check_inputs(source, settings, settings.qrels, settings.queries, data)
    built = build(source, BuildSettings(model=opponent, **corpus), data, live=False, corpus=checked).manifest
    index = Index.open(Store("index", data).path(built.id)).searched_exactly()
    run_settings = RunSettings(**corpus, qrels=settings.qrels, queries=settings.queries, seed=settings.seed)
    recipe = run_settings.model_dump(mode="json", exclude={"qrels", "queries"}) | {"learn": False}
    key = fingerprint(
        "model", {"model": against}, [*built.inputs, *(describe_input(path, path.name) for path in labels)], recipe
    )
    with (
        Workspace(training_dir(data), key) as workspace,
        TemporaryDirectory(dir=workspace.folder, prefix=".pool-") as pool,
    ):
        with workspace.stage("questions"):
            run_data = prepare_data(source, index, run_settings, workspace, pool=Path(pool), learn=False)
        with workspace.stage("exam"):
            comparison = compare(index, run_data, published_candidate(models, model, index), settings.seed)
        no_tuning = TuningResult(
            None, all_passages(index), None, TuningRecord(kept=False, score=0, rungs=[], losses=[], points=[])
        )
        report = build_report(
            source, index, models.manifest(against), tuning=no_tuning, comparison=comparison,
            config=settings.model_dump(mode="json"), seconds=workspace.seconds,
        )  # fmt: skip
    write_report(report, out)
    return report, out
