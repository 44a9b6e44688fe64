"""The profile of a network on a data set: all that its options cost in quality, whatever the device.

It holds no weights of options. From H of each layer (`hessian`) and the order in which each group gives up its
channels (`obs`) every width, and every combination of widths, is stitched by one least-squares solution a layer.
Damage is kept by edit, so that another budget, device or channel block finds what was measured before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chipfit.compress import edit
from chipfit.compress.fitting import fitted_to
from chipfit.compress.hessian import (
    Forms,
    columns_of,
    consumers,
    diagonal,
    fan_in,
    flat,
    owner,
    second_moments,
    unflat,
)
from chipfit.compress.obs import compensated, removal_order
from chipfit.core.deadline import Deadline
from chipfit.core.edits import Edit, Fitted, Source, Take, innermost
from chipfit.core.graph import Graph, Network
from chipfit.space.edits import Width, edited, to_plain
from chipfit.space.groups import channel_groups
from chipfit.space.menu import Menu
from chipfit.space.streams import streams

HARMLESS = 1e-4
"""Nats below which a damage is not asked how sure it is."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What one network and one set of inputs say about every option.

    `network` is the digest of the network it belongs to. `hessians` maps weight prefix to H float32, (d, d) or in a
    smaller form (`hessian`), which rests on `seen` inputs (0: all). `order` maps channel group to its channels, the
    first to go first.
    `damage` maps the key of a set of edits to the KL divergence (nats) they cause alone, `errors` to the standard error
    of that over the inputs it was scored on, the fewest of which were `scored` (0: nothing was scored). `turned` are
    arrays of the network that are others than those it came with: it answers alike (`heads`).
    """

    network: str
    hessians: Mapping[str, NDArray[np.float32]]
    order: Mapping[str, tuple[int, ...]]
    damage: Mapping[str, float]
    errors: Mapping[str, float] = field(default_factory=dict)
    scored: int = 0
    turned: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    seen: int = 0

    @property
    def uncertainty(self) -> float:
        """Relative standard error of damages: the median over what was scored and does harm; NaN where nothing is."""
        shares = [e / d for k, e in self.errors.items() if (d := self.damage[k]) > HARMLESS]
        return float(np.median(shares)) if shares else float("nan")

    def of(self, network: Network) -> Network:
        """The network that the profile is of, from the one that was given."""
        return Network(network.graph, {**network.weights, **self.turned}) if self.turned else network

    def real(self, edits: Sequence[Edit]) -> tuple[Edit, ...]:
        """The edits with each width's channels replaced by the best ones of that number."""
        return tuple(self.width(e.group, len(e.keep)) if isinstance(e, Width) else e for e in edits)

    def width(self, group: str, n: int) -> Width:
        """The edit that keeps the best `n` channels of a group."""
        order = self.order[group]
        return Width(group, tuple(sorted(order[len(order) - n :])))

    def knowing(
        self, damage: Mapping[str, float], errors: Mapping[str, float] | None = None, scored: int = 0
    ) -> Profile:
        """The profile with these damages added, their errors, and the number of inputs they were scored on."""
        fewest = min(self.scored or scored, scored or self.scored)
        return replace(self, damage={**self.damage, **damage}, errors={**self.errors, **(errors or {})}, scored=fewest)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The profile as named arrays; `Profile.from_arrays` reads them back."""
        about = {
            "network": self.network, "damage": dict(self.damage), "errors": dict(self.errors), "scored": self.scored,
            "seen": self.seen,
        }  # fmt: skip
        arrays: dict[str, NDArray[Any]] = {"about": _bytes(about)}
        for name, h in self.hessians.items():
            arrays[f"hessian/{name}"] = h[np.triu_indices(len(h))] if h.ndim == 2 else h
            arrays[f"rank/{name}"] = np.array(h.ndim)
        arrays |= {f"turned/{name}": array for name, array in self.turned.items()}
        return arrays | {f"order/{name}": np.array(order, np.int64) for name, order in self.order.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Profile:
        """The profile that `to_arrays` wrote."""
        about = json.loads(arrays["about"].tobytes())
        found = {n.removeprefix("hessian/"): a for n, a in arrays.items() if n.startswith("hessian/")}
        return cls(
            about["network"],
            {n: _square(a) if int(arrays[f"rank/{n}"]) == 2 else a for n, a in found.items()},
            {n.removeprefix("order/"): tuple(a.tolist()) for n, a in arrays.items() if n.startswith("order/")},
            about["damage"],
            about.get("errors", {}),
            about.get("scored", 0),
            {n.removeprefix("turned/"): a for n, a in arrays.items() if n.startswith("turned/")},
            about.get("seen", 0),
        )


def of_names(arrays: Mapping[str, NDArray[Any]], graph: Graph) -> bool:
    """True where a profile's arrays speak of this graph's layers, and of all its groups of channels.

    Equal networks have one digest whatever their operators are called: the same network, read from files of several
    exporters, has other names in each. And a profile may be of a time when fewer groups were known.
    """
    layers, orders = ({n.removeprefix(p) for n in arrays if n.startswith(p)} for p in ("hessian/", "order/"))
    prefixes = {owner(o) for o in graph if o.weights}
    return prefixes >= layers and orders >= {g.name for g in channel_groups(graph).groups}


def _bytes(value: Mapping[str, Any]) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _square(upper: NDArray[np.float32]) -> NDArray[np.float32]:
    """The symmetric matrix with this upper triangle."""
    size = int(np.sqrt(2 * len(upper)))
    full = np.zeros((size, size), np.float32)
    full[np.triu_indices(size)] = upper
    return full + np.triu(full, 1).T


def key(edits: Sequence[Edit]) -> str:
    """Equal for equal sets of edits (16 hex digits)."""
    return hashlib.sha256(json.dumps(to_plain(edits)).encode()).hexdigest()[:16]


def profile(
    network: Network,
    inputs: NDArray[np.float32],
    rng: np.random.Generator,
    deadline: Deadline | None = None,
    *,
    rows_per_column: int = 20,
    coarse: bool = False,
    forms: Forms | None = None,
) -> Profile:
    """The profile without damages, from some 512 normalised unlabelled inputs (n, C, H, W).

    Before the deadline as many inputs are looked at as there is time for, some in any case; after it the order of
    channels is read off the diagonals of H, which is quick. H rests on so many rows for each of its columns, in these
    `forms` (None: all of it); `coarse` orders are quick for layers of thousands of columns (`obs.removal_order`), and
    the only ones in the form for channels.
    """
    until = deadline or Deadline.never()
    found = second_moments(
        network, inputs, rng, until.share(MOMENTS_SHARE), rows_per_column=rows_per_column, forms=forms
    )
    moments, order = found.of, dict[str, tuple[int, ...]]()
    wide = {owner(o): fan_in(network.graph, o) for o in consumers(network.graph)}
    for g in channel_groups(network.graph).groups:
        known = {n: diagonal(h, wide[n]) for n, h in moments.items()} if until.passed() else moments
        order[g.name] = removal_order(network, g, known, coarse=coarse)
    kept = {n: _symmetric(h.float().numpy()) for n, h in moments.items()}
    return Profile(network.digest(), kept, order, {}, seen=found.inputs if found.inputs < len(inputs) else 0)


MOMENTS_SHARE = 0.7
"""Of a profile's time, for H; the rest is for orders."""


