"""Arm's Ethos-U NPUs, as their compiler Vela estimates them; nothing here has seen the hardware.

Vela is asked for a named accelerator, system and memory: without names it takes defaults that differ by family.
Latencies of two families are of two memory systems and do not compare. The estimate counts what the NPU does; what
Vela leaves to the CPU has no cycles in it, so a network that needs the CPU for more than its ends is failed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chipfit.core.graph import Graph
from chipfit.core.types import Artifact, DeviceFacts, Fidelity, Measurement, OpTime
from chipfit.device.canary import Write
from chipfit.device.child import Child, DeviceFailed
from chipfit.device.facts import block_of, staircase
from chipfit.device.litert import LiteRtBuiltin
from chipfit.device.protocol import failed
from chipfit.device.roofline import by_operator, traffic

PROTOCOL = "vela estimate"

TIMEOUT_S = 60.0
"""For one file; a network of 11 million weights takes about a second."""

ON_CPU = frozenset({"Quantize", "Dequantize", "Reshape", "Softmax"})
"""What may stay on the CPU, uncounted: the ends of a network, and what moves nothing."""

SHOWN = 4
"""Operators that a failure names."""


@dataclass(frozen=True, slots=True)
class Target:
    """An accelerator, and what it is built into: a system configuration and a memory mode of Arm's vela.ini."""

    accelerator: str
    system: str
    memory: str

    def __str__(self) -> str:
        return f"{self.accelerator}, {self.system}, {self.memory}"


class Layer(NamedTuple):
    """One line of Vela's table: `npu_cycles` are those of its arithmetic, `cycles` those of what holds it longest."""

    name: str
    kind: str
    on_npu: bool
    cycles: int
    npu_cycles: int


class EthosU:
    """Estimated latency, SRAM and profile of int8 TensorFlow Lite files on an Ethos-U.

    Outputs come from LiteRT's built-in kernels on this machine, as Vela executes nothing. Those round differently
    from the reference kernels that define the int8 operators, so an output may be a step or two off.

    Args:
        write: makes files of what is probed.

    Its methods raise DeviceFailed where the worker does not come up.
    """

    name: str
    target: Target
    format: str = "tflite"
    bits: tuple[int, ...] = (8,)
    """Precisions that the NPU computes in."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._child = Child("vela", range(os.cpu_count() or 1), threads=1)
        self._runner = LiteRtBuiltin(write)

    @property
    def runtime(self) -> str:
        """Name and version of the compiler."""
        return f"vela {self._child.start()['version']}"

    @property
    def fingerprint(self) -> str:
        """Accelerator, system, memory and compiler: latencies are comparable within."""
        return f"{self.target}, {self.runtime}"

    def facts(self) -> DeviceFacts:
        """Stated, but for the channel block, which a staircase of cycles tells (a fifth of a second)."""
        return DeviceFacts(
            name=self.name,
            fingerprint=self.fingerprint,
            isa=(),
            channel_block={8: self._block},
            reduce_range=False,
            overhead_ms=0.0,
            runtime=self.runtime,
            bits=self.bits,
        )

    def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
        """Estimated latency of each artifact, in ms: cycles over the clock, the same at either fidelity.

        Details: cycles, npu_share (of the operators), peak_memory_mb (SRAM at its fullest). An artifact that Vela
        refuses, crashes or hangs on, or leaves to the CPU, has value nan and the protocol "failed: <reason>".
        """
        return [self._latency(a) for a in artifacts]

    def run(self, artifact: Artifact, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """First output (n, ...) for inputs (n, ...), by LiteRT's built-in kernels.

        Raises:
            DeviceFailed: they refuse, crash, hang, or give something that is not finite.
        """
        return self._runner.run(artifact, inputs)

    def profile(self, artifact: Artifact) -> list[OpTime]:
        """Estimated time of each operator, slowest first; the times sum up to the latency.

        "compute" is what the NPU's arithmetic holds longest, "memory" what waits for SRAM or flash.

        Raises:
            DeviceFailed: Vela refuses the artifact, crashes or hangs on it, or leaves it to the CPU.
        """
        whole, layers = self._estimate(artifact)
        graph, per_ms = artifact.graph, whole["clock_hz"] / 1e3
        cycles = by_operator([(la.name, la.kind, la.cycles) for la in layers], graph)
        busy = by_operator([(la.name, la.kind, la.npu_cycles) for la in layers], graph)
        rows = []
        for (name, kind), taken in cycles.items():
            bound = "compute" if busy[name, kind] >= taken else "memory"
            o = graph.by_name.get(name)
            macs, moved = (graph.macs(o), traffic(graph, o)) if o else (0, 0)
            rows.append(OpTime(name, kind, taken / per_ms, macs, moved, bound))
        return sorted((r for r in rows if r.ms), key=lambda r: -r.ms)

    def close(self) -> None:
        """Ends the worker processes; a later use starts others."""
        self._child.close()
        self._runner.close()

    def _latency(self, artifact: Artifact) -> Measurement:
        where = self.fingerprint
        try:
            whole, layers = self._estimate(artifact)
        except DeviceFailed as e:
            return failed(str(e), where, "simulated")
        details = {
            "cycles": float(whole["cycles"]),
            "npu_share": sum(la.on_npu for la in layers) / len(layers),
            "peak_memory_mb": whole["sram_bytes"] / 1e6,
        }
        return Measurement("latency_ms", _ms(whole), "simulated", where, PROTOCOL, details=details)

    def _estimate(self, artifact: Artifact) -> tuple[dict[str, Any], list[Layer]]:
        """Vela's figures of the whole, and its layers.

        Raises:
            DeviceFailed: Vela refuses, crashes, hangs, or leaves more to the CPU than it may.
        """
        whole = self._ask(artifact.data)
        layers = [Layer(*row) for row in whole["layers"]]
        left = [f"{la.kind} {la.name}" for la in layers if not la.on_npu and la.kind not in ON_CPU]
        if left:
            more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
            raise DeviceFailed(f"not for the NPU, Vela leaves it to the CPU: {', '.join(left[:SHOWN])}{more}")
        return whole, layers

    def _ask(self, data: bytes) -> dict[str, Any]:
        t = self.target
        header = {"verb": "estimate", "options": [t.accelerator, t.system, t.memory]}
        return self._child.ask(header, [data], TIMEOUT_S)[0]

    @cached_property
    def _block(self) -> int:
        def latency(graphs: Sequence[Graph]) -> list[float]:
            return [_ms(self._ask(self._write(g, self.format))) for g in graphs]

        return block_of(staircase(latency, min(self.bits)))


def _ms(whole: dict[str, Any]) -> float:
    return 1e3 * float(whole["cycles"]) / float(whole["clock_hz"])


class EthosU55(EthosU):
    """128 MACs a cycle at 500 MHz; SRAM shared with the CPU, weights in flash (0.5 GB/s)."""

    name = "ethos-u55"
    target = Target("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram")


class EthosU65(EthosU):
    """256 MACs a cycle at 1 GHz; 384 KB of SRAM for itself, all else in DRAM (3.75 GB/s)."""

    name = "ethos-u65"
    target = Target("ethos-u65-256", "Ethos_U65_High_End", "Dedicated_Sram_384KB")


class EthosU85(EthosU):
    """256 MACs a cycle at 1 GHz; 384 KB of SRAM for itself, all else in DRAM (12 GB/s)."""

    name = "ethos-u85"
    target = Target("ethos-u85-256", "Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB")
