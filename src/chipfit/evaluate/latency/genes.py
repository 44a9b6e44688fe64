"""Networks that are known by their genes: which operator stands at each position, and what that is known to cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chipfit.core.errors import BadInput
from chipfit.evaluate.latency import encode
from chipfit.evaluate.latency.base import Floats, Ints, Networks

Arrays = Mapping[str, NDArray[Any]]

MOST_NODES = 1000
"""Nodes of a cell, and positions of a network: what is larger is no search space but a mistake, or a trap."""


@dataclass(frozen=True)
class Costs:
    """What is counted of networks (MACs, parameters, ...), by `names` (c,).

    Either `by_choice` (c, p, k), the cost of each operator at each position, and `fixed` (c,), what every network costs
    beside; or `totals` (n, c), the costs of whole networks.
    """

    names: tuple[str, ...]
    by_choice: Floats | None = None
    fixed: Floats | None = None
    totals: Floats | None = None

    def of(self, codes: Ints) -> Floats:
        """(n, c) costs of networks."""
        if self.totals is not None:
            return self.totals
        assert self.by_choice is not None
        assert self.fixed is not None
        return np.asarray(self.by_choice[:, np.arange(codes.shape[1]), codes].sum(2).T + self.fixed)

    def alike(self, other: Costs) -> bool:
        """True where the same is counted in the same way."""
        if self.names != other.names or (self.totals is None) != (other.totals is None):
            return False
        return self.totals is not None or (
            np.array_equal(_given(self.by_choice), _given(other.by_choice))
            and np.array_equal(_given(self.fixed), _given(other.fixed))
        )


@dataclass(frozen=True)
class Genes:
    """Networks of a space without graphs: `codes` (n, p) index `operators`.

    `edges` (p, 2) are the nodes from and to which the positions of a cell lead, `stages` (p,) tells positions of
    different resolutions apart, `costs` what is counted; None where nothing is known of that.
    """

    codes: Ints
    operators: tuple[str, ...]
    edges: Ints | None = None
    stages: Ints | None = None
    costs: Costs | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def alike(self, other: Genes) -> bool:
        """True for networks of one space."""
        same = self.operators == other.operators and self.codes.shape[1] == other.codes.shape[1]
        parts = ((self.edges, other.edges), (self.stages, other.stages))
        counted = (
            self.costs is other.costs if self.costs is None or other.costs is None else self.costs.alike(other.costs)
        )
        return same and counted and all(np.array_equal(_given(a), _given(b)) for a, b in parts)

    def take(self, rows: Sequence[int]) -> Genes:
        """These rows, in this order."""
        costs = self.costs
        if costs is not None and costs.totals is not None:
            costs = replace(costs, totals=costs.totals[list(rows)])
        return replace(self, codes=self.codes[list(rows)], costs=costs)

    def with_others(self, other: Genes, rows: Sequence[int]) -> Genes:
        """These networks, then those `rows` of others of the same space."""
        more, costs = other.take(rows), self.costs
        if costs is not None and costs.totals is not None:
            assert more.costs is not None
            costs = replace(costs, totals=np.concatenate([costs.totals, _given(more.costs.totals)]))
        return replace(self, codes=np.concatenate([self.codes, more.codes]), costs=costs)

    def encoded(self, names: Sequence[str]) -> Networks:
        """The networks as models see them."""
        costs, totals = None, None
        if self.costs is not None and self.costs.totals is not None:
            totals = dict(zip(self.costs.names, self.costs.totals.T, strict=True))
        elif self.costs is not None:
            tables = zip(_given(self.costs.by_choice), _given(self.costs.fixed).tolist(), strict=True)
            costs = dict(zip(self.costs.names, tables, strict=True))
        stages = None if self.stages is None else self.stages.tolist()
        return encode.genes(
            names, self.codes, self.operators, edges=self.edges, stages=stages, costs=costs, totals=totals
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of a file."""
        arrays: dict[str, NDArray[Any]] = {"genes": self.codes, "operators": np.array(self.operators, str)}
        if self.edges is not None:
            arrays["edges"] = self.edges
        if self.stages is not None:
            arrays["stages"] = self.stages
        if self.costs is not None:
            arrays["cost_names"] = np.array(self.costs.names, str)
            if self.costs.totals is not None:
                arrays["costs"] = self.costs.totals
            else:
                arrays |= {"costs": _given(self.costs.by_choice), "cost_fixed": _given(self.costs.fixed)}
        return arrays


def _given(array: NDArray[Any] | None) -> NDArray[Any]:
    return np.zeros(0) if array is None else array


