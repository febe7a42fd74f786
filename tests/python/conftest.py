"""Fixtures: daemons over repositories of their own, and clients of them.

`served` (ONNX models on the CPU) and `emulated` (an emulated GPU) run for the whole session; a test that changes what
is loaded, or ends a daemon, starts its own with `start_daemon`.
"""

import os
from pathlib import Path

import pytest

pytest.register_assert_rewrite("harness")

from harness import EMULATED_GPU, ROOT, Daemon, add_emulated, add_model, onnx_bytes  # noqa: E402

# Datatypes of the emulated models `copy_fp32`, …: those that have both raw and typed contents.
COPY_DATATYPES = "BOOL INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64 FP32 FP64".split()


@pytest.fixture(scope="session")
def edgemuxd():
    """The daemon's binary: $EDGEMUXD, or the one of a debug build."""
    binary = Path(os.environ.get("EDGEMUXD") or ROOT / "target" / "debug" / "edgemuxd").resolve()
    if not os.access(binary, os.X_OK):
        pytest.fail(f"no edgemuxd at {binary}: build it (cargo build) or set EDGEMUXD", pytrace=False)
    return binary


@pytest.fixture
def start_daemon(edgemuxd, tmp_path):
    """Starts a daemon: `start_daemon(prepare, config)`, where `prepare` is given the repository's folder to fill."""
    daemons = []

    def start(prepare=lambda repository: None, config=""):
        daemon = Daemon(edgemuxd, tmp_path / f"daemon{len(daemons)}", config)
        daemons.append(daemon)
        prepare(daemon.repository)
        return daemon.start()

    yield start
    for daemon in daemons:
        daemon.stop()


@pytest.fixture(scope="session")
def served(edgemuxd, tmp_path_factory):
    """A daemon on its defaults: one CPU device, ONNX models."""
    daemon = Daemon(edgemuxd, tmp_path_factory.mktemp("served"))
    add_model(daemon.repository, "arith", onnx_bytes("arith"))
    add_model(daemon.repository, "arith64", onnx_bytes("arith", "--datatype", "INT64"))
    add_model(daemon.repository, "identity", onnx_bytes("identity"))
    for name in ("mobilenet_tiny", "keywords", "mobilenet_v2"):
        add_model(daemon.repository, name, onnx_bytes(name))
    add_model(daemon.repository, "spare", onnx_bytes("arith"), load=False)
    yield daemon.start()
    daemon.stop()


@pytest.fixture
def client(served):
    with served.client() as client:
        yield client


@pytest.fixture(scope="session")
def emulated(edgemuxd, tmp_path_factory):
    """A daemon whose one device is an emulated GPU."""
    daemon = Daemon(edgemuxd, tmp_path_factory.mktemp("emulated"), EMULATED_GPU)
    for datatype in COPY_DATATYPES:
        add_emulated(daemon.repository, f"copy_{datatype.lower()}", [(datatype, [4])])
    add_emulated(daemon.repository, "copy_fp16", [("FP16", [4])])
    add_emulated(daemon.repository, "never_asked")
    add_emulated(daemon.repository, "thrice", responses=3)
    # One for each test that counts: what they count is then not shared.
    for name in ("slow_timeout", "slow_deadline", "slow_cancel", "slow_stream", "slow_priority"):
        add_emulated(daemon.repository, name, mean_ms=300.0)
    yield daemon.start()
    daemon.stop()


@pytest.fixture
def emulated_client(emulated):
    with emulated.client() as client:
        yield client
