"""Programs in a fit: searched for what is slow, offered where the device profits, told in the report, and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from chipfit.core.data import Dataset
from chipfit.core.deadline import Deadline
from chipfit.core.types import Limit
from chipfit.data.load import load_data
from chipfit.device.accelerator.device import Accelerator
from chipfit.device.null import Null
from chipfit.evaluate.timing import Timing
from chipfit.nets.zoo import Entry
from chipfit.recipes import gos
from chipfit.recipes.fit import fit
from chipfit.recipes.gos import searched
from chipfit.report.page import html
from chipfit.report.view import view
from chipfit.space.program import parse
from chipfit.store.programs import ProgramLibrary
from chipfit.store.store import Store
from made_up import Memory
from recipes import small

KNOWN = replace(small.SETTINGS, train=False, epochs=None, programs="known")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_data("digits")


@pytest.fixture(scope="module")
def entries(dataset: Dataset) -> list[Entry]:
    return small.entries(dataset, steps=60)


def _fit(
    folder: Path,
    entries: list[Entry],
    dataset: Dataset,
    programs: str,
    library: ProgramLibrary | None = None,
    budget: float = 0.6,
) -> None:
    with Store.open_or_create(folder, {"programs": programs}) as store:
        limits = ((Limit("latency_ms", budget, relative=True),),)
        settings = replace(KNOWN, programs=programs, budgets=limits)
        fit(entries, dataset, [Null()], settings, store, Memory(), Deadline.never(), lambda *_: None, library=library)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry], dataset: Dataset) -> Path:
    folder = tmp_path_factory.mktemp("gos")
    with ProgramLibrary(folder / "programs.db") as library:
        _fit(folder / "run", entries, dataset, "known", library)
    return folder


def test_the_slowest_operators_and_the_programs_for_them_are_told(finished: Path) -> None:
    with Store(finished / "run", read_only=True) as store:
        found = view(store).operators
        page = html(view(store))
    residual = found["residual"]
    assert residual.why == ""
    assert residual.tried > 10
    text, place, layers, ms, harm, whole = residual.programs[0]
    assert parse(text)
    assert place.startswith("conv 3x3")
    assert layers >= 1
    assert ms < 0.9
    assert harm > 0
    assert whole < 1
    shares = [share for _, _, share, _ in residual.slowest]
    assert shares == sorted(shares, reverse=True)
    assert "<h2>The slowest operators</h2>" in page
    assert f"<code>{text}</code>" in page


def test_a_network_with_nothing_worth_replacing_says_so_and_has_the_menu_that_it_has_without(
    finished: Path, entries: list[Entry], dataset: Dataset, tmp_path: Path
) -> None:
    _fit(tmp_path, [e for e in entries if e.name == "plain"], dataset, "none", budget=1.05)
    with Store(finished / "run", read_only=True) as with_programs, Store(tmp_path, read_only=True) as without:
        told = view(with_programs).operators["plain"]
        assert told.programs == ()
        assert "no program" in told.why
        decisions = [cast(Any, store.fact("decisions"))["plain"] for store in (with_programs, without)]
        assert without.fact("operators") is None
        assert html(view(without)).count("The slowest operators") == 0
    assert decisions[0] == decisions[1]


def test_what_is_offered_is_on_the_menu_and_in_the_library_with_where_it_was_good(finished: Path) -> None:
    with Store(finished / "run", read_only=True) as store:
        offered = cast(dict[str, list[str]], store.fact("programs of residual"))
        decisions = {name: [label for label, _ in options] for name, kind, options in
                     cast(Any, store.fact("decisions"))["residual"] if kind == "swap"}  # fmt: skip
    assert offered
    assert {f"program:{layer}" for layer in offered} == set(decisions)
    for layer, texts in offered.items():
        assert decisions[f"program:{layer}"][1:] == texts
    with ProgramLibrary(finished / "programs.db") as library:
        known = {known.text: known for known in library.programs("null v1")}
    assert {text for texts in offered.values() for text in texts} <= known.keys()
    assert all(use.speedup > 1 for one in known.values() for use in one.uses)


def test_a_run_that_is_taken_up_again_has_the_programs_of_before(
    finished: Path, entries: list[Entry], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gos, "searched", lambda *_, **__: pytest.fail("searched again"))
    _fit(finished / "run", entries, dataset, "known")


def test_evolution_looks_at_more_than_what_is_known_and_begins_with_the_library(
    entries: list[Entry], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gos, "CHILDREN", {"known": 0, "evolved": 12})
    residual, timing = entries[1], Timing(Null(), Memory())
    few = searched(residual, dataset, timing, KNOWN, Deadline.never())
    many = searched(residual, dataset, timing, replace(KNOWN, programs="evolved"), Deadline.never())
    assert many.tried > few.tried
    with ProgramLibrary(tmp_path / "programs.db") as library:
        searched(residual, dataset, timing, replace(KNOWN, programs="evolved"), Deadline.never(), library=library)
        more = searched(residual, dataset, timing, KNOWN, Deadline.never(), library=library)
        own = [known.text for known in library.programs("null v1")]
    assert own
    assert {g.text for g in many.grown} <= set(own)
    assert more.tried >= few.tried


def test_a_search_without_time_offers_nothing_and_says_so(entries: list[Entry], dataset: Dataset) -> None:
    found = searched(entries[1], dataset, Timing(Null(), Memory()), KNOWN, Deadline.after(0.0))
    assert found.grown == ()
    assert found.why


def test_kept_layers_and_hardware_that_is_designed_along_have_no_programs(
    entries: list[Entry], dataset: Dataset
) -> None:
    every = tuple(o.name for o in entries[1].network.graph)
    kept = searched(entries[1], dataset, Timing(Null(), Memory()), replace(KNOWN, keep=every), Deadline.never())
    assert kept.grown == ()
    assert "no convolution" in kept.why
    timing = Timing(Accelerator("accel:zcu102"), Memory())
    designed = searched(entries[0], dataset, timing, KNOWN, Deadline.never())
    assert designed.slow
    assert "hardware" in designed.why
