"""The two servers: how each is started, known to be ready, watched and stopped."""

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import inference, processes, repositories
from .cases import MODELS
from .errors import BenchError, say
from .fetch import Tools

READY_WITHIN_S = 60
STOP_WITHIN_S = 20


@dataclass(frozen=True)
class Cpu:
    """CPU seconds so far."""

    daemon: float
    workers: dict[int, float]
    """By process id."""


class Server:
    """A server process that this program started, and that it stops by its process id."""

    name: str
    ready_line = ""
    """What it must print besides, for a message."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._process: subprocess.Popen | None = None
        self._starts = 0
        self.port = 0

    def command(self) -> list[str]:
        """The command line; takes free ports and sets `self.port`."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def says_ready(self) -> bool:
        """Whether its log holds all that a ready server is to print."""
        return True

    @property
    def pid(self) -> int:
        assert self._process, f"{self.name} is not running"
        return self._process.pid

    @property
    def log(self) -> Path:
        return self._folder / f"{self.name}-{self._starts}.log"

    def start(self) -> float:
        """Starts it; the milliseconds until ServerReady and ModelReady of every model said yes."""
        self._starts += 1
        command = self.command()
        with self.log.open("wb") as log:
            began = time.monotonic()
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                             env=self.environment())
        while not inference.ready(self.port, MODELS):
            self._check_starting(began)
            time.sleep(0.002)
        took_ms = (time.monotonic() - began) * 1000
        while not self.says_ready():
            self._check_starting(began)
            time.sleep(0.01)
        return took_ms

    def _check_starting(self, began: float) -> None:
        code = self._process.poll()
        if code is not None:
            self._process = None
            raise BenchError(f"{self.name} ended with status {code} instead of getting ready.\n{self.log_tail()}")
        if time.monotonic() - began > READY_WITHIN_S:
            raise BenchError(f"{self.name} was not ready within {READY_WITHIN_S} s: ServerReady and ModelReady of "
                             f"{', '.join(m.name for m in MODELS)} must say yes{self.ready_line}.\n{self.log_tail()}")

    def log_tail(self, lines: int = 15) -> str:
        text = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"The end of its output ({self.log}):", *(f"  {line[:200]}" for line in text[-lines:])])

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def cpu(self) -> Cpu:
        workers = {}
        for pid in processes.children(self.pid):
            try:
                workers[pid] = processes.cpu_s(pid)
            except OSError:
                continue  # it ended in between: its absence shows
        return Cpu(processes.cpu_s(self.pid), workers)

    def memory(self) -> tuple[processes.Memory, list[processes.Memory]]:
        """Of the daemon, and of each of its workers."""
        return processes.memory(self.pid), [processes.memory(pid) for pid in processes.children(self.pid)]

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is then still there: this process, and descendants seen before."""
        if not self._process:
            return
        process, self._process = self._process, None
        family = {pid: processes.start_ticks(pid) for pid in processes.children(process.pid)}
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                say(f"warning: {self.name} did not end within {STOP_WITHIN_S} s of SIGTERM; killing it")
                process.kill()
                process.wait()
        if process.returncode:
            say(f"warning: {self.name} ended with status {process.returncode}; its output is in {self.log}")
        for pid, started in family.items():
            if started is not None and processes.start_ticks(pid) == started:
                say(f"warning: {self.name} left its child process {pid} behind; killing it")
                os.kill(pid, signal.SIGKILL)


class Triton(Server):
    name = "triton"

    def __init__(self, folder: Path, tools: Tools, arguments: list[str]):
        super().__init__(folder)
        self._tools = tools
        self._arguments = arguments
        self._repository = folder / "triton-models"
        repositories.write_triton(self._repository)

    def command(self) -> list[str]:
        self.port, http, metrics = free_ports(3)
        return [str(self._tools.tritonserver), "--model-repository", str(self._repository),
                "--backend-directory", str(self._tools.backends),
                "--grpc-address", "127.0.0.1", "--grpc-port", str(self.port),
                "--http-address", "127.0.0.1", "--http-port", str(http),
                "--metrics-address", "127.0.0.1", "--metrics-port", str(metrics), *self._arguments]

    def environment(self) -> dict[str, str]:
        return self._tools.environment()


class Edgemux(Server):
    name = "edgemux"
    ready_line = ", and it must print `edgemuxd: ready`"

    def __init__(self, folder: Path, program: Path, runtime: str, arguments: list[str]):
        super().__init__(folder)
        self._program = program
        self._arguments = arguments
        self._config = folder / "edgemuxd.toml"
        self._config.write_text(repositories.edgemux_config(runtime))
        self._repository = folder / "edgemux-models"
        repositories.write_edgemux(self._repository, runtime)

    def command(self) -> list[str]:
        self.port, metrics = free_ports(2)
        state = self._folder / f"edgemux-state-{self._starts}"
        state.mkdir()
        return [str(self._program), "--config", str(self._config), "--listen", f"127.0.0.1:{self.port}",
                "--model-repository", str(self._repository), "--state-dir", str(state),
                "--metrics", f"127.0.0.1:{metrics}", *self._arguments]

    def says_ready(self) -> bool:
        return "edgemuxd: ready" in self.log.read_text(errors="replace").splitlines()


def free_ports(count: int) -> list[int]:
    """Free loopback ports; all are held until all are found, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
