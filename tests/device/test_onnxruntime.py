from __future__ import annotations

import itertools
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from chipfit.core.graph import Graph, op
from chipfit.core.types import Artifact
from chipfit.device import processor as module
from chipfit.device.child import DeviceFailed
from chipfit.device.facts import Probe
from chipfit.device.onnxruntime import OnnxRuntime
from chipfit.export.formats import timing_bytes

Small = Callable[..., Artifact]


def _one_op(kind: str, batch: int | str = 1, fill: float = 1.0) -> Artifact:
    """y = kind(x · fill - 1) on (batch, 3)."""
    constants = [helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in (("k", fill), ("one", 1.0))]
    nodes = [
        helper.make_node("Mul", ["x", "k"], ["m"]),
        helper.make_node("Sub", ["m", "one"], ["s"]),
        helper.make_node(kind, ["s"], ["y"], name="last"),
    ]
    shape = [batch, 3]
    given, made = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy")
    graph = helper.make_graph(nodes, "g", [given], [made], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    ops = (op("x", "input", (), (3,)), op("last", "relu", ("x",), (3,)))
    return Artifact("onnx", model.SerializeToString(), Graph(ops, "last"))


def test_a_measurement_says_all_of_itself(device: OnnxRuntime, small: Small) -> None:
    (m,) = device.measure([small(16, 2, 14)], "quick")
    assert m.metric == "latency_ms"
    assert m.value > 0
    assert m.provenance == "measured"
    assert m.protocol == "canary-v5 quick"
    assert 2 <= m.n <= 4
    assert m.where == device.facts().fingerprint
    assert m.spread >= 0.01 * m.value
    assert {"p50_ms", "p95_ms", "cv", "canary", "canary_ms", "load"} <= set(m.details)


def test_final_goes_by_turns(device: OnnxRuntime, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real = OnnxRuntime._insist

    def insist(self: OnnxRuntime, digest: str, *how: Any) -> Any:
        order.append(digest)
        return real(self, digest, *how)

    monkeypatch.setattr(OnnxRuntime, "_insist", insist)
    a, b = small(4), small(8)
    found = device.measure([a, b, a], "final")
    assert order[:6] == [a.digest, b.digest] * 3, "an artifact that is given twice is timed once"
    assert all(m.n >= 5 for m in found)
    assert found[0] == found[2]


@pytest.mark.timed
def test_one_core_of_work_is_not_eight(device: OnnxRuntime, small: Small) -> None:
    one, eight = device.measure([small(16, 2, 28), small(16, 16, 28)], "quick")
    assert eight.value > 3 * one.value


def test_rubbish_and_nan_fail_alone(device: OnnxRuntime, small: Small) -> None:
    good, rubbish = small(), replace(small(), data=b"rubbish")
    before, bad, nan, after = device.measure([good, rubbish, _one_op("Log", fill=0.0), good], "quick")
    assert math.isnan(bad.value)
    assert bad.protocol.startswith("failed: ")
    assert "ONNXRuntimeError" in bad.protocol
    assert nan.protocol == "failed: an output is not finite for a standard normal input"
    assert before == after
    assert before.value > 0


def test_a_worker_that_is_killed_in_the_middle_costs_one_block(
    device: OnnxRuntime, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = OnnxRuntime._pairs, 0

    def pairs(self: OnnxRuntime, *args: Any, **how: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            assert self._child.pid is not None
            os.kill(self._child.pid, signal.SIGKILL)
        return real(self, *args, **how)

    monkeypatch.setattr(OnnxRuntime, "_pairs", pairs)
    first = device._child.start()["pid"]
    found = device.measure([small(4), small(8)], "final")
    assert all(m.value > 0 and m.n >= 5 for m in found)
    assert device._child.pid != first


def test_an_artifact_that_crashes_twice_has_failed(
    device: OnnxRuntime, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good, real = small(5), small(4), OnnxRuntime._load

    def load(self: OnnxRuntime, digest: str, data: bytes, pinned: bool = False) -> None:
        if digest == bad.digest:
            os.kill(self._child.start()["pid"], signal.SIGSEGV)
        real(self, digest, data, pinned)

    monkeypatch.setattr(OnnxRuntime, "_load", load)
    crashed, fine = device.measure([bad, good], "quick")
    assert crashed.protocol == "failed: the runtime's process ended (signal 11)"
    assert fine.value > 0


def test_a_worker_that_is_killed_while_it_answers_is_asked_once_more(
    device: OnnxRuntime, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, kills = OnnxRuntime._answers, list[int]()

    def answers(self: OnnxRuntime, *args: Any) -> Any:
        if kills:
            os.kill(self._child.start()["pid"], kills.pop())
        return real(self, *args)

    good, x = small(4), np.random.default_rng(0).standard_normal((3, 4, 6, 6), np.float32)
    whole = device.run(good, x)
    kills[:] = [signal.SIGKILL]
    monkeypatch.setattr(OnnxRuntime, "_answers", answers)
    assert np.array_equal(device.run(good, x), whole)
    kills[:] = [signal.SIGKILL, signal.SIGKILL]
    with pytest.raises(DeviceFailed, match="signal 9"):
        device.run(good, x)


def test_an_artifact_that_hangs_has_failed(device: OnnxRuntime, small: Small) -> None:
    device.measure([small()], "quick")
    device.timeout_s = 0.005
    (hung,) = device.measure([small(64, 16, 56)], "quick")
    assert hung.protocol == "failed: no answer within 0.005 s"
    device.timeout_s = 60.0
    (m,) = device.measure([small()], "quick")
    assert m.value > 0


def test_comparing_is_a_ratio_with_its_error(device: OnnxRuntime, small: Small) -> None:
    m = device.compare(small(16, 8, 28), small(16, 2, 28))
    assert m.metric == "latency_ratio"
    assert m.value > 1
    assert m.spread > 0
    assert m.n >= 5


@pytest.mark.parametrize("batch", [1, 4, "n"])
def test_run_gives_what_onnxruntime_gives(device: OnnxRuntime, batch: int | str) -> None:
    artifact = _one_op("Tanh", batch)
    inputs = np.random.default_rng(0).standard_normal((150, 3), np.float32)  # more than one batch, and not a whole one
    np.testing.assert_allclose(device.run(artifact, inputs), np.tanh(inputs - 1), rtol=1e-5, atol=1e-6)


def test_inputs_go_over_in_parts(device: OnnxRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 100)
    inputs = np.arange(90, dtype=np.float32).reshape(30, 3) / 90
    np.testing.assert_allclose(device.run(_one_op("Tanh"), inputs), np.tanh(inputs - 1), rtol=1e-5)


def test_run_is_bit_for_bit_the_runtime(device: OnnxRuntime, small: Small) -> None:
    artifact = small(12, 3, 6, 8)
    x = np.random.default_rng(0).random((3, 12, 6, 6), np.float32)
    session = onnxruntime.InferenceSession(artifact.data, providers=["CPUExecutionProvider"])
    want = np.concatenate([session.run(None, {"input": row[None]})[0] for row in x])
    assert np.array_equal(device.run(artifact, x), want)


def test_run_refuses_the_wrong_shape_and_outputs_that_are_not_finite(device: OnnxRuntime, small: Small) -> None:
    with pytest.raises(DeviceFailed, match="ONNXRuntimeError"):
        device.run(small(), np.zeros((2, 1, 1, 1), np.float32))
    with pytest.raises(DeviceFailed, match="not finite"):
        device.run(_one_op("Log", fill=3.0), np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("bits", [32, 8])
def test_a_profile_sums_up_to_the_latency(
    device: OnnxRuntime, small: Small, monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    artifact = small(16, 3, 14, bits)
    real, seen = OnnxRuntime.measure, []

    def measure(self: OnnxRuntime, *args: Any) -> Any:
        seen.extend(real(self, *args))
        return seen

    monkeypatch.setattr(OnnxRuntime, "measure", measure)
    rows = device.profile(artifact)
    assert sum(r.ms for r in rows) == pytest.approx(seen[0].value)
    assert [r.ms for r in rows] == sorted((r.ms for r in rows), reverse=True)
    convs = {r.op: r for r in rows if r.kind == "conv"}
    assert set(convs) == {"conv0", "conv1", "conv2"}
    assert all(r.macs == 16 * 16 * 9 * 14 * 14 and r.bytes > 0 for r in convs.values())


def test_an_artifact_that_cannot_run_has_no_profile(device: OnnxRuntime, small: Small) -> None:
    with pytest.raises(DeviceFailed, match="ONNXRuntimeError"):
        device.profile(replace(small(), data=b"rubbish"))


def test_facts_are_probed_once(tmp_path: Path, calibrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probes = 0

    def probe(latency: object, precisions: object) -> Any:
        nonlocal probes
        probes += 1
        return Probe({32: 16, 8: 8}, 0.003, {32: {16: 1.0}})

    monkeypatch.setattr(module, "probe", probe)
    monkeypatch.setattr(module.canary, "calibrate", lambda *_: (0.01, 0.03, 0.1))
    facts = []
    for _ in range(2):
        with OnnxRuntime(timing_bytes, cache_dir=tmp_path) as device:
            facts.append(device.facts())
            assert device.facts() == facts[0]
    assert probes == 1
    assert facts[0] == facts[1]
    assert facts[0].channel_block == {32: 16, 8: 8}
    assert facts[0].overhead_ms == 0.003
    with OnnxRuntime(timing_bytes, cache_dir=calibrated) as device:
        assert device.facts().fingerprint != facts[0].fingerprint, "another scale is another device"


@pytest.mark.timed
def test_a_ladder_rises_and_an_empty_call_is_on_its_lower_rungs(tmp_path: Path) -> None:
    with OnnxRuntime(timing_bytes, cache_dir=tmp_path) as device:
        facts, ladder = device.facts(), device._ladders.ms()
    assert all(a < b for a, b in itertools.pairwise(ladder)), "the ladder does not rise"
    assert 0 < facts.overhead_ms < ladder[2]


def test_a_real_probe(tmp_path: Path) -> None:
    with OnnxRuntime(timing_bytes, cache_dir=tmp_path) as device:
        facts = device.facts()
    assert set(facts.channel_block) == {32, 8}
    assert set(facts.channel_block.values()) <= {4, 8, 16}
    assert facts.overhead_ms > 0
    assert facts.runtime == f"onnxruntime {onnxruntime.__version__}"


def test_a_decision_takes_as_many_blocks_as_it_needs(device: OnnxRuntime, small: Small) -> None:
    a = small(16, 2, 14)
    (sure,) = device.measure([a], "final")
    (far,) = device.decide([a], 100 * sure.value)
    assert far.n <= sure.n
    assert far.protocol == sure.protocol


@pytest.mark.timed
def test_a_decision_far_from_its_limit_is_right_about_the_time(device: OnnxRuntime, small: Small) -> None:
    a = small(16, 2, 14)
    (sure,) = device.measure([a], "final")
    (far,) = device.decide([a], 100 * sure.value)
    assert far.value == pytest.approx(sure.value, rel=0.2)
