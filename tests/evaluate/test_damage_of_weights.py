"""Damage of what changes weights and not structure: the more is cut or rounded, the more harm, after repair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from chipfit.compress.patterns import pattern_sets
from chipfit.compress.profile import profile
from chipfit.compress.stored import stored_weights
from chipfit.core.edits import Edit, Precision
from chipfit.core.graph import Network
from chipfit.evaluate.damage import EFFORT, Scorer
from chipfit.nets.zoo import load_zoo
from chipfit.space.edits.expand import Expand
from chipfit.space.edits.fixed import Fixed, integer_bits
from chipfit.space.edits.pattern import Pattern
from compress.networks import noise

LAYERS = ("4.body.0", "5.body.3")
Damage = Callable[..., float]


@cache
def trained() -> Network:
    return load_zoo("fashion-mnist/resnet8").network


def pruned(layer: str) -> tuple[Pattern, ...]:
    """From 8 to 5 taps."""
    return tuple(Pattern(layer, patterns) for patterns in pattern_sets(trained())[3])


def fixed(layer: str, fraction: int) -> Fixed:
    return Fixed(layer, integer_bits(stored_weights(trained(), layer)), fraction)


def finest(layer: str) -> Fixed:
    return fixed(layer, 16 - fixed(layer, 1).integer)


@pytest.fixture(scope="module")
def damage() -> Damage:
    network = trained()
    x = noise(network, 192)
    wanted: list[Sequence[Edit]] = [[Expand(layer)] for layer in LAYERS]
    found = profile(network, x[:32], np.random.default_rng(0))
    scorer = Scorer(network, found, x[:96], x[96:], wanted, replace(EFFORT, layers=4))
    return lambda *edits: scorer.damage(edits)


@pytest.mark.parametrize("layer", LAYERS)
def test_more_zeros_and_fewer_bits_harm_more(damage: Damage, layer: str) -> None:
    by_taps = [damage(edit) for edit in pruned(layer)]
    assert 0 < by_taps[0] < by_taps[-1]
    by_bits = [damage(finest(layer)), *(damage(fixed(layer, f)) for f in (6, 4, 2))]
    assert by_bits == sorted(by_bits)
    assert by_bits[0] < 1e-4 * by_bits[-1], "16 bits are as good as float"


def test_both_harm_more_than_either(damage: Damage) -> None:
    layer = LAYERS[1]
    five, coarse = pruned(layer)[-1], fixed(layer, 3)
    assert damage(five, coarse) > max(damage(five), damage(coarse))


def test_wider_kernels_do_no_harm(damage: Damage) -> None:
    assert damage(Expand(LAYERS[1])) < 1e-8


def test_int8_rounds_what_is_in_fixed_point_already(damage: Damage) -> None:
    layer = LAYERS[0]
    int8 = Precision(layer, 8, alone=True)
    coarse = fixed(layer, 2)
    assert damage(coarse, int8) > damage(int8) > 0