def genes_of(arrays: Arrays, n: int, where: str) -> Genes:
    """The genes of a file's arrays, for `n` networks.

    Raises:
        BadInput: an array of another shape or kind, a code that is no operator, edges that are no cell, a cost that is
            not above zero.
    """
    codes, operators = arrays["genes"], tuple(str(o) for o in arrays["operators"].reshape(-1))
    if codes.ndim != 2 or len(codes) != n or codes.dtype.kind not in "iu" or not 0 < codes.shape[1] <= MOST_NODES:
        raise BadInput(f"{where}: genes of shape {codes.shape} are not whole numbers in a row for each of {n} names")
    if not operators or len(set(operators)) < len(operators) or not all(o.strip() for o in operators):
        raise BadInput(f"{where}: operators must be names, each once and none empty; it has {', '.join(operators)!r}")
    for i, j in np.argwhere((codes < 0) | (codes >= len(operators)))[:1]:
        raise BadInput(
            f"{where}: row {i + 1} has operator {codes[i, j]} at position {j + 1}, unknown; operators are 0 to "
            f"{len(operators) - 1}: {', '.join(operators)}"
        )
    codes = codes.astype(np.int64)
    return Genes(codes, operators, _edges(arrays, codes, where), _stages(arrays, codes, where),
                 _costs(arrays, codes, len(operators), where))  # fmt: skip


def _whole(array: NDArray[Any]) -> bool:
    """True for whole numbers from 0 to `MOST_NODES`, in whatever type."""
    if array.dtype.kind not in "iuf" or not array.size:
        return False
    whole = np.all(np.isfinite(array)) and np.all(array == np.floor(array))
    return bool(whole and array.min() >= 0 and array.max() < MOST_NODES)


def _edges(arrays: Arrays, codes: Ints, where: str) -> Ints | None:
    """Where each position leads: from a lower to a higher node, no node being left out."""
    if "edges" not in arrays:
        return None
    edges, p = arrays["edges"], codes.shape[1]
    if edges.shape != (p, 2):
        raise BadInput(f"{where}: edges of shape {edges.shape} are not two nodes for each of {p} genes")
    if not _whole(edges):
        raise BadInput(f"{where}: edges must be whole numbers from 0 to {MOST_NODES - 1}: the nodes of a cell")
    edges = edges.astype(np.int64)
    for a, b in edges[edges[:, 0] >= edges[:, 1]][:1]:
        raise BadInput(f"{where}: edge {a} to {b} does not lead to a later node; number the nodes of a cell in order")
    if missing := sorted(set(range(int(edges.max()) + 1)) - set(edges.ravel().tolist())):
        raise BadInput(
            f"{where}: no edge touches node {missing[0]} of 0 to {edges.max()}; number the nodes 0, 1, 2, ..."
        )
    return edges


def _stages(arrays: Arrays, codes: Ints, where: str) -> Ints | None:
    if "stages" not in arrays:
        return None
    stages = arrays["stages"]
    if stages.shape != (codes.shape[1],) or not _whole(stages):
        raise BadInput(f"{where}: stages of shape {stages.shape} are not one whole number from 0 for each position")
    return stages.astype(np.int64)


def _costs(arrays: Arrays, codes: Ints, k: int, where: str) -> Costs | None:
    if "costs" not in arrays:
        return None
    costs, (n, p) = arrays["costs"], codes.shape
    c = costs.shape[1] if costs.ndim == 2 else len(costs) if costs.ndim == 3 else 0
    if costs.dtype.kind not in "iuf" or costs.shape not in ((n, c), (c, p, k)) or not c:
        raise BadInput(
            f"{where}: costs of shape {costs.shape} are neither (networks, costs), here ({n}, ...), nor (costs, "
            f"positions, operators), here (..., {p}, {k})"
        )
    names = arrays.get("cost_names", np.array([f"cost {i + 1}" for i in range(c)])).reshape(-1)
    fixed = arrays.get("cost_fixed", np.zeros(c)).reshape(-1)
    if len(names) != c or len(set(names.tolist())) < c or fixed.shape != (c,) or fixed.dtype.kind not in "iuf":
        raise BadInput(f"{where}: cost_names and cost_fixed must have an entry for each of {c} costs, each name once")
    words, costs, fixed = tuple(map(str, names)), costs.astype(np.float64), fixed.astype(np.float64)
    made = Costs(words, totals=costs) if costs.ndim == 2 else Costs(words, costs, fixed)
    found = made.of(codes)
    for i, j in np.argwhere(~(np.isfinite(found) & (found > 0)))[:1]:
        raise BadInput(
            f"{where}: network {i + 1} has {found[i, j]:g} {words[j]}, which is not above zero; give what every "
            "network costs beside its choices as cost_fixed"
        )
    return made
