"""What is here, what is missing, and the line that installs it."""

from __future__ import annotations

import math
import os
import platform
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from chipfit.api.inputs import opened
from chipfit.api.words import check_device
from chipfit.core.errors import ChipfitError
from chipfit.core.graph import Graph
from chipfit.core.types import DeviceFacts, Plain
from chipfit.data import fashion_mnist
from chipfit.device.canary import chain
from chipfit.device.facts import cpu
from chipfit.device.protocol import reason
from chipfit.device.registry import DEVICES
from chipfit.export.formats import timing_artifact
from chipfit.nets import accelerator
from chipfit.nets.zoo import manifest

NEEDED = (
    "torch",
    "numpy",
    "scipy",
    "onnx",
    "onnxruntime",
    "safetensors",
    "pillow",
    "scikit-learn",
    "pydantic",
    "plotly",
)


def _optional() -> dict[str, str]:
    """Package that is not needed -> what needs it."""
    uses: dict[str, str] = {}
    for name, kind in DEVICES.items():
        for package in kind.packages:
            if package not in NEEDED:
                uses[package] = f"{uses[package]}, {name}" if package in uses else f"--device {name}"
    return uses | {"pandas": "result.front.to_pandas()"}


REPEATS = 5
"""Timings of one network by which the noise is judged."""
QUIET = 0.02
"""Relative spread of quick timings up to which a machine counts as quiet; [measured] .5-1 % on an idle server core."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what was found, whether that is well, and what to do where it is not.

    Without what is `essential` no run is possible.
    """

    what: str
    found: str
    well: bool = True
    remedy: str = ""
    essential: bool = False

    def plain(self) -> dict[str, Plain]:
        """The same as JSON-ready values."""
        return {"what": self.what, "found": self.found, "well": self.well, "remedy": self.remedy}


def examine(device: str = "local") -> tuple[Finding, ...]:
    """Everything that a run on a device will rest on; takes a few seconds, the first time on a machine ten or more.

    Raises:
        BadInput: an unknown device, or several.
    """
    check_device(device)
    return (*_packages(), *_machine(), *_timing(device), *_data())


def _packages() -> Iterable[Finding]:
    yield Finding("python", platform.python_version())
    for name in NEEDED:
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            yield Finding(name, "not installed", False, f"pip install {name}", essential=True)
    for name, use in _optional().items():
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            yield Finding(name, f"not installed; only {use} needs it", True, f"pip install {name}")


def _machine() -> Iterable[Finding]:
    here = cpu()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("processor", here.model)
    yield Finding(
        "cores", str(cores), cores > 1, "" if cores > 1 else "training and timing share the one core: expect noise"
    )
    yield Finding("instruction sets", ", ".join(here.isa) or "unknown")
    if "amx" in here.isa:
        yield Finding("int8", "AMX: int8 and bfloat16 in tiles")
    elif here.reduce_range:
        yield Finding("int8", "no VNNI: weights get 7 bits, as these kernels saturate; int8 gains less here")
    else:
        yield Finding("int8", "dot products in hardware")
    yield Finding("accelerator", accelerator.described())
    free = shutil.disk_usage(os.getcwd()).free / 1e9
    yield Finding("disk", f"{free:.1f} GB free here", free > 0.5, "a run takes up to some 100 MB; free some space")


def _timing(name: str) -> Iterable[Finding]:
    """The spread of one small network's quick latency on a device, as `fit` will see it."""
    try:
        with opened(name) as device:
            facts = device.facts()
            file = timing_artifact(_probe(max(facts.bits)), device.format)
            taken = [device.measure([file], "quick")[0] for _ in range(REPEATS)]
            ms = [m.value for m in taken]
            if any(math.isnan(v) for v in ms):
                raise ChipfitError(reason(taken[0]))
    except ChipfitError as e:
        remedy = "install the runtime's package (again)"
        yield Finding("timing", f"failed: {e}", False, remedy, essential=True)
        return
    clock = f"; timed by {facts.clock}" if facts.clock else ""
    yield Finding("device", f"{facts.fingerprint}; channels in blocks of {_blocks(facts)}{clock}")
    overhead = facts.overhead_ms
    noise = float(np.std(ms, ddof=1) / np.mean(ms))
    yield Finding(
        "timing", f"{np.median(ms):.4g} ms ± {100 * noise:.1f} % (small network), {overhead:.3g} ms (empty one)",
        bool(noise <= QUIET), "" if noise <= QUIET else "other programs disturb the timing; end them for exact results",
    )  # fmt: skip


def _blocks(facts: DeviceFacts) -> str:
    return ", ".join(
        f"{block} ({'fp32' if bits == 32 else f'int{bits}'})" for bits, block in facts.channel_block.items()
    )


def _probe(bits: int) -> Graph:
    """Two 3x3 convolutions, 16 channels, 28x28."""
    return chain(16, 2, 28, bits)


def _data() -> Iterable[Finding]:
    here = fashion_mnist.find()
    yield Finding(
        "fashion-mnist", str(here) if here else "not found; chipfit demo takes digits instead", here is not None,
        "" if here else "apt-get install dataset-fashion-mnist",
    )  # fmt: skip
    n = len(manifest())
    yield Finding("zoo", f"{n} trained networks" if n else "no weights", n > 0, "" if n else "chipfit zoo train")
