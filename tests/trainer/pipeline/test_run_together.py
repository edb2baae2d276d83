"""A run started by `accelerate launch`: one process leads, the others train with it and touch nothing else."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tales import write_labelled

from indexer.artifacts.store import Store
from trainer.evaluate.report import read_report

REPOSITORY = Path(__file__).parents[3]


def launch(*arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    """Start `trainer run` in two processes on the CPU, and wait until both have ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_ip", "127.0.0.1"),
        *("--main_process_port", str(port), "-m", "trainer", "run", *arguments),
    ]
    environment = os.environ | {"DOWSE_DATA": str(data)}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, timeout=300, check=False
    )


def test_two_processes(skewed_data: Path, tmp_path: Path) -> None:
    """The run ends with one published model, whose layers both processes have trained, and says everything once."""
    data = Path(shutil.copytree(skewed_data, tmp_path / "data"))
    corpus = write_labelled(tmp_path / "labels", 128)
    qrels = corpus.with_name("qrels.parquet")
    done = launch(str(corpus), "--qrels", str(qrels), "--language", "en", "--layers", "always", data=data)
    assert done.returncode == 0, done.stderr
    [said] = done.stdout.splitlines()
    verdict, model = said.split()
    models = Store("model", data)
    assert models.ids()[-1] == model and len(models.ids()) == 2
    models.verify(model)
    report = read_report(models.path(model) / "report")
    assert report.verdict == verdict
    assert any(rung.name.startswith("layers") for rung in report.tuned.rungs)
    assert done.stderr.count("verdict: ") == done.stderr.count("finetune grouped-mnr (loss") == 1
    # Of 48 passages 32 are in a batch, whether one process has it or two: twelve steps in six epochs.
    assert "12 steps in" in done.stderr


def test_an_error_ends_all_processes(skewed_data: Path, tmp_path: Path) -> None:
    """What the first process refuses ends the others too, which wait for it."""
    done = launch(str(tmp_path / "absent.parquet"), data=skewed_data)
    assert done.returncode
    assert f"error: {tmp_path / 'absent.parquet'}" in done.stderr
