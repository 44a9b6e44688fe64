"""A zoo's network, its edits and the hardware chosen together against one after the other, at equal harm.

A case is a zoo, a part of which so much may be used, and a latency: a share of what the zoo's most accurate network
takes untouched on its best design. Harm is what an answer is expected to lack in accuracy behind the best of the zoo:
what its model lacks untouched, and what a fit expects of so much damage (`recipes.designs.COST_OF_DAMAGE`). The joint
search finds the least harm within the latency. That harm is then allowed to all, and each is as fast as it can be:

* joint: any network of the zoo, any edits, any design;
* hardware first: the design on which the zoo as it came is fastest (least geometric mean, of designs that run all of
  it), then the best network and edits on it;
* network first: the best network and edits on a default design, then the fastest design for what was found. The
  default is as square as the part allows, its ports alike, its multipliers of 16 bits; what that leaves open is as the
  zoo likes it best.

Two stronger orders are told beside these, in which hardware is not first, as it waits for a network: the design for
the most accurate network, and for each network its own, of which the best answer counts. Each step of each is exact.

The ImageNet zoo has published accuracies (Top-1 of the original's zoo) and made-up damage (`codesign_menus`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np
from codesign_joint import latencies, oddness, spread
from codesign_menus import Case, case
from harness import Options, Rows, Target, at_least, at_most, table

from chipfit.core.errors import Infeasible
from chipfit.core.types import Limit
from chipfit.device.accelerator.named import Target as Part
from chipfit.device.accelerator.named import target
from chipfit.device.accelerator.resources import fits, runs, used
from chipfit.device.accelerator.v2 import network_cycles
from chipfit.device.accelerator.work import Work, works
from chipfit.evaluate.modelled import Costs, costs, legal_designs
from chipfit.nets.zoo import find
from chipfit.recipes.designs import COST_OF_DAMAGE
from chipfit.search.codesign import Joint, codesign
from chipfit.search.design_costs import LATENCY, DesignCosts
from chipfit.space.hardware import Designs

IMAGENET = {
    "resnet18": (64, 69.758),
    "resnet34": (64, 73.314),
    "mobilenet_v2": (32, 71.878),
    "mnasnet0_5": (32, 67.602),
    "mnasnet1_0": (32, 73.456),
}
"""Network to the step of its widths and its accuracy in points."""
FASHION_STEP = 8
ZOOS = ("fashion-mnist", "imagenet")
PARTS = ("pynq-z2", "zu3eg", "zcu102", "u250")
LIMITED = ("", "/dsp=25%")
"""How much of a part may be used."""
SHARES = (0.7, 0.45, 0.3)
"""Of the latency of the most accurate network, untouched, on its best design."""
ROUNDING = 1e-12
ORDERS = ("hardware_first", "network_first")
STRONGER = ("for_the_reference", "for_each_its_own")


@dataclass(frozen=True)
class Member:
    """A network of a zoo: its menu, its latencies on the contenders of a part, and the accuracy that it lacks."""

    case: Case
    costs: Costs
    behind: float

    def allowed(self, harm: float) -> float:
        """Nats of damage that this network may take for so much harm; negative where it lacks more as it is."""
        return (harm - self.behind) / COST_OF_DAMAGE + ROUNDING

    def on(self, design: Designs) -> Costs:
        """The latencies of the menu on one design that may not be a contender."""
        return replace(self.costs, designs=design)

    @property
    def works(self) -> tuple[Work, ...]:
        """What the untouched network gives an accelerator to do."""
        return works(self.case.graph)


@dataclass(frozen=True)
class Zoo:
    """A zoo on a part: its members, the most accurate first, the design that all of it likes best, the default one.

    Both are among the designs of each member. `cpu_s` are the CPU seconds that all of this took.
    """

    members: tuple[Member, ...]
    part: Part
    for_all: Designs
    default: Designs
    cpu_s: float

    @property
    def reference_ms(self) -> float:
        """Of the most accurate network as it came, on its best design."""
        return float(latencies(self.members[0].costs, self.members[0].case.menu.as_is).min())


@cache
def accuracies(zoo: str) -> dict[str, tuple[int, float]]:
    """Network to the step of its widths and its accuracy as a share, the most accurate first."""
    if zoo == "imagenet":
        found = {name: (step, points / 100) for name, (step, points) in IMAGENET.items()}
    else:
        found = {f"{zoo}/{r.name}": (FASHION_STEP, r.validation_accuracy) for r in find(zoo)}
    return dict(sorted(found.items(), key=lambda item: -item[1][1]))


@lru_cache(maxsize=1)  # the latencies of one zoo take up to a gigabyte
def opened(zoo: str, device: str) -> Zoo:
    """A zoo on a part."""
    known, to = accuracies(zoo), target(device)
    best = max(accuracy for _, accuracy in known.values())
    menus = {name: case(name, step) for name, (step, _) in known.items()}
    began = time.process_time()
    members, every = [], []
    for name, (_, accuracy) in known.items():
        of = menus[name]
        priced = costs(of.graph, of.menu, to, np.random.default_rng(0))
        members.append(Member(of, priced, best - accuracy))
        every.append(legal_designs(of.graph, priced.records, to).columns)
    designs = Designs(np.unique(np.concatenate(every, axis=1), axis=1))
    for_all, default = common(members, designs, to)
    members = [replace(m, costs=m.on(m.costs.designs + for_all + default)) for m in members]
    return Zoo(tuple(members), to, for_all, default, time.process_time() - began)


def legal(designs: Designs, member: Member, to: Part) -> np.ndarray:
    """(designs,) true where a network as it came fits and runs."""
    return fits(used(designs, member.works, to.part), to.part) & runs(designs, member.works)


def common(members: Sequence[Member], designs: Designs, to: Part) -> tuple[Designs, Designs]:
    """(the design that all members as they came like best, the default design), of those that run all of them."""
    able = np.ones(len(designs), bool)
    for member in members:
        able &= legal(designs, member, to)
    for_all = designs.take(able)
    means = np.zeros(len(for_all))
    for member in members:
        means += np.log(network_cycles(member.works, for_all))
    default = np.lexsort((means, oddness(for_all)))[0]
    return for_all.take([int(np.argmin(means))]), for_all.take([int(default)])


def fastest(costs_of: Callable[[Member], DesignCosts | None], zoo: Zoo, harm: float) -> tuple[Member, Joint]:
    """The fastest network within a harm, each on the designs that it is given (None where these cannot run it).

    Raises:
        Infeasible: there is none.
    """
    found: list[tuple[Member, Joint]] = []
    for member in zoo.members:
        allowed, of = member.allowed(harm), costs_of(member)
        if allowed >= 0 and of is not None:
            limit = Limit("damage", allowed)
            found.append((member, codesign(member.case.menu, of, [limit], objective=LATENCY)))
    if not found:
        raise Infeasible("no network does so little harm", {})
    return min(found, key=lambda pair: pair[1].value)


def least_harm(zoo: Zoo, limit_ms: float) -> tuple[float, str, float, float]:
    """(harm, model, gap, CPU seconds) of the joint search within a latency.

    The most accurate comes first; one that lacks more, as it is, than the best found harms is not searched.

    Raises:
        Infeasible: no network of the zoo holds it.
    """
    found: list[tuple[float, str, float]] = []
    seconds = 0.0
    for member in zoo.members:
        if found and member.behind >= min(found)[0]:
            break
        try:
            joint = codesign(member.case.menu, member.costs, [Limit(LATENCY, limit_ms)])
        except Infeasible:
            continue
        seconds += joint.cpu_s
        found.append((member.behind + COST_OF_DAMAGE * joint.damage, member.case.name, joint.gap))
    if not found:
        raise Infeasible(f"nothing of the zoo holds {limit_ms:.4g} ms", {})
    harm, name, _ = min(found)
    return harm, name, max(gap for _, _, gap in found), seconds


def compared(zoo_name: str, device: str, share: float) -> dict[str, Any]:
    """The joint search of a case, and what the orders reach at its harm; only `reached` where nothing holds it."""
    zoo = opened(zoo_name, device)
    try:
        harm, model, gap, seconds = least_harm(zoo, share * zoo.reference_ms)
    except Infeasible:
        return {"reached": False}
    member, joint = fastest(lambda m: m.costs, zoo, harm)
    first, on_first = fastest(lambda m: m.on(zoo.for_all), zoo, harm)
    network, on_default = fastest(lambda m: m.on(zoo.default), zoo, harm)
    _, on_own = fastest(lambda m: m.on(_own_best(m)), zoo, harm)
    return {
        "reached": True, "reference_ms": zoo.reference_ms, "harm": harm, "model": model,
        "joint_ms": joint.value, "joint_model": member.case.name, "best": member.costs.designs.plain(joint.design),
        "hardware_first_ms": on_first.value, "hardware_first_model": first.case.name,
        "network_first_ms": float(latencies(network.costs, on_default.assignment).min()),
        "network_first_model": network.case.name, "default_ms": on_default.value,
        "for_the_reference_ms": _for_the_reference(zoo, harm), "for_each_its_own_ms": on_own.value,
        "for_all": zoo.for_all.plain(0), "default": zoo.default.plain(0), "gap": max(gap, joint.gap),
        "cpu_s": zoo.cpu_s + seconds, "designs": sum(m.costs.count for m in zoo.members),
    }  # fmt: skip


def _for_the_reference(zoo: Zoo, harm: float) -> float | None:
    """Of the best network on the design for the most accurate one; None where that runs none that harms so little."""
    design = _own_best(zoo.members[0])
    try:
        return fastest(lambda m: m.on(design) if legal(design, m, zoo.part)[0] else None, zoo, harm)[1].value
    except Infeasible:
        return None


def _own_best(member: Member) -> Designs:
    """The contender on which a network as it came is fastest."""
    return member.costs.designs.take([int(latencies(member.costs, member.case.menu.as_is).argmin())])


def cases(options: Options) -> list[tuple[str, str, float]]:
    """(zoo, device, share) of every case."""
    zoos = options.pick(quick=ZOOS[:1], here=ZOOS[:1], whole=ZOOS)
    parts = options.pick(quick=PARTS[2:3], here=PARTS[1:3], whole=PARTS)
    limited = options.pick(quick=LIMITED[:1], here=LIMITED[:1], whole=LIMITED)
    return [(z, f"accel:{p}{much}", s) for z in zoos for p in parts for much in limited for s in SHARES]


def gains(found: Iterable[dict[str, Any]], order: str) -> np.ndarray:
    """By how much the joint search is faster than an order, as a share of the order's latency."""
    return np.array([1 - r["joint_ms"] / r[f"{order}_ms"] for r in found if r[f"{order}_ms"] is not None])


