"""Files of measured networks: tables of several devices (.npz).

A table is a numpy archive without pickled objects:

| array       | shape         | meaning |
|-------------|---------------|---------|
| `names`     | (n,) text     | a name for each network, each once |
| `devices`   | (m,) text     | a name for each device; there may be none yet |
| `values`    | (n, m) float  | what was measured; NaN where a network was not measured on a device |
| `metric`    | () text       | what the values are, with its unit: `latency_ms`, `energy_mj`, `cycles`, ... |
| `graphs`    | (n,) text     | the JSON of each network's `Graph` |
| `genes`     | (n, p) int    | or, in the place of graphs: which operator stands at each position |
| `operators` | (k,) text     | what the genes count |

and, where genes are given, what is known of them (each may be left out; costs halve the intervals):

| array        | shape       | meaning |
|--------------|-------------|---------|
| `edges`      | (p, 2) int  | positions are the edges of a cell: the nodes from and to which each leads, in order |
| `stages`     | (p,) int    | the stage (resolution) of each position, from 0 |
| `costs`      | (n, c) or (c, p, k) float | of whole networks, or of each operator at each position: MACs, ... |
| `cost_names` | (c,) text   | what these costs are |
| `cost_fixed` | (c,) float  | with (c, p, k): what every network costs beside its choices |

Of graphs MACs, parameters and traffic are counted here.
"""

from __future__ import annotations

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
from chipfit.evaluate.latency import encode
from chipfit.evaluate.latency.base import LEAST, Floats, Networks
from chipfit.evaluate.latency.genes import Genes, genes_of
from chipfit.store.atomic import write_atomically

MOST_MB = 4000
"""Of all arrays of a file, unpacked."""

SAME = 1e-6
"""Columns whose values differ by a smaller share were not measured twice."""


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
    return networks.to_arrays()


def encoded(table: Table) -> Networks:
    """The networks of a table as models see them."""
    if isinstance(table.networks, Genes):
        return table.networks.encoded(table.names)
    return encode.graphs(table.names, table.networks)


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
    if not place.is_file():
        raise BadInput(f"table {str(path)!r} {'is no file' if place.exists() else 'does not exist'}; give a .npz file")
    try:
        _bounded(place)
        with np.load(place, allow_pickle=False) as data:
            return {name: _plain(data, name, str(path)) for name in data.files}
    except (OSError, ValueError, AttributeError, TypeError, EOFError, zlib.error, zipfile.BadZipFile) as e:
        raise BadInput(f"table {str(path)!r} is no numpy archive of plain arrays; write it with numpy.savez") from e


def _bounded(place: Path) -> None:
    """Holds what an archive says that it unpacks to against the limit, before anything is unpacked."""
    with zipfile.ZipFile(place) as archive:
        megabytes = sum(i.file_size for i in archive.infolist()) / 1e6
    if megabytes > MOST_MB:
        raise BadInput(f"table {str(place)!r} unpacks to {megabytes:.0f} MB; give one of at most {MOST_MB} MB")


def _plain(data: Mapping[str, NDArray[Any]], name: str, where: str) -> NDArray[Any]:
    """One array; an object array, which only pickle can read, is told by its name."""
    try:
        return data[name]
    except ValueError as e:
        if "allow_pickle" not in str(e):
            raise
        raise BadInput(
            f"table {where!r}: array {name!r} holds Python objects; give text or numbers, e.g. numpy.array(names, str)"
        ) from e


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
    return genes_of(arrays, n, where)


def _graph(text: str, row: int, where: str) -> Graph:
    try:
        graph = Graph.from_json(text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise BadInput(f"{where}: graph {row + 1} is not the JSON of a Graph ({e}); write it with Graph.to_json") from e
    if fault := _fault(graph):
        raise BadInput(f"{where}: graph {row + 1} {fault}; write it with Graph.to_json")
    for o in graph:
        if o.kind not in KINDS and not o.kind[:1].isupper():
            raise BadInput(
                f"{where}: graph {row + 1} has an operator of unknown kind {o.kind!r}{did_you_mean(o.kind, KINDS)}"
            )
    return graph


def _fault(graph: Graph) -> str:
    """What is wrong with a graph's structure, "" for nothing: names once, inputs before their use, sizes above zero."""
    seen: set[str] = set()
    for o in graph:
        if o.name in seen:
            return f"names operator {o.name!r} twice"
        if strangers := [i for i in o.inputs if i not in seen]:
            return f"reads {strangers[0]!r} in {o.name!r} before it is there"
        if any(not isinstance(side, int) or side < 0 for side in o.shape):
            return f"has {o.name!r} of shape {o.shape}"
        seen.add(o.name)
    if not graph.ops or graph.ops[0].kind != "input":
        return "does not begin with its input"
    return "" if graph.output in seen else f"ends in {graph.output!r}, which it does not have"


def checked(table: Table, where: str) -> Table:
    """The table itself.

    Raises:
        BadInput: names twice, values that are not positive, columns that are constant, empty or twice there.
    """
    for what, words in (("network", table.names), ("device", table.devices)):
        if not all(w.strip() for w in words):
            empty = next(i for i, w in enumerate(words, 1) if not w.strip())
            raise BadInput(f"{where}: {what} {empty} has no name; name each")
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
        return a.with_others(b, new)
    assert not isinstance(a, Genes)
    assert not isinstance(b, Genes)
    return (*a, *(b[n] for n in new))


def _equal(a: tuple[Graph, ...] | Genes, i: int, b: tuple[Graph, ...] | Genes, j: int) -> bool:
    if isinstance(a, Genes) and isinstance(b, Genes):
        return bool(np.array_equal(a.codes[i], b.codes[j]))
    return not isinstance(a, Genes) and not isinstance(b, Genes) and a[i].key == b[j].key
