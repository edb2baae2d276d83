"""Fixtures of the service's tests: clients inside this process, and the real program in another one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from example_report import example_report
from starlette.testclient import TestClient

from indexer.artifacts.manifest import Manifest
from indexer.artifacts.store import Store
from indexer.build.build import BuildResult, build
from indexer.build.settings import BuildSettings
from service.app import create_app
from service.settings import ServiceSettings
from trainer.evaluate.report import Report
from trainer.reports.run_page import write_report

ROOT = Path(__file__).parents[2]
METRICS = {
    "base_dense_ndcg10": 0.1612,
    "base_hybrid_ndcg10": 0.2673,
    "dense_ndcg10": 0.2279,
    "hybrid_ndcg10": 0.2914,
}
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 60  # seconds until something that happens by itself counts as not happening

WANTED = {
    "itertools.chain", "itertools.chain.from_iterable", "json", "json.dump", "json.dumps", "json.load", "json.loads",
    "os.makedirs", "os.remove", "os.rmdir", "shutil.copytree", "shutil.rmtree",
}  # fmt: skip
XSS = {
    "id": "xss",
    "title": "<img src=x onerror=alert(1)>",
    "text": "<script>alert(1)</script> <b>bold</b> markup in a text",
}


class Running:
    """A `python -m service` that runs beside the tests."""

    def __init__(self, data: Path, *options: str, **variables: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("DOWSE_", "OTEL_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", "--port", "0", *options],
            cwd=ROOT,
            env={**environment, "DOWSE_DATA": str(data), **variables},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr
        said: list[str] = []
        while (line := self.process.stderr.readline()) and not line.startswith("http"):
            said.append(line)
        assert line, f"the service ended with status {self.process.wait(PATIENCE)}:\n{''.join(said)}"
        self.line = line
        """The line with its URL; with several workers the first of them may say something before."""
        self.url = self.line.split()[0]
        self.port = int(self.url.rpartition(":")[2])

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a GET; the path is sent as it is."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def status(self, path: str) -> int:
        """Return the status of a GET."""
        return self.get(path)[0]

    def accepts(self) -> bool:
        """Say whether anybody listens on its port."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE):
                return True
        except ConnectionError:
            return False

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code; the program's stderr is in `said`."""
        self.process.send_signal(number)
        try:
            self.said = self.process.communicate(timeout=PATIENCE)[1]
        finally:
            self.kill()
        return self.process.returncode

    def kill(self) -> None:
        """End it, however it is."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        elif self.process.stderr:
            self.process.stderr.close()


def until(met: Callable[[], object], what: str) -> None:
    """Wait for a condition; fail and say what did not happen once `PATIENCE` is over."""
    end = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], object], str], None]:
    """Waits for a condition: ``eventually(condition, "what should happen")``."""
    return until


@pytest.fixture(scope="session")
def client(built_data: Path) -> Iterator[TestClient]:
    """A client of the service over the six stories."""
    with TestClient(create_app(ServiceSettings(data=built_data))) as client:
        yield client


@pytest.fixture(scope="session")
def serve_columns(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Callable[..., Path]:
    """Builds an index of the columns that it is given and returns its data directory."""

    def serve(columns: dict[str, Any]) -> Path:
        data = tmp_path_factory.mktemp("columns") / "data"
        shutil.copytree(tiny_data, data)
        publish_columns(columns, data)
        return data

    return serve


@pytest.fixture(scope="session")
def publish() -> Callable[..., BuildResult]:
    """Builds an index of columns in a data directory: ``publish({"id": …, "text": …}, data)``."""
    return publish_columns


def publish_columns(columns: dict[str, Any], data: Path, **settings: Any) -> BuildResult:
    """Build an index of columns in a data directory that has a model."""
    corpus = data / "corpus.parquet"
    pq.write_table(pa.table(columns), corpus)
    return build(str(corpus), BuildSettings(language="en", **settings), data)


@pytest.fixture(scope="session")
def publish_tuned() -> Callable[..., Manifest]:
    """Publishes a tuned model: the live one of a data directory once more, with what a training run adds to it."""
    return tuned_model


def tuned_model(data: Path, report: Report | None, **config: Any) -> Manifest:
    """Publish a model with ``report`` beside its files and return its manifest; ``config`` replaces what it says."""
    models = Store("model", data)
    base = models.manifest(models.current_id() or "")
    config = {"tuned_from": base.id, "verdict": "WIN", "judged_by": "labels", **base.config, **config}
    key = hashlib.sha256(json.dumps(config).encode()).hexdigest()
    with models.building():
        staging = models.staging(key)
        shutil.copytree(models.path(base.id), staging, dirs_exist_ok=True)
        if report:
            write_report(report, staging / "report")
        return models.publish(
            staging, base.model_copy(update={"fingerprint": key, "config": config, "metrics": METRICS})
        )


@pytest.fixture
def start_service() -> Iterator[Callable[..., Running]]:
    """Starts the program over a data directory, with options; whatever still runs after the test is killed."""
    yield from starting()


@pytest.fixture(scope="module")
def start_module_service() -> Iterator[Callable[..., Running]]:
    """The same for all tests of a module."""
    yield from starting()


def starting() -> Iterator[Callable[..., Running]]:
    """Yield what starts the program, and kill in the end whatever still runs."""
    started: list[Running] = []

    def start(data: Path, *options: str, **variables: str) -> Running:
        started.append(Running(data, *options, **variables))
        return started[-1]

    yield start
    for running in started:
        running.kill()


@pytest.fixture(scope="session")
def live_service(tmp_path_factory: pytest.TempPathFactory, minilm_data: Path) -> Iterator[str]:
    """The URL of the real program with the real model, over some sixty pages of Python's documentation."""
    data = tmp_path_factory.mktemp("live") / "data"
    shutil.copytree(minilm_data, data)
    corpus = data / "corpus.parquet"
    # Of its own, for the sample imports all of the standard library.
    subprocess.run([sys.executable, "-m", "indexer", "sample", "--out", str(corpus)], cwd=ROOT, check=True)
    pages = pq.read_table(corpus)
    wanted = [name in WANTED or name.startswith("subprocess.") for name in pages.column("id").to_pylist()]
    others = [row for row, is_wanted in enumerate(wanted) if not is_wanted]
    rows = [row for row, is_wanted in enumerate(wanted) if is_wanted] + others[:: len(others) // 35]
    pq.write_table(pa.concat_tables([pages.take(rows), pa.Table.from_pylist([XSS], pages.schema)]), corpus)
    build(str(corpus), BuildSettings(), data)
    running = Running(data)
    try:
        until(lambda: running.status("/readyz") == 200, "the live service is ready")
        yield running.url
        assert running.end(signal.SIGINT) == 0, running.said
    finally:
        running.kill()


@pytest.fixture(scope="session")
def story_service(built_data: Path) -> Iterator[Running]:
    """The real program over the six stories, for clients that are programs of their own."""
    running = Running(built_data)
    yield running
    running.kill()


@pytest.fixture(scope="session")
def tuned_service(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[str]:
    """The URL of the real program with a tuned model that has a report."""
    data = tmp_path_factory.mktemp("tuned-live") / "data"
    shutil.copytree(tiny_data, data)
    tuned_model(data, example_report(queries=20, unseen=10), base="sentence-transformers/all-MiniLM-L6-v2")
    publish_columns({"id": ["a", "b"], "text": ["The cat sits.", "The dog runs."]}, data)
    running = Running(data)
    yield running.url
    running.kill()


@pytest.fixture(scope="session")
def chromium_path():
    """The Chromium to drive: CHROMIUM, or the first known name on the PATH."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not path:
        pytest.fail(
            "The page's tests need Chromium: apt-get install --no-install-recommends chromium,"
            " or name an executable in CHROMIUM."
        )
    return path


@pytest.fixture(scope="module")  # not longer: while it is open, its event loop is in the way of others
def browser(chromium_path):
    """One browser for the module; each test opens its own context."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, request, start_service):  # noqa: ARG001 - for its order
    """Opens the page; whatever the browser complains about (CSP, errors, dialogs) fails the test.

    It asks for `start_service` so that pages are closed first: one that still loads when its service is killed complains.
    """
    contexts, complaints = [], []

    def on_console(message):
        if message.type in ("error", "warning"):
            complaints.append(f"console {message.type}: {message.text}")

    def on_dialog(dialog):
        complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open_(path="/", width=1200, height=900, scheme="light", url=None):
        url = url or request.getfixturevalue("live_service")
        size = {"width": width, "height": height}
        context = browser.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", on_console)
        page.on("pageerror", lambda error: complaints.append(f"page error: {error}"))
        page.on("dialog", on_dialog)
        page.goto(url.rstrip("/") + path)
        return page

    yield open_
    for context in contexts:
        for page in context.pages:
            page.unroute_all(behavior="ignoreErrors")  # a test's own answer may be under way when the test is over
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def reading_data(tmp_path_factory: pytest.TempPathFactory, built_data: Path, masked_data: Path) -> Path:
    """A data directory with an index and a masked-language model. Read it, do not change it."""
    data = tmp_path_factory.mktemp("reading") / "data"
    shutil.copytree(built_data, data)
    shutil.copytree(masked_data / "masked", data / "masked")
    return data


@pytest.fixture(scope="session")
def reading_service(reading_data: Path) -> Iterator[str]:
    """The URL of the real program with an index and a masked-language model."""
    running = Running(reading_data)
    yield running.url
    running.kill()
