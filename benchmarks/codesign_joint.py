"""Hardware and one network's edits chosen together against one after the other, at equal damage.

A joint search finds the least damage within a share of the best latency that the untouched network has on any design of
a part. Then that damage is allowed to all, and each makes the latency as low as it can:

* joint: any design with any network;
* hardware first: the design that is fastest for the untouched network, then the best network for it;
* network first: the best network for a default design (as square as the part allows, ports alike, multipliers of 16
  bits; what that leaves open is as the untouched network likes it best), then the fastest design for that network.

Each step of each is exact, over the same designs and the same menu; what differs is the order alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from codesign_menus import Case, case
from harness import Options, Rows, Target, at_least, at_most, table

from chipfit.core.errors import Infeasible
from chipfit.core.graph import Graph
from chipfit.core.types import Limit
from chipfit.device.accelerator.named import target
from chipfit.device.accelerator.v2 import network_cycles
from chipfit.device.accelerator.work import works
from chipfit.evaluate.modelled import Costs, costs, legal_designs
from chipfit.search.codesign import Joint, codesign
from chipfit.search.design_costs import LATENCY, DesignCosts, Indices, Some, Table
from chipfit.space.hardware import Designs
from chipfit.space.menu import Assignment, Menu

NETWORKS = {
    "resnet18": 64,
    "mobilenet_v2": 32,
    "fashion-mnist/resnet20": 8,
    "fashion-mnist/mobilenetv2": 8,
}
"""Networks and the steps of their widths."""
PARTS = ("pynq-z2", "zu3eg", "zcu102", "u250")
SHARES = (0.7, 0.45)
"""Of the latency of the untouched network on its best design."""
_DESIGNS = 4096
"""Designs whose latencies of one network are computed at a time."""


def latencies(of: DesignCosts, assignment: Assignment) -> np.ndarray:
    """(designs,) latency of one network on every design."""
    found = np.zeros(of.count)
    for start in range(0, of.count, _DESIGNS):
        designs = np.arange(start, min(start + _DESIGNS, of.count))
        for on, ms in zip(of.scopes, of.tables(designs), strict=True):
            found[designs] += ms[(slice(None), *(assignment[d] for d in on))]
    return found


def oddness(designs: Designs) -> np.ndarray:
    """(designs,) how far each is from an array as square as there is one, ports of one width, and 16 bits."""
    log = {
        name: np.log(designs[name].astype(float)) for name in ("tm", "tn", "weight_port", "input_port", "output_port")
    }
    ports = np.stack([log["weight_port"], log["input_port"], log["output_port"]])
    odd = np.abs(log["tm"] - log["tn"]) + np.abs(ports - ports.mean(axis=0)).sum(axis=0)
    return np.asarray(odd + 10.0 * (designs["mac_bits"] != 16)).round(6)


def nominal(graph: Graph, designs: Designs) -> Designs:
    """The default design; what being square leaves open is as the untouched network likes it best."""
    cycles = network_cycles(works(graph), designs)
    return designs.take([int(np.lexsort((cycles, oddness(designs)))[0])])


def best_on(menu: Menu, of: DesignCosts, designs: Indices, damage: float) -> Joint:
    """The least latency on these designs within a damage."""
    return codesign(menu, Some(of, designs), [Limit("damage", damage)], objective=LATENCY)


def least_on(menu: Menu, of: DesignCosts, limit: Limit) -> float:
    """The least damage within a latency, infinite where that is out of reach."""
    try:
        return codesign(menu, of, [limit]).damage
    except Infeasible:
        return float("inf")


@lru_cache(maxsize=1)  # the latencies of one part take some 200 MB
def priced(name: str, part: str) -> tuple[Case, Costs, float]:
    """A case, its latencies on the designs of a part, and the CPU seconds that these took."""
    of = case(name, NETWORKS[name])
    began = time.process_time()
    found = costs(of.graph, of.menu, target(f"accel:{part}"), np.random.default_rng(0))
    return of, found, time.process_time() - began


def compared(name: str, part: str, share: float) -> dict[str, Any]:
    """The joint search of a case and what the two orders reach at its damage."""
    of, designs, costs_s = priced(name, part)
    menu = of.menu
    dense = latencies(designs, menu.as_is)
    limit = Limit(LATENCY, share * float(dense.min()))
    fastest = np.array([int(dense.argmin())])
    try:
        least = codesign(menu, designs, [limit])
    except Infeasible:
        return {"reached": False}
    joint = best_on(menu, designs, np.arange(designs.count), least.damage)
    hardware = best_on(menu, designs, fastest, least.damage)
    to = target(f"accel:{part}")
    default = nominal(of.graph, legal_designs(of.graph, designs.records, to, narrow_ones=False))
    network = best_on(menu, replace(designs, designs=default), np.array([0]), least.damage)
    refitted = float(latencies(designs, network.assignment).min())
    return {
        "reached": True, "dense_ms": float(dense.min()), "joint_ms": joint.value, "hardware_first_ms": hardware.value,
        "network_first_ms": refitted, "nominal_ms": network.value, "damage": least.damage,
        "hardware_first_damage": least_on(menu, Some(designs, fastest), limit),
        "gap": max(least.gap, joint.gap), "cpu_s": costs_s + least.cpu_s, "costs_s": costs_s,
        "other_form_s": joint.cpu_s, "designs": designs.count, "solved": least.solved,
        "records": len(designs.records), "made_up": of.made_up, "best": designs.designs.plain(joint.design),
    }  # fmt: skip


@dataclass(frozen=True)
class Afresh:
    """Costs of more designs than memory is for: latencies are computed each time that they are asked for."""

    costs: Costs

    @property
    def count(self) -> int:
        """Designs."""
        return self.costs.count

    @property
    def scopes(self) -> tuple[tuple[int, ...], ...]:
        """Decisions of each table."""
        return self.costs.scopes

    def tables(self, designs: Indices) -> list[Table]:
        """For each scope an array (designs, *options) of ms."""
        return replace(self.costs, designs=self.costs.designs.take(designs)).tables(np.arange(len(designs)))


def whole_grid(name: str, part: str, share: float) -> dict[str, Any]:
    """The joint search over every legal design of a part, beside that over the contenders."""
    of, few, _ = priced(name, part)
    every = Afresh(replace(few, designs=legal_designs(of.graph, few.records, target(f"accel:{part}"))))
    limit = Limit(LATENCY, share * float(latencies(few, of.menu.as_is).min()))
    all_, some = codesign(of.menu, every, [limit]), codesign(of.menu, few, [limit])
    return {
        "designs": every.count, "assignments": float(np.prod(of.menu.sizes.astype(float))), "cpu_s": all_.cpu_s,
        "gap": all_.gap, "solved": all_.solved, "damage": all_.damage, "contenders": few.count,
        "contenders_damage": some.damage,
    }  # fmt: skip


def one_network(rows: Rows, options: Options) -> list[Target]:
    """The rows of joint against sequential search, their table, and the targets."""
    names = options.pick(quick=("resnet18",), here=tuple(NETWORKS)[::2], whole=tuple(NETWORKS))
    parts = options.pick(quick=PARTS[2:3], here=PARTS[1:3], whole=PARTS)
    cases = [(name, part, share) for name in names for part in parts for share in SHARES]
    every = {}
    for name, part, share in cases:
        key = f"joint/{name}/{part}/{share:g}"
        every[key] = rows.get(key, lambda: compared(name, part, share))  # noqa: B023
    found = {key: row for key, row in every.items() if row.get("reached", True)}
    print(f"\nOne network and its hardware, {len(found)} of {len(every)} cases that can be held: ms at equal damage,")
    print("damage (nats) at equal ms")
    columns = ["untouched", "joint", "hardware first", "network first", "damage", "hardware first", "designs", "CPU s"]
    table(
        ["case", *columns],
        [(key.removeprefix("joint/"), *(row[name] for name in SHOWN)) for key, row in found.items()],
    )
    gains = {order: np.array([1 - r["joint_ms"] / r[f"{order}_ms"] for r in found.values()]) for order in ORDERS}
    for order, gain in gains.items():
        print(f"joint against {order.replace('_', ' ')}: {spread(gain)}")
    print(f"joint against the better of both: {spread(np.minimum(*gains.values()))}")
    harm = np.array([r["hardware_first_damage"] / r["damage"] for r in found.values()])
    low, middle, high = np.quantile(harm, [0.0, 0.5, 1.0])
    print(f"at equal latency hardware first harms {low:.2f} to {high:.3g} times as much, median {middle:.2f}")
    _whole(rows, options)
    pooled = np.concatenate(list(gains.values()))
    return [
        at_least("one_network_cases", len(found), options.pick(quick=2, here=8, whole=12)),
        at_least("one_network_never_worse", float(1 + pooled.min()), 1 - 1e-9),
        at_least("one_network_10pct", float((pooled >= 0.1).mean()), 0.5),
        at_most("one_network_gap", max(row["gap"] for row in found.values()), 0),
        at_most("one_network_cpu_s", max(row["cpu_s"] for row in found.values()), 60, absolute=True),
    ]


ORDERS = ("hardware_first", "network_first")
SHOWN = (
    "dense_ms", "joint_ms", "hardware_first_ms", "network_first_ms",
    "damage", "hardware_first_damage", "designs", "cpu_s",
)  # fmt: skip


def spread(gains: np.ndarray) -> str:
    """Gains in words."""
    low, middle, high = np.quantile(gains, [0.0, 0.5, 1.0])
    return (
        f"latency lower by {100 * low:.1f} to {100 * high:.1f} %, median {100 * middle:.1f} %;"
        f" by 10 % in {100 * (gains >= 0.1).mean():.0f} % of cases"
    )


def _whole(rows: Rows, options: Options) -> None:
    """What the narrowing to contenders costs: the same search over all designs."""
    if options.quick:
        return
    row = rows.get("joint/whole grid", lambda: whole_grid("resnet18", "zcu102", SHARES[0]))
    print(
        f"ResNet-18 on all {row['designs']:,} legal designs of a ZCU102, {row['assignments']:.1e} networks: damage"
        f" {row['damage']:.6g}, gap {row['gap']:g}, {row['cpu_s']:.3g} CPU s; on {row['contenders']:,} contenders"
        f" {row['contenders_damage']:.6g}"
    )
