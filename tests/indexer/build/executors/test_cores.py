"""Cores of encoding processes: all are used, and those of a process are on as few NUMA nodes as possible."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.build.executors.cores import numa_nodes, share_cores
from indexer.errors import UserError

TWO_NODES = {core: core % 2 for core in range(8)}  # as many servers number them


def test_each_process_has_a_node_of_its_own() -> None:
    """Two processes on two nodes: each has all cores of one."""
    shares = share_cores(2, 8, TWO_NODES)
    assert [share.threads for share in shares] == [4, 4]
    assert [share.cores for share in shares] == [{0, 2, 4, 6}, {1, 3, 5, 7}]


def test_processes_of_one_node_share_its_cores() -> None:
    """Within a node no process is bound to a core: the one beside it may be busy with something else."""
    shares = share_cores(4, 8, TWO_NODES)
    assert [share.threads for share in shares] == [2, 2, 2, 2]
    assert [share.cores for share in shares] == [{0, 2, 4, 6}, {0, 2, 4, 6}, {1, 3, 5, 7}, {1, 3, 5, 7}]


def test_cores_that_do_not_come_out_even() -> None:
    """No core is left over; a process across two nodes may run on both."""
    shares = share_cores(3, 8, TWO_NODES)
    assert [share.threads for share in shares] == [3, 3, 2]
    assert shares[1].cores == frozenset(range(8))


def test_more_processes_than_cores() -> None:
    """The error names both numbers."""
    with pytest.raises(UserError, match=r"--workers 9: 8 cores may be used here; give at most 8"):
        share_cores(9, 8, TWO_NODES)


def test_nodes_as_the_system_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node is read where the kernel tells it, of the cores that the process may use; else all are on one."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 3})
    (tmp_path / "cpu0" / "node0").mkdir(parents=True)
    (tmp_path / "cpu1" / "node12").mkdir(parents=True)
    (tmp_path / "cpu3" / "topology").mkdir(parents=True)
    assert numa_nodes(tmp_path) == {0: 0, 1: 12, 3: 0}
