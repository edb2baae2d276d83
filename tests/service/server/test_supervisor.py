"""`--workers`: several processes answer, count, write and end as one service, and none is left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

import pytest
from prometheus_client.parser import text_string_to_metric_families

from indexer.errors import UserError
from service.observability import worker_metrics as shared_metrics
from service.server import supervisor as workers
from service.server.listener import bind_shared, listen, reserve
from service.settings import ServiceSettings

ROOT = Path(__file__).parents[3]
CATS = {"id": ["a", "b"], "text": ["The cat sits in the garden.", "The dog runs by the river."]}
KINGS = {"id": ["k", "l"], "text": ["The king eats cheese.", "The queen eats bread."]}
BOTH = ("--workers", "2", "--cores", "2", "--poll-seconds", "0.1")


def children(running: Any) -> list[int]:
    """The processes of the workers, in the order in which they were started."""
    process = running.process.pid
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def samples(running: Any) -> dict[tuple[Any, ...], float]:
    """Every sample of `/metrics` by its name and labels, from any worker."""
    return parsed(running.get("/metrics")[1])


def parsed(metrics: bytes) -> dict[tuple[Any, ...], float]:
    """Return the samples of a text by name and labels; none comes twice."""
    families = text_string_to_metric_families(metrics.decode())
    found = [((each.name, *sorted(each.labels.items())), each.value) for family in families for each in family.samples]
    assert len(dict(found)) == len(found)
    return dict(found)


def serving(running: Any) -> set[str]:
    """The numbers of the workers that serve."""
    return {dict(key[1:])["worker"] for key in samples(running) if key[0] == "process_start_time_seconds"}


def files(worker: int) -> list[str]:
    """The names of what the workers of one service keep in their common folder."""
    told = Path(f"/proc/{worker}/cmdline").read_bytes().split(b"\0")[3]
    return sorted(path.name for path in Path(json.loads(told)["folder"]).iterdir())


def alive(process: int) -> bool:
    """Say whether a process runs; one that has died and was not yet waited for does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def free(port: int) -> bool:
    """Say whether a service could listen on the port."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def connect(running: Any, worker: int) -> socket.socket:
    """Return a connection that this worker has accepted; the kernel deals them out."""
    for _ in range(100):
        connection = socket.create_connection(("127.0.0.1", running.port), timeout=60)
        if accepted_by(running, connection) == worker:
            return connection
        connection.close()
    raise AssertionError(f"of 100 connections none went to {worker}, one of {children(running)}")


def accepted_by(running: Any, connection: socket.socket) -> int | None:
    """Return the worker that holds the other end of a connection, or None if none has accepted it within 10 s."""
    ends = f":{running.port:04X}", f":{connection.getsockname()[1]:04X}"
    for _ in range(1_000):
        rows = map(str.split, Path("/proc/net/tcp").read_text().splitlines())
        wanted = {f"socket:[{row[9]}]" for row in rows if (row[1][8:], row[2][8:]) == ends}
        for worker in children(running):
            with suppress(OSError):  # a file was closed, or the worker has ended
                if wanted & {str(each.readlink()) for each in Path(f"/proc/{worker}/fd").iterdir()}:
                    return worker
        time.sleep(0.01)
    return None


class Kept:
    """A connection to one worker, which fails rather than be opened again to another one."""

    def __init__(self, running: Any, worker: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", running.port, timeout=60)
        self._connection.sock = connect(running, worker)
        self._connection.auto_open = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Return status and body of an answer."""
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_data: Path,
    publish: Callable[..., Any],
    start_module_service: Callable[..., Any],
    eventually: Callable[..., None],
) -> Any:
    """A service with two workers over an index of its own; its folder is ``data``."""
    data = tmp_path_factory.mktemp("workers") / "data"
    shutil.copytree(tiny_data, data)
    publish(CATS, data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(data.parent))  # it is killed in the end, and leaves there what it has counted
        running = start_module_service(data, "--writable", *BOTH)
    eventually(lambda: serving(running) == {"0", "1"}, "both workers serve")
    running.data = data
    return running


