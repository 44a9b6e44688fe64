"""The difference of two candidates, or of two runs by what each led to: numbers first, then layer by layer."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from chipfit.core.errors import BadInput
from chipfit.core.metric import KNOWN
from chipfit.core.types import Measurement, Plain
from chipfit.report.card import lines_for
from chipfit.report.choose import headline
from chipfit.report.numbers import strict
from chipfit.report.row import Row
from chipfit.report.tables import minus, rounded
from chipfit.report.view import RunView
from chipfit.store.plain import differences, measurement_to_plain


@dataclass(frozen=True, slots=True)
class Change:
    """One number on both sides; `scale` and `digits` say how `what` is written."""

    what: str
    a: Measurement | None
    b: Measurement | None
    scale: float
    digits: str

    @property
    def shares(self) -> bool:
        """True where the metric is a share itself."""
        return self.a is not None and self.a.metric in KNOWN and KNOWN[self.a.metric].share

    @property
    def alike(self) -> bool:
        """True when both are there, of one provenance, from one place and protocol."""
        if self.a is None or self.b is None:
            return False
        return all(getattr(self.a, f) == getattr(self.b, f) for f in ("provenance", "where", "protocol"))

    @property
    def difference(self) -> float | None:
        """What b has more than a, in the metric's unit; None unless the two are alike."""
        return self.b.value - self.a.value if self.alike and self.a is not None and self.b is not None else None

    @property
    def error(self) -> float:
        """Standard error of the difference, as if independent: too large rather than too small for one test set."""
        return math.hypot(*(m.spread for m in (self.a, self.b) if m is not None))

    @property
    def words(self) -> str:
        """The difference for a reader: with its error, and as a share where the metric is not a share itself."""
        if self.difference is None or self.a is None:
            return "" if self.a is None or self.b is None else "not comparable: taken differently"
        value, error = rounded(replace(self.a, value=self.difference, spread=self.error), self.scale, self.digits)
        text = ("+" if self.difference > 0 else "") + value + (f" ±{error}" if error else "")
        share = self.difference / self.a.value if self.a.value and not self.shares else None
        return text if share is None else f"{text} ({minus(f'{100 * share:+.1f}')} %)"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between `a` and `b`: numbers, (decision, choice of a, choice of b), and what a reader must know."""

    a: str
    b: str
    numbers: tuple[Change, ...]
    layers: tuple[tuple[str, str, str], ...]
    same_layers: int
    notes: tuple[str, ...] = ()


def compare(a: Row, b: Row) -> Comparison:
    """The difference of two candidates, which may be of different models."""
    sides = [(what, get(a), get(b), scale, digits) for what, get, scale, digits in lines_for(a.judged)]
    numbers = tuple(Change(*side) for side in sides if side[1] is not None or side[2] is not None)
    decisions = dict.fromkeys((*a.choices, *b.choices))
    chosen = [(d, _chosen(a, d), _chosen(b, d)) for d in decisions]
    layers = tuple(row for row in chosen if row[1] != row[2])
    notes: tuple[str, ...] = ()
    if a.model != b.model:
        notes = (f"The two come from different models ({a.model or '?'}, {b.model or '?'}); layers share names only.",)
    names = [r.title if a.title != b.title else f"{r.title} {r.budget or r.key[:8]}" for r in (a, b)]
    return Comparison(names[0], names[1], numbers, layers, len(chosen) - len(layers), notes)


def _chosen(row: Row, decision: str) -> str:
    untouched = "as it is" if row.role == "zoo" and not row.choices else "–"
    return row.choices.get(decision, untouched)


def compare_runs(a: RunView, b: RunView) -> Comparison:
    """The difference of the final models that two runs lead with.

    Raises:
        BadInput: a run has no final model yet.
    """
    leads = []
    for run in (a, b):
        if (lead := headline(run)) is None:
            raise BadInput(f"run {run.path} has no final model yet; let it finish, or compare candidates by name")
        leads.append(lead)
    made = compare(*leads)
    notes = list(made.notes)
    prints = [run.device.fingerprint if run.device else "unknown" for run in (a, b)]
    if prints[0] != prints[1]:
        notes.append(f"The runs are of different devices: {prints[0]}, {prints[1]}.")
    if a.dataset.digest != b.dataset.digest:
        notes.append(f"The runs are of different data: {_data(a)}, {_data(b)}.")
    notes += [f"configuration {key}: {was} and {now}" for key, was, now in differences(a.config, b.config)]
    return replace(made, a=f"{a.path.name}: {made.a}", b=f"{b.path.name}: {made.b}", notes=tuple(notes))


def _data(run: RunView) -> str:
    return f"{run.dataset.name or 'unknown'} ({run.dataset.digest or 'no digest'})"


def _number_rows(c: Comparison) -> list[tuple[str, str, str, str]]:
    return [(n.what, _value(n.a, n), _value(n.b, n), n.words) for n in c.numbers]


def _value(m: Measurement | None, change: Change) -> str:
    if m is None:
        return "–"
    value, error = rounded(m, change.scale, change.digits)
    usual = m.provenance == "measured" or (change.alike and m.provenance != "predicted")
    return value + (f" ±{error}" if error else "") + ("" if usual else f" ({m.provenance})")


def as_text(c: Comparison) -> str:
    """The comparison as lines for a terminal."""
    parts = [_aligned([("", c.a, c.b, "difference"), *_number_rows(c)])]
    if c.layers:
        parts.append(_aligned([("decision", c.a, c.b), *c.layers]))
    parts.append(_same(c))
    return "\n\n".join([*parts, *c.notes]) + "\n"


def _same(c: Comparison) -> str:
    if not c.layers:
        return (
            f"All {c.same_layers} decisions are the same." if c.same_layers else "Neither side records its decisions."
        )
    return f"{c.same_layers} other decisions are the same." if c.same_layers else "Every decision differs."


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def as_html(c: Comparison) -> str:
    """The comparison as a fragment of HTML: two tables and the notes."""
    numbers = _html_table(("", c.a, c.b, "difference"), _number_rows(c), "compare-numbers")
    layers = _html_table(("decision", c.a, c.b), c.layers, "compare-layers") if c.layers else ""
    notes = "".join(f'<p class="caption">{escape(note)}</p>' for note in (_same(c), *c.notes))
    return numbers + layers + notes


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]], name: str) -> str:
    columns = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
    lines = "".join(
        f'<tr><th scope="row">{escape(r[0])}</th>{"".join(f"<td>{escape(v)}</td>" for v in r[1:])}</tr>' for r in rows
    )
    return f'<div class="wide"><table id="{name}"><thead><tr>{columns}</tr></thead><tbody>{lines}</tbody></table></div>'


def as_json(c: Comparison) -> str:
    """The comparison as one JSON document, numbers unrounded."""
    numbers: list[Plain] = [
        {
            "what": n.a.metric if n.a is not None else n.b.metric if n.b is not None else n.what,
            "a": None if n.a is None else measurement_to_plain(n.a),
            "b": None if n.b is None else measurement_to_plain(n.b),
            "difference": n.difference,
            "standard_error": n.error,
        }
        for n in c.numbers
    ]
    layers: list[Plain] = [{"decision": d, "a": a, "b": b} for d, a, b in c.layers]
    whole: Plain = {"a": c.a, "b": c.b, "numbers": numbers, "layers": layers, "same": c.same_layers, "notes": c.notes}
    return json.dumps(strict(whole), allow_nan=False)
