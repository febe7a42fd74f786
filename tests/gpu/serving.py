"""Checks of the whole daemon on the device: `edgemuxd` and `edgemux`, as an operator runs them."""

import itertools
import json
import os
import subprocess
import threading
import time

from checks import ensure, network_file
from driver import environment

# Of the device's time, by all sessions together.
LOAD = 0.5
# So far may a prediction be off on a real device, p50 and p99; latencies there hold what no model of a queue knows.
ALLOWED = {"p50": 0.25, "p99": 0.5}
# A daemon that is not ready then is killed.
START_SECONDS = 60
NUMBER = itertools.count()


class Ended(Exception):
    """The daemon ended before it was ready."""


class Daemon:
    """A daemon over a repository of its own, with one device. What one has learned, the next one knows. The context ends it."""

    def __init__(self, setup, networks, supervision=None, **device):
        self._setup = setup
        self._folder = setup.folder / f"daemon-{next(NUMBER)}"
        for name, network in networks.items():
            file, _, _ = network_file(setup, network)
            version = self._folder / "models" / name / "1"
            version.mkdir(parents=True)
            os.link(file, version / "model.pt")
        keys = {"name": "d", "kind": setup.device, "runtimes": ["torch"], "threads": setup.threads} | device
        tables = {"[supervision]": supervision or {}, "[[device]]": keys}
        lines = []
        for table, held in tables.items():
            lines += [table, *(f"{key.replace('_', '-')} = {json.dumps(value)}" for key, value in held.items())]
        (self._folder / "edgemuxd.toml").write_text("\n".join(lines))
        self._log = open(setup.folder / "worker.log", "ab")
        self._process = subprocess.Popen(
            [
                setup.binaries / "edgemuxd", "--config", self._folder / "edgemuxd.toml",
                "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0",
                "--model-repository", self._folder / "models", "--state-dir", setup.folder / "state",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True,
        )  # fmt: skip
        # What it says goes to the log as it comes: a full pipe would stop it.
        self._said = []
        threading.Thread(target=self._keep, args=(self._process.stderr,), daemon=True).start()
        self._address = None
        patience = threading.Timer(START_SECONDS, self._process.kill)
        patience.start()
        for line in self._process.stdout:
            if "listening on " in line:
                self._address = line.split("listening on ")[1].strip()
            if line.strip().endswith(": ready"):
                patience.cancel()
                return
        patience.cancel()
        self._process.wait(20)
        raise Ended("".join(self._said[-3:]).strip())

    def _keep(self, lines):
        for line in lines:
            self._said = [*self._said[-40:], line]
            self._log.write(line.encode())
            self._log.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, *arguments, codes=(0,)):
        command = [self._setup.binaries / "edgemux", "--server", self._address, "--json", *map(str, arguments)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=120)
        ensure(said.returncode in codes, f"edgemux {arguments[0]} ended with {said.returncode}: {said.stderr[-500:]}")
        return json.loads(said.stdout)

    def admit(self, model, rate, latency, *more, codes=(0,)):
        terms = ["--rate", f"{rate:.4f}", "--latency", f"{latency:.3f}", "--quantile", 0.99, "--burst", 1000]
        return self.ask("admit", model, *terms, *more, codes=codes)["verdict"]

    def drive(self, rates, seconds):
        models = [part for name, rate in rates.items() for part in ("--model", f"{name}={rate:.4f}")]
        results = self.ask("load-test", *models, "--seconds", seconds, codes=(0, 1))
        return {one["model"]: one for one in results["models"]}

    def drive_closed(self, model, clients, *more):
        """So many clients, each of which asks when it is answered."""
        results = self.ask("load-test", model, "--concurrency", clients, "--warm-up", 0, *more, codes=(0, 1))
        return results["models"][0]

    def sessions(self):
        return {one["model"]: one for one in self.ask("sessions")["sessions"]}

    def workers(self):
        """Worker processes, by the session that each belongs to: none where all share one."""
        return {one["session"]: one for one in self.ask("devices")["devices"][0]["workers"]}

    def said(self):
        """The last lines of the log."""
        return "".join(self._said)

    def service_ms(self, model):
        return self.ask("calibration", "show", f"{model}/1")["profiles"][0]["service_mean_ms"]


KINDS = ["resnet18", "mobilenet_v2", "resnet50"]


def networks(count):
    """So many models: light and heavy ones in turn."""
    return {f"m{at}": KINDS[at % len(KINDS)] for at in range(count)}


def alone_ms(setup):
    """What each network takes on the device by itself; measured once."""
    if "alone_ms" not in setup.__dict__:
        models = {name: name for name in KINDS}
        with Daemon(setup, models) as daemon:
            for name in models:
                daemon.admit(name, 1, 5_000)
            setup.alone_ms = {name: daemon.service_ms(name) for name in models}
    return setup.alone_ms


