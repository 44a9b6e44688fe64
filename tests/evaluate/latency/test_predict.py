"""A device known from a few samples: fitted, kept in a file, asked about networks, and standing in for the device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph
from chipfit.core.protocols import Device, Foretelling
from chipfit.core.types import Artifact
from chipfit.device.null import Null
from chipfit.evaluate.drawn import random_assignment
from chipfit.evaluate.latency.device import PredictedDevice
from chipfit.evaluate.latency.genes import Genes
from chipfit.evaluate.latency.predict import FittedPredictor, chosen, read_predictor
from chipfit.evaluate.latency.tables import Table
from chipfit.evaluate.latency.variants import variants
from chipfit.evaluate.price import pricer
from chipfit.evaluate.timing import Timing
from chipfit.export.formats import timing_artifact
from chipfit.nets.trace import trace
from chipfit.nets.zoo import BUILDERS
from chipfit.space.edits import apply
from chipfit.space.offer import offer
from chipfit.testing.device import DeviceLaws
from made_up import Memory

BLOCK = {32: 8, 8: 8}


def network() -> Graph:
    return trace(BUILDERS["resnet8"](), (1, 28, 28)).graph


def null_ms(graphs: list[Graph]) -> np.ndarray:
    return np.array([m.value for m in Null().measure([Artifact("onnx", b"", g) for g in graphs], "final")])


def table(n: int = 60, bits: tuple[int, ...] = (32, 8)) -> Table:
    """Variants of ResNet8 on two devices that were counted: one launches operators slowly, one computes slowly."""
    graphs = variants(network(), bits, BLOCK, n, np.random.default_rng(0))
    macs = np.array([g.total_macs for g in graphs], np.float64)
    nodes = np.array([len(g.ops) for g in graphs], np.float64)
    values = np.column_stack([1e-8 * macs + 4e-3 * nodes, 3e-8 * macs + 1e-3 * nodes])
    return Table(tuple(g.key[:8] for g in graphs), ("launcher", "cruncher"), values, "latency_ms", tuple(graphs))


@pytest.fixture(scope="module")
def predictor() -> FittedPredictor:
    whole = table()
    rows = chosen(whole, 20, np.random.default_rng(0))
    assert not isinstance(whole.networks, Genes)
    return FittedPredictor("null", whole, tuple(rows), null_ms([whole.networks[i] for i in rows]))


def test_variants_differ_and_reach_from_whole_to_little() -> None:
    graph = network()
    found = variants(graph, (32,), BLOCK, 50, np.random.default_rng(1))
    assert len({g.key for g in found}) == 50
    assert found[0].key == graph.key
    shares = [g.total_macs / graph.total_macs for g in found]
    assert min(shares) < 0.05
    assert np.ptp(np.histogram(shares, 4, (0, 1))[0]) < 30
    assert {o.bits for g in found for o in g} == {32}


def test_twenty_samples_foretell_the_others(predictor: FittedPredictor) -> None:
    graphs = variants(network(), (32, 8), BLOCK, 40, np.random.default_rng(7))
    told, true = predictor.predict_graphs(graphs), null_ms(graphs)
    assert np.median(np.abs(told.values / true - 1)) < 0.15
    assert np.all((told.low > 0) & (told.low < told.values) & (told.values < told.high))
    assert predictor.left_out_error < 0.2


def test_intervals_hold_what_they_say_over_draws_of_samples() -> None:
    """Any one draw of 20 may hold much more or less: the coverage of one has a standard deviation of .06."""
    whole = table()
    assert not isinstance(whole.networks, Genes)
    true, held = null_ms(list(whole.networks)), []
    for seed in range(8):
        rows = chosen(whole, 20, np.random.default_rng(seed))
        told = FittedPredictor("null", whole, tuple(rows), true[rows]).predict_table(whole)
        held.append(np.delete((told.low <= true) & (true <= told.high), rows).mean())
    assert 0.85 < np.mean(held) < 0.98


def test_likeness_has_a_band_and_an_order(predictor: FittedPredictor) -> None:
    sources = predictor.sources()
    assert {s.device for s in sources} == {"launcher", "cruncher"}
    assert sources[0].spearman >= sources[1].spearman
    assert all(s.least < s.spearman and s.n == 20 for s in sources)


def test_a_predictor_comes_back_from_its_file(predictor: FittedPredictor, tmp_path: Path) -> None:
    predictor.write(tmp_path / "p.npz")
    found = read_predictor(tmp_path / "p.npz")
    assert found.digest == predictor.digest
    graphs = [network()]
    np.testing.assert_array_equal(found.predict_graphs(graphs).high, predictor.predict_graphs(graphs).high)
    assert replace(found, values=found.values * 1.01).digest != predictor.digest


def test_files_that_are_no_predictors(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", a=np.ones(3))
    with pytest.raises(BadInput, match=r"is no predictor; make one with chipfit predict fit"):
        read_predictor(tmp_path / "p.npz")


def test_a_space_of_genes_is_predicted_by_tables_only() -> None:
    codes = np.random.default_rng(0).integers(0, 4, (40, 6))
    values = (1.0 + codes @ np.arange(1.0, 7.0))[:, None]
    space = Table(tuple(map(str, range(40))), ("source",), values, "cycles", Genes(codes, ("none", "a", "b", "c")))
    found = FittedPredictor("new", space, tuple(range(20)), 2 * values[:20, 0] + codes[:20, 0])
    told = found.predict_table(space)
    assert np.median(np.abs(told.values / (2 * values[:, 0] + codes[:, 0]) - 1)) < 0.1
    with pytest.raises(BadInput, match="knows networks by genes, not graphs"):
        found.predict_graphs([network()])
    with pytest.raises(BadInput, match="not of the space"):
        found.predict_table(replace(space, networks=Genes(codes, ("none", "a", "b", "d"))))
    with pytest.raises(BadInput, match="is of cycles; a device needs one of latency_ms"):
        PredictedDevice(found, Null)


class TestAPredictedDevice(DeviceLaws):
    _made: FittedPredictor

    @pytest.fixture(autouse=True)
    def _with(self, predictor: FittedPredictor) -> None:
        self._made = predictor

    def open(self) -> Device:
        return PredictedDevice(self._made, Null)

    def artifacts(self) -> list[Artifact]:
        return [timing_artifact(network())]

    def inputs(self) -> np.ndarray:
        return np.random.default_rng(0).normal(size=(3, 1, 28, 28)).astype(np.float32)

    def test_a_broken_artifact_fails_alone(self) -> None:
        pytest.skip("its bytes are not looked at: the graph tells")

    def test_it_says_that_it_predicts(self) -> None:
        device = self.open()
        assert isinstance(device, Foretelling)
        (m,) = device.measure(self.artifacts(), "final")
        assert m.provenance == "predicted"
        assert m.interval is not None
        low, high = m.interval
        assert 0 < low < m.value < high == m.bound
        assert "20 timings" in m.protocol
        profile = device.profile(self.artifacts()[0])
        assert sum(r.ms for r in profile) == pytest.approx(m.value)


def test_another_predictor_is_another_device(predictor: FittedPredictor) -> None:
    other = PredictedDevice(replace(predictor, values=2 * predictor.values), Null)
    assert other.facts().fingerprint != PredictedDevice(predictor, Null).facts().fingerprint


def test_precisions_are_those_of_the_samples() -> None:
    whole = table(30, (32,))
    assert not isinstance(whole.networks, Genes)
    only_float = FittedPredictor("f", whole, tuple(range(10)), null_ms(list(whole.networks[:10])))
    assert PredictedDevice(only_float, Null).facts().bits == (32,)


def test_menus_are_priced_by_the_upper_ends(predictor: FittedPredictor) -> None:
    """Tables fitted to whole networks that were predicted foretell what the predictor says of others."""
    graph = network()
    device = PredictedDevice(predictor, Null)
    offered = offer(graph, BLOCK)
    rng = np.random.default_rng(3)
    menu = pricer(Timing(device, Memory())).price(graph, offered, rng).menu
    assignments = [random_assignment(menu, rng) for _ in range(40)]
    bounds = [m.bound for m in device.foretell([apply(graph, menu.edits(a)) for a in assignments])]
    told = np.array([menu.total("latency_ms", a) for a in assignments])
    assert np.median(np.abs(told / bounds - 1)) < 0.1
    assert min(float(t.table.min()) for t in menu.terms) >= 0
