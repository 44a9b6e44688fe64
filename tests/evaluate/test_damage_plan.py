"""Damages in the seconds that were planned for them: all of them where there is time, else fewer and cheaper ones."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from chipfit.compress.profile import profile
from chipfit.core.graph import Network
from chipfit.evaluate import damage_plan
from chipfit.evaluate.damage import all_scored, damage
from chipfit.evaluate.damage_plan import LEAST_INPUTS, SCORES, WHOLE_PLAN, planned
from chipfit.nets.trace import trace
from chipfit.nets.zoo import resnet
from chipfit.space.offer import offer
from compress.networks import noise


@pytest.fixture(scope="module")
def network() -> Network:
    return trace(resnet(1, width=16), (1, 28, 28))


def _at_a_pace(monkeypatch: pytest.MonkeyPatch, network: Network, mac_s: float) -> None:
    monkeypatch.setattr(damage_plan, "pass_s", lambda _: mac_s * network.graph.total_macs)


def test_nothing_is_left_out_where_there_is_time(monkeypatch: pytest.MonkeyPatch, network: Network) -> None:
    menu = offer(network.graph, {32: 8, 8: 8}).menu
    assert planned(network, menu, 1600, math.inf) is WHOLE_PLAN
    _at_a_pace(monkeypatch, network, 1e-11)
    assert planned(network, menu, 1600, 90.0) is WHOLE_PLAN


def test_less_time_is_less_work(monkeypatch: pytest.MonkeyPatch, network: Network) -> None:
    menu = offer(network.graph, {32: 8, 8: 8}).menu
    _at_a_pace(monkeypatch, network, 1e-9)
    plans = [planned(network, menu, 1600, seconds) for seconds in (1e4, 300.0, 100.0, 30.0, 1.0)]
    assert plans[0] is WHOLE_PLAN
    for more, less in pairwise(plans):
        assert less.inputs <= more.inputs
        assert less.widths <= more.widths
        assert less.scored <= more.scored
        assert less.rows_per_column <= more.rows_per_column
    assert plans[-1].inputs == LEAST_INPUTS
    assert plans[-1].coarse
    assert (plans[-1].widths, plans[-1].scored) == SCORES[-1][:2]
    assert planned(network, menu, 40, 1.0).inputs == 40


def test_a_coarse_menu_is_whole_and_ranks_as_the_full_one_does(network: Network) -> None:
    offered = offer(network.graph, {32: 8, 8: 8}, bits=(32,))
    x, rng = noise(network, 96), np.random.default_rng(0)
    full, whole = damage(network, offered, profile(network, x[:48], rng), x[:24], x[48:])
    coarse = damage_plan.Plan(48, 5, True, 2, 16, replace(damage_plan.EFFORT, layers=2, widest=150))
    rough = profile(network, x[:48], np.random.default_rng(0), rows_per_column=5, coarse=True)
    quick, part = damage(network, offered, rough, x[:24], x[48:], plan=coarse)
    assert len(part.damage) < len(whole.damage)
    assert part.scored == 16
    assert not all_scored(quick, part)
    for mine, theirs in zip(quick.terms, full.terms, strict=True):
        assert mine.on == theirs.on
        assert np.isfinite(mine.table).all()
    costs = [(t.table[1:], u.table[1:]) for t, u in zip(quick.terms, full.terms, strict=True) if t.table.ndim == 1]
    a, b = (np.concatenate(c) for c in zip(*costs, strict=True))
    assert np.corrcoef(a.argsort().argsort(), b.argsort().argsort())[0, 1] > 0.8
