#!/usr/bin/env python3
"""Make the small TorchScript files that the tests of this runtime use; they lie beside this script.

    python make.py

Needs the package torch. Files made by another version of it differ in bytes, not in what they do.
"""

import sys
import zipfile
from pathlib import Path
from typing import Dict, List, Tuple

import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[3] / "examples/models"))

from make_torchscript import conv, save, spec  # noqa: E402


class Echo(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class SumAndDifference(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tuple[Tensor, Tensor]:
        return a + b, a - b


class ByName(nn.Module):
    """Answers with a dictionary, in another order than the signature's."""

    def forward(self, x: Tensor) -> Dict[str, Tensor]:
        return {"negative": -x, "double": x * 2, "unused": x}


class ConvRelu(nn.Module):
    """The picture's centre, doubled, less one, nothing below zero."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[0, 0, 1, 1] = 2
            self.conv.bias.fill_(-1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x))


class Add(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class EveryDatatype(nn.Module):
    def forward(self, bool_: Tensor, u8: Tensor, i8: Tensor, i16: Tensor, i32: Tensor, f16: Tensor, bf16: Tensor,
                f64: Tensor) -> List[Tensor]:  # fmt: skip
        return [~bool_, u8 + 1, i8 + 1, i16 + 1, i32 + 1, f16 * 2, bf16 * 2, f64 * 2]


class InPlace(nn.Module):
    """Writes into its input, by way of a view."""

    def forward(self, x: Tensor) -> Tensor:
        x[1:].mul_(0)
        return x


class Transposed(nn.Module):
    """Answers with a tensor whose elements do not lie in order."""

    def forward(self, x: Tensor) -> Tensor:
        return x.t()


class Counter(nn.Module):
    """Counts its requests, in a tensor that it replaces."""

    count: Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(1, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        # Read, work, write: what two at once would lose.
        count = self.count + 1
        torch.mm(x, x)
        self.count = count
        return count


class Keeper(nn.Module):
    """Keeps its input and answers with the one before."""

    kept: Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("kept", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        before = self.kept
        self.kept = x
        return before


class Slow(nn.Module):
    """A thousand products: of 512 x 512 seconds on any processor, of 4096 x 4096 on any GPU."""

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for _ in range(1000):
            y = torch.mm(y, x)
        return y


class Throws(nn.Module):
    """Refuses numbers below zero."""

    def forward(self, x: Tensor) -> Tensor:
        if bool((x < 0).any()):
            raise ValueError("numbers below zero are not for this model")
        return x


class Segfaults(nn.Module):
    """Where the first number is 1, writes far outside its memory: this operator believes the indices it is given."""

    def forward(self, x: Tensor) -> Tensor:
        if bool(x[0] == 1):
            index = torch.full([1, 1], 1 << 45, dtype=torch.int64)
            return torch.ops.aten._sparse_coo_tensor_unsafe(index, torch.ones(1), [4]).to_dense()
        return x


class Hoards(nn.Module):
    """Where the first number is 1, allocates without end."""

    def forward(self, x: Tensor) -> Tensor:
        hoard: List[Tensor] = []
        while bool(x[0] == 1):
            hoard.append(torch.ones([1 << 24], device=x.device) * x[0])
        # What nobody uses would be optimised away.
        return x + float(sum([int(one[0]) for one in hoard]))


class Lookup(nn.Module):
    """Rows of a table. An index outside it is an exception on the processor, and on CUDA the end of the context."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(16, 4)
        with torch.no_grad():
            self.table.weight.copy_(torch.arange(64.0).reshape(16, 4))

    def forward(self, index: Tensor) -> Tensor:
        return self.table(index)


class Large(nn.Module):
    """Sixteen megabytes of weights that are mostly zeros, and as much while it runs."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2048, 2048), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.weight * x[0]).sum()


class Small(nn.Module):
    """A small network of the usual parts, for comparing with PyTorch."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv(3, 8, 3, 2), conv(8, 8, 3, groups=8), conv(8, 16, 1, activation=nn.ReLU6))
        self.head = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(image).mean([2, 3])).softmax(-1)


X = spec("x", "FP32", -1)
Y = spec("y", "FP32", -1)
DATATYPES = ["BOOL", "UINT8", "INT8", "INT16", "INT32", "FP16", "BF16", "FP64"]

MODELS = {
    "echo": (Echo(), [X], [Y]),
    "sum_and_difference": (
        SumAndDifference(),
        [spec("a", "FP32", -1), spec("b", "FP32", -1)],
        [spec("sum", "FP32", -1), spec("difference", "FP32", -1)],
    ),
    "by_name": (ByName(), [X], [spec("double", "FP32", -1), spec("negative", "FP32", -1)]),
    "conv_relu": (ConvRelu(), [spec("x", "FP32", -1, 1, 4, 4)], [spec("y", "FP32", -1, 1, 2, 2)]),
    "add_int64": (Add(), [spec("a", "INT64", 2), spec("b", "INT64", 2)], [spec("y", "INT64", 2)]),
    "every_datatype": (
        EveryDatatype(),
        [spec(f"in_{datatype}", datatype, 2) for datatype in DATATYPES],
        [spec(f"out_{datatype}", datatype, 2) for datatype in DATATYPES],
    ),
    "in_place": (InPlace(), [X], [Y]),
    "transposed": (Transposed(), [spec("x", "FP32", -1, -1)], [spec("y", "FP32", -1, -1)]),
    "counter": (Counter(), [spec("x", "FP32", 256, 256)], [spec("count", "INT64", 1)]),
    "keeper": (Keeper(), [X], [Y]),
    "slow": (Slow(), [spec("x", "FP32", -1, -1)], [spec("y", "FP32", -1, -1)]),
    "throws": (Throws(), [X], [Y]),
    "segfaults": (Segfaults(), [X], [Y]),
    "hoards": (Hoards(), [X], [Y]),
    "lookup": (Lookup(), [spec("index", "INT64", -1)], [spec("rows", "FP32", -1, 4)]),
    "large": (Large(), [X], [Y]),
    # Broken ones.
    "says_another_datatype": (Echo(), [X], [spec("y", "INT64", -1)]),
    "says_more_inputs": (Echo(), [X, spec("z", "FP32", -1)], [Y]),
    "says_more_outputs": (Echo(), [X], [Y, spec("z", "FP32", -1)]),
    "says_strings": (Echo(), [spec("x", "BYTES", -1)], [spec("y", "BYTES", -1)]),
}


def tidy(path):
    """Leaves out the source's places, which name folders of this machine, and compresses: torch reads such files too."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            if not name.endswith(".debug_pkl"):
                entry = zipfile.ZipInfo(name)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)


def main():
    torch.manual_seed(1)
    for name, (module, inputs, outputs) in MODELS.items():
        save(torch.jit.script(module.eval()), HERE / f"{name}.pt", inputs, outputs)
    torch.jit.save(torch.jit.script(Echo()), str(HERE / "says_nothing.pt"))

    small, image = torch.jit.script(Small().eval()), torch.randn(2, 3, 32, 32)
    save(small, HERE / "small.pt", [spec("image", "FP32", -1, 3, 32, 32)], [spec("scores", "FP32", -1, 10)])
    image.numpy().tofile(HERE / "small.image")
    with torch.no_grad():
        small(image).numpy().tofile(HERE / "small.scores")
    for path in HERE.glob("*.pt"):
        tidy(path)


if __name__ == "__main__":
    main()
