"""What stands on an axis: groups of channels, side by side and one within the other.

An axis is a row of *segments*. A segment is a product of *factors*, the first of which varies slowest: the axis of a
flattened map (C, H, W) is channels x (H·W) places, that of an attention's values heads x channels of each head.
A factor is a channel group, a fixed number of places, or again a row of segments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np
from numpy.typing import NDArray

from chipfit.core.edits import Indices

NOT_THERE = -1
"""In the place of a channel: a place of an axis that belongs to none of a group."""


@dataclass(frozen=True, slots=True)
class Factor:
    """`size` channels of `group`; where that is "" they are fixed, or those of `within` one after the other."""

    group: str
    size: int
    within: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """A product of factors, the slowest first."""

    factors: tuple[Factor, ...]

    @property
    def size(self) -> int:
        """Places on the axis."""
        return prod(f.size for f in self.factors)


Axis = tuple[Segment, ...]
"""Segments in the order in which they stand on an axis."""


def fixed(size: int) -> Axis:
    """An axis that no group is on."""
    return (Segment((Factor("", size),)),)


def groups_on(axis: Axis) -> Iterator[str]:
    """The groups that stand on an axis, in order, each as often as it does."""
    for segment in axis:
        for factor in segment.factors:
            yield from groups_on(factor.within)
            if factor.group:
                yield factor.group


def kept(axis: Axis, keep: Mapping[str, Indices]) -> Indices:
    """Places of an axis that stay where groups keep these channels, all others all of theirs."""
    return tuple(np.flatnonzero(_stays(axis, keep)).tolist())


def _stays(axis: Axis, keep: Mapping[str, Indices]) -> NDArray[np.bool_]:
    """(places,) True for those that stay."""
    parts = [_product([_factor_stays(f, keep) for f in s.factors], np.logical_and) for s in axis]
    return np.concatenate(parts)


def _factor_stays(factor: Factor, keep: Mapping[str, Indices]) -> NDArray[np.bool_]:
    if factor.within:
        return _stays(factor.within, keep)
    stays = np.ones(factor.size, bool)
    if factor.group in keep:
        stays[:] = False
        stays[list(keep[factor.group])] = True
    return stays


def channels_at(axis: Axis, group: str) -> NDArray[np.intp]:
    """(places,) the channel of a group that each place of an axis belongs to, `NOT_THERE` where it is none of it."""
    parts = [_product([_channels(f, group) for f in s.factors], np.maximum) for s in axis]
    return np.concatenate(parts)


def _channels(factor: Factor, group: str) -> NDArray[np.intp]:
    if factor.within:
        return channels_at(factor.within, group)
    if factor.group == group:
        return np.arange(factor.size)
    return np.full(factor.size, NOT_THERE)


def places_of(axis: Axis, group: str, size: int) -> NDArray[np.intp]:
    """(size, places of each) where the channels of a group stand on an axis, ascending for each channel."""
    at = channels_at(axis, group)
    there = np.flatnonzero(at != NOT_THERE)
    return there[np.argsort(at[there], kind="stable")].reshape(size, -1)


def _product(parts: list[NDArray[np.generic]], join: np.ufunc) -> NDArray[np.generic]:
    """The parts of a product, joined at every one of its places."""
    return reduce(lambda outer, inner: join.outer(outer, inner).ravel(), parts)
