"""Opaque operators in ONNX files: torch's exporter writes them one by one, and the file answers like the module."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from chipfit.core.errors import BadInput
from chipfit.core.graph import Network
from chipfit.export import opaque
from chipfit.export.formats import timing_bytes, writer
from chipfit.export.onnx import write
from chipfit.nets.trace import trace

SHAPE = (3, 6, 6)


class Running(nn.Module):
    """Two blocks that are alike but for their weights, with an operator that nobody knows in each."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(2))
        self.gains = nn.ParameterList(torch.rand(3, 6, 6) for _ in range(2))
        self.register_buffer("places", torch.tensor([2, 0, 1]))
        self.head = nn.Linear(108, 5)

    def forward(self, x: Tensor) -> Tensor:
        for conv, gain in zip(self.convs, self.gains, strict=True):
            x = torch.cumsum(conv(x), 1).lerp(x, gain)[:, self.places]
        return self.head(x.flatten(1))


@pytest.fixture(scope="module")
def pair() -> tuple[nn.Module, Network]:
    torch.manual_seed(0)
    module = Running().eval()
    return module, trace(module, SHAPE)


def answers(data: bytes, x: np.ndarray) -> np.ndarray:
    return ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"input": x})[0]


@torch.no_grad()
def test_files_answer_like_the_module(pair) -> None:
    module, network = pair
    x = torch.randn(3, *SHAPE)
    want = module(x).numpy()
    alone = write(network).data
    onnx.checker.check_model(onnx.load_from_string(alone), full_check=True)
    np.testing.assert_allclose(answers(alone, x[:1].numpy()), want[:1], atol=1e-5)
    np.testing.assert_allclose(answers(write(network, batch=None).data, x.numpy()), want, atol=1e-5)


class Fourier(nn.Module):
    """The mixing of FNet beside the one operator that raises a file's opset."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.gelu(torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real)


class Turned(nn.Module):
    """A spatial transformer beside the same."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.place = nn.Linear(108, 6)

    def forward(self, x: Tensor) -> Tensor:
        theta = self.place(x.flatten(1)).reshape(-1, 2, 3)
        grid = nn.functional.affine_grid(theta, list(x.shape), align_corners=False)
        return nn.functional.gelu(nn.functional.grid_sample(x, grid, mode=self.mode, align_corners=False))


@torch.no_grad()
@pytest.mark.parametrize("module", [Fourier(), Turned("bilinear"), Turned("nearest"), Turned("bicubic")])
def test_pieces_follow_a_file_of_a_higher_opset(module: nn.Module) -> None:
    network = trace(module.eval(), SHAPE)
    x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    file = write(network, batch=None).data
    assert {entry.version for entry in onnx.load_from_string(file).opset_import} == {20}
    onnx.checker.check_model(onnx.load_from_string(file), full_check=True)
    np.testing.assert_allclose(answers(file, x.numpy()), module(x).numpy(), atol=1e-4)


def test_equal_pieces_are_exported_once(pair) -> None:
    _, network = pair
    opaque.piece.cache_clear()
    write(network)
    write(network)
    found = opaque.piece.cache_info()
    programs = {o["program"] for o in network.graph if o.kind == "opaque"}
    assert found.misses == len(programs)
    assert found.hits == 2 * sum(o.kind == "opaque" for o in network.graph) - len(programs)


def test_files_that_are_only_timed_have_places_that_exist(pair) -> None:
    _, network = pair
    got = answers(timing_bytes(network.graph, "onnx"), np.zeros((1, *SHAPE), np.float32))
    assert np.isfinite(got).all()


@pytest.mark.parametrize("format", ["tflite", "ncnn"])
def test_formats_without_a_form_say_so_by_name(pair, format: str) -> None:
    _, network = pair
    with pytest.raises(BadInput, match="opaque") as e:
        writer(format)(network)
    assert "\n" not in str(e.value)


def test_what_torch_cannot_export_is_named() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(9, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.linalg.svdvals(x.view(-1, 3, 3)).repeat(1, 3))

    network = trace(Odd(), (9,))
    with pytest.raises(BadInput, match="linalg_svd"):
        writer("onnx")(network)


def test_what_torch_exports_as_something_else_is_refused() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(27, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(nn.functional.avg_pool2d(x, 2, ceil_mode=True, divisor_override=1).flatten(1))

    network = trace(Odd(), SHAPE)
    with pytest.raises(BadInput, match="avg_pool2d.*something else"):
        writer("onnx")(network)


def test_what_openvino_cannot_read_is_one_line() -> None:
    pytest.importorskip("openvino")
    round_the_edge = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
    network = trace(nn.Sequential(round_the_edge, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), SHAPE)
    with pytest.raises(BadInput, match=r"openvino: OpenVINO does not read it \("):
        writer("openvino")(network)


@pytest.mark.parametrize("batch", [1, None])
def test_a_recurrent_layer_whose_first_state_is_nothing_is_written_for_any_batch(batch: int | None) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows, self.head = nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rows(x)[0].mean(1))

    torch.manual_seed(0)
    module = Recurrent().eval()
    x = torch.randn(batch or 3, 4, 5)
    with torch.no_grad():
        want = module(x).numpy()
    np.testing.assert_allclose(answers(write(trace(module, (4, 5)), batch=batch).data, x.numpy()), want, atol=1e-5)
