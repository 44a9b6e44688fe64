"""Predictors of a device from a few timings: names and files become tables, samples and devices, once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from chipfit.api.config import Config
from chipfit.api.inputs import Given, load_all, load_entries, load_predictor, opened_all, user_memory
from chipfit.api.places import predictor_file
from chipfit.api.result import Model, read_result, written
from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.types import Measurement, Plain, Trial
from chipfit.evaluate.latency.base import Floats, Prediction, Tables
from chipfit.evaluate.latency.device import PREFIX
from chipfit.evaluate.latency.predict import FittedPredictor, Source, chosen, encoded
from chipfit.evaluate.latency.split import hard_split
from chipfit.evaluate.latency.tables import (
    Table,
    check_samples,
    merged,
    read_samples,
    read_table,
    write_samples,
    write_table,
)
from chipfit.evaluate.timing import Timing
from chipfit.export.formats import FORMATS, known_format, timing_artifact
from chipfit.recipes import predict as recipe
from chipfit.recipes.settings import Progress
from chipfit.report.page import page
from chipfit.store.store import Store

METRIC = "latency_ms"
TIMINGS, NETWORKS = "timings.csv", "networks.npz"
"""What a folder of exported networks holds beside them: the file to fill in, and the networks for `fit`."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What `measure` wrote: the file, its networks, and for each device how many of them have a value."""

    path: Path
    names: tuple[str, ...]
    done: dict[str, int]

    def plain(self) -> dict[str, Plain]:
        """The same as JSON-ready values."""
        return {"file": str(self.path), "networks": list(self.names), "timed": dict(self.done)}


def tables_of(paths: Sequence[str]) -> Table:
    """The tables of some files as one.

    Raises:
        BadInput: see `read_table` and `merged`.
    """
    return merged([read_table(p) for p in paths], list(paths))


def measure(config: Config, n: int, tables: Sequence[str], out: Path, progress: Progress) -> Measured:
    """Times `n` networks, of models' menus or of tables, on the devices; goes on with what the file holds.

    A .csv file takes the values of one device for networks that tables hold; a .npz file takes all, networks too.

    Raises:
        BadInput: something cannot be used, or the file holds other networks than these.
    """
    if out.suffix not in (".csv", ".npz"):
        raise BadInput(f"--out {out} ends neither in .csv nor in .npz; give one of the two")
    if out.suffix == ".csv" and (not tables or len(config.devices) != 1):
        raise BadInput(f"--out {out} holds the timings of one device for networks of --tables; give FILE.npz")
    if predicted := next((d for d in config.devices if d.startswith(PREFIX)), None):
        raise BadInput(f"--device {predicted}: this device is predicted itself; time networks on a real one")
    with opened_all(config.devices) as devices, user_memory() as memory:
        timings = [Timing(d, memory) for d in devices]
        bits = [b for b in config.bits if all(b in t.facts.bits for t in timings)]
        if not bits:
            raise BadInput(f"--device {config.device}: these have no precision in common; measure one at a time")
        networks = _chosen(config, n, tables, bits)
        known = _known(out, networks, config.devices)

        def keep(values: Floats) -> None:
            _write(out, networks, config.devices, values)

        keep(known)
        values = recipe.measure(networks, timings, known, keep, progress)
    return Measured(out, networks.names, dict(zip(config.devices, (~np.isnan(values)).sum(0).tolist(), strict=True)))


def export(config: Config, n: int, tables: Sequence[str], folder: Path, format: str, progress: Progress) -> Measured:
    """Writes `n` networks as files for a device that cannot be reached from here, and the .csv to fill in by hand.

    Their weights are random, which changes no time; see `export.dummy`.

    Raises:
        BadInput: something cannot be used, or the .csv holds other networks than these.
    """
    format = known_format(format)
    bits = [b for b in config.bits if b in FORMATS[format].bits]
    if not bits:
        raise BadInput(f"--format {format} takes no network in {config.bits[0]} bits; give other --bits or --format")
    networks = _chosen(config, n, tables, bits)
    folder.mkdir(parents=True, exist_ok=True)
    for k, (name, graph) in enumerate(zip(networks.names, recipe.graphs_of(networks), strict=True)):
        progress("export", f"{k} of {len(networks)} networks")
        written(folder / f"{name}{FORMATS[format].suffix}", timing_artifact(graph, format))
    write_table(folder / NETWORKS, networks)
    known = _known(folder / TIMINGS, networks, (format,))
    _write(folder / TIMINGS, networks, (format,), known)
    return Measured(folder / TIMINGS, networks.names, {"by hand": int((~np.isnan(known)).sum())})


def _chosen(config: Config, n: int, tables: Sequence[str], bits: Sequence[int]) -> Table:
    """The networks to time, without values."""
    if bool(config.models) == bool(tables):
        raise BadInput("name the networks to time: either models, such as zoo:fashion-mnist/resnet8, or --tables T.npz")
    rng = np.random.default_rng(config.seed)
    if config.models:
        return recipe.candidates(load_entries(config, Given(), None), bits, n, rng)
    known = recipe.computable(tables_of(tables), bits)
    if n > len(known):
        raise BadInput(f"--n {n}: the tables hold {len(known)} networks that this device computes; give at most that")
    return known.take(chosen(known, n, rng)).without(known.devices)


