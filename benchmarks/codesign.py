"""Hardware and network together: what the exploration of all designs of an accelerator costs, and that it is exact.

ResNet-18 for ImageNet, 16 bits, on a ZCU102: the fine grid of 1,242,864 designs, the whole model (edge tiles, fill and
drain, dense layers, additions, pools), front over latency and every resource. Beside it:

* the same model in plain Python, tile by tile (`tile_walk.py`), on a sample of the same designs, from which the seconds
  of all are extrapolated: nobody waits for them;
* every design timed without a bound, which says whether the bounds left anything out.

The original's exploration of 5,184 designs of this network was recorded as 1,283 s.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tile_walk
from harness import Options, Rows, arguments, at_least, at_most, finish, table

from chipfit.device.accelerator.explore import explore
from chipfit.device.accelerator.parts import part
from chipfit.device.accelerator.resources import fits, used
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
        "cpu_s": min(seconds), "designs": front.seen, "legal": front.legal, "timed": front.timed,
        "front": len(front.designs), "best_ms": float(front.latency_ms[0]), "best": str(front.fastest()),
    }  # fmt: skip


def every_design(options: Options) -> dict[str, Any]:
    """CPU seconds of timing each legal design, and the best of them."""
    designs = grid(options)
    legal = designs.take(fits(used(designs, NETWORK, PART), PART))
    began = time.process_time()
    cycles = network_cycles(NETWORK, legal)
    return {
        "cpu_s": time.process_time() - began, "designs": len(legal),
        "best_ms": float(cycles.min() / (PART.clock_mhz * 1e3)), "best": str(legal.plain(int(cycles.argmin()))),
    }  # fmt: skip


def scalar(options: Options) -> dict[str, Any]:
    """CPU seconds a design of the plain loop, on a sample, and by how much its cycles differ from the arrays'."""
    designs = grid(options)
    sample = np.random.default_rng(0).choice(len(designs), options.pick(quick=10, here=40, whole=200), replace=False)
    some = designs.take(np.sort(sample))
    began = time.process_time()
    walked = [tile_walk.network_cycles(NETWORK, some.plain(i)) for i in range(len(some))]
    seconds = time.process_time() - began
    differs = np.abs(network_cycles(NETWORK, some) / walked - 1).max()
    return {"cpu_s": seconds, "designs": len(some), "s_a_design": seconds / len(some), "differs": float(differs)}


def exploration(rows: Rows, options: Options) -> list[Any]:
    """The rows of the exploration, its table, and its targets."""
    found = rows.get("explore/front", lambda: explored(options))
    brute = rows.get("explore/every", lambda: every_design(options))
    loop = rows.get("explore/scalar", lambda: scalar(options))
    designs, extrapolated = int(found["designs"]), loop["s_a_design"] * found["designs"]
    print(
        f"\nResNet-18 on {PART.name}, {designs:,} designs, {found['legal']:,} legal, {found['timed']:,} of them timed"
    )
    table(
        ["exploration", "designs", "CPU s", "of"],
        [
            ("bounds, then the rest", designs, found["cpu_s"], "measured"),
            ("every legal design", brute["designs"], brute["cpu_s"], "measured"),
            (
                "plain loop",
                designs,
                extrapolated,
                f"extrapolated from {loop['designs']} designs in {loop['cpu_s']:.3g} s",
            ),
            ("the original", RECORDED_DESIGNS, RECORDED_S, "recorded by its authors, another model"),
        ],
    )
    exact = found["best"] == brute["best"] and found["best_ms"] == brute["best_ms"] and loop["differs"] < 1e-9
    print(f"best {found['best_ms']:.6f} ms at {found['best']}; {found['front']} designs on the front")
    return [
        at_most("explore_1e6_cpu_s", found["cpu_s"], 3, absolute=True),
        at_least("explore_speedup", extrapolated / found["cpu_s"], 1000),
        at_least("explore_exact", float(exact), 1),
    ]


def main() -> None:
    options = arguments(__doc__ or "")
    rows = options.rows("codesign")
    finish("codesign", rows, exploration(rows, options), options)


if __name__ == "__main__":
    main()
