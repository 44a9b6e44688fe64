"""Counts of a menu against those of the networks that its assignments make, where branches are concatenated."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from chipfit.evaluate.counts import priced_counts
from chipfit.evaluate.latency.variants import drawn
from chipfit.nets.trace import trace
from chipfit.space import edits as on_graph
from chipfit.space.choices import MenuSpace
from chipfit.space.offer import offer

EACH = 6
"""Assignments of each network."""


@dataclass
class Counts:
    """How many assignments were held against their networks, and a line for each that differed."""

    assignments: int = 0
    wrong: list[str] = field(default_factory=list)


class Branches(nn.Module):
    """Branches of drawn widths side by side, read by convolutions, dense layers or depth-wise ones; perhaps twice."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 3, padding=1)
        self.steps = nn.ModuleList()
        self.bare = [bool(rng.integers(2)) for _ in range(int(rng.integers(1, 3)))]
        width = 24
        for bare in self.bare:
            widths = [8 * int(rng.integers(1, 5)) for _ in range(int(rng.integers(2, 6)))]
            total = sum(widths) + width * bare
            groups = total if rng.integers(3) == 0 else 1
            step = nn.ModuleList([nn.Conv2d(width, w, 1) for w in widths])
            tail = (
                nn.Sequential(
                    nn.BatchNorm2d(total), nn.ReLU(), nn.Conv2d(total, total, 3, padding=1, groups=groups), nn.ReLU()
                )
                if groups > 1
                else nn.Sequential(nn.BatchNorm2d(total), nn.ReLU())
            )
            self.steps.append(nn.ModuleList([step, tail]))
            width = total
        self.flat = bool(rng.integers(2))
        self.head = nn.Linear(width * (16 if self.flat else 1), 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        for (branches, tail), bare in zip(self.steps, self.bare, strict=True):  # type: ignore[misc]
            x = tail(torch.cat([b(x) for b in branches] + ([x] if bare else []), 1))
        return self.head(nn.functional.avg_pool2d(x, 2).flatten(1) if self.flat else x.mean((2, 3)))


def counted(n: int) -> Counts:
    """The counts of `n` assignments."""
    warnings.simplefilter("ignore")
    found = Counts()
    for seed in range(-(-n // EACH)):
        rng = np.random.default_rng(seed)
        graph = trace(Branches(rng).eval(), (3, 8, 8)).graph
        offered = offer(graph, {32: 8, 8: 8}, bits=(32, 8))
        menu, space = priced_counts(graph, offered), MenuSpace(offered.menu)
        for _ in range(EACH):
            assignment = space.repaired(drawn(offered.menu, rng))
            made = on_graph.apply(graph, menu.edits(assignment))
            true = {"macs": made.total_macs, "params": made.total_params}
            told = {metric: menu.total(metric, assignment) for metric in true}
            found.assignments += 1
            if told != true:
                found.wrong.append(f"network {seed}: told {told}, true {true}")
    return found
