"""Memory that is available to this process."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Return the bytes of memory still available to this process; None if that is unknown.

    It is the smaller of what /proc/meminfo says of the machine and what its control group leaves.
    """
    limits = []
    if MEMINFO.exists():
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text(encoding="utf-8").splitlines() if ":" in line)
        if "MemAvailable" in lines:
            limits.append(int(lines["MemAvailable"].split()[0]) * 1024)
    limit, usage = CGROUP / "memory.max", CGROUP / "memory.current"
    if limit.exists() and usage.exists() and (text := limit.read_text(encoding="utf-8").strip()) != "max":
        limits.append(max(0, int(text) - int(usage.read_text(encoding="utf-8"))))
    return min(limits, default=None)
