"""Second moments of what each convolution and dense layer reads: the one statistic behind widths, bits and refits.

For a layer y = W u with u the unfolded input patch (d = C·k² values, channel-major as the weight is stored), the
squared error of any change of W is tr(ΔW H ΔWᵀ) with

    H = Uᵀ U / n + λ I,      λ = 0.01 · mean diag(Uᵀ U / n)            (Hassibi & Stork 1993; Frantar & Alistarh 2022)

U holds patches at random output pixels of unlabelled inputs: some 20·d rows are enough, a full unfolding is not
needed. Layers that share their weights share their H (the rows of both are counted).

H has one of three forms. All of it, (d, d). Its diagonal, (d,), of layers too wide for it. Or, where time is short and
a layer has many columns because its kernel has several taps, one for channels, (C, C): the taps are taken to read alike
and apart, so that H is this matrix k² times along a diagonal. What a channel that went is made good by is, above all,
other channels at its own tap; of 512 channels and 9 taps H has an 81st of the values, and is solved in a 729th of the
time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from chipfit.compress.forward import Walk, affordable, batch, placed, tensors
from chipfit.compress.moments import affine
from chipfit.core.channels import array_axis
from chipfit.core.deadline import Deadline
from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph, Network, Op
from chipfit.nets.accelerator import here

WIDEST = 6000
"""Largest d with a full H (288 MB); wider layers keep its diagonal only."""

RIDGE = 0.01
"""λ as a share of the mean diagonal."""

MOST_ROWS = 60_000
"""Patches of one layer; more change little."""

MEMORY_MB = 1500.0
"""For the values of the inputs that are walked at once."""

PATCHES_MB = 128.0
"""For the patches that are multiplied at once."""

AT_ONCE = 16
"""Inputs that are walked at once where there is a deadline to look at in between."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """Output positions of a layer: for each of n inputs the same number p of random ones, (n, p) rows and columns."""

    rows: Tensor
    columns: Tensor


@dataclass(frozen=True, slots=True)
class Tokens:
    """Places of a dense layer on several axes: for each of n inputs p of all that it is applied to, (n, p)."""

    places: Tensor


Places = Pixels | Tokens | None
"""Of a dense layer on vectors there is one place, which is not named."""


def consumers(graph: Graph) -> tuple[Op, ...]:
    """Layers whose inputs can be narrowed and whose weights can be solved for: ungrouped convolutions, dense layers."""
    return tuple(o for o in graph if o.kind == "linear" or (o.kind == "conv" and o["groups"] == 1))


def owner(o: Op) -> str:
    """The prefix under which a layer's weight is kept: equal for all layers that share it."""
    return o.array("weight").removesuffix(".weight")


def fan_in(graph: Graph, o: Op) -> int:
    """d: values in one patch."""
    return int(np.prod(graph.roles(o)["weight"][1:]))


def taps(o: Op) -> int:
    """Places of a layer's kernel."""
    return prod(o.get("kernel") or (1,))


