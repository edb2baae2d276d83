"""Workers that are actors in a Ray cluster. Each machine needs the environment of Dowse; the model is sent to it.

Windows go to the actors and vectors come back by Ray's object store, so no file system is shared. Ray does not restart
actors or repeat calls here: a call that waits for a machine that is gone would hold up the windows after it, so the pool
gives the window to another worker.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any
from unittest.mock import patch

from indexer.artifacts.manifest import library_versions
from indexer.build.executors.plan import Plan, plan_actors
from indexer.build.executors.pool import Pool, WorkerLost
from indexer.build.executors.settings import ExecutorSettings
from indexer.errors import UserError, first_line
from indexer.inference.encoder import MODEL_FILES, Encoder, Precision, Vectors
from indexer.progress import say

# Ray reads these when it is imported. Nothing is reported to its makers; an actor without a GPU must not see any.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")

try:
    import ray
    from ray._private import ray_constants
    from ray.exceptions import RayError, RayTaskError
except ModuleNotFoundError as error:
    raise UserError("--executor ray: Ray is not installed; pip install -r requirements-ray.lock") from error

SAY_WAITING_SECONDS = 20.0
"""Time after which is said that the cluster has no room for a worker, again and again."""
CONNECT_SECONDS = 10.0
LOOPBACK = "127.0.0.1"
LIBRARIES = "onnxruntime", "tokenizers"
"""Libraries on which the bits of a vector depend."""


class Actor:
    """What runs on the cluster: an encoder of a model that was sent."""

    def __init__(self) -> None:
        self._encoder: Encoder | None = None

    def open(self, files: dict[str, bytes], precision: Precision, cores: int) -> dict[str, str]:
        """Open the model; return the versions of the libraries here, and the kind of processor under `runs on`."""
        os.environ["RAYON_NUM_THREADS"] = str(cores)  # of the tokenizer
        gpu = bool(ray.get_gpu_ids())
        with TemporaryDirectory(prefix="dowse-model-") as folder:  # what is open stays readable when it is deleted
            for name, content in files.items():
                path = Path(folder) / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
            self._encoder = Encoder.open(Path(folder), precision, cores, gpu=gpu)
        return library_versions(*LIBRARIES) | {"runs on": self._encoder.device}

    def encode(self, texts: list[str]) -> Vectors:
        """Encode texts of the corpus."""
        if self._encoder is None:
            raise RuntimeError("the model was not opened")
        return self._encoder.encode_documents(texts)

    def pid(self) -> int:
        """Return the number of the process."""
        return os.getpid()


class RayWorker:
    """An actor in a Ray cluster.

    Args:
        number: from 1, for messages.
        plan: what it takes of the cluster.
        files: of the model, in Ray's object store.
        precision: of the model's weights.

    Attributes:
        name: for messages.
        actor: the handle; None before it was started.
    """

    def __init__(self, number: int, plan: Plan, files: Any, precision: Precision) -> None:
        self.name = f"Ray worker {number}"
        self.actor: Any = None
        self._plan = plan
        self._arguments = files, precision, max(plan.cores, 1)
        self._stopped = False

    def start(self) -> None:
        """Create the actor, anew after a loss, and wait until the cluster has room for it and it can encode."""
        options = {"num_cpus": self._plan.cores, "num_gpus": self._plan.gpus, "scheduling_strategy": "SPREAD"}
        self.actor = ray.remote(Actor).options(**options, max_restarts=0, max_task_retries=0).remote()
        if self._stopped:  # meanwhile, by another thread
            self.stop()
        opened = self.actor.open.remote(*self._arguments)
        while not ray.wait([opened], timeout=SAY_WAITING_SECONDS)[0]:
            say(f"{self.name}: the cluster has had no room yet; it needs {self._plan.cores} cores "
                f"and {self._plan.gpus} GPUs on one machine")  # fmt: skip
        self._check(_get(opened))

    def encode(self, texts: list[str]) -> Vectors:
        """Encode texts of the corpus."""
        vectors: Vectors = _get(self.actor.encode.remote(texts))
        return vectors

    def stop(self) -> None:
        """End the actor at once."""
        self._stopped = True
        if self.actor is not None and ray.is_initialized():
            ray.kill(self.actor)

    def _check(self, facts: dict[str, str]) -> None:
        device, own = facts.pop("runs on"), library_versions(*LIBRARIES)
        if facts != own:
            there, here = (", ".join(f"{name} {number}" for name, number in found.items()) for found in (facts, own))
            raise UserError(f"{self.name} has {there}, and this machine {here}: vectors would differ; install the same")
        if self._plan.gpus and device == "cpu":
            say(f"{self.name} has a GPU, but an onnxruntime without CUDA: pip install onnxruntime-gpu there")


class Cluster(Pool):
    """A pool of actors; at the end it leaves what was entered: Ray, where it was not there before."""

    def __init__(self, workers: list[RayWorker], entered: ExitStack) -> None:
        super().__init__(workers)
        self._entered = entered

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._entered.close()


def open_cluster(settings: ExecutorSettings, encoder: Encoder) -> Cluster:
    """Join the cluster of the settings, or start one on this machine, and send the model there.

    Raises:
        UserError: the cluster is not to be reached, or has no room.
    """
    with ExitStack() as entered:
        entered.enter_context(redirect_stdout(sys.stderr))  # Ray prints what happens in the cluster among our results
        if not ray.is_initialized():
            _join(settings.address, encoder.cores)
            entered.callback(ray.shutdown)
        plan = plan_actors([node["Resources"] for node in _machines()], settings.workers)
        files = ray.put(_model_files(encoder.folder, encoder.precision))
        say(f"Ray workers: {plan.workers}; cores of each: {plan.cores}; GPUs of each: {plan.gpus}")
        workers = [RayWorker(number, plan, files, encoder.precision) for number in range(1, plan.workers + 1)]
        return Cluster(workers, entered.pop_all())


def _join(address: str | None, cores: int) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            _start(cores, options)
        else:
            _knock(address)
            ray.init(address, **options)
    except (RuntimeError, ValueError, OSError, RayError) as error:
        where = "--executor ray" if address is None else f"--address {address}"
        raise UserError(
            f"{where}: no Ray cluster is to be reached there ({first_line(error)}); start one with `ray start --head`, "
            "or leave --address out"
        ) from error


def _machines() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def _knock(address: str) -> None:
    """Raise an error where nobody listens at host:port; Ray itself would try for minutes."""
    host, separator, port = address.rpartition(":")
    if separator and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()


def _start(cores: int, options: dict[str, Any]) -> None:
    """Start Ray on this machine, for nobody else: whoever reaches it can run programs."""
    with patch.object(ray_constants, "ENABLE_RAY_CLUSTER", new=False):  # else it takes the address that others see
        ray.init("local", num_cpus=cores, include_dashboard=False, _node_ip_address=LOOPBACK, **options)
    if any(node["NodeManagerAddress"] != LOOPBACK for node in _machines()):
        ray.shutdown()
        raise RuntimeError(f"this version of Ray does not listen at {LOOPBACK} only")


def _model_files(model: Path, precision: Precision) -> dict[str, bytes]:
    """Return the files that encoding documents needs, by their names within the artifact."""
    graph = MODEL_FILES[precision]
    names = ["manifest.json", "tokenizer.json", graph, f"{graph}.data"]
    return {name: (model / name).read_bytes() for name in names if (model / name).is_file()}


def _get(reference: Any) -> Any:
    """Wait for the result of a call; raise what the call has raised, or `WorkerLost`."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from error
    except RayError as error:
        raise WorkerLost(first_line(error)) from error
