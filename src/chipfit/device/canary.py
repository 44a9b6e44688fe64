"""Fixed networks that a target is timed against, and the small chains that a device is probed with.

A clock that drifts by 20-30 % between minutes is no unit; the time of a fixed network at the same moment is. A canary
must be of the target's own size: after a target that fills the cache a small one runs slow, which would make the
target look fast. So there is a ladder, each rung about three times the one below, and each target takes the nearest.

[measured] Sapphire Rapids, both cores busy with niced training, 10 processes one after another, 8 blocks of 40 ms:
the median wall time of one network moves by 0.7-2.7 % between processes (sd), its ratio to the canary by 0.1-0.7 %.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

VERSION = "canary-v1"
"""Changes whenever a rung does: times of different versions are not of one scale."""

OPSET, IR = 18, 9


def _pack(nodes: list[NodeProto], arrays: dict[str, NDArray[np.generic]], shape: Sequence[int], output: str) -> bytes:
    """ONNX bytes of a network with one float32 input "x" and an `output`, both of `shape`."""
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", output))
    held = [numpy_helper.from_array(a, n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "canary", [given], [made], held)
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    return bytes(model.SerializeToString())


def chain(channels: int, depth: int, size: int, bits: int = 32, kernel: int = 3) -> bytes:
    """ONNX bytes: `depth` convolutions channels -> channels with ReLU on (1, channels, size, size), seeded weights.

    With `bits` 8 every convolution is int8 in QDQ form: uint8 activations of one scale, int8 weights per channel.
    """
    rng, nodes, arrays = np.random.default_rng(0), list[NodeProto](), dict[str, NDArray[np.generic]]()
    value = "x"
    if bits == 8:
        arrays |= {"s": np.array(0.05, np.float32), "z": np.array(0, np.uint8)}
        value = _quantised(nodes, "x")
    for n in range(depth):
        shape = (channels, channels, kernel, kernel)
        w = rng.standard_normal(shape, np.float32) * np.float32((channels * kernel**2) ** -0.5)
        b = rng.standard_normal(channels, np.float32) * np.float32(0.1)
        if bits == 8:
            _int8_weights(nodes, arrays, n, w, b)
        else:
            arrays |= {f"w{n}": w, f"b{n}": b}
        pads = [kernel // 2] * 4
        nodes.append(helper.make_node("Conv", [value, f"w{n}", f"b{n}"], [f"conv{n}"], name=f"conv{n}", pads=pads))
        nodes.append(helper.make_node("Relu", [f"conv{n}"], [f"relu{n}"], name=f"relu{n}"))
        value = _quantised(nodes, f"relu{n}") if bits == 8 else f"relu{n}"
    return _pack(nodes, arrays, (1, channels, size, size), value)


def _quantised(nodes: list[NodeProto], value: str) -> str:
    """Appends Q and DQ of a value; returns the name of the result."""
    nodes.append(helper.make_node("QuantizeLinear", [value, "s", "z"], [f"{value}q"], name=f"{value}_q"))
    nodes.append(helper.make_node("DequantizeLinear", [f"{value}q", "s", "z"], [f"{value}d"], name=f"{value}_dq"))
    return f"{value}d"


def _int8_weights(
    nodes: list[NodeProto],
    arrays: dict[str, NDArray[np.generic]],
    n: int,
    w: NDArray[np.float32],
    b: NDArray[np.float32],
) -> None:
    """Appends the dequantised weight and bias of convolution `n`: per channel, symmetric."""
    scale = (np.abs(w).max((1, 2, 3)) / 127).astype(np.float32)
    both = (scale * np.float32(0.05)).astype(np.float32)  # bias scale = input scale x weight scale, as kernels want
    codes = {"w": np.round(w / scale[:, None, None, None]).astype(np.int8), "b": np.round(b / both).astype(np.int32)}
    for letter, s in (("w", scale), ("b", both)):
        q = codes[letter]
        names = [f"{letter}{n}{part}" for part in "qsz"]
        arrays |= dict(zip(names, (q, s, np.zeros(len(s), q.dtype)), strict=True))
        nodes.append(helper.make_node("DequantizeLinear", names, [f"{letter}{n}"], name=f"{letter}{n}_dq", axis=0))


def trivial() -> bytes:
    """ONNX bytes of one ReLU of one value: what a call costs."""
    return _pack([helper.make_node("Relu", ["x"], ["y"], name="relu")], {}, (1, 1), "y")


def adds(depth: int, values: int) -> bytes:
    """ONNX bytes of `depth` elementwise additions of a scalar on (1, values): what moving memory costs."""
    names = ["x", *(f"y{n}" for n in range(depth))]
    nodes = [helper.make_node("Add", [names[n], "one"], [names[n + 1]], name=names[n + 1]) for n in range(depth)]
    return _pack(nodes, {"one": np.ones(1, np.float32)}, (1, values), names[-1])


@dataclass(frozen=True, slots=True)
class Rung:
    """One canary: its bytes and their digest."""

    data: bytes
    digest: str


# Times on the machine above: 7 us, 18 us, 54 us, 170 us, .5 ms, 1.7 ms, 5.5 ms, 18 ms.
_RUNGS = ((16, 1, 7), (16, 2, 14), (16, 2, 28), (32, 2, 28), (32, 6, 28), (64, 6, 28), (64, 20, 28), (64, 16, 56))

HOME = 4
"""The rung whose own time sets the scale."""


@cache
def ladder() -> tuple[Rung, ...]:
    """All rungs, lightest first."""
    data = [chain(*r) for r in _RUNGS]
    return tuple(Rung(d, hashlib.sha256(d).hexdigest()[:16]) for d in data)


def nearest(ladder_ms: Sequence[float], ms: float) -> int:
    """The rung whose time is nearest in ratio.

    >>> nearest([0.01, 0.03, 0.1], 0.05)
    1
    """
    return int(np.argmin(np.abs(np.log(np.asarray(ladder_ms) / ms))))


Pair = Callable[[int, int], tuple[float, float]]
"""(rung, its canary) -> (median of adjacent ratios, median ms of the rung) of one block."""

TOO_SLOW_MS = 60.0
"""Rungs above this are left out: calibrating them would take too long on a slow machine."""


def calibrate(pair: Pair, rounds: int = 8) -> tuple[float, ...]:
    """Milliseconds of each rung, lightest first: one scale, made of ratios between neighbours.

    Absolute times of different rungs would be of different moments; so only the `HOME` rung's own time counts (the
    median over all its blocks), and every other is reached by ratios of adjacent runs. Rounds go over all
    neighbours, so that each pair has seen the whole sitting.
    """
    count = len(_RUNGS)
    ratios: list[list[float]] = [[] for _ in range(count)]
    times: list[list[float]] = [[] for _ in range(count)]
    for _ in range(rounds):
        for upper in range(1, count):
            ratio, ms = pair(upper, upper - 1)
            ratios[upper].append(ratio)
            times[upper].append(ms)
            if ms > TOO_SLOW_MS:
                count = upper
                break
    up = np.concatenate([[0.0], np.cumsum([np.log(np.median(r)) for r in ratios[1:] if r])])
    home = min(HOME, len(up) - 1)
    scale = np.exp(up - up[home]) * float(np.median(times[home]))
    return tuple(float(s) for s in scale)
