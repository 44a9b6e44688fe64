"""Functions of the user's that give no data and no model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from front_case import BAD, CHECK, FINE, LIMIT, Case, put, text, with_data

# The user's own code

LOADERS = """
import numpy as np, sys
rng = np.random.default_rng(0)
x, y = rng.random((80, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, 80)
def loaders():
    {0}
"""
LOADS: dict[str, str] = {
    "raises": "raise RuntimeError('two\\nlines')", "exits": "sys.exit(7)", "exits well": "sys.exit(0)",
    "nothing": "return None",
    "a number": "return 3", "empty": "return {}", "no train": "return {'validation': [(x, y)]}",
    "nan": "x[3] = np.nan; return {'train': [(x, y)]}",
    "inf": "x[3] = np.inf; return {'train': [(x, y)]}", "float labels": "return {'train': [(x, y + .5)]}",
    "negative labels": "return {'train': [(x, y - 3)]}", "huge label": "y[0] = 10**9; return {'train': [(x, y)]}",
    "uint64 label": "return {'train': [(x, np.full(80, 2**64 - 1, np.uint64))]}",
    "one-hot": "return {'train': [(x, np.eye(10)[y])]}",
    "short labels": "return {'train': [(x, y[:5])]}", "no rows": "return {'train': []}",
    "int inputs": "return {'train': [((x * 9).astype(int), y)]}",
    "objects": "return {'train': [(np.array([None] * 80), y)]}", "three axes": "return {'train': [(x[:, 0], y)]}",
    "ragged": "return {'train': [(x, y), (x[:, :, :4], y)]}", "words": "return {'train': [(np.array(['a'] * 80), y)]}",
    "eleven classes": "y[0] = 10; return {'train': [(x, y)]}",
    "other shape": "return {'train': [(x[:, :, :4, :4], y)]}",
    "generator raises": "\n    def g():\n        yield x, y\n        raise OSError('disk')\n    return {'train': g()}",
    "unknown parts": "return {'train': [(x, y)], 'tset': [(x, y)]}", "interrupts": "raise SystemExit('so long')",
    "one class": "return {'train': [(x, y * 0)]}",
    "three rows": "return {'train': [(x[:3], y[:3])]}", "fifteen rows": "return {'train': [(x[:15], y[:15])]}",
    "complex": "return {'train': [(x * 1j, y)]}",
    "recursion": "return loaders()", "memory": "raise MemoryError",
    "classes disagree": "return {'train': [(x, y)], 'classes': ['a']}",
}  # fmt: skip

GOOD = {"one class", "other shape", "one-hot"}
"""Data that may be right: the network takes any size, and a target of several numbers is another task's."""


def loaders(rng: np.random.Generator) -> Iterator[Case]:
    """What a function of the user's may give as data."""
    for name, body in LOADS.items():
        codes = FINE if name in GOOD else BAD
        yield Case(f"loaders: {name}", with_data("data.py:loaders"), text("data.py", LOADERS.format(body)), codes)
    yield Case("loaders: syntax", with_data("data.py:loaders"), text("data.py", "def loaders(:\n"))
    yield Case("loaders: no such import", with_data("data.py:loaders"), text("data.py", "import nothing_like_it\n"))
    yield Case("loaders: wants arguments", with_data("data.py:loaders"), text("data.py", "def loaders(a): pass\n"))
    yield Case("loaders: binary", with_data("data.py:loaders"), lambda f: put(f / "data.py", rng.bytes(50)))


NET = """
import sys, time, os
import torch
from torch import nn
from torch.nn import functional as F
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.f = nn.Conv2d(1, 16, 3), nn.Linear(16, 10)
    def forward(self, x):
        y = self.f(self.c(x).relu().mean((2, 3)))
        {1}
        return y
def build():
    net = Net()
    {0}
    return net
"""
NETS: dict[str, tuple[str, str]] = {
    "raises": ("raise ValueError('a\\nb')", ""), "exits": ("sys.exit(3)", ""), "nothing": ("return None", ""),
    "the class": ("return Net", ""),
    "a dict": ("return net.state_dict()", ""), "nan": ("net.c.weight.data[0] = float('nan')", ""),
    "forward raises": ("", "raise KeyError('no')"),
    "forward exits": ("", "sys.exit(7)"), "tuple": ("", "return y, y"), "dict": ("", "return {'out': y}"),
    "list": ("", "return [y]"),
    "none": ("", "return None"), "number": ("", "return 3"), "map": ("", "return self.c(x)"),
    "scalar": ("", "return y.sum()"),
    "random": ("", "return y + torch.rand(1)"), "dropout": ("", "return F.dropout(y)"),
    "batch": ("", "return F.softmax(y, 0)"),
    "branches on data": ("", "y = y if y.sum() > 0 else -y"),
    "numpy": ("", "y = torch.from_numpy(y.detach().numpy() * 2)"),
    "item": ("", "y = y * y.max().item()"), "int out": ("", "return y.argmax(1)"), "double": ("", "return y.double()"),
    "half": ("net.half()", ""),
    "complex": ("", "return torch.fft.fft(y)"), "lstm": ("", "return nn.LSTM(10, 10)(y)[0]"),
    "sort": ("", "return y.sort(1)[0]"),
    "on meta": ("net = net.to('meta')", ""), "second input": ("net.forward = lambda x, z: x", ""),
    "lambda": ("return lambda x: x", ""),
    "empty": ("return nn.Sequential()", ""), "flatten alone": ("return nn.Flatten()", ""),
    "wants 3 channels": ("net.c = nn.Conv2d(3, 16, 3)", ""),
    "closes stderr": ("", "y = y + 0 * len(os.environ)"), "inf": ("net.f.bias.data[0] = float('inf')", ""),
    "recursion": ("return build()", ""),
    "memory": ("raise MemoryError", ""), "interrupt": ("raise SystemExit", ""),
    "hooks": ("net.register_forward_hook(lambda m, i, o: o * 2)", ""),
    "quantised": ("net = torch.ao.quantization.quantize_dynamic(net)", ""), "jit": ("net = torch.jit.script(net)", ""),
    "sparse": ("net.f.weight = nn.Parameter(net.f.weight.to_sparse())", ""),
}  # fmt: skip
ALLOWED = {
    "item", "closes stderr", "half", "hooks", "jit", "flatten alone", "double", "numpy", "dict", "list", "map", "sort",
}  # fmt: skip
"""Networks that may be understood, or refused."""


def models(rng: np.random.Generator) -> Iterator[Case]:
    """What a function of the user's may give as a model, and what may be said in its place."""
    for name, (build, forward) in NETS.items():
        words = ("check", "net.py:build", "--device", "null", "-q", "--input-shape", "1,8,8", *LIMIT)
        codes = FINE if name in ALLOWED else BAD
        yield Case(f"model: {name}", words, text("net.py", NET.format(build, forward)), codes)
    yield Case(
        "model: prints",
        (*CHECK, *LIMIT, "--json"),
        text("net.py", NET.format("print('built')", "print('x')")),
        (0,),
        False,
    )
    said = (
        "net.py", "net.py:", ":build", "net.py:nothing", "nofile.py:build", "zoo:", "zoo:none",
        "zoo:fashion-mnist/none", "timm:x", "hf:x", "w.pt",
        "none.onnx", "", "net.py:build:x", "zoo:fashion-mnist/lenet5", "/", "net.PY:build", "torch.nn:Linear",
        "object:x", "x.pt2",
    )  # fmt: skip
    for spec in said:
        words = ("check", spec, "--device", "null", "-q", "--input-shape", "1,8,8", *LIMIT)
        yield Case(f"model {spec!r}", words)
    yield Case("no input shape", ("check", "net.py:build", "--device", "null", "-q", *LIMIT))
