"""Is a number repeatable? One network's milliseconds in 20 processes over 20 minutes, beside a plain loop.

    python benchmarks/measurement.py [--quick] [--here] [--json] [--full]

Every process of its own takes the final latency of three networks, as a user gets it: ordinary scheduling, the scale
from the shared cache. Every other one does so while numpy keeps all other cores busy. Beside each number stand the
median of 200 plain runs through the runtime's own API and, where the runtime's package carries one, its benchmark tool.
Each process also times two versions of ResNet20 that are about 2.5 % apart, in one sitting in random order.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from harness import Rows, Target, arguments, at_least, at_most, finish, table

from chipfit.core.graph import Graph
from chipfit.core.types import Artifact
from chipfit.device.canary import VERSION
from chipfit.device.processor import Processor
from chipfit.device.registry import DEVICES, open_device
from chipfit.evaluate.screen import all_int8
from chipfit.export.formats import timing_artifact, timing_bytes
from chipfit.nets.load import load_models
from chipfit.space import edits as on_graph
from chipfit.space.offer import offer

PROCESSES, MINUTES = 20, 20.0
"""Processes of each device, and the least time over which they are spread."""

RUNS = 200
"""Plain runs whose median is the naive number."""

APART = 1.025
"""Ratio that the pair should have in truth."""

CV_LIMITS = {"onnxruntime": ("cv_ort", 0.02), "litert": ("cv_litert", 0.02), "openvino": ("cv_openvino", 0.03)}
"""Device to its target's name and limit."""

BURNER = """
import os, sys, numpy as np
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {int(sys.argv[1])})
a = np.random.default_rng(0).standard_normal((512, 512), np.float32)
while True:
    a @ a
"""


def networks() -> dict[str, Graph]:
    """Three networks of different size, one of them in int8."""
    zoo = {e.name: e.network for e in load_models(["zoo:fashion-mnist"])}
    small = all_int8(zoo["resnet8"]).graph
    return {"dscnn": zoo["dscnn"].graph, "resnet8 int8": small, "resnet20": zoo["resnet20"].graph}


def narrowed() -> dict[tuple[int, int], Graph]:
    """ResNet20 with one width changed, by (decision, option)."""
    graph = networks()["resnet20"]
    menu = offer(graph, {32: 8}, bits=(32,), depth=False).menu
    found = {}
    for d, decision in enumerate(menu.decisions):
        for o in range(1, len(decision.options)):
            assignment = tuple(o if i == d else 0 for i in range(len(menu.decisions)))
            found[d, o] = on_graph.apply(graph, menu.edits(assignment))
    return found


def find_pair(device: Processor, tries: int, rounds: int) -> dict[str, Any]:
    """The change whose network ResNet20 takes nearest to `APART` times as long as, and that ratio in truth.

    The `tries` likeliest by quick measurements are compared run by run, the nearest of them `rounds` times.
    """
    whole = timing_artifact(networks()["resnet20"], device.format)
    files = {change: timing_artifact(graph, device.format) for change, graph in narrowed().items()}
    first, *rest = (m.value for m in device.measure([whole, *files.values()], "quick"))
    likely = sorted(zip(files, rest, strict=True), key=lambda found: abs(first / found[1] - APART))[:tries]
    ratios = {change: device.compare(whole, files[change]).value for change, _ in likely}
    change = min(ratios, key=lambda c: abs(ratios[c] - APART))
    truth = [device.compare(whole, files[change]).value for _ in range(rounds)]
    error = float(np.std(truth, ddof=1) / math.sqrt(rounds))
    return {"decision": change[0], "option": change[1], "ratio": float(np.mean(truth)), "error": error}