def _known(out: Path, networks: Table, devices: Sequence[str]) -> Floats:
    """(n, devices) what the file holds of these networks."""
    values = np.full((len(networks), len(devices)), np.nan)
    if not out.is_file():
        return values
    if out.suffix == ".csv":
        samples = read_samples(out)
        metric, found = samples.metric, samples.values
        names, columns = tuple(found), {devices[0]: np.array([found[name] for name in found], np.float64)}
    else:
        table = read_table(out)
        metric, names, columns = table.metric, table.names, dict(zip(table.devices, table.values.T, strict=True))
    if metric != METRIC:
        raise BadInput(f"{out} holds {metric}, this command writes {METRIC}; give another --out")
    if not set(names) <= set(networks.names) or not set(columns) <= set(devices):
        raise BadInput(
            f"{out} holds other networks or devices than this command chooses; give the same options to go on, or "
            "another --out"
        )
    rows = networks.rows(names, str(out))
    for d, column in columns.items():
        values[rows, list(devices).index(d)] = column
    return values


def _write(out: Path, networks: Table, devices: Sequence[str], values: Floats) -> None:
    if out.suffix == ".csv":
        cells = [None if np.isnan(v) else float(v) for v in values[:, 0]]
        write_samples(out, dict(zip(networks.names, cells, strict=True)), METRIC)
        return
    begun = [d for d in range(len(devices)) if not np.all(np.isnan(values[:, d]))]
    table = Table(networks.names, tuple(devices[d] for d in begun), values[:, begun], METRIC, networks.networks)
    write_table(out, table)


@dataclass(frozen=True, slots=True)
class Fit:
    """What `fit` made: the file, the number of samples and the median error when each is predicted from the others.

    `half_width` is the median half-width of the intervals of the networks known, as a share; `sources` the other
    devices by likeness; `weights` how much each model counts.
    """

    name: str
    path: Path
    metric: str
    samples: int
    left_out_error: float
    half_width: float
    sources: tuple[Source, ...]
    weights: dict[str, float]

    @property
    def device(self) -> str:
        """What follows "predicted:" in the device's name."""
        return self.name if self.path == predictor_file(self.name) else str(self.path)

    def plain(self) -> dict[str, Plain]:
        """The same as JSON-ready values."""
        return cast(dict[str, Plain], {**asdict(self), "path": str(self.path)})


