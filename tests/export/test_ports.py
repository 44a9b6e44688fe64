"""Several inputs in ONNX files: by name, in float and in int8, and fed from rows by everything that runs files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from chipfit.compress.quantise import ranges
from chipfit.core.graph import Graph, Network
from chipfit.core.ports import Ends, Port, width
from chipfit.device.engines.engine import feed, taken
from chipfit.device.registry import open_device
from chipfit.export.formats import timing_bytes, writer
from chipfit.export.onnx import write
from chipfit.nets.load import entry_of
from chipfit.nets.zoo import Entry

PORTS = (Port("logits", (3, 8, 8)), Port("ids", (5,), True), Port("input", (2,)))


class Three(nn.Module):
    """Inputs whose names a file has other uses for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.wide, self.words = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Embedding(10, 8)
        self.ids, self.out = nn.Linear(10, 8), nn.Linear(8, 4)

    def forward(self, logits: Tensor, ids: Tensor, input: Tensor) -> Tensor:
        seen = torch.relu(self.wide(torch.relu(self.conv(logits)))).mean((2, 3))
        read = torch.cat([self.words(ids).mean(1), input], 1)
        return self.out(seen + torch.relu(self.ids(read)))


@pytest.fixture(scope="module")
def entry() -> Entry:
    torch.manual_seed(0)
    return entry_of("t", "t", Three(), (width(PORTS),), ends=Ends(PORTS))


@pytest.mark.parametrize("batch", [1, None])
def test_the_file_has_the_users_inputs(entry: Entry, batch: int | None) -> None:
    session = ort.InferenceSession(write(entry.network, batch=batch).data)
    given = {i.name: (i.type, i.shape[1:]) for i in session.get_inputs()}
    assert given == {
        "logits_in": ("tensor(float)", [3, 8, 8]), "ids": ("tensor(int64)", [5]), "input": ("tensor(float)", [2]),
    }  # fmt: skip
    assert entry.answers is not None
    x = entry.answers.inputs[:1]
    (got,) = session.run(["logits"], feed(taken(session.get_inputs()), x))
    np.testing.assert_allclose(got, entry.answers.outputs[:1], rtol=1e-4, atol=1e-5)


def int8(network: Network) -> Graph:
    """The graph with its convolutions and dense layers in int8."""
    kinds = ("conv", "linear")
    ops = tuple(replace(o, bits=8) if o.kind in kinds else o for o in network.graph)
    return Graph(ops, network.graph.output)


def test_int8_layers_read_an_input_through_scales_of_its_own(entry: Entry) -> None:
    assert entry.answers is not None
    x = entry.answers.inputs[:4]
    graph = int8(entry.network)
    assert any(o.bits == 8 for o in graph)
    low = Network(graph, entry.network.weights)
    session = ort.InferenceSession(write(low, ranges=ranges(entry.network, x)).data)
    got = np.concatenate([session.run(None, feed(taken(session.get_inputs()), r[None]))[0] for r in x])
    want = entry.answers.outputs[:4]
    assert np.abs(got - want).max() < 0.1 * np.abs(want).max()


@pytest.mark.parametrize("name", ["null", "onnxruntime", "openvino"])
def test_devices_cut_rows_apart(entry: Entry, name: str) -> None:
    if name == "openvino":
        pytest.importorskip("openvino")
    assert entry.answers is not None
    device = open_device(name, timing_bytes)
    try:
        got = device.run(writer("onnx")(entry.network), entry.answers.inputs)
    finally:
        device.close()
    assert entry.answers.error(got) < 1e-3
