"""The numbers of a report as JSON and CSV, unrounded: the page shows these and no others."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence

from chipfit.core.types import Measurement, Plain
from chipfit.report.choose import best_under, front, headline, knee
from chipfit.report.row import Row, find
from chipfit.report.view import Parity, RunView
from chipfit.store.plain import measurement_to_plain

SINGLE = ("size_mb", "macs", "params", "peak_memory_mb", "damage")
"""Metrics of candidates.csv that have one column; quality and latency have several."""


def strict(value: Plain) -> Plain:
    """The value with numbers that JSON does not know (NaN, infinity) as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: strict(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [strict(v) for v in value]
    return value


def embedded(value: Plain) -> str:
    """JSON that is safe between script tags."""
    return json.dumps(strict(value), allow_nan=False).replace("<", "\\u003c")


def row_data(r: Row) -> dict[str, Plain]:
    """A row with all its measurements."""
    return {
        "key": r.key,
        "role": r.role,
        "model": r.model,
        "name": r.name,
        "budget": r.budget,
        "error": r.error,
        "measurements": [measurement_to_plain(m) for m in r.measurements],
        "choices": dict(r.choices),
    }


def data(run: RunView) -> dict[str, Plain]:
    """Everything that the page shows; rows are named by their place in `rows`."""
    place = {id(r): n for n, r in enumerate(run.rows)}

    def placed(r: Row | None) -> int | None:
        return None if r is None else place[id(r)]

    points = front(run.rows)
    return {
        "finished": run.finished,
        "rows": [row_data(r) for r in run.rows],
        "front": [placed(r) for r in points],
        "knee": placed(knee(points)),
        "headline": placed(headline(run)),
        "best_under": {b.text: placed(best_under(b, run.rows)) for b in run.budgets},
        "phases": run.phases,
        "untouched": run.untouched,
        "kept_fp32": run.kept_fp32,
        "table": _parity(run.latency),
        "additive": _parity(run.damage),
        "profile": {"before": run.before, "after": run.after},
        "test_reads": run.test_reads,
    }


def _parity(p: Parity | None) -> Plain:
    if p is None:
        return None
    return {"predicted": p.predicted, "true": p.true, "spearman": p.spearman, "mape": p.mape}


def front_json(run: RunView) -> str:
    """The Pareto front (fastest first), its knee and the best model under each budget, each with all it measured."""
    points, judged = front(run.rows), run.task.metric
    turn, best = knee(points), {b.text: best_under(b, run.rows) for b in run.budgets}
    whole: Plain = {
        "axes": {
            "latency_ms": "lower is better",
            judged.name: f"validation, {'higher' if judged.larger else 'lower'} is better",
        },
        "points": [row_data(r) for r in points],
        "knee": row_data(turn) if turn else None,
        "best_under": {text: row_data(r) if r else None for text, r in best.items()},
    }
    return json.dumps(strict(whole), allow_nan=False, indent=1) + "\n"


def candidates_csv(run: RunView) -> str:
    """A line per trial; an empty cell is a number that was not measured."""
    out = io.StringIO()
    lines = [_line(r) for r in run.rows]
    nothing = Row("", "", "", "", "", judged=run.task.metric)
    writer = csv.DictWriter(out, list(_line(nothing)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _line(r: Row) -> dict[str, Plain]:
    line: dict[str, Plain] = {"key": r.key, "role": r.role, "model": r.model, "name": r.name, "budget": r.budget}
    name = r.judged.name
    for column, m in ((f"{name}_validation", r.quality), (f"{name}_test", r.test), ("latency_ms", r.latency)):
        line |= {column: _value(m), f"{column}_se": m.spread if m else None}
    line |= {
        "latency_provenance": r.latency.provenance if r.latency else None,
        "latency_where": r.latency.where if r.latency else None,
        "latency_ms_predicted": _value(r.predicted),
    }
    line |= {name: _value(find(r.measurements, name)) for name in SINGLE}
    return line | {"error": r.error, "choices": json.dumps(dict(r.choices)) if r.choices else None}


def _value(m: Measurement | None) -> float | None:
    return None if m is None else m.value
