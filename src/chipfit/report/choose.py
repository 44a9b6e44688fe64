"""Choosing, not only plotting: the answer to a budget, the Pareto front and its knee.

Selection uses quality on validation (without targets the damage) and the latency that a file stands with. The test
split takes no part. What cost tables foretold of a file never counts. On a device of which every latency is foretold
with an interval, its upper end is what a file stands with, beside files that were measured there since: it is what
budgets are held against, so a prediction wins nothing by being unsure.
"""

from __future__ import annotations

from collections.abc import Sequence

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.types import Measurement, Provenance
from chipfit.report.budget import Budget
from chipfit.report.row import TRUE_LATENCY, Row, untouched_rows
from chipfit.report.view import RunView


def quality_of(row: Row) -> Measurement:
    """Quality on validation of a row that has it."""
    assert row.quality is not None
    return row.quality


def _rank(row: Row) -> float:
    """Its quality with the sign by which more is better."""
    return row.judged.rank(quality_of(row).value)


def latency_of(row: Row) -> Measurement:
    """Latency of a row that has it."""
    assert row.latency is not None
    return row.latency


def standing_ms(row: Row) -> float:
    """The milliseconds that a row with a latency competes with: of a prediction the upper end."""
    return latency_of(row).bound


def _standing(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Rows whose latencies may be compared: of the most trusted provenance there is, and foretold ones beside it."""
    timed = [r for r in rows if r.error is None and r.latency is not None]
    present: set[Provenance] = {latency_of(r).provenance for r in timed}
    best = next((p for p in TRUE_LATENCY if p in present), None)
    return tuple(r for r in timed if latency_of(r).provenance in (best, "predicted"))


def comparable(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Rows with quality on validation and latencies that may be compared."""
    return _standing([r for r in rows if r.quality is not None])


def best_under(budget: Budget, rows: Sequence[Row]) -> Row | None:
    """The answer to a budget: of all rows that hold it, whatever their origin, the one of most merit.

    Of equals the faster one, and of equals in that too the one that was chosen before (its role is "final"). But of one
    design the trained file: on few inputs it often scores as the repaired one does, and 1e-5 ms would decide.
    """
    holding = [r for r in _standing(rows) if budget.met(r)]
    best = max(holding, key=lambda r: (r.merit, -standing_ms(r), r.role == "final"), default=None)
    if best is None or not best.edits:
        return best
    alike = [r for r in holding if (r.merit, r.model, r.edits) == (best.merit, best.model, best.edits)]
    return max(alike, key=lambda r: (bool(r.steps and r.steps[0]), -standing_ms(r), r.role == "final"))


def front(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Comparable rows that no other beats in quality and latency at once, the fastest first.

    Of rows with equal numbers the final stays (it is some candidate's file), else the first.
    """
    ordered = sorted(comparable(rows), key=lambda r: (standing_ms(r), -_rank(r), r.role != "final"))
    kept: list[Row] = []
    for r in ordered:
        if not kept or _rank(r) > _rank(kept[-1]):
            kept.append(r)
    return tuple(kept)


def knee(points: Sequence[Row]) -> Row | None:
    """The point of a front that lies farthest above the line between its ends; None where no point does.

    Both axes are scaled to the range of the front (Das 1999, "On characterizing the knee of the Pareto curve").
    """
    if len(points) < 3:
        return None
    first, last = points[0], points[-1]
    width = standing_ms(last) - standing_ms(first)
    height = _rank(last) - _rank(first)

    def above(r: Row) -> float:
        x = (standing_ms(r) - standing_ms(first)) / width
        return (_rank(r) - _rank(first)) / height - x

    best = max(points, key=above)
    return best if above(best) > 0 else None


def nearest(budget: Budget, rows: Sequence[Row]) -> Row | None:
    """The row that misses a budget by least."""
    missing = [(e, r) for r in _standing(rows) if (e := budget.excess(r)) is not None]
    return min(missing, key=lambda pair: pair[0])[1] if missing else None


def pick(run: RunView, name: str) -> Row:
    """The row of a name, or of the beginning of a key; of several the final one, then the last.

    Raises:
        BadInput: no such row.
    """
    found = [r for r in run.rows if r.name == name or (len(name) >= 4 and r.key.startswith(name))]
    if not found:
        known = dict.fromkeys(r.name for r in run.rows if r.role != "candidate")
        hint = did_you_mean(name, (*known, *(r.name for r in run.rows)))
        raise BadInput(
            f"run {run.path} has no candidate {name!r}{hint}; it has {', '.join(known) or 'none with a name'}"
        )
    return max(enumerate(found), key=lambda pair: (pair[1].role == "final", pair[0]))[1]


def budget_of(run: RunView, row: Row) -> Budget | None:
    """The budget that a row was made for; the run's only one where the row does not say."""
    named = next((b for b in run.budgets if _same(b.text, row.budget)), None)
    return named or (run.budgets[0] if len(run.budgets) == 1 and not row.budget else None)


def _same(a: str, b: str) -> bool:
    return a.replace(" ", "") == b.replace(" ", "")


def headline(run: RunView) -> Row | None:
    """The final model that the report leads with: within the first budget that one meets, else the best."""

    def rank(r: Row) -> tuple[int, float]:
        budget = budget_of(run, r)
        met = budget is not None and budget.met(r)
        return len(run.budgets) - run.budgets.index(budget) if budget and met else 0, r.merit

    return max(run.of_role("final"), key=rank, default=None)


def reference_row(run: RunView, final: Row | None = None) -> Row | None:
    """The untouched file to compare with: the run's reference, else the final's own model, else the best."""
    zoo = run.of_role("zoo")
    named = [r for r in untouched_rows(run.rows) if run.reference is not None and r.name == run.reference.name]
    own = [r for r in zoo if final is not None and r.model == final.model]
    best = sorted((r for r in zoo if r.quality is not None), key=lambda r: -_rank(r))
    return next(iter([*named, *own, *best]), None)


def versions(run: RunView, base: Row | None) -> tuple[Row, ...]:
    """The untouched files of the model of `base`: as it came first, then in int8 throughout where that was made."""
    return () if base is None else tuple(r for r in untouched_rows(run.rows) if r.model == base.model)
