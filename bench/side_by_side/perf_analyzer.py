"""One run of perf_analyzer, and what it reports."""

import csv
import re
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .cases import Case
from .fetch import Tools

WINDOWS = 3
"""perf_analyzer wants three windows in a row before it reports; it then reports over all three."""
REGIONS = (Path("/dev/shm/INPUT0_0_0"), Path("/dev/shm/OUTPUT0"))
"""Shared memory as perf_analyzer names it; it leaves it behind when it crashes."""
MARGIN_S = 60
"""How much longer than its windows a run may take before it counts as hung."""


class RunFailed(Exception):
    pass


@dataclass(frozen=True)
class Report:
    requests_per_s: float
    p50_us: int
    p99_us: int
    requests: int
    """In the measured windows alone; it sends more before and after them."""
    client_cpu_s: float


def run(tools: Tools, folder: Path, port: int, case: Case, seconds: float) -> Report:
    """Loads 127.0.0.1:`port` with `case` for `seconds`, in three windows that are accepted however much they differ."""
    table = folder / "perf_analyzer.csv"
    table.unlink(missing_ok=True)
    command = [str(tools.perf_analyzer), "-u", f"127.0.0.1:{port}", "-i", "grpc", "-m", case.model.name,
               "--concurrency-range", str(case.concurrency), *case.options,
               "--measurement-interval", str(max(1, round(seconds * 1000 / WINDOWS))),
               "--stability-percentage", "999", "--max-trials", str(WINDOWS), "-f", str(table)]
    before = _children_cpu_s()
    regions = {path for path in REGIONS if not path.exists()}
    try:
        done = subprocess.run(command, env=tools.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=seconds + MARGIN_S)
    except subprocess.TimeoutExpired:
        _remove(regions)
        raise RunFailed(f"perf_analyzer hung and was killed: {' '.join(command)}") from None
    client_cpu_s = _children_cpu_s() - before
    if done.returncode or not table.exists():
        _remove(regions)
        said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        raise RunFailed(f"perf_analyzer ended with status {done.returncode}, saying: {' / '.join(said[-3:])}\n"
                        f"  {' '.join(command)}")
    with table.open(newline="") as file:
        row = next(csv.DictReader(file), None)
    count = re.search(r"Request count: (\d+)", done.stdout)
    if not row or not count:
        raise RunFailed(f"perf_analyzer reported nothing: {' '.join(command)}\n{done.stdout.strip()[-1000:]}")
    return Report(float(row["Inferences/Second"]), int(row["p50 latency"]), int(row["p99 latency"]), int(count[1]),
                  client_cpu_s)


def _remove(regions: set[Path]) -> None:
    for region in regions:
        region.unlink(missing_ok=True)


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
