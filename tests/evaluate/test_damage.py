"""Damage: measured once, after repair, and adding up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from chipfit.compress.profile import Profile, profile
from chipfit.core.edits import Edit
from chipfit.core.errors import ChipfitError
from chipfit.core.graph import Network
from chipfit.evaluate import damage as module
from chipfit.evaluate.damage import Scorer, additivity, damage, divergence, divergences, skip_runs
from chipfit.evaluate.damage_plan import WHOLE_PLAN
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.nets.zoo import resnet
from chipfit.space.edits import Precision, Skip, Width
from chipfit.space.groups import sites
from chipfit.space.menu import Decision, Menu, Option
from chipfit.space.offer import Offer, offer

Pictures = NDArray[np.float32]
Case = tuple[Network, Offer, Profile, Pictures, Pictures]


@pytest.fixture(scope="module")
def case() -> Case:
    """A ResNet-14 of width 8 with its profile, and inputs to repair and to score on."""
    torch.manual_seed(0)
    coarse = torch.randn(288, 1, 7, 7, generator=torch.Generator().manual_seed(0))
    pictures = nn.functional.interpolate(coarse, (28, 28), mode="bilinear") * 2
    net = resnet(2, width=8)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = None  # the statistics of the one batch that follows
    with torch.no_grad():
        net.train()(pictures)
        net[-1].weight.mul_(30)  # answers that differ
    network, x = trace(net, (1, 28, 28)), np.asarray(pictures.numpy())
    found = profile(network, x[:128], np.random.default_rng(0))
    return network, offer(network.graph, {32: 8, 8: 8}), found, x[128:224], x[224:]


@pytest.fixture(scope="module")
def priced(case: Case) -> tuple[Menu, Profile]:
    return damage(*case)


def answers(network: Network, x: Pictures) -> Pictures:
    with torch.inference_mode():
        return np.asarray(build(network)(torch.from_numpy(x)).numpy())


def test_divergence_by_hand() -> None:
    p, q = np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]])
    want = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
    assert divergence(np.log(p).astype(np.float32), np.log(q).astype(np.float32)) == pytest.approx(want, rel=1e-6)
    assert divergence(np.log(p).astype(np.float32), np.log(p).astype(np.float32) + 7) == pytest.approx(0.0, abs=1e-7)


def test_every_option_has_a_damage_and_doing_nothing_has_none(priced: tuple[Menu, Profile]) -> None:
    menu, _ = priced
    assert menu.total("damage", menu.as_is) == 0.0
    for d, decision in enumerate(menu.decisions):
        for o, option in enumerate(decision.options):
            chosen = tuple(o if i == d else 0 for i in range(len(menu.decisions)))
            if option.edits:
                assert 0 < menu.total("damage", chosen) < 20, (decision.name, option.label)


def test_narrower_is_worse(priced: tuple[Menu, Profile]) -> None:
    menu, _ = priced
    d = menu.find("7.body.3")
    table = next(t.table for t in menu.terms if t.on == (d,))
    assert [o.label for o in menu.decisions[d].options] == ["32", "24", "16", "8"]
    assert table[2:].min() > table[1] > 0


def test_starting_from_the_originals_values_changes_nothing(case: Case) -> None:
    """The answers of the operators that were walked are those of the whole repaired network."""
    network, offered, found, repair, inputs = case
    blocks = tuple(offered.inner)
    trials: list[Sequence[Edit]] = [
        [found.width("7.body.0", 8)], [found.width("5.body.3", 8)], [Skip(blocks[1])], [Skip(b) for b in blocks[2:4]],
    ]  # fmt: skip
    scorer = Scorer(network, found, repair, inputs, trials)
    for edits in trials:
        pair = scorer._repaired(edits)
        walked = pair.small.values[pair.graph.output][len(repair) :].numpy()
        np.testing.assert_allclose(walked, answers(pair.network(), inputs), atol=2e-4, rtol=1e-3)
        want = divergence(answers(network, inputs), walked)
        assert scorer.damage(edits) == pytest.approx(want, rel=1e-3)


def test_totals_of_runs_are_what_was_measured(case: Case, priced: tuple[Menu, Profile]) -> None:
    network, offered, _, repair, inputs = case
    menu, found = priced
    (run, *_) = [r for r in skip_runs(network.graph) if len(r) == 2]
    edits = [Skip(b) for b in run]
    chosen = list(menu.as_is)
    for b in run:
        d = menu.find(offered.inner[b][0])
        chosen[d] = len(menu.decisions[d].options) - 1
    assert menu.edits(tuple(chosen)) == tuple(edits)
    true = Scorer(network, found, repair, inputs, [edits]).damage(edits)
    assert menu.total("damage", tuple(chosen)) == pytest.approx(true, rel=1e-4)


def test_runs_are_neighbours_of_one_stage(case: Case) -> None:
    assert skip_runs(case[0].graph) == [("3.add", "4.add"), ("5.add", "6.add"), ("7.add", "8.add")]
    three = trace(resnet(3, width=4), (1, 28, 28)).graph
    assert next(r for r in skip_runs(three) if len(r) == 3) == ("3.add", "4.add", "5.add")
    assert len(skip_runs(three)) == 9


def test_what_is_known_is_not_measured_again(
    case: Case, priced: tuple[Menu, Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, _, _, repair, inputs = case
    menu, found = priced
    monkeypatch.setattr(module, "Scorer", None)
    again, same = damage(network, case[1], Profile.from_arrays(found.to_arrays()), repair, inputs)
    assert same.damage == found.damage
    for a, b in zip(again.terms, menu.terms, strict=True):
        np.testing.assert_array_equal(a.table, b.table)
    # a device with another channel block has other widths, all of which were measured
    damage(network, offer(network.graph, {32: 16, 8: 16}), found, repair, inputs)


def test_a_profile_of_another_network_is_refused(case: Case) -> None:
    network, offered, found, repair, inputs = case
    other = Network(network.graph, {k: a + 1 for k, a in network.weights.items()})
    with pytest.raises(ValueError, match="make a new one"):
        damage(other, offered, found, repair, inputs)


def test_int8_is_nearly_harmless_and_adds_to_repairs(case: Case) -> None:
    network, _, found, repair, inputs = case
    low: list[Edit] = [Precision(s.name, 8) for s in sites(network.graph)]
    cut: list[Edit] = [found.width("7.body.3", 8)]
    scorer = Scorer(network, found, repair, inputs, [low, cut, low + cut])
    harm, error = scorer.scored(low)
    # values near a border of two levels fall to either side on other processors: .0208 to .0216 nats, beside .214
    assert 0 < harm < 0.1 * scorer.damage(cut) + error
    assert error < 0.5 * harm
    assert scorer.damage(low + cut) == pytest.approx(scorer.damage(cut), rel=0.2)


def test_many_widths_are_read_between_few(case: Case) -> None:
    network, _, found, repair, inputs = case
    widths = Decision("8.body.0", "width", tuple(
        Option(str(w), (Width("8.body.0", tuple(range(w))),) if w < 32 else ()) for w in range(32, 0, -2)
    ))  # fmt: skip
    widths = replace(widths, options=(*widths.options, Option("skip", (Skip("8.add"),))))
    offered = Offer(Menu(network.graph.key, (widths,)), (), {"8.add": ("8.body.0",)})
    menu, known = damage(network, offered, found, repair, inputs, plan=replace(WHOLE_PLAN, widths=3))
    d = 0
    table = next(t.table for t in menu.terms if t.on == (d,))
    options = menu.decisions[d].options
    assert len(options) == 17  # 32, 30, ..., 2 and skip
    assert len(known.damage) == 4  # 30, 16, 2 and skip
    measured = [1, 8, 15]
    for a, b in itertools.pairwise(measured):
        between = table[a + 1 : b]
        assert (np.diff(table[a : b + 1]) * np.sign(table[b] - table[a]) > 0).all()
        assert ((between - table[a]) * (between - table[b]) < 0).all()


def test_sums_predict_the_truth(case: Case, priced: tuple[Menu, Profile]) -> None:
    from scipy.stats import spearmanr

    network, _, _, repair, inputs = case
    menu, found = priced
    predicted, true = additivity(menu, network, found, repair, inputs, np.random.default_rng(0), n=20)
    assert predicted.shape == true.shape == (20,)
    assert spearmanr(predicted, true).statistic > 0.8


def test_scores_leave_the_network_as_it_is(case: Case) -> None:
    """Arrays that an option does not touch are not copied, and none is written to; scores come in any order."""
    network, offered, found, repair, inputs = case
    whole = network.digest()
    options = [o.edits for d in offered.menu.decisions for o in d.options if o.edits]
    wanted = [found.real(edits) for edits in (options[0], options[-1], (Skip("3.add"),))]
    scorer = Scorer(network, found, repair, inputs, wanted)
    first = [scorer.damage(edits) for edits in wanted]
    assert network.digest() == whole
    again = [scorer.damage(edits) for edits in reversed(wanted)]
    assert again[::-1] == pytest.approx(first, rel=1e-3)


def test_a_damage_has_its_error_over_inputs(case: Case) -> None:
    network, _, found, repair, inputs = case
    edits = [found.width("7.body.3", 8)]
    scorer = Scorer(network, found, repair, inputs, [edits])
    mean, error = scorer.scored(edits)
    each = divergences(scorer.teacher, scorer.teacher + 0.0)
    assert each.shape == (len(scorer.inputs),)
    halves = [Scorer(network, found, repair, half, [edits]).damage(edits) for half in (inputs[:32], inputs[32:])]
    assert mean == pytest.approx(np.mean(halves), rel=0.2)
    assert abs(halves[0] - halves[1]) < 4 * error * np.sqrt(4)
    assert 0 < error < mean


@pytest.mark.parametrize("spoil", [np.nan, np.inf])
def test_a_damage_that_is_not_finite_is_refused_where_it_is_made(
    case: Case, monkeypatch: pytest.MonkeyPatch, spoil: float
) -> None:
    network, offered, found, repair, inputs = case
    monkeypatch.setattr(Scorer, "_divergences", lambda self, edits: np.full(len(self.inputs), spoil))
    with pytest.raises(
        ChipfitError, match=r"model 'guest': the damage of leaving out '3.add' on 64 inputs is (nan|inf)"
    ):
        damage(network, offered, found, repair, inputs, model="guest")


def test_no_inputs_are_no_damage_of_zero(case: Case) -> None:
    network, offered, found, repair, inputs = case
    with pytest.raises(ChipfitError, match="on 0 inputs is nan"):
        damage(network, offered, found, repair, inputs[:0])
