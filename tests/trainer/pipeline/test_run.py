"""A complete run from texts alone: its evaluation, the published artifact, and the commands that follow it."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from tales import write_tales
from tests_support import publish_mapped
from tiny_llama import make_tiny_llama

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.build.vectors import MAP_FILE
from indexer.cli import app as indexer_app
from indexer.errors import UserError
from indexer.errors import run as program
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.inference.encoder import Encoder
from indexer.retrieval.retriever import Retriever
from trainer.adapter.linear_map import apply
from trainer.cli import app
from trainer.data.split import Split
from trainer.evaluate.report import SYSTEMS, UNSEEN, read_report
from trainer.models.base import publish_base
from trainer.models.settings import BaseSettings
from trainer.pipeline.compare_models import evaluate
from trainer.pipeline.dataset import CLOZE
from trainer.pipeline.run import Outcome, _without_secrets, run
from trainer.pipeline.settings import EvaluateSettings, RunSettings

COUNT = 150
SETTINGS = RunSettings(language="en")


@dataclass(frozen=True)
class FinishedRun:
    """A data directory in which a run has ended, with its corpus and its outcome."""

    data: Path
    corpus: Path
    outcome: Outcome

    @property
    def models(self) -> Store:
        """The models."""
        return Store("model", self.data)

    @property
    def folder(self) -> Path:
        """The tuned model."""
        return self.models.path(self.outcome.manifest.id)

    @property
    def base(self) -> str:
        """The id of the base model."""
        return str(self.outcome.manifest.config["tuned_from"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, skewed_data: Path) -> FinishedRun:
    """A run over 150 tales. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("run")
    data = Path(shutil.copytree(skewed_data, folder / "data"))
    corpus = write_tales(folder / "tales.parquet", COUNT)
    return FinishedRun(data, corpus, run(str(corpus), SETTINGS, data))


@pytest.fixture
def done(finished: FinishedRun, tmp_path: Path) -> FinishedRun:
    """The same, of the test's own."""
    return FinishedRun(Path(shutil.copytree(finished.data, tmp_path / "data")), finished.corpus, finished.outcome)


def texts_of(done: FinishedRun) -> list[str]:
    """Return the texts of the corpus."""
    index = Index.open(Store("index", done.data).resolve(Store("index", done.data).ids()[0]), cores=1)
    return [index.document(row).text for row in range(COUNT)]


def state(data: Path) -> dict[str, tuple[int, int]]:
    """Return time and size of every published file, and of CURRENT."""
    files = [path for kind in ("models", "indexes") for path in (data / kind).glob("[!.]*/**/*") if path.is_file()]
    current = data / "models" / "CURRENT"
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in [*files, current]}


# --- the result -----------------------------------------------------------------------------------------------------


def test_a_win_goes_live(finished: FinishedRun) -> None:
    """A model that can be improved is improved, is better on held-out documents, and goes live."""
    assert finished.outcome.fresh
    assert finished.outcome.verdict == "WIN"
    assert finished.models.current_id() == finished.outcome.manifest.id
    assert finished.models.ids() == [finished.base, finished.outcome.manifest.id]
    metrics = finished.outcome.manifest.metrics
    assert metrics["dense_ndcg10"] > metrics["base_dense_ndcg10"] + 0.02
    assert metrics["parity_fp32"] > 0.999


def test_what_the_artifact_holds(finished: FinishedRun) -> None:
    """One sound artifact: the model, its exports, the map, the report and the card; no other index went live."""
    manifest = finished.models.verify(finished.outcome.manifest.id)
    assert manifest == finished.outcome.manifest
    files = set(manifest.files)
    assert {"modules.json", "onnx/model.onnx", "onnx/model_int8.onnx", MAP_FILE, "README.md"} <= files
    assert {"report/report.json", "report/report.html"} <= files
    assert {Path(name).suffix for name in files} <= {
        ".json", ".safetensors", ".onnx", ".data", ".txt", ".npy", ".md", ".html"
    }  # fmt: skip
    config = manifest.config
    assert config["map_of"] == finished.base
    assert config["verdict"] == "WIN"
    assert config["judged_by"] == "synthetic queries"
    assert config["query_precision"] in {"fp32", "int8"}
    assert [entry.name for entry in manifest.inputs] == [str(finished.corpus)]
    assert manifest.notes[0].startswith("dense search for key words and, at half weight, for sentences")
    assert " is better: nDCG@10 +" in manifest.notes[0]
    indexes = Store("index", finished.data)
    assert indexes.current_id() is None
    assert indexes.manifest(indexes.ids()[0]).parents == {"model": finished.base}
    assert not list(finished.models.root.glob(".building-*"))


