"""The tables and words of the page, as HTML. Each cell with a number carries it unrounded in `data-value`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from chipfit.core.metric import ACCURACY, Metric
from chipfit.core.types import Measurement
from chipfit.report.budget import ROUNDING, Budget
from chipfit.report.choose import best_under, budget_of, front, headline, knee, nearest, reference_row
from chipfit.report.row import Row, find, untouched_rows
from chipfit.report.view import RunView

NONE = '<td class="none">–</td>'


def cell(m: Measurement | None, scale: float = 1.0, digits: str = ".3g", *, usual: str = "measured") -> str:
    """A number with its standard error, and its provenance where that is not the usual one of its column."""
    if m is None:
        return NONE
    if m.interval is not None:
        value, error = minus(f"{m.value * scale:{digits}}"), between(m, scale, digits)
    else:
        value, error = rounded(m, scale, digits)
        error = f"±{error}" if error else ""
    error = f'<span class="se"> {error}</span>' if error else ""
    tag = "" if m.provenance == usual else f' <span class="tag">{m.provenance}</span>'
    return f'<td data-value="{m.value!r}" data-metric="{escape(m.metric)}">{value}{error}{tag}</td>'


def rounded(m: Measurement, scale: float, digits: str) -> tuple[str, str]:
    """(value, standard error): both to two digits of the error, or the value in a stated format where there is none."""
    error = m.spread * scale
    if not (error > 0 and math.isfinite(error)):
        return minus(f"{m.value * scale:{digits}}"), ""
    places = max(0, 1 - math.floor(math.log10(error)))
    return minus(f"{m.value * scale:.{places}f}"), f"{error:.{places}f}"


def between(m: Measurement, scale: float, digits: str) -> str:
    """The interval of a prediction in brackets; nothing where there is none."""
    return "" if m.interval is None else f"({' to '.join(minus(f'{v * scale:{digits}}') for v in m.interval)})"


def minus(number: str) -> str:
    """The number with a typographic minus."""
    return number.replace("-", "−")


def row_of(cells: Iterable[str], head: str, name: str = "") -> str:
    """A table row of ready cells behind a heading cell."""
    return f'<tr data-row="{escape(name or head)}"><th scope="row">{head}</th>{"".join(cells)}</tr>'


def table(columns: Sequence[str], rows: Iterable[str], name: str) -> str:
    """A table that scrolls sideways on a narrow screen."""
    head = "".join(f'<th scope="col">{c}</th>' for c in columns)
    return f'<div class="wide"><table id="{name}"><thead><tr>{head}</tr></thead>{"".join(rows)}</table></div>'


def groups(run: RunView) -> tuple[tuple[str, Sequence[Row]], ...]:
    """(title, rows) of the table: untouched models, the same in int8, rivals under the budgets, and the answers."""
    whole = untouched_rows(run.rows)
    return (
        (came(run), run.of_role("zoo")),
        ("The same in int8 throughout", [r for r in whole if r.role == "baseline"]),
        ("Rivals under the same budgets", [r for r in run.of_role("baseline") if r.budget]),
        ("Ours: the best measured file within each budget", run.of_role("final")),
    )


def came(run: RunView) -> str:
    """What untouched models are called: those of the zoo by that name."""
    named = run.config.get("models", ())
    models = [str(m) for m in named] if isinstance(named, Sequence) and not isinstance(named, str) else []
    return "As they came from the zoo" if models and all(m.startswith("zoo:") for m in models) else "As they came"


def before_after(run: RunView) -> str:
    """Untouched models, rivals and ours, with quality, latency, its prediction and the file's size."""
    base = reference_row(run, headline(run))
    body = []
    for title, rows in groups(run):
        if rows:
            heading = f'<tr class="group"><th colspan="9" scope="rowgroup">{title}</th></tr>'
            body.append(f"<tbody>{heading}{''.join(_line(run, r, base) for r in rows)}</tbody>")
    judged = run.task.metric
    columns = (
        "Model",
        f"Test {judged.title}",
        _validation(judged),
        "Latency, ms",
        "Predicted, ms",
        "Error",
        f"Speed-up over {escape(base.name)}" if base is not None else "Speed-up",
        "MB",
        "MACs, M",
    )
    return table(columns, body, "before-after") if body else '<p class="none">No model has been measured yet.</p>'


def share_lines(run: RunView, budget: Budget) -> list[str]:
    """What the limits of a budget are as shares, and of what (plain text)."""
    return [share for limit in budget.limits if run.reference is not None and (share := run.reference.share(limit))]


def _line(run: RunView, r: Row, base: Row | None) -> str:
    cells = (
        cell(r.test, r.judged.scale, r.judged.digits),
        cell(r.quality, r.judged.scale, r.judged.digits),
        cell(r.latency, 1, ".4g"),
        cell(r.predicted, 1, ".4g", usual="predicted"),
        _error(r),
        _speed_up(r, base),
        cell(find(r.measurements, "size_mb"), 1, ".3g", usual=_plain_kind(r, "size_mb")),
        cell(find(r.measurements, "macs"), 1e-6, ".3g", usual="counted"),
    )
    said = r.origin or (r.model if r.model not in r.name else "")
    what = f' <span class="quiet">{escape(said)}</span>' if said else ""
    return row_of(cells, f"{escape(r.name)}{what}{_verdict(run, r)}{_training(r)}", r.name)


