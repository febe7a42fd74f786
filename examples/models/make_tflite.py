#!/usr/bin/env python3
"""Make TensorFlow Lite files of real network architectures with random weights, in floating point or in integers.

The networks are for demonstrations, tests and load measurements: their shapes, operators and cost are those of the
published architectures, their weights are drawn from a seeded generator and have learned nothing. The same arguments
give the same numbers on every run and machine, and with one version of flatbuffers (the files here: 25.12.19) the same
bytes.

    python make_tflite.py mobilenet_tiny keywords --out .
    python make_tflite.py mobilenet_v2 --int8 --repository DIR      # writes DIR/mobilenet_v2_int8/1/model.tflite

Networks (batch is open unless --batch is given; with --int8 all tensors are INT8, and the file's name ends in _int8)

    mobilenet_tiny  MobileNetV1, width 0.125       image FP32 [-1,96,96,3]    scores FP32 [-1,10] (softmax)
    keywords        DS-CNN, small ("Hello Edge")   mfcc  FP32 [-1,49,10,1]    scores FP32 [-1,12] (softmax)
    mobilenet_v2    MobileNetV2 1.0                image FP32 [-1,224,224,3]  logits FP32 [-1,1000]
    resnet18        ResNet-18                      image FP32 [-1,224,224,3]  logits FP32 [-1,1000]
    detector        SSD heads over MobileNetV2     image FP32 [-1,320,320,3]  boxes  FP32 [-1,3000,4]
                                                                              scores FP32 [-1,3000,91]

Integers are made of the weights one channel at a time, and of activations by the ranges that these weights keep them in.

Needs the packages flatbuffers and numpy.
"""

import argparse
import math
import sys
from pathlib import Path

import flatbuffers
import numpy as np

# A unit-variance Gaussian has variance (1 - 1/pi) / 2 after Relu; this gain restores it.
GAIN_RELU = math.sqrt(2.0 / (1.0 - 1.0 / math.pi))
# So much of a layer's variance comes from its biases, the rest from its inputs. With less, what two inputs differ by would
# grow from layer to layer, by 1 / (1 - 1/pi) with none, and so would every rounding of an integer, until nothing else is left.
BIAS_VARIANCE = 1.0 / math.pi

# === the format: numbers of schema.fbs, version 3 ===

VERSION = 3
TYPES = {
    "float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "complex64": 8, "int8": 9,
    "float64": 10, "uint64": 12, "uint32": 15, "uint16": 16,
}  # fmt: skip
STRING = 5
# Builtin operators: their number, the version that takes integers too, and the number of their table of options.
OPERATORS = {
    "ADD": (0, 2, 11), "CONCATENATION": (2, 2, 10), "CONV_2D": (3, 3, 1), "DEPTHWISE_CONV_2D": (4, 3, 2),
    "FULLY_CONNECTED": (9, 4, 8), "MAX_POOL_2D": (17, 2, 5), "MUL": (18, 2, 21), "RESHAPE": (22, 1, 17),
    "SOFTMAX": (25, 2, 9), "MEAN": (40, 2, 27), "SUB": (41, 2, 28), "CAST": (53, 1, 37), "BATCH_MATMUL": (126, 1, 101),
}  # fmt: skip
CUSTOM = 32
NONE, RELU, RELU6 = 0, 1, 3
SAME = 0


class Writer:
    """Writes a flatbuffer from the leaves up. A field is (its number, its kind, its value, its default)."""

    def __init__(self):
        self.builder = flatbuffers.Builder(1 << 20)

    def table(self, *fields):
        self.builder.StartObject(1 + max((number for number, *_ in fields), default=-1))
        for number, kind, value, *default in fields:
            if value is None:
                continue
            if kind == "Offset":
                self.builder.PrependUOffsetTRelativeSlot(number, value, 0)
            else:
                getattr(self.builder, f"Prepend{kind}Slot")(number, value, *(default or [0]))
        return self.builder.EndObject()

    def string(self, text):
        return self.builder.CreateString(text)

    def offsets(self, offsets):
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()

    def numbers(self, numbers, datatype):
        return self.builder.CreateNumpyVector(np.asarray(numbers, datatype))

    def bytes(self, content, alignment=16):
        """A vector of bytes whose first lies at a multiple of `alignment`."""
        self.builder.StartVector(1, len(content), alignment)
        self.builder.head = self.builder.Head() - len(content)
        self.builder.Bytes[self.builder.Head() : self.builder.Head() + len(content)] = content
        return self.builder.EndVector()

    def finish(self, root, identifier):
        self.builder.Finish(root, identifier)
        return bytes(self.builder.Output())


