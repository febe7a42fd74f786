#!/usr/bin/env python3
"""Make the small files that the tests of this runtime use, as edgetpu_compiler lays them out; they lie beside this script.

    python make.py

Where the compiler puts programs for the chip, these have words for the delegate of the tests (tests/fake/delegate.cc), so
that a real edgeTPU does not run them. Needs the packages flatbuffers and numpy; one version of flatbuffers (the files here:
25.12.19) makes the same bytes on every machine.
"""

import sys
from pathlib import Path

import numpy as np
from flatbuffers import flexbuffers

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[3] / "examples/models"))

from make_tflite import NONE, Graph, Writer  # noqa: E402

OPERATOR = "edgetpu-custom-op"
STAND_ALONE, PARAMETER_CACHING, EXECUTION_ONLY = 0, 1, 2


def executable(kind, name, parameters, token):
    writer = Writer()
    root = writer.table(
        (1, "Offset", writer.string(name)),
        (6, "Offset", writer.bytes(bytes(parameters)) if parameters else None),
        (13, "Int16", kind),
        (14, "Uint64", token),
    )
    writer.builder.Finish(root)
    return bytes(writer.builder.Output())


def package(program, cached, streamed, token):
    """What the compiler makes of one operator: weights to bring to the chip, if any, and what runs with them."""
    words = f"fake:{program};token:{token};cached:{cached};"
    executables = []
    if cached:
        executables.append(executable(PARAMETER_CACHING, "weights", cached, token))
    executables.append(executable(EXECUTION_ONLY if cached else STAND_ALONE, words, streamed, token))
    writer = Writer()
    multi = writer.table((0, "Offset", writer.offsets([writer.builder.CreateString(one) for one in executables])))
    writer.builder.Finish(multi)
    multi = bytes(writer.builder.Output())
    writer = Writer()
    root = writer.table(
        (0, "Int32", 13),
        (1, "Offset", writer.bytes(multi)),
        (4, "Offset", writer.string("none: made by hand")),
    )
    return options(writer.finish(root, b"DWN1"))


def options(content):
    """The operator's options: a map whose entry "4" is a string of bytes."""
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Int("1", 1)
        builder.Key("4")
        builder._WriteBlob(content, append_zero=True, type_=flexbuffers.Type.STRING)
        builder.Int("5", 0)
    return bytes(builder.Finish())


def one_input(content, datatype="float32", shape=(-1,), **quantization):
    graph = Graph()
    x, y = (graph.tensor(name, datatype, shape, **quantization) for name in "xy")
    graph.custom(OPERATOR, [x], [y], content)
    return graph.model({"x": x}, {"y": y})


def sum_and_difference():
    graph = Graph()
    a, b, total, difference = (graph.tensor(name, "float32", (-1,)) for name in ("a", "b", "sum", "difference"))
    graph.custom(OPERATOR, [a, b], [total, difference], package("sum-and-difference", 100, 0, 1))
    return graph.model({"a": a, "b": b}, {"sum": total, "difference": difference})


def mixed():
    """Doubled on the edgeTPU, then three added on the processor: integers worth 1/2 from 10."""
    graph = Graph()
    worth = {"scale": 0.5, "zero_point": 10}
    x, doubled, y = (graph.tensor(name, "int8", (1, 4), **worth) for name in ("x", "doubled", "y"))
    graph.custom(OPERATOR, [x], [doubled], package("double", 1000, 0, 33))
    three = graph.constant(np.array([16], np.int8), **worth)
    graph.operator("ADD", [doubled, three], [y], (0, "Int8", NONE))
    return graph.model({"x": x}, {"y": y})


def processor_only():
    graph = Graph()
    a, b, y = (graph.tensor(name, "float32", (4,)) for name in "aby")
    graph.operator("ADD", [a, b], [y], (0, "Int8", NONE))
    return graph.model({"a": a, "b": b}, {"y": y})


MODELS = {
    # Without a package: what the compiler writes cannot always be read.
    "echo": lambda: one_input(b"fake:copy;"),
    "sum_and_difference": sum_and_difference,
    "mixed": mixed,
    "alone": lambda: one_input(package("copy", 6000, 0, 11)),
    "together_1": lambda: one_input(package("copy", 3000, 500, 22)),
    "together_2": lambda: one_input(package("copy", 2000, 0, 22)),
    "streamed": lambda: one_input(package("copy", 0, 9000, 0)),
    "slow": lambda: one_input(package("slow", 100, 0, 44)),
    "crash": lambda: one_input(package("crash", 100, 0, 55)),
    "hang": lambda: one_input(package("hang", 100, 0, 66)),
    "fail": lambda: one_input(package("fail", 100, 0, 77)),
    "processor_only": processor_only,
}


def main():
    for name, make in MODELS.items():
        (HERE / f"{name}.tflite").write_bytes(make())


if __name__ == "__main__":
    main()
