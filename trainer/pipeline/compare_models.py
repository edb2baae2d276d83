"""Compare two published models on a corpus, without learning anything.

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
from trainer.data.labels import label_files
from trainer.evaluate.report import Report
from trainer.files import training_dir
from trainer.pipeline.dataset import prepare_data
from trainer.pipeline.exam import compare, published
from trainer.pipeline.settings import EvaluateSettings, RunSettings
from trainer.pipeline.summary import build_report
from trainer.pipeline.tuning import TuningRecord, TuningResult
from trainer.pipeline.workspace import Workspace
from trainer.reports.run_page import write_report


def evaluate(source: str, settings: EvaluateSettings, data: Path | None = None) -> tuple[Report, Path]:
    """Measure a published model against another one and write the report; return it and its directory.

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
    against = settings.against or models.manifest(model).config.get("tuned_from")
    if not against:
        raise UserError(
            f"model {model} was not tuned from another one; say with --against which one to compare it with"
        )
    corpus = select(settings, CorpusSettings)
    built = build(source, BuildSettings(model=models.path(against).name, **corpus), data, live=False).manifest
    index = Index.open(Store("index", data).path(built.id))
    asked = RunSettings(**corpus, qrels=settings.qrels, queries=settings.queries, seed=settings.seed)
    labels = [describe_input(path, path.name) for path in label_files(settings.qrels, settings.queries)]
    recipe = asked.model_dump(mode="json", exclude={"qrels", "queries"}) | {"learn": False}
    key = fingerprint("model", {"model": against}, [*built.inputs, *labels], recipe)
    with (
        Workspace(training_dir(data), key) as workshop,
        TemporaryDirectory(dir=workshop.folder, prefix=".pool-") as pool,
    ):
        with workshop.stage("questions"):
            material = prepare_data(source, index, asked, workshop, pool=Path(pool), learn=False)
        with workshop.stage("exam"):
            exam = compare(index, material, published(models, model, index), settings.seed)
        nothing = TuningResult(
            None, all_passages(index), None, TuningRecord(kept=False, score=0, rungs=[], losses=[], points=[])
        )
        report = build_report(
            source, index, models.manifest(against), climbed=nothing, exam=exam,
            config=settings.model_dump(mode="json"), seconds=workshop.seconds,
        )  # fmt: skip
    out = settings.out or training_dir(data) / "report"
    write_report(report, out)
    return report, out
