"""Store: an artifact is published whole or not at all, wherever the process dies."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stories import STORIES, write_corpus

import indexer.artifacts.store
import indexer.build.assemble
import indexer.build.build
from indexer.artifacts.manifest import EncoderContract, Manifest
from indexer.artifacts.store import STEPS, Store
from indexer.artifacts.verified import PREFIX
from indexer.build.build import BuildResult, build
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.retrieval.retriever import Retriever

REPOSITORY = Path(__file__).parents[3]
SETTINGS = BuildSettings(language="en")
ENCODER = EncoderContract(
    dimension=2, max_tokens=8, pooling="mean", normalised=True, query_prompt="", document_prompt="", pad_token_id=0
)

KILLED_WHILE_PUBLISHING = """
import os, signal, sys
from pathlib import Path
import indexer.artifacts.store
from indexer.build.build import build
from indexer.build.settings import BuildSettings

def reached(step):
    if step == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

indexer.artifacts.store.reached = reached
build(sys.argv[2], BuildSettings(language="en"), Path(sys.argv[3]), cores=1)
"""

KILLED_WHILE_EMBEDDING = """
import os, signal, sys
from pathlib import Path
import indexer.build.assemble
import indexer.build.build
import indexer.build.shards.shard
from indexer.inference.encoder import Encoder
from indexer.build.settings import BuildSettings

encode, calls = Encoder.encode_documents, []

def encode_documents(self, texts):
    calls.append(len(texts))
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(self, texts)

Encoder.encode_documents = encode_documents
indexer.build.shards.shard.WINDOW = 2
indexer.build.assemble.WINDOWS_BEHIND = 0
indexer.build.build.build(sys.argv[1], BuildSettings(language="en"), Path(sys.argv[2]), cores=1)
"""

HOLDS_THE_LOCK = """
import sys
from pathlib import Path
from indexer.artifacts.store import Store

with Store("index", Path(sys.argv[1])).building():
    print("held", flush=True)
    sys.stdin.read()
"""


def run_python(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120, check=False)


def make_draft(fingerprint: str, kind: str = "index", parents: dict[str, str] | None = None) -> Manifest:
    """Return the manifest of an artifact that is about to be published."""
    return Manifest.model_validate(
        {
            "kind": kind, "fingerprint": fingerprint, "inputs": [], "config": {}, "encoder": ENCODER, "versions": {},
            "parents": parents or {},
        }
    )  # fmt: skip


def publish(store: Store, fingerprint: str, content: str = "content") -> str:
    """Publish an artifact of one small file and return its id."""
    with store.building():
        staging = store.staging(fingerprint)
        (staging / "part").mkdir()
        (staging / "part" / "file").write_text(content)
        return store.publish(staging, make_draft(fingerprint, store.kind)).id


def top(name: str) -> str:
    """Return the folder of a file in an artifact, or the file itself where it is in none."""
    return name.partition("/")[0]


def left_in(store: Store) -> set[str]:
    """Return what lies in a store, but for the records of verified files of the artifacts that are there."""
    return {path.name for path in store.root.iterdir()} - {f"{PREFIX}{artifact}" for artifact in store.ids()}


def list_hidden(store: Store) -> list[Path]:
    """Return the hidden directories of a store."""
    return [path for path in store.root.iterdir() if path.is_dir() and path.name.startswith(".")]


def search_ids(store: Store, artifact: str) -> list[str]:
    """Open an index, verified against its manifest, and return the ids that a query finds."""
    retriever = Retriever(Index.open(store.path(artifact), verify=True, cores=1))
    return [hit.document.id for hit in retriever.page(retriever.search("the cat in the garden"), 0, 10)]


def write_changed_corpus(path: Path) -> Path:
    """Write a second corpus: the stories, one of them with another text, and one more."""
    rows = [(key, title, text) for key, title, text in STORIES if key != "b"]
    rows += [("b", "The dog", "The old dog sleeps on the street."), ("g", "The ship", "A small ship on a blue sea.")]
    ids, titles, texts = (list(column) for column in zip(*rows, strict=True))
    pq.write_table(pa.table({"id": ids, "title": titles, "text": texts}), path)
    return path


@pytest.fixture(scope="module")
def first_build(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """Return a data directory with a live index of the six stories, to be copied."""
    folder = tmp_path_factory.mktemp("first-build")
    shutil.copytree(tiny_data, folder / "data")
    build(str(write_corpus(folder / "corpus.parquet")), SETTINGS, folder / "data", cores=1)
    return folder / "data"


@pytest.fixture
def live_data(tmp_path: Path, first_build: Path) -> Path:
    """Return a data directory of the test's own with a live index."""
    return Path(shutil.copytree(first_build, tmp_path / "live"))


