"""One daemon hosts ONNX, TorchScript and TensorFlow Lite models at once, on one device, under one admission.

The references are onnxruntime and TensorFlow Lite's own interpreter, over the very files that are served. PyTorch is too
large to be fetched for this: what it answered is kept beside the model (`runtimes/torch/tests/models/make.py` makes both),
and where it can be imported it is asked as well.
"""

import json
import os
import re
import subprocess
import urllib.request

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

from harness import CALL_S_MAX, EXAMPLES, ROOT, Daemon, add_model, infer, tensor

ERROR_MAX = 1e-4
TORCH_MODELS = ROOT / "runtimes" / "torch" / "tests" / "models"

ONE_DEVICE = """
load-at-start = "none"

[[device]]
name = "cpu0"
kind = "cpu"
runtimes = ["onnx", "torch", "tflite"]
threads = 1
"""

# Model: its runtime, file, input, output, and the input's shape.
MODELS = {
    "by_onnx": ("onnx", EXAMPLES / "mobilenet_tiny.onnx", "image", "scores", (1, 3, 96, 96)),
    "by_torch": ("torch", TORCH_MODELS / "small.pt", "image", "scores", (2, 3, 32, 32)),
    "by_tflite": ("tflite", EXAMPLES / "mobilenet_tiny.tflite", "image", "scores", (1, 96, 96, 3)),
    "by_tflite_int8": ("tflite", EXAMPLES / "mobilenet_tiny_int8.tflite", "image", "scores", (1, 96, 96, 3)),
}
# Requests per second and the p99 in ms under which each is admitted: bounds that a busy machine keeps too.
RATE_HZ, LATENCY_MS = 4, 2000


def given(model, seed=1):
    """An input of the model. TorchScript's is the one that PyTorch was given."""
    runtime, file, _, _, shape = MODELS[model]
    if runtime == "torch":
        return np.fromfile(file.with_suffix(".image"), np.float32).reshape(shape)
    values = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    return np.clip(values * 40, -128, 127).astype(np.int8) if model.endswith("int8") else values


def by_onnx(file, array):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": array})[0]


def by_torch(file, array):
    kept = np.fromfile(file.with_suffix(".scores"), np.float32).reshape(2, 10)
    try:
        import torch
    except ImportError:
        return kept
    with torch.no_grad():
        live = torch.jit.load(str(file))(torch.from_numpy(array)).numpy()
    assert np.abs(live - kept).max() <= ERROR_MAX
    return live


def by_tflite(file, array):
    interpreter = Interpreter(model_path=str(file), num_threads=1)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], array.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], array)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


REFERENCES = {"onnx": by_onnx, "torch": by_torch, "tflite": by_tflite}


@pytest.fixture(scope="module")
def daemon(edgemuxd, tmp_path_factory):
    """The models are in its repository, none is loaded."""
    for runtime in ("torch", "tflite"):
        worker = edgemuxd.parent / f"edgemux-runtime-{runtime}"
        if not os.access(worker, os.X_OK):
            pytest.fail(f"no {worker}: `cargo xtask test` builds it", pytrace=False)
    daemon = Daemon(edgemuxd, tmp_path_factory.mktemp("three"), ONE_DEVICE)
    for name, (_, file, *_) in MODELS.items():
        add_model(daemon.repository, name, file.read_bytes(), file="model" + file.suffix, load=False)
    add_model(daemon.repository, "late", MODELS["by_onnx"][1].read_bytes(), load=False)
    yield daemon.start()
    daemon.stop()


@pytest.fixture(scope="module")
def edgemux(edgemuxd, daemon):
    """The command: `edgemux(arguments…)` returns its exit code and the object that it prints."""
    command = edgemuxd.with_name("edgemux")

    def run(*arguments):
        called = [command, *map(str, arguments), "--server", daemon.address, "--json"]
        done = subprocess.run(called, capture_output=True, text=True, timeout=CALL_S_MAX)
        assert done.stdout, f"{called} printed nothing\n{done.stderr}\n{daemon.log()}"
        return done.returncode, json.loads(done.stdout)

    return run


