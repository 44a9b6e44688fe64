"""What a run found, read from its directory: models with their numbers, the front, and the best one as a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any, overload

from chipfit.core.errors import BadInput, ChipfitError
from chipfit.core.graph import Graph, op
from chipfit.core.metric import ACCURACY
from chipfit.core.types import Artifact, Measurement, Plain, Trial
from chipfit.evaluate.joint import ON
from chipfit.export.formats import FORMATS, files, unbundled
from chipfit.report.choose import budget_of, front, headline, reference_row
from chipfit.report.compare import Comparison, compare_runs
from chipfit.report.page import page
from chipfit.report.row import Row, find
from chipfit.report.view import RunView, view
from chipfit.store.atomic import write_atomically
from chipfit.store.store import Store

NOTHING = Graph((op("input", "input", (), (1,)),), "input")
"""The graph of a file that a runtime is only asked about."""


@dataclass(frozen=True, slots=True)
class Model:
    """One network of a run with what was measured of it; None is a number that was not taken.

    `role` is "zoo" (as it came), "baseline", "candidate" or "final"; `quality` is the task's `metric` on validation, by
    which models were chosen, `test_quality` that on the test part. `edits` counts what was changed of the model
    `base`, and `choices` maps decisions to the options taken. Models with a `blob` were kept as files.
    `provenance` says where `latency_ms` comes from; `interval_ms` holds the ends of a predicted one, and `foretold` the
    prediction itself, also where the latency was measured since.
    `ratio` is the latency over that of the reference, run by run, and `ratio_error` its standard error. `origin` says
    of a final that was not made for its budget what it is, such as "all int8 of vgg6". `steps` of training are (done,
    planned), None where it had none to do. Printed it is its name and numbers, with `repr` all of it.
    """

    name: str
    role: str
    base: str
    budget: str
    meets_budget: bool | None
    quality: float | None
    test_quality: float | None
    latency_ms: float | None
    predicted_ms: float | None
    size_mb: float | None
    macs: float | None
    params: float | None
    error: str | None
    key: str
    edits: int
    choices: Mapping[str, str] = field(repr=False)
    blob: str | None = None
    format: str = "onnx"
    details: Mapping[str, float] = field(default_factory=dict, repr=False)
    provenance: str | None = None
    interval_ms: tuple[float, float] | None = None
    foretold: Measurement | None = field(default=None, repr=False)
    ratio: float | None = None
    ratio_error: float | None = None
    origin: str = ""
    steps: tuple[int, int] | None = None
    file: str = ""
    metric: str = ACCURACY.name
    run: Path = field(default=Path(), repr=False)

    def __str__(self) -> str:
        numbers = {self.metric: self.quality, "ms": self.latency_ms, "MB": self.size_mb}
        known = ", ".join(f"{name} {number:.4g}" for name, number in numbers.items() if number is not None)
        return f"{self.name} ({self.error or known})"

    @property
    def accuracy(self) -> float | None:
        """Share of right answers on validation, of a model whose task is judged by it."""
        return self.quality if self.metric == ACCURACY.name else None

    @property
    def test_accuracy(self) -> float | None:
        """Share of right answers on the test part, of a model whose task is judged by it."""
        return self.test_quality if self.metric == ACCURACY.name else None

    @property
    def p95_ms(self) -> float | None:
        """95 % of single runs took at most so long, None where runs were not timed."""
        return self.details.get("p95_ms")

    @property
    def on(self) -> Mapping[str, float]:
        """Device -> milliseconds on it, of a model that was fitted to several."""
        return {n.removeprefix(ON): ms for n, ms in self.details.items() if n.startswith(ON)}

    @property
    def exportable(self) -> bool:
        """True when the run kept this model as a file."""
        return self.blob is not None

    def data(self) -> bytes:
        """The bytes of the file that was measured, in `format`.

        Raises:
            BadInput: the run did not keep this model as a file.
        """
        if self.blob is None:
            known = "it has no weights" if self.size_mb is None and self.error is None else "final models are"
            raise BadInput(f"{self.name!r} ({self.role}) was not kept as a file; {known}")
        with Store(self.run, read_only=True) as store:
            return store.blob(self.blob)

    def artifacts(self) -> dict[str, Artifact]:
        """Format -> what was measured: one, or one for each of several devices.

        Raises:
            BadInput: the run did not keep this model as a file.
        """
        return unbundled(Artifact(self.format, self.data(), NOTHING))

    @property
    def file_name(self) -> str:
        """model.onnx, model.tflite, ...: what the (first) file is called in `best`."""
        return f"model{FORMATS[self.format.split('+')[0]].suffix}"

    def export(self, path: str | Path) -> Path:
        """Writes the file that was measured, and returns its path; `chipfit.export` writes other formats.

        Raises:
            BadInput: a folder that does not exist, a name that ends like another format's, or a model that was not
                kept as a file.
        """
        return written(path, ending_like(path, self.artifacts()))

    def plain(self) -> dict[str, Plain]:
        """The numbers as JSON-ready values."""
        names = [f.name for f in fields(self) if f.name not in ("run", "choices", "details", "foretold")]
        judged = {"accuracy": self.accuracy, "test_accuracy": self.test_accuracy}
        return (
            judged
            | {n: getattr(self, n) for n in names}
            | {
                "choices": dict(self.choices),
                "on": dict(self.on),
                "p95_ms": self.p95_ms,
            }
        )


def ending_like(path: str | Path, artifacts: Mapping[str, Artifact]) -> Artifact:
    """The artifact whose file ends like the path, the first of them where none does."""
    ends = {FORMATS[name].suffix: a for name, a in artifacts.items()}
    return ends.get(Path(path).suffix, next(iter(artifacts.values())))


def written(path: str | Path, artifact: Artifact) -> Path:
    """Writes an artifact whole, a format's other files beside the first, and returns the first one's path.

    Raises:
        BadInput: the path is a folder, its folder does not exist, or it ends like a file of another format.
    """
    place, parts = Path(path).expanduser(), files(artifact)
    first = next(iter(parts))
    if place.is_dir() or not place.parent.is_dir():
        why = "it is a folder" if place.is_dir() else "its folder does not exist"
        raise BadInput(f"{str(place)!r} cannot be written: {why}; give FOLDER/model{first}")
    if place.suffix != first and place.suffix in {".bin", *(f.suffix for f in FORMATS.values())}:
        raise BadInput(
            f"{str(place)!r} does not end like {artifact.format}; give FOLDER/model{first}, or another format to "
            "chipfit export --to"
        )
    for end, data in parts.items():
        write_atomically(place if end == first else place.with_suffix(end), data)
    return place


class Models(Sequence[Model]):
    """Models in an order; `to_pandas` makes a table of them."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = tuple(models)

    @overload
    def __getitem__(self, index: int) -> Model: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Model]: ...
    def __getitem__(self, index: int | slice) -> Model | Sequence[Model]:
        """The model at a place, or those of a slice."""
        return self._models[index]

    def __len__(self) -> int:
        return len(self._models)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models)

    def __repr__(self) -> str:
        return f"Models({list(self._models)!r})"

    def to_pandas(self) -> Any:
        """A data frame with a row for each model.

        Raises:
            ChipfitError: pandas is not installed.
        """
        try:
            pandas = import_module("pandas")
        except ImportError as e:
            raise ChipfitError("to_pandas needs pandas, which is not installed; run: pip install pandas") from e
        return pandas.DataFrame([m.plain() for m in self._models])