# --- publish, activate, list, find, prune ---------------------------------------------------------------------------


def test_publish_makes_a_complete_live_artifact(tmp_path: Path) -> None:
    """A published artifact has an id of time and fingerprint, a manifest of its files, and is live."""
    store = Store("index", tmp_path)
    artifact = publish(store, "ab" * 32)
    assert indexer.artifacts.store.ID_PATTERN.fullmatch(artifact)
    assert artifact.endswith("-abababab")
    assert store.ids() == [artifact]
    assert store.current_id() == artifact
    assert (store.root / "CURRENT").read_text() == artifact + "\n"
    manifest = store.verify(artifact)
    assert list(manifest.files) == ["part/file"]
    assert manifest.files["part/file"].size == len("content")
    assert not list_hidden(store)


def test_two_artifacts_in_one_second_have_different_ids(tmp_path: Path) -> None:
    """The same fingerprint published twice within a second gives two artifacts, the later one with the later id."""
    store = Store("index", tmp_path)
    ids = [publish(store, "ab" * 32) for _ in range(3)]
    assert store.ids() == ids
    assert len(set(ids)) == 3
    assert store.current_id() == ids[-1]


def test_ids_are_in_the_order_of_publishing(tmp_path: Path) -> None:
    """«Oldest first» holds within a second too: rollback and pruning depend on which of two artifacts is the newer."""
    store = Store("index", tmp_path)
    published = [publish(store, digit * 64) for digit in "fedcba98"]
    assert store.ids() == published


def test_directories_without_a_manifest_do_not_exist(tmp_path: Path) -> None:
    """A directory that was not published, under whatever name, is not listed and cannot be activated."""
    store = Store("index", tmp_path)
    assert store.ids() == []
    artifact = publish(store, "ab" * 32)
    (store.root / "20260101T000000Z-00000000").mkdir()
    (store.root / "notes").mkdir()
    store.staging("cd" * 32)
    assert store.ids() == [artifact]
    for name in ("20260101T000000Z-00000000", "notes", "../models", ".building-cdcdcdcd", "", "CURRENT"):
        with pytest.raises(UserError, match="no index"):
            store.activate(name)
    assert store.current_id() == artifact


def test_reuse_by_fingerprint(tmp_path: Path) -> None:
    """`reuse` gives the newest artifact of exactly this fingerprint, not of one that begins alike."""
    store = Store("index", tmp_path)
    alike = "ab" * 31 + "cd"
    first, second, _ = publish(store, "ab" * 32), publish(store, "ab" * 32), publish(store, alike)
    found = store.reuse("ab" * 32)
    assert found
    assert found.id == second != first
    assert store.reuse("ab" * 31 + "00") is None


def test_resolve_without_artifacts_names_the_command(tmp_path: Path) -> None:
    """Where there is nothing yet, the error says which command makes it."""
    with pytest.raises(UserError, match="python -m indexer build"):
        Store("index", tmp_path).resolve()
    with pytest.raises(UserError, match="python -m trainer base"):
        Store("model", tmp_path).resolve()


