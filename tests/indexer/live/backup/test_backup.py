"""Backup and restore: one verified file, made while the directory is written to, and nothing is lost by a kill."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forked import forked

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.live.backup import create as creating
from indexer.live.backup import restore as restoring
from indexer.live.backup.archive import opened
from indexer.live.backup.create import backup
from indexer.live.backup.restore import restore
from indexer.live.log import WriteLog

KEYS = '{"keys": []}\n'


def publish(data: Path, *texts: str) -> str:
    """Build an index of some texts and return its id."""
    corpus = data / "corpus.parquet"
    pq.write_table(pa.table({"id": [str(number) for number in range(len(texts))], "text": list(texts)}), corpus)
    return build(str(corpus), BuildSettings(language="en"), data).manifest.id


def write(data: Path, name: str) -> None:
    """Append a deletion to the log of live writes."""
    log = WriteLog(data)
    with log.locked():
        log.read()
        log.append(log.draft(deleted=[name]))


def writes(data: Path) -> list[str]:
    """The ids in the log of live writes."""
    log = WriteLog(data)
    with log.shared():
        return [name for each in log.read() for name in each.deleted]


@pytest.fixture
def served(data):
    """A data directory with two indexes, live writes, feedback and keys."""
    publish(data, "The cat sits.", "The dog runs.")
    publish(data, "The king eats bread.")
    write(data, "gone")
    (data / "live" / "feedback.jsonl").write_text('{"query": "cat"}\n{"unfinished', encoding="utf-8")
    (data / "keys.json").write_text(KEYS, encoding="utf-8")
    (data / "keys.json").chmod(0o600)
    return data


def contents(data: Path) -> dict[str, bytes]:
    """All files that a restored directory has, but for locks and what is known of this machine."""
    paths = [path for path in data.rglob("*") if path.is_file()]
    ignored = (".lock", ".verified-", ".spool")
    return {
        path.relative_to(data).as_posix(): path.read_bytes()
        for path in paths
        if not path.name.startswith(ignored) and path.name != "corpus.parquet"
    }


@pytest.mark.parametrize("name", ["backup.tar", "backup.tar.zst"])
def test_a_restored_directory_is_the_same(served, tmp_path, name):
    """All artifacts, what is live, live writes, feedback up to its last whole line, and keys; the index opens."""
    file, target = tmp_path / name, tmp_path / "other"
    done = backup(file, data=served)
    assert (done.artifacts, done.writes) == (3, 1)
    assert restore(file, data=target) == done
    expected = contents(served)
    expected["live/feedback.jsonl"] = b'{"query": "cat"}\n'
    assert contents(target) == expected
    assert (target / "keys.json").stat().st_mode & 0o777 == 0o600
    Index.open(Store("index", target).resolve())
    assert writes(target) == ["gone"]
    assert restore(file, data=target) == done  # nothing to do
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_only_what_is_live(served, tmp_path):
    """`--live` leaves out earlier indexes; the model that the live one needs is there."""
    done = backup(tmp_path / "b.tar", live_only=True, data=served)
    restore(tmp_path / "b.tar", data=tmp_path / "other")
    assert done.artifacts == 2
    assert Store("index", tmp_path / "other").ids() == [Store("index", served).current_id()]
    Index.open(Store("index", tmp_path / "other").resolve())


def test_writes_and_builds_meanwhile(served, tmp_path, monkeypatch):
    """Writes, folding and a new index during a backup do not disturb it; it has what was there when it began."""
    expected = contents(served)
    expected["live/feedback.jsonl"] = b'{"query": "cat"}\n'

    def meanwhile(step):
        if step == "artifact-written":
            write(served, f"later-{len(writes(served))}")
            log = WriteLog(served)
            with log.locked():
                log.read()
                log.close()
            log.fold(log.sequence)
            publish(served, "A storm at sea.", f"{len(Store('index', served).ids())}")

    monkeypatch.setattr(creating, "reached", meanwhile)
    backup(tmp_path / "b.tar", data=served)
    assert len(Store("index", served).ids()) == 5
    restore(tmp_path / "b.tar", data=tmp_path / "other")
    assert contents(tmp_path / "other") == expected


def test_nothing_is_pruned_meanwhile(served, tmp_path, monkeypatch):
    """While a backup is read, `prune` is refused, and says why."""
    refused = []

    def meanwhile(step):
        if step == "artifact-written":
            with pytest.raises(UserError, match="wait until it has ended") as error, Store("index", served).building():
                Store("index", served).prune(0, set())
            refused.append(error)

    monkeypatch.setattr(creating, "reached", meanwhile)
    backup(tmp_path / "b.tar", data=served)
    assert len(refused) == 3


@pytest.mark.parametrize("step", creating.STEPS)
def test_a_killed_backup_leaves_no_file(served, tmp_path, monkeypatch, step):
    """Killed anywhere, there is no file of that name, and the next backup works."""
    file = tmp_path / "b.tar"
    monkeypatch.setattr(creating, "reached", lambda here: os._exit(9) if here == step else None)
    os.waitpid(forked(lambda: backup(file, data=served), tmp_path / "said"), 0)
    assert not file.exists()
    monkeypatch.undo()
    backup(file, data=served)
    assert restore(file, data=tmp_path / "other").artifacts == 3


@pytest.mark.parametrize("overwritten", [False, True])
@pytest.mark.parametrize("step", restoring.STEPS)
def test_a_killed_restore_goes_on(served, tmp_path, tiny_data, monkeypatch, step, overwritten):
    """Killed anywhere, also over another directory, the same command ends with what the backup has."""
    file, target = tmp_path / "b.tar", tmp_path / "other"
    backup(file, data=served)
    restore(file, data=tmp_path / "expected")
    if overwritten:
        shutil.copytree(tiny_data, target)
        publish(target, "Something else.")
        write(target, "other")
    monkeypatch.setattr(restoring, "reached", lambda here: os._exit(9) if here == step else None)
    call = lambda: restore(file, overwrite=overwritten, data=target)  # noqa: E731
    _, status = os.waitpid(forked(call, tmp_path / "said"), 0)
    assert os.waitstatus_to_exitcode(status) == 9
    monkeypatch.undo()
    if step in ("artifact-restored", "read"):  # nothing of it is live yet
        assert writes(target) == (["other"] if overwritten else [])
    call()
    expected = contents(tmp_path / "expected")
    assert expected.items() <= contents(target).items()
    assert writes(target) == ["gone"]
    assert not list(target.rglob(".restoring*"))


def test_what_is_there_is_not_overwritten(served, tmp_path, tiny_data):
    """Another live index, live writes or keys are refused and stay; `overwrite` replaces them."""
    backup(tmp_path / "b.tar", data=served)
    target = tmp_path / "other"
    shutil.copytree(tiny_data, target)
    own = publish(target, "Something else.")
    with pytest.raises(UserError, match=f"{own} is live here"):
        restore(tmp_path / "b.tar", data=target)
    Store("index", target).root.joinpath("CURRENT").unlink()
    write(target, "mine")
    (target / "keys.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="other keys"):
        restore(tmp_path / "b.tar", data=target)
    assert (target / "keys.json").read_text(encoding="utf-8") == "{}"
    (target / "keys.json").unlink()
    with pytest.raises(UserError, match="other live writes"):
        restore(tmp_path / "b.tar", data=target)
    assert writes(target) == ["mine"]
    assert not (target / "keys.json").exists()
    assert not list(target.rglob(".restoring*"))
    assert Store("index", target).current_id() is None
    restore(tmp_path / "b.tar", overwrite=True, data=target)
    assert writes(target) == ["gone"]
    assert Store("index", target).current_id() == Store("index", served).current_id()
    assert own in Store("index", target).ids()
    with pytest.raises(UserError, match="exists already"):
        backup(tmp_path / "b.tar", data=served)


def test_a_damaged_artifact_is_not_backed_up(served, tmp_path):
    """A flipped byte is found while it is copied, and no file is left."""
    path = Store("index", served).resolve() / "vectors.faiss"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"vectors\.faiss: content differs"):
        backup(tmp_path / "b.tar", data=served)
    assert not (tmp_path / "b.tar").exists()


@pytest.mark.parametrize("name", ["b.tar", "b.tar.zst"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_file_that_is_cut_off(served, tmp_path, name, share):
    """Wherever a file ends too early, the restore is refused, and nothing becomes live."""
    file = tmp_path / name
    backup(file, data=served)
    whole = file.read_bytes()
    end = len(whole.rstrip(b"\0")) if name.endswith(".tar") else len(whole)
    file.write_bytes(whole[: int(end * share)])
    with pytest.raises(UserError, match=r"damaged or cut off|is no backup"):
        restore(file, data=tmp_path / "other")
    assert Store("index", tmp_path / "other").current_id() is None
    assert writes(tmp_path / "other") == []


@pytest.mark.parametrize("flip", [0.05, 0.3, 0.6, 0.9])
def test_a_flipped_byte(served, tmp_path, flip):
    """A changed byte anywhere in what is stored is found."""
    file = tmp_path / "b.tar"
    backup(file, data=served)
    content = bytearray(file.read_bytes())
    place = next(at for at in range(int(len(content) * flip), len(content)) if content[at])
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError):
        restore(file, data=tmp_path / "other")
    assert Store("index", tmp_path / "other").current_id() is None


@pytest.mark.parametrize("evil", ["../evil", "/evil", "live/../evil", "indexes/../evil", "live/..", "other.txt"])
def test_names_that_lead_elsewhere(served, tmp_path, evil):
    """A member whose name leads out of the directory, or to nothing that a backup has, is refused."""
    backup(tmp_path / "b.tar", data=served)
    with opened(tmp_path / "b.tar", "b.tar", "r") as old, opened(tmp_path / "evil.tar", "b.tar", "w") as new:
        for member in old:
            new.addfile(member, old.extractfile(member))
            if member.name == "backup.json":
                bad = tarfile.TarInfo(evil)
                bad.size = 4
                new.addfile(bad, io.BytesIO(b"evil"))
    with pytest.raises(UserError):
        restore(tmp_path / "evil.tar", data=tmp_path / "deep" / "other")
    assert not [path for path in tmp_path.rglob("*evil*") if path.name != "evil.tar"]
