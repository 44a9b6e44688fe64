"""Ethos-U as Vela estimates it: known cycles, what is left to the CPU, and a child that dies."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import made_up
from chipfit.core.graph import Graph, op
from chipfit.core.types import Artifact
from chipfit.device.child import DeviceFailed
from chipfit.device.ethos_u import EthosU, EthosU55, EthosU65, EthosU85
from chipfit.device.litert import LiteRtBuiltin
from chipfit.export.formats import timing_artifact, timing_bytes

pytest.importorskip("ethosu")
pytest.importorskip("ai_edge_litert")

Small = Callable[..., Artifact]


@pytest.fixture
def npu() -> Iterator[EthosU]:
    device = EthosU55(timing_bytes)
    yield device
    device.close()


def _known() -> bytes:
    """A CNN on 28x28 with weights and scales of its own, written without chipfit's exporter."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    rng, model, graph = np.random.default_rng(0), schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
    graph.tensors, graph.operators = [], []

    def tensor(name: str, shape: tuple[int, ...], scale: object, data: np.ndarray | None = None, kind: int = 9) -> int:
        made = schema.TensorT()
        made.quantization = schema.QuantizationParametersT()
        made.name, made.shape, made.type, made.buffer = name, list(shape), kind, 0
        made.quantization.scale = np.atleast_1d(np.float32(scale))  # type: ignore[arg-type]
        made.quantization.zeroPoint = np.zeros(np.size(scale), np.int64)  # type: ignore[arg-type]
        if data is not None:
            made.buffer = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(data.tobytes(), np.uint8)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version, model.operatorCodes, channels = 3, [code], 1
    value = first = tensor("input", (1, 28, 28, 1), 0.05)
    for n, (out, k) in enumerate(((16, 3), (16, 3), (32, 3), (64, 1), (10, 1))):
        w = rng.standard_normal((out, k, k, channels))
        scale = np.abs(w).max((1, 2, 3)) / 127
        low = np.round(w / scale[:, None, None, None]).astype(np.int8)
        arrays = [tensor(f"w{n}", w.shape, scale, low)]
        arrays.append(tensor(f"b{n}", (out,), scale * 0.05, np.zeros(out, np.int32), schema.TensorType.INT32))
        options, conv = schema.Conv2DOptionsT(), schema.OperatorT()
        options.padding, options.fusedActivationFunction = schema.Padding.SAME, schema.ActivationFunctionType.RELU
        options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
        conv.opcodeIndex, conv.inputs, conv.builtinOptions = 0, [value, *arrays], options
        conv.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
        value, channels = tensor(f"y{n}", (1, 28, 28, out), 0.05), out
        conv.outputs = [value]
        graph.operators.append(conv)
    graph.inputs, graph.outputs = [first], [value]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("kind", "cycles", "kib"), [(EthosU55, 105720, 77), (EthosU65, 70738, 77), (EthosU85, 66346, 78.03125)]
)
def test_a_known_network_has_its_known_cycles(kind: type[EthosU], cycles: int, kib: float, small: Small) -> None:
    from importlib.metadata import version

    if version("ethos-u-vela") != "5.2.0":
        pytest.skip("the figures are of Vela 5.2.0")
    device = kind(timing_bytes)
    (m,) = device.measure([replace(small(format="tflite"), data=_known())], "final")
    device.close()
    assert m.details["cycles"] == cycles
    assert m.details["peak_memory_mb"] == 1024 * kib / 1e6
    assert m.details["npu_share"] == 1.0
    assert m.value == pytest.approx(cycles / (500e3 if kind is EthosU55 else 1e6))
    assert (m.provenance, m.protocol, m.spread) == ("simulated", "vela estimate", 0.0)


def test_the_fingerprint_names_accelerator_system_memory_and_version(npu: EthosU) -> None:
    facts = npu.facts()
    assert facts.fingerprint.startswith("ethos-u55-128, Ethos_U55_High_End_Embedded, Shared_Sram, vela ")
    assert facts.bits == (8,)
    assert facts.channel_block == {8: 16}, "the array works on 16 channels at once"