@pytest.mark.parametrize("content", ["", "../models/20260101T000000Z-00000000", "nonsense\n"])
def test_damaged_current_is_refused(tmp_path: Path, content: str) -> None:
    """A CURRENT that holds no id is an error that names the file and the remedy, never a path that is followed."""
    store = Store("index", tmp_path)
    publish(store, "ab" * 32)
    (store.root / "CURRENT").write_text(content)
    with pytest.raises(UserError, match=r"CURRENT.*activate"):
        store.current_id()


def test_current_is_replaced_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that reads CURRENT while it changes sees the whole old id or the whole new one."""
    store = Store("index", tmp_path)
    ids = [publish(store, "ab" * 32), publish(store, "cd" * 32)]
    at_step: dict[str, str] = {}
    monkeypatch.setattr(
        indexer.artifacts.store, "reached", lambda step: at_step.setdefault(step, (store.root / "CURRENT").read_text())
    )
    store.activate(ids[0])
    assert at_step == {"current-written": ids[1] + "\n", "current-replaced": ids[0] + "\n"}

    seen: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add((store.root / "CURRENT").read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(200):
        store.activate(ids[turn % 2])
    done.set()
    reader.join()
    assert seen == {artifact + "\n" for artifact in ids}


def test_prune_keeps_the_newest_the_live_and_the_pinned(tmp_path: Path) -> None:
    """Pruning removes old artifacts and leftovers, and spares the newest, the live one and those that are needed."""
    store = Store("model", tmp_path)
    ids = [publish(store, f"{number:064x}") for number in range(1, 7)]
    store.activate(ids[1])
    (store.staging("ee" * 32) / "half").write_text("of a killed build")
    (store.root / f".removing-{ids[0]}x").mkdir()
    (store.root / ".CURRENT.123").write_text(ids[0])
    removed = store.prune(keep=2, pinned={ids[2]})
    assert store.ids() == [ids[1], ids[2], ids[4], ids[5]]
    assert set(removed) == {ids[0], ids[3], ".building-eeeeeeee", f".removing-{ids[0]}x", ".CURRENT.123"}
    assert store.current_id() == ids[1]
    assert left_in(store) == {"CURRENT", ".lock", ".lock-beside", *store.ids()}
    assert store.prune(keep=0, pinned=set()) == [ids[2], ids[4], ids[5]]
    assert store.ids() == [ids[1]]  # the live one stays even where none is kept
    assert store.prune(keep=0, pinned=set()) == []


def test_an_artifact_beside_a_build(tmp_path: Path) -> None:
    """While a build holds the lock, another artifact can be published that does not go live; two such ones cannot."""
    store = Store("model", tmp_path)
    live = publish(store, "1" * 64)
    with store.building():
        with store.building(beside=True):
            with pytest.raises(UserError, match=r"process \d+ is building here"), store.building(beside=True):
                pass
            with pytest.raises(UserError, match=r"process \d+ is building here"):
                store.prune(keep=9, pinned=set())
        assert store.prune(keep=9, pinned=set()) == []
    assert store.current_id() == live


def test_prune_of_an_empty_store(tmp_path: Path) -> None:
    """Pruning before anything was published has nothing to do."""
    assert Store("index", tmp_path).prune(3, set()) == []


def test_publish_refuses_links(tmp_path: Path) -> None:
    """An artifact holds its own files: a symbolic link in it is refused before anything is published."""
    store = Store("index", tmp_path)
    with store.building():
        staging = store.staging("ab" * 32)
        (staging / "link").symlink_to("/etc/hostname")
        with pytest.raises(UserError, match="no links"):
            store.publish(staging, make_draft("ab" * 32))
    assert store.ids() == []
    assert store.current_id() is None


def test_one_build_at_a_time(data: Path, corpus: Path) -> None:
    """While another process publishes, a build is refused; when that process is killed, its lock dies with it."""
    command = [sys.executable, "-c", HOLDS_THE_LOCK, str(data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"process {holder.pid} is building"):
            build(str(corpus), SETTINGS, data, cores=1)
        assert Store("index", data).ids() == []
        holder.kill()
        holder.wait(timeout=20)
    assert build(str(corpus), SETTINGS, data, cores=1).fresh


# --- published without going live -----------------------------------------------------------------------------------


def publish_quietly(store: Store, fingerprint: str) -> str:
    """Publish an artifact that does not go live and return its id."""
    with store.building():
        staging = store.staging(fingerprint)
        (staging / "file").write_text(fingerprint)
        return store.publish(staging, make_draft(fingerprint, store.kind), live=False).id


def test_published_without_going_live(tmp_path: Path) -> None:
    """An artifact can be published beside the live one: CURRENT is not even written again."""
    store = Store("model", tmp_path)
    live = publish(store, "ab" * 32)
    before = (store.root / "CURRENT").stat()
    beside = publish_quietly(store, "cd" * 32)
    after = (store.root / "CURRENT").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert store.current_id() == live
    assert store.ids() == [live, beside]
    assert list(store.verify(beside).files) == ["file"]
    with store.building():  # what finishes interrupted publishing leaves it alone
        assert store.current_id() == live


def test_the_first_artifact_may_stay_in_the_background(tmp_path: Path) -> None:
    """Also where nothing is live yet, nothing goes live; `resolve` says what to do."""
    store = Store("index", tmp_path)
    artifact = publish_quietly(store, "ab" * 32)
    assert store.current_id() is None
    with pytest.raises(UserError, match="there is no index yet"):
        store.resolve()
    found = store.reuse("ab" * 32)
    assert found and found.id == artifact == store.current_id()


def test_reuse_leaves_it_in_the_background(tmp_path: Path) -> None:
    """`reuse` without ``live`` returns it and leaves it in the background, however often."""
    store = Store("index", tmp_path)
    live, beside = publish(store, "ab" * 32), publish_quietly(store, "cd" * 32)
    for _ in range(2):
        found = store.reuse("cd" * 32, live=False)
        assert found and found.id == beside
        assert store.current_id() == live
    newer = publish(store, "ef" * 32)
    assert store.reuse("ab" * 32, live=False)
    assert store.current_id() == newer  # nor is an older one put live again


def test_it_goes_live_when_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first `reuse` with ``live`` makes it live, although an older one is live: there was no rollback."""
    store = Store("index", tmp_path)
    older, beside = publish(store, "ab" * 32), publish_quietly(store, "cd" * 32)
    store.reuse("cd" * 32)
    assert store.current_id() == beside
    assert capsys.readouterr().err == f"live: {beside}\n"
    # From then on it is an artifact as any other: after a rollback it stays in the background.
    store.activate(older)
    store.reuse("cd" * 32)
    assert store.current_id() == older
    assert "by choice" in capsys.readouterr().err


