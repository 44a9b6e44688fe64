"""Timings for a predictor and a fit for a predicted device, whole and small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chipfit.core.deadline import Deadline
from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph
from chipfit.core.types import HIGH, LOW, Artifact, Fidelity, Limit, Measurement
from chipfit.data.load import load_data
from chipfit.device.null import Null
from chipfit.evaluate.joint import JointTiming
from chipfit.evaluate.latency.genes import Genes
from chipfit.evaluate.latency.tables import Table
from chipfit.evaluate.timing import Timing
from chipfit.recipes import predict
from chipfit.recipes.check import check
from chipfit.recipes.fit import fit
from chipfit.recipes.settings import Settings
from chipfit.report.card import model_card
from chipfit.report.page import page
from chipfit.report.view import view
from chipfit.store.store import Store
from made_up import Memory
from recipes import small

WIDE = 1.25


class Foretold(Null):
    """A device that is foretold: a quarter more or less than what `Null` counts."""

    name = "predicted:null"

    def foretell(self, graphs: Sequence[Graph]) -> list[Measurement]:
        counted = super().measure([Artifact("onnx", b"", g) for g in graphs], "final")
        return [
            replace(
                m, provenance="predicted", where=f"{self.name} 0123", protocol="predicted from 20 timings",
                details={LOW: m.value / WIDE, HIGH: m.value * WIDE},
            )
            for m in counted
        ]  # fmt: skip

    def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
        return self.foretell([a.graph for a in artifacts])


@pytest.fixture(scope="module")
def models() -> list[small.Entry]:
    return small.entries(load_data("digits"), 60)


def test_shares_of_models_and_their_names(models: list[small.Entry]) -> None:
    found = predict.candidates(models, (32,), 13, np.random.default_rng(0))
    assert [sum(n.startswith(m.name) for n in found.names) for m in models] == [7, 6]
    assert found.devices == ()
    with pytest.raises(BadInput, match=r"can be changed into \d+ networks, not 5000"):
        predict.candidates(models[:1], (32,), 5000, np.random.default_rng(0))


def test_networks_that_a_device_computes(models: list[small.Entry]) -> None:
    both = predict.candidates(models, (32, 8), 20, np.random.default_rng(0))
    some = predict.computable(both, (32,))
    assert 0 < len(some) < len(both)
    genes = Table(("a",), (), np.zeros((1, 0)), "latency_ms", Genes(np.zeros((1, 3), np.int64), ("x",)))
    with pytest.raises(BadInput, match="genes, not graphs"):
        predict.computable(genes, (32,))


def test_what_was_measured_is_kept_and_not_measured_again(models: list[small.Entry]) -> None:
    networks = predict.candidates(models, (32,), 10, np.random.default_rng(0))
    kept = []

    class Killed(Null):
        left, seen = 2, 0

        def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
            assert fidelity == "final"
            if not self.left:
                raise KeyboardInterrupt
            self.left, self.seen = self.left - 1, self.seen + len(artifacts)
            return super().measure(artifacts, fidelity)

    nothing = np.full((10, 1), np.nan)
    device = Killed()
    with pytest.raises(KeyboardInterrupt):
        predict.measure(networks, [Timing(device, Memory())], nothing, lambda v: kept.append(v.copy()), lambda *_: None)
    assert [int((~np.isnan(v)).sum()) for v in kept] == [4, 8]
    again = Killed()
    values = predict.measure(networks, [Timing(again, Memory())], kept[-1], lambda v: None, lambda *_: None)
    assert (device.seen, again.seen) == (8, 2)
    assert not np.isnan(values).any()


def test_a_predicted_budget_is_held_by_the_upper_end(models: list[small.Entry], tmp_path: Path) -> None:
    dataset = load_data("digits")
    settings = Settings(budgets=((Limit("latency_ms", 0.7, relative=True),),), train=False, bits=(32,), baselines=False)
    with Store.open_or_create(tmp_path / "run", {"test": "predicted"}) as store:
        (final,) = fit(
            models, dataset, [Foretold()], settings, store, store.memory, Deadline.never(), lambda *_: None
        )  # fmt: skip
        run = view(store)
        text = page(store).read_text()
    (told,) = [m for m in final.measurements if m.metric == "latency_ms"]
    assert told.provenance == "predicted"
    (budget,) = run.budgets
    assert told.bound <= 1.005 * budget.limits[0].value
    assert told.bound > 0.6 * budget.limits[0].value
    (row,) = run.of_role("final")
    assert budget.met(row)
    assert row.predicted is None
    assert run.latency is None, "predictions are no measurements of tables"
    card = model_card(run)
    assert "(predicted, " in card
    assert "not measured on the device" in card
    assert "predicted, not measured, to run" in text
    given = Measurement("latency_ms", 2 * told.value, "measured", "null", "given")
    measured = replace(row, measurements=(*row.measurements, given))
    assert measured.latency == given
    assert measured.predicted == told
    assert not budget.met(measured)


def test_check_by_the_upper_end(models: list[small.Entry]) -> None:
    limit = [Limit("latency_ms", 0.8, relative=True)]
    found = check(models[1], Foretold(), limit, Memory(), bits=(32,))
    assert found.foretold
    assert found.feasible
    as_it_is = found.reference["latency_ms"]
    assert found.predicted["latency_ms"] <= 0.8 * as_it_is
    tight = check(models[1], Foretold(), [Limit("latency_ms", 1.1 * as_it_is)], Memory(), bits=(32,))
    assert tight.suggestion, "the network as it came takes 1.25 times its value at the upper end"


def test_no_joint_fit_rests_on_a_prediction() -> None:
    with pytest.raises(BadInput, match="is predicted"):
        JointTiming([Null(), Foretold()], Memory())
