"""`trainer run`: corpus → base index → held-out queries → ladder → evaluation → live if better.

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
from trainer.models.base import describe_model, locate, publish_base
from trainer.models.settings import BaseSettings
from trainer.pipeline.inputs import check_inputs, check_language_model
from trainer.pipeline.settings import CompareSettings, RunSettings

RECIPE = 12
"""Version of the recipe: raised when runs give other results, so that an earlier run with equal inputs is not up to date."""


@dataclass(frozen=True)
class Outcome:
    """Manifest of the tuned model, and whether this call has trained it (``fresh``) or it was up to date."""

    manifest: Manifest
    fresh: bool

    @property
    def verdict(self) -> str:
        """WIN, TIE or LOSS."""
        return str(self.manifest.config["verdict"])


def run(source: str, settings: RunSettings, data: Path | None = None) -> Outcome:
    """Tune an encoder on a corpus, compare it with its base, and publish it.

    The tuned model goes live if the verdict is WIN and the model that it was compared with is live; otherwise it is only
    kept, with its report. Finished stages are skipped: a run that was killed resumes when it is started again.

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
    check_language_model(settings)
    if settings.teacher:
        locate(settings.teacher)
    corpus, labels = check_inputs(source, settings, settings.qrels, settings.queries, data)
    models = Store("model", data)
    base_model = _best_base(source, settings, data) if settings.models else _base_model(models, settings, data)
    base_index = build(source, _index_settings(settings, base_model), data, live=False, corpus=corpus).manifest
    files = [*base_index.inputs, *(describe_input(path, path.name) for path in labels)]
    if settings.teacher:
        files.append(describe_model(*locate(settings.teacher)))
    aside = {"force", "qrels", "queries", "feedback", "llm_wait", "models"}
    recipe = settings.model_dump(mode="json", exclude=aside)
    recipe |= {"recipe": RECIPE, "llm": _without_secrets(settings.llm)}
    for name in ("teacher", "llm_prompt", "llm_documents"):  # a run without them is what it was before there were any
        if recipe[name] in {None, "auto"}:
            del recipe[name]
    key = fingerprint("model", {"model": base_model}, files, recipe)
    with models.building():
        existing = models.reuse(key, live=False)
    if existing:
        _go_live(models, existing, settings)
        return Outcome(existing, fresh=False)
    from trainer.pipeline.stages import (  # loads torch, which an up-to-date run does not need
        RunInputs,
        train_and_publish,
    )

    manifest, known = train_and_publish(source, settings, data, RunInputs(key, files, recipe, base_model), base_index)
    if known and (manifest.config["verdict"] == "WIN" or settings.force):
        # The vectors are known already: with this index the next build has nothing to encode.
        build(source, _index_settings(settings, manifest.id), data, live=False, known=known)
    _go_live(models, manifest, settings)
    return Outcome(manifest, fresh=True)


def _with_feedback(settings: RunSettings, data: Path) -> RunSettings:
    """Return the settings with the feedback of the service as labels."""
    if settings.qrels or settings.queries:
        raise UserError(
            "--feedback: takes the labels from the service; leave out --qrels and --queries, or leave out --feedback"
        )
    qrels, queries = feedback_labels(data)
    return settings.model_copy(update={"qrels": qrels, "queries": queries})


def _without_secrets(llm: str | None) -> str | None:
    """Return the URL of an endpoint without credentials, for manifest and report."""
    if not llm:
        return None
    from indexer.inference.llm.openai_api import parse_endpoint

    return parse_endpoint(llm)[0]


def _best_base(source: str, settings: RunSettings, data: Path) -> str:
    """Compare the models of ``--models`` and return the id of the best one. It goes live only where no model is."""
    if settings.model is not None:
        raise UserError("--models: chooses the model to start from; leave out --model, or leave out --models")
    from trainer.pipeline.bases.compare import compare_bases
    from trainer.pipeline.bases.result import table

    names = [name.strip() for name in (settings.models or "").split(",") if name.strip()]
    shared = select(settings, CompareSettings)
    del shared["budget"]  # of the training
    result = compare_bases(source, names, CompareSettings(**shared), data)
    for line in [*table(result), *result.reasons]:
        say(line)
    models = Store("model", data)
    with models.building():
        if models.current_id() is None:
            models.activate(result.choice)
    return result.choice


def _base_model(models: Store, settings: RunSettings, data: Path) -> str:
    """Return the id of the base model; publish it if it is not yet published."""
    live = models.current_id()
    if settings.model is not None or live is None:
        return publish_base(settings.model, BaseSettings(), data, live=live is None).manifest.id
    base_model = str(models.manifest(live).config.get("tuned_from") or live)
    if base_model not in models.ids():
        raise UserError(
            f"{live} was tuned from {base_model}, which does not exist any more; name the model to start from with --model"
        )
    return base_model


def _index_settings(settings: RunSettings, model: str) -> BuildSettings:
    return BuildSettings(model=model, **select(settings, CorpusSettings))


def _go_live(models: Store, manifest: Manifest, settings: RunSettings) -> None:
    """Make the model live on a WIN or with ``--force``; print the verdict, its reasons and the path of the report.

    A WIN counts against the model that it was measured against. Where another one is live by now, that one stays.
    """
    verdict = manifest.config["verdict"]
    opponent = manifest.config.get("compared_with", manifest.config["tuned_from"])
    say(f"verdict: {verdict}, against {opponent}")
    for reason in manifest.notes:
        say(f"  {reason}")
    say(f"report: {models.path(manifest.id) / 'report' / 'report.html'}")
    if verdict != "WIN" and not settings.force:
        say(f"live stays {models.current_id()}; the tuned model {manifest.id} is kept beside it")
        return
    with models.building():  # as long as it is held, no other command publishes a model
        live = models.current_id()
        measured = live in {opponent, manifest.id}
        if settings.force:
            if verdict != "WIN" or not measured:
                say(f"--force: {manifest.id} GOES LIVE ALTHOUGH IT IS NOT MEASURED TO BE BETTER ({verdict})")
            models.activate(manifest.id)
        elif measured:
            models.reuse(manifest.fingerprint)
        else:
            say(
                f"live stays {live}, with which {manifest.id} was not compared; compare them by `python -m trainer "
                f"evaluate CORPUS --model {manifest.id} --against {live}`, or make it live by --force"
            )