def pixels(o: Op, n: int, wanted: int, rng: np.random.Generator) -> Places:
    """Enough random positions in each of `n` outputs for `wanted` rows in all; None for a dense layer on vectors."""
    if o.kind == "linear":
        return _tokens(o, n, wanted, rng) if len(o.shape) > 1 else None
    height, width = o.shape[1:]
    per_input = min(height * width, max(1, -(-wanted // n)))
    at = rng.integers(0, height * width, (n, per_input))
    return Pixels(torch.from_numpy(at // width).to(here()), torch.from_numpy(at % width).to(here()))


def _tokens(o: Op, n: int, wanted: int, rng: np.random.Generator) -> Tokens:
    """All places where these are no more than are wanted."""
    every, per_input = prod(o.shape[:-1]), max(1, -(-wanted // n))
    if every <= per_input:
        return Tokens(torch.arange(every).expand(n, -1).to(here()))
    return Tokens(torch.from_numpy(rng.integers(0, every, (n, per_input))).to(here()))


def patches(o: Op, x: Tensor, at: Places) -> Tensor:
    """(rows, d) float32 input patches of a layer at these positions of the first inputs, ordered as `flat` does."""
    if at is None:
        return x
    if isinstance(at, Tokens):
        return _rows(x, at)
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = o["kernel"], o["stride"], o["padding"], o["dilation"]
    nhwc = F.pad(x[: len(at.rows)].permute(0, 2, 3, 1), (0, 0, pw, pw, ph, ph))
    n, height, width, channels = nhwc.shape
    place = at.rows.device
    first = (torch.arange(n, device=place)[:, None] * height + at.rows * sh) * width + at.columns * sw
    taps = (torch.arange(kh, device=place)[:, None] * dh * width + torch.arange(kw, device=place) * dw).flatten()
    return nhwc.reshape(-1, channels)[(first[:, :, None] + taps).flatten()].view(first.numel(), -1)


def outputs(y: Tensor, at: Places) -> Tensor:
    """(rows, O) values of a layer's output at these positions."""
    if at is None:
        return y
    if isinstance(at, Tokens):
        return _rows(y, at)
    inputs = torch.arange(len(at.rows), device=at.rows.device)
    return y.permute(0, 2, 3, 1)[inputs[:, None], at.rows, at.columns].flatten(0, 1)


def _rows(values: Tensor, at: Tokens) -> Tensor:
    """(rows, channels) of values (n, ..., channels) at these places of the first inputs."""
    inputs = torch.arange(len(at.places), device=at.places.device)
    return values.flatten(1, -2)[inputs[:, None], at.places].flatten(0, 1)


def flat(weight: Tensor) -> Tensor:
    """A layer's weight (O, C, k, k) or (O, C) as (O, d), pixel by pixel with the channels of a pixel together."""
    return weight.permute(0, 2, 3, 1).flatten(1) if weight.ndim == 4 else weight


def unflat(rows: Tensor, like: Tensor) -> Tensor:
    """The inverse of `flat`, in the shape of `like`."""
    if like.ndim != 4:
        return rows
    return rows.reshape(len(like), *like.shape[2:], -1).permute(0, 3, 1, 2)


def columns_of(inputs: NDArray[np.intp], weight: Tensor) -> NDArray[np.intp]:
    """Columns of the flat weight that read these input channels, (pixels, *inputs.shape)."""
    taps = np.arange(int(np.prod(weight.shape[2:]))).reshape(-1, *(1,) * inputs.ndim)
    return taps * weight.shape[1] + inputs


def ridged(gram: Tensor, ridge: float = RIDGE) -> Tensor:
    """H from the mean of u uᵀ, (d, d), or from its diagonal (d,): with λ added to the diagonal."""
    diagonal = gram if gram.ndim == 1 else gram.diagonal()
    amount = (ridge * float(diagonal.mean())) or 1.0
    return gram + (amount if gram.ndim == 1 else amount * torch.eye(len(gram), dtype=gram.dtype, device=gram.device))


@dataclass(frozen=True, slots=True)
class Forms:
    """Which layers get which form of H: all of it up to `joint` columns, else that for channels where there are taps.

    Where what is left has more columns than `widest` it is the diagonal.
    """

    joint: int
    widest: int

    def columns(self, d: int, taps: int) -> int:
        """Columns of the H of a layer of `d` columns in so many taps: all of them, or its channels."""
        return d // taps if taps > 1 and d > self.joint else d


@dataclass(frozen=True, slots=True)
class Moments:
    """H float64 by weight prefix, in one of its forms, and how many inputs it rests on."""

    of: dict[str, Tensor]
    inputs: int


def hessians(
    network: Network, inputs: NDArray[np.float32], rng: np.random.Generator, *, rows_per_column: int = 20
) -> dict[str, Tensor]:
    """H (d, d) float64 by weight prefix, for every layer of `consumers`, from normalised inputs (n, C, H, W).

    Layers of more than `WIDEST` columns get the diagonal (d,) alone.

    Raises:
        BadInput: a layer reads values so large that their squares are beyond float32.
    """
    return second_moments(network, inputs, rng, Deadline.never(), rows_per_column=rows_per_column).of


@torch.inference_mode()
def second_moments(
    network: Network,
    inputs: NDArray[np.float32],
    rng: np.random.Generator,
    deadline: Deadline,
    *,
    rows_per_column: int = 20,
    forms: Forms | None = None,
) -> Moments:
    """The same of as many of the inputs, in their order, as there is time for, in these forms.

    The matrices are on the processor, where what follows is a thousand small steps.

    Raises:
        BadInput: a layer reads values so large that their squares are beyond float32.
    """
    graph, weights = network.graph, placed(network.weights)
    wanted, forms = {o.name for o in consumers(graph)}, forms or Forms(WIDEST, WIDEST)
    sums: dict[str, Tensor] = {}
    counts: Counter[str] = Counter()
    done, until = 0, _Rounds(deadline)
    step = min(AT_ONCE if deadline.limited else 128, affordable(graph, MEMORY_MB))
    while done < len(inputs) and until.another():
        part = batch(inputs[done : done + step])
        walk = Walk(graph, weights, {graph.ops[0].name: part})
        for o in graph.ops[1:]:
            if o.name in wanted:
                d, name = fan_in(graph, o), owner(o)
                columns = forms.columns(d, taps(o))
                rows = min(rows_per_column * columns, MOST_ROWS) * len(part) // len(inputs) + 1
                at, total = pixels(o, len(part), rows, rng), torch.zeros(())
                for u in _patches_in_parts(o, walk.values[o.inputs[0]], at, d, columns):
                    total = total + (u.square().sum(0) if columns > forms.widest else u.T @ u)
                    counts[name] += len(u)
                sums[name] = sums[name] + total if name in sums else total.double()
            walk.step(o)
        done += len(part)
    for name, total in sums.items():
        if not bool(total.isfinite().all()):
            raise BadInput(
                f"layer {name!r} reads values too large to compute with (beyond 1e18); scale the inputs, or clean them"
            )
    return Moments({name: ridged(total / counts[name]).cpu() for name, total in sums.items()}, done)


@dataclass
class _Rounds:
    """As many rounds as fit before a deadline if each takes as long as the longest so far; one in any case."""

    deadline: Deadline
    longest_s: float = -1.0
    began: float = 0.0

    def another(self) -> bool:
        """Whether there is time for one more, which then begins."""
        now = self.deadline.clock()
        if self.began:
            self.longest_s = max(self.longest_s, now - self.began)
        self.began = now
        return self.longest_s < 0 or self.longest_s <= self.deadline.left()


def _patches_in_parts(o: Op, x: Tensor, at: Places, d: int, columns: int) -> Iterator[Tensor]:
    """(rows, columns) patches of a layer at these positions, some inputs at a time; or those of each of its taps."""
    if at is None:
        yield x
        return
    places = at.rows if isinstance(at, Pixels) else at.places
    step = max(1, int(PATCHES_MB * 1e6 / (4 * places.shape[1] * d)))
    for start in range(0, len(places), step):
        some = slice(start, start + step)
        if isinstance(at, Pixels):
            yield patches(o, x[some], Pixels(at.rows[some], at.columns[some])).view(-1, columns)
        else:
            yield patches(o, x[some], Tokens(at.places[some]))


def diagonal(h: Tensor, d: int) -> Tensor:
    """(d,) the diagonal of H in any form, of a layer of `d` columns."""
    own = h if h.ndim == 1 else h.diagonal()
    return own.repeat(d // len(own))


def errors(rows: Tensor, h: Tensor) -> Tensor:
    """(O,) w H wᵀ of each row of a flat weight (O, d), for H in any form."""
    if h.ndim == 1:
        return (rows.square() * h).sum(1)
    by_tap = rows.reshape(len(rows), -1, len(h))
    return ((by_tap @ h) * by_tap).sum((1, 2))


def output_scale(network: Network, o: Op) -> Tensor:
    """(O,) factor that the batch norm behind a layer puts on its outputs; ones where none follows directly."""
    users = [network.graph[u] for u in network.graph.users[o.name]]
    axis = array_axis(o)
    if len(users) != 1 or users[0].kind != "batch_norm" or array_axis(users[0]) != axis:
        return torch.ones(o.shape[axis]).double()
    return affine(tensors(network.weights), users[0])[0]
