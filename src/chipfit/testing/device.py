"""What every device keeps: one measurement for each artifact, ratios that can be trusted, failures that stay apart.

A failed artifact is a Measurement whose value is nan and whose protocol is "failed: <reason>"; nothing is raised, so
that the others of the sitting keep their numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from chipfit.core.protocols import Device
from chipfit.core.types import Artifact, Measurement


class DeviceLaws:
    """Subclass as `Test...` and return a device and artifacts of its format."""

    sigmas = 6.0
    """By how many stated standard errors the same artifact may differ from itself within a sitting."""
    slack = 0.1
    """By which share it may differ beside that, on a machine that others use too."""

    def open(self) -> Device:
        """A new device; the laws close it."""
        raise NotImplementedError

    def artifacts(self) -> Sequence[Artifact]:
        """One or more small artifacts that the device can run."""
        raise NotImplementedError

    def inputs(self) -> NDArray[np.float32]:
        """(n, ...) two or more inputs of the first artifact."""
        raise NotImplementedError

    @contextmanager
    def _device(self) -> Iterator[Device]:
        device = self.open()
        try:
            yield device
        finally:
            device.close()

    def _good(self, m: Measurement) -> None:
        assert m.metric == "latency_ms", f"metric is {m.metric!r}"
        assert math.isfinite(m.value), f"latency_ms is {m.value}: {m.protocol}"
        assert m.value > 0, f"latency_ms is {m.value}"
        assert m.provenance in ("measured", "simulated", "predicted", "counted"), f"provenance {m.provenance!r}"
        assert m.where, "`where` is empty: it names the device"
        assert m.protocol, "`protocol` is empty: it says how the time was taken"
        assert m.spread >= 0, f"spread is {m.spread}"
        assert m.n >= 1, f"n is {m.n}"

    def test_it_meets_the_protocol(self) -> None:
        with self._device() as device:
            assert isinstance(device, Device), "a method of core.protocols.Device is missing"
            assert device.name, "the device has no name"
            assert all(a.format == device.format for a in self.artifacts()), f"artifacts are not {device.format!r}"

    def test_facts_are_stated_and_steady(self) -> None:
        with self._device() as device:
            facts = device.facts()
            assert facts.name == device.name
            assert facts.fingerprint, "the fingerprint is empty"
            assert facts.channel_block, "no channel block is stated"
            assert all(block >= 1 for block in facts.channel_block.values()), f"channel blocks {facts.channel_block}"
            assert facts.overhead_ms >= 0, f"overhead_ms is {facts.overhead_ms}"
            assert device.facts() == facts, "facts differ at the second call"

    def test_one_measurement_for_each_artifact(self) -> None:
        artifacts = list(self.artifacts())
        with self._device() as device:
            found = device.measure(artifacts, "quick")
        assert len(found) == len(artifacts), f"{len(found)} measurements of {len(artifacts)} artifacts"
        for m in found:
            self._good(m)

    def test_no_artifacts_give_no_measurements(self) -> None:
        with self._device() as device:
            assert list(device.measure([], "quick")) == []

    def test_an_artifact_is_as_fast_as_itself(self) -> None:
        artifact = self.artifacts()[0]
        with self._device() as device:
            a, b = device.measure([artifact, artifact], "quick")
        self._good(a)
        self._good(b)
        ratio = b.value / a.value
        allowed = self.sigmas * math.hypot(a.spread / a.value, b.spread / b.value) + self.slack
        assert abs(ratio - 1) <= allowed, f"one artifact twice has ratio {ratio:.3f}; 1 ± {allowed:.3f} is allowed"

    def test_a_final_look_is_a_measurement_too(self) -> None:
        with self._device() as device:
            (m,) = device.measure(self.artifacts()[:1], "final")
        self._good(m)

    def test_a_broken_artifact_fails_alone(self) -> None:
        good = self.artifacts()[0]
        if not good.data:
            pytest.skip("artifacts of this format have no bytes that could be broken")
        broken = replace(good, data=b"\x00garbage" * 8)
        with self._device() as device:
            before, failed, after = device.measure([good, broken, good], "quick")
        assert math.isnan(failed.value), f"a broken artifact takes {failed.value} ms"
        assert failed.protocol.startswith("failed: "), f"its protocol is {failed.protocol!r}, not 'failed: <reason>'"
        assert len(failed.protocol) > len("failed: "), "the reason is empty"
        self._good(before)
        self._good(after)

    def test_outputs_are_one_for_each_input_and_repeat(self) -> None:
        artifact, inputs = self.artifacts()[0], self.inputs()
        with self._device() as device:
            outputs = device.run(artifact, inputs)
            again = device.run(artifact, inputs)
            one = device.run(artifact, inputs[:1])
        assert outputs.shape[0] == len(inputs), f"{outputs.shape[0]} outputs for {len(inputs)} inputs"
        assert outputs.shape[1:] == artifact.graph[artifact.graph.output].shape, f"outputs are {outputs.shape}"
        assert outputs.dtype == np.float32, f"outputs are {outputs.dtype}"
        assert np.isfinite(outputs).all(), "an output is not finite"
        assert np.array_equal(outputs, again), "the same inputs gave other outputs"
        np.testing.assert_allclose(
            one, outputs[:1], rtol=1e-3, atol=1e-4, err_msg="an input's answer depends on others"
        )

    def test_a_profile_is_slowest_first(self) -> None:
        with self._device() as device:
            rows = device.profile(self.artifacts()[0])
        assert rows, "the profile is empty"
        times = [r.ms for r in rows]
        assert times == sorted(times, reverse=True), "the slowest operator is not first"
        assert min(times) >= 0, f"an operator takes {min(times)} ms"
        assert all(r.bottleneck in ("compute", "memory", "launch") for r in rows), "unknown bottleneck"

    def test_closing_twice_is_harmless(self) -> None:
        device = self.open()
        device.close()
        device.close()
