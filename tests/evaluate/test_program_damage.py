"""Damage of programs: scored alone after repair, and none where the block of their layer is dropped."""

from __future__ import annotations

import numpy as np

from chipfit.compress.profile import key, profile
from chipfit.evaluate.damage import damage
from chipfit.space.edits import Swap, drops
from chipfit.space.offer import offer
from chipfit.space.programmed import programs_of
from compress.networks import network_of, noise

SEPARABLE, LOW_RANK = "dwconv(x, KxK); pwconv(_, M)", "conv(x, Kx1, M/2); conv(_, 1xK, M)"


def test_programs_are_scored_alone_and_cost_nothing_where_their_block_is_dropped() -> None:
    network = network_of("resnet8")
    x = noise(network, 96)
    programs = {"5.body.3": (SEPARABLE, LOW_RANK), "0": (LOW_RANK,)}
    offered = offer(network.graph, {32: 32}, bits=(32,), keep=["4"], programs=programs)
    menu, known = damage(network, offered, profile(network, x, np.random.default_rng(0)), x[:48], x[48:])
    of = programs_of(menu)
    home = next(d for d, option in enumerate(menu.decisions) if any(
        drops(o.edits) and o.edits[0].block == "5.add" for o in option.options))  # fmt: skip
    skip = next(o for o, option in enumerate(menu.decisions[home].options) if drops(option.edits))
    as_is = list(menu.as_is)
    for text, option in ((SEPARABLE, 1), (LOW_RANK, 2)):
        chosen = list(as_is)
        chosen[of["5.body.3"].decision] = option
        alone = known.damage[key([Swap("5.body.3", text)])]
        assert 0 < alone == menu.total("damage", tuple(chosen))
        chosen[home] = skip
        dropped = list(as_is)
        dropped[home] = skip
        assert menu.total("damage", tuple(chosen)) == menu.total("damage", tuple(dropped))
    at_the_start = next(t for t in menu.terms if t.label == "program:0")
    assert at_the_start.on == (of["0"].decision,)
