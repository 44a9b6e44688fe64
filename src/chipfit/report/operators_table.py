"""The section of the page on operators: the slowest on the device, and the programs that were put on the menu."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from chipfit.report.operators import Operators
from chipfit.report.tables import NONE, row_of, table


def section(found: Mapping[str, Operators]) -> str:
    """The section of the page, as HTML; empty where programs were not asked for."""
    return "".join(_of_model(model, operators) for model, operators in found.items())


def _of_model(model: str, found: Operators) -> str:
    name = escape(model)
    if found.why:
        told = f"Layers of {name} compute themselves: {escape(found.why)}."
    else:
        told = (
            f"Of {found.tried} programs that were looked at for {name}, {len(found.programs)} were put on the menu,"
            f" beside widths, depth and precisions. Harm is that of one layer alone, after repair.{_foretold(found)}"
        )
    if found.short:
        told += f" {escape(found.short[:1].upper() + found.short[1:])}."
    return f'<p class="caption">{told}</p><div class="pair">{_slowest(name, found)}{_programs(name, found)}</div>'


def _foretold(found: Operators) -> str:
    """How well the cheap looks ordered the programs that the dear ones were spent on."""
    if found.error_tau is None or found.ms_tau is None:
        return ""
    return (
        f" Rank correlation (Kendall) of the error before repair with the harm {found.error_tau:.2f}, of the time of"
        f" kernels with that of the network {found.ms_tau:.2f}."
    )


def _slowest(name: str, found: Operators) -> str:
    rows = [
        row_of([f"<td>{escape(kind)}</td>", _number(100 * share, ".1f", " %"), _number(ms, ".3g")], escape(op))
        for op, kind, share, ms in found.slowest
    ]
    return table(("Slowest operators", "", "Share", "ms"), rows, f"slowest-{name}") if rows else ""


def _programs(name: str, found: Operators) -> str:
    rows = []
    for text, place, layers, ms, harm, whole in found.programs:
        where = f"<td>{layers} × {escape(place)}</td>"
        cells = [where, _number(1 / ms, ".2f", "×"), _number(harm, ".2g"), _number(1 / whole, ".3f", "×")]
        rows.append(row_of(cells, f"<code>{escape(text)}</code>", text))
    columns = ("Program", "In place of", "Faster than the layer", "Harm, nats", "Network faster")
    return table(columns, rows, f"programs-{name}") if rows else ""


def _number(value: float | None, digits: str, unit: str = "") -> str:
    return NONE if value is None else f'<td data-value="{value!r}">{value:{digits}}{unit}</td>'
