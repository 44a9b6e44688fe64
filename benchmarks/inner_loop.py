"""What one number costs: Graph to milliseconds, against the way through torch's exporter.

    python benchmarks/inner_loop.py [--quick] [--here] [--json] [--full]

Both ways end in a quick measurement, loading and runs included, on the same random edits of zoo networks; they
alternate network by network. Nothing is remembered from one network to the next. torch exports ONNX only: its way
ends on ONNX Runtime where the device takes another format, converters to which would cost it seconds more.
"""

from __future__ import annotations

import io
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import arguments, at_least, finish

from chipfit.core.graph import Graph, Network
from chipfit.core.types import Artifact
from chipfit.device.litert import LiteRt
from chipfit.device.onnxruntime import OnnxRuntime
from chipfit.device.openvino import OpenVino
from chipfit.device.processor import Processor
from chipfit.evaluate.counts import priced_counts
from chipfit.evaluate.drawn import random_assignment
from chipfit.export.dummy import random_weights
from chipfit.export.formats import timing_artifact, timing_bytes
from chipfit.nets.build import build
from chipfit.nets.load import load_models
from chipfit.space import edits as on_graph
from chipfit.space.offer import offer

NETWORKS, WARM_UP = 24, 4
"""Edits that are timed, and others before them, one of each network: canaries are written and loaded once a process."""

SMALL_MS = (0.1, 0.4)
"""Networks that count as ones of about .2 ms."""

DEVICES: dict[str, type[Processor]] = {"ort": OnnxRuntime, "litert": LiteRt, "openvino": OpenVino}


def graphs(n: int) -> list[Graph]:
    """Random float edits of ResNet20, VGG6, ResNet8 and MobileNetV2, by turns."""
    rng, made = np.random.default_rng(0), []
    entries = {e.name: e.network.graph for e in load_models(["zoo:fashion-mnist"])}
    for i in range(n):
        graph = entries[("resnet20", "vgg6", "resnet8", "mobilenetv2")[i % 4]]
        menu = offer(graph, {32: 16, 8: 16}, bits=(32,)).menu
        made.append(on_graph.apply(graph, menu.edits(random_assignment(menu, rng))))
    return made


def through_torch(graph: Graph, *, dynamo: bool) -> Artifact:
    """The same network written by torch's exporter."""
    module = build(Network(graph, random_weights(graph, np.random.default_rng(0)))).eval()
    x = torch.zeros(1, *graph.input_shape)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            program = torch.onnx.export(module, (x,), dynamo=True, verbose=False)
            assert program is not None
            program.save(file)
        else:
            torch.onnx.export(module, (x,), file, dynamo=False)
    return Artifact("onnx", file.getvalue(), graph)


def seconds(make: Callable[[], Artifact], device: Processor) -> tuple[float, float]:
    """(seconds, ms measured) from nothing to a number."""
    began = time.perf_counter()
    (m,) = device.measure([make()], "quick")
    return time.perf_counter() - began, m.value


def speed(device: Processor, through: Processor, n: int) -> dict[str, Any]:
    """Medians of seconds of each way over the networks, and of their ratios, after some to warm up."""
    ways: dict[str, Callable[[Graph], Artifact]] = {
        "direct": lambda g: timing_artifact(g, device.format),
        "dynamo": lambda g: through_torch(g, dynamo=True),
        "legacy": lambda g: through_torch(g, dynamo=False),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    rates = []
    for i, graph in enumerate(graphs(WARM_UP + n)):
        for name, way in ways.items():
            s, ms = seconds(lambda way=way, graph=graph: way(graph), device if name == "direct" else through)  # type: ignore[misc]
            if i >= WARM_UP:
                took[name].append(s)
                if name == "direct" and SMALL_MS[0] <= ms <= SMALL_MS[1]:
                    rates.append(1 / s)
    ratio = {name: float(np.median(np.array(took[name]) / np.array(took["direct"]))) for name in ("dynamo", "legacy")}
    return {
        "direct_s": float(np.median(took["direct"])), "dynamo_s": float(np.median(took["dynamo"])),
        "speedup": ratio["dynamo"], "speedup_legacy": ratio["legacy"],
        "quick_per_second": float(np.median(rates)) if rates else None, "networks": n,
    }  # fmt: skip


def table_per_second() -> dict[str, Any]:
    """Candidates a second that a priced menu can be summed for."""
    graph = next(e.network.graph for e in load_models(["zoo:fashion-mnist"]) if e.name == "resnet20")
    menu = priced_counts(graph, offer(graph, {32: 16, 8: 8}))
    rng = np.random.default_rng(0)
    candidates = [random_assignment(menu, rng) for _ in range(2000)]
    began = time.perf_counter()
    for a in candidates:
        menu.total("macs", a)
    return {"per_second": len(candidates) / (time.perf_counter() - began)}


def main() -> None:
    """Runs what is asked for, prints the targets."""
    options = arguments(__doc__ or "")
    rows = options.rows("inner_loop")
    n = options.pick(quick=3, here=12, whole=NETWORKS)
    with OnnxRuntime(timing_bytes) as ort_device:
        for name, kind in DEVICES.items():
            with kind(timing_bytes) as device:
                through = device if device.format == "onnx" else ort_device
                rows.get(f"speed/{name}", lambda device=device, through=through: speed(device, through, n))  # type: ignore[misc]
    rows.get("table", table_per_second)
    ort = rows.rows["speed/ort"]
    targets = [
        at_least("speedup_ort", ort["speedup"], 30),
        at_least("speedup_litert", rows.rows["speed/litert"]["speedup"], 30),
        at_least("quick_per_second_ort", ort["quick_per_second"], 15, absolute=True),
        at_least("table_per_second", rows.rows["table"]["per_second"], 1000, absolute=True),
    ]
    finish("inner_loop", rows, targets, options)


if __name__ == "__main__":
    sys.exit(main())
