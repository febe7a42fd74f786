"""Writes the model repositories: the same two identity models for Triton and for edgemuxd."""

from pathlib import Path

from .cases import MODELS, Model
from .protobuf import field, number, text

RUNTIMES = ("emulator", "onnx")


def write_triton(folder: Path) -> None:
    for model in MODELS:
        (folder / model.name / "1").mkdir(parents=True)
        dims = ", ".join(map(str, model.shape))
        (folder / model.name / "config.pbtxt").write_text(
            'backend: "identity"\n'
            "max_batch_size: 0\n"
            f'input [ {{ name: "INPUT0" data_type: TYPE_FP32 dims: [ {dims} ] }} ]\n'
            f'output [ {{ name: "OUTPUT0" data_type: TYPE_FP32 dims: [ {dims} ] }} ]\n'
            "instance_group [ { kind: KIND_CPU count: 1 } ]\n")


def write_edgemux(folder: Path, runtime: str) -> None:
    for model in MODELS:
        version = folder / model.name / "1"
        version.mkdir(parents=True)
        (folder / model.name / "model.toml").write_text("")  # its presence means: load at start
        if runtime == "emulator":
            (version / "model.emu.toml").write_text(_emulated(model))
        else:
            (version / "model.onnx").write_bytes(onnx_identity(model))


def edgemux_config(runtime: str) -> str:
    kind = "gpu" if runtime == "emulator" else "cpu"
    return f'[[device]]\nname = "{kind}0"\nkind = "{kind}"\nruntimes = ["{runtime}"]\n'


def _emulated(model: Model) -> str:
    """The emulator copies input to output; a mean of 0 ms asks it to keep no time of its own."""
    tensor = 'name = "{}"\ndatatype = "FP32"\nshape = [{}]\n'
    shape = ", ".join(map(str, model.shape))
    return ("[[input]]\n" + tensor.format("INPUT0", shape) + "[[output]]\n" + tensor.format("OUTPUT0", shape)
            + "[service]\nmean-ms = 0.0\n")


def onnx_identity(model: Model) -> bytes:
    """A ModelProto with one Identity node, encoded by hand: field numbers are those of onnx.proto."""
    node = text(1, "INPUT0") + text(2, "OUTPUT0") + text(3, "identity") + text(4, "Identity")
    graph = (field(1, node) + text(2, model.name)
             + field(11, _value_info("INPUT0", model)) + field(12, _value_info("OUTPUT0", model)))
    opset = text(1, "") + number(2, 13)
    return number(1, 8) + text(2, "edgemux-bench") + field(7, graph) + field(8, opset)


def _value_info(name: str, model: Model) -> bytes:
    shape = b"".join(field(1, number(1, size)) for size in model.shape)
    float_tensor = number(1, 1) + field(2, shape)
    return text(1, name) + field(2, field(1, float_tensor))
