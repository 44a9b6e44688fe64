"""Kernels that were not seen take what those that were tell: at their rate, less where a runtime hides them."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.core.kernel import Kernel
from chipfit.evaluate.in_time import work
from chipfit.evaluate.rates import Rates


def conv(cin: int, cout: int, size: int = 28, stride: int = 1, bits: int = 32) -> Kernel:
    window = {"dilation": (1, 1), "groups": 1, "kernel": (3, 3), "padding": (1, 1), "stride": (stride, stride)}
    return Kernel("conv", cin, cout, (size, size), bits, "relu", tuple(window.items()))


def rate(u: Kernel) -> float:
    """Wide kernels run at twice the rate of narrow ones, strided ones 20 % slower."""
    slow = 1 + 64 / (u.cin + u.cout)
    return 1e-8 * slow * (1.2 if u.attr("stride") == (2, 2) else 1.0)


def test_widths_between_those_seen_are_told_to_a_few_per_cent() -> None:
    rng = np.random.default_rng(0)
    seen = {}
    for _ in range(40):
        a, b, size, stride = rng.integers(2, 33), rng.integers(2, 33), rng.choice([14, 28, 56]), rng.choice([1, 2])
        u = conv(8 * int(a), 8 * int(b), int(size), int(stride))
        seen[u] = [work(u) * rate(u)]
    wanted = [conv(a, b, s, t) for a in (40, 120, 200) for b in (56, 136, 232) for s in (14, 28, 56) for t in (1, 2)]
    told = Rates(seen).ms(wanted)
    true = np.array([work(u) * rate(u) for u in wanted])
    assert np.abs(told / true - 1).mean() < 0.03
    assert np.abs(told / true - 1).max() < 0.12


def test_widths_that_fill_no_blocks_are_told_apart() -> None:
    """Three times as slow where channels are no multiple of 16, as depth-wise int8 kernels of runtimes are."""
    seen = {conv(w, w): [work(conv(w, w)) * (1e-8 if w % 16 == 0 else 3e-8)] for w in (16, 24, 40, 48, 96, 104, 160)}
    wanted = [conv(w, w) for w in (32, 56, 88, 112, 136, 144)]
    true = [work(u) * (1e-8 if u.cin % 16 == 0 else 3e-8) for u in wanted]
    assert Rates(seen).ms(wanted) == pytest.approx(true, rel=0.15)


def test_what_was_seen_often_takes_what_it_took() -> None:
    usual = {conv(w, w): [work(conv(w, w)) * 1e-8] * 8 for w in (32, 40, 56, 64)}
    odd = conv(48, 48)
    told = Rates({**usual, odd: [1.3 * work(odd) * 1e-8] * 8}).ms([odd])[0]
    assert told == pytest.approx(1.3 * work(odd) * 1e-8, rel=0.1)


def test_a_family_that_was_not_seen_takes_the_rate_of_its_kind() -> None:
    seen = {conv(w, w): [work(conv(w, w)) * 1e-8] for w in (32, 64, 128)}
    seen |= {conv(w, w, bits=8): [work(conv(w, w)) * 2e-9] for w in (32, 64, 128)}
    other = [conv(64, 64, 14), conv(64, 64, 14, bits=8)]
    assert Rates(seen).ms(other) == pytest.approx([work(other[0]) * 1e-8, work(other[1]) * 2e-9], rel=0.1)


def test_kernels_that_runtimes_hide_in_others_count_by_how_often_they_show() -> None:
    added = [Kernel("add", w, w, (8, 8), 32) for w in (16, 32, 64)]
    hidden = [Kernel("sum", w, w, (8, 8), 32) for w in (16, 32)]
    rates = Rates({added[0]: [0.01, 0.0], added[1]: [0.01], added[2]: [0.0], hidden[0]: [0.0, 0.0]})
    assert rates.ms(hidden[1:])[0] == 0.0
    shown = Rates({added[0]: [0.01], added[1]: [0.01]}).ms(added[:1])[0]
    assert 0.3 < rates.ms(added[:1])[0] / shown < 0.7


def test_nothing_seen_tells_nothing() -> None:
    assert Rates({}).ms([conv(8, 8)]).tolist() == [0.0]
    assert Rates({}).per_value_ms == 0.0
