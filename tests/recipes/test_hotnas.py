"""An accelerator as the device of a fit: edits and hardware together, files, reports, other limits; nothing anew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chipfit.core.errors import Infeasible
from chipfit.core.graph import Network
from chipfit.core.types import Limit
from chipfit.device.accelerator.breakdown import LayerTime
from chipfit.device.accelerator.device import Accelerator
from chipfit.evaluate import damage, modelled
from chipfit.export.dummy import random_weights
from chipfit.nets.load import load_models
from chipfit.recipes import hotnas
from chipfit.recipes.cost_front import LOST, cost_front
from chipfit.recipes.hotnas import knobs, thinned
from chipfit.recipes.settings import Settings
from chipfit.report.card import model_card
from chipfit.report.page import html
from chipfit.report.view import view
from chipfit.store.store import Store
from recipes import small
from recipes.accelerated import SETTINGS, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("accelerator") / "run"
    run(folder)
    return folder


def test_the_stages_are_told_by_their_published_names(finished: Path) -> None:
    with Store(finished, read_only=True) as store:
        told = store.fact("told")
        assert list(dict.fromkeys(told)) == ["iSearch", "iDetect", "iSpace", "iDesign", "iRefine"]  # type: ignore[arg-type]
        assert set(store.fact("bottlenecks")) == {"plain", "residual"}  # type: ignore[arg-type]


def test_the_answer_holds_its_budget_with_a_design_that_fits(finished: Path) -> None:
    with Store(finished, read_only=True) as store:
        (final,) = store.trials(role="final")
        latency = final.measured("latency_ms")
        assert latency.provenance == "simulated"
        assert latency.details["dsp"] <= 32
        assert Limit.parse(str(store.fact("budgets")[0]).replace(" <= ", "=")).met(latency.value, 1e-4)  # type: ignore[index]
        assert final.labels["format"] == "onnx-fixed"
        assert final.get("accuracy") > 0.6


def test_report_and_card_tell_of_the_hardware(finished: Path) -> None:
    with Store(finished, read_only=True) as store:
        seen = view(store)
    (design,) = seen.hardware.files.values()
    final = next(r for r in seen.rows if r.role == "final")
    assert design.latency_ms == pytest.approx(final.latency.value)  # type: ignore[union-attr]
    assert sum(row.ms for row in design.layers) == pytest.approx(design.latency_ms)
    fixed = [row for row in design.layers if row.macs and row.weight_bits == 16]
    assert all((row.weight_integer_bits or 0) + (row.weight_fraction_bits or 0) == 16 for row in fixed)
    page, card = html(seen), model_card(seen)
    for name in ("hardware-roofline", "hardware-bottlenecks", "hardware-layers"):
        assert name in page
    assert "## Hardware" in card
    assert "best/hardware.json" in card
    json.dumps(seen.hardware.front)


@pytest.mark.long
def test_killed_it_is_taken_up_and_ends_in_the_same_choice(finished: Path, tmp_path: Path) -> None:
    """Killed while designs are searched, with damages stored: they are not scored again."""
    with Store(finished, read_only=True) as store:
        want = store.trials(role="final")[0]
    tests = Path(__file__).parents[1]
    here = os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), os.environ["PYTHONPATH"]])}
    program = [sys.executable, str(Path(__file__).with_name("accelerated.py")), str(tmp_path / "run"), str(KILLED_AT)]
    assert subprocess.run(program, env=here, check=False).returncode == -signal.SIGKILL
    with Store(tmp_path / "run", read_only=True) as store:
        assert any(name.startswith("bottlenecks") for name in store.facts())
        assert not store.trials(role="final")
    (found,) = run(tmp_path / "run")
    assert (found.candidate, found.get("latency_ms")) == (want.candidate, want.get("latency_ms"))


KILLED_AT = 230
"""A step on the disk after menus were opened and before the answer."""


def test_another_limit_damages_nothing_anew(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an option was scored again")

    monkeypatch.setattr(damage.Scorer, "scored", refuse)
    with Store(finished) as store:
        store.set_fact("finished", False)
    (final,) = run(finished, replace(SETTINGS, budgets=((Limit("latency_ms", 0.8, relative=True),),)))
    assert final.labels["budget"] != ""


def test_less_hardware_is_another_answer_on_the_same_damages(finished: Path) -> None:
    def reference_ms() -> float:
        with Store(finished) as store:
            store.set_fact("finished", False)
            return store.fact("reference")["latency_ms"]  # type: ignore[index,call-overload,return-value]

    before = reference_ms()
    (final,) = run(finished, device="accel:pynq-z2/dsp=16")
    assert final.measured("latency_ms").details["dsp"] <= 16
    assert before < reference_ms()
    assert final.get("latency_ms") == pytest.approx(0.6 * reference_ms(), rel=0.05), "a share of what it takes there"


def test_hardware_that_fits_nothing_ends_in_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(Infeasible, match="no design fits pynq-z2") as told:
        run(tmp_path / "none", device="accel:pynq-z2/bram18=2", steps=1)
    assert told.value.nearest["bram18"] > 2


def row(**parts: float) -> LayerTime:
    four = tuple(parts.get(name, 0.1) for name in ("computing", "weights", "inputs", "outputs"))
    return LayerTime("", "conv", (3, 3), max(four), four)  # type: ignore[arg-type]


def test_each_bottleneck_opens_its_knob() -> None:
    graph = small.plain_graph()
    network = Network(graph, random_weights(graph, np.random.default_rng(0)))

    first, second = [o.name for o in graph if o.kind == "conv"]
    device = Accelerator("accel:zcu102")
    opened = knobs(network, device, (32, 8))
    rows = {r.op: r for r in device.chosen(graph).rows}
    for name in (first, second):
        assert opened[name].int8
        assert bool(opened[name].patterns) == (rows[name].bottleneck == "computing")
        assert bool(opened[name].formats) == (rows[name].bottleneck == "loading weights")
    assert not any(k.int8 for k in knobs(network, device, (32,)).values())


def test_formats_stop_where_the_next_thing_takes_over() -> None:
    assert hotnas._narrower(row(weights=0.4, inputs=0.1), 1) == ((1, 9), (1, 3))
    assert all(sum(bits) < 16 for bits in hotnas._narrower(row(weights=0.2, inputs=0.15), 3))


def test_kernels_grow_only_where_arithmetic_is_idle() -> None:
    assert hotnas._has_arithmetic_to_spare(row(computing=0.1, weights=0.1, inputs=0.3))
    assert not hotnas._has_arithmetic_to_spare(row(computing=0.2, weights=0.1, inputs=0.3))


def test_few_of_many_are_spread_and_end_with_the_last() -> None:
    assert thinned((1, 2, 3, 4, 5), 2) == (3, 5)
    assert thinned((1, 2), 3) == (1, 2)


def costs_of(folder: Path, limit: str) -> Path:
    (entry,) = load_models(["published:squeezenet1_1"], input_shape=(3, 32, 32))
    settings = Settings(budgets=((Limit.parse(limit),),))
    with Store.open_or_create(folder, {}) as store:
        cost_front([entry], Accelerator("accel:zcu102"), settings, store, lambda *_: None)
    return folder


def test_without_weights_costs_are_told_and_accuracy_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modelled, "MOST_TIMES", 3e5)
    monkeypatch.setattr("chipfit.recipes.cost_front.FRONT", (0.8, 0.6, 0.4))
    folder = costs_of(tmp_path / "costs", "latency_ms=50%")
    with Store(folder, read_only=True) as store:
        (final,) = store.trials(role="final")
        assert not final.has("accuracy")
        assert 0 < final.get(LOST) < 1
        front = [(t.get("latency_ms"), t.get(LOST)) for t in store.trials(role="candidate")]
        assert front == sorted(front, key=lambda p: -p[0])
        assert [lost for _, lost in front] == sorted(lost for _, lost in front)
        seen = view(store)
    assert "accuracy is unknown" in html(seen)
    assert seen.hardware.front
    with pytest.raises(Infeasible, match=r"no edits of squeezenet1_1 hold .*: the nearest takes .* most of it"):
        costs_of(tmp_path / "none", "latency_ms=0.0001")
