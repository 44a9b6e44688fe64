"""The other pictures: chosen options, operator times, parity of predictions, seconds per phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from chipfit.core.types import Plain
from chipfit.report.choose import budget_of
from chipfit.report.figure import Figure, Trace, axis, layout, scale, span
from chipfit.report.hardware import STAGES, figures_of
from chipfit.report.pareto import pareto
from chipfit.report.row import Row
from chipfit.report.view import DecisionFact, OpBar, Parity, RunView
from chipfit.space.edits import named

SLOWEST = 16
"""Operators shown by name; the rest is summed."""


def figures(run: RunView) -> tuple[Figure, ...]:
    """Every picture that the run has data for."""
    made = (pareto(run), *strips(run), operators(run), *figures_of(run.hardware), *parities(run), phases(run))
    return tuple(f for f in made if f is not None)


def strips(run: RunView) -> tuple[Figure, ...]:
    """For each model and kind of decision what the final networks chose, site by site."""
    made: list[Figure] = []
    for model in dict.fromkeys(r.model for r in run.of_role("final") if r.choices):
        finals = [r for r in run.of_role("final") if r.model == model and r.choices]
        names = list(dict.fromkeys(name for r in finals for name in r.choices))
        kinds = {d.name: d.kind for d in run.decisions.get(model, ())}
        for kind in dict.fromkeys((*kinds.values(), "")):
            of_kind = [n for n in names if kinds.get(n, "") == kind]
            if of_kind:
                made.append(_strip(run, f"choices-{len(made)}", kind, of_kind, finals))
    return tuple(made)


def _strip(run: RunView, name: str, kind: str, sites: Sequence[str], finals: Sequence[Row]) -> Figure:
    model = finals[0].model
    known = {d.name: d for d in run.decisions.get(model, ())}
    heat: Trace = {
        "type": "heatmap",
        "x": [_column(run, r, finals) for r in finals],
        "y": [escape(s) for s in sites],
        "z": [_shares_cut(known.get(s), s, finals) for s in sites],
        "zmin": 0.0,
        "zmax": 1.0,
        "colorscale": [[0.0, "var:cell0"], [0.5, "var:cell1"], [1.0, "var:cell2"]],
        "showscale": False,
        "xgap": 3,
        "ygap": 2,
        "text": [_labels(s, finals) for s in sites],
        "texttemplate": "%{text}",
        "textfont": {"size": 11, "color": "var:ink"},
        "hovertemplate": "%{y}<br>%{x}<br><b>%{text}</b><extra></extra>",
    }
    x = axis("", side="top", showgrid=False, type="category", fixedrange=True)
    y = axis("", autorange="reversed", showgrid=False, type="category", tickfont={"size": 11}, fixedrange=True)
    caption = _strip_caption(model, kind, paler=any(s in known for s in sites))
    return Figure(name, caption, (heat,), layout(x, y), 60 + 21 * len(sites))


def _labels(site: str, finals: Sequence[Row]) -> list[str]:
    """What each final chose at a site."""
    return [escape(r.choices.get(site, "–")) for r in finals]


def _shares_cut(decision: DecisionFact | None, site: str, finals: Sequence[Row]) -> list[float | None]:
    """How much each final gives up at a site."""
    return [_share_cut(decision, r.choices.get(site)) for r in finals]


def _strip_caption(model: str, kind: str, paler: bool) -> str:
    of_kind = named(kind)
    about = of_kind.caption if of_kind is not None else "The option that was chosen for each decision."
    shades = " Paler is as it was; deeper is smaller." if paler else ""
    return f"<b>{escape(model)}, {escape(kind or 'choices')}.</b> {about}{shades}"


def _column(run: RunView, row: Row, finals: Sequence[Row]) -> str:
    """A final's name, with what tells it from others of that name."""
    budget = budget_of(run, row)
    twins = [r for r in finals if r.name == row.name]
    if len(twins) == 1:
        return escape(row.name)
    told = budget.words if budget else row.budget or str(twins.index(row) + 1)
    return f"{escape(row.name)}<br>{escape(told)}"


