"""Results as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from chipfit.api.limits import COSTS
from chipfit.core.errors import ChipfitError
from chipfit.core.metric import ACCURACY, Metric
from chipfit.core.types import Limit
from chipfit.core.words import number_of
from chipfit.report.budget import Budget
from chipfit.report.choose import best_under, headline
from chipfit.report.hardware import words as hardware_words
from chipfit.report.row import Row, untouched_rows
from chipfit.report.view import RunView

if TYPE_CHECKING:
    from chipfit.api.predict import Checked, Fit, Foretold, Measured
    from chipfit.api.result import Model, Result
    from chipfit.recipes.check import Feasibility
    from chipfit.recipes.onnx_file import FileFeasibility
    from chipfit.recipes.profile import Profile

NONE = "–"
FORETOLD = "predicted, with 90 % intervals, whose upper ends budgets are held against"
LONGEST = 15
"""Operators that a profile shows unless all are asked for."""


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[RenderableType]], left: int = 1) -> Table:
    """A table whose first `left` columns are words and the others numbers."""
    made = Table(
        title=title or None, title_justify="left", title_style="bold", header_style="bold", box=None, padding=(0, 1)
    )
    for n, name in enumerate(columns):
        made.add_column(name, justify="left" if n < left else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def number(value: float | None, digits: str = ".4g", scale: float = 1.0) -> str:
    """A number, or a dash where there is none: nobody has it, or it could not be measured (NaN)."""
    return NONE if value is None or math.isnan(value) else f"{value * scale:{digits}}"


def between(interval: tuple[float, float] | None) -> str:
    """The ends of a predicted interval behind its value, nothing where there is none."""
    return "" if interval is None else f" ({interval[0]:.3g} to {interval[1]:.3g})"


def summary(result: Result) -> list[RenderableType]:
    """A run: its models as they came, what was made for each budget, how long it took, where the files are."""
    parts: list[RenderableType] = [_untouched(result)]
    shown = _shown(result.view)
    for budget in shown:
        rows = list(_under(result, budget))
        parts += ["", _models(f"Under {budget.text}", rows, result), *_shares_of(result.view, budget)]
    if others := len(result.view.budgets) - len(shown):
        least = result.view.config["minimize"]
        parts += [Text(f" {number_of(others, 'other step')} towards the least {least} in the report", style="dim")]
    parts += ["", *_ending(result, {budget.text for budget in shown})]
    return parts


def _shown(run: RunView) -> tuple[Budget, ...]:
    """The budgets that were asked for; of own steps towards the least of a cost the one that the run leads with."""
    own = run.config.get("minimize") in COSTS and not run.config.get("budgets")
    return run.budgets[:1] if own else run.budgets


def _shares_of(run: RunView, budget: Budget) -> Iterator[Text]:
    """What the limits of a budget are as shares, and of what."""
    for limit in budget.limits:
        if run.reference is not None and (share := run.reference.share(limit)):
            yield Text(f" {share}", style="dim")


NUMBERS = ("ms", "of ref.", "MB", "predicted", "error")


def _columns(judged: Metric) -> tuple[str, ...]:
    """The heads of what is told of each model, its quality on test and validation first."""
    word = judged.shown_unit if judged == ACCURACY else judged.title.replace(", ", " ")
    return (f"test {word}", f"valid. {word}", *NUMBERS)


def _columns_untouched(judged: Metric) -> tuple[str, ...]:
    """The same of models as they came, and in int8."""
    heads = _columns(judged)
    return (*heads[:5], f"int8: {heads[1]}", "ms", "of ref.", "MB")


def _untouched(result: Result) -> Table:
    """The models as they came, each beside itself in int8 throughout."""
    of_base = {m.base: m for m in result.models if m.role == "baseline" and not m.budget}
    rows: list[list[str]] = []
    for m in (m for m in result.models if m.role == "zoo"):
        low = of_base.get(m.base)
        rows.append([m.name, *_numbers(m, result)[:5], *_numbers(low, result)[1:5]])
    return table("As they came, and in int8 throughout", ["", *_columns_untouched(result.view.task.metric)], rows)


def _models(title: str, models: Sequence[tuple[str, Model | None]], result: Result) -> Table:
    rows = [[word, _origin(m), *_numbers(m, result)] for word, m in models]
    return table(title, ["", "model", *_columns(result.view.task.metric)], rows, left=2)


def _origin(m: Model | None) -> str:
    """What a file is, or the model that it was made from."""
    if m is None:
        return "none fits"
    if m.origin:
        return m.origin
    return m.name if m.role == "zoo" else m.base


def _numbers(m: Model | None, result: Result) -> list[str]:
    if m is None:
        return [NONE] * len(_columns(result.view.task.metric))
    reference, judged = result.view.reference, result.view.task.metric
    base = reference.latency_ms if reference is not None else None
    error = m.predicted_ms / m.latency_ms - 1 if m.predicted_ms and m.latency_ms else None
    return [
        number(m.test_quality, judged.digits, judged.scale),
        number(m.quality, judged.digits, judged.scale),
        number(m.latency_ms) + between(m.interval_ms),
        NONE if not base or m.latency_ms is None else f"{100 * m.latency_ms / base:.0f} %",
        number(m.size_mb, ".3g"),
        number(m.predicted_ms),
        NONE if error is None else f"{100 * error:+.1f} %",
    ]


def _under(result: Result, budget: Budget) -> Iterator[tuple[str, Model | None]]:
    """(word, model) of what competes for a budget; a rival that is over it says by how much."""
    rows = result.view.rows

    def best(candidates: Iterable[Row]) -> Model | None:
        found = best_under(budget, list(candidates))
        return None if found is None else result.of(found)

    yield "best unmodified", best(r for r in rows if r.role == "zoo")
    in_int8 = [r for r in untouched_rows(rows) if r.role == "baseline"]
    if in_int8:
        yield "all int8", best(in_int8)
    for r in rows:
        if r.role == "baseline" and r.budget == budget.text and r.error is None:
            yield f"{r.name}{_over(budget, r)}", result.of(r)
    yield "ours", next((m for m in result.finals if m.budget == budget.text), None)


def _over(budget: Budget, row: Row) -> str:
    excess = budget.excess(row)
    return "" if excess is None or budget.met(row) else f", {100 * excess:.0f} % over"


def _ending(result: Result, budgets: Collection[str]) -> Iterator[RenderableType]:
    """What took how long, how sure latencies are, what a reader must know, and where the files are."""
    run = result.view
    if run.phases:
        spent = ", ".join(f"{name} {seconds:.0f}" for name, seconds in run.phases)
        yield Text(f"seconds   {spent}; in all {sum(s for _, s in run.phases):.0f}")
    yield from _sureness(result)
    yield from _of_finals([m for m in result.finals if m.budget in budgets])
    if run.floor is not None and (final := headline(run)) is not None:
        yield Text(f"quality   {run.floor.verdict(final)}")
    for line in run.warnings:
        yield Text(f"mind      {line}")
    yield from _places(result)


def _sureness(result: Result) -> Iterator[Text]:
    """How well latencies were foretold, and whether any was measured."""
    run = result.view
    if run.latency is not None and run.latency.mape is not None:
        yield Text(f"tables    foretold {len(run.latency.true)} whole networks with {run.prediction_words}")
    if any(m.provenance == "predicted" for m in result.models):
        none = all(m.provenance == "predicted" for m in result.finals)
        yield Text(f"latency   {FORETOLD}{'; no file was measured there' if none else ''}")


def _of_finals(finals: Sequence[Model]) -> Iterator[Text]:
    """What else is known of each final model's latency, and the training that each got."""
    for m in finals:
        if told := list(_timed(m)):
            yield Text(f"latency   {m.budget}: {'; '.join(told)}")
    for m in finals:
        if m.steps is not None:
            yield Text(f"training  {m.budget}: {m.steps[0]} of {m.steps[1]} steps")


