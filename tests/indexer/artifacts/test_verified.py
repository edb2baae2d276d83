"""Record of verified files: what was verified is not read again, and whatever has changed is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.artifacts import manifest as manifests
from indexer.artifacts import verified
from indexer.artifacts.manifest import Manifest, describe_files, write_manifest
from indexer.artifacts.store import Store
from indexer.artifacts.verified import PREFIX, record_of, verify_again, verify_once
from indexer.errors import UserError

NAMES = ("a", "folder/b")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the files whose content is compared; all states count, however young."""
    names: list[str] = []

    def check(directory: Path, name: str, entry: manifests.FileEntry, reader: object) -> None:
        if reader is not None:
            names.append(name)
        checked(directory, name, entry, reader)  # type: ignore[arg-type]

    checked = manifests._check_file
    monkeypatch.setattr(manifests, "_check_file", check)
    monkeypatch.setattr(verified, "SETTLED_SECONDS", 0.0)
    return names


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A folder with two files and a manifest."""
    folder = tmp_path / "20261129T101500Z-1f2e3d4c"
    (folder / "folder").mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_bytes(name.encode() * 100)
    draft = Manifest(
        kind="index", fingerprint="0" * 64, inputs=[], config={}, versions={}, files=describe_files(folder)
    )
    write_manifest(folder, draft)
    return folder


def flip(path: Path) -> None:
    """Flip one bit in place, and set the time of the content back: its size, inode and mtime are as before."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=times)


def test_what_was_verified_is_not_read_again(artifact: Path, read: list[str]) -> None:
    """The first check reads all files, the second none."""
    verify_once(artifact)
    assert sorted(read) == sorted(NAMES)
    read.clear()
    assert verify_once(artifact).files.keys() == set(NAMES)
    assert not read


def test_a_flipped_bit_is_noticed_though_its_time_was_set_back(artifact: Path, read: list[str]) -> None:
    """Who alters a file alters the time of its status, which nobody can set back."""
    verify_once(artifact)
    flip(artifact / "a")
    read.clear()
    with pytest.raises(UserError, match="a: content differs"):
        verify_once(artifact)
    assert read == ["a"]


def test_a_copy_is_read(artifact: Path, read: list[str], tmp_path: Path) -> None:
    """Whoever copies an artifact with its record, times included, has files that were never read."""
    verify_once(artifact)
    other = tmp_path / "other"
    shutil.copytree(artifact, other / artifact.name)
    shutil.copy2(record_of(artifact), other)
    read.clear()
    verify_once(other / artifact.name)
    assert sorted(read) == sorted(NAMES)


def test_after_a_restart_of_the_machine_everything_is_read(
    artifact: Path, read: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A record counts until the machine starts anew: what a power failure has done to a file shows in its content only."""
    boot = tmp_path / "boot_id"
    monkeypatch.setattr(verified, "BOOT", boot)
    verify_once(artifact)
    assert not record_of(artifact).exists()  # where the machine has no such number, there is no record
    for number in ("one", "two"):
        boot.write_text(number)
        read.clear()
        verify_once(artifact)
        assert sorted(read) == sorted(NAMES)


def test_a_young_file_is_read_again(artifact: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A change within the same tick of the clock would not show, so a file that has just been written does not count."""
    monkeypatch.setattr(verified, "SETTLED_SECONDS", 3600.0)
    verify_once(artifact)
    read.clear()
    verify_once(artifact)
    assert sorted(read) == sorted(NAMES)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"boot": 1}', b'{"boot": "", "manifest": "", "files": 3}'])
def test_a_damaged_record_counts_for_nothing(artifact: Path, read: list[str], content: bytes) -> None:
    """Whatever stands in the record, the artifact is read then."""
    record_of(artifact).write_bytes(content)
    verify_once(artifact)
    assert sorted(read) == sorted(NAMES)


@pytest.mark.parametrize("name", ["added", "folder/added"])
def test_an_added_file_is_refused_in_spite_of_the_record(artifact: Path, name: str, read: list[str]) -> None:
    """A file that was not published is refused, whether the others are read or not."""
    verify_once(artifact)
    read.clear()
    (artifact / name).write_bytes(b"x")
    with pytest.raises(UserError, match="was not published"):
        verify_once(artifact)
    (artifact / name).unlink()
    (artifact / "a").unlink()
    with pytest.raises(UserError, match="missing"):
        verify_once(artifact)


def test_reading_again_finds_damage_and_drops_the_record(artifact: Path, read: list[str]) -> None:
    """The check in the background reads everything, whatever the record says."""
    verify_once(artifact)
    read.clear()
    verify_again(artifact, manifests.file_sha256)
    assert sorted(read) == sorted(NAMES)
    with pytest.raises(UserError, match="content differs"):
        verify_again(artifact, lambda _: "0" * 64)
    assert not record_of(artifact).exists()


def test_publishing_writes_the_record_and_pruning_removes_it(tmp_path: Path, read: list[str]) -> None:
    """What was published was read by the publisher; the record goes with its artifact."""
    store = Store("index", tmp_path)
    published = []
    for number in "12":
        draft = Manifest(kind="index", fingerprint=number * 64, inputs=[], config={}, versions={})
        staging = store.staging(draft.fingerprint)
        (staging / "file").write_text(number)
        with store.building():
            published.append(store.publish(staging, draft).id)
    store.verify_once(published[0])
    assert not read
    flip(store.path(published[1]) / "file")
    with pytest.raises(UserError, match="content differs"):
        store.verify_once(published[1])
    with store.building():
        assert store.prune(1, set()) == [published[0]]
    assert [path.name for path in store.root.glob(f"{PREFIX}*")] == [f"{PREFIX}{published[1]}"]
