"""The few samples of a new device: a .csv of `name,latency_ms`, or a table of one device; and whether they can be true.

A line for each network under a header. Columns may be parted by semicolons, and decimals then written with a comma.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chipfit.core.errors import BadInput
from chipfit.evaluate.latency.base import LEAST, Floats
from chipfit.evaluate.latency.tables import SAME, Table, read_table
from chipfit.store.atomic import write_atomically

OFF_SCALE = 100.0
"""Values so many times above or below those of every other device are in another unit, most likely."""

ASTRAY = 30.0
"""One value so many times off what every other device makes of the other samples is in another unit, most likely."""

_TIMES = frozenset({"s", "ms", "us", "ns", "sec", "secs", "second", "seconds", "milliseconds", "microseconds", "time"})

LEAKED = 1e-3
"""Samples that all agree so well with a device of the tables are its own, whatever digits they were written with."""


@dataclass(frozen=True)
class Samples:
    """What was measured on a new device: network name to its positive value."""

    values: Mapping[str, float]
    metric: str
    table: Table | None = None
    """The networks themselves, where the file holds them."""


def read_samples(path: str | Path) -> Samples:
    """The samples of a .csv file (`name,latency_ms`; lines without a value are left out) or of a table of one device.

    Raises:
        BadInput: the file cannot be read, or a value is not a positive number.
    """
    place = Path(path).expanduser()
    if place.suffix == ".npz":
        table = read_table(place)
        if len(table.devices) != 1:
            raise BadInput(f"{path} has {len(table.devices)} devices; the samples of a new one are a single column")
        column = table.values[:, 0]
        values = {name: float(v) for name, v in zip(table.names, column, strict=True) if not np.isnan(v)}
        return Samples(values, table.metric, table.without(table.devices))
    lines, comma = _lines(path, place)
    head = [cell.strip() for cell in lines[0]] if lines else []
    if len(head) != 2 or head[0] != "name" or not head[1]:
        raise BadInput(f"{path} begins with {','.join(head) or 'nothing'}; its header must be like name,latency_ms")
    found: dict[str, float] = {}
    for n, line in enumerate(lines[1:], 2):
        if len(line) > 2 and any(cell.strip() for cell in line[2:]):
            raise BadInput(
                f"{path}, line {n}: {','.join(line)} has {len(line)} columns for the header's 2; write decimals with a "
                "point, or part the columns with semicolons"
            )
        if len(line) < 2 or not line[1].strip():
            continue
        name = line[0].strip()
        if not name:
            raise BadInput(f"{path}, line {n}: a value without a network; write name,{head[1]}")
        if name in found:
            raise BadInput(f"{path}, line {n}: network {name!r} stands there twice; keep one line")
        found[name] = _number(line[1].replace(",", ".") if comma else line[1], f"{path}, line {n}")
    return Samples(found, head[1])


def _lines(path: str | Path, place: Path) -> tuple[list[list[str]], bool]:
    """The cells of a .csv, line by line, and whether decimals may be written with a comma."""
    if place.exists() and not place.is_file():
        raise BadInput(f"samples {str(path)!r} are no file; give a .csv with the header name,latency_ms")
    try:
        text = place.read_text(encoding="utf-8-sig")
        first = text.partition("\n")[0]
        mark = next((m for m in (";", "\t") if m in first), ",")
        return list(csv.reader(text.splitlines(), delimiter=mark, strict=True)), mark != ","
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise BadInput(f"samples {str(path)!r} cannot be read: {e}; give a .csv with the header name,latency_ms") from e


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError as e:
        raise BadInput(f"{where}: {text.strip()!r} is not a number; write it like 1.25") from e
    if not np.isfinite(value) or value <= 0:
        raise BadInput(f"{where}: {text.strip()} is not a positive number; leave the line out if it was not measured")
    return value


def write_samples(path: Path, values: Mapping[str, float | None], metric: str) -> None:
    """A .csv of samples; None is a network that is still to be measured."""
    made = io.StringIO()
    rows = csv.writer(made, lineterminator="\n")
    rows.writerow(["name", metric])
    rows.writerows([name, "" if v is None else f"{v:.7g}"] for name, v in values.items())
    write_atomically(path, made.getvalue().encode())


def check_samples(samples: Samples, table: Table, where: str, *, as_written: bool = False) -> tuple[list[int], Floats]:
    """(rows of the table, (n,) values) of samples that a predictor can be fitted to.

    Samples of another metric than the tables' (energy beside latencies) are taken as they are: what the tables teach
    is which networks are alike. `as_written` accepts values far from what the devices of the table make likely.

    Raises:
        BadInput: the tables' metric in another unit, fewer than `LEAST` samples, unknown networks, one value
            throughout, another unit by the look of it (of all, or of one), or the very values of a device of the table.
    """
    if samples.metric != table.metric and _what(samples.metric) == _what(table.metric):
        raise BadInput(f"{where} holds {samples.metric}, the tables {table.metric}; give samples in {table.metric}")
    rows = table.rows(samples.values, where)
    values = np.array(list(samples.values.values()))
    if len(values) < LEAST:
        raise BadInput(f"{where} has {len(values)} samples; at least {LEAST} are needed, 20 are better")
    if np.ptp(values) <= SAME * values.max():
        raise BadInput(f"{where} has the same value {values[0]:g} throughout; measure networks that differ")
    others = table.values[rows]
    if not as_written:
        if samples.metric == table.metric:
            _in_its_unit(values, others, table.metric, where)
        _none_astray(tuple(samples.values), values, others, samples.metric, where)
    for n, device in enumerate(table.devices):
        column = others[:, n]
        known = ~np.isnan(column)
        if known.sum() >= LEAST and np.allclose(column[known], values[known], rtol=LEAKED, atol=0.0):
            raise BadInput(
                f"{where} has the values of device {device!r} itself; leave that out with --without {device}"
            )
    return rows, values


def _what(metric: str) -> str:
    """What a metric measures, without its unit: a bare unit of time is a latency."""
    return "latency" if metric.lower() in _TIMES else metric.rpartition("_")[0] or metric


def _in_its_unit(values: Floats, others: Floats, metric: str, where: str) -> None:
    ratios = [float(np.nanmedian(r)) for r in (values[:, None] / others).T if not np.all(np.isnan(r))]
    if ratios and (min(ratios) > OFF_SCALE or max(ratios) < 1 / OFF_SCALE):
        times, word = (min(ratios), "above") if min(ratios) > 1 else (1 / max(ratios), "below")
        raise BadInput(
            f"{where}: its values lie {times:.0f} times {word} those of every device of the tables; give them in "
            f"{metric}, or --as-written where they are"
        )


def _none_astray(names: tuple[str, ...], values: Floats, others: Floats, metric: str, where: str) -> None:
    """Of each sample, how far it is from what a device makes of the others, by the device that is nearest.

    Where no device knows it, from the sample that is next to it.
    """
    logs = np.log(values)
    apart = np.abs(logs[:, None] - logs) + np.diag(np.full(len(logs), np.inf))
    nearest = apart.min(1)
    known = np.isfinite(others)
    if known.any():
        beside = logs[:, None] - np.log(others)
        enough = known.sum(0) >= LEAST
        middle = np.where(enough, np.nanmedian(np.where(enough, beside, 0.0), 0), np.nan)
        off = np.abs(beside - middle)
        some = np.isfinite(off).any(1)
        nearest[some] = np.min(np.where(np.isfinite(off), off, np.inf)[some], 1)
    worst = int(np.argmax(nearest))
    if nearest[worst] > np.log(ASTRAY):
        raise BadInput(
            f"{where}: {names[worst]} is {values[worst]:g} {metric}, {np.exp(nearest[worst]):.0f} times off what the "
            "others make likely; mend its unit, leave the line out, or give --as-written"
        )
