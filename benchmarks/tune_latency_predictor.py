"""What the default predictor is made of, chosen with the sources of the twelve device sets alone.

    python benchmarks/tune_latency_predictor.py [--quick] [--here] [--json] [--full]

Each source in turn plays the new device; sources that rank networks as it does (Spearman above .85) are withheld, as
the targets of the hard sets have no near relatives either (N2, whose sources are all alike, is left without a case).
No target of a set is read for that set. A device may be a target of one set and a source of another: the choice is one
for all sets, so it has seen most devices as sources somewhere, as that of any published predictor has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
from harness import arguments, finish, table
from latency_sets import SETS, Sampler, held_out, score, tasks

from chipfit.evaluate.latency import gp, samplers, surrogate
from chipfit.evaluate.latency.few_shot import FewShot, ReadyFewShot
from chipfit.evaluate.latency.surrogate import SurrogateRidge

SAMPLES, SEEDS, SCORED = 20, 2, 3000

Change = tuple[Any, str, Any]
"""A module, the name of its constant, another value."""

Choose = Callable[[ReadyFewShot], Sampler]


def own(ready: ReadyFewShot) -> Sampler:
    """As the predictor chooses: at random."""
    return ready.choose


def design(ready: ReadyFewShot) -> Sampler:
    """What tells most under the predictor."""
    return partial(samplers.optimal, ready.process)


VARIANTS: Mapping[str, tuple[Callable[[], FewShot], Choose, Sequence[Change]]] = {
    "as frozen": (FewShot, own, ()),
    "with surrogate ridge": (lambda: FewShot((SurrogateRidge(),)), own, ()),
    "samples by design": (FewShot, design, ()),
    "a quarter of the design at random": (FewShot, design, [(samplers, "AT_RANDOM", 0.25)]),
    "samples by size": (FewShot, lambda _: samplers.by_size, ()),
    "samples by k-means": (FewShot, lambda _: samplers.by_cluster, ()),
    "prior of the sources 0.95": (FewShot, own, [(gp, "_EVEN", 0.05)]),
    "prior of the sources 0": (FewShot, own, [(gp, "_EVEN", 1.0)]),
    "coarse: stages too": (FewShot, own, [(gp, "COARSE", (*gp.COARSE, "stage counts", "stage cost"))]),
    "few learn pairs too": (FewShot, own, [(gp, "LEFT", ())]),
    "4000 networks of a source": (FewShot, own, [(surrogate, "ROWS", 4000)]),
    "1000 mixtures": (FewShot, own, [(gp, "CANDIDATES", 1000)]),
}


def row(name: str, variant: str) -> dict[str, Any]:
    """Mean scores over the sources of a set, in turn held out."""
    make, choose, changes = VARIANTS[variant]
    found = []
    with ExitStack() as changed:
        for change in changes:
            changed.enter_context(patch.object(*change))
        for task in held_out(tasks()[name]):
            ready = make().prepare(task.space.tables(task.sources), np.random.default_rng(0))
            fit = lambda few, rng, ready=ready: ready.fit(few, rng).predict  # noqa: E731
            for seed in range(SEEDS):
                found.append(score(task.space, task.targets[0], choose(ready), fit, SAMPLES, seed, SCORED))
    return {k: float(np.mean([f[k] for f in found])) for k in ("rho", "mdape", "coverage", "width", "seconds")}


def main() -> None:
    """Runs what is missing, prints a line for each variant."""
    options = arguments(__doc__ or "")
    small = ("N3", "F3")
    sets = options.pick(quick=small, here=small, whole=tuple(s for s in SETS if s != "N2"))
    variants = options.pick(quick=("as frozen",), here=tuple(VARIANTS)[:3], whole=tuple(VARIANTS))
    rows = options.rows("tune_latency_predictor")
    lines = []
    for v in variants:
        of = [rows.get(f"{v}/{s}", partial(row, s, v)) for s in sets]
        means = [float(np.mean([r[k] for r in of])) for k in ("rho", "mdape", "coverage", "width", "seconds")]
        lines.append((v, *(f"{r['rho']:.3f}" for r in of), *means))
    print()
    table(["variant", *sets, "rho", "MdAPE", "coverage", "width", "CPU s"], lines)
    finish("tune_latency_predictor", rows, [], options)


if __name__ == "__main__":
    main()
