"""What the kernel knows of a process and its descendants: CPU time, memory, threads."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Memory:
    rss_mb: float
    pss_mb: float
    threads: int


def children(pid: int) -> list[int]:
    """All living descendants of `pid`, without itself."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields:
                parents[int(entry)] = int(fields[1])
    found, frontier = [], {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        found += sorted(frontier)
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of `pid`, those that ended included, to the nanosecond.

    The clock id is the kernel's for "CPU time of the process `pid`", as clock_getcpuclockid(3) makes it. The counters
    in /proc/PID/stat tell the same in steps of 10 ms; they serve where the clock is refused.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        fields = _stat(pid)
        if not fields:
            raise ProcessLookupError(pid) from None
        return (int(fields[11]) + int(fields[12])) * TICK_S


def start_ticks(pid: int) -> int | None:
    """When `pid` started: with it a process is told from a later one of the same number. None when it is gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] != "Z" else None


def memory(pid: int) -> Memory:
    kb = {"Rss": 0, "Pss": 0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        key, _, value = line.partition(":")
        if key in kb:
            kb[key] = int(value.split()[0])
    return Memory(kb["Rss"] / 1024, kb["Pss"] / 1024, len(os.listdir(f"/proc/{pid}/task")))


def machine_busy_s() -> float:
    """CPU seconds that all processors have spent busy since boot, time stolen by a hypervisor included."""
    user, nice, system, idle, iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK_S


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third (state) on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