def test_both_answer_and_count_as_one(pair, eventually):
    """Whichever worker is reached answers, and each tells what both have counted together."""
    assert pair.line.startswith(f"http://127.0.0.1:{pair.port}  (API at /docs, 2 workers, ")
    labels = {"http_request_method": "GET", "http_route": "/search", "http_response_status_code": "200"}
    count = ("http_server_request_duration_seconds_count", *sorted(labels.items()))
    before = samples(pair).get(count, 0)
    with Kept(pair, children(pair)[0]) as one, Kept(pair, children(pair)[1]) as other:
        for kept, times in ((one, 3), (other, 4)):
            assert [kept.ask("GET", "/search?q=cat")[0] for _ in range(times)] == [200] * times
        for kept in (one, other):
            # A request is counted once its answer is sent: the other worker may still be about to.
            eventually(lambda: parsed(kept.ask("GET", "/metrics")[1])[count] - before == 7, "all seven are counted")  # noqa: B023
            after = parsed(kept.ask("GET", "/metrics")[1])
            assert after[("dowse_queue_size",)] == 0
            assert len([key for key in after if key[0] == "dowse_index_info"]) == 1
            assert min(after[("process_resident_memory_bytes", ("worker", number))] for number in "01") > 1e7


def test_the_index_lies_in_memory_once(pair):
    """Both map the same file: neither has a page of the vectors to itself."""
    for worker in children(pair):
        maps = Path(f"/proc/{worker}/smaps").read_text()
        (vectors,) = re.findall(r"^\S+ \S+ \S+ \S+ \S+ +\S+vectors\.faiss\n((?:\w+:.*\n)+)", maps, re.MULTILINE)
        kilobytes = {name: int(size) for name, size in re.findall(r"(\w+): +(\d+) kB", vectors)}
        assert kilobytes["Rss"] > 0
        assert kilobytes["Private_Clean"] == kilobytes["Private_Dirty"] == 0


