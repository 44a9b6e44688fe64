"""How long kernels take that were not seen, by those that were: a smooth rate over widths, sizes and kinds.

What a kernel takes is its work (`in_time.work`) times a rate, ms = work · exp(r), and r varies little and smoothly, but
for widths that fill no whole blocks of channels. It is a Gaussian process (Rasmussen & Williams 2006, ch. 2) that is
the sum of what kernels of one kind and precision have in common, of what those of one family (one resolution, stride,
activation) have beyond it, of what widths that fill the same blocks share, and of what each kernel has for itself,

    k(a, b) = [kind]·(2² + .5² exp(-d²) + .25² b) + [family]·(.2² + .2² exp(-d²) + .15² b) + [a = b]·(.05² + noise²),

with d a distance of logarithms of widths, map size and taps, and b the number of blocks (of 16, 32, 64 channels) that
both a and b fill or both do not, in and out. Kernels that a runtime fuses into others are not seen: a family counts by
the share of its kernels that were.

[measured] Depth-wise int8 layers of ONNX Runtime take three times as long where their channels are no multiple of 16;
without b they were off by 33 % (MobileNetV2), and whole networks by 6 %.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve

from chipfit.core.kernel import Kernel
from chipfit.evaluate.in_time import work

Floats = NDArray[np.float64]

KIND, KIND_SMOOTH, FAMILY, FAMILY_SMOOTH = 2.0, 0.5, 0.2, 0.2
"""Standard deviations of log rates: of a kind, within it, of a family beyond its kind, within it."""

BLOCKS = (16, 32, 64)
"""Channels that kernels of runtimes work on at once."""

KIND_BLOCK, FAMILY_BLOCK, OWN = 0.25, 0.15, 0.05
"""Standard deviations of log rates that blocks make, for each that is filled, and of each kernel for itself."""

FAR = np.array([2.0, 2.0, 3.0, 2.0])
"""How far rates stay alike within a kind: doublings of widths in and out, of the map, of taps."""

NEAR = np.array([1.5, 1.5, 3.0, 2.0])
"""The same within a family."""

NOISE, GRAIN_MS = 0.04, 5e-4
"""Of one kernel seen once: relative, and what clocks of runtimes count in."""

MOST_SEEN = 3000
"""Kernels that rates rest on at most."""


@dataclass(frozen=True)
class Rates:
    """Kernels that were `seen`, with the milliseconds that each took each time; 0 where it had no time of its own."""

    seen: Mapping[Kernel, Sequence[float]]

    def ms(self, kernels: Sequence[Kernel]) -> Floats:
        """(kernels,) milliseconds of each; 0 for all where nothing was seen."""
        if not self._known or not kernels:
            return np.zeros(len(kernels))
        places = _Places.of(kernels)
        places_among = np.array([self._at.get(u, -1) for u in kernels])
        own = OWN**2 * (places_among[:, None] == np.arange(len(self._known)))
        beyond = (_covariance(places, self._places) + own) @ self._weights
        rates = np.exp(self._base + beyond)
        works = np.array([work(u) for u in kernels])
        told: Floats = self._shown(kernels) * works * rates
        return told

    @cached_property
    def per_value_ms(self) -> float:
        """What moving a value takes at the usual rate."""
        return 10 * float(np.exp(self._base)) if self._known else 0.0

    @cached_property
    def _known(self) -> list[Kernel]:
        """Kernels that took time, the ones that took most first."""
        known = [u for u, ms in self.seen.items() if max(ms) > 0]
        return sorted(known, key=lambda u: -max(self.seen[u]))[:MOST_SEEN]

    @cached_property
    def _at(self) -> dict[Kernel, int]:
        """Where each of them stands."""
        return {u: n for n, u in enumerate(self._known)}

    @cached_property
    def _taken(self) -> Floats:
        """(known,) mean milliseconds of those times that each took any."""
        return np.array([_mean_shown(self.seen[u]) for u in self._known])

    @cached_property
    def _logs(self) -> Floats:
        """(known,) log rates."""
        logs: Floats = np.log(self._taken / np.array([work(u) for u in self._known]))
        return logs

    @cached_property
    def _base(self) -> float:
        return float(np.average(self._logs, weights=self._taken))

    @cached_property
    def _places(self) -> _Places:
        return _Places.of(self._known)

    @cached_property
    def _weights(self) -> Floats:
        """(known,) of the process, K⁻¹ (r - base)."""
        times = np.array([len(self.seen[u]) for u in self._known])
        noise = np.hypot(NOISE, GRAIN_MS / self._taken) / np.sqrt(times)
        gram = _covariance(self._places, self._places) + np.diag(noise**2 + OWN**2)
        found: Floats = solve(gram, self._logs - self._base, assume_a="pos")
        return found

    def _shown(self, kernels: Sequence[Kernel]) -> Floats:
        """(kernels,) share of each one's family that took time by itself; of its kind where none of it was seen."""
        by_family, by_kind = self._shares
        return np.array([by_family.get(u.family, by_kind.get(_kind(u), 1.0)) for u in kernels])

    @cached_property
    def _shares(self) -> tuple[dict[Kernel, float], dict[object, float]]:
        families, kinds = defaultdict[Kernel, list[bool]](list), defaultdict[object, list[bool]](list)
        for u, taken in self.seen.items():
            shown = [ms > 0 for ms in taken]
            families[u.family] += shown
            kinds[_kind(u)] += shown
        by_family = {u: float(np.mean(shown)) for u, shown in families.items()}
        return by_family, {kind: float(np.mean(shown)) for kind, shown in kinds.items()}