def zoos(rows: Rows, options: Options) -> list[Target]:
    """The rows of all cases, their table, and the targets."""
    every: dict[str, dict[str, Any]] = {}
    for zoo, device, share in cases(options):
        key = f"zoos/{zoo}/{device.removeprefix('accel:')}/{share:g}"
        every[key] = rows.get(key, lambda: compared(zoo, device, share))  # noqa: B023
    found = {key: row for key, row in every.items() if row["reached"]}
    print(f"\nA zoo and its hardware, {len(found)} of {len(every)} cases that can be held: ms at equal harm")
    shown = ("reference_ms", "joint_ms", *(f"{order}_ms" for order in (*ORDERS, *STRONGER)), "joint_model", "cpu_s")
    named = [name.removesuffix("_ms").replace("_", " ") for name in shown]
    table(["case", *named], [_line(key, row, shown) for key, row in found.items()])
    pooled = np.concatenate([gains(found.values(), order) for order in ORDERS])
    for order in (*ORDERS, *STRONGER):
        print(f"joint against {order.replace('_', ' ')}: {spread(gains(found.values(), order))}")
    return [
        at_least("joint_cases", len(found), options.pick(quick=2, here=4, whole=12)),
        at_least("joint_never_worse", float(1 + pooled.min()), 1 - 1e-9),
        at_least("joint_10pct", float((pooled >= 0.1).mean()), 0.5),
        at_most("joint_gap", max(row["gap"] for row in found.values()), 0),
        at_most("joint_cpu_s", max(row["cpu_s"] for row in found.values()), 60, absolute=True),
    ]


def _line(key: str, row: dict[str, Any], shown: Sequence[str]) -> tuple[Any, ...]:
    values = ("" if row[name] is None else row[name] for name in shown)
    return (key.removeprefix("zoos/"), *values)