def test_one_that_was_activated_was_live(tmp_path: Path) -> None:
    """Activating it by hand counts as having been live: a rollback from it stays."""
    store = Store("model", tmp_path)
    older, beside = publish(store, "ab" * 32), publish_quietly(store, "cd" * 32)
    store.activate(beside)
    store.activate(older)
    store.reuse("cd" * 32)
    assert store.current_id() == older


def test_killed_while_going_live(tmp_path: Path) -> None:
    """Killed before CURRENT is replaced, an artifact that was never live goes live at the next `reuse`."""
    store = Store("index", tmp_path)
    older, beside = publish(store, "ab" * 32), publish_quietly(store, "cd" * 32)
    program = (
        "import os, signal, sys; from pathlib import Path; import indexer.artifacts.store\n"
        "def reached(step):\n    if step == 'current-written': os.kill(os.getpid(), signal.SIGKILL)\n"
        "indexer.artifacts.store.reached = reached\n"
        "indexer.artifacts.store.Store('index', Path(sys.argv[1])).reuse('cd' * 32)"
    )
    assert run_python(program, tmp_path).returncode == -signal.SIGKILL
    assert store.current_id() == older
    store.reuse("cd" * 32)
    assert store.current_id() == beside


def test_killed_while_publishing_quietly(tmp_path: Path) -> None:
    """Killed right after the rename, it exists, is not live, and goes live at the next `reuse`."""
    store = Store("index", tmp_path)
    older = publish(store, "ab" * 32)
    staging = store.staging("cd" * 32)
    (staging / "file").write_text("content")
    program = (
        "import os, signal, sys; from pathlib import Path; import indexer.artifacts.store\n"
        "from indexer.artifacts.manifest import Manifest\n"
        "def reached(step):\n    if step == 'renamed': os.kill(os.getpid(), signal.SIGKILL)\n"
        "indexer.artifacts.store.reached = reached\n"
        "store = indexer.artifacts.store.Store('index', Path(sys.argv[1]))\n"
        "with store.building():\n"
        "    store.publish(Path(sys.argv[2]), Manifest.model_validate_json(sys.argv[3]), live=False)"
    )
    assert run_python(program, tmp_path, staging, make_draft("cd" * 32).model_dump_json()).returncode == -signal.SIGKILL
    assert len(store.ids()) == 2
    with store.building():
        assert store.current_id() == older
    assert store.reuse("cd" * 32)
    assert store.current_id() == store.ids()[-1] != older