@contextmanager
def company(busy: bool) -> Iterator[None]:
    """With `busy`, matrices are multiplied on every core but the one that is measured on, the last."""
    cores = sorted(os.sched_getaffinity(0))[:-1] if busy else []
    one = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    burners = [subprocess.Popen([sys.executable, "-c", BURNER, str(core)], env=one) for core in cores]
    try:
        time.sleep(2.0 if burners else 0.0)
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def plain_loop(name: str, artifact: Artifact) -> float:
    """Median ms of plain runs in this process."""
    engine = import_module(f"chipfit.device.engines.{name.replace('-', '_')}").engine(1)
    session, times = engine.load(artifact.data), []
    for _ in range(RUNS):
        start = time.perf_counter()
        session.step()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def benchmark_app(file: Path) -> float:
    """OpenVINO's tool: median ms of a second of single requests on one thread."""
    settings = "-d CPU -hint none -nstreams 1 -nthreads 1 -pin NO -infer_precision f32 -api sync -t 1"
    tool = Path(sys.executable).with_name("benchmark_app")
    out = subprocess.run([tool, "-m", file, *settings.split()], capture_output=True, text=True, check=True).stdout
    words = next(line for line in out.splitlines() if "Median:" in line).split()
    return float(words[-2]) * (1e-3 if words[-1] == "us" else 1.0)


def litert_benchmark(file: Path) -> float:
    """LiteRT's tool: median ms of 1000 runs on one thread, rounded by it to .01."""
    result = file.with_suffix(".json")
    tool, settings = Path(sys.executable).with_name("litert-benchmark"), "--num_threads 1 --num_runs 1000"
    call = [tool, "--model", file, *settings.split(), "--result_json", result]
    subprocess.run(call, capture_output=True, check=True)
    return float(json.loads(result.read_text())["latency"]["median_ms"])


TOOLS: Mapping[str, Callable[[Path], float]] = {"openvino": benchmark_app, "litert": litert_benchmark}
"""Device to the benchmark tool that its package carries; ONNX Runtime's carries none."""


def tool_ms(name: str, artifact: Artifact) -> float | None:
    """What the runtime's own tool says, None where there is none."""
    if name not in TOOLS:
        return None
    with tempfile.TemporaryDirectory(prefix="chipfit-") as folder:
        file = Path(folder) / f"model.{artifact.format}"
        file.write_bytes(artifact.data)
        return TOOLS[name](file)


def one(name: str, seed: int, busy: bool, decision: int, option: int) -> dict[str, Any]:
    """All numbers of one process."""
    found: dict[str, Any] = {"at": time.time(), "busy": busy, "ms": {}, "seconds": {}, "naive_ms": {}, "tool_ms": {}}
    with opened(name) as device, company(busy):
        device.facts()  # calibrates and probes where that was never done
        for label, graph in networks().items():
            artifact = timing_artifact(graph, device.format)
            began = time.perf_counter()
            (m,) = device.measure([artifact], "final")
            found["seconds"][label], found["ms"][label] = time.perf_counter() - began, m.value
            found["naive_ms"][label] = plain_loop(name, artifact)
            found["tool_ms"][label] = tool_ms(name, artifact)
        pair = [timing_artifact(g, device.format) for g in (networks()["resnet20"], narrowed()[decision, option])]
        order = np.random.default_rng(seed).permutation(2)
        told = device.measure([pair[i] for i in order], "final")
        found["pair_ms"] = [told[int(i)].value for i in np.argsort(order)]
    return found


def opened(name: str) -> Processor:
    """The device of that name."""
    device = open_device(name, timing_bytes)
    assert isinstance(device, Processor)
    return device