def _places(result: Result) -> Iterator[Text]:
    """The hardware's design, and where the files are."""
    run, best = result.view, result.best
    if best is not None and (design := run.hardware.files.get(best.file)) is not None:
        for line in hardware_words(design)[:-1]:
            yield Text(f"hardware  {line}")
        yield Text(f"          {result.path / 'best' / 'hardware.json'}")
    if best is not None and best.exportable:
        yield Text(f"file      {result.path / 'best' / best.file_name}")
    yield Text(f"report    {result.report}")


def each(found: Mapping[str, Result | ChipfitError]) -> list[RenderableType]:
    """The results on several devices, one behind the other."""
    parts: list[RenderableType] = []
    for name, result in found.items():
        body = [Text(f"mind      {result}")] if isinstance(result, ChipfitError) else summary(result)
        parts += ["", Text(name, style="bold"), *body]
    return parts


def _timed(m: Model) -> Iterator[str]:
    """What else is known of a final model's latency."""
    if m.on:
        yield ", ".join(f"{name} {ms:.4g} ms" for name, ms in m.on.items())
    if m.p95_ms is not None:
        yield f"95 % of runs within {m.p95_ms:.4g} ms"
    if m.ratio is not None:
        yield f"{m.ratio:.3f} ± {2 * (m.ratio_error or 0.0):.3f} of the reference's, run by run"