def fit(
    tables: Sequence[str],
    timings: str,
    name: str,
    *,
    out: Path | None = None,
    format: str = "onnx",
    without: Sequence[str] = (),
    as_written: bool = False,
    seed: int = 0,
) -> Fit:
    """Fits a predictor to the samples of a device and keeps it under its name, or in a file.

    Args:
        tables: files of networks measured on other devices; they hold the networks of the samples, unless those are
            in a .npz file, which does.
        timings: file of the samples.
        name: the device's; it is `predicted:NAME` from then on.
        out: a .npz file, for another place than the user's data folder.
        format: what the device takes files in.
        without: devices of the tables to leave out.
        as_written: take values that seem to be in another unit as they are.
        seed: of all that is random.

    Raises:
        BadInput: a file cannot be used; see `latency.tables`.
    """
    if not re.fullmatch(r"[\w.-]+", name) or name.endswith(".npz"):
        raise BadInput(f"--name {name!r} cannot name a predictor; use letters, digits, '-', '_' and '.'")
    if out is not None and out.suffix != ".npz":
        raise BadInput(f"--out {out} does not end in .npz; give FILE.npz")
    samples = read_samples(timings)
    known = [(p, read_table(p)) for p in tables] + ([(timings, samples.table)] if samples.table is not None else [])
    if not known:
        raise BadInput(f"{timings} does not hold its networks; name the tables that do: --tables T.npz")
    table = merged([t for _, t in known], [p for p, _ in known])
    if strangers := [d for d in without if d not in table.devices]:
        hint = did_you_mean(strangers[0], table.devices)
        raise BadInput(
            f"--without {strangers[0]}: the tables have no such device{hint}; see {', '.join(table.devices)}"
        )
    table = table.without(without)
    rows, values = check_samples(samples, table, timings, as_written=as_written)
    made = FittedPredictor(name, table, tuple(rows), values, known_format(format), seed)
    around = made.predict_table(table)
    place = out or predictor_file(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    made.write(place)
    width = float(np.median(np.sqrt(around.high / around.low) - 1))
    return Fit(name, place, table.metric, len(rows), made.left_out_error, width, made.sources(), made.weights())


@dataclass(frozen=True, slots=True)
class Foretold:
    """What a predictor says of networks."""

    metric: str
    names: tuple[str, ...]
    values: Prediction

    def plain(self) -> dict[str, Plain]:
        """The same as JSON-ready values."""
        columns = (self.values.values.tolist(), self.values.low.tolist(), self.values.high.tolist())
        rows = [
            {"name": n, "value": v, "low": low, "high": high}
            for n, v, low, high in zip(self.names, *columns, strict=True)
        ]
        return {"metric": self.metric, "interval": 0.9, "networks": cast(Plain, rows)}


def run(name: str, config: Config, tables: Sequence[str]) -> Foretold:
    """What the predictor of a name says of models as they are, or of the networks of tables.

    Raises:
        BadInput: something cannot be used.
    """
    predictor = load_predictor(name)
    if bool(config.models) == bool(tables):
        raise BadInput("name what to predict: either models, such as zoo:fashion-mnist/resnet8, or --networks T.npz")
    if tables:
        table = tables_of(tables)
        return Foretold(predictor.metric, table.names, predictor.predict_table(table))
    entries, files = load_all(config, Given())
    graphs = {e.name: e.network.graph for e in entries} | {path: file.graph for path, file in files.items()}
    return Foretold(predictor.metric, tuple(graphs), predictor.predict_graphs(tuple(graphs.values())))


def split(tables: Sequence[str], sources: int | None, targets: int | None, seed: int = 0) -> dict[str, tuple[str, ...]]:
    """Devices of tables that correlate little across: "sources" to learn from and "targets" to test transfer to.

    Without numbers half the devices, rounded up, are sources and the others targets.

    Raises:
        BadInput: fewer devices than asked for, or two that share too few networks.
    """
    table = tables_of(tables)
    n = len(table.devices)
    m = n - targets if sources is None and targets is not None else -(-n // 2) if sources is None else sources
    known = Tables(encoded(table), table.devices, table.values, table.metric)
    a, b = hard_split(known, m, max(1, n - m) if targets is None else targets, np.random.default_rng(seed))
    return {"sources": a, "targets": b}


@dataclass(frozen=True, slots=True)
class Checked:
    """A file of a run on its device at last: what was predicted, what was measured, and whether that is within both."""

    key: str
    budget: str
    predicted_ms: float
    low_ms: float
    high_ms: float
    measured_ms: float
    inside: bool
    holds: bool

    def plain(self) -> dict[str, Plain]:
        """The same as JSON-ready values."""
        return cast(dict[str, Plain], asdict(self))


def check(run: Path, timings: str) -> list[Checked]:
    """Takes real latencies of a run's final files into it: they stand as measured from then on, in its report too.

    Args:
        run: the directory of a run for a predicted device.
        timings: `name,latency_ms`; a final is named by its key or the beginning of that, or by its budget.

    Raises:
        BadInput: not such a run, or a name that is none of its finals'.
    """
    samples = read_samples(timings)
    if samples.metric != METRIC:
        raise BadInput(f"{timings} holds {samples.metric}; give {METRIC}")
    Store(run, read_only=True).close()  # which, unlike one to write to, is not made where there is none
    with Store(run) as store:
        finals = [t for t in store.trials(role="final") if any(m.interval is not None for m in t.measurements)]
        if not finals:
            raise BadInput(f"run {run} has no final file with a predicted latency")
        for name, ms in samples.values.items():
            for trial in _called(finals, name, timings):
                given = Measurement(METRIC, ms, "measured", str(_device_of(trial)), f"given in {Path(timings).name}")
                told = tuple(m for m in trial.measurements if m.metric != METRIC or m.provenance == "predicted")
                store.append(replace(trial, measurements=(*told, given)))
        result = read_result(store)
        page(store)
    return [c for m in result.finals if (c := _compared(m)) is not None]


def _called(finals: Sequence[Trial], name: str, where: str) -> list[Trial]:
    """The last final of each budget that is called so: one file may serve several."""
    found = [t for t in finals if t.labels.get("budget") == name or (len(name) >= 4 and t.key.startswith(name))]
    if not found:
        known = ", ".join(dict.fromkeys(f"{t.key[:8]} ({t.labels.get('budget')})" for t in finals))
        raise BadInput(f"{where}: the run has no final file {name!r}; it has {known}")
    if name not in {t.labels.get("budget") for t in found} and len({t.key for t in found}) > 1:
        raise BadInput(f"{where}: {name!r} is the beginning of several keys; give more of it")
    return list({t.labels.get("budget"): t for t in found}.values())


def _device_of(trial: Trial) -> str:
    """The device that a final was fitted to, as the user named it."""
    told = next(m for m in trial.measurements if m.interval is not None)
    return told.where.removeprefix(PREFIX).rpartition(" ")[0]


def _compared(m: Model) -> Checked | None:
    told = m.foretold
    if told is None or told.interval is None or m.latency_ms is None or m.provenance != "measured":
        return None
    low, high = told.interval
    inside = low <= m.latency_ms <= high
    return Checked(m.key, m.budget, told.value, low, high, m.latency_ms, inside, bool(m.meets_budget))
