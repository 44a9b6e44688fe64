"""A file on a device: where its time goes, whether it holds a limit, and what is said where it cannot be run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

import made_up
from chipfit.cli.show import feasibility, number
from chipfit.core.errors import ChipfitError
from chipfit.core.types import Artifact, Fidelity, Limit, Measurement
from chipfit.device.null import Null
from chipfit.device.onnxruntime import OnnxRuntime
from chipfit.device.openvino import OpenVino
from chipfit.device.processor import Processor
from chipfit.evaluate.onnx_file import read
from chipfit.evaluate.onnx_int8 import quantised
from chipfit.export.formats import timing_bytes
from chipfit.recipes.onnx_file import FileFeasibility, check, profile
from made_up import Memory
from onnx_files import BRANCHES, LSTM, TOKENS, light, write

MLP = "mlp (float[n, 64] x) => (float[n, 64] y) <float[64, 64] w> { a = MatMul (x, w) y = Relu (a) }"
NOT_FINITE = "g (float[1, 64] x) => (float[1, 64] y) { y = Log (x) }"


class Clock(Null):
    """Says for the file as it is and in int8 what it was told; nan stands for a failure."""

    def __init__(self, ms: float, ms8: float) -> None:
        super().__init__()
        self.told = (ms, ms8)

    def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
        assert fidelity == "final"
        return [
            Measurement("latency_ms", ms, "measured", "here", "failed: it crashed" if math.isnan(ms) else "", 0.01 * ms)
            for ms, _ in zip(self.told, artifacts, strict=False)
        ]


def checked(path: str, device: Null, *limits: str, bits: Sequence[int] = (32, 8)) -> FileFeasibility:
    return check(read(path), device, [Limit.parse(x) for x in limits], Memory(), bits=bits)


@pytest.mark.parametrize(
    ("ms", "ms8", "limit", "holds", "faster"),
    [
        (4.0, 2.0, "latency_ms=3", [False, True], True),
        (4.0, 2.0, "latency_ms=100%", [False, True], True),  # shares are of the faster version
        (4.0, 2.0, "latency_ms=60%", [False, False], True),
        (2.0, 4.0, "latency_ms=60%", [False, False], False),
        (2.0, 4.0, "latency_ms=3", [True, False], False),
        (4.0, 3.95, "latency_ms=1", [False, False], False),  # within two standard errors
        (4.0, 2.0, "macs=100%", [True, True], True),
        (4.0, 2.0, "size_mb=100%", [False, True], True),
        (2.0, 4.0, "size_mb=70%", [False, True], False),
    ],
)
def test_which_version_holds_and_whether_int8_is_faster(
    tmp_path: Path, ms: float, ms8: float, limit: str, holds: list[bool], faster: bool
) -> None:
    found = checked(write(tmp_path / "m.onnx", MLP), Clock(ms, ms8), limit)
    assert [v.bits for v in found.versions] == [32, 8]
    assert [v.holds for v in found.versions] == holds
    assert found.feasible == any(holds)
    assert found.faster == faster
    assert found.speedup == pytest.approx(ms / ms8)
    assert found.error == pytest.approx(ms / ms8 * 0.01 * 2**0.5)


def test_what_cannot_be_quantised_is_still_timed(tmp_path: Path) -> None:
    found = checked(write(tmp_path / "m.onnx", BRANCHES), Clock(1.0, 1.0), "latency_ms=2")
    assert found.feasible
    assert (found.speedup, found.faster) == (None, False)
    assert [v.holds for v in found.versions] == [True, False]
    assert found.versions[1].reason.startswith("not quantised: it holds no operator")


def test_a_file_in_int8_has_no_int8_version(tmp_path: Path) -> None:
    file = quantised(read(write(tmp_path / "m.onnx", MLP)))
    (tmp_path / "q.onnx").write_bytes(file.data)
    found = checked(str(tmp_path / "q.onnx"), Clock(1.0, 1.0), "latency_ms=2")
    assert [v.reason for v in found.versions] == ["", "not quantised: it is in int8 as it is"]


def test_what_could_not_be_timed_is_a_dash_and_no_reference(tmp_path: Path) -> None:
    found = checked(write(tmp_path / "m.onnx", MLP), Clock(math.nan, math.nan), "latency_ms=2")
    shown = " ".join(str(part) for part in feasibility({"m.onnx": found}))
    assert "a share is of" not in shown
    assert number(math.nan) == number(None)


@pytest.mark.parametrize(
    ("ms", "ms8", "feasible"), [(math.nan, 1.0, True), (1.0, math.nan, True), (math.nan,) * 2 + (False,)]
)
def test_what_cannot_be_timed_says_why(tmp_path: Path, ms: float, ms8: float, feasible: bool) -> None:
    found = checked(write(tmp_path / "m.onnx", MLP), Clock(ms, ms8), "latency_ms=2")
    assert found.feasible == feasible
    assert [v.reason for v in found.versions] == ["not timed: it crashed" if math.isnan(x) else "" for x in (ms, ms8)]
    assert found.speedup is None


def test_int8_is_left_out_where_it_is_not_wanted(tmp_path: Path) -> None:
    found = checked(write(tmp_path / "m.onnx", MLP), Clock(1.0, 1.0), "latency_ms=2", bits=(32,))
    assert [v.bits for v in found.versions] == [32]


@pytest.fixture(scope="module", params=[OnnxRuntime, OpenVino])
def device(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processor]:
    pytest.importorskip(request.param.name)
    folder = made_up.calibrated(request.param, tmp_path_factory.mktemp("cache"))
    with request.param(timing_bytes, cache_dir=folder) as device:
        yield device


@pytest.mark.parametrize("text", [BRANCHES, LSTM, TOKENS])
def test_runtimes_take_what_is_unusual(device: Processor, tmp_path: Path, text: str) -> None:
    (latency,) = device.measure([read(write(tmp_path / "m.onnx", text))], "quick")
    assert latency.value > 0, latency.protocol


def test_a_profile_finds_the_operators_of_a_file(device: Processor) -> None:
    found = profile("squeezenet", read(light("squeezenet")), device, Memory())
    assert sum(r.macs for r in found.rows) == found.macs
    assert sum(r.ms for r in found.rows if r.kind == "Conv") > 0.5 * sum(r.ms for r in found.rows)


def test_a_convolution_keeps_its_name_where_a_scale_is_folded_into_it(device: Processor, tmp_path: Path) -> None:
    text = """
    g (float[1, 8, 16, 16] x) => (float[1, 8, 16, 16] y) <float[8, 8, 3, 3] w, float[1, 8, 1, 1] s> {
        c = Conv <pads = [1, 1, 1, 1]> (x, w)
        m = Mul (c, s)
        y = Relu (m)
    }"""
    rows = device.profile(read(write(tmp_path / "m.onnx", text)))
    assert [(r.op, r.macs) for r in rows if r.macs] == [("c", 8 * 72 * 256)]


def test_what_is_not_finite_says_so(device: Processor, tmp_path: Path) -> None:
    file = read(write(tmp_path / "m.onnx", NOT_FINITE))
    with pytest.raises(ChipfitError, match=f"m.onnx cannot be timed on {device.name}: an output is not finite"):
        profile("m.onnx", file, device, Memory())
    found = check(file, device, [Limit.parse("latency_ms=5")], Memory())
    assert not found.feasible
    assert found.versions[0].reason.startswith("not timed: an output is not finite")


def test_both_versions_are_timed_for_real(device: Processor, tmp_path: Path) -> None:
    found = check(read(write(tmp_path / "m.onnx", MLP)), device, [Limit.parse("latency_ms=1000")], Memory())
    values: list[Mapping[str, float]] = [v.values for v in found.versions]
    assert found.feasible
    assert all(v["latency_ms"] > 0 for v in values), found
    assert found.speedup == pytest.approx(values[0]["latency_ms"] / values[1]["latency_ms"])
