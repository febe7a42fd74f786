#!/usr/bin/env python3
"""Make TorchScript files of real network architectures with random weights, or give a saved one its signature.

TorchScript does not say what datatypes and shapes a model takes. edgemux reads them from an extra file in the archive,
`edgemux.json`; `save` below writes a scripted or traced module with it, and `sign` adds it to a file that lacks it:

    python make_torchscript.py make resnet18 mobilenet_v2 --out .
    python make_torchscript.py make detector --repository DIR      # writes DIR/detector/1/model.pt
    python make_torchscript.py sign model.pt --input image:FP32:-1,3,224,224 --output logits:FP32:-1,1000

Networks (batch is open)

    resnet18      ResNet-18        image FP32 [-1,3,224,224]  logits FP32 [-1,1000]
    resnet50      ResNet-50        image FP32 [-1,3,224,224]  logits FP32 [-1,1000]
    mobilenet_v2  MobileNetV2 1.0  image FP32 [-1,3,224,224]  logits FP32 [-1,1000]
    detector      SSD heads over MobileNetV2, the best hundred boxes
                                   image FP32 [-1,3,320,320]  boxes FP32 [-1,100,4], scores FP32 [-1,100],
                                                              labels INT64 [-1,100]

Weights are drawn from a seeded generator and have learned nothing; statistics of batch normalisation are those of noise,
so that activations stay in range and outputs differ from input to input. Needs the package torch, and nothing else.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Dict, List

import torch
from torch import Tensor, nn

EXTRA = "edgemux.json"


# === signatures ===


def spec(name, datatype, *shape):
    """One input or output, as edgemux.json holds it. `datatype` is the Open Inference Protocol's name, -1 an open dimension."""
    return {"name": name, "datatype": datatype, "shape": list(shape)}


def save(module, path, inputs, outputs):
    """Writes a scripted or traced `module` with its signature."""
    extra = {EXTRA: json.dumps({"inputs": inputs, "outputs": outputs})}
    torch.jit.save(module, str(path), _extra_files=extra)


# === parts ===


