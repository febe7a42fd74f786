"""The example models are what their script makes, of the size and operators that they are said to have."""

import onnx
import pytest

from harness import EXAMPLES, make_onnx, onnx_bytes

COMMON_OPERATORS = set(
    "Add Clip Concat Conv Flatten Gemm GlobalAveragePool Identity MaxPool Relu Reshape Softmax Sub Transpose".split()
)


@pytest.mark.parametrize(("name", "bytes_max"), [("mobilenet_tiny", 250_000), ("keywords", 150_000)])
def test_the_committed_models_are_what_the_script_makes(name, bytes_max):
    committed = (EXAMPLES / f"{name}.onnx").read_bytes()
    assert committed == onnx_bytes(name)
    assert len(committed) <= bytes_max


@pytest.mark.parametrize("name", make_onnx.MODELS)
def test_every_model_is_valid_and_uses_common_operators_only(name):
    content = onnx_bytes(name)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} <= COMMON_OPERATORS
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert not model.producer_name and not model.producer_version
    assert content == onnx_bytes(name)


def test_the_batch_is_symbolic_unless_it_is_given():
    def batch(*options):
        graph = onnx.load_from_string(onnx_bytes("keywords", *options)).graph
        return [value.type.tensor_type.shape.dim[0] for value in (graph.input[0], graph.output[0])]

    assert [dimension.dim_param for dimension in batch()] == ["batch", "batch"]
    assert [dimension.dim_value for dimension in batch("--batch", "2")] == [2, 2]


def test_another_seed_makes_other_weights():
    assert onnx_bytes("keywords", "--seed", "2") != onnx_bytes("keywords")
