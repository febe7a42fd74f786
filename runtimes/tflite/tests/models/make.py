#!/usr/bin/env python3
"""Make the small TensorFlow Lite files that the tests of this runtime use; they lie beside this script.

    python make.py                      # the models: needs the packages flatbuffers and numpy
    python make.py --answers            # what they answer, by TensorFlow Lite itself: needs ai-edge-litert<2 as well

One version of flatbuffers (the files here: 25.12.19) makes the same bytes on every machine. Answers come from the reference
kernels of another release of TensorFlow Lite than the one that the runtime links: floating point may differ in the last
digits, integers may not.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[3] / "examples/models"))

from make_tflite import NONE, RELU, STRING, Graph  # noqa: E402

DATATYPES = ["float32", "float64", "int32", "int64", "int16", "int8", "uint8", "bool"]


def echo():
    """Its input, times one."""
    graph = Graph()
    x = graph.tensor("x", "float32", (-1,))
    y = graph.tensor("y", "float32", (-1,))
    graph.operator("MUL", [x, graph.constant(np.ones(1, np.float32))], [y], (0, "Int8", NONE))
    return graph.model({"x": x}, {"y": y})


def sum_and_difference():
    graph = Graph()
    a, b = (graph.tensor(name, "float32", (-1,)) for name in "ab")
    total, difference = (graph.tensor(name, "float32", (-1,)) for name in ("sum", "difference"))
    graph.operator("ADD", [a, b], [total], (0, "Int8", NONE))
    graph.operator("SUB", [a, b], [difference], (0, "Int8", NONE))
    return graph.model({"a": a, "b": b}, {"sum": total, "difference": difference})


def conv_relu():
    """The picture's centre, doubled, less one, nothing below zero. Its tensors' own names are not the signature's."""
    graph = Graph()
    kernel = np.zeros((1, 3, 3, 1), np.float32)
    kernel[0, 1, 1, 0] = 2
    x = graph.tensor("serving_default_x:0", "float32", (-1, 4, 4, 1))
    y = graph.tensor("StatefulPartitionedCall:0", "float32", (-1, 2, 2, 1))
    weights = [graph.constant(kernel), graph.constant(np.array([-1], np.float32))]
    valid = 1
    graph.operator("CONV_2D", [x, *weights], [y], (0, "Int8", valid), (1, "Int32", 1), (2, "Int32", 1), (3, "Int8", RELU))
    return graph.model({"x": x}, {"y": y})


def every_datatype():
    """Each input as it is, its two elements in a column. It has no signature."""
    graph = Graph()
    inputs, outputs = {}, {}
    for datatype in DATATYPES:
        inputs[datatype] = graph.tensor(datatype, datatype, (2,))
        outputs[datatype] = graph.tensor(f"{datatype}_column", datatype, (2, 1))
        shape = graph.constant(np.array([2, 1], np.int32))
        graph.operator("RESHAPE", [inputs[datatype], shape], [outputs[datatype]])
    return graph.model(inputs, outputs, signature=False)


def add(datatype, zero_points):
    """A sum of integers worth 1/2 and 1/4, as integers worth 1."""
    graph = Graph()
    a = graph.tensor("a", datatype, (4,), scale=0.5, zero_point=zero_points[0])
    b = graph.tensor("b", datatype, (4,), scale=0.25, zero_point=zero_points[1])
    y = graph.tensor("y", datatype, (4,), scale=1.0, zero_point=zero_points[2])
    graph.operator("ADD", [a, b], [y], (0, "Int8", NONE))
    return graph.model({"a": a, "b": b}, {"y": y})


def per_channel():
    """An input whose two columns are worth 1/2 and 1/4; it is only passed on."""
    graph = Graph()
    x = graph.tensor("x", "int8", (1, 2), scale=[0.5, 0.25], zero_point=[0, 3], axis=1)
    y = graph.tensor("y", "int8", (2,))
    graph.operator("RESHAPE", [x, graph.constant(np.array([2], np.int32))], [y])
    return graph.model({"x": x}, {"y": y})


