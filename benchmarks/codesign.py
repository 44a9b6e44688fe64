"""Hardware and network together: what the exploration costs, the joint search beside its rivals, and its finals.

* the exploration of all designs of an accelerator, below;
* one design, one network: the exact assignment beside hull, evolution and controller (`codesign_assignment`);
* one network's edits with the design, against one after the other (`codesign_joint`);
* a zoo's network, its edits and the design, against one after the other (`codesign_zoos`);
* finals after their fine-tune, beside the reference and training from scratch (`codesign_refined`);
* a cold start (`codesign_cold`).

The exploration: ResNet-18 for ImageNet, 16 bits, on a ZCU102, the fine grid of 1,242,864 designs, the whole model (edge
tiles, fill and drain, dense layers, additions, pools), front over latency and every resource. Beside it

* the same model in plain Python, tile by tile (`tile_walk.py`), on a sample of the same designs, from which the seconds
  of all are extrapolated: nobody waits for them, and the cycles of the sample are compared;
* the original's exploration of 5,184 designs of this network, recorded as 1,283 s.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tile_walk
from codesign_assignment import assignment
from codesign_cold import cold
from codesign_joint import one_network
from codesign_refined import refined
from codesign_zoos import zoos
from harness import Options, Rows, Target, arguments, at_least, at_most, finish, table

from chipfit.device.accelerator.explore import explore
from chipfit.device.accelerator.parts import part
from chipfit.device.accelerator.v2 import network_cycles
from chipfit.device.accelerator.work import works
from chipfit.nets.published import published
from chipfit.space.hardware import Designs, HardwareSpace, coarse, fine

PART = part("zcu102")
NETWORK = works(published("resnet18"))
RECORDED_S, RECORDED_DESIGNS = 1_283, 5_184
"""The original's exploration of ResNet-18, and how many designs it had."""
REPEATS = 3


def grid(options: Options) -> Designs:
    """The designs to explore: a coarse grid for a quick look."""
    genes = coarse(7) if options.quick else fine(7)
    return HardwareSpace(genes, {16: PART.macs(16)}).all()


def explored(options: Options) -> dict[str, Any]:
    """CPU seconds from the genes to the front, the grid's own among them: the least of three runs."""
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        front = explore(NETWORK, grid(options), PART)
        seconds.append(time.process_time() - began)
    return {
        "cpu_s": min(seconds), "designs": front.seen, "legal": front.legal, "front": len(front.designs),
        "best_ms": float(front.latency_ms[0]), "best": front.fastest(),
    }  # fmt: skip


def scalar(options: Options, best: dict[str, int]) -> dict[str, Any]:
    """CPU seconds a design of the plain loop, on a sample, and by how much its cycles differ from the arrays'."""
    designs = grid(options)
    sample = np.random.default_rng(0).choice(len(designs), options.pick(quick=10, here=40, whole=200), replace=False)
    some = designs.take(np.sort(sample))
    began = time.process_time()
    walked = [tile_walk.network_cycles(NETWORK, some.plain(i)) for i in range(len(some))]
    seconds = time.process_time() - began
    differs = float(np.abs(network_cycles(NETWORK, some) / walked - 1).max())
    best_ms = tile_walk.network_cycles(NETWORK, best) / (PART.clock_mhz * 1e3)
    return {
        "cpu_s": seconds, "designs": len(some), "s_a_design": seconds / len(some),
        "differs": differs, "best_ms": best_ms,
    }  # fmt: skip


def exploration(rows: Rows, options: Options) -> list[Target]:
    """The rows of the exploration, its table, and its targets."""
    found = rows.get("explore/front", lambda: explored(options))
    loop = rows.get("explore/scalar", lambda: scalar(options, found["best"]))
    extrapolated = loop["s_a_design"] * found["designs"]
    print(f"\nResNet-18 on {PART.name}: {found['designs']:,} designs, {found['legal']:,} of them legal")
    source = f"extrapolated from {loop['designs']} in {loop['cpu_s']:.3g} s"
    table(
        ["exploration", "designs", "CPU s", "of"],
        [
            ("all at once", found["designs"], found["cpu_s"], "measured"),
            ("plain loop, tile by tile", found["designs"], extrapolated, source),
            ("the original", RECORDED_DESIGNS, RECORDED_S, "recorded by its authors, another model"),
        ],
    )
    print(f"best {found['best_ms']:.6f} ms at {found['best']}; {found['front']} designs on the front")
    differs = max(loop["differs"], abs(loop["best_ms"] / found["best_ms"] - 1))
    return [
        at_most("explore_1e6_cpu_s", found["cpu_s"], 3, absolute=True),
        at_least("explore_speedup", extrapolated / found["cpu_s"], 1000),
        at_most("explore_differs", differs, 1e-9),
    ]


def main() -> None:
    options = arguments(__doc__ or "")
    rows = options.rows("codesign")
    arms = (exploration, assignment, one_network, zoos, refined, cold)
    targets = [target for arm in arms for target in arm(rows, options)]
    finish("codesign", rows, targets, options)


if __name__ == "__main__":
    main()