def test_writes_through_both_at_once_are_seen_by_both(pair, eventually):
    """Documents that are put through both workers side by side are all there, in both, under one generation."""
    answers = []

    def write(writer: Kept, name: str) -> None:
        for number in range(8):
            body = {"documents": [{"id": f"{name}{number}", "text": f"The ship number {number}."}]}
            answers.append(writer.ask("PUT", "/documents", body))

    with Kept(pair, children(pair)[0]) as one, Kept(pair, children(pair)[1]) as other:
        threads = [threading.Thread(target=write, args=each) for each in ((one, "x"), (other, "y"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [status for status, _ in answers] == [200] * 16
        generations = [json.loads(answer)["index"]["generation"] for _, answer in answers]
        writes = {int(each.rpartition(".")[2]): each for each in generations}
        assert set(writes) == set(range(1, 17))
        for reader in (one, other):
            eventually(lambda kept=reader: writes[16].encode() in kept.ask("GET", "/info")[1], "all writes are shown")
            assert {reader.ask("GET", f"/documents/{name}{number}")[0] for name in "xy" for number in range(8)} == {200}


def test_a_worker_that_is_killed_is_replaced(pair, eventually):
    """The other one answers meanwhile, what was counted stays counted, and the one that comes serves like the first."""
    first, second = children(pair)
    before, kept_in = samples(pair), files(second)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: first not in children(pair), "its death is noticed")
    assert pair.status("/search?q=dog") == 200
    eventually(lambda: serving(pair) == {"0", "1"}, "another one serves in its place")
    (new,) = set(children(pair)) - {second}
    with Kept(pair, new) as kept:
        assert kept.ask("GET", "/search?q=dog")[0] == 200
        after = parsed(kept.ask("GET", "/metrics")[1])
    counters = [key for key in before if key[0].endswith(("_count", "_total")) and "process" not in key[0]]
    assert counters
    assert all(after[key] >= before[key] for key in counters)
    assert files(new) == kept_in


def test_a_dead_worker_leaves_what_it_has_counted(tmp_path):
    """Its gauges go with it: requests that waited for it wait no longer."""
    counted = {"counter_3.db", "histogram_3.db", "gauge_livesum_1.db", "gauge_livesum_33.db"}
    for name in (*counted, "gauge_livesum_3.db", "3.pid"):
        (tmp_path / name).touch()
    assert shared_metrics.mark_ended(tmp_path, 3)
    assert {path.name for path in tmp_path.iterdir()} == counted
    assert not shared_metrics.mark_ended(tmp_path, 3)


def test_what_is_published_is_taken_up_by_both(pair, publish, eventually):
    """A new index, and the first key, count in each worker."""
    with Kept(pair, children(pair)[0]) as one, Kept(pair, children(pair)[1]) as other:
        publish(KINGS, pair.data)
        for kept in (one, other):
            eventually(lambda kept=kept: kept.ask("GET", "/documents/k")[0] == 200, "the new index is shown")
        (pair.data / "keys.json").write_text('{"keys": []}')
        for kept in (one, other):
            eventually(lambda kept=kept: kept.ask("GET", "/documents/k")[0] == 401, "keys are asked for")


def test_sigterm_lets_both_answer_first(data, publish, start_service, eventually):
    """SIGTERM reaches every worker once: each answers what was begun, then no process is left."""
    publish(CATS, data)
    running = start_service(data, *BOTH, "--drain-seconds", "1")
    eventually(lambda: serving(running) == {"0", "1"}, "both workers serve")
    processes = children(running)
    begun = [connect(running, worker) for worker in processes]
    for connection in begun:
        connection.sendall(
            b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
            b"Content-Length: 16\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 100")
    running.process.send_signal(signal.SIGTERM)
    eventually(lambda: running.status("/readyz") == 503, "they say that they end")
    assert running.status("/search?q=cat") == 200
    for connection in begun:
        connection.sendall(b'{"query": "cat"}')
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.close()
    said = running.process.communicate(timeout=60)[1]
    assert running.process.returncode == -signal.SIGTERM
    assert not [process for process in processes if alive(process)]
    assert "Traceback" not in said
    assert "worker" not in said


def test_a_killed_supervisor_leaves_no_worker(data, publish, start_service, eventually, monkeypatch):
    """Even SIGKILL, which the supervisor cannot hand on, ends its workers: the port is free for the next service."""
    publish(CATS, data)
    monkeypatch.setenv("TMPDIR", str(data.parent))
    running = start_service(data, *BOTH)
    eventually(lambda: serving(running) == {"0", "1"}, "both workers serve")
    processes = children(running)
    running.process.send_signal(signal.SIGKILL)
    eventually(lambda: not any(alive(process) for process in processes), "the workers end")
    eventually(lambda: free(running.port), "the port is free")


def test_workers_that_cannot_start_end_the_service(tmp_path, monkeypatch, caplog):
    """Where three die in a row before they serve, the service gives up instead of trying for ever."""
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    monkeypatch.setattr(workers, "MAX_DELAY_SECONDS", 0)
    with reserve("127.0.0.1", 0) as reserved, pytest.raises(UserError, match="--workers 4: 3 workers in a row"):
        workers.supervise(ServiceSettings(data=tmp_path, workers=4), reserved, lambda: None)
    assert caplog.text.count("ended with status 1; another one starts") == 2


def test_a_wrong_setting_is_said_once(tmp_path):
    """What the first worker refuses is not tried with the others: one line, status 2."""
    command = [sys.executable, "-m", "service", "--port", "0", "--data", str(tmp_path), *BOTH, "--cors", "nonsense"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: --cors nonsense")


def test_nobody_else_takes_a_reserved_port():
    """Another service, one that shares its port too, gets an error, whether or not a worker listens already."""
    with reserve("127.0.0.1", 0) as reserved:
        port = reserved.getsockname()[1]
        for other in (listen, reserve):
            with pytest.raises(UserError, match="--port"):
                other("127.0.0.1", port).close()
        with bind_shared("127.0.0.1", port) as one, bind_shared("127.0.0.1", port) as two:
            one.listen()
            two.listen()
            for other in (listen, reserve):
                with pytest.raises(UserError, match="--port"):
                    other("127.0.0.1", port).close()


@pytest.mark.parametrize(("count", "cores", "queue", "parts"), [
    (3, 8, 64, [(3, 22), (3, 22), (2, 22)]), (3, 2, 0, [(1, 0), (1, 0), (1, 0)]), (2, 2, 1, [(1, 1), (1, 1)]),
])  # fmt: skip
def test_workers_divide_what_the_machine_has(count, cores, queue, parts):
    """Together they encode on as many cores as one process would, and each has at least one."""
    settings = ServiceSettings(workers=count, cores=cores, queue=queue)
    divided = [workers.settings_of_worker(settings, number) for number in range(count)]
    assert [(each.cores, each.queue) for each in divided] == parts
