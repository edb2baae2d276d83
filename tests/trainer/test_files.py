"""Atomic writes: files and folders appear complete or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.errors import UserError
from trainer.files import atomic_write, move_into


def test_a_file_has_its_name_only_once_it_is_complete(tmp_path: Path) -> None:
    """An interrupted write leaves the earlier file unchanged, and no temporary file."""
    path = tmp_path / "new" / "file.json"
    with atomic_write(path) as part:
        part.write_text("first")
        assert not path.exists()

    def break_off() -> None:
        with atomic_write(path) as part:
            part.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert path.read_text() == "first"
    assert [each.name for each in path.parent.iterdir()] == ["file.json"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The error names the file and what to do."""
    (tmp_path / "file").write_text("in the way of a folder")
    with (
        pytest.raises(UserError, match=r"file/below: cannot be written .*--out"),
        atomic_write(tmp_path / "file" / "below"),
    ):
        pass


def test_what_makes_a_folder_complete_is_moved_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries of an earlier, interrupted move are replaced, folders too."""
    source, target = tmp_path / "source", tmp_path / "target"
    for folder, text in ((source, "new"), (target, "old")):
        (folder / "onnx").mkdir(parents=True)
        (folder / "onnx" / "model.onnx").write_text(text)
    for name in ("a.json", "config.json", "z.json"):
        (source / name).write_text("new")
    moved: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: moved.append(self.name) or replace(self, to))
    move_into(source, target, last={"config.json"})
    assert moved == ["a.json", "onnx", "z.json", "config.json"]
    assert (target / "onnx" / "model.onnx").read_text() == "new"
    assert list(source.iterdir()) == []
