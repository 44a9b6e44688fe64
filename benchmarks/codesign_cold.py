"""Cold start on an accelerator: NSGA-II over the menu that the recipe's final came from, each candidate from scratch.

One recorded run at the budget of three Fashion-MNIST networks together. It is told the model, every knob that its
bottlenecks open and the budget, and tries each candidate on the design that suits it best, as the recipe does.
"""

from __future__ import annotations

import numpy as np
from bench import Bench
from codesign_refined import TEACHER, TOGETHER, fashion
from cold import cold_start
from harness import Options, Rows, Target, at_least

from chipfit.device.accelerator.device import Accelerator
from chipfit.evaluate.modelled import widths_on_designs
from chipfit.evaluate.price import pricer
from chipfit.recipes import hotnas
from chipfit.space.menu import Menu
from chipfit.space.offer import offer

CAP_S = 3600.0
"""The cold start ends at so many CPU seconds, or as soon as it is as good as ours."""
KEY = "cold/start"


def menu_of(bench: Bench, model: str) -> Menu:
    """What may vary of a model on the accelerator; its latencies are there to tell what makes a difference."""
    device, network = bench.timing.device, bench.entries[model].network
    assert isinstance(device, Accelerator)
    knobs = hotnas.knobs(network, device, (32, 8))
    graph = network.graph
    offered = offer(graph, device.facts().channel_block, bits=(32,), knobs=knobs, widths=widths_on_designs(graph))
    return pricer(bench.timing).price(graph, offered, np.random.default_rng(0)).menu


def cold(rows: Rows, options: Options) -> list[Target]:
    """The recorded run beside ours at the same budget, and its target."""
    if options.quick or options.here:
        return []
    bench = fashion(rows)
    mine = rows.rows.get(f"{TOGETHER.tag}/ours/0")
    if mine is not None and KEY not in rows.rows:
        found = cold_start(bench, TEACHER, mine, CAP_S, menu=menu_of(bench, mine["model"]))
        rows.get(KEY, lambda: found)
    row = rows.rows.get(KEY)
    if row is None:
        return [at_least("cold_ratio", None, 10)]
    what = "as good as ours" if row["reached"] else f"not as good as ours within {row['ratio']:.1f} x its CPU seconds"
    print(
        f"\nCold start: {what} ({row['ours_cpu_s']:.0f} s), {row['trained']} networks trained,"
        f" best validation {row['best_validation']:.4f} of {row['ours_validation']:.4f}"
    )
    return [at_least("cold_ratio", row["ratio"], 10)]
