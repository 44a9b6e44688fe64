from __future__ import annotations

import numpy as np

from chipfit.core.protocols import Space
from chipfit.space.choices import Choices, MenuSpace
from chipfit.space.hardware import HardwareSpace, ports
from chipfit.space.menu import Decision, Menu, Option, Term
from chipfit.testing import SpaceLaws

GENES = {"depth": (2, 3, 4), "activation": ("relu", "silu"), "kernel": ((3, 3), (5, 5)), "bias": (True,)}


def menu(ties: tuple = ()) -> Menu:
    """Three widths, of which the last option skips a block, and a precision that a skipped block has not."""
    sizes = (4, 3, 2, 2)
    decisions = tuple(Decision(f"d{i}", "width", tuple(Option(str(o)) for o in range(n))) for i, n in enumerate(sizes))
    rng = np.random.default_rng(0)
    cost = rng.random((4, 2))
    cost[3] = 0.0
    terms = (Term("latency_ms", (0, 3), cost), Term("latency_ms", (0, 1, 2), rng.random((4, 3, 2))))
    return Menu("g", decisions, terms, ties)


class TestChoices(SpaceLaws):
    def space(self) -> Space:
        return Choices(GENES)


class TestNoChoice(SpaceLaws):
    def space(self) -> Space:
        return Choices({"only": (1,)})


class TestMenuSpace(SpaceLaws):
    def space(self) -> Space:
        return MenuSpace(menu())


class TestTiedMenuSpace(SpaceLaws):
    def space(self) -> Space:
        return MenuSpace(menu((((0, 2), (1, 1)), ((1, 2), (2, 1)))))


class TestJoined(SpaceLaws):
    def space(self) -> Space:
        return Choices(GENES) + MenuSpace(menu((((0, 2), (1, 1)),)))


class TestHardwareSpace(SpaceLaws):
    def space(self) -> Space:
        genes = {"tm": (4, 8, 64), "tr": (7, 14), "tc": (7, 14), "tk": (3,), "ports": ports((2, 6), 12)}
        return HardwareSpace(genes, {16: 100}, lambda designs: designs["tm"] * designs["tr"] <= 120)
