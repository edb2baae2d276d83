"""Cores of each encoding process: neighbours on a NUMA node together, so that a process has its memory near by."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from indexer.errors import UserError

SYSTEM = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class Share:
    """The part of a machine that one process gets.

    Attributes:
        threads: how many it may use.
        cores: on which it may run: all of its NUMA nodes, which the system divides better than fixed cores.
    """

    threads: int
    cores: frozenset[int]


def numa_nodes(system: Path = SYSTEM) -> dict[int, int]:
    """Return the NUMA node of each core that this process may use; 0 where the system does not say."""
    nodes = {}
    for core in sorted(os.sched_getaffinity(0)):
        found = sorted((system / f"cpu{core}").glob("node[0-9]*"))
        nodes[core] = int(found[0].name.removeprefix("node")) if found else 0
    return nodes


def share_cores(workers: int, threads: int, nodes: Mapping[int, int]) -> list[Share]:
    """Divide ``threads`` of the cores among processes; where they do not come out even, the first ones get one more.

    Args:
        workers: number of processes.
        threads: of all of them together.
        nodes: NUMA node of each core.

    Raises:
        UserError: there are fewer threads than processes.
    """
    if workers > threads:
        raise UserError(f"--workers {workers}: {threads} cores may be used here; give at most {threads}")
    cores = sorted(nodes, key=lambda core: (nodes[core], core))
    bounds = [0]
    for worker in range(workers):
        bounds.append(bounds[-1] + threads // workers + (worker < threads % workers))
    shares = []
    for first, last in pairwise(bounds):
        own = {nodes[cores[place % len(cores)]] for place in range(first, last)}
        shares.append(Share(last - first, frozenset(core for core in cores if nodes[core] in own)))
    return shares
