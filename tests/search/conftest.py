"""Menus of the size that real networks give, and brute force to check answers against."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from chipfit.core.types import Limit
from chipfit.space.menu import Assignment, Decision, Menu, Option, Term


def residual_menu(
    blocks: int,
    rng: np.random.Generator,
    stages: int = 3,
    options: int = 9,
    precision: bool = True,
    identical: bool = False,
) -> Menu:
    """The menu of a residual network of `stages` stages with `blocks` blocks each: what offer and price make.

    Decisions: a stream width per stage (2 options), an inner width per block (0 = skipped, else multiples of 8), and
    with `precision` one per stage and one for the stem. Each block has two convolutions over (stream, inner,
    precision); stages meet in boundary terms over (precision, precision, stream). `identical` blocks have equal costs.
    """
    decisions: list[Decision] = []
    terms: list[Term] = []

    def decide(name: str, kind: str, values: Sequence[int]) -> int:
        decisions.append(Decision(name, kind, tuple(Option(str(v)) for v in values)))  # type: ignore[arg-type]
        return len(decisions) - 1

    full = [16 * 2**s for s in range(stages)]
    streams = [decide(f"stream{s}", "width", (w, w // 2)) for s, w in enumerate(full)]
    inner = {
        (s, b): decide(
            f"inner{s}.{b}", "width", sorted({round(w * k / (options - 1)) for k in range(options)}, reverse=True)
        )
        for s, w in enumerate(full)
        for b in range(blocks)
    }
    bits = [decide(f"bits{s}", "precision", (32, 8)) for s in range(stages + 1)] if precision else []

    def conv(label: str, area: int, on: tuple[int, ...]) -> None:
        values = [np.array([int(o.label) for o in decisions[d].options], float) for d in on]
        macs = 9e-6 * area * values[0][:, None] * values[1][None, :]
        noise = 1.0 if identical else rng.uniform(0.9, 1.2, macs.shape)
        ms = (0.05 * macs + 0.004 * (macs > 0)) * noise
        kb = 9e-3 * values[0][:, None] * values[1][None, :]
        if len(on) == 3:
            ms = np.stack([ms, 0.6 * ms + 0.002 * (macs > 0)], -1)
            kb = np.stack([4 * kb, kb], -1)
            macs = np.stack([macs, macs], -1)
        else:
            kb = 4 * kb
        terms.extend(Term(m, on, t, label) for m, t in (("latency_ms", ms), ("size_mb", kb / 1e3), ("macs", macs)))

    for (s, b), d in inner.items():
        area = 1024 // 4**s
        on = (streams[s], d) + ((bits[s + 1],) if precision else ())
        conv(f"conv1.{s}.{b}", area, on)
        conv(f"conv2.{s}.{b}", area, on)
        width = np.array([int(o.label) for o in decisions[d].options], float)
        lost = 1 - width / width[0]
        terms.append(
            Term(
                "damage", (d,), rng.lognormal(-2.5, 1.0) * lost**1.7 * rng.uniform(0.8, 1.2, len(lost)), f"inner{s}.{b}"
            )
        )
    for s, d in enumerate(streams):
        terms.append(Term("damage", (d,), np.array([0.0, rng.uniform(0.3, 1.0)]), f"stream{s}"))
    if precision:
        conv("stem", 1024, (streams[0], streams[0], bits[0]))
        for d in bits:
            terms.append(Term("damage", (d,), np.array([0.0, rng.uniform(0.001, 0.02)]), decisions[d].name))
        for p, q, w in zip(bits, bits[1:], [streams[0], *streams], strict=False):
            width = np.array([int(o.label) for o in decisions[w].options], float)
            cost = np.zeros((2, 2, 2))
            cost[0, 1] = cost[1, 0] = 0.001 * width
            terms.extend(Term("latency_ms", (p, q, w), cost, "boundary") for _ in range(3))
    return Menu("made", tuple(decisions), tuple(terms))


def every(menu: Menu) -> np.ndarray:
    """(n, decisions) all valid assignments of a small menu."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in menu.sizes), indexing="ij"), -1).reshape(-1, len(menu.sizes))
    return np.array([a for a in grid if menu.valid(tuple(int(o) for o in a))], np.int64).reshape(-1, len(menu.sizes))


def brute(menu: Menu, limits: Sequence[Limit], objective: str = "damage") -> tuple[float, Assignment] | None:
    """The least objective within the limits by looking at all assignments; None when none is within."""
    best: tuple[float, Assignment] | None = None
    for row in every(menu):
        a = tuple(int(o) for o in row)
        if all(x.met(menu.total(x.metric, a)) for x in limits) and (best is None or menu.total(objective, a) < best[0]):
            best = (menu.total(objective, a), a)
    return best


@pytest.fixture(name="residual_menu")
def _residual_menu() -> Callable[..., Menu]:
    return residual_menu


@pytest.fixture(name="every")
def _every() -> Callable[[Menu], np.ndarray]:
    return every


@pytest.fixture(name="brute")
def _brute() -> Callable[..., tuple[float, Assignment] | None]:
    return brute
