"""A whole fit to an accelerator that takes seconds, nothing trained.

As a program it runs (or takes up) the fit in the folder it is given, killed at the step on the disk whose number is
given, else never.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chipfit.core.deadline import Deadline
from chipfit.core.types import Limit, Trial
from chipfit.data.load import load_data
from chipfit.device.accelerator.device import Accelerator
from chipfit.recipes.fit import fit
from chipfit.recipes.settings import Settings
from chipfit.store.store import Store
from recipes import small

DEVICE = "accel:pynq-z2/dsp=32"
SETTINGS = Settings(budgets=((Limit("latency_ms", 0.6, relative=True),),), train=False)


def run(folder: Path, settings: Settings = SETTINGS, device: str = DEVICE, steps: int = 60) -> tuple[Trial, ...]:
    """The fit in this folder; its finals. The phases that were told are the fact "told"."""
    dataset = load_data("digits")
    told: list[str] = []
    with Store.open_or_create(folder, {"test": "accelerator"}) as store:
        entries = small.entries(dataset, steps)
        finals = fit(
            entries, dataset, [Accelerator(device)], settings, store, store.memory, Deadline.never(),
            lambda phase, _: told.append(phase),
        )  # fmt: skip
        store.set_fact("told", told)
    return finals


if __name__ == "__main__":
    from kill_at import Steps

    counted = Steps(int(sys.argv[2]) if len(sys.argv) > 2 else None)
    run(Path(sys.argv[1]))
    print(counted.done)
