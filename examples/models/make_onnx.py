#!/usr/bin/env python3
"""Make ONNX files of real network architectures with random weights.

The networks are for demonstrations, tests and load measurements: their shapes, operators and cost are those of the
published architectures, their weights are drawn from a seeded generator and have learned nothing. The same arguments
give the same bytes on every run and machine.

    python make_onnx.py mobilenet_tiny keywords --out .
    python make_onnx.py mobilenet_v2 --repository DIR      # writes DIR/mobilenet_v2/1/model.onnx

Models (batch is symbolic unless --batch is given)

    mobilenet_tiny  MobileNetV1, width 0.125       image  FP32 [N,3,96,96]    scores        FP32 [N,10] (softmax)
    keywords        DS-CNN, small ("Hello Edge")   mfcc   FP32 [N,1,49,10]    scores        FP32 [N,12] (softmax)
    mobilenet_v2    MobileNetV2 1.0                image  FP32 [N,3,224,224]  logits        FP32 [N,1000]
    resnet18        ResNet-18                      image  FP32 [N,3,224,224]  logits        FP32 [N,1000]
    detector        SSD heads over MobileNetV2     image  FP32 [N,3,320,320]  boxes FP32 [N,3000,4], scores FP32 [N,3000,91]
    identity        one Identity                   INPUT0 FP32 [-1,-1]        OUTPUT0       as INPUT0
    arith           sum and difference             INPUT0, INPUT1 INT32 [N,16]  OUTPUT0, OUTPUT1 INT32 [N,16]

Needs the packages onnx and numpy.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
# The oldest file format that opset 17 may be written in: the most readers accept it.
IR_VERSION = 8

# A unit-variance Gaussian has variance (1 - 1/pi) / 2 after Relu; this gain restores it.
GAIN_RELU = math.sqrt(2.0 / (1.0 - 1.0 / math.pi))


class Weights:
    """Draws weights that keep activations at unit scale, and draws the same ones everywhere.

    Batch normalisation is folded into the convolutions, so nothing at run time holds activations in range: the
    weights must. Every filter has zero mean and unit norm times a gain ("scaled weight standardisation", Brock et
    al. 2021): the zero mean keeps the positive mean of rectified activations, which is alike for every input, from
    drowning what differs between inputs.

    Filters are small integers times one scale. Mean and norm are computed on the integers, exactly, so that no
    machine's order of summation shows in the file. `RandomState` is the one numpy generator whose stream is frozen.
    """

    def __init__(self, seed):
        self._random = np.random.RandomState(seed)

    def filters(self, shape, gain):
        """FP32 weights of `shape`; the first axis counts filters, the rest is one filter's fan-in."""
        count, fan_in = shape[0], int(np.prod(shape[1:]))
        drawn = self._random.randint(-127, 128, size=(count, fan_in)).astype(np.int64)
        centred = drawn * fan_in - drawn.sum(axis=1, keepdims=True)
        norm = np.sqrt((centred * centred).sum(axis=1, keepdims=True).astype(np.float64))
        return (centred * (gain / norm)).astype(np.float32).reshape(shape)

    def bias(self, count, spread):
        """FP32 biases, uniform in [-spread, spread]."""
        return (self._random.randint(-127, 128, size=count) * (spread / 127)).astype(np.float32)


