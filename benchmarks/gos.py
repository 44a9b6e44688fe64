"""Operators grown for a device against the same menu without them, at the same measured milliseconds.

    python benchmarks/gos.py [--quick] [--here] [--json] [--full] [--seeds N]

Both menus have the same widths, depth and precisions, the same tables, solver, repair and device, and where designs are
trained the same teacher and CPU seconds. Test accuracy is of the exported file.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from gos_cases import CIFAR20, RESNET20, VGG6, Cases
from gos_published import published, published_targets
from gos_rungs import rung_targets, rungs
from gos_tuned import tuned, tuned_targets
from gos_untrained import untrained, untrained_targets
from harness import arguments, finish

from chipfit.device.onnxruntime import OnnxRuntime
from chipfit.export.formats import timing_bytes
from chipfit.store.memory import MeasurementTable


def main() -> None:
    """Runs what is asked for, prints tables and targets."""
    options = arguments(__doc__ or "")
    rows = options.rows("gos")
    memory = MeasurementTable.open(Path(tempfile.gettempdir()) / "chipfit-bench" / "measurements.db")
    with OnnxRuntime(timing_bytes) as device:
        cases = Cases(rows, memory, device)
        untrained(cases, options, (VGG6,))
        rungs(cases, options)
        untrained(cases, options, (CIFAR20, RESNET20))
        tuned(cases, options)
        if options.seeds and not (options.quick or options.here):
            published(cases)
    targets = [*untrained_targets(rows), *rung_targets(rows), *tuned_targets(rows), *published_targets(rows)]
    finish("gos", rows, targets, options)


if __name__ == "__main__":
    sys.exit(main())
