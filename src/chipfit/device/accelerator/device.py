"""An FPGA accelerator as a device: a network's latency is that of the design that suits it best.

Nothing here has seen a board. A network takes what the model (`v2`) says it takes on the fastest design that the part
holds, found by trying all of the network's grid (`grid`); another network gets another design, as the logic is written
for it. Layers compute in fixed point: 16 bits of weights and values where a network says nothing, and 8 where it says
int8. Answers are computed on this machine from the file that is written, whose weights are on their grids; values of
16 bits are taken as floats, which are finer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from chipfit.core.errors import BadInput
from chipfit.core.graph import LAYERS, Graph
from chipfit.core.types import Artifact, DeviceFacts, Fidelity, Measurement, OpTime
from chipfit.device.accelerator.chosen import MODEL, Chosen, best
from chipfit.device.accelerator.named import Target, target
from chipfit.device.accelerator.work import Work, works
from chipfit.device.canary import Write
from chipfit.device.engines.engine import feed, in_batches, taken
from chipfit.device.roofline import traffic

PROTOCOL = "fastest design of the grid"
CHANNEL_STEP = 8
"""Widths are offered in such steps; any width could be built."""
DEFAULT, LOW = 32, 8
"""Bits that a network's layer may have: as it was trained, which the accelerator holds in 16 bits, or int8."""
BATCH = 64


class Accelerator:
    """Simulated latency, resources and profile of networks on an FPGA part.

    Args:
        name: see `named`.
        write: makes files of what is probed; nothing is.

    Raises:
        BadInput: an unknown part, resource or parameter.
    """

    format: str = "onnx-fixed"

    def __init__(self, name: str, write: Write | None = None) -> None:
        self.name = name
        self.target: Target = target(name)
        self._known: dict[tuple[Work, ...], Chosen] = {}

    @property
    def fingerprint(self) -> str:
        """Part with its limits, clock and model: latencies are comparable within."""
        p = self.target.part
        has = f"{p.dsp} dsp, {p.bram18} bram18, {p.uram} uram, {p.lutram} lutram, {p.port_bits} port bits"
        pinned = "".join(f", {name} {value}" for name, value in sorted(self.target.pinned.items()))
        return f"{p.name} at {p.clock_mhz:g} MHz, {has}, {p.ddr_gb_s:g} GB/s{pinned}, {MODEL}"

    def facts(self) -> DeviceFacts:
        """Stated. Of `bits` 32 stands for a layer as it was trained, which is computed in 16-bit fixed point."""
        return DeviceFacts(
            name=self.name,
            fingerprint=self.fingerprint,
            isa=(),
            channel_block={DEFAULT: CHANNEL_STEP, LOW: CHANNEL_STEP},
            reduce_range=False,
            overhead_ms=0.0,
            runtime=MODEL,
            bits=(DEFAULT, LOW),
        )

    def chosen(self, graph: Graph) -> Chosen:
        """The fastest design for a network.

        Raises:
            BadInput: an operator that the model has no rule for, or a kernel larger than a given tk.
            Infeasible: no design is within the limits.
        """
        work = works(graph)
        key = tuple(replace(w, op="") for w in work)
        if key not in self._known:
            self._known[key] = best(work, self.target)
        return replace(self._known[key], works=work)

    def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
        """Latency of each network on its fastest design, in ms, the same at either fidelity; bytes are not looked at.

        Details: the design's parameters by the names of `space.hardware`, what it takes by those of `parts.LIMITS`.

        Raises:
            BadInput, Infeasible: as for `chosen`.
        """
        return [self._latency(a.graph) for a in artifacts]

    def run(self, artifact: Artifact, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """First output (n, ...) for inputs (n, ...), by ONNX Runtime: int8 layers as if exact, the rest in float.

        Raises:
            BadInput: the artifact has no bytes.
        """
        if not artifact.data:
            raise BadInput("the artifact is a graph without bytes and cannot be run; export it to onnx-fixed first")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = os.cpu_count() or 1
        # Kernels for int8 saturate on some processors, which no accelerator does.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        session = onnxruntime.InferenceSession(artifact.data, options, providers=["CPUExecutionProvider"])
        first = session.get_inputs()[0].shape[0]
        fixed = isinstance(first, int)
        step = first if fixed else BATCH
        given = taken(session.get_inputs())
        answers = []
        for part, n in in_batches(inputs, step, fixed):
            answers.append(session.run(None, feed(given, part))[0][:n])
        return np.concatenate(answers).astype(np.float32, copy=False)

    def profile(self, artifact: Artifact) -> list[OpTime]:
        """Simulated time of each operator on the fastest design, slowest first; they sum up to the latency."""
        graph = artifact.graph
        rows = []
        for row in self.chosen(graph).rows:
            o = graph[row.op]
            macs = graph.macs(o) if o.kind in LAYERS else 0
            rows.append(OpTime(row.op, o.kind, row.ms, macs, traffic(graph, o), row.bottleneck))
        return sorted(rows, key=lambda r: -r.ms)

    def close(self) -> None:
        """Holds nothing."""
        self._known.clear()

    def _latency(self, graph: Graph) -> Measurement:
        found = self.chosen(graph)
        return Measurement(
            "latency_ms", found.latency_ms, "simulated", self.fingerprint, PROTOCOL, details=found.details
        )
