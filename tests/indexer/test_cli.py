"""Commands of `python -m indexer`: their arguments, output and errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import pytest
import typer
from small_disk import Disk
from stories import STORIES

from indexer.artifacts.manifest import Manifest
from indexer.artifacts.store import Store
from indexer.cli import app
from indexer.errors import UserError, run

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Result:
    """Exit status, standard output and standard error."""

    status: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def cli(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the program as `__main__` does, but in this process."""
    monkeypatch.setenv("DOWSE_DATA", str(data))

    def call(*arguments: str | Path) -> Result:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["indexer", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run(app)
        out, err = capsys.readouterr()
        return Result(int(ended.value.code or 0), out, err)

    return call


def ok(result: Result) -> str:
    """Assert that a command succeeded and return its output without the last line end."""
    assert result.status == 0, result.err
    return result.out.rstrip("\n")


def failed(result: Result) -> str:
    """Assert that a command was refused with one line on stderr and return it."""
    assert result.status == 2, result.out + result.err
    lines = [line for line in result.err.splitlines() if not line.startswith(("check: ", "language: "))]  # progress
    assert len(lines) == 1, result.err
    assert lines[0].startswith("error: ")
    assert result.out == ""
    return lines[0]


def live_manifest(data: Path) -> Manifest:
    """Return the manifest of the live index."""
    store = Store("index", data)
    return store.manifest(store.resolve().name)


def write_stories(path: Path, count: int = 6, last: str = "") -> Path:
    """Write some of the stories as JSON lines."""
    rows = [{"id": key, "title": title, "text": text} for key, title, text in STORIES[:count]]
    rows[-1]["text"] += last
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_end_to_end_as_a_program(data: Path, corpus: Path) -> None:
    """Build and search, each as a process: results on stdout, progress and errors on stderr."""

    def program(*arguments: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "indexer", *arguments],
            capture_output=True, text=True, cwd=REPOSITORY, env={**os.environ, "DOWSE_DATA": str(data)},
            timeout=120, check=False,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    built = program("build", str(corpus))
    artifact = ok(built)
    assert artifact == Store("index", data).current_id()
    assert "6 documents" in built.err
    assert "language: en" in built.err
    hits = [
        json.loads(line) for line in ok(program("search", "queen of the castle", "--json", "--top-k", "2")).splitlines()
    ]
    assert [hit["rank"] for hit in hits] == [1, 2]
    assert hits[0]["id"] == "d"
    assert hits[0]["text"].startswith("The king and the queen")
    assert hits[0]["score"] >= hits[1]["score"]
    missing = program("build", "no-such-corpus.parquet")
    assert "no-such-corpus.parquet" in failed(missing)


def test_build_with_all_settings(cli: Command, data: Path, corpus: Path) -> None:
    """Every flag of a build reaches the manifest."""
    flags = "--language es --fusion rrf --dense-weight 0.3 --precision int8 --limit 4 --title-column none --candidates 50 --overlap-tokens 5 --passages one"
    ok(cli("build", corpus, *flags.split()))
    config = live_manifest(data).config
    assert config["fusion"] == {"method": "rrf", "dense_weight": 0.3, "by_query": False}
    expected = {
        "language": "es", "precision": "int8", "limit": 4, "title_column": "none", "candidates": 50,
        "overlap_tokens": 5, "passages": "one", "dense": "flat", "skip_bad_rows": False,
    }  # fmt: skip
    assert {name: config[name] for name in expected} == expected
    assert live_manifest(data).counts["documents"] == 4


def test_build_twice_and_by_force(cli: Command, data: Path, corpus: Path) -> None:
    """The second run says «up to date», prints the same id and builds nothing; --force builds."""
    first = cli("build", corpus)
    again = cli("build", corpus)
    assert ok(again) == ok(first)
    assert again.err.splitlines()[-1] == "up to date"
    forced = cli("build", corpus, "--force")
    assert ok(forced) != ok(first)
    assert "up to date" not in forced.err
    assert Store("index", data).ids() == [ok(first), ok(forced)]


def test_only_the_changed_row_is_embedded(cli: Command, data: Path, tmp_path: Path) -> None:
    """A build after one row has changed embeds that row alone."""
    ok(cli("build", write_stories(tmp_path / "corpus.jsonl", last=" It sleeps.")))
    ok(cli("build", write_stories(tmp_path / "corpus.jsonl", last=" It swims.")))
    counts = live_manifest(data).counts
    assert counts["embedded"] == 1
    assert counts["reused"] == counts["passages"] - 1 > 0


def test_bad_rows(cli: Command, data: Path, tmp_path: Path) -> None:
    """A bad row is refused by file and row; with --skip-bad-rows it is listed inside the artifact."""
    corpus = write_stories(tmp_path / "corpus.jsonl")
    corpus.write_text(corpus.read_text() + '{"id": "a", "text": "again"}\n')
    message = failed(cli("build", corpus))
    assert "corpus.jsonl row 7" in message
    assert "--skip-bad-rows" in message
    assert Store("index", data).ids() == []
    artifact = ok(cli("build", corpus, "--skip-bad-rows"))
    [reject] = (Store("index", data).path(artifact) / "rejects.jsonl").read_text().splitlines()
    assert json.loads(reject)["row"] == 7


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--limit", "0"),
        ("--limit", "many"),
        ("--precision", "fp64"),
        ("--fusion", "borda"),
        ("--dense", "quantum"),
        ("--recall", "1.5"),
        ("--recall", "0"),
        ("--passages", "two"),
        ("--dense-weight", "1.5"),
        ("--dense-weight", "-1"),
        ("--overlap-tokens", "-1"),
        ("--candidates", "0"),
        ("--language", "klingon"),
        ("--text-column", "nothing"),
        ("--id-column", "nothing"),
        ("--title-column", "nothing"),
    ],
)
def test_a_wrong_value_names_its_flag(cli: Command, data: Path, corpus: Path, flag: str, value: str) -> None:
    """A wrong value is refused with status 2 and one line that names the flag; nothing is published."""
    message = failed(cli("build", corpus, flag, value))
    assert flag in message
    assert Store("index", data).ids() == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["build"], "argument"),
        (["build", "corpus", "--no-such-flag"], "--no-such-flag"),
        (["search", "cat", "--top-k", "0"], "--top-k"),
        (["nonsense"], "nonsense"),
        (["prune", "--keep", "-1"], "--keep"),
    ],
)
def test_wrong_usage(cli: Command, arguments: list[str], named: str) -> None:
    """A missing argument, an unknown flag or an unknown command is named on stderr and ends with status 2."""
    result = cli(*arguments)
    assert (result.status, result.out) == (2, "")
    assert named in result.err


