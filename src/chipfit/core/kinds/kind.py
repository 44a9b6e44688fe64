"""The record of a kind of operator: its attributes, arrays and costs, and what it does to values and channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chipfit.core.op import Op

Shape = tuple[int, ...]
Shapes = Sequence[Shape]
"""Shapes of what an operator reads, each without the batch axis."""

Family = Literal[
    "source", "layer", "convolution", "norm", "activation", "function", "join", "product", "reduction", "pool",
    "global_pool", "pool_3d", "softmax", "view", "lookup", "resize", "opaque",
]  # fmt: skip

Channels = Literal[
    "source", "produces", "carries", "normalises", "joins", "stacks", "moves", "passes", "reduces", "contracts", "mixes"
]
"""What a kind does to the channels of what it reads:

source      it reads nothing: its channels are given
produces    ends the channels that it reads and makes new ones, by a matrix of weights
carries     has arrays with a value for each channel, which vanish with it
normalises  each value depends on the others along some axes, on which no channel can be dropped without the rest
            noticing; its arrays, if any, are along those axes
joins       the channels of two values meet one by one, or are broadcast
stacks      channels side by side along one axis
moves       the same channels in other places
passes      each value on its own, or each channel on its own: the channels stay as they are
reduces     takes axes together: channels on the others stay
contracts   sums over an axis of both that it reads (a product of matrices)
mixes       not followed: what goes in is frozen, and so is what comes out
"""

Cost = Literal["own", "fused", "inside", "free"]
"""Where the time of a kind is: `own`, a kernel of its own; `fused`, an activation priced with what it follows;
`inside`, folded into the layer before it; `free`, left to the calibration on whole networks.
"""

Moved = Literal["", "view", "all", "some"]
"""Of kinds that move values and make none: `view` moves none of them, `all` every one, `some` leaves values out."""


def first(o: Op) -> int:
    """The first axis behind the batch: that of channels in a map (C, H, W)."""
    return 0


def last(o: Op) -> int:
    """The last axis: that of features in (tokens, features)."""
    return max(len(o.shape) - 1, 0)


def said(o: Op) -> int:
    """The axis that the attribute `axis` names; the first where the operator has none."""
    return int(o.get("axis") or 0)


def unless_said(o: Op, role: str) -> bool:
    """True for an array of an operator that does not have `learnt` as 0."""
    return bool(o.get("learnt") != 0)


@dataclass(frozen=True, slots=True)
class Kind:
    """All that is known of a kind; what is not said is the cautious answer.

    Attributes:
        name: as in `Op.kind`.
        family: kinds that most code treats alike.
        channels: see `Channels`.
        attributes: that every operator of the kind has.
        optional: attributes that one may have; it is read as if they were 0 where it has not.
        axis: of the output, without the batch, along which the arrays have a value each (or a row of the weight).
        arrays: role -> shape of an operator's arrays, in the order in which files take them; None for no arrays.
        learns: whether the array of a role is trained, and counted among the parameters.
        macs: multiply-accumulates for one input; None for 0.
        rows, columns: axes of the weight that stand for channels out and in, of kinds that produce channels.
        moves: see `Moved`.
        clamp: ends between which the output is; of kinds that do nothing else.
        hosts: a clamp that alone reads it vanishes into its int8 kernel.
        int8: it computes in int8 where its bits say so.
        cost: see `Cost`.
        in_place: its output may take the memory of what it reads.
        saturates: far values are answered alike, so that an answer made by it may hide what was before.
    """

    name: str
    family: Family
    channels: Channels
    attributes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    axis: Callable[[Op], int] = first
    arrays: Callable[[Op, Shapes], dict[str, Shape]] | None = None
    learns: Callable[[Op, str], bool] = unless_said
    macs: Callable[[Op, Shapes], int] | None = None
    rows: int = 0
    columns: int = 1
    moves: Moved = ""
    clamp: tuple[float, float] | None = None
    hosts: bool = False
    int8: bool = False
    cost: Cost = "own"
    in_place: bool = False
    saturates: bool = False


def uses_of_weight(arrays: Callable[[Op, Shapes], dict[str, Shape]]) -> Callable[[Op, Shapes], int]:
    """MACs of a layer each of whose outputs takes one row of its weight: values out x weights in a row."""

    def macs(o: Op, shapes: Shapes) -> int:
        return o.size * math.prod(arrays(o, shapes)["weight"][1:])

    return macs


def weight_and_bias(o: Op, weight: Shape, bias: Shape) -> dict[str, Shape]:
    """The arrays that the attributes `weight` and `bias` (0/1) say there are; without the first there is a weight."""
    arrays: dict[str, Any] = {}
    if o.get("weight") != 0:
        arrays["weight"] = weight
    if o["bias"]:
        arrays["bias"] = bias
    return arrays