def _mean_shown(taken: Sequence[float]) -> float:
    """The mean of those times that a kernel had any."""
    shown = [ms for ms in taken if ms > 0]
    return sum(shown) / len(shown)


@dataclass(frozen=True)
class _Places:
    """Where kernels are: (n,) numbers of kinds and of families, (n, 4) logarithms of widths, map and taps.

    And (n, 6) 1 where its widths fill blocks of channels, else -1.
    """

    kinds: NDArray[np.int64]
    families: NDArray[np.int64]
    at: Floats
    blocks: Floats

    @classmethod
    def of(cls, kernels: Sequence[Kernel]) -> _Places:
        kinds = [hash(_kind(u)) for u in kernels]
        families = [hash(u.family) for u in kernels]
        at = np.array([_at(u) for u in kernels]).reshape(-1, 4)
        widths = np.array([(u.cin, u.cout) for u in kernels], np.int64).reshape(-1, 2, 1)
        filled = np.where(widths % np.array(BLOCKS) == 0, 1.0, -1.0)
        return cls(np.array(kinds), np.array(families), at, filled.reshape(len(at), -1))


def _kind(kernel: Kernel) -> object:
    groups = kernel.attr("groups", 1)
    return kernel.kind, kernel.bits, kernel.in_place, groups if groups in (1, "dw") else "grouped"


def _at(kernel: Kernel) -> list[float]:
    taps, area = prod(kernel.attr("kernel", (1,))), prod(kernel.size) * kernel.attr("rows", 1)
    return [float(np.log2(max(1, n))) for n in (kernel.cin, kernel.cout, area, taps)]


def _covariance(a: _Places, b: _Places) -> Floats:
    """(a, b) covariance of log rates."""
    blocks = (a.blocks @ b.blocks.T + a.blocks.shape[1]) / 2  # those that both fill, or both do not
    alike = np.exp(-_distance(a.at / FAR, b.at / FAR))
    of_kind = KIND**2 + KIND_SMOOTH**2 * alike + KIND_BLOCK**2 * blocks
    near = np.exp(-_distance(a.at / NEAR, b.at / NEAR))
    of_family = FAMILY**2 + FAMILY_SMOOTH**2 * near + FAMILY_BLOCK**2 * blocks
    same_kind = a.kinds[:, None] == b.kinds[None]
    same_family = a.families[:, None] == b.families[None]
    found: Floats = same_kind * of_kind + same_family * of_family
    return found


def _distance(a: Floats, b: Floats) -> Floats:
    """(a, b) squared distances over two."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    halves: Floats = np.maximum(squares, 0.0) / 2
    return halves
