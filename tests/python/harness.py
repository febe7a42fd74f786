"""A real `edgemuxd` process, the model repositories it serves, and the edges that the stock client does not reach."""

import os
import queue
import re
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "models"
sys.path.insert(0, str(EXAMPLES))
import make_onnx  # noqa: E402

START_S_MAX = 60
STOP_S_MAX = 30
CALL_S_MAX = 60

SERVICE = "/inference.GRPCInferenceService/"

# The daemon's configuration with one emulated accelerator and no other device.
EMULATED_GPU = """
[[device]]
name = "gpu0"
kind = "gpu"
runtimes = ["emulator"]
"""


# === Daemon ===


class Daemon:
    """One `edgemuxd` over a folder of its own; `stop` asserts that it leaves nothing behind."""

    def __init__(self, binary, folder, config=""):
        self._binary = binary
        self._folder = Path(folder)
        self.repository = self._folder / "models"
        self.repository.mkdir(parents=True, exist_ok=True)
        (self._folder / "edgemuxd.toml").write_text(config)
        self._lines = queue.Queue()
        self.process = None
        self.address = None
        self.metrics = None

    def start(self):
        """Starts the process and returns once it has printed that it is ready."""
        with open(self._folder / "stderr", "wb") as stderr:
            self.process = subprocess.Popen(
                [
                    self._binary,
                    *("--config", self._folder / "edgemuxd.toml"),
                    *("--listen", "127.0.0.1:0"),
                    *("--model-repository", self.repository),
                    *("--state-dir", self._folder / "state"),
                    *("--metrics", "127.0.0.1:0"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                # A session of its own: every process that it starts can be found again by it.
                start_new_session=True,
            )
        threading.Thread(target=self._read_stdout, daemon=True).start()
        deadline = time.monotonic() + START_S_MAX
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.kill()
                raise AssertionError(f"edgemuxd was not ready within {START_S_MAX} s\n{self.log()}") from None
            if line is None:
                code = self.process.wait()
                raise AssertionError(f"edgemuxd ended with {code} before it was ready\n{self.log()}")
            if found := re.fullmatch(r"edgemuxd: listening on (127\.0\.0\.1:\d+)", line):
                self.address = found[1]
            elif found := re.fullmatch(r"edgemuxd: metrics on (127\.0\.0\.1:\d+)", line):
                self.metrics = found[1]
            elif line == "edgemuxd: ready":
                break
        assert self.address and self.metrics, "edgemuxd said that it is ready before it said where it listens"
        return self

    def _read_stdout(self):
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def log(self):
        """The end of the daemon's log, for a failure's message."""
        return (self._folder / "stderr").read_text(errors="replace")[-8000:]

    def client(self):
        return grpcclient.InferenceServerClient(self.address)

    def processes(self):
        """The ids of the daemon and of all its descendants."""
        found, rest = [], [self.process.pid]
        while rest:
            pid = rest.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    rest.extend(int(child) for child in children.read_text().split())
                except (FileNotFoundError, ProcessLookupError):
                    pass  # the thread ended while it was looked at
        return found

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        """Sends SIGTERM where nobody has yet, and asserts: exit 0 in time, and no process left."""
        if self.process is None:
            return
        handles = []
        for pid in self.processes()[1:]:
            try:
                handles.append((pid, os.pidfd_open(pid)))
            except ProcessLookupError:
                pass
        if self.process.poll() is None:
            self.terminate()
        try:
            code = self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"edgemuxd did not end within {STOP_S_MAX} s of SIGTERM\n{self.log()}") from None
        finally:
            left = {pid for pid, handle in handles if not ended(handle, seconds=5)}
            left |= sessions_processes(self.process.pid)
            self.kill()
            for _, handle in handles:
                os.close(handle)
        assert code == 0, f"edgemuxd ended with {code} after SIGTERM\n{self.log()}"
        assert not left, f"edgemuxd left processes behind: {sorted(left)}\n{self.log()}"

    def kill(self):
        """Ends the daemon and whatever it started, by the session that they share."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self.process.wait()


def ended(handle, seconds):
    """Whether the process behind a pidfd ends within `seconds`."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def sessions_processes(session):
    """The running processes of a session (those that ended and wait to be reaped do not count)."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything; the state, parent, group and session follow it.
            state, _, _, session_of, *_ = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(session_of) == session and state not in "ZX":
            found.add(int(stat.parent.name))
    return found


# === Repositories ===


def onnx_bytes(model, *options):
    """The file that examples/models/make_onnx.py makes for these arguments."""
    return make_onnx.MODELS[model](make_onnx.parser().parse_args([model, *options]))


def add_model(repository, name, content, version=1, file="model.onnx", load=True):
    """Writes NAME/VERSION/FILE and, to have it loaded at start, an empty NAME/model.toml. Returns the file's path."""
    path = repository / name / str(version) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if load:
        (repository / name / "model.toml").touch()
    return path


def add_emulated(repository, name, tensors=(("FP32", [4]),), mean_ms=1.0, responses=None, load=True):
    """Adds an emulated model whose i-th output OUTPUTi is a copy of its i-th input INPUTi.

    `tensors` are their (datatype, shape); the service time is `mean_ms`, always the same.
    """
    lines = [f"responses = {responses}"] if responses else []
    for kind in ("input", "output"):
        for index, (datatype, shape) in enumerate(tensors):
            lines += [f"[[{kind}]]", f'name = "{kind.upper()}{index}"', f'datatype = "{datatype}"', f"shape = {shape}"]
    lines += ["[service]", f"mean-ms = {mean_ms:.1f}", "cv = 0.0"]
    return add_model(repository, name, "\n".join(lines).encode() + b"\n", file="model.emu.toml", load=load)


# === Requests ===


def tensor(name, array, datatype=None, shape=None):
    """An input of the stock client that holds `array`; `datatype` and `shape` may lie about it."""
    made = grpcclient.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array)
    # The client checks what it sends; a test of the server's checks changes the message afterwards.
    if datatype is not None:
        made._get_tensor().datatype = datatype
    if shape is not None:
        made.set_shape(shape)
    return made


