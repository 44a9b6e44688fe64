"""Predictors of a device from a few timings: names and files become tables, samples and devices, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chipfit.api.config import Config
from chipfit.api.inputs import Given, load_entries, opened_all, user_memory
from chipfit.api.result import written
from chipfit.core.errors import BadInput
from chipfit.core.types import Plain
from chipfit.evaluate.latency.base import Floats
from chipfit.evaluate.latency.tables import (
    Table,
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
    return known.without(known.devices).take(sorted(rng.permutation(len(known))[:n].tolist()))


def _known(out: Path, networks: Table, devices: Sequence[str]) -> Floats:
    """(n, devices) what the file holds of these networks."""
    values = np.full((len(networks), len(devices)), np.nan)
    if not out.is_file():
        return values
    if out.suffix == ".csv":
        found = read_samples(out).values
        names, columns = tuple(found), {devices[0]: np.array([found[name] for name in found], np.float64)}
    else:
        table = read_table(out)
        names, columns = table.names, dict(zip(table.devices, table.values.T, strict=True))
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
