"""The report of a run: one HTML file that needs nothing from anywhere, and the same numbers as JSON, CSV and a card."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from chipfit.core.types import Measurement, Plain
from chipfit.report.card import model_card
from chipfit.report.choose import best_under, front, headline, knee
from chipfit.report.figure import Figure
from chipfit.report.figures import figures
from chipfit.report.method import method
from chipfit.report.tables import before_after, choices, failures, untouched
from chipfit.report.verdict import tiles, verdict
from chipfit.report.view import Row, RunView, find, view
from chipfit.store.atomic import write_atomically
from chipfit.store.plain import measurement_to_plain
from chipfit.store.store import Store

COLUMNS = ("size_mb", "macs", "params", "peak_memory_mb", "damage")
"""Metrics of candidates.csv that have one value; accuracy and latency have several."""


def page(store: Store) -> Path:
    """Writes report.html, front.json, candidates.csv and model_card.md into the run directory; returns the first.

    Each file is replaced at once. Works on a run that is not finished: what is not known yet is left out.

    Raises:
        BadInput: the run has a budget that cannot be read.
        ChipfitError: the directory cannot be written.
    """
    run = view(store)
    for name, text in (
        ("front.json", front_json(run)),
        ("candidates.csv", candidates_csv(run)),
        ("model_card.md", model_card(run)),
        ("report.html", html(run)),
    ):
        write_atomically(store.path / name, text.encode())
    return store.path / "report.html"


def html(run: RunView) -> str:
    """The page as text."""
    drawn = figures(run)
    slots = {
        "title": escape(run.path.name or "run"),
        "css": _template("page.css"),
        "js": _template("page.js"),
        "plotly": get_plotlyjs().replace("</script", "<\\/script"),
        "data": _embedded(data(run)),
        "figures": _embedded({f.name: {"data": list(f.traces), "layout": f.layout, "height": f.height} for f in drawn}),
        "body": _body(run, drawn),
    }
    return Template(_template("page.html")).substitute(slots)


def _template(name: str) -> str:
    return (resources.files("chipfit.report") / "template" / name).read_text(encoding="utf-8")


def strict(value: Plain) -> Plain:
    """The value with numbers that JSON does not know (NaN, infinity) as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: strict(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [strict(v) for v in value]
    return value


def _embedded(value: Plain) -> str:
    """JSON that is safe between script tags."""
    return json.dumps(strict(value), allow_nan=False).replace("<", "\\u003c")


def data(run: RunView) -> dict[str, Plain]:
    """All numbers of the report, unrounded: what the page embeds under the id "data"."""
    points = front(run.rows)
    places = {id(r): n for n, r in enumerate(run.rows)}
    turn, lead = knee(points), headline(run)
    best = {b.text: best_under(b, run.rows) for b in run.budgets}
    return {
        "finished": run.finished,
        "rows": [row_data(r) for r in run.rows],
        "front": [places[id(r)] for r in points],
        "knee": places[id(turn)] if turn else None,
        "headline": places[id(lead)] if lead else None,
        "best_under": {text: places[id(r)] if r else None for text, r in best.items()},
        "phases": run.phases,
        "untouched": run.untouched,
        "kept_fp32": run.kept_fp32,
        "table": _parity_data(run.latency),
        "additive": _parity_data(run.damage),
        "profile": {"before": run.before, "after": run.after},
        "test_reads": run.test_reads,
    }
