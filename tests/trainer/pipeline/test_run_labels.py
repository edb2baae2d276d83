"""A run with labels: right ones win and go live, wrong ones change nothing that is live; `--force` prints a warning."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tales import write_labelled

import trainer.adapter.ladder
from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.retrieval.relevance import Calibration
from trainer.evaluate.report import SYSTEMS, UNSEEN, read_report
from trainer.pipeline.run import Outcome, run
from trainer.pipeline.settings import RunSettings

COUNT = 128


def settings(corpus: Path, **others: object) -> RunSettings:
    """Return the settings of a run with the labels beside the corpus."""
    chosen = {"qrels": corpus.with_name("qrels.parquet"), "language": "en", "layers": "never", **others}
    return RunSettings.model_validate(chosen)


def current(data: Path) -> tuple[bytes, int, int]:
    """Return content, time and identity of the file that says which model is live."""
    path = data / "models" / "CURRENT"
    return path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino


@pytest.fixture
def skewed(tmp_path: Path, skewed_data: Path) -> Path:
    """A data directory whose live model can be improved."""
    return Path(shutil.copytree(skewed_data, tmp_path / "data"))


def test_right_labels(skewed: Path, tmp_path: Path) -> None:
    """Labels are learned from, the verdict rests on documents that were not, a WIN goes live with the weight chosen on dev."""
    corpus = write_labelled(tmp_path / "labels", COUNT)
    outcome = run(str(corpus), settings(corpus), skewed)
    assert outcome.verdict == "WIN"
    models = Store("model", skewed)
    manifest = models.verify(outcome.manifest.id)
    assert models.current_id() == manifest.id
    assert manifest.config["judged_by"] == "labels"
    assert [entry.name for entry in manifest.inputs] == [str(corpus), "qrels.parquet", "queries.parquet"]
    report = read_report(models.path(manifest.id) / "report")
    assert (report.judged_by, report.decided_on) == ("labels", UNSEEN)
    assert list(report.groups) == [UNSEEN]
    assert report.deciding.queries == COUNT  # two for every second tale
    assert tuple(report.deciding.systems) == SYSTEMS
    for leg in ("dense", "hybrid"):
        difference = report.deciding.differences[leg]["nDCG@10"]
        assert difference.mean > 0
        assert difference.p < 0.05
    assert [rung.name.partition(",")[0] for rung in report.tuned.rungs] == ["whitening", "distillation", "labels"]
    assert report.change_of == "hybrid nDCG@10"
    assert report.fusion.tuned == manifest.config["dense_weight"] > 0.5  # words say little here
    assert not any("no labels" in note for note in report.notes)
    calibration = Calibration.of_config(manifest.config)
    assert calibration is not None
    assert calibration.fitted_on == "labels"
    assert report.relevance is not None
    assert sum(part.rows for part in report.relevance.bins) == COUNT
    assert report.relevance.ece < 0.25

    index_manifest = build(str(corpus), BuildSettings(language="en"), skewed, cores=1).manifest
    assert index_manifest.counts["embedded"] == 0
    assert index_manifest.config["fusion"]["dense_weight"] == report.fusion.tuned
    assert index_manifest.config["relevance"] == manifest.config["relevance"]
    assert index_manifest.config["relevance_of"] == manifest.id

    # Other labels are other labels, also where only the queries beside them changed; the same ones are up to date.
    assert not _another_run(corpus, skewed)
    queries = corpus.with_name("queries.parquet")
    shutil.copy(write_labelled(tmp_path / "others", COUNT, seed=1).with_name("queries.parquet"), queries)
    assert _another_run(corpus, skewed)


def _another_run(corpus: Path, data: Path) -> bool:
    """Say whether a run would begin, without letting it."""

    class BegunError(Exception):
        pass

    def begin(*_: object) -> None:
        raise BegunError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.pipeline.stages.Workspace", begin)
        try:
            run(str(corpus), settings(corpus), data)
        except BegunError:
            return True
    return False


def test_shuffled_labels(data: Path, tmp_path: Path) -> None:
    """Shuffled labels give no WIN: CURRENT is not even rewritten, and the report is kept."""
    corpus = write_labelled(tmp_path / "labels", COUNT, shuffled=True)
    before = current(data)
    outcome = run(str(corpus), settings(corpus), data)
    assert outcome.verdict in {"LOSS", "TIE"}
    assert current(data) == before
    models = Store("model", data)
    assert models.ids()[-1] == outcome.manifest.id != models.current_id()
    models.verify(outcome.manifest.id)
    assert read_report(models.path(outcome.manifest.id) / "report").verdict == outcome.verdict


@pytest.fixture
def lost(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Outcome]:
    """The corpus of a run whose recipe does harm that dev does not show, and its outcome."""
    corpus = write_labelled(tmp_path / "labels", COUNT)
    forgets = np.diag(np.array([1, 1, *[0] * 30], dtype=np.float32))
    monkeypatch.setattr(trainer.adapter.ladder, "whitening", lambda *_: forgets)
    monkeypatch.setattr(trainer.adapter.ladder.Ladder, "measure", lambda _, matrix: 0.1 if matrix is None else 0.9)
    outcome = run(str(corpus), settings(corpus), data)
    monkeypatch.undo()
    return corpus, outcome


def test_a_loss_changes_nothing(data: Path, lost: tuple[Path, Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    """A model that is worse is a LOSS, whatever its dev score; it goes live only by --force, with a warning."""
    corpus, outcome = lost
    models = Store("model", data)
    base = models.ids()[0]
    assert outcome.verdict == "LOSS"
    assert models.current_id() == base
    assert any("is worse" in reason for reason in outcome.manifest.notes)

    before = current(data)
    capsys.readouterr()
    again = run(str(corpus), settings(corpus), data)
    assert (again.fresh, again.verdict) == (False, "LOSS")
    assert current(data) == before
    progress = capsys.readouterr().err
    assert f"live stays {base}" in progress
    assert "verdict: LOSS" in progress

    forced = run(str(corpus), settings(corpus, force=True), data)
    assert (forced.fresh, forced.manifest.id) == (False, outcome.manifest.id)
    assert models.current_id() == outcome.manifest.id
    assert "GOES LIVE ALTHOUGH IT IS NOT MEASURED TO BE BETTER (LOSS)" in capsys.readouterr().err

    models.activate(base)  # somebody goes back: the plain command does not change that, --force does
    run(str(corpus), settings(corpus), data)
    assert models.current_id() == base
    run(str(corpus), settings(corpus, force=True), data)
    assert models.current_id() == outcome.manifest.id