def test_prune_removes_the_marker_with_the_artifact(tmp_path: Path) -> None:
    """The marker of an artifact that was never live is removed with it, and so is the marker of a killed publishing."""
    store = Store("index", tmp_path)
    removed, kept = publish_quietly(store, "ab" * 32), publish_quietly(store, "cd" * 32)
    live = publish(store, "ef" * 32)
    (store.root / ".quiet-20260101T000000Z-00000000").write_text("of a publishing that was killed\n")
    assert set(store.prune(keep=2, pinned=set())) == {removed, ".quiet-20260101T000000Z-00000000"}
    assert left_in(store) == {
        "CURRENT",
        ".lock",
        ".lock-beside",
        kept,
        live,
        f".quiet-{kept}",
    }
    assert store.prune(keep=0, pinned=set()) == [kept]
    assert left_in(store) == {"CURRENT", ".lock", ".lock-beside", live}


# --- killed ---------------------------------------------------------------------------------------------------------


def kill_and_repeat(step: str, live_data: Path, corpus: Path) -> tuple[str, str, BuildResult]:
    """Kill a build at ``step``, look at what is left, build again; return the live ids before and after the kill."""
    store = Store("index", live_data)
    old = store.current_id()
    assert old
    done = run_python(KILLED_WHILE_PUBLISHING, step, corpus, live_data)
    assert done.returncode == -signal.SIGKILL, done.stderr
    live = store.current_id()
    assert live in store.ids()
    assert "a" in search_ids(store, live)
    assert len(list_hidden(store)) <= 1
    for artifact in store.ids():
        store.verify(artifact)
    return old, live, build(str(corpus), SETTINGS, live_data, cores=1)


@pytest.mark.parametrize("step", STEPS)
def test_killed_while_publishing(step: str, live_data: Path, tmp_path: Path) -> None:
    """Killed at any step of publishing: an intact index is live and answers, and the same build succeeds afterwards."""
    corpus = write_changed_corpus(tmp_path / "changed.parquet")
    old, live, again = kill_and_repeat(step, live_data, corpus)
    store = Store("index", live_data)
    assert (live == old) == (step != "current-replaced")
    assert again.fresh == (step in ("files", "synced", "manifest"))
    assert store.ids() == [old, again.manifest.id]
    assert "g" in search_ids(store, again.manifest.id)
    store.prune(keep=3, pinned=set())
    assert store.ids() == [old, again.manifest.id]
    assert left_in(store) == {"CURRENT", ".lock", ".lock-beside", *store.ids()}


