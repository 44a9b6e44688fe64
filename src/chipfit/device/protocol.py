"""How one number is taken: blocks of runs that alternate with a canary, and what is made of them.

A block is about 40 ms of target, canary, target, canary, ...; its value is the *median of the ratios of adjacent
runs*. A measurement is the median of its blocks times what the canary takes on this device (`canary.calibrate`), in
ms. Nothing is dropped but each network's first runs. Blocks go over all artifacts of a call by turns. "quick" is two
short blocks, and more where they disagree; "final" at least five, spread over time, until the standard error is below
half a percent. Where only the side of a limit matters, three do far from it, and near to it more are taken.

Which statistic, [measured] on Sapphire Rapids with both cores busy (11 networks of 18 us to 15 ms; fp32 and int8),
10 processes one after another; sd of one 40 ms block over all processes / sd between processes of 8 blocks' median:

                                       .13 ms         .54 ms        3.8 ms
    median wall time                3.4 % / 2.3 %   3.1 / 2.0     4.0 / 2.4
    ratio of medians                 .8   /  .3      .5 /  .2     1.4 /  .5
    **median of adjacent ratios**    .3   /  .3      .3 /  .3     1.1 /  .3
    ratio of 25 % quantiles          .8   /  .3      .4 /  .3     1.3 /  .6
    ratio of 10 % quantiles          .8   /  .3      .4 /  .2     1.2 /  .4
    ratio of minima                 1.7   /  .8      .9 /  .4     1.3 /  .4
    ratio of means                  1.0   /  .6      .9 /  .3     1.0 /  .2

Blocks of 25, 40 and 80 ms differ by less than that (.13 ms network: .29, .28, .27 %). Without real-time priority the
same holds up to 1 ms; above, a run is longer than its time slice and wall time of a block is 50 % off, while CPU
time stays at 1.4 %: so the worker times by CPU, and by wall where it is asked for real-time priority and may have it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from chipfit.core.types import Fidelity, Measurement, Provenance
from chipfit.device.canary import VERSION

BLOCK_S: Mapping[Fidelity, float] = {"quick": 0.01, "final": 0.04}
"""[measured] 60 quick timings each of networks of .03, .13 and .4 ms on ONNX Runtime, sd: .36, .19, .36 % with blocks
of 10 ms, .33, .20, .41 % with 13 ms; with 8 ms up to 1.2 %.
"""
PAIRS: Mapping[Fidelity, int] = {"quick": 4, "final": 7}
"""Least pairs in a block: above some ms a block takes longer than BLOCK_S."""

MIN_BLOCKS: Mapping[Fidelity, int] = {"quick": 2, "final": 5}
MAX_BLOCKS: Mapping[Fidelity, int] = {"quick": 4, "final": 15}

AGREE = 0.02
"""Two quick blocks that differ by more want another: one block in 200 falls into a bad moment and is 5-15 % off."""

ENOUGH = 0.005
"""Relative standard error at which a final measurement stops."""

FAR, FAR_BLOCKS, NEAR = 4.0, 3, 2.0
"""Standard errors from a limit at which so few blocks do, and within which a final measurement is not clear yet."""

QUICK_ERROR = 0.01
"""Standard error stated for a quick measurement, at least.

[measured] 7 networks timed 160-200 times with both cores busy: sd .1-.3 % up to .2 ms, .8 % at .5 ms, 1.1 % at
3.5 ms; without real-time priority .1-1.2 %.
"""

SESSION_ERROR = 0.003
"""Relative error that more blocks do not remove, since it is the process's: where its memory came to lie.

