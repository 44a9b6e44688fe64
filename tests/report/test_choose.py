"""The front, its knee and what is best under a budget."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipfit.core.errors import BadInput
from chipfit.core.types import Measurement, Provenance
from chipfit.report.budget import parse_budget
from chipfit.report.choose import best_under, comparable, front, headline, knee, nearest, pick, reference_row
from chipfit.report.row import Row
from chipfit.report.view import Reference, RunView


def row(name: str, share: float, ms: float, role: str = "candidate", kind: Provenance = "measured", **more: str) -> Row:
    found = (Measurement("accuracy", share, "measured", "validation"), Measurement("latency_ms", ms, kind))
    return Row(name.ljust(8, "0"), role, more.get("model", "m"), name, more.get("budget", ""), found)


points = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), max_size=30).map(
    lambda pairs: [row(f"r{n}", a / 20, float(ms)) for n, (a, ms) in enumerate(pairs)]
)


def numbers(r: Row) -> tuple[float, float]:
    assert r.quality is not None
    assert r.latency is not None
    return r.quality.value, r.latency.value


@given(points)
def test_the_front_holds_exactly_what_nothing_beats(rows: list[Row]):
    best = [numbers(r) for r in front(rows)]

    def beaten(p: tuple[float, float]) -> bool:
        return any(q != p and q[0] >= p[0] and q[1] <= p[1] for q in map(numbers, rows))

    assert sorted(best) == sorted({numbers(r) for r in rows if not beaten(numbers(r))})
    assert [ms for _, ms in best] == sorted(ms for _, ms in best)


def test_a_final_stands_for_the_candidate_that_it_is():
    candidate, final = row("ours from m", 0.9, 1.0), row("ours", 0.9, 1.0, "final")
    assert front([candidate, final]) == front([final, candidate]) == (final,)


def test_the_knee_by_hand():
    # Scaled to the unit square the points are (0, 0), (1/4, 3/4), (1/2, 0.8), (1, 1): 1/2 and 0.3 above the line.
    rows = [row("a", 0.5, 1.0), row("b", 0.8, 2.0), row("c", 0.82, 3.0), row("d", 0.9, 5.0)]
    turn = knee(front(rows))
    assert turn is not None
    assert turn.name == "b"
    assert knee(front(rows[:2])) is None
    straight = [row("a", 0.25, 1.0), row("b", 0.5, 2.0), row("c", 0.75, 3.0)]
    assert knee(front(straight)) is None


def test_predicted_and_simulated_latencies_do_not_compete_with_measured_ones():
    rows = [row("slow", 0.9, 5.0), row("sim", 0.95, 1.0, kind="simulated"), row("said", 0.99, 0.1, kind="predicted")]
    assert [r.name for r in comparable(rows)] == ["slow"]
    assert [r.name for r in front(rows[1:])] == ["sim"]
    assert front(rows[2:]) == ()


def test_on_a_foretold_device_predictions_stand_at_their_upper_ends_beside_what_was_measured():
    """One file that was measured at last does not put out of the race all that were not."""

    def told(name: str, share: float, low: float, high: float) -> Row:
        ms = Measurement("latency_ms", (low + high) / 2, "predicted", details={"low": low, "high": high})
        return Row(name, "candidate", "m", name, "", (Measurement("accuracy", share, "measured", "validation"), ms))

    rows = [row("taken", 0.9, 1.5), told("sure", 0.92, 1.8, 2.0), told("unsure", 0.95, 1.0, 2.6)]
    assert [r.name for r in comparable(rows)] == ["taken", "sure", "unsure"]
    assert [r.name for r in front(rows)] == ["taken", "sure", "unsure"]
    best = best_under(parse_budget("latency_ms<=2", {}), rows)
    assert best is not None
    assert best.name == "sure", "what is unsure does not win by it"


def test_without_labels_the_least_damage_is_best():
    def row_of(name: str, ms: float, damage: float | None) -> Row:
        found = [Measurement("latency_ms", ms, "measured")]
        found += [] if damage is None else [Measurement("damage", damage, "measured", "validation")]
        return Row(name, "candidate", "m", name, "", tuple(found))

    rows = [row_of("cut", 1.0, 0.3), row_of("less cut", 1.5, 0.1), row_of("untouched", 3.0, None)]
    found = [best_under(parse_budget(f"latency_ms<={ms}", {}), rows) for ms in (1, 2, 3)]
    assert [r and r.name for r in found] == ["cut", "less cut", "untouched"]


def test_of_one_design_that_scores_the_same_the_trained_file_is_the_answer():
    def made(name: str, share: float, ms: float, edits: str, steps: tuple[int, int] | None = None) -> Row:
        return replace(row(name, share, ms), edits=(edits,), steps=steps)

    rows = [made("untrained", 0.9, 1.0, "a"), made("trained", 0.9, 1.01, "a", (20, 20)), row("as it came", 0.9, 1.9)]
    budget = parse_budget("latency_ms<=2", {})
    assert best_under(budget, rows) is rows[1]
    assert best_under(budget, [*rows, made("cut", 0.9, 1.0, "a", (0, 20))]) is rows[1]
    assert best_under(budget, [*rows, made("other", 0.9, 0.9, "b")]).name == "other"  # type: ignore[union-attr]
    assert best_under(budget, [made("harmed", 0.8, 1.0, "a", (20, 20)), rows[0]]) is rows[0]


def test_best_under_a_budget_and_the_nearest_where_none_fits():
    rows = [row("a", 0.8, 1.0), row("b", 0.9, 2.0), row("twin", 0.9, 1.9), row("c", 0.95, 4.0)]

    def best(text: str) -> str | None:
        found = best_under(parse_budget(text, {}), rows)
        return found and found.name

    assert best("latency_ms<=2") == "twin"
    assert best("latency_ms<=100") == "c"
    assert best("latency_ms<=2, accuracy>=0.95") is None
    assert best("latency_ms<=0.5") is None
    assert best("size_mb<=1") is None
    close = nearest(parse_budget("latency_ms<=0.5", {}), rows)
    assert close is not None
    assert close.name == "a"
    assert nearest(parse_budget("size_mb<=1", {}), rows) is None


def run_of(*rows: Row, budgets: tuple[str, ...] = (), reference: str = "") -> RunView:
    limits = tuple(parse_budget(b, {}) for b in budgets)
    return RunView(Path("run"), rows, budgets=limits, reference=Reference(reference) if reference else None)


def test_the_headline_is_the_final_of_the_first_budget_that_is_met():
    tight = row("tight", 0.8, 1.0, "final", budget="latency_ms <= 1")
    loose = row("loose", 0.9, 2.0, "final", budget="latency_ms<=2")
    missed = row("missed", 0.99, 1.1, "final", budget="latency_ms<=1")
    budgets = ("latency_ms<=1", "latency_ms<=2")
    assert headline(run_of(loose, tight, missed, budgets=budgets)) is tight
    assert headline(run_of(loose, missed, budgets=budgets)) is loose
    assert headline(run_of(missed, budgets=budgets)) is missed
    assert headline(run_of(row("c", 0.9, 1.0))) is None


def test_the_reference_is_the_named_model_then_the_finals_own_then_the_best():
    small, big = row("small", 0.8, 1.0, "zoo", model="small"), row("big", 0.9, 2.0, "zoo", model="big")
    ours = row("ours", 0.85, 1.0, "final", model="small")
    assert reference_row(run_of(small, big, ours, reference="big"), ours) is big
    assert reference_row(run_of(small, big, ours), ours) is small
    assert reference_row(run_of(small, big)) is big
    assert reference_row(run_of(ours), ours) is None


def test_a_candidate_is_picked_by_name_or_key():
    old, new = row("ours", 0.8, 1.0, "final", budget="latency_ms<=1"), row("ours", 0.9, 1.0)
    run = run_of(old, new, row("resnet20", 0.9, 2.0, "zoo"))
    assert pick(run, "ours") is old
    assert pick(run, "resnet").name == "resnet20"
    with pytest.raises(BadInput, match=r"has no candidate 'renet20'; did you mean 'resnet20'\?; it has ours, resnet20"):
        pick(run, "renet20")
    with pytest.raises(BadInput, match="it has none with a name"):
        pick(run_of(), "ours")