def test_the_report(finished: FinishedRun) -> None:
    """The report says what was measured on what, and agrees with the manifest; page and card agree with it."""
    report = read_report(finished.folder / "report")
    manifest = finished.outcome.manifest
    assert (report.verdict, report.judged_by, report.decided_on) == ("WIN", "synthetic queries", UNSEEN)
    assert report.reasons == manifest.notes
    assert list(report.groups) == [UNSEEN, CLOZE]
    assert tuple(report.deciding.systems) == SYSTEMS
    assert report.deciding.systems["base dense"]["nDCG@10"].mean == pytest.approx(
        manifest.metrics["base_dense_ndcg10"], abs=1e-6
    )
    assert report.deciding.systems["tuned hybrid"]["nDCG@10"].mean == pytest.approx(
        manifest.metrics["hybrid_ndcg10"], abs=1e-6
    )
    assert (report.corpus.documents, report.corpus.language) == (COUNT, "en")
    assert report.base.id == finished.base
    assert {"questions", "ladder", "export", "exam"} == set(report.seconds)
    assert [rung.name.partition(",")[0] for rung in report.tuned.rungs] == ["whitening", "distillation"]
    assert any(rung.kept for rung in report.tuned.rungs)
    assert report.curves.dev[0].at == "base"
    assert report.curves.loss
    assert len(report.changes["dense"]) == report.deciding.queries
    assert np.mean(report.changes["dense"]) == pytest.approx(
        report.deciding.differences["dense"]["nDCG@10"].mean, abs=1e-6
    )
    assert report.gains[0].after > report.gains[0].before
    assert report.gains[0].wanted[0].text
    assert any("no labels" in note for note in report.notes)
    page = (finished.folder / "report" / "report.html").read_text()
    assert "WIN" in page
    assert report.gains[0].query in page
    assert "WIN" in (finished.folder / "README.md").read_text()


def test_sentence_transformers_can_load_it(finished: FinishedRun) -> None:
    """It is a plain sentence-transformers model: its vectors are those of the ONNX file.

    Where the map is for dense search alone, they are the base's; else they are mapped.
    """
    texts = texts_of(finished)[:40]
    model = SentenceTransformer(str(finished.folder), device="cpu")
    expected = model.encode_document(texts, show_progress_bar=False)
    onnx = Encoder.open(finished.folder, cores=1).encode_documents(texts)
    assert np.einsum("ij,ij->i", unit(expected), unit(onnx)).min() > 0.9999
    base = SentenceTransformer(str(finished.models.path(finished.base)), device="cpu")
    before = unit(base.encode_document(texts, show_progress_bar=False))
    matrix = np.load(finished.folder / MAP_FILE, allow_pickle=False)
    assert np.einsum("ij,ij->i", apply(matrix, before), before).min() < 0.99
    config = finished.models.manifest(finished.folder.name).config
    assert np.allclose(expected, before if config["hybrid"] == "base" else apply(matrix, before), atol=1e-4)


# --- what comes after -----------------------------------------------------------------------------------------------


