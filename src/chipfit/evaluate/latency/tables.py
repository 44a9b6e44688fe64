"""Files of measured networks: tables of several devices (.npz), and the few samples of a new one (.csv or .npz).

A table is a numpy archive without pickled objects:

| array       | shape         | meaning |
|-------------|---------------|---------|
| `names`     | (n,) text     | a name for each network, each once |
| `devices`   | (m,) text     | a name for each device; there may be none yet |
| `values`    | (n, m) float  | what was measured; NaN where a network was not measured on a device |
| `metric`    | () text       | what the values are, with its unit: `latency_ms`, `energy_mj`, `cycles`, ... |
| `graphs`    | (n,) text     | the JSON of each network's `Graph` |
| `genes`     | (n, g) int    | or, in the place of graphs: which operator stands at each position |
| `operators` | (k,) text     | what the genes count |
| `edges`     | (g, 2) int    | and, where positions are the edges of a cell: the nodes from and to which each leads |

Samples as text are a line for each network under a header: `name,latency_ms`.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.graph import KINDS, Graph
from chipfit.evaluate.latency.base import LEAST, Floats, Ints
from chipfit.store.atomic import write_atomically

OFF_SCALE = 100.0
"""Values so many times above or below those of every other device are in another unit, most likely."""

SAME = 1e-6
"""Columns whose values differ by a smaller share were not measured twice."""


@dataclass(frozen=True)
class Genes:
    """Networks of a space without graphs: `codes` (n, g) index `operators`; `edges` (g, 2) for cells, else None."""

    codes: Ints
    operators: tuple[str, ...]
    edges: Ints | None = None

    def alike(self, other: Genes) -> bool:
        """True for networks of one space."""
        same = self.operators == other.operators and self.codes.shape[1] == other.codes.shape[1]
        mine, theirs = (np.zeros(0) if g.edges is None else g.edges for g in (self, other))
        return same and np.array_equal(mine, theirs)

    def take(self, rows: Sequence[int]) -> Genes:
        """These rows, in this order."""
        return replace(self, codes=self.codes[list(rows)])


@dataclass(frozen=True)
class Table:
    """What a file holds: networks, as graphs or genes, and their `values` (n, devices) with NaN where not measured."""

    names: tuple[str, ...]
    devices: tuple[str, ...]
    values: Floats
    metric: str
    networks: tuple[Graph, ...] | Genes

    def __len__(self) -> int:
        return len(self.names)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of its file."""
        words = {"names": np.array(self.names, str), "devices": np.array(self.devices, str)}
        numbers = {"values": self.values, "metric": np.array(self.metric)}
        return {**words, **numbers, **networks_to_arrays(self.networks)}

    def take(self, rows: Sequence[int]) -> Table:
        """These networks, in this order."""
        kept = self.networks.take(rows) if isinstance(self.networks, Genes) else tuple(self.networks[i] for i in rows)
        return replace(self, names=tuple(self.names[i] for i in rows), values=self.values[list(rows)], networks=kept)

    def without(self, devices: Sequence[str]) -> Table:
        """The table without some devices."""
        kept = [n for n, d in enumerate(self.devices) if d not in devices]
        return replace(self, devices=tuple(self.devices[n] for n in kept), values=self.values[:, kept])

    def rows(self, names: Iterable[str], where: str) -> list[int]:
        """The places of networks.

        Raises:
            BadInput: a name that the table does not have; `where` it stands is said.
        """
        place = {name: n for n, name in enumerate(self.names)}
        found = []
        for name in names:
            if name not in place:
                hint = did_you_mean(name, self.names) if len(self) <= 5000 else ""
                raise BadInput(f"{where}: network {name!r} is in no table{hint}; name one of their {len(self)}")
            found.append(place[name])
        return found


def write_table(path: Path, table: Table) -> None:
    """Writes a table; a reader meets the old or the new file, whole."""
    write_arrays(path, table.to_arrays())


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """A numpy archive of these arrays, written whole."""
    made = io.BytesIO()
    np.savez_compressed(made, **arrays)  # type: ignore[arg-type]
    write_atomically(path, made.getvalue())


