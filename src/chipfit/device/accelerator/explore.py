"""Every design of a grid compared, exactly: the fastest, and the front over latency and each resource.

All that fit the part are timed: in closed form that takes no longer than to bound them and leave some out. Designs that
take the same of every resource are one *class*, of which only the fastest can be on the front, so that the front is
sought among some thousands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray

from chipfit.core.errors import BadInput, Infeasible
from chipfit.device.accelerator.parts import LIMITS, Part
from chipfit.device.accelerator.resources import Used, fits, memory_gb_s, runs, used
from chipfit.device.accelerator.v2 import FULL, Model, network_cycles
from chipfit.device.accelerator.work import Layer, Work
from chipfit.space.hardware import Designs

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Front:
    """Designs of which none is as fast and as small in everything as another, fastest first.

    `resources` is (designs, resources), columns by `parts.LIMITS`. Of equal designs the first of the grid stands for
    all. `legal` designs of `seen` fit the part and were timed.
    """

    designs: Designs
    latency_ms: NDArray[np.float64]
    resources: NDArray[np.float64]
    seen: int
    legal: int

    def fastest(self) -> dict[str, int]:
        """The fastest design, as parameter to number."""
        return self.designs.plain(0)


def explore(works: Sequence[Work], designs: Designs, part: Part, model: Model = FULL) -> Front:
    """The front of a grid of designs for a network.

    Raises:
        BadInput: there is no design, or every one's Tk is smaller than the largest kernel.
        Infeasible: no design fits the part; `nearest` has the least that any takes of each resource.
    """
    if not len(designs):
        raise BadInput(
            "the grid has no design with a channel in; give smaller tm or tm_dw, or a part with more multipliers"
        )
    able = runs(designs, works)
    if not able.any():
        _refuse_kernels(works, designs)
    taken = used(designs, works, part, model)
    legal = np.flatnonzero(able & fits(taken, part))
    if not len(legal):
        raise nothing_fits(_least_taken(taken, part), part)
    resources = np.stack([taken[name][legal] for name in LIMITS], axis=1)
    times = network_cycles(works, designs.take(legal), model)
    winners = _fastest(times, _classes(resources))
    cycles = times[winners]
    points = np.column_stack([cycles, resources[winners]])
    varying = points[:, np.ptp(points, axis=0) > 0]  # a column of one value decides nothing and costs time
    kept = np.flatnonzero(moocore.is_nondominated(varying)) if varying.size else np.array([0])
    order = kept[np.lexsort((winners[kept], cycles[kept]))]
    return Front(
        designs=designs.take(legal[winners[order]]),
        latency_ms=cycles[order] / (part.clock_mhz * 1e3),
        resources=resources[winners[order]],
        seen=len(designs),
        legal=len(legal),
    )


def _fastest(times: NDArray[np.float64], classes: Index) -> Index:
    """Place of the fastest design of each class, the first of equally fast ones."""
    least = np.full(int(classes.max()) + 1, np.inf)
    np.minimum.at(least, classes, times)
    hits = np.flatnonzero(times == least[classes])
    _, first = np.unique(classes[hits], return_index=True)
    return hits[first]


def _classes(resources: NDArray[np.float64]) -> Index:
    """(designs,) number of the class of each: equal where all resources are.

    Columns are joined one after the other, ranks being renumbered each time, so that no product of ranges overflows.
    """
    joined = np.zeros(len(resources), np.int64)
    for column in resources.T:
        ranks = _ranks(column.astype(np.int64))
        if ranks.any():
            joined = _ranks(joined * (int(ranks.max()) + 1) + ranks)
    return joined


def _ranks(values: Index) -> Index:
    """The values numbered from 0 in their order. By a table where their range is small, since sorting takes longer."""
    shifted = values - values.min()
    span = int(shifted.max()) + 1
    if span > 8 * len(values):
        return np.unique(shifted, return_inverse=True)[1]
    there = np.zeros(span, bool)
    there[shifted] = True
    ranks: Index = (np.cumsum(there) - 1)[shifted]
    return ranks


def _refuse_kernels(works: Sequence[Work], designs: Designs) -> None:
    layers = [w for w in works if isinstance(w, Layer)]
    largest = max(layers, key=lambda layer: max(layer.kernel))
    tall, wide = largest.kernel
    raise BadInput(
        f"layer {largest.op!r} has a kernel of {tall}x{wide} and every design a smaller tk ({designs['tk'].max()} at"
        f" most); give tk={max(largest.kernel)}, or a network without it"
    )


def _least_taken(taken: Used, part: Part) -> dict[str, float]:
    """The least that any design takes of each resource."""
    least = {name: float(taken[name].min()) for name in LIMITS}
    return least | {"ddr_gb_s": float(memory_gb_s(taken, part).min())}


def nothing_fits(least: Mapping[str, float], part: Part) -> Infeasible:
    """What no design meets by itself, or all that is limited where each can be met but not all together.

    Args:
        least: resource to the least that any design takes of it.
        part: what there is.
    """
    over = {name: float(amount) for name, amount in least.items() if amount > getattr(part, name)}
    nearest = over or dict(least)
    together = "" if over else ", each by another design"
    said = ", ".join(f"{amount:g} {name} of {getattr(part, name):g}" for name, amount in nearest.items())
    way_out = "raise a limit or give a larger part"
    return Infeasible(f"no design fits {part.name}: the least that any takes is {said}{together}; {way_out}", nearest)
