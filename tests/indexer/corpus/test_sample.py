"""Sample corpus: the documentation of Python's standard library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from indexer.corpus.corpus import Corpus

PROGRAM = "import sys, pathlib; from indexer.corpus.sample import write_sample; print(write_sample(pathlib.Path(sys.argv[1])))"
REPOSITORY = Path(__file__).parents[3]


def make_sample(out: Path, seed: str) -> int:
    """Write the sample in a process with ``seed`` for hashes; return the number of rows that it prints."""
    # A separate process: the program imports all of the standard library, which must not stay imported here.
    environment = {**os.environ, "PYTHONHASHSEED": seed, "DOWSE_TEST_VARIABLE": "a-secret-of-this-process"}
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(out)]
    process = subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, timeout=120, check=False
    )
    assert process.returncode == 0, process.stderr
    return int(process.stdout)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a sample corpus."""
    path = tmp_path_factory.mktemp("sample") / "sample.parquet"
    make_sample(path, "1")
    return path


@pytest.fixture(scope="module")
def rows(sample: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of the sample by id."""
    return {row["id"]: row for row in pq.read_table(sample).to_pylist()}


def test_size(rows: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """The corpus is large enough to be worth a search and small enough to be indexed in a minute."""
    assert 3_400 < len(rows) < 5_000
    assert make_sample(tmp_path / "again.parquet", "1") == len(rows)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("itertools.chain", "class"),
        ("subprocess.run", "function"),
        ("functools.lru_cache", "function"),
        ("dict.fromkeys", "class method"),
        ("str.split", "method"),
        ("os.makedirs", "function"),
        ("os.path.join", "function"),
        ("sorted", "function"),
        ("open", "function"),
        ("list.append", "method"),
        ("math.sqrt", "function"),
        ("socket.socket.recv", "method"),
        ("email.message.Message", "class"),
        ("xml.etree.ElementTree.parse", "function"),
        ("importlib.metadata.version", "function"),
        ("collections.abc.Mapping", "class"),
        ("json", "module"),
    ],
)
def test_public_names(rows: dict[str, dict[str, Any]], name: str, kind: str) -> None:
    """Objects that programmers search for have the name that they would type as their id."""
    assert rows[name]["kind"] == kind
    assert rows[name]["title"] == name


def test_each_object_once(rows: dict[str, dict[str, Any]]) -> None:
    """An object that several modules export appears once: a search does not return the same text twice."""
    pairs = [(name.rpartition(".")[2], row["text"]) for name, row in rows.items()]
    assert len(set(pairs)) == len(pairs)
    assert not [name for name in rows if name.startswith(("posixpath.", "builtins.", "_"))]


def test_columns(sample: Path, rows: dict[str, dict[str, Any]]) -> None:
    """Signatures are text where there are any, docstrings are cleaned, rows are sorted by id."""
    assert pq.read_schema(sample).names == ["id", "title", "text", "module", "kind", "signature"]
    assert rows["os.makedirs"]["signature"].startswith("(name, mode=511")
    assert rows["json"]["signature"] is None
    assert rows["os.makedirs"]["module"] == "os"
    assert "\n    Super-mkdir" not in rows["os.makedirs"]["text"]
    assert list(rows) == sorted(rows)


def test_nothing_of_the_process(sample: Path, rows: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """The corpus depends on no environment, address or order of sets: two processes write the same bytes."""
    again = tmp_path / "again.parquet"
    make_sample(again, "2")
    assert again.read_bytes() == sample.read_bytes()
    everything = "\n".join(str(row) for row in rows.values())
    assert "a-secret-of-this-process" not in everything
    assert sys.prefix + "/bin/" not in everything


def test_atomic(sample: Path) -> None:
    """No temporary file is left beside the corpus."""
    assert [path.name for path in sample.parent.iterdir()] == ["sample.parquet"]


def test_is_a_corpus(sample: Path, rows: dict[str, dict[str, Any]]) -> None:
    """The sample passes the check of a corpus without a rejected row."""
    corpus = Corpus.check(str(sample))
    assert (corpus.documents, corpus.rejects) == (len(rows), [])
