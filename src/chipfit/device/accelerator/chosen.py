"""The best design of a part for one network: what an accelerator that is built for that network would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chipfit.core.types import Plain
from chipfit.device.accelerator.breakdown import LayerTime, breakdown
from chipfit.device.accelerator.explore import Front, explore, nothing_fits
from chipfit.device.accelerator.grid import fewest_dsp, grid, plainest
from chipfit.device.accelerator.named import RESOURCES, Target
from chipfit.device.accelerator.parts import LIMITS, Part
from chipfit.device.accelerator.resources import memory_gb_s, used
from chipfit.device.accelerator.work import Layer, Work
from chipfit.space.hardware import Designs

MODEL = "accelerator model v2, grid 1"
"""What latencies are comparable within: the formulas, and the grid that the fastest design is found on."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The fastest design of a part for a network, and the others that nothing beats in latency and resources.

    `taken` maps resources to what the design uses of them; `front` is fastest first.
    """

    part: Part
    works: tuple[Work, ...]
    design: Designs
    latency_ms: float
    taken: Mapping[str, float]
    front: Front

    @property
    def rows(self) -> tuple[LayerTime, ...]:
        """Each piece of work on the design, in the network's order."""
        return breakdown(self.works, self.design, 0, self.part)

    @property
    def details(self) -> dict[str, float]:
        """Parameters of the design and what it takes, as a measurement carries them."""
        numbers = {name: float(value) for name, value in self.design.plain(0).items()}
        return numbers | dict(self.taken) | {"clock_mhz": self.part.clock_mhz}


def best(works: Sequence[Work], to: Target) -> Chosen:
    """The fastest design, by trying every one of the network's grid.

    Raises:
        BadInput: a kernel is larger than a given tk.
        Infeasible: no design is within the limits; `nearest` has the least that any takes of each resource.
    """
    designs = grid(works, to.part, to.pinned)
    if not len(designs):
        raise nothing_fits({"dsp": fewest_dsp(works, to.part)}, to.part)
    front = explore(works, designs, to.part)
    fastest = front.designs.take([0])
    design = fastest if to.pinned else plainest(fastest, works)
    of = used(design, works, to.part)
    taken = {name: float(of[name][0]) for name in LIMITS} | {"ddr_gb_s": float(memory_gb_s(of, to.part)[0])}
    return Chosen(to.part, tuple(works), design, float(front.latency_ms[0]), taken, front)


def described(
    chosen: Chosen,
    formats: Mapping[str, tuple[int, int]] | None = None,
    patterns: Mapping[str, Sequence[Sequence[int]]] | None = None,
) -> dict[str, Plain]:
    """The design as a file holds it: what a generator of such accelerators needs to build it.

    Args:
        chosen: the design.
        formats: layer to the (integer, fraction) bits of its weights, where these are known.
        patterns: pruned layer to the sets of places that each of its kernels keeps one of.
    """
    part, has = chosen.part, {name: getattr(chosen.part, name) for name in RESOURCES}
    resources: dict[str, Plain] = {name: {"used": chosen.taken[name], "available": has[name]} for name in RESOURCES}
    rows = zip(chosen.works, chosen.rows, strict=True)
    layers = [_layer(work, row, formats or {}) | {"bytes": _moved(row, chosen)} for work, row in rows]
    for layer in layers:
        if kept := (patterns or {}).get(str(layer["op"])):
            layer["patterns"] = [list(places) for places in kept]
    return {
        "part": part.name,
        "chip": part.chip,
        "clock_mhz": part.clock_mhz,
        "design": chosen.design.plain(0),
        "resources": resources,
        "latency_ms": chosen.latency_ms,
        "provenance": "simulated",
        "model": MODEL,
        "layers": layers,
    }


def _moved(row: LayerTime, chosen: Chosen) -> float:
    """Bytes that the ports move for a piece of work: words of two bytes, as many a cycle as each port is wide."""
    widths = [int(chosen.design[f"{port}_port"][0]) for port in ("weight", "input", "output")]
    cycles = [ms * chosen.part.clock_mhz * 1e3 for ms in row.parts_ms[1:]]
    return 2 * sum(width * n for width, n in zip(widths, cycles, strict=True))


def _layer(work: Work, row: LayerTime, formats: Mapping[str, tuple[int, int]]) -> dict[str, Plain]:
    computing, weights, inputs, outputs = row.parts_ms
    slack = None if np.isinf(row.slack) else row.slack
    told: dict[str, Plain] = {
        "op": row.op,
        "engine": row.engine,
        "ms": row.ms,
        "computing_ms": computing,
        "weights_ms": weights,
        "inputs_ms": inputs,
        "outputs_ms": outputs,
        "bottleneck": row.bottleneck,
        "slack": slack,
        "value_bits": work.value_bits,
    }
    if not isinstance(work, Layer):
        return told
    told |= {"kernel": list(work.kernel), "taps": work.taps, "macs": work.macs, "weight_bits": work.weight_bits}
    if work.op in formats:
        integer, fraction = formats[work.op]
        told |= {"weight_integer_bits": integer, "weight_fraction_bits": fraction}
    return told
