"""Vela in the worker, Arm's compiler for Ethos-U: cycles and memory of an int8 file, layer by layer, estimated."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ethosu.vela import vela

from chipfit.core.scratch import scratch_folder

CONFIGURATIONS = "Arm/vela.ini"
"""The file within the package that describes Arm's reference systems."""


class VelaEngine:
    """Compiles through the documented command line, whose tables are read back."""

    version: str = version("ethos-u-vela")

    def estimate(self, data: bytes, options: Sequence[str]) -> dict[str, Any]:
        """Estimate for a file; `options` are accelerator, system configuration, memory mode.

        Returns:
            "cycles" and "clock_hz" of the whole, "sram_bytes" at the peak, and "layers": [name, kind, on the NPU,
            cycles, cycles of its arithmetic alone] in running order.
        """
        accelerator, system, memory = options
        with scratch_folder() as folder:
            file = folder / "network.tflite"
            file.write_bytes(data)
            named = ["--config", CONFIGURATIONS, "--system-config", system, "--memory-mode", memory]
            tables = ["--verbose-performance", "--output-dir", str(folder)]
            with redirect_stdout(io.StringIO()) as said:
                code = vela.main([str(file), "--accelerator-config", accelerator, *named, *tables])
            if code:
                raise ValueError(said.getvalue().strip().rpartition("\n")[2] or f"Vela ended with code {code}")
            (whole,) = _rows(folder / f"network_summary_{system}.csv")
            layers = _rows(folder / "network_per-layer.csv")
        return {
            "cycles": int(whole["cycles_total"]),
            "clock_hz": float(whole["core_clock"]),
            "sram_bytes": round(1024 * float(whole["sram_memory_used"])),
            "layers": [
                [row["Name"], row["Original Operator"], row["Target"] == "NPU", int(row["Op Cycles"]), int(row["NPU"])]
                for row in layers
            ],
        }


def _rows(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text().splitlines()))


def engine(threads: int) -> VelaEngine:
    """The engine of this module; Vela has no threads to set."""
    return VelaEngine()