@pytest.mark.parametrize("step", ["renamed", "current-written"])
def test_repeating_a_killed_build_makes_its_index_live(step: str, live_data: Path, tmp_path: Path) -> None:
    """Without a rollback, after a kill the same command brings the new corpus live, wherever the kill was."""
    corpus = write_changed_corpus(tmp_path / "changed.parquet")
    _, _, again = kill_and_repeat(step, live_data, corpus)
    assert Store("index", live_data).current_id() == again.manifest.id


def test_killed_first_build(data: Path, corpus: Path) -> None:
    """Killed between rename and CURRENT on the very first build: nothing is live, and the repeated build is."""
    assert run_python(KILLED_WHILE_PUBLISHING, "renamed", corpus, data).returncode == -signal.SIGKILL
    store = Store("index", data)
    assert store.current_id() is None
    again = build(str(corpus), SETTINGS, data, cores=1)
    assert not again.fresh
    assert store.current_id() == again.manifest.id


def test_killed_while_embedding(data: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that was killed between two parts resumes where it stopped and gives the same vectors as an undisturbed one."""
    undisturbed_data = Path(shutil.copytree(data, tmp_path / "undisturbed"))
    assert run_python(KILLED_WHILE_EMBEDDING, corpus, data).returncode == -signal.SIGKILL
    store = Store("index", data)
    assert store.current_id() is None
    assert store.ids() == []
    assert len(list_hidden(store)) == 1
    vectors = list_hidden(store)[0] / "shards" / "00000.vectors"
    assert vectors.stat().st_size > 0
    with vectors.open("ab") as file:
        file.write(b"half a row")  # the kill came in the middle of a write

    monkeypatch.setattr("indexer.build.shards.shard.WINDOW", 2)
    resumed = build(str(corpus), SETTINGS, data, cores=1).manifest
    undisturbed = build(str(corpus), SETTINGS, undisturbed_data, cores=1).manifest
    assert undisturbed.counts["reused"] == 0
    assert resumed.counts["reused"] > 0
    assert resumed.counts["embedded"] > 0
    assert resumed.counts["embedded"] + resumed.counts["reused"] == resumed.counts["passages"]
    assert resumed.counts["passages"] == undisturbed.counts["passages"]
    assert not list_hidden(store)
    assert set(map(top, resumed.files)) == set(map(top, undisturbed.files))

    rows = np.arange(resumed.counts["passages"])
    vectors = [
        Index.open(Store("index", place).path(made.id), cores=1).dense.vectors(rows)
        for place, made in ((data, resumed), (undisturbed_data, undisturbed))
    ]
    assert np.array_equal(*vectors)


def test_power_failure_in_a_shard_is_noticed(data: Path, corpus: Path) -> None:
    """Rows of zeros, which a file system may leave after a power failure, are encoded again and never published."""
    assert run_python(KILLED_WHILE_EMBEDDING, corpus, data).returncode == -signal.SIGKILL
    vectors = list_hidden(Store("index", data))[0] / "shards" / "00000.vectors"
    vectors.write_bytes(bytes(vectors.stat().st_size))
    resumed = build(str(corpus), SETTINGS, data, cores=1).manifest
    assert resumed.counts["reused"] == 0
    assert resumed.metrics["self_retrieval"] == 1


def test_killed_while_pruning(live_data: Path) -> None:
    """An artifact is hidden before its files are deleted, so that no half of it stays under its id."""
    store = Store("index", live_data)
    extra = publish(store, "ab" * 32)
    store.activate(store.ids()[0])
    program = (
        "import os, shutil, signal, sys; from pathlib import Path; from indexer.artifacts.store import Store\n"
        "shutil.rmtree = lambda path: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Store('index', Path(sys.argv[1])).prune(0, set())"
    )
    assert run_python(program, live_data).returncode == -signal.SIGKILL
    assert extra not in store.ids()
    assert [path.name for path in list_hidden(store)] == [f".removing-{extra}"]
    assert store.prune(3, set()) == [f".removing-{extra}"]
    assert not list_hidden(store)
