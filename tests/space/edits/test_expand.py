"""Wider kernels compute what the narrower ones did, in the module and in the file."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from chipfit.compress.edit import apply
from chipfit.core.edits import Padded, Skip
from chipfit.core.graph import Graph, Network, op
from chipfit.export import onnx
from chipfit.space.edits import edited
from chipfit.space.edits.expand import Expand
from compress.networks import answers, network_of, noise
from models.residual import residual


def in_file(network: Network, x: np.ndarray) -> np.ndarray:
    file = onnx.write(network, batch=None)
    session = onnxruntime.InferenceSession(file.data, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": x})[0])


def strides_dilations_and_groups() -> Network:
    """One convolution each of stride 2, dilation 2, groups, depth-wise, oblong and 1x1."""

    def conv(name: str, source: str, cin: int, cout: int, size: int, groups: int = 1, **window: object) -> object:
        pair = {k: v if isinstance(v, tuple) else (v, v) for k, v in window.items()}
        return op(name, "conv", (source,), (cout, size, size), name, groups=groups, bias=0, **pair)  # type: ignore

    ops = (
        op("x", "input", (), (4, 12, 12)),
        conv("strided", "x", 4, 8, 6, kernel=3, stride=2, padding=1, dilation=1),
        conv("dilated", "strided", 8, 8, 6, kernel=3, stride=1, padding=2, dilation=2),
        conv("grouped", "dilated", 8, 8, 6, groups=2, kernel=1, stride=1, padding=0, dilation=1),
        conv("depthwise", "grouped", 8, 8, 6, groups=8, kernel=3, stride=1, padding=1, dilation=1),
        conv("oblong", "depthwise", 8, 6, 6, kernel=(1, 3), stride=1, padding=(0, 1), dilation=1),
        conv("point", "oblong", 6, 5, 3, kernel=1, stride=2, padding=0, dilation=3),
    )
    graph = Graph(ops, "point")  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    shapes = {n: s for o in graph for n, s in graph.weight_shapes(o).items()}
    return Network(graph, {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()})


LAYERS = ("strided", "dilated", "grouped", "depthwise", "oblong", "point")


@pytest.mark.parametrize("layers", [*((name,) for name in LAYERS), LAYERS])
def test_the_function_stays(layers: tuple[str, ...]) -> None:
    network = strides_dilations_and_groups()
    wider = apply(network, [Expand(name) for name in layers])
    x = np.random.default_rng(1).normal(size=(3, 4, 12, 12)).astype(np.float32)
    want = answers(network, x)
    scale = np.abs(want).max()
    assert np.abs(answers(wider, x) - want).max() <= 1e-6 * scale
    assert np.abs(in_file(wider, x) - want).max() <= 1e-6 * scale
    for name in layers:
        before, after = network.graph[name]["kernel"], wider.graph[name]["kernel"]
        assert after == (before[0] + 2, before[1] + 2)


def test_the_padding_grows_by_the_dilation() -> None:
    made = edited(strides_dilations_and_groups().graph, [Expand("dilated"), Expand("point")])
    assert made.graph["dilated"]["padding"] == (4, 4)
    assert made.graph["point"]["padding"] == (3, 3)
    assert made.arrays["point.weight"] == Padded(made.arrays["point.weight"].of, {2: (1, 1), 3: (1, 1)})  # type: ignore


def test_a_residual_network_answers_as_before_without_its_block_too() -> None:
    network = network_of("resnet8")
    x = noise(network, 8)
    for edits in ((), (Skip("5.add"),)):
        plain = apply(network, edits)
        wider = apply(network, [*edits, Expand("5.shortcut.0"), Expand("4.body.0"), Expand("5.body.3")])
        want = answers(plain, x)
        assert np.abs(answers(wider, x) - want).max() <= 1e-6 * np.abs(want).max()
        assert np.abs(in_file(wider, x) - in_file(plain, x)).max() <= 1e-6 * np.abs(want).max()


def test_what_is_no_convolution_has_no_kernel() -> None:
    with pytest.raises(KeyError, match="no layer 'head' of kind conv"):
        edited(residual(), [Expand("head")])