def networks_to_arrays(networks: tuple[Graph, ...] | Genes) -> dict[str, NDArray[Any]]:
    """The part of a file that says what the networks are."""
    if not isinstance(networks, Genes):
        return {"graphs": np.array([g.to_json() for g in networks], str)}
    arrays: dict[str, NDArray[Any]] = {"genes": networks.codes, "operators": np.array(networks.operators, str)}
    return arrays if networks.edges is None else {**arrays, "edges": networks.edges}


def read_table(path: str | Path) -> Table:
    """The table of a file.

    Raises:
        BadInput: the file cannot be read, or holds what no predictor can learn from; says what and where.
    """
    arrays = read_arrays(path)
    return checked(table_of(arrays, str(path)), str(path))


def read_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of a numpy archive, none of which may be a pickled object.

    Raises:
        BadInput: there is no such file, or it is no archive of plain arrays.
    """
    place = Path(path).expanduser()
    try:
        with np.load(place, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except FileNotFoundError as e:
        raise BadInput(f"table {str(path)!r} does not exist; give a .npz file") from e
    except (OSError, ValueError, AttributeError, TypeError, EOFError, zlib.error, zipfile.BadZipFile) as e:
        raise BadInput(f"table {str(path)!r} is no numpy archive of plain arrays; write it with numpy.savez") from e


def table_of(arrays: Mapping[str, NDArray[Any]], where: str) -> Table:
    """The table of arrays as files hold them, not yet checked beyond their shapes."""
    if missing := [n for n in ("names", "devices", "values", "metric") if n not in arrays]:
        raise BadInput(f"{where} has no array {missing[0]!r}; it has {', '.join(arrays) or 'none'}")
    names, devices = (tuple(str(v) for v in arrays[n].reshape(-1)) for n in ("names", "devices"))
    if arrays["values"].dtype.kind not in "fiu" or arrays["values"].shape != (len(names), len(devices)):
        raise BadInput(
            f"{where}: values of shape {arrays['values'].shape} are not numbers for {len(names)} networks on "
            f"{len(devices)} devices; give a row for each name and a column for each device"
        )
    values = np.asarray(arrays["values"], np.float64)
    return Table(names, devices, values, str(arrays["metric"]), _networks(arrays, len(names), where))


def _networks(arrays: Mapping[str, NDArray[Any]], n: int, where: str) -> tuple[Graph, ...] | Genes:
    if "graphs" in arrays:
        texts = [str(t) for t in arrays["graphs"].reshape(-1)]
        if len(texts) != n:
            raise BadInput(f"{where} has {len(texts)} graphs for {n} names; give one for each")
        return tuple(_graph(text, i, where) for i, text in enumerate(texts))
    if "genes" not in arrays or "operators" not in arrays:
        raise BadInput(f"{where} does not say what its networks are; give 'graphs', or 'genes' and 'operators'")
    codes, operators = np.asarray(arrays["genes"]), tuple(str(o) for o in arrays["operators"].reshape(-1))
    if codes.ndim != 2 or len(codes) != n or codes.dtype.kind not in "iu":
        raise BadInput(f"{where}: genes of shape {codes.shape} are not whole numbers in a row for each of {n} names")
    codes = codes.astype(np.int64)
    for i, j in np.argwhere((codes < 0) | (codes >= len(operators)))[:1]:
        raise BadInput(
            f"{where}: row {i + 1} has operator {codes[i, j]} at position {j + 1}, unknown; operators are 0 to "
            f"{len(operators) - 1}: {', '.join(operators)}"
        )
    edges = np.asarray(arrays["edges"], np.int64) if "edges" in arrays else None
    if edges is not None and edges.shape != (codes.shape[1], 2):
        raise BadInput(f"{where}: edges of shape {edges.shape} are not two nodes for each of {codes.shape[1]} genes")
    return Genes(codes, operators, edges)


def _graph(text: str, row: int, where: str) -> Graph:
    try:
        graph = Graph.from_json(text)
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise BadInput(f"{where}: graph {row + 1} is not the JSON of a Graph ({e}); write it with Graph.to_json") from e
    for o in graph:
        if o.kind not in KINDS and not o.kind[:1].isupper():
            raise BadInput(
                f"{where}: graph {row + 1} has an operator of unknown kind {o.kind!r}{did_you_mean(o.kind, KINDS)}"
            )
    return graph


def checked(table: Table, where: str) -> Table:
    """The table itself.

    Raises:
        BadInput: names twice, values that are not positive, columns that are constant, empty or twice there.
    """
    for what, words in (("network", table.names), ("device", table.devices)):
        if len(set(words)) < len(words):
            twice = next(w for w in words if words.count(w) > 1)
            raise BadInput(f"{where} names {what} {twice!r} twice; give each one row or column")
    if not table.names:
        raise BadInput(f"{where} holds no network")
    for n, device in enumerate(table.devices):
        column = table.values[:, n]
        known = column[~np.isnan(column)]
        if not len(known):
            raise BadInput(f"{where}: device {device!r} has no value; leave its column out")
        _positive(known, f"{where}: device {device!r}")
        if len(known) > 1 and np.ptp(known) <= SAME * known.max():
            raise BadInput(f"{where}: device {device!r} has the same value {known[0]:g} throughout; leave it out")
    for a, b in _twins(table.values):
        raise BadInput(
            f"{where}: device {table.devices[b]!r} has the values of {table.devices[a]!r}; leave one of them out"
        )
    return table


def _positive(values: Floats, who: str) -> None:
    bad = values[~(np.isfinite(values) & (values > 0))]
    if len(bad):
        raise BadInput(f"{who} has the value {bad[0]:g}, which is not above zero; leave such rows out")


def _twins(values: Floats) -> list[tuple[int, int]]:
    """Pairs of columns with the same values."""
    found = []
    for a in range(values.shape[1]):
        for b in range(a + 1, values.shape[1]):
            both = ~np.isnan(values[:, a]) & ~np.isnan(values[:, b])
            if both.sum() >= LEAST and np.allclose(values[both, a], values[both, b], rtol=SAME, atol=0.0):
                found.append((a, b))
    return found


def merged(tables: Sequence[Table], where: Sequence[str]) -> Table:
    """One table of all networks and devices; those of one name are the same.

    Raises:
        BadInput: different metrics or kinds of networks, a name that stands for two networks or for two devices.
    """
    first = tables[0]
    for table, file in zip(tables[1:], where[1:], strict=True):
        first = _with(first, table, file)
    return checked(first, " and ".join(where))


def _with(a: Table, b: Table, where: str) -> Table:
    if a.metric != b.metric:
        raise BadInput(f"{where} holds {b.metric}, the table before it {a.metric}; give tables of one metric")
    if not one_space(a.networks, b.networks):
        raise BadInput(f"{where} has networks of another space than the table before it; give tables of one")
    place = {name: n for n, name in enumerate(a.names)}
    new = [n for n, name in enumerate(b.names) if name not in place]
    for n, name in enumerate(b.names):
        if name in place and not _equal(a.networks, place[name], b.networks, n):
            raise BadInput(f"{where} has another network named {name!r} than the table before it; rename one")
    names = (*a.names, *(b.names[n] for n in new))
    place = {name: n for n, name in enumerate(names)}
    devices = tuple(dict.fromkeys((*a.devices, *b.devices)))
    values = np.full((len(names), len(devices)), np.nan)
    values[: len(a), : len(a.devices)] = a.values
    rows = [place[name] for name in b.names]
    for n, device in enumerate(b.devices):
        column = values[rows, devices.index(device)]
        both = ~np.isnan(column) & ~np.isnan(b.values[:, n])
        if not np.allclose(column[both], b.values[both, n], rtol=SAME, atol=0.0):
            raise BadInput(
                f"{where} has other values of device {device!r} than the table before it; rename one of them"
            )
        values[rows, devices.index(device)] = np.where(np.isnan(column), b.values[:, n], column)
    return Table(names, devices, values, a.metric, _joined(a.networks, b.networks, new))


def one_space(a: tuple[Graph, ...] | Genes, b: tuple[Graph, ...] | Genes) -> bool:
    """True where both are graphs, or genes of one meaning."""
    if isinstance(a, Genes) and isinstance(b, Genes):
        return a.alike(b)
    return not isinstance(a, Genes) and not isinstance(b, Genes)


def _joined(
    a: tuple[Graph, ...] | Genes, b: tuple[Graph, ...] | Genes, new: Sequence[int]
) -> tuple[Graph, ...] | Genes:
    """The networks of the first, then the `new` ones of the second."""
    if isinstance(a, Genes) and isinstance(b, Genes):
        return replace(a, codes=np.concatenate([a.codes, b.codes[list(new)]]))
    assert not isinstance(a, Genes)
    assert not isinstance(b, Genes)
    return (*a, *(b[n] for n in new))


def _equal(a: tuple[Graph, ...] | Genes, i: int, b: tuple[Graph, ...] | Genes, j: int) -> bool:
    if isinstance(a, Genes) and isinstance(b, Genes):
        return bool(np.array_equal(a.codes[i], b.codes[j]))
    return not isinstance(a, Genes) and not isinstance(b, Genes) and a[i].key == b[j].key


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
    try:
        lines = list(csv.reader(place.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise BadInput(f"samples {str(path)!r} cannot be read: {e}; give a .csv with the header name,latency_ms") from e
    head = [cell.strip() for cell in lines[0]] if lines else []
    if len(head) != 2 or head[0] != "name":
        raise BadInput(f"{path} begins with {','.join(head) or 'nothing'}; its header must be like name,latency_ms")
    values = {}
    for n, line in enumerate(lines[1:], 2):
        if len(line) < 2 or not line[1].strip():
            continue
        name = line[0].strip()
        if name in values:
            raise BadInput(f"{path}, line {n}: network {name!r} stands there twice; keep one line")
        values[name] = _number(line[1], f"{path}, line {n}")
    return Samples(values, head[1])


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

    `as_written` accepts values far from the scale of every device of the table.

    Raises:
        BadInput: another metric, fewer than `LEAST` samples, unknown networks, one value throughout, another unit by
            the look of it, or the very values of a device of the table.
    """
    if samples.metric != table.metric:
        raise BadInput(f"{where} holds {samples.metric}, the tables {table.metric}; give samples in {table.metric}")
    rows = table.rows(samples.values, where)
    values = np.array(list(samples.values.values()))
    if len(values) < LEAST:
        raise BadInput(f"{where} has {len(values)} samples; at least {LEAST} are needed, 20 are better")
    if np.ptp(values) <= SAME * values.max():
        raise BadInput(f"{where} has the same value {values[0]:g} throughout; measure networks that differ")
    ratios = _ratios(values, table.values[rows])
    if len(ratios) and not as_written and (min(ratios) > OFF_SCALE or max(ratios) < 1 / OFF_SCALE):
        times, word = (min(ratios), "above") if min(ratios) > 1 else (1 / max(ratios), "below")
        raise BadInput(
            f"{where}: its values lie {times:.0f} times {word} those of every device of the tables; give them in "
            f"{table.metric}, or --as-written where they are"
        )
    for n, device in enumerate(table.devices):
        column = table.values[rows, n]
        known = ~np.isnan(column)
        if known.sum() >= LEAST and np.allclose(column[known], values[known], rtol=SAME, atol=0.0):
            raise BadInput(
                f"{where} has the values of device {device!r} itself; leave that out with --without {device}"
            )
    return rows, values


def _ratios(values: Floats, others: Floats) -> list[float]:
    """Median of the values over those of each device that knows some of the networks."""
    ratios = values[:, None] / others
    return [float(np.nanmedian(r)) for r in ratios.T if not np.all(np.isnan(r))]
