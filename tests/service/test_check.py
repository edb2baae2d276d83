"""`python -m service check`: it finds each problem, describes it with a remedy, and its exit status is right."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys

import pytest
from typer.testing import CliRunner

from indexer.artifacts.store import Store
from service import check
from service.__main__ import app
from service.observability import tracing
from service.security.keys import add_key
from service.serving import memory


@pytest.fixture
def ready(tmp_path, built_data):
    """A data directory with which the service would start."""
    data = tmp_path / "data"
    shutil.copytree(built_data, data)
    return data


def run(data, *flags):
    """Run the command; return its status and what it says."""
    result = CliRunner().invoke(app, ["check", "--data", str(data), "--port", "0", *flags])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def problems(output):
    """The lines of problems."""
    return [line.partition(" ")[2].strip() for line in output.splitlines() if line.startswith("problem")]


def test_all_is_well(ready):
    """With a sound index and a free port there is no problem, and every finding is shown."""
    status, output = run(ready)
    assert (status, problems(output)) == (0, [])
    assert "6 documents; all files of the index and its model as published" in output
    assert "no key is needed" in output


def test_no_directory(tmp_path):
    """A data directory that is not there is named with its flag."""
    status, output = run(tmp_path / "nowhere")
    assert status == 1
    assert problems(output) == [
        (
            f"--data {tmp_path / 'nowhere'}: there is no such directory; "
            "name the one that `python -m indexer build` has written"
        )
    ]


def test_no_index(tmp_path):
    """Without an index the command that builds one is named."""
    status, output = run(tmp_path)
    assert status == 1
    assert "python -m indexer build CORPUS" in problems(output)[0]


@pytest.mark.parametrize("kind", ["index", "model"])
def test_an_altered_file_is_named(ready, kind):
    """One flipped byte in a file of the index or of its model is found, and the file is named."""
    store = Store(kind, ready)
    folder = store.path(store.current_id())
    file = folder / ("vectors.faiss" if kind == "index" else "onnx/model.onnx")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    status, output = run(ready)
    assert status == 1
    assert file.name in problems(output)[0]


def test_the_key_file(ready):
    """A key file that others can write to is a problem, one that they can read a warning, an empty one too."""
    file = ready / "keys.json"
    add_key(file, "shop", ("search",))
    assert "1 keys" in run(ready)[1]
    file.chmod(0o644)
    status, output = run(ready)
    assert status == 0 and "warning" in output and "mode 644" in output
    file.chmod(0o666)
    assert problems(run(ready)[1]) == [
        f"{file}: users other than its owner can write to it and add keys; chmod 600 {file}"
    ]


def test_an_open_network_and_a_taken_port(ready):
    """What the service would refuse at its start is a problem here: no key for the network, a port that is taken."""
    assert "--insecure" in problems(run(ready, "--host", "::")[1])[0]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, output = run(ready, "--port", str(taken.getsockname()[1]))
    assert status == 1
    assert "choose another with --port" in problems(output)[0]


def test_too_little_memory_and_disk(ready, monkeypatch, tmp_path):
    """Little memory, by the machine or by a container's limit, and little disk are warnings with both numbers."""
    (tmp_path / "memory.max").write_text("300000000\n")
    (tmp_path / "memory.current").write_text("299000000\n")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available_memory() == 1_000_000
    monkeypatch.setattr(check, "MIN_FREE_BYTES", 1 << 60)
    status, output = run(ready)
    assert status == 0
    assert "1 MB are available" in output
    assert output.count("warning") >= 2


def test_a_folder_that_cannot_be_written_to(ready, monkeypatch):
    """Each setting with which the service writes is a problem where it may not, and none is where it need not."""
    access = os.access
    monkeypatch.setattr(check.os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    assert run(ready)[0] == 0
    for flags in (["--writable"], ["--clicks", "--query-log"]):
        status, output = run(ready, *flags)
        assert status == 1
        assert f"problem  {' '.join(flags)}: this user may not write to" in output


def test_more_workers_than_cores(ready):
    """Workers that have no core of their own are a warning, and each of them takes memory."""

    def megabytes(output):
        return int(re.search(r"takes some ([\d,]+) MB", output)[1].replace(",", ""))

    one, many = (run(ready, "--cores", "2", "--workers", number)[1] for number in ("1", "3"))
    assert "warning  --workers 3 share 2 cores" in many
    assert "share" not in one
    assert megabytes(many) >= megabytes(one) + 400


def test_another_version_of_a_library(ready, monkeypatch):
    """An index that another version of a library wrote is pointed out with both versions."""
    monkeypatch.setattr(check.metadata, "version", lambda _: "0.0.1")
    output = run(ready)[1]
    assert "faiss-cpu is 0.0.1; the index was built with" in output


@pytest.mark.parametrize("missing", tracing.REQUIRED_MODULES)
def test_traces_that_are_asked_for_and_cannot_be_made(ready, monkeypatch, missing):
    """Without the packages of the extra a warning names the variable and what to install; that is no problem."""
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert "ok       requests are traced" in run(ready)[1]
    monkeypatch.setitem(sys.modules, missing, None)
    status, output = run(ready)
    assert status == 0
    assert "warning  OTEL_EXPORTER_OTLP_ENDPOINT is set, but requests are not traced: `pip install -r" in output