def _symmetric(h: NDArray[np.float32]) -> NDArray[np.float32]:
    """H as it is stored, by its upper triangle: kernels leave the two halves a rounding apart on some processors.

    A run that is taken up again must start from the very numbers of one that was not disturbed.
    """
    return h if h.ndim == 1 else _square(h[np.triu_indices(len(h))])


def real(menu: Menu, profile: Profile) -> Menu:
    """The menu whose widths keep the best channels instead of the first."""
    decisions = tuple(
        replace(d, options=tuple(replace(o, edits=profile.real(o.edits)) for o in d.options)) for d in menu.decisions
    )
    return replace(menu, decisions=decisions)


def stitch(network: Network, profile: Profile, edits: Sequence[Edit]) -> Network:
    """The network after the edits, each layer that lost inputs compensated; arrays that no edit touches are shared.

    Programs are fitted to what their layers, compensated, make of what these read. The edits must keep real channels:
    take them from a menu that went through `real`.
    """
    made = edited(network.graph, edits)
    taken = {innermost(source).name: _taken(source) for source in made.arrays.values()}
    begun = {}
    of_streams = {reader for s in streams(network.graph) for reader, _ in s.readers}  # axes that nothing makes good
    for o in consumers(network.graph):
        name = o.array("weight")
        if INPUTS in taken.get(name, {}) and owner(o) in profile.hessians and o.name not in of_streams:
            begun[name] = _compensated(network.weights[name], taken[name], profile.hessians[owner(o)])

    def fit(fitted: Fitted, weight: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """Fitted to the weight as the layer's second moments, on the inputs that are left, weigh its errors."""
        name, h = fitted.layer.array("weight"), profile.hessians.get(owner(fitted.layer))
        if h is not None and h.ndim == 2:
            h = np.kron(np.eye(fan_in(network.graph, fitted.layer) // len(h), dtype=h.dtype), h)
        if h is not None and h.ndim == 2 and INPUTS in taken[name]:
            columns = columns_of(taken[name][INPUTS], torch.from_numpy(network.weights[name])).ravel()
            h = h[np.ix_(columns, columns)]
        return fitted_to(fitted, weight, h)

    return edit.made_with(network, made, begun, fit)


def _compensated(
    weight: NDArray[np.float32], places: Mapping[int, NDArray[np.intp]], hessian: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A layer's weight on the places of its axes that are left, with what its other inputs can make good."""
    whole = torch.from_numpy(weight)
    rows = whole[places[OUTPUTS]] if OUTPUTS in places else whole
    columns = torch.from_numpy(columns_of(places[INPUTS], whole).ravel())
    solved = compensated(flat(rows).double(), torch.from_numpy(hessian).double(), columns)
    narrowed = torch.empty(len(rows), len(places[INPUTS]), *whole.shape[2:])
    return unflat(solved, narrowed).float().contiguous().numpy()


OUTPUTS, INPUTS = 0, 1
"""Axes of a layer's weight."""


def _taken(source: Source) -> dict[int, NDArray[np.intp]]:
    """The places along each axis of an array that are taken, of axes that lose some."""
    begun = innermost(source)
    return {axis: np.array(places) for axis, places in begun.axes.items()} if isinstance(begun, Take) else {}