def test_search(cli: Command, corpus: Path) -> None:
    """Search prints rank, score, title or id, and the passage; in any mode, of any index."""
    first = ok(cli("build", corpus))
    ok(cli("build", corpus, "--limit", "2"))
    assert "The dog" in ok(cli("search", "dog")).splitlines()[0]
    assert ok(cli("search", "queen", "--mode", "lexical")) == ""
    lines = ok(cli("search", "queen", "--mode", "lexical", "--index", first)).splitlines()
    assert lines[0].split()[0] == "1"
    assert lines[0].split()[-1] == "d"  # no title: the id
    assert lines[1].strip().startswith("The king and the queen")
    assert len(ok(cli("search", "dog", "--mode", "dense", "--json", "--index", first)).splitlines()) == 6
    assert "no index 'nonsense'" in failed(cli("search", "dog", "--index", "nonsense"))


def test_search_without_an_index(cli: Command) -> None:
    """Before anything was built, search says what to run."""
    assert "python -m indexer build" in failed(cli("search", "dog"))


def test_activate_is_a_rollback(cli: Command, data: Path, tmp_path: Path) -> None:
    """Activating an earlier index makes it live; a repeated build leaves it so and says it."""
    old, new = write_stories(tmp_path / "old.jsonl", 5), write_stories(tmp_path / "new.jsonl", 6)
    first, second = ok(cli("build", old)), ok(cli("build", new))
    assert ok(cli("activate", first)) == f"live: {first}"
    assert Store("index", data).current_id() == first
    assert ok(cli("search", "horse", "--mode", "lexical")) == ""
    again = cli("build", new)
    assert ok(again) == second
    assert Store("index", data).current_id() == first
    assert f"live is the older {first}" in again.err
    assert f"python -m indexer activate {second}" in again.err
    ok(cli("activate", second))
    again = cli("build", old)  # an earlier corpus on purpose
    assert ok(again) == first
    assert f"live again: {first}" in again.err
    assert Store("index", data).current_id() == first


def test_activate_refuses_what_is_altered_or_absent(cli: Command, data: Path, tmp_path: Path) -> None:
    """Only an intact index with an intact model can be made live."""
    first, second = (ok(cli("build", write_stories(tmp_path / f"{count}.jsonl", count))) for count in (5, 6))
    store = Store("index", data)
    path = store.path(first) / "passages.arrow"
    path.write_bytes(path.read_bytes() + b"\0")
    assert "passages.arrow" in failed(cli("activate", first))
    assert "nonsense" in failed(cli("activate", "nonsense"))
    assert store.current_id() == second
    model = Store("model", data).resolve() / "tokenizer.json"
    model.write_bytes(model.read_bytes() + b" ")
    assert "tokenizer.json" in failed(cli("activate", second))


def test_list_marks_the_live_one(cli: Command, data: Path, tmp_path: Path) -> None:
    """The list has a line for each artifact, oldest first, with a star at the live one."""
    assert ok(cli("list")) == ""
    first, second = (ok(cli("build", write_stories(tmp_path / f"{count}.jsonl", count))) for count in (5, 6))
    ok(cli("activate", first))
    lines = ok(cli("list")).splitlines()
    assert lines[0].startswith(f"* {first} ")
    assert lines[1].startswith(f"  {second} ")
    model = Store("model", data).current_id()
    assert all("documents" in line and f"model={model}" in line for line in lines)
    assert ok(cli("list", "--kind", "model")).startswith(f"* {model} ")