def many_products():
    """Four hundred products of a square matrix: whole seconds of work if the matrix is large."""
    graph = Graph()
    x = last = graph.tensor("x", "float32", (-1, -1))
    for number in range(400):
        product = graph.tensor(f"p{number}", "float32", (-1, -1))
        graph.operator("BATCH_MATMUL", [last, x], [product], (0, "Bool", False))
        last = product
    return graph.model({"x": x}, {"y": last})


def strings():
    graph = Graph()
    x = graph.tensor("x", STRING, (2,))
    y = graph.tensor("y", STRING, (1, 2))
    graph.operator("RESHAPE", [x, graph.constant(np.array([1, 2], np.int32))], [y])
    return graph.model({"x": x}, {"y": y})


def unknown_operator(name="Frobnicate"):
    graph = Graph()
    x, y = (graph.tensor(name, "float32", (1,)) for name in "xy")
    graph.custom(name, [x], [y], b"")
    return graph.model({"x": x}, {"y": y})


def misfit():
    """A sum of shapes that do not go together: TensorFlow Lite finds out when it makes room for the tensors."""
    graph = Graph()
    a, b, y = graph.tensor("a", "float32", (3,)), graph.tensor("b", "float32", (2,)), graph.tensor("y", "float32", (3,))
    graph.operator("ADD", [a, b], [y], (0, "Int8", NONE))
    return graph.model({"a": a, "b": b}, {"y": y})


def no_outputs():
    graph = Graph()
    x = graph.tensor("x", "float32", (1,))
    return graph.model({"x": x}, {})


def twice():
    graph = Graph()
    a, b, y = (graph.tensor(name, "float32", (1,)) for name in "xxy")
    graph.operator("ADD", [a, b], [y], (0, "Int8", NONE))
    return graph.model({"a": a, "b": b}, {"y": y}, signature=False)


MODELS = {
    "echo": echo,
    "sum_and_difference": sum_and_difference,
    "conv_relu": conv_relu,
    "every_datatype": every_datatype,
    "add_int8": lambda: add("int8", (0, 4, -1)),
    "add_uint8": lambda: add("uint8", (128, 100, 127)),
    "per_channel": per_channel,
    "many_products": many_products,
    "strings": strings,
    "unknown_operator": unknown_operator,
    "for_edgetpu": lambda: unknown_operator("edgetpu-custom-op"),
    "misfit": misfit,
    "no_outputs": no_outputs,
    "twice": twice,
}


# === answers of networks ===


def image(shape):
    """A picture that any language can make: sixteenths of a hash of each place, less a half."""
    count = int(np.prod(shape))
    places = np.arange(count, dtype=np.uint32)
    return ((((places * np.uint32(2654435761)) >> np.uint32(28)).astype(np.float32) - 8) / 16).reshape(shape)


def answer(path):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), num_threads=1, experimental_op_resolver_type=resolver)
    declared = interpreter.get_input_details()[0]
    shape = [2, *declared["shape"][1:]]
    interpreter.resize_tensor_input(declared["index"], shape)
    interpreter.allocate_tensors()
    picture = image(shape)
    if declared["dtype"] == np.int8:
        # Sixteen times a sixteenth is whole.
        picture = (picture * 16).astype(np.int8)
    interpreter.set_tensor(declared["index"], picture)
    interpreter.invoke()
    scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return " ".join(repr(score.item()) for score in scores.ravel()) + "\n"


def main():
    if "--answers" in sys.argv:
        examples = HERE.parents[3] / "examples/models"
        for network in ("mobilenet_tiny", "mobilenet_tiny_int8", "keywords", "keywords_int8"):
            (HERE / f"{network}.scores").write_text(answer(examples / f"{network}.tflite"))
        return
    for name, make in MODELS.items():
        (HERE / f"{name}.tflite").write_bytes(make())


if __name__ == "__main__":
    main()
