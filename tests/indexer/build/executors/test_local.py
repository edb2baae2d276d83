"""Several processes that encode on this machine: the index of one process, whoever of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from executors_support import SETTINGS, SIZES, children, facts, wait_until_gone

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.executors.cores import Share
from indexer.build.executors.local import LocalWorker
from indexer.errors import UserError

REPOSITORY = Path(__file__).parents[4]
TWO = SETTINGS.model_copy(update={"workers": 2})

BUILD = """
import sys, time
from pathlib import Path
import indexer.build.shards.shard
from indexer.build.build import build
from indexer.build.executors.cores import Share
from indexer.build.executors.local import LocalWorker
from indexer.build.settings import BuildSettings

encode = LocalWorker.encode

def slow(self, texts):
    time.sleep(0.05)
    return encode(self, texts)

if __name__ == "__main__":
    LocalWorker.encode = slow
    vars(indexer.build.shards.shard).update(%r)
    build(sys.argv[1], BuildSettings(language="en", dense_weight=0.5, workers=2), Path(sys.argv[2]), cores=2)
"""


def test_two_processes_and_one_is_killed(
    data: Path, shard_corpus: Path, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A process that is killed in the middle loses nothing and doubles nothing: the index is that of one process."""
    encode, calls, lock = LocalWorker.encode, [], threading.Lock()

    def encode_or_die(self: LocalWorker, texts: list[str]) -> Any:
        assert self.pid
        with lock:
            calls.append((tuple(texts), self.pid))
            number = len(calls)
        if number == 12:
            os.kill(self.pid, signal.SIGKILL)
        return encode(self, texts)

    monkeypatch.setattr(LocalWorker, "encode", encode_or_die)
    manifest = build(str(shard_corpus), TWO, data, cores=2).manifest
    assert facts(manifest, data) == expected
    assert manifest.counts["embedded"] == manifest.counts["passages"]
    lost, killed = calls[11]
    assert [pid != killed for texts, pid in calls[12:] if texts == lost] == [True]
    assert len({texts for texts, _ in calls}) == len(calls) - 1  # no other window was encoded twice
    assert killed not in {pid for _, pid in calls[12:]} and os.getpid() not in {pid for _, pid in calls}
    assert "is lost (signal 9; out of memory?)" in capsys.readouterr().err
    assert not any(Path(f"/proc/{pid}").exists() for _, pid in calls)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_build_that_is_killed(
    data: Path, shard_corpus: Path, expected: dict[str, Any], tmp_path: Path, number: signal.Signals
) -> None:
    """Its processes end with it, and a later build by one process goes on where it was."""
    script = tmp_path / "build.py"
    script.write_text(BUILD % SIZES, encoding="utf-8")
    command = [sys.executable, str(script), str(shard_corpus), str(data)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    root = Store("index", data).root
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        until = time.monotonic() + 60
        while not any(path.stat().st_size for path in root.glob(".building-*/shards/*.vectors")):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        started = children(process.pid)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert len(started) >= 2
    assert process.returncode == -number, errors.decode()
    wait_until_gone(started)
    manifest = build(str(shard_corpus), SETTINGS, data, cores=1).manifest
    assert 0 < manifest.counts["embedded"] < manifest.counts["passages"]
    assert facts(manifest, data) == expected


def test_an_error_in_a_process(data: Path) -> None:
    """A model that the processes cannot open ends the build with the same words as in one process."""
    [model] = [path for path in (data / "models").iterdir() if path.is_dir()]
    worker = LocalWorker(1, model / "absent", "fp32", Share(1, frozenset(os.sched_getaffinity(0))))
    with pytest.raises(UserError, match="absent"):
        worker.start()
    worker.stop()


def test_settings_without_effect(data: Path, shard_corpus: Path) -> None:
    """An address without a cluster, and more processes than cores, are refused before anything is built."""
    for more, words in (
        ({"address": "auto"}, r"--address auto: only --executor ray has an address"),
        ({"workers": 3}, r"--workers 3: 2 cores may be used here; give at most 2"),
    ):
        with pytest.raises(UserError, match=words):
            build(str(shard_corpus), SETTINGS.model_copy(update=more), data, cores=2)
    assert not Store("index", data).ids()


def test_processes_do_not_change_what_an_index_is(data: Path, shard_corpus: Path) -> None:
    """An index that is there is not built again because others would encode it."""
    first = build(str(shard_corpus), SETTINGS, data, cores=1)
    again = build(str(shard_corpus), TWO, data, cores=2)
    assert not again.fresh and again.manifest.id == first.manifest.id
