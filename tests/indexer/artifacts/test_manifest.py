"""Manifest: one altered byte anywhere in an artifact is noticed, and the error names the file."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from indexer.artifacts.manifest import (
    EncoderContract,
    FileEntry,
    InputEntry,
    Manifest,
    fingerprint,
    read_manifest,
    verify_files,
    write_manifest,
)
from indexer.artifacts.store import Store
from indexer.cli import app
from indexer.errors import UserError, run
from indexer.index.index import Index

REPOSITORY = Path(__file__).parents[3]
Verify = Callable[[], tuple[int, str]]


@pytest.fixture
def altered_data(tmp_path: Path, built_data: Path) -> Path:
    """Return a copy of the data directory with a live index, to be damaged."""
    return Path(shutil.copytree(built_data, tmp_path / "data"))


@pytest.fixture
def verify(altered_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verify:
    """Return a function that runs `python -m indexer verify` and gives the exit status and the lines on stderr."""
    monkeypatch.setenv("DOWSE_DATA", str(altered_data))

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["indexer", "verify", *arguments])
        with pytest.raises(SystemExit) as ended:
            run(app)
        return int(ended.value.code or 0), capsys.readouterr().err

    return call


def find_live(data: Path, kind: str = "index") -> Path:
    """Return the directory of the live artifact."""
    return Store(kind, data).resolve()


def flip(path: Path, position: int, mask: int) -> bytes:
    """Change one byte of a file and return the content before."""
    before = path.read_bytes()
    content = bytearray(before)
    content[position] ^= mask
    path.write_bytes(content)
    return before


def make_manifest(**fields: object) -> Manifest:
    """Return a manifest with every field filled."""
    values = {
        "kind": "index", "id": "20261120T101500Z-1f2e3d4c", "created": "2026-11-20T10:15:00+00:00",
        "fingerprint": "1f2e3d4c" * 8, "parents": {"model": "20261120T101400Z-00000000"},
        "inputs": [InputEntry(name="cörpus.parquet", size=3, sha256="22" * 32)],
        "config": {"language": "en", "limit": None, "fusion": {"method": "rrf", "dense_weight": 0.3}},
        "encoder": EncoderContract(
            dimension=2, max_tokens=8, pooling="cls", normalised=True, query_prompt="q: ", document_prompt="d: ",
            pad_token_id=1,
        ),
        "counts": {"documents": 3}, "metrics": {"seconds": 0.1}, "notes": ["«ids»"], "versions": {"dowse": "0"},
        "files": {"a/b": FileEntry(size=1, sha256="11" * 32)},
    }  # fmt: skip
    return Manifest.model_validate(values | fields)


# --- altered artifacts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["index", "model"])
def test_a_flipped_byte_in_any_file_is_refused(kind: str, altered_data: Path, verify: Verify) -> None:
    """One flipped byte, in whichever file and place: verify names the file, and the index does not open."""
    artifact, index = find_live(altered_data, kind), find_live(altered_data)
    files = [path for path in artifact.rglob("*") if path.is_file()]
    assert artifact / "manifest.json" in files
    assert len(files) > 8
    assert verify()[0] == 0
    for path in files:
        size = path.stat().st_size
        for position, mask in [(0, 0xFF), (size // 3, 0x01), (size // 2, 0x80), (size - 1, 0x20)]:
            before = flip(path, position, mask)
            with pytest.raises(UserError, match=path.name):
                verify_files(artifact)
            path.write_bytes(before)
        before = flip(path, size // 2, 0x04)
        with pytest.raises(UserError, match=path.name):
            Index.open(index, verify=True)
        status, message = verify()
        assert status == 2, path
        assert message.count("\n") == 1
        assert message.startswith("error: ")
        assert str(path) in message
        path.write_bytes(before)
    verify_files(artifact)


def test_every_byte_of_the_manifest_counts(altered_data: Path) -> None:
    """Wherever in the manifest a byte is altered, its checksum included, it is refused."""
    artifact = find_live(altered_data)
    path = artifact / "manifest.json"
    for position in range(0, path.stat().st_size, 23):
        before = flip(path, position, 0x01)
        with pytest.raises(UserError, match=r"manifest\.json"):
            read_manifest(artifact)
        path.write_bytes(before)
    read_manifest(artifact)


def test_an_altered_line_end_in_the_manifest_is_refused(altered_data: Path) -> None:
    """A line feed that became a carriage return is an altered byte like any other."""
    artifact = find_live(altered_data)
    path = artifact / "manifest.json"
    flip(path, path.read_bytes().index(b"\n"), 0x0A ^ 0x0D)
    with pytest.raises(UserError, match=r"manifest\.json"):
        read_manifest(artifact)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b"null", b'{"format": 1}', b"\xff\xfe", b"\x00" * 100])
def test_a_file_that_is_no_manifest_is_refused(altered_data: Path, content: bytes) -> None:
    """Whatever stands in manifest.json, the answer is one error that names it."""
    (find_live(altered_data) / "manifest.json").write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.json"):
        read_manifest(find_live(altered_data))


def test_cut_and_grown_files_are_refused(altered_data: Path) -> None:
    """A file that is shorter or longer than published is refused with both sizes."""
    artifact = find_live(altered_data)
    path = artifact / "vectors.faiss"
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"\0", b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"vectors\.faiss: {len(content)} bytes .* {len(whole)};"):
            verify_files(artifact)


def test_a_missing_file_is_refused(altered_data: Path, verify: Verify) -> None:
    """Each file of an index and of its model is needed: without it verify and opening name it."""
    for kind in ("index", "model"):
        artifact = find_live(altered_data, kind)
        for name in read_manifest(artifact).files:
            (artifact / name).rename(altered_data / "away")
            with pytest.raises(UserError, match="missing"):
                Index.open(find_live(altered_data), verify=True)
            status, message = verify()
            assert (status, message.count("\n")) == (2, 1)
            assert str(artifact / name) in message
            (altered_data / "away").rename(artifact / name)


def test_an_index_without_manifest_is_refused(altered_data: Path, verify: Verify) -> None:
    """A directory without its manifest does not exist: verify of its id and opening it are refused."""
    artifact = find_live(altered_data)
    (artifact / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"manifest\.json"):
        Index.open(artifact)
    status, message = verify(artifact.name)
    assert status == 2
    assert artifact.name in message


def test_verify_notices_that_the_live_index_is_gone(altered_data: Path, verify: Verify) -> None:
    """`verify` without an id does not say that all is well while CURRENT names an index that is not there."""
    artifact = find_live(altered_data)
    (artifact / "manifest.json").unlink()
    status, message = verify()
    assert status == 2, "exit 0 although the live index cannot be opened"
    assert artifact.name in message


def test_an_index_whose_model_is_gone_is_refused(altered_data: Path, verify: Verify) -> None:
    """An index pins its model; without it the index neither verifies nor opens, and the error names the model."""
    model = find_live(altered_data, "model")
    index = find_live(altered_data)
    shutil.rmtree(model)
    with pytest.raises(UserError, match=model.name):
        Index.open(index)
    status, message = verify(index.name)
    assert status == 2
    assert model.name in message


@pytest.mark.parametrize("name", ["extra.json", "lexical/extra.json"])
def test_an_added_file_is_refused(altered_data: Path, verify: Verify, name: str) -> None:
    """A file that was not published does not belong into an artifact."""
    artifact = find_live(altered_data)
    (artifact / name).write_text("{}")
    status, message = verify()
    assert status == 2, "an added file passes"
    assert name in message
    with pytest.raises(UserError, match=name):
        Index.open(artifact)


def test_an_added_link_is_refused(altered_data: Path, verify: Verify) -> None:
    """A symbolic link that was added to an artifact is refused: it may lead anywhere."""
    artifact = find_live(altered_data)
    (artifact / "lexical" / "link").symlink_to("/etc")
    status, message = verify()
    assert status == 2, "an added link passes"
    assert "link" in message


def test_a_file_replaced_by_a_link_is_refused(altered_data: Path) -> None:
    """A file whose place a link has taken is refused, even where what it leads to has the right content."""
    artifact = find_live(altered_data)
    (artifact / "ids.arrow").rename(altered_data / "ids.arrow")
    (artifact / "ids.arrow").symlink_to(altered_data / "ids.arrow")
    with pytest.raises(UserError, match=r"ids\.arrow"):
        verify_files(artifact)


@pytest.mark.parametrize("number", [0, 2, 99, None, "1"])
def test_another_format_is_refused(tmp_path: Path, number: object) -> None:
    """A manifest of another format, though intact, is refused with both numbers."""
    write_manifest(tmp_path, make_manifest())
    text = json.loads((tmp_path / "manifest.json").read_text())
    text |= {"format": number, "checksum": "0" * 64}
    blank = json.dumps(text)
    checksum = hashlib.sha256(blank.encode()).hexdigest()
    (tmp_path / "manifest.json").write_text(blank.replace("0" * 64, checksum))
    with pytest.raises(UserError, match=f"format {number}, this Dowse reads format 1"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["../outside", "part/../../outside", "{absolute}"])
def test_a_path_that_leaves_the_artifact_is_refused(tmp_path: Path, name: str) -> None:
    """A manifest cannot point to a file outside its own directory, though size and checksum are right."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"x")
    artifact = tmp_path / "artifact"
    (artifact / "part").mkdir(parents=True)
    entry = FileEntry(size=1, sha256=hashlib.sha256(b"x").hexdigest())
    write_manifest(artifact, make_manifest(files={name.format(absolute=outside): entry}))
    with pytest.raises(UserError, match="outside the artifact"):
        verify_files(artifact)


