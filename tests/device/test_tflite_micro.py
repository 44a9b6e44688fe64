"""TensorFlow Lite for Microcontrollers: outputs of LiteRT's reference kernels, memory from its own record."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import made_up
from chipfit.core.graph import Graph, op
from chipfit.core.types import Artifact
from chipfit.device.tflite_micro import TfliteMicro
from chipfit.export.formats import timing_artifact, timing_bytes

pytest.importorskip("tflite_micro")
litert = pytest.importorskip("ai_edge_litert.interpreter")

Small = Callable[..., Artifact]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.calibrated(TfliteMicro, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def micro(folder: Path) -> Iterator[TfliteMicro]:
    with TfliteMicro(timing_bytes, cache_dir=folder) as device:
        yield device


def _reference(data: bytes, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outputs (n, C, H, W) of LiteRT's reference kernels."""
    runner = litert.Interpreter(model_content=data, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    runner.allocate_tensors()
    answers = []
    for row in np.moveaxis(x, 1, -1):
        runner.set_tensor(runner.get_input_details()[0]["index"], row[None])
        runner.invoke()
        answers.append(runner.get_tensor(runner.get_output_details()[0]["index"]))
    return np.moveaxis(np.concatenate(answers), -1, 1)


def test_int8_outputs_are_those_of_the_reference_kernels_bit_for_bit(micro: TfliteMicro, small: Small) -> None:
    artifact = small(8, 4, 9, 8, "tflite")
    x = np.random.default_rng(0).standard_normal((5, 8, 9, 9), np.float32)
    ours = micro.run(artifact, x)
    assert np.array_equal(ours, _reference(artifact.data, x))
    assert len(np.unique(ours)) > 10


def test_float_outputs_are_close_to_the_reference_kernels(micro: TfliteMicro, small: Small) -> None:
    artifact = small(8, 4, 9, 32, "tflite")
    x = np.random.default_rng(0).standard_normal((5, 8, 9, 9), np.float32)
    np.testing.assert_allclose(micro.run(artifact, x), _reference(artifact.data, x), rtol=1e-5, atol=1e-5)


def test_a_measurement_is_a_simulated_class_with_true_memory(micro: TfliteMicro, small: Small) -> None:
    narrow, wide = micro.measure([small(c, 2, 14, 8, "tflite") for c in (8, 32)], "quick")
    assert wide.provenance == "simulated"
    assert wide.protocol == "canary-v5 quick, reference kernels on this processor"
    # in float32 the ends hold 4 times the int8 activations, and the widest moment is at an end
    assert wide.details["peak_memory_mb"] - narrow.details["peak_memory_mb"] == pytest.approx(
        (32 - 8) * 14 * 14 * 5 / 1e6, rel=0.1
    )


def test_an_operator_without_a_kernel_fails_with_its_name(micro: TfliteMicro) -> None:
    ops = (op("x", "input", (), (16,)), op("act", "gelu", ("x",), (16,)))
    (m,) = micro.measure([timing_artifact(Graph(ops, "act"), "tflite")], "quick")
    assert math.isnan(m.value)
    assert m.provenance == "simulated"
    assert "GELU" in m.protocol


def test_a_death_between_timing_and_memory_is_one_failed_measurement(
    micro: TfliteMicro, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, killed = micro._child.ask, list[int]()

    def kill_first(header: dict[str, Any], *blobs: Any, **options: float) -> Any:
        if header["verb"] == "estimate" and not killed and micro._child.pid:
            killed.append(micro._child.pid)
            os.kill(killed[0], signal.SIGKILL)
        return ask(header, *blobs, **options)

    monkeypatch.setattr(micro._child, "ask", kill_first)
    first, second = micro.measure([small(4, 1, 6, 8, "tflite"), small(8, 1, 6, 8, "tflite")], "quick")
    assert first.protocol == "failed: the runtime's process ended (signal 9)"
    assert second.value > 0


def test_a_profile_names_operators_of_the_graph(micro: TfliteMicro, small: Small) -> None:
    rows = micro.profile(small(16, 3, 14, 8, "tflite"))
    assert len([r.ms for r in rows if r.kind == "conv"]) == 3


@pytest.mark.timed
def test_convolutions_take_most_of_the_time(micro: TfliteMicro, small: Small) -> None:
    rows = micro.profile(small(16, 3, 14, 8, "tflite"))
    assert sum(r.ms for r in rows if r.kind == "conv") > 0.8 * sum(r.ms for r in rows)