@dataclass(frozen=True, slots=True)
class Result:
    """What a run found.

    `best` leads the report: the final model within the first budget that one holds, which is the best file that was
    measured within it, whatever its origin. `front` are the models that no
    other beats in quality and latency, the fastest first; `models` all of them, `trials` the raw rows of the store.
    """

    path: Path
    best: Model | None
    front: Models
    models: Models
    view: RunView = field(repr=False)
    trials: tuple[Trial, ...] = field(repr=False)

    def __str__(self) -> str:
        answer = f"{self.best}, within {self.best.budget}" if self.best is not None else "no model within its budget"
        return f"{self.path}: {answer}; {len(self.models)} models, report {self.report}"

    @property
    def report(self) -> Path:
        """The report's page."""
        return self.path / "report.html"

    @property
    def finals(self) -> tuple[Model, ...]:
        """The chosen model of each budget of the run, in the order of the budgets."""
        wanted = [b.text for b in self.view.budgets]
        found = {m.budget: m for m in self.models if m.role == "final" and m.error is None}
        return tuple(found[text] for text in wanted if text in found)

    @property
    def reference(self) -> Model | None:
        """The untouched file that shares are of: as it came, or in int8 throughout where that is faster."""
        row = reference_row(self.view)
        return None if row is None else self.of(row)

    def of(self, row: Row) -> Model:
        """The model of a row of the report."""
        return self.models[next(n for n, r in enumerate(self.view.rows) if r is row)]

    def find(self, name: str) -> Model:
        """The model of this key (or its beginning), name or budget; files that were kept come first.

        Raises:
            BadInput: there is none; names those that were kept as files.
        """
        ranked = sorted(self.models, key=lambda m: not m.exportable)
        for m in ranked:
            if name in (m.name, m.budget, m.key) or (len(name) >= 4 and m.key.startswith(name)):
                return m
        kept = [f"{m.key[:8]} ({m.name}, {m.budget})" for m in ranked if m.exportable]
        raise BadInput(f"run {self.path} has no candidate {name!r}; as files it has {', '.join(kept) or 'none'}")

    def plain(self) -> dict[str, Plain]:
        """Everything above as JSON-ready values."""
        return {
            "run": str(self.path),
            "finished": self.view.finished,
            "report": str(self.report),
            "budgets": [b.text for b in self.view.budgets],
            "best": None if self.best is None else self.best.plain(),
            "finals": [m.plain() for m in self.finals],
            "front": [m.plain() for m in self.front],
            "models": [m.plain() for m in self.models],
            "phases": [[name, seconds] for name, seconds in self.view.phases],
            "warnings": list(self.view.warnings),
        }


