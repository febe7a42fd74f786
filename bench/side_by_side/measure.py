"""The measurement: servers started, watched at rest, then loaded in turn, case by case and round by round."""

import os
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import inference, perf_analyzer, processes
from .cases import MODELS, Case
from .errors import BenchError, say
from .fetch import Tools
from .http2 import CallFailed
from .perf_analyzer import RunFailed
from .servers import Server

SETTLE_S = 1.0
"""Rest between ready and the look at memory, and the time over which CPU at rest is counted."""
DISTURBED_PERCENT = 10
"""A run in which others used more of the machine than this is done again, up to `REPEATS` times."""
REPEATS = 2
BOOKED_WITHIN_S = 0.05
"""A server may book a request just after it has answered it."""


@dataclass
class Idle:
    """A server after its start, before any load but one echo of each model."""

    version: str
    ready_ms: float
    daemon_rss_mb: float
    daemon_threads: int
    rss_mb: float
    pss_mb: float
    threads: int
    workers: int
    idle_cpu_percent: float
    """Of one processor."""


@dataclass
class Run:
    """One case against one server, once."""

    requests_per_s: float
    p50_us: float
    p99_us: float
    cpu_us: float
    """CPU of the daemon and its workers, per request that the server served."""
    daemon_cpu_us: float
    workers_cpu_us: float
    client_cpu_us: float
    served: int
    """By the server's own count, from before perf_analyzer starts until after it has ended."""
    measured: int
    """Those of them within perf_analyzer's windows."""
    other_cpu_percent: float
    """Of the whole machine: what neither this server, nor the client, nor this program used."""


@dataclass
class Results:
    idle: dict[str, Idle] = field(default_factory=dict)
    loaded_rss_mb: dict[str, float] = field(default_factory=dict)
    loaded_threads: dict[str, int] = field(default_factory=dict)
    runs: dict[str, dict[str, list[Run]]] = field(default_factory=dict)
    """By case, then server; one entry a round."""
    failures: list[str] = field(default_factory=list)

    def median(self, case: Case, server: str, figure: str) -> float | None:
        runs = self.runs.get(case.name, {}).get(server)
        return statistics.median(getattr(run, figure) for run in runs) if runs else None


def measure(servers: list[Server], cases: list[Case], tools: Tools, folder: Path, *, rounds: int, seconds: float,
            warm_up: float, starts: int) -> Results:
    """The caller stops the servers."""
    results = Results()
    for server in servers:
        try:
            results.idle[server.name] = _start(server, starts)
        except CallFailed as error:
            raise BenchError(f"{server.name}: {error}.\n{server.log_tail()}") from None
    for case in cases:
        results.runs[case.name] = {server.name: [] for server in servers}
    failed: set[tuple[str, str]] = set()

    def attempt(case: Case, server: Server, seconds: float) -> Run | None:
        if (case.name, server.name) in failed:
            return None
        try:
            return _run(server, case, tools, folder, seconds)
        except (RunFailed, CallFailed) as error:
            failed.add((case.name, server.name))
            results.runs[case.name][server.name].clear()
            results.failures.append(f"{case.name} on {server.name}: {error}")
            say(f"FAILED: {results.failures[-1]}")
            if not server.alive():
                raise BenchError(f"{server.name} died under {case.name}.\n{server.log_tail()}") from None
            return None

    if warm_up:
        say(f"warming up, {warm_up:g} s a case and server")
        for case in cases:
            for server in servers:
                attempt(case, server, warm_up)
    for round_ in range(rounds):
        turn = servers if round_ % 2 == 0 else servers[::-1]  # neither always goes first
        for case in cases:
            for server in turn:
                run = attempt(case, server, seconds)
                for _ in range(REPEATS):
                    if run and run.other_cpu_percent > DISTURBED_PERCENT:
                        say(f"others used {run.other_cpu_percent:.0f} % of the machine; once more")
                        run = attempt(case, server, seconds)
                if run:
                    results.runs[case.name][server.name].append(run)
                    say(f"round {round_ + 1}/{rounds} {case.name:>14} {server.name:>7}: {run.requests_per_s:8.0f}/s  "
                        f"p50 {run.p50_us:6.0f}  p99 {run.p99_us:6.0f}  CPU {run.cpu_us:6.1f} µs/request  "
                        f"others {run.other_cpu_percent:.0f} %")
    for server in servers:
        daemon, workers = server.memory()
        results.loaded_rss_mb[server.name] = sum(m.rss_mb for m in [daemon, *workers])
        results.loaded_threads[server.name] = sum(m.threads for m in [daemon, *workers])
    return results


def _start(server: Server, starts: int) -> Idle:
    """Starts it `starts` times over, the last one for good; looks at it at rest."""
    took = []
    for again in range(starts):
        if again:
            server.stop()
        took.append(server.start())
    version = inference.version(server.port)
    say(f"{server.name}: {version}, ready after {statistics.median(took):.0f} ms (process {server.pid})")
    time.sleep(SETTLE_S)
    daemon, workers = server.memory()
    used = _total(server.cpu())
    time.sleep(SETTLE_S)
    used = _total(server.cpu()) - used
    for model in MODELS:
        inference.check_echo(server.port, model)
    family = [daemon, *workers]
    return Idle(version, statistics.median(took), daemon.rss_mb, daemon.threads, sum(m.rss_mb for m in family),
                sum(m.pss_mb for m in family), sum(m.threads for m in family), len(workers), 100 * used / SETTLE_S)


def _run(server: Server, case: Case, tools: Tools, folder: Path, seconds: float) -> Run:
    served, cpu = inference.served(server.port, case.model), server.cpu()
    busy, own, began = processes.machine_busy_s(), time.process_time(), time.monotonic()
    report = perf_analyzer.run(tools, folder, server.port, case, seconds)
    wall = time.monotonic() - began
    busy, own = processes.machine_busy_s() - busy, time.process_time() - own
    time.sleep(BOOKED_WITHIN_S)
    cpu_after, served_after = server.cpu(), inference.served(server.port, case.model)

    if cpu_after.workers.keys() != cpu.workers.keys():
        raise RunFailed(f"its worker processes changed during the run, from {sorted(cpu.workers)} to "
                        f"{sorted(cpu_after.workers)}: CPU time is incomplete.\n{server.log_tail()}")
    count = served_after.succeeded - served.succeeded
    if served_after.failed > served.failed:
        raise RunFailed(f"ModelStatistics counts {served_after.failed - served.failed} failed requests of {count}")
    # perf_analyzer measures most of what it sends. A count far off would make every CPU figure wrong with it.
    if not report.requests <= count <= 2 * report.requests + 1000:
        raise RunFailed(f"ModelStatistics counts {count} successes over a run in which perf_analyzer measured "
                        f"{report.requests} requests; one of the two is wrong, so CPU per request is not known")
    daemon_s = cpu_after.daemon - cpu.daemon
    workers_s = sum(cpu_after.workers.values()) - sum(cpu.workers.values())
    others_s = max(0.0, busy - daemon_s - workers_s - report.client_cpu_s - own)
    return Run(report.requests_per_s, report.p50_us, report.p99_us, 1e6 * (daemon_s + workers_s) / count,
               1e6 * daemon_s / count, 1e6 * workers_s / count, 1e6 * report.client_cpu_s / count, count,
               report.requests, 100 * others_s / (wall * (os.cpu_count() or 1)))


def _total(cpu) -> float:
    return cpu.daemon + sum(cpu.workers.values())