[measured] 14 networks, 10 processes: sd .1-.5 % between processes, where the blocks of one alone promise .05 %.
"""

FAILED = "failed: "
"""How the protocol of a measurement that failed begins."""

ROUND_S = 0.15
"""Least seconds from one round of blocks to the next, so that five of them do not share one bad moment."""


@dataclass(frozen=True)
class Block:
    """ns per run of target and canary, (n,) each, by turns, and of the target's single samples, (m,), m >= n.

    Rung of the canary and its ms.
    """

    target: NDArray[np.float64]
    canary: NDArray[np.float64]
    singles: NDArray[np.float64]
    rung: int
    reference_ms: float

    @cached_property
    def ratio(self) -> float:
        """Median of adjacent ratios, target over canary."""
        return float(np.median(self.target / self.canary))

    @property
    def ms(self) -> float:
        """The target's time on the device's scale."""
        return self.ratio * self.reference_ms

    @property
    def samples_ms(self) -> NDArray[np.float64]:
        """(m,) single runs on the device's scale, against the block's usual canary."""
        return self.singles / float(np.median(self.canary)) * self.reference_ms


def spread(values: Sequence[float]) -> float:
    """Standard error of the median of blocks: 1.253 sd / sqrt(n); infinite for fewer than two.

    The plain sd is kept, not a robust one: a wild block makes the error large and the measurement longer.
    """
    return 1.2533 * float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf


def error(blocks: Sequence[Block]) -> float:
    """Standard error in ms of a measurement from these blocks, the process's own share in it."""
    ms = [b.ms for b in blocks]
    return math.hypot(spread(ms), SESSION_ERROR * float(np.median(ms)))


def settled(blocks: Sequence[Block], fidelity: Fidelity) -> bool:
    """True when a measurement needs no further block."""
    if len(blocks) < MIN_BLOCKS[fidelity]:
        return False
    ms = [b.ms for b in blocks]
    if len(blocks) >= MAX_BLOCKS[fidelity]:
        return True
    if fidelity == "quick":
        return bool(np.min(np.abs(np.diff(np.sort(ms)))) <= AGREE * min(ms))
    return spread(ms) <= ENOUGH * float(np.median(ms))


def decided(blocks: Sequence[Block], limit_ms: float) -> bool:
    """True when it is clear on which side of a limit a final measurement lies, or will not become so."""
    if len(blocks) < FAR_BLOCKS:
        return False
    ms = [b.ms for b in blocks]
    distance = abs(float(np.median(ms)) - limit_ms)
    if distance > FAR * max(spread(ms), ENOUGH * float(np.median(ms))):
        return True
    return settled(blocks, "final") and (distance > NEAR * spread(ms) or len(blocks) >= MAX_BLOCKS["final"])


def protocol(fidelity: Fidelity) -> str:
    """Name and version: numbers are comparable where it and the canaries' calibration are equal."""
    return f"{VERSION} {fidelity}"


def latency(blocks: Sequence[Block], fidelity: Fidelity, where: str, load: float) -> Measurement:
    """`latency_ms` of one target from its blocks (at least one).

    Details: p50_ms and p95_ms of single runs, cv over blocks, canary (its rung) and canary_ms, load (processes that
    want a core).
    """
    ms = [b.ms for b in blocks]
    value = float(np.median(ms))
    samples = np.concatenate([b.samples_ms for b in blocks])
    sure = max(error(blocks), QUICK_ERROR * value) if fidelity == "quick" else error(blocks)
    details = {
        "p50_ms": float(np.median(samples)),
        "p95_ms": float(np.quantile(samples, 0.95)),
        "cv": float(np.std(ms) / np.mean(ms)),
        "canary": float(blocks[0].rung),
        "canary_ms": blocks[0].reference_ms,
        "load": load,
    }
    return Measurement("latency_ms", value, "measured", where, protocol(fidelity), sure, len(blocks), details)


def failed(reason: str, where: str, provenance: Provenance = "measured") -> Measurement:
    """What stands in the place of a latency that could not be measured: nan, and why."""
    return Measurement("latency_ms", math.nan, provenance, where, f"{FAILED}{reason}", math.nan, 0)


def reason(m: Measurement) -> str:
    """Why a measurement failed, as `failed` was told."""
    return m.protocol.removeprefix(FAILED)
