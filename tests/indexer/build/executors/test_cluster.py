"""Encoding on a Ray cluster: the index of one process, also where a machine of the cluster is lost; how it is divided."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from clean_ray import ray
from executors_support import SETTINGS, children, facts, wait_until_gone
from ray._private.state import actors
from ray.cluster_utils import Cluster

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.executors.cluster import RayWorker
from indexer.build.executors.plan import Plan, plan_actors
from indexer.errors import UserError

REPOSITORY = Path(__file__).parents[4]
MACHINE = {"include_dashboard": False, "node_ip_address": "127.0.0.1"}
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
}
"""Settings of Ray by which a lost machine is noticed within two seconds."""


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Let no process of Ray outlive its test."""
    before = set(children(os.getpid()))
    try:
        yield
    finally:
        ray.shutdown()
    wait_until_gone(set(children(os.getpid())) - before)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster of three machines, which are processes: one without cores, and two with a core and, they say, a GPU each."""
    # Else Ray replaces 127.0.0.1, where these listen, by the address that other machines see.
    monkeypatch.setattr("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # paths of sockets must be short
    found = Cluster()
    try:
        found.add_node(**MACHINE, num_cpus=0, gcs_server_port=0, temp_dir=folder, _system_config=QUICK_TO_NOTICE)
        for _ in range(2):
            found.add_node(**MACHINE, num_cpus=1, num_gpus=1)
        yield found
    finally:
        ray.shutdown()
        found.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def count_calls(monkeypatch: pytest.MonkeyPatch, then: Callable[[RayWorker, int], None]) -> list[tuple[str, ...]]:
    """Return the list of windows that are encoded from now on, and call ``then`` with the number of each."""
    encode, calls, lock = RayWorker.encode, [], threading.Lock()

    def counted(self: RayWorker, texts: list[str]) -> Any:
        with lock:
            calls.append(tuple(texts))
            number = len(calls)
        then(self, number)
        return encode(self, texts)

    monkeypatch.setattr(RayWorker, "encode", counted)
    return calls


def listening(pids: list[int]) -> list[str]:
    """Return the addresses at which the processes listen for connections."""
    found = [psutil.Process(pid).net_connections("tcp") for pid in pids if psutil.pid_exists(pid)]
    return [each.laddr.ip.removeprefix("::ffff:") for all_of in found for each in all_of if each.status == "LISTEN"]


def test_a_cluster_for_one_build(
    data: Path, shard_corpus: Path, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an address Ray is started on this machine, reachable from nowhere else, and ended after the build."""
    before = set(children(os.getpid()))  # servers of other tests
    started: list[int] = []
    addresses: list[str] = []

    def look(_worker: RayWorker, number: int) -> None:
        if number == 1:
            started.extend(pid for pid in children(os.getpid()) if pid not in before)
            addresses.extend(listening(started))

    count_calls(monkeypatch, look)
    settings = SETTINGS.model_copy(update={"executor": "ray", "workers": 2})
    manifest = build(str(shard_corpus), settings, data, cores=2).manifest
    assert facts(manifest, data) == expected
    assert manifest.counts["embedded"] == manifest.counts["passages"]
    assert len(started) > 2 and len(addresses) > 2
    assert set(addresses) == {"127.0.0.1"}
    assert not ray.is_initialized()
    wait_until_gone(started)


def test_a_machine_is_lost(
    data: Path, shard_corpus: Path, expected: dict[str, Any], cluster: Cluster, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A machine that ends in the middle, with its worker, loses nothing and doubles nothing; each worker has a GPU."""
    nodes = {node.node_id: node for node in cluster.worker_nodes}
    used: set[str] = set()

    def lose_the_machine(worker: RayWorker, number: int) -> None:
        actor = actors()[worker.actor._actor_id.hex()]
        node = actor["Address"]["NodeID"]
        used.add(node)
        if number == 12:
            os.kill(actor["Pid"], signal.SIGKILL)
            cluster.remove_node(nodes[node], allow_graceful=False)

    calls = count_calls(monkeypatch, lose_the_machine)
    settings = SETTINGS.model_copy(update={"executor": "ray", "address": cluster.address})
    manifest = build(str(shard_corpus), settings, data, cores=1).manifest
    assert facts(manifest, data) == expected
    assert manifest.counts["embedded"] == manifest.counts["passages"]
    assert calls.count(calls[11]) == 2 and len(set(calls)) == len(calls) - 1
    assert used <= nodes.keys()
    output, errors = capsys.readouterr()
    assert "Ray workers: 2; cores of each: 1; GPUs of each: 1" in errors and "is lost" in errors
    assert "has a GPU, but an onnxruntime without CUDA" in errors  # so it took the core
    assert not output  # that Ray prints what has happened does not disturb what a command prints
    assert len(cluster.worker_nodes) == 1


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:9"])
def test_a_cluster_that_is_not_there(data: Path, shard_corpus: Path, address: str) -> None:
    """The error names the address and the remedy."""
    settings = SETTINGS.model_copy(update={"executor": "ray", "address": address})
    with pytest.raises(UserError, match=rf"--address {address}: no Ray cluster .*`ray start --head`"):
        build(str(shard_corpus), settings, data, cores=1)
    assert not Store("index", data).ids()


def test_ray_is_not_installed() -> None:
    """The error says what to install; without the flag nothing of Ray is needed."""
    program = (
        "import sys; sys.modules['ray'] = None\nimport indexer.build.build\nimport indexer.build.executors.cluster"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert "executors/cluster.py" in done.stderr
    assert "UserError: --executor ray: Ray is not installed; pip install -r requirements-ray.lock" in done.stderr


@pytest.mark.parametrize(
    ("machines", "workers", "plan"),
    [
        ([{"CPU": 8.0}, {"CPU": 8.0}, {}], None, Plan(2, 8, 0)),
        ([{"CPU": 8.0}, {"CPU": 16.0}], None, Plan(3, 8, 0)),
        ([{"CPU": 8.0}, {"CPU": 8.0}], 8, Plan(8, 2, 0)),
        ([{"CPU": 8.0}, {"CPU": 8.0}], 3, Plan(3, 4, 0)),
        ([{"CPU": 8.0}, {"CPU": 2.0}], 1, Plan(1, 8, 0)),
        ([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 64.0}, {"CPU": 32.0, "GPU": 8.0}], None, Plan(10, 4, 1)),
        ([{"CPU": 16.0, "GPU": 2.0}], 1, Plan(1, 8, 1)),
    ],
)
def test_how_a_cluster_is_divided(machines: list[dict[str, float]], workers: int | None, plan: Plan) -> None:
    """One worker for each GPU, else for each machine; all have the same number of cores, and find a place."""
    assert plan_actors(machines, workers) == plan


@pytest.mark.parametrize(
    ("machines", "workers", "words"),
    [
        ([{"CPU": 2.0}], 3, "--workers 3: the cluster has 2 cores; give at most 2"),
        ([{"CPU": 2.0, "GPU": 1.0}], 2, "--workers 2: the cluster has 1 GPUs; give at most 1"),
        ([{}], None, "no machine of the cluster has a core"),
    ],
)
def test_a_cluster_without_room(machines: list[dict[str, float]], workers: int | None, words: str) -> None:
    """More workers than there is room for would wait for ever."""
    with pytest.raises(UserError, match=words):
        plan_actors(machines, workers)
