"""Limits on a file's size: held by the file that is written, and used."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from chipfit.core.errors import Infeasible
from chipfit.core.types import Limit
from chipfit.device.null import Null
from chipfit.evaluate.counts import priced_counts
from chipfit.evaluate.design import lost_work
from chipfit.evaluate.sizes import USED, Sizes, sized, smallest
from chipfit.evaluate.timing import Timing
from chipfit.nets.trace import trace
from chipfit.nets.zoo import dscnn, resnet
from chipfit.search.assign import assign
from chipfit.search.uniform import narrowings, uniform_width
from chipfit.space.menu import Assignment, Menu
from chipfit.space.offer import offer
from made_up import Memory


def a_menu(net: nn.Module, shape: tuple[int, ...]) -> Sizes:
    """The sizes of a network's designs; what a design harms is the share of its work that goes."""
    torch.manual_seed(0)
    graph, timing = trace(net.eval(), shape).graph, Timing(Null(), Memory())
    offered = offer(graph, timing.facts.channel_block)
    counted = priced_counts(graph, offered)
    return Sizes(counted.priced(lost_work(counted, 1.0)), graph, timing, notes_mb=5e-4)


def solved(sizes: Sizes, limit_mb: float) -> Assignment:
    menu = sizes.menu
    solve = sized(partial(assign, menu), sizes, partial(menu.total, "damage"))
    return solve([Limit("size_mb", limit_mb)])


@pytest.fixture(scope="module", params=["dscnn", "resnet"])
def sizes(request: pytest.FixtureRequest) -> Sizes:
    """A depth-wise network of whose file half is names and nodes, and one of which little is."""
    if request.param == "dscnn":
        return a_menu(dscnn(1, 12, width=40), (1, 49, 10))
    return a_menu(resnet(1), (1, 28, 28))


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5])
def test_a_limit_is_held_and_used_by_the_file(sizes: Sizes, share: float) -> None:
    whole = sizes.file_mb(tuple(_least_harm_in_int8(sizes.menu)))
    found = solved(sizes, share * whole)
    assert USED * share * whole <= sizes.file_mb(found) <= share * whole


def _least_harm_in_int8(menu: Menu) -> list[int]:
    return [1 if d.kind == "precision" else 0 for d in menu.decisions]


def test_a_uniform_width_is_the_widest_whose_file_holds_the_limit(sizes: Sizes) -> None:
    menu, limit = sizes.menu, 0.6 * sizes.file_mb(sizes.menu.as_is)

    def solve(limits: object) -> Assignment:
        found = uniform_width(menu, limits, 32)  # type: ignore[arg-type]
        if found is None:
            raise Infeasible("none", {})
        return found

    widest = sized(solve, sizes, partial(menu.total, "damage"))([Limit("size_mb", limit)])
    assert sizes.file_mb(widest) <= limit
    wider = [a for a in narrowings(menu, 32) if menu.total("size_mb", a) > menu.total("size_mb", widest)]
    assert all(sizes.file_mb(a) > limit for a in wider)


def test_where_no_file_is_small_enough_the_smallest_is_told(sizes: Sizes) -> None:
    least = sizes.file_mb(smallest(sizes))
    with pytest.raises(Infeasible, match="the smallest has") as e:
        solved(sizes, 0.5 * least)
    assert e.value.nearest["size_mb"] == pytest.approx(least)


def test_other_limits_are_left_as_they_are() -> None:
    sizes = a_menu(resnet(1), (1, 28, 28))
    menu = sizes.menu
    solve = sized(partial(assign, menu), sizes, partial(menu.total, "damage"))
    half = Limit("params", 0.5 * menu.total("params", menu.as_is))
    assert solve([half]) == assign(menu, [half])
    both = solve([half, Limit("size_mb", 10.0)])
    assert half.met(menu.total("params", both))
    impossible = Limit("macs", 1e-9)
    with pytest.raises(Infeasible, match="macs"):
        solve([impossible, Limit("size_mb", 10.0)])
