"""What memory a set of pictures takes that does not fit into it: 20,000 JPEGs of 224 x 224, 12 GB as float32.

The pictures are blobs of random colours, made here. Each phase runs in a process of its own, whose peak of resident
memory (files mapped into it counted) is what the row says:

* loading: reading, decoding, splitting, statistics;
* a pass over all parts, normalised to float32;
* an epoch of training of a small network, torch in it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import arguments, at_most, finish, table
from PIL import Image

from chipfit.data.load import load_data

SIZE = 224
PHASES = ("load", "pass", "epoch")


def make(folder: Path, n: int) -> None:
    """So many pictures in ten class folders."""
    rng = np.random.default_rng(0)
    for k in range(n):
        at = folder / f"c{k % 10}"
        at.mkdir(exist_ok=True)
        blobs = Image.fromarray(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8))
        blobs.resize((SIZE, SIZE), Image.Resampling.BILINEAR).save(at / f"{k:05d}.jpg", quality=80)


def phase(name: str, folder: str) -> dict[str, Any]:
    """Loads the pictures, does what the phase is named for, and tells its seconds and the peak of this process."""
    began = time.perf_counter()
    dataset = load_data(folder)
    if name != "load":
        began = time.perf_counter()
    if name == "pass":
        for part in (dataset.train, dataset.validation, dataset.open_test()):
            for piece in part.pieces():
                dataset.normalise(piece.inputs)
    if name == "epoch":
        import torch
        from torch import nn

        from chipfit.train.loop import Schedule, train

        torch.set_num_threads(1)
        net = nn.Sequential(nn.Conv2d(3, 8, 7, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
        train(net, dataset, Schedule(len(dataset.train) // 128, 0.01), np.random.default_rng(0))
    seconds = time.perf_counter() - began
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "seconds": seconds}


def measured(name: str, folder: Path) -> dict[str, Any]:
    """A phase in its own process."""
    ran = subprocess.run([sys.executable, __file__, "phase", name, str(folder)], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def main() -> None:
    args = arguments(__doc__ or "")
    n = args.pick(quick=500, here=5_000, whole=20_000)
    rows = args.rows("large_data")
    decoded_mb = n * 3 * SIZE * SIZE / 1e6
    with tempfile.TemporaryDirectory() as folder:
        if not all(name in rows.rows for name in PHASES):
            make(Path(folder), n)
        found = {name: rows.get(name, lambda name=name: measured(name, Path(folder))) for name in PHASES}
    print(f"\n{n} pictures: {decoded_mb:.0f} MB decoded, {4 * decoded_mb:.0f} MB as float32")
    table(["phase", "peak MB", "seconds"], [(name, row["peak_mb"], row["seconds"]) for name, row in found.items()])
    peaks = {name: float(row["peak_mb"]) for name, row in found.items()}
    targets = [
        at_most("load_mb", peaks["load"], 400), at_most("pass_mb", peaks["pass"], 600),
        at_most("epoch_mb", peaks["epoch"], 1200),
    ]  # fmt: skip
    finish("large_data", rows, targets, args)


if __name__ == "__main__":
    if sys.argv[1:2] == ["phase"]:
        print(json.dumps(phase(*sys.argv[2:4])))
    else:
        main()
