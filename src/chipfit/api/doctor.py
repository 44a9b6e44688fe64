"""What is here, what is missing, and the line that installs it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from chipfit.api.inputs import opened
from chipfit.core.errors import ChipfitError
from chipfit.core.graph import Graph, op
from chipfit.core.types import Plain
from chipfit.data import fashion_mnist
from chipfit.device.facts import cpu
from chipfit.export.formats import timing_artifact
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
OPTIONAL = {"openvino": "--device openvino", "pandas": "result.front.to_pandas()"}
REPEATS = 5
"""Timings of one network by which the noise is judged."""
QUIET = 0.02
"""Relative spread of quick timings up to which a machine counts as quiet; [measured] .5-1 % on an idle server core."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what was found, whether that is well, and what to do where it is not."""

    what: str
    found: str
    well: bool = True
    remedy: str = ""

    def plain(self) -> dict[str, Plain]:
        """The same as JSON-ready values."""
        return {"what": self.what, "found": self.found, "well": self.well, "remedy": self.remedy}


def examine() -> tuple[Finding, ...]:
    """Everything that a run will rest on; takes a few seconds, the first time on a machine ten."""
    return (*_packages(), *_machine(), *_timing(), *_data())


def _packages() -> Iterable[Finding]:
    yield Finding("python", platform.python_version())
    for name in NEEDED:
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            yield Finding(name, "not installed", False, f"pip install {name}")
    for name, use in OPTIONAL.items():
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
    free = shutil.disk_usage(os.getcwd()).free / 1e9
    yield Finding("disk", f"{free:.1f} GB free here", free > 0.5, "a run takes up to some 100 MB; free some space")


def _timing() -> Iterable[Finding]:
    """The spread of one small network's quick latency, as `fit` will see it."""
    try:
        with opened("local") as device:
            graph = _probe()
            ms = [device.measure([timing_artifact(graph)], "quick")[0].value for _ in range(REPEATS)]
            overhead = device.facts().overhead_ms
    except ChipfitError as e:
        yield Finding("timing", f"failed: {e}", False, "pip install --force-reinstall onnxruntime")
        return
    noise = float(np.std(ms, ddof=1) / np.mean(ms))
    yield Finding(
        "timing", f"{np.median(ms):.4g} ms ± {100 * noise:.1f} % (small network), {overhead:.3g} ms (empty one)",
        bool(noise <= QUIET), "" if noise <= QUIET else "other programs disturb the timing; end them for exact results",
    )  # fmt: skip


def _probe() -> Graph:
    """Two 3x3 convolutions, 16 channels, 28x28."""
    shape, one = (16, 28, 28), (1, 1)
    first, second = (
        op(name, "conv", (reads,), shape, name, kernel=(3, 3), stride=one, padding=one, dilation=one, groups=1, bias=1)
        for name, reads in (("a", "input"), ("b", "a"))
    )
    return Graph((op("input", "input", (), shape), first, second), "b")


def _data() -> Iterable[Finding]:
    here = fashion_mnist.find()
    yield Finding(
        "fashion-mnist", str(here) if here else "not found; chipfit demo takes digits instead", here is not None,
        "" if here else "apt-get install dataset-fashion-mnist",
    )  # fmt: skip
    n = len(manifest())
    yield Finding("zoo", f"{n} trained networks" if n else "no weights", n > 0, "" if n else "chipfit zoo train")