class Graph:
    """Builds one TensorFlow Lite file."""

    def __init__(self):
        self.writer = Writer()
        self._tensors = []
        self._buffers = [self.writer.table()]
        self._codes = []
        self._code_numbers = {}
        self._operators = []

    def tensor(self, name, datatype, shape, scale=None, zero_point=0, axis=0, content=None, variable=False):
        """Adds a tensor and returns its number; -1 in `shape` is an open dimension."""
        writer = self.writer
        quantization = None
        if scale is not None:
            scales = np.atleast_1d(scale)
            quantization = writer.table(
                (2, "Offset", writer.numbers(scales, np.float32)),
                (3, "Offset", writer.numbers(np.broadcast_to(zero_point, scales.shape), np.int64)),
                (6, "Int32", axis),
            )
        buffer = 0
        if content is not None:
            buffer = len(self._buffers)
            self._buffers.append(writer.table((0, "Offset", writer.bytes(content.tobytes()))))
        closed = [max(size, 1) if size < 0 else size for size in shape]
        fields = [
            (0, "Offset", writer.numbers(closed, np.int32)),
            (1, "Int8", datatype if isinstance(datatype, int) else TYPES[datatype]),
            (2, "Uint32", buffer),
            (3, "Offset", writer.string(name)),
            (4, "Offset", quantization),
            (5, "Bool", variable),
            (7, "Offset", writer.numbers(shape, np.int32) if -1 in shape else None),
            (8, "Bool", True),
        ]
        self._tensors.append(writer.table(*fields))
        return len(self._tensors) - 1

    def constant(self, array, **quantization):
        return self.tensor(f"c{len(self._tensors)}", array.dtype.name, array.shape, content=array, **quantization)

    def operator(self, name, inputs, outputs, *options):
        """Adds a builtin operator; `options` are the fields of its table."""
        number, version, options_type = OPERATORS[name]
        writer = self.writer
        code = self._code(name, (0, "Int8", min(number, 127)), (2, "Int32", version, 1), (3, "Int32", number))
        self._operators.append(
            writer.table(
                (0, "Uint32", code),
                (1, "Offset", writer.numbers(inputs, np.int32)),
                (2, "Offset", writer.numbers(outputs, np.int32)),
                (3, "Uint8", options_type),
                (4, "Offset", writer.table(*options)),
            )
        )

    def custom(self, name, inputs, outputs, content):
        """Adds an operator that only who knows `name` can run."""
        writer = self.writer
        code = self._code(name, (0, "Int8", CUSTOM), (1, "Offset", writer.string(name)), (3, "Int32", CUSTOM))
        self._operators.append(
            writer.table(
                (0, "Uint32", code),
                (1, "Offset", writer.numbers(inputs, np.int32)),
                (2, "Offset", writer.numbers(outputs, np.int32)),
                (5, "Offset", writer.bytes(content)),
            )
        )

    def _code(self, name, *fields):
        if name not in self._code_numbers:
            self._code_numbers[name] = len(self._codes)
            self._codes.append(self.writer.table(*fields))
        return self._code_numbers[name]

    def model(self, inputs, outputs, signature=True):
        """The finished file's bytes. `inputs` and `outputs` map names to tensors' numbers; without a signature the
        names of the tensors themselves are all there is."""
        writer = self.writer
        graph = writer.table(
            (0, "Offset", writer.offsets(self._tensors)),
            (1, "Offset", writer.numbers(list(inputs.values()), np.int32)),
            (2, "Offset", writer.numbers(list(outputs.values()), np.int32)),
            (3, "Offset", writer.offsets(self._operators)),
            (4, "Offset", writer.string("main")),
        )

        def tensor_maps(names):
            maps = [
                writer.table((0, "Offset", writer.string(name)), (1, "Uint32", number)) for name, number in names.items()
            ]
            return writer.offsets(maps)

        signatures = [
            writer.table(
                (0, "Offset", tensor_maps(inputs)),
                (1, "Offset", tensor_maps(outputs)),
                (2, "Offset", writer.string("serving_default")),
            )
        ]
        model = writer.table(
            (0, "Uint32", VERSION),
            (1, "Offset", writer.offsets(self._codes)),
            (2, "Offset", writer.offsets([graph])),
            (3, "Offset", writer.string("")),
            (4, "Offset", writer.offsets(self._buffers)),
            (7, "Offset", writer.offsets(signatures) if signature else None),
        )
        return writer.finish(model, b"TFL3")


# === networks ===


