"""Damage of what changes weights and not structure: the more is cut or rounded, the more harm, after repair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from chipfit.compress.patterns import pattern_sets
from chipfit.compress.profile import Profile, profile
from chipfit.compress.stored import stored_weights
from chipfit.core.edits import Edit, Precision
from chipfit.core.fixed_point import integer_bits
from chipfit.core.graph import Network
from chipfit.data.load import load_data
from chipfit.evaluate.damage import EFFORT, Scorer
from chipfit.evaluate.damage import damage as priced_damage
from chipfit.nets.zoo import load_zoo
from chipfit.space.edits.expand import Expand
from chipfit.space.edits.fixed import Fixed
from chipfit.space.edits.pattern import Pattern
from chipfit.space.knobs import Knobs, decisions
from chipfit.space.menu import Menu
from chipfit.space.offer import Offer

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
def pictures() -> np.ndarray:
    """Digits, of the size of what the network was trained on: on noise a few inputs would decide all."""
    digits = load_data("digits")
    small = torch.from_numpy(digits.normalise(digits.train.inputs[:192]))
    return np.asarray(torch.nn.functional.interpolate(small, (28, 28), mode="bilinear").numpy())


@pytest.fixture(scope="module")
def found(pictures: np.ndarray) -> Profile:
    return profile(trained(), pictures[:32], np.random.default_rng(0))


@pytest.fixture(scope="module")
def damage(found: Profile, pictures: np.ndarray) -> Damage:
    wanted: list[Sequence[Edit]] = [[Expand(layer)] for layer in LAYERS]
    scorer = Scorer(trained(), found, pictures[:96], pictures[96:], wanted, replace(EFFORT, layers=4))
    return lambda *edits: scorer.damage(edits)


@pytest.mark.parametrize("layer", LAYERS)
def test_more_zeros_and_fewer_bits_harm_more(damage: Damage, layer: str) -> None:
    by_taps = [damage(edit) for edit in pruned(layer)]
    assert by_taps[0] > 0
    assert by_taps == sorted(by_taps)
    by_bits = [damage(finest(layer)), *(damage(fixed(layer, f)) for f in (6, 4, 2))]
    assert by_bits == sorted(by_bits)
    assert by_bits[0] < 1e-4 * by_bits[-1], "16 bits are as good as float"


def test_both_harm_more_than_either(damage: Damage) -> None:
    for layer in LAYERS:
        five, coarse = pruned(layer)[-1], fixed(layer, 2)
        assert damage(five, coarse) > max(damage(five), damage(coarse))


def test_wider_kernels_do_no_harm(damage: Damage) -> None:
    assert damage(Expand(LAYERS[1])) < 1e-8


def test_int8_rounds_what_is_in_fixed_point_already(damage: Damage) -> None:
    layer = LAYERS[0]
    int8 = Precision(layer, 8, alone=True)
    coarse = fixed(layer, 2)
    assert damage(coarse, int8) > damage(int8) > 0


def test_what_does_two_things_counts_as_their_sum(found: Profile, pictures: np.ndarray, damage: Damage) -> None:
    layer = LAYERS[1]
    coarse, five = fixed(layer, 3), pruned(layer)[-1]
    knobs = Knobs(patterns=(five.patterns,), formats=((coarse.integer, coarse.fraction),))
    (decision,) = decisions(trained().graph, {layer: knobs})
    assert [o.label for o in decision.options] == ["as it is", "5 bit", "5 of 9 taps", "5 of 9 taps, 5 bit"]
    menu = Menu(trained().graph.key, (decision,))
    priced, known = priced_damage(trained(), Offer(menu, (), {}), found, pictures[:96], pictures[96:])
    (term,) = priced.terms
    assert len(known.damage) == 2, "the two alone were scored"
    as_is, numbers, shape, both = term.table
    assert as_is == 0
    assert both == numbers + shape
    assert 0.5 < both / damage(five, coarse) < 2
