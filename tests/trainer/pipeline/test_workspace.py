"""The workspace of a run keeps finished results, ignores incomplete ones and touches no other files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import trainer.pipeline.workspace
from indexer.errors import UserError
from trainer.pipeline.workspace import KEPT_RUNS, Workspace

REPOSITORY = Path(__file__).parents[3]
KEY = "0123456789abcdef" * 4

HOLDS_THE_LOCK = """
import sys
from pathlib import Path
from trainer.pipeline.workspace import Workspace

with Workspace(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_belongs_to_a_fingerprint(tmp_path: Path) -> None:
    """The same fingerprint finds the same folder, another one another."""
    folders = []
    for key in (KEY, KEY, "f" * 64):
        with Workspace(tmp_path / "training", key) as workspace:
            folders.append(workspace.folder)
    assert folders[0] == folders[1] == tmp_path / "training" / "01234567"
    assert folders[2] != folders[0]


def test_arrays_are_made_once(tmp_path: Path) -> None:
    """Arrays are made once, then read, also by another process."""
    calls: list[int] = []

    def make() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"numbers": np.arange(6, dtype=np.float32).reshape(2, 3), "text": np.array('{"ü": 1}')}

    for _ in range(3):
        with Workspace(tmp_path, KEY) as workspace:
            arrays = workspace.arrays("things", make)
        assert arrays["numbers"].dtype == np.float32
        assert arrays["numbers"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert json.loads(str(arrays["text"])) == {"ü": 1}
    assert calls == [1]
    with Workspace(tmp_path, "f" * 64) as workspace:
        workspace.arrays("things", make)
    assert calls == [1, 1]


def test_half_a_file_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file appears whole or not at all: what failed during writing is made again."""
    save = np.savez

    def fail(file: object, **arrays: object) -> None:
        save(file, **arrays)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with Workspace(tmp_path, KEY) as workspace:
        monkeypatch.setattr(np, "savez", fail)
        with pytest.raises(KeyboardInterrupt):
            workspace.arrays("things", lambda: {"a": np.zeros(3)})
        assert not list(workspace.folder.glob("*.npz"))
        monkeypatch.undo()
        assert workspace.arrays("things", lambda: {"a": np.ones(3)})["a"].tolist() == [1, 1, 1]


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """A file that holds Python objects is refused, not executed."""
    with Workspace(tmp_path, KEY) as workspace:
        np.savez(workspace.folder / "things.npz", a=np.array([{}], dtype=object))
        with pytest.raises(ValueError, match="allow_pickle"):
            workspace.arrays("things", dict)["a"]


def test_seconds_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seconds of a stage are kept when it ends, and added to when it is gone through again."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ended: list[str] = []
    monkeypatch.setattr(trainer.pipeline.workspace, "reached", ended.append)
    with Workspace(tmp_path, KEY) as workspace, workspace.stage("ladder"):
        now[0] += 2.5
        assert ended == []
    assert ended == ["ladder"]
    with Workspace(tmp_path, KEY) as workspace:
        assert workspace.seconds == {"ladder": 2.5}
        with workspace.stage("ladder"):
            now[0] += 1
        with workspace.stage("exam"):
            now[0] += 4
        assert workspace.seconds == {"ladder": 3.5, "exam": 4}


def test_a_stage_that_failed_has_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that ends with an error is not counted."""
    ended: list[str] = []
    monkeypatch.setattr(trainer.pipeline.workspace, "reached", ended.append)
    with Workspace(tmp_path, KEY) as workspace:
        with pytest.raises(UserError), workspace.stage("exam"):
            raise UserError("no")
        assert workspace.seconds == {}
    assert ended == []


def test_old_runs_are_removed(tmp_path: Path) -> None:
    """The folders of the latest runs stay, older ones go, by when they were last worked in."""
    for number, digit in enumerate("abcde"):
        with Workspace(tmp_path, digit * 64) as workspace:
            os.utime(workspace.folder, (number, number))
    with Workspace(tmp_path, "b" * 64) as workspace:  # taken up again
        pass
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {digit * 8 for digit in "deb"}
    assert KEPT_RUNS == 3


def test_what_other_commands_wrote_stays(tmp_path: Path) -> None:
    """Frames, pairs, models and other files in the same folder are neither removed nor counted."""
    others = ["finetune", "training", "tsdae", "12345678.parquet", "frame.parquet"]
    for name in others:
        (tmp_path / name).mkdir() if "." not in name else (tmp_path / name).touch()
        os.utime(tmp_path / name, (1, 1))
    for digit in "abcdef":
        with Workspace(tmp_path, digit * 64):
            pass
    assert {name for name in others if not (tmp_path / name).exists()} == set()
    for name in others:
        (tmp_path / name).touch()
    with Workspace(tmp_path, "f" * 64):
        pass
    assert len([path for path in tmp_path.iterdir() if path.is_dir() and path.name not in others]) == KEPT_RUNS


def test_leftovers_of_a_killed_run(tmp_path: Path) -> None:
    """The temporary index of a run that was killed is removed by the next run, whichever; what it had finished stays."""
    with Workspace(tmp_path, KEY) as workspace:
        (workspace.folder / ".pool-x").mkdir()
        (workspace.folder / ".pool-x" / "file").write_text("half")
        workspace.arrays("things", lambda: {"a": np.ones(1)})
    with Workspace(tmp_path, "f" * 64):
        pass
    assert {path.name for path in workspace.folder.iterdir()} == {"things.npz"}


def test_one_run_at_a_time(tmp_path: Path) -> None:
    """While another process trains there, a run is refused; when that process is killed, its lock dies with it."""
    command = [sys.executable, "-c", HOLDS_THE_LOCK, str(tmp_path), KEY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process is training here; wait"):
            Workspace(tmp_path, "f" * 64)
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=20)
    with Workspace(tmp_path, KEY):
        pass
    with Workspace(tmp_path, KEY):  # given back at the end
        pass
