"""What comes last is set aside first; what there is no time for is left out by its weight, and told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from chipfit.core.data import Dataset, Split
from chipfit.core.deadline import Deadline
from chipfit.core.types import Limit
from chipfit.data.load import load_data
from chipfit.nets.zoo import Entry
from chipfit.recipes import teaching, time_plan
from chipfit.recipes.settings import Settings
from chipfit.recipes.state import Run
from chipfit.recipes.tuned import Tuned
from chipfit.store.arrays import ArrayFolder
from chipfit.store.store import Store
from recipes import small

SETTINGS = Settings(budgets=((Limit("latency_ms", 0.5, relative=True),),))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


@pytest.fixture(scope="module")
def entries(digits: Dataset) -> list[Entry]:
    return small.entries(digits, steps=2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open_or_create(tmp_path / "run", {"test": "time"}) as made:
        yield made


def a_run(store: Store, digits: Dataset, entries: list[Entry], left: float, now: list[float]) -> Run:
    late = Deadline.after(left, clock=lambda: now[0])
    tool = cast(Any, SimpleNamespace())
    made = Run(entries, digits, SETTINGS, store, tool, tool, late, lambda *_: None)
    made.file_s, made.score_s = 4.0, 1.0
    return made


def test_phases_end_in_order_and_leave_what_the_last_one_needs(
    store: Store, digits: Dataset, entries: list[Entry]
) -> None:
    now = [0.0]
    run = a_run(store, digits, entries, 100.0, now)
    last = time_plan.closing_s(run, time_plan.expected_files(run))
    assert last > 3 * run.file_s
    menus = time_plan.menus_until(run)
    assert 0 < menus.left() < 100 - last
    now[0] = menus.at
    assigned = time_plan.assigned_until(run)
    assert menus.at < assigned.at < 100 - last
    now[0] = assigned.at
    assert time_plan.trained_until(run, time_plan.expected_files(run)).at == pytest.approx(100 - last)
    short = a_run(store, digits, entries, 5.0, [0.0])
    assert time_plan.menus_until(short).left() == pytest.approx(1.25)  # no design, no file
    assert time_plan.trained_until(short, 1).passed()  # but no training


def tuned(name: str, role: str, steps: tuple[int, int] | None) -> Tuned:
    return Tuned(name, role, "plain", "b", cast(Any, None), (), {}, None, 0.0, steps)


def test_files_are_measured_by_their_weight_as_far_as_there_is_time(
    store: Store, digits: Dataset, entries: list[Entry]
) -> None:
    everyone = [tuned("ours, untrained", "candidate", None), tuned("uniform", "baseline", (9, 9)),
                tuned("ours", "candidate", (9, 9))]  # fmt: skip
    enough = a_run(store, digits, entries, 500.0, [0.0])
    assert [t.name for t in time_plan.in_time(enough, everyone)] == ["ours", "ours, untrained", "uniform"]
    assert store.fact("curtailed") is None
    late = a_run(store, digits, entries, 1.0, [0.0])
    assert [t.name for t in time_plan.in_time(late, everyone)] == ["ours"]
    assert store.fact("curtailed") == [["measure", "2 of 3 files are not measured"]]


def test_scores_are_of_fewer_inputs_where_a_network_is_slow(
    store: Store, digits: Dataset, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_plan, "FEWEST_SCORED", 20)
    late = Deadline.after(60.0, clock=lambda: 0.0)
    monkeypatch.setattr(time_plan, "pass_s", lambda _: 1e-6)
    assert time_plan.scored_in_time(digits, entries, SETTINGS, store, Deadline.never()) is digits
    assert time_plan.scored_in_time(digits, entries, SETTINGS, store, late) is digits
    store.set_fact("scored inputs", None)
    monkeypatch.setattr(time_plan, "pass_s", lambda _: 0.05)
    few = time_plan.scored_in_time(digits, entries, SETTINGS, store, late)
    assert 20 <= len(few.validation) < len(digits.validation)
    assert len(few.open_test()) <= 2 * len(few.validation)
    assert few.validation.targets is not None
    assert len(np.unique(few.validation.targets)) >= 7
    assert any(f"{len(few.validation)} validation inputs" in note for note in few.notes)
    monkeypatch.setattr(time_plan, "pass_s", lambda _: 1e-6)  # the machine is quick again: the run is not
    again = time_plan.scored_in_time(digits, entries, SETTINGS, store, late)
    assert len(again.validation) == len(few.validation)


def test_each_view_is_answered_once_for_all_runs(
    store: Store, digits: Dataset, entries: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(digits, train=Split(digits.train.inputs[:40], None), flip=True)
    run = a_run(store, few, entries, 1e6, [0.0])
    run.profiles = ArrayFolder(tmp_path / "profiles")
    asked: list[object] = []

    def counted(net: object, dataset: Dataset, view: Any, first: int | None = None) -> Any:
        if first is None:
            asked.append(view)
        return real(net, dataset, view, first)  # type: ignore[arg-type]

    real = teaching.answers
    monkeypatch.setattr(teaching, "answers", counted)
    two = teaching.taught(run, entries[0], 2, run.deadline)
    three = teaching.taught(run, entries[0], 3, run.deadline)  # a longer schedule, or another budget
    assert two is not None
    assert three is not None
    assert len(asked) == 3 == len(set(map(str, asked)))
    assert three.shifts[:2] == two.shifts
    np.testing.assert_array_equal(three.logits[:2].numpy(), two.logits.numpy())
    with Store.open_or_create(tmp_path / "other", {"test": "time"}) as other:
        elsewhere = a_run(other, few, entries, 1e6, [0.0])  # another device
        elsewhere.profiles = run.profiles
        assert teaching.taught(elsewhere, entries[0], 3, elsewhere.deadline) is not None
    assert len(asked) == 3


def test_answers_that_would_take_the_training_its_time_are_not_made(
    store: Store, digits: Dataset, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "view_s", lambda *_: 9.0)
    run = a_run(store, digits, entries, 20.0, [0.0])
    assert teaching.taught(run, entries[0], 2, run.deadline) is None
    assert store.fact("curtailed") == [["fine-tune", "0 of 2 views were answered by the teacher"]]