def spawned(name: str, n: int, pair: Mapping[str, Any]) -> dict[str, Any]:
    """What a new process measures; the odd ones in company."""
    call = [sys.executable, __file__, "--one", name, n, n % 2, pair["decision"], pair["option"]]
    done = subprocess.run(list(map(str, call)), stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def take(rows: Rows, devices: Sequence[str], processes: int, gap_s: float) -> None:
    """Measures what is missing, round by round over the devices, rounds `gap_s` apart."""
    tries, rounds = (3, 12) if gap_s else (1, 2)
    for name in devices:
        with opened(name) as device:
            rows.get(f"{VERSION}/{name}/pair", partial(find_pair, device, tries, rounds))
    last = 0.0
    for n in range(processes):
        missing = [name for name in devices if f"{VERSION}/{name}/{n}" not in rows.rows]
        if missing:
            time.sleep(max(0.0, last + gap_s - time.time()))
        begun = time.time() if missing else 0.0
        for name in missing:
            pair = rows.rows[f"{VERSION}/{name}/pair"]
            rows.get(f"{VERSION}/{name}/{n}", partial(spawned, name, n, pair))
        ats = [rows.rows[f"{VERSION}/{name}/{n}"]["at"] for name in devices if name not in missing]
        last = max([begun, *ats])


def of(rows: Rows, name: str) -> list[dict[str, Any]]:
    """A device's rows of this protocol."""
    return [r for k, r in rows.rows.items() if k.startswith(f"{VERSION}/{name}/") and not k.endswith("/pair")]


def cv(values: Sequence[float]) -> float:
    """Coefficient of variation; nan for fewer than two."""
    return float(np.std(values, ddof=1) / np.mean(values)) if len(values) > 1 else math.nan


def share_right(pairs: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Shares of (slower, faster) that are ordered right: within a process, and between any two."""
    within = float(np.mean([a > b for a, b in pairs]))
    across = [pairs[i][0] > pairs[j][1] for i, j in itertools.permutations(range(len(pairs)), 2)]
    return within, float(np.mean(across)) if across else math.nan


def show(rows: Rows, devices: Sequence[str]) -> None:
    """The table of spreads, and of the pairs."""
    cells = []
    for name, label in itertools.product(devices, networks()):
        taken = of(rows, name)
        columns = [
            [cv([r[what][label] for r in taken if who is None or r["busy"] == who]) for who in (None, False, True)]
            for what in ("ms", "naive_ms")
        ]
        mean = float(np.mean([r["ms"][label] for r in taken]))
        tool = [r["ms"][label] / r["tool_ms"][label] - 1 for r in taken if r["tool_ms"][label] and not r["busy"]]
        bias = percent(float(np.median(tool))) if tool else "no tool"
        cost = float(np.median([r["seconds"][label] for r in taken]))
        cells.append((name, label, mean, *(" / ".join(map(percent, c)) for c in columns), cost, bias))
    columns = ["device", "network", "ms", "cv %: all / quiet / busy", "plain loop", "s a number", "bias to tool, %"]
    table(columns, cells)
    print()
    pairs = []
    for name in devices:
        pair, taken = rows.rows[f"{VERSION}/{name}/pair"], of(rows, name)
        within, across = share_right([r["pair_ms"] for r in taken])
        true = f"{pair['ratio']:.4f} +- {pair['error']:.4f}"
        pairs.append((name, true, len(taken), f"{100 * within:.0f} %", f"{100 * across:.0f} %"))
    table(["device", "ratio of the pair", "sittings", "ordered right", "between processes"], pairs)


def percent(share: float) -> str:
    """A share in per cent."""
    return f"{100 * share:.2f}"


def complete(rows: Rows, name: str) -> bool:
    """True where the device has enough processes over enough time."""
    ats = [r["at"] for r in of(rows, name)]
    return len(ats) >= PROCESSES and max(ats) - min(ats) >= 60 * MINUTES


def targets(rows: Rows, devices: Sequence[str], *, quick: bool) -> list[Target]:
    """The largest spread of each device, and the least share of right orders; of what is complete only."""
    done = [name for name in devices if quick or complete(rows, name)]
    made = []
    for name, (label, limit) in CV_LIMITS.items():
        spreads = [cv([r["ms"][n] for r in of(rows, name)]) for n in networks()] if name in done else []
        made.append(at_most(label, max(spreads, default=None), limit))
    shares = [share_right([r["pair_ms"] for r in of(rows, name)])[0] for name in done]
    return [*made, at_least("order_right", min(shares, default=None), 0.95)]


def main() -> None:
    """Runs what is asked for, prints the tables and the targets."""
    if sys.argv[1:2] == ["--one"]:
        name, *numbers = sys.argv[2:]
        seed, busy, decision, option = map(int, numbers)
        print(json.dumps(one(name, seed, bool(busy), decision, option)))
        return
    options = arguments(__doc__ or "")
    devices = [n for n in CV_LIMITS if n in DEVICES and not DEVICES[n].missing]
    devices = devices[:1] if options.quick else devices
    rows = options.rows("measurement")
    # one gap more than needed between the rounds: a row is dated somewhere within its round
    processes, gap_s = options.pick(quick=(3, 0.0), here=(6, 20.0), whole=(PROCESSES, 60 * MINUTES / (PROCESSES - 2)))
    take(rows, devices, processes, gap_s)
    show(rows, devices)
    finish("measurement", rows, targets(rows, devices, quick=options.quick or options.here), options)


if __name__ == "__main__":
    main()
