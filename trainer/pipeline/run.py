"""The chain: corpus → base index → held-out questions → the ladder → measured → published if it is better.

python -m trainer run data/corpus.parquet
python -m trainer run data/corpus.parquet --qrels labels/qrels.parquet --budget 15m
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from indexer.artifacts.manifest import Manifest, describe_input, fingerprint
from indexer.artifacts.store import Store, data_dir
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.corpus.settings import CorpusSettings, select
from indexer.errors import UserError
from indexer.progress import say
from trainer.data.feedback import feedback_labels
from trainer.data.labels import label_files
from trainer.models.base import publish_base
from trainer.models.settings import BaseSettings
from trainer.pipeline.settings import RunSettings

RECIPE = 8
"""Raised when runs come to other results than before: an earlier one with the same inputs is then not up to date."""


@dataclass(frozen=True)
class Outcome:
    """The manifest of the tuned model, and whether anything had to be done."""

    manifest: Manifest
    fresh: bool

    @property
    def verdict(self) -> str:
        """WIN, TIE or LOSS."""
        return str(self.manifest.config["verdict"])


def run(source: str, settings: RunSettings, data: Path | None = None) -> Outcome:
    """Tune an encoder on a corpus, measure it against the one that it was tuned from, and publish it.

    The tuned model goes live if the verdict is WIN; otherwise it is only kept, with its report. Stages whose results are
    there are skipped: killed and started again, a run continues.

    Args:
        source: the corpus, as for `indexer.build.build.build`.
        settings: see `RunSettings`.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the corpus, the labels or a model is refused.
    """
    data = data or data_dir()
    if settings.feedback:
        settings = _with_feedback(settings, data)
    labels = label_files(settings.qrels, settings.queries)
    models = Store("model", data)
    start = _start(models, settings, data)
    base = build(source, _index_settings(settings, start), data, live=False).manifest
    inputs = [*base.inputs, *(describe_input(path, path.name) for path in labels)]
    recipe = settings.model_dump(mode="json", exclude={"force", "qrels", "queries", "feedback", "llm_wait"})
    recipe |= {"recipe": RECIPE, "llm": _without_secrets(settings.llm)}
    key = fingerprint("model", {"model": start}, inputs, recipe)
    with models.building():
        existing = models.reuse(key, live=False)
    if existing:
        _go_live(models, existing, settings)
        return Outcome(existing, fresh=False)
    from trainer.pipeline.stages import RunInputs, train_and_publish  # loads torch: not where everything is up to date

    manifest, known = train_and_publish(source, settings, data, RunInputs(key, inputs, recipe, start), base)
    if known and (manifest.config["verdict"] == "WIN" or settings.force):
        # The vectors are there: whoever builds this index next has nothing to encode.
        build(source, _index_settings(settings, manifest.id), data, live=False, known=known)
    _go_live(models, manifest, settings)
    return Outcome(manifest, fresh=True)


def _with_feedback(settings: RunSettings, data: Path) -> RunSettings:
    if settings.qrels or settings.queries:
        raise UserError("--feedback: gives the labels itself; leave --qrels and --queries out, or it")
    qrels, queries = feedback_labels(data)
    return settings.model_copy(update={"qrels": qrels, "queries": queries})


def _without_secrets(llm: str | None) -> str | None:
    """Return an endpoint as it may be kept in a manifest and shown in a report."""
    if not llm:
        return None
    from trainer.queries.llm.openai_api import address

    return address(llm)[0]


def _start(models: Store, settings: RunSettings, data: Path) -> str:
    """Return the id of the model to start from; publish it if it is not there."""
    live = models.current_id()
    if settings.model is not None or live is None:
        return publish_base(settings.model, BaseSettings(), data, live=live is None).manifest.id
    start = str(models.manifest(live).config.get("tuned_from") or live)
    if start not in models.ids():
        raise UserError(f"{live} was tuned from {start}, which is gone; name the model to start from with --model")
    return start


def _index_settings(settings: RunSettings, model: str) -> BuildSettings:
    return BuildSettings(model=model, **select(settings, CorpusSettings))


def _go_live(models: Store, manifest: Manifest, settings: RunSettings) -> None:
    """Make the model live if it is better, or if it has to be; say what happened and where the report is."""
    verdict = manifest.config["verdict"]
    say(f"verdict: {verdict}")
    for reason in manifest.notes:
        say(f"  {reason}")
    say(f"report: {models.path(manifest.id) / 'report' / 'report.html'}")
    if verdict == "WIN" or settings.force:
        if verdict != "WIN":
            say(f"--force: {manifest.id} GOES LIVE ALTHOUGH IT IS NOT MEASURED TO BE BETTER ({verdict})")
        with models.building():
            if settings.force:
                models.activate(manifest.id)
            else:
                models.reuse(manifest.fingerprint)
    else:
        say(f"live stays {models.current_id()}; the tuned model {manifest.id} is kept beside it")
