"""What the report reads, and that it keeps splits and provenances apart."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from chipfit.core.errors import BadInput
from chipfit.core.types import Candidate, Limit, Measurement, Trial
from chipfit.report.budget import parse_budget
from chipfit.report.row import Row, find
from chipfit.report.view import Parity, RunView, view
from chipfit.store.store import Store

MIXED = (
    Measurement("latency_ms", 0.5, "predicted"),
    Measurement("accuracy", 0.99, "predicted", "validation"),
    Measurement("accuracy", 0.90, "measured", "test"),
    Measurement("latency_ms", 0.7, "simulated"),
    Measurement("latency_ms", 0.6, "measured"),
    Measurement("accuracy", 0.91, "measured", "validation"),
    Measurement("damage", 0.1, "predicted"),
)


def a_row(*measurements: Measurement) -> Row:
    return Row("k", "final", "m", "ours", "", measurements)


def test_splits_and_provenances_are_told_apart():
    row = a_row(*MIXED)
    assert [m and m.value for m in (row.quality, row.test, row.latency, row.predicted)] == [0.91, 0.90, 0.6, 0.5]
    assert row.metric("accuracy") == row.quality
    assert row.metric("latency_ms") == row.latency
    assert row.metric("damage") == find(MIXED, "damage") == MIXED[-1]
    assert row.metric("size_mb") is None


def test_what_is_said_of_predictions_holds_for_the_files_of_the_run_too():
    """Networks left out are random ones; a file that a rule picked may be further off, and then the run says so."""
    far = replace(a_row(*MIXED), key="far")
    alone = RunView(Path("run"), rows=(a_row(MIXED[4]), far))
    assert far.prediction_error == pytest.approx(0.5 / 0.6 - 1)
    assert alone.prediction_words == "one file of this run with at most 16.7 %"
    random = Parity((1.0, 2.0), (1.0, 2.0), mape=0.01)
    both = replace(alone, latency=random, rows=(far, replace(far, key="again")))
    assert both.prediction_words.endswith("(nine in ten within 0.0 %), 2 files of this run with at most 16.7 %")


def test_a_prediction_never_stands_in_for_a_number():
    row = a_row(*(m for m in MIXED if m.provenance == "predicted"))
    assert row.quality is None
    assert row.latency is None


@pytest.mark.parametrize(
    ("text", "words", "excess"),
    [
        ("latency_ms <= 0.5", "latency ≤ 0.5 ms", 0.2),
        ("latency_ms<=0.6", "latency ≤ 0.6 ms", 0.0),
        ("accuracy >= 0.9", "accuracy ≥ 90 %", -0.01 / 0.9),
        ("latency_ms<=1.2, accuracy>=0.92", "latency ≤ 1.2 ms, accuracy ≥ 92 %", 0.01 / 0.92),
        ("latency_ms <= 50%", "latency ≤ 0.5 ms", 0.2),
        ("size_mb <= 2", "size ≤ 2 MB", None),
    ],
)
def test_budgets_are_read_said_and_held_against_measured_numbers(text: str, words: str, excess: float | None):
    budget = parse_budget(text, {"latency_ms": 1.0})
    assert budget.words == words
    assert budget.excess(a_row(*MIXED)) == pytest.approx(excess)
    assert budget.met(a_row(*MIXED)) == (excess is not None and excess <= 0)


def test_a_budget_is_met_to_the_digits_it_is_written_with():
    meant = Limit("latency_ms", 0.60004)
    assert parse_budget(str(meant), {}).met(a_row(Measurement("latency_ms", 0.60003, "measured")))
    assert not parse_budget(str(meant), {}).met(a_row(Measurement("latency_ms", 0.6005, "measured")))


@pytest.mark.parametrize("text", ["fast", "latency_ms < 5", "latency_ms <= 5 ms", "size_mb <= 50%", "speed <= 1"])
def test_budgets_that_cannot_be_read(text: str):
    with pytest.raises(BadInput):
        parse_budget(text, {"latency_ms": 1.0})


def test_relative_budgets_are_of_the_reference(a_store: Callable[..., Store]):
    store = a_store(("zoo", "big", 0.95, 4.0), budgets=["latency_ms<=25%"], reference={"name": "big"})
    assert view(store).budgets[0].words == "latency ≤ 1 ms"
    store.set_fact("reference", {"name": "big", "latency_ms": 8.0})
    assert view(store).budgets[0].words == "latency ≤ 2 ms"
    store.set_fact("reference", None)
    with pytest.raises(BadInput, match="relative, but the run has no reference latency_ms"):
        view(store)
    store.close()


def test_the_last_row_of_a_trial_counts(tmp_path: Path):
    with Store(tmp_path) as store:
        labels = {"role": "final", "model": "m", "name": "ours"}
        for found in ((MIXED[-2],), MIXED):
            store.append(Trial(Candidate({"x": 1}), found, labels=labels))
        store.append(Trial(Candidate({"x": 2}), error="failed", labels=labels))
        run = view(store)
    assert len(run.rows) == 2
    assert run.rows[0].measurements == MIXED
    assert run.of_role("final") == run.rows[:1]
    assert run.failed == run.rows[1:]


def test_labels_that_are_missing(tmp_path: Path):
    with Store(tmp_path) as store:
        candidate = Candidate({"model": "m", "choices": {"a": 8}})
        store.append(Trial(candidate))
        row = view(store).rows[0]
    assert (row.role, row.model, row.name, row.title) == (
        "candidate",
        "m",
        candidate.key[:8],
        f"{candidate.key[:8]} (m)",
    )
    assert row.choices == {"a": "8"}


def test_an_empty_run_has_nothing_to_say_and_says_so(tmp_path: Path):
    with Store(tmp_path) as store:
        run = view(store)
    assert (run.rows, run.device, run.budgets, run.latency, run.seed, run.finished) == ((), None, (), None, None, False)


def test_a_whole_run_is_read_whole(whole_run: Path):
    with Store(whole_run, read_only=True) as store:
        run = view(store)
        facts = store.facts()
    assert run.finished
    assert len(run.rows) == 50
    assert run.device is not None
    assert run.device.channel_block == {32: 8, 8: 16}
    assert run.dataset.sizes["validation"] == 6000
    assert run.latency is not None
    assert list(run.latency.true) == facts["table"]["measured"]  # type: ignore[index,call-overload]
    assert run.damage is not None
    assert run.damage.spearman == 0.962
    assert run.decisions["resnet20"][0].options[-1] == ("skip", 0)
    assert run.before[0][0] == "conv1"
    assert [why for _, why in run.test_reads] == ["the report's before/after table"]


def test_a_fact_of_another_shape_is_a_mistake_and_raises(a_store: Callable[..., Store]):
    with a_store(phases=[["price", "long"]]) as store, pytest.raises(ValidationError):
        view(store)
