"""A device known from a few samples: fitted, kept in a file, asked about networks.

The file is a table (`latency.tables`) with the samples beside it: `sample_rows` (k,) are places in the table,
`sample_values` (k,) what was measured there, `about` JSON text. It is fitted anew when it is opened, which takes a
second or two and gives the same predictor to the digit: so no model has a file format, and none is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph
from chipfit.evaluate.latency import encode
from chipfit.evaluate.latency.base import LEAST, Few, Floats, Networks, Prediction, Predictor, Tables, rank_correlation
from chipfit.evaluate.latency.committee import FittedCommittee
from chipfit.evaluate.latency.few_shot import FewShot, Fitted
from chipfit.evaluate.latency.genes import Genes
from chipfit.evaluate.latency.tables import (
    Table,
    checked,
    encoded,
    networks_to_arrays,
    one_space,
    read_arrays,
    table_of,
    write_arrays,
)

CERTAIN = 1.645
"""Standard deviations that a rank correlation is lower than it seems in one case of twenty."""


@dataclass(frozen=True)
class Source:
    """How alike a source device ranks the `n` sampled networks: Spearman, and its value at least (95 %)."""

    device: str
    spearman: float
    least: float
    n: int


def chosen(table: Table, n: int, rng: np.random.Generator) -> list[int]:
    """Rows of the `n` networks of a table to time on a new device."""
    return sorted(rng.choice(len(table), n, replace=False).tolist())


@dataclass(frozen=True)
class FittedPredictor:
    """A new device `name`: networks and devices of `table`, samples at its `rows` with `values`.

    `format` is what the device takes files in.
    """

    name: str
    table: Table
    rows: tuple[int, ...]
    values: Floats
    format: str = "onnx"
    seed: int = 0
    metric: str = ""
    """What the samples are, with its unit; that of the table where it is not said."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "metric", self.metric or self.table.metric)

    @cached_property
    def _networks(self) -> Networks:
        return encoded(self.table)

    @cached_property
    def _fitted(self) -> Fitted:
        rng = np.random.default_rng(self.seed)
        tables = Tables(self._networks, self.table.devices, self.table.values, self.table.metric)
        return FewShot().prepare(tables, rng).fit(Few(self._networks.take(self.rows), self.values), rng)

    def _known(self) -> tuple[Graph, ...]:
        if isinstance(self.table.networks, Genes):
            raise BadInput(f"predictor {self.name!r} knows networks by genes, not graphs; it predicts those of a table")
        return self.table.networks

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The networks that were timed on the device.

        Raises:
            BadInput: its space has no graphs.
        """
        known = self._known()
        return tuple(known[i] for i in self.rows)

    @cached_property
    def digest(self) -> str:
        """Hash of all that it rests on (16 hex digits)."""
        made = hashlib.sha256(json.dumps([self.name, self.format, self.seed, self.metric, list(self.rows)]).encode())
        for array in (self.values, self.table.values, *networks_to_arrays(self.table.networks).values()):
            made.update(np.ascontiguousarray(array).tobytes())
        return made.hexdigest()[:16]

    @property
    def left_out_error(self) -> float:
        """Median share by which each sample is missed when all the others predict it."""
        return float(np.median(np.abs(np.expm1(self._fitted.best.predictor.left_out - np.log(self.values)))))

    @property
    def half_width(self) -> float:
        """Median half-width of the intervals of the networks known, as a share: of samples as if not measured."""
        around = self.predict(self._networks)
        widths = np.log(around.high / around.low) / 2
        widths[list(self.rows)] = self._fitted.best.left_out_half
        return float(np.median(np.expm1(widths)))

    def predict(self, networks: Networks) -> Prediction:
        """Values of networks with 90 % intervals, (n,) each."""
        return self._fitted.predict(networks)

    def predict_graphs(self, graphs: Sequence[Graph]) -> Prediction:
        """The same of graphs.

        Raises:
            BadInput: this predictor knows networks by genes.
        """
        name = {g.key: n for n, g in zip(self.table.names, self._known(), strict=True)}
        return self.predict(encode.graphs([name.get(g.key, g.key) for g in graphs], graphs))

    def predict_table(self, table: Table) -> Prediction:
        """The same of a table's networks.

        Raises:
            BadInput: they are of another kind than those that it knows.
        """
        if not one_space(self.table.networks, table.networks):
            raise BadInput(f"the table's networks are not of the space that predictor {self.name!r} knows")
        return self.predict(encoded(table))

    def sources(self) -> tuple[Source, ...]:
        """The devices of the table, the one that ranks the samples most alike first."""
        found = []
        for device, column in zip(self.table.devices, self.table.values[list(self.rows)].T, strict=True):
            known = ~np.isnan(column)
            if known.sum() >= 3:
                n = int(known.sum())
                rho = rank_correlation(column[known], self.values[known])
                found.append(Source(device, rho, at_least(rho, n), n))
        return tuple(sorted(found, key=lambda s: -s.spearman))

    def weights(self) -> dict[str, float]:
        """How much each model of the committee counts."""
        committee = self._fitted.outside.predictor
        if not isinstance(committee, FittedCommittee):
            return {}
        return dict(zip((_words(m) for m in committee.members), committee.weights.tolist(), strict=True))

    def write(self, path: Path) -> None:
        """Writes the file, whole."""
        about = {"name": self.name, "format": self.format, "seed": self.seed, "metric": self.metric, "version": VERSION}
        arrays = self.table.to_arrays() | {
            "sample_rows": np.array(self.rows, np.int64), "sample_values": self.values,
            "about": np.array(json.dumps(about)),
        }  # fmt: skip
        write_arrays(path, arrays)


def _words(member: Predictor) -> str:
    """What a member of the committee is called: its class, as words."""
    name = type(member).__name__.replace("FittedProcess", "GaussianProcess").removesuffix("Predictor")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


VERSION = 1
"""Of the file."""


def read_predictor(path: Path) -> FittedPredictor:
    """The predictor of a file.

    Raises:
        BadInput: the file cannot be read, or is none of ours.
    """
    arrays = read_arrays(path)
    try:
        about: dict[str, Any] = json.loads(str(arrays["about"]))
        rows, values = np.asarray(arrays["sample_rows"]), np.asarray(arrays["sample_values"], np.float64)
        told = str(about["name"]), str(about["format"]), int(about["seed"])
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as e:
        raise BadInput(f"{path} is no predictor; make one with chipfit predict fit") from e
    if about.get("version") != VERSION:
        raise BadInput(
            f"predictor {path} is of version {about.get('version')}, this chipfit reads {VERSION}; fit it anew"
        )
    table = checked(table_of(arrays, str(path)), str(path))
    sound = rows.ndim == 1 and rows.dtype.kind in "iu" and rows.shape == values.shape and len(rows) >= LEAST
    if not sound or rows.min() < 0 or rows.max() >= len(table) or len(set(rows.tolist())) < len(rows):
        raise BadInput(f"predictor {path} is damaged: its samples are no rows of its table; fit it anew")
    if not np.all(np.isfinite(values) & (values > 0)) or told[2] < 0:
        raise BadInput(f"predictor {path} is damaged: a sample or its seed is no positive number; fit it anew")
    metric = str(about.get("metric", table.metric))
    return FittedPredictor(told[0], table, tuple(rows.tolist()), values, told[1], told[2], metric)


def at_least(rho: float, n: int) -> float:
    """What a rank correlation seen on n networks is at least, in 19 cases of 20.

    Fisher's z with the variance of Bonett and Wright (2000). A perfect order of few networks is hardly a surprise where
    orders are good: it counts as the last step below it, of n (n - 1) / 2 pairs. A bootstrap knows nothing of either.

    >>> at_least(1.0, 5) < 0.54
    True
    """
    if n <= 3:
        return -1.0
    last = 1 - 2 / (n * (n - 1))
    z = np.arctanh(np.clip(rho, -last, last))
    return float(np.tanh(z - CERTAIN * np.sqrt((1 + rho**2 / 2) / (n - 3))))