def _training(r: Row) -> str:
    """How long a network was trained."""
    if r.steps is None:
        return ""
    done, planned = r.steps
    return f'<br><span class="{"quiet" if done >= planned else "bad"}">{done:,} of {planned:,} steps of training</span>'


def _plain_kind(r: Row, metric: str) -> str:
    """A file's size is a fact whether it was weighed or counted; other provenances are worth a word."""
    m = find(r.measurements, metric)
    return m.provenance if m is not None and m.provenance in ("measured", "counted") else "measured"


def _error(r: Row) -> str:
    error = r.prediction_error
    if error is None:
        return NONE
    return f'<td data-value="{error!r}" data-metric="error">{minus(f"{100 * error:+.1f}")} %</td>'


def _speed_up(r: Row, base: Row | None) -> str:
    ratio = speed_up(r, base)
    return NONE if ratio is None else f'<td data-value="{ratio!r}" data-metric="speed_up">{ratio:.2f}×</td>'


def speed_up(r: Row, base: Row | None) -> float | None:
    """How many times faster than the base a row is; None unless both latencies are of one provenance and device."""
    if base is None or r.latency is None or base.latency is None or not r.latency.value:
        return None
    alike = (r.latency.provenance, r.latency.where) == (base.latency.provenance, base.latency.where)
    return base.latency.value / r.latency.value if alike else None


def _verdict(run: RunView, r: Row) -> str:
    """Whether a row with a budget keeps to it."""
    budget = budget_of(run, r) if r.role == "final" or r.budget else None
    excess = budget.excess(r) if budget is not None else None
    if budget is None or excess is None:
        return f'<br><span class="quiet">{escape(r.budget)}</span>' if r.budget else ""
    if budget.met(r):
        close = f", {100 * excess:.1f} % over, within its error" if excess > ROUNDING else ""
        return f'<br><span class="good">✓ {escape(budget.words)}{close}</span>'
    return f'<br><span class="bad">✗ {escape(budget.words)}: {100 * excess:.1f} % over</span>'


def choices(run: RunView) -> str:
    """Knee point and the best model under each budget."""
    points = front(run.rows)
    turn = knee(points)
    rows = []
    for b in run.budgets:
        shares = "".join(f'<br><span class="quiet">{escape(line)}</span>' for line in share_lines(run, b))
        rows.append(_choice(f"Best under {escape(b.words)}{shares}", best_under(b, run.rows), _none(b, run), b.text))
    few = "none: the front has fewer than three points" if len(points) < 3 else "none: the front has no bend"
    rows.append(_choice("Knee point of the front", turn, few, "knee"))
    if points:
        rows += [
            _choice(_best(run.task.metric), points[-1], "", "accurate"),
            _choice("Fastest on the front", points[0], "", "fast"),
        ]
    return table(("Choice", "Model", _validation(run.task.metric), "Latency, ms"), rows, "choose")


def _choice(what: str, row: Row | None, otherwise: str, name: str) -> str:
    if row is None:
        return row_of([f'<td colspan="3" class="quiet">{otherwise}</td>'], what, name)
    quality = cell(row.quality, row.judged.scale, row.judged.digits)
    return row_of([f"<td>{escape(row.title)}</td>", quality, cell(row.latency, 1, ".4g")], what, name)


def _validation(judged: Metric) -> str:
    """The head of a column with qualities on validation."""
    return f"Validation, {judged.shown_unit}" if judged.shown_unit else "Validation"


def _best(judged: Metric) -> str:
    return "Most accurate" if judged == ACCURACY else f"Best {judged.name}"


def _none(budget: Budget, run: RunView) -> str:
    close = nearest(budget, run.rows)
    if close is None:
        return "none: nothing has been measured against it"
    return f"none; the nearest is {escape(close.title)}, {100 * (budget.excess(close) or 0):.1f} % over"


def untouched(run: RunView) -> str:
    """Layers that no decision could touch, and sites that stayed in float, with the reasons."""
    rows = [row_of([f"<td>{escape(m)}</td><td>{escape(why)}</td>"], escape(layer)) for m, layer, why in run.untouched]
    kept = [row_of([f"<td>{escape(why)}</td>"], escape(site)) for site, why in run.kept_fp32]
    first = table(("Layer", "Model", "Reason"), rows, "untouched") if rows else ""
    return first + (table(("Site kept in float", "Reason"), kept, "kept-fp32") if kept else "")


def failures(run: RunView) -> str:
    """Trials that ended with an error."""
    rows = [row_of([f"<td>{escape(r.role)}</td><td>{escape(r.error or '')}</td>"], escape(r.title)) for r in run.failed]
    return table(("Trial", "Role", "Error"), rows, "failures") if rows else ""
