"""What figures shade options by: the share that each leaves, by what its edits do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from chipfit.recipes.report_facts import write_menus
from chipfit.report.figures import _share_cut
from chipfit.report.view import DecisionFact
from chipfit.space.knobs import Knobs
from chipfit.space.offer import offer
from compress.networks import network_of


class Facts:
    """A store of facts alone."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {"dataset": {"notes": []}}

    def fact(self, name: str) -> Any:
        return self.kept.get(name)

    def set_fact(self, name: str, value: Any) -> None:
        self.kept[name] = value


def test_options_are_shaded_by_what_they_leave() -> None:
    graph = network_of("resnet8").graph
    offered = offer(graph, {32: 8, 8: 8}, knobs={"5.body.0": Knobs(formats=((2, 6),))})
    start = SimpleNamespace(
        entry=SimpleNamespace(name="net"), menu=offered.menu, offer=offered, sureness="sure", pricings=()
    )
    store, timing = Facts(), SimpleNamespace(each=())
    write_menus(cast(Any, store), cast(Any, [start]), cast(Any, timing))
    facts = {name: DecisionFact(name, kind, tuple(options)) for name, kind, options in store.kept["decisions"]["net"]}
    inner = facts["4.body.0"]
    assert [_share_cut(inner, label) for label in ("32", "24", "8", "skip")] == [0, 0.25, 0.75, 1]
    assert [_share_cut(facts["bits:0"], label) for label in ("fp32", "int8")] == [0, 0.75]
    assert [_share_cut(facts["5.body.0/weights"], label) for label in ("as it is", "8 bit")] == [0, 0]