def test_prune_keeps_what_is_live_or_needed(
    cli: Command, data: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pruning removes old indexes and leftovers, and keeps the live index and every model that an index pins."""
    from trainer.models.base import publish_base
    from trainer.models.settings import BaseSettings

    monkeypatch.chdir(tmp_path)
    first, second, third = (ok(cli("build", write_stories(tmp_path / f"{count}.jsonl", count))) for count in (3, 4, 5))
    settings = BaseSettings(corpus=str(tmp_path / "5.jsonl"), force=True)
    pinned = live_manifest(data).parents["model"]
    unused, newest = (publish_base(str(tiny_model), settings, data).manifest.id for _ in range(2))
    ok(cli("activate", first))
    (data / "indexes" / ".building-00000000").mkdir()
    removed = ok(cli("prune", "--keep", "1"))
    assert set(removed.splitlines()) == {f"removed {name}" for name in (second, ".building-00000000", unused)}
    assert Store("index", data).ids() == [first, third]
    assert Store("model", data).ids() == [pinned, newest]
    assert ok(cli("prune", "--keep", "1")) == "nothing to remove"
    assert "3" in ok(cli("search", "the cat", "--json", "--mode", "dense"))
    ok(cli("verify"))


def test_verify(cli: Command, corpus: Path) -> None:
    """A sound index is reported by its id and the number of its files."""
    artifact = ok(cli("build", corpus))
    for arguments in ([], [artifact]):
        line = ok(cli("verify", *arguments))
        assert line.startswith(f"{artifact}: ")
        assert line.endswith("files as published")
    assert "as published" in ok(cli("verify", "--kind", "model"))
    assert "no index 'nonsense'" in failed(cli("verify", "nonsense"))


def test_row_number_ids_are_noted(cli: Command, data: Path, tmp_path: Path) -> None:
    """The manifest notes that ids were made from row numbers."""
    (tmp_path / "corpus.csv").write_text("text\nThe cat sits.\nThe dog runs.\n")
    ok(cli("build", tmp_path / "corpus.csv"))
    assert any("row number" in note for note in live_manifest(data).notes)


def test_sample(cli: Command, tmp_path: Path) -> None:
    """The sample corpus is written to the given path, and folders are created."""
    out = tmp_path / "new" / "corpus.parquet"
    result = cli("sample", "--out", out)
    ok(result)
    assert out.is_file()
    assert "documents" in result.err


def test_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A message is printed as one line, whatever it holds; an interrupt has its own status."""
    app = typer.Typer()

    @app.command()
    def broken() -> None:
        raise UserError("first\nsecond\tthird; do this")

    @app.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    for command, status, message in (
        ("broken", 2, "error: first second third; do this"),
        ("interrupted", 130, "error: interrupted"),
    ):
        with pytest.raises(SystemExit) as ended:
            run(partial(app, [command]))
        assert ended.value.code == status
        assert capsys.readouterr().err.strip() == message


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk is reported without a traceback, whether Python or a C++ library met it; other faults keep theirs."""
    app = typer.Typer()

    @app.command()
    def python() -> None:
        Path("/dev/full").write_text("x")

    @app.command()
    def native() -> None:
        index = faiss.IndexFlatIP(8)
        index.add(np.zeros((1_000, 8), dtype=np.float32))
        faiss.write_index(index, "/dev/full")

    @app.command()
    def fault() -> None:
        raise ValueError("something else")

    for command in ("python", "native"):
        with pytest.raises(SystemExit) as ended:
            run(partial(app, [command]))
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert "No space left on device" in line
        assert line.endswith("make room on the disk and start it again")
    with pytest.raises(ValueError, match="something else"):
        run(partial(app, ["fault"]))


def test_a_data_directory_that_cannot_be_written(
    small_disk: Callable[[Path, str], Disk],
    data: Path,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cli: Command,
) -> None:
    """On a full and on a read-only disk a writing command prints the remedy in one line and changes nothing; reading works."""
    disk = small_disk(tmp_path / "disk", "4m")
    shutil.copytree(data, disk.path / "data")
    monkeypatch.setenv("DOWSE_DATA", str(disk.path / "data"))
    artifact = ok(cli("build", corpus))
    for trouble, reason in ((disk.fill, "make room"), (disk.forbid_writing, "mount it writable")):
        trouble()
        for command in (("activate", artifact), ("build", corpus, "--force")):
            assert reason in failed(cli(*command))
        assert artifact in ok(cli("list"))
        assert "castle" in ok(cli("search", "queen of the castle"))
        disk.relieve()
    assert Store("index", disk.path / "data").current_id() == artifact
    assert ok(cli("build", corpus, "--force")) != artifact
