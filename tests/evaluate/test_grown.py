"""Programs for slow layers: layers alike share them, each look prunes, and what is offered is on the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, cast

import numpy as np
import pytest

from chipfit.core.graph import Graph
from chipfit.core.kernel import Kernel, kernels
from chipfit.evaluate.grown import OFFERED, Grown, evolved, kinds, offered
from chipfit.evaluate.in_time import work
from chipfit.evaluate.looks import GAIN, WORTHLESS, Alike, Looks
from chipfit.evaluate.slowest import Slow
from chipfit.nets.trace import trace
from chipfit.nets.zoo import BUILDERS
from chipfit.space.program import Program, parse
from chipfit.space.program.seeds import LOW_RANK, SEPARABLE, seeds
from chipfit.space.programmed import replaceable


@pytest.fixture(scope="module")
def graph() -> Graph:
    return trace(BUILDERS["resnet20"](), (1, 28, 28)).graph


def _slow(graph: Graph) -> list[Slow]:
    works = {name: work(kernel) for name, kernel in kernels(graph).items()}
    whole = sum(works.values())
    return sorted((Slow(name, w / whole, None) for name, w in works.items()), key=lambda s: -s.share)


@dataclass
class Told:
    """Errors that are given; others are .5. Counts what was asked."""

    errors: dict[str, float]
    asked: list[str] = field(default_factory=list)

    def error(self, layer: str, program: str) -> float | None:
        self.asked.append(program)
        return self.errors.get(program, 0.5)


def _price(together: Sequence[Kernel]) -> float:
    return sum(map(work, together))


def _looks(graph: Graph, errors: dict[str, float]) -> Looks:
    alike = kinds(graph, _slow(graph))[0]
    return Looks(alike, cast(Any, Told(errors)), _price, 8)


def test_layers_that_programs_cannot_tell_apart_are_of_one_kind(graph: Graph) -> None:
    found = kinds(graph, _slow(graph))
    assert max(len(alike.layers) for alike in found) >= 3
    names = [name for alike in found for name in alike.layers]
    assert len(set(names)) == len(names)
    assert set(names) <= set(replaceable(graph))
    assert [a.share for a in found] == sorted((a.share for a in found), reverse=True)
    for alike in found:
        assert {kernels(graph)[name] for name in alike.layers} == {alike.kernel}


def test_layers_that_take_next_to_nothing_have_no_programs(graph: Graph) -> None:
    first = kinds(graph, _slow(graph))[0].layers[0]
    rows = [Slow(s.op, 0.99 if s.op == first else 1e-4, None) for s in _slow(graph)]
    assert kinds(graph, rows) == (kinds(graph, rows)[0],)
    assert kinds(graph, rows)[0].layers[0] == first


def test_kept_layers_are_of_no_kind(graph: Graph) -> None:
    kept = kinds(graph, _slow(graph))[0].layers
    assert not set(kept) & {name for alike in kinds(graph, _slow(graph), kept) for name in alike.layers}


def test_what_does_as_much_as_the_layer_is_not_looked_at_further(graph: Graph) -> None:
    looks = _looks(graph, {})
    assert looks.work(parse("conv(x, KxK, M)")) is None
    assert looks.work(parse("down(x, 2); pwconv(_, M)")) is None  # ill-typed there
    share = looks.work(SEPARABLE)
    assert share is not None
    assert 0 < share < 1


def test_what_a_devices_files_have_no_form_of_is_out(graph: Graph) -> None:
    half_size = parse("down(x, 2); conv(_, KxK, M); up(_)")
    anywhere = _looks(graph, {})
    assert anywhere.work(half_size) is not None
    on_two = Looks(anywhere.alike, anywhere.scores, anywhere.price, 8, frozenset({"onnx", "ncnn"}))
    assert on_two.work(half_size) is None
    assert on_two.work(SEPARABLE) is not None


def test_what_is_cheap_and_rough_goes_on_and_what_others_beat_does_not(graph: Graph) -> None:
    point = parse("pwconv(x, M)")
    looks = _looks(graph, {point.text: 0.4, LOW_RANK.text: 0.05, SEPARABLE.text: 0.5})
    assert looks.rough_front(LOW_RANK) == 0.0
    cheap, beaten = looks.rough_front(point), looks.rough_front(SEPARABLE)
    assert cheap is not None
    assert beaten is not None
    assert cheap < 0.0 < beaten  # the 1x1 convolution alone is cheaper and nearer


def test_what_misses_most_or_saves_little_is_out(graph: Graph) -> None:
    looks = _looks(graph, {SEPARABLE.text: WORTHLESS + 0.01})
    assert looks.front(SEPARABLE) is None
    slow = Looks(looks.alike, cast(Any, Told({})), lambda ks: 1.0 if len(ks) == 1 else 1.0 - GAIN / 2, 8)
    assert slow.front(LOW_RANK) is None
    assert not looks.seen
    assert not slow.seen


def test_a_program_that_is_better_than_all_is_below_the_front_and_one_that_is_worse_above(graph: Graph) -> None:
    half, quarter = (
        parse("pwconv(x, C/2); conv(_, KxK, M/2); pwconv(_, M)"),
        parse("conv(x, Kx1, M/4); conv(_, 1xK, M)"),
    )
    looks = _looks(graph, {SEPARABLE.text: 0.2, LOW_RANK.text: 0.05, half.text: 0.3, quarter.text: 0.15})
    assert looks.front(LOW_RANK) == 0.0
    better, worse = looks.front(SEPARABLE), looks.front(half)
    assert better is not None
    assert worse is not None
    assert better < 0.0 < worse
    assert half.text not in looks.trades()
    assert looks.trades() == (SEPARABLE.text, LOW_RANK.text)


def test_evolution_leaves_a_front_and_stays_within_its_children(graph: Graph) -> None:
    looks = _looks(graph, {})
    rng = np.random.default_rng(0)
    told = cast(Told, looks.scores)
    told.errors = {SEPARABLE.text: 0.2, LOW_RANK.text: 0.05}
    tried = evolved(looks, seeds(looks.alike.place), [LOW_RANK], 25, rng, lambda: False)
    assert len(seeds(looks.alike.place)) < tried <= len(seeds(looks.alike.place)) + 25
    trades = looks.trades()
    errors = [looks.seen[text][0] for text in trades]
    times = [looks.seen[text][1] for text in trades]
    assert errors == sorted(errors, reverse=True)
    assert times == sorted(times)
    assert all(isinstance(parse(text), Program) for text in trades)


def test_a_search_that_is_over_looks_at_nothing(graph: Graph) -> None:
    looks = _looks(graph, {})
    assert evolved(looks, seeds(looks.alike.place), [], 25, np.random.default_rng(0), lambda: True) == 0
    assert looks.trades() == ()


def _grown(alike: Alike, text: str, ms: float, damage: float) -> Grown:
    return Grown(text, alike, ms, 0.1, damage, 0.9)


WHOLE = [f"conv(x, {n}xK, M)" for n in range(1, 9)]
"""Programs that repair can solve for."""


def test_few_programs_are_offered_and_none_that_another_is_better_than(graph: Graph) -> None:
    one, other = kinds(graph, _slow(graph))[:2]
    front = [_grown(one, WHOLE[n], 0.2 + 0.1 * n, 0.4 / 4**n) for n in range(6)]
    beaten, harmful = _grown(one, WHOLE[6], 0.35, 0.45), _grown(one, WHOLE[7], 0.1, 0.9)
    found = offered([beaten, harmful, *front, _grown(other, WHOLE[0], 0.5, 0.1)])
    assert len(found[one.layers[0]]) == OFFERED
    assert found[one.layers[0]][0] == WHOLE[0]
    assert found[one.layers[0]][-1] == WHOLE[5]
    assert not {beaten.text, harmful.text} & set(found[one.layers[0]])
    assert found[other.layers[0]] == (WHOLE[0],)
    assert set(found) == {*one.layers, *other.layers}


def test_of_too_many_programs_those_go_that_their_neighbours_stand_in_for(graph: Graph) -> None:
    one = kinds(graph, _slow(graph))[0]
    harms = [(0.2, 0.4), (0.3, 0.39), (0.4, 0.05), (0.5, 0.01), (0.6, 0.001)]
    made = [_grown(one, text, ms, damage) for text, (ms, damage) in zip(WHOLE, harms, strict=False)]
    found = offered(made)[one.layers[0]]
    assert len(found) == OFFERED
    assert WHOLE[2] in found
    assert WHOLE[1] not in found


def test_of_two_alike_the_one_that_repair_can_solve_for_is_offered(graph: Graph) -> None:
    one = kinds(graph, _slow(graph))[0]
    last, first = "pwconv(x, M); dwconv(_, KxK)", SEPARABLE.text
    a_little_worse = _grown(one, first, 0.202, 0.055)
    assert offered([_grown(one, last, 0.2, 0.05), a_little_worse])[one.layers[0]] == (first,)
    far_worse = _grown(one, first, 0.4, 0.06)
    assert offered([_grown(one, last, 0.2, 0.05), far_worse])[one.layers[0]] == (last,)


def test_a_layer_that_takes_no_time_is_not_made_faster(graph: Graph) -> None:
    looks = _looks(graph, {})
    free = Looks(looks.alike, looks.scores, lambda ks: 0.0, 8)
    assert free.ms(SEPARABLE) == inf
