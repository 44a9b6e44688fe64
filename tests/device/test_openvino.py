"""OpenVINO as a device: its answers are those of ONNX Runtime, in float32 and in int8."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import made_up
from chipfit.compress.quantise import ranges
from chipfit.core.graph import Network
from chipfit.core.types import Artifact
from chipfit.device import canary
from chipfit.device.onnxruntime import OnnxRuntime
from chipfit.device.openvino import OpenVino
from chipfit.evaluate.screen import all_int8
from chipfit.export.dummy import dummy_ranges, random_weights
from chipfit.export.formats import timing_bytes, writer
from chipfit.nets.trace import trace

openvino = pytest.importorskip("openvino")

Small = Callable[..., Artifact]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.calibrated(OpenVino, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def other(folder: Path) -> Iterator[OpenVino]:
    with OpenVino(timing_bytes, cache_dir=folder) as device:
        yield device


@pytest.mark.parametrize("bits", [32, 8])
def test_files_are_loaded_while_others_are_timed(other: OpenVino, small: Small, bits: int) -> None:
    files = [small(channels, 2, 14, bits) for channels in range(4, 44)]
    assert all(m.value > 0 for m in other.measure(files, "quick"))


@pytest.mark.timed
@pytest.mark.parametrize("bits", [32, 8])
def test_loading_beside_it_does_not_disturb_a_timing(other: OpenVino, small: Small, bits: int) -> None:
    files = [small(channels, 2, 14, bits) for channels in range(4, 44)]
    together = other.measure(files, "quick")
    (alone,) = other.measure(files[-1:], "final")
    assert together[-1].value == pytest.approx(alone.value, rel=0.2)


def test_what_hung_while_others_were_loaded_is_tried_again(
    other: OpenVino, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, strikes = OpenVino._load, iter([True])

    def load(self: OpenVino, digest: str, data: bytes, pinned: bool = False) -> None:
        if data == files[1].data and next(strikes, False):
            os.kill(self._child.start()["pid"], signal.SIGSTOP)
        real(self, digest, data, pinned)

    files = [small(channels) for channels in (4, 8, 12, 16)]
    other.measure(files[:1], "quick")
    monkeypatch.setattr(OpenVino, "_load", load)
    other.timeout_s = 3.0
    assert all(m.value > 0 for m in other.measure(files, "quick"))


@pytest.mark.parametrize("bits", [32, 8])
def test_it_answers_as_onnxruntime_does(device: OnnxRuntime, other: OpenVino, bits: int) -> None:
    graph = canary.chain(8, 2, 6, bits)
    network = Network(graph, random_weights(graph, np.random.default_rng(0)))
    # weights of 7 bits: others saturate on processors without VNNI
    artifact = writer("onnx")(network, ranges=dummy_ranges(graph), reduce_range=True)
    x = np.random.default_rng(0).standard_normal((5, 8, 6, 6), np.float32)
    ours, theirs = other.run(artifact, x), device.run(artifact, x)
    step = 1e-4 if bits == 32 else 4 / 255  # one step of the 8-bit output
    assert np.abs(ours - theirs).max() <= 1.01 * step
    assert np.abs(theirs).max() > 10 * step


@pytest.mark.parametrize("bias", ["none", "zeros"])
@pytest.mark.parametrize("size", [2, 5, 32])
def test_dense_layers_without_bias_answer_in_int8(device: OnnxRuntime, other: OpenVino, size: int, bias: str) -> None:
    first, second = nn.Linear(8, size, bias=bias == "zeros"), nn.Linear(size, size, bias=bias == "zeros")
    for layer in (first, second):
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    network = all_int8(trace(nn.Sequential(first, nn.ReLU(), second, nn.Linear(size, 5)), (8,)))
    x = np.random.default_rng(0).standard_normal((5, 8), np.float32)
    known = ranges(network, x)
    # weights of 7 bits: others saturate on processors without VNNI
    theirs = device.run(writer("onnx")(network, ranges=known, reduce_range=True), x)
    ours = other.run(writer("openvino")(network, ranges=known, reduce_range=True), x)
    assert np.abs(ours - theirs).max() <= 0.05 * np.abs(theirs).max() + 1e-6


def test_a_last_layer_of_zeros_answers_zero(other: OpenVino) -> None:
    last = nn.Linear(8, 5, bias=False)
    nn.init.zeros_(last.weight)
    network = all_int8(trace(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), last), (8,)))
    x = np.random.default_rng(0).standard_normal((3, 8), np.float32)
    assert not other.run(writer("openvino")(network, ranges=ranges(network, x)), x).any()


class Truncated(nn.Module):
    """Two convolutions with a cast to whole numbers, and back, between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last((4 * self.first(x)).to(torch.int8).float()).mean((2, 3))
        return y


def test_casts_to_whole_numbers_round_as_they_did(device: OnnxRuntime, other: OpenVino) -> None:
    torch.manual_seed(0)
    network = all_int8(trace(Truncated().eval(), (3, 8, 8)))
    x = np.random.default_rng(0).standard_normal((5, 3, 8, 8), np.float32)
    known = ranges(network, x)
    # weights of 7 bits: others saturate on processors without VNNI
    theirs = device.run(writer("onnx")(network, ranges=known, reduce_range=True), x)
    ours = other.run(writer("openvino")(network, ranges=known, reduce_range=True), x)
    assert np.abs(ours - theirs).mean() <= 0.05 * np.abs(theirs).max()


def test_float32_is_not_rounded_to_bfloat16(other: OpenVino, device: OnnxRuntime, small: Small) -> None:
    artifact = small(32, 4, 14)
    x = np.random.default_rng(0).standard_normal((1, 32, 14, 14), np.float32)
    assert np.abs(other.run(artifact, x) - device.run(artifact, x)).max() < 1e-3


def test_a_measurement_names_the_runtime(other: OpenVino, small: Small) -> None:
    (m,) = other.measure([small()], "quick")
    assert m.value > 0
    assert f"openvino {openvino.__version__.partition('-')[0]}" in m.where
    assert other.facts().runtime.startswith("openvino ")


def test_a_profile_names_operators_of_the_graph(other: OpenVino, small: Small) -> None:
    artifact = small(32, 3, 28)
    rows = other.profile(artifact)
    convs = [r.ms for r in rows if r.kind == "conv"]
    assert len(convs) == 3
    assert all(ms > 0 for ms in convs)


@pytest.mark.timed
def test_a_profile_shows_where_the_time_goes(other: OpenVino, small: Small) -> None:
    artifact = small(32, 3, 28)
    rows = other.profile(artifact)
    convs = [r.ms for r in rows if r.kind == "conv"]
    assert sum(convs) > 0.8 * sum(r.ms for r in rows)
    assert max(convs) < 2 * min(convs), "equal convolutions take about as long"
    assert sum(r.ms for r in rows) == pytest.approx(other.measure([artifact], "quick")[0].value, rel=0.5)