def test_with_nothing_to_do(
    done: FinishedRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command again says «up to date», changes nothing, and prints verdict and id to stdout alone."""
    monkeypatch.setenv("DOWSE_DATA", str(done.data))
    monkeypatch.setattr(sys, "argv", ["trainer", "run", str(done.corpus), "--language", "en"])
    monkeypatch.setattr("trainer.pipeline.stages.prepare_data", None)
    before = state(done.data)
    with pytest.raises(SystemExit) as ended:
        program(app)
    out, err = capsys.readouterr()
    assert not ended.value.code
    assert out == f"WIN {done.outcome.manifest.id}\n"
    assert "up to date" in err
    assert "verdict: WIN" in err
    assert str(done.folder / "report" / "report.html") in err
    assert state(done.data) == before


def test_the_corpus_under_another_name(done: FinishedRun, tmp_path: Path) -> None:
    """Equal bytes are the same corpus; other settings, or another corpus, are another run."""
    copy = shutil.copy(done.corpus, tmp_path / "other.parquet")
    assert not run(str(copy), SETTINGS, done.data).fresh


def test_base_afterwards(done: FinishedRun, skewed_model: Path) -> None:
    """`trainer base`, repeated as every start of the containers does, does not displace the model tuned from it."""
    settings = BaseSettings(int8=True)
    published = publish_base(str(skewed_model), settings, done.data)
    assert not published.fresh
    assert published.manifest.id == done.base
    assert done.models.current_id() == done.outcome.manifest.id


def test_base_after_a_rollback(done: FinishedRun, skewed_model: Path) -> None:
    """After a rollback to the base, `base` and `run` keep it live, and `run` says how to go forward."""
    done.models.activate(done.base)
    publish_base(str(skewed_model), BaseSettings(int8=True), done.data)
    assert done.models.current_id() == done.base
    assert not run(str(done.corpus), SETTINGS, done.data).fresh
    assert done.models.current_id() == done.base


def test_indexing_afterwards(done: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of the tuned model is built without encoding a passage, with the weight that was measured, and serves."""
    encode = Encoder.encode_documents
    encoded: list[int] = []
    monkeypatch.setattr(
        Encoder, "encode_documents", lambda self, texts: encoded.append(len(texts)) or encode(self, texts)
    )
    index_manifest = build(str(done.corpus), BuildSettings(language="en"), done.data, cores=1).manifest
    assert index_manifest.parents == {"model": done.outcome.manifest.id}
    assert index_manifest.counts["embedded"] == 0
    assert index_manifest.counts["reused"] == index_manifest.counts["passages"]
    assert sum(encoded) <= 50  # the self-check
    assert index_manifest.config["fusion"]["dense_weight"] == done.outcome.manifest.config["dense_weight"]
    assert index_manifest.config["query_precision"] == done.outcome.manifest.config["query_precision"]
    assert Store("index", done.data).current_id() == index_manifest.id
    index = Index.open(Store("index", done.data).path(index_manifest.id), cores=1)
    assert len(Retriever(index).search("the king and the queen").rows)
    own = unit(
        Encoder.open(done.folder, cores=1).encode_documents([index.document(0).text[: index.passage_offsets(0)[1]]])
    )
    assert float(own[0] @ index.dense.vectors(np.array([0]))[0]) > 0.999


def test_the_next_run_starts_from_the_base(done: FinishedRun) -> None:
    """A run starts from what the live model was tuned from, not from the tuned one, and has to beat the live one."""
    again = run(str(done.corpus), SETTINGS.model_copy(update={"seed": 0, "budget": "16m"}), done.data)
    assert again.fresh
    manifest = again.manifest
    assert manifest.config["tuned_from"] == done.base
    assert again.verdict == "TIE"  # the same recipe comes to the same map
    assert manifest.metrics["base_dense_ndcg10"] == pytest.approx(
        done.outcome.manifest.metrics["dense_ndcg10"], abs=1e-6
    )
    assert done.models.current_id() == done.outcome.manifest.id
    assert np.array_equal(np.load(done.models.path(manifest.id) / MAP_FILE), np.load(done.folder / MAP_FILE))
    assert read_report(done.models.path(manifest.id) / "report").base.id == done.outcome.manifest.id


def test_an_old_win_does_not_displace_a_better_model(done: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    """A WIN counts against the model that it was measured against: repeated over a later model, it changes nothing."""
    won = done.outcome.manifest
    assert won.config["compared_with"] == done.base
    matrix = np.load(done.folder / MAP_FILE)
    done.models.activate(done.base)
    later = publish_mapped(done.data, matrix)  # tuned from the same base, as a later run does
    capsys.readouterr()
    again = run(str(done.corpus), SETTINGS, done.data)
    assert (again.fresh, again.verdict, again.manifest.id) == (False, "WIN", won.id)
    assert done.models.current_id() == later.id
    shown = capsys.readouterr().err
    assert f"verdict: WIN, against {done.base}" in shown
    assert f"live stays {later.id}" in shown
    assert f"--model {won.id} --against {later.id}" in shown
    run(str(done.corpus), SETTINGS.model_copy(update={"force": True}), done.data)
    assert done.models.current_id() == won.id
    assert "GOES LIVE ALTHOUGH IT IS NOT MEASURED TO BE BETTER" in capsys.readouterr().err


def test_a_win_that_a_kill_kept_back(done: FinishedRun) -> None:
    """A WIN that was published and not yet made live goes live at the next call, as long as its opponent is live."""
    won = done.outcome.manifest.id
    done.models.activate(done.base)
    (done.models.root / f".quiet-{won}").write_text(won)
    run(str(done.corpus), SETTINGS, done.data)
    assert done.models.current_id() == won


def test_prune_keeps_what_a_run_starts_from(
    done: FinishedRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model that the live one was tuned from stays, whatever is pruned: the next run starts from it."""
    monkeypatch.setenv("DOWSE_DATA", str(done.data))
    monkeypatch.setattr(sys, "argv", ["indexer", "prune", "--keep", "0"])
    with pytest.raises(SystemExit) as ended:
        program(indexer_app)
    assert not ended.value.code, capsys.readouterr().err
    assert done.models.ids() == [done.base, done.outcome.manifest.id]


# --- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.parquet"], "none.parquet: no such file"),
        (["{corpus}", "--budget", "soon"], "--budget soon: .*write it like 90s"),
        (["{corpus}", "--budget", "0"], "--budget 0: "),
        (["{corpus}", "--layers", "some"], "--layers"),
        (["{corpus}", "--seed", "-1"], "--seed -1: "),
        (["{corpus}", "--qrels", "none.csv", "--queries", "none.csv"], "--qrels none.csv: no such file"),
        (["{corpus}", "--queries", "{corpus}"], "--queries .*give --qrels too"),
        (["{corpus}", "--qrels", "{corpus}"], "--qrels .*no file of queries beside it"),
        (["{corpus}", "--text-column", "body"], "no column 'body'"),
        (["{corpus}", "--language", "xx"], "language"),
        (["{corpus}", "--model", "./none"], "./none: no directory"),
        (["{corpus}", "--model", "./none", "--llm-path", "./nothing"], "--llm-path ./nothing: no config.json"),
        (["{corpus}", "--model", "./none", "--llm", "localhost:1"], "--llm: no http or https URL"),
        (["{corpus}", "--model", "./none", "--llm-model", "m", "--llm-path", "."], "--llm-path: a model is named"),
    ],
)
def test_refused(
    arguments: list[str],
    message: str,
    finished: FinishedRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What cannot be done is refused in one line that names the flag or the file and the remedy; nothing is published."""
    monkeypatch.setenv("DOWSE_DATA", str(finished.data))
    monkeypatch.setattr(sys, "argv", ["trainer", "run", *(each.format(corpus=finished.corpus) for each in arguments)])
    before = state(finished.data)
    with pytest.raises(SystemExit) as ended:
        program(app)
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    with pytest.raises(UserError, match=message):
        raise UserError(last)
    assert state(finished.data) == before


@pytest.mark.parametrize("command", ["run", "evaluate"])
@pytest.mark.parametrize(
    ("qrels", "queries", "message"),
    [
        ("query,document,score\n0,t1,1\n", "id,text\n0,cat\n", "qrels.csv: has no column 'query_id'"),
        ("query_id,doc_id\n0,t1\n", "number,text\n0,cat\n", "queries.csv: has no column 'id'"),
        ("query_id,doc_id\n0,t1\n", "id,text\n0,cat\n0,dog\n", "queries.csv row 2: a second query"),
        ("query_id,doc_id,relevance\n0,t1,high\n", "id,text\n0,cat\n", "qrels.csv row 1: the relevance"),
        ("query_id,doc_id\n0,elsewhere\n", "id,text\n0,cat\n", "check that doc_id holds the corpus's ids"),
        ("query_id,doc_id\n0,t1\n", "id,text\nzero,cat\n", "check that query_id holds the ids"),
    ],
)
def test_labels_are_checked_before_a_model_is_needed(
    command: str, qrels: str, queries: str, message: str,
    finished: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Faults of the labels are found before any model is opened, published or used to encode."""
    (tmp_path / "qrels.csv").write_text(qrels)
    (tmp_path / "queries.csv").write_text(queries)
    for target in ("indexer.build.build.Encoder.open", "trainer.pipeline.run.publish_base"):
        monkeypatch.setattr(target, None)
    labels = tmp_path / "qrels.csv"
    # Another language: no finished index could stand in for one that is still to be built.
    chosen: dict[str, object] = {"qrels": labels, "language": "de"}

    def start() -> None:
        if command == "run":
            run(str(finished.corpus), RunSettings.model_validate(chosen | {"model": "./none"}), finished.data)
        else:
            evaluate(str(finished.corpus), EvaluateSettings.model_validate(chosen), finished.data)

    with pytest.raises(UserError, match=message):
        start()


def test_where_the_report_goes_is_checked_first(finished: FinishedRun, tmp_path: Path) -> None:
    """A file in the place of the report's directory is refused before the comparison, not after it."""
    (tmp_path / "taken").write_text("")
    for out in (tmp_path / "taken", tmp_path / "taken" / "report"):
        with pytest.raises(UserError, match=r"--out .*report|taken: .*taken is a file; give a directory"):
            evaluate("none.parquet", EvaluateSettings(out=out), finished.data)


def test_a_live_model_whose_base_is_gone(done: FinishedRun) -> None:
    """Where the model that the live one was tuned from was removed, the error says so and what to give."""
    done.models.prune(keep=0, pinned=set())
    with pytest.raises(UserError, match=rf"tuned from {done.base}.*--model"):
        run(str(done.corpus), SETTINGS, done.data)


def test_the_seconds_are_kept(finished: FinishedRun) -> None:
    """The folder of the run has what the stages came to, and nothing temporary."""
    [folder] = [path for path in (finished.data / "training").iterdir() if path.is_dir()]
    assert {path.name for path in folder.iterdir()} == {
        "split.parquet",
        "query-vectors.npz",
        "ladder.npz",
        "seconds.json",
    }
    assert set(json.loads((folder / "seconds.json").read_text())) == {"questions", "ladder", "export", "exam"}


def test_an_endpoint_is_kept_without_its_password() -> None:
    """What manifests and reports say of a language model's endpoint holds no login and no token."""
    kept = _without_secrets("http://me:hunter2@localhost:11434/v1?token=hunter2")
    assert kept == "http://localhost:11434/v1"
    assert _without_secrets(None) is None


def test_a_base_model_writes_queries(tmp_path: Path, skewed_data: Path) -> None:
    """A language model in this process is asked about as many training documents as were allowed, in a whole run.

    What it writes here is noise. A run in which no written query finds its document goes on with extracts.
    """
    data = Path(shutil.copytree(skewed_data, tmp_path / "data"))
    corpus = write_tales(tmp_path / "tales.parquet", 100)
    model = make_tiny_llama(tmp_path / "llama", template=None)
    settings = SETTINGS.model_copy(update={"llm_path": str(model), "llm_documents": 6, "budget": "20s"})
    outcome = run(str(corpus), settings, data)
    folder = next((data / "training").glob("*/queries.summary.json")).parent
    summary = json.loads((folder / "queries.summary.json").read_text())
    assert (summary["rows"], summary["chosen"], summary["asked"]) == (100, 6, 6)
    held_out = set(Split.read(folder / "split.parquet").documents("test"))
    entries = [json.loads(line) for line in (folder / "queries.journal.jsonl").read_text().splitlines()]
    assert not held_out & {entry["id"].partition("#")[0] for entry in entries}
    assert outcome.manifest.config["llm_documents"] == 6
    assert "llm_prompt" not in outcome.manifest.config
