"""Executor of the settings of a build. What is wrong with them, or with the cluster, is said before the work begins."""

from __future__ import annotations

from indexer.build.executors.cores import numa_nodes, share_cores
from indexer.build.executors.local import LocalWorker
from indexer.build.executors.pool import Executor, InProcess, Pool
from indexer.build.executors.settings import ExecutorSettings
from indexer.errors import UserError
from indexer.inference.encoder import Encoder


def open_executor(settings: ExecutorSettings, encoder: Encoder) -> Executor:
    """Return what encodes the passages; the building process does it itself unless the settings say otherwise.

    Args:
        settings: where, and by how many processes.
        encoder: of the building process; the others open the same model.

    Raises:
        UserError: a setting has no effect, there are fewer cores than processes, or the cluster is not to be reached.
    """
    if settings.executor == "ray":
        from indexer.build.executors.cluster import open_cluster

        return open_cluster(settings, encoder)
    if settings.address is not None:
        raise UserError(f"--address {settings.address}: only --executor ray has an address; give both, or neither")
    if (settings.workers or 1) == 1:
        return InProcess(encoder)
    shares = share_cores(settings.workers or 1, encoder.cores, numa_nodes())
    return Pool([
        LocalWorker(number, encoder.folder, encoder.precision, share) for number, share in enumerate(shares, 1)
    ])  # fmt: skip