def test_verify_as_a_program(altered_data: Path) -> None:
    """`python -m indexer verify` ends with status 0 on a sound artifact, and with 2 and one line on an altered one."""

    def program() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "indexer", "verify"],
            capture_output=True, text=True, cwd=REPOSITORY, env={**os.environ, "DOWSE_DATA": str(altered_data)},
            timeout=60, check=False,
        )  # fmt: skip

    artifact = find_live(altered_data)
    sound = program()
    assert (sound.returncode, sound.stderr) == (0, "")
    assert artifact.name in sound.stdout
    (shard,) = (artifact / "documents").iterdir()
    flip(shard, 100, 0x10)
    altered = program()
    assert (altered.returncode, altered.stdout) == (2, "")
    assert altered.stderr.startswith(f"error: {shard}: ")
    assert altered.stderr.count("\n") == 1


# --- the manifest itself --------------------------------------------------------------------------------------------


def test_round_trip(tmp_path: Path) -> None:
    """What is written is what is read, and the checksum is the one of the text."""
    manifest = make_manifest()
    write_manifest(tmp_path, manifest)
    read = read_manifest(tmp_path)
    assert read.model_dump(exclude={"checksum"}) == manifest.model_dump(exclude={"checksum"})
    assert read.checksum != manifest.checksum
    text = (tmp_path / "manifest.json").read_text(encoding="utf-8")
    assert "cörpus.parquet" in text  # for people to read
    assert hashlib.sha256(text.replace(read.checksum, "0" * 64).encode()).hexdigest() == read.checksum


