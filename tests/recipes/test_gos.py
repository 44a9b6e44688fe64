"""Programs in a fit: searched for what is slow, offered where the device profits, told in the report, and kept."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
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
    assert found.why.startswith("the time was too short to look at all programs for ")
    assert found.short == ""


def _hurried(left: float, step_s: float) -> Deadline:
    """A deadline in so many seconds, on a clock that goes on a little whenever it is read."""
    now = [0.0]

    def clock() -> float:
        now[0] += step_s
        return now[0]

    return Deadline(left, clock)


def test_a_search_that_was_cut_short_says_so_beside_what_it_found(entries: list[Entry], dataset: Dataset) -> None:
    whole = searched(entries[1], dataset, Timing(Null(), Memory()), KNOWN, Deadline.never())
    assert whole.grown
    assert whole.short == ""
    hurried = _hurried(60.0, 0.5)
    less = searched(entries[1], dataset, Timing(Null(), Memory()), KNOWN, hurried)
    assert 0 < less.tried < whole.tried
    kinds = rf"[1-9] of {len(gos.kinds(entries[1].network.graph, whole.slow))} kinds? of layers"
    assert re.match(rf"the time was too short to look at all programs for {kinds}", less.short or less.why)


def test_the_slowest_kinds_of_layers_get_most_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, given, told = [0.0], list[float](), list[str]()

    def evolved(*args: Any) -> int:
        before = now[0]
        while len(given) < 2 and not args[-1]():  # the first two take all that they get, the last nothing
            now[0] += 0.25
        given.append(now[0] - before)
        return 1

    def looks(share: float) -> Any:
        return SimpleNamespace(alike=SimpleNamespace(share=share, place=None), trades=lambda: ())

    monkeypatch.setattr(gos, "evolved", evolved)
    monkeypatch.setattr(gos, "seeds", lambda _: ())
    until = Deadline(100.0, lambda: now[0])
    tried, cut = gos._grow([looks(0.6), looks(0.3), looks(0.1)], 0, "", None, 0, until, told.append)
    assert (tried, cut) == (3, 2)
    assert given == pytest.approx([60.0, 30.0, 0.0], abs=0.5)
    assert told[-1] == "3 programs looked at for 3 of 3 kinds of layers"
    given[:] = [0.0, 0.0]
    gos._grow([looks(0.6)], 0, "", None, 0, until, told.append)
    assert told[-1] == "1 program looked at for 1 of 1 kind of layers"


def test_kept_layers_and_hardware_that_is_designed_along_have_no_programs(
    entries: list[Entry], dataset: Dataset
) -> None:
    every = tuple(o.name for o in entries[1].network.graph)
    kept = searched(entries[1], dataset, Timing(Null(), Memory()), replace(KNOWN, keep=every), Deadline.never())
    assert kept.grown == ()
    assert "is kept as it is" in kept.why
    timing = Timing(Accelerator("accel:zcu102"), Memory())
    designed = searched(entries[0], dataset, timing, KNOWN, Deadline.never())
    assert designed.slow
    assert "hardware" in designed.why