def arith_arrays(dtype=np.int32, batch=1, seed=1):
    """Two inputs of the model `arith`, of small positive and negative numbers."""
    random = np.random.RandomState(seed)
    return [random.randint(-1000, 1000, size=(batch, 16)).astype(dtype) for _ in range(2)]


def arith_inputs(arrays):
    return [tensor(f"INPUT{index}", array) for index, array in enumerate(arrays)]


def assert_arith(result, arrays):
    """The answer of `arith` to `arrays` is right in both outputs, dtype and shape included."""
    for name, expected in (("OUTPUT0", arrays[0] + arrays[1]), ("OUTPUT1", arrays[0] - arrays[1])):
        answered = result.as_numpy(name)
        assert answered.dtype == expected.dtype
        np.testing.assert_array_equal(answered, expected)


def infer(client, model, inputs, **options):
    return client.infer(model, inputs, client_timeout=CALL_S_MAX, **options)


def fails_with(codes, call, *arguments, **options):
    """Calls, asserts that the answer is a status among `codes` (a name or several), and returns its message."""
    codes = (codes,) if isinstance(codes, str) else codes
    try:
        answer = call(*arguments, **options)
    except InferenceServerException as error:
        status, message = error.status(), error.message()
    except grpc.RpcError as error:
        status, message = str(error.code()), error.details()
    else:
        raise AssertionError(f"expected {' or '.join(codes)}, answered {answer!r}")
    assert status in [f"StatusCode.{code}" for code in codes], f"expected {' or '.join(codes)}, got {status}: {message}"
    assert message, f"{status} comes without a message"
    return message


def call_bytes(address, method, request):
    """A unary call with `request`'s bytes as they are, answered in bytes. `method` is /package.Service/Method."""
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(address, options=options) as channel:
        call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
        return call(request, timeout=CALL_S_MAX)


class Answers:
    """Collects what callbacks of the client are given, in the order of arrival."""

    def __init__(self):
        self._arrived = queue.Queue()

    def callback(self, tag=None):
        """A callback that notes `tag` beside its result and its error."""
        return lambda result, error: self._arrived.put((tag, result, error))

    def next(self):
        """The next (tag, result, error)."""
        return self._arrived.get(timeout=CALL_S_MAX)

    def next_result(self):
        """The next (tag, result), which must not be an error."""
        tag, result, error = self.next()
        assert error is None, error
        return tag, result

    def none_left(self):
        return self._arrived.empty()


def all_sent(client):
    """Returns when the daemon has received everything that `client` sent before: one connection keeps the order."""
    assert client.is_server_live(client_timeout=CALL_S_MAX)


def success_count(client, model):
    """How often the model's one version was executed for a request, by its own statistics."""
    (entry,) = client.get_inference_statistics(model, client_timeout=CALL_S_MAX).model_stats
    assert entry.execution_count == entry.inference_stats.success.count
    return entry.inference_stats.success.count