class Weights:
    """Draws weights that keep activations at unit scale, and draws the same ones everywhere.

    Batch normalisation is folded into the convolutions, so nothing at run time holds activations in range: the weights
    must. Every filter has zero mean and unit norm times a gain ("scaled weight standardisation", Brock et al. 2021).
    Filters are small integers times one scale, and mean and norm are computed on the integers, exactly, so that no
    machine's order of summation shows in the file. `RandomState` is the one numpy generator whose stream is frozen.
    """

    def __init__(self, seed):
        self._random = np.random.RandomState(seed)

    def filters(self, count, fan_in, gain):
        drawn = self._random.randint(-127, 128, size=(count, fan_in)).astype(np.int64)
        centred = drawn * fan_in - drawn.sum(axis=1, keepdims=True)
        norm = np.sqrt((centred * centred).sum(axis=1, keepdims=True).astype(np.float64))
        return (centred * (gain / norm)).astype(np.float32)

    def layer(self, count, fan_in, gain):
        """Filters and biases that make unit variance of unit variance, for a gain that restores what came before."""
        filters = self.filters(count, fan_in, gain * math.sqrt(1.0 - BIAS_VARIANCE))
        return filters, self.bias(count, math.sqrt(3.0 * BIAS_VARIANCE))

    def bias(self, count, spread):
        return (self._random.randint(-127, 128, size=count) * (spread / 127)).astype(np.float32)


class Activation:
    """A tensor on its way through the network: its number, its shape without the batch, and what an integer of it is
    worth."""

    def __init__(self, number, shape, scale, zero_point):
        self.number, self.shape, self.scale, self.zero_point = number, shape, scale, zero_point


# What an integer is worth after each activation function, for values that mostly lie within these bounds.
RANGES = {NONE: (-8.0, 8.0), RELU: (0.0, 8.0), RELU6: (0.0, 6.0)}