def _share_cut(decision: DecisionFact | None, label: str | None) -> float | None:
    """How much of the first option's value the chosen option gives up: 0 as it was, 1 dropped. None shows no colour."""
    values = dict(decision.options) if decision is not None else {}
    if decision is None or label not in values or not decision.options[0][1]:
        return None if label is None else 0.0
    return 1 - values[label] / decision.options[0][1]


def operators(run: RunView) -> Figure | None:
    """The slowest operators' time before and after, side by side."""
    if not run.before and not run.after:
        return None
    before, after = _summed(run.before), _summed(run.after)
    order = sorted({*before, *after}, key=lambda name: (-max(_ms(before, name), _ms(after, name)), name))
    shown, rest = order[:SLOWEST], order[SLOWEST:]
    simulated = any(r.latency is not None and r.latency.provenance == "simulated" for r in run.of_role("final"))
    traces = (
        _bars("before", _slowest(before, shown, rest), "var:faint"),
        _bars("after", _slowest(after, shown, rest), "var:accent"),
    )
    longest = max((_ms(times, name) for times in (before, after) for name in order), default=1.0)
    with_room_for_words = [0, 1.15 * longest or 1.0]
    x = axis("ms, simulated" if simulated else "ms, measured by the runtime's profiler", range=with_room_for_words)
    y = axis("", autorange="reversed", showgrid=False, type="category", tickfont={"size": 11})
    shape = layout(x, y, barmode="group", bargap=0.25, bargroupgap=0.05)
    caption = _profile_caption(_total(before), _total(after), simulated)
    return Figure("operators", caption, traces, shape, 90 + 34 * len(shown))


Times = Mapping[str, tuple[float, str]]
"""Operator to (ms, bottleneck)."""

Bar = tuple[str, float | None, str]
"""(operator, ms or None where it is not there, the word beside it)."""


def _ms(times: Times, name: str) -> float:
    return times[name][0] if name in times else 0.0


def _total(times: Times) -> float:
    return sum(ms for ms, _ in times.values())


def _slowest(times: Times, shown: Sequence[str], rest: Sequence[str]) -> list[Bar]:
    """A bar for each operator that is shown, and one for all others."""
    bars: list[Bar] = []
    for name in shown:
        ms, word = times.get(name, (None, "not there"))
        bars.append((name, ms, word))
    if rest:
        bars.append((f"{len(rest)} others", sum(_ms(times, name) for name in rest), ""))
    return bars


def _profile_caption(before_ms: float, after_ms: float, simulated: bool) -> str:
    own = (
        " Profiling has its own cost, so the sums are not the latencies of the table; fused operators appear under one"
        " name."
    )
    return (
        f"Time of each operator in the {'model' if simulated else 'runtime'}'s own profile, slowest first:"
        f" {before_ms:.3g} ms in all before, {after_ms:.3g} ms after. The word at a bar is what holds the operator"
        f" back.{'' if simulated else own}"
    )


def _summed(bars: Sequence[OpBar]) -> dict[str, tuple[float, str]]:
    """Operator to (ms, bottleneck); runs of one name are added."""
    total: dict[str, tuple[float, str]] = {}
    for name, ms, bottleneck in bars:
        total[name] = (total.get(name, (0.0, ""))[0] + ms, bottleneck)
    return total


def _bars(title: str, bars: Sequence[Bar], colour: str) -> Trace:
    return {
        "type": "bar",
        "orientation": "h",
        "name": title,
        "y": [escape(n) for n, _, _ in bars],
        "x": [ms for _, ms, _ in bars],
        "text": [escape(word) if ms is not None else "" for _, ms, word in bars],
        "textposition": "outside",
        "textfont": {"size": 10, "color": "var:muted"},
        "cliponaxis": False,
        "marker": {"color": colour},
        "hovertemplate": "%{y}<br>%{x:.4g} ms " + title + "<br>%{text}<extra></extra>",
    }


