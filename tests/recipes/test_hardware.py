"""The fact of a run's hardware: one accelerator, or several that one network is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipfit.core.graph import Graph
from chipfit.device.accelerator.device import Accelerator
from chipfit.device.accelerator.port import designing
from chipfit.device.null import Null
from chipfit.nets.trace import trace
from chipfit.recipes.hardware import Built, Design, write_designs
from chipfit.report.hardware import section, words
from chipfit.report.view import view
from chipfit.store.store import Store
from recipes import small

PARTS = ("pynq-z2", "zu3eg")


@pytest.fixture(scope="module")
def graph() -> Graph:
    return trace(small.residual().eval(), (1, 8, 8)).graph


def test_accelerators_design_hardware_and_other_devices_have_theirs() -> None:
    device = Accelerator("accel:pynq-z2")
    assert designing(device) is device
    assert designing(Null()) is None


def test_every_accelerator_of_one_model_is_told(graph: Graph, tmp_path: Path) -> None:
    designs = [Design(chosen, chosen) for part in PARTS for chosen in [Accelerator(f"accel:{part}").chosen(graph)]]
    with Store.open_or_create(tmp_path / "run", {}) as store:
        write_designs(store, [Built("file", "residual", designs)])
        fact = view(store).hardware
    design = fact.files["file"]
    assert [d.part for d in (design, *design.others)] == list(PARTS)
    assert [d.latency_ms for d in (design, *design.others)] == [d.after.latency_ms for d in designs]
    assert fact.before["residual"].part == PARTS[0]
    told = words(design)
    assert [part for part in PARTS if any(line.startswith(part) for line in told)] == list(PARTS)
    page = section(fact)
    assert page.count('<table id="hardware-layers') == len(PARTS)


def test_one_accelerator_has_no_others(graph: Graph, tmp_path: Path) -> None:
    with Store.open_or_create(tmp_path / "run", {}) as store:
        write_designs(store, [Built("file", "residual", [Design(Accelerator("accel:pynq-z2").chosen(graph))])])
        fact = view(store).hardware
        assert "others" not in store.fact("hardware")["files"]["file"]  # type: ignore[index, call-overload]
    assert fact.files["file"].others == ()
    assert fact.before == {}