def profiles(found: dict[str, Profile], whole: bool) -> list[RenderableType]:
    """Where the time of each model goes."""
    parts: list[RenderableType] = []
    for name, p in found.items():
        sizes = f"{p.size_mb:.3g} MB, {p.macs / 1e6:.4g} M MACs, {p.params / 1e3:.4g} k parameters"
        head = f"{name}: {p.ms:.4g} ms{between(p.interval_ms)}, {sizes}"
        shown = p.rows if whole else p.rows[:LONGEST]
        rows: list[list[RenderableType]] = [
            [
                r.op,
                r.kind,
                number(r.ms),
                number(r.ms / p.ms if p.ms else None, ".1f", 100),
                number(r.macs, ".3g", 1e-6),
                r.bottleneck,
            ]
            for r in shown
        ]
        parts += [
            Text(head, style="bold"),
            table("", ("operator", "kind", "ms", "%", "M MACs", "bound by"), rows, left=2),
        ]
        if p.interval_ms is not None:
            parts.append(
                Text("predicted as a whole, with a 90 % interval; operators by their share of the work", style="dim")
            )
        if len(p.rows) > len(shown):
            parts.append(Text(f"and {len(p.rows) - len(shown)} faster ones; --all shows them", style="dim"))
        parts.append("")
    return parts


def feasibility(found: Mapping[str, Feasibility | FileFeasibility]) -> list[RenderableType]:
    """Whether each model can be brought within the limits, and how."""
    from chipfit.recipes.onnx_file import FileFeasibility  # loads runtimes, which `--help` does without

    files = {name: f for name, f in found.items() if isinstance(f, FileFeasibility)}
    networks = {name: f for name, f in found.items() if not isinstance(f, FileFeasibility)}
    return [*(_networks(networks) if networks else ()), *(_files(files) if files else ())]


def _networks(found: Mapping[str, Feasibility]) -> list[RenderableType]:
    plain = next((v.plain for f in found.values() for v in f.versions), "fp32")
    heads = ("model", "feasible", plain, "all int8", "least reachable", "suggested", "seconds")
    rows = [_feasible_row(name, f, plain) for name, f in found.items()]
    parts: list[RenderableType] = [table("", heads, rows, left=6), *_shares(next(iter(found.values())))]
    if any(f.foretold for f in found.values()):
        parts.append(Text(f"latencies are {FORETOLD}", style="dim"))
    if len(found) > 1 and any("accuracy" not in v.values for f in found.values() for v in f.versions):
        said = "accuracies are not known here: shares are of the first model; a fit takes the most accurate"
        parts.append(Text(said, style="dim"))
    for name, f in found.items():
        parts += [Text(f"{name}: {line}", style="dim") for line in _suggestion(f)]
    return parts


def _feasible_row(name: str, f: Feasibility, plain: str) -> list[RenderableType]:
    """A network's line: the limited metrics of its untouched versions, the least in reach, and of the suggestion."""
    untouched = {v.precision: _pairs({m: v.values[m] for m in f.limits if m in v.values}) for v in f.versions}
    as_it_came, in_int8 = untouched.get(plain, NONE), untouched.get("int8", NONE)
    suggested = _pairs({m: v for m, v in f.predicted.items() if m in f.limits})
    return [name, _yes(f.feasible), as_it_came, in_int8, _pairs(f.reachable), suggested, f"{f.seconds:.1f}"]