def conv(channels_in, channels_out, kernel, stride=1, groups=1, activation=nn.ReLU):
    """A convolution with its batch normalisation and activation."""
    layers = [
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class Basic(nn.Module):
    """Two convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, channels_in, width, stride):
        super().__init__()
        self.body = nn.Sequential(conv(channels_in, width, 3, stride), conv(width, width, 3, activation=None))
        same = stride == 1 and channels_in == width
        self.shortcut = nn.Identity() if same else conv(channels_in, width, 1, stride, activation=None)

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """Narrow, convolve, widen, beside a shortcut."""

    expansion = 4

    def __init__(self, channels_in, width, stride):
        super().__init__()
        wide = width * self.expansion
        self.body = nn.Sequential(
            conv(channels_in, width, 1), conv(width, width, 3, stride), conv(width, wide, 1, activation=None)
        )
        same = stride == 1 and channels_in == wide
        self.shortcut = nn.Identity() if same else conv(channels_in, wide, 1, stride, activation=None)

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


class Inverted(nn.Module):
    """Widen, convolve each channel by itself, narrow; a shortcut where shapes allow it."""

    def __init__(self, channels_in, channels_out, stride, expansion):
        super().__init__()
        wide = channels_in * expansion
        widen = [conv(channels_in, wide, 1, activation=nn.ReLU6)] if expansion != 1 else []
        self.body = nn.Sequential(
            *widen,
            conv(wide, wide, 3, stride, groups=wide, activation=nn.ReLU6),
            conv(wide, channels_out, 1, activation=None),
        )
        self.shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x):
        y = self.body(x)
        return x + y if self.shortcut else y


# === networks ===


def resnet(block, depths):
    layers = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, depth in enumerate(depths):
        width = 64 << stage
        for index in range(depth):
            layers.append(block(channels, width, 2 if stage > 0 and index == 0 else 1))
            channels = width * block.expansion
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


# Expansion, channels, blocks, stride of the first.
MOBILENET_V2 = [
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
]  # fmt: skip


def mobilenet_v2_stages():
    """Layers down to a sixteenth of the picture's size, and those after."""
    stages = [[conv(3, 32, 3, 2, activation=nn.ReLU6)], []]
    channels = 32
    for number, (expansion, channels_out, blocks, stride) in enumerate(MOBILENET_V2):
        for index in range(blocks):
            block = Inverted(channels, channels_out, stride if index == 0 else 1, expansion)
            stages[0 if number < 5 else 1].append(block)
            channels = channels_out
    stages[1].append(conv(channels, 1280, 1, activation=nn.ReLU6))
    return nn.Sequential(*stages[0]), nn.Sequential(*stages[1])


def mobilenet_v2():
    return nn.Sequential(*mobilenet_v2_stages(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))


class Detector(nn.Module):
    """Boxes and classes at every place of two feature maps. No suppression of overlapping boxes: that is an operator of
    torchvision's own library, which a worker does not have."""

    CLASSES = 91
    ANCHORS = 6

    def __init__(self):
        super().__init__()
        self.near, self.far = mobilenet_v2_stages()
        self.box_heads = nn.ModuleList([nn.Conv2d(c, self.ANCHORS * 4, 3, padding=1) for c in (96, 1280)])
        self.class_heads = nn.ModuleList(
            [nn.Conv2d(c, self.ANCHORS * self.CLASSES, 3, padding=1) for c in (96, 1280)]
        )

    def forward(self, image: Tensor) -> Dict[str, Tensor]:
        near = self.near(image)
        maps = [near, self.far(near)]
        boxes: List[Tensor] = []
        scores: List[Tensor] = []
        for index, (box_head, class_head) in enumerate(zip(self.box_heads, self.class_heads)):
            boxes.append(box_head(maps[index]).permute(0, 2, 3, 1).reshape(image.shape[0], -1, 4))
            classes = class_head(maps[index]).permute(0, 2, 3, 1).reshape(image.shape[0], -1, 91)
            scores.append(classes.softmax(-1))
        score, label = torch.cat(scores, 1)[:, :, 1:].max(-1)
        best, index = score.topk(100, dim=1)
        box = torch.cat(boxes, 1).gather(1, index.unsqueeze(-1).expand(-1, -1, 4))
        return {"boxes": box.sigmoid(), "scores": best, "labels": label.gather(1, index) + 1}


def classes(network, size=224):
    return network, size, [spec("logits", "FP32", -1, 1000)]


NETWORKS = {
    "resnet18": lambda: classes(resnet(Basic, [2, 2, 2, 2])),
    "resnet50": lambda: classes(resnet(Bottleneck, [3, 4, 6, 3])),
    "mobilenet_v2": lambda: classes(mobilenet_v2()),
    "detector": lambda: (
        Detector(),
        320,
        [spec("boxes", "FP32", -1, 100, 4), spec("scores", "FP32", -1, 100), spec("labels", "INT64", -1, 100)],
    ),
}


def network(name, seed=1, device="cpu"):
    """The network in evaluation mode, the shape of its one input for a batch of one, and its outputs' specs."""
    torch.manual_seed(seed)
    module, size, outputs = NETWORKS[name]()
    module = module.to(device)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = None
        module.train()
        for _ in range(2):
            module(torch.randn(4, 3, size, size).to(device))
    return module.eval(), (1, 3, size, size), outputs


def save_network(module, shape, outputs, path):
    image = spec("image", "FP32", -1, *shape[1:])
    save(torch.jit.script(module).to("cpu"), path, [image], outputs)


# === command line ===


def parsed_spec(text):
    name, datatype, shape = text.split(":")
    return spec(name, datatype, *(int(dim) for dim in shape.split(",") if dim))


def make(options):
    for name in options.networks:
        if options.repository:
            path = options.repository / name / "1" / "model.pt"
        else:
            path = options.out / f"{name}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_network(*network(name, options.seed), path)
        print(f"{path}: {path.stat().st_size:,} bytes")


def sign(options):
    module = torch.jit.load(str(options.file), map_location="cpu")
    save(module, options.out or options.file, options.input, options.output)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    making = commands.add_parser("make", help="make networks")
    making.add_argument("networks", nargs="+", choices=NETWORKS, metavar="NETWORK")
    making.add_argument("--out", type=Path, default=Path("."), help="the folder for NETWORK.pt (default: this one)")
    making.add_argument("--repository", type=Path, help="a model repository to write NETWORK/1/model.pt into")
    making.add_argument("--seed", type=int, default=1, help="of the weights (default: 1)")
    making.set_defaults(run=make)
    signing = commands.add_parser("sign", help="give a saved module its signature")
    signing.add_argument("file", type=Path, help="what torch.jit.save wrote")
    for what in ("input", "output"):
        signing.add_argument(
            f"--{what}", type=parsed_spec, action="append", default=[], metavar="NAME:DATATYPE:SHAPE",
            help=f"one {what}, for example image:FP32:-1,3,224,224; in the model's order",
        )  # fmt: skip
    signing.add_argument("--out", type=Path, help="where to write it (default: the file itself)")
    signing.set_defaults(run=sign)
    options = parser.parse_args()
    options.run(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
