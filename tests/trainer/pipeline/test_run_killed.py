"""A run that is killed after any of its stages resumes there, and gives the result of an undisturbed run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tales import write_labelled

from indexer.artifacts.store import Store
from indexer.build.vectors import MAP_FILE
from indexer.index.index import Index
from trainer.evaluate.report import read_report
from trainer.pipeline.workspace import Workspace

REPOSITORY = Path(__file__).parents[3]
STAGES = ["questions", "ladder", "layers", "export", "exam"]
PUBLISHED = "renamed"
"""The point of publishing from which on the model is there."""

RUNS = """
import json, os, signal, sys
from pathlib import Path
import onnxruntime.quantization, sklearn.feature_extraction.text
import indexer.artifacts.store, trainer.pipeline.layers, trainer.pipeline.dataset, trainer.reports.run_page, trainer.pipeline.tuning, trainer.pipeline.workspace
from trainer.pipeline.run import run
from trainer.pipeline.settings import RunSettings

# One process loads what is slow to load and starts a child for each run: what is killed is a process of its own.
for data, stop in json.loads(sys.argv[2]):
    child = os.fork()
    if child == 0:
        def reached(stage):
            print("reached", stage, flush=True)
            if stage == stop:
                os.kill(os.getpid(), signal.SIGKILL)

        trainer.pipeline.workspace.reached = indexer.artifacts.store.reached = reached
        trainer.reports.run_page.report_page = lambda report: "<html></html>"  # plots take two seconds, and are not tested here
        corpus = Path(sys.argv[1])
        settings = RunSettings(qrels=corpus.with_name("qrels.parquet"), language="en", layers="always")
        outcome = run(str(corpus), settings, Path(data))
        print("ended", outcome.verdict, outcome.fresh, flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print("killed" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else status, flush=True)
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 128 tales with labels enough to train the encoder's layers."""
    return write_labelled(tmp_path_factory.mktemp("labelled"), 128)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, skewed_data: Path, corpus: Path) -> dict[str, Any]:
    """Kill one run again and again, each time a stage further, until it ends; another one is left alone."""
    folder = tmp_path_factory.mktemp("killed")
    killed, undisturbed = (shutil.copytree(skewed_data, folder / name) for name in ("killed", "undisturbed"))
    plan = [(str(killed), stop) for stop in [*STAGES, PUBLISHED, None]] + [(str(undisturbed), None)]
    command = [sys.executable, "-c", RUNS, str(corpus), json.dumps(plan)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    endings: list[list[str]] = [[]]
    for line in done.stdout.splitlines():
        endings[-1].append(line)
        if line in {"killed", "0"}:
            endings.append([])
    return {"killed": killed, "undisturbed": undisturbed, "endings": endings[:-1], "stderr": done.stderr}


def tuned(data: Path) -> Path:
    """Return the directory of the only tuned model."""
    models = Store("model", data)
    [artifact] = [each for each in models.ids() if "tuned_from" in models.manifest(each).config]
    models.verify(artifact)
    return models.path(artifact)


def test_every_kill_came_after_its_stage(runs: dict[str, Any]) -> None:
    """Each run was killed after its stage, and the last two ended."""
    endings = runs["endings"]
    for stop, lines in zip([*STAGES, PUBLISHED], endings, strict=False):
        assert lines[-2:] == [f"reached {stop}", "killed"]
    after, undisturbed = endings[-2:]
    assert after[-2:] == ["ended WIN False", "0"]  # it was published: it had to be made live, and nothing else
    assert "reached questions" not in after
    assert undisturbed[-2:] == ["ended WIN True", "0"]


def test_what_was_finished_is_not_done_again(runs: dict[str, Any]) -> None:
    """A second start takes up vectors, maps and trained layers instead of making them again."""
    progress = runs["stderr"]
    for name, starts in (("query-vectors", 2), ("ladder", 2), ("layers-vectors", 2), ("ladder-layers", 2)):
        taken_up = progress.count(f"{name}: taken up from")
        assert taken_up >= starts, name
    assert progress.count("finetune grouped-mnr (loss") == 2  # once in each data directory
    assert progress.count("rank by the teacher:") == 4  # over the old and the new vectors, in each


def test_the_same_verdict_and_the_same_model(runs: dict[str, Any]) -> None:
    """Killed six times, the run gives the verdict, figures, map and weights of an undisturbed one."""
    folders = [tuned(runs[name]) for name in ("killed", "undisturbed")]
    reports = [read_report(folder / "report") for folder in folders]
    assert reports[0].verdict == reports[1].verdict == "WIN"
    assert reports[0].groups == reports[1].groups
    assert reports[0].fusion == reports[1].fusion
    assert [(rung.name, rung.kept) for rung in reports[0].tuned.rungs] == [
        (rung.name, rung.kept) for rung in reports[1].tuned.rungs
    ]
    assert {"layers"} < {rung.name.partition(",")[0] for rung in reports[0].tuned.rungs}
    assert {"questions", "ladder", "layers", "export", "exam"} == set(reports[0].seconds)
    names = [{path.relative_to(folder).as_posix() for path in folder.rglob("*")} for folder in folders]
    assert names[0] == names[1]
    for name in [MAP_FILE] if MAP_FILE in names[0] else ["model.safetensors"]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    if MAP_FILE in names[0]:
        assert np.array_equal(*(np.load(folder / MAP_FILE, allow_pickle=False) for folder in folders))


def test_nothing_is_left_over(runs: dict[str, Any]) -> None:
    """The tuned model is live, its vectors are an index if its layers were trained, and nothing incomplete is left."""
    for name in ("killed", "undisturbed"):
        models, indexes = Store("model", runs[name]), Store("index", runs[name])
        assert models.current_id() == tuned(runs[name]).name
        assert len(models.ids()) == 2
        # The vectors of trained layers become an index after the model: the kill in between leaves that to the indexer.
        encoded_anew = name == "undisturbed" and not (tuned(runs[name]) / MAP_FILE).is_file()
        assert len(indexes.ids()) == 1 + encoded_anew
        records = {f".verified-{artifact}" for artifact in models.ids()}
        assert {path.name for path in models.root.iterdir()} - records == {"CURRENT", ".lock", *models.ids()}
        assert not list(indexes.root.glob(".building-*"))
        with Workspace(runs[name] / "training", "f" * 64):  # the next run, whichever, clears up
            pass
        [workspace] = [path for path in (runs[name] / "training").iterdir() if path.is_dir() and path.name != "f" * 8]
        assert not [path.name for path in workspace.iterdir() if path.name.startswith(".")]
        Index.open(indexes.path(indexes.ids()[0]), cores=1)