def _suggestion(f: Feasibility) -> Iterator[str]:
    """What to choose, and which layers stay as they are, with the reason."""
    if f.suggestion:
        yield ", ".join(f"{decision} → {label}" for decision, label in f.suggestion.items())
    for layer, why in f.untouched:
        yield f"{layer} stays: {why}"


def _shares(f: Feasibility) -> Iterator[Text]:
    """What each limit is as a share, and of what."""
    for metric, value in f.limits.items():
        if f.of is not None and (share := f.of.share(Limit(metric, value))):
            yield Text(f"{metric} <= {value:.4g} is {share}", style="dim")


def _files(found: Mapping[str, FileFeasibility]) -> list[RenderableType]:
    rows: list[list[RenderableType]] = []
    notes = []
    for name, f in found.items():
        for v in f.versions:
            word = {32: "as it is", 8: "int8"}[v.bits]
            rows.append([name, word, _yes(v.holds), *(number(v.values.get(m)) for m in ("latency_ms", "size_mb"))])
            if v.reason:
                notes.append(f"{name}, {word}: {v.reason}")
        if f.why:
            notes.append(f"{name}: timed as it is, for it cannot be edited: {f.why}")
        if f.of is not None and f.timed:
            notes.append(f"{name}: a share is of {f.of.words()}")
        if f.speedup is not None and f.error is not None:
            said = "faster" if f.faster else "not faster"
            notes.append(f"{name}: int8 is {said}, {f.speedup:.2f} ± {f.error:.2f} times as fast")
    if any(v.bits == 8 and v.values for f in found.values() for v in f.versions):
        notes.append("int8 was calibrated on random inputs: its time is measured, its accuracy is not known")
    shown = table("", ("file", "version", "holds", "ms", "MB"), rows, left=3)
    return [shown, *(Text(line, style="dim") for line in notes)]


def _yes(holds: bool) -> Text:
    return Text("yes", style="green") if holds else Text("no", style="red")


def _pairs(values: dict[str, float]) -> str:
    return ", ".join(f"{m} {v:.4g}" for m, v in values.items()) or NONE


def timings(found: Measured) -> list[RenderableType]:
    """How many networks were timed, and where that stands."""
    said = ", ".join(f"{n} of {len(found.names)} networks timed: {device}" for device, n in found.done.items())
    return [f"{found.path}  {said}"]


LIKE = 5
"""Devices that a new one is compared with, the most alike first."""


def predictor(found: Fit) -> list[RenderableType]:
    """How good a predictor is by its own samples, and what the device is like."""
    like = ", ".join(f"{s.device} ({s.spearman:.2f}, at least {s.least:.2f})" for s in found.sources[:LIKE])
    weights = (
        ", ".join(f"{name} {100 * w:.0f} %" for name, w in found.weights.items()) if len(found.weights) > 1 else ""
    )
    return [
        f"error     {100 * found.left_out_error:.1f} % (median, each of {found.samples} samples from all the others)",
        f"interval  ±{100 * found.half_width:.0f} % (90 %, median over the networks that are known)",
        *([f"like      {like}: rank correlation, and what it is at least (95 %)"] if like else []),
        *([f"weights   {weights}"] if weights else []),
        f"file      {found.path}: --device predicted:{found.device}",
        *([f"replaced  the predictor that was kept as {found.device} before"] if found.replaced else []),
    ]


def foretold(found: Foretold) -> list[RenderableType]:
    """Values with their intervals."""
    told = found.values
    rows = [
        [name, f"{value:.4g}", f"{low:.4g}", f"{high:.4g}"]
        for name, value, low, high in zip(found.names, told.values, told.low, told.high, strict=True)
    ]
    return [table("", ("network", found.metric, "from", "to (90 %)"), rows)]


def checked(found: Sequence[Checked]) -> list[RenderableType]:
    """Files of a predicted device, measured there at last."""
    rows: list[list[RenderableType]] = [
        [c.key[:8], c.budget, f"{c.predicted_ms:.4g}{between((c.low_ms, c.high_ms))}", f"{c.measured_ms:.4g}",
         f"{100 * (c.measured_ms / c.predicted_ms - 1):+.1f} %", _yes(c.inside), _yes(c.holds)]
        for c in found
    ]  # fmt: skip
    return [table("", ("file", "budget", "predicted ms", "measured", "off by", "within", "holds"), rows, left=2)]
