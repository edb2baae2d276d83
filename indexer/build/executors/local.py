"""A worker that is a process of this machine. It ends when the building process ends, however that happens."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from indexer.build.executors.cores import Share
from indexer.build.executors.pool import WorkerLost
from indexer.inference.encoder import Encoder, Precision, Vectors


class LocalWorker:
    """A process with an encoder.

    Args:
        number: from 1, for messages.
        model: directory of the model artifact.
        precision: of its weights.
        share: the part of the machine that the process gets.

    Attributes:
        name: for messages.
        pid: of the process; None before it was started.
    """

    def __init__(self, number: int, model: Path, precision: Precision, share: Share) -> None:
        self.name = f"encoding process {number}"
        self.pid: int | None = None
        self._arguments = model, precision, share
        self._process: Any = None
        self._pipe: Connection | None = None
        self._stopped = False
        self._reaping = threading.Lock()

    def start(self) -> None:
        """Start the process, anew after a loss, and wait until it can encode."""
        # Forking would copy the locks of the threads that read and write meanwhile, in whatever state these are.
        context = multiprocessing.get_context("spawn")
        self._close()
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(end, *self._arguments), name=self.name, daemon=True)
        self._process.start()
        end.close()
        self.pid = self._process.pid
        if self._stopped:  # meanwhile, by another thread
            self._process.kill()
        self._receive()

    def encode(self, texts: list[str]) -> Vectors:
        """Encode texts of the corpus."""
        try:
            self._connection.send(texts)
        except OSError as error:
            raise self._loss() from error
        vectors: Vectors = self._receive()
        return vectors

    def stop(self) -> None:
        """End the process at once."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()
            self._exit_code()

    @property
    def _connection(self) -> Connection:
        if self._pipe is None:
            raise WorkerLost("it was not started")
        return self._pipe

    def _receive(self) -> Any:
        """Return what the process answers, or raise what it has raised."""
        try:
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._loss() from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _loss(self) -> WorkerLost:
        code = self._exit_code()
        reason = f"signal {-code}" if code < 0 else f"exit status {code}"
        return WorkerLost(f"{reason}; out of memory?" if code == -signal.SIGKILL else reason)

    def _exit_code(self) -> int:
        with self._reaping:  # of two threads that wait for a process only one is told how it ended
            self._process.join()
        code: int = self._process.exitcode
        return code

    def _close(self) -> None:
        if self._pipe is not None:
            self._pipe.close()


def _serve(pipe: Connection, model: Path, precision: Precision, share: Share) -> None:
    """Answer with the vectors of the texts that come, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the building process too, which ends this one
    os.sched_setaffinity(0, share.cores)
    os.environ["RAYON_NUM_THREADS"] = str(share.threads)  # of the tokenizer
    try:
        encoder = Encoder.open(model, precision, share.threads)
        pipe.send(None)
    except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
        pipe.send(_with_trace(error))
        return
    while True:
        try:
            texts = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(encoder.encode_documents(texts))
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001 - as above
            pipe.send(_with_trace(error))


def _with_trace(error: Exception) -> Exception:
    """Return the error with the place where it was raised as a note, which is sent along."""
    error.add_note(traceback.format_exc())
    return error