def test_a_float_convolution_fails_with_its_name(npu: EthosU, small: Small) -> None:
    good, bad = small(8, 2, 6, 8, "tflite"), small(8, 2, 6, 32, "tflite")
    before, failed, after = npu.measure([good, bad, good], "quick")
    assert math.isnan(failed.value)
    assert failed.protocol.startswith("failed: not for the NPU, Vela leaves it to the CPU: Conv2D relu0")
    assert failed.provenance == "simulated"
    assert before == after
    with pytest.raises(DeviceFailed, match="Conv2D relu0"):
        npu.profile(bad)


def test_one_float_operator_among_int8_ones_fails_too(npu: EthosU, small: Small) -> None:
    graph = small(8, 3, 6, 8, "tflite").graph
    mixed = Graph(tuple(replace(o, bits=32) if o.name in ("conv1", "relu1") else o for o in graph), graph.output)
    (m,) = npu.measure([timing_artifact(mixed, "tflite")], "quick")
    assert m.protocol == "failed: not for the NPU, Vela leaves it to the CPU: Conv2D relu1"


def test_a_softmax_at_the_end_may_stay_on_the_cpu(npu: EthosU, small: Small) -> None:
    ops = (
        op("x", "input", (), (16,)),
        op("fc", "linear", ("x",), (10,), "fc", 8, bias=1),
        op("soft", "softmax", ("fc",), (10,), bits=32, axis=0),
    )
    (m,) = npu.measure([timing_artifact(Graph(ops, "soft"), "tflite")], "quick")
    assert m.value > 0
    assert m.details["npu_share"] < 1


def test_a_crash_of_vela_is_one_failed_measurement(npu: EthosU, small: Small) -> None:
    good = small(8, 2, 6, 8, "tflite")
    cut = replace(good, data=good.data[: len(good.data) // 2])
    before, failed, after = npu.measure([good, cut, good], "quick")
    assert math.isnan(failed.value)
    assert failed.protocol.startswith("failed: ")
    assert before == after


def test_a_kill_is_one_failed_measurement(npu: EthosU, small: Small) -> None:
    good = small(8, 2, 6, 8, "tflite")
    (before,) = npu.measure([good], "quick")
    pid = npu._child.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    failed, after = npu.measure([good, good], "quick")
    assert failed.protocol == "failed: the runtime's process ended (signal 9)"
    assert after == before


def test_the_profile_sums_up_to_the_latency_and_names_the_work(npu: EthosU, small: Small) -> None:
    artifact = small(16, 3, 14, 8, "tflite")
    rows, (m,) = npu.profile(artifact), npu.measure([artifact], "quick")
    assert sum(r.ms for r in rows) == pytest.approx(m.value)
    assert {r.op for r in rows} == {"conv0", "conv1", "conv2"}
    assert all(r.kind == "conv" and r.macs == 14 * 14 * 16 * 16 * 9 for r in rows)


def test_a_dense_layer_waits_for_its_weights(npu: EthosU) -> None:
    ops = (op("x", "input", (), (512,)), op("fc", "linear", ("x",), (512,), "fc", 8, bias=1))
    (row,) = npu.profile(timing_artifact(Graph(ops, "fc"), "tflite"))
    assert (row.op, row.bottleneck) == ("fc", "memory")


def test_outputs_are_those_of_the_built_in_kernels(npu: EthosU, small: Small, tmp_path: Path) -> None:
    artifact, x = small(8, 2, 6, 8, "tflite"), np.random.default_rng(0).standard_normal((3, 8, 6, 6), np.float32)
    with LiteRtBuiltin(timing_bytes, cache_dir=made_up.calibrated(LiteRtBuiltin, tmp_path)) as other:
        assert np.array_equal(npu.run(artifact, x), other.run(artifact, x))
