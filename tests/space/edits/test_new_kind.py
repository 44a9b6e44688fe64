"""A kind of edit that nobody knows is applied, scored, repaired, stored, drawn and listed by its row alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from chipfit.compress.edit import apply
from chipfit.compress.pair import changed
from chipfit.compress.profile import profile, stitch
from chipfit.compress.refit import refit
from chipfit.core.edits import Edit, Edited
from chipfit.core.graph import Graph
from chipfit.evaluate.damage import damage
from chipfit.report.card import model_card
from chipfit.report.figures import strips
from chipfit.report.row import Row
from chipfit.report.view import DecisionFact, RunView
from chipfit.space.edits import Width, edited, from_plain, table, to_plain
from chipfit.space.edits.kind import Kind, Structure
from chipfit.space.menu import Decision, Menu, Option
from chipfit.space.offer import Offer
from compress.networks import network_of, noise


@dataclass(frozen=True, slots=True)
class Clamp(Edit):
    """Clamp a ReLU at 6."""

    relu: str


def _rewrite(original: Structure, made: Edited, edits: Sequence[Clamp]) -> Edited:
    names = {e.relu for e in edits}
    ops = tuple(replace(o, kind="relu6") if o.name in names else o for o in made.graph)
    return replace(made, graph=Graph(ops, made.graph.output))


CLAMP = Kind(
    "clamp",
    Clamp,
    _rewrite,
    to_plain=lambda e: [e.relu],
    from_plain=lambda relu, _: Clamp(relu),
    in_words=lambda e: f"{e.relu!r} clamped",
    changed="activations clamped",
    caption="Activations that are clamped at 6.",
)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "KINDS", (*table.KINDS, CLAMP))


def edits_of(graph: Graph) -> tuple[Edit, ...]:
    return Clamp(graph.users["5.add"][0]), Width("5.body.0", (0, 1, 2, 3, 4, 5, 6, 7))


def test_it_is_applied_stored_and_carried_out() -> None:
    network = network_of("resnet8")
    edits = edits_of(network.graph)
    clamp = edits[0]
    made = apply(network, edits)
    assert made.graph[network.graph.users["5.add"][0]].kind == "relu6"
    assert made.weights["5.body.0.weight"].shape[0] == 8
    assert to_plain(edits)[-1] == ["clamp", clamp.relu]  # type: ignore[index,attr-defined]
    assert set(from_plain(to_plain(edits))) == set(edits)  # type: ignore[arg-type]
    assert clamp.relu in changed(network.graph, edited(network.graph, [clamp]))  # type: ignore[attr-defined]


def test_it_is_scored_and_repaired() -> None:
    network = network_of("resnet8")
    edits, x = edits_of(network.graph), noise(network, 64)
    found = profile(network, x, np.random.default_rng(0))
    options = (Option("relu"), Option("relu6", edits[:1]))
    menu = Menu(network.graph.key, (Decision("clamped", "clamp", options),))
    priced, _ = damage(network, Offer(menu, (), {}), found, x[:32], x[32:])
    as_is, clamped = priced.terms[0].table
    assert as_is == 0 < clamped
    repaired = refit(network, stitch(network, found, edits), edits, x, np.random.default_rng(0))
    assert repaired.graph == edited(network.graph, edits).graph


def test_it_is_drawn_and_listed() -> None:
    final = Row("c", "final", "net", "ours", "", choices={"a": "relu6"}, edits=(["clamp", "a"],))
    decisions = {"net": (DecisionFact("a", "clamp", (("relu", 1.0), ("relu6", 1.0))),)}
    run = RunView(Path("run"), (final,), decisions=decisions)
    (picture,) = strips(run)
    assert picture.caption.startswith("<b>net, clamp.</b> Activations that are clamped at 6.")
    assert picture.traces[0]["text"] == [["relu6"]]
    assert "- activations clamped: 1" in model_card(run).splitlines()
