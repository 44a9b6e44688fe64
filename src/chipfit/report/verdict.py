"""What came of a run in one sentence and four numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from chipfit.core.metric import ACCURACY, Metric
from chipfit.core.types import Measurement
from chipfit.report.budget import ROUNDING
from chipfit.report.choose import budget_of, headline, reference_row, versions
from chipfit.report.row import Row, find
from chipfit.report.tables import share_lines, speed_up
from chipfit.report.view import RunView

Getter = Callable[[Row], Measurement | None]
RUNS = {"predicted": "is predicted, not measured, to run", "simulated": "is simulated, not measured, to run"}
"""Where a latency comes from to how its sentence begins; others were measured, or counted by a test."""


def verdict(run: RunView) -> str:
    """The outcome as a sentence (HTML): speed and quality of the final model beside the reference."""
    final = headline(run)
    if final is None:
        return "This run has no final model yet." if not run.finished else "This run ended without a final model."
    base = reference_row(run, final)
    if base is None:
        return f"<b>{escape(final.title)}</b> was made; there is no untouched model to compare it with."
    runs = RUNS.get(final.latency.provenance, "runs") if final.latency is not None else "runs"
    pair = versions(run, base)
    speeds = [_speed(final, r) for r in (base, *(r for r in pair if r is not base))]
    speed = " and ".join(s for s in speeds if s)
    as_it_came = pair[0] if pair else base
    change = _change(final, as_it_came, than=as_it_came is not base)
    joined = " and ".join(part for part in (f"{runs} {speed}" if speed else "", change) if part)
    return f"<b>{escape(final.title)}</b> {joined or 'was measured; it cannot be compared with ' + escape(base.name)}."


def _speed(final: Row, base: Row) -> str:
    ratio = speed_up(final, base)
    return "" if ratio is None else f"<b>{_times(ratio)}</b> as {escape(base.name)}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}× as fast" if ratio >= 1 else f"{1 / ratio:.2f}× as long"


def shown_pair(final: Row, base: Row) -> tuple[str, Measurement | None, Measurement | None]:
    """(split, final's quality, base's quality) on the test split where both have it, else on validation."""
    if final.test is not None and base.test is not None:
        return "test", final.test, base.test
    return "validation", final.quality, base.quality


def _change(final: Row, base: Row, than: bool) -> str:
    """The difference in quality; with `than` the one it is compared with is named."""
    split, ours, theirs = shown_pair(final, base)
    if ours is None or theirs is None:
        return ""
    if final.judged != ACCURACY:
        return _change_of(final.judged, ours, theirs, f" of {escape(base.name)}" if than else "", split)
    points = 100 * (ours.value - theirs.value)
    error = 100 * math.hypot(ours.spread, theirs.spread)
    doubt = f" (±{error:.2f})" if error else ""
    word, name = "more" if points > 0 else "less", escape(base.name)
    if round(abs(points), 2) == 0:
        return f"is as accurate{f' as {name}' if than else ''}{doubt} on the {split} split"
    other = f" than {name}" if than else ""
    return f"is <b>{abs(points):.2f} points</b>{doubt} {word} accurate{other} on the {split} split"


def _change_of(judged: Metric, ours: Measurement, theirs: Measurement, of: str, split: str) -> str:
    """Both numbers of another metric than accuracy, and which is better."""
    better = judged.rank(ours.value) > judged.rank(theirs.value)
    word = "the same as" if ours.value == theirs.value else "better than" if better else "worse than"
    value, error = (f"{m:{judged.digits}}" for m in (judged.scale * ours.value, judged.scale * ours.spread))
    unit = f" {judged.shown_unit}" if judged.shown_unit else ""
    doubt = f" (±{error})" if ours.spread else ""
    was = f"the {judged.scale * theirs.value:{judged.digits}}{unit}{of}"
    return f"has {judged.name} <b>{value}{unit}</b>{doubt}, {word} {was}, on the {split} split"


def tiles(run: RunView) -> str:
    """Latency, quality, size and budget, before (as it came and in int8 throughout) and after."""
    final = headline(run)
    if final is None:
        return ""
    base = reference_row(run, final)
    before = versions(run, base) or (() if base is None else (base,))
    split, ours, _ = shown_pair(final, before[0]) if before else ("validation", final.quality, None)
    shown = (lambda r: r.test) if split == "test" else (lambda r: r.quality)
    judged = final.judged
    unit = f" {judged.shown_unit}" if judged.shown_unit else ""

    def made(what: str, after: Measurement | None, get: Getter, scale: float, digits: str, unit: str) -> str:
        was = [(r.name, m) for r in before if (m := get(r)) is not None]
        return _tile(what, after, was, scale, digits, unit)

    return (
        '<div class="tiles">'
        + made("latency", final.latency, lambda r: r.latency, 1, ".3g", " ms")
        + made(f"{split} {judged.name}", ours, shown, judged.scale, judged.digits, unit)
        + made(
            "file size", find(final.measurements, "size_mb"), lambda r: find(r.measurements, "size_mb"), 1, ".3g", " MB"
        )
        + f"{_budget(run, final)}</div>"
    )


def _size(r: Row) -> Measurement | None:
    return find(r.measurements, "size_mb")


def _tile(
    what: str,
    after: Measurement | None,
    before: Sequence[tuple[str, Measurement]],
    scale: float,
    digits: str,
    unit: str,
) -> str:
    if after is None:
        return ""
    was = "<br>".join(f"{escape(name)} {m.value * scale:{digits}}{unit}" for name, m in before) or "&nbsp;"
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
    room = f"{100 * abs(excess):.1f} % {'to spare' if excess <= 0 else 'over'}"
    room += ", within the error of its measurement" if met and excess > ROUNDING else ""
    shares = "".join(f"<br>{escape(line)}" for line in share_lines(run, budget))
    what = f'<span class="what">{escape(budget.words)}</span>'
    return f'<div class="tile">{what}{state}<span class="was">{room}{shares}</span></div>'
