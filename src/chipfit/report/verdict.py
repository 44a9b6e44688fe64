"""What came of a run in one sentence and four numbers."""

from __future__ import annotations

import math
from html import escape

from chipfit.core.types import Measurement
from chipfit.report.choose import budget_of, headline, reference_row
from chipfit.report.tables import speed_up
from chipfit.report.view import Row, RunView, find


def verdict(run: RunView) -> str:
    """The outcome as a sentence (HTML): speed and accuracy of the final model beside the reference."""
    final = headline(run)
    if final is None:
        return "This run has no final model yet." if not run.finished else "This run ended without a final model."
    base = reference_row(run, final)
    if base is None:
        return f"<b>{escape(final.title)}</b> was made; there is no untouched model to compare it with."
    ratio = speed_up(final, base)
    told = final.latency is not None and final.latency.provenance == "predicted"
    runs = "is predicted, not measured, to run" if told else "runs"
    speed = "" if ratio is None else f" {runs} <b>{_times(ratio)}</b> as {escape(base.name)}"
    change = _change(final, base)
    joined = " and ".join(part for part in (speed.strip(), change) if part)
    return f"<b>{escape(final.title)}</b> {joined or 'was measured; it cannot be compared with ' + escape(base.name)}."


def _times(ratio: float) -> str:
    return f"{ratio:.2f}× as fast" if ratio >= 1 else f"{1 / ratio:.2f}× as long"


def shown_pair(final: Row, base: Row) -> tuple[str, Measurement | None, Measurement | None]:
    """(split, final's accuracy, base's accuracy) on the test split where both have it, else on validation."""
    if final.test is not None and base.test is not None:
        return "test", final.test, base.test
    return "validation", final.accuracy, base.accuracy


def _change(final: Row, base: Row) -> str:
    split, ours, theirs = shown_pair(final, base)
    if ours is None or theirs is None:
        return ""
    points = 100 * (ours.value - theirs.value)
    error = 100 * math.hypot(ours.spread, theirs.spread)
    doubt = f" (±{error:.2f})" if error else ""
    word = "more" if points > 0 else "less"
    if round(abs(points), 2) == 0:
        return f"is as accurate{doubt} on the {split} split"
    return f"is <b>{abs(points):.2f} points</b>{doubt} {word} accurate on the {split} split"


def tiles(run: RunView) -> str:
    """Latency, accuracy, size and budget, before and after."""
    final = headline(run)
    if final is None:
        return ""
    base = reference_row(run, final)
    split, ours, theirs = shown_pair(final, base) if base is not None else ("validation", final.accuracy, None)
    size, old = find(final.measurements, "size_mb"), find(base.measurements, "size_mb") if base else None
    made = [
        _tile("latency", final.latency, base.latency if base else None, 1, ".3g", " ms"),
        _tile(f"{split} accuracy", ours, theirs, 100, ".2f", " %"),
        _tile("file size", size, old, 1, ".3g", " MB"),
        _budget(run, final),
    ]
    return f'<div class="tiles">{"".join(made)}</div>'


def _tile(
    what: str, after: Measurement | None, before: Measurement | None, scale: float, digits: str, unit: str
) -> str:
    if after is None:
        return ""
    was = f"from {before.value * scale:{digits}}{unit}" if before is not None else "&nbsp;"
    kind = f", {after.provenance}" if after.metric != "size_mb" else ""
    number = (
        f'<span class="big" data-value="{after.value!r}">{after.value * scale:{digits}}<small>{unit}</small></span>'
    )
    return f'<div class="tile"><span class="what">{what}{kind}</span>{number}<span class="was">{was}</span></div>'


def _budget(run: RunView, final: Row) -> str:
    budget = budget_of(run, final)
    excess = budget.excess(final) if budget is not None else None
    if budget is None or excess is None:
        return ""
    met = budget.met(final)
    state = '<span class="big good">met</span>' if met else '<span class="big bad">missed</span>'
    room = f"{100 * abs(excess):.1f} % {'to spare' if met else 'over'}"
    what = f'<span class="what">{escape(budget.words)}</span>'
    return f'<div class="tile">{what}{state}<span class="was">{room}</span></div>'
