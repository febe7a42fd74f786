"""The results as a Markdown table, and as JSON."""

import dataclasses
import json
import os
import platform
import statistics
from pathlib import Path

from .cases import IDLE_GOALS, Case, Goal
from .measure import Results

BUSY_PERCENT = 5
"""With more than this of the machine used by others, timings are not to be trusted."""

FIGURES = {"requests_per_s": "requests/s", "p50_us": "p50, µs", "p99_us": "p99, µs", "cpu_us": "CPU per request, µs"}
SPLIT = {"daemon_cpu_us": "of it the daemon", "workers_cpu_us": "of it the workers"}
IDLE = {"ready_ms": "ready after start, ms", "daemon_rss_mb": "resident memory, daemon, MB",
        "daemon_threads": "threads, daemon", "rss_mb": "resident memory with workers, MB",
        "pss_mb": "proportional memory with workers, MB", "threads": "threads with workers",
        "workers": "worker processes", "idle_cpu_percent": "CPU at rest, % of one processor"}


@dataclasses.dataclass(frozen=True)
class Row:
    what: str
    figure: str
    values: dict[str, float | None]
    ratio: float | None
    spread: tuple[float, float] | None
    """Smallest and largest ratio of one round."""
    goal: Goal | None
    met: bool | None
    """None without a goal, or where it could not be told."""


def rows(results: Results, cases: list[Case], names: list[str]) -> list[Row]:
    out = []
    for case in cases:
        goals = dict(case.goals)
        shown = dict(FIGURES)
        runs = results.runs[case.name]
        if runs.get("edgemux") and results.idle["edgemux"].workers:
            shown |= SPLIT
        for figure, title in shown.items():
            values = {name: results.median(case, name, figure) for name in names}
            pairs = zip(runs.get("edgemux", []), runs.get("triton", []), strict=False)  # a failed side has no runs
            ratios = [getattr(ours, figure) / getattr(theirs, figure) for ours, theirs in pairs if figure in FIGURES]
            spread = (min(ratios), max(ratios)) if ratios else None
            out.append(_row(case.title, title, values, spread, goals.get(figure), ratio=figure in FIGURES))
    for figure, title in IDLE.items():
        values = {name: getattr(results.idle[name], figure) for name in names}
        out.append(_row("at rest", title, values, None, IDLE_GOALS.get(figure), ratio=False))
    for title, by_server in (("resident memory with workers, MB", results.loaded_rss_mb),
                             ("threads with workers", results.loaded_threads)):
        out.append(_row("after the load", title, dict(by_server), None, None, ratio=False))
    return out


def _row(what: str, figure: str, values: dict, spread, goal: Goal | None, *, ratio: bool) -> Row:
    ours, theirs = values.get("edgemux"), values.get("triton")
    quotient = ours / theirs if ratio and ours is not None and theirs else None
    judged = quotient if goal and goal.ratio else ours
    met = goal.met(judged) if goal and judged is not None else None
    return Row(what, figure, values, quotient, spread, goal, met)


def markdown(table: list[Row], names: list[str]) -> str:
    lines = ["| | | " + " | ".join(names) + " | edgemux / triton (rounds) | goal | |",
             "|---|---|" + "---:|" * len(names) + "---:|---:|---|"]
    previous = None
    for row in table:
        what = row.what if row.what != previous else ""
        previous = row.what
        values = " | ".join(_value(row.values[name]) for name in names)
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        if row.spread:
            ratio += f" ({row.spread[0]:.2f}–{row.spread[1]:.2f})"
        goal = ""
        if row.goal:
            goal = f"{'≥' if row.goal.at_least else '≤'} {row.goal.bound:g}{'×' if row.goal.ratio else ''}"
        verdict = {True: "met", False: "**missed**", None: ""}[row.met]
        lines.append(f"| {what} | {row.figure} | {values} | {ratio} | {goal} | {verdict} |")
    return "\n".join(lines)


def _value(value: float | None) -> str:
    if value is None:
        return "failed"
    if isinstance(value, int) or value >= 1000:
        return f"{round(value):,}"
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def noise(results: Results) -> str | None:
    """A warning when others used the machine."""
    shares = [run.other_cpu_percent for by_server in results.runs.values()
              for runs in by_server.values() for run in runs]
    if not shares or statistics.median(shares) <= BUSY_PERCENT and max(shares) <= 3 * BUSY_PERCENT:
        return None
    return (f"others used {statistics.median(shares):.0f} % of the machine in the median run and {max(shares):.0f} % "
            "in the worst: timings are not to be trusted. Measure again when the machine is quiet.")


def environment() -> dict:
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return {"processor": model, "processors": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "load_average": list(os.getloadavg())}


def write_json(path: Path, results: Results, table: list[Row], options: dict) -> None:
    path.write_text(json.dumps({
        "environment": environment(), "options": options,
        "table": [dataclasses.asdict(row) for row in table],
        **dataclasses.asdict(results),
    }, indent=2, ensure_ascii=False) + "\n")