def read_result(store: Store) -> Result:
    """What the store of a run holds so far."""
    run, trials = view(store), tuple(store.trials())
    files = {(Row.of(t).key, t.labels.get("budget", "")): t.labels for t in trials if "blob" in t.labels}
    made = {id(r): _model(run, r, files.get((r.key, r.budget), {}) if r.role == "final" else {}) for r in run.rows}
    best = headline(run)
    return Result(
        path=store.path,
        best=None if best is None else made[id(best)],
        front=Models([made[id(r)] for r in front(run.rows)]),
        models=Models(list(made.values())),
        view=run,
        trials=trials,
    )


def open_run(path: str | Path) -> Result:
    """What a run directory holds; works also while the run goes on.

    Raises:
        BadInput: not a run directory, or a damaged one.
    """
    with Store(path, read_only=True) as store:
        return read_result(store)


def compare(a: str | Path, b: str | Path) -> Comparison:
    """What differs between two runs: numbers of the models that they led to, and the decisions in them.

    Raises:
        BadInput: one is not a run directory, or has no final model yet.
    """
    return compare_runs(open_run(a).view, open_run(b).view)


def write_report(path: str | Path) -> Path:
    """Writes report.html and the files beside it for a run, finished or not; returns its path.

    Raises:
        BadInput: not a run directory.
    """
    with Store(path, read_only=True) as store:
        return page(store)


def _model(run: RunView, r: Row, labels: Mapping[str, str]) -> Model:
    budget = budget_of(run, r) if r.role == "final" or r.budget else None
    ratio = find(r.measurements, "latency_ratio")
    numbers: dict[str, Any] = {name: _value(find(r.measurements, name)) for name in ("size_mb", "macs", "params")}
    return Model(
        name=r.name,
        role=r.role,
        base=r.model,
        budget=r.budget,
        meets_budget=None if budget is None or budget.excess(r) is None else budget.met(r),
        quality=_value(r.quality),
        test_quality=_value(r.test),
        metric=r.judged.name,
        latency_ms=_value(r.latency),
        predicted_ms=_value(r.predicted),
        error=r.error,
        key=r.key,
        edits=len(r.edits) if isinstance(r.edits, Sequence) else 0,
        choices=r.choices,
        blob=labels.get("blob"),
        format=labels.get("format", "onnx"),
        details={} if r.latency is None else r.latency.details,
        provenance=None if r.latency is None else r.latency.provenance,
        foretold=next((m for m in r.measurements if m.metric == "latency_ms" and m.interval is not None), None),
        interval_ms=None if r.latency is None else r.latency.interval,
        origin=r.origin,
        steps=r.steps,
        file=r.file,
        ratio=None if ratio is None else ratio.value,
        ratio_error=None if ratio is None else ratio.spread,
        run=run.path,
        **numbers,
    )


def _value(m: Measurement | None) -> float | None:
    return None if m is None else m.value
