"""Timings for a predictor: which networks, as files or as numbers, and on with it where it was cut off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

import numpy as np

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph
from chipfit.evaluate.latency.base import Floats
from chipfit.evaluate.latency.genes import Genes
from chipfit.evaluate.latency.tables import Table
from chipfit.evaluate.latency.variants import variants
from chipfit.evaluate.screen import all_int8
from chipfit.evaluate.timing import Timing
from chipfit.nets.zoo import Entry
from chipfit.recipes.settings import Progress
from chipfit.space.groups import precisions

SITTING = 4
"""Networks timed together: what a kill can lose."""

STEP = {32: 8, 8: 8}
"""Channels to a step of the widths: the finest that menus offer."""


def candidates(entries: Sequence[Entry], bits: Sequence[int], n: int, rng: np.random.Generator) -> Table:
    """`n` networks made of the models, an equal share of each as far as menus reach; a table without devices.

    Raises:
        BadInput: the models' menus do not have so many.
    """
    made = []
    for entry in entries:
        network = all_int8(entry.network) if max(bits) == 8 else entry.network
        first, *others = variants(network.graph, bits, STEP, n, rng)
        shuffled = [others[i] for i in rng.permutation(len(others))]
        made.append([(f"{entry.name.replace('/', '-')}-{g.key[:8]}", g) for g in (first, *shuffled)])
    turns = [pair for turn in zip_longest(*made) for pair in turn if pair is not None]
    named = dict(turns[:n])
    if len(named) < n:
        raise BadInput(f"these models can be changed into {len(named)} networks, not {n}; give --n {len(named)}")
    graphs = tuple(named.values())
    return Table(tuple(named), (), np.zeros((len(named), 0)), "latency_ms", graphs)


def computable(table: Table, bits: Sequence[int]) -> Table:
    """The networks of a table whose operators are in these precisions only.

    Raises:
        BadInput: the table does not hold graphs, or none is left.
    """
    graphs = graphs_of(table)
    kept = [n for n, g in enumerate(graphs) if precisions(g) <= set(bits)]
    if not kept:
        raise BadInput(f"no network of the tables is in {' or '.join(map(str, bits))} bits throughout; name models")
    return table.take(kept)


def graphs_of(table: Table) -> tuple[Graph, ...]:
    """The graphs of a table.

    Raises:
        BadInput: it holds genes, which cannot be built here.
    """
    if isinstance(table.networks, Genes):
        raise BadInput("the tables hold genes, not graphs: their networks cannot be built here; time them by hand")
    return table.networks


def measure(
    table: Table, timings: Sequence[Timing], known: Floats, keep: Callable[[Floats], None], progress: Progress
) -> Floats:
    """(n, timings) ms of every network on each device, as final measurements; NaN where one failed.

    Args:
        table: the networks.
        timings: the devices.
        known: (n, timings) what was measured before, else NaN.
        keep: called with all that is known after every sitting.
        progress: told of each sitting.
    """
    graphs, values = graphs_of(table), known.copy()
    for d, timing in enumerate(timings):
        missing = np.flatnonzero(np.isnan(values[:, d]))
        for start in range(0, len(missing), SITTING):
            progress("measure", f"{timing.device.name}: {len(graphs) - len(missing) + start} of {len(graphs)} networks")
            sitting = missing[start : start + SITTING]
            values[sitting, d] = [m.value for m in timing.graphs([graphs[i] for i in sitting], "final")]
            keep(values)
    return values
