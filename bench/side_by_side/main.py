"""The command line."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from . import fetch, report
from .cases import CASES
from .errors import BenchError, say
from .http2 import CallFailed
from .measure import measure
from .repositories import RUNTIMES
from .servers import Edgemux, Server, Triton

EPILOG = """\
exit status: 0 measured; 1 something failed; 2 usage; 3 a goal was missed (with --check only)

examples:
  bench/side-by-side                          the whole comparison
  bench/side-by-side --only triton --rounds 1 --seconds 3
  bench/side-by-side --case 4k-16 --case 602k-1 --json results.json
"""


def main() -> int:
    options = _parse()
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that what was started is also stopped
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        return _main(options)
    except (BenchError, CallFailed) as error:
        print(f"side-by-side: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("side-by-side: interrupted", file=sys.stderr)
        return 1


def _parse() -> argparse.Namespace:
    repository = Path(__file__).resolve().parent.parent.parent
    parser = argparse.ArgumentParser(
        prog="side-by-side", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EPILOG,
        description="Measure edgemuxd and NVIDIA Triton in one run, perf_analyzer being the client of both.")
    add = parser.add_argument
    add("--edgemuxd", type=Path, default=repository / "target/release/edgemuxd", metavar="FILE",
        help="the daemon to measure (default: target/release/edgemuxd of this repository)")
    add("--runtime", choices=RUNTIMES, default="emulator",
        help="edgemuxd's identity model: an emulated device that takes no time, or an ONNX Identity on the CPU "
             "(default: emulator)")
    add("--only", choices=("triton", "edgemux"), help="measure one of the two alone")
    add("--case", action="append", dest="cases", choices=[case.name for case in CASES], metavar="NAME",
        help=f"measure this case; repeatable (default: all of {', '.join(case.name for case in CASES)})")
    add("--rounds", type=_positive(int), default=3, metavar="N", help="rounds; medians are over them (default: 3)")
    add("--seconds", type=_positive(float), default=6, metavar="S", help="load per case, server and round (default: 6)")
    add("--warm-up", type=_positive(float, or_zero=True), default=1, metavar="S",
        help="load per case and server before round 1 (default: 1)")
    add("--starts", type=_positive(int), default=3, metavar="N",
        help="starts per server; the time to ready is their median (default: 3)")
    add("--cpus", type=_cpus, metavar="LIST", help="run everything on these processors, as in 0,1")
    add("--json", type=Path, metavar="FILE", help="write every figure of every round here as well")
    add("--check", action="store_true", help="exit with status 3 when a goal is missed")
    add("--cache", type=Path, default=fetch.default_cache(), metavar="DIR",
        help="where Triton and perf_analyzer are kept (default: ${XDG_CACHE_HOME:-~/.cache}/edgemux/bench)")
    add("--prepare", action="store_true", help="fetch and build what is needed into the cache, then stop")
    add("--keep", action="store_true", help="keep the servers' logs and model repositories, and say where they are")
    add("--triton-arg", action="append", default=[], metavar="ARG", help="pass ARG on to tritonserver; repeatable")
    add("--edgemuxd-arg", action="append", default=[], metavar="ARG", help="pass ARG on to edgemuxd; repeatable")
    return parser.parse_args()


def _positive(kind, or_zero=False):
    def parse(text: str):
        value = kind(text)
        if value < 0 or value == 0 and not or_zero:
            raise argparse.ArgumentTypeError(f"must be {'0 or above' if or_zero else 'above 0'}: {text}")
        return value
    parse.__name__ = kind.__name__
    return parse


def _cpus(text: str) -> set[int]:
    try:
        return {int(part) for part in text.split(",")}
    except ValueError:
        raise argparse.ArgumentTypeError(f"a list such as 0,1 is wanted, not {text}") from None


def _main(options: argparse.Namespace) -> int:
    cases = [case for case in CASES if not options.cases or case.name in options.cases]
    names = [options.only] if options.only else ["triton", "edgemux"]
    if "edgemux" in names and not options.prepare and not os.access(options.edgemuxd, os.X_OK):
        raise BenchError(f"no program at {options.edgemuxd}. Build it with `cargo build --release -p edgemuxd`, or "
                         "name it with --edgemuxd; `--only triton` does without.")
    if options.cpus:
        try:
            os.sched_setaffinity(0, options.cpus)  # inherited by all that is started
        except OSError as error:
            raise BenchError(f"--cpus {','.join(map(str, sorted(options.cpus)))}: {error.strerror}; this process may "
                             f"use {sorted(os.sched_getaffinity(0))}") from None
    tools = fetch.fetch(options.cache)
    if options.prepare:
        say(f"all is ready in {options.cache}")
        return 0

    folder = Path(tempfile.mkdtemp(prefix="edgemux-bench-"))
    keep = options.keep
    servers: list[Server] = []
    try:
        if "triton" in names:
            servers.append(Triton(folder, tools, options.triton_arg))
        if "edgemux" in names:
            servers.append(Edgemux(folder, options.edgemuxd.resolve(), options.runtime, options.edgemuxd_arg))
        results = measure(servers, cases, tools, folder, rounds=options.rounds, seconds=options.seconds,
                          warm_up=options.warm_up, starts=options.starts)
        keep |= bool(results.failures)
    except Exception:
        keep = True  # the logs are the evidence
        raise
    finally:
        for server in servers:
            server.stop()
        if keep:
            say(f"logs and model repositories are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)

    table = report.rows(results, cases, names)
    print(report.markdown(table, names))
    if options.json:
        shown = {key: options.__dict__[key] for key in ("runtime", "only", "rounds", "seconds", "warm_up", "starts",
                                                        "triton_arg", "edgemuxd_arg")}
        report.write_json(options.json, results, table, shown)
    warning = report.noise(results)
    if warning:
        say(f"warning: {warning}")
    for failure in results.failures:
        say(f"FAILED: {failure.splitlines()[0]}")
    if results.failures:
        return 1
    return 3 if options.check and any(row.met is False for row in table) else 0