def terms(rate_hz, latency_ms):
    return ["--rate-hz", rate_hz, "--latency-ms", latency_ms, "--quantile", 0.99]


@pytest.fixture(scope="module")
def verdicts(edgemux):
    """Each model is admitted, one after the other. Returns the verdicts."""
    verdicts = {}
    for model in MODELS:
        code, verdict = edgemux("admit", model, *terms(RATE_HZ, LATENCY_MS))
        assert code == 0, verdict
        verdicts[model] = verdict["verdict"]
    return verdicts


@pytest.fixture
def client(daemon, verdicts):
    with daemon.client() as client:
        yield client


def test_each_is_admitted_with_a_prediction_for_everybody(verdicts):
    for number, (model, verdict) in enumerate(verdicts.items(), 1):
        found = verdict["tenants"]
        assert len(found) == number, f"{model} is weighed together with all who came before"
        for tenant in found:
            latency = tenant["after"]
            assert 0 < latency["p50_ms"] <= latency["p99_ms"] < LATENCY_MS, tenant


@pytest.mark.parametrize("model", MODELS)
def test_outputs_equal_the_references(client, model):
    runtime, file, input_name, output_name, _ = MODELS[model]
    for seed in (1, 2, 3):
        array = given(model, seed)
        expected = REFERENCES[runtime](file, array)
        answered = infer(client, model, [tensor(input_name, array)]).as_numpy(output_name)
        assert (answered.shape, answered.dtype) == (expected.shape, expected.dtype)
        difference = np.abs(answered.astype(np.float64) - expected).max()
        # Of integers, the last place may be rounded otherwise.
        assert difference <= (1 if expected.dtype == np.int8 else ERROR_MAX), difference
        assert expected.std() > (1 if expected.dtype == np.int8 else 100 * ERROR_MAX), "the comparison means nothing"


def test_each_says_by_what_it_is_run(client):
    for model, (runtime, *_) in MODELS.items():
        config = client.get_model_config(model, client_timeout=CALL_S_MAX).config
        assert config.backend == runtime
        assert [group.name for group in config.instance_group] == ["cpu0"]


def test_a_quantised_model_says_what_its_integers_are_worth(client):
    config = client.get_model_config("by_tflite_int8", client_timeout=CALL_S_MAX).config
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    details = Interpreter(model_path=str(MODELS["by_tflite_int8"][1])).get_input_details()[0]
    scale, zero_point = details["quantization"]
    assert float(parameters["image.scale"]) == pytest.approx(scale)
    assert int(parameters["image.zero_point"]) == zero_point


def test_what_does_not_fit_beside_all_of_them_is_refused_with_the_reason(edgemux, verdicts):
    code, answer = edgemux("admit", "late", *terms(1, 0.01))
    assert code == 3, answer
    reasons = answer["verdict"]["reasons"]
    assert any("late/1" in reason["message"] and "objective" in reason["message"] for reason in reasons), reasons
    assert len(answer["verdict"]["tenants"]) == len(MODELS) + 1


def test_the_cost_of_each_is_learned_while_it_runs(client, edgemux, daemon):
    before = costs(edgemux)
    for model in MODELS:
        for _ in range(20):
            infer(client, model, [tensor("image", given(model))])
    after = costs(edgemux)
    for model in MODELS:
        # Every sample moves the mean; how many count is another matter, since a sudden change begins anew.
        assert after[model] > 0 and after[model] != before[model], (model, before, after)
    with urllib.request.urlopen(f"http://{daemon.metrics}/metrics", timeout=CALL_S_MAX) as answer:
        metrics = answer.read().decode()
    for model in MODELS:
        for name in ("predicted", "observed"):
            line = rf'edgemux_session_{name}_latency_seconds{{model="{model}",.*quantile="0.99"}} (\S+)'
            assert float(re.search(line, metrics)[1]) > 0


def costs(edgemux):
    """What an inference of each model takes on average, as far as was learned, in ms."""
    code, shown = edgemux("calibration")
    assert code == 0
    return {profile["session"].split("/")[0]: profile["service_mean_ms"] for profile in shown["profiles"]}
