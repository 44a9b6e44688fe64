"""The report of a run: one HTML file that needs nothing from anywhere, and the same numbers as JSON, CSV and a card."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from chipfit.core.types import Plain
from chipfit.report.card import model_card
from chipfit.report.figure import Figure
from chipfit.report.figures import figures
from chipfit.report.hardware import section
from chipfit.report.method import doubts, method
from chipfit.report.numbers import candidates_csv, data, embedded, front_json
from chipfit.report.operators_table import section as operators
from chipfit.report.tables import before_after, choices, failures, untouched
from chipfit.report.verdict import tiles, verdict
from chipfit.report.view import RunView, view
from chipfit.store.atomic import write_atomically
from chipfit.store.store import Store


def page(store: Store) -> Path:
    """Writes report.html, front.json, candidates.csv and model_card.md into the run directory; returns the first.

    Each file is replaced as a whole. Works on a run that is not finished: what is not known yet is left out.

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
    plots: dict[str, Plain] = {
        f.name: {"data": list(f.traces), "layout": dict(f.layout), "height": f.height} for f in drawn
    }
    return Template(template("page.html")).substitute(
        title=escape(run.path.name or "run"),
        css=template("page.css"),
        js=template("page.js"),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
        data=embedded(data(run)),
        figures=embedded(plots),
        body=_body(run, drawn),
    )


def template(name: str) -> str:
    """The text of a file that ships with the report."""
    return (resources.files("chipfit.report") / "template" / name).read_text(encoding="utf-8")


def _body(run: RunView, drawn: Sequence[Figure]) -> str:
    by_name = {f.name: _figure(f) for f in drawn}

    def some(prefix: str) -> str:
        found = [text for name, text in by_name.items() if name.startswith(prefix)]
        return f'<div class="pair">{"".join(found)}</div>' if len(found) > 1 else "".join(found)

    sections = (
        ("Before and after", before_after(run) + _below(run)),
        (f"{run.task.metric.name.capitalize()} against latency", some("pareto") + choices(run)),
        ("What was chosen", some("choices")),
        ("Where the time goes", some("operators")),
        ("The slowest operators", operators(run.operators)),
        ("The accelerator", section(run.hardware) + some("hardware")),
        ("Can the predictions be trusted?", some("parity")),
        ("What could not be touched", untouched(run)),
        ("What failed", failures(run)),
        ("Time spent", some("phases")),
        ("How it was measured", method(run)),
    )
    return _head(run) + "".join(f"<section><h2>{title}</h2>{text}</section>" for title, text in sections if text)


def _below(run: RunView) -> str:
    """What the columns of the first table mean, and what shares are of."""
    base = run.reference
    of = f" Shares and speed-ups are of {escape(base.words())}: the faster untouched file." if base is not None else ""
    return (
        '<p class="caption">Latency of the exported file on the device named below; ± is one standard error.'
        " “Predicted” stood before the file was measured, “error” is predicted against measured."
        f"{of} Speed-ups stand where both were measured alike. A small word beside a number says where it comes from"
        " when that is not usual for its column.</p>"
    )


def _head(run: RunView) -> str:
    where = " · ".join(escape(part) for part in (run.dataset.name, run.device.name if run.device else "") if part)
    notes = "".join(f"<li>{escape(line)}</li>" for line in doubts(run))
    warned = f'<ul class="doubts">{notes}</ul>' if notes else ""
    return (
        f'<header><p class="eyebrow">chipfit report{f" · {where}" if where else ""}</p>'
        f"<h1>{verdict(run)}</h1>{tiles(run)}{warned}</header>"
    )


def _figure(f: Figure) -> str:
    return (
        f'<figure><div class="plot" id="{f.name}" style="height:{f.height}px"></div>'
        f"<figcaption>{f.caption}</figcaption></figure>"
    )