def parities(run: RunView) -> tuple[Figure, ...]:
    """Predicted against true: latency, then damage."""
    made = []
    if run.latency is not None and run.latency.true:
        words = f"The cost tables foretold the latency of {len(run.latency.true)} whole networks"
        error = f" and {run.prediction_words}" if run.prediction_words else ""
        caption = f"{words}{_rank(run.latency)}{error}. On the line a prediction is exact."
        made.append(_parity("parity-latency", caption, run.latency, "predicted, ms", "measured, ms", _finals(run)))
    if run.damage is not None and run.damage.true:
        words = f"The sum of single damages against the true damage of {len(run.damage.true)} whole networks"
        caption = (
            f"{words}{_rank(run.damage)}. The search needs the order to be right, not the size:"
            " what is left after repair and training is measured for the finalists."
        )
        made.append(_parity("parity-damage", caption, run.damage, "predicted damage, nats", "true damage, nats"))
    return tuple(made)


def _rank(parity: Parity) -> str:
    return f" with a rank correlation (Spearman) of {parity.spearman:.3f}" if parity.spearman is not None else ""


def _finals(run: RunView) -> tuple[tuple[float, float, str], ...]:
    """(predicted, measured, name) of finals that have both."""
    return tuple(
        (r.predicted.value, r.latency.value, r.name)
        for r in run.of_role("final")
        if r.predicted is not None and r.latency is not None and r.latency.provenance == "measured"
    )


def _parity(
    name: str, caption: str, data: Parity, x: str, y: str, finals: Sequence[tuple[float, float, str]] = ()
) -> Figure:
    everything = [*data.predicted, *data.true, *(v for f in finals for v in f[:2])]
    kind, low, high = span(everything, 0.05)
    dot: dict[str, Plain] = {"size": 7, "color": "var:quiet", "opacity": 0.75}
    traces: list[Trace] = [
        {"type": "scatter", "mode": "lines", "name": "exact", "x": [low, high], "y": [low, high], "hoverinfo": "skip",
         "line": {"color": "var:muted", "width": 1, "dash": "dot"}},
        {"type": "scatter", "mode": "markers", "name": "check networks", "x": list(data.predicted),
         "y": list(data.true), "marker": dot, "hovertemplate": "%{x:.4g} predicted<br>%{y:.4g} true<extra></extra>"},
    ]  # fmt: skip
    if finals:
        traces.append(
            {"type": "scatter", "mode": "markers", "name": "final", "x": [f[0] for f in finals],
             "y": [f[1] for f in finals], "text": [escape(f[2]) for f in finals],
             "marker": {"symbol": "diamond", "size": 12, "color": "var:accent"},
             "hovertemplate": "<b>%{text}</b><br>%{x:.4g} predicted<br>%{y:.4g} measured<extra></extra>"}
        )  # fmt: skip
    both = scale(kind, low, high)
    shape = layout(axis(x, **both), axis(y, **both))
    return Figure(name, caption, tuple(traces), shape, 400)


def _stage(run: RunView, phase: str) -> str:
    """A phase, with the stages of HotNAS that it is where hardware was searched too."""
    known = STAGES.get(phase, "") if run.hardware.files else ""
    return f"{phase} ({known})" if known else phase


def phases(run: RunView) -> Figure | None:
    """Seconds per phase."""
    if not run.phases:
        return None
    total = sum(s for _, s in run.phases)
    bars: Trace = {
        "type": "bar",
        "orientation": "h",
        "y": [escape(_stage(run, n)) for n, _ in run.phases],
        "x": [s for _, s in run.phases],
        "text": [f"{s:.1f} s, {100 * s / total:.0f} %" if total else "" for _, s in run.phases],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": "var:accent"},
        "hovertemplate": "%{y}: %{x:.2f} s<extra></extra>",
    }
    y = axis("", autorange="reversed", showgrid=False, type="category")
    caption = f"Where the {total:.0f} seconds of this run went."
    longest = max(s for _, s in run.phases)
    shape = layout(axis("seconds", range=[0, 1.2 * longest or 1.0]), y, showlegend=False)
    return Figure("phases", caption, (bars,), shape, 80 + 30 * len(run.phases))
