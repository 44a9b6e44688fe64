"""The network of NASFLAT, its losses, its pretraining and its transfers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from chipfit.core.errors import BadInput
from chipfit.evaluate.latency.base import Few, Networks, Tables
from chipfit.evaluate.latency.encode import chain, genes
from chipfit.evaluate.latency.gnn import Network, Shape
from chipfit.evaluate.latency.gnn_training import Graphs, Nasflat, Pretrained, Schedule, hinge

TINY = Nasflat(pretraining=Schedule(2, 8, 1e-3), transfer=Schedule(2, 8, 1e-3))


def cells(n: int, seed: int = 0) -> Networks:
    """Random cells."""
    codes = np.random.default_rng(seed).integers(0, 5, (n, 6))
    edges = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    return genes(list(map(str, range(n))), codes, ["none", "skip", "1x1", "3x3", "pool"], edges=edges)


def tables(n: int = 24, devices: int = 2) -> Tables:
    """Cells whose time is a sum over operators."""
    networks, rng = cells(n), np.random.default_rng(1)
    values = np.stack([rng.uniform(0.5, 2, 7)[networks.tokens].sum(1) for _ in range(devices)], 1)
    return Tables(networks, tuple(f"d{i}" for i in range(devices)), values)


def few(n: int = 10) -> Few:
    networks = cells(n, seed=2)
    return Few(networks, np.linspace(1, 3, 7)[networks.tokens].sum(1))


def test_published_number_of_parameters() -> None:
    used = sum(p.numel() for p in Network(Shape(published=True)).parameters())
    unused = 14 * 128 + 129 * 128 + 129 * 48  # the network of 13 proxies, which is there but not called without them
    zeros = 48  # fixed embedding of the input node
    assert used + unused + zeros == 433_057


def test_hinge_known_answers() -> None:
    values = torch.tensor([1.0, 2.0, 4.0])
    assert hinge(values, values) == 0
    assert hinge(torch.zeros(2), torch.tensor([1.0, 2.0])) == pytest.approx(0.1)
    assert hinge(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 2.0])) == pytest.approx(1.1)
    assert hinge(torch.ones(2), torch.tensor([3.0, 3.0])) == 0
    assert hinge(torch.tensor([0.0, 0.0, 9.0]), torch.tensor([1.0, 2.0, torch.nan])) == pytest.approx(0.1)


def test_hinge_of_scores_is_that_of_pairs_evaluated_one_by_one() -> None:
    network, graphs = Network(Shape(7, 1, 8)).eval(), Graphs.of(cells(6), faithful=False)
    values = torch.arange(6.0)
    device = network.device(torch.zeros(6, dtype=torch.long))
    at_once = hinge(network(graphs.tokens, graphs.reads, device), values)
    losses = []
    for i in range(6):
        for j in range(i):
            a, b = (network(graphs.tokens[[k]], graphs.reads[[k]], device[:1])[0] for k in (i, j))
            losses.append(torch.relu(0.1 - (a - b)))  # i > j is the slower
    torch.testing.assert_close(at_once, torch.stack(losses).mean())


def test_nodes_that_are_not_there_change_nothing() -> None:
    network, graphs = Network(Shape(7, 1)).eval(), Graphs.of(cells(5), faithful=False)
    tokens = torch.nn.functional.pad(graphs.tokens, (0, 3), value=-1)
    reads = torch.nn.functional.pad(graphs.reads, (0, 3, 0, 3))
    device = network.device(torch.zeros(5, dtype=torch.long))
    torch.testing.assert_close(network(tokens, reads, device), network(graphs.tokens, graphs.reads, device))


def test_the_order_of_inner_nodes_does_not_matter_without_positions() -> None:
    network, graphs = Network(Shape(7, 1)).eval(), Graphs.of(cells(5), faithful=False)
    order = [0, 3, 5, 1, 6, 2, 4, 7]
    device = network.device(torch.zeros(5, dtype=torch.long))
    turned = network(graphs.tokens[:, order], graphs.reads[:, order][:, :, order], device)
    torch.testing.assert_close(turned, network(graphs.tokens, graphs.reads, device))


def test_the_published_graph_of_a_chain_is_its_layers_alone() -> None:
    tokens, edges = chain(np.array([[4, 0, 8]]))
    graphs = Graphs.of(Networks(("a",), {}, tokens, edges), faithful=True)
    assert graphs.tokens.tolist() == [[6, 2, 10]]
    assert graphs.reads[0].equal(torch.eye(3))


@pytest.mark.parametrize("faithful", [False, True])
def test_the_same_seed_gives_the_same_predictions_and_stored_weights_too(faithful: bool) -> None:
    model = replace(TINY, faithful=faithful)
    before = torch.random.get_rng_state()
    one, two = (model.prepare(tables(), np.random.default_rng(3)) for _ in range(2))
    stored = Pretrained.of(model, two.devices, two.arrays())
    told = [p.fit(few(), np.random.default_rng(4)).predict(cells(9)) for p in (one, stored)]
    assert np.array_equal(*told)
    assert torch.random.get_rng_state().equal(before)


def test_a_sample_has_no_say_in_what_is_foretold_of_it() -> None:
    """With one repeat, changing a sample changes what is foretold of all but its own fold."""
    pretrained = TINY.prepare(tables(), np.random.default_rng(3))
    samples = few()
    other = samples.values.copy()
    other[4] *= 2
    a, b = (
        pretrained.fit(replace(samples, values=v), np.random.default_rng(4)).left_out for v in (samples.values, other)
    )
    same = a == b
    assert same[4]
    assert same.sum() == 2


def test_unknown_values_and_constant_devices_train() -> None:
    t = tables(devices=3)
    t.values[::3, 0] = np.nan
    t.values[5] = np.nan
    t.values[:, 1] = 5.0
    told = TINY.prepare(t, np.random.default_rng(0)).fit(few(), np.random.default_rng(0)).predict(cells(4))
    assert np.isfinite(told).all()


def test_pretraining_learns_the_order_on_the_sources() -> None:
    t = tables(40)
    pretrained = replace(TINY, pretraining=Schedule(12, 8, 2e-3)).prepare(t, np.random.default_rng(0))
    told = pretrained.foretold(t.networks)
    assert all(np.corrcoef(told[:, i], np.log(t.values[:, i]))[0, 1] > 0.9 for i in range(2))


def test_too_few_samples_and_no_device_are_said() -> None:
    pretrained = TINY.prepare(tables(), np.random.default_rng(0))
    with pytest.raises(BadInput, match="give at least 5"):
        pretrained.fit(few(4), np.random.default_rng(0))
    with pytest.raises(BadInput, match="at least one other device"):
        TINY.prepare(replace(tables(), devices=()), np.random.default_rng(0))


def test_an_operator_that_no_table_has_is_named() -> None:
    strange = few()
    strange.networks.tokens[3, 1] = 9
    with pytest.raises(BadInput, match="network '3' has operator 9; the tables' networks have 0 to 6"):
        TINY.prepare(tables(), np.random.default_rng(0)).fit(strange, np.random.default_rng(0))