def modes(setup):
    """three ways of multiplexing, 1 to 6 sessions: what is predicted is seen"""
    rows, worst, take = [], {"p50": 0.0, "p99": 0.0}, {}
    seconds = 6 if setup.device == "gpu" else 4
    for mode in ("exclusive", "time-sliced", "concurrent"):
        for count in (1, 3, 6):
            models = networks(count)
            with Daemon(setup, models, multiplexing=mode, width=4, quantum_ms=2.0) as daemon:
                for name, network in models.items():
                    if network not in take:
                        # Anything is promised that can be kept: it is the prediction that is looked at.
                        daemon.admit(name, 1.0, 5_000)
                        take[network] = daemon.service_ms(name) / 1e3
                service = {name: take[network] for name, network in models.items()}
                rates = {name: LOAD / count / service[name] for name in models}
                for name in models:
                    daemon.admit(name, rates[name], 2_000)
                daemon.drive(rates, seconds / 2)
                time.sleep(1.2)
                predicted = {name: one["predicted"] for name, one in daemon.sessions().items()}
                seen = daemon.drive(rates, seconds)
                observed = {name: one["observed"] for name, one in daemon.sessions().items()}
                for name in models:
                    ensure(seen[name]["failed"] == 0, f"{mode}, {name}: {seen[name]['errors']}")
                    # Predictions are of what happens from the daemon's having the request to its having the answer; what
                    # 600 KB take on their way to it and from it comes on top.
                    said, saw = predicted[name], observed[name]
                    off = {key: said[f"{key}_ms"] / saw[f"{key}_ms"] - 1 for key in worst}
                    worst = {key: max(worst[key], abs(off[key])) for key in worst}
                    setup.figures.setdefault("modes", []).append(
                        {"mode": mode, "sessions": count, "model": models[name], "rate_hz": rates[name],
                         "service_ms": service[name] * 1e3, "predicted": said, "observed": saw, "client": seen[name]["latency_ms"],
                         "requests": seen[name]["succeeded"]}
                    )  # fmt: skip
                mean = lambda of, key: sum(one[key] for one in of.values()) / count  # noqa: E731
                client = {name: one["latency_ms"] for name, one in seen.items()}
                rows.append(
                    f"{mode} x{count}: p50 {mean(predicted, 'p50_ms'):.2f} predicted, {mean(observed, 'p50_ms'):.2f} "
                    f"observed, {mean(client, 'p50'):.2f} by the client; p99 {mean(predicted, 'p99_ms'):.2f}, "
                    f"{mean(observed, 'p99_ms'):.2f}, {mean(client, 'p99'):.2f} ms"
                )
    if setup.device == "gpu":
        for key, most in ALLOWED.items():
            ensure(worst[key] <= most, f"{key} off by {worst[key]:.0%} at worst; " + "; ".join(rows))
    return f"worst error p50 {worst['p50']:.0%}, p99 {worst['p99']:.0%}; " + "; ".join(rows)


def story(setup):
    """A keeps its objective whatever B asks for and sends"""
    rows = []
    seconds = 8 if setup.device == "gpu" else 5
    with Daemon(setup, {"a": "resnet18", "b": "resnet50"}, multiplexing="auto", width=4) as daemon:
        # Measured by a dry run: the objectives follow from what the two take here.
        daemon.admit("a", 1, 5_000, "--dry-run")
        daemon.admit("a", 1, 5_000)
        daemon.admit("b", 1, 5_000)
        take = {name: daemon.service_ms(name) for name in ("a", "b")}
        daemon.ask("unload", "b")
        objective = 6 * take["a"] + 4 * take["b"]
        rate_a = 0.2e3 / take["a"]
        daemon.admit("a", rate_a, objective, "--priority", 1)
        for share in (0.2, 0.5, 0.9):
            asked = share * 1e3 / take["b"]
            verdict = daemon.admit("b", asked, 20 * objective, "--priority", 2, codes=(0, 3))
            if verdict["admitted"]:
                rate_b, what = asked, f"B at {asked:.0f}/s admitted ({verdict['multiplexing']})"
            else:
                rate_b = verdict["largest_admissible_rate_hz"]
                ensure(rate_b and verdict["reasons"], f"refused without reason or rate: {verdict}")
                again = daemon.admit("b", 0.98 * rate_b, 20 * objective, "--priority", 2)
                rate_b, what = 0.98 * rate_b, f"B at {asked:.0f}/s refused, {rate_b:.0f}/s admitted ({again['multiplexing']})"
            seen = daemon.drive({"a": rate_a, "b": rate_b}, seconds)
            p99 = seen["a"]["latency_ms"]["p99"]
            rows.append(f"{what}: A's p99 {p99:.1f} of {objective:.1f} ms")
            ensure(p99 <= objective or setup.device == "cpu", rows[-1])
        seen = daemon.drive({"a": rate_a, "b": 10 * rate_b}, seconds)
        p99 = seen["a"]["latency_ms"]["p99"]
        rows.append(f"B sends ten times that: A's p99 {p99:.1f} ms, {seen['b']['failed']} of B refused")
        ensure(p99 <= objective or setup.device == "cpu", rows[-1])
    return f"A takes {take['a']:.2f} ms, B {take['b']:.2f}; " + "; ".join(rows)


def discovery(setup):
    """the daemon finds the device, owns it, and nobody else can"""
    said = subprocess.run([setup.binaries / "edgemuxd", "devices"], capture_output=True, text=True, timeout=30)
    ensure(said.returncode == 0, said.stderr)
    if setup.device == "cpu":
        return said.stdout
    with Daemon(setup, {"m0": "resnet18"}, source="nvidia:0") as daemon:
        verdict = daemon.admit("m0", 10, 1_000)
        ensure(verdict["memory_capacity_bytes"], f"the device's memory is not known: {verdict}")
        try:
            with Daemon(setup, {"m0": "resnet18"}, source="nvidia:0"):
                pass
        except Ended as ended:
            return f"{said.stdout}; memory {verdict['memory_capacity_bytes'] / 1e9:.0f} GB; a second daemon: {ended}"
    raise AssertionError("two daemons own one device")


CHECKS = [discovery, modes, story]