def test_fingerprint_covers_what_decides_the_content() -> None:
    """Kind, model, input bytes and configuration change the fingerprint; the order of keys does not."""
    entry = InputEntry(name="corpus.parquet", size=3, sha256="00" * 32)

    def of(
        kind: str = "index", model: str = "a", inputs: tuple[InputEntry, ...] = (entry,), config: object = None
    ) -> str:
        return fingerprint(kind, {"model": model}, list(inputs), config or {"limit": None, "fusion": "convex"})

    base = of()
    assert len(base) == 64
    assert of() == base
    assert of(config={"fusion": "convex", "limit": None}) == base
    others = [
        of(kind="model"),
        of(model="b"),
        of(inputs=(entry.model_copy(update={"sha256": "11" * 32}),)),
        of(inputs=(entry.model_copy(update={"size": 4}),)),
        of(inputs=(entry, entry)),
        of(config={"limit": 5, "fusion": "convex"}),
        of(config={"limit": None, "fusion": "rrf"}),
    ]
    assert len({base, *others}) == 1 + len(others)


def test_fingerprint_ignores_the_file_name() -> None:
    """The same bytes under another name are the same input."""
    prints = {
        fingerprint("index", {}, [InputEntry(name=name, size=3, sha256="00" * 32)], {}) for name in ("a.csv", "b.csv")
    }
    assert len(prints) == 1


def test_an_error_of_the_machine_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too many files open nothing is known of a manifest: the error stays one that may pass; a missing file is none."""
    with pytest.raises(UserError, match="no such file"):
        read_manifest(tmp_path / "absent")
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")

    def exhausted(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr(Path, "read_bytes", exhausted)
    with pytest.raises(OSError, match="Too many open files"):
        read_manifest(tmp_path)