class Network(Graph):
    """Builds a convolutional network layer by layer, in floating point or in integers."""

    def __init__(self, options):
        super().__init__()
        self.int8 = options.int8
        self.batch = options.batch
        self.weights = Weights(options.seed)

    def activation(self, name, shape, bounds):
        """A tensor for values within `bounds`."""
        scale, zero_point = None, 0
        if self.int8:
            low, high = bounds
            scale = np.float32((high - low) / 255)
            zero_point = round(-128 - low / float(scale))
        datatype = "int8" if self.int8 else "float32"
        number = self.tensor(name, datatype, (self.batch, *shape), scale, zero_point)
        return Activation(number, shape, scale, zero_point)

    def input(self, name, shape):
        return self.activation(name, shape, (-1.0, 1.0))

    def parameters(self, x, weight, bias, axis):
        """Weight and bias as constants; in integers, each channel with a scale of its own."""
        if not self.int8:
            return self.constant(weight), self.constant(bias)
        others = tuple(other for other in range(weight.ndim) if other != axis)
        scale = np.float32(np.abs(weight).max(axis=others) / 127)
        along = [1] * weight.ndim
        along[axis] = -1
        integers = np.clip(np.round(weight / scale.reshape(along)), -127, 127).astype(np.int8)
        bias_scale = np.float32(x.scale * scale)
        biases = np.round(bias / bias_scale).astype(np.int32)
        return self.constant(integers, scale=scale, axis=axis), self.constant(biases, scale=bias_scale)

    def layer(self, shape, activation, bounds=None):
        return self.activation(f"t{len(self._tensors)}", shape, bounds or RANGES[activation])

    def conv(self, x, channels_out, kernel, stride=1, activation=RELU6, gain=GAIN_RELU):
        height, width, channels_in = x.shape
        kernel = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        weight, bias = self.weights.layer(channels_out, kernel[0] * kernel[1] * channels_in, gain)
        parameters = self.parameters(x, weight.reshape(channels_out, *kernel, channels_in), bias, 0)
        y = self.layer((-(-height // stride), -(-width // stride), channels_out), activation)
        options = [(0, "Int8", SAME), (1, "Int32", stride), (2, "Int32", stride), (3, "Int8", activation)]
        self.operator("CONV_2D", [x.number, *parameters], [y.number], *options)
        return y

    def depthwise(self, x, stride=1, activation=RELU6):
        height, width, channels = x.shape
        weight, bias = self.weights.layer(channels, 9, GAIN_RELU)
        parameters = self.parameters(x, weight.T.reshape(1, 3, 3, channels), bias, 3)
        y = self.layer((-(-height // stride), -(-width // stride), channels), activation)
        options = [
            (0, "Int8", SAME), (1, "Int32", stride), (2, "Int32", stride), (3, "Int32", 1), (4, "Int8", activation),
        ]  # fmt: skip
        self.operator("DEPTHWISE_CONV_2D", [x.number, *parameters], [y.number], *options)
        return y

    def add(self, a, b, activation=NONE):
        y = self.layer(a.shape, activation)
        self.operator("ADD", [a.number, b.number], [y.number], (0, "Int8", activation))
        return y

    def max_pool(self, x):
        height, width, channels = x.shape
        # Pooling leaves the worth of an integer as it is.
        number = self.tensor(
            f"t{len(self._tensors)}",
            "int8" if self.int8 else "float32",
            (self.batch, -(-height // 2), -(-width // 2), channels),
            x.scale,
            x.zero_point,
        )
        options = [
            (0, "Int8", SAME), (1, "Int32", 2), (2, "Int32", 2), (3, "Int32", 3), (4, "Int32", 3), (5, "Int8", NONE),
        ]  # fmt: skip
        self.operator("MAX_POOL_2D", [x.number], [number], *options)
        return Activation(number, (-(-height // 2), -(-width // 2), channels), x.scale, x.zero_point)

    def classifier(self, x, classes, output, gain, softmax):
        """Global average, fully connected layer and, where asked for, softmax."""
        channels = x.shape[-1]
        mean = self.activation(f"t{len(self._tensors)}", (channels,), RANGES[RELU6])
        axes = self.constant(np.array([1, 2], np.int32))
        self.operator("MEAN", [x.number, axes], [mean.number], (0, "Bool", False))
        weight = self.weights.filters(classes, channels, gain)
        parameters = self.parameters(mean, weight, self.weights.bias(classes, 0.2), 0)
        bounds = (-2.0 * gain, 2.0 * gain)
        y = self.layer((classes,), NONE, bounds) if softmax else self.activation(output, (classes,), bounds)
        self.operator("FULLY_CONNECTED", [mean.number, *parameters], [y.number], (0, "Int8", NONE))
        return self.softmax(y, output) if softmax else y

    def softmax(self, x, output):
        # The kernel takes nothing else: integers from -128 are worth 1/256 each.
        worth = (np.float32(1 / 256), -128) if self.int8 else (None, 0)
        datatype = "int8" if self.int8 else "float32"
        number = self.tensor(output, datatype, (self.batch, *x.shape), *worth)
        self.operator("SOFTMAX", [x.number], [number], (0, "Float32", 1.0))
        return Activation(number, x.shape, *worth)

    def reshape(self, x, shape):
        datatype = "int8" if self.int8 else "float32"
        number = self.tensor(f"t{len(self._tensors)}", datatype, (self.batch, *shape), x.scale, x.zero_point)
        self.operator("RESHAPE", [x.number, self.constant(np.array([-1, *shape], np.int32))], [number])
        return Activation(number, shape, x.scale, x.zero_point)

    def concatenate(self, parts, output):
        """Joins along the first axis after the batch; all parts are worth the same."""
        datatype = "int8" if self.int8 else "float32"
        rows, *rest = parts[0].shape
        shape = (sum(part.shape[0] for part in parts), *rest)
        first = parts[0]
        number = self.tensor(output, datatype, (self.batch, *shape), first.scale, first.zero_point)
        self.operator("CONCATENATION", [part.number for part in parts], [number], (0, "Int32", 1))
        return Activation(number, shape, first.scale, first.zero_point)


def mobilenet_tiny(options):
    """MobileNetV1 at width 0.125 for 96x96 images (Howard et al. 2017); channel counts are rounded to 8."""
    network = Network(options)
    # Output channels and stride of each depthwise-separable block, at width 1.
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    image = network.input("image", (96, 96, 3))
    x = network.conv(image, 8, 3, 2)
    for width, stride in blocks:
        x = network.conv(network.depthwise(x, stride), width // 8, 1)
    scores = network.classifier(x, 10, "scores", gain=4.0, softmax=True)
    return network.model({"image": image.number}, {"scores": scores.number})


def keywords(options):
    """DS-CNN, the small variant, over 49 frames of 10 MFCCs (Zhang et al. 2017, "Hello Edge")."""
    network = Network(options)
    mfcc = network.input("mfcc", (49, 10, 1))
    x = network.conv(mfcc, 64, (10, 4), 2, RELU)
    for _ in range(4):
        x = network.conv(network.depthwise(x, activation=RELU), 64, 1, activation=RELU)
    scores = network.classifier(x, 12, "scores", gain=4.0, softmax=True)
    return network.model({"mfcc": mfcc.number}, {"scores": scores.number})


# Expansion, output channels, repeats, stride of the first repeat.
MOBILENET_V2 = [
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
]  # fmt: skip


def mobilenet_v2_features(network, image):
    """The feature maps of MobileNetV2 at a sixteenth and at a thirty-second of the picture's size."""
    x = network.conv(image, 32, 3, 2)
    near = None
    for number, (expansion, channels_out, repeats, stride) in enumerate(MOBILENET_V2):
        for repeat in range(repeats):
            block_input = x
            if expansion != 1:
                x = network.conv(x, x.shape[-1] * expansion, 1, gain=1.0)
            x = network.depthwise(x, stride if repeat == 0 else 1)
            residual = repeat > 0
            # A block's own part is halved where it is added to its input: variance grows by a quarter, not double.
            x = network.conv(x, channels_out, 1, activation=NONE, gain=GAIN_RELU * (0.5 if residual else 1.0))
            if residual:
                x = network.add(block_input, x)
        if number == 4:
            near = x
    return near, network.conv(x, 1280, 1, gain=1.0)


def mobilenet_v2(options):
    """MobileNetV2 1.0 for 224x224 images (Sandler et al. 2018)."""
    network = Network(options)
    image = network.input("image", (224, 224, 3))
    _, x = mobilenet_v2_features(network, image)
    logits = network.classifier(x, 1000, "logits", gain=8.0, softmax=False)
    return network.model({"image": image.number}, {"logits": logits.number})


def resnet18(options):
    """ResNet-18 for 224x224 images (He et al. 2016)."""
    network = Network(options)
    image = network.input("image", (224, 224, 3))
    x = network.max_pool(network.conv(image, 64, 7, 2, RELU))
    for channels in (64, 128, 256, 512):
        for block in range(2):
            stride = 2 if block == 0 and channels != 64 else 1
            shortcut = x
            if stride != 1:
                shortcut = network.conv(x, channels, 1, stride, NONE, gain=1.0)
            x = network.conv(x, channels, 3, stride, RELU)
            x = network.add(network.conv(x, channels, 3, activation=NONE, gain=1.0), shortcut, RELU)
    logits = network.classifier(x, 1000, "logits", gain=4.0, softmax=False)
    return network.model({"image": image.number}, {"logits": logits.number})


def detector(options):
    """Boxes and classes at every place of two feature maps of MobileNetV2 (Liu et al. 2016, "SSD"), without the
    suppression of overlapping boxes."""
    network = Network(options)
    anchors, classes = 6, 91
    image = network.input("image", (320, 320, 3))
    boxes, scores = [], []
    for features in mobilenet_v2_features(network, image):
        height, width, _ = features.shape
        places = height * width * anchors
        box = network.conv(features, anchors * 4, 3, activation=NONE, gain=1.0)
        boxes.append(network.reshape(box, (places, 4)))
        logits = network.conv(features, anchors * classes, 3, activation=NONE, gain=1.0)
        scores.append(network.reshape(logits, (places, classes)))
    boxes = network.concatenate(boxes, "boxes")
    scores = network.softmax(network.concatenate(scores, "logits"), "scores")
    return network.model({"image": image.number}, {"boxes": boxes.number, "scores": scores.number})


NETWORKS = {make.__name__: make for make in (mobilenet_tiny, keywords, mobilenet_v2, resnet18, detector)}


# === command line ===


def batch(text):
    size = int(text)
    if size < 1 and size != -1:
        raise argparse.ArgumentTypeError("a batch size is at least 1, or -1 for an open one")
    return size


def parser():
    description, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="+", choices=sorted(NETWORKS), metavar="NETWORK", help="what to make")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, default=Path("."), help="write OUT/NETWORK.tflite (default: this folder)")
    where.add_argument("--repository", type=Path, help="write REPOSITORY/NAME/1/model.tflite, as a daemon reads it")
    parser.add_argument("--int8", action="store_true", help="in integers")
    parser.add_argument("--batch", type=batch, default=-1, help="batch size (default: open; write --batch=-1)")
    parser.add_argument("--seed", type=int, default=1, help="of the weights (default: 1)")
    return parser


def main(arguments=None):
    options = parser().parse_args(arguments)
    for network in options.networks:
        name = f"{network}_int8" if options.int8 else network
        if options.repository:
            path = options.repository / name / "1" / "model.tflite"
        else:
            path = options.out / f"{name}.tflite"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = NETWORKS[network](options)
        path.write_bytes(content)
        print(f"{path}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
