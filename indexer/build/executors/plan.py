"""Actors of a Ray cluster: how many, and what each takes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from indexer.errors import UserError


@dataclass(frozen=True)
class Plan:
    """How many actors there are, and what each takes of the cluster."""

    workers: int
    cores: int
    gpus: int


def plan_actors(machines: list[Mapping[str, float]], workers: int | None) -> Plan:
    """Divide a cluster among actors: one for each GPU, or where there is none, one for each machine.

    Actors have the same number of cores, such that all of them find a place. With more ``workers`` than that, each
    gets fewer cores.

    Args:
        machines: the resources of each, by Ray's names.
        workers: number of actors; None for as many as that.

    Raises:
        UserError: there is no room for as many.
    """
    gpus = [int(machine.get("GPU", 0)) for machine in machines]
    if sum(gpus):
        share = min(int(machine.get("CPU", 0)) // count for machine, count in zip(machines, gpus, strict=True) if count)
        wanted = workers or sum(gpus)
        if wanted > sum(gpus):
            raise UserError(f"--workers {wanted}: the cluster has {sum(gpus)} GPUs; give at most {sum(gpus)}")
        return Plan(wanted, share, 1)
    cores = [int(machine.get("CPU", 0)) for machine in machines if machine.get("CPU", 0) >= 1]
    if not cores:
        raise UserError(
            "--executor ray: no machine of the cluster has a core to give; add machines, or --num-cpus there"
        )
    if workers is None:
        share = min(cores)
        return Plan(sum(count // share for count in cores), share, 0)
    for share in range(min(max(cores), sum(cores) // workers), 0, -1):
        if sum(count // share for count in cores) >= workers:
            return Plan(workers, share, 0)
    raise UserError(f"--workers {workers}: the cluster has {sum(cores)} cores; give at most {sum(cores)}")