class Graph:
    """Builds one ONNX graph node by node; each method adds a layer and returns the name of its output."""

    def __init__(self, name, seed):
        self.name = name
        self.weights = Weights(seed)
        self._nodes = []
        self._initializers = []
        self._constants = {}

    def constant(self, array):
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"c{len(self._constants)}"
            self._initializers.append(numpy_helper.from_array(array, name))
            self._constants[key] = name
        return self._constants[key]

    def node(self, operator, inputs, output=None, **attributes):
        output = output or f"t{len(self._nodes)}"
        node = helper.make_node(operator, inputs, [output], **attributes)
        # Attributes and names are the only parts whose order a library version could choose.
        attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
        del node.attribute[:]
        node.attribute.extend(attributes)
        self._nodes.append(node)
        return output

    def conv(self, x, channels_in, channels_out, kernel, stride=1, pads=None, groups=1, gain=GAIN_RELU):
        """Convolution with its batch normalisation folded in. `kernel` and `stride` are a number or (height, width);
        `pads` is (top, left, bottom, right), by default what keeps the size at stride 1."""
        kernel = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        stride = stride if isinstance(stride, tuple) else (stride, stride)
        pads = pads or (kernel[0] // 2, kernel[1] // 2) * 2
        weight = self.weights.filters((channels_out, channels_in // groups, *kernel), gain)
        bias = self.weights.bias(channels_out, 0.2)
        return self.node(
            "Conv",
            [x, self.constant(weight), self.constant(bias)],
            dilations=[1, 1],
            group=groups,
            kernel_shape=list(kernel),
            pads=list(pads),
            strides=list(stride),
        )

    def depthwise(self, x, channels, stride=1):
        return self.conv(x, channels, channels, 3, stride, groups=channels)

    def relu(self, x):
        return self.node("Relu", [x])

    def relu6(self, x):
        return self.node("Clip", [x, self.constant(np.float32(0)), self.constant(np.float32(6))])

    def classifier(self, x, channels, classes, output, gain, softmax):
        """Global average pool, fully connected layer and, where asked for, softmax."""
        x = self.node("GlobalAveragePool", [x])
        x = self.node("Flatten", [x], axis=1)
        weight = self.constant(self.weights.filters((classes, channels), gain))
        bias = self.constant(self.weights.bias(classes, 0.2))
        x = self.node("Gemm", [x, weight, bias], None if softmax else output, alpha=1.0, beta=1.0, transA=0, transB=1)
        return self.node("Softmax", [x], output, axis=1) if softmax else x

    def model(self, inputs, outputs):
        """The finished file's bytes. `inputs` and `outputs` are lists of (name, ONNX type, shape)."""
        graph = helper.make_graph(
            self._nodes,
            self.name,
            [helper.make_tensor_value_info(*value) for value in inputs],
            [helper.make_tensor_value_info(*value) for value in outputs],
            self._initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        # Which package version wrote the file must not show in its bytes.
        for field in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
            model.ClearField(field)
        return model.SerializeToString(deterministic=True)


def mobilenet_tiny(options):
    """MobileNetV1 at width 0.125 for 96x96 images (Howard et al. 2017); channel counts are rounded to 8."""
    graph = Graph("mobilenet_tiny", options.seed)
    # Output channels and stride of each depthwise-separable block, at width 1.
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    channels = 8
    x = graph.relu6(graph.conv("image", 3, channels, 3, 2))
    for width, stride in blocks:
        x = graph.relu6(graph.depthwise(x, channels, stride))
        channels_out = width // 8
        x = graph.relu6(graph.conv(x, channels, channels_out, 1))
        channels = channels_out
    graph.classifier(x, channels, 10, "scores", gain=12.0, softmax=True)
    return graph.model(
        [("image", TensorProto.FLOAT, [options.batch, 3, 96, 96])],
        [("scores", TensorProto.FLOAT, [options.batch, 10])],
    )


def keywords(options):
    """DS-CNN, the small variant, over 49 frames of 10 MFCCs (Zhang et al. 2017, "Hello Edge")."""
    graph = Graph("keywords", options.seed)
    channels = 64
    # Padding as TensorFlow's SAME for a 10x4 kernel at stride 2: 49x10 becomes 25x5.
    x = graph.relu(graph.conv("mfcc", 1, channels, (10, 4), 2, pads=(4, 1, 5, 1)))
    for _ in range(4):
        x = graph.relu(graph.depthwise(x, channels))
        x = graph.relu(graph.conv(x, channels, channels, 1))
    graph.classifier(x, channels, 12, "scores", gain=12.0, softmax=True)
    return graph.model(
        [("mfcc", TensorProto.FLOAT, [options.batch, 1, 49, 10])],
        [("scores", TensorProto.FLOAT, [options.batch, 12])],
    )


def mobilenet_v2_features(graph):
    """The last feature maps of MobileNetV2 1.0 (Sandler et al. 2018) over `image` at a sixteenth and a thirty-second of
    its size, each with its channels."""
    # Expansion, output channels, repeats, stride of the first repeat.
    stages = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ]
    channels, sixteenth = 32, None
    x = graph.relu6(graph.conv("image", 3, channels, 3, 2))
    for expansion, channels_out, repeats, stride in stages:
        for repeat in range(repeats):
            block_input, block_stride = x, stride if repeat == 0 else 1
            hidden = channels * expansion
            if expansion != 1:
                x = graph.relu6(graph.conv(x, channels, hidden, 1, gain=1.0))
            x = graph.relu6(graph.depthwise(x, hidden, block_stride))
            residual = block_stride == 1 and channels == channels_out
            # A block's own part is halved where it is added to its input: variance grows by a quarter, not double.
            x = graph.conv(x, hidden, channels_out, 1, gain=GAIN_RELU * (0.5 if residual else 1.0))
            if residual:
                x = graph.node("Add", [block_input, x])
            channels = channels_out
        if channels == 96:
            sixteenth = (x, channels)
    x = graph.relu6(graph.conv(x, channels, 1280, 1, gain=1.0))
    return sixteenth, (x, 1280)


def mobilenet_v2(options):
    """MobileNetV2 1.0 for 224x224 images (Sandler et al. 2018)."""
    graph = Graph("mobilenet_v2", options.seed)
    _, (x, channels) = mobilenet_v2_features(graph)
    graph.classifier(x, channels, 1000, "logits", gain=8.0, softmax=False)
    return graph.model(
        [("image", TensorProto.FLOAT, [options.batch, 3, 224, 224])],
        [("logits", TensorProto.FLOAT, [options.batch, 1000])],
    )


def detector(options):
    """Boxes and classes at every place of two feature maps of MobileNetV2 (Liu et al. 2016, "SSD"), without the
    suppression of overlapping boxes."""
    graph = Graph("detector", options.seed)
    anchors, classes = 6, 91
    boxes, scores = [], []
    for features, channels in mobilenet_v2_features(graph):
        for values, found in ((4, boxes), (classes, scores)):
            x = graph.conv(features, channels, anchors * values, 3, gain=1.0)
            x = graph.node("Transpose", [x], perm=[0, 2, 3, 1])
            # 0 keeps the batch, -1 counts the places.
            found.append(graph.node("Reshape", [x, graph.constant(np.array([0, -1, values], np.int64))]))
    graph.node("Concat", boxes, "boxes", axis=1)
    graph.node("Softmax", [graph.node("Concat", scores, axis=1)], "scores", axis=2)
    places = (20 * 20 + 10 * 10) * anchors
    return graph.model(
        [("image", TensorProto.FLOAT, [options.batch, 3, 320, 320])],
        [
            ("boxes", TensorProto.FLOAT, [options.batch, places, 4]),
            ("scores", TensorProto.FLOAT, [options.batch, places, classes]),
        ],
    )


def resnet18(options):
    """ResNet-18 for 224x224 images (He et al. 2016)."""
    graph = Graph("resnet18", options.seed)
    channels = 64
    x = graph.relu(graph.conv("image", 3, channels, 7, 2))
    x = graph.node("MaxPool", [x], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    for channels_out in (64, 128, 256, 512):
        for block in range(2):
            stride = 2 if block == 0 and channels_out != 64 else 1
            shortcut = x
            if stride != 1:
                shortcut = graph.conv(x, channels, channels_out, 1, stride, pads=(0, 0, 0, 0), gain=1.0)
            x = graph.relu(graph.conv(x, channels, channels_out, 3, stride))
            x = graph.conv(x, channels_out, channels_out, 3, gain=1.0)
            x = graph.relu(graph.node("Add", [x, shortcut]))
            channels = channels_out
    graph.classifier(x, channels, 1000, "logits", gain=4.0, softmax=False)
    return graph.model(
        [("image", TensorProto.FLOAT, [options.batch, 3, 224, 224])],
        [("logits", TensorProto.FLOAT, [options.batch, 1000])],
    )


DATATYPES = {"FP32": TensorProto.FLOAT, "INT32": TensorProto.INT32, "INT64": TensorProto.INT64}


def identity(options):
    """One Identity node of --datatype and --shape."""
    shape = [f"d{axis}" if size < 0 else size for axis, size in enumerate(options.shape)]
    datatype = DATATYPES[options.datatype or "FP32"]
    graph = Graph("identity", options.seed)
    graph.node("Identity", ["INPUT0"], "OUTPUT0")
    return graph.model([("INPUT0", datatype, shape)], [("OUTPUT0", datatype, shape)])


def arith(options):
    """OUTPUT0 = INPUT0 + INPUT1 and OUTPUT1 = INPUT0 - INPUT1 over --datatype [N,16]: Triton's `simple` example."""
    datatype = DATATYPES[options.datatype or "INT32"]
    shape = [options.batch, 16]
    graph = Graph("arith", options.seed)
    graph.node("Add", ["INPUT0", "INPUT1"], "OUTPUT0")
    graph.node("Sub", ["INPUT0", "INPUT1"], "OUTPUT1")
    return graph.model(
        [("INPUT0", datatype, shape), ("INPUT1", datatype, shape)],
        [("OUTPUT0", datatype, shape), ("OUTPUT1", datatype, shape)],
    )


MODELS = {make.__name__: make for make in (mobilenet_tiny, keywords, mobilenet_v2, resnet18, detector, identity, arith)}


def batch(text):
    """A batch size: a positive number, or the name of a symbolic dimension."""
    if not text.lstrip("-").isdigit():
        return text
    if int(text) < 1:
        raise argparse.ArgumentTypeError("a batch size is at least 1, or a name for a symbolic one")
    return int(text)


def shape(text):
    """A shape: sizes with commas between them, -1 for a dynamic one."""
    try:
        sizes = [int(size) for size in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or any(size == 0 or size < -1 for size in sizes):
        raise argparse.ArgumentTypeError("a shape is sizes with commas between them, -1 for a dynamic one")
    return sizes


def parser():
    description, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", choices=sorted(MODELS), metavar="MODEL", help="what to make, see below")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, default=Path("."), help="write OUT/MODEL.onnx (default: this folder)")
    where.add_argument("--repository", type=Path, help="write REPOSITORY/NAME/VERSION/model.onnx, as a daemon reads it")
    parser.add_argument("--name", help="the model's name in the repository (default: MODEL)")
    parser.add_argument("--version", type=int, default=1, help="the version in the repository (default: 1)")
    parser.add_argument(
        "--batch", type=batch, default="batch", help="batch size, or a symbolic one's name (default: batch)"
    )
    parser.add_argument(
        "--shape", type=shape, default=[-1, -1], help="of identity (default: -1,-1; write --shape=-1,4)"
    )
    parser.add_argument(
        "--datatype", choices=sorted(DATATYPES), help="of identity (default: FP32) and arith (default: INT32)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the weights (default: 1)")
    return parser


def main(arguments=None):
    arguments_parser = parser()
    options = arguments_parser.parse_args(arguments)
    if options.name and len(options.models) > 1:
        arguments_parser.error("--name goes with one MODEL")
    for model in options.models:
        if options.repository:
            path = options.repository / (options.name or model) / str(options.version) / "model.onnx"
        else:
            path = options.out / f"{options.name or model}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = MODELS[model](options)
        path.write_bytes(content)
        print(f"{path}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
